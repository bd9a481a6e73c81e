"""Gate.io USDT perpetual futures: one socket, channels with a contract each, sizes in contracts.

Its messages are declared in :mod:`streams` and :mod:`answers`. Source:
gate.com/docs/developers/futures/ws (v4) and gate.com/docs/developers/apiv4, "Futures".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.gateio.answers import ANSWER_CHANNELS, SIGNATURES
from orderflow_streaming.exchanges.gateio.books import BOOKS
from orderflow_streaming.exchanges.gateio.histories import HISTORIES, ROOT, contract
from orderflow_streaming.exchanges.gateio.streams import ORDER_BOOK_CHANGES, STREAM_CHANNELS
from orderflow_streaming.exchanges.merged import MERGED_BOOK
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

DECIMAL_SIZES = {"X-Gate-Size-Decimal": "1"}
"""Header that makes sizes decimal text. Without it fractions of a contract are cut off, which some contracts have
since 2025-12 (change log of the documentation, 2025-12-09)."""

CHANNELS: dict[str, Channel] = {channel.name: channel for channel in (*STREAM_CHANNELS, *ANSWER_CHANNELS, MERGED_BOOK)}

_KIND = b'"channel":"futures.'
_WHOLE_BOOK = b'"event":"all"'
_MARKS = {
    b"book_ticker": b'"s":"',
    b"candlesticks": b'"n":"',
    b"contract_stats": b'"contract":"',
    b"obu": b'"s":"',
    b"order_book": b'"contract":"',
    b"order_book_update": b'"s":"',
    b"public_liquidates": b'"contract":"',
    b"tickers": b'"contract":"',
    b"trades": b'"contract":"',
}
"""What stands before the name of the contract in each kind of message; answers to requests have no such thing."""

_ONE_A_REQUEST = ("futures.candlesticks", "futures.order_book", "futures.order_book_update")
"""Channels whose payload is the parameters of one subscription, not a list of contracts."""
_CONTROL_CHANNELS = ("futures.ping", "futures.pong", "futures.system")
_ALREADY_SUBSCRIBED = "Alert sub"


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _ControlMessage(msgspec.Struct):
    channel: str = ""
    event: str = ""
    id: int | None = None
    error: _Error | None = None
    payload: list[str] | None = None
    result: Any = None


_decode_control = msgspec.json.Decoder(_ControlMessage).decode


def _heartbeat() -> bytes:
    return msgspec.json.encode({"time": int(time.time()), "channel": "futures.ping"})


class GateioFutures(Exchange):
    """Gate.io USDT-settled perpetual futures."""

    market = markets.MARKETS["gateio_futures"]
    endpoints = Endpoints(sockets={"main": "wss://fx-ws.gateio.ws/v4/ws/usdt"}, rest="https://api.gateio.ws")
    rest_headers = DECIMAL_SIZES
    # A socket that says nothing is dropped after about 30 s; the documentation's own client pings every 10 s.
    heartbeat = Heartbeat(interval_s=10.0, payload=_heartbeat, silent_after_s=30.0)
    # Public REST is 200 requests in 10 s. Neither a pace of requests, a number of subscriptions nor a lifetime is
    # published for sockets (300 connections per address are): the first is ours, the second what was seen to work.
    limits = Limits(
        messages_per_s=20,
        topics_per_request=100,
        topics_per_socket=200,
        connection_lifetime_h=float("inf"),
        rest_weight_per_min=1200,
    )
    channels = CHANNELS
    histories = HISTORIES
    books = BOOKS
    counts_base = False
    neutral_symbol = "replace(upper(venue_symbol), '_', '')"

    _topics: ClassVar[tuple[tuple[str, tuple[str, ...], float | None], ...]] = (
        ("futures.book_ticker.{}", ("prices",), 120.0),
        ("futures.order_book.{}", ("orderbooks",), 120.0),
        ("futures.trades.{}", ("trades",), None),
        (
            "futures.tickers.{}",
            ("mark_prices", "funding_rates", "open_interest", "ticker_24h", "index_prices"),
            60.0,
        ),
        ("futures.candlesticks.1m_{}", ("candles",), 600.0),
        ("futures.public_liquidates.{}", ("liquidations",), None),
    )
    """Name of a subscription, the streams it feeds, seconds of silence that mean it is dead."""

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        wanted = set(streams)
        topics = tuple(
            Topic(form.format(contract(symbol)), _channel(form), symbol, feeds, stale_after_s)
            for form, feeds, stale_after_s in self._topics
            if wanted & set(feeds)
            for symbol in symbols
        )
        return (Socket("main", endpoints.sockets["main"], topics, DECIMAL_SIZES),) if topics else ()

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        return tuple(
            Poll(
                "rest/contract_stats/positioning",
                symbol,
                f"{ROOT}/contract_stats?contract={contract(symbol)}&interval=5m&limit=1",
                STATISTICS_INTERVAL_S,
            )
            for symbol in symbols
            if "positioning" in streams
        )

    def batches(self, topics: Sequence[str]) -> list[Sequence[str]]:
        parts: list[Sequence[str]] = []
        for channel, names in groupby(sorted(topics, key=_channel), key=_channel):
            of_channel, size = list(names), 1 if channel in _ONE_A_REQUEST else self.limits.topics_per_request
            parts += [of_channel[start : start + size] for start in range(0, len(of_channel), size)]
        return parts

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return _request("subscribe", topics, request)

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return _request("unsubscribe", topics, request)

    def topic(self, frame: bytes) -> str | None:
        found = _placed(frame)
        if found is None:
            return None
        kind, at = found
        return (b"futures." + kind + b"." + frame[at : frame.find(b'"', at)]).decode("ascii", "replace")

    def route(self, frame: bytes) -> str | None:
        found = _placed(frame)
        if found is None:
            return None
        if found[0] == b"order_book" and _WHOLE_BOOK not in frame:
            return None
        return f"futures.{found[0].decode()}"

    def control(self, frame: bytes) -> Control:
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        if message.channel == "futures.pong":
            return Control(ControlKind.PONG)
        if message.channel == "futures.system":
            return Control(ControlKind.SHUTDOWN, reason=str(message.result))
        if message.event not in ("subscribe", "unsubscribe"):
            return Control(ControlKind.UNKNOWN, reason="neither data nor an answer to a request")
        asked = message.event == "subscribe"
        topics = () if message.id is not None or not asked else _named(message.channel, message.payload)
        if message.error is None or message.error.message.startswith(_ALREADY_SUBSCRIBED):
            return Control(ControlKind.ACK, message.id, topics)
        reason = f"{message.error.code}: {message.error.message}"
        return Control(ControlKind.REFUSED if asked else ControlKind.ERROR, message.id, topics, reason)

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        message = decoded(frame)
        if isinstance(message, dict) and "channel" in message:
            return _pushed(message, frame)
        if isinstance(message, dict) and {"rest", "data"} <= message.keys():
            return [(_answered(message["data"], str(message["rest"])), frame)]
        if message == [] or (isinstance(message, dict) and "label" in message):
            return []
        return [(_answered(message, url), rest_frame(url, frame))]

    def instrument_paths(self) -> tuple[str, ...]:
        return ("/api/v4/futures/usdt/contracts",)

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        symbols = {contract(symbol): symbol for symbol in markets.SYMBOLS}
        return [
            Instrument(
                symbol=symbols[row["name"]],
                venue_symbol=row["name"],
                status="delisting" if row["in_delisting"] else row.get("status", "trading"),
                contract_size=float(row["quanto_multiplier"]),
                tick_size=float(row["order_price_round"]),
                # Zero of contracts that take fractions, whose step is not told.
                lot_size=float(row["order_size_min"]) or None,
                funding_interval_hours=row["funding_interval"] / 3600,
            )
            for row in answers[0]
            if row["name"] in symbols
        ]


def _channel(topic: str) -> str:
    """``futures.trades`` of ``futures.trades.BTC_USDT``."""
    return ".".join(topic.split(".", 2)[:2])


def _parameters(topic: str) -> list[str]:
    """The payload that subscribes a topic."""
    channel, name = _channel(topic), topic.split(".", 2)[2]
    if channel == "futures.candlesticks":
        return name.split("_", 1)
    if channel == "futures.order_book":
        return [name, "20", "0"]
    if channel == "futures.order_book_update":
        return [name, "100ms", "20"]
    return [name]


def _named(channel: str, payload: Sequence[str] | None) -> tuple[str, ...]:
    """The topics that :func:`_parameters` made ``payload`` of."""
    if not payload:
        return ()
    if channel == "futures.candlesticks":
        return (f"{channel}.{'_'.join(payload)}",)
    return tuple(f"{channel}.{name}" for name in (payload[:1] if channel in _ONE_A_REQUEST else payload))


def _request(event: str, topics: Sequence[str], request: int) -> bytes:
    payload = [parameter for topic in topics for parameter in _parameters(topic)]
    return msgspec.json.encode(
        {"time": int(time.time()), "id": request, "channel": _channel(topics[0]), "event": event, "payload": payload}
    )


def _placed(frame: bytes) -> tuple[bytes, int] | None:
    """Kind of a data frame and where the name of its contract begins; None for anything else."""
    start = frame.find(_KIND)
    if start < 0:
        return None
    start += len(_KIND)
    end = frame.find(b'"', start)
    kind = frame[start:end]
    mark = _MARKS.get(kind)
    at = frame.find(mark, end) if mark else -1
    return (kind, at + len(mark)) if mark and at >= 0 else None


def _pushed(message: Mapping[str, Any], frame: bytes) -> list[tuple[str, bytes]]:
    """A message of the socket, from either side."""
    channel, event = str(message["channel"]), message.get("event")
    if channel in _CONTROL_CHANNELS or event in ("subscribe", "unsubscribe"):
        return []
    if channel == "futures.order_book" and event == "update":
        channel = ORDER_BOOK_CHANGES
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r:.60}")
    return [(channel, frame)]


def _answered(answer: Any, url: str) -> str:
    """Channel of a REST answer; raises ValueError naming what was not recognized."""
    first = answer[0] if isinstance(answer, list) and answer else answer
    if not isinstance(first, dict):
        raise ValueError(f"an answer is an object or a list of them, not {answer!r:.40}")
    if {"asks", "bids"} <= first.keys():
        return "rest/spot/order_book" if _has_unnamed_levels(first) else "rest/order_book"
    words = url.partition("?")[0].split("/")
    for name in (f"rest/{word}" for word in reversed(words)):
        if name in CHANNELS:
            return name
    for keys, name in SIGNATURES:
        if keys <= first.keys():
            return name
    raise ValueError(f"no known message has the keys {', '.join(sorted(first)) or 'none'}"[:200])


def _has_unnamed_levels(book: Mapping[str, Any]) -> bool:
    """Futures name price and size of a level, spot does not."""
    return any(isinstance(side, list) and side and isinstance(side[0], list) for side in (book["asks"], book["bids"]))
