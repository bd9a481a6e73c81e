"""Composite risk: cascade, volatility, squeeze and stop hunt in one number."""

from __future__ import annotations

from orderflow_assets.signals.inputs import MONTH, NOW
from orderflow_assets.signals.signal import Component, Event, Signal

COMPOSITE_RISK = Signal(
    name="composite_risk",
    title="Composite risk",
    kind="score",
    interpretation="Above 0.6 reduce size, above 0.8 be defensive.",
    interval="[0, 1]",
    inputs={"oi.liquidation_cascade_risk": NOW, "ticker.realized_volatility": MONTH},
    after=("squeeze_probability", "stop_hunt_probability"),
    components=(
        Component(
            "cascade", 0.35, "oi.liquidation_cascade_risk", lambda inputs: inputs.now["oi.liquidation_cascade_risk"]
        ),
        Component(
            "volatility",
            0.30,
            "percent rank of realized_volatility in its previous 30 days, by full hours",
            lambda inputs: inputs.rank("ticker.realized_volatility", MONTH),
        ),
        Component(
            "squeeze",
            0.20,
            "squeeze_probability of the same bar",
            lambda inputs: inputs.evaluated["squeeze_probability"].value,
        ),
        Component(
            "stop_hunt",
            0.15,
            "stop_hunt_probability of the same bar",
            lambda inputs: inputs.evaluated["stop_hunt_probability"].value,
        ),
    ),
    event=Event(60, "the mid moves by two standard deviations of an hour or more, either way, within the next hour"),
)
