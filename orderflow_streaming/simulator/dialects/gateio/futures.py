"""Gate.io USDT futures: one socket, one channel a request, as the exchange speaks it.

A request that names an unknown contract or a depth that is subscribed already is refused whole; an unknown contract of
``futures.obu`` is acknowledged and stays silent. Source: gate.com/docs/developers/futures/ws and frames seen of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.gateio import rest as gateio_rest
from orderflow_streaming.simulator.dialects.gateio.frames import RENDERERS, obu_snapshot
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "gateio_futures",
    {
        symbol: Listing(
            symbol,
            f"{symbol.removesuffix('USDT')}_USDT",
            price_places,
            tick_units,
            lot_places,
            contract_size=contract_size,
            funding_hours=hours,
        )
        for symbol, price_places, tick_units, lot_places, contract_size, hours in (
            ("BTCUSDT", 1, 1, 0, 0.0001, 8),
            ("ETHUSDT", 2, 1, 1, 0.01, 8),
            ("SOLUSDT", 2, 1, 1, 1.0, 8),
            ("XRPUSDT", 4, 1, 1, 10.0, 8),
            ("ARUSDT", 3, 1, 0, 0.1, 8),
            ("BRETTUSDT", 6, 1, 0, 10.0, 4),
            ("POPCATUSDT", 5, 1, 0, 10.0, 4),
            ("WIFUSDT", 4, 1, 0, 1.0, 4),
            ("PNUTUSDT", 5, 1, 0, 10.0, 4),
        )
    },
    lag_slots=4,
    activity=0.5,
    premium_bps=-4.0,
    premium_sd_bps=4.5,
)
"""Contract sizes of BTC and ETH are the real ones; some contracts are traded in fractions, as there."""

_LISTS = ("book_ticker", "public_liquidates", "tickers", "trades", "obu")
"""Channels whose payload is a list of contracts."""
_ONCE = ("order_book", "order_book_update", "obu")


class GateioFutures(Dialect):
    venue = VENUE
    routes: ClassVar[Mapping[str, str]] = {"main": "/v4/ws/usdt"}
    ping_seconds = None
    pong_seconds = 30.0
    messages_per_second = 50
    rest_weight_per_minute = 1_200

    def topics(self, symbols: Sequence[str]) -> list[str]:
        forms = ("book_ticker.{}", "order_book.{}", "trades.{}", "tickers.{}", "candlesticks.1m_{}")
        names = [self.venue.listings[symbol].venue_symbol for symbol in symbols if symbol in self.venue.listings]
        return [f"futures.{form.format(name)}" for name in names for form in (*forms, "public_liquidates.{}")]

    def route(self, topic: str) -> str | None:
        return "main" if _parts(topic)[0] in RENDERERS else None

    def symbol(self, topic: str) -> str | None:
        kind, name = _parts(topic)
        if kind == "obu":
            name = name.split(".")[1] if name.count(".") == 2 else ""
        elif kind == "candlesticks":
            interval, _, name = name.partition("_")
            name = name if interval == "1m" else ""
        return next((symbol for symbol, listing in self.venue.listings.items() if listing.venue_symbol == name), None)

    def render(self, topic: str, minute: Minute) -> Frames:
        kind, name = _parts(topic)
        if kind not in RENDERERS:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        return RENDERERS[kind](name, minute)

    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        return ()

    def joined(self, topic: str, history: Mapping[str, History], now_us: int) -> Sequence[bytes]:
        kind, name = _parts(topic)
        if kind != "obu":
            return ()
        return (obu_snapshot(name, history[self.symbol(topic) or ""].minute(now_us), now_us),)

    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("channel"), str):
            return Answer(
                _json({"channel": "", "event": "", "error": {"code": 1, "message": "invalid argument struct"}})
            )
        echo = {"time": request.get("time", 0), "time_ms": 0, "conn_id": "1", "channel": request["channel"]}
        if request["channel"] == "futures.ping":
            return Answer(_json({**echo, "channel": "futures.pong", "event": "", "result": None}))
        event, payload = request.get("event"), request.get("payload")
        echo |= {name: request[name] for name in ("id", "event", "payload") if name in request}
        topics = _topics(request["channel"].removeprefix("futures."), payload)
        if event not in ("subscribe", "unsubscribe") or not topics:
            return Answer(_refusal(echo, "invalid argument"))
        if event == "unsubscribe":
            return Answer(_json({**echo, "result": {"status": "success"}}), remove=topics)
        denied = [topic for topic in topics if topic in refused]
        if denied:
            return Answer(_refusal(echo, f"{denied[0]} is not available"), refused=denied)
        for topic in topics:
            kind, name = _parts(topic)
            if kind not in RENDERERS or (kind != "obu" and self.symbol(topic) is None):
                return Answer(
                    _refusal(echo, f"unknown currency pair {name}" if kind in RENDERERS else "unknown channel")
                )
            if kind in _ONCE and topic in subscribed:
                return Answer(_refusal(echo, f"Alert sub {name}"))
        return Answer(_json({**echo, "result": {"status": "success"}}), add=topics)

    def rest(self, call: RestCall) -> RestAnswer:
        return gateio_rest.answer(self.venue, call)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        return gateio_rest.rate_limited(retry_after)

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {"X-Gate-RateLimit-Limit": "200"}


def _parts(topic: str) -> tuple[str, str]:
    """``trades`` and ``BTC_USDT`` of ``futures.trades.BTC_USDT``."""
    kind, _, name = topic.removeprefix("futures.").partition(".")
    return kind, name


def _topics(kind: str, payload: Any) -> list[str]:
    """Topics that a payload asks for; empty where it is none."""
    if not isinstance(payload, list) or not payload or not all(isinstance(part, str) for part in payload):
        return []
    bar = ["_".join(payload[:2])] if kind == "candlesticks" else payload[:1]
    names = payload if kind in _LISTS else bar
    return [f"futures.{kind}.{name}" for name in names]


def _refusal(echo: Mapping[str, Any], text: str) -> bytes:
    return _json({**echo, "error": {"code": 2, "message": text}, "result": {"status": "fail"}})


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)
