"""What one minute of one listing consists of.

Times are integer microseconds since the epoch (UTC), prices whole ticks and sizes whole lots of the listing.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """Ids of the single matches the row sums up."""

    def __len__(self) -> int:
        return int(self.when_us.size)


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
