"""Premiums far from usual, second by second."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array, before, current, median, windows
from orderflow_assets.features.mark_prices.declarations import DISLOCATED_BPS, DISLOCATED_S, DISLOCATED_SIGMA

MINUTE_S = 60
LEAD_IN_S = DISLOCATED_S - 1
"""Seconds before a bar that count towards a stretch which ends in it."""
_SIGMA = 1.4826
_BPS = 1e4
_RELATIVE_ZERO = 1e-12


def usual(values: Array, length: int, outputs: int) -> tuple[Array, Array]:
    """Median and 1.4826 MAD over the ``length`` bars before each output; NaN under 60 values or without spread."""
    middle = median(values, length, outputs)
    baseline = before(values, length, outputs)
    apart = np.sort(np.abs(baseline - middle[..., None]), axis=-1)
    count = np.isfinite(baseline).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, length - 1)
    mad = sum(np.take_along_axis(apart, index[..., None], axis=-1)[..., 0] for index in (low, high)) / 2
    spread = (count >= MIN_BASELINE) & (mad > _RELATIVE_ZERO * np.abs(middle))
    return middle, np.where(spread, _SIGMA * mad, np.nan)


def standing(values: Array, limit: int) -> Array:
    """Each second's last known value, at most ``limit`` seconds old."""
    second = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(np.isfinite(values), second, -1), axis=1)
    held = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    return np.where((last >= 0) & (second - last <= limit), held, np.nan)


def detected(premium: Array, middle: Array, spread: Array) -> Array:
    """Whether a stretch of ten seconds far from usual ended in each bar.

    ``premium`` is (series, seconds), fraction, and ends with the last bar; ``middle`` and ``spread`` are (series,
    outputs). NaN where either is, or where the bar has no premium.
    """
    outputs = middle.shape[1]
    seconds = windows(premium, MINUTE_S + LEAD_IN_S, (outputs - 1) * MINUTE_S + 1)[:, ::MINUTE_S]
    with np.errstate(invalid="ignore"):
        far = (np.abs(seconds - middle[..., None]) > DISLOCATED_SIGMA * spread[..., None]) & (
            np.abs(seconds) > DISLOCATED_BPS / _BPS
        )
    stretch = np.lib.stride_tricks.sliding_window_view(far, DISLOCATED_S, axis=-1).all(axis=-1).any(axis=-1)
    known = np.isfinite(current(premium, outputs * MINUTE_S)).reshape(*middle.shape, MINUTE_S).any(axis=-1)
    return np.where(known & np.isfinite(spread), stretch, np.nan)
