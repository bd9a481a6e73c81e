"""What an exchange is, so that one file per exchange says all of it.

An exchange declares its channels (how a message looks and which stream rows it becomes), its sockets and how
to subscribe on them, its heartbeat, its REST polls and its control messages. The daemon, the normalizer, the
simulator's tests and the command line work from these declarations alone.

Frames travel as bytes. On the hot path only :meth:`Exchange.route` looks at them, at a slice of the topic.
A REST answer becomes a frame too, :func:`rest_frame`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec

from orderflow_streaming.exchanges.books import BookFeed, BookMerger
from orderflow_streaming.exchanges.merging import Merger
from orderflow_streaming.markets import Market


def values(**paths: str) -> dict[str, str]:
    """Paths to types, grouped by type: ``values(BIGINT="T o.T", DOUBLE="p")`` is ``{"T": "BIGINT", …}``.

    Types are DuckDB's; ``LEVELS`` is a side of a book, a list of ``[price, quantity, …]``. Where its levels are
    objects, their keys follow: ``{"bids": "LEVELS p s"}``.
    """
    return {path: kind for kind, names in paths.items() for path in names.split()}


def milliseconds(expression: str) -> str:
    """SQL of the UTC timestamp for epoch milliseconds; NULL for zero and for what no calendar has."""
    return f"CASE WHEN {expression} BETWEEN 1 AND 253402300799999 THEN make_timestamp({expression} * 1000) END"


class UnsupportedFrameError(ValueError):
    """A frame of a product or API version that is deliberately not read; the message names it."""


def decoded(frame: bytes) -> Any:
    """The JSON value of a frame; raises ValueError saying where it is not JSON."""
    try:
        return msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Request:
    """A REST request: path and query below the base address; a POST where there is a JSON ``body``."""

    path: str
    body: bytes | None = None
    weight: int = 1


def as_request(request: Request | str) -> Request:
    """A path stands for a GET of it."""
    return Request(request) if isinstance(request, str) else request


def rest_frame(request: Request | str, answer: bytes) -> bytes:
    """The frame that a REST answer travels as: ``rest`` is path and query, ``request`` what was posted, ``data`` the
    answer."""
    asked = as_request(request)
    posted = b"" if asked.body is None else b',"request":' + asked.body
    return b'{"rest":' + msgspec.json.encode(asked.path) + posted + b',"data":' + answer + b"}"


Pages = Generator[Request, Any, None]
"""Yields a request, is sent the decoded answer, and ends when there is nothing more to ask. Raises
:class:`OutOfReachError` at the end where the venue offers only a part of what was asked for."""


class OutOfReachError(Exception):
    """Not all of a span can be had, after what can be; the message says in a line what is missing."""


@dataclass(frozen=True, slots=True)
class History:
    """How to ask for the past of a stream. The answers are frames of ``channel``."""

    channel: str
    pages: Callable[[str, int, int], Pages]
    """``pages(symbol, start_us, end_us)``: the neutral symbol, and a span that is open at its end, in UTC
    microseconds."""
    by_id: Callable[[str, int, int], Pages] | None = None
    """``by_id(symbol, first, last)``, both included, where the venue numbers rows and can be asked for numbers."""
    reach_s: float | None = None
    """Rows older than this are not offered; None where there is no known limit."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How one channel fills one kind of row: SQL expressions over the values of an item.

    ``$T`` stands for the value at path ``T`` of the item (see :attr:`Channel.values`); ``received_at`` is in scope.
    Where ``kind`` is the name of a stream, ``fields`` are that stream's base fields
    (:mod:`orderflow_streaming.writing.derive`) and the rest of its columns follows from them, the same for all
    exchanges. Any other ``kind`` (``book_delta``, ``instrument``, …) is known and stored nowhere; its fields are what
    a reader of a recording sees.
    """

    kind: str
    fields: Mapping[str, str]
    where: str = "true"
    """Items it takes; an item no Rows of its channel takes is rejected. ``listed`` is true of the instruments that are
    collected, for messages about all that a venue has."""
    required: tuple[str, ...] = ()
    """Fields that must not be NULL, beyond those the stream requires."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of message: the values to take out of it, whose instrument it is about, and the rows it becomes."""

    name: str
    values: Mapping[str, str]
    """Path inside the item to type, see :func:`values`; a path that starts with ``/`` begins at the frame."""
    rows: tuple[Rows, ...]
    symbol: str = "$s"
    """SQL of the venue's own spelling of the instrument."""
    item: str = "data"
    """Path of the item in a frame; ``data[*]`` where a frame carries a list of items, or an only one without a list.
    In ``data[*].details[*]`` each object of a list holds a list of items, which have its values beside their own."""
    consecutive: str = ""
    """Column that rises by one per row and symbol, so that a jump is a gap; empty where ids may jump."""

    def listed(self) -> Channel:
        """The same message in a list, as ``<name>[]``."""
        return replace(self, name=f"{self.name}[]", item=f"{self.item}[*]")


class ControlKind(StrEnum):
    WELCOME = "welcome"
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
    merged: str = ""
    """Channel of the frames that :meth:`Exchange.merger` makes of its messages, which are changes only; they
    themselves are kept in the journal and make no rows. Empty where a message stands for itself."""
    others: tuple[str, ...] = ()
    """Symbols beside ``symbol`` that it brings, where the venue offers it only for all."""

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.symbol, *self.others


@dataclass(frozen=True, slots=True)
class Socket:
    """One WebSocket connection to keep, with what is subscribed on it."""

    name: str
    url: str
    topics: tuple[Topic, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What ``payload()`` returns is sent every ``interval_s``; None means WebSocket ping frames, which the library
    sends and answers.

    ``silent_after_s``: a socket on which nothing at all (data, ping, pong) came for so long is dead.
    """

    interval_s: float
    payload: Callable[[], bytes] | None = None
    silent_after_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the venue allows; the daemon stays below half of each."""

    messages_per_s: float
    topics_per_request: int
    topics_per_socket: int
    connection_lifetime_h: float
    rest_weight_per_min: int
    used_weight_header: str = ""
    """Header of REST answers that says the weight used in this minute, where the venue sends one."""


STATISTICS_INTERVAL_S = 300.0
"""Between two questions for statistics that venues make every five minutes."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A REST path asked again and again; its answer is a frame of ``channel``."""

    channel: str
    symbol: str
    path: str
    interval_s: float
    weight: int = 1
    body: bytes | None = None
    """Posted, where the venue wants a POST."""

    @property
    def request(self) -> Request:
        return Request(self.path, self.body, self.weight)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a connection is opened, where the venue tells only when asked."""

    url: str
    ping_interval_s: float | None = None
    """In the place of :attr:`Heartbeat.interval_s`, where the venue says so."""


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
    counts_base: ClassVar[bool]
    """Whether the venue counts sizes in base coin; else rows need the contract size of their instrument."""
    neutral_symbol: ClassVar[str] = "upper(venue_symbol)"
    """SQL of the exchange-neutral symbol where no instrument is known under ``venue_symbol``."""
    histories: ClassVar[Mapping[str, History]] = {}
    """Stream to how its past is asked for; streams that are absent cannot be had again."""
    books: ClassVar[Mapping[str, BookFeed]] = {}
    """Channels whose messages change a local book, subscribed or only found in recordings."""
    rest_headers: ClassVar[Mapping[str, str]] = {}
    """Sent with every REST request."""
    greets: ClassVar[bool] = False
    """Whether the venue sends a message (:attr:`ControlKind.WELCOME`) before it takes subscriptions."""
    closes_on_refusal: ClassVar[bool] = False
    """Whether the venue answers a bad topic by closing the connection; then topics are asked for one by one."""

    def simulated(self, base_url: str) -> Endpoints:
        """The endpoints of this market on a simulator at ``http://host:port``: the venue's own paths below its name."""
        root = f"{base_url.rstrip('/')}/{self.market.name}"
        sockets = {
            name: root.replace("http", "ws", 1) + urlsplit(url).path for name, url in self.endpoints.sockets.items()
        }
        return Endpoints(sockets, root)

    @abstractmethod
    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        """The connections that bring ``streams`` of ``symbols``."""

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        """REST paths for streams that no socket brings."""
        return ()

    def ticket(self) -> Request | None:
        """The request whose answer :meth:`address` reads, made before each connection; None where none is needed."""
        return None

    def address(self, socket: Socket, answer: Any) -> Address:
        """Where to open ``socket``; ``answer`` is the decoded one to :meth:`ticket`. ValueError if it says nothing."""
        return Address(socket.url)

    def merger(self, channel: str, topic: str) -> Merger | None:
        """The state that messages of ``channel`` for ``topic`` change, empty; None where they stand for themselves."""
        feed = self.books.get(channel)
        return BookMerger(topic, feed.decode, feed.sequencing) if feed else None

    def batches(self, topics: Sequence[str]) -> list[Sequence[str]]:
        """``topics`` in parts that one message subscribes, as large as the venue allows."""
        size = self.limits.topics_per_request
        return [topics[start : start + size] for start in range(0, len(topics), size)]

    @abstractmethod
    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        """The message that subscribes ``topics``, a part of :meth:`batches`. Its answer carries ``request``, or else
        the topics."""

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

        Slow and thorough, for recordings. Empty for control messages; raises ValueError for what is unknown and
        :class:`UnsupportedFrameError` for what is known and not read.
        """

    def refusal(self, answer: Any) -> str:
        """Why a decoded REST answer is none, on venues that refuse with status 200; empty where it is one."""
        return ""

    @abstractmethod
    def instrument_paths(self) -> tuple[Request | str, ...]:
        """REST requests whose answers :meth:`instruments` reads, in order; a path stands for a GET of it."""

    @abstractmethod
    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        """Instruments of our symbols from the decoded answers; unlisted symbols are left out."""
