"""What Binance's markets have in common from the side of the exchange: combined streams and the subscription protocol.

A topic of the other route, of an unknown symbol or of no known kind is acknowledged and stays silent, as on the
exchange (binance/binance-public-data issue 472).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects.binance.frames import Renderer, Topic
from orderflow_streaming.simulator.dialects.binance.rest import Endpoint, answer, rate_limited
from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.records import Minute

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Binance(Dialect):
    """A market of Binance; topics, renderers and REST endpoints are its subclass's."""

    suffixes: ClassVar[Sequence[str]]
    """Of the topics that together fill every stream."""
    kinds: ClassVar[Mapping[str, tuple[str, int]]]
    """What follows ``btcusdt@``: kind of topic and levels of a book, 0 for its differences."""
    speeds: ClassVar[Mapping[str, Mapping[str, int]]]
    """By kind: what may follow it, and the milliseconds between pushes."""
    renderers: ClassVar[Mapping[str, Renderer]]
    endpoints: ClassVar[Mapping[str, Endpoint]]
    """By full path."""

    def topics(self, symbols: Sequence[str]) -> list[str]:
        return [
            f"{symbol.lower()}@{suffix}"
            for symbol in symbols
            if symbol in self.venue.listings
            for suffix in self.suffixes
        ]

    def parse(self, topic: str) -> Topic | None:
        """A topic taken apart; None for one of no known kind."""
        symbol, _, rest = topic.partition("@")
        name, _, speed = rest.partition("@")
        kind, levels = self.kinds.get(name, ("", 0))
        every_ms = self.speeds.get(kind, {"": 0}).get(speed)
        if not kind or every_ms is None or not symbol.isalnum() or not symbol.islower() or topic.endswith("@"):
            return None
        return Topic(symbol.upper(), kind, levels, every_ms * 1_000)

    def symbol(self, topic: str) -> str | None:
        parsed = self.parse(topic)
        return parsed.symbol if parsed is not None and parsed.symbol in self.venue.listings else None

    def render(self, topic: str, minute: Minute) -> Frames:
        parsed = self.parse(topic)
        if parsed is None:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        return self.renderers[parsed.kind](topic, parsed, minute)

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
        return answer(self.endpoints, self.venue, call)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        return rate_limited(self.rest_weight_per_minute, status, retry_after, until_us)

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {"X-MBX-USED-WEIGHT-1M": str(used)}


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)


def _problem(code: int, text: str) -> bytes:
    return _json({"code": code, "msg": text})
