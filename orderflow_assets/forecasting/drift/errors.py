"""What the detectors say about the errors of a serving model.

Everything runs on volatility-scaled errors of the first step: raw errors change with every wild hour and would alarm
all day. Four detectors look for growth: ADWIN and Page-Hinkley on absolute errors, HDDM-A on misses of the 95 %
interval, and Kolmogorov-Smirnov with an effect size between recent and reference errors. The Diebold-Mariano test asks
whether the model now loses to naive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.forecasting.drift.detectors import DETECTORS
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
    live = np.concatenate((errors.reference, errors.model))
    offset = len(errors.reference)
    known = ~np.isnan(errors.missed_95)
    missed = errors.missed_95[known]
    hddm_at = last_alarm(DETECTORS["hddm"](missed), len(missed), 0)
    dm_statistic, p_better = diebold_mariano(recent - errors.naive[-RECENT:], 1)
    tail = live[-_BEFORE - RECENT :]
    grown = pace(tail)
    began = None if grown is None else max(grown.began + len(live) - len(tail) - offset, 0)
    return Statistics(
        scores=len(errors.model),
        error_ratio=float(recent.mean() / reference.mean()) if reference.mean() > 0 else np.nan,
        adwin_at=last_alarm(DETECTORS["adwin"](live), len(live), offset),
        page_hinkley_at=last_alarm(DETECTORS["page_hinkley"](live), len(live), offset),
        hddm_at=None if hddm_at is None else int(np.flatnonzero(known)[hddm_at]),
        coverage_95=float(1 - missed[-RECENT:].mean()) if len(missed) else None,
        shift=shift(recent, reference, effective_size(recent), effective_size(reference)),
        dm_statistic=dm_statistic,
        dm_p=1 - p_better,
        pace=grown.kind if grown else None,
        began_at=began,
    )


def last_alarm(alarms: list[int], count: int, offset: int) -> int | None:
    """Position after ``offset`` of the last alarm among the recent of ``count`` values, the first ``offset`` of which
    are what was before; None where there is none."""
    if not alarms or alarms[-1] < max(offset, count - RECENT):
        return None
    return alarms[-1] - offset
