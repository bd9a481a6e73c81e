"""The verdict on one stream: severity, type, confidence and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Any

from orderflow_assets.forecasting.drift.errors import Statistics
from orderflow_assets.forecasting.drift.tables import SEVERITIES
from orderflow_assets.forecasting.drift.thresholds import THRESHOLDS, limit


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the inputs of a model and its forecasts say: how many were compared, and those that have shifted."""

    compared: int
    shifted: tuple[str, ...]
    severity: str
    """NONE, LOW (shifted) or MEDIUM (and far, by the stability index)."""
    smallest_p: float


@dataclass(frozen=True, slots=True)
class Finding:
    """``confidence`` is 1 - p of the test that belongs to the type, None where nothing was found: of larger errors for
    concept, sudden and gradual; of the loss to naive for performance; of the surest input for data."""

    severity: str
    type: str
    confidence: float | None
    voices: tuple[str, ...]
    reason: str
    recommendation: str

    @property
    def detected(self) -> bool:
        return self.severity != SEVERITIES[0]

    def at_least(self, severity: str) -> bool:
        return SEVERITIES.index(self.severity) >= SEVERITIES.index(severity)


def judge(statistics: Statistics, ks_p: float, inputs: Inputs | None = None) -> Finding:
    """Verdict on one stream: ``ks_p`` is the p-value of its errors after adjusting for all streams checked together.

    Voices are the four detectors of larger errors, the loss to naive, and inputs that have shifted far. One voice is
    MEDIUM, two are HIGH, more are CRITICAL. Errors whose distribution alone has changed, but by a small stability
    index, and inputs that have shifted a little are LOW.
    """
    grown, shift = statistics.error_ratio > 1, statistics.shift
    errors = {
        "ADWIN": statistics.adwin_at is not None,
        "Page-Hinkley": statistics.page_hinkley_at is not None,
        "HDDM-A": statistics.hddm_at is not None,
        "Kolmogorov-Smirnov": grown and is_shifted(shift.distance, ks_p),
    }
    larger = tuple(name for name, speaks in errors.items() if speaks)
    lost = statistics.dm_p < limit("dm_p")
    far = inputs is not None and inputs.severity == "MEDIUM"
    voices = (*larger, *(("Diebold-Mariano",) if lost else ()), *(("inputs",) if far else ()))
    severity = {0: "NONE", 1: "MEDIUM", 2: "HIGH"}.get(len(voices), "CRITICAL")
    if voices == ("Kolmogorov-Smirnov",) and shift.psi <= limit("psi"):
        severity = "LOW"
    shifted = inputs.shifted if inputs else ()
    if not voices and shifted:
        severity = "LOW"
    kind, p = "none", None
    if larger:
        kind, p = statistics.pace or "concept", ks_p
    elif lost:
        kind, p = "performance", statistics.dm_p
    elif inputs and shifted:
        kind, p = "data", inputs.smallest_p
    return Finding(
        severity,
        kind,
        None if p is None else 1 - p,
        voices,
        _reason(statistics, voices, shifted),
        RECOMMENDATIONS[kind],
    )


def said(statistics: Statistics, ks_p: float, inputs: Inputs | None) -> dict[str, Any]:
    """Each statistic with its value, its threshold and whether it speaks; what shifted by name."""
    values = {
        "ks_distance": statistics.shift.distance,
        "ks_p": ks_p,
        "psi": statistics.shift.psi,
        "jensen_shannon": statistics.shift.jensen_shannon,
        "dm_p": statistics.dm_p,
    }
    alarms = {"adwin": statistics.adwin_at, "page_hinkley": statistics.page_hinkley_at, "hddm": statistics.hddm_at}
    beyond = {"above": float.__gt__, "below": float.__lt__}
    details: dict[str, Any] = {
        name: {"value": value, "threshold": limit(name), "speaks": beyond[THRESHOLDS[name].sense](value, limit(name))}
        for name, value in values.items()
        if not isnan(value)
    }
    details |= {name: {"threshold": limit(name), "speaks": alarm is not None} for name, alarm in alarms.items()}
    return details | {"inputs": {"compared": inputs.compared, "shifted": inputs.shifted} if inputs else None}


def is_shifted(distance: float, p: float) -> bool:
    """Whether a distribution has moved, by enough to matter and surely."""
    return distance > limit("ks_distance") and p < limit("ks_p")


_RETRAIN = "Train again: the relation that was learned no longer holds."
RECOMMENDATIONS = {
    "none": "Nothing to do.",
    "data": "Watch: the inputs have left the range that was learned, the errors have not grown.",
    "performance": "Train again, or let naive serve: the model now loses to it.",
    "concept": _RETRAIN,
    "sudden": f"{_RETRAIN} What lies before the change teaches little.",
    "gradual": f"{_RETRAIN} Expect to do so again: the change goes on.",
}


def _reason(statistics: Statistics, voices: tuple[str, ...], shifted: tuple[str, ...]) -> str:
    text = f"errors are {statistics.error_ratio:.2f} of the reference"
    text += f"; found by {', '.join(voices)}" if voices else ", no detector speaks"
    return text + (f"; shifted: {', '.join(shifted)}" if shifted else "")
