"""Joins forecasts with what happened, once it has happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.frame import FrameError, Series, known_until, read_frame, utc_now
from orderflow_assets.forecasting.tables import FORECASTS, SCORES
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Store

GIVE_UP = timedelta(hours=48)
"""How long an outcome may arrive late."""
_WARM_UP = timedelta(hours=3)
"""Bars read before the first outcome: its own hour and what the volatility needs."""

_OPEN_SQL = f"""
SELECT f.* FROM {FORECASTS.qualified} f
ANTI JOIN {SCORES.qualified} s USING (series, target, issued_at, step)
WHERE f.point IS NOT NULL AND f.target_ts <= $until AND f.target_ts > $oldest
ORDER BY f.series, f.target, f.issued_at, f.step
"""


@dataclass(frozen=True, slots=True)
class Scored:
    """What one scoring pass did, in forecasts."""

    written: int
    without_outcome: int
    """Due, but nothing was traded in the bar they are about (yet)."""


def score(store: Store) -> Scored:
    """Score every forecast whose outcome bar is complete and stored. Running it again changes nothing."""
    store.ensure(FORECASTS, SCORES)
    until = known_until(store)
    if until is None:
        return Scored(0, 0)
    due = store.query(_OPEN_SQL, {"until": until, "oldest": until - GIVE_UP}).to_pylist()
    scored_at, rows = utc_now(), []
    for key in dict.fromkeys(row["series"] for row in due):
        of_series = [row for row in due if row["series"] == key]
        outcomes = _outcomes(store, Series.parse(key), of_series, until)
        rows += [
            _row(row, actual, scored_at)
            for row in of_series
            if (actual := outcomes.get((row["target"], row["target_ts"]))) is not None
        ]
    if rows:
        store.write(SCORES, pa.Table.from_pylist(rows, SCORES.arrow_schema))
    return Scored(len(rows), len(due) - len(rows))


def _outcomes(
    store: Store, series: Series, due: list[dict[str, Any]], until: datetime
) -> dict[tuple[str, datetime], float]:
    """Level of each target at the closing edge of each bar that is known."""
    earliest = min(row["target_ts"] for row in due)
    try:
        frame = read_frame(store, series, until, until - earliest + _WARM_UP)
    except FrameError:
        return {}
    known: dict[tuple[str, datetime], float] = {}
    for name in dict.fromkeys(row["target"] for row in due):
        anchor = TARGETS[name].anchor(frame)
        there = ~np.isnan(anchor)
        moments, levels = frame.times[there].tolist(), np.exp(anchor[there]).tolist()
        known |= {(name, moment): level for moment, level in zip(moments, levels, strict=True)}
    return known


def _row(forecast: dict[str, Any], actual: float, scored_at: datetime) -> dict[str, Any]:
    return {name: forecast[name] for name in SCORES.names if name in forecast} | {
        "actual": actual,
        "error": actual - forecast["point"],
        "naive_error": actual - forecast["naive"],
        "scaled_error": log(actual / forecast["point"]) / forecast["scale"],
        "scaled_naive_error": log(actual / forecast["naive"]) / forecast["scale"],
        "inside_80": _inside(forecast, 80, actual),
        "inside_95": _inside(forecast, 95, actual),
        "scored_at": scored_at,
    }


def _inside(forecast: dict[str, Any], level: int, actual: float) -> bool | None:
    lower, upper = forecast[f"lower_{level}"], forecast[f"upper_{level}"]
    return None if lower is None or upper is None else bool(lower <= actual <= upper)
