"""Names for the analytics and the calculators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp_server.aliases.alias import MARKET, Alias, As

_SYMBOL = {"symbol": "BTCUSDT"}
_ONE = {"symbol": "BTCUSDT", "limit": 1}
_ALL_VENUES = "the figures are over all venues of the symbol"
_STORED = "the figure is measured on stored data, not made of numbers that are sent"


def _measured(names: Sequence[str]) -> Mapping[str, str]:
    return dict.fromkeys(names, _STORED)


def _offline(value: Any) -> Any:
    return "pelt" if value == "bocpd" else value


ALIASES = (
    Alias(
        "get_market_intelligence",
        "market_summary_get",
        ignored={"layers": "the summary rests on all layers; each has a tool of its own"},
        defaults=_SYMBOL,
    ),
    Alias("get_institutional_pressure", "alpha_get", given={"response_format": "detailed"}, defaults=_ONE),
    Alias("get_squeeze_probability", "alpha_get", given={"response_format": "detailed"}, defaults=_ONE),
    Alias("get_market_regime", "regime_get", renamed={"exchange": MARKET}, defaults=_ONE),
    Alias("get_liquidity_analysis", "order_flow_get", defaults=_ONE),
    Alias("get_leverage_analysis", "leverage_get", defaults=_ONE),
    Alias("get_cross_exchange_analysis", "cross_exchange_spreads_get", defaults=_ONE),
    Alias("get_analytics_summary", "tables_list", given={"schema_name": "analytics"}),
    Alias(
        "compute_alpha_signals",
        "alpha_get",
        given={"response_format": "detailed"},
        ignored={
            "exchange": _ALL_VENUES,
            **dict.fromkeys(
                ("include_pressure", "include_squeeze", "include_absorption"),
                "pressure, squeeze and absorption all come",
            ),
        },
        defaults={"limit": 1},
    ),
    Alias(
        "compute_squeeze_probability",
        "signal_get",
        given={"signal": "squeeze_probability"},
        ignored=_measured(
            ("funding_rate", "oi_concentration", "recent_volatility", "price_distance_from_liquidations")
        ),
        defaults={"limit": 1},
    ),
    Alias(
        "analyze_leverage_positioning",
        "features_get",
        given={"group": "oi"},
        renamed={"exchange": MARKET},
        defaults={"limit": 1},
    ),
    Alias(
        "compute_oi_flow_decomposition",
        "position_intent_of",
        ignored={"symbol": "the quadrants are the same for every symbol"},
    ),
    Alias(
        "compute_funding_stress",
        "funding_annualize",
        renamed={"funding_rate_history": "history"},
        ignored={"symbol": "the formula is the same for every symbol"},
    ),
    Alias(
        "detect_market_regime",
        "regime_get",
        renamed={"exchange": MARKET},
        ignored=_measured(("volatility", "trend_strength", "volume_profile", "orderbook_imbalance")),
        defaults={"limit": 1},
    ),
    Alias(
        "detect_event_risk",
        "regime_get",
        given={"view": "event_risk"},
        renamed={"exchange": MARKET},
        ignored=_measured(("oi_change_1h", "volume_spike", "funding_deviation", "liquidation_volume")),
        defaults={"limit": 1},
    ),
    Alias(
        "identify_volatility_regime",
        "regime_get",
        given={"view": "volatility"},
        renamed={"exchange": MARKET},
        defaults=_ONE,
    ),
    Alias("analyze_seasonality", "series_seasonality", renamed={"exchange": MARKET}, defaults=_SYMBOL),
    Alias("analyze_trade_imbalance", "trade_flow_get", renamed={"exchange": MARKET}),
    Alias("compute_volume_profile", "volume_profile_get", renamed={"exchange": MARKET}, defaults=_SYMBOL),
    Alias("detect_anomalies", "values_anomalies", defaults={"baseline": 20}),
    Alias(
        "detect_changepoints",
        "values_change_points",
        renamed={"method": As("method", _offline), "min_segment_length": "min_size"},
    ),
    Alias("list_feature_calculators", "calculators_list"),
)
