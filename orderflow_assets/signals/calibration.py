"""From a signal's value to the chance of its event: fitted at 00:00 UTC on outcomes known by then, and on no other.

A value may be called a probability only through such a fit. Outcomes of all series are taken together. The newest
fifth is held out to judge the fit that the older ones give, a day apart so that no outcome of the one overlaps the
other; then all of them make the fit that serves. Isotonic regression from 1,000 outcomes on, Platt's logistic curve
below; none under 50 of either kind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import DAY, at, midnights_due
from orderflow_assets.features.grid import Array
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.labels import LABELS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table

LEAST_OF_EITHER, ISOTONIC_FROM = 50, 1000
FIT_DAYS = 30
HELD_OUT, EMBARGO = 0.2, DAY
BINS = 10

CALIBRATED = {item.name: item.event for item in SIGNALS.values() if item.event.probability}
"""Signals whose event has a declared probability."""

CALIBRATION = Table(
    "signals",
    "calibration",
    (
        Column("signal", "VARCHAR", f"one of {', '.join(CALIBRATED)}", nullable=False),
        Column(
            "valid_from",
            "TIMESTAMP",
            "midnight from which it is in force; all outcomes were known before",
            "UTC",
            False,
        ),
        Column("method", "VARCHAR", "isotonic or platt; NULL where there are too few outcomes for a fit"),
        Column("curve", "JSON", "[value, probability] pairs, linear in between and level beyond; null without a fit"),
        Column("outcomes", "BIGINT", f"outcomes of the {FIT_DAYS} days before", "count", False),
        Column("events", "BIGINT", "of them, those where the event came", "count", False),
        Column("first_ts", "TIMESTAMP", "time of the oldest signal among them", "UTC"),
        Column("last_ts", "TIMESTAMP", "time of the newest", "UTC"),
        Column("judged_from", "TIMESTAMP", "from here on outcomes were held out to judge", "UTC"),
        Column("judged", "BIGINT", "outcomes held out", "count"),
        Column(
            "brier", "DOUBLE", "mean squared error of the probabilities on these, from a fit on the older ones", "1"
        ),
        Column("brier_base", "DOUBLE", "the same of the older ones' share of events: what a fit has to beat", "1"),
        Column(
            "reliability",
            "JSON",
            "of the held-out outcomes, by tenths of the probability: [mean probability, share of events, outcomes]",
        ),
    ),
    ("signal", "valid_from"),
    "valid_from",
    "How often a signal's event followed, by the signal's value: one curve per signal and day, with how well it did on "
    "outcomes it had not seen.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Values, outcomes (1 or 0) and times, in order of time; ``known`` is when each outcome was known."""

    value: Array
    outcome: Array
    spoken: np.ndarray
    known: np.ndarray

    def part(self, chosen: np.ndarray) -> Sample:
        return Sample(self.value[chosen], self.outcome[chosen], self.spoken[chosen], self.known[chosen])

    @property
    def enough(self) -> bool:
        events = int(self.outcome.sum())
        return min(events, len(self.outcome) - events) >= LEAST_OF_EITHER


@dataclass(frozen=True, slots=True)
class Curve:
    """Probability by value: linear between ``value`` (increasing), level beyond its ends."""

    method: str
    value: Array
    probability: Array

    def at(self, value: Array) -> Array:
        return np.where(np.isfinite(value), np.interp(value, self.value, self.probability), np.nan)


def fit(sample: Sample) -> Curve | None:
    """The curve of a sample; None under 50 outcomes of either kind."""
    if not sample.enough:
        return None
    if len(sample.outcome) >= ISOTONIC_FROM:
        from sklearn.isotonic import IsotonicRegression

        isotonic = IsotonicRegression(y_min=0, y_max=1).fit(sample.value, sample.outcome)
        return Curve("isotonic", isotonic.X_thresholds_, isotonic.y_thresholds_)
    from sklearn.linear_model import LogisticRegression

    platt = LogisticRegression(C=np.inf).fit(sample.value[:, None], sample.outcome)
    grid = np.linspace(sample.value.min(), sample.value.max(), 101)
    return Curve("platt", grid, platt.predict_proba(grid[:, None])[:, 1])


@dataclass(frozen=True, slots=True)
class Judgement:
    """Brier score on held-out outcomes, that of the base rate, and reliability by tenths of the probability."""

    judged_from: np.datetime64
    judged: int
    brier: float
    brier_base: float
    reliability: list[tuple[float, float, int]]


def judge(sample: Sample) -> Judgement | None:
    """How the older four fifths, known a day before the newest fifth begins, predict it; None without a fit."""
    if not len(sample.value):
        return None
    begins = sample.spoken[int(len(sample.spoken) * (1 - HELD_OUT))]
    older, newer = sample.part(sample.known <= begins - np.timedelta64(EMBARGO)), sample.part(sample.spoken >= begins)
    curve = fit(older)
    if curve is None or not len(newer.value):
        return None
    predicted = curve.at(newer.value)
    base = older.outcome.mean()
    return Judgement(
        begins,
        len(newer.value),
        float(np.mean((predicted - newer.outcome) ** 2)),
        float(np.mean((base - newer.outcome) ** 2)),
        reliability(predicted, newer.outcome),
    )


def reliability(predicted: Array, outcome: Array) -> list[tuple[float, float, int]]:
    """Mean probability, share of events and count of each tenth of [0, 1] that has predictions."""
    tenth = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    return [
        (float(predicted[here].mean()), float(outcome[here].mean()), int(here.sum()))
        for number in range(BINS)
        if (here := tenth == number).any()
    ]


def read_sample(store: Store, signal: str, first: datetime, last: datetime) -> Sample:
    """Outcomes known in [first, last) of one signal, in order of time."""
    rows = store.query(
        f"SELECT signal_ts, known_at, value, outcome::INTEGER AS outcome FROM {LABELS.qualified} "
        "WHERE signal = ? AND known_at >= ? AND known_at < ? AND outcome IS NOT NULL ORDER BY ALL",
        [signal, first, last],
        timeout_s=600,
    )
    return Sample(
        rows["value"].to_numpy(),
        rows["outcome"].to_numpy().astype(float),
        rows["signal_ts"].to_numpy(),
        rows["known_at"].to_numpy(),
    )


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(LABELS, CALIBRATION)
    return sum(_day(store, day) for day in midnights_due(store, CALIBRATION, start, end))


def _day(store: Store, day: datetime) -> int:
    rows = [_row(name, day, read_sample(store, name, day - FIT_DAYS * DAY, day)) for name in CALIBRATED]
    known = [row for row in rows if row["outcomes"]]
    data = pa.Table.from_pylist(known, CALIBRATION.arrow_schema)
    return store.write(CALIBRATION, data, at(day))


def _row(name: str, day: datetime, sample: Sample) -> dict[str, Any]:
    curve, judgement = fit(sample), judge(sample)
    count = len(sample.outcome)
    return {
        "signal": name,
        "valid_from": day,
        "method": curve.method if curve else None,
        "curve": json.dumps(np.column_stack([curve.value, curve.probability]).tolist()) if curve else None,
        "outcomes": count,
        "events": int(sample.outcome.sum()),
        "first_ts": sample.spoken[0].item() if count else None,
        "last_ts": sample.spoken[-1].item() if count else None,
        "judged_from": judgement.judged_from.item() if judgement else None,
        "judged": judgement.judged if judgement else None,
        "brier": judgement.brier if judgement else None,
        "brier_base": judgement.brier_base if judgement else None,
        "reliability": json.dumps(judgement.reliability) if judgement else None,
    }


def read_curves(store: Store, last: datetime, names: Sequence[str]) -> dict[str, list[tuple[datetime, Curve]]]:
    """All curves in force up to ``last``, oldest first, by signal."""
    rows = store.query(
        f"SELECT signal, valid_from, method, curve FROM {CALIBRATION.qualified} "
        "WHERE valid_from <= ? AND curve IS NOT NULL ORDER BY valid_from",
        [last],
    ).to_pylist()
    curves: dict[str, list[tuple[datetime, Curve]]] = {name: [] for name in names}
    for row in rows:
        value, probability = np.array(json.loads(row["curve"])).T
        curves[row["signal"]].append((row["valid_from"], Curve(row["method"], value, probability)))
    return curves


LAYER = Layer(
    CALIBRATION,
    _compute,
    (LABELS.qualified,),
    FIT_DAYS * DAY,
    "signals",
    ("duckdb", "python", "sklearn"),
    across=(LABELS.qualified,),
    every=DAY,
    lineage=dict.fromkeys(
        (name for name in CALIBRATION.names if name not in CALIBRATION.key),
        columns_of(LABELS.qualified, "value", "outcome", "signal_ts", "known_at"),
    ),
)
