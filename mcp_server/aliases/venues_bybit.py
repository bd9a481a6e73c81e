"""Names for what Bybit tells."""

from __future__ import annotations

from functools import partial

from mcp_server.aliases.alias import As
from mcp_server.aliases.venues import LEVELS, of, sections

_futures = partial(of, "bybit", "futures")
_spot = partial(of, "bybit", "spot")
_any = partial(of, "bybit", None)
_CATEGORY = sections({"linear": "futures", "option": "options"})
_COIN = As("symbol", lambda coin: f"BTC{str(coin).upper()}")
"""The fund of a coin, by a contract that is settled in it."""

ALIASES = (
    _spot("bybit_spot_ticker_tool", "venue_ticker"),
    _spot("bybit_spot_orderbook_tool", "venue_orderbook", {"depth": LEVELS}, depth=50),
    _spot("bybit_spot_trades_tool", "venue_trades", limit=100),
    _spot("bybit_spot_klines_tool", "venue_klines"),
    _spot("bybit_all_spot_tickers_tool", "venue_tickers"),
    _futures("bybit_futures_ticker_tool", "venue_ticker"),
    *(
        _futures(name, "venue_orderbook", {"depth": LEVELS}, depth=100)
        for name in ("bybit_futures_orderbook_tool", "bybit_get_orderbook")
    ),
    _futures("bybit_open_interest_tool", "venue_open_interest_history", {"interval": "period"}, period="1h", limit=48),
    _futures("bybit_funding_rate_tool", "venue_funding_history", limit=50),
    _futures("bybit_long_short_ratio_tool", "venue_long_short_ratio", period="1h", limit=24),
    _futures("bybit_insurance_fund_tool", "venue_insurance_fund", {"coin": _COIN}),
    _futures("bybit_all_perpetual_tickers_tool", "venue_tickers"),
    _futures("bybit_derivatives_analysis_tool", "venue_analysis"),
    _futures("bybit_market_snapshot_tool", "venue_snapshot"),
    _futures("bybit_full_market_analysis_tool", "venue_analysis"),
    _any("bybit_instruments_info_tool", "venue_instruments", {"category": _CATEGORY}),
    _any(
        "bybit_historical_volatility_tool", "venue_volatility_history", {"base_coin": "coin", "period": "days"}, days=30
    ),
    _any("bybit_announcements_tool", "venue_announcements"),
    _any("bybit_options_overview_tool", "venue_options_summary", {"base_coin": "coin"}),
    _any("bybit_risk_limit_tool", "venue_risk_limits", {"category": _CATEGORY}),
)
