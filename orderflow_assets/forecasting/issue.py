"""Issues the forecasts of a stretch of time: every series, every target, every five-minute edge that has none yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.forecasting.configured import chosen
from orderflow_assets.forecasting.frame import (
    STEP,
    FrameError,
    count_bars,
    floor_step,
    known_until,
    read_frame,
)
from orderflow_assets.forecasting.predict import forecast, refused, serving
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
    """Series of which there is no frame, with the reason; it stands in the rows too."""
    latest: list[pa.Table] = field(default_factory=list)

    def count(self, rows: pa.Table) -> None:
        self.written += rows.num_rows
        self.without_value += rows.column("point").null_count
        self.by_model.update(rows.column("model").to_pylist())


def issue(store: Store, registry: Registry, start: datetime, end: datetime, wanted: list[str] | None = None) -> Issued:
    """Forecast at every edge in ``(start, end]`` up to the newest bar. What was issued before stays as it is.

    ``wanted`` are keys of series, with bars or without; none means every series that has bars. An edge at which there
    can be no forecast gets a row without one that says why.
    """
    store.ensure(FORECASTS)
    issued, newest = Issued(), known_until(store)
    until = min(floor_step(end), newest) if newest else start
    if until <= start:
        return issued
    made = {tuple(row.values()) for row in store.query(_ISSUED_SQL, {"start": start, "until": until}).to_pylist()}
    edges = [floor_step(start) + step * STEP for step in range(1, (until - floor_step(start)) // STEP + 1)]
    for series in chosen(count_bars(store), wanted or []):
        due = {name: [edge for edge in edges if (series.key, name, edge) not in made] for name in TARGETS}
        if not any(due.values()):
            continue
        try:
            frame = read_frame(store, series, until)
        except FrameError as error:
            issued.refused[series.key] = str(error)
            for name, missing in due.items():
                _write(store, refused(series, TARGETS[name], missing, str(error)), missing, issued)
            continue
        places = {edge: place for place, edge in enumerate(frame.times.tolist())}
        for name, missing in due.items():
            known = [edge for edge in missing if edge in places]
            if known:
                server = serving(registry, series.key, name)
                rows = forecast(frame, TARGETS[name], server, [places[edge] for edge in known])
                _write(store, rows, known, issued)
                issued.latest.append(_between(rows, known[-1], known[-1]))
    return issued


def _write(store: Store, rows: pa.Table, edges: list[datetime], issued: Issued) -> None:
    """Store the rows of one series and target, in stretches of edges without a hole: what lies in one stays."""
    if not edges:
        return
    of_series = {name: rows.column(name)[0].as_py() for name in ("series", "target")}
    holes = [place for place in range(1, len(edges)) if edges[place] - edges[place - 1] != STEP]
    for first, after in pairwise((0, *holes, len(edges))):
        start, end = edges[first], edges[after - 1]
        store.write(FORECASTS, _between(rows, start, end), Window(start, end + _INSTANT, of_series))
    issued.count(rows)


def _between(rows: pa.Table, first: datetime, last: datetime) -> pa.Table:
    issued_at = rows.column("issued_at")
    edges = [pa.scalar(edge, pa.timestamp("us")) for edge in (first, last)]
    return rows.filter(pc.and_(pc.greater_equal(issued_at, edges[0]), pc.less_equal(issued_at, edges[1])))
