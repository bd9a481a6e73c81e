"""Whether a series rises or falls, and how fast, without assuming a straight line or a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import Array, one_of, require, vector

METHODS: tuple[str, ...] = ("original", "seasonal", "hamed_rao")
LEAST, MOST = 10, 5000


@dataclass(frozen=True, slots=True)
class TrendResult:
    """``slope`` is Sen's, per step, with its interval at ``1 - alpha``; ``trend`` is none where p >= alpha."""

    trend: Literal["increasing", "decreasing", "none"]
    p_value: float
    z: float
    tau: float
    s: float
    variance: float
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    method: str
    alpha: float


def mann_kendall(
    values: npt.ArrayLike, *, method: str = "original", season: int | None = None, alpha: float = 0.05
) -> TrendResult:
    """Mann-Kendall test and Sen slope (Mann 1945; Sen 1968).

    ``original`` takes values for independent; ``hamed_rao`` allows for autocorrelation (Hamed & Rao 1998) up to lag
    10 log10 n, as chance correlations at all lags can cancel the variance; ``seasonal`` compares each of ``season``
    places of the cycle with itself only (Hirsch et al. 1982), slope per step. Missing values are left out, their
    places kept. Cost grows with the square of the length.
    Raises ValueError under 10 or over 5,000 values, and where the correction of hamed_rao leaves no variance.
    """
    from scipy.stats import theilslopes

    one_of(method, METHODS, "method")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a probability such as 0.05, not {alpha}")
    array = vector(values)
    require(array, LEAST, "a trend test")
    if len(array) > MOST:
        raise ValueError(f"a trend test takes at most {MOST} values, here are {len(array)}: take a coarser step")
    with np.errstate(invalid="ignore"):
        test = _tested(array, method, season, alpha)
    if not np.isfinite(test.p):
        raise ValueError(f"{method}: the autocorrelation allowed for leaves no variance; use method='original'")
    known = np.flatnonzero(np.isfinite(array))
    if method == "seasonal" and season:
        slope, low, high = _seasonal_slope(array, season, float(test.var_s), alpha)
        intercept = float(np.nanmedian(array - slope * np.arange(len(array))))
    else:
        slope, intercept, low, high = (float(part) for part in theilslopes(array[known], known, alpha=1 - alpha))
    trend: Literal["increasing", "decreasing", "none"] = "none"
    if test.p < alpha:
        trend = "increasing" if test.s > 0 else "decreasing"
    return TrendResult(
        trend,
        float(test.p),
        float(test.z),
        float(test.Tau),
        float(test.s),
        float(test.var_s),
        slope,
        low,
        high,
        intercept,
        method,
        alpha,
    )


def _tested(array: Array, method: str, season: int | None, alpha: float) -> Any:
    import pymannkendall

    if method == "original":
        return pymannkendall.original_test(array, alpha=alpha)
    if method == "hamed_rao":
        lags = int(10 * np.log10(len(array)))
        return pymannkendall.hamed_rao_modification_test(array, alpha=alpha, lag=lags)
    if season is None or season < 2 or len(array) < 2 * season:
        raise ValueError(f"the seasonal test needs season in steps and two cycles of it; season is {season}")
    return pymannkendall.seasonal_test(array, period=season, alpha=alpha)


def _seasonal_slope(array: Array, season: int, variance: float, alpha: float) -> tuple[float, float, float]:
    """Median slope per step of all pairs of one place in the cycle, and its interval (Gilbert 1987, 16.4.3)."""
    from scipy.stats import norm

    slopes = []
    for place in range(season):
        part = array[place::season]
        later, earlier = np.triu_indices(len(part), k=1)[::-1]
        slopes.append((part[later] - part[earlier]) / (season * (later - earlier)))
    ordered = np.sort(np.concatenate(slopes))
    ordered = ordered[np.isfinite(ordered)]
    reach = norm.ppf(1 - alpha / 2) * np.sqrt(variance)
    low, high = (np.clip((len(ordered) + side * reach) / 2 - (side < 0), 0, len(ordered) - 1) for side in (-1, 1))
    return float(np.median(ordered)), float(ordered[int(low)]), float(ordered[int(high)])
