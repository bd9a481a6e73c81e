"""``analytics.lead_lag``: which venue of a symbol moves first, every quarter of an hour, over the last hour of mids."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.analytics.hayashi_yoshida import LAGS, MAX_LAG_S, cross_correlation
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import HOUR, SERIES, closed_window, midnight
from orderflow_assets.features.grid import MIN_BASELINE, Array, Grid
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

EVERY = timedelta(minutes=15)
SECOND = timedelta(seconds=1)
_HOUR_S = 3600

CRITICAL_Z = 3.32
"""Two-sided 1 % for the largest of eleven lags (Bonferroni): below it the peak is chance."""

LEAD_LAG = Table(
    "analytics",
    "lead_lag",
    (
        Column("symbol", "VARCHAR", "exchange-neutral pair, upper case", nullable=False),
        Column("first_exchange", "VARCHAR", "first venue", nullable=False),
        Column("first_market_type", "VARCHAR", "futures or spot", nullable=False),
        Column("second_exchange", "VARCHAR", "second venue", nullable=False),
        Column("second_market_type", "VARCHAR", "futures or spot", nullable=False),
        Column("valid_from", "TIMESTAMP", "end of the hour it was measured on", "UTC", False),
        Column(
            "lead_lag_seconds",
            "DOUBLE",
            f"lag in [-{MAX_LAG_S} s, {MAX_LAG_S} s], in steps of 1 s, at which the Hayashi-Yoshida cross-correlation "
            "of the mid changes of the last hour is largest; positive where the first venue leads. NULL where that "
            f"correlation is no more than chance (z under {CRITICAL_Z}) or a venue has under {MIN_BASELINE} changes. "
            "Source: Hayashi & Yoshida 2005; Hoffmann, Rosenbaum & Yoshida 2013",
            "s",
        ),
        Column("correlation", "DOUBLE", "the cross-correlation at that lag", "correlation"),
        Column("correlation_at_zero", "DOUBLE", "the cross-correlation without a lag", "correlation"),
        Column("z", "DOUBLE", "largest covariance over its standard deviation, were the venues independent", "sigma"),
        Column(
            "lead_lag_ratio",
            "DOUBLE",
            "squared correlations at lags at which the first venue leads over those at which the second does; above 1 "
            "the first leads. NULL as lead_lag_seconds. Source: Huth & Abergel 2014",
            "ratio",
        ),
        Column("first_changes", "BIGINT", "seconds of the hour at which the first venue's mid changed", "count", False),
        Column("second_changes", "BIGINT", "the same of the second venue", "count", False),
    ),
    ("symbol", "first_exchange", "first_market_type", "second_exchange", "second_market_type", "valid_from"),
    "valid_from",
    "Lead of one venue's price over another's, a row per pair of venues of a symbol and quarter of an hour.",
)

_MID_SQL = f"""
SELECT {SERIES}, bar_ts, ln((bid_price + ask_price) / 2) AS log_mid
FROM bars.quotes_1s
WHERE open_time >= ? AND open_time < ? AND bid_price IS NOT NULL
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(QUOTES_1S, LEAD_LAG)
    start, end = closed_window(start, end)
    if start >= end:
        return 0
    measured = [row for mark in marks(start, end, EVERY) for row in _measured(store, mark)]
    data = pa.Table.from_pylist(measured, LEAD_LAG.arrow_schema)
    return store.write(LEAD_LAG, data, Window(start, end))


def marks(start: datetime, end: datetime, every: timedelta) -> Iterator[datetime]:
    """Full multiples of ``every``, a divisor of a day, in ``[start, end)``."""
    day = midnight(start)
    mark = day + -(-(start - day) // every) * every
    while mark < end:
        yield mark
        mark += every


def _measured(store: Store, mark: datetime) -> Iterator[dict[str, Any]]:
    quotes = store.query(_MID_SQL, [mark - HOUR, mark], timeout_s=600)
    grid = Grid.of(quotes, mark - HOUR + SECOND, mark, SECOND)
    for symbol, members in itertools.groupby(range(len(grid.series)), lambda place: grid.series[place][0]):
        places = list(members)
        if len(places) > 1:
            venues = [grid.series[place][1:] for place in places]
            yield from _pairs(symbol, venues, grid["log_mid"][places], mark)


def _pairs(symbol: str, venues: Sequence[tuple[str, ...]], log_mids: Array, mark: datetime) -> Iterator[dict[str, Any]]:
    measured = cross_correlation(log_mids)
    for first, second in itertools.combinations(range(len(venues)), 2):
        changes = measured.changes[[first, second]]
        correlation, z = measured.correlation[:, first, second], measured.z[:, first, second]
        row = {
            "symbol": symbol,
            "first_exchange": venues[first][0],
            "first_market_type": venues[first][1],
            "second_exchange": venues[second][0],
            "second_market_type": venues[second][1],
            "valid_from": mark,
            "first_changes": int(changes[0]),
            "second_changes": int(changes[1]),
        }
        yield row | (_peak(correlation, z) if changes.min() >= MIN_BASELINE and np.isfinite(z).all() else {})


def _peak(correlation: Array, z: Array) -> dict[str, float | None]:
    """The largest correlation and, if it is more than chance, the lag at which it is."""
    lags = np.array(LAGS)
    peak = int(correlation.argmax())
    found: dict[str, float | None] = {"z": float(z[peak]), "correlation_at_zero": float(correlation[lags == 0][0])}
    if z[peak] < CRITICAL_Z:
        return found
    ahead, behind = (float((correlation[side] ** 2).sum()) for side in (lags > 0, lags < 0))
    return found | {
        "lead_lag_seconds": float(lags[peak]),
        "correlation": float(correlation[peak]),
        "lead_lag_ratio": ahead / behind if behind > 0 else None,
    }


LAYER = Layer(
    LEAD_LAG,
    _compute,
    (QUOTES_1S.qualified,),
    HOUR,
    "analytics",
    ("duckdb", "python"),
    every=EVERY,
    lineage=dict.fromkeys(
        (name for name in LEAD_LAG.names if name not in LEAD_LAG.key),
        columns_of(QUOTES_1S.qualified, "bid_price", "ask_price"),
    ),
)
