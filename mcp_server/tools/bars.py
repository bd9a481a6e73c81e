"""Tools for minute bars, features and signals."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from mcp_server import catalog, windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Cursor, Format, Limit, Market, Symbol, Time, one_of, span
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_streaming.tables import Column

Signal = Annotated[str, one_of(SIGNALS)]
_FIRST_SIGNAL = next(iter(SIGNALS))

_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}

_BARS = (
    Column("bar_ts", "TIMESTAMP", "closing edge", "UTC"),
    *(BARS_1M.column(name) for name in ("open", "high", "low", "close", "volume", "quote_volume")),
    Column("taker_buy_share", "DOUBLE", "volume bought by takers over volume", "fraction"),
    *(BARS_1M.column(name) for name in ("trade_count", "vwap", "mid_close", "spread_bps")),
    Column("minutes", "BIGINT", "stored minutes in the bar", "minutes"),
    Column("data_to", "TIMESTAMP", "closing edge of the last stored minute in it", "UTC"),
)


def _total(column: str) -> str:
    """The sum of a column; NULL where one of the stored minutes does not know it."""
    return f"CASE WHEN count({column}) = count(*) THEN sum({column}) END"


@tool()
def bars_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    interval: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = "1m",
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Bars of one symbol made of its trades and quotes, newest first: OHLC, volume, taker buy share, VWAP, mid
    and spread. bar_ts is the closing edge, UTC; prices in quote currency, volume in base coin. minutes says how
    many minutes of the interval are stored: fewer means the bar is partial, known up to data_to. A NULL volume
    is unknown, not zero."""
    width = _MINUTES[interval]
    equals = windows.series(symbol, market)
    first, last = span(start, end)
    where, values = windows.conditions(BARS_1M, equals, first, _sooner(last, windows.cursor_time(cursor), width))
    limit = context.rows(limit)
    sql = f"""
        SELECT time_bucket(INTERVAL {width} MINUTE, open_time, TIMESTAMP '2000-01-01')
               + INTERVAL {width} MINUTE AS bar_ts,
               arg_min(open, open_time) AS open, max(high) AS high, min(low) AS low, arg_max(close, open_time) AS close,
               {_total("volume")} AS volume, {_total("quote_volume")} AS quote_volume,
               {_total("taker_buy_volume")} / nullif({_total("volume")}, 0) AS taker_buy_share,
               ({_total("trade_count")})::BIGINT AS trade_count,
               sum(quote_volume) / nullif(sum(volume), 0) AS vwap,
               arg_max_null(mid_close, open_time) AS mid_close,
               sum(spread_bps * quoted_s) / nullif(sum(quoted_s) FILTER (spread_bps IS NOT NULL), 0) AS spread_bps,
               count(*) AS minutes, max(minute.bar_ts) AS data_to
        FROM bars.bars_1m AS minute WHERE {where} GROUP BY 1 ORDER BY 1 DESC LIMIT {limit + 1}"""
    return windows.aggregated(
        context,
        BARS_1M,
        _BARS,
        sql,
        values,
        equals=equals,
        edges=(first, last),
        limit=limit,
        time="data_to",
        paged_by="bar_ts",
        meta={"interval": interval, "minutes_per_bar": width, **windows.NEWEST_FIRST},
    )


def _sooner(end: datetime | None, sent: datetime | None, width: int) -> datetime | None:
    """The end of the minutes to read: before the opening of the bar that closed at ``sent``."""
    opening = sent - timedelta(minutes=width) if sent else None
    return min((edge for edge in (end, opening) if edge), default=None)


@tool(always_load=True)
def features_get(
    context: Context,
    group: Annotated[str, one_of(GROUPS)],
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    features: Annotated[list[str], Field(max_length=40)] | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 30,
    cursor: Cursor | None = None,
    response_format: Format = "concise",
) -> Answer:
    """Minute features of one symbol, newest first, a group at a time. Name features, else all of the group;
    detailed adds companion columns. NULL means undefined. catalog_describe gives definitions. bar_ts is the closing
    edge, UTC."""
    declared = GROUPS[group]
    known = {item.name for item in declared.columns}
    names = [name.removeprefix(f"{group}.") for name in features or []]
    for name in names:
        if name not in known:
            elsewhere = [other.name for other in GROUPS.values() if name in {item.name for item in other.columns}]
            if elsewhere:
                raise ToolError(
                    "argument", f"{name!r} is no feature of {group}.", f"It is in group {elsewhere[0]!r}.", nearest=name
                )
            raise catalog.unknown(f"feature of {group}", name, sorted(known))
    shown = names or [item.name for item in (declared.columns if response_format == "detailed" else declared.features)]
    return windows.newest(
        context,
        declared.table,
        equals=windows.series(symbol, market),
        columns=("bar_ts", "n_obs", *dict.fromkeys(shown)),
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
        time="bar_ts",
    )


@tool()
def signal_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    signal: Signal = _FIRST_SIGNAL,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 30,
    cursor: Cursor | None = None,
) -> Answer:
    """A composite signal of one symbol per minute, newest first: value, vote (1 up, -1 down), side, confidence (share
    of its weight that is known), components, fields. A score, not a probability; NULL where under half of the weight
    is known. bar_ts is the closing edge, UTC."""
    declared = SIGNALS[signal]
    answer = windows.newest(
        context,
        SIGNALS_TABLE,
        equals=windows.series(symbol, market) | {"signal": signal},
        columns=("bar_ts", "value", "vote", "confidence", "side", "components", "fields"),
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
        time="bar_ts",
    )
    answer.meta |= {"signal": signal, "range": declared.interval, "interpretation": declared.interpretation}
    return answer
