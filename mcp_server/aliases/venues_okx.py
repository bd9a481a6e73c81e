"""Names for what OKX tells. Its names of instruments say their section, too."""

from __future__ import annotations

from functools import partial

from mcp_server.aliases.alias import As, Value
from mcp_server.aliases.venues import LEVELS, of, sections

_futures = partial(of, "okx", "futures")
_any = partial(of, "okx", None)
_SECTIONS = {
    "SWAP": "futures",
    "CONTRACTS": "futures",
    "FUTURES": "delivery",
    "OPTION": "options",
    "SPOT": "spot",
    "MARGIN": "spot",
}


def _section(name: Value) -> str:
    """``BTC-USDT`` is a pair, with ``-SWAP`` a swap, with a date a future, with date, strike and kind an option."""
    parts = str(name).upper().split("-")
    if parts[-1] == "SWAP":
        return "futures"
    return {2: "spot", 3: "delivery", 5: "options"}.get(len(parts), "futures")


_INSTRUMENT = As("symbol", lambda value: value, {"market": _section})
_TYPE = sections(_SECTIONS)

ALIASES = (
    _any("okx_ticker_tool", "venue_ticker", {"inst_id": _INSTRUMENT}),
    _any("okx_all_tickers_tool", "venue_tickers", {"inst_type": _TYPE}),
    _futures("okx_index_ticker_tool", "venue_index_price", {"inst_id": "symbol"}, symbol="BTC-USD"),
    _any("okx_orderbook_tool", "venue_orderbook", {"inst_id": _INSTRUMENT, "depth": LEVELS}, depth=100),
    _any("okx_trades_tool", "venue_trades", {"inst_id": _INSTRUMENT}, limit=100),
    _any("okx_klines_tool", "venue_klines", {"inst_id": _INSTRUMENT}),
    _futures("okx_funding_rate_tool", "venue_funding", {"inst_id": "symbol"}, symbol="BTC-USDT-SWAP"),
    _futures("okx_funding_rate_history_tool", "venue_funding_history", {"inst_id": "symbol"}, limit=50),
    _any(
        "okx_open_interest_tool", "venue_open_interest", {"inst_id": _INSTRUMENT, "inst_type": _TYPE, "uly": "symbol"}
    ),
    _any("okx_oi_volume_tool", "venue_coin_interest", {"ccy": "coin"}),
    _futures("okx_long_short_ratio_tool", "venue_long_short_ratio", {"ccy": "symbol"}, symbol="BTC", period="1h"),
    _any(
        "okx_taker_volume_tool", "venue_taker_volume", {"ccy": "symbol", "inst_type": _TYPE}, symbol="BTC", period="1h"
    ),
    _any("okx_instruments_tool", "venue_instruments", {"inst_type": _TYPE, "inst_id": _INSTRUMENT}),
    _any("okx_mark_price_tool", "venue_mark_price", {"inst_type": _TYPE, "inst_id": _INSTRUMENT}),
    _any("okx_insurance_fund_tool", "venue_insurance_fund", {"inst_type": _TYPE}),
    _any("okx_platform_volume_tool", "venue_totals"),
    _any("okx_options_summary_tool", "venue_options_summary", {"uly": "coin"}),
    _futures("okx_market_snapshot_tool", "venue_snapshot", symbol="BTC"),
    _futures("okx_full_analysis_tool", "venue_analysis", symbol="BTC"),
    _any("okx_top_movers_tool", "venue_top_movers", {"inst_type": _TYPE}),
)
