"""The aggregate in words: lists of signals, alerts, a recommendation and why. From :mod:`aggregator`'s figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals import aggregator
from orderflow_assets.signals.aggregator import NAMES, Readings, Words

OPPORTUNE = 0.5


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One entry per row: numbers (rows,), words (rows,) and lists of names or sentences."""

    numbers: Mapping[str, Array]
    words: Mapping[str, Words]
    lists: Mapping[str, list[list[str]]]
    scores: Mapping[str, Array]
    categories: Mapping[str, Array]

    def row(self, index: int) -> dict[str, Any]:
        """Everything about one row, in plain values."""
        return {
            **{name: _plain(values[index]) for name, values in self.numbers.items()},
            **{name: values[index] for name, values in self.words.items()},
            **{name: rows[index] for name, rows in self.lists.items()},
            "scores": {name: _plain(values[index]) for name, values in self.scores.items()},
            "category_scores": {name: _plain(values[index]) for name, values in self.categories.items()},
        }


def aggregate(readings: Readings) -> Aggregate:
    """The whole reading of each row of signals."""
    with np.errstate(invalid="ignore", divide="ignore"):
        score = aggregator.scores(readings)
        found = aggregator.sides(readings, score)
        categories = aggregator.category_scores(readings.value)
        points, factors = aggregator.risk(readings, found, categories)
        level = aggregator.risk_level(points)
        power = aggregator.strength(found)
        urgency, frame = aggregator.timing(readings, categories)
        posture = aggregator.posture(readings)
    heading = np.select([found.bias == "BULLISH", found.bias == "BEARISH"], [1.0, -1.0], np.nan)
    ranked = np.argsort(np.where(np.isfinite(score), -score, np.inf), axis=0, kind="stable")
    voting = readings.vote != 0
    agreeing = _listed(ranked, (readings.vote == heading) & voting, aggregator.PRIMARY + aggregator.SUPPORTING)
    opposing = _listed(ranked, (readings.vote == -heading) & voting, aggregator.CONFLICTING)
    words = {
        "direction": found.bias,
        "strength": power,
        "entry_bias": aggregator.entry_bias(power, level),
        "risk_level": level,
        "urgency": urgency,
        "timeframe": frame,
        "conflict_severity": found.severity,
        "conflict_resolution": found.resolution,
        "posture": posture,
    }
    numbers = {
        "confidence": found.bias_confidence,
        "resolution_confidence": found.resolution_confidence,
        "risk_points": points,
        "bullish_weight": found.bullish,
        "bearish_weight": found.bearish,
        "neutral_weight": found.neutral,
        "known_signals": np.isfinite(readings.value).sum(axis=0).astype(float),
    }
    lists = {
        "top_signals": _listed(ranked, np.isfinite(score), aggregator.TOP),
        "bullish_signals": _listed(ranked, readings.vote == 1, len(NAMES)),
        "bearish_signals": _listed(ranked, readings.vote == -1, len(NAMES)),
        "primary_signals": [names[: aggregator.PRIMARY] for names in agreeing],
        "supporting_signals": [names[aggregator.PRIMARY :] for names in agreeing],
        "conflicting_signals": opposing,
        "risk_factors": _holding(factors),
        "alerts": _holding(_alerts(readings, words)),
        "opportunities": _holding(_opportunities(readings)),
    }
    words["explanation"] = _explanations(words, numbers, lists)
    return Aggregate(numbers, words, lists, dict(zip(NAMES, score, strict=True)), categories)


def _listed(ranked: np.ndarray, chosen: np.ndarray, most: int) -> list[list[str]]:
    """Names of the chosen signals of each row, highest score first."""
    inside = np.take_along_axis(chosen, ranked, axis=0)
    return [[NAMES[place] for place in order[keep][:most]] for order, keep in zip(ranked.T, inside.T, strict=True)]


def _holding(conditions: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Of each row what holds: the name of each true condition, or the condition's own words."""
    columns = [
        [name if true else None for true in holds] if holds.dtype == bool else holds
        for name, holds in conditions.items()
    ]
    return [[text for text in row if text] for row in zip(*columns, strict=True)]


def _alerts(readings: Readings, words: Mapping[str, Words]) -> dict[str, np.ndarray]:
    level, severity = words["risk_level"], words["conflict_severity"]
    cascade, hunt = readings.of("liquidation_cascade_risk"), readings.of("stop_hunt_probability")
    liquidated = readings.words["liquidation_cascade_risk"]
    return {
        "risk extreme": level == "extreme",
        "risk high": level == "high",
        "conflict CRITICAL": severity == "CRITICAL",
        "conflict SEVERE": severity == "SEVERE",
        "cascade CRITICAL": _told(cascade >= 0.8, "cascade CRITICAL, liquidated side ", liquidated),
        "cascade HIGH": _told((cascade >= 0.6) & (cascade < 0.8), "cascade HIGH, liquidated side ", liquidated),
        "stop hunt HIGH": hunt > 0.8,
        "stop hunt": (hunt > 0.6) & ~(hunt > 0.8),
        "arbitrage": _told(
            readings.of("arbitrage_opportunity") > 0.7, "arbitrage ", readings.words["arbitrage_opportunity"]
        ),
    }


def _opportunities(readings: Readings) -> dict[str, np.ndarray]:
    phase, stretch = readings.words["institutional_phase"], readings.words["mean_reversion_signal"]
    kind = readings.words["arbitrage_opportunity"]
    return {
        "arbitrage": _told(np.isin(kind, ("funding", "cross_venue")), "arbitrage ", kind),
        "phase": _told(readings.of("institutional_phase") > OPPORTUNE, "phase ", phase),
        "reversion": _told(readings.of("mean_reversion_signal") > OPPORTUNE, "reversion from ", stretch),
    }


def _told(holds: np.ndarray, text: str, named: Words) -> Words:
    """``text`` with the word named, where it holds and there is one."""
    told = np.full(holds.shape, None, dtype=object)
    for row in np.flatnonzero(holds):
        told[row] = f"{text}{named[row] or 'unknown'}"
    return told


def _explanations(
    words: Mapping[str, Words], numbers: Mapping[str, Array], lists: Mapping[str, Sequence[Sequence[str]]]
) -> Words:
    told = [
        f"{direction or 'Nothing known'}{f' at {sure:.0%}' if np.isfinite(sure) else ''}, {power}: "
        f"{_joined(up)} for a rise, {_joined(down)} for a fall; "
        f"{f'{severity} conflict' if severity else 'no conflict'}; risk {level or 'unknown'}"
        f"{f' ({_joined(factors)})' if factors else ''}."
        for direction, sure, power, up, down, severity, level, factors in zip(
            words["direction"],
            numbers["confidence"],
            words["strength"],
            lists["bullish_signals"],
            lists["bearish_signals"],
            words["conflict_severity"],
            words["risk_level"],
            lists["risk_factors"],
            strict=True,
        )
    ]
    return np.array(told, dtype=object)


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def overview(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several series at one bar: how many lean which way, how far they agree, where risk and opportunity are.

    ``rows`` are rows of ``signals.aggregate``, lists as lists. ``breadth`` is (bullish - bearish) / all with a
    direction, NULL without any.
    """
    series = [f"{row['symbol']}|{row['exchange']}_{row['market_type']}" for row in rows]
    counts = {name: sum(row["direction"] == name for row in rows) for name in ("BULLISH", "BEARISH", "NEUTRAL")}
    told = sum(counts.values())
    sure = [row["confidence"] for row in rows if row["confidence"] is not None and row["direction"] != "NEUTRAL"]
    return {
        "series": len(rows),
        "directions": counts,
        "breadth": (counts["BULLISH"] - counts["BEARISH"]) / told if told else None,
        "mean_confidence": sum(sure) / len(sure) if sure else None,
        "at_risk": [name for name, row in zip(series, rows, strict=True) if row["risk_level"] in ("high", "extreme")],
        "conflicted": [name for name, row in zip(series, rows, strict=True) if row["strength"] == "CONFLICTED"],
        "opportunities": {
            name: row["opportunities"] for name, row in zip(series, rows, strict=True) if row["opportunities"]
        },
    }
