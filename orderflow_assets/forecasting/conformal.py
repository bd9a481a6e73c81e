"""Prediction intervals from past errors: rolling conformal quantiles with an adaptive level.

A score is the absolute error of a past forecast over its scale. The half-width at an origin is a quantile of the
last :data:`WINDOW` scores whose outcome was known then; the level of the quantile moves with each miss and each hit
(adaptive conformal inference, Gibbs & Candès 2021), so that coverage returns after the errors change. It moves less
at further steps: their outcomes overlap, so that one large move is missed at many origins in a row. The forecast and
the scale say where and how wide; this module only counts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import accumulate
from math import ceil, isnan, nan, sqrt

import numpy as np

LEVELS: tuple[float, ...] = (0.80, 0.95)
WINDOW = 1_000
MIN_SCORES = 40
"""Known outcomes below which no interval is stated."""
GAMMA = 0.01
"""How far a miss moves the level at the first step; at step ``h`` it is divided by the root of ``h``."""
WIDEST = 0.2
"""Least share of the nominal miss rate that the level is moved to: after a run of misses an interval does not grow to
the largest score there was."""


def half_widths(scores: np.ndarray, steps: tuple[int, ...], levels: tuple[float, ...] = LEVELS) -> np.ndarray:
    """Half-widths in units of scale, ``(origins, steps, levels)``; NaN while fewer than :data:`MIN_SCORES` are known.

    ``scores`` is ``(origins, steps)``, one row per bar, NaN where there was no forecast or no outcome (yet). Row
    ``t`` of the result uses the score of origin ``s`` and step ``h`` only if ``s + h <= t``. ``levels`` ascend, and an
    interval is never narrower than that of a lower level.
    """
    widths = np.full((*scores.shape, len(levels)), np.nan)
    for column, step in enumerate(steps):
        widths[:, column] = _one_step(scores[:, column].tolist(), step, levels)
    return widths


def _one_step(scores: list[float], step: int, levels: tuple[float, ...]) -> list[list[float]]:
    unknown = [nan] * len(levels)
    nominal, rate = [1.0 - level for level in levels], GAMMA / sqrt(step)
    alpha = list(nominal)
    widths: list[list[float]] = []
    recent: deque[float] = deque()
    ordered: list[float] = []
    for origin in range(len(scores)):
        known = origin - step
        if known >= 0 and not isnan(score := scores[known]):
            if widths[known] is not unknown:
                for place, width in enumerate(widths[known]):
                    moved = alpha[place] + rate * (nominal[place] - (score > width))
                    alpha[place] = max(moved, WIDEST * nominal[place])
            recent.append(score)
            insort(ordered, score)
            if len(recent) > WINDOW:
                del ordered[bisect_left(ordered, recent.popleft())]
        stated = len(ordered) >= MIN_SCORES
        widths.append(
            list(accumulate((_quantile(ordered, 1.0 - level) for level in alpha), max)) if stated else unknown
        )
    return widths


def _quantile(ordered: list[float], level: float) -> float:
    """The conformal quantile: the ``ceil((n + 1) level)``-th smallest, the largest where that would be infinite."""
    rank = ceil((len(ordered) + 1) * min(max(level, 0.0), 1.0))
    return ordered[min(max(rank, 1), len(ordered)) - 1]
