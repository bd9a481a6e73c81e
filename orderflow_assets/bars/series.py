"""What all computed tables share: how a row starts, how long things last, how a window is cut."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store, Window
from orderflow_streaming.store.window import naive_utc
from orderflow_streaming.tables import Column, Table

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

STALE = timedelta(seconds=5)
"""How long a quote or a book stands for the market when nothing follows it."""

ARRIVAL = timedelta(seconds=2)
"""How long after its closing edge a bar waits for the records that belong to it."""

SERIES_NAMES: tuple[str, ...] = tuple(column.name for column in IDENTITY)

SERIES = ", ".join(SERIES_NAMES)
"""``symbol, exchange, market_type``: what names one series, for SELECT, GROUP BY and PARTITION BY."""

NUMBER = f"(hash({SERIES}) >> 1)::BIGINT"
"""A series as one number, to sort, group and join millions of ticks by at half the price of three words.

Of a hundred series two share a number with a probability of 5e-16.
"""

BAR_COLUMNS: tuple[Column, ...] = (
    *IDENTITY,
    Column("open_time", "TIMESTAMP", "opening edge of the bar", "UTC", nullable=False),
    Column("bar_ts", "TIMESTAMP", "closing edge of the bar: what the row knows, it knew then", "UTC", nullable=False),
)

BAR_KEY: tuple[str, ...] = (*SERIES_NAMES, "bar_ts")


def closed_window(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """``start`` and ``end`` as naive UTC, ``end`` no later than the last full minute: a running bar is no bar yet.

    Raises ValueError where an edge is not on a full minute. The window may come out empty, never reversed.
    """
    start, end = naive_utc(start), naive_utc(end)
    for edge in (start, end):
        if edge.second or edge.microsecond:
            raise ValueError(f"a window of bars starts and ends on a full minute, not at {edge.isoformat()}")
    last = (datetime.now(UTC).replace(tzinfo=None) - ARRIVAL).replace(second=0, microsecond=0)
    return start, max(start, min(end, last))


def hours(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """``[start, end)`` cut at full hours, so that memory does not grow with the window."""
    edges = [start]
    while edges[-1] < end:
        following = edges[-1].replace(minute=0, second=0, microsecond=0) + HOUR
        edges.append(min(following, end))
    return list(itertools.pairwise(edges))


def midnight(moment: datetime) -> datetime:
    """The 00:00 UTC at or before ``moment``."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def midnights(start: datetime, end: datetime) -> list[datetime]:
    """Each 00:00 UTC in ``[start, end)``, for what is estimated once a day."""
    first = midnight(start)
    first = first if first == start else first + DAY
    return [first + DAY * count for count in range(max(0, -((first - end) // DAY)))]


def midnights_due(store: Store, table: Table, start: datetime, end: datetime) -> list[datetime]:
    """The midnights in ``[start, end)`` for which a table of daily estimates has to be computed.

    An hour that is still running is computed again and again; the midnight it began with is left as it is once it has
    rows. When the hour is over, and in every later window, it is computed like any other.
    """
    opening, closing = closed_window(start, end)
    due = midnights(opening, closing)
    if due and closing < naive_utc(end) and closing - due[-1] < HOUR and _has_rows(store, table, due[-1]):
        return due[:-1]
    return due


def at(moment: datetime) -> Window:
    """The rows of one moment."""
    return Window(moment, moment + timedelta(microseconds=1))


def _has_rows(store: Store, table: Table, moment: datetime) -> bool:
    found = store.query(f'SELECT 1 FROM {table.qualified} WHERE "{table.time}" = ? LIMIT 1', [moment])
    return found.num_rows > 0
