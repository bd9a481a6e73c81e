"""What a dialect is: one venue's protocol spoken from the side of the exchange."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.venue import Venue


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one topic that stem from one minute, in order."""

    when_us: Sequence[int]
    """When each is sent; may fall shortly after the minute."""
    frames: Sequence[bytes]
    keys: Sequence[int]
    """A number that identifies the frame in its topic: trade id, update id, time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client's message leads to."""

    body: bytes = b""
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    refused: Sequence[str] = ()
    """Topics a fault made the answer refuse."""
    more: Sequence[bytes] = ()
    """Further messages after ``body``, where a venue answers topic by topic."""
    close: bool = False
    """End the connection without a word, as some venues do on a bad request."""


@dataclass(frozen=True, slots=True)
class RestCall:
    """A REST request, as the dialect sees it."""

    method: str
    path: str
    """Below ``/{venue}``."""
    query: Mapping[str, str]
    history: Mapping[str, History]
    """By exchange-neutral symbol."""
    now_us: int
    body: bytes = b""
    base_url: str = ""
    """``http://host:port/{venue}``, for venues that tell where to connect."""


@dataclass(frozen=True, slots=True)
class RestAnswer:
    status: int
    body: bytes
    weight: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)


class Dialect(ABC):
    """Stateless; what is subscribed and what was sent is the server's business."""

    venue: ClassVar[Venue]
    routes: ClassVar[Mapping[str, str]]
    """Path of each kind of socket below ``/{venue}``: ``{"public": "/public/stream"}``."""
    ping_seconds: ClassVar[float | None]
    """Interval of the server's ping frames; None where the server sends none."""
    pong_seconds: ClassVar[float]
    """Silence of the client (no pong; no message at all where ``ping_seconds`` is None) after which its socket is
    closed."""
    lifetime_seconds: ClassVar[float] = 24 * 3600.0
    """Age at which a connection is closed."""
    messages_per_second: ClassVar[int]
    """More of them from a client close the socket."""
    rest_weight_per_minute: ClassVar[int]

    @abstractmethod
    def topics(self, symbols: Sequence[str]) -> list[str]:
        """The topics that together fill every stream of the market."""

    @abstractmethod
    def route(self, topic: str) -> str | None:
        """The route that carries ``topic``; None where there is no such topic."""

    @abstractmethod
    def symbol(self, topic: str) -> str | None:
        """The exchange-neutral symbol of ``topic``; None where it is not listed."""

    @abstractmethod
    def render(self, topic: str, minute: Minute) -> Frames:
        """The frames of ``topic``, which must be one :meth:`route` knows, of its symbol's ``minute``."""

    @abstractmethod
    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        """Topics a socket asks for by its address."""

    def refuses(self, query: Mapping[str, str], now_us: int) -> str:
        """Why a socket asked for with this query is not opened; empty where it is."""
        return ""

    def greeting(self, query: Mapping[str, str]) -> bytes:
        """What the server says first; nothing on most venues."""
        return b""

    def joined(self, topic: str, history: Mapping[str, History], now_us: int) -> Sequence[bytes]:
        """Frames that answer a new subscription of ``topic`` right away: the snapshot that the changes
        :meth:`render` makes from ``now_us`` on follow, or recent trades. Nothing for most topics."""
        return ()

    @abstractmethod
    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        """Answer to a client's message; ``refused`` are topics a fault wants refused."""

    @abstractmethod
    def rest(self, call: RestCall) -> RestAnswer:
        """Answer to a REST request."""

    @abstractmethod
    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        """The refusal of a client that asks too much: 429, or 418 for a ban."""

    @abstractmethod
    def weight_header(self, used: int) -> Mapping[str, str]:
        """How the venue tells the weight used in this minute."""
