"""What part each signal plays in the aggregate: category, weight, scale, and which others it repeats.

The weights are chosen, not estimated. This is the one table that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Scale = Literal["signed", "centred", "unsigned"]
"""Where nothing is said: 0 of [-1, 1], 0.5 of [0, 1], or 0 of [0, 1]."""


@dataclass(frozen=True, slots=True)
class Role:
    category: str
    weight: float
    scale: Scale = "unsigned"


ROLES: Mapping[str, Role] = {
    "smart_money_index": Role("flow", 1.2),
    "squeeze_probability": Role("structure", 1.1),
    "stop_hunt_probability": Role("risk", 0.9),
    "momentum_quality": Role("momentum", 1.3, "centred"),
    "composite_risk": Role("risk", 1.0),
    "market_maker_activity": Role("flow", 1.1),
    "liquidation_cascade_risk": Role("risk", 1.4),
    "institutional_phase": Role("flow", 1.3),
    "volatility_breakout": Role("timing", 1.2),
    "mean_reversion_signal": Role("timing", 1.0),
    "momentum_exhaustion": Role("momentum", 1.2),
    "smart_money_flow": Role("flow", 1.4, "signed"),
    "arbitrage_opportunity": Role("execution", 0.8),
    "regime_transition": Role("structure", 1.1),
    "execution_quality": Role("execution", 0.9),
}

CORRELATED: Mapping[str, tuple[str, ...]] = {
    "flow": ("smart_money_index", "smart_money_flow", "institutional_phase", "market_maker_activity"),
    "momentum": ("momentum_quality", "momentum_exhaustion", "volatility_breakout"),
    "risk": ("composite_risk", "liquidation_cascade_risk", "stop_hunt_probability"),
    "timing": ("mean_reversion_signal", "volatility_breakout"),
    "structure": ("squeeze_probability", "regime_transition"),
}
"""Signals that look at the same thing: within a group the lower ones count less. One in two groups keeps the lower."""

RISK_POINTS: Mapping[str, float] = {
    "risk category mean > 0.7": 0.3,
    "liquidation_cascade_risk > 0.7": 0.3,
    "stop_hunt_probability > 0.6": 0.2,
    "conflict CRITICAL": 0.3,
    "conflict SEVERE": 0.2,
    "momentum_exhaustion > 0.7": 0.15,
}
