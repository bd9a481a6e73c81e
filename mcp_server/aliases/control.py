"""Names for the state of the collection and for changing it."""

from __future__ import annotations

from typing import Any

from mcp_server.aliases.alias import MARKET, Alias, As
from orderflow_streaming.markets import MARKETS

_SCHEDULE = "Dagster's schedules say when: forecasts every five minutes, drift every ten, training once a day"


def _markets(exchanges: Any) -> list[str]:
    """All markets of the exchanges; what is no exchange is taken for a market."""
    named = [exchanges] if isinstance(exchanges, str) else list(exchanges)
    found = {name: [market.name for market in MARKETS.values() if market.exchange == name] for name in named}
    return [market for name, markets in found.items() for market in markets or [name]]


ALIASES = (
    Alias(
        "start_streaming",
        "collection_configure",
        renamed={"exchanges": As("markets", _markets)},
        ignored={"config_path": "the daemon reads its file when it starts: orderflow-stream run --config"},
    ),
    Alias("stop_streaming", "collection_stop", given={"market": "all"}),
    Alias("get_streaming_status", "streams_health", given={"response_format": "detailed"}),
    Alias("get_streaming_health", "streams_health"),
    Alias("get_streaming_alerts", "alerts_list", renamed={"level": As("level", lambda level: str(level).upper())}),
    Alias(
        "configure_streaming",
        "collection_configure",
        ignored={
            **dict.fromkeys(("forecast_interval", "drift_check_interval", "auto_retrain"), _SCHEDULE),
            "batch_size": "the daemon stores what has arrived, however much that is",
        },
    ),
    Alias("get_realtime_analytics_status", "tables_list"),
    Alias(
        "get_stream_forecast",
        "forecasts_get",
        renamed={"exchange": MARKET},
        ignored={"market_type": "an exchange stands for its futures; a market such as binance_spot says more"},
    ),
)
