"""Names for what Deribit tells. Its names of instruments say their section, too."""

from __future__ import annotations

from functools import partial

from mcp_server.aliases.alias import As, Value, back
from mcp_server.aliases.venues import LEVELS, of, sections

_any = partial(of, "deribit", None)
_futures = partial(of, "deribit", "futures")


def _section(name: Value) -> str:
    """``BTC-25DEC26-100000-C`` is an option, ``BTC_USDC`` a pair, all else a future."""
    dashes = str(name).count("-")
    return {0: "spot", 3: "options"}.get(dashes, "futures")


_INSTRUMENT: dict[str, str | As] = {"instrument_name": As("symbol", lambda value: value, {"market": _section})}
_KIND: dict[str, str | As] = {"kind": sections({"future": "futures", "option": "options"})}
_SYMBOL: dict[str, str | As] = {"currency": "symbol"}
_COIN: dict[str, str | As] = {"currency": "coin"}
_BASE: dict[str, str | As] = {"currency": "base_coin"}
_HOURLY = As("limit", lambda hours: max(1, round(float(hours))))
"""Hours of funding, which Deribit tells by the hour."""
_PERPETUALS = "BTC-PERPETUAL,ETH-PERPETUAL,SOL_USDC-PERPETUAL"

ALIASES = (
    _any("deribit_instruments", "venue_instruments", _BASE | _KIND, base_coin="BTC"),
    _any("deribit_currencies", "venue_currencies"),
    _any("deribit_ticker", "venue_ticker", _INSTRUMENT),
    _futures("deribit_perpetual_ticker", "venue_ticker", _SYMBOL, symbol="BTC"),
    _futures("deribit_all_perpetual_tickers", "venue_tickers", given={"symbols": _PERPETUALS}),
    _futures("deribit_futures_tickers", "venue_tickers", _BASE, base_coin="BTC"),
    _any("deribit_book_summary", "venue_tickers", _BASE | _KIND, base_coin="BTC"),
    _any("deribit_orderbook", "venue_orderbook", _INSTRUMENT | {"depth": LEVELS}),
    _any("deribit_trades", "venue_trades", _INSTRUMENT | {"count": "limit"}, limit=100),
    _any("deribit_trades_by_currency", "venue_coin_trades", _COIN | _KIND | {"count": "limit"}),
    _any("deribit_klines", "venue_klines", _INSTRUMENT | {"resolution": "interval", "hours": back("h")}, start="24h"),
    _futures("deribit_index_price", "venue_index_price", _SYMBOL, symbol="BTC"),
    _any("deribit_index_names", "venue_index_names"),
    _futures("deribit_funding_rate", "venue_funding", _SYMBOL, symbol="BTC"),
    *(
        _futures(name, "venue_funding_history", _SYMBOL | {"hours": _HOURLY}, symbol="BTC", limit=24)
        for name in ("deribit_funding_history", "deribit_funding_analysis")
    ),
    _any("deribit_historical_volatility", "venue_volatility_history", _COIN),
    _any("deribit_dvol", "venue_volatility_index", _COIN),
    _any("deribit_open_interest", "venue_totals", _COIN, coin="BTC"),
    _any("deribit_exchange_stats", "venue_totals"),
    _any("deribit_options_summary", "venue_options_summary", _COIN),
    _any("deribit_options_chain", "venue_option_chain", _COIN | {"expiration": "expiry"}),
    _any("deribit_option_ticker", "venue_option_ticker", {"instrument_name": "symbol"}),
    _any("deribit_top_options", "venue_option_chain", _COIN, given={"order": "open_interest"}, limit=20),
    _any("deribit_settlements", "venue_settlements", _COIN | {"count": "limit"}),
    _futures("deribit_market_snapshot", "venue_snapshot", _SYMBOL, symbol="BTC"),
    _futures("deribit_full_analysis", "venue_analysis", _SYMBOL, symbol="BTC"),
)
