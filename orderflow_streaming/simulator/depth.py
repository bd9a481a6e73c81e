"""Pushes of a book at some speed, whole or as what changed, in the form that venues write levels."""

from __future__ import annotations

import numpy as np

from orderflow_streaming.simulator.records import Books, Ints
from orderflow_streaming.simulator.text import decimal, levels
from orderflow_streaming.simulator.venue import Listing


def pushed(books: Books, every_us: int) -> tuple[Ints, Ints, Ints]:
    """Snapshots a stream of this speed pushes, the one each follows, and the first change in between.

    Nothing is pushed while nothing changes.
    """
    window = books.push_us // every_us
    rows = np.flatnonzero(window[1:] > window[:-1]) + 1
    base = np.concatenate([[0], rows[:-1]]) if rows.size else rows
    changed = books.last_us[rows] > books.last_us[base]
    if not rows.size:
        return rows, base, rows
    firsts = np.where(books.first_us == 0, np.iinfo(np.int64).max, books.first_us)
    first_us = np.minimum.reduceat(firsts[: rows[-1] + 1], base + 1)
    return rows[changed], base[changed], first_us[changed]


def tops(books: Books, rows: Ints, listing: Listing, depth: int) -> tuple[list[str], list[str]]:
    """The best bids and asks of each snapshot, written."""
    prices = np.stack([books.bid[rows, :depth], books.ask[rows, :depth]]) * listing.tick_units
    sizes = np.stack([books.bid_lots[rows, :depth], books.ask_lots[rows, :depth]])
    bids, asks = (
        [",".join(row) for row in levels(price, listing.price_places, size, listing.lot_places)]
        for price, size in zip(prices, sizes, strict=True)
    )
    return bids, asks


def changes(ticks: Ints, lots: Ints, old: int, new: int, listing: Listing, order: int) -> str:
    """Written levels of snapshot ``new`` that differ from ``old``; size 0 where a level is gone."""
    before = dict(zip(ticks[old].tolist(), lots[old].tolist(), strict=True))
    after = dict(zip(ticks[new].tolist(), lots[new].tolist(), strict=True))
    changed = {tick: size for tick, size in after.items() if before.get(tick) != size}
    changed |= {tick: 0 for tick in before if tick not in after}
    return ",".join(
        f'["{decimal(tick * listing.tick_units, listing.price_places)}","{decimal(size, listing.lot_places)}"]'
        for tick, size in sorted(changed.items(), key=lambda item: order * item[0])
    )
