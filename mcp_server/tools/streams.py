"""Tools for the other stored streams, as the venues publish them. Not in the core; run them by name."""

from __future__ import annotations

from typing import Literal

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Cursor, Limit, Market, Symbol, Time
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Table

STREAMS_SET = "streams"
_LEFT_OUT = {"id", "received_at", "source_seq", "symbol", "exchange", "market_type", "raw_quantity"}


def _shown(table: Table) -> tuple[str, ...]:
    return tuple(name for name in table.names if name not in _LEFT_OUT)


@tool(toolset=STREAMS_SET)
def ticker_latest(context: Context, symbol: Symbol | None = None, market: Market | None = None) -> Answer:
    """Newest 24-hour statistics of each stored series, as the venue publishes them: volume, high, low, open,
    last, change in quote currency and percent, VWAP. Use it for the day as the venue counts it; for windows of
    your own use bars_get or trade_flow_get. Volumes in base coin and quote currency; times UTC."""
    table = STREAMS["ticker_24h"].table
    columns = ("symbol", "exchange", "market_type", *_shown(table))
    return windows.latest(context, table, columns, windows.series(symbol, market), columns[:3])


@tool(toolset=STREAMS_SET)
def candles_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """The venue's own one-minute candles of one symbol, newest first. is_closed is false while a candle still
    forms. Use it to compare with bars_get, which is made of the stored trades. open_time is the opening edge,
    UTC; prices in quote currency, volume in base coin, taker_buy_pct in percent."""
    return _history(context, "candles", symbol, market, start, end, limit, cursor)


@tool(toolset=STREAMS_SET)
def index_price_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Index price of one symbol's underlying as the venue publishes it, newest first, futures only. Use it for
    the reference that mark price and funding rest on; mark_funding_get has both side by side. Quote currency;
    timestamp is the exchange's, UTC."""
    return _history(context, "index_prices", symbol, market, start, end, limit, cursor)


@tool(toolset=STREAMS_SET)
def funding_history_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Funding rates of one symbol, a row per change of rate or settlement time, newest first, futures only.
    funding_rate is a fraction per interval (0.0001 is 0.01 %), longs pay when positive; annualized_pct is
    percent. For the rate now use mark_funding_get. Times UTC."""
    return _history(context, "funding_rates", symbol, market, start, end, limit, cursor)


def _history(
    context: Context,
    stream: Literal["candles", "index_prices", "funding_rates"],
    symbol: str,
    market: str,
    start: str | None,
    end: str | None,
    limit: int,
    cursor: str | None,
) -> Answer:
    table = STREAMS[stream].table
    return windows.newest(
        context,
        table,
        equals=windows.series(symbol, market),
        columns=_shown(table),
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
    )
