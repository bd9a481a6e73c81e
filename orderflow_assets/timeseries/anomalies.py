"""Values that do not fit what came before them.

Baselines end before the value they judge and models learn from the past alone, except ``seasonal_esd``, which looks
at the whole series and says what stands out in hindsight. A missing value is skipped and is never an anomaly. Levels
that wander, such as prices, belong in as returns: most methods take a steady mean for granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import (
    MAD_TO_SD,
    Array,
    Index,
    Mask,
    bridged,
    one_of,
    require,
    robust_scale,
    vector,
)
from orderflow_assets.timeseries.control import cusum_walk, past_standardised

THRESHOLDS: Mapping[str, float] = {
    "zscore": 3.0,
    "mad": 3.5,
    "iqr": 2.2,
    "isolation_forest": 0.995,
    "ecod": 0.995,
    "cusum": 5.0,
    "seasonal_esd": 0.05,
    "ensemble": 2.0,
}
"""What a score is compared with. zscore, mad: standard deviations; iqr: interquartile ranges beyond the quartiles
(Hoaglin & Iglewicz 1987); isolation_forest, ecod: share of past scores below; cusum: standard deviations added up;
seasonal_esd: significance level; ensemble: methods that agree."""

METHODS: tuple[str, ...] = tuple(THRESHOLDS)
MEMBERS: tuple[str, ...] = ("zscore", "mad", "iqr", "isolation_forest", "ecod", "cusum")
"""The methods that vote in the ensemble."""

LEAST_WINDOW = 20
_GROWTH = 1.5
"""Models are fitted anew when the past has grown by half."""
_TREES, _SEED = 100, 0
_MOST_SHARE = 0.1
"""Share of values that seasonal_esd can flag at most."""


@dataclass(frozen=True, eq=False)
class AnomalyResult:
    """``is_anomaly`` and ``scores`` have the shape of the series; a score is NaN where nothing could be judged yet.

    ``votes`` holds, for the ensemble, what each method flagged. ``indices`` are the flagged places.
    """

    is_anomaly: Mask
    scores: Array
    threshold: float
    method: str
    indices: Index
    votes: Mapping[str, Mask] = field(default_factory=dict)


def anomalies(
    values: npt.ArrayLike,
    *,
    method: str = "zscore",
    threshold: float | None = None,
    window: int = 60,
    season: int | None = None,
) -> AnomalyResult:
    """Flags and scores of every value; ``window`` is the length of the baseline before each value.

    - zscore, mad, iqr: distance from mean, median, quartiles of the ``window`` values before.
    - cusum: two-sided tabular CUSUM with slack 0.5 on the same z, begun anew after each alarm (Page 1954).
    - isolation_forest (Liu et al. 2008), ecod (Li et al. 2022): rank, among the past, of the oddness of value, change
      and local spread, by a model fitted on that past (at least ``window`` values).
    - seasonal_esd: generalised extreme studentised deviate test with median and MAD on the STL residual, at most a
      tenth of the values (Rosner 1983; Hochenbaum et al. 2017); ``season`` in steps is required.
    - ensemble: values that at least ``threshold`` (2) of the first six flag.

    Raises ValueError for too short a series or window.
    """
    one_of(method, METHODS, "method")
    array = vector(values)
    limit = THRESHOLDS[method] if threshold is None else threshold
    if limit <= 0:
        raise ValueError(f"threshold must be positive, not {limit}")
    if window < LEAST_WINDOW:
        raise ValueError(f"a baseline needs at least {LEAST_WINDOW} values: window is {window}")
    if method == "seasonal_esd":
        return _seasonal_esd(array, limit, season)
    require(array, window + 2, f"{method} with window {window}")
    if method == "ensemble":
        votes = {name: anomalies(array, method=name, window=window).is_anomaly for name in MEMBERS}
        counted = np.sum(list(votes.values()), axis=0).astype(float)
        return _result(np.where(np.isfinite(array), counted, np.nan), counted >= limit, limit, method, votes)
    scores = _scores(array, method, limit, window)
    with np.errstate(invalid="ignore"):
        return _result(scores, scores > limit, limit, method)


def _scores(array: Array, method: str, limit: float, window: int) -> Array:
    known = np.flatnonzero(np.isfinite(array))
    dense = array[known]
    if method == "cusum":
        dense_scores = cusum_walk(past_standardised(dense, window), limit).height
    elif method in ("isolation_forest", "ecod"):
        dense_scores = _ranked(_oddities(dense), window, method)
    else:
        dense_scores = _distance(dense, method, window)
    scores = np.full(len(array), np.nan)
    scores[known] = dense_scores
    return scores


def _distance(dense: Array, method: str, window: int) -> Array:
    """How far each value lies from the ``window`` values before it."""
    if method == "zscore":
        return np.abs(past_standardised(dense, window))
    scores = np.full(len(dense), np.nan)
    past = np.lib.stride_tricks.sliding_window_view(dense[:-1], window)
    now = dense[window:]
    if method == "mad":
        centre = np.median(past, axis=1)
        spread = MAD_TO_SD * np.median(np.abs(past - centre[:, None]), axis=1)
        beyond = np.abs(now - centre)
    else:
        low, high = np.quantile(past, [0.25, 0.75], axis=1)
        spread = high - low
        beyond = np.maximum(0, np.maximum(low - now, now - high))
    with np.errstate(invalid="ignore", divide="ignore"):
        scores[window:] = np.where(spread > 0, beyond / spread, np.nan)
    return scores


def _oddities(dense: Array) -> Array:
    """What a model sees of each value: itself, its change, and the local spread up to it: (values, 3)."""
    change = np.diff(dense, prepend=dense[0])
    smooth = np.convolve(np.abs(change), np.ones(5) / 5)[: len(change)]
    return np.column_stack([dense, change, smooth])


def _ranked(rows: Array, first: int, method: str) -> Array:
    """Share of the past whose score lies below each row's, by models fitted at growing pasts."""
    scores = np.full(len(rows), np.nan)
    begin = first
    while begin < len(rows):
        end = min(len(rows), max(begin + 1, int(begin * _GROWTH)))
        past, now = _fit_score(rows[:begin], rows[begin:end], method)
        scores[begin:end] = np.searchsorted(np.sort(past), now) / len(past)
        begin = end
    return scores


def _fit_score(past: Array, now: Array, method: str) -> tuple[Array, Array]:
    if method == "ecod":
        return _tails(past, past), _tails(past, now)
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=_TREES, random_state=_SEED).fit(past)
    return -forest.score_samples(past), -forest.score_samples(now)


def _tails(past: Array, rows: Array) -> Array:
    """Empirical-tail oddness of ``rows``: the larger of the summed -log left and right tails in ``past``.

    Written out because the library's detector ranks new rows among each other as well as among the past.
    """
    ordered, count = np.sort(past, axis=0), len(past)
    columns = range(past.shape[1])
    left = np.stack([np.searchsorted(ordered[:, k], rows[:, k], side="right") for k in columns], axis=1)
    right = np.stack([count - np.searchsorted(ordered[:, k], rows[:, k], side="left") for k in columns], axis=1)
    low, high = (-np.log((tail + 1) / (count + 1)) for tail in (left, right))
    skewed = np.mean((past - past.mean(axis=0)) ** 3, axis=0) < 0
    return np.maximum.reduce([low.sum(axis=1), high.sum(axis=1), np.where(skewed, low, high).sum(axis=1)])


def _seasonal_esd(array: Array, alpha: float, season: int | None) -> AnomalyResult:
    from scipy.stats import t
    from statsmodels.tsa.seasonal import STL

    if season is None or season < 2:
        raise ValueError("seasonal_esd needs season, the length of a cycle in steps, for instance 24 for hourly values")
    require(array, 2 * season + 1, f"seasonal_esd with season {season}")
    known = np.flatnonzero(np.isfinite(array))
    dense, _ = bridged(array)
    parts = STL(dense, period=season, seasonal=10 * len(dense) + 1, seasonal_deg=0, robust=True).fit()
    residual = np.full(len(array), np.nan)
    residual[known[0] : known[-1] + 1] = dense - parts.seasonal - np.median(dense)
    residual[~np.isfinite(array)] = np.nan

    remaining = residual.copy()
    count = len(known)
    removed: list[int] = []
    accepted = 0
    for step in range(1, int(_MOST_SHARE * count) + 1):
        centre, spread = robust_scale(remaining)
        if spread == 0:
            break
        distance = np.abs(remaining - centre) / spread
        worst = int(np.nanargmax(distance))
        left = count - step
        quantile = t.ppf(1 - alpha / (2 * (left + 1)), left - 1)
        if distance[worst] > left * quantile / np.sqrt((left - 1 + quantile**2) * (left + 1)):
            accepted = step
        removed.append(worst)
        remaining[worst] = np.nan
    flags = np.zeros(len(array), dtype=bool)
    flags[removed[:accepted]] = True
    centre, spread = robust_scale(residual)
    scores = np.abs(residual - centre) / spread if spread > 0 else np.full(len(array), np.nan)
    return _result(scores, flags, alpha, "seasonal_esd")


def _result(
    scores: Array, flags: Mask, threshold: float, method: str, votes: Mapping[str, Mask] | None = None
) -> AnomalyResult:
    return AnomalyResult(flags, scores, threshold, method, np.flatnonzero(flags), votes or {})
