"""Trade features on the 10 s grid: price impact and clustering. Arrays are (series, 10 s bars), NaN is NULL."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array, windows

HOUR = 360
PER_MINUTE = 6


def _per_minute(values: Array, outputs: int) -> Array:
    """The last hour of each of the last ``outputs`` minutes: (series, outputs, 360)."""
    return windows(values, HOUR, (outputs - 1) * PER_MINUTE + 1)[:, ::PER_MINUTE]


def kyle(flow: Array, returns: Array, outputs: int) -> dict[str, Array]:
    """Slope of ``returns`` (bps) on ``flow`` (USD mn), its t-statistic and R2, over the bars that know both."""
    x, y = _per_minute(flow, outputs), _per_minute(returns, outputs)
    both = np.isfinite(x) & np.isfinite(y)
    count = both.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(both, x, 0) - (np.where(both, x, 0).sum(axis=-1) / count)[..., None]
        y = np.where(both, y, 0) - (np.where(both, y, 0).sum(axis=-1) / count)[..., None]
        xx, xy, yy = ((both * left * right).sum(axis=-1) for left, right in ((x, x), (x, y), (y, y)))
        usable = (count >= MIN_BASELINE) & (xx > 0)
        slope = np.where(usable, xy / xx, np.nan)
        explained = np.where(yy > 0, np.minimum(1, xy**2 / (xx * yy)), np.nan)
        error = np.sqrt((1 - explained) * yy / (count - 2) / xx)
        t = slope / error
    return {
        "market_impact_per_volume": slope,
        "market_impact_tstat": np.where(np.isfinite(t), t, np.nan),
        "market_impact_r2": np.where(usable, explained, np.nan),
    }


def clustering(counts: Array, outputs: int) -> Array:
    """1 - sqrt(mean / variance) of the counts of the last hour, held inside [0, 1]."""
    window = _per_minute(counts, outputs)
    known = np.isfinite(window).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(window, axis=-1) / known
        variance = np.nansum((window - mean[..., None]) ** 2, axis=-1) / (known - 1)
        index = np.clip(1 - np.sqrt(mean / variance), 0, 1)
    return np.where((known >= MIN_BASELINE) & (variance > 0), index, np.nan)
