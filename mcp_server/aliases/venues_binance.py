"""Names for what Binance tells."""

from __future__ import annotations

from functools import partial

from mcp_server.aliases.alias import Alias
from mcp_server.aliases.venues import LEVELS, of

_futures = partial(of, "binance", "futures")
_spot = partial(of, "binance", "spot")

ALIASES = (
    *(_futures(name, "venue_tickers", {"symbol": "symbols"}) for name in ("binance_ticker_tool", "binance_get_ticker")),
    _futures("binance_orderbook_tool", "venue_orderbook", {"depth": LEVELS}, depth=100),
    _futures("binance_trades_tool", "venue_trades", limit=500),
    _futures("binance_klines_tool", "venue_klines", interval="1m", limit=200),
    _futures("binance_open_interest_tool", "venue_open_interest"),
    _futures("binance_open_interest_history_tool", "venue_open_interest_history", limit=200),
    _futures("binance_funding_rate_tool", "venue_funding_history"),
    _futures("binance_premium_index_tool", "venue_funding"),
    _futures("binance_long_short_ratio_tool", "venue_long_short_ratio"),
    _futures("binance_taker_volume_tool", "venue_taker_volume"),
    _futures("binance_basis_tool", "venue_basis", limit=200),
    Alias("binance_liquidations_tool", "liquidations_get", given={"market": "binance_futures"}),
    _futures("binance_snapshot_tool", "venue_snapshot"),
    _futures("binance_full_analysis_tool", "venue_analysis"),
    _spot("binance_spot_price_tool", "venue_tickers", {"symbol": "symbols"}),
    _spot("binance_spot_book_ticker_tool", "venue_quotes"),
    of("binance", None, "binance_spot_rolling_ticker_tool", "venue_window_ticker"),
    of("binance", None, "binance_spot_avg_price_tool", "venue_window_ticker", given={"window": "5m"}),
    _spot("binance_spot_ticker_tool", "venue_ticker"),
    _spot("binance_spot_orderbook_tool", "venue_orderbook", {"depth": LEVELS}, depth=100),
    _spot("binance_spot_trades_tool", "venue_trades", limit=500),
    _spot("binance_spot_klines_tool", "venue_klines"),
    _spot("binance_spot_agg_trades_tool", "venue_trades", limit=500),
    _spot("binance_spot_exchange_info_tool", "venue_instruments"),
    _spot("binance_spot_all_tickers_tool", "venue_tickers"),
    _spot("binance_spot_snapshot_tool", "venue_snapshot"),
    _spot("binance_spot_full_analysis_tool", "venue_analysis"),
)
