"""Tools for the newest quotes, books and trades."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Cursor, Format, Limit, Market, Symbol, Time, span
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, rounded
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.tables import Column

_IDENTITY = ("symbol", "exchange", "market_type")
_PRICES, _BOOKS, _TRADES = (STREAMS[name].table for name in ("prices", "orderbooks", "trades"))


@tool(always_load=True)
def markets_list(context: Context) -> Answer:
    """Markets that can be asked about, with their symbols and streams. Call it first when unsure which market or
    symbol names are allowed. Declared capability, not live state: use streams_health for what is being collected and
    tables_list for what is stored."""
    columns = (
        Column("market", "VARCHAR"),
        Column("exchange", "VARCHAR"),
        Column("market_type", "VARCHAR"),
        Column("symbols", "VARCHAR"),
        Column("streams", "VARCHAR"),
    )
    rows = [
        (market.name, market.exchange, market.market_type, list(market.symbols), list(market.streams))
        for market in MARKETS.values()
    ]
    return Answer.rows(columns, rows, source="declaration")


@tool(always_load=True)
def price_latest(
    context: Context, symbol: Symbol | None = None, market: Market | None = None, response_format: Format = "concise"
) -> Answer:
    """Newest best bid, ask, mid and spread, one row per stored series. Use it for "what is the price now". Without
    symbol or market: all of them. Prices in quote currency, sizes in base coin, spread_bps in 1/10,000 of mid; time is
    the exchange's, UTC. Check age_s before calling it current. For history use bars_get."""
    columns = ("timestamp", *_IDENTITY, "bid_price", "ask_price", "mid_price", "spread_bps", "bid_qty", "ask_qty")
    names = _PRICES.names if response_format == "detailed" else columns
    return windows.latest(context, _PRICES, names, windows.series(symbol, market), _IDENTITY)


@tool()
def book_latest(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    levels: Annotated[int, Field(ge=1, le=LEVELS)] = 5,
) -> Answer:
    """Newest stored order book of one symbol: price and size of each level, bids and asks side by side, best first,
    with running sums from the touch. Use it for depth near the price; for depth over time use features_get with group
    orderbook. Prices in quote currency, sizes in base coin; time is the exchange's, UTC."""
    equals = windows.series(symbol, market)
    names = [f"{side}_{level}_{what}" for level in range(1, levels + 1) for side in ("bid", "ask") for what in _LEVEL]
    found = windows.newest(context, _BOOKS, equals=equals, columns=("timestamp", "mid_price", *names), limit=1)
    columns = (
        Column("level", "INTEGER"),
        *(Column(f"{side}_{what}", "DOUBLE", what, unit) for side in ("bid", "ask") for what, unit in _LEVEL_UNITS),
    )
    if not len(found):
        return windows.empty(_BOOKS, columns, found.hint or "")
    book = dict(zip((column.name for column in found.columns), (values[0] for values in found.values), strict=True))
    sums: dict[str, float | None] = {"bid": 0.0, "ask": 0.0}
    rows = []
    for level in range(1, levels + 1):
        row: list[Any] = [level]
        for side in ("bid", "ask"):
            price, size = book[f"{side}_{level}_price"], book[f"{side}_{level}_qty"]
            before = sums[side]
            sums[side] = None if before is None or size is None else before + size
            row += [price, size, sums[side]]
        rows.append(row)
    answer = Answer.rows(columns, rows, source=_BOOKS.qualified)
    answer.moment = book["timestamp"]
    answer.meta = {**windows.named(equals), "mid_price": rounded(book["mid_price"])}
    return answer


_LEVEL = ("price", "qty")
_LEVEL_UNITS = (("price", "quote"), ("qty", "base"), ("qty_sum", "base"))


@tool(always_load=True)
def trades_recent(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    side: Literal["buy", "sell"] | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
    response_format: Format = "concise",
) -> Answer:
    """Single trades of one symbol, newest first. side is the taker's: buy lifted the ask, sell hit the bid. Use it to
    look at prints; for sums over a window use trade_flow_get, for minutes bars_get. price and quote_value in quote
    currency, quantity in base coin; timestamp is the exchange's, UTC."""
    equals = windows.series(symbol, market) | ({"side": side} if side else {})
    columns = ("timestamp", "price", "quantity", "quote_value", "side")
    return windows.newest(
        context,
        _TRADES,
        equals=equals,
        columns=_TRADES.names if response_format == "detailed" else columns,
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
    )


_FLOW = (
    Column("symbol", "VARCHAR"),
    Column("exchange", "VARCHAR"),
    Column("market_type", "VARCHAR"),
    Column("first_trade", "TIMESTAMP", "first trade of the window", "UTC"),
    Column("last_trade", "TIMESTAMP", "last trade of the window", "UTC"),
    Column("trades", "BIGINT", "prints", "count"),
    Column("buy_base", "DOUBLE", "bought by takers", "base"),
    Column("sell_base", "DOUBLE", "sold by takers", "base"),
    Column("buy_quote", "DOUBLE", "bought by takers", "quote"),
    Column("sell_quote", "DOUBLE", "sold by takers", "quote"),
    Column("net_quote", "DOUBLE", "buy - sell", "quote"),
    Column("buy_share", "DOUBLE", "buy / (buy + sell) of the quote value", "fraction"),
    Column("vwap", "DOUBLE", "value over volume", "quote"),
)


@tool(always_load=True)
def trade_flow_get(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    start: Time = "15m",
    end: Time | None = None,
) -> Answer:
    """Taker buying against taker selling over a window, summed from the stored ticks, one row per series: base and
    quote volumes, net_quote = buy - sell, buy_share, VWAP, first and last trade. Default: the last 15 minutes, all
    series, largest first. For a path over time use features_get with group trades. Times UTC."""
    equals = windows.series(symbol, market)
    first, last = span(start, end)
    where, values = windows.conditions(_TRADES, equals, first, last)
    sql = f"""
        SELECT symbol, exchange, market_type, min(timestamp) AS first_trade, max(timestamp) AS last_trade,
               count(*) AS trades,
               coalesce(sum(quantity) FILTER (side = 'buy'), 0) AS buy_base,
               coalesce(sum(quantity) FILTER (side = 'sell'), 0) AS sell_base,
               coalesce(sum(quote_value) FILTER (side = 'buy'), 0) AS buy_quote,
               coalesce(sum(quote_value) FILTER (side = 'sell'), 0) AS sell_quote,
               buy_quote - sell_quote AS net_quote,
               buy_quote / nullif(buy_quote + sell_quote, 0) AS buy_share,
               sum(quote_value) / nullif(sum(quantity), 0) AS vwap
        FROM main.trades WHERE {where}
        GROUP BY symbol, exchange, market_type ORDER BY sum(quote_value) DESC"""
    return windows.aggregated(
        context, _TRADES, _FLOW, sql, values, equals=equals, edges=(first, last), time="last_trade"
    )
