"""How alike two stretches are, and where in a series a pattern occurs again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import Array, Index, require, vector

LEAST = 4
MOST_CELLS = 25_000_000


@dataclass(frozen=True, eq=False)
class DtwResult:
    """``path`` is (length, 2), places in both series; ``normalised`` is the distance over the path's length."""

    distance: float
    normalised: float
    path: Index


@dataclass(frozen=True, slots=True)
class Match:
    """``start`` is its first place, ``distance`` the Euclidean one after z-normalisation, ``correlation`` Pearson's."""

    start: int
    distance: float
    correlation: float


def normalised(values: Array) -> Array:
    """(values - mean) / sd; all zero where nothing varies."""
    sd = values.std()
    return (values - values.mean()) / sd if sd > 1e-12 * np.abs(values).max(initial=0) else np.zeros(len(values))


def dtw(first: npt.ArrayLike, second: npt.ArrayLike, *, window: int | None = None, normalise: bool = True) -> DtwResult:
    """Dynamic time warping: the least sum of absolute differences along a path that never goes back.

    Steps (1, 1), (1, 0), (0, 1) of equal weight (Sakoe & Chiba 1978, symmetric1); ``window`` bounds how far a pair of
    places may lie apart; ``normalise`` compares shapes: each series less its mean, over its sd.
    Raises ValueError for missing values, fewer than four, a window that no path fits in, or more than 25 million cells.
    """
    a, b = _complete(first, "first"), _complete(second, "second")
    if len(a) * len(b) > MOST_CELLS:
        raise ValueError(f"{len(a)} x {len(b)} cells are too many, at most {MOST_CELLS:,}: take shorter stretches")
    reach = max(len(a), len(b)) if window is None else window
    if reach < abs(len(a) - len(b)):
        raise ValueError(f"window must be at least the difference of the lengths, {abs(len(a) - len(b))}, not {window}")
    if normalise:
        a, b = normalised(a), normalised(b)
    total = _accumulated(a, b, reach)
    path = _traced(total)
    distance = float(total[-1, -1])
    return DtwResult(distance, distance / len(path), path)


def _accumulated(a: Array, b: Array, reach: int) -> Array:
    """Least cost up to each pair of places, by antidiagonals: (len(a) + 1, len(b) + 1) with an edge of inf."""
    rows, columns = len(a), len(b)
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):
        row = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        row = row[np.abs(2 * row - diagonal) <= reach]
        column = diagonal - row
        before = np.minimum.reduce([total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]])
        total[row, column] = np.abs(a[row - 1] - b[column - 1]) + before
    return total


def _traced(total: Array) -> Index:
    row, column = total.shape[0] - 1, total.shape[1] - 1
    path = []
    while row > 0:
        path.append((row - 1, column - 1))
        steps = ((row - 1, column - 1), (row - 1, column), (row, column - 1))
        row, column = min(steps, key=lambda step: total[step])
    return np.array(path[::-1], dtype=np.int64)


def find_similar(series: npt.ArrayLike, pattern: npt.ArrayLike, *, top: int = 5) -> list[Match]:
    """The ``top`` stretches of ``series`` most like ``pattern`` in shape, best first, half a pattern apart at least.

    Both are z-normalised stretch by stretch. A stretch with a missing value or without movement matches nothing.
    Raises ValueError for a pattern with missing values, without movement, under four values or longer than the series.
    """
    query, values = _complete(pattern, "pattern"), vector(series)
    require(values, len(query), "a search for the pattern")
    if np.ptp(query) == 0:
        raise ValueError("the pattern never moves: it has no shape to look for")
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    likeness = correlations(values, query)
    apart = max(1, len(query) // 2)
    found: list[Match] = []
    while len(found) < top and np.isfinite(likeness).any():
        start = int(np.nanargmax(likeness))
        alike = float(likeness[start])
        found.append(Match(start, float(np.sqrt(max(0.0, 2 * len(query) * (1 - alike)))), alike))
        likeness[max(0, start - apart + 1) : start + apart] = np.nan
    return found


def correlations(values: Array, query: Array) -> Array:
    """Correlation of every stretch of ``values`` with ``query``, NaN where one is missing or stands still.

    What Mueen's MASS computes, here without compiling anything first.
    """
    from scipy.signal import fftconvolve

    length = len(query)
    known = np.isfinite(values)
    level = float(np.median(values[known]))
    filled = np.where(known, values - level, 0.0)
    shape = (query - query.mean()) / query.std()
    products = fftconvolve(filled, shape[::-1], mode="valid")
    stretches = np.lib.stride_tricks.sliding_window_view(filled, length)
    sd = stretches.std(axis=1)
    whole = np.lib.stride_tricks.sliding_window_view(known, length).all(axis=1)
    usable = whole & (sd > 1e-9 * np.abs(stretches).max(axis=1))
    found = np.full(len(products), np.nan)
    found[usable] = np.clip(products[usable] / (length * sd[usable]), -1, 1)
    return found


def _complete(values: npt.ArrayLike, name: str) -> Array:
    array = vector(values)
    if np.isnan(array).any():
        raise ValueError(f"{name} has {int(np.isnan(array).sum())} missing values: cut or fill them first")
    require(array, LEAST, name)
    return array
