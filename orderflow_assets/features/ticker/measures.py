"""The mathematics of candles: ranges, variances, flows. Arrays are (series, bars), NaN is NULL.

Every function gives its last ``outputs`` bars and looks at a fixed number of bars before each.
"""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, before, current, percent_rank, windows

ATR_HOURS = 14
ATR_REACH = 250
"""Hours an average true range looks back: what lies before weighs under 1e-7."""

MFI_HOURS, LEAST_MFI_HOURS = 14, 12
DAYS, LEAST_DAYS = 30, 20


def mean_over(values: Array, length: int, outputs: int, least: int) -> Array:
    """Mean over the ``length`` bars up to and with the current one; NaN under ``least`` values."""
    window = windows(values, length, outputs)
    count = np.isfinite(window).sum(axis=-1)
    return np.where(count >= least, np.nansum(window, axis=-1) / np.maximum(count, 1), np.nan)


def standing(values: Array, length: int) -> Array:
    """The last value of the ``length`` bars up to and with each; (series, bars - length + 1)."""
    window = windows(values, length, values.shape[1] - length + 1)
    last = np.where(np.isfinite(window), np.arange(length), -1).max(axis=-1)
    return np.where(last >= 0, np.take_along_axis(window, np.maximum(last, 0)[..., None], -1)[..., 0], np.nan)


def true_range(high: Array, low: Array, close: Array) -> Array:
    """Wilder's true range: the range of the bar and the close before it; the first bar has none."""
    previous = np.concatenate([np.full((len(close), 1), np.nan), close[:, :-1]], axis=1)
    return np.maximum(high, previous) - np.minimum(low, previous)


def average_true_range(ranges: Array, outputs: int) -> Array:
    """Wilder's average over 14 of the bars before each output: the mean of the first 14, then 1/14 of each following.

    It begins ``ATR_REACH`` bars before the output and skips what is unknown; NaN under 14 known ranges.
    """
    baseline = before(ranges, ATR_REACH, outputs)
    known = np.isfinite(baseline)
    rank = known.cumsum(axis=-1)
    seed = np.nansum(np.where(known & (rank <= ATR_HOURS), baseline, 0), axis=-1) / ATR_HOURS
    average = seed
    for bar in range(ATR_REACH):
        follows = known[..., bar] & (rank[..., bar] > ATR_HOURS)
        average = np.where(follows, average + (np.nan_to_num(baseline[..., bar]) - average) / ATR_HOURS, average)
    return np.where(rank[..., -1] >= ATR_HOURS, average, np.nan)


def money_flow(typical: Array, volume: Array, outputs: int) -> Array:
    """Share of the flow (typical price x volume) of 14 bars in which the typical price rose, of rises and falls."""
    change = np.diff(typical, axis=1)
    flow = (typical * volume)[:, 1:]
    rose, fell = (np.where(np.isfinite(change), np.where(sign * change > 0, flow, 0), np.nan) for sign in (1, -1))
    up, down = (np.nansum(windows(part, MFI_HOURS, outputs), axis=-1) for part in (rose, fell))
    known = np.isfinite(windows(change, MFI_HOURS, outputs)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((known >= LEAST_MFI_HOURS) & (up + down > 0), up / (up + down), np.nan)


def same_hour_rank(values: Array, outputs: int) -> Array:
    """Percent rank of each hour among the same hours of the 30 days before; NaN under 20 of them."""
    back = values.shape[1] - outputs + np.arange(outputs)[:, None] - 24 * np.arange(1, DAYS + 1)[None, :]
    return percent_rank(current(values, outputs), values[:, back], LEAST_DAYS)


def parkinson(log_range: Array, length: int, outputs: int, least: int) -> Array:
    """Standard deviation per bar from log(high / low) (Parkinson 1980, Journal of Business 53:1)."""
    return np.sqrt(mean_over(log_range**2, length, outputs, least) / (4 * np.log(2)))


def bipower(returns: Array, length: int, outputs: int, least: int) -> Array:
    """Bipower variation of ``length`` returns (Barndorff-Nielsen & Shephard 2004, J. Financial Econometrics 2:1).

    pi/2 x length x the mean of |r| |r before| over the pairs inside the window; jumps do not enter it in the limit.
    """
    pairs = np.abs(returns[:, 1:] * returns[:, :-1])
    return np.pi / 2 * length * mean_over(pairs, length - 1, outputs, least)


def skewness(price: Array, weight: Array, length: int, outputs: int, least: int) -> Array:
    """Third standardised moment of prices under their weights; NaN without two different prices."""
    usable = np.isfinite(price) & (weight > 0)
    p, w = (windows(np.where(usable, part, 0), length, outputs) for part in (price, weight))
    traded = windows(usable.astype(float), length, outputs).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = w.sum(axis=-1)
        mean = (w * p).sum(axis=-1) / total
        apart = p / mean[..., None] - 1
        variance = (w * apart**2).sum(axis=-1) / total
        third = (w * apart**3).sum(axis=-1) / total
        return np.where((traded >= least) & (variance > 1e-24), third / variance**1.5, np.nan)
