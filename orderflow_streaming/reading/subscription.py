"""One subscription's life: asked for, active, refused or silent, and when to ask again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from orderflow_streaming.exchanges.protocol import Topic
from orderflow_streaming.reading.inbox import Pending

FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 3600.0


class State(StrEnum):
    ASKED = "asked"
    ACTIVE = "active"
    REFUSED = "refused"
    """The venue said no."""
    SILENT = "silent"
    """Nothing comes, also after asking again and after a new connection."""


class Remedy(StrEnum):
    """What a quiet subscription calls for."""

    NONE = "none"
    ASK = "ask"
    """Ask for it alone: it was refused or silent and its time has come."""
    RESUBSCRIBE = "resubscribe"
    RECONNECT = "reconnect"


@dataclass(slots=True)
class Subscription:
    """Times are of the monotonic clock, except ``last_us``: receive time of the last message, UTC microseconds."""

    topic: Topic
    pending: Pending
    state: State = State.ASKED
    reason: str = ""
    messages: int = 0
    last_us: int = 0
    interrupted_us: int = 0
    """``last_us`` when the connection was lost; 0 once a message came again."""
    resyncs: int = 0
    """Times the state that its messages change was given up because something was missed."""
    overlap: set[int] | None = None
    """Hashes of its messages since a second connection began to take over; None at other times."""
    _seen: int = 0
    _quiet_since: float = 0.0
    _remedies: int = 0
    _retries: int = 0
    _retry_at: float = 0.0
    _closed_upon: int = 0

    @property
    def available(self) -> bool:
        return self.state in (State.ASKED, State.ACTIVE)

    def asked(self, now: float) -> None:
        """A request for it goes out; its silence counts from here."""
        self._quiet_since = now
        if self.state is State.ACTIVE:
            self.state = State.ASKED

    def acknowledged(self) -> None:
        """The venue agreed. A silent subscription stays so until a message comes."""
        if self.state is not State.SILENT:
            self.state, self.reason = State.ACTIVE, ""

    def refused(self, reason: str, now: float) -> None:
        if self.available:
            self._postpone(now)
        self.state, self.reason = State.REFUSED, reason

    def closed_upon(self, now: float) -> None:
        """The venue closed the connection instead of an answer; the second time in a row that is a refusal."""
        self._closed_upon += 1
        if self._closed_upon > 1:
            self.refused("the venue closes the connection when asked for it", now)

    def repeated(self, frame: bytes) -> bool:
        """Whether one of two overlapping connections brought a message already. Not for changes of a state, which
        each connection keeps on its own."""
        if self.overlap is None or self.topic.merged:
            return False
        known, seen = len(self.overlap), hash(frame)
        self.overlap.add(seen)
        return len(self.overlap) == known

    def interrupted(self) -> None:
        """The connection was lost, or a message of it."""
        self.interrupted_us = self.interrupted_us or self.last_us

    def check(self, now: float) -> Remedy:
        """What its silence calls for; looks at the number of messages only."""
        if self.messages != self._seen:
            self._seen, self._quiet_since, self._remedies, self._retries = self.messages, now, 0, 0
            self._closed_upon = 0
            self.state, self.reason = State.ACTIVE, ""
            return Remedy.NONE
        if not self.available:
            if now < self._retry_at:
                return Remedy.NONE
            self._postpone(now)
            return Remedy.ASK
        quiet = now - self._quiet_since
        if self.topic.stale_after_s is None or quiet < self.topic.stale_after_s:
            return Remedy.NONE
        self._remedies += 1
        if self._remedies == 1:
            return Remedy.RESUBSCRIBE
        if self._remedies == 2:
            return Remedy.RECONNECT
        self.state, self.reason = State.SILENT, f"no message for {quiet:.0f} s on a new connection"
        self._postpone(now)
        return Remedy.NONE

    def _postpone(self, now: float) -> None:
        longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._retries)
        self._retries += 1
        self._retry_at = now + random.uniform(longest / 2, longest)
