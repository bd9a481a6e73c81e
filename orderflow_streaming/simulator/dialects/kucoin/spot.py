"""KuCoin spot, from the side of the exchange."""

from __future__ import annotations

from orderflow_streaming.simulator.dialects.kucoin.markets import KuCoin
from orderflow_streaming.simulator.dialects.kucoin.spot_frames import RENDERERS
from orderflow_streaming.simulator.dialects.kucoin.spot_rest import ENDPOINTS
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "kucoin_spot",
    {
        symbol: Listing(symbol, f"{symbol.removesuffix('USDT')}-USDT", price_places, 1, lot_places)
        for symbol, price_places, lot_places in (
            ("BTCUSDT", 1, 6),
            ("ETHUSDT", 2, 5),
            ("SOLUSDT", 3, 4),
            ("XRPUSDT", 5, 3),
            ("ARUSDT", 4, 4),
            ("BRETTUSDT", 6, 2),
            ("POPCATUSDT", 5, 2),
            ("WIFUSDT", 4, 2),
            ("PNUTUSDT", 5, 2),
        )
    },
    lag_slots=5,
    activity=0.35,
    premium_bps=1.5,
    premium_sd_bps=1.5,
    perpetual=False,
)


class KucoinSpot(KuCoin):
    venue = VENUE
    most_topics = 400
    renderers = RENDERERS
    filling = tuple(topic for topic in RENDERERS if topic != "/market/level2:{}")
    endpoints = ENDPOINTS
