"""How the price moved: scaled returns, runs beyond an extreme, reversion. Pure functions of (series, bars) arrays."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array, before, current, totals, windows

ATR_BARS, EXTREME_BARS, RECENT_BARS = 14, 60, 3
LEAST_EXTREME = 30
"""Bars that must have traded for an hour's extreme to be one."""

_DAY = 1440
_DICKEY_FULLER_5 = -2.86
"""5 % point of the Dickey-Fuller t with a constant, large samples."""


def returns(mid: Array, bars: int, outputs: int) -> Array:
    """Log return over the last ``bars`` bars at each of the last ``outputs``."""
    logged = np.log(mid)
    return current(logged, outputs) - logged[:, -outputs - bars : logged.shape[1] - bars]


def minute_sigma(mid: Array, outputs: int) -> Array:
    """Root mean square of the 1 min log returns of the 24 h before each bar; NULL under 60."""
    squares = np.full(mid.shape, np.nan)
    squares[:, 1:] = np.diff(np.log(mid), axis=1) ** 2
    known = np.isfinite(squares[:, :-1])
    count, total = (
        totals(part, _DAY, outputs) for part in (known.astype(float), np.where(known, squares[:, :-1], 0.0))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        sigma = np.sqrt(total / count)
    return np.where((count >= MIN_BASELINE) & (sigma > 0), sigma, np.nan)


def scaled_return(mid: Array, bars: int, outputs: int) -> Array:
    """Return over ``bars`` minutes in standard deviations, by the square root of time from 1 min returns."""
    return returns(mid, bars, outputs) / (minute_sigma(mid, outputs) * np.sqrt(bars))


def true_range(high: Array, low: Array, close: Array) -> Array:
    """Range of each bar, the close before it included where there is one."""
    last = np.full(close.shape, np.nan)
    last[:, 1:] = close[:, :-1]
    return np.fmax(high, last) - np.fmin(low, last) + 0 * high


def pierced(high: Array, low: Array, close: Array, outputs: int) -> tuple[Array, Array]:
    """Bars since the last run beyond the hour's high and beyond its low that closed back inside, NaN without one.

    Among the last three bars one went beyond the extreme of the 60 bars before it, by half the mean true range of 14
    bars at most, and the last close lies inside that extreme again. NULL throughout is told by :func:`judged`.
    """
    ranges = true_range(high, low, close)
    now = current(close, outputs)
    since_high, since_low = np.full((2, *now.shape), np.nan)
    for ago in reversed(range(RECENT_BARS)):
        kept = high.shape[1] - ago
        top, bottom, span = high[:, :kept], low[:, :kept], ranges[:, :kept]
        typical = np.where(
            np.isfinite(before(span, ATR_BARS, outputs)).all(axis=-1),
            before(span, ATR_BARS, outputs).mean(axis=-1),
            np.nan,
        )
        ceiling, floor = _extreme(top, outputs, np.fmax), _extreme(bottom, outputs, np.fmin)
        above, below = current(top, outputs) - ceiling, floor - current(bottom, outputs)
        since_high[(above > 0) & (above <= typical / 2) & (now < ceiling)] = ago
        since_low[(below > 0) & (below <= typical / 2) & (now > floor)] = ago
    return since_high, since_low


def judged(close: Array, outputs: int) -> np.ndarray:
    """Where a run beyond an extreme could be seen: the bar traded, as did 30 of the 60 before."""
    enough = np.isfinite(before(close, EXTREME_BARS, outputs)).sum(axis=-1) >= LEAST_EXTREME
    return enough & np.isfinite(current(close, outputs))


def _extreme(values: Array, outputs: int, pick: np.ufunc) -> Array:
    past = before(values, EXTREME_BARS, outputs)
    enough = np.isfinite(past).sum(axis=-1) >= LEAST_EXTREME
    return np.where(enough, pick.reduce(past, axis=-1), np.nan)


def reversion(logged: Array, length: int, outputs: int) -> Array:
    """Mean reversion per bar of the last ``length`` values: -ln(1 + slope) of changes on levels.

    0 where the slope is not significant by Dickey and Fuller's t at 5 % or no value in between fits; NULL where a
    third of the values is missing or they do not vary.
    """
    level = windows(logged[:, :-1], length - 1, outputs)
    change = windows(np.diff(logged, axis=1), length - 1, outputs)
    known = np.isfinite(level) & np.isfinite(change)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(known, level - (np.where(known, level, 0).sum(axis=-1) / count)[..., None], 0)
        y = np.where(known, change - (np.where(known, change, 0).sum(axis=-1) / count)[..., None], 0)
        sxx, sxy, syy = (x * x).sum(axis=-1), (x * y).sum(axis=-1), (y * y).sum(axis=-1)
        slope = sxy / sxx
        error = np.sqrt(np.maximum(syy - slope * sxy, 0) / (count - 2) / sxx)
        reverts = (slope / error < _DICKEY_FULLER_5) & (slope > -1)
        speed = np.where(reverts, -np.log(np.where(reverts, 1 + slope, 1.0)), 0.0)
    return np.where((count >= 2 * length // 3) & (sxx > 0), speed, np.nan)
