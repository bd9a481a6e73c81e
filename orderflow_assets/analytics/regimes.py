"""``analytics.regime_models`` and ``analytics.regimes``: in which state of return and volatility each series is.

At 00:00 UTC a Gaussian hidden Markov model of three states is fitted per series and step on the mid returns and log
realised variances of the days before: ``1h`` on up to 90 days, at least 20; ``5m`` on up to 7 days, at least 2, for
series whose history is too short for the first. It is in force for that day; each bar of it gets filtered
probabilities, from that bar and those before it, of the states BEAR, RANGING, BULL in order of their mean return.

The state known at a minute ``t`` is that of the last row of the step with ``bar_ts <= t`` (an ASOF join on the
series). For arithmetic of its own a reader takes :func:`read_models` (the models of some days) and
:mod:`orderflow_assets.timeseries.regimes` (``filtered``, ``ahead``, ``leaving``), or :func:`filtered_on`, which does
for a grid of moves what the table stores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orderflow_assets.analytics.moves import LAST_MINUTE, STEPS, TABLES, with_last_minute
from orderflow_assets.bars.series import (
    BAR_COLUMNS,
    DAY,
    HOUR,
    SERIES,
    SERIES_NAMES,
    at,
    closed_window,
    hours,
    midnight,
    midnights_due,
)
from orderflow_assets.features.grid import Array, Grid, Identity
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.timeseries import regimes as hmm
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

STATES = hmm.LABELS[3]

VARIANCE_FLOOR = 1e-10
"""Added to a realised variance before its logarithm: the square of 0.1 bp, so that a mid that stood still counts."""


@dataclass(frozen=True, slots=True)
class Learning:
    """What a model of one step is fitted on and from how far back its filter starts before midnight."""

    history: timedelta
    least_rows: int
    run_in: timedelta


LEARNING: dict[str, Learning] = {
    "1h": Learning(90 * DAY, 480, 7 * DAY),
    "5m": Learning(7 * DAY, 576, DAY),
}

AHEAD = DAY

_STEP = Column("step", "VARCHAR", f"length of the bars: {', '.join(LEARNING)}", nullable=False)
_VALID_FROM = Column("valid_from", "TIMESTAMP", "midnight from which it is in force, for a day", "UTC", False)

REGIME_MODELS = Table(
    "analytics",
    "regime_models",
    (
        *IDENTITY,
        _STEP,
        _VALID_FROM,
        Column("n", "BIGINT", "bars it was fitted on", "count", False),
        Column("log_likelihood", "DOUBLE", "of these bars, standardised", "nats", False),
        Column("parameters", "JSON", "the model, as timeseries.regimes.RegimeModel.from_dict takes it", nullable=False),
    ),
    (*SERIES_NAMES, "step", "valid_from"),
    "valid_from",
    "Hidden Markov models of return and log realised variance, one per series, step and day, fitted on earlier days.",
)

REGIMES = Table(
    "analytics",
    "regimes",
    (
        *BAR_COLUMNS,
        _STEP,
        LAST_MINUTE,
        Column("state", "VARCHAR", f"most probable state, one of {', '.join(STATES)}; NULL without a model"),
        *(
            Column(f"p_{state.lower()}", "DOUBLE", f"filtered probability of {state}; range [0, 1]", "probability")
            for state in STATES
        ),
        Column("confidence", "DOUBLE", "probability of the most probable state", "probability"),
        Column(
            "transition_probability",
            "DOUBLE",
            "1 - probability that the state 24 h later is the one most probable now",
            "probability",
        ),
        Column("predicted_state", "VARCHAR", "most probable state 24 h later"),
        Column(
            "expected_remaining_h",
            "DOUBLE",
            "1 / (1 - p_ii) steps of the state, from now on; NULL where it is never left",
            "h",
        ),
    ),
    (*SERIES_NAMES, "step", "bar_ts"),
    LAST_MINUTE.name,
    "Filtered regime of every series, a row per bar of each step. Source: Hamilton 1989.",
)


def read_models(store: Store, step: str, first: datetime, last: datetime) -> dict[datetime, dict[Identity, Any]]:
    """The :class:`~orderflow_assets.timeseries.regimes.RegimeModel` of each midnight in [first, last] and series."""
    rows = store.query(
        f"SELECT {SERIES}, valid_from, parameters FROM {REGIME_MODELS.qualified} "
        "WHERE step = ? AND valid_from >= ? AND valid_from <= ?",
        [step, first, last],
        timeout_s=600,
    ).to_pylist()
    found: dict[datetime, dict[Identity, Any]] = {}
    for row in rows:
        identity = (row["symbol"], row["exchange"], row["market_type"])
        model = hmm.RegimeModel.from_dict(json.loads(row["parameters"]))
        found.setdefault(row["valid_from"], {})[identity] = model
    return found


def observations(moves: Grid) -> Array:
    """What the models see: (series, bars, 2), log return and log realised variance."""
    return np.stack([moves["log_return"], np.log(moves["realized_variance"] + VARIANCE_FLOOR)], axis=-1)


def filtered_on(models: Mapping[Identity, hmm.RegimeModel], moves: Grid) -> tuple[Array, Array]:
    """Filtered probabilities (series, bars, states) along ``moves`` and transition matrices (series, states, states).

    NaN for series without a model.
    """
    seen = observations(moves)
    count = len(STATES)
    probabilities = np.full((*seen.shape[:2], count), np.nan)
    transition = np.full((len(moves.series), count, count), np.nan)
    known = [place for place, identity in enumerate(moves.series) if identity in models]
    if known:
        used = [models[moves.series[place]] for place in known]
        density = np.stack([hmm.log_density(model, seen[place]) for model, place in zip(used, known, strict=True)])
        transition[known] = [model.transition for model in used]
        probabilities[known] = hmm.filtered(np.stack([model.start for model in used]), transition[known], density)
    return probabilities, transition


def _fit(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*TABLES.values(), REGIME_MODELS)
    return sum(_fit_day(store, day) for day in midnights_due(store, REGIME_MODELS, start, end))


def _fit_day(store: Store, day: datetime) -> int:
    rows = [row for step in LEARNING for row in _fitted(store, step, day)]
    data = pa.Table.from_pylist(rows, REGIME_MODELS.arrow_schema)
    return store.write(REGIME_MODELS, data, at(day))


def _fitted(store: Store, step: str, day: datetime) -> Iterator[dict[str, Any]]:
    learning, length = LEARNING[step], STEPS[step]
    moves = Grid.read(
        store,
        TABLES[step],
        ("log_return", "realized_variance"),
        day - learning.history + length,
        day,
        length,
    )
    for identity, seen in zip(moves.series, observations(moves), strict=True):
        known = seen[np.isfinite(seen).all(axis=1)]
        if len(known) < learning.least_rows or (np.ptp(known, axis=0) == 0).any():
            continue
        try:
            model = hmm.fit(seen, states=len(STATES))
        except hmm.NoRegimesError:
            continue
        yield {
            **dict(zip(SERIES_NAMES, identity, strict=True)),
            "step": step,
            "valid_from": day,
            "n": model.n,
            "log_likelihood": model.log_likelihood,
            "parameters": json.dumps(model.to_dict()),
        }


def _filter(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*TABLES.values(), REGIME_MODELS, REGIMES)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    tables = [table for step in LEARNING if (table := _rows(store, step, start, end)) is not None]
    data = pa.concat_tables(tables) if tables else REGIMES.arrow_schema.empty_table()
    return store.write(REGIMES, data, Window(start, end))


def _rows(store: Store, step: str, start: datetime, end: datetime) -> pa.Table | None:
    """Rows of the bars of ``step`` whose last minute lies in [start, end), which lies within one hour."""
    length = STEPS[step]
    day = midnight(start)
    closed = (end - day) // length
    outputs = closed - (start - day) // length
    if not outputs:
        return None
    first, last = day - LEARNING[step].run_in + length, day + closed * length
    moves = Grid.read(store, TABLES[step], ("log_return", "realized_variance"), first, last, length)
    models = read_models(store, step, day, day).get(day, {})
    probabilities, transition = filtered_on(models, moves)
    now = probabilities[:, -outputs:]
    stay = np.diagonal(transition, axis1=1, axis2=2)[:, None, :]
    later = now @ np.linalg.matrix_power(transition, AHEAD // length)
    current = np.nan_to_num(now).argmax(axis=-1)
    with np.errstate(divide="ignore"):
        remaining = length / HOUR / (1 - np.take_along_axis(np.broadcast_to(stay, now.shape), current[..., None], -1))
    remaining = remaining[..., 0]
    values: dict[str, npt.NDArray[Any]] = {
        "state": _named(now),
        **{f"p_{state.lower()}": now[..., place] for place, state in enumerate(STATES)},
        "confidence": now.max(axis=-1),
        "transition_probability": 1 - np.take_along_axis(later, current[..., None], -1)[..., 0],
        "predicted_state": _named(later),
        "expected_remaining_h": np.where(np.isfinite(remaining), remaining, np.nan),
    }
    rows = moves.table(REGIMES, values, outputs)
    return with_last_minute(rows.append_column(_STEP.name, pa.array([step] * len(rows), pa.string())))


def _named(probabilities: Array) -> npt.NDArray[Any]:
    """Most probable state by name, None where unknown."""
    names: npt.NDArray[Any] = np.array(STATES, dtype=object)[np.nan_to_num(probabilities).argmax(axis=-1)]
    names[np.isnan(probabilities).any(axis=-1)] = None
    return names


_SEEN = tuple(
    source for table in TABLES.values() for source in columns_of(table.qualified, "log_return", "realized_variance")
)

MODELS_LAYER = Layer(
    REGIME_MODELS,
    _fit,
    tuple(table.qualified for table in TABLES.values()),
    max(learning.history for learning in LEARNING.values()),
    "analytics",
    ("duckdb", "python", "hmmlearn"),
    every=DAY,
    backs={TABLES[step].qualified: learning.history for step, learning in LEARNING.items()},
    lineage=dict.fromkeys(("n", "log_likelihood", "parameters"), _SEEN),
)
REGIMES_LAYER = Layer(
    REGIMES,
    _filter,
    (*(table.qualified for table in TABLES.values()), REGIME_MODELS.qualified),
    max(learning.run_in for learning in LEARNING.values()) + DAY,
    "analytics",
    ("duckdb", "python"),
    backs={
        **{TABLES[step].qualified: learning.run_in + DAY for step, learning in LEARNING.items()},
        REGIME_MODELS.qualified: DAY,
    },
    lineage=dict.fromkeys(
        (name for name in REGIMES.names if name not in (*REGIMES.key, "open_time", LAST_MINUTE.name)),
        (*_SEEN, f"{REGIME_MODELS.qualified}.parameters"),
    ),
)
LAYERS: tuple[Layer, ...] = (MODELS_LAYER, REGIMES_LAYER)
