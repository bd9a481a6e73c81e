"""Messages that only say what changed, merged into messages that stand for themselves.

A subscription to a book or a ticker that comes as snapshot and changes has a :class:`Merger`. It takes each message
as it arrives and hands out whole states, as frames of a channel of their own, which are journaled and stored like any
other. The changes are journaled too, so that a recording can be merged again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec


class OutOfSequenceError(Exception):
    """A message does not follow the state; the state is given up until the next snapshot. Says what was missing."""


class Merger(ABC):
    """The state of one subscription. Not for sharing: messages must come in the order of the socket."""

    @abstractmethod
    def absorb(self, frame: bytes, received_us: int) -> bytes | None:
        """Take a message; the state as a frame, or None where none is due.

        Raises :class:`OutOfSequenceError` when something was missed, ValueError for what cannot be understood. After
        either the state is empty, and messages are ignored until a snapshot comes.
        """

    @abstractmethod
    def overdue(self, now_us: int) -> tuple[int, bytes] | None:
        """A state that :meth:`absorb` held back, with the receive time of its last change, once its time has come."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the state: the subscription starts anew."""

    @property
    @abstractmethod
    def waiting(self) -> bool:
        """Whether there is no state, so that only a snapshot helps."""


class Fields(NamedTuple):
    """A message of named fields; in a change, an absent field is one that stayed as it is."""

    is_snapshot: bool
    event_ms: int
    values: Mapping[str, Any]


class FieldMerger(Merger):
    """A record of fields. Its frames: ``{"fields": topic, "E": event ms, "fresh": ",changed,fields,", "data": {…}}``.

    ``fresh`` lets a declaration take only messages that brought news of it: ``contains($/fresh, ',markPrice,')``. A
    change that brings none at all makes no frame.
    """

    def __init__(self, topic: str, decode: Callable[[bytes], Fields]) -> None:
        self._topic, self._decode = topic, decode
        self._state: dict[str, Any] = {}

    def absorb(self, frame: bytes, received_us: int) -> bytes | None:
        try:
            message = self._decode(frame)
        except ValueError:
            self.reset()
            raise
        if message.is_snapshot:
            self.reset()
        elif self.waiting:
            return None
        fresh = [name for name, value in message.values.items() if self._state.get(name) != value]
        self._state.update(message.values)
        if not fresh:
            return None
        return msgspec.json.encode(
            {"fields": self._topic, "E": message.event_ms, "fresh": f",{','.join(fresh)},", "data": self._state}
        )

    def overdue(self, now_us: int) -> tuple[int, bytes] | None:
        return None

    def reset(self) -> None:
        self._state = {}

    @property
    def waiting(self) -> bool:
        return not self._state
