"""The book second by second, as arrays: the last snapshot at or before each second, 5 s old at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import NUMBER, SERIES, STALE
from orderflow_assets.features.grid import Array, Identity, epoch_us, split_series
from orderflow_streaming.schema import LEVELS
from orderflow_streaming.store import Store

DEPTH = 20
"""Levels per side the arrays hold; those a venue does not publish are NaN."""

BPS = 1e4


@dataclass(frozen=True, slots=True)
class Side:
    """Prices and sizes, shape (seconds, levels), best first; NaN where there is no level or no fresh book."""

    price: Array
    qty: Array


@dataclass(frozen=True, slots=True)
class Book:
    """One series' book at ``seconds`` (Unix time, consecutive)."""

    seconds: np.ndarray
    bid: Side
    ask: Side

    @property
    def mid(self) -> Array:
        return (self.bid.price[:, 0] + self.ask.price[:, 0]) / 2

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.bid, self.ask

    def distance(self, side: Side) -> Array:
        """Distance of each level from the mid in bps, (seconds, levels); positive on both sides."""
        mid = self.mid[:, None]
        return BPS * np.abs(side.price - mid) / mid


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
SELECT {SERIES}, epoch_us(b.timestamp) AS us, {_LEVELS}, b.bid_tail, b.ask_tail
FROM last l JOIN main.orderbooks b ON b.id = l.row.i AND b.timestamp = l.row.t
WHERE b.timestamp > $since::TIMESTAMP AND b.timestamp <= $until::TIMESTAMP
ORDER BY series, b.timestamp
"""


def read_books(store: Store, first: datetime, last: datetime) -> Iterator[tuple[Identity, Book]]:
    """The books of every series that has any, at each second from ``first`` to ``last``, both included."""
    rows = store.query(_SQL, {"since": first - STALE - timedelta(seconds=1), "until": last}, timeout_s=600)
    seconds = np.arange(epoch_us(first) // 1_000_000, epoch_us(last) // 1_000_000 + 1)
    for identity, table in split_series(rows):
        yield identity, _on_grid(table, seconds)


def _on_grid(table: pa.Table, seconds: np.ndarray) -> Book:
    stamped = table["us"].to_numpy()
    row = np.searchsorted(stamped, seconds * 1_000_000, side="right") - 1
    fresh = (row >= 0) & (seconds * 1_000_000 - stamped[row] <= _STALE_US)
    sides = {name: _side(table, name) for name in ("bid", "ask")}
    best_bid, best_ask = (sides[name].price[:, 0] for name in ("bid", "ask"))
    fresh &= (best_bid < best_ask)[row]
    return Book(seconds, *(_taken(sides[name], row, fresh) for name in ("bid", "ask")))


def _taken(side: Side, row: np.ndarray, fresh: np.ndarray) -> Side:
    blank = np.where(fresh, 1.0, np.nan)[:, None]
    return Side(side.price[row] * blank, side.qty[row] * blank)


def _side(table: pa.Table, name: str) -> Side:
    price, qty = (
        np.column_stack([table[f"{name}_{level}_{what}"].to_numpy() for level in range(1, LEVELS + 1)])
        for what in ("price", "qty")
    )
    tail = _tail(table[f"{name}_tail"].combine_chunks())
    return Side(np.hstack([price, tail[:, :, 0]]), np.hstack([qty, tail[:, :, 1]]))


def _tail(column: pa.ListArray) -> Array:
    """Levels 11 to 20 as (rows, levels, [price, qty]), NaN where there are fewer."""
    tail = np.full((len(column), DEPTH - LEVELS, 2), np.nan)
    counts = column.value_lengths().fill_null(0).to_numpy()
    row = np.repeat(np.arange(len(column)), counts)
    level = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    levels = column.flatten().flatten().to_numpy().reshape(-1, 2)
    kept = level < DEPTH - LEVELS
    tail[row[kept], level[kept]] = levels[kept]
    return tail
