"""The letter of a forecast: what it gains on naive, how surely, and whether its intervals hold.

A grade is of one series, target, model and step. Naive is C by definition, whatever the horizon; percentage errors
play no part, since they grade the horizon and not the model.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_ORIGINS = 500
MIN_FOLDS = 30
"""Outcomes that do not overlap below which nothing is graded, and origins likewise."""

COVERAGE_ERROR = 0.03
"""Distance of an interval's coverage from its level up to which the interval holds, a fraction."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a letter asks: errors over naive's, a Diebold-Mariano p-value, points of coverage missed."""

    grade: str
    rmae: float
    p_better: float
    coverage_error: float


_BETTER = (_Asked("S", 0.90, 0.01, 0.01), _Asked("A", 0.97, 0.05, 0.02))
_BROKEN = 0.10
"""Coverage error above which nothing else counts."""
_WORSE = 0.05
"""Probability of so large a loss, if both were equal, below which a forecast is worse than naive."""


def grade(
    origins: int, folds: int, rmae: float, p_better: float, coverage_error: float, *, naive: bool = False
) -> tuple[str, str]:
    """The letter and what it rests on.

    ``rmae`` is the scaled error over naive's, ``p_better`` the one-sided Diebold-Mariano p-value of a gain, and
    ``coverage_error`` the larger distance of the two intervals from their level, a fraction; NaN where unknown.
    """
    if origins < MIN_ORIGINS or folds < MIN_FOLDS:
        return "ungraded", (
            f"{origins} origins with {folds} outcomes that do not overlap; {MIN_ORIGINS} and {MIN_FOLDS} are needed"
        )
    if naive:
        return "C", "naive is C by definition"
    if rmae != rmae:
        return "ungraded", "naive makes no error here, so nothing can be compared with it"
    text = f"errors {rmae:.3f} of naive's, p {p_better:.2g}, coverage off by {100 * coverage_error:.1f} points"
    return _letter(rmae, p_better, coverage_error), text


def _letter(rmae: float, p_better: float, coverage_error: float) -> str:
    for asked in _BETTER:
        if rmae <= asked.rmae and p_better < asked.p_better and coverage_error <= asked.coverage_error:
            return asked.grade
    worse = 1 - p_better < _WORSE
    if coverage_error > _BROKEN or rmae > 1.10:
        return "F"
    if rmae < 1.00 and not worse and coverage_error <= COVERAGE_ERROR:
        return "B"
    return "C" if rmae <= 1.02 and not worse else "D"
