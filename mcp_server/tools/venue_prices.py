"""Tools that ask a venue itself, right now, for prices, books, trades, candles and instruments."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mcp_server import arguments
from mcp_server.arguments import DEFAULT_ROWS, Exchange, Instrument, Limit, Section, Time, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, rounded
from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import coin
from mcp_server.venues.reading import Cells, answered, base, difference_bps, milliseconds, moment, named, number, volume
from orderflow_streaming.tables import Column

TOOLSET = "venues"
LONGER = {
    **{str(minutes): f"{minutes}m" for minutes in (1, 3, 5, 10, 15, 30)},
    **{str(hours * 60): f"{hours}h" for hours in (1, 2, 3, 4, 6, 12)},
    **dict.fromkeys(("D", "1D"), "1d"),
    **dict.fromkeys(("W", "1W", "7D"), "1w"),
    **dict.fromkeys(("M", "30D"), "1M"),
}
"""Minutes and letters by which some venues call their candles."""


def _interval(value: Any) -> Any:
    text = str(value).strip()
    return text if text == "1M" else LONGER.get(text.upper(), text.lower())


_LENGTHS = {"s": (1, 10), "m": (1, 3, 5, 10, 15, 30), "h": (1, 2, 3, 4, 6, 8, 12), "d": (1, 3), "w": (1,), "M": (1,)}
INTERVALS = [f"{count}{unit}" for unit, counts in _LENGTHS.items() for count in counts]
Interval = Annotated[str, one_of(INTERVALS), BeforeValidator(_interval)]

_TICKER = (
    Column("instrument", "VARCHAR", "the venue's own name"),
    Column("timestamp", "TIMESTAMP", "event time; NULL where the venue tells none", "UTC"),
    Column("last", "DOUBLE", "last trade", "quote"),
    Column("bid", "DOUBLE", "best bid", "quote"),
    Column("ask", "DOUBLE", "best ask", "quote"),
    Column("bid_qty", "DOUBLE", "at the best bid", "base"),
    Column("ask_qty", "DOUBLE", "at the best ask", "base"),
    Column("spread_bps", "DOUBLE", "ask over bid", "bps"),
    Column("open_24h", "DOUBLE", "24 hours ago", "quote"),
    Column("high_24h", "DOUBLE", "highest of 24 hours", "quote"),
    Column("low_24h", "DOUBLE", "lowest of 24 hours", "quote"),
    Column("change_24h_pct", "DOUBLE", "last over open", "%"),
    Column("volume_24h_base", "DOUBLE", "traded in 24 hours", "base"),
    Column("volume_24h_quote", "DOUBLE", "traded in 24 hours", "quote"),
    Column("vwap_24h", "DOUBLE", "value over volume of 24 hours", "quote"),
    Column("mark_price", "DOUBLE", "mark price", "quote"),
    Column("index_price", "DOUBLE", "index price", "quote"),
)


def ticker_row(told: dict[str, Any], instrument: Any) -> Cells:
    bid, ask = number(told.get("bid")), number(told.get("ask"))
    return {
        "instrument": instrument["id"],
        "timestamp": moment(told.get("timestamp")),
        "last": number(told.get("last")),
        "bid": bid,
        "ask": ask,
        "bid_qty": base(instrument, told.get("bidVolume"), bid),
        "ask_qty": base(instrument, told.get("askVolume"), ask),
        "spread_bps": difference_bps(ask, bid),
        "open_24h": number(told.get("open")),
        "high_24h": number(told.get("high")),
        "low_24h": number(told.get("low")),
        "change_24h_pct": number(told.get("percentage")),
        "volume_24h_base": volume(instrument, told.get("baseVolume")),
        "volume_24h_quote": number(told.get("quoteVolume")),
        "vwap_24h": number(told.get("vwap")),
        "mark_price": number(told.get("markPrice")),
        "index_price": number(told.get("indexPrice")),
    }


@tool(toolset=TOOLSET, open_world=True)
def venue_ticker(
    context: Context, exchange: Exchange, symbol: Instrument = "BTCUSDT", market: Section = "futures"
) -> Answer:
    """Ask a venue now for one instrument's 24-hour ticker: last, best bid and ask, high, low, change, volumes, mark and
    index price where told. Also venues that are not collected (Kraken, Deribit). For stored data use price_latest."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        told = client.ask("fetchTicker", instrument["symbol"], left_s=context.left_s)
        return [ticker_row(told, instrument)], {"symbol": instrument["symbol"]}

    return answered(context, exchange, market, _TICKER, read, time="timestamp")


@tool(toolset=TOOLSET, open_world=True)
def venue_tickers(
    context: Context,
    exchange: Exchange,
    market: Section = "futures",
    symbols: Annotated[str | None, Field(max_length=1_000, description="only these, with commas")] = None,
    base_coin: Annotated[str | None, Field(max_length=20, description="only of this coin")] = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for the 24-hour tickers of all its instruments, largest quote volume first. For one use
    venue_ticker, for the largest moves venue_top_movers."""
    read = _tickers(context, symbols, base_coin)
    return answered(context, exchange, market, _TICKER, read, time="timestamp", limit=limit)


@tool(toolset=TOOLSET, open_world=True)
def venue_top_movers(
    context: Context,
    exchange: Exchange,
    market: Section = "futures",
    limit: Annotated[int, Field(ge=1, le=100)] = 10,
) -> Answer:
    """Ask a venue now which instruments moved most over 24 hours, up or down, largest first: change, last price,
    volumes. Instruments that did not trade are left out."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        rows, said = _tickers(context)(client)
        traded = [row for row in rows if row["volume_24h_base"] or row["volume_24h_quote"]]
        moved = [row for row in traded if row["change_24h_pct"] is not None]
        return sorted(moved, key=lambda row: -abs(row["change_24h_pct"]))[:limit], said

    names = ("instrument", "timestamp", "last", "change_24h_pct", "high_24h", "low_24h", "volume_24h_quote")
    columns = [column for column in _TICKER if column.name in names]
    return answered(context, exchange, market, columns, read, time="timestamp", limit=limit)


def _tickers(context: Context, symbols: str | None = None, base_coin: str | None = None) -> Any:
    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        listed = {item["symbol"]: item for item in client.instruments(context.left_s)}
        if base_coin:
            listed = {name: item for name, item in listed.items() if item["base"] == coin(base_coin)}
        if symbols:
            chosen = [client.instrument(text, context.left_s) for text in symbols.split(",") if text.strip()]
            listed = {item["symbol"]: item for item in chosen}
        told = client.ask_all("fetchTickers", left_s=context.left_s)
        rows = [ticker_row(told[name], item) for name, item in listed.items() if name in told]
        return sorted(rows, key=_turnover, reverse=True), {}

    return read


def _turnover(row: Cells) -> float:
    """What was traded in 24 hours, at the last price where no more is told."""
    told = row["volume_24h_quote"]
    return float((row["volume_24h_base"] or 0.0) * (row["last"] or 0.0) if told is None else told)


_BOOK = (
    Column("level", "INTEGER", "1 is the best", "level"),
    Column("bid_price", "DOUBLE", "bid", "quote"),
    Column("bid_qty", "DOUBLE", "size", "base"),
    Column("bid_qty_sum", "DOUBLE", "from the best on", "base"),
    Column("ask_price", "DOUBLE", "ask", "quote"),
    Column("ask_qty", "DOUBLE", "size", "base"),
    Column("ask_qty_sum", "DOUBLE", "from the best on", "base"),
)
_OFFERED_DEPTHS = (5, 10, 20, 50, 100)
"""Depths that every venue offers one at or above of."""


@tool(toolset=TOOLSET, open_world=True)
def venue_orderbook(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    depth: Annotated[int, Field(ge=1, le=100)] = 20,
) -> Answer:
    """Ask a venue now for an order book: price and size of each level, best first, running sums, and in meta mid,
    spread_bps and imbalance = (bids - asks) / (bids + asks) over the levels shown. For stored books use book_latest."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        enough = next(size for size in _OFFERED_DEPTHS if size >= depth)
        told = client.ask("fetchOrderBook", instrument["symbol"], _depth(client, enough), left_s=context.left_s)
        bids, asks = (_side(instrument, told[side][:depth]) for side in ("bids", "asks"))
        rows = [
            {"level": level + 1, **_level("bid", bids, level), **_level("ask", asks, level)}
            for level in range(max(len(bids), len(asks)))
        ]
        return rows, _touch(instrument, told, bids, asks)

    return answered(context, exchange, market, _BOOK, read)


def _depth(client: Client, enough: int) -> int:
    """KuCoin has books of 20 and of 100 levels and no others."""
    return max(20, 100 if enough > 20 else 20) if client.venue.name == "kucoin" else enough


def _side(instrument: Any, levels: list[list[float]]) -> list[tuple[float, float | None, float | None]]:
    """Price, size and size up to here."""
    side: list[tuple[float, float | None, float | None]] = []
    total: float | None = 0.0
    for price, amount, *_ in levels:
        size = base(instrument, amount, price)
        total = None if total is None or size is None else total + size
        side.append((float(price), size, total))
    return side


def _level(name: str, side: list[tuple[float, float | None, float | None]], level: int) -> Cells:
    return (
        dict(zip((f"{name}_price", f"{name}_qty", f"{name}_qty_sum"), side[level], strict=True))
        if level < len(side)
        else {}
    )


def _touch(instrument: Any, told: dict[str, Any], bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    said: dict[str, Any] = named(instrument)
    if at := moment(told.get("timestamp")):
        said["book_time"] = f"{at.isoformat(timespec='milliseconds')}Z"
    if bids and asks:
        bid, ask, depths = bids[0][0], asks[0][0], (bids[-1][2], asks[-1][2])
        said |= {"mid": (bid + ask) / 2, "spread_bps": round((ask - bid) / (bid + ask) * 20_000, 6)}
        if None not in depths and sum(depths):
            said["imbalance"] = round((depths[0] - depths[1]) / sum(depths), 6)
    return said


_TRADES = (
    Column("timestamp", "TIMESTAMP", "of the trade", "UTC"),
    Column("price", "DOUBLE", "price", "quote"),
    Column("quantity", "DOUBLE", "size", "base"),
    Column("quote_value", "DOUBLE", "price times size", "quote"),
    Column("side", "VARCHAR", "taker's"),
    Column("trade_id", "VARCHAR", "the venue's"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_trades(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    limit: Annotated[int, Field(ge=1, le=1_000)] = 50,
) -> Answer:
    """Ask a venue now for its latest public trades, newest first, and in meta bought and sold base volume of them. side
    is the taker's. For stored trades use trades_recent, for windows trade_flow_get."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        told = client.ask("fetchTrades", instrument["symbol"], None, limit, left_s=context.left_s)
        rows = [_trade(instrument, trade) for trade in reversed(told[-limit:])]
        said = named(instrument)
        return rows, said | {f"{side}_base": _traded(rows, side) for side in ("buy", "sell")}

    return answered(context, exchange, market, _TRADES, read, time="timestamp", limit=limit)


def _trade(instrument: Any, trade: dict[str, Any]) -> Cells:
    price = number(trade["price"])
    quantity = base(instrument, trade["amount"], price)
    return {
        "timestamp": moment(trade["timestamp"]),
        "price": price,
        "quantity": quantity,
        "quote_value": None if price is None or quantity is None else price * quantity,
        "side": trade.get("side"),
        "trade_id": trade.get("id"),
    }


def _traded(rows: list[Cells], side: str) -> float | None:
    sizes = [row["quantity"] for row in rows if row["side"] == side]
    return None if None in sizes else rounded(sum(sizes))


_KLINES = (
    Column("open_time", "TIMESTAMP", "opening edge", "UTC"),
    Column("open", "DOUBLE", "first price", "quote"),
    Column("high", "DOUBLE", "highest", "quote"),
    Column("low", "DOUBLE", "lowest", "quote"),
    Column("close", "DOUBLE", "last price", "quote"),
    Column("volume", "DOUBLE", "traded", "base"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_klines(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    interval: Interval = "1h",
    start: Time | None = None,
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100,
) -> Answer:
    """Ask a venue now for its candles, newest first; the newest may still be open. With start, those from there on. For
    stored bars of our own making use bars_get, for stored candles candles_get."""
    since = arguments.moment("start", start)

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        if interval not in client.intervals:
            raise NotOfferedError(f"{client.name} has no candles of {interval}; it has: {', '.join(client.intervals)}")
        instrument = client.instrument(symbol, context.left_s)
        told = client.ask(
            "fetchOHLCV", instrument["symbol"], interval, milliseconds(since), limit, left_s=context.left_s
        )
        names = [column.name for column in _KLINES]
        rows = [
            dict(zip(names, (moment(at), *prices, volume(instrument, traded)), strict=True))
            for at, *prices, traded in reversed(told[-limit:])
        ]
        return rows, named(instrument) | {"interval": interval}

    return answered(context, exchange, market, _KLINES, read, limit=limit)


_INSTRUMENTS = (
    Column("instrument", "VARCHAR", "the venue's own name"),
    Column("symbol", "VARCHAR", "base/quote:settlement"),
    Column("type", "VARCHAR", "swap, future, option or spot"),
    Column("active", "BOOLEAN", "open for trading"),
    Column("linear", "BOOLEAN", "settled in the quote currency"),
    Column("contract_size", "DOUBLE", "of one contract", "base or quote"),
    Column("tick_size", "DOUBLE", "smallest price step", "quote"),
    Column("lot_size", "DOUBLE", "smallest size step", "contracts or base"),
    Column("min_amount", "DOUBLE", "smallest order", "contracts or base"),
    Column("min_cost", "DOUBLE", "smallest order", "quote"),
    Column("max_leverage", "DOUBLE", "largest leverage", "times"),
    Column("expiry", "TIMESTAMP", "of dated instruments", "UTC"),
    Column("strike", "DOUBLE", "of options", "quote"),
    Column("option_type", "VARCHAR", "call or put"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_instruments(
    context: Context,
    exchange: Exchange,
    market: Section = "futures",
    symbol: Annotated[str | None, Field(max_length=40, description="only this one")] = None,
    base_coin: Annotated[str | None, Field(max_length=20, description="only of this coin")] = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now which instruments it lists: swaps, dated futures, options or pairs, all of them or those of one
    coin, with contract size, tick, lot, smallest order, leverage, expiry and
    strike."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        listed = client.instruments(context.left_s)
        if symbol:
            listed = [client.instrument(symbol, context.left_s)]
        rows = [_instrument(item) for item in listed if base_coin is None or item["base"] == base_coin.upper()]
        return rows, {"listed": len(listed)}

    return answered(context, exchange, market, _INSTRUMENTS, read, limit=limit)


def _instrument(item: Any) -> Cells:
    limits = item.get("limits") or {}
    return {
        "instrument": item["id"],
        "symbol": item["symbol"],
        "type": item["type"],
        "active": item.get("active"),
        "linear": item.get("linear"),
        "contract_size": number(item.get("contractSize")),
        "tick_size": number((item.get("precision") or {}).get("price")),
        "lot_size": number((item.get("precision") or {}).get("amount")),
        "min_amount": number((limits.get("amount") or {}).get("min")),
        "min_cost": number((limits.get("cost") or {}).get("min")),
        "max_leverage": number((limits.get("leverage") or {}).get("max")),
        "expiry": moment(item.get("expiry")),
        "strike": number(item.get("strike")),
        "option_type": item.get("optionType"),
    }
