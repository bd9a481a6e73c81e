"""Momentum quality: whether flow, positioning and book agree with the move of the last hour."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals import moves
from orderflow_assets.signals.inputs import DAY, NOW, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip

HOUR, LEAST_SIGMAS = 60, 0.5
CONFIRMED, CONTRADICTED = 0.6, 0.4


def _direction(inputs: Inputs) -> Array:
    z = moves.scaled_return(inputs.day["bars.mid_close"], HOUR, inputs.outputs)
    return np.where(np.abs(z) >= LEAST_SIGMAS, np.sign(z), np.nan)


def _agreeing(feature: str) -> Component:
    weight = {"trades.cvd_slope": 0.35, "oi.position_intent_score": 0.25, "orderbook.depth_imbalance_5": 0.20}[feature]
    name = {"trades.cvd_slope": "flow", "oi.position_intent_score": "positioning"}.get(feature, "book")
    return Component(
        name,
        weight,
        f"0.5 + 0.5 d {feature.partition('.')[2]}, d the sign of the move",
        lambda inputs: 0.5 + 0.5 * _direction(inputs) * inputs.now[feature],
    )


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    direction = _direction(inputs)
    confirmed = np.where(combined.value > CONFIRMED, direction, np.nan)
    vote = np.where(combined.value < CONTRADICTED, 0.0, confirmed)
    return Conclusion(
        {"direction": direction}, vote=vote, value=np.where(np.isfinite(direction), combined.value, np.nan)
    )


MOMENTUM_QUALITY = Signal(
    name="momentum_quality",
    title="Momentum quality",
    kind="trend agreement plus direction",
    interpretation=(
        "0.5 no support. Above 0.6 flow, positioning and book confirm the move of the last hour, below 0.4 they "
        "contradict it. NULL without a move."
    ),
    interval="[0, 1]",
    inputs={
        "bars.mid_close": DAY,
        "trades.cvd_slope": NOW,
        "oi.position_intent_score": NOW,
        "orderbook.depth_imbalance_5": NOW,
        "prices.variance_ratio": NOW,
    },
    components=(
        _agreeing("trades.cvd_slope"),
        _agreeing("oi.position_intent_score"),
        _agreeing("orderbook.depth_imbalance_5"),
        Component(
            "trendiness",
            0.20,
            "0.5 + (variance_ratio - 1) / 2 inside [0, 1]",
            lambda inputs: clip(0.5 + (inputs.now["prices.variance_ratio"] - 1) / 2, 0, 1),
        ),
    ),
    event=Event(60, "the next hour moves on in the direction of the last", directed=True),
    fields=(
        Field(
            "direction",
            "1",
            "1 up, -1 down: the sign of the 1 h log mid return where it reaches half its standard deviation, the root "
            "mean square 1 min return of the 24 h before times the root of 60",
        ),
    ),
    vote="direction above 0.6, undecided below 0.4, none in between",
    conclude=_conclude,
)
