"""Where positions opened in the last month would be liquidated: a model, not an observation.

Each step in which the open interest rose opened the rise at its mark price, at every leverage L with its assumed
share. Longs of leverage L are liquidated at P (1 - 1/L) / (1 - m), shorts at P (1 + 1/L) / (1 + m), m the maintenance
rate. A fall of the open interest unwinds everything held by the same share, what was opened before the month
included. A level that the mark price has reached since is liquidated and gone. After a step without a sample a fall
counts, a rise does not: the price it was opened at is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array
from orderflow_assets.features.oi.assumptions import LEVEL_SHARE, LEVERAGE, LONG_SHARE, MAINTENANCE_RATE

_LEVERAGES, _SHARES = (np.array(part, dtype=float) for part in zip(*LEVERAGE, strict=True))
_LONG_LEVEL = (1 - 1 / _LEVERAGES) / (1 - MAINTENANCE_RATE)
_SHORT_LEVEL = (1 + 1 / _LEVERAGES) / (1 + MAINTENANCE_RATE)


@dataclass(frozen=True, slots=True)
class Steps:
    """Five-minute steps of one series, NaN where unknown: state at their ends, extremes of the mark inside them."""

    oi: Array
    mark: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Side:
    """Levels of one side in the order in which the price reaches them.

    ``away`` rises: the log price of each level, for longs its negative. ``base`` is the base coin held up to each
    level, cumulated.
    """

    away: Array
    base: Array

    def between(self, near: Array, far: Array) -> Array:
        """Base coin at levels beyond ``near`` up to ``far``."""
        return self._held(far) - self._held(near)

    def trigger(self, near: Array) -> Array:
        """The first level by which ``LEVEL_SHARE`` of what lies beyond ``near`` is liquidated; NaN where nothing is."""
        passed = self._held(near)
        left = self._held(np.full_like(near, np.inf)) - passed
        wanted = passed + LEVEL_SHARE * left * (1 - 1e-12)
        place = np.minimum(np.searchsorted(self.base, wanted), max(len(self.base) - 1, 0))
        return np.where(left > 0, self.away[place] if len(self.away) else np.nan, np.nan)

    def _held(self, until: Array) -> Array:
        place = np.searchsorted(self.away, until, side="right")
        return np.concatenate(([0.0], self.base))[place]


@dataclass(frozen=True, slots=True)
class Levels:
    """The map at the end of one step. ``share`` is the part of the open interest that it saw being opened."""

    long: Side
    short: Side
    share: float


def maps(steps: Steps, ends: list[int], length: int) -> list[Levels | None]:
    """The map at each of ``ends``, from the ``length`` steps up to it; None under 60 known steps."""
    rise, unwound = _changes(steps.oi)
    opened = np.flatnonzero((rise > 0) & (steps.mark > 0))
    entry = np.log(steps.mark[opened])
    away = {
        "long": -(entry[:, None] + np.log(_LONG_LEVEL)),
        "short": entry[:, None] + np.log(_SHORT_LEVEL),
    }
    order = {side: np.argsort(levels, axis=None, kind="stable") for side, levels in away.items()}
    extremes = {"long": -np.log(steps.low), "short": np.log(steps.high)}
    part = {"long": LONG_SHARE, "short": 1 - LONG_SHARE}
    found: list[Levels | None] = []
    for end in ends:
        first = max(0, end - length)
        if np.isfinite(steps.oi[first + 1 : end + 1]).sum() < MIN_BASELINE:
            found.append(None)
            continue
        inside = (opened > first) & (opened <= end)
        held = np.where(inside, rise[opened] * np.exp(unwound[end] - unwound[opened]), 0.0)
        sides = {}
        for side, levels in away.items():
            reached = _since(extremes[side], end)[np.minimum(opened, end) + 1]
            base = np.where(levels > reached[:, None], held[:, None] * _SHARES * part[side], 0.0)
            sides[side] = Side(levels.ravel()[order[side]], np.cumsum(base.ravel()[order[side]]))
        found.append(Levels(sides["long"], sides["short"], _share(held.sum(), steps.oi[first : end + 1])))
    return found


def _changes(oi: Array) -> tuple[Array, Array]:
    """Rise of each step against the one before, and the cumulated log of what falls left of what was held."""
    rise = np.diff(oi, prepend=np.nan)
    known = np.flatnonzero(oi > 0)
    fall = np.zeros(len(oi))
    fall[known[1:]] = np.minimum(0.0, np.diff(np.log(oi[known])))
    return np.nan_to_num(rise), np.cumsum(fall)


def _since(extreme: Array, end: int) -> Array:
    """Highest value after each step up to ``end``: element ``k`` is that of ``[k, end]``, -inf beyond."""
    known = np.where(np.isfinite(extreme[: end + 1]), extreme[: end + 1], -np.inf)
    running = np.maximum.accumulate(known[::-1])[::-1]
    return np.concatenate((running, [-np.inf]))


def _share(held: float, oi: Array) -> float:
    latest = oi[oi > 0]
    return held / latest[-1] if len(latest) else np.nan
