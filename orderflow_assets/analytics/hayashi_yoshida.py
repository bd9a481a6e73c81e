"""Lead and lag of prices by the cross-correlation of Hayashi and Yoshida (2005), many pairs and lags at once.

Each price is observed when it changes; between two observations lies one increment. The covariance sums the products
of all increments whose intervals overlap, so prices that change at different times need no common grid. On a grid of
seconds with the last price carried forward, the increments of Y that overlap one of X, from second s to second e, add
up to Y at its next observation at or after e, less Y at s: two matrix products per lag give all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.features.grid import Array, Mask

MAX_LAG_S = 5
LAGS: tuple[int, ...] = tuple(range(-MAX_LAG_S, MAX_LAG_S + 1))
"""Seconds that the first price is ahead of the second."""


@dataclass(frozen=True, slots=True)
class CrossCorrelation:
    """``correlation`` and ``z`` are (lags, prices, prices): of the row's price with the column's price lag seconds
    later. ``z`` is the covariance over its standard deviation if the two were independent, whatever their sizes of
    changes; ``changes`` counts the increments of each price."""

    correlation: Array
    z: Array
    changes: Array


def cross_correlation(log_prices: Array, lags: tuple[int, ...] = LAGS) -> CrossCorrelation:
    """Of all pairs of ``log_prices`` (prices, seconds), NaN where a price is not known.

    Increments that begin or end within the largest lag of either edge are left out for all lags alike.
    """
    carried = _carried(log_prices)
    moved = np.diff(carried, axis=1, prepend=carried[:, :1])
    observed = moved != 0
    edge = max(abs(lag) for lag in lags)
    length = carried.shape[1]
    ends, begins = _increments(moved, observed, edge, length)
    squared_ends, squared_begins = _increments(moved**2, observed, edge, length)
    energy = np.cumsum(moved**2, axis=1)
    ahead, energy_ahead = _next_observed(carried, observed), _next_observed(energy, observed)
    covariance = np.stack([_overlapping(ends, begins, ahead, carried, lag) for lag in lags])
    variance = np.stack([_overlapping(squared_ends, squared_begins, energy_ahead, energy, lag) for lag in lags])
    own = np.sqrt(squared_ends.sum(axis=1))
    whole = np.sqrt(energy[:, -1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return CrossCorrelation(
            covariance / (own[:, None] * whole[None, :]),
            covariance / np.sqrt(variance),
            observed[:, 1:].sum(axis=1).astype(float),
        )


def _carried(log_prices: Array) -> Array:
    """The last known price at each second, less the first; zero before it. Seconds without a price carry on."""
    known = np.isfinite(log_prices)
    last = np.maximum.accumulate(np.where(known, np.arange(log_prices.shape[1]), -1), axis=1)
    first = known.argmax(axis=1)
    rows = np.arange(len(log_prices))
    start = np.where(known.any(axis=1), log_prices[rows, first], 0.0)
    filled = np.take_along_axis(log_prices, np.maximum(last, 0), axis=1) - start[:, None]
    return np.where(last >= 0, filled, 0.0)


def _increments(amounts: Array, observed: Mask, edge: int, length: int) -> tuple[Array, Array]:
    """The amount of each increment placed at its end, and at its begin, the previous observation."""
    index = np.arange(length)
    previous = np.maximum.accumulate(np.where(observed, index, 0), axis=1)
    previous = np.concatenate([np.zeros((len(amounts), 1), dtype=np.int64), previous[:, :-1]], axis=1)
    kept = observed & (previous >= edge) & (index < length - edge)
    ends = np.where(kept, amounts, 0.0)
    begins = np.zeros_like(ends)
    row, end = np.nonzero(kept)
    begins[row, previous[row, end]] = ends[row, end]
    return ends, begins


def _next_observed(levels: Array, observed: Mask) -> Array:
    """The level at the first observation at or after each second; the last level after the last observation."""
    length = levels.shape[1]
    index = np.where(observed, np.arange(length), length - 1)
    following = np.minimum.accumulate(index[:, ::-1], axis=1)[:, ::-1]
    return np.take_along_axis(levels, following, axis=1)


def _overlapping(ends: Array, begins: Array, ahead: Array, levels: Array, lag: int) -> Array:
    """Sum over the increments of X of its amount times what Y moves in the intervals that overlap, ``lag`` later."""
    length = ends.shape[1]
    edge = max(lag, 0), length + min(lag, 0)
    here = slice(edge[0] - lag, edge[1] - lag)
    there = slice(*edge)
    return ends[:, here] @ ahead[:, there].T - begins[:, here] @ levels[:, there].T
