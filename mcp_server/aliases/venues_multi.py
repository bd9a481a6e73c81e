"""Names for the newest stored rows of all collected venues together."""

from __future__ import annotations

from mcp_server.aliases.alias import MARKET, Alias

ALIASES = (
    Alias("get_orderbook_data", "book_latest", renamed={"exchange": MARKET}, defaults={"symbol": "BTCUSDT"}),
    *(
        Alias(name, "history_get", given={"stream": stream}, defaults={"symbol": "BTCUSDT", "limit": limit})
        for name, stream, limit in (("get_trades", "trades", 50), ("get_liquidation_data", "liquidations", 20))
    ),
    *(Alias(name, "mark_funding_get") for name in ("get_funding_rate_data", "get_mark_price_data")),
    Alias("get_open_interest_data", "open_interest_get"),
    Alias("get_24h_ticker_data", "ticker_latest"),
    Alias("get_market_overview", "market_snapshot_get", defaults={"symbol": "BTCUSDT"}),
)
