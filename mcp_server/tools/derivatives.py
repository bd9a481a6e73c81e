"""Tools for what only perpetual futures have: mark price, funding, open interest, liquidations."""

from __future__ import annotations

from typing import Literal

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Cursor, Format, Limit, Market, Symbol, Time
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_streaming.schema import STREAMS

_IDENTITY = ("symbol", "exchange", "market_type")
_MARKS, _INTEREST, _LIQUIDATIONS = (STREAMS[name].table for name in ("mark_prices", "open_interest", "liquidations"))


@tool()
def mark_funding_get(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Mark price, index price, basis and the funding rate in force, futures only. Without start and end: the newest
    row of each stored series; with them: history, newest first. funding_rate is a fraction per funding interval (0.0001
    is 0.01 %), longs pay when positive; annualized_rate and basis_pct are percent. Times UTC."""
    columns = (
        "timestamp",
        *_IDENTITY,
        *("mark_price", "index_price", "basis", "basis_pct", "funding_rate", "annualized_rate"),
    )
    equals = windows.series(symbol, market)
    if not (start or end or cursor):
        return windows.latest(context, _MARKS, columns, equals, _IDENTITY)
    return windows.newest(
        context, _MARKS, equals=equals, columns=columns, limit=limit, start=start, end=end, cursor=cursor
    )


@tool()
def open_interest_get(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Open interest in base coin and in USD, with its change over one hour, futures only. Without start and end: the
    newest row of each stored series; with them: history, newest first. Venues publish it every few seconds to minutes,
    so look at age_s. oi_change_pct_1h is percent; times UTC."""
    names = ("open_interest", "open_interest_usd", "oi_change_1h", "oi_change_pct_1h")
    columns = ("timestamp", *_IDENTITY, *names)
    equals = windows.series(symbol, market)
    if not (start or end or cursor):
        return windows.latest(context, _INTEREST, columns, equals, _IDENTITY)
    return windows.newest(
        context, _INTEREST, equals=equals, columns=columns, limit=limit, start=start, end=end, cursor=cursor
    )


@tool()
def liquidations_get(
    context: Context,
    symbol: Symbol | None = None,
    market: Market = DEFAULT_MARKET,
    side: Literal["long", "short"] | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
    response_format: Format = "concise",
) -> Answer:
    """Forced closures, newest first, futures only. side is the position that was closed: long liquidations sell. Most
    venues publish a sample, so sums are lower bounds and an empty window does not prove that there were none. price and
    value_usd in quote currency, quantity in base coin; times UTC."""
    columns = ("timestamp", "symbol", "side", "price", "quantity", "value_usd", "is_large")
    return windows.newest(
        context,
        _LIQUIDATIONS,
        equals=windows.series(symbol, market) | ({"side": side} if side else {}),
        columns=_LIQUIDATIONS.names if response_format == "detailed" else columns,
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
    )
