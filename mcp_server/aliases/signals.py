"""Names for one composite signal each, and for all of them together."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_server.aliases.alias import MARKET, Alias

_SIGNALS: Mapping[str, tuple[str, ...]] = {
    "smart_money_index": ("composite_smart_accumulation", "get_smart_accumulation_signal"),
    "smart_money_flow": ("composite_smart_money_flow", "get_smart_money_flow"),
    "squeeze_probability": ("composite_squeeze_probability", "get_short_squeeze_probability"),
    "stop_hunt_probability": ("composite_stop_hunt_detector", "get_stop_hunt_detector"),
    "momentum_quality": ("composite_momentum_quality", "get_momentum_quality_signal"),
    "momentum_exhaustion": ("composite_momentum_exhaustion", "get_momentum_exhaustion"),
    "market_maker_activity": ("composite_market_maker_activity", "get_market_maker_activity"),
    "liquidation_cascade_risk": ("composite_liquidation_cascade_risk", "get_liquidation_cascade_risk"),
    "institutional_phase": ("composite_institutional_phase", "get_institutional_phase"),
    "execution_quality": ("composite_execution_quality", "get_execution_quality"),
}
_TOGETHER = ("composite_aggregated_intelligence", "get_aggregated_intelligence")

ALIASES = (
    *(
        Alias(
            name, "signal_get", given={"signal": signal}, renamed={"exchange": MARKET}, defaults={"symbol": "BTCUSDT"}
        )
        for signal, names in _SIGNALS.items()
        for name in names
    ),
    *(
        Alias(
            name,
            "signals_aggregate_get",
            given={"response_format": "detailed"},
            renamed={"exchange": MARKET},
            defaults={"symbol": "BTCUSDT"},
        )
        for name in _TOGETHER
    ),
)
