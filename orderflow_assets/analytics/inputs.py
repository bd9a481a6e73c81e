"""What the analytics read of stored tables: minutes of feature groups, and a week of quarter hours to rank against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.bars.series import MINUTE, SERIES, SERIES_NAMES, midnight
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Array, Grid, Identity, percent_rank
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

WEEK = timedelta(days=7)
QUARTER = timedelta(minutes=15)
QUARTERS = WEEK // QUARTER
RANKED = "percent rank among the quarter hours of the 7 days before"


def features(
    store: Store, wanted: Mapping[str, Sequence[str]], series: Sequence[Identity], first: datetime, last: datetime
) -> dict[str, Array]:
    """``group.feature`` of ``series`` on the minutes that close from ``first`` to ``last``."""
    found: dict[str, Array] = {}
    for group, names in wanted.items():
        grid = Grid.read(store, GROUPS[group].table, names, first, last, MINUTE, series)
        found |= {f"{group}.{name}": grid[name] for name in names}
    return found


def week_before(
    store: Store,
    table: Table,
    expressions: Mapping[str, str],
    start: datetime,
    end: datetime,
    series: Sequence[Identity],
) -> dict[str, Array]:
    """SQL ``expressions`` of a table of minutes at the quarter hours of the 7 days before each closing edge.

    Shape (series, minutes of ``[start, end)``, :data:`QUARTERS`). A table without venues is read by the identities
    ``(symbol, "", "")``.
    """
    closing = [start + (minute + 1) * MINUTE for minute in range(round((end - start) / MINUTE))]
    opening = [_next_quarter(edge - WEEK) for edge in closing]
    first, last = opening[0], opening[-1] + (QUARTERS - 1) * QUARTER
    identity = SERIES if SERIES_NAMES[1] in table.names else "symbol, '' AS exchange, '' AS market_type"
    read = ", ".join(f"{sql} AS {name}" for name, sql in expressions.items())
    rows = store.query(
        f"SELECT {identity}, bar_ts, {read} FROM {table.qualified} "
        "WHERE open_time >= ? AND open_time < ? AND epoch_us(bar_ts) % 900000000 = 0",
        [first - MINUTE, last],
        timeout_s=600,
    )
    grid = Grid.of(rows, first, last, QUARTER, series)
    place = np.array([round((edge - first) / QUARTER) for edge in opening])
    return {
        name: np.lib.stride_tricks.sliding_window_view(grid[name], QUARTERS, axis=1)[:, place] for name in expressions
    }


def _next_quarter(moment: datetime) -> datetime:
    day = midnight(moment)
    return day + -(-(moment - day) // QUARTER) * QUARTER


def signed_rank(values: Array, baseline: Array) -> Array:
    """Percent rank put on [-1, 1]: the median of the baseline is 0."""
    return 2 * percent_rank(values, baseline) - 1
