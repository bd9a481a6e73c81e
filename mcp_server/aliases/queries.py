"""Names for the features of several groups together."""

from __future__ import annotations

from mcp_server.aliases.alias import MARKET, Alias, back, names

_BTC = {"symbol": "BTCUSDT"}
_BACK = {"exchange": MARKET, "lookback_minutes": back("m")}

ALIASES = (
    *(
        Alias(
            name,
            "features_query",
            renamed={**_BACK, "feature_type": names("groups"), "columns": names("features")},
            defaults=_BTC | {"start": "60m", "limit": 100},
        )
        for name in ("query_features", "query_historical_features")
    ),
    *(
        Alias(
            name,
            "features_export",
            given={"format": "csv"},
            renamed={**_BACK, "feature_types": names("groups")},
            defaults=_BTC,
        )
        for name in ("export_features_to_csv", "export_features_csv")
    ),
    *(
        Alias(name, "feature_statistics_get", renamed={**_BACK, "feature_type": names("groups")}, defaults=_BTC)
        for name in ("get_feature_stats", "get_feature_statistics")
    ),
    *(
        Alias(name, "feature_correlations_get", renamed={**_BACK, "feature_types": names("groups")}, defaults=_BTC)
        for name in ("analyze_feature_correlations", "get_feature_correlation_analysis")
    ),
)
