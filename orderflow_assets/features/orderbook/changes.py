"""What changed between two books of a series, price by price.

A price that one book shows and the other does not counts as empty there only if it lies within the prices that other
book covers, best to deepest; beyond them nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.features.orderbook.seconds import Places, Side, placed


@dataclass(frozen=True, slots=True)
class Traded:
    """Volume that took from one side of the book: price, size, and the series and second it happened in.

    A trade belongs to the first second at or after it; both count as in ``Books.standing``.
    """

    series: Places
    second: Places
    price: Array
    qty: Array

    @classmethod
    def of(cls, rows: pa.Table, series: Places, first_second: int) -> Traded:
        """The ``rows``, in order of series, that belong to one of ``series``; seconds count from ``first_second``."""
        number = rows["series"].to_numpy()
        part = slice(np.searchsorted(number, series[0]), np.searchsorted(number, series[-1], side="right"))
        number, second, price, qty = (rows[name].to_numpy()[part] for name in ("series", "second", "price", "qty"))
        known = np.isin(number, series)
        row = np.searchsorted(series, number[known])
        return cls(row, second[known] - first_second, price[known], qty[known])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Snapshots that stand some seconds apart, ``then`` and ``now``, each pair once for as long as both stand.

    ``place`` is (series, seconds less that lag): which pair it is at each second, -1 where one of the two is missing.
    """

    then: Places
    now: Places
    place: Places

    def by_second(self, values: Array) -> Array:
        """What each pair says, (..., pairs), at its seconds; NaN where there is none."""
        return placed(values, self.place)


def pairs(standing: Places, lag: int) -> Pairs:
    """The snapshots that stand at each second, with those that stood ``lag`` seconds before."""
    then, now = standing[:, :-lag], standing[:, lag:]
    known = (then >= 0) & (now >= 0)
    another = known.copy()
    another[:, 1:] &= (then[:, 1:] != then[:, :-1]) | (now[:, 1:] != now[:, :-1])
    return Pairs(then[another], now[another], np.where(known, np.cumsum(another).reshape(known.shape) - 1, -1))


def deepest(price: Array, bid: bool) -> Array:
    """The last price of each book (levels, rows)."""
    return np.fmin.reduce(price, axis=0) if bid else np.fmax.reduce(price, axis=0)


def covered(price: Array, by: Array, bid: bool) -> Mask:
    """Which prices (levels, rows) lie within what the books ``by`` (levels, rows) reach."""
    with np.errstate(invalid="ignore"):
        return price >= deepest(by, bid) if bid else price <= deepest(by, bid)


def sizes_at(price: Array, other: Side) -> tuple[Array, Mask]:
    """Size that ``other`` (m, rows) shows at each of ``price`` (k, rows), 0 where it shows none.

    And which of its own levels, (m, rows), lie at one of these prices.
    """
    found, met = np.zeros_like(price), np.empty(other.price.shape, dtype=bool)
    for level, (level_price, level_qty) in enumerate(zip(other.price, other.qty, strict=True)):
        same = price == level_price
        np.copyto(found, level_qty, where=same)
        met[level] = same.any(axis=0)
    return found, met


def taken(side: Side, step: Pairs, traded: Traded, levels: int = 10) -> Array:
    """Traded volume at each of the best ``levels`` of the earlier book of each pair a second apart, (levels, pairs)."""
    pair = step.place[traded.series, traded.second - 1]
    hit = pair >= 0
    pair, price, qty = pair[hit], traded.price[hit], traded.qty[hit]
    level, trade = np.nonzero(side.price[:levels, step.then[pair]] == price)
    place = level * len(step.then) + pair[trade]
    return np.bincount(place, qty[trade], levels * len(step.then)).astype(float).reshape(levels, -1)


def added_and_cancelled(side: Side, step: Pairs, traded: Array, bid: bool) -> tuple[Array, Array]:
    """Size added and size cancelled from one book to the next, (pairs,) each.

    ``traded`` (levels, pairs), as of :func:`taken`, explains a decrease; as many levels are looked at.
    """
    now, then = side.best(len(traded), step.now), side.best(len(traded), step.then)
    left, known = sizes_at(then.price, now)
    change = np.where(covered(then.price, now.price, bid), left - then.qty, 0.0)
    fresh = np.where(covered(now.price, then.price, bid) & ~known, now.qty, 0.0)
    added = np.maximum(change, 0).sum(axis=0) + fresh.sum(axis=0)
    return added, np.maximum(0, -change - traded).sum(axis=0)


def survived(side: Side, lagged: Pairs, bid: bool, levels: int = 10) -> tuple[Array, Array]:
    """Size that stood then in the best ``levels`` and still stands now, and all of it that is in sight, (pairs,) each.

    All stored levels of the present book are looked at.
    """
    now, then = side.best(len(side.price), lagged.now), side.best(levels, lagged.then)
    seen = covered(then.price, now.price, bid)
    stood = np.where(seen, then.qty, 0.0).sum(axis=0)
    still = np.where(seen, np.minimum(then.qty, sizes_at(then.price, now)[0]), 0.0).sum(axis=0)
    return still, stood
