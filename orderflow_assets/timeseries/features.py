"""Numbers that describe a stretch of a series, by name."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import factorial

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.prices.randomness import hurst
from orderflow_assets.timeseries.arrays import Array, bridged, require, vector
from orderflow_assets.timeseries.unit_roots import adf, kpss

LEAST = 30
LEAST_FLUCTUATION = 100
"""Increments without which a scaling exponent is not estimated."""
YEAR_S = 365 * 86_400.0
_SIGNIFICANT = 0.05
_ARCH_LAGS = 5
_PORTMANTEAU_LAGS = 10
_TEMPLATE, _TOLERANCE = 2, 0.2
_PATTERN = 3


@dataclass(frozen=True, slots=True)
class Extracted:
    """One number of :func:`extract`."""

    name: str
    group: str
    definition: str
    source: str


FEATURES: tuple[Extracted, ...] = (
    Extracted("mean", "statistical", "Arithmetic mean.", "moments"),
    Extracted("std", "statistical", "Sample standard deviation (n - 1).", "moments"),
    Extracted("variance", "statistical", "Sample variance (n - 1).", "moments"),
    Extracted("min", "statistical", "Smallest value.", "order statistics"),
    Extracted("max", "statistical", "Largest value.", "order statistics"),
    Extracted("range", "statistical", "max - min.", "order statistics"),
    Extracted("median", "statistical", "Middle value.", "order statistics"),
    Extracted("p10", "statistical", "10 % quantile, interpolated.", "order statistics"),
    Extracted("p25", "statistical", "25 % quantile, interpolated.", "order statistics"),
    Extracted("p75", "statistical", "75 % quantile, interpolated.", "order statistics"),
    Extracted("p90", "statistical", "90 % quantile, interpolated.", "order statistics"),
    Extracted("iqr", "statistical", "p75 - p25.", "order statistics"),
    Extracted("skewness", "distribution", "Third standardised moment, biased.", "moments"),
    Extracted("kurtosis", "distribution", "Fourth standardised moment less 3, biased.", "moments"),
    Extracted("jarque_bera_p", "distribution", "p-value of normality by both.", "Jarque & Bera 1980"),
    Extracted("missing_share", "distribution", "Share of missing values between the first and the last.", "count"),
    Extracted("trend_slope", "trend", "Least-squares slope per step.", "least squares"),
    Extracted("trend_r_squared", "trend", "Share of variance on that line.", "least squares"),
    Extracted("trend_p_value", "trend", "p-value of no slope, autocorrelation allowed for.", "Newey & West 1987"),
    Extracted("acf_lag1", "autocorrelation", "Autocorrelation at lag 1.", "Box & Jenkins 1970"),
    Extracted("acf_lag2", "autocorrelation", "Autocorrelation at lag 2.", "Box & Jenkins 1970"),
    Extracted("acf_lag5", "autocorrelation", "Autocorrelation at lag 5.", "Box & Jenkins 1970"),
    Extracted("acf_lag10", "autocorrelation", "Autocorrelation at lag 10.", "Box & Jenkins 1970"),
    Extracted("pacf_lag1", "autocorrelation", "Partial autocorrelation at lag 1, Yule-Walker.", "Box & Jenkins 1970"),
    Extracted("pacf_lag5", "autocorrelation", "Partial autocorrelation at lag 5, Yule-Walker.", "Box & Jenkins 1970"),
    Extracted("ljung_box_p", "autocorrelation", "p-value of none up to lag 10.", "Ljung & Box 1978"),
    Extracted("adf_statistic", "stationarity", "Statistic of a unit root, with a constant.", "Dickey & Fuller 1979"),
    Extracted("adf_pvalue", "stationarity", "p-value of a unit root.", "MacKinnon 1994"),
    Extracted("kpss_statistic", "stationarity", "Statistic of stationarity about a level.", "Kwiatkowski et al. 1992"),
    Extracted("kpss_pvalue", "stationarity", "p-value of that, cut to [0.01, 0.1].", "Kwiatkowski et al. 1992"),
    Extracted(
        "is_stationary",
        "stationarity",
        "1: ADF rejects a unit root and KPSS does not reject stationarity at 5 %; 0: the reverse; none: they disagree.",
        "both tests",
    ),
    Extracted(
        "volatility", "volatility", "sd of log returns x sqrt(steps in 365 days).", "annualised, around the clock"
    ),
    Extracted("return_mean", "volatility", "Mean log return per step.", "moments"),
    Extracted("return_std", "volatility", "Sample sd of log returns per step.", "moments"),
    Extracted("return_skew", "volatility", "Skewness of log returns, biased.", "moments"),
    Extracted("return_kurtosis", "volatility", "Excess kurtosis of log returns, biased.", "moments"),
    Extracted("return_acf1", "volatility", "Autocorrelation of log returns at lag 1.", "Box & Jenkins 1970"),
    Extracted("abs_return_acf1", "volatility", "The same of absolute log returns: clustering.", "Taylor 1986"),
    Extracted("arch_lm_p", "volatility", "p-value of constant variance of log returns, 5 lags.", "Engle 1982"),
    Extracted("sample_entropy", "complexity", "Of the increments, m 2, r 0.2 sd.", "Richman & Moorman 2000"),
    Extracted("permutation_entropy", "complexity", "Of the increments, order 3, over ln 6.", "Bandt & Pompe 2002"),
    Extracted(
        "hurst_exponent", "complexity", "Fluctuation exponent of the increments: 0.5 at random.", "Peng et al. 1994"
    ),
    Extracted("diff_mean", "differences", "Mean first difference.", "moments"),
    Extracted("diff_std", "differences", "Sample sd of first differences.", "moments"),
    Extracted("zero_crossings", "differences", "Changes of sign of the first difference.", "count"),
    Extracted("spectral_centroid", "spectral", "Mean frequency, cycles per step, by power, trend off.", "periodogram"),
    Extracted("spectral_energy", "spectral", "Power about the trend: mean square.", "Parseval"),
    Extracted("spectral_entropy", "spectral", "Evenness of the periodogram: 1 for white noise.", "Inouye et al. 1991"),
    Extracted("dominant_frequency", "spectral", "Strongest frequency, cycles per step, trend off.", "periodogram"),
    Extracted("dominant_period_s", "spectral", "Its period in seconds.", "periodogram"),
)
"""What :func:`extract` computes, in its order. Increments are log returns of a series that is positive throughout, and
the values themselves of any other."""

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
SPECTRAL: tuple[str, ...] = tuple(feature.name for feature in FEATURES if feature.group == "spectral")


def extract(values: npt.ArrayLike, *, step_seconds: float, include_spectral: bool = True) -> dict[str, float | None]:
    """The numbers of :data:`FEATURES` by name, None where one is undefined.

    Moments and order statistics skip missing values; what needs equal steps bridges gaps by lines; returns and
    differences only join neighbours that are both known. Raises ValueError under 30 values, or where more than a
    fifth of those between the first and the last are missing.
    """
    if step_seconds <= 0:
        raise ValueError(f"step_seconds must be positive, not {step_seconds}")
    array = vector(values)
    require(array, LEAST, "a description by features")
    dense, missing = bridged(array)
    known = array[np.isfinite(array)]
    positive = bool((known > 0).all())
    returns = _finite(np.diff(np.log(array))) if positive else known[:0]
    increments = np.diff(np.log(dense)) if positive else dense
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = (
            _statistical(known)
            | _distribution(known, missing / len(dense))
            | _trend(dense)
            | _dependence(dense)
            | _stationarity(dense)
            | _volatility(returns, step_seconds)
            | _complexity(increments)
            | _differences(_finite(np.diff(array)))
            | (_spectrum(dense, step_seconds) if include_spectral else {})
        )
    return {
        name: float(found[name]) if np.isfinite(found[name]) else None
        for name in NAMES
        if include_spectral or name not in SPECTRAL
    }


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]


def _moves(values: Array) -> bool:
    return len(values) > 2 and float(np.ptp(values)) > 1e-12 * float(np.abs(values).max())


def _moments(values: Array) -> tuple[float, float]:
    """Skewness and excess kurtosis."""
    if not _moves(values):
        return np.nan, np.nan
    z = (values - values.mean()) / values.std()
    return float((z**3).mean()), float((z**4).mean() - 3)


def _correlation(values: Array, lag: int) -> float:
    if not _moves(values) or len(values) < 3 * lag:
        return np.nan
    centred = values - values.mean()
    return float(centred[lag:] @ centred[:-lag] / (centred @ centred))


def _statistical(known: Array) -> dict[str, float]:
    p10, p25, median, p75, p90 = np.quantile(known, [0.1, 0.25, 0.5, 0.75, 0.9])
    return {
        "mean": known.mean(),
        "std": known.std(ddof=1),
        "variance": known.var(ddof=1),
        "min": known.min(),
        "max": known.max(),
        "range": np.ptp(known),
        "median": median,
        "p10": p10,
        "p25": p25,
        "p75": p75,
        "p90": p90,
        "iqr": p75 - p25,
    }


def _distribution(known: Array, missing_share: float) -> dict[str, float]:
    skewness, kurtosis = _moments(known)
    statistic = len(known) / 6 * (skewness**2 + kurtosis**2 / 4)
    return {
        "skewness": skewness,
        "kurtosis": kurtosis,
        "jarque_bera_p": np.exp(-statistic / 2),
        "missing_share": missing_share,
    }


def _trend(dense: Array) -> dict[str, float]:
    import statsmodels.api as sm

    names = ("trend_slope", "trend_r_squared", "trend_p_value")
    if not _moves(dense):
        return dict(zip(names, (0.0, np.nan, np.nan), strict=True))
    lags = int(4 * (len(dense) / 100) ** (2 / 9))
    line = sm.OLS(dense, sm.add_constant(np.arange(len(dense), dtype=float))).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags}
    )
    return dict(zip(names, (line.params[1], line.rsquared, line.pvalues[1]), strict=True))


def _dependence(dense: Array) -> dict[str, float]:
    from scipy.stats import chi2
    from statsmodels.tsa.stattools import pacf

    if not _moves(dense):
        return dict.fromkeys([feature.name for feature in FEATURES if feature.group == "autocorrelation"], np.nan)
    rho = np.array([_correlation(dense, lag) for lag in range(1, _PORTMANTEAU_LAGS + 1)])
    partial = pacf(dense, nlags=5, method="ywm")
    count = len(dense)
    portmanteau = count * (count + 2) * (rho**2 / (count - np.arange(1, _PORTMANTEAU_LAGS + 1))).sum()
    return {
        "acf_lag1": rho[0],
        "acf_lag2": rho[1],
        "acf_lag5": rho[4],
        "acf_lag10": rho[9],
        "pacf_lag1": partial[1],
        "pacf_lag5": partial[5],
        "ljung_box_p": chi2.sf(portmanteau, _PORTMANTEAU_LAGS),
    }


def _stationarity(dense: Array) -> dict[str, float]:
    if not _moves(dense):
        return dict.fromkeys([feature.name for feature in FEATURES if feature.group == "stationarity"], np.nan)
    unit_root, level = adf(dense), kpss(dense)
    verdicts = (unit_root.p_value < _SIGNIFICANT, level.p_value >= _SIGNIFICANT)
    return {
        "adf_statistic": unit_root.statistic,
        "adf_pvalue": unit_root.p_value,
        "kpss_statistic": level.statistic,
        "kpss_pvalue": level.p_value,
        "is_stationary": float(verdicts[0]) if verdicts[0] == verdicts[1] else np.nan,
    }


def _volatility(returns: Array, step_seconds: float) -> dict[str, float]:
    if len(returns) < LEAST:
        return dict.fromkeys([feature.name for feature in FEATURES if feature.group == "volatility"], np.nan)
    sd = returns.std(ddof=1)
    skewness, kurtosis = _moments(returns)
    return {
        "volatility": sd * np.sqrt(YEAR_S / step_seconds),
        "return_mean": returns.mean(),
        "return_std": sd,
        "return_skew": skewness,
        "return_kurtosis": kurtosis,
        "return_acf1": _correlation(returns, 1),
        "abs_return_acf1": _correlation(np.abs(returns), 1),
        "arch_lm_p": arch_lm(returns),
    }


def arch_lm(returns: Array, lags: int = _ARCH_LAGS) -> float:
    """p-value that the variance of ``returns`` does not depend on its past (Engle 1982); NaN where nothing moves."""
    from statsmodels.stats.diagnostic import het_arch

    if not _moves(returns) or not _moves((returns - returns.mean()) ** 2):
        return np.nan
    return float(het_arch(returns - returns.mean(), nlags=lags)[1])


def _complexity(increments: Array) -> dict[str, float]:
    if not _moves(increments):
        return dict.fromkeys([feature.name for feature in FEATURES if feature.group == "complexity"], np.nan)
    return {
        "sample_entropy": sample_entropy(increments, _TEMPLATE, _TOLERANCE * float(increments.std())),
        "permutation_entropy": permutation_entropy(increments, _PATTERN),
        "hurst_exponent": hurst(increments, LEAST_FLUCTUATION)[0],
    }


def sample_entropy(values: Array, length: int, tolerance: float) -> float:
    """-ln of the chance that stretches alike for ``length`` values stay alike for one more; NaN where none are."""
    from scipy.spatial import KDTree

    count = len(values) - length
    alike = []
    for size in (length, length + 1):
        tree = KDTree(np.lib.stride_tricks.sliding_window_view(values, size)[:count])
        alike.append(int(tree.count_neighbors(tree, tolerance, p=np.inf)) - count)
    return float(-np.log(alike[1] / alike[0])) if min(alike) > 0 else np.nan


def permutation_entropy(values: Array, order: int) -> float:
    """Entropy of the rank orders of ``order`` neighbours, over its largest value."""
    ranks = np.lib.stride_tricks.sliding_window_view(values, order).argsort(axis=1, kind="stable")
    seen = np.unique(ranks, axis=0, return_counts=True)[1] / len(ranks)
    return float(-(seen * np.log(seen)).sum() / np.log(factorial(order)))


def _differences(steps: Array) -> dict[str, float]:
    sign = np.sign(steps)
    sign = sign[sign != 0]
    return {
        "diff_mean": steps.mean() if len(steps) else np.nan,
        "diff_std": steps.std(ddof=1) if len(steps) > 1 else np.nan,
        "zero_crossings": float((sign[1:] != sign[:-1]).sum()),
    }


def _spectrum(dense: Array, step_seconds: float) -> dict[str, float]:
    from scipy.signal import periodogram

    frequency, power = periodogram(dense, detrend="linear", scaling="spectrum")
    frequency, power = frequency[1:], power[1:]
    total = power.sum()
    if not _moves(dense) or total <= 1e-24 * float(np.abs(dense).max()) ** 2:
        return dict.fromkeys(SPECTRAL, np.nan)
    share = power / total
    dominant = float(frequency[power.argmax()])
    return {
        "spectral_centroid": float(share @ frequency),
        "spectral_energy": float(total),
        "spectral_entropy": float(-(share[share > 0] * np.log(share[share > 0])).sum() / np.log(len(share))),
        "dominant_frequency": dominant,
        "dominant_period_s": step_seconds / dominant,
    }
