"""The columns every computed row starts with, and the few times and names all layers share."""

from __future__ import annotations

from datetime import datetime, timedelta

from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

STALE_S = 5
"""Seconds after which a quote or a book no longer stands for the market."""

SERIES = ", ".join(column.name for column in IDENTITY)
"""``symbol, exchange, market_type``: what names one series, for SELECT, GROUP BY and PARTITION BY."""

SERIES_NAMES: tuple[str, ...] = tuple(column.name for column in IDENTITY)

BAR_COLUMNS: tuple[Column, ...] = (
    *IDENTITY,
    Column("open_time", "TIMESTAMP", "opening edge of the bar", "UTC", nullable=False),
    Column("bar_ts", "TIMESTAMP", "closing edge of the bar: what the row knows, it knew then", "UTC", nullable=False),
)

BAR_KEY: tuple[str, ...] = (*SERIES_NAMES, "bar_ts")


def hours(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """``[start, end)`` cut at full hours, so that one step's memory does not grow with the window."""
    edges = [start]
    while edges[-1] < end:
        following = edges[-1].replace(minute=0, second=0, microsecond=0) + HOUR
        edges.append(min(following, end))
    return list(zip(edges[:-1], edges[1:], strict=True))
