"""Hyperliquid perpetuals: one subscription a message, as the exchange speaks it.

What cannot be read is answered with an error, an unknown coin by closing the connection without a word, and a new
subscription of trades with a backlog. Source: hyperliquid.gitbook.io/hyperliquid-docs, "Websocket", and frames seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.hyperliquid import rest as hyperliquid_rest
from orderflow_streaming.simulator.dialects.hyperliquid.frames import RENDERERS, pushed
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "hyperliquid_futures",
    {
        symbol: Listing(symbol, symbol.removesuffix("USDT"), price_places, tick_units, lot_places, funding_hours=1)
        for symbol, price_places, tick_units, lot_places in (
            ("BTCUSDT", 1, 10, 5),
            ("ETHUSDT", 1, 1, 4),
            ("SOLUSDT", 2, 1, 2),
            ("XRPUSDT", 4, 1, 0),
            ("ARUSDT", 4, 1, 2),
            ("BRETTUSDT", 6, 1, 0),
            ("POPCATUSDT", 5, 1, 0),
            ("WIFUSDT", 5, 1, 0),
            ("PNUTUSDT", 5, 1, 1),
        )
    },
    lag_slots=3,
    activity=0.6,
    premium_bps=-6.0,
    premium_sd_bps=5.5,
)
_BACKLOG = 30
"""Trades in the first message of a subscription."""
_DEFAULTS = {"l2Book": {"nSigFigs": None, "mantissa": None, "fast": False}}
"""What the venue adds to the subscription that it repeats."""


class HyperliquidFutures(Dialect):
    venue = VENUE
    routes: ClassVar[Mapping[str, str]] = {"main": "/ws"}
    ping_seconds = None
    pong_seconds = 60.0
    messages_per_second = 33
    rest_weight_per_minute = 1_200

    def topics(self, symbols: Sequence[str]) -> list[str]:
        forms = ("bbo.{}", "l2Book.{}", "trades.{}", "activeAssetCtx.{}", "candle.{}.1m")
        names = [self.venue.listings[symbol].venue_symbol for symbol in symbols if symbol in self.venue.listings]
        return [form.format(name) for name in names for form in forms]

    def route(self, topic: str) -> str | None:
        kind, *name = topic.split(".")
        return "main" if kind in RENDERERS and len(name) == (2 if kind == "candle" else 1) else None

    def symbol(self, topic: str) -> str | None:
        name = topic.split(".")[1] if self.route(topic) else ""
        return next((symbol for symbol, listing in self.venue.listings.items() if listing.venue_symbol == name), None)

    def render(self, topic: str, minute: Minute) -> Frames:
        if self.route(topic) is None:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        kind, name = topic.split(".")[:2]
        return RENDERERS[kind](name, minute)

    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        return ()

    def joined(self, topic: str, history: Mapping[str, History], now_us: int) -> Sequence[bytes]:
        symbol = self.symbol(topic) or ""
        if not topic.startswith("trades."):
            return ()
        latest = hyperliquid_rest.backlog(self.venue.listings[symbol], history[symbol], now_us, _BACKLOG)
        return (pushed("trades", latest),) if latest else ()

    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            request = None
        if request == {"method": "ping"}:
            return Answer(_json({"channel": "pong"}))
        topic = _topic(request)
        if self.route(topic) is None:
            text = f"Error parsing JSON into valid websocket request: {message.decode(errors='replace')}"
            return Answer(pushed("error", text))
        method, subscription = request["method"], request["subscription"]
        if self.symbol(topic) is None:
            return Answer(close=True)
        if topic in refused:
            return Answer(refused=[topic], close=True)
        if (topic in subscribed) == (method == "subscribe"):
            quoted = msgspec.json.encode(subscription).decode()
            return Answer(pushed("error", f"Already {method}d: {quoted}"))
        echo = subscription | _DEFAULTS.get(subscription["type"], {}) | subscription
        body = pushed("subscriptionResponse", {"method": method, "subscription": echo})
        return Answer(body, add=[topic]) if method == "subscribe" else Answer(body, remove=[topic])

    def rest(self, call: RestCall) -> RestAnswer:
        return hyperliquid_rest.answer(self.venue, call)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        return hyperliquid_rest.rate_limited(retry_after)

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {}


def _topic(request: Any) -> str:
    """``candle.BTC.1m`` of a request for it; empty where it is no request."""
    if not isinstance(request, dict) or request.get("method") not in ("subscribe", "unsubscribe"):
        return ""
    asked = request.get("subscription")
    if not isinstance(asked, dict):
        return ""
    parts = [asked.get("type"), asked.get("coin"), asked.get("interval")]
    return ".".join(part for part in parts if isinstance(part, str))


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)
