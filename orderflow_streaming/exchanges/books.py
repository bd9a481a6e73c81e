"""Local books: a snapshot, then changes, each checked against the venue's rule for what may follow.

A level is whatever the venue sends, ``[price, size, …]`` as text or numbers, and is handed out as it came; size zero
takes it away.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import msgspec

from orderflow_streaming.exchanges.merging import Merger, OutOfSequenceError

DEPTH = 20
"""Levels a side in the frames of a :class:`BookMerger`."""
INTERVAL_US = 100_000
"""Shortest time between two of its frames."""
BUFFERED_CHANGES = 5_000
"""Changes kept while a snapshot is asked for over REST."""

Level = Sequence[Any]


class Change(NamedTuple):
    """A snapshot or a change of a book; ids as the venue counts them."""

    symbol: str
    """The venue's spelling."""
    event_ms: int
    last: int
    """Id of the book after it."""
    bids: Sequence[Level]
    asks: Sequence[Level]
    is_snapshot: bool = False
    first: int = 0
    """Lowest id it covers."""
    previous: int | None = None
    """Id of the book before it, where the venue says so."""
    checksum: int | None = None


@dataclass(frozen=True, slots=True)
class Sequencing:
    """A venue's rule. ``last`` is the id of the book so far."""

    follows: Callable[[int, Change], bool]
    """Whether a change is the next one."""
    is_old: Callable[[int, Change], bool] = lambda last, change: change.last <= last
    """Whether a change that is not the next one is a repetition, to be ignored; else something is missing."""
    joins: Callable[[int, Change], bool] | None = None
    """Whether a change is the first after a REST snapshot; None where snapshots come over the socket."""
    beyond: Callable[[int, Change], Change] | None = None
    """What of that first change the snapshot does not hold, where levels are numbered; None for all of it."""
    checksum: Callable[[LocalBook], int] | None = None
    """What :attr:`Change.checksum` must be of the book after it, where it is sent."""


@dataclass(frozen=True, slots=True)
class BookFeed:
    """A channel of book changes. Decoders raise ValueError or an error of msgspec for what they cannot read."""

    decode: Callable[[bytes], Change]
    """A message of the channel."""
    sequencing: Sequencing
    snapshots: str = ""
    """Channel of the REST answers that the changes join; empty where snapshots come over the socket."""
    decode_snapshot: Callable[[bytes], Change] | None = None
    """A frame of that channel."""


class Side(dict[float, Level]):
    """Levels of one side by price. Change it with :meth:`take` alone."""

    __slots__ = ("prices",)

    def __init__(self) -> None:
        super().__init__()
        self.prices: list[float] = []
        """Ascending."""

    def take(self, levels: Sequence[Level]) -> None:
        """Put each level at its price, or take it away; raises ValueError for one that is none."""
        prices = self.prices
        for level in levels:
            price, size = float(level[0]), float(level[1])
            if not (0 < price < inf and 0 <= size < inf):
                raise ValueError(f"{level[:2]} is no price and size")
            if size:
                if price not in self:
                    insort(prices, price)
                self[price] = level
            elif price in self:
                del self[price], prices[bisect_left(prices, price)]


class LocalBook:
    """Both sides of one instrument, by price. Empty, and ``ready`` false, until a snapshot."""

    __slots__ = ("_buffered", "_joining", "asks", "bids", "event_ms", "last", "ready", "sequencing", "symbol")

    def __init__(self, sequencing: Sequencing) -> None:
        self.sequencing = sequencing
        self.bids, self.asks = Side(), Side()
        self.symbol, self.event_ms, self.last = "", 0, 0
        self.ready = self._joining = False
        self._buffered: deque[Change] = deque(maxlen=BUFFERED_CHANGES)

    def reset(self) -> None:
        self.bids, self.asks = Side(), Side()
        self.ready = self._joining = False
        self._buffered.clear()

    def apply(self, change: Change) -> bool:
        """Take a message; whether the book is another one than before.

        Raises :class:`~orderflow_streaming.exchanges.merging.OutOfSequenceError`, and is empty, when something was
        missed, the checksum differs or the best bid is not below the best ask; ValueError for levels that are none,
        and is then of no use until it is reset.
        """
        if change.is_snapshot:
            return self._start(change)
        if not self.ready:
            if self.sequencing.joins is not None:
                self._buffered.append(change)
            return False
        fits = self.sequencing.joins if self._joining and self.sequencing.joins else self.sequencing.follows
        if not fits(self.last, change):
            if self.sequencing.is_old(self.last, change):
                return False
            raise self._broken(f"{change.symbol}: the book is at {self.last}, {_range(change)} does not follow")
        if self._joining and self.sequencing.beyond is not None:
            change = self.sequencing.beyond(self.last, change)
        self._joining = False
        self._take(change)
        return bool(change.bids or change.asks)

    def _start(self, change: Change) -> bool:
        buffered = list(self._buffered)
        self.reset()
        self.ready, self._joining = True, self.sequencing.joins is not None
        self._take(change)
        for later in buffered:
            self.apply(later)
        return True

    def _take(self, change: Change) -> None:
        self.bids.take(change.bids)
        self.asks.take(change.asks)
        self.symbol, self.event_ms, self.last = change.symbol, change.event_ms, change.last
        sequencing = self.sequencing
        if sequencing.checksum is not None and change.checksum is not None:
            found = sequencing.checksum(self)
            if found != change.checksum:
                raise self._broken(f"{change.symbol}: checksum {found} instead of {change.checksum} at {change.last}")
        bids, asks = self.bids.prices, self.asks.prices
        if bids and asks and bids[-1] >= asks[0]:
            raise self._broken(f"{change.symbol}: the best bid {bids[-1]} is not below the best ask")

    def _broken(self, reason: str) -> OutOfSequenceError:
        self.reset()
        return OutOfSequenceError(reason)

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        """The best ``depth`` bids and asks, best first."""
        bids, asks = self.bids, self.asks
        return [bids[price] for price in bids.prices[: -depth - 1 : -1]], [asks[price] for price in asks.prices[:depth]]


class BookMerger(Merger):
    """Frames of the best levels, at most one per interval: ``{"book": topic, "data": {s, E, u, b, a}}``.

    ``s`` is the venue's symbol, ``E`` the event time in milliseconds, ``u`` the id of the book, a level price and size.
    :data:`~orderflow_streaming.exchanges.merged.MERGED_BOOK` makes rows of them.
    """

    def __init__(
        self,
        topic: str,
        decode: Callable[[bytes], Change],
        sequencing: Sequencing,
        *,
        depth: int = DEPTH,
        interval_us: int = INTERVAL_US,
    ) -> None:
        """``decode`` raises ValueError (or msgspec's errors) for what it cannot read."""
        self.book = LocalBook(sequencing)
        self._topic, self._decode = topic, decode
        self._depth, self._interval_us = depth, interval_us
        self._due_us = 0
        self._held_us = 0
        """Receive time of the last change that no frame has told yet; 0 where there is none."""

    def absorb(self, frame: bytes, received_us: int) -> bytes | None:
        try:
            change = self._decode(frame)
            changed = self.book.apply(change)
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError, IndexError) as error:
            self.reset()
            raise ValueError(f"not a change of a book: {error}") from error
        return self._told(received_us) if changed else None

    def join(self, snapshot: Change, received_us: int) -> bytes | None:
        """Begin with a snapshot that was asked for over REST; as :meth:`absorb`. A book that is there stays."""
        return self._told(received_us) if not self.book.ready and self.book.apply(snapshot) else None

    def overdue(self, now_us: int) -> tuple[int, bytes] | None:
        if not self._held_us or now_us < self._due_us:
            return None
        received_us = self._held_us
        return received_us, self._frame(now_us)

    def reset(self) -> None:
        self.book.reset()
        self._held_us = 0

    @property
    def waiting(self) -> bool:
        return not self.book.ready

    def _told(self, received_us: int) -> bytes | None:
        if received_us < self._due_us:
            self._held_us = received_us
            return None
        return self._frame(received_us)

    def _frame(self, now_us: int) -> bytes:
        self._held_us, self._due_us = 0, now_us + self._interval_us
        book = self.book
        bids, asks = ([level[:2] for level in side] for side in book.top(self._depth))
        data = {"s": book.symbol, "E": book.event_ms, "u": book.last, "b": bids, "a": asks}
        return msgspec.json.encode({"book": self._topic, "data": data})


def _range(change: Change) -> str:
    if change.previous is not None:
        return f"{change.previous} to {change.last}"
    return f"{change.first} to {change.last}" if change.first else str(change.last)
