"""What one minute of one listing consists of.

Times are integer microseconds since the epoch (UTC), prices whole ticks and sizes whole lots of the listing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orderflow_streaming.simulator.book import Liquidation
from orderflow_streaming.simulator.venue import Listing, Venue

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trades:
    """Fills of one taker order at one price, in order."""

    when_us: Ints
    tick: Ints
    lots: Ints
    buy: Bools
    """True when the taker bought."""
    order_id: Ints
    """Consecutive id of the row."""
    first_id: Ints
    last_id: Ints
    """Ids of the single matches the row sums up; each is of one lot at least."""

    def __len__(self) -> int:
        return int(self.when_us.size)

    def singly(self) -> Trades:
        """The single matches, each a row with an id of its own; the first of a row takes what cannot be divided."""
        matches = self.last_id - self.first_id + 1
        row = np.repeat(np.arange(len(self)), matches)
        ids = np.arange(row.size) + np.repeat(self.first_id - np.cumsum(matches) + matches, matches)
        share, rest = self.lots // matches, self.lots % matches
        lots = share[row] + np.where(ids == self.first_id[row], rest[row], 0)
        return Trades(self.when_us[row], self.tick[row], lots, self.buy[row], ids, ids, ids)


class Touch(NamedTuple):
    """Best bid and ask, and when either last changed."""

    when_us: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


@dataclass(frozen=True, slots=True)
class Touches:
    """Best bid and ask after every change of either."""

    when_us: Ints
    bid: Ints
    bid_lots: Ints
    ask: Ints
    ask_lots: Ints


@dataclass(frozen=True, slots=True)
class Books:
    """Snapshots, best level first; arrays of levels are ``(snapshots, 20)``.

    The first one is the book as the minute begins, the same as the last of the minute before.
    """

    push_us: Ints
    first_us: Ints
    """First change since the snapshot before; 0 where nothing changed, and for the first snapshot."""
    last_us: Ints
    """Latest change up to the snapshot."""
    number: Ints
    """Counts the snapshots that differ from the one before."""
    bid: Ints
    bid_lots: Ints
    ask: Ints
    ask_lots: Ints


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices in ticks, sizes in lots, values in ticks x lots; counts are single matches, ids -1 without any."""

    start_us: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    value: int = 0
    buy_lots: int = 0
    buy_value: int = 0
    count: int = 0
    first_id: int = -1
    last_id: int = -1
    last_lots: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """Sums over the minutes before the current one that its 24-hour window still holds."""

    open_us: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    value: int = 0
    count: int = 0
    first_id: int = -1
    last_id: int = -1
    last_lots: int = 0
    """Size of the latest trade before this minute, however old; 0 when there was none."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """A funding payment."""

    when_us: int
    rate: float
    mark: float


@dataclass(frozen=True, slots=True)
class Seconds:
    """State at each of the 60 whole seconds that end in the minute; prices in quote currency."""

    when_us: NDArray[np.int64]
    mark: Floats
    index: Floats
    settle: Floats
    """Estimated settlement price."""
    open_interest: NDArray[np.int64]
    """Lots."""
    rate: float
    """Funding rate of the running interval, recomputed every minute."""
    next_us: int
    """Next settlement; at the second of a settlement still this one."""
    settlement: Settlement | None
    """Made at the end of this minute."""


@dataclass(frozen=True, slots=True)
class Minute:
    """One listing during one minute."""

    venue: Venue
    listing: Listing
    start_us: int
    trades: Trades
    touches: Touches
    books: Books
    liquidations: list[Liquidation]
    """Times from the start of the minute."""
    candle: Candle
    day: Day
    """The 1,440 minutes before this one."""
    seconds: Seconds | None
    """None on spot."""

    def touch(self, now_us: int) -> Touch:
        """Best bid and ask at ``now_us``."""
        touches, books = self.touches, self.books
        row = int(np.searchsorted(touches.when_us, now_us, side="right")) - 1
        if row < 0:
            first = (books.last_us[0], books.bid[0, 0], books.bid_lots[0, 0], books.ask[0, 0], books.ask_lots[0, 0])
            return Touch(*map(int, first))
        columns = (touches.when_us, touches.bid, touches.bid_lots, touches.ask, touches.ask_lots)
        return Touch(*(int(column[row]) for column in columns))
