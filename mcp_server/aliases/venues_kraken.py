"""Names for what Kraken tells."""

from __future__ import annotations

from functools import partial
from typing import Any

from mcp_server.aliases.venues import LEVELS, of

_spot = partial(of, "kraken", "spot")
_futures = partial(of, "kraken", "futures")
_PAIR = {"pair": "symbol"}
_DEFAULT_PAIR: dict[str, Any] = {"symbol": "XBTUSD"}
_PERPETUAL: dict[str, Any] = {"symbol": "PF_XBTUSD"}
_DETAIL = {"info": "all that Kraken tells of a pair is told"}

ALIASES = (
    _spot("kraken_spot_ticker_tool", "venue_ticker", _PAIR, **_DEFAULT_PAIR),
    _spot("kraken_all_spot_tickers_tool", "venue_tickers", {"pairs": "symbols"}, symbols="XBTUSD,ETHUSD,SOLUSD"),
    _spot("kraken_spot_orderbook_tool", "venue_orderbook", _PAIR | {"depth": LEVELS}, depth=100, **_DEFAULT_PAIR),
    _spot("kraken_spot_trades_tool", "venue_trades", _PAIR | {"count": "limit"}, limit=100, **_DEFAULT_PAIR),
    _spot("kraken_spot_klines_tool", "venue_klines", _PAIR, **_DEFAULT_PAIR),
    _spot("kraken_spread_tool", "venue_spread_history", _PAIR, **_DEFAULT_PAIR),
    _spot("kraken_assets_tool", "venue_currencies"),
    _spot("kraken_spot_pairs_tool", "venue_instruments", ignored=_DETAIL),
    _spot("kraken_system_status_tool", "venue_status"),
    _futures("kraken_futures_ticker_tool", "venue_ticker", **_PERPETUAL),
    _futures("kraken_all_futures_tickers_tool", "venue_tickers"),
    _futures("kraken_futures_orderbook_tool", "venue_orderbook", depth=100, **_PERPETUAL),
    _futures("kraken_futures_trades_tool", "venue_trades", limit=100, **_PERPETUAL),
    _futures("kraken_futures_klines_tool", "venue_klines", **_PERPETUAL),
    _futures("kraken_futures_instruments_tool", "venue_instruments"),
    _futures("kraken_funding_rates_tool", "venue_funding"),
    _futures("kraken_open_interest_tool", "venue_open_interest"),
    _futures("kraken_top_movers_tool", "venue_top_movers"),
    _futures("kraken_market_snapshot_tool", "venue_snapshot", symbol="BTC"),
    _futures("kraken_full_analysis_tool", "venue_analysis", symbol="BTC"),
)
