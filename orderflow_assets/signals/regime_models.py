"""The regime model in force of each series: refitted at 00:00 UTC on the hourly returns of the 90 days before.

The fitted parameters are stored, so that filtering is arithmetic on them and a past bar comes out as it was.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, HOUR, SERIES, SERIES_NAMES, closed_window
from orderflow_assets.features.grid import Array, Grid, Identity
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.timeseries import regimes
from orderflow_assets.timeseries.regimes import LABELS, RegimeModel
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

STATES = LABELS[3]
FIT_DAYS, LEAST_RETURNS = 90, 240

REGIME_MODELS = Table(
    "signals",
    "regime_models",
    (
        *IDENTITY,
        Column(
            "valid_from", "TIMESTAMP", "midnight from which it is in force; fitted on what came before", "UTC", False
        ),
        Column("returns", "BIGINT", "hourly returns it was fitted on", "count", False),
        Column("log_likelihood", "DOUBLE", "of these returns, standardised", "nats", False),
        *(
            Column(f"{state.lower()}_{what}", "DOUBLE", f"{doc} in {state}", unit)
            for state in STATES
            for what, doc, unit in (
                ("mean", "mean hourly log return", "log points"),
                ("hours", "expected stay; NULL where it is never left", "h"),
            )
        ),
        Column("model", "JSON", "all parameters, as timeseries.regimes reads them", nullable=False),
    ),
    (*SERIES_NAMES, "valid_from"),
    "valid_from",
    f"Gaussian hidden Markov models of {len(STATES)} states ({', '.join(STATES)}) on hourly log mid returns of the "
    f"previous {FIT_DAYS} days, at least {LEAST_RETURNS} of them; one per series and day.",
)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, REGIME_MODELS)
    start, end = closed_window(start, end)
    midnight = start.replace(hour=0, minute=0)
    first = midnight if midnight == start else midnight + DAY
    days = [first + DAY * count for count in range((end - first) // DAY + 1) if first + DAY * count < end]
    return sum(_day(store, day) for day in days)


def _day(store: Store, day: datetime) -> int:
    grid = _hourly_mids(store, day - FIT_DAYS * DAY, day)
    levels = np.log(grid["mid_close"]) if grid.series else np.zeros((0, 1))
    found = [_row(identity, day, np.diff(row)) for identity, row in zip(grid.series, levels, strict=True)]
    data = pa.Table.from_pylist([row for row in found if row], REGIME_MODELS.arrow_schema)
    return store.write(REGIME_MODELS, data, Window(day, day + timedelta(microseconds=1)))


def _hourly_mids(store: Store, first: datetime, last: datetime) -> Grid:
    rows = store.query(
        f"SELECT {SERIES}, bar_ts, mid_close FROM {BARS_1M.qualified} WHERE open_time >= ? AND open_time < ? "
        "AND epoch_us(bar_ts) % 3600000000 = 0",
        [first, last],
        timeout_s=600,
    )
    return Grid.of(rows, first, last, HOUR)


def _row(identity: Identity, day: datetime, returns: Array) -> dict[str, object] | None:
    moved = returns[np.isfinite(returns)]
    if len(moved) < LEAST_RETURNS or not moved.any() or np.ptp(moved) == 0:
        return None
    try:
        model = regimes.fit(returns)
    except regimes.NoRegimesError:
        return None
    stays = model.durations
    return {
        **dict(zip(SERIES_NAMES, identity, strict=True)),
        "valid_from": day,
        "returns": model.n,
        "log_likelihood": model.log_likelihood,
        **{
            f"{state.lower()}_mean": float(model.mean[place, 0] * model.scale[0] + model.centre[0])
            for place, state in enumerate(STATES)
        },
        **{f"{state.lower()}_hours": stays[state] if np.isfinite(stays[state]) else None for state in STATES},
        "model": json.dumps(model.to_dict()),
    }


def read_models(store: Store, first: datetime, last: datetime) -> dict[tuple[Identity, int], RegimeModel]:
    """The models of the days from ``first`` to ``last``, by series and midnight in microseconds since 1970."""
    rows = store.query(
        f"SELECT {SERIES}, epoch_us(valid_from) AS us, model FROM {REGIME_MODELS.qualified} "
        "WHERE valid_from >= ? AND valid_from <= ?",
        [first, last],
    )
    identities = zip(*(rows[name].to_pylist() for name in SERIES_NAMES), strict=True)
    models = (RegimeModel.from_dict(json.loads(text)) for text in rows["model"].to_pylist())
    return dict(zip(zip(identities, pc.cast(rows["us"], pa.int64()).to_pylist(), strict=True), models, strict=True))


LAYER = Layer(
    REGIME_MODELS,
    _compute,
    (BARS_1M.qualified,),
    FIT_DAYS * DAY + HOUR,
    "signals",
    ("duckdb", "python", "hmmlearn"),
    every=DAY,
    lineage=dict.fromkeys(
        (name for name in REGIME_MODELS.names if name not in REGIME_MODELS.key),
        columns_of(BARS_1M.qualified, "mid_close"),
    ),
)
