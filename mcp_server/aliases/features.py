"""Names for views of one group of features."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_server.aliases.alias import MARKET, Alias

_VIEWS: Sequence[tuple[tuple[str, ...], str, tuple[str, ...]]] = (
    (("institutional_price_features", "get_price_features"), "prices", ()),
    (
        ("institutional_spread_dynamics", "get_spread_dynamics"),
        "prices",
        ("spread", "spread_bps", "spread_zscore", "spread_compression_velocity", "spread_expansion_spike"),
    ),
    (
        ("institutional_price_efficiency", "get_price_efficiency_metrics"),
        "prices",
        ("hurst_exponent", "price_efficiency", "tick_reversal_rate", "mid_price_entropy", "price_vs_vwap"),
    ),
    (("institutional_orderbook_features", "get_orderbook_features"), "orderbook", ()),
    (
        ("institutional_depth_imbalance", "get_depth_imbalance"),
        "orderbook",
        ("depth_imbalance_5", "depth_imbalance_10", "cumulative_depth_imbalance", "liquidity_gradient"),
    ),
    (
        ("institutional_wall_detection", "get_wall_detection"),
        "orderbook",
        (
            "pull_wall_detected",
            "push_wall_detected",
            "liquidity_persistence_score",
            "add_cancel_ratio",
            "support_strength",
            "resistance_strength",
        ),
    ),
    (("institutional_trade_features", "get_trade_features"), "trades", ()),
    (
        ("institutional_cvd_analysis", "get_cvd_analysis"),
        "trades",
        ("cvd", "cvd_delta", "cvd_slope", "cvd_zscore", "cvd_price_divergence", "buy_volume", "sell_volume"),
    ),
    (
        ("institutional_whale_detection", "get_whale_detection"),
        "trades",
        ("whale_trade_detected", "whale_volume_ratio", "avg_trade_size", "trade_size_stddev", "flow_toxicity"),
    ),
    (("institutional_funding_features", "get_funding_features"), "funding", ()),
    (
        ("institutional_funding_sentiment", "get_funding_sentiment"),
        "funding",
        (
            "funding_rate",
            "predicted_funding_rate",
            "funding_zscore",
            "funding_percentile",
            "funding_regime",
            "funding_regime_score",
        ),
    ),
    (("institutional_oi_features", "get_oi_features"), "oi", ()),
    (
        ("institutional_leverage_risk", "get_leverage_risk"),
        "oi",
        (
            "leverage_index",
            "leverage_zscore",
            "liquidation_cascade_risk",
            "long_short_ratio",
            "position_crowding_score",
            "position_intent",
        ),
    ),
    (("institutional_liquidation_features", "get_liquidation_features"), "liquidations", ()),
    (("institutional_mark_price_features", "get_mark_price_features"), "mark_prices", ()),
)
"""Names, the group and what of it; nothing for all."""

ALIASES = tuple(
    Alias(
        name,
        "features_get",
        given={"group": group} | ({"features": list(features)} if features else {}),
        renamed={"exchange": MARKET},
        defaults={"symbol": "BTCUSDT"},
    )
    for names, group, features in _VIEWS
    for name in names
)
