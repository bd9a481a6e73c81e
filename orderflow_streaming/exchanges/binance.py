"""Binance USDⓈ-M futures: routed combined streams, aggregated trades, twenty-level books, REST open interest.

Its messages are declared in :mod:`binance_streams` and :mod:`binance_answers`. Source: developers.binance.com,
USDⓈ-M Futures, "Connect" and "Websocket Market Streams".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.binance_answers import ANSWER_CHANNELS, CANDLE_REQUESTS, SIGNATURES
from orderflow_streaming.exchanges.binance_histories import HISTORIES
from orderflow_streaming.exchanges.binance_streams import EVENTS, STREAM_CHANNELS
from orderflow_streaming.exchanges.protocol import (
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
    UnsupportedFrameError,
    decoded,
    rest_frame,
)

DEFAULT_FUNDING_INTERVAL_HOURS = 8.0
"""Of contracts that ``GET /fapi/v1/fundingInfo`` leaves out: it lists only those whose interval, cap or floor was
adjusted (developers.binance.com, USDⓈ-M Futures, "Get Funding Rate Info")."""


@lru_cache(maxsize=4096)
def _topic_channel(topic: bytes) -> str | None:
    """Channel of ``btcusdt@depth20@100ms``, ``btcusdt@kline_1m``, ``!markPrice@arr@1s``; None for what is unknown."""
    parts = topic.decode("ascii", "replace").split("@")
    if parts[0].startswith("!"):
        name = parts[0][1:]
        return f"{name}[]" if "arr" in parts[1:] and name in _LISTED else name if name in CHANNELS else None
    name = parts[1].partition("_")[0] if len(parts) > 1 else ""
    name = _TOPICS.get(name, name)
    return name if name in CHANNELS else None


_LISTED = {"assetIndex", "markPrice", "miniTicker", "ticker"}
"""Topics of all symbols whose messages carry a list."""

_TOPICS = {
    "depth5": "partialDepth",
    "depth10": "partialDepth",
    "depth20": "partialDepth",
    "depthSnapshot": "rest/depth",
    "openInterest": "rest/openInterest",
}
"""Topics that are not named like their channel; the last two are REST answers in recordings of a third party."""

CHANNELS: dict[str, Channel] = {
    channel.name: channel
    for declared in (*STREAM_CHANNELS, *ANSWER_CHANNELS)
    for channel in ((declared,) if declared.item.endswith("[*]") else (declared, declared.listed()))
}


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
_POLL_START = b'{"rest":"/fapi/v1/openInterest?'
_TOO_MANY_REQUESTS = -1003
_USD_MARGINED = 1
"""``st`` of a message, where it has one."""


class BinanceFutures(Exchange):
    """Binance USDⓈ-M perpetual futures."""

    market = markets.MARKETS["binance_futures"]
    endpoints = Endpoints(
        sockets={
            "public": "wss://fstream.binance.com/public/stream",
            "market": "wss://fstream.binance.com/market/stream",
        },
        rest="https://fapi.binance.com",
    )
    heartbeat = Heartbeat(interval_s=20.0, payload=None, silent_after_s=60.0)
    limits = Limits(
        messages_per_s=10,
        topics_per_request=100,
        topics_per_socket=1024,
        connection_lifetime_h=24,
        rest_weight_per_min=2400,
        used_weight_header="X-MBX-USED-WEIGHT-1M",
    )
    channels = CHANNELS
    histories = HISTORIES
    counts_base = True

    _topics: ClassVar[Mapping[str, tuple[tuple[str, tuple[str, ...], float | None], ...]]] = {
        "public": (
            ("bookTicker", ("prices",), 10.0),
            ("depth20@100ms", ("orderbooks",), 10.0),
        ),
        "market": (
            ("aggTrade", ("trades",), None),
            ("markPrice@1s", ("mark_prices", "funding_rates", "index_prices"), 30.0),
            ("ticker", ("ticker_24h",), 30.0),
            ("kline_1m", ("candles",), 130.0),
            ("forceOrder", ("liquidations",), None),
        ),
    }
    """By route: what follows ``btcusdt@``, the streams it feeds, seconds of silence that mean it is dead."""

    def simulated(self, base_url: str) -> Endpoints:
        root = f"{base_url.rstrip('/')}/{self.market.name}"
        sockets = {route: f"{root.replace('http', 'ws', 1)}/{route}/stream" for route in self.endpoints.sockets}
        return Endpoints(sockets=sockets, rest=root)

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
                if (channel := _topic_channel(name.encode()))
            )
            if topics:
                found.append(Socket(route, endpoints.sockets[route], topics))
        return tuple(found)

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        if "open_interest" not in streams:
            return ()
        return tuple(
            Poll("rest/openInterest", symbol, f"/fapi/v1/openInterest?symbol={symbol}", interval_s=15.0)
            for symbol in symbols
        )

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(topics), "id": request})

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"method": "UNSUBSCRIBE", "params": list(topics), "id": request})

    def topic(self, frame: bytes) -> str | None:
        if not frame.startswith(_TOPIC_START):
            return None
        return frame[_TOPIC_AT : frame.find(b'"', _TOPIC_AT)].decode("ascii", "replace")

    def route(self, frame: bytes) -> str | None:
        if frame.startswith(_TOPIC_START):
            return _topic_channel(frame[_TOPIC_AT : frame.find(b'"', _TOPIC_AT)])
        return "rest/openInterest" if frame.startswith(_POLL_START) else None

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
        if isinstance(data, dict) and data.get("st", _USD_MARGINED) != _USD_MARGINED:
            raise UnsupportedFrameError(f"st={data['st']!r:.20} is not a USDⓈ-M contract")
        if not wrapped:
            return [(_bare(data, url), rest_frame(url, frame))]
        channel = _topic_channel(str(message.get("stream", "")).encode()) or _bare(data, str(message.get("rest", "")))
        return [(f"{channel.removesuffix('[]')}[]" if isinstance(data, list) else channel.removesuffix("[]"), frame)]

    def instrument_paths(self) -> tuple[str, ...]:
        return "/fapi/v1/exchangeInfo", "/fapi/v1/fundingInfo"

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        information, adjusted = answers
        hours = {row["symbol"]: float(row["fundingIntervalHours"]) for row in adjusted}
        return [
            Instrument(
                symbol=row["symbol"],
                venue_symbol=row["symbol"],
                status=row["status"],
                contract_size=1.0,
                tick_size=_filter(row, "PRICE_FILTER", "tickSize"),
                lot_size=_filter(row, "LOT_SIZE", "stepSize"),
                funding_interval_hours=hours.get(row["symbol"], DEFAULT_FUNDING_INTERVAL_HOURS),
            )
            for row in information["symbols"]
            if row["symbol"] in markets.SYMBOLS and row["contractType"] == "PERPETUAL"
        ]


def _filter(row: Mapping[str, Any], kind: str, name: str) -> float | None:
    return next((float(entry[name]) for entry in row["filters"] if entry["filterType"] == kind), None)


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


def _bare(message: Any, url: str) -> str:
    """Channel of a message without its topic; raises ValueError naming what was not recognized."""
    if isinstance(message, list):
        if isinstance(message[0], list):
            request = url.partition("?")[0].rpartition("/")[2]
            return f"rest/{request if request in CANDLE_REQUESTS else 'klines'}[]"
        return f"{_bare(message[0], url)}[]"
    if not isinstance(message, dict):
        raise ValueError(f"a message is an object or a list, not {message!r:.40}")
    if "e" in message:
        channel = EVENTS.get(str(message["e"]))
        if channel is None:
            raise ValueError(f"unknown event e={message['e']!r:.40}")
        return channel
    for keys, name in SIGNATURES:
        if keys <= message.keys():
            return name
    raise ValueError(f"no known message has the keys {', '.join(sorted(message)) or 'none'}"[:200])
