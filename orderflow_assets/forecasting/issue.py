"""Issues the forecasts of a stretch of time: every series, every target, every five-minute edge that has none yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.forecasting.frame import (
    FrameError,
    count_bars,
    floor_step,
    known_until,
    read_frame,
)
from orderflow_assets.forecasting.predict import forecast, serving
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Store, Window

_INSTANT = timedelta(microseconds=1)
_ISSUED_SQL = f"""
SELECT DISTINCT series, target, issued_at FROM {FORECASTS.qualified} WHERE issued_at > $start AND issued_at <= $until
"""


@dataclass(slots=True)
class Issued:
    """What one pass did. Counts are forecasts of one step; ``latest`` holds the rows of each series' last origin."""

    written: int = 0
    without_value: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)
    """Series of which not even a refusal could be stored, with the reason."""
    latest: list[pa.Table] = field(default_factory=list)

    def count(self, rows: pa.Table) -> None:
        self.written += rows.num_rows
        self.without_value += rows.column("point").null_count
        self.by_model.update(rows.column("model").to_pylist())


def issue(store: Store, registry: Registry, start: datetime, end: datetime) -> Issued:
    """Forecast at every edge in ``(start, end]`` up to the newest bar. What was issued before stays as it is."""
    store.ensure(FORECASTS)
    issued, newest = Issued(), known_until(store)
    until = min(floor_step(end), newest) if newest else start
    if until <= start:
        return issued
    made = {tuple(row.values()) for row in store.query(_ISSUED_SQL, {"start": start, "until": until}).to_pylist()}
    for series in count_bars(store):
        try:
            frame = read_frame(store, series, until)
        except FrameError as error:
            issued.refused[series.key] = str(error)
            continue
        for target in TARGETS.values():
            origins = [
                origin
                for origin, edge in enumerate(frame.times.tolist())
                if edge > start and (series.key, target.name, edge) not in made
            ]
            if not origins:
                continue
            rows = forecast(frame, target, serving(registry, series.key, target.name), origins)
            of_series = {"series": series.key, "target": target.name}
            for stretch in _stretches(origins):
                first, last = frame.times[stretch[0]].item(), frame.times[stretch[-1]].item()
                store.write(FORECASTS, _between(rows, first, last), Window(first, last + _INSTANT, of_series))
            issued.count(rows)
            issued.latest.append(_between(rows, last, last))
    return issued


def _stretches(origins: list[int]) -> list[np.ndarray]:
    """Origins without a hole between them, so that a write replaces nothing that was issued before."""
    return np.split(np.array(origins), np.flatnonzero(np.diff(origins) != 1) + 1)


def _between(rows: pa.Table, first: datetime, last: datetime) -> pa.Table:
    issued_at = rows.column("issued_at")
    edges = [pa.scalar(edge, pa.timestamp("us")) for edge in (first, last)]
    return rows.filter(pc.and_(pc.greater_equal(issued_at, edges[0]), pc.less_equal(issued_at, edges[1])))
