"""What one-minute premiums add up to: means over an hour and a funding interval, regimes, the implied funding rate.

All results are (series, outputs), NaN where undefined.
"""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, current, windows
from orderflow_assets.features.mark_prices.declarations import CONTANGO_BPS, COVERED, RELEASE_BPS
from orderflow_assets.features.words import Words, worded

HOUR, MEMORY = 60, 1440
_REGIMES = {"contango": 1, "neutral": 0, "backwardation": -1}
_SILENT = 9


def hour_mean(premium: Array, seconds: Array, outputs: int) -> Array:
    """Mean over the 60 bars up to and with each, weighted by the ``seconds`` that have a premium."""
    weights = windows(np.where(np.isfinite(premium), seconds, 0.0), HOUR, outputs)
    weighted = windows(np.nan_to_num(premium) * np.nan_to_num(seconds), HOUR, outputs)
    covered = weights.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(covered >= COVERED * HOUR * 60, weighted.sum(axis=-1) / covered, np.nan)


def regimes(mean_bps: Array, outputs: int) -> Words:
    """Labels of the last ``outputs`` bars, None where their mean is NULL.

    A bar whose mean says nothing takes the label of the last of the 1440 bars up to it that says something.
    """
    state = np.select(
        [mean_bps > CONTANGO_BPS, mean_bps < -CONTANGO_BPS, np.abs(mean_bps) < RELEASE_BPS], [1, -1, 0], 9
    )
    bar = np.arange(state.shape[1])
    last = np.maximum.accumulate(np.where(state != _SILENT, bar, -1), axis=1)
    held = np.where((last >= 0) & (bar - last < MEMORY), np.take_along_axis(state, np.maximum(last, 0), axis=1), 0)
    now = np.where(np.isfinite(current(mean_bps, outputs)), current(held, outputs), np.nan)
    return worded(*((now == number, name) for name, number in _REGIMES.items()))


def since(values: Array, weights: Array, bars: Array, full_weight: float) -> Array:
    """Weighted mean of ``values`` over the last ``bars`` bars of each output, itself included.

    ``bars`` is (series, outputs) of whole numbers, NaN where there is no interval. NaN where the weights that have a
    value are less than :data:`COVERED` of ``full_weight`` per bar.
    """
    outputs = bars.shape[1]
    known = np.isfinite(values) & np.isfinite(weights)
    weight = _running(np.where(known, weights, 0.0))
    total = _running(np.where(known, np.nan_to_num(weights) * np.nan_to_num(values), 0.0))
    end = np.arange(values.shape[1] - outputs + 1, values.shape[1] + 1)
    usable = np.isfinite(bars) & (bars >= 1) & (bars <= end)
    length = np.where(usable, bars, 0).astype(np.int64)
    begin = end - length
    covered, summed = (part[:, end] - np.take_along_axis(part, begin, axis=1) for part in (weight, total))
    usable &= covered >= COVERED * full_weight * length
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(usable & (covered > 0), summed / covered, np.nan)


def implied_rate(premium: Array, interval_hours: Array, interest: Array, clamp: Array, cap: Array) -> Array:
    """Funding rate per interval that a mean premium implies; ``interest`` and ``clamp`` are per 8 h."""
    rate = (premium + np.clip(interest - premium, -clamp, clamp)) * interval_hours / 8
    return np.clip(rate, -cap, cap)


def _running(values: Array) -> Array:
    """Sums over the first 0, 1, … values."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
