"""All signals, in the order they are evaluated: a signal comes after those it reads."""

from __future__ import annotations

from typing import Any

from orderflow_assets.signals.arbitrage import ARBITRAGE_OPPORTUNITY
from orderflow_assets.signals.breakout import VOLATILITY_BREAKOUT
from orderflow_assets.signals.cascade import LIQUIDATION_CASCADE_RISK
from orderflow_assets.signals.composite_risk import COMPOSITE_RISK
from orderflow_assets.signals.execution import EXECUTION_QUALITY
from orderflow_assets.signals.exhaustion import MOMENTUM_EXHAUSTION
from orderflow_assets.signals.institutional_phase import INSTITUTIONAL_PHASE
from orderflow_assets.signals.market_maker import MARKET_MAKER_ACTIVITY
from orderflow_assets.signals.mean_reversion import MEAN_REVERSION_SIGNAL
from orderflow_assets.signals.momentum_quality import MOMENTUM_QUALITY
from orderflow_assets.signals.regime_transition import REGIME_TRANSITION
from orderflow_assets.signals.signal import Signal
from orderflow_assets.signals.smart_money import SMART_MONEY_INDEX
from orderflow_assets.signals.smart_money_flow import SMART_MONEY_FLOW
from orderflow_assets.signals.squeeze import SQUEEZE_PROBABILITY
from orderflow_assets.signals.stop_hunt import STOP_HUNT_PROBABILITY
from orderflow_streaming.markets import UnknownNameError, suggestion

SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        SMART_MONEY_INDEX,
        SQUEEZE_PROBABILITY,
        STOP_HUNT_PROBABILITY,
        MOMENTUM_QUALITY,
        COMPOSITE_RISK,
        MARKET_MAKER_ACTIVITY,
        LIQUIDATION_CASCADE_RISK,
        INSTITUTIONAL_PHASE,
        VOLATILITY_BREAKOUT,
        MEAN_REVERSION_SIGNAL,
        MOMENTUM_EXHAUSTION,
        SMART_MONEY_FLOW,
        ARBITRAGE_OPPORTUNITY,
        REGIME_TRANSITION,
        EXECUTION_QUALITY,
    )
}


def signal(name: str) -> Signal:
    """The signal called ``name``; raises :class:`~orderflow_streaming.markets.UnknownNameError`."""
    try:
        return SIGNALS[name]
    except KeyError:
        hint = suggestion(name, list(SIGNALS))
        raise UnknownNameError(f"unknown signal {name!r}.{hint} Allowed: {', '.join(SIGNALS)}.") from None


def glossary() -> list[dict[str, Any]]:
    """A plain row per signal."""
    return [item.describe() for item in SIGNALS.values()]
