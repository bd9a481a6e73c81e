"""Walls: single levels far larger than their side, and what becomes of them.

A wall is a level of the best ten, at most 25 bps from the mid, whose size exceeds the median of its side by more than
6 x 1.4826 MAD. With a MAD of zero nothing can be called large.
"""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.features.orderbook.changes import Traded, covered
from orderflow_assets.features.orderbook.depth import NEAR_BPS
from orderflow_assets.features.orderbook.seconds import Book, Side

LEVELS = 10
SIGMAS = 6 * 1.4826
STANDING_S = 5
SURVIVING_S = 2
GROWTH = 3.0
LOST = 0.8
TRADED = 0.2


def walls(book: Book, side: Side) -> Mask:
    """Which levels are walls, (seconds, levels); none where a side has fewer than ten levels."""
    qty = side.qty[:, :LEVELS]
    middle = np.median(qty, axis=1, keepdims=True)
    mad = np.median(np.abs(qty - middle), axis=1, keepdims=True)
    near = book.distance(side)[:, :LEVELS] <= NEAR_BPS * (1 + 1e-9)
    return (qty > middle + SIGMAS * mad) & (mad > 0) & near


def pulled(side: Side, wall: Mask, traded: Traded, bid: bool) -> Mask:
    """Seconds in which a wall that had stood for 5 s lost 80 % untraded, (seconds,)."""
    second, level = np.nonzero(wall[:-1])
    price, qty = side.price[second, level], side.qty[second, level]
    for lag in range(1, STANDING_S + 1):
        stood = _level_at(side, wall, second - lag, price) >= 0
        second, price, qty = second[stood], price[stood], qty[stood]
    after = second + 1
    left = _size(side, after, price)
    loss = qty - left
    gone = loss >= LOST * qty
    traded_there = np.zeros_like(qty)
    for index in np.flatnonzero(gone):
        hit = (traded.row == after[index]) & (traded.price == price[index])
        traded_there[index] = traded.qty[hit].sum()
    seen = covered(price[:, None], side.price[after, :LEVELS], bid)[:, 0]
    flags = np.zeros(len(wall), dtype=bool)
    flags[after[gone & seen & (traded_there < TRADED * loss)]] = True
    return flags


def pushed(side: Side, wall: Mask, bid: bool) -> Mask:
    """Seconds in which a new wall has survived 2 s, (seconds,)."""
    second, level = np.nonzero(wall)
    price, qty = side.price[second, level], side.qty[second, level]
    for later in range(1, SURVIVING_S + 1):
        survives = _level_at(side, wall, second + later, price) >= 0
        second, price, qty = second[survives], price[survives], qty[survives]
    known = second >= STANDING_S
    second, price, qty = second[known], price[known], qty[known]
    earlier = second - STANDING_S
    was_wall = _level_at(side, wall, earlier, price) >= 0
    size = _size(side, earlier, price)
    seen = covered(price[:, None], side.price[earlier, :LEVELS], bid)[:, 0]
    new = seen & (~was_wall | (qty > GROWTH * size))
    flags = np.zeros(len(wall), dtype=bool)
    flags[second[new] + SURVIVING_S] = True
    return flags


def _level_at(side: Side, wall: Mask, second: np.ndarray, price: Array) -> np.ndarray:
    """Level of the wall at ``price`` in ``second``, -1 where there is none or no such second."""
    inside = (second >= 0) & (second < len(wall))
    row = np.where(inside, second, 0)
    same = (side.price[row, :LEVELS] == price[:, None]) & wall[row] & inside[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def _size(side: Side, second: np.ndarray, price: Array) -> Array:
    same = side.price[second, :LEVELS] == price[:, None]
    return np.where(same, side.qty[second, :LEVELS], 0.0).sum(axis=1)
