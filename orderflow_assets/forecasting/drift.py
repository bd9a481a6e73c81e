"""Whether the errors of a serving model have changed.

Everything runs on volatility-scaled errors of the first step: raw errors change with every wild hour and would alarm
all day. Four detectors look for growth: ADWIN and Page-Hinkley on absolute errors, HDDM-A on misses of the 95 %
interval, and Kolmogorov-Smirnov with an effect size between recent and reference errors. The Diebold-Mariano test asks
whether the model now loses to naive. One threshold per statistic; the severity follows from how many of them speak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from orderflow_assets.forecasting.skill import diebold_mariano
from orderflow_assets.forecasting.tables import SEVERITIES

RECENT = 288
"""Outcomes called recent, taken so that they do not overlap: a day of prices, twelve days of volatility."""
MIN_RECENT = 60
MIN_REFERENCE = 60
KS_EFFECT, KS_P = 0.15, 0.01
PSI_CHANGED = 0.2
PSI_BINS = 10
DM_P = 0.01


class Detector(Protocol):
    """A detector of change in a stream: ``update`` returns True when the values seen so far have grown."""

    def update(self, value: float) -> bool: ...


class _Adwin:
    """ADWIN (Bifet & Gavaldà 2007), delta 1e-5; speaks only when the mean rose."""

    def __init__(self) -> None:
        from river.drift import ADWIN

        self._detector = ADWIN(delta=1e-5)

    def update(self, value: float) -> bool:
        before = self._detector.estimation
        self._detector.update(value)
        return bool(self._detector.drift_detected) and self._detector.estimation > before


class _PageHinkley:
    """Page-Hinkley for a rising mean: at least 200 values, delta 0.05, threshold 200."""

    def __init__(self) -> None:
        from river.drift import PageHinkley

        self._detector = PageHinkley(min_instances=200, delta=0.05, threshold=200.0, mode="up")

    def update(self, value: float) -> bool:
        self._detector.update(value)
        return bool(self._detector.drift_detected)


class _HddmA:
    """HDDM-A (Frías-Blanco et al. 2015) for a rising share of ones."""

    def __init__(self) -> None:
        from river.drift.binary import HDDMA

        self._detector = HDDMA()

    def update(self, value: float) -> bool:
        self._detector.update(bool(value))
        return bool(self._detector.drift_detected)


DETECTORS: Mapping[str, Callable[[], Detector]] = {"adwin": _Adwin, "page_hinkley": _PageHinkley, "hddm": _HddmA}


@dataclass(frozen=True, slots=True)
class Errors:
    """Scored first-step forecasts of one series, target and version, oldest first; scaled absolute errors."""

    model: np.ndarray
    naive: np.ndarray
    missed_95: np.ndarray
    """1 where the outcome lay outside the 95 % interval, 0 inside, NaN without an interval."""
    reference: np.ndarray
    """Errors the model made on held-out bars when it was trained; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the detectors say. ``*_at`` are positions in the errors, None where a detector is silent."""

    scores: int
    error_ratio: float
    adwin_at: int | None
    page_hinkley_at: int | None
    hddm_at: int | None
    coverage_95: float | None
    ks_statistic: float
    ks_p: float
    psi: float
    jensen_shannon: float
    dm_statistic: float
    dm_p: float


@dataclass(frozen=True, slots=True)
class Finding:
    severity: str
    reason: str

    @property
    def detected(self) -> bool:
        return self.severity != SEVERITIES[0]

    def at_least(self, severity: str) -> bool:
        return SEVERITIES.index(self.severity) >= SEVERITIES.index(severity)


def measure(errors: Errors) -> Statistics | str:
    """All statistics of one stream of errors, or why there are too few to say anything.

    Without a reference from training the errors older than the recent day stand in for it. An alarm counts while it
    lies within the recent errors.
    """
    recent, reference = errors.model[-RECENT:], errors.reference
    if not len(reference):
        reference = errors.model[: -len(recent)] if len(recent) else reference
    if len(recent) < MIN_RECENT:
        return f"{len(recent)} scored forecasts, {MIN_RECENT} are needed"
    if len(reference) < MIN_REFERENCE:
        return f"{len(reference)} errors to compare with, {MIN_REFERENCE} are needed"
    from scipy.stats import ks_2samp

    live = np.concatenate((errors.reference, errors.model))
    offset = len(errors.reference)
    known = ~np.isnan(errors.missed_95)
    missed = errors.missed_95[known]
    hddm_at = _last_alarm("hddm", missed, 0)
    test = ks_2samp(recent, reference)
    dm_statistic, p_better = diebold_mariano(recent - errors.naive[-RECENT:], 1)
    return Statistics(
        scores=len(errors.model),
        error_ratio=float(recent.mean() / reference.mean()) if reference.mean() > 0 else np.nan,
        adwin_at=_last_alarm("adwin", live, offset),
        page_hinkley_at=_last_alarm("page_hinkley", live, offset),
        hddm_at=None if hddm_at is None else int(np.flatnonzero(known)[hddm_at]),
        coverage_95=float(1 - np.nanmean(missed[-RECENT:])) if len(missed) else None,
        ks_statistic=float(test.statistic),
        ks_p=float(test.pvalue),
        psi=population_stability(recent, reference),
        jensen_shannon=_jensen_shannon(recent, reference),
        dm_statistic=dm_statistic,
        dm_p=1 - p_better,
    )


def judge(statistics: Statistics, ks_p: float) -> Finding:
    """Severity of one stream: ``ks_p`` is its p-value after :func:`benjamini_hochberg` over all streams checked.

    Of the four detectors and the loss against naive, one alone is MEDIUM (LOW where it is the distribution and its
    stability index is small), two are HIGH, more are CRITICAL.
    """
    grown = statistics.error_ratio > 1
    distribution = grown and statistics.ks_statistic > KS_EFFECT and ks_p < KS_P
    lost = statistics.dm_p < DM_P
    alarms = {
        "ADWIN": statistics.adwin_at is not None,
        "Page-Hinkley": statistics.page_hinkley_at is not None,
        "HDDM-A": statistics.hddm_at is not None,
        "Kolmogorov-Smirnov": distribution,
        "Diebold-Mariano": lost,
    }
    voices = [name for name, speaks in alarms.items() if speaks]
    if not voices:
        return Finding("NONE", f"errors are {statistics.error_ratio:.2f} of the reference, no detector speaks")
    severity = {1: "MEDIUM", 2: "HIGH"}.get(len(voices), "CRITICAL")
    if voices == ["Kolmogorov-Smirnov"] and statistics.psi <= PSI_CHANGED:
        severity = "LOW"
    return Finding(severity, f"errors are {statistics.error_ratio:.2f} of the reference; found by {', '.join(voices)}")


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for having made that many tests (Benjamini & Hochberg 1995)."""
    order = np.argsort(p_values)
    count = len(p_values)
    scaled = np.asarray(p_values, dtype=float)[order] * count / np.arange(1, count + 1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted.tolist()


def population_stability(recent: np.ndarray, reference: np.ndarray) -> float:
    """Population stability index over the reference's deciles, ends open, half a count added to each bin."""
    p, q = _shares(recent, reference)
    return float(((p - q) * np.log(p / q)).sum())


def _jensen_shannon(recent: np.ndarray, reference: np.ndarray) -> float:
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(*_shares(recent, reference), base=2))


def _shares(recent: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.quantile(reference, np.arange(1, PSI_BINS) / PSI_BINS)
    recent_counts, reference_counts = (
        np.bincount(np.searchsorted(edges, values), minlength=PSI_BINS) + 0.5 for values in (recent, reference)
    )
    return recent_counts / recent_counts.sum(), reference_counts / reference_counts.sum()


def _last_alarm(name: str, values: np.ndarray, offset: int) -> int | None:
    """Position after ``offset`` of the last alarm among the recent values; the first ``offset`` are what was before."""
    detector = DETECTORS[name]()
    alarms = [place for place, value in enumerate(values.tolist()) if detector.update(value)]
    if not alarms or alarms[-1] < max(offset, len(values) - RECENT):
        return None
    return alarms[-1] - offset
