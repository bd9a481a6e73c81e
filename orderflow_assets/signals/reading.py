"""From stored tables to :class:`~orderflow_assets.signals.inputs.Inputs`: each table once per past that is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.analytics.regimes import REGIMES, STATES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY as ONE_DAY
from orderflow_assets.bars.series import HOUR, MINUTE, SERIES
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Array, Grid, Identity, Mask, epoch_us
from orderflow_assets.layer import EVERY_ROW
from orderflow_assets.signals.fills import FILLS_1M
from orderflow_assets.signals.inputs import DAY, MONTH, NOW, WEEK, Inputs, Marks, Past, View, Whole
from orderflow_assets.signals.signal import Signal
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

SOURCES: dict[str, Table] = {
    "bars": BARS_1M,
    "fills": FILLS_1M,
    "regimes": REGIMES,
    **{name: group.table for name, group in GROUPS.items()},
}

DAY_BARS = 1500
_STEP: Mapping[Past, timedelta] = {NOW: MINUTE, DAY: MINUTE, WEEK: timedelta(minutes=15), MONTH: HOUR}
_BACK: Mapping[Past, timedelta] = {NOW: timedelta(0), DAY: DAY_BARS * MINUTE, WEEK: 7 * ONE_DAY, MONTH: 32 * ONE_DAY}

_STANDS = {"regimes": HOUR}
"""Sources whose rows come less often than bars, and how long each of them stands."""

LOOKBACK = max(_BACK.values()) + HOUR


def needed(signals: Iterable[Signal]) -> dict[Past, dict[str, tuple[str, ...]]]:
    """Columns to read of each source, for each past; every feature is also read at the bars themselves."""
    features: dict[str, Past] = {}
    for item in signals:
        for name, past in item.inputs.items():
            features[name] = features.get(name, NOW) | past
    columns: dict[Past, dict[str, tuple[str, ...]]] = {}
    for past in (NOW, DAY, WEEK, MONTH):
        wanted = [name.partition(".")[::2] for name, reach in features.items() if past in reach]
        columns[past] = {
            source: tuple(name for owner, name in wanted if owner == source)
            for source in dict.fromkeys(owner for owner, _ in wanted)
        }
    return columns


def reach(signals: Iterable[Signal]) -> dict[str, dict[timedelta, timedelta]]:
    """How far back each source is read, by table and step."""
    columns = needed(signals)
    return {
        SOURCES[source].qualified: {
            EVERY_ROW if _STEP[past] == MINUTE else _STEP[past]: _BACK[past] + _STANDS.get(source, timedelta(0))
            for past in (NOW, DAY, WEEK, MONTH)
            if source in columns[past]
        }
        for source in columns[NOW]
    }


@dataclass(frozen=True, slots=True)
class Stretch:
    """The inputs of bars with closing edges in (start, end], and which bars there are, (series, outputs)."""

    inputs: Inputs
    present: Mask
    start: datetime


def read_inputs(store: Store, signals: Iterable[Signal], start: datetime, end: datetime) -> Stretch:
    outputs = round((end - start) / MINUTE)
    columns = needed(signals)
    grids = {
        past: {source: _grid(store, source, names, past, start, end) for source, names in wanted.items()}
        for past, wanted in columns.items()
    }
    series = tuple(sorted({identity for grid in grids[NOW].values() for identity in grid.series}))
    views = {past: _view(found, series, _length(past, start, end)) for past, found in grids.items()}
    inputs = Inputs(
        series,
        outputs,
        now=views[NOW],
        day=views[DAY],
        week=views[WEEK],
        month=views[MONTH],
        marks={past: _marks(past, start, end, outputs) for past in (WEEK, MONTH)},
    )
    return Stretch(inputs, grids[NOW]["bars"].reordered(series).present, start)


def _span(past: Past, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """First and last closing edge of a view: on its steps, those of the bars and all it reaches back to."""
    step = _STEP[past]
    first, last = start + MINUTE - _BACK[past], end
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001
    return first + (epoch - first) % step, last - (last - epoch) % step


def _length(past: Past, start: datetime, end: datetime) -> int:
    first, last = _span(past, start, end)
    return round((last - first) / _STEP[past]) + 1


def _edges(first: datetime, last: datetime, past: Past) -> Whole:
    step = round(_STEP[past] / timedelta(microseconds=1))
    return np.arange(epoch_us(first), epoch_us(last) + 1, step, dtype=np.int64)


def _marks(past: Past, start: datetime, end: datetime, outputs: int) -> Marks:
    edges = _edges(*_span(past, start, end), past)
    closing = epoch_us(start) + np.arange(1, outputs + 1, dtype=np.int64) * 60_000_000
    return Marks(np.searchsorted(edges, closing, "left"), np.searchsorted(edges, closing, "right"))


def _grid(store: Store, source: str, names: Iterable[str], past: Past, start: datetime, end: datetime) -> Grid:
    first, last = _span(past, start, end)
    if source in _STANDS:
        rows = store.query(_regimes_sql(names), {"first": first, "last": last}, timeout_s=600)
        return Grid.of(rows, first, last, MINUTE)
    step = round(_STEP[past] / timedelta(microseconds=1))
    on_step = f" AND epoch_us(bar_ts) % {step} = 0" if _STEP[past] > MINUTE else ""
    rows = store.query(
        f"SELECT {SERIES}, bar_ts, {', '.join(names)} FROM {SOURCES[source].qualified} "
        f"WHERE open_time >= ? AND open_time < ?{on_step}",
        [first - MINUTE, last],
        timeout_s=600,
    )
    return Grid.of(rows, first, last, _STEP[past])


def _regimes_sql(names: Iterable[str]) -> str:
    """Every minute with the hourly row that stands at its closing edge; states by their place among them."""
    shown = (
        f"list_position({list(STATES)}, {name}) - 1 AS {name}" if name.endswith("state") else name for name in names
    )
    return f"""
    SELECT {SERIES}, bar_ts + INTERVAL 1 MINUTE * minute AS bar_ts, {", ".join(shown)}
    FROM {REGIMES.qualified}, range({_STANDS["regimes"] // MINUTE}) AS since(minute)
    WHERE step = '1h' AND last_minute >= $first::TIMESTAMP - INTERVAL 1 HOUR AND last_minute < $last::TIMESTAMP
      AND bar_ts + INTERVAL 1 MINUTE * minute BETWEEN $first AND $last
    """


def _view(grids: Mapping[str, Grid], series: tuple[Identity, ...], length: int) -> View:
    values: dict[str, Array] = {}
    for source, grid in grids.items():
        values |= {f"{source}.{name}": column for name, column in grid.reordered(series).columns.items()}
    return View(values, (len(series), length))
