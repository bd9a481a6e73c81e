"""Binance USD-M futures: stream frames and the subscription protocol, as the exchange speaks them.

Two routes carry the streams since April 2026. Sources: developers.binance.com, USD-M websocket market streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from orderflow_streaming.simulator.dialects.binance.frames import FUTURES_RENDERERS
from orderflow_streaming.simulator.dialects.binance.futures_rest import FUTURES_ENDPOINTS
from orderflow_streaming.simulator.dialects.binance.markets import Binance
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

_PUBLIC = ("bookTicker", "depth")


class BinanceFutures(Binance):
    venue = VENUE
    routes: ClassVar[Mapping[str, str]] = {"public": "/public/stream", "market": "/market/stream"}
    ping_seconds = 180.0
    pong_seconds = 600.0
    messages_per_second = 10
    rest_weight_per_minute = 2_400
    suffixes = ("bookTicker", "depth20@100ms", "aggTrade", "markPrice@1s", "kline_1m", "ticker", "forceOrder")
    kinds: ClassVar[Mapping[str, tuple[str, int]]] = {
        "aggTrade": ("aggTrade", 0),
        "bookTicker": ("bookTicker", 0),
        "ticker": ("ticker", 0),
        "forceOrder": ("forceOrder", 0),
        "kline_1m": ("kline", 0),
        "markPrice": ("markPrice", 0),
        **{f"depth{levels or ''}": ("depth", levels) for levels in (0, 5, 10, 20)},
    }
    speeds: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "markPrice": {"": 3_000, "1s": 1_000},
        "depth": {"": 250, "100ms": 100, "250ms": 250, "500ms": 500},
    }
    renderers = FUTURES_RENDERERS
    endpoints = FUTURES_ENDPOINTS

    def route(self, topic: str) -> str | None:
        parsed = self.parse(topic)
        if parsed is None:
            return None
        return "public" if parsed.kind in _PUBLIC else "market"
