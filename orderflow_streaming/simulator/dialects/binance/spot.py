"""Binance spot: stream frames and the subscription protocol, as the exchange speaks them.

Sources: developers.binance.com, spot websocket market streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from orderflow_streaming.simulator.dialects.binance.markets import Binance
from orderflow_streaming.simulator.dialects.binance.spot_frames import SPOT_RENDERERS
from orderflow_streaming.simulator.dialects.binance.spot_rest import SPOT_ENDPOINTS
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "binance_spot",
    {
        symbol: Listing(symbol, symbol, price_places, tick_units, lot_places)
        for symbol, price_places, tick_units, lot_places in (
            ("BTCUSDT", 2, 1, 5),
            ("ETHUSDT", 2, 1, 4),
            ("SOLUSDT", 2, 1, 3),
            ("XRPUSDT", 4, 1, 1),
            ("ARUSDT", 3, 1, 2),
            ("WIFUSDT", 4, 1, 2),
            ("PNUTUSDT", 5, 1, 1),
        )
    },
    lag_slots=2,
    activity=0.7,
    premium_bps=0.0,
    premium_sd_bps=0.5,
    perpetual=False,
)


class BinanceSpot(Binance):
    venue = VENUE
    routes: ClassVar[Mapping[str, str]] = {"main": "/stream"}
    ping_seconds = 20.0
    pong_seconds = 60.0
    messages_per_second = 5
    rest_weight_per_minute = 6_000
    suffixes = ("bookTicker", "depth20@100ms", "trade", "kline_1m", "ticker")
    kinds: ClassVar[Mapping[str, tuple[str, int]]] = {
        "trade": ("trade", 0),
        "aggTrade": ("aggTrade", 0),
        "bookTicker": ("bookTicker", 0),
        "ticker": ("ticker", 0),
        "kline_1m": ("kline", 0),
        **{f"depth{levels or ''}": ("depth", levels) for levels in (0, 5, 10, 20)},
    }
    speeds: ClassVar[Mapping[str, Mapping[str, int]]] = {"depth": {"": 1_000, "100ms": 100}}
    renderers = SPOT_RENDERERS
    endpoints = SPOT_ENDPOINTS

    def route(self, topic: str) -> str | None:
        return "main" if self.parse(topic) else None
