"""``signals.signals``: every declared signal for every series and bar that has the features it reads."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, DAY, MINUTE, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Array, Grid, Identity
from orderflow_assets.layer import Layer
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.signal import Evaluation, Inputs
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

SIGNALS_TABLE = Table(
    "signals",
    "signals",
    (
        *BAR_COLUMNS,
        Column("signal", "VARCHAR", f"one of {', '.join(SIGNALS)}", nullable=False),
        Column("value", "DOUBLE", "the signal; NULL where less than half of its weight is known"),
        Column("confidence", "DOUBLE", "weight of the known components over all weight", "fraction", False),
        Column("side", "VARCHAR", "side the signal names, where it names one; none where it is undecided"),
        Column("components", "JSON", "each component's value, null where unknown", nullable=False),
    ),
    (*BAR_KEY, "signal"),
    "open_time",
    "Composite signals, a row per series, bar and signal.",
)

_READ: dict[str, tuple[str, ...]] = {
    group: tuple(dict.fromkeys(name for item in SIGNALS.values() for name in item.groups.get(group, ())))
    for group in GROUPS
    if any(group in item.groups for item in SIGNALS.values())
}
_LOOKBACK = max(bars for item in SIGNALS.values() for bars in item.inputs.values()) * MINUTE


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*(GROUPS[group].table for group in _READ), SIGNALS_TABLE)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = round((end - start) / MINUTE)
    first = start + MINUTE - _LOOKBACK
    grids = {group: Grid.read(store, GROUPS[group].table, names, first, end, MINUTE) for group, names in _READ.items()}
    series = tuple(sorted({identity for grid in grids.values() for identity in grid.series}))
    aligned = {group: grid.reordered(series) for group, grid in grids.items()}
    inputs = Inputs(aligned, outputs)
    tables = []
    for item in SIGNALS.values():
        present = np.logical_or.reduce([aligned[group].present[:, -outputs:] for group in item.groups])
        tables.append(_rows(item.name, item.evaluate(inputs), present, series, start))
    return store.write(SIGNALS_TABLE, pa.concat_tables(tables), Window(start, end))


def _rows(
    name: str, result: Evaluation, present: np.ndarray, series: tuple[Identity, ...], start: datetime
) -> pa.Table:
    row, bar = np.nonzero(present)
    opening = [start + int(index) * MINUTE for index in bar]
    parts = {part: _cells(values[row, bar]) for part, values in result.components.items()}
    return pa.table(
        {
            **{
                column: pa.array([series[index][place] for index in row], pa.string())
                for place, column in enumerate(SERIES_NAMES)
            },
            "open_time": pa.array(opening, pa.timestamp("us")),
            "bar_ts": pa.array([time + MINUTE for time in opening], pa.timestamp("us")),
            "signal": pa.array([name] * len(row), pa.string()),
            "value": pa.array(_cells(result.value[row, bar]), pa.float64()),
            "confidence": pa.array(result.confidence[row, bar], pa.float64()),
            "side": pa.array(list(result.side[row, bar]), pa.string()),
            "components": pa.array(
                [json.dumps(dict(zip(parts, cells, strict=True))) for cells in zip(*parts.values(), strict=True)],
                pa.string(),
            ),
        }
    )


def _cells(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


LAYER = Layer(
    SIGNALS_TABLE,
    _compute,
    tuple(GROUPS[group].table.qualified for group in _READ),
    max(_LOOKBACK, DAY),
    "signals",
    ("duckdb", "python"),
)
