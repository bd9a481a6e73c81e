"""Names for stored history, and for the newest rows beside it."""

from __future__ import annotations

from mcp_server.aliases.alias import Alias, As, back

_BTC = {"symbol": "BTCUSDT"}
_WINDOWS = [5, 15, 60, 240, 1_440]
"""Minutes that a price is compared with to see whether it stands out."""


def _whole(value: object) -> int:
    number = float(str(value))
    if not number.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(number)


def _seconds(minutes: object) -> int:
    return _whole(round(60 * float(str(minutes)), 3))


def _stream(name: str, stream: str, unit: str, least: str, **defaults: object) -> Alias:
    """A name for the rows of one stream, back from now by a number of minutes or hours."""
    return Alias(
        name,
        "history_get",
        given={"stream": stream},
        renamed={unit: back("m" if unit == "minutes" else "h")},
        defaults=_BTC | {"start": least} | defaults,
    )


ALIASES = (
    *(
        _stream(name, "prices", "minutes", "60m", market_type="futures", limit=1_000)
        for name in ("get_historical_price_data", "query_historical_prices")
    ),
    _stream("get_historical_trade_data", "trades", "minutes", "60m", market_type="futures", limit=500),
    *(
        _stream(name, "funding_rates", "hours", "24h")
        for name in ("get_historical_funding_data", "query_historical_funding")
    ),
    _stream("get_historical_liquidation_data", "liquidations", "hours", "24h", min_value=10_000),
    *(_stream(name, "open_interest", "hours", "24h") for name in ("get_historical_oi_data", "query_historical_oi")),
    Alias("get_database_statistics", "tables_list"),
    Alias(
        "query_historical_analytics",
        "history_aggregate",
        renamed={"query_type": "view", "aggregation": "interval", "hours": back("h")},
        defaults=_BTC | {"exchange": "binance", "market_type": "futures"},
    ),
    Alias(
        "aggregate_by_timeframe",
        "history_aggregate",
        given={"view": "price_ohlc"},
        renamed={"timeframe": "interval"},
        defaults=_BTC,
    ),
    Alias("export_to_csv", "table_export", given={"format": "csv"}),
    Alias(
        "get_full_market_snapshot",
        "market_snapshot_get",
        renamed={"include_historical": "history", "historical_minutes": "minutes"},
        defaults=_BTC,
    ),
    Alias(
        "get_price_with_historical_context",
        "price_context_get",
        renamed={"historical_minutes": As("minutes", lambda value: [_whole(value)])},
        defaults=_BTC | {"exchange": "binance", "market_type": "futures", "minutes": [30]},
    ),
    Alias(
        "detect_price_anomalies",
        "price_context_get",
        given={"minutes": _WINDOWS},
        defaults=_BTC | {"exchange": "binance", "market_type": "futures"},
    ),
    Alias(
        "analyze_funding_arbitrage",
        "calculate_funding_arbitrage",
        renamed={"historical_hours": As("hours", _whole)},
        defaults=_BTC | {"hours": 24},
    ),
    Alias(
        "get_liquidation_heatmap_analysis",
        "liquidation_map_get",
        renamed={"hours": back("h")},
        defaults=_BTC,
    ),
    Alias("stream_and_analyze", "market_analyze", renamed={"duration": "seconds"}, defaults=_BTC | {"seconds": 30}),
    Alias("quick_analyze", "market_analyze", given={"seconds": 10}, defaults=_BTC),
    Alias(
        "analyze_for_duration",
        "market_analyze",
        renamed={"minutes": As("seconds", _seconds)},
        ignored={"focus": "the answer always has price, flow, regime and bias"},
        defaults=_BTC | {"seconds": 60},
    ),
)
