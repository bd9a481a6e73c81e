"""OKX perpetual swaps that settle in USDT: single fills, 400-level books, mark and index prices, funding.

Its messages are declared in :mod:`streams` and :mod:`answers`. Two sockets: candles and single fills come on
``business``, all else on ``public``. Source: www.okx.com/docs-v5, "WebSocket", "Public Data", "Error Code".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.merged import MERGED_BOOK
from orderflow_streaming.exchanges.okx.answers import ANSWER_CHANNELS, LIST_SIGNATURES, POSITIONING, SIGNATURES
from orderflow_streaming.exchanges.okx.books import BOOKS
from orderflow_streaming.exchanges.okx.histories import HISTORIES, STATISTICS, STATISTICS_WEIGHT, swap
from orderflow_streaming.exchanges.okx.streams import STREAM_CHANNELS
from orderflow_streaming.exchanges.protocol import (
    STATISTICS_INTERVAL_S,
    Channel,
    Control,
    ControlKind,
    Endpoints,
    Exchange,
    Heartbeat,
    Instrument,
    Limits,
    Poll,
    Socket,
    Topic,
    decoded,
    rest_frame,
)

CHANNELS: dict[str, Channel] = {channel.name: channel for channel in (*STREAM_CHANNELS, *ANSWER_CHANNELS)}

_LIQUIDATIONS = "liquidation-orders"
_CANDLE = re.compile(r"candle\w+")
_REFUSED_TOPIC = re.compile(r"channel:\s*([\w-]+),\s*inst\w+:\s*([\w-]+)")
_TOO_FREQUENT = ("50011", "60014")
_UPGRADE = "64008"
_MS_PER_HOUR = 3_600_000


class _Argument(msgspec.Struct, rename="camel"):
    channel: str = ""
    inst_id: str = ""
    inst_type: str = ""

    @property
    def topic(self) -> str:
        return f"{self.channel}:{self.inst_id or self.inst_type}"


class _ControlMessage(msgspec.Struct):
    event: str = ""
    id: str = ""
    code: str = ""
    msg: str = ""
    arg: _Argument | None = None

    @property
    def request(self) -> int | None:
        return int(self.id) if len(self.id) < 19 and self.id.isdecimal() else None


_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_decode_argument = msgspec.json.Decoder(_Argument).decode
_ARGUMENT = b'"arg":{'
_AT = len(_ARGUMENT) - 1
_DATA = b'"data":'
_NOWHERE = None, None
_LATEST_START, _LATEST_DATA = 64, 64
"""How far into a message the argument begins, and how far behind it the data."""


@lru_cache(maxsize=4096)
def _placed(argument: bytes) -> tuple[str | None, str | None]:
    """Topic and channel of ``{"channel":"candle1m","instId":"BTC-USDT-SWAP"}``; None for what is unknown."""
    try:
        found = _decode_argument(argument)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _NOWHERE
    return found.topic, _channel(found.channel)


def _place(frame: bytes) -> tuple[str | None, str | None]:
    """Topic and channel of a data message; an acknowledgement has the argument too, and no data."""
    start = frame.find(_ARGUMENT, 0, _LATEST_START)
    if start < 0:
        return _NOWHERE
    end = frame.find(b"}", start) + 1
    if frame.find(_DATA, end, end + _LATEST_DATA) < 0:
        return _NOWHERE
    return _placed(frame[start + _AT : end])


def _channel(name: str) -> str | None:
    name = "candle" if _CANDLE.fullmatch(name) else name
    return name if name in CHANNELS and name != MERGED_BOOK.name else None


def _argument(topic: str) -> dict[str, str]:
    channel, _, of = topic.partition(":")
    return {"channel": channel, "instType" if channel == _LIQUIDATIONS else "instId": of}


class OkxFutures(Exchange):
    """OKX perpetual swaps of USDT."""

    market = markets.MARKETS["okx_futures"]
    endpoints = Endpoints(
        sockets={
            "public": "wss://ws.okx.com:8443/ws/v5/public",
            "business": "wss://ws.okx.com:8443/ws/v5/business",
        },
        rest="https://www.okx.com",
    )
    heartbeat = Heartbeat(interval_s=20.0, payload=lambda: b"ping", silent_after_s=40.0)
    limits = Limits(
        messages_per_s=3,
        topics_per_request=400,
        topics_per_socket=1000,
        connection_lifetime_h=float("inf"),
        rest_weight_per_min=600,
    )
    channels = CHANNELS
    histories = HISTORIES
    books = BOOKS
    counts_base = False
    neutral_symbol = (
        "CASE WHEN ends_with(venue_symbol, '-SWAP') THEN replace(left(venue_symbol, -5), '-', '') "
        "WHEN regexp_full_match(venue_symbol, '[^-]+-[^-]+') THEN replace(venue_symbol, '-', '') || 'SPOT' "
        "ELSE replace(venue_symbol, '-', '') END"
    )

    _topics: ClassVar[Mapping[str, tuple[tuple[str, str, float | None], ...]]] = {
        "public": (
            ("bbo-tbt", "prices", 60.0),
            ("books", "orderbooks", 90.0),
            ("mark-price", "mark_prices", 30.0),
            ("index-tickers", "index_prices", 130.0),
            ("funding-rate", "funding_rates", 200.0),
            ("open-interest", "open_interest", 60.0),
            ("tickers", "ticker_24h", 130.0),
            (_LIQUIDATIONS, "liquidations", None),
        ),
        "business": (
            ("trades-all", "trades", None),
            ("candle1m", "candles", 130.0),
        ),
    }
    """By socket: channel, the stream it feeds, seconds of silence that mean it is dead. An idle book is repeated once
    a minute."""

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        found = []
        for socket, kinds in self._topics.items():
            topics = [
                topic
                for name, stream, stale_after_s in kinds
                if stream in streams and symbols
                for topic in self._subscriptions(name, stream, symbols, stale_after_s)
            ]
            if topics:
                found.append(Socket(socket, endpoints.sockets[socket], tuple(topics)))
        return tuple(found)

    def _subscriptions(
        self, name: str, stream: str, symbols: Sequence[str], stale_after_s: float | None
    ) -> list[Topic]:
        if name == _LIQUIDATIONS:
            first, *others = symbols
            return [Topic(f"{name}:SWAP", name, first, (stream,), stale_after_s, others=tuple(others))]
        channel = _channel(name) or name
        merged = MERGED_BOOK.name if channel in self.books else ""
        of = {symbol: swap(symbol) for symbol in symbols}
        if name == "index-tickers":
            of = {symbol: instrument.removesuffix("-SWAP") for symbol, instrument in of.items()}
        return [
            Topic(f"{name}:{instrument}", channel, symbol, (stream,), stale_after_s, merged)
            for symbol, instrument in of.items()
        ]

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        return tuple(
            Poll(
                f"rest/{name}",
                symbol,
                f"{STATISTICS}{name}?instId={swap(symbol)}&period=5m&limit=1",
                STATISTICS_INTERVAL_S,
                STATISTICS_WEIGHT,
            )
            for name in POSITIONING
            for symbol in symbols
            if "positioning" in streams
        )

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode(
            {"id": str(request), "op": "subscribe", "args": [_argument(name) for name in topics]}
        )

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode(
            {"id": str(request), "op": "unsubscribe", "args": [_argument(name) for name in topics]}
        )

    def topic(self, frame: bytes) -> str | None:
        return _place(frame)[0]

    def route(self, frame: bytes) -> str | None:
        return _place(frame)[1]

    def control(self, frame: bytes) -> Control:
        if frame == b"pong":
            return Control(ControlKind.PONG)
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        reason = f"{message.code}: {message.msg}"
        match message.event:
            case "subscribe":
                return Control(ControlKind.ACK, message.request, (message.arg.topic,) if message.arg else ())
            case "unsubscribe" | "channel-conn-count":
                return Control(ControlKind.ACK, message.request)
            case "notice" if message.code == _UPGRADE:
                return Control(ControlKind.SHUTDOWN, reason=reason)
            case "error" if message.code in _TOO_FREQUENT:
                return Control(ControlKind.RATE_LIMITED, message.request, reason=reason)
            case "error":
                refused = tuple(f"{channel}:{of}" for channel, of in _REFUSED_TOPIC.findall(message.msg))
                kind = ControlKind.REFUSED if refused or message.request is not None else ControlKind.ERROR
                return Control(kind, message.request, refused, reason)
            case "notice" | "channel-conn-count-error":
                return Control(ControlKind.ERROR, message.request, reason=reason)
        return Control(ControlKind.UNKNOWN, reason="neither data nor an answer to a request")

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        if frame.strip() in (b"ping", b"pong"):
            return []
        message = decoded(frame)
        if isinstance(message, dict) and message.keys() & {"event", "op"}:
            return []
        if isinstance(message, dict) and isinstance(argument := message.get("arg"), dict):
            name = str(argument.get("channel", ""))
            channel = _channel(name)
            if channel is None:
                raise ValueError(f"unknown channel {name!r:.60}")
            return [(channel, frame)]
        if isinstance(message, dict) and "rest" in message:
            url, answer, enveloped = str(message["rest"]), message.get("data"), frame
        elif isinstance(message, list):
            answer, enveloped = {"data": message}, rest_frame(url, b'{"data":' + frame + b"}")
        else:
            answer, enveloped = message, rest_frame(url, frame)
        return [] if _is_empty(answer) else [(_answered(answer, url), enveloped)]

    def refusal(self, answer: Any) -> str:
        if isinstance(answer, dict) and answer.get("code") == "0":
            return ""
        if isinstance(answer, dict) and "code" in answer:
            return f"{answer['code']}: {answer.get('msg', '')}"
        return "it is not an answer of OKX"

    def instrument_paths(self) -> tuple[str, ...]:
        return "/api/v5/public/instruments?instType=SWAP", "/api/v5/public/funding-rate?instId=ANY"

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        for answer in answers:
            if refusal := self.refusal(answer):
                raise ValueError(refusal)
        listed, funding = (answer["data"] for answer in answers)
        hours = {row["instId"]: _hours(row) for row in funding}
        ours = {swap(symbol): symbol for symbol in markets.SYMBOLS}
        return [
            Instrument(
                symbol=ours[row["instId"]],
                venue_symbol=row["instId"],
                status=row["state"],
                contract_size=float(row["ctVal"]) * float(row["ctMult"] or 1),
                tick_size=float(row["tickSz"]),
                lot_size=float(row["lotSz"]),
                funding_interval_hours=hours.get(row["instId"]),
            )
            for row in listed
            if row["instId"] in ours and row["ctType"] == "linear"
        ]


def _hours(row: Mapping[str, str]) -> float | None:
    """Between the next settlement and the one after it; None where the venue does not name both."""
    if not (row.get("fundingTime") and row.get("nextFundingTime")):
        return None
    return (int(row["nextFundingTime"]) - int(row["fundingTime"])) / _MS_PER_HOUR


def _is_empty(answer: Any) -> bool:
    """Refusals, and answers without a row."""
    return isinstance(answer, dict) and (answer.get("code", "0") != "0" or answer.get("data") == [])


def _answered(answer: Any, url: str) -> str:
    """Channel of an answer; raises ValueError naming what was not recognized."""
    name = f"rest/{url.partition('?')[0].rpartition('/')[2]}"
    if name in CHANNELS:
        return name
    rows = answer.get("data") if isinstance(answer, dict) else None
    row = rows[0] if isinstance(rows, list) else None
    if isinstance(row, list) and len(row) in LIST_SIGNATURES:
        return LIST_SIGNATURES[len(row)]
    if isinstance(row, dict):
        for keys, channel in SIGNATURES:
            if keys <= row.keys():
                return channel
    raise ValueError(f"neither a message nor an answer of OKX: {answer!r:.80}")
