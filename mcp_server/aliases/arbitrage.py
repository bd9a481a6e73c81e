"""Names for price differences between venues."""

from __future__ import annotations

from mcp_server.aliases.alias import Alias

_BTC = {"symbol": "BTCUSDT"}

ALIASES = (
    Alias(
        "analyze_crypto_arbitrage_tool",
        "arbitrage_analyze",
        renamed={
            "min_profit_threshold": "min_net_pct",
            "include_spreads": "spreads",
            "include_opportunities": "opportunities",
        },
        defaults=_BTC,
    ),
    Alias("get_crypto_prices", "price_latest"),
    Alias("get_crypto_spreads", "arbitrage_pairs_get", defaults=_BTC),
    Alias("get_arbitrage_opportunities", "arbitrage_opportunities_get", renamed={"min_profit": "min_profit_pct"}),
    Alias("crypto_scanner_health", "streams_health"),
    Alias(
        "compare_exchange_prices",
        "arbitrage_pairs_get",
        renamed={"exchange1": "market", "exchange2": "other_market"},
        defaults=_BTC | {"market": "binance_futures", "other_market": "bybit_futures"},
    ),
)
