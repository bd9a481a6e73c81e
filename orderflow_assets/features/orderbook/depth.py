"""What one book says, second by second: arrays (seconds,) from a :class:`Book`, NaN where it cannot be said."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.features.orderbook.seconds import BPS, Book, Side

BAND_BPS, NEAR_BPS, CLOSE_BPS = 50.0, 25.0, 10.0
_ROUNDING = 1 + 1e-9


def imbalance(book: Book, levels: int) -> Array:
    """(bid size - ask size) / their sum over the best ``levels``; NaN where a side has fewer."""
    bid, ask = (side.qty[:, :levels].sum(axis=1) for side in book.sides)
    return _share(bid, ask)


def notional(side: Side, levels: int) -> Array:
    """Value of the best ``levels``; NaN where there are fewer."""
    return (side.price[:, :levels] * side.qty[:, :levels]).sum(axis=1)


def within(amounts: Array, distance: Array, limit: Array | float) -> Array:
    """Sum of ``amounts`` of the levels at most ``limit`` bps from the mid; NaN without a book."""
    limit = np.broadcast_to(np.asarray(limit), distance.shape[:1])[:, None]
    inside = np.where(distance <= limit * _ROUNDING, amounts, 0.0).sum(axis=1)
    return np.where(np.isfinite(distance[:, 0]), inside, np.nan)


def coverage(book: Book) -> Array:
    """Largest distance in bps, ``BAND_BPS`` at most, that both sides show levels out to."""
    deepest = [np.where(np.isfinite(d := book.distance(side)), d, -np.inf).max(axis=1) for side in book.sides]
    reach = np.minimum(BAND_BPS, np.minimum(*deepest))
    return np.where(np.isfinite(reach), reach, np.nan)


def band_imbalance(book: Book, reach: Array) -> Array:
    """Imbalance of the notional within ``reach`` bps."""
    return _share(*(within(side.price * side.qty, book.distance(side), reach) for side in book.sides))


def gradient(book: Book) -> Array:
    """Slope through the origin of cumulative notional on distance, both sides pooled; quote currency per bp."""
    product = square = np.zeros(len(book.seconds))
    for side in book.sides:
        distance = book.distance(side)
        product = product + np.nansum(distance * np.cumsum(side.price * side.qty, axis=1), axis=1)
        square = square + np.nansum(distance**2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(square > 0, product / square, np.nan)


def concentration(book: Book, levels: int = 10) -> Array:
    """Herfindahl index of the sizes of the best ``levels`` of both sides, 0 equal to 1 single."""
    qty = np.hstack([side.qty[:, :levels] for side in book.sides])
    share = qty / qty.sum(axis=1, keepdims=True)
    floor = 1 / qty.shape[1]
    return np.maximum(0.0, ((share**2).sum(axis=1) - floor) / (1 - floor))


def centre(book: Book, levels: int = 10) -> Array:
    """Size-weighted mean price of the best ``levels`` of both sides."""
    price, qty = _joined(book, levels)
    return (price * qty).sum(axis=1) / qty.sum(axis=1)


def mean_distance(book: Book, levels: int = 10) -> Array:
    """Size-weighted mean distance from the mid in bps over the best ``levels`` of both sides."""
    price, qty = _joined(book, levels)
    mid = book.mid[:, None]
    return (qty * np.abs(price - mid) / mid * BPS).sum(axis=1) / qty.sum(axis=1)


def log_depth(book: Book) -> Array:
    """ln of the size within ``CLOSE_BPS`` of the mid, both sides."""
    total = sum(within(side.qty, book.distance(side), CLOSE_BPS) for side in book.sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        logged = np.log(total)
    return np.where(np.isfinite(logged), logged, np.nan)


def _joined(book: Book, levels: int) -> tuple[Array, Array]:
    prices, sizes = ([getattr(side, what)[:, :levels] for side in book.sides] for what in ("price", "qty"))
    return np.hstack(prices), np.hstack(sizes)


def _share(bid: Array, ask: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (bid - ask) / (bid + ask)
