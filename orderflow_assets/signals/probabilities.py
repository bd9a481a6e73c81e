"""``signals.probabilities``: what the calibration in force makes of a signal's value. No fit, no probability."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, DAY, SERIES, SERIES_NAMES, closed_window, hours
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.signals.calibration import CALIBRATED, CALIBRATION, read_curves
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

STANDS = 7 * DAY
"""How long a fit serves when no newer one is made."""

PROBABILITIES = Table(
    "signals",
    "probabilities",
    (
        *BAR_COLUMNS,
        Column("signal", "VARCHAR", "the signal", nullable=False),
        Column(
            "name",
            "VARCHAR",
            "what the probability is called: "
            + ", ".join(f"{event.probability} of {name}" for name, event in CALIBRATED.items()),
            nullable=False,
        ),
        Column("value", "DOUBLE", "the signal's value"),
        Column(
            "probability", "DOUBLE", "chance of the signal's event; NULL without a fit in force or a value", "fraction"
        ),
        Column("calibrated_at", "TIMESTAMP", "valid_from of the fit", "UTC"),
    ),
    (*BAR_KEY, "signal"),
    "open_time",
    "Calibrated chances of what the signals warn of, a row per series, bar and calibrated signal.",
)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(SIGNALS_TABLE, CALIBRATION, PROBABILITIES)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    rows = store.query(
        f"SELECT {SERIES}, open_time, bar_ts, signal, value FROM {SIGNALS_TABLE.qualified} "
        f"WHERE open_time >= ? AND open_time < ? AND signal IN ({', '.join(repr(name) for name in CALIBRATED)})",
        [start, end],
        timeout_s=600,
    )
    curves = read_curves(store, end, tuple(CALIBRATED))
    value = rows["value"].to_numpy(zero_copy_only=False).astype(float)
    signal = np.array(rows["signal"].to_pylist(), dtype=object)
    probability = np.full(len(value), np.nan)
    fitted = np.full(len(value), np.datetime64("NaT"), dtype="datetime64[us]")
    for name, history in curves.items():
        serving = [entry for entry in history if entry[0] <= start and start - entry[0] < STANDS]
        if serving:
            valid_from, curve = serving[-1]
            here = signal == name
            probability[here], fitted[here] = curve.at(value[here]), np.datetime64(valid_from)
    named = pa.array([CALIBRATED[name].probability for name in signal], pa.string())
    data = {name: rows[name] for name in (*SERIES_NAMES, "open_time", "bar_ts", "signal", "value")}
    data |= {
        "name": named,
        "probability": pa.array(probability, mask=np.isnan(probability)),
        "calibrated_at": pa.array(fitted, mask=np.isnat(fitted)),
    }
    return store.write(PROBABILITIES, pa.table(data), Window(start, end))


LAYER = Layer(
    PROBABILITIES,
    _compute,
    (SIGNALS_TABLE.qualified, CALIBRATION.qualified),
    STANDS,
    "signals",
    ("duckdb", "python"),
    backs={SIGNALS_TABLE.qualified: timedelta(0)},
    lineage={
        "name": columns_of(SIGNALS_TABLE.qualified, "signal"),
        "value": columns_of(SIGNALS_TABLE.qualified, "value"),
        "probability": (*columns_of(SIGNALS_TABLE.qualified, "value"), *columns_of(CALIBRATION.qualified, "curve")),
        "calibrated_at": columns_of(CALIBRATION.qualified, "valid_from"),
    },
)
