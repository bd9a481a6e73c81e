"""Names for pictures."""

from __future__ import annotations

from mcp_server.aliases.alias import MARKET, Alias, As, names

_BTC = {"symbol": "BTCUSDT"}
_OVERLAYS = ["microprice", "cvd", "depth_imbalance_5", "funding_rate", "composite_risk"]
_RISK = {"risk_score": "composite_risk"}


def _overlays(value: object) -> list[str]:
    return [_RISK.get(name, name) for name in names("overlays").convert(value)]


ALIASES = (
    *(
        Alias(
            name,
            "chart_candles",
            renamed={
                "exchange": MARKET,
                "timeframe": "interval",
                "periods": "bars",
                "overlays": As("overlays", _overlays),
            },
            defaults=_BTC | {"overlays": _OVERLAYS},
        )
        for name in ("viz_feature_candles", "get_feature_candles")
    ),
    *(
        Alias(
            name,
            "chart_liquidity",
            renamed={"exchange": MARKET, "depth_levels": "levels", "include_walls": "walls"},
            defaults=_BTC,
        )
        for name in ("viz_liquidity_heatmap", "get_liquidity_heatmap")
    ),
    *(
        Alias(name, "chart_signals", renamed={"exchange": MARKET, "include_alerts": "alerts"}, defaults=_BTC)
        for name in ("viz_signal_dashboard", "get_signal_dashboard")
    ),
    *(
        Alias(
            name,
            "chart_regimes",
            renamed={"exchange": MARKET, "include_history": "history", "include_transitions": "transitions"},
            defaults=_BTC,
        )
        for name in ("viz_regime_timeline", "get_regime_visualization")
    ),
    *(
        Alias(
            name,
            "chart_correlations",
            renamed={"exchange": MARKET, "feature_groups": names("groups"), "include_clusters": "clusters"},
            defaults=_BTC,
        )
        for name in ("viz_correlation_matrix", "get_correlation_matrix")
    ),
)
