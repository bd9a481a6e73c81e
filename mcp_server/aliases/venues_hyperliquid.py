"""Names for what Hyperliquid tells."""

from __future__ import annotations

from functools import partial

from mcp_server.aliases.venues import LEVELS, of

_futures = partial(of, "hyperliquid", "futures")
_spot = partial(of, "hyperliquid", "spot")
_COIN = {"coin": "symbol"}

ALIASES = (
    _futures("hyperliquid_meta", "venue_instruments"),
    _futures("hyperliquid_all_mids", "venue_quotes"),
    _futures("hyperliquid_ticker", "venue_ticker", _COIN),
    *(_futures(name, "venue_tickers") for name in ("hyperliquid_all_tickers", "hyperliquid_perpetuals")),
    _futures("hyperliquid_orderbook", "venue_orderbook", _COIN | {"depth": LEVELS}),
    _futures("hyperliquid_klines", "venue_klines", _COIN),
    _futures("hyperliquid_recent_trades", "venue_trades", _COIN),
    _futures("hyperliquid_funding_rate", "venue_funding_history", _COIN),
    _futures("hyperliquid_all_funding_rates", "venue_funding"),
    _futures("hyperliquid_open_interest", "venue_open_interest"),
    _futures("hyperliquid_top_movers", "venue_top_movers"),
    _futures("hyperliquid_exchange_stats", "venue_totals"),
    _futures("hyperliquid_market_snapshot", "venue_snapshot", _COIN, symbol="BTC"),
    _futures("hyperliquid_full_analysis", "venue_analysis", _COIN, symbol="BTC"),
    _spot("hyperliquid_spot_meta", "venue_instruments"),
    _spot("hyperliquid_spot_meta_and_ctxs", "venue_tickers"),
)
