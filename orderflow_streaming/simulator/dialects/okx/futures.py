"""OKX swaps: the subscription protocol as the exchange speaks it, on two sockets.

Arguments are answered one by one, each with an acknowledgement or an error of its own. A topic here is
``channel:instrument``; liquidations are asked for all swaps at once and stand for one topic per instrument. An
argument of the other socket is acknowledged and stays silent, where the exchange refuses it. Sources:
www.okx.com/docs-v5, "WebSocket", "Error Code".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.okx import frames as okx_frames
from orderflow_streaming.simulator.dialects.okx import rest as okx_rest
from orderflow_streaming.simulator.dialects.okx import states as okx_states
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "okx_futures",
    {
        symbol: Listing(
            symbol, f"{symbol.removesuffix('USDT')}-USDT-SWAP", price_places, 1, lot_places, contract_size, hours
        )
        for symbol, price_places, lot_places, contract_size, hours in (
            ("BTCUSDT", 1, 2, 0.01, 8),
            ("ETHUSDT", 2, 2, 0.1, 8),
            ("SOLUSDT", 2, 2, 1.0, 8),
            ("XRPUSDT", 4, 2, 100.0, 8),
            ("ARUSDT", 3, 0, 0.1, 8),
            ("BRETTUSDT", 5, 0, 10.0, 4),
            ("POPCATUSDT", 4, 1, 10.0, 4),
            ("WIFUSDT", 4, 1, 1.0, 4),
            ("PNUTUSDT", 4, 1, 10.0, 4),
        )
    },
    lag_slots=2,
    activity=0.7,
    premium_bps=-3.0,
    premium_sd_bps=3.5,
)

_BUSINESS = ("trades-all", "candle1m")
_LIQUIDATIONS = "liquidation-orders"
_OPERATIONS = ("subscribe", "unsubscribe")
_CONNECTION = "a4d3ae55"


class OkxFutures(Dialect):
    venue = VENUE
    routes: ClassVar[Mapping[str, str]] = {"public": "/ws/v5/public", "business": "/ws/v5/business"}
    ping_seconds = None
    pong_seconds = 30.0
    messages_per_second = 3
    rest_weight_per_minute = 600

    def topics(self, symbols: Sequence[str]) -> list[str]:
        channels = [channel for channel in okx_frames.RENDERERS if channel != "trades"]
        listed = [self.venue.listings[symbol] for symbol in symbols if symbol in self.venue.listings]
        return [_topic(channel, listing) for listing in listed for channel in channels]

    def route(self, topic: str) -> str | None:
        channel = topic.partition(":")[0]
        if channel not in okx_frames.RENDERERS:
            return None
        return "business" if channel in _BUSINESS else "public"

    def symbol(self, topic: str) -> str | None:
        channel, _, of = topic.partition(":")
        return next((one.symbol for one in self.venue.listings.values() if of == _instrument(channel, one)), None)

    def render(self, topic: str, minute: Minute) -> Frames:
        channel = topic.partition(":")[0]
        if channel not in okx_frames.RENDERERS:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        return okx_frames.RENDERERS[channel](channel, minute)

    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        return ()

    def joined(self, topic: str, history: Mapping[str, History], now_us: int) -> Sequence[bytes]:
        channel, symbol = topic.partition(":")[0], self.symbol(topic) or ""
        listing, past = self.venue.listings[symbol], history[symbol]
        if channel == "books":
            return [okx_frames.snapshot(listing, past, now_us)]
        if channel == _LIQUIDATIONS:
            return okx_frames.recent_liquidations(past.minute(now_us), now_us)
        return [okx_frames.present(channel, listing, past, now_us)] if channel in okx_states.STATES else []

    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        if message == b"ping":
            return Answer(b"pong")
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        arguments = request.get("args") if isinstance(request, dict) else None
        if not isinstance(arguments, list) or request.get("op") not in _OPERATIONS:
            said = message.decode(errors="replace")
            return Answer(_json({"event": "error", "code": "60012", "msg": f"Invalid request: {said}"}))
        identity = {"id": request["id"]} if isinstance(request.get("id"), str) else {}
        known: list[str] = []
        denied: list[str] = []
        answers: list[bytes] = []
        for argument in arguments:
            name, topics = self._meant(argument)
            if name in refused or not topics:
                denied += [name] if name in refused else []
                answers.append(_json({**identity, **_no_such(argument)}))
            else:
                known += topics
                answers.append(_json({**identity, "event": request["op"], "arg": argument, "connId": _CONNECTION}))
        adding = request["op"] == "subscribe"
        return Answer(add=known if adding else (), remove=() if adding else known, refused=denied, more=answers)

    def _meant(self, argument: Any) -> tuple[str, list[str]]:
        """How a client calls the topic, and the topics it stands for; none where there is no such channel or
        instrument."""
        if not isinstance(argument, dict):
            return "", []
        channel, of = str(argument.get("channel")), str(argument.get("instId") or argument.get("instType"))
        name = f"{channel}:{of}"
        if name == f"{_LIQUIDATIONS}:SWAP":
            return name, [_topic(channel, listing) for listing in self.venue.listings.values()]
        known = channel != _LIQUIDATIONS and self.route(name) is not None and self.symbol(name) is not None
        return name, [name] if known else []

    def rest(self, call: RestCall) -> RestAnswer:
        return okx_rest.answer(self.venue, call)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        return okx_rest.rate_limited(status)

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {}


def _topic(channel: str, listing: Listing) -> str:
    return f"{channel}:{_instrument(channel, listing)}"


def _instrument(channel: str, listing: Listing) -> str:
    return okx_states.index_name(listing) if channel == "index-tickers" else listing.venue_symbol


def _no_such(argument: Any) -> dict[str, str]:
    named = ",".join(f"{key}:{value}" for key, value in argument.items()) if isinstance(argument, dict) else argument
    text = f"Wrong URL or {named} doesn't exist. Please use the correct URL, channel and parameters referring to API"
    return {"event": "error", "msg": f"{text} document.", "code": "60018", "connId": _CONNECTION}


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)
