"""Names for what Gate.io tells."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from mcp_server.aliases.alias import As
from mcp_server.aliases.venues import LEVELS, of, sections

_any = partial(of, "gateio", None)
_SETTLE = sections({"usdt": "futures", "btc": "inverse"})
_PERPETUAL: dict[str, str | As] = {"settle": _SETTLE}
_ONE: dict[str, str | As] = {"contract": "symbol", "settle": _SETTLE}
_EXPIRY = As("expiry", lambda seconds: datetime.fromtimestamp(float(seconds), UTC).date().isoformat())
_DATED = {"settle": "dated futures are all settled in USDT"}

ALIASES = (
    _any("gateio_futures_contracts", "venue_instruments", _PERPETUAL),
    _any("gateio_futures_contract", "venue_instruments", _ONE),
    _any("gateio_futures_ticker", "venue_ticker", _ONE),
    *(_any(name, "venue_tickers", _PERPETUAL) for name in ("gateio_all_futures_tickers", "gateio_perpetuals")),
    _any("gateio_futures_orderbook", "venue_orderbook", _ONE | {"limit": LEVELS}, depth=50),
    _any("gateio_futures_trades", "venue_trades", _ONE, limit=100),
    _any("gateio_futures_klines", "venue_klines", _ONE),
    _any("gateio_funding_rate", "venue_funding_history", _ONE),
    _any("gateio_all_funding_rates", "venue_funding", _PERPETUAL),
    _any("gateio_contract_stats", "venue_contract_stats", _ONE | {"interval": "period"}),
    _any("gateio_open_interest", "venue_open_interest", _PERPETUAL),
    _any("gateio_liquidations", "venue_liquidations", _ONE),
    _any("gateio_insurance_fund", "venue_insurance_fund", _PERPETUAL),
    _any("gateio_risk_limit_tiers", "venue_risk_limits", _ONE),
    of("gateio", "delivery", "gateio_delivery_contracts", "venue_instruments", ignored=_DATED),
    of("gateio", "delivery", "gateio_delivery_ticker", "venue_ticker", {"contract": "symbol"}, _DATED),
    _any("gateio_options_underlyings", "venue_option_underlyings"),
    _any("gateio_options_expirations", "venue_options_summary", {"underlying": "coin"}),
    _any("gateio_options_contracts", "venue_option_chain", {"underlying": "coin", "expiration": _EXPIRY}),
    _any("gateio_options_tickers", "venue_option_chain", {"underlying": "coin"}),
    of("gateio", "options", "gateio_options_underlying_ticker", "venue_index_price", {"underlying": "symbol"}),
    of("gateio", "options", "gateio_options_orderbook", "venue_orderbook", {"contract": "symbol", "limit": LEVELS}),
    _any("gateio_market_snapshot", "venue_snapshot", _PERPETUAL, symbol="BTC"),
    _any("gateio_top_movers", "venue_top_movers", _PERPETUAL),
    _any("gateio_full_analysis", "venue_analysis", _PERPETUAL, symbol="BTC"),
)
