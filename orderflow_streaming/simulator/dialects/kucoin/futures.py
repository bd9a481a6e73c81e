"""KuCoin futures, from the side of the exchange, without the increments of its book (one message per change)."""

from __future__ import annotations

from orderflow_streaming.simulator.dialects.kucoin.futures_frames import RENDERERS
from orderflow_streaming.simulator.dialects.kucoin.futures_rest import ENDPOINTS
from orderflow_streaming.simulator.dialects.kucoin.markets import KuCoin
from orderflow_streaming.simulator.venue import Listing, Venue

VENUE = Venue(
    "kucoin_futures",
    {
        symbol: Listing(symbol, venue_symbol, price_places, tick_units, 0, contract_size, hours)
        for symbol, venue_symbol, price_places, tick_units, contract_size, hours in (
            ("BTCUSDT", "XBTUSDTM", 1, 1, 0.001, 8),
            ("ETHUSDT", "ETHUSDTM", 2, 1, 0.01, 8),
            ("SOLUSDT", "SOLUSDTM", 3, 1, 0.1, 8),
            ("XRPUSDT", "XRPUSDTM", 4, 1, 10.0, 8),
            ("ARUSDT", "ARUSDTM", 3, 1, 0.1, 8),
            ("BRETTUSDT", "BRETTUSDTM", 5, 1, 10.0, 4),
            ("POPCATUSDT", "POPCATUSDTM", 4, 1, 1.0, 4),
            ("WIFUSDT", "WIFUSDTM", 4, 1, 10.0, 4),
            ("PNUTUSDT", "PNUTUSDTM", 5, 1, 10.0, 4),
        )
    },
    lag_slots=6,
    activity=0.4,
    premium_bps=-3.0,
    premium_sd_bps=5.0,
)


class KucoinFutures(KuCoin):
    venue = VENUE
    most_topics = 300
    renderers = RENDERERS
    filling = tuple(RENDERERS)
    endpoints = ENDPOINTS
