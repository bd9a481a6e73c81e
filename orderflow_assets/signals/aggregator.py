"""Fifteen signals into one reading per bar: ranking, conflict, bias, risk and a recommendation.

Pure functions over rows of signals, (signals, rows) arrays in the order of ``ROLES``: a single row is an array of
one. Nothing is remembered between calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.signals.roles import CORRELATED, RISK_POINTS, ROLES

NAMES: tuple[str, ...] = tuple(ROLES)
RECENT = 10
"""Bars whose values tell how new a signal is; older ones are not looked at."""

TOP, PRIMARY, SUPPORTING, CONFLICTING = 5, 3, 5, 3

CONFIDENCE_WEIGHT, AGE_FACTOR, MOST_SCORE = 0.3, 0.95, 2.0
PENALTY, LEAST_PENALTY = 0.1, 0.5
DOMINANCE, NEUTRAL_WEIGHT, CONFLICTED_FACTOR = 1.2, 0.5, 0.7
SEVERITIES: tuple[tuple[str, float], ...] = (
    ("MINOR", 0.15),
    ("MODERATE", 0.30),
    ("SEVERE", 0.45),
    ("CRITICAL", np.inf),
)
RISK_LEVELS: tuple[tuple[str, float], ...] = (("low", 0.3), ("medium", 0.5), ("high", 0.7), ("extreme", np.inf))

Words = npt.NDArray[np.object_]

_WEIGHT = np.array([role.weight for role in ROLES.values()])[:, None]
_PLACE = {name: place for place, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Readings:
    """The signals of ``rows`` bars: (signals, rows) each, NaN where a signal says nothing.

    ``recent`` is (signals, rows, RECENT), each bar's value last; ``value``, ``confidence`` and ``vote`` are those of
    the latest of them that is known, ``age`` how many bars ago. ``words`` holds what the texts quote of a signal:
    its label and, of volatility_breakout, ``timeframe_hours``.
    """

    value: Array
    confidence: Array
    vote: Array
    recent: Array
    age: Array
    words: Mapping[str, Words]
    timeframe_hours: Array

    def of(self, name: str) -> Array:
        return self.value[_PLACE[name]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Weight of the votes each way (rows,), and what they amount to. ``severity`` is None without a conflict."""

    bullish: Array
    bearish: Array
    neutral: Array
    severity: Words
    resolution: Words
    resolution_confidence: Array
    bias: Words
    bias_confidence: Array


def significance(value: Array) -> Array:
    """How much a value says, [0, 1]: |value| of signed signals, 2 |value - 0.5| of centred ones, else the value."""
    scale = np.array([role.scale for role in ROLES.values()])[:, None]
    return np.where(scale == "signed", np.abs(value), np.where(scale == "centred", 2 * np.abs(value - 0.5), value))


def novelty(recent: Array) -> Array:
    """0.8 to 1.2 with the sample deviation of the last values; 1 under two of them."""
    known = np.isfinite(recent)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, recent, 0).sum(axis=-1) / count
        spread = np.sqrt(np.where(known, (recent - mean[..., None]) ** 2, 0).sum(axis=-1) / (count - 1))
    return np.where(count >= 2, 0.8 + np.minimum(0.4 * spread, 0.4), 1.0)


def scores(readings: Readings) -> Array:
    """Rank of each signal in its row, [0, 2], NaN where it says nothing; correlated ones count less."""
    sure = 1 + CONFIDENCE_WEIGHT * (readings.confidence - 0.5)
    raw = significance(readings.value) * _WEIGHT * sure * novelty(readings.recent) * AGE_FACTOR**readings.age
    return np.clip(raw, 0, MOST_SCORE) * _independence(raw)


def _independence(raw: Array) -> Array:
    factor = np.ones_like(raw)
    for group in CORRELATED.values():
        rows = np.array([_PLACE[name] for name in group])
        order = np.argsort(np.where(np.isfinite(raw[rows]), -raw[rows], np.inf), axis=0, kind="stable")
        rank = np.argsort(order, axis=0)
        factor[rows] = np.minimum(factor[rows], np.maximum(LEAST_PENALTY, 1 - PENALTY * rank))
    return factor


def sides(readings: Readings, score: Array) -> Sides:
    """The votes against each other, each with its score times its confidence."""
    weight = np.nan_to_num(score * readings.confidence)
    bullish, bearish, level = (np.where(readings.vote == side, weight, 0).sum(axis=0) for side in (1, -1, 0))
    neutral, both = NEUTRAL_WEIGHT * level, bullish + bearish
    conflict = (bullish > 0) & (bearish > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        disagreement = np.minimum(bullish, bearish) / both
        resolved = np.abs(bullish - bearish) / both
        clear = np.abs(bullish - bearish) / (both + neutral)
    severity = _banded(np.where(conflict, disagreement, np.nan), SEVERITIES)
    heavier = np.sign(bullish - bearish)
    resolution = _named(np.where(conflict, heavier, np.nan))
    bias = np.where(bullish > DOMINANCE * bearish, 1.0, np.where(bearish > DOMINANCE * bullish, -1.0, 0.0))
    bias = np.where(np.isfinite(readings.value).any(axis=0), bias, np.nan)
    confidence = np.where(bias == 0, 1 - clear, clear)
    confidence = np.where(np.isin(severity, ("SEVERE", "CRITICAL")), CONFLICTED_FACTOR * confidence, confidence)
    return Sides(
        bullish,
        bearish,
        neutral,
        severity,
        resolution,
        np.where(conflict, resolved, np.nan),
        _named(bias),
        np.clip(confidence, 0, 1),
    )


def category_scores(value: Array) -> dict[str, Array]:
    """Mean value of the signals of each category, of one scale at a time: ``flow``, ``flow_signed``, … (rows,)."""
    members: dict[str, list[int]] = {}
    for name, role in ROLES.items():
        key = role.category if role.scale == "unsigned" else f"{role.category}_{role.scale}"
        members.setdefault(key, []).append(_PLACE[name])
    return {key: _mean(value[rows]) for key, rows in members.items()}


def risk(readings: Readings, found: Sides, categories: Mapping[str, Array]) -> tuple[Array, dict[str, Mask]]:
    """Points of risk (rows,), NaN where no signal of risk is known, and which factors made them."""
    factors = {
        "risk category mean > 0.7": categories["risk"] > 0.7,
        "liquidation_cascade_risk > 0.7": readings.of("liquidation_cascade_risk") > 0.7,
        "stop_hunt_probability > 0.6": readings.of("stop_hunt_probability") > 0.6,
        "conflict CRITICAL": found.severity == "CRITICAL",
        "conflict SEVERE": found.severity == "SEVERE",
        "momentum_exhaustion > 0.7": readings.of("momentum_exhaustion") > 0.7,
    }
    points = sum((RISK_POINTS[name] * holds for name, holds in factors.items()), np.zeros(readings.value.shape[1]))
    return np.where(np.isfinite(categories["risk"]), points, np.nan), factors


def risk_level(points: Array) -> Words:
    """low up to 0.3, medium up to 0.5, high up to 0.7, extreme above; None where the points are unknown."""
    return _banded(np.round(points, 9), RISK_LEVELS, closed=True)


def strength(found: Sides) -> Words:
    """CONFLICTED, STRONG, MODERATE, WEAK or NO_ACTION; a neutral bias is no action however sure it is."""
    sure = np.nan_to_num(found.bias_confidence)
    named = np.full(sure.shape, "NO_ACTION", dtype=object)
    for name, least in (("WEAK", 0.2), ("MODERATE", 0.4), ("STRONG", 0.7)):
        named[sure > least] = name
    named[(named == "STRONG") & (found.severity == "SEVERE")] = "MODERATE"
    named[~np.isin(found.bias, ("BULLISH", "BEARISH"))] = "NO_ACTION"
    named[found.severity == "CRITICAL"] = "CONFLICTED"
    return named


def entry_bias(power: Words, level: Words) -> Words:
    """wait, conservative or aggressive; aggressive only where risk is known to be low."""
    named = np.full(power.shape, "conservative", dtype=object)
    named[(power == "STRONG") & (level == "low")] = "aggressive"
    named[np.isin(power, ("CONFLICTED", "NO_ACTION")) | (level == "extreme")] = "wait"
    return named


def timing(readings: Readings, categories: Mapping[str, Array]) -> tuple[Words, Words]:
    """Urgency and timeframe by the first rule that holds: breakout, reversion, execution, the timing category."""
    rows = readings.value.shape[1]
    urgency, frame = np.full(rows, "patient", dtype=object), np.full(rows, "swing", dtype=object)
    hours = readings.timeframe_hours
    within = np.array([f"{hour:g} h" if np.isfinite(hour) else "intraday" for hour in hours], dtype=object)
    rules: tuple[tuple[Mask, str, Words | str], ...] = (
        (categories["timing"] > 0.6, "soon", "intraday"),
        (readings.of("execution_quality") > 0.7, "immediate", "scalp"),
        (readings.of("mean_reversion_signal") > 0.3, "patient", "swing"),
        (readings.of("volatility_breakout") > 0.7, "soon", within),
    )
    for holds, pace, span in rules:
        urgency[holds] = pace
        frame[holds] = span if isinstance(span, str) else span[holds]
    return urgency, frame


def posture(readings: Readings) -> Words:
    """REDUCE_EXPOSURE above a composite risk of 0.7; else where large flow and confirmed momentum lead by 0.3."""
    flow = np.nan_to_num(readings.of("smart_money_flow"))
    momentum = _PLACE["momentum_quality"]
    excess = np.nan_to_num(np.maximum(0, 2 * (readings.value[momentum] - 0.5)) * readings.vote[momentum])
    lead = flow + excess
    named = np.full(lead.shape, "NEUTRAL", dtype=object)
    named[lead > 0.3], named[lead < -0.3] = "BULLISH", "BEARISH"
    named[readings.of("composite_risk") > 0.7] = "REDUCE_EXPOSURE"
    named[~np.isfinite(readings.value).any(axis=0)] = None
    return named


def _mean(values: Array) -> Array:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)


def _named(direction: Array) -> Words:
    named = np.full(direction.shape, None, dtype=object)
    for sign, name in ((1, "BULLISH"), (-1, "BEARISH"), (0, "NEUTRAL")):
        named[direction == sign] = name
    return named


def _banded(values: Array, bands: tuple[tuple[str, float], ...], *, closed: bool = False) -> Words:
    """The first band whose end lies above the value, or at it where ``closed``; None for NaN."""
    named = np.full(values.shape, None, dtype=object)
    for name, end in reversed(bands):
        named[(values <= end) if closed else (values < end)] = name
    return named
