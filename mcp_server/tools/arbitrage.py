"""Tools for price differences between the venues of a symbol, from the stored quotes alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mcp_server import windows
from mcp_server.arguments import Limit, Market, Symbol, Time, span
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, undeclared
from mcp_server.tools.analytics import FEES, PAIR, pair
from mcp_server.tools.history import spelled
from orderflow_assets.analytics.fees import taker_fee_bps
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column

TOOLSET = "arbitrage"
CARRIED_S = 10
"""Seconds for which a quote stands where its venue sends no other."""
_QUOTES = STREAMS["prices"].table
_SERIES = ("symbol", "exchange", "market_type")

Spelled = Annotated[Market, BeforeValidator(spelled)]
Net = Annotated[float, Field(ge=-100, le=100, description="smallest net spread, percent")]
_NET = "net_pct"
_AGES = (
    Column("buy_age_s", "DOUBLE", "age of the quote we buy at", "s"),
    Column("sell_age_s", "DOUBLE", "age of the quote we sell at", "s"),
)


@tool(toolset=TOOLSET)
def arbitrage_pairs_get(
    context: Context,
    symbol: Symbol,
    market: Spelled | None = None,
    other_market: Spelled | None = None,
    min_net_pct: Net | None = None,
    limit: Limit = 40,
) -> Answer:
    """Every ordered pair of venues of a symbol by their newest stored quotes, best first: buy at one's ask, sell at the
    other's bid, gross and net of both base-tier taker fees; mid_difference_bps above 0: the buying side is cheaper.
    With market and other_market, only these two, both ways. Look at the ages: an old quote makes a spread that is not
    there. meta.quotes has prices and times."""
    found = _newest(context, symbol)
    columns = (*PAIR, *_AGES)
    if not len(found):
        return windows.empty(_QUOTES, columns, found.hint or "")
    quotes = _quoted(found)
    rows = _pairs(quotes, [name for name in (market, other_market) if name])
    kept = [row for row in rows if min_net_pct is None or row[len(PAIR) - 1] >= 100 * min_net_pct]
    count = context.rows(limit)
    answer = Answer.rows(columns, kept[:count], source=_QUOTES.qualified, truncated=len(kept) > count)
    answer.moment = max(quote["timestamp"] for quote in quotes)
    answer.meta = {"symbol": symbol, "pairs": len(rows), "quotes": _told(quotes), **FEES}
    if not rows:
        answer.hint = _no_pair(symbol, quotes, market, other_market)
    elif not kept:
        answer.hint = f"No pair nets {min_net_pct:g} % after fees; the best nets {rows[0][len(PAIR) - 1] / 100:.4g} %."
    return answer


def _newest(context: Context, symbol: str | None) -> Answer:
    names = ("timestamp", *_SERIES, "bid_price", "ask_price", "mid_price")
    return windows.latest(context, _QUOTES, names, windows.series(symbol, None), _SERIES)


def _quoted(found: Answer) -> list[dict[str, Any]]:
    """The quotes that have both sides."""
    names = [column.name for column in found.columns]
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*found.values, strict=True)]
    return [row for row in rows if row["bid_price"] and row["ask_price"]]


def _pairs(quotes: list[dict[str, Any]], asked: list[str]) -> list[tuple[Any, ...]]:
    """Pairs of different venues, those of the ``asked`` ones where given, best first."""
    rows = [
        (*pair(buy, sell), buy["age_s"], sell["age_s"])
        for buy in quotes
        for sell in quotes
        if buy is not sell and set(asked) <= {_market(buy), _market(sell)}
    ]
    return sorted(rows, key=lambda row: -row[len(PAIR) - 1])


def _market(quote: dict[str, Any]) -> str:
    return f"{quote['exchange']}_{quote['market_type']}"


def _told(quotes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("bid_price", "ask_price", "mid_price", "age_s")
    return [{"market": _market(quote), **{name: quote[name] for name in names}} for quote in quotes]


def _no_pair(symbol: str, quotes: list[dict[str, Any]], *asked: str | None) -> str:
    there = [_market(quote) for quote in quotes]
    absent = [name for name in asked if name and name not in there]
    if absent:
        return f"No quote of {symbol} is stored from {' and '.join(absent)}. Stored: {', '.join(there)}."
    return f"Only {', '.join(there)} has a quote of {symbol}: there is no pair."


_EPISODES = (
    Column("symbol", "VARCHAR"),
    Column("buy_market", "VARCHAR", "market to buy on"),
    Column("sell_market", "VARCHAR", "market to sell on"),
    Column("started", "TIMESTAMP", "first second", "UTC"),
    Column("ended", "TIMESTAMP", "last second", "UTC"),
    Column("seconds", "BIGINT", "in which it was there", "s"),
    Column("ask_price", "DOUBLE", "where we buy, at its best", "quote"),
    Column("bid_price", "DOUBLE", "where we sell, at its best", "quote"),
    Column("gross_pct", "DOUBLE", "bid over ask - 1, at its best", "percent"),
    Column(_NET, "DOUBLE", "the same after both taker fees", "percent"),
)


@tool(toolset=TOOLSET, timeout_s=30)
def arbitrage_opportunities_get(
    context: Context,
    symbol: Symbol | None = None,
    min_profit_pct: Annotated[float, Field(ge=-100, le=100)] = 0.0,
    after_fees: bool = True,
    start: Time = "15m",
    end: Time | None = None,
    limit: Limit = 20,
) -> Answer:
    """When buying on one venue and selling on another paid at least min_profit_pct, after both base-tier taker fees
    (after_fees false: before), newest first: stretches of seconds of one pair of venues in the stored quotes, each
    quote standing at most 10 s. No size, latency or transfer is counted: an upper bound. Usually there is none after
    fees. Times UTC."""
    equals = windows.series(symbol, None)
    edges = span(start, end)
    where, values = windows.conditions(_QUOTES, equals, *edges)
    count = context.rows(limit)
    measure = _NET if after_fees else "gross_pct"
    answer = windows.aggregated(
        context,
        _QUOTES,
        _EPISODES,
        f"{_episodes(where, measure)} LIMIT {count + 1}",
        [*values, min_profit_pct],
        equals=equals,
        edges=edges,
        time="ended",
        limit=count,
        meta={"order": "newest first", "fees": FEES["fees"], "quote_stands_s": CARRIED_S},
    )
    if not len(answer) and "Stored:" in (answer.hint or "") and _any(context, where, values):
        answer.hint = (
            f"Quotes are stored, but no pair of venues reached {min_profit_pct:g} % ({measure}) in the window."
        )
    return answer


def _any(context: Context, where: str, values: list[Any]) -> bool:
    return context.query(f"SELECT 1 FROM {_QUOTES.qualified} WHERE {where} LIMIT 1", values).num_rows > 0


def _episodes(where: str, measure: str) -> str:
    """Stretches in which a pair of venues pays, second by second on quotes carried from the last one."""
    fees = ", ".join(
        f"('{market.exchange}', '{market.market_type}', {taker_fee_bps(market.exchange, market.market_type)} / 10000)"
        for market in MARKETS.values()
    )
    return f"""
        WITH fees(exchange, market_type, fee) AS (VALUES {fees}),
        told AS (
            SELECT symbol, exchange, market_type, time_bucket(INTERVAL 1 SECOND, timestamp) AS second,
                   arg_max(struct_pack(bid := bid_price, ask := ask_price), (timestamp, id)) AS quote
            FROM main.prices WHERE {where} GROUP BY ALL
        ),
        until AS (
            SELECT *, least(
                coalesce(lead(second) OVER (PARTITION BY symbol, exchange, market_type ORDER BY second)
                         - INTERVAL 1 SECOND, second),
                second + INTERVAL {CARRIED_S} SECOND) AS last
            FROM told
        ),
        standing AS (
            SELECT symbol, exchange, market_type, fee, quote.bid AS bid, quote.ask AS ask,
                   unnest(range(second, last + INTERVAL 1 SECOND, INTERVAL 1 SECOND)) AS second
            FROM until JOIN fees USING (exchange, market_type) WHERE quote.bid > 0 AND quote.ask > 0
        ),
        paired AS (
            SELECT buy.symbol, buy.second, buy.exchange || '_' || buy.market_type AS buy_market,
                   sell.exchange || '_' || sell.market_type AS sell_market, buy.ask AS ask_price,
                   sell.bid AS bid_price, 100 * (sell.bid / buy.ask - 1) AS gross_pct,
                   100 * (sell.bid * (1 - sell.fee) / (buy.ask * (1 + buy.fee)) - 1) AS net_pct
            FROM standing AS buy JOIN standing AS sell ON buy.symbol = sell.symbol AND buy.second = sell.second
                 AND (buy.exchange, buy.market_type) <> (sell.exchange, sell.market_type) AND sell.bid > buy.ask * 0.5
        ),
        paying AS (
            SELECT *, second - INTERVAL 1 SECOND * row_number() OVER (
                PARTITION BY symbol, buy_market, sell_market ORDER BY second) AS stretch
            FROM paired WHERE {measure} >= ?
        )
        SELECT symbol, buy_market, sell_market, min(second) AS started, max(second) AS ended, count(*) AS seconds,
               arg_max(ask_price, {measure}) AS ask_price, arg_max(bid_price, {measure}) AS bid_price,
               arg_max(gross_pct, {measure}) AS gross_pct, arg_max(net_pct, {measure}) AS net_pct
        FROM paying GROUP BY symbol, buy_market, sell_market, stretch
        ORDER BY ended DESC, {measure} DESC, buy_market, sell_market"""


_PART = (Column("part", "VARCHAR"), undeclared("value"))
_BEST = 5


@tool(toolset=TOOLSET, timeout_s=30)
def arbitrage_analyze(
    context: Context,
    symbol: Symbol,
    min_net_pct: Net = 0.05,
    spreads: bool = True,
    opportunities: bool = True,
) -> Answer:
    """One symbol across its venues now: cheapest and dearest mid with the time of each, the best pairs of venues net of
    base-tier taker fees, stretches of the last 15 minutes that paid min_net_pct or more, and in one line whether any
    pair does now. For all pairs arbitrage_pairs_get; for minutes and sizes cross_exchange_spreads_get. Prices in quote
    currency."""
    found = _newest(context, symbol)
    if not len(found):
        return windows.empty(_QUOTES, _PART, found.hint or "")
    quotes = _quoted(found)
    pairs = _pairs(quotes, [])
    names = [column.name for column in (*PAIR, *_AGES)]
    best = [dict(zip(names, row, strict=True)) for row in pairs[:_BEST]]
    parts: list[tuple[str, Any]] = [("prices", _told(sorted(quotes, key=lambda quote: quote["mid_price"])))]
    if len(quotes) > 1:
        mids = [quote["mid_price"] for quote in quotes]
        parts.append(("range_pct", 100 * (max(mids) / min(mids) - 1)))
    if spreads:
        parts.append(("best_pairs", best))
    if opportunities:
        paid = arbitrage_opportunities_get.run(context, symbol, min_net_pct, limit=_BEST)
        names = [column.name for column in paid.columns]
        parts.append(("paid_recently", [dict(zip(names, row, strict=True)) for row in zip(*paid.values, strict=True)]))
    parts.append(("assessment", _assessed(symbol, best, min_net_pct, quotes)))
    answer = Answer.rows(_PART, parts, source=_QUOTES.qualified, hoisted=False)
    answer.moment = max((quote["timestamp"] for quote in quotes), default=datetime.now(UTC).replace(tzinfo=None))
    answer.meta = {"symbol": symbol, "min_net_pct": min_net_pct, **FEES}
    return answer


def _assessed(symbol: str, best: list[dict[str, Any]], floor: float, quotes: list[dict[str, Any]]) -> str:
    if not best:
        return _no_pair(symbol, quotes)
    first = best[0]
    net = first["net_spread_bps"] / 100
    told = f"buying on {first['buy_market']} and selling on {first['sell_market']} nets {net:.4g} % after taker fees"
    age = max(first["buy_age_s"], first["sell_age_s"])
    if age > CARRIED_S:
        return f"By quotes up to {age:g} s old {told}: too old to act on."
    return f"{'Pays' if net >= floor else 'Does not pay'}: at best {told}; asked were {floor:g} %."
