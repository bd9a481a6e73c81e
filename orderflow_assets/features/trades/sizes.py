"""Trade features that look at single parent trades: sizes, whales, bounce. One series at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import MIN_BASELINE, Array

Places = npt.NDArray[np.int64]

QUARTER = 15
LEAST_PARENTS = 10
WHALE_QUANTILE = 0.995


@dataclass(frozen=True, slots=True)
class Parents:
    """Parent trades of one series in order: bar they fall in, sign of the taker, value, last price."""

    bar: np.ndarray
    sign: Array
    notional: Array
    price: Array


NOBODY = Parents(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


class OutOfReachError(ValueError):
    """The largest values that are known do not reach down to the quantile that was asked for."""


def trailing_quantile(
    bar: np.ndarray, value: Array, length: int, outputs: np.ndarray, q: float, counts: np.ndarray | None = None
) -> Array:
    """Quantile ``q`` of the values in the ``length`` bars before each bar of ``outputs``; NaN under 60 values.

    Linear between order statistics. ``q`` is high: only as many of the largest values are looked through as needed.
    With ``counts``, how many values each bar from 0 on has, ``bar`` and ``value`` need be of the largest only; where
    they do not reach down to a quantile, LookupError is raised.
    """
    if counts is None:
        ordered = np.sort(bar)
        count = np.searchsorted(ordered, outputs) - np.searchsorted(ordered, outputs - length)
    else:
        total = np.concatenate([[0], np.cumsum(counts)])
        count = total[outputs] - total[np.maximum(outputs - length, 0)]
    order = np.argsort(-value, kind="stable")
    ranked_bar, ranked = bar[order], value[order]
    result = np.full(len(outputs), np.nan)
    looked = 1024
    for index in np.flatnonzero(count >= MIN_BASELINE):
        last, position = outputs[index], (count[index] - 1) * q
        upper, lower = (int(count[index] - 1 - edge) for edge in (np.ceil(position), np.floor(position)))
        while True:
            inside = np.flatnonzero((ranked_bar[:looked] < last) & (ranked_bar[:looked] >= last - length))
            if len(inside) > lower:
                break
            if looked >= len(ranked):
                raise OutOfReachError(f"the {len(inside)} largest of {count[index]} values are above the quantile {q}")
            looked *= 2
        low, high = ranked[inside[lower]], ranked[inside[upper]]
        result[index] = low + (position - np.floor(position)) * (high - low)
    return result


def size_features(parents: Parents, threshold: Array) -> dict[str, Array]:
    """Features of each bar but the first 14, NaN where undefined; ``threshold`` is that of every bar from bar 0 on.

    ``whale_trade_detected`` is 0 for a bar without a parent.
    """
    judged = np.arange(len(threshold))
    limit = threshold[parents.bar]
    whale = parents.notional >= limit
    known = np.isfinite(limit)

    def summed(values: Array, selected: np.ndarray) -> Array:
        per_bar = np.bincount(parents.bar[selected], values[selected], minlength=len(judged))
        return np.lib.stride_tricks.sliding_window_view(per_bar, QUARTER).sum(axis=1)

    judged_value = summed(parents.notional, known)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(judged_value > 0, summed(parents.notional, whale) / judged_value, np.nan)
        signed = np.where(judged_value > 0, summed(parents.sign * parents.notional, whale) / judged_value, np.nan)
    spotted = np.bincount(parents.bar[whale], minlength=len(judged))[QUARTER - 1 :] > 0
    now = threshold[QUARTER - 1 :]
    first, beyond = (np.searchsorted(parents.bar, judged[QUARTER - 1 :] + edge) for edge in (1 - QUARTER, 1))
    return {
        "whale_threshold": now,
        "whale_trade_detected": np.where(np.isfinite(now), spotted, np.nan),
        "whale_volume_ratio": share,
        "signed_whale_ratio": signed,
        "trade_size_stddev": _sd(parents.notional, first, beyond),
        "trade_size_log_stddev": _sd(np.log(parents.notional), first, beyond),
        "roll_spread": roll_spread(parents.price, first, beyond),
    }


def roll_spread(prices: Array, first: Places, beyond: Places) -> Array:
    """2 sqrt(-cov) of successive changes of the prices from each ``first`` up to ``beyond`` (Roll 1984).

    NaN where not negative or under 60 pairs.
    """
    change = np.diff(prices)
    pairs = _Stretches.of(first, beyond - 2)
    covariance = pairs.covariance(change[1:], change[:-1], MIN_BASELINE)
    negative = covariance < 0
    return np.where(negative, 2 * np.sqrt(np.where(negative, -covariance, 0.0)), np.nan)


def _sd(values: Array, first: Places, beyond: Places) -> Array:
    return np.sqrt(_Stretches.of(first, beyond).covariance(values, values, LEAST_PARENTS))


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Stretches of an array, which may overlap: the places they hold one after the other, whose each is, how many."""

    place: Places
    owner: Places
    count: Places

    @classmethod
    def of(cls, first: Places, beyond: Places) -> _Stretches:
        count = np.maximum(0, beyond - first)
        owner = np.repeat(np.arange(len(first)), count)
        return cls(np.arange(len(owner)) + (first - np.cumsum(count) + count)[owner], owner, count)

    def covariance(self, x: Array, y: Array, least: int) -> Array:
        """Sample covariance in each stretch; NaN under ``least`` values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            u, v = (
                values[self.place] - (self._total(values[self.place]) / self.count)[self.owner] for values in (x, y)
            )
            return np.where(self.count >= least, self._total(u * v) / (self.count - 1), np.nan)

    def _total(self, values: Array) -> Array:
        return np.bincount(self.owner, values, len(self.count)).astype(float)
