"""Time bars of five minutes to a day, each from its minutes and written in the minute that closes it.

Edges lie on multiples of the length since 00:00 UTC. A bar with missing minutes is written all the same and says in
``minutes_covered`` how many of them had a live trade feed; its sums are over those.
"""

from __future__ import annotations

import re
from datetime import timedelta

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, DAY, HOUR, MINUTE, SERIES
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.tables import Column, Table

TIMEFRAMES: dict[str, timedelta] = {
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
}

AGGREGATES: dict[str, str] = {
    "open": "arg_min(open, open_time)",
    "high": "max(high)",
    "low": "min(low)",
    "close": "arg_max(close, open_time)",
    "volume": "sum(volume)",
    "quote_volume": "sum(quote_volume)",
    "taker_buy_volume": "sum(taker_buy_volume)",
    "taker_buy_quote": "sum(taker_buy_quote)",
    "trade_count": "sum(trade_count)::BIGINT",
    "vwap": "sum(quote_volume) / nullif(sum(volume), 0)",
    "mid_close": "any_value(mid_close) FILTER (bar_ts = closing)",
}
"""What becomes of each column of the minutes of a bar that closes at ``closing``."""

OHLCV: tuple[Column, ...] = tuple(BARS_1M.column(name) for name in AGGREGATES)

_LAST_MINUTE = Column("last_minute", "TIMESTAMP", "opening edge of the minute that closed it", "UTC", False)
_COVERED = Column("minutes_covered", "BIGINT", "minutes of it with a live trade feed", "count", False)


def coarser(minutes: Table, family: str, timeframe: str, extra: dict[str, str]) -> Layer:
    """The layer ``bars.<family>_<timeframe>`` from the one-minute bars ``minutes``.

    ``extra`` names further columns of ``minutes`` with the SQL that aggregates them.
    """
    length = TIMEFRAMES[timeframe]
    table = Table(
        "bars",
        f"{family}_{timeframe}",
        (*BAR_COLUMNS, *(minutes.column(name) for name in (*AGGREGATES, *extra)), _COVERED, _LAST_MINUTE),
        BAR_KEY,
        _LAST_MINUTE.name,
        f"{minutes.doc.rstrip('.')}, joined to bars of {timeframe}; written when closed.",
    )
    bucket = f"INTERVAL {length // MINUTE} MINUTE"
    figures = ", ".join(f"{sql} AS {name}" for name, sql in (AGGREGATES | extra).items())
    sql = f"""
    WITH minutes AS (
        SELECT *, time_bucket({bucket}, open_time) AS opening, opening + {bucket} AS closing
        FROM {minutes.qualified}
        WHERE open_time >= time_bucket({bucket}, $start::TIMESTAMP)
          AND open_time < time_bucket({bucket}, $end::TIMESTAMP)
    )
    SELECT {SERIES}, opening AS open_time, closing AS bar_ts, {figures},
           count(volume) AS minutes_covered, closing - INTERVAL 1 MINUTE AS last_minute
    FROM minutes
    GROUP BY {SERIES}, opening, closing
    """
    lineage = {
        name: columns_of(minutes.qualified, *(word for word in re.findall(r"\w+", figure) if word in minutes.names))
        for name, figure in (AGGREGATES | extra).items()
    }
    covered = {_COVERED.name: columns_of(minutes.qualified, "volume")}
    return selected(table, sql, (minutes,), length, lineage=lineage | covered)


LAYERS: tuple[Layer, ...] = tuple(coarser(BARS_1M, "bars", timeframe, {}) for timeframe in TIMEFRAMES)
