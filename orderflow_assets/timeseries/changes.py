"""Where a series begins to behave differently.

``change_points`` looks at the whole series (hindsight), ``bocpd`` decides at each value from what came before it. Both
take values for independent within a segment: give them returns or residuals, not prices. Missing values are left out
and places refer to the series as given; a change point is the first value of the new segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import MAD_TO_SD, Array, Index, one_of, require, robust_scale, vector
from orderflow_assets.timeseries.control import cusum_walk, self_starting

METHODS: tuple[str, ...] = ("pelt", "binseg", "kernel", "cusum", "both")
DEFAULT_MIN_SIZE = 10

_CUSUM_LIMIT = 8.0
_CUSUM_WARMUP = 20
_CONFIRMATIONS = 3
_DIFFERENCE_TO_SD = MAD_TO_SD / np.sqrt(2)
_SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Segment:
    """Values ``start`` up to, and without, ``end``; ``length`` of them are known."""

    start: int
    end: int
    mean: float
    sd: float
    length: int


@dataclass(frozen=True, eq=False)
class ChangePointResult:
    """``confidence`` has one value per point: the posterior weight of two segments against one, by BIC, equal priors.

    It compares the two neighbouring segments by mean and variance (Kass & Raftery 1995), whatever the method, and
    does not allow for having searched for the place.
    """

    points: Index
    confidence: Array
    segments: tuple[Segment, ...]
    method: str


def change_points(
    values: npt.ArrayLike,
    *,
    method: str = "pelt",
    min_size: int = DEFAULT_MIN_SIZE,
    penalty: float | None = None,
) -> ChangePointResult:
    """Places where mean or variance change, segments of at least ``min_size`` values.

    - pelt: the segmentation with the least Gaussian mean-and-variance cost (Killick et al. 2012).
    - binseg: the same cost, split in two again and again.
    - kernel: any change of distribution, Gaussian kernel (Arlot et al. 2019): sturdier against heavy tails.
    - cusum: changes of the mean alone, one after the other, each value judged by those of its segment before it
      (self-starting CUSUM, Hawkins 1987); here ``penalty`` is the limit of the sum in standard deviations, 8.
    - both: points of pelt that binseg has within ``min_size``.

    ``penalty`` is the cost of a point; by default 3 ln n (BIC: mean, variance and place), for the kernel 2 ln n.
    Values are put on a common scale first, so that a penalty means the same for every series.
    Raises ValueError under two segments' worth of values.
    """
    one_of(method, METHODS, "method")
    array = vector(values)
    if min_size < 2:
        raise ValueError(f"a segment needs at least 2 values: min_size is {min_size}")
    require(array, 2 * min_size, f"change points with min_size {min_size}")
    known = np.flatnonzero(np.isfinite(array))
    dense = _scaled(array[known])
    if np.ptp(dense) == 0:
        inner: list[int] = []
    elif method == "both":
        others = np.array(_search("binseg", dense, min_size, penalty), dtype=np.int64)
        inner = [
            point for point in _search("pelt", dense, min_size, penalty) if (np.abs(others - point) <= min_size).any()
        ]
    else:
        inner = _search(method, dense, min_size, penalty)
    edges = [0, *inner, len(dense)]
    weights = [_two_against_one(dense[a:b], dense[b:c]) for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)]
    places = [*known[inner].tolist(), len(array)]
    return ChangePointResult(known[inner], np.array(weights), _segments(array, places), method)


def _scaled(dense: Array) -> Array:
    """Values over the usual size of their changes: levels may shift without moving the scale."""
    scale = _DIFFERENCE_TO_SD * float(np.median(np.abs(np.diff(dense))))
    scale = scale or float(dense.std())
    return (dense - np.median(dense)) / scale if scale > 0 else dense - dense[0]


def _search(method: str, dense: Array, min_size: int, penalty: float | None) -> list[int]:
    price = penalty if penalty is not None else (2 if method == "kernel" else 3) * float(np.log(len(dense)))
    match method:
        case "pelt":
            return _pelt(dense, min_size, price)
        case "binseg":
            return _binary(dense, min_size, price)
        case "kernel":
            import ruptures

            detector = ruptures.KernelCPD(kernel="rbf", min_size=min_size).fit(dense)
            return [int(point) for point in detector.predict(pen=price)[:-1]]
    return _one_after_another(dense, min_size, _CUSUM_LIMIT if penalty is None else penalty)


class _GaussianCost:
    """-2 log likelihood of stretches at their own mean and variance, from running sums."""

    def __init__(self, dense: Array) -> None:
        self.first = np.concatenate([[0.0], np.cumsum(dense)])
        self.second = np.concatenate([[0.0], np.cumsum(dense**2)])

    def __call__(self, start: Any, end: Any) -> Any:
        length = end - start
        mean = (self.first[end] - self.first[start]) / length
        variance = (self.second[end] - self.second[start]) / length - mean**2
        return length * np.log(np.maximum(variance, _SMALLEST_VARIANCE))


def _pelt(dense: Array, min_size: int, penalty: float) -> list[int]:
    """Exact minimum of cost + penalty per point, all candidates of an end at once; ruptures needs minutes for it."""
    count = len(dense)
    cost = _GaussianCost(dense)
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    last = np.zeros(count + 1, dtype=np.int64)
    candidates = np.array([0])
    for end in range(min_size, count + 1):
        if end >= 2 * min_size:
            candidates = np.append(candidates, end - min_size)
        total = best[candidates] + cost(candidates, end)
        winner = int(total.argmin())
        best[end], last[end] = total[winner] + penalty, candidates[winner]
        candidates = candidates[total <= best[end]]
    points = []
    end = int(last[count])
    while end > 0:
        points.append(end)
        end = int(last[end])
    return points[::-1]


def _binary(dense: Array, min_size: int, penalty: float) -> list[int]:
    cost = _GaussianCost(dense)
    found, open_stretches = [], [(0, len(dense))]
    while open_stretches:
        start, end = open_stretches.pop()
        splits = np.arange(start + min_size, end - min_size + 1)
        if not len(splits):
            continue
        gain = cost(start, end) - cost(start, splits) - cost(splits, end)
        if gain.max() > penalty:
            split = int(splits[gain.argmax()])
            found.append(split)
            open_stretches += [(start, split), (split, end)]
    return sorted(found)


def _one_after_another(dense: Array, min_size: int, limit: float) -> list[int]:
    points: list[int] = []
    start = 0
    while start + 2 * min_size <= len(dense):
        walk = cusum_walk(self_starting(dense[start:], max(min_size, _CUSUM_WARMUP)), limit)
        onset = int(walk.onsets[0]) if len(walk.onsets) else len(dense)
        if start + onset + min_size > len(dense):
            break
        start += onset
        points.append(start)
    return points


def _two_against_one(left: Array, right: Array) -> float:
    """Schwarz weight of a change between ``left`` and ``right``."""
    joined = np.concatenate([left, right])
    one, two, three = (len(part) * np.log(max(float(part.var()), _SMALLEST_VARIANCE)) for part in (joined, left, right))
    evidence = (one - two - three - 3 * np.log(len(joined))) / 2
    return float(1 / (1 + np.exp(-np.clip(evidence, -700, 700))))


def _segments(array: Array, places: Sequence[int]) -> tuple[Segment, ...]:
    segments = []
    for start, end in zip([0, *places[:-1]], places, strict=True):
        part = array[start:end]
        part = part[np.isfinite(part)]
        segments.append(Segment(start, end, float(part.mean()), float(part.std(ddof=1)), len(part)))
    return tuple(segments)


@dataclass(frozen=True, slots=True)
class OnlineChange:
    """A change that began at ``point`` and was known at ``detected``.

    ``severity`` is the difference of the means over the sd before, at ``detected``, ``direction`` its sign.
    """

    point: int
    detected: int
    confidence: float
    severity: float
    direction: Literal["up", "down"]


@dataclass(frozen=True, eq=False)
class BocpdResult:
    """``run_length`` is the most probable age of the present segment, ``recent`` the probability that it is younger
    than ``within`` values, both (values,) and known at each value; NaN or -1 where a value is missing.

    ``posterior`` is the distribution of the run length at the last value, index = run length.
    """

    run_length: Index
    recent: Array
    posterior: Array
    changes: tuple[OnlineChange, ...]
    within: int


def bocpd(
    values: npt.ArrayLike,
    *,
    hazard: float = 0.01,
    threshold: float = 0.5,
    within: int = 10,
    calibration: int = 50,
    longest: int = 500,
) -> BocpdResult:
    """Bayesian online change points of mean and variance (Adams & MacKay 2007), Normal-Gamma prior (0, 1, 1, 1).

    ``hazard`` is the prior chance of a change per value. A change is declared when the probability that the run is
    younger than ``within`` values has been above ``threshold`` for three values, so that one outlier is none; under a
    constant hazard the probability of run length zero itself is the hazard whatever the data. The prior is on the
    scale (median, MAD) of the first ``calibration`` values; no change is declared in them. Runs longer than
    ``longest`` share one state. Cost: values x longest.
    Raises ValueError for fewer than ``calibration`` + ``within`` values or parameters out of range.
    """
    array = vector(values)
    if not 0 < hazard < 1 or not 0 < threshold < 1:
        raise ValueError(f"hazard and threshold lie between 0 and 1, not {hazard} and {threshold}")
    if within < 2 or longest <= within:
        raise ValueError(f"within needs at least 2 and longest more than within: {within} and {longest}")
    require(array, calibration + within, "online change points")
    known = np.flatnonzero(np.isfinite(array))
    dense = array[known]
    centre, scale = robust_scale(dense[:calibration])
    if scale == 0:
        raise ValueError(f"the first {calibration} values do not vary: there is no scale to judge changes by")
    run, recent, posterior = _run_lengths((dense - centre) / scale, hazard, longest, within)
    run_length = np.full(len(array), -1, dtype=np.int64)
    probability = np.full(len(array), np.nan)
    run_length[known], probability[known] = run, recent
    changes = _declared(dense, run, recent, threshold, calibration, known)
    return BocpdResult(run_length, probability, posterior, changes, within)


def _run_lengths(z: Array, hazard: float, longest: int, within: int) -> tuple[Index, Array, Array]:
    """Most probable run length and P(run < within) after each value, and the last posterior.

    The state of run length r holds mean, kappa, alpha, beta of the Normal-Gamma after the last r values; predictions
    are Student's t.
    """
    from scipy.special import gammaln

    size = longest + 1
    kappa, alpha = 1.0 + np.arange(size), 1.0 + np.arange(size) / 2
    mean, beta = np.zeros(size), np.ones(size)
    gamma = gammaln(alpha + 0.5) - gammaln(alpha) - 0.5 * np.log(2 * np.pi * alpha)
    log_p = np.full(size, -np.inf)
    log_p[0] = 0.0
    run, recent = np.empty(len(z), dtype=np.int64), np.empty(len(z))
    grow, drop = np.log1p(-hazard), np.log(hazard)
    for place, value in enumerate(z):
        deviation = value - mean
        spread = beta * (kappa + 1) / (alpha * kappa)
        log_t = gamma - 0.5 * np.log(spread) - (alpha + 0.5) * np.log1p(deviation**2 / (2 * alpha * spread))
        joint = log_p + log_t
        fresh = np.logaddexp.reduce(joint) + drop
        log_p[1:] = joint[:-1] + grow
        log_p[-1] = np.logaddexp(log_p[-1], joint[-1] + grow)
        log_p[0] = fresh
        log_p -= np.logaddexp.reduce(log_p)
        beta[1:] = (beta + kappa * deviation**2 / (2 * (kappa + 1)))[:-1]
        mean[1:] = (mean + deviation / (kappa + 1))[:-1]
        run[place] = int(log_p.argmax())
        recent[place] = float(np.exp(np.logaddexp.reduce(log_p[:within])))
    return run, recent, np.exp(log_p)


def _declared(
    dense: Array, run: Index, recent: Array, threshold: float, calibration: int, known: Index
) -> tuple[OnlineChange, ...]:
    young = np.asarray(np.lib.stride_tricks.sliding_window_view(recent > threshold, _CONFIRMATIONS).all(axis=1))
    fresh = np.flatnonzero(young & ~np.concatenate([[True], young[:-1]])) + _CONFIRMATIONS - 1
    found: list[OnlineChange] = []
    begin = 0
    for place in fresh:
        point = int(place - run[place] + 1) if run[place] else int(place)
        if place < calibration or point - begin < 2:
            continue
        before, after = dense[begin:point], dense[point : place + 1]
        sd = float(before.std(ddof=1))
        shift = float(after.mean() - before.mean())
        severity = abs(shift) / sd if sd > 0 else np.inf
        found.append(
            OnlineChange(
                int(known[point]), int(known[place]), float(recent[place]), severity, "up" if shift > 0 else "down"
            )
        )
        begin = point
    return tuple(found)
