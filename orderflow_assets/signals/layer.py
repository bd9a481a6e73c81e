"""``signals.signals``: every declared signal for every series and bar."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.grid import Array, epoch_us
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.signals import encoding
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.inputs import NOW
from orderflow_assets.signals.reading import LOOKBACK, SOURCES, Stretch, needed, reach, read_inputs
from orderflow_assets.signals.signal import Evaluation, Signal
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
        Column("vote", "INTEGER", "1 up, -1 down, 0 undecided; NULL where the signal says nothing of direction"),
        Column("side", "VARCHAR", "the side, direction, phase or kind the signal names: its label among the fields"),
        Column("components", "JSON", "each component's value, null where unknown", nullable=False),
        Column("fields", "JSON", "what the signal says besides, by name; null where unknown", nullable=False),
    ),
    (*BAR_KEY, "signal"),
    "open_time",
    "Composite signals, a row per series, bar and signal.",
)

_READ = needed(SIGNALS.values())[NOW]


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*(SOURCES[source] for source in _READ), SIGNALS_TABLE)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    stretch = read_inputs(store, SIGNALS.values(), start, end)
    if not stretch.inputs.series:
        return store.write(SIGNALS_TABLE, SIGNALS_TABLE.arrow_schema.empty_table(), Window(start, end))
    tables = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for item in SIGNALS.values():
            result = item.evaluate(stretch.inputs)
            stretch.inputs.evaluated[item.name] = result
            tables.append(_rows(item, result, stretch))
    return store.write(SIGNALS_TABLE, pa.concat_tables(tables), Window(start, end))


def _rows(item: Signal, result: Evaluation, stretch: Stretch) -> pa.Table:
    row, bar = np.nonzero(stretch.present)
    opening = epoch_us(stretch.start) + bar * 60_000_000
    series = stretch.inputs.series
    kinds = {declared.name: declared.dtype for declared in item.fields}
    components = {name: encoding.numbers(values[row, bar]) for name, values in result.components.items()}
    fields = {name: _text(result.fields[name][row, bar], kind) for name, kind in kinds.items()}
    return pa.table(
        {
            **{
                column: pa.array(np.array([identity[place] for identity in series], dtype=object)[row], pa.string())
                for place, column in enumerate(SERIES_NAMES)
            },
            "open_time": pa.array(opening).cast(pa.timestamp("us")),
            "bar_ts": pa.array(opening + 60_000_000).cast(pa.timestamp("us")),
            "signal": pa.array([item.name] * len(row), pa.string()),
            "value": _cells(result.value[row, bar]),
            "confidence": pa.array(result.confidence[row, bar]),
            "vote": _cells(result.vote[row, bar]).cast(pa.int32()),
            "side": pa.array(result.side[row, bar], pa.string()),
            "components": encoding.objects(components, len(row)),
            "fields": encoding.objects(fields, len(row)),
        }
    )


def _text(values: np.ndarray, kind: str) -> pa.Array:
    return encoding.strings(values) if kind == "label" else encoding.numbers(values, boolean=kind == "flag")


def _cells(values: Array) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


_MADE_OF = tuple(source for group, names in _READ.items() for source in columns_of(SOURCES[group].qualified, *names))
"""The table is a long one: every signal's rows stand in the same columns."""

LAYER = Layer(
    SIGNALS_TABLE,
    _compute,
    tuple(SOURCES[source].qualified for source in _READ),
    LOOKBACK,
    "signals",
    ("duckdb", "python"),
    marks=reach(SIGNALS.values()),
    lineage=dict.fromkeys(("value", "confidence", "vote", "side", "components", "fields"), _MADE_OF),
)
