"""What KuCoin's markets have in common: a token before each connection, topics of many symbols in one message, pings by
the client, answers with a code.

Source: www.kucoin.com/docs-new, "Websocket API", "Introduction".
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from orderflow_streaming.exchanges.kucoin.unified import PREFIX as UNIFIED
from orderflow_streaming.exchanges.protocol import (
    Address,
    Control,
    ControlKind,
    Endpoints,
    Exchange,
    Heartbeat,
    Request,
    Socket,
    Topic,
    UnsupportedFrameError,
    decoded,
    rest_frame,
)

_SUCCESS = "200000"
_TOO_MANY_REQUESTS = 429
_KINDS = {
    "welcome": ControlKind.WELCOME,
    "ack": ControlKind.ACK,
    "pong": ControlKind.PONG,
}


class _ControlMessage(msgspec.Struct):
    type: str
    id: str | int | None = None
    code: int | None = None
    data: str | None = None


class _Server(msgspec.Struct):
    endpoint: str
    ping_ms: float = msgspec.field(name="pingInterval")


class _Tickets(msgspec.Struct):
    token: str
    servers: list[_Server] = msgspec.field(name="instanceServers")


class _TicketAnswer(msgspec.Struct):
    data: _Tickets


_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_TOPIC = b'"topic":"'
_HEAD = 48
"""Bytes in which the topic begins, in messages that do not end with it."""
_POLL_START = b'{"rest":"/api/v1/contracts/'
POLLED = "rest/contracts"
"""Channel of the answers that are polled, where there are any."""


def _ping() -> bytes:
    return b'{"id":"%d","type":"ping"}' % (time.time_ns() // 1_000_000)


@lru_cache(maxsize=4096)
def _topic_channel(topic: str) -> str:
    """``level2Depth50`` of ``/spotMarket/level2Depth50:BTC-USDT``."""
    return _prefix(topic).rpartition("/")[2]


class KuCoin(Exchange):
    """What the two markets have in common."""

    heartbeat = Heartbeat(interval_s=18.0, payload=_ping, silent_after_s=60.0)
    greets = True

    _topics: ClassVar[tuple[tuple[str, tuple[str, ...], float | None], ...]]
    """Topic with ``{}`` for the symbol, the streams it feeds, seconds of silence that mean it is dead."""
    _signatures: ClassVar[tuple[tuple[frozenset[str], str], ...]]
    _bars: ClassVar[str]
    """Channel of answers that are lists of lists."""
    _lists: ClassVar[Mapping[str, str]] = {}
    _trade_type: ClassVar[str]
    """What the unified interface calls the market."""

    @staticmethod
    def spelled(symbol: str) -> str:
        """The venue's spelling of a neutral symbol."""
        raise NotImplementedError

    def simulated(self, base_url: str) -> Endpoints:
        root = f"{base_url.rstrip('/')}/{self.market.name}"
        return Endpoints(sockets={"public": f"{root.replace('http', 'ws', 1)}/endpoint"}, rest=root)

    def ticket(self) -> Request:
        return Request("/api/v1/bullet-public", body=b"{}", weight=10)

    def address(self, socket: Socket, answer: Any) -> Address:
        try:
            tickets = msgspec.convert(answer, _TicketAnswer).data
        except msgspec.ValidationError as error:
            raise ValueError(f"no token: {error}") from error
        if not tickets.servers:
            raise ValueError("the answer names no server")
        server = tickets.servers[0]
        if not server.endpoint.startswith(("ws://", "wss://")) or not 0 < server.ping_ms <= 600_000:
            raise ValueError(f"no server to connect to: {server}"[:200])
        query = urlencode({"token": tickets.token, "connectId": uuid.uuid4().hex})
        return Address(f"{server.endpoint}?{query}", server.ping_ms / 1000)

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        wanted = set(streams)
        topics = tuple(
            Topic(name, _topic_channel(name), symbol, feeds, stale_after_s)
            for pattern, feeds, stale_after_s in self._topics
            if wanted & set(feeds)
            for symbol in symbols
            for name in (pattern.format(self.spelled(symbol)),)
        )
        return (Socket("public", endpoints.sockets["public"], topics),) if topics else ()

    def batches(self, topics: Sequence[str]) -> list[Sequence[str]]:
        """Topics that differ in their symbols only go into one message."""
        return [part for _, alike in groupby(topics, _prefix) for part in super(KuCoin, self).batches(list(alike))]

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return _request("subscribe", topics, request)

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return _request("unsubscribe", topics, request)

    def topic(self, frame: bytes) -> str | None:
        at = frame.find(_TOPIC, 0, _HEAD)
        if at < 0:
            at = frame.rfind(_TOPIC)
            if at < 0:
                return None
        at += len(_TOPIC)
        return frame[at : frame.find(b'"', at)].decode("ascii", "replace")

    def route(self, frame: bytes) -> str | None:
        if frame.startswith(_POLL_START) and POLLED in self.channels:
            return POLLED
        topic = self.topic(frame)
        channel = _topic_channel(topic) if topic else ""
        return channel if channel in self.channels else None

    def control(self, frame: bytes) -> Control:
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        text = str(message.id)
        request = int(text) if text.isdecimal() and len(text) < 10 else None
        if message.type == "error":
            kind = ControlKind.ERROR if request is None else ControlKind.REFUSED
            if message.code == _TOO_MANY_REQUESTS:
                kind = ControlKind.RATE_LIMITED
            return Control(kind, request, reason=f"{message.code}: {message.data}")
        if message.type in _KINDS:
            return Control(_KINDS[message.type], request)
        return Control(ControlKind.UNKNOWN, reason=f"neither data nor an answer: type {message.type!r:.20}")

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        message = decoded(frame)
        if isinstance(message, dict) and "topic" in message and "data" in message:
            channel = _topic_channel(str(message["topic"]))
            if channel not in self.channels:
                raise ValueError(f"no message is known of topic {message['topic']!r:.60}")
            return [(channel, frame)]
        if isinstance(message, dict) and "T" in message and "d" in message:
            return [(self._unified(str(message["T"])), frame)]
        enveloped = isinstance(message, dict) and "rest" in message and "data" in message
        answer = message["data"] if enveloped else message
        if _is_control(answer):
            return []
        wrapped = isinstance(answer, dict) and "data" in answer
        data = answer["data"] if wrapped else answer
        if not _holds_data(data):
            return []
        channel = self._bare(data)
        if enveloped:
            return [(channel, frame)]
        return [(channel, rest_frame(url, frame if wrapped else b'{"data":' + frame + b"}"))]

    def _unified(self, name: str) -> str:
        """Channel of a message of the unified interface, ``trade.SPOT``."""
        kind, _, trade_type = name.partition(".")
        channel = UNIFIED + kind
        if channel not in self.channels or trade_type not in ("", self._trade_type):
            raise UnsupportedFrameError(f"the unified message T={name!r:.40} is none of {self.market.name}")
        return channel

    def _bare(self, data: Any) -> str:
        """Channel of the data of an answer; raises ValueError naming what was not recognized."""
        first = data[0] if isinstance(data, list) else data
        if isinstance(first, list):
            return self._bars
        if not isinstance(first, dict):
            raise ValueError(f"an answer is an object or a list of them, not {first!r:.40}")
        for keys, name in self._signatures:
            if keys <= first.keys():
                return self._lists.get(name, name) if isinstance(data, list) else name
        raise ValueError(f"no known answer has the keys {', '.join(sorted(first)) or 'none'}"[:200])

    def refusal(self, answer: Any) -> str:
        code = answer.get("code") if isinstance(answer, dict) else None
        return "" if code == _SUCCESS else f"{code}: {answer.get('msg') if isinstance(answer, dict) else 'no answer'}"


def _prefix(topic: str) -> str:
    return topic.partition(":")[0]


def _request(kind: str, topics: Sequence[str], request: int) -> bytes:
    symbols = ",".join(topic.partition(":")[2] for topic in topics)
    return msgspec.json.encode(
        {
            "id": str(request),
            "type": kind,
            "topic": f"{_prefix(topics[0])}:{symbols}",
            "privateChannel": False,
            "response": True,
        }
    )


def _is_control(message: Any) -> bool:
    """Messages about the connection, requests of the client, errors, and answers without market data."""
    if not isinstance(message, dict):
        return False
    keys = message.keys()
    return (
        not keys
        or message.get("type") in ("welcome", "ack", "pong", "ping", "error", "subscribe", "unsubscribe")
        or "sessionId" in keys
        or "action" in keys
        or ("id" in keys and "result" in keys)
        or ("code" in keys and "data" not in keys)
    )


def _holds_data(data: Any) -> bool:
    """False for answers without rows, for tokens and for the venue's time."""
    if isinstance(data, dict):
        return bool(data) and "token" not in data
    return bool(data) and not isinstance(data, int | str)
