"""What one book says: arrays (snapshots,) from :class:`Books`, NaN where it cannot be said."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.features.orderbook.seconds import Books, Side

BAND_BPS, NEAR_BPS, CLOSE_BPS = 50.0, 25.0, 10.0
_ROUNDING = 1 + 1e-9


def imbalance(book: Books, levels: int) -> Array:
    """(bid size - ask size) / their sum over the best ``levels``; NaN where a side has fewer."""
    return _share(*(side.qty[:levels].sum(axis=0) for side in book.sides))


def notional(side: Side, levels: int) -> Array:
    """Value of the best ``levels``; NaN where there are fewer."""
    return side.value[:levels].sum(axis=0)


def within(amounts: Array, distance: Array, limit: Array | float) -> Array:
    """Sum of ``amounts`` of the levels at most ``limit`` bps from the mid."""
    return np.where(distance <= limit * _ROUNDING, amounts, 0.0).sum(axis=0)


def coverage(book: Books) -> Array:
    """Largest distance in bps, ``BAND_BPS`` at most, that both sides show levels out to."""
    return np.minimum(BAND_BPS, np.minimum(*(np.fmax.reduce(distance, axis=0) for distance in book.distances)))


def band_imbalance(book: Books, reach: Array) -> Array:
    """Imbalance of the notional within ``reach`` bps."""
    sides = zip(book.sides, book.distances, strict=True)
    return _share(*(within(side.value, distance, reach) for side, distance in sides))


def gradient(book: Books) -> Array:
    """Slope through the origin of cumulative notional on distance, both sides pooled; quote currency per bp."""
    product = square = np.zeros(len(book.mid))
    for side, distance in zip(book.sides, book.distances, strict=True):
        total, away = np.cumsum(side.value, axis=0), np.nan_to_num(distance)
        product = product + np.where(np.isfinite(total), away * total, 0.0).sum(axis=0)
        square = square + (away**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(square > 0, product / square, np.nan)


def concentration(book: Books, levels: int = 10) -> Array:
    """Herfindahl index of the sizes of the best ``levels`` of both sides, 0 equal to 1 single."""
    square = sum((side.qty[:levels] ** 2).sum(axis=0) for side in book.sides)
    floor = 1 / (2 * levels)
    return np.maximum(0.0, (square / _size(book, levels) ** 2 - floor) / (1 - floor))


def centre(book: Books, levels: int = 10) -> Array:
    """Size-weighted mean price of the best ``levels`` of both sides."""
    return sum(side.value[:levels].sum(axis=0) for side in book.sides) / _size(book, levels)


def mean_distance(book: Books, levels: int = 10) -> Array:
    """Size-weighted mean distance from the mid in bps over the best ``levels`` of both sides."""
    sides = zip(book.sides, book.distances, strict=True)
    return sum((side.qty[:levels] * distance[:levels]).sum(axis=0) for side, distance in sides) / _size(book, levels)


def log_depth(book: Books) -> Array:
    """ln of the size within ``CLOSE_BPS`` of the mid, both sides."""
    sides = zip(book.sides, book.distances, strict=True)
    total = sum(within(side.qty, distance, CLOSE_BPS) for side, distance in sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        logged = np.log(total)
    return np.where(np.isfinite(logged), logged, np.nan)


def _size(book: Books, levels: int) -> Array:
    """Size of the best ``levels`` of both sides; NaN where a side has fewer."""
    return np.add(*(side.qty[:levels].sum(axis=0) for side in book.sides))


def _share(bid: Array, ask: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (bid - ask) / (bid + ask)
