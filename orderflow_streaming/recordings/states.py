"""The states that the messages of a recording change, one per topic, with what was missed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.books import BookMerger, Change
from orderflow_streaming.exchanges.merged import MERGED_BOOK
from orderflow_streaming.exchanges.merging import Merger, OutOfSequenceError
from orderflow_streaming.exchanges.protocol import Exchange


@dataclass(frozen=True, slots=True)
class Missed:
    """Something is missing before a message of ``topic``."""

    channel: str
    topic: str
    reason: str


class States:
    """Feed it every message in order. Messages it cannot read are left to the normalizer, which says why."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._merged = _merged_channels(exchange)
        self._snapshots = {feed.snapshots: channel for channel, feed in exchange.books.items() if feed.snapshots}
        self._mergers: dict[tuple[str, str], Merger] = {}

    def absorb(self, channel: str, frame: bytes, received_us: int) -> tuple[str, bytes] | Missed | None:
        """Channel and frame of the state that is due after a message, or what was missed before it."""
        name = ""
        try:
            if channel in self._snapshots:
                return self._joined(self._snapshots[channel], channel, frame, received_us)
            name, merger = self._merger(channel, frame)
            merged = merger.absorb(frame, received_us) if merger else None
        except OutOfSequenceError as error:
            return Missed(channel, name, str(error))
        except (ValueError, TypeError, IndexError, KeyError, msgspec.MsgspecError):
            return None
        return (self._merged[channel], merged) if merged and channel in self._merged else None

    def overdue(self) -> Iterator[tuple[str, int, bytes]]:
        """Channel, receive time and frame of the states that were held back when the recording ends."""
        for (channel, _), merger in self._mergers.items():
            if channel in self._merged and (held := merger.overdue(2**62)):
                yield self._merged[channel], *held

    def _merger(self, channel: str, frame: bytes) -> tuple[str, Merger | None]:
        feed = self._exchange.books.get(channel)
        name = feed.decode(frame).symbol if feed else self._exchange.topic(frame) or ""
        key = channel, name
        if key not in self._mergers:
            merger = self._exchange.merger(channel, name)
            if merger is None:
                return name, None
            self._mergers[key] = merger
        return name, self._mergers[key]

    def _joined(self, channel: str, asked: str, frame: bytes, received_us: int) -> tuple[str, bytes] | Missed | None:
        feed = self._exchange.books[channel]
        assert feed.decode_snapshot is not None
        snapshot: Change = feed.decode_snapshot(frame)
        merger = self._mergers.setdefault(
            (channel, snapshot.symbol), BookMerger(snapshot.symbol, feed.decode, feed.sequencing)
        )
        assert isinstance(merger, BookMerger)
        try:
            merged = merger.join(snapshot, received_us)
        except OutOfSequenceError as error:
            return Missed(asked, snapshot.symbol, str(error))
        return (self._merged[channel], merged) if merged and channel in self._merged else None


def _merged_channels(exchange: Exchange) -> dict[str, str]:
    """Channel of changes to channel of the states, as far as there is one."""
    sockets = exchange.sockets(markets.SYMBOLS, exchange.market.streams, exchange.endpoints)
    subscribed = {topic.channel: topic.merged for socket in sockets for topic in socket.topics if topic.merged}
    has_book = MERGED_BOOK.name in exchange.channels
    return (dict.fromkeys(exchange.books, MERGED_BOOK.name) if has_book else {}) | subscribed
