"""What an exchange is, so that one file per exchange says all of it.

An exchange declares its channels (how a message looks and which stream rows it becomes), its sockets and how
to subscribe on them, its heartbeat, its REST polls and its control messages. The daemon, the normalizer, the
simulator's tests and the command line work from these declarations alone.

Frames travel as bytes. On the hot path only :meth:`Exchange.route` looks at them, at a slice of the topic.
A REST answer becomes a frame too: ``{"rest": "<path?query>", "data": <body>}``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from orderflow_streaming.markets import Market
from orderflow_streaming.schema import Stream


@dataclass(frozen=True, slots=True)
class Rows:
    """How one channel fills one stream: SQL expressions over one item of a frame.

    In scope: ``j`` (the parsed frame), ``d`` (the item), ``received_at`` and ``i`` (the instrument row, NULL where
    unknown). ``fields`` are the stream's base fields, the rest of its columns is derived from them once for all
    exchanges (:mod:`orderflow_streaming.normalize`). ``symbol`` is the venue's own spelling.
    """

    stream: Stream
    symbol: str
    fields: Mapping[str, str]
    where: str = "true"


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of message. ``shape`` is DuckDB's ``from_json`` structure of the whole frame."""

    name: str
    shape: str
    rows: tuple[Rows, ...] = ()
    items: str = "j.data"
    """SQL of the item(s) in a frame: one struct, or ``unnest(j.data)`` where a frame carries a list."""
    kind: str = ""
    """Set for known messages that no table stores (``book_delta``, ``instrument``, …); they are no error."""
    consecutive: str = ""
    """Base field that rises by one per row and symbol, so that a jump is a gap; empty where ids may jump."""


class ControlKind(StrEnum):
    ACK = "ack"
    REFUSED = "refused"
    PONG = "pong"
    ERROR = "error"
    SHUTDOWN = "shutdown"
    RATE_LIMITED = "rate_limited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Control:
    """A message about the connection, not about the market."""

    kind: ControlKind
    request: int | None = None
    topics: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """One subscription: the venue's name of it, and what it feeds."""

    name: str
    channel: str
    symbol: str
    streams: tuple[str, ...]
    stale_after_s: float | None = None
    """Silence after which the subscription is taken as dead; None where silence is normal."""


@dataclass(frozen=True, slots=True)
class Socket:
    """One WebSocket connection to keep, with what is subscribed on it."""

    name: str
    url: str
    topics: tuple[Topic, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """``payload`` sent every ``interval_s``; None where the venue pings and the library answers.

    ``silent_after_s``: a socket on which nothing at all (data, ping, pong) came for so long is dead.
    """

    interval_s: float
    payload: bytes | None = None
    silent_after_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the venue allows; the daemon stays below half of each."""

    messages_per_s: float
    topics_per_request: int
    topics_per_socket: int
    connection_lifetime_h: float
    rest_weight_per_min: int


@dataclass(frozen=True, slots=True)
class Poll:
    """A REST path asked again and again; its answer is a frame of ``channel``."""

    channel: str
    symbol: str
    path: str
    interval_s: float
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base addresses by role (``public``, ``market``, …) and of REST; a simulator replaces all of them."""

    sockets: Mapping[str, str]
    rest: str


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the venue says about one instrument."""

    symbol: str
    venue_symbol: str
    status: str
    contract_size: float
    tick_size: float | None = None
    lot_size: float | None = None
    funding_interval_hours: float | None = None


class Exchange(ABC):
    """One market's protocol. Instances hold no connection state."""

    market: ClassVar[Market]
    endpoints: ClassVar[Endpoints]
    heartbeat: ClassVar[Heartbeat]
    limits: ClassVar[Limits]
    channels: ClassVar[Mapping[str, Channel]]

    @abstractmethod
    def simulated(self, base_url: str) -> Endpoints:
        """The endpoints of this market on a simulator at ``http://host:port``."""

    @abstractmethod
    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        """The connections that bring ``streams`` of ``symbols``."""

    @abstractmethod
    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        """REST paths for streams that no socket brings."""

    @abstractmethod
    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        """The message that subscribes ``topics``; its answer carries ``request``."""

    @abstractmethod
    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        """The message that ends the subscriptions."""

    @abstractmethod
    def route(self, frame: bytes) -> str | None:
        """Channel name of a data frame, by a look at its topic; None for control and anything else."""

    @abstractmethod
    def topic(self, frame: bytes) -> str | None:
        """:attr:`Topic.name` of the subscription that brought a data frame, by a look at it; None for anything else.

        The daemon keeps one figure per subscription with it (last message, messages per minute, silence).
        """

    @abstractmethod
    def control(self, frame: bytes) -> Control:
        """What a frame that :meth:`route` did not place says about the connection."""

    @abstractmethod
    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        """Channel and enveloped frame(s) of any recorded message, wrapped or bare, socket or REST.

        Slow and thorough, for recordings. Empty for control messages; raises ValueError for what is unknown.
        """

    @abstractmethod
    def instrument_paths(self) -> tuple[str, ...]:
        """REST paths whose answers :meth:`instruments` reads, in order."""

    @abstractmethod
    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        """Instruments of our symbols from the decoded answers; unlisted symbols are left out."""
