"""What changed between two seconds of the book, price by price.

A price that one book shows and the other does not counts as empty there only if it lies within the prices that other
book covers, best to deepest; beyond them nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.features.orderbook.seconds import Side


@dataclass(frozen=True, slots=True)
class Traded:
    """Volume that took from one side of the book: price, size, and the ``row`` of the second it happened in.

    A trade belongs to the first second at or after it; rows count the seconds of the book.
    """

    row: np.ndarray
    price: Array
    qty: Array


def lagged(side: Side, seconds: int, levels: int) -> tuple[Side, Side]:
    """The best ``levels`` of each second that has one ``seconds`` before it, and of that earlier second."""
    price, qty = side.price[:, :levels], side.qty[:, :levels]
    return Side(price[seconds:], qty[seconds:]), Side(price[:-seconds], qty[:-seconds])


def covered(price: Array, by: Array, bid: bool) -> Mask:
    """Which of the levels ``price`` (rows, levels) lie within what the levels ``by`` of the same row reach."""
    outward = by if bid else -by
    deepest = np.where(np.isfinite(outward), outward, np.inf).min(axis=1, keepdims=True)
    return (price if bid else -price) >= deepest


def size_at(price: Array, other: Side) -> Array:
    """Size that ``other`` (rows, m) shows at each of ``price`` (rows, k), 0 where it shows none."""
    found = np.zeros_like(price)
    for level in range(other.price.shape[1]):
        np.copyto(found, other.qty[:, level, None], where=price == other.price[:, level, None])
    return found


def added_and_cancelled(side: Side, traded: Traded, bid: bool, levels: int = 10) -> tuple[Array, Array]:
    """Size added and size cancelled in each second but the first, (seconds - 1,); NaN without both books.

    What traded at a price explains a decrease there.
    """
    now, then = lagged(side, 1, levels)
    taken = _taken(then, traded)
    change = np.where(covered(then.price, now.price, bid), size_at(then.price, now) - then.qty, 0.0)
    fresh = np.where(covered(now.price, then.price, bid) & (size_at(now.price, then) == 0), now.qty, 0.0)
    known = np.isfinite(now.price[:, 0]) & np.isfinite(then.price[:, 0])
    added = np.maximum(change, 0).sum(axis=1) + fresh.sum(axis=1)
    cancelled = np.maximum(0, -change - taken).sum(axis=1)
    return np.where(known, added, np.nan), np.where(known, cancelled, np.nan)


def survived(side: Side, bid: bool, lag: int = 10, levels: int = 10) -> tuple[Array, Array]:
    """Size that stood ``lag`` seconds ago in the best ``levels`` and still stands, and all of it that is in sight.

    Both (seconds - lag,), NaN without both books. All stored levels of the present book are looked at.
    """
    now, then = Side(side.price[lag:], side.qty[lag:]), Side(side.price[:-lag, :levels], side.qty[:-lag, :levels])
    seen = covered(then.price, now.price, bid)
    stood = np.where(seen, then.qty, 0.0).sum(axis=1)
    still = np.where(seen, np.minimum(then.qty, size_at(then.price, now)), 0.0).sum(axis=1)
    known = np.isfinite(now.price[:, 0]) & np.isfinite(then.price[:, 0])
    return np.where(known, still, np.nan), np.where(known, stood, np.nan)


def _taken(then: Side, traded: Traded) -> Array:
    """Traded volume at each level of the earlier book, (rows, levels)."""
    taken = np.zeros_like(then.price)
    step = traded.row - 1
    trade, level = np.nonzero(then.price[step] == traded.price[:, None])
    np.add.at(taken, (step[trade], level), traded.qty[trade])
    return taken
