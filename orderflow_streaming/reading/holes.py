"""What may be missing because nothing was read for a while, written down once it is known until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.markets import Market
from orderflow_streaming.reading.connection import Connection
from orderflow_streaming.reading.polls import Polled, Polls
from orderflow_streaming.reading.subscription import Subscription
from orderflow_streaming.writing.gaps import DISCONNECTION, OVERFLOW, Gap
from orderflow_streaming.writing.writer import Writer, consecutive


class Holes:
    """Notes gaps with the writer. Rows that the venue numbers tell their gaps themselves and are left out."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._numbered = consecutive()

    def resume(self, connections: Iterable[Connection], polls: Polls) -> None:
        """Take the time since the last stored row, when nobody read, for a lost connection."""
        for connection in connections:
            for subscription in connection.subscriptions.values():
                topic = subscription.topic
                if not subscription.messages:
                    subscription.interrupted_us = self._last_row(
                        connection.exchange.market, topic.symbols, topic.streams
                    )
        for polled in polls.polled:
            if not polled.messages:
                polled.interrupted_us = self._last_row(polls.exchange.market, (polled.poll.symbol,), polled.streams)

    def interrupted(self, connection: Connection, subscription: Subscription, lost_us: int, back_us: int) -> None:
        """A subscription brings data again after a lost connection; receive times in UTC microseconds."""
        topic = subscription.topic
        self._note(connection.exchange.market, topic.symbols, topic.streams, lost_us, back_us, DISCONNECTION)

    def unanswered(self, exchange: Exchange, polled: Polled, lost_us: int, back_us: int) -> None:
        """A poll is answered again."""
        self._note(exchange.market, (polled.poll.symbol,), polled.streams, lost_us, back_us, DISCONNECTION)

    def overflowed(
        self, connections: Iterable[Connection], market: str, channel: str, first_us: int, last_us: int
    ) -> None:
        """Frames of a channel were dropped."""
        for connection in connections:
            for subscription in connection.subscriptions.values():
                topic = subscription.topic
                if connection.exchange.market.name == market and channel in (topic.channel, topic.merged):
                    self._note(connection.exchange.market, topic.symbols, topic.streams, first_us, last_us, OVERFLOW)

    def _last_row(self, market: Market, symbols: Sequence[str], streams: Sequence[str]) -> int:
        ledger = self._writer.storage.ledger
        identities = [(symbol, market.exchange, market.market_type) for symbol in symbols]
        return max((0, *(ledger.get(stream, identity).last_time for stream in streams for identity in identities)))

    def _note(
        self, market: Market, symbols: Sequence[str], streams: Sequence[str], start_us: int, end_us: int, reason: str
    ) -> None:
        identities = [(symbol, market.exchange, market.market_type) for symbol in symbols]
        for stream in streams:
            if (market.name, stream) not in self._numbered:
                for identity in identities:
                    self._writer.note(Gap(stream, identity, start_us, end_us, reason))
