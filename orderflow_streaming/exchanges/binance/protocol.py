"""What Binance's markets have in common: combined streams, requests on them and their answers, bare messages.

Source: developers.binance.com, "Websocket Market Streams" of spot and of USDⓈ-M futures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.exchanges.protocol import (
    Channel,
    Control,
    ControlKind,
    Endpoints,
    Exchange,
    Heartbeat,
    Socket,
    Topic,
    UnsupportedFrameError,
    decoded,
    rest_frame,
)

_LISTED = {"assetIndex", "markPrice", "miniTicker", "ticker"}
"""Topics of all symbols whose messages carry a list."""

_TOPICS = {
    "depth5": "partialDepth",
    "depth10": "partialDepth",
    "depth20": "partialDepth",
    "depthSnapshot": "rest/depth",
    "openInterest": "rest/openInterest",
    "ticker_1h": "windowTicker",
    "ticker_4h": "windowTicker",
    "ticker_1d": "windowTicker",
}
"""Topics that are not named like their channel; depthSnapshot and openInterest are REST answers in recordings of a
third party."""


class _Error(msgspec.Struct):
    code: int
    msg: str = ""


class _ControlMessage(msgspec.Struct):
    id: int | None = None
    result: list[str] | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str = ""
    e: str = ""
    stream: str = ""


_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_TOPIC_START = b'{"stream":"'
_TOPIC_AT = len(_TOPIC_START)
_TOO_MANY_REQUESTS = -1003

Kinds = tuple[tuple[str, tuple[str, ...], float | None], ...]


def by_name(declared: Iterable[Channel]) -> dict[str, Channel]:
    """Channels by name; what comes as a single message may also come in a list."""
    return {
        channel.name: channel
        for single in declared
        for channel in ((single,) if single.item.endswith("[*]") else (single, single.listed()))
    }


def filter_value(row: Mapping[str, Any], kind: str, name: str) -> float | None:
    """A number in an instrument's list of filters."""
    return next((float(entry[name]) for entry in row["filters"] if entry["filterType"] == kind), None)


class Binance(Exchange):
    """A market of Binance; messages, topics and instruments are its subclass's."""

    heartbeat = Heartbeat(interval_s=20.0, payload=None, silent_after_s=60.0)
    counts_base = True

    _topics: ClassVar[Mapping[str, Kinds]]
    """By route: what follows ``btcusdt@``, the streams it feeds, seconds of silence that mean it is dead."""
    _events: ClassVar[Mapping[str, str]]
    """Channel by the ``e`` of a message."""
    _signatures: ClassVar[Sequence[tuple[frozenset[str], str]]]
    """Channel by the keys of a message without ``e``; the first that fits."""
    _candle_requests: ClassVar[frozenset[str]]
    """Last parts of REST paths that are answered by rows of numbers."""
    _alike: ClassVar[frozenset[str]] = frozenset()
    """Last parts of REST paths whose answers only their path tells apart."""

    def __init__(self) -> None:
        self._channel_of = lru_cache(maxsize=4096)(self._topic_channel)

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        wanted = set(streams)
        found = []
        for route, kinds in self._topics.items():
            topics = tuple(
                Topic(name, channel, symbol, feeds, stale_after_s)
                for suffix, feeds, stale_after_s in kinds
                if wanted & set(feeds)
                for symbol in symbols
                for name in (f"{symbol.lower()}@{suffix}",)
                if (channel := self._channel_of(name.encode()))
            )
            if topics:
                found.append(Socket(route, endpoints.sockets[route], topics))
        return tuple(found)

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(topics), "id": request})

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"method": "UNSUBSCRIBE", "params": list(topics), "id": request})

    def topic(self, frame: bytes) -> str | None:
        if not frame.startswith(_TOPIC_START):
            return None
        return frame[_TOPIC_AT : frame.find(b'"', _TOPIC_AT)].decode("ascii", "replace")

    def route(self, frame: bytes) -> str | None:
        if not frame.startswith(_TOPIC_START):
            return None
        return self._channel_of(frame[_TOPIC_AT : frame.find(b'"', _TOPIC_AT)])

    def control(self, frame: bytes) -> Control:
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        if message.e == "serverShutdown" or message.stream == "!serverShutdown":
            return Control(ControlKind.SHUTDOWN, reason="the server announced that it stops")
        if message.error is not None:
            return Control(ControlKind.REFUSED, message.id, reason=f"{message.error.code}: {message.error.msg}")
        if message.code is not None:
            kind = ControlKind.RATE_LIMITED if message.code == _TOO_MANY_REQUESTS else ControlKind.ERROR
            return Control(kind, message.id, reason=f"{message.code}: {message.msg}")
        if message.id is not None:
            return Control(ControlKind.ACK, message.id, topics=tuple(message.result or ()))
        return Control(ControlKind.UNKNOWN, reason="neither data nor an answer to a request")

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        message = decoded(frame)
        wrapped = isinstance(message, dict) and "data" in message and bool(message.keys() & {"stream", "rest"})
        data = message["data"] if wrapped else message
        streamed = wrapped and "stream" in message
        control = message["stream"] == "!serverShutdown" if streamed else _is_control(data)
        if control:
            return []
        if isinstance(data, dict) and (reason := self._unread(data)):
            raise UnsupportedFrameError(reason)
        if not wrapped:
            return [(self._bare(data, url), rest_frame(url, frame))]
        topic = str(message.get("stream", "")).encode()
        channel = self._channel_of(topic) or self._bare(data, str(message.get("rest", "")))
        return [(f"{channel.removesuffix('[]')}[]" if isinstance(data, list) else channel.removesuffix("[]"), frame)]

    def _unread(self, data: Mapping[str, Any]) -> str:
        """Why a message of another product is not read; empty where it is."""
        return ""

    def _topic_channel(self, topic: bytes) -> str | None:
        """Channel of ``btcusdt@depth20@100ms``, ``btcusdt@kline_1m``, ``!markPrice@arr@1s``; None if unknown."""
        parts = topic.decode("ascii", "replace").split("@")
        if parts[0].startswith("!"):
            name = parts[0][1:]
            return f"{name}[]" if "arr" in parts[1:] and name in _LISTED else name if name in self.channels else None
        kind = parts[1] if len(parts) > 1 else ""
        name = _TOPICS.get(kind) or kind.partition("_")[0]
        return name if name in self.channels else None

    def _bare(self, message: Any, url: str) -> str:
        """Channel of a message without its topic; raises ValueError naming what was not recognized."""
        request = url.partition("?")[0].rpartition("/")[2]
        if isinstance(message, list):
            if isinstance(message[0], list):
                return f"rest/{request if request in self._candle_requests else 'klines'}[]"
            return f"{self._bare(message[0], url)}[]"
        if not isinstance(message, dict):
            raise ValueError(f"a message is an object or a list, not {message!r:.40}")
        if "e" in message:
            channel = self._events.get(str(message["e"]))
            if channel is None:
                raise ValueError(f"unknown event e={message['e']!r:.40}")
            return channel
        if request in self._alike:
            return f"rest/{request}"
        for keys, name in self._signatures:
            if keys <= message.keys():
                return name
        raise ValueError(f"no known message has the keys {', '.join(sorted(message)) or 'none'}"[:200])


def _is_control(message: Any) -> bool:
    """Answers, errors, requests of the client and answers without data (an empty list, ``ping``, ``time``)."""
    if not isinstance(message, dict):
        return message == []
    keys = message.keys()
    return (
        not keys
        or message.get("e") == "serverShutdown"
        or keys == {"serverTime"}
        or "method" in keys
        or ("id" in keys and bool(keys & {"result", "error", "status"}))
        or {"code", "msg"} <= keys
        or "error" in keys
    )
