"""Control charts: values judged by their own past, deviations added up until they cannot be chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.timeseries.arrays import Array, Index

SLACK = 0.5
"""Standard deviations per value that the sum forgives: half of the shift it is best at finding."""


@dataclass(frozen=True, eq=False)
class CusumWalk:
    """``height`` is the larger of both sums at each value, before any new start; NaN where ``z`` is.

    ``alarms`` are the values at which a sum passed the limit, ``onsets`` the first value of each such climb and
    ``directions`` +1 for upward, -1 for downward.
    """

    height: Array
    alarms: Index
    onsets: Index
    directions: Index


def past_standardised(values: Array, window: int) -> Array:
    """(value - mean) / sample sd of the ``window`` values before it; NaN at first and where they do not vary."""
    z = np.full(len(values), np.nan)
    if len(values) <= window:
        return z
    past = np.lib.stride_tricks.sliding_window_view(values[:-1], window)
    mean, sd = past.mean(axis=1), past.std(axis=1, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        z[window:] = np.where(sd > 1e-12 * np.abs(mean), (values[window:] - mean) / sd, np.nan)
    return z


def self_starting(values: Array, warmup: int = 20) -> Array:
    """z of each value from all values before it, exactly standard normal for normal values (Hawkins 1987).

    NaN for the first ``warmup`` values and where those before do not vary.
    """
    from scipy.stats import norm, t

    before = np.arange(1, len(values))
    total, square = np.cumsum(values)[:-1], np.cumsum((values - values[:1]) ** 2)[:-1]
    mean = total / before
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt(np.maximum(square - before * (mean - values[:1]) ** 2, 0) / (before - 1))
        ratio = np.sqrt(before / (before + 1)) * (values[1:] - mean) / sd
    z = np.full(len(values), np.nan)
    usable = (before >= warmup) & (sd > 0)
    z[1:][usable] = np.sign(ratio[usable]) * -norm.ppf(t.cdf(-np.abs(ratio[usable]), before[usable] - 1))
    return z


def cusum_walk(z: Array, limit: float, slack: float = SLACK) -> CusumWalk:
    """Two-sided tabular CUSUM of standardised values, begun anew after each alarm (Page 1954; Montgomery 2009, 9.1)."""
    height = np.full(len(z), np.nan)
    up = down = 0.0
    up_from = down_from = 0
    found: list[tuple[int, int, int]] = []
    for place, value in enumerate(z.tolist()):
        if value != value:
            continue
        if up == 0:
            up_from = place
        if down == 0:
            down_from = place
        up, down = max(0.0, up + value - slack), max(0.0, down - value - slack)
        height[place] = max(up, down)
        if height[place] > limit:
            found.append((place, up_from, 1) if up >= down else (place, down_from, -1))
            up = down = 0.0
    alarms, onsets, directions = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return CusumWalk(height, alarms, onsets, directions)
