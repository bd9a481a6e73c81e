"""Comparing forecasts on the same origins: error ratios, the Diebold-Mariano test, coverage, and the verdict.

All errors are absolute and divided by the scale known at the origin, so that quiet and wild hours, near and far steps
weigh alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["promote", "keep", "demote"]

MIN_ORIGINS = 60
"""Held-out origins below which nothing is promoted or demoted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a challenger must show: errors smaller by ``min_gain``, unlikely (``max_p``) if it were no better."""

    min_gain: float = 0.005
    max_p: float = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """One forecast against another on the same origins. ``ratio`` below 1: the first is better."""

    ratio: float
    """Mean scaled absolute error of the first over that of the second, all steps."""
    first_step: float
    last_step: float
    """The same of the first and of the last step alone."""
    dm_statistic: float
    """Diebold-Mariano statistic; negative: the first is better."""
    p_better: float
    """Probability of so large a gain if both were equal."""
    p_worse: float
    """Probability of so large a loss if both were equal."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a challenger and why, with all the figures it rests on."""

    verdict: Verdict
    reason: str
    origins: int
    against_naive: Comparison | None
    against_champion: Comparison | None
    champion_against_naive: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def diebold_mariano(loss_difference: np.ndarray, horizon: int) -> tuple[float, float]:
    """Statistic and one-sided p-value that the mean difference is not below zero.

    ``loss_difference`` is one value per origin in time order, first minus second; its autocorrelation up to
    ``horizon - 1`` bars is allowed for. Small-sample correction of Harvey, Leybourne and Newbold 1997 with Bartlett
    weights, Student's t with ``n - 1`` degrees of freedom. NaN for fewer than ``2 * horizon`` origins.
    """
    from scipy.stats import t

    count = len(loss_difference)
    if count < max(2 * horizon, 8):
        return np.nan, np.nan
    centred = loss_difference - loss_difference.mean()
    variance = centred @ centred / count
    for lag in range(1, horizon):
        variance += 2 * (1 - lag / horizon) * (centred[lag:] @ centred[:-lag]) / count
    if variance <= 0:
        return (0.0, 0.5) if loss_difference.mean() == 0 else (np.nan, np.nan)
    statistic = loss_difference.mean() / np.sqrt(variance / count)
    statistic *= np.sqrt((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count)
    return float(statistic), float(t.cdf(statistic, count - 1))


def compare(first: np.ndarray, second: np.ndarray, horizon: int) -> Comparison:
    """``first`` and ``second`` are scaled absolute errors ``(origins, steps)`` of the same origins, without NaN."""
    statistic, p_better = diebold_mariano((first - second).mean(axis=1), horizon)
    return Comparison(
        ratio=_ratio(first, second),
        first_step=_ratio(first[:, 0], second[:, 0]),
        last_step=_ratio(first[:, -1], second[:, -1]),
        dm_statistic=statistic,
        p_better=p_better,
        p_worse=1 - p_better,
    )


def judge(
    challenger: np.ndarray, naive: np.ndarray, champion: np.ndarray | None, horizon: int, rule: Rule
) -> Judgement:
    """Promote the challenger, keep what serves, or let naive serve instead of the champion.

    Arguments are scaled absolute errors ``(origins, steps)``, NaN where a forecast or outcome is absent; only origins
    that all of them have are compared.
    """
    contestants = [errors for errors in (challenger, naive, champion) if errors is not None]
    shared = ~np.any([np.isnan(errors).any(axis=1) for errors in contestants], axis=0)
    origins = int(shared.sum())
    if origins < MIN_ORIGINS:
        return Judgement(
            "keep", f"{origins} held-out origins, {MIN_ORIGINS} are needed to judge", origins, None, None, None
        )
    against_naive = compare(challenger[shared], naive[shared], horizon)
    beats_naive = against_naive.ratio <= 1 - rule.min_gain and against_naive.p_better <= rule.max_p
    text = (
        f"errors are {against_naive.ratio:.3f} of naive's (p {against_naive.p_better:.3f}); "
        f"at most {1 - rule.min_gain:.3f} with p {rule.max_p:g} is asked"
    )
    if champion is None:
        return Judgement("promote" if beats_naive else "keep", text, origins, against_naive, None, None)
    against_champion = compare(challenger[shared], champion[shared], horizon)
    incumbent = compare(champion[shared], naive[shared], horizon)
    lost = incumbent.ratio > 1 + rule.min_gain
    verdict: Verdict = "demote" if lost else "keep"
    if beats_naive:
        better = against_champion.ratio <= 1 - rule.min_gain
        verdict = "promote" if better or lost else "keep"
        text += f"; errors are {against_champion.ratio:.3f} of the champion's, at most {1 - rule.min_gain:.3f} is asked"
    if lost:
        text += f"; the champion's errors have grown to {incumbent.ratio:.3f} of naive's"
    return Judgement(verdict, text, origins, against_naive, against_champion, incumbent)


def _ratio(first: np.ndarray, second: np.ndarray) -> float:
    total = float(second.sum())
    return float(first.sum()) / total if total > 0 else np.nan


def coverage(errors: np.ndarray, widths: np.ndarray) -> float | None:
    """Share of scaled absolute ``errors`` inside the half-widths, over the pairs where both are known."""
    known = ~np.isnan(errors) & ~np.isnan(widths)
    return float((errors[known] <= widths[known]).mean()) if known.any() else None
