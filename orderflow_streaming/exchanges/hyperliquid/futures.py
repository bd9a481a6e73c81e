"""Hyperliquid perpetuals: one subscription a message, whole books, everything else in contexts of a coin.

Its messages are declared in :mod:`messages`. Source: hyperliquid.gitbook.io/hyperliquid-docs, "Websocket"
and "Rate limits and user limits".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.hyperliquid.histories import HISTORIES, coin, info
from orderflow_streaming.exchanges.hyperliquid.messages import MESSAGE_CHANNELS, SIGNATURES
from orderflow_streaming.exchanges.protocol import (
    Channel,
    Control,
    ControlKind,
    Endpoints,
    Exchange,
    Heartbeat,
    Instrument,
    Limits,
    Request,
    Socket,
    Topic,
    decoded,
    rest_frame,
)

CHANNELS: dict[str, Channel] = {channel.name: channel for channel in MESSAGE_CHANNELS}

_START = b'{"channel":"'
_AT = len(_START)
_MARKS = {
    b"activeAssetCtx": b'"coin":"',
    b"bbo": b'"coin":"',
    b"candle": b'"s":"',
    b"l2Book": b'"coin":"',
    b"trades": b'"coin":"',
}
"""What stands before the coin in each kind of message."""
_INTERVAL = b'"i":"'

_CONTROL_CHANNELS = ("error", "pong", "post", "subscriptionResponse")
_ALREADY = "Already subscribed"
_PING = b'{"method":"ping"}'


class _ControlMessage(msgspec.Struct):
    channel: str = ""
    data: Any = None


_decode_control = msgspec.json.Decoder(_ControlMessage).decode


class HyperliquidFutures(Exchange):
    """Hyperliquid perpetual futures, settled in USDC."""

    market = markets.MARKETS["hyperliquid_futures"]
    endpoints = Endpoints(sockets={"main": "wss://api.hyperliquid.xyz/ws"}, rest="https://api.hyperliquid.xyz")
    # The server closes a connection to which it has sent nothing for 60 s; it answers a ping.
    heartbeat = Heartbeat(interval_s=20.0, payload=lambda: _PING, silent_after_s=60.0)
    # Per address and minute: 2,000 messages, 30 new connections; 10 connections and 1,000 subscriptions at a time. No
    # lifetime of a connection is published.
    limits = Limits(
        messages_per_s=33,
        topics_per_request=1,
        topics_per_socket=1000,
        connection_lifetime_h=float("inf"),
        rest_weight_per_min=1200,
    )
    channels = CHANNELS
    histories = HISTORIES
    counts_base = True
    closes_on_refusal = True
    neutral_symbol = "upper(venue_symbol) || 'USDT'"

    _topics: ClassVar[tuple[tuple[str, tuple[str, ...], float | None], ...]] = (
        ("bbo.{}", ("prices",), 180.0),
        # Twenty levels about every 5 s since June 2026; ``fast`` brings five of them every half second.
        ("l2Book.{}", ("orderbooks",), 60.0),
        ("trades.{}", ("trades",), None),
        (
            "activeAssetCtx.{}",
            ("mark_prices", "funding_rates", "open_interest", "ticker_24h", "index_prices"),
            60.0,
        ),
        ("candle.{}.1m", ("candles",), None),
    )
    """Name of a subscription, the streams it feeds, seconds of silence that mean it is dead."""

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        wanted = set(streams)
        topics = tuple(
            Topic(form.format(coin(symbol)), form.partition(".")[0], symbol, feeds, stale_after_s)
            for form, feeds, stale_after_s in self._topics
            if wanted & set(feeds)
            for symbol in symbols
        )
        return (Socket("main", endpoints.sockets["main"], topics),) if topics else ()

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return _request("subscribe", topics)

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return _request("unsubscribe", topics)

    def topic(self, frame: bytes) -> str | None:
        found = _placed(frame)
        if found is None:
            return None
        kind, at = found
        name = kind + b"." + frame[at : frame.find(b'"', at)]
        if kind == b"candle":
            at = frame.find(_INTERVAL, at) + len(_INTERVAL)
            name += b"." + frame[at : frame.find(b'"', at)]
        return name.decode("ascii", "replace")

    def route(self, frame: bytes) -> str | None:
        found = _placed(frame)
        return found[0].decode() if found else None

    def control(self, frame: bytes) -> Control:
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        data = message.data
        if message.channel == "pong":
            return Control(ControlKind.PONG)
        if message.channel == "subscriptionResponse" and isinstance(data, dict):
            name = _named(data.get("subscription"))
            # An answer to an unsubscription names the topic too, and makes nothing active.
            return Control(ControlKind.ACK, topics=(name,) if name and data.get("method") == "subscribe" else ())
        if message.channel == "error":
            return _refusal(str(data))
        return Control(ControlKind.UNKNOWN, reason="neither data nor an answer to a request")

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        message = decoded(frame)
        if isinstance(message, dict) and "channel" in message:
            return _pushed(message, frame)
        if message in (None, []) or (isinstance(message, dict) and "method" in message):
            return []
        asked = isinstance(message, dict) and {"rest", "data"} <= message.keys()
        return [_answered(message["data"] if asked else message, frame if asked else rest_frame(url, frame))]

    def instrument_paths(self) -> tuple[Request, ...]:
        return (info("meta"),)

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        symbols = {coin(symbol): symbol for symbol in markets.SYMBOLS}
        return [
            Instrument(
                symbol=symbols[row["name"]],
                venue_symbol=row["name"],
                status="listed",
                contract_size=1.0,
                # Prices have five significant figures, so that their step follows the price.
                tick_size=None,
                lot_size=10.0 ** -row["szDecimals"],
                funding_interval_hours=1.0,
            )
            for row in answers[0]["universe"]
            if row["name"] in symbols and not row.get("isDelisted", False)
        ]


def _request(method: str, topics: Sequence[str]) -> bytes:
    kind, name, *interval = topics[0].split(".")
    subscription = {"type": kind, "coin": name} | ({"interval": interval[0]} if interval else {})
    return msgspec.json.encode({"method": method, "subscription": subscription})


def _named(subscription: Any) -> str:
    """Topic of a subscription as the venue echoes it; empty where it is of another kind."""
    if not isinstance(subscription, dict) or not {"type", "coin"} <= subscription.keys():
        return ""
    parts = (subscription["type"], subscription["coin"], subscription.get("interval"))
    return ".".join(str(part) for part in parts if part is not None)


def _refusal(text: str) -> Control:
    """An error, which quotes the subscription or the whole request that it is about."""
    try:
        quoted = msgspec.json.decode(text[text.index("{") :])
    except (ValueError, msgspec.MsgspecError):
        quoted = None
    name = _named(quoted.get("subscription", quoted)) if isinstance(quoted, dict) else ""
    if not name:
        return Control(ControlKind.ERROR, reason=text[:200])
    kind = ControlKind.ACK if text.startswith(_ALREADY) else ControlKind.REFUSED
    return Control(kind, topics=(name,), reason=text[:200])


def _placed(frame: bytes) -> tuple[bytes, int] | None:
    """Kind of a data frame and where the name of its coin begins; None for anything else."""
    if not frame.startswith(_START):
        return None
    end = frame.find(b'"', _AT)
    kind = frame[_AT:end]
    mark = _MARKS.get(kind)
    at = frame.find(mark, end) if mark else -1
    return (kind, at + len(mark)) if mark and at >= 0 else None


def _pushed(message: Mapping[str, Any], frame: bytes) -> list[tuple[str, bytes]]:
    """A message of the socket; those about all coins are brought into the form of a list."""
    channel, data = str(message["channel"]), message.get("data")
    if channel in _CONTROL_CHANNELS:
        return []
    if channel not in CHANNELS or channel.startswith("rest/"):
        raise ValueError(f"unknown channel {channel!r:.60}")
    if channel == "allMids":
        return [(channel, _listed([{"coin": name, "px": px} for name, px in _items(data, "mids")]))]
    if channel == "allDexsAssetCtxs":
        contexts = [
            {"dex": dex, "position": position, "ctx": context}
            for dex, found in _items(data, "ctxs")
            for position, context in enumerate(found if isinstance(found, list) else ())
        ]
        return [(channel, _listed(contexts))]
    return [(channel, frame)]


def _items(data: Any, key: str) -> list[tuple[Any, Any]]:
    """Pairs of an object or of a list of pairs; raises ValueError where there are none."""
    held = data.get(key) if isinstance(data, dict) else None
    pairs = list(held.items()) if isinstance(held, dict) else held
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"no pairs at {key}")
    return [(name, value) for name, value in pairs]


def _listed(items: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode({"data": items})


def _answered(answer: Any, frame: bytes) -> tuple[str, bytes]:
    """Channel and frame of a REST answer; raises ValueError naming what was not recognized."""
    if isinstance(answer, list) and len(answer) == 2 and isinstance(answer[1], list):
        return "rest/metaAndAssetCtxs", _listed(_contexts(*answer))
    first = answer[0] if isinstance(answer, list) and answer else answer
    if not isinstance(first, dict):
        raise ValueError(f"an answer is an object or a list of them, not {answer!r:.40}")
    for keys, name in SIGNATURES:
        if keys <= first.keys():
            return name, frame
    raise ValueError(f"no known message has the keys {', '.join(sorted(first)) or 'none'}"[:200])


def _contexts(meta: Any, contexts: list[Any]) -> list[dict[str, Any]]:
    """Contexts with the names of their coins, which stand at the same places of the universe."""
    universe = meta.get("universe") if isinstance(meta, dict) else None
    if not isinstance(universe, list) or len(universe) != len(contexts):
        raise ValueError(f"{len(contexts)} contexts without as many coins")
    return [
        {"coin": listed.get("name") if isinstance(listed, dict) else None, "ctx": context}
        for listed, context in zip(universe, contexts, strict=True)
    ]
