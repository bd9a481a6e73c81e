"""The state that one subscription's messages change, on one connection, and when to ask for a snapshot again."""

from __future__ import annotations

from dataclasses import dataclass

from orderflow_streaming.exchanges.merging import Merger
from orderflow_streaming.exchanges.protocol import Exchange, Topic
from orderflow_streaming.reading.inbox import Inbox, Pending

SNAPSHOT_WITHIN_S = 10.0
"""What brought no snapshot for so long is asked for again."""
APART_S = 5.0
"""A state that is lost again is asked for at once, but no more often than this."""


@dataclass(slots=True)
class Upkeep:
    """Times are of the monotonic clock."""

    merger: Merger
    pending: Pending
    """Where its frames go."""
    _ask_at: float = float("inf")
    _asked_at: float = float("-inf")

    @classmethod
    def of(cls, exchange: Exchange, topic: Topic, inbox: Inbox) -> Upkeep:
        """Raises ValueError where the exchange declares no state for a topic it calls merged."""
        merger = exchange.merger(topic.channel, topic.name)
        if merger is None:
            raise ValueError(f"{exchange.market.name} declares no state for channel {topic.channel!r}")
        droppable = "orderbooks" in topic.streams
        return cls(merger, inbox.pending(exchange.market.name, topic.merged, droppable=droppable))

    def asked(self, now: float) -> None:
        """A request for it goes out: what comes next begins with a snapshot."""
        self.merger.reset()
        self._asked_at, self._ask_at = now, now + SNAPSHOT_WITHIN_S

    def absorb(self, frame: bytes, received_us: int) -> None:
        """Take a message, and keep the frame that is due. Raises what :meth:`Merger.absorb` raises."""
        merged = self.merger.absorb(frame, received_us)
        if merged is not None:
            self.pending.add(received_us, merged)

    def catch_up(self, now_us: int) -> None:
        """Keep the frame that was held back, once its time has come."""
        if overdue := self.merger.overdue(now_us):
            self.pending.add(*overdue)

    def lost(self, now: float) -> None:
        """Something was missed."""
        self._ask_at = max(now, self._asked_at + APART_S)

    def needs_snapshot(self, now: float) -> bool:
        return self.merger.waiting and now >= self._ask_at
