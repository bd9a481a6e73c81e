"""Walls: single levels far larger than their side, and what becomes of them.

A wall is a level of the best ten, at most 25 bps from the mid, whose size exceeds the median of its side by more than
6 x 1.4826 MAD. With a MAD of zero nothing can be called large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.features.orderbook.changes import Pairs, covered
from orderflow_assets.features.orderbook.depth import NEAR_BPS
from orderflow_assets.features.orderbook.seconds import Places, Side

LEVELS = 10
SIGMAS = 6 * 1.4826
STANDING_S = 5
SURVIVING_S = 2
GROWTH = 3.0
LOST = 0.8
TRADED = 0.2


@dataclass(frozen=True, slots=True)
class Walls:
    """The walls of one side: which levels of each snapshot are, (levels, snapshots), and what stands each second."""

    side: Side
    bid: bool
    wall: Mask
    standing: Places

    @classmethod
    def of(cls, side: Side, distance: Array, standing: Places, bid: bool) -> Walls:
        """None where a side has fewer than ten levels."""
        qty = side.qty[:LEVELS]
        middle = np.median(qty, axis=0)
        mad = np.median(np.abs(qty - middle), axis=0)
        near = distance[:LEVELS] <= NEAR_BPS * (1 + 1e-9)
        return cls(side.best(LEVELS), bid, (qty > middle + SIGMAS * mad) & (mad > 0) & near, standing)

    @property
    def seen(self) -> Mask:
        """Seconds in which some level is a wall, (series, seconds)."""
        return (self.standing >= 0) & np.logical_or.reduce(self.wall)[self.standing]

    def pulled(self, step: Pairs, traded: Array) -> Mask:
        """Seconds in which a wall that had stood for 5 s lost 80 % untraded, (series, seconds).

        ``traded`` is what each pair of ``step`` a second apart lost to takers, (levels, pairs).
        """
        now, after = self.standing[:, :-1], self.standing[:, 1:]
        level, series, second = self._found((now >= 0) & (after >= 0) & (now != after))
        for lag in range(1, STANDING_S + 1):
            snapshot = self.standing[series, second]
            stood = self._is_wall(series, second - lag, self.side.price[level, snapshot])
            level, series, second = level[stood], series[stood], second[stood]
        price, qty = self._level(level, series, second)
        following = self.standing[series, second + 1]
        loss = qty - self._size(following, price)
        untraded = traded[level, step.place[series, second]] < TRADED * loss
        seen = covered(price, self.side.price[:, following], self.bid)
        gone = (loss >= LOST * qty) & seen & untraded
        return self._flags(series[gone], second[gone] + 1)

    def pushed(self) -> Mask:
        """Seconds in which a new wall has survived 2 s, (series, seconds)."""
        level, series, second = self._found(self.standing >= 0)
        early = second >= STANDING_S
        level, series, second = level[early], series[early], second[early]
        price, qty = self._level(level, series, second)
        earlier = self.standing[series, second - STANDING_S]
        seen = (earlier >= 0) & covered(price, self.side.price[:, earlier], self.bid)
        was_wall = self._is_wall(series, second - STANDING_S, price)
        new = seen & (~was_wall | (qty > GROWTH * self._size(earlier, price)))
        series, second, price = series[new], second[new], price[new]
        for later in range(1, SURVIVING_S + 1):
            survives = self._is_wall(series, second + later, price)
            series, second, price = series[survives], second[survives], price[survives]
        return self._flags(series, second + SURVIVING_S)

    def _found(self, where: Mask) -> tuple[Places, Places, Places]:
        """Level, series and second of each wall in the seconds ``where``, (series, seconds)."""
        series, second = np.nonzero(where & self.seen[:, : where.shape[1]])
        level, place = np.nonzero(self.wall[:, self.standing[series, second]])
        return level, series[place], second[place]

    def _level(self, level: Places, series: Places, second: Places) -> tuple[Array, Array]:
        """Price and size of levels."""
        snapshot = self.standing[series, second]
        return self.side.price[level, snapshot], self.side.qty[level, snapshot]

    def _is_wall(self, series: Places, second: Places, price: Array) -> Mask:
        """Whether there is a wall at ``price`` in ``second``; not where there is no such second."""
        inside = (second >= 0) & (second < self.standing.shape[1])
        snapshot = np.where(inside, self.standing[series, np.where(inside, second, 0)], -1)
        same = (self.side.price[:, snapshot] == price) & self.wall[:, snapshot]
        return (snapshot >= 0) & same.any(axis=0)

    def _size(self, snapshot: Places, price: Array) -> Array:
        same = self.side.price[:, snapshot] == price
        return np.where(same, self.side.qty[:, snapshot], 0.0).sum(axis=0)

    def _flags(self, series: Places, second: Places) -> Mask:
        flags = np.zeros(self.standing.shape, dtype=bool)
        flags[series, second] = True
        return flags
