"""What both markets of the simulated KuCoin speak: tokens, greeting, requests and their answers.

Topics of several symbols are joined by commas in one request. An unknown symbol is acknowledged and stays silent, an
unknown topic is refused, as on the exchange. Source: www.kucoin.com/docs-new, "Websocket API", "Introduction".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.kucoin import token as kucoin_token
from orderflow_streaming.simulator.dialects.kucoin.frames import Renderer
from orderflow_streaming.simulator.dialects.kucoin.request import Endpoint, RefusedError, Request
from orderflow_streaming.simulator.records import Minute

PING_INTERVAL_MS, PING_TIMEOUT_MS = 18_000, 10_000
_WEIGHT_PER_HALF_MINUTE = 2_000


class KuCoin(Dialect):
    """A market is its venue, its topics with their renderers, and its REST endpoints."""

    routes: ClassVar[Mapping[str, str]] = {"public": "/endpoint"}
    ping_seconds = None
    pong_seconds = 60.0
    messages_per_second = 10
    rest_weight_per_minute = 2 * _WEIGHT_PER_HALF_MINUTE

    renderers: ClassVar[Mapping[str, Renderer]]
    """By topic, with ``{}`` for the symbol."""
    filling: ClassVar[tuple[str, ...]]
    """Those that together fill every stream."""
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, int]]]
    """By path, with ``{}`` for a symbol at its end: what answers, and its weight."""
    most_topics: ClassVar[int]

    def topics(self, symbols: Sequence[str]) -> list[str]:
        names = [self.venue.listings[symbol].venue_symbol for symbol in symbols if symbol in self.venue.listings]
        return [pattern.format(name) for name in names for pattern in self.filling]

    def route(self, topic: str) -> str | None:
        return "public" if self._pattern(topic) else None

    def symbol(self, topic: str) -> str | None:
        name = _subject(topic)
        return next((listing.symbol for listing in self.venue.listings.values() if listing.venue_symbol == name), None)

    def _pattern(self, topic: str) -> str | None:
        pattern = topic.replace(_subject(topic), "{}", 1) if ":" in topic else topic
        return pattern if pattern in self.renderers else None

    def render(self, topic: str, minute: Minute) -> Frames:
        pattern = self._pattern(topic)
        if pattern is None:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        return self.renderers[pattern](topic, minute)

    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        return ()

    def refuses(self, query: Mapping[str, str], now_us: int) -> str:
        return kucoin_token.refusal(self.venue.name, query.get("token", ""), now_us)

    def greeting(self, query: Mapping[str, str]) -> bytes:
        return msgspec.json.encode({"id": query.get("connectId", ""), "type": "welcome"})

    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            return Answer(_error(None, 400, "invalid message"))
        if not isinstance(request, dict) or not isinstance(request.get("id"), str | int):
            return Answer(_error(None, 400, "id is required"))
        number, kind, topic = str(request["id"]), request.get("type"), request.get("topic")
        if kind == "ping":
            return Answer(msgspec.json.encode({"id": number, "type": "pong", "timestamp": time.time_ns() // 1000}))
        if kind not in ("subscribe", "unsubscribe") or not isinstance(topic, str):
            return Answer(_error(number, 400, "type is invalid" if isinstance(topic, str) else "topic is required"))
        return self._subscription(number, kind, topic, subscribed, refused, response=bool(request.get("response")))

    def _subscription(
        self, number: str, kind: str, topic: str, subscribed: Sequence[str], refused: Sequence[str], *, response: bool
    ) -> Answer:
        prefix, _, names = topic.partition(":")
        topics = [f"{prefix}:{name}" for name in names.split(",")]
        if any(self.route(one) is None for one in topics):
            return Answer(_error(number, 404, f"topic {topic} is not found"))
        if denied := [one for one in topics if one in refused]:
            return Answer(_error(number, 404, f"topic {','.join(denied)} is not found"), refused=denied)
        done = msgspec.json.encode({"id": number, "type": "ack"}) if response else b""
        if kind == "unsubscribe":
            return Answer(done, remove=topics)
        if len({*subscribed, *topics}) > self.most_topics:
            text = f"exceed max subscription count limitation of {self.most_topics} per session"
            return Answer(_error(number, 509, text))
        return Answer(done, add=topics)

    def rest(self, call: RestCall) -> RestAnswer:
        if call.path == "/api/v1/bullet-public":
            return self._token(call)
        found, query = self.endpoints.get(call.path), call.query
        for name in call.path.split("/") if found is None else ():
            if name and (found := self.endpoints.get(call.path.replace(f"/{name}", "/{}", 1))):
                query = {**call.query, "symbol": name}
                break
        if found is None:
            return _answered(404, {"code": "404", "msg": "Not Found"})
        if call.method != "GET":
            return _answered(405, {"code": "400000", "msg": f"Request method '{call.method}' not supported"})
        endpoint, weight = found
        try:
            data = endpoint(Request(self.venue, query, call.history, call.now_us))
        except RefusedError as refused:
            return _answered(200, {"code": refused.code, "msg": str(refused)}, weight)
        return _answered(200, {"code": "200000", "data": data}, weight)

    def _token(self, call: RestCall) -> RestAnswer:
        if call.method != "POST":
            return _answered(405, {"code": "400000", "msg": f"Request method '{call.method}' not supported"})
        server = {
            "endpoint": f"{call.base_url.replace('http', 'ws', 1)}{self.routes['public']}",
            "encrypt": False,
            "protocol": "websocket",
            "pingInterval": PING_INTERVAL_MS,
            "pingTimeout": PING_TIMEOUT_MS,
        }
        token = kucoin_token.issue(self.venue.name, call.now_us)
        return _answered(200, {"code": "200000", "data": {"token": token, "instanceServers": [server]}}, 10)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        body = msgspec.json.encode({"code": "429000", "msg": "Too Many Requests"})
        return RestAnswer(429, body, headers={"gw-ratelimit-reset": str(1_000 * retry_after)})

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {
            "gw-ratelimit-limit": str(self.rest_weight_per_minute),
            "gw-ratelimit-remaining": str(max(0, self.rest_weight_per_minute - used)),
        }


def _subject(topic: str) -> str:
    """``BTC-USDT`` of ``/market/candles:BTC-USDT_1min``."""
    return topic.partition(":")[2].partition("_")[0]


def _error(number: str | None, code: int, text: str) -> bytes:
    head = {} if number is None else {"id": number}
    return msgspec.json.encode({**head, "type": "error", "code": code, "data": text})


def _answered(status: int, body: Any, weight: int = 1) -> RestAnswer:
    return RestAnswer(status, msgspec.json.encode(body), weight)
