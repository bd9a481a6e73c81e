"""Funding rates compared across the venues of a symbol and the symbols of a venue.

Arrays are (series, bars), NaN where a rate is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.funding.declarations import LEAST_PEERS
from orderflow_assets.features.grid import Array, Identity, Mask
from orderflow_assets.features.words import Words

_RELATIVE_ZERO = 1e-12


def cross_sectional_z(series: tuple[Identity, ...], carry: Array) -> Array:
    """Robust z among the venues of the symbol, else among the symbols of the venue."""
    (of_venues, several), (of_symbols, _) = (_among_peers(series, carry, part) for part in (0, 1))
    return np.where(several, of_venues, of_symbols)


def _among_peers(series: tuple[Identity, ...], carry: Array, part: int) -> tuple[Array, Mask]:
    """Robust z among the series that share ``part`` of their identity, and whether enough of them are known."""
    z, several = np.full(carry.shape, np.nan), np.zeros(carry.shape, dtype=bool)
    for rows in _alike(series, part):
        several[rows] = np.isfinite(carry[rows]).sum(axis=0) >= LEAST_PEERS
        z[rows] = np.where(several[rows], robust_z(carry[rows]), np.nan)
    return z, several


def differential(series: tuple[Identity, ...], live: Array, settled: Array) -> tuple[dict[str, Array], Words, Words]:
    """Spread of f8 over the venues of each symbol, and where it is highest and lowest."""
    rates = np.where(np.isfinite(live), live, settled)
    spread, venues = np.full(rates.shape, np.nan), np.zeros(rates.shape)
    high, low = (np.full(rates.shape, None, dtype=object) for _ in range(2))
    for rows in _alike(series, 0):
        exchanges = np.array([series[row][1] for row in rows], dtype=object)
        known = np.isfinite(rates[rows])
        count = known.sum(axis=0)
        highest, lowest = (np.where(known, rates[rows], edge) for edge in (-np.inf, np.inf))
        several = count >= 2
        venues[rows] = count
        with np.errstate(invalid="ignore"):
            spread[rows] = np.where(several, highest.max(axis=0) - lowest.min(axis=0), np.nan)
        high[rows] = np.where(several, exchanges[highest.argmax(axis=0)], None)
        low[rows] = np.where(several, exchanges[lowest.argmin(axis=0)], None)
    return {"funding_cross_exchange_spread": spread, "funding_venues": venues}, high, low


def _alike(series: tuple[Identity, ...], part: int) -> Iterator[list[int]]:
    """The places of series that share ``part`` of their identity: 0 the symbol, 1 the exchange."""
    for value in sorted({identity[part] for identity in series}):
        yield [row for row, identity in enumerate(series) if identity[part] == value]


def robust_z(values: Array) -> Array:
    """(value - median) / (1.4826 MAD) along the first axis, NaN skipped; NaN where the MAD is 0."""
    known = np.isfinite(values)
    filled = np.where(known, values, np.inf)
    middle = _median(filled, known.sum(axis=0))
    mad = _median(np.where(known, np.abs(filled - middle), np.inf), known.sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mad > _RELATIVE_ZERO * np.abs(middle), (values - middle) / (1.4826 * mad), np.nan)


def _median(values: Array, count: npt.NDArray[np.int64]) -> Array:
    """Median of the ``count`` smallest of each column."""
    ordered = np.sort(values, axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    with np.errstate(invalid="ignore"):
        middle = (np.take_along_axis(ordered, low[None], 0) + np.take_along_axis(ordered, high[None], 0))[0] / 2
    return np.where(count > 0, middle, np.nan)
