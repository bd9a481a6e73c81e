"""Bybit v5: USDT perpetuals and spot, one public socket each; books and linear tickers come as changes.

Its messages are declared in :mod:`messages`, :mod:`states` and :mod:`answers`. Source:
bybit-exchange.github.io/docs/v5, "Connect", "WebSocket Stream", "Market", "Rate Limit Rules".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.bybit.answers import ANSWER_CHANNELS, ROOT, channel_of
from orderflow_streaming.exchanges.bybit.histories import LINEAR_HISTORIES, SPOT_HISTORIES
from orderflow_streaming.exchanges.bybit.messages import (
    LINEAR_TICKER,
    LINEAR_TICKER_CHANGE,
    SPOT_TICKER,
    STREAM_CHANNELS,
)
from orderflow_streaming.exchanges.bybit.states import BOOKS, ticker
from orderflow_streaming.exchanges.merged import MERGED_BOOK
from orderflow_streaming.exchanges.merging import FieldMerger, Merger
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


class _ControlMessage(msgspec.Struct):
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_TOPIC_START = b'{"topic":"'
_TOPIC_AT = len(_TOPIC_START)
_TOPIC_KEY = b'"topic":"'
_REFUSED_TOPICS = re.compile(r"topic:(?P<one>\S+)|:\[(?P<many>[^\]]+)\]")
_PARAMETER_ERROR = 10001
_PING = msgspec.json.encode({"op": "ping"})


@lru_cache(maxsize=4096)
def _topic_channel(topic: str) -> str | None:
    """Channel of ``orderbook.50.BTCUSDT``, ``orderbook.1.BTCUSDT``, ``kline.1.BTCUSDT``; None if unknown."""
    kind, _, rest = topic.partition(".")
    variant = f"{kind}.{rest.partition('.')[0]}"
    return variant if variant in _NAMES else kind if kind in _NAMES else None


_NAMES = {channel.name for channel in (*STREAM_CHANNELS, SPOT_TICKER)}


def _by_name(*channels: Channel) -> dict[str, Channel]:
    return {channel.name: channel for channel in (*STREAM_CHANNELS, *ANSWER_CHANNELS, MERGED_BOOK, *channels)}


class Bybit(Exchange):
    """A market of Bybit; the category and its tickers are its subclass's."""

    heartbeat = Heartbeat(interval_s=20.0, payload=lambda: _PING, silent_after_s=60.0)
    limits = Limits(
        messages_per_s=10,
        topics_per_request=10,
        topics_per_socket=500,
        connection_lifetime_h=24,
        rest_weight_per_min=3600,
    )
    """The venue tells the arguments of a request on spot (10), their characters on a socket (21,000) and the requests
    of an address (600 in 5 s), half of which each market gets; messages and lifetime are ours."""
    counts_base = True
    books = BOOKS

    category: ClassVar[str]
    _ticker_streams: ClassVar[tuple[str, ...]]
    _ticker_merged: ClassVar[str] = ""
    _liquidations: ClassVar[bool] = False

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        wanted = set(streams)
        kinds: tuple[tuple[str, tuple[str, ...], float | None, str], ...] = (
            ("orderbook.1", ("prices",), 30.0, ""),
            ("orderbook.50", ("orderbooks",), 60.0, MERGED_BOOK.name),
            ("publicTrade", ("trades",), None, ""),
            ("tickers", self._ticker_streams, 60.0, self._ticker_merged),
            ("kline.1", ("candles",), 130.0, ""),
            *((("allLiquidation", ("liquidations",), None, ""),) if self._liquidations else ()),
        )
        topics = tuple(
            Topic(name, channel, symbol, feeds, stale_after_s, merged)
            for prefix, feeds, stale_after_s, merged in kinds
            if wanted & set(feeds)
            for symbol in symbols
            for name in (f"{prefix}.{symbol}",)
            if (channel := _topic_channel(name))
        )
        return (Socket("public", endpoints.sockets["public"], topics),) if topics else ()

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"req_id": str(request), "op": "subscribe", "args": list(topics)})

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"req_id": str(request), "op": "unsubscribe", "args": list(topics)})

    def topic(self, frame: bytes) -> str | None:
        if frame.startswith(_TOPIC_START):
            return frame[_TOPIC_AT : frame.find(b'"', _TOPIC_AT)].decode("ascii", "replace")
        at = frame.find(_TOPIC_KEY)
        if at < 0:
            return None
        at += len(_TOPIC_KEY)
        return frame[at : frame.find(b'"', at)].decode("ascii", "replace")

    def route(self, frame: bytes) -> str | None:
        topic = self.topic(frame)
        return None if topic is None else _topic_channel(topic)

    def control(self, frame: bytes) -> Control:
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        request = int(message.req_id) if message.req_id.isascii() and message.req_id.isdigit() else None
        if message.op in ("ping", "pong") or message.ret_msg == "pong":
            return Control(ControlKind.PONG, request)
        if message.success is None:
            return Control(ControlKind.UNKNOWN, reason="neither data nor an answer to a request")
        if message.success:
            return Control(ControlKind.ACK, request)
        if message.op != "subscribe":
            return Control(ControlKind.ERROR, request, reason=message.ret_msg)
        topics = () if request is not None else _named(message.ret_msg)
        return Control(ControlKind.REFUSED, request, topics, message.ret_msg)

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        message = decoded(frame)
        if not isinstance(message, dict):
            raise ValueError(f"a message is an object, not {message!r:.40}")
        if "topic" in message:
            channel = _topic_channel(str(message["topic"]))
            if channel is None:
                raise ValueError(f"unknown topic {message['topic']!r:.60}")
            return [(channel, frame)]
        if "op" in message or "success" in message:
            return []
        enveloped = isinstance(message.get("data"), dict) and "rest" in message
        answer = message["data"] if enveloped else message
        if "retCode" not in answer:
            raise ValueError(f"no known message has the keys {', '.join(sorted(answer)) or 'none'}"[:200])
        channel = None if answer["retCode"] else channel_of(answer.get("result"))
        return [(channel, frame if enveloped else rest_frame(url, frame))] if channel else []

    def refusal(self, answer: Any) -> str:
        if not isinstance(answer, dict):
            return f"an answer is an object, not {answer!r:.40}"
        return "" if answer.get("retCode") == 0 else f"{answer.get('retCode')}: {answer.get('retMsg')}"

    def instrument_paths(self) -> tuple[str, ...]:
        return tuple(f"{ROOT}instruments-info?category={self.category}&symbol={symbol}" for symbol in markets.SYMBOLS)

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        return [self._instrument(row) for answer in answers for row in self._listed(answer)]

    def _listed(self, answer: Any) -> list[Mapping[str, Any]]:
        """The instrument of an answer; none where the venue does not know the symbol."""
        if answer["retCode"] == _PARAMETER_ERROR:
            return []
        if reason := self.refusal(answer):
            raise ValueError(reason)
        return [
            row
            for row in answer["result"]["list"]
            if row["symbol"] in markets.SYMBOLS and row.get("contractType", "LinearPerpetual") == "LinearPerpetual"
        ]

    def _instrument(self, row: Mapping[str, Any]) -> Instrument:
        sizes, minutes = row["lotSizeFilter"], row.get("fundingInterval")
        return Instrument(
            symbol=row["symbol"],
            venue_symbol=row["symbol"],
            status=row["status"],
            contract_size=1.0,
            tick_size=float(row["priceFilter"]["tickSize"]),
            lot_size=float(sizes["qtyStep"] if "qtyStep" in sizes else sizes["basePrecision"]),
            funding_interval_hours=None if minutes is None else minutes / 60,
        )


class BybitFutures(Bybit):
    """Bybit USDT perpetuals (category linear)."""

    market = markets.MARKETS["bybit_futures"]
    category = "linear"
    endpoints = Endpoints({"public": "wss://stream.bybit.com/v5/public/linear"}, "https://api.bybit.com")
    channels = _by_name(LINEAR_TICKER_CHANGE, LINEAR_TICKER)
    histories = LINEAR_HISTORIES
    _ticker_streams = ("mark_prices", "funding_rates", "open_interest", "ticker_24h", "index_prices")
    _ticker_merged = LINEAR_TICKER.name
    _liquidations = True

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        query = f"category={self.category}&period=5min&limit=1"
        return tuple(
            Poll("rest/account-ratio", symbol, f"{ROOT}account-ratio?{query}&symbol={symbol}", STATISTICS_INTERVAL_S)
            for symbol in symbols
            if "positioning" in streams
        )

    def merger(self, channel: str, topic: str) -> Merger | None:
        return FieldMerger(topic, ticker) if channel == LINEAR_TICKER_CHANGE.name else super().merger(channel, topic)


class BybitSpot(Bybit):
    """Bybit spot markets."""

    market = markets.MARKETS["bybit_spot"]
    category = "spot"
    endpoints = Endpoints({"public": "wss://stream.bybit.com/v5/public/spot"}, "https://api.bybit.com")
    channels = _by_name(SPOT_TICKER)
    histories = SPOT_HISTORIES
    _ticker_streams = ("ticker_24h",)


def _named(reason: str) -> tuple[str, ...]:
    """Topics that the text of a refusal names."""
    found = _REFUSED_TOPICS.search(reason)
    if found is None:
        return ()
    return tuple((found["one"] or found["many"]).replace(",", " ").split())
