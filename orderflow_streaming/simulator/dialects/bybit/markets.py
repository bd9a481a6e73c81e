"""Bybit's linear contracts and spot: stream frames and the subscription protocol, as the exchange speaks them.

Sources: bybit-exchange.github.io/docs/v5, websocket connect and public streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orderflow_streaming.simulator.dialects.bybit import rest as bybit_rest
from orderflow_streaming.simulator.dialects.bybit.frames import RENDERERS, quote, snapshot, ticker
from orderflow_streaming.simulator.dialects.dialect import Answer, Dialect, Frames, RestAnswer, RestCall
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.venue import Listing, Venue

LINEAR = Venue(
    "bybit_futures",
    {
        symbol: Listing(symbol, symbol, price_places, tick_units, lot_places, funding_hours=hours)
        for symbol, price_places, tick_units, lot_places, hours in (
            ("BTCUSDT", 2, 10, 3, 8),
            ("ETHUSDT", 2, 1, 2, 8),
            ("SOLUSDT", 3, 10, 1, 8),
            ("XRPUSDT", 4, 1, 1, 8),
            ("ARUSDT", 3, 1, 1, 8),
            ("BRETTUSDT", 5, 1, 0, 4),
            ("POPCATUSDT", 4, 1, 0, 4),
            ("WIFUSDT", 4, 1, 0, 4),
            ("PNUTUSDT", 5, 1, 0, 4),
        )
    },
    lag_slots=2,
    activity=0.8,
    premium_bps=-3.5,
    premium_sd_bps=4.5,
)
SPOT = Venue(
    "bybit_spot",
    {
        symbol: Listing(symbol, symbol, price_places, 1, lot_places)
        for symbol, price_places, lot_places in (
            ("BTCUSDT", 1, 6),
            ("ETHUSDT", 2, 5),
            ("SOLUSDT", 2, 3),
            ("XRPUSDT", 4, 2),
            ("ARUSDT", 3, 2),
            ("BRETTUSDT", 5, 1),
            ("POPCATUSDT", 4, 2),
            ("WIFUSDT", 4, 2),
            ("PNUTUSDT", 5, 1),
        )
    },
    lag_slots=3,
    activity=0.4,
    premium_bps=0.5,
    premium_sd_bps=0.8,
    perpetual=False,
)

_CONNECTION = "d30fdpbboasp1pjbe7r0-orderflow"
_ARGUMENTS = 10


class Bybit(Dialect):
    """A market of Bybit; the category is its subclass's."""

    category: ClassVar[str]
    kinds: ClassVar[Sequence[str]]
    """What stands before the symbol in a topic."""
    ping_seconds = None
    pong_seconds = 600.0
    messages_per_second = 50
    rest_weight_per_minute = 7_200

    @property
    def spot(self) -> bool:
        return self.category == "spot"

    def topics(self, symbols: Sequence[str]) -> list[str]:
        return [f"{kind}.{symbol}" for symbol in symbols if symbol in self.venue.listings for kind in self.kinds]

    def route(self, topic: str) -> str | None:
        return "public" if topic.rpartition(".")[0] in self.kinds else None

    def symbol(self, topic: str) -> str | None:
        symbol = topic.rpartition(".")[2]
        return symbol if self.route(topic) and symbol in self.venue.listings else None

    def render(self, topic: str, minute: Minute) -> Frames:
        if self.route(topic) is None:
            raise ValueError(f"{topic!r} is no topic of {self.venue.name}.")
        return RENDERERS[topic.rpartition(".")[0]](topic, minute, spot=self.spot)

    def opened(self, query: Mapping[str, str]) -> Sequence[str]:
        return ()

    def joined(self, topic: str, history: Mapping[str, History], now_us: int) -> Sequence[bytes]:
        kind, _, symbol = topic.rpartition(".")
        past = history[symbol]
        minute = past.minute(now_us)
        match kind:
            case "orderbook.1":
                return [quote(topic, minute.listing, minute.touch(now_us), now_us, spot=self.spot)]
            case "orderbook.50":
                return [snapshot(topic, minute, now_us, spot=self.spot)]
            case "tickers":
                return [ticker(topic, past, now_us, spot=self.spot)]
        return ()

    def answer(self, message: bytes, subscribed: Sequence[str], refused: Sequence[str]) -> Answer:
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            return Answer(_said("", "", False, "Params Error"))
        operation = request.get("op") if isinstance(request, dict) else None
        number = str(request.get("req_id", "")) if isinstance(request, dict) else ""
        if operation == "ping":
            return Answer(_said("ping", number, True, "pong"))
        if operation not in ("subscribe", "unsubscribe"):
            return Answer(_said("", number, False, "Params Error"))
        topics = request.get("args")
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            return Answer(_said(operation, number, False, "Params Error"))
        done = _said(operation, number, True, operation if self.spot else "")
        if operation == "unsubscribe":
            return Answer(done, remove=topics)
        if problem := self._problem(topics, subscribed, refused):
            return Answer(_said(operation, number, False, problem), refused=[one for one in topics if one in refused])
        return Answer(done, add=topics)

    def _problem(self, topics: Sequence[str], subscribed: Sequence[str], refused: Sequence[str]) -> str:
        """Why a request is refused, as a whole; empty where it is not."""
        if self.spot and len(topics) > _ARGUMENTS:
            return "args size >10"
        unknown = next((topic for topic in topics if self.symbol(topic) is None or topic in refused), None)
        if unknown is not None:
            return f"Invalid symbol :[{unknown}]" if self.spot else f"error:handler not found,topic:{unknown}"
        again = next((topic for topic in topics if topic in subscribed), None)
        return f"error:already subscribed,topic:{again}" if again else ""

    def rest(self, call: RestCall) -> RestAnswer:
        return bybit_rest.answer(self.category, self.venue.listings, call)

    def rate_limited(self, status: int, retry_after: int, until_us: int) -> RestAnswer:
        return bybit_rest.rate_limited(until_us - retry_after * 1_000_000)

    def weight_header(self, used: int) -> Mapping[str, str]:
        return {}


class BybitFutures(Bybit):
    venue = LINEAR
    category = "linear"
    routes: ClassVar[Mapping[str, str]] = {"public": "/v5/public/linear"}
    kinds = ("orderbook.1", "orderbook.50", "publicTrade", "tickers", "kline.1", "allLiquidation")


class BybitSpot(Bybit):
    venue = SPOT
    category = "spot"
    routes: ClassVar[Mapping[str, str]] = {"public": "/v5/public/spot"}
    kinds = ("orderbook.1", "orderbook.50", "publicTrade", "tickers", "kline.1")


def _said(operation: str, number: str, success: bool, text: str) -> bytes:
    body: dict[str, Any] = {"success": success, "ret_msg": text, "conn_id": _CONNECTION}
    return msgspec.json.encode(body | ({"req_id": number} if number else {}) | {"op": operation})
