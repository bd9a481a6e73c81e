"""Binance USD-M futures: stream frames and the subscription protocol, as the exchange speaks them.

Two routes carry the streams since April 2026; a topic
of the other route, of an unknown symbol or of no known kind is acknowledged and stays silent, as on the
exchange (binance/binance-public-data issue 472). Sources: developers.binance.com, USD-M websocket market streams.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects import binance_rest
from orderflow_streaming.simulator.dialects.binance_frames import RENDERERS, Topic, update_id
from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "binance_futures",
    {
        symbol: Listing(symbol, symbol, price_places, tick_units, lot_places, funding_hours=hours)
        for symbol, price_places, tick_units, lot_places, hours in (
            ("BTCUSDT", 2, 10, 3, 8),
            ("ETHUSDT", 2, 1, 3, 8),
            ("SOLUSDT", 4, 100, 2, 8),
            ("XRPUSDT", 4, 1, 1, 8),
            ("ARUSDT", 3, 1, 1, 8),
            ("BRETTUSDT", 7, 100, 0, 4),
            ("POPCATUSDT", 4, 1, 0, 4),
            ("WIFUSDT", 4, 1, 1, 4),
            ("PNUTUSDT", 5, 1, 0, 4),
        )
    },
    lag_slots=1,
    activity=1.0,
    premium_bps=-5.0,
    premium_sd_bps=4.0,
)

_TOPIC = re.compile(
    r"(?P<symbol>[a-z0-9]+)@(?:"
    r"(?P<aggTrade>aggTrade)|(?P<bookTicker>bookTicker)|(?P<ticker>ticker)|(?P<forceOrder>forceOrder)"
    r"|(?P<kline>kline_1m)|(?P<markPrice>markPrice)(?P<mark_speed>@1s)?"
    r"|(?P<depth>depth)(?P<levels>5|10|20)?(?P<speed>@(?:100|250|500)ms)?)"
)
_PUBLIC = ("bookTicker", "depth")
_KINDS = ("aggTrade", "bookTicker", "ticker", "forceOrder", "kline", "markPrice", "depth")
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


def _parse(topic: str) -> Topic | None:
    match = _TOPIC.fullmatch(topic)
    if match is None:
        return None
    kind = next(kind for kind in _KINDS if match[kind])
    every_us = int((match["speed"] or "@250ms")[1:-2]) * 1_000
    if kind == "markPrice":
        every_us = 1_000_000 if match["mark_speed"] else 3_000_000
    return Topic(match["symbol"].upper(), kind, int(match["levels"] or 0), every_us)


class BinanceFutures(Dialect):
    venue = VENUE
    routes: ClassVar[Mapping[str, str]] = {"public": "/public/stream", "market": "/market/stream"}
    ping_seconds = 180.0
    pong_seconds = 600.0
    messages_per_second = 10
    rest_weight_per_minute = 2_400

    def topics(self, symbols: Sequence[str]) -> list[str]:
        suffixes = ("bookTicker", "depth20@100ms", "aggTrade", "markPrice@1s", "kline_1m", "ticker", "forceOrder")
        return [f"{symbol.lower()}@{suffix}" for symbol in symbols for suffix in suffixes]

    def route(self, topic: str) -> str | None:
        parsed = _parse(topic)
        if parsed is None:
            return None
        return "public" if parsed.kind in _PUBLIC else "market"

    def symbol(self, topic: str) -> str | None:
        parsed = _parse(topic)
        return parsed.symbol if parsed is not None and parsed.symbol in self.venue.listings else None

    def render(self, topic: str, minute: Minute) -> Frames:
        parsed = _parse(topic)
        if parsed is None:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        return RENDERERS[parsed.kind](topic, parsed, minute)

    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        return [topic for topic in query.get("streams", "").split("/") if topic]

    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            return Answer(_problem(3, "Invalid JSON: expected value at line 1 column 1"))
        if not isinstance(request, dict) or "method" not in request:
            return Answer(_problem(2, "Invalid request: missing field `method` at line 1 column 73"))
        method, number, params = request["method"], request.get("id"), request.get("params", [])
        if method not in _METHODS:
            allowed = ", ".join(f"`{name}`" for name in _METHODS)
            return Answer(_problem(2, f"Invalid request: unknown variant `{method}`, expected one of {allowed}"))
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            return Answer(_problem(2, "Invalid request: request ID must be an unsigned integer"))
        if method == "LIST_SUBSCRIPTIONS":
            return Answer(_json({"result": list(subscribed), "id": number}))
        if method == "GET_PROPERTY":
            return Answer(_json({"result": True, "id": number}))
        if method == "SET_PROPERTY":
            return Answer(_json({"result": None, "id": number}))
        if not isinstance(params, list) or not all(isinstance(topic, str) for topic in params):
            return Answer(_problem(2, "Invalid request: property name must be a string"))
        denied = [topic for topic in params if topic in refused]
        if denied:
            error = {"code": 2, "msg": f"Invalid request: {', '.join(denied)} is not available"}
            return Answer(_json({"error": error, "id": number}), refused=denied)
        done = _json({"result": None, "id": number})
        return Answer(done, add=params) if method == "SUBSCRIBE" else Answer(done, remove=params)

    def rest(self, call: RestCall) -> RestAnswer:
        return binance_rest.answer(self.venue, call, update_id)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        return binance_rest.rate_limited(self.rest_weight_per_minute, status, retry_after, until_us)

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {"X-MBX-USED-WEIGHT-1M": str(used)}


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)


def _problem(code: int, text: str) -> bytes:
    return _json({"code": code, "msg": text})
