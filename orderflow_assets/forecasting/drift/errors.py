"""What the detectors say about the errors of a serving model.

Everything runs on volatility-scaled errors of the first step: raw errors change with every wild hour and would alarm
all day. Four detectors look for growth: ADWIN and Page-Hinkley on absolute errors, HDDM-A on misses of the 95 %
interval, and Kolmogorov-Smirnov with an effect size between recent and reference errors. The Diebold-Mariano test asks
whether the model now loses to naive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.forecasting.drift.detectors import ON_ERRORS, hddm
from orderflow_assets.forecasting.drift.distributions import Shift, effective_size, shift
from orderflow_assets.forecasting.drift.pace import pace
from orderflow_assets.forecasting.skill import diebold_mariano

RECENT = 288
"""Outcomes called recent, taken so that they do not overlap: a day of prices, twelve days of volatility."""
MIN_RECENT = 60
MIN_REFERENCE = 60
_BEFORE = 1_000
"""Errors before the recent ones that a change is told from."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Scored first-step forecasts of one series, target and version, oldest first; scaled absolute errors."""

    model: np.ndarray
    naive: np.ndarray
    missed_95: np.ndarray
    """1 where the outcome lay outside the 95 % interval, 0 inside, NaN without an interval."""
    reference: np.ndarray
    """Errors the model made on held-out bars when it was trained; empty where there are none."""

    def until(self, stop: int) -> Errors:
        """What was known after the first ``stop`` outcomes."""
        return Errors(self.model[:stop], self.naive[:stop], self.missed_95[:stop], self.reference)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the detectors say. ``*_at`` are positions in the errors, None where a detector is silent."""

    scores: int
    error_ratio: float
    adwin_at: int | None
    page_hinkley_at: int | None
    hddm_at: int | None
    coverage_95: float | None
    shift: Shift
    """Recent against reference errors."""
    dm_statistic: float
    dm_p: float
    pace: str | None
    """sudden or gradual; None where it is not clear or nothing grew."""
    began_at: int | None
    """First of the larger errors; None where nothing grew."""


Alarms = dict[str, list[int]]


def listen(errors: Errors) -> Alarms:
    """Positions of the alarms of each detector in the errors, ascending; below 0 in the reference before them."""
    live, offset = np.concatenate((errors.reference, errors.model)), len(errors.reference)
    known = np.flatnonzero(~np.isnan(errors.missed_95))
    growth = {name: [place - offset for place in detect(live)] for name, detect in ON_ERRORS.items()}
    return growth | {"hddm": known[hddm(errors.missed_95[known])].tolist()}


def measure(errors: Errors, alarms: Alarms | None = None) -> Statistics | str:
    """All statistics of one stream of errors, or why there are too few to say anything.

    Without a reference from training the errors older than the recent day stand in for it. An alarm counts while it
    lies within the recent errors. Recent errors are worth as many independent ones as so many of the reference, since a
    change within them looks like autocorrelation. ``alarms`` are those of :func:`listen`, where they are known.
    """
    recent, reference = errors.model[-RECENT:], errors.reference
    if not len(reference):
        reference = errors.model[: -len(recent)] if len(recent) else reference
    if len(recent) < MIN_RECENT:
        return f"{len(recent)} scored forecasts, {MIN_RECENT} are needed"
    if len(reference) < MIN_REFERENCE:
        return f"{len(reference)} errors to compare with, {MIN_REFERENCE} are needed"
    first = len(errors.model) - len(recent)
    last = {name: places[-1] for name, places in (alarms or listen(errors)).items() if places and places[-1] >= first}
    missed = errors.missed_95[-RECENT:][~np.isnan(errors.missed_95[-RECENT:])]
    dm_statistic, p_better = diebold_mariano(recent - errors.naive[-RECENT:], 1)
    independent = effective_size(reference) / len(reference)
    tail = np.concatenate((errors.reference, errors.model))[-_BEFORE - RECENT :]
    grown = pace(tail)
    return Statistics(
        scores=len(errors.model),
        error_ratio=float(recent.mean() / reference.mean()) if reference.mean() > 0 else np.nan,
        adwin_at=last.get("adwin"),
        page_hinkley_at=last.get("page_hinkley"),
        hddm_at=last.get("hddm"),
        coverage_95=float(1 - missed.mean()) if len(missed) else None,
        shift=shift(recent, reference, len(recent) * independent, len(reference) * independent),
        dm_statistic=dm_statistic,
        dm_p=1 - p_better,
        pace=grown.kind if grown else None,
        began_at=max(grown.began + len(errors.model) - len(tail), 0) if grown else None,
    )
