"""Book snapshots as arrays, and which of them stands at each second: the last at or before it, 5 s old at most.

What one snapshot says is computed once, however many seconds it stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orderflow_assets.bars.series import NUMBER, STALE
from orderflow_assets.features.grid import Array, epoch_us
from orderflow_streaming.schema import LEVELS
from orderflow_streaming.store import Store

DEPTH = 20
"""Levels per side the arrays hold; those a venue does not publish are NaN."""

BPS = 1e4
BATCH = 8192
"""Snapshots that are looked at together, or all of one series if it has more: arrays that stay in the cache."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Prices and sizes of one side, shape (levels, snapshots), best first; NaN where there is no level."""

    price: Array
    qty: Array

    @cached_property
    def value(self) -> Array:
        return self.price * self.qty

    def best(self, levels: int, snapshots: Places | slice = slice(None)) -> Side:
        """The best ``levels`` of ``snapshots``."""
        return Side(self.price[:levels, snapshots], self.qty[:levels, snapshots])


@dataclass(frozen=True)
class Books:
    """Snapshots of ``series``, told by their ``NUMBER`` and in its order, one series after the other.

    ``standing`` is (series, seconds), consecutive seconds: the place of the snapshot that stands then, -1 where no
    book is fresh and uncrossed.
    """

    series: Places
    bid: Side
    ask: Side
    standing: Places

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.bid, self.ask

    @cached_property
    def mid(self) -> Array:
        return (self.bid.price[0] + self.ask.price[0]) / 2

    @cached_property
    def distances(self) -> tuple[Array, Array]:
        """Distance of each bid and ask from the mid in bps, (levels, snapshots); positive on both sides."""
        bid, ask = (BPS * np.abs(side.price - self.mid) / self.mid for side in self.sides)
        return bid, ask

    def by_second(self, values: Array) -> Array:
        """What each snapshot says, (snapshots,), at the seconds it stands: (series, seconds)."""
        return placed(values, self.standing)


def placed(values: Array, places: Places) -> Array:
    """``values`` along their last axis at ``places``, NaN at -1."""
    blank = np.full((*values.shape[:-1], 1), np.nan)
    return np.concatenate([values, blank], axis=-1)[..., places]


_LEVELS = ", ".join(
    f"b.{side}_{level}_{what}" for side in ("bid", "ask") for what in ("price", "qty") for level in range(1, LEVELS + 1)
)
_STALE_US = int(STALE.total_seconds() * 1e6)

_SQL = f"""
WITH last AS (
    SELECT {NUMBER} AS series, (epoch_us(timestamp) + 999999) // 1000000 AS second,
           max(struct_pack(t := timestamp, i := id)) AS row
    FROM main.orderbooks
    WHERE timestamp > $since::TIMESTAMP AND timestamp <= $until::TIMESTAMP
    GROUP BY series, second
)
SELECT l.series, epoch_us(b.timestamp) AS us, {_LEVELS}, b.bid_tail, b.ask_tail
FROM last l JOIN main.orderbooks b ON b.id = l.row.i AND b.timestamp = l.row.t
WHERE b.timestamp > $since::TIMESTAMP AND b.timestamp <= $until::TIMESTAMP
"""


def read_books(store: Store, series: Places, first: datetime, last: datetime) -> Iterator[Books]:
    """The books of ``series``, told by their ``NUMBER``, at each second from ``first`` to ``last``, both included.

    They come several series at a time; a series without a book is left out.
    """
    rows = store.query(_SQL, {"since": first - STALE - timedelta(seconds=1), "until": last}, timeout_s=600)
    number, stamped = rows["series"].to_numpy(), rows["us"].to_numpy()
    order = np.lexsort((stamped, number))
    order = order[np.isin(number[order], series)]
    bids, asks = (_Levels.of(rows, name) for name in ("bid", "ask"))
    numbers, opening = np.unique(number[order], return_index=True)
    moments = 1_000_000 * np.arange(epoch_us(first) // 1_000_000, epoch_us(last) // 1_000_000 + 1)
    edges = [*opening.tolist(), len(order)]
    for group in _batches(edges):
        taken = order[edges[group.start] : edges[group.stop]]
        standing = _standing(np.split(stamped[taken], opening[group][1:] - edges[group.start]), moments)
        bid, ask = bids.at(taken), asks.at(taken)
        uncrossed = bid.price[0] < ask.price[0]
        yield Books(numbers[group], bid, ask, np.where(uncrossed[standing], standing, -1))


def _batches(edges: Sequence[int]) -> Iterator[slice]:
    """Runs of series with ``BATCH`` snapshots or more together; ``edges`` are where each begins, and the end."""
    opening = 0
    for place in range(1, len(edges)):
        if edges[place] - edges[opening] >= BATCH or place == len(edges) - 1:
            yield slice(opening, place)
            opening = place


def _standing(stamped: Sequence[Places], moments: Places) -> Places:
    """Place among all the ``stamped`` of the last one of each series at or before each moment; -1 where it is stale."""
    places, offset = [], 0
    for us in stamped:
        row = np.searchsorted(us, moments, side="right") - 1
        fresh = (row >= 0) & (moments - us[row] <= _STALE_US)
        places.append(np.where(fresh, row + offset, -1))
        offset += len(us)
    return np.stack(places)


@dataclass(frozen=True)
class _Levels:
    """One side of the rows as read: the first levels column by column, the others in pairs of price and size."""

    columns: list[Array]
    pairs: Array
    first: Places
    count: Places

    @classmethod
    def of(cls, rows: pa.Table, side: str) -> _Levels:
        names = [f"{side}_{level}_{what}" for what in ("price", "qty") for level in range(1, LEVELS + 1)]
        tail = rows[f"{side}_tail"].combine_chunks()
        count = tail.value_lengths().fill_null(0).to_numpy()
        pairs = tail.flatten().flatten().to_numpy()
        return cls([rows[name].to_numpy() for name in names], pairs, 2 * (np.cumsum(count) - count), count)

    def at(self, snapshots: Places) -> Side:
        levels = np.full((2, DEPTH, len(snapshots)), np.nan)
        for column, place in zip(self.columns, itertools.product(range(2), range(LEVELS)), strict=True):
            levels[place] = column[snapshots]
        first, count = self.first[snapshots], self.count[snapshots]
        for level in range(DEPTH - LEVELS):
            shown = np.flatnonzero(count > level)
            for part in range(2):
                levels[part, LEVELS + level, shown] = self.pairs[first[shown] + 2 * level + part]
        return Side(*levels)
