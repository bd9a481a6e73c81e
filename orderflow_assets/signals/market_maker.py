"""Market maker activity: how intensely quotes are revised."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals.inputs import DAY, NOW, Inputs, View
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, words


def _walls(inputs: Inputs) -> Array:
    pull, push, bid, ask = (
        inputs.now[f"orderbook.{name}"]
        for name in ("pull_wall_detected", "push_wall_detected", "bid_wall_detected", "ask_wall_detected")
    )
    return (0.4 * np.maximum(pull, push) + 0.3 * np.maximum(bid, ask)) / 0.7


def _speed(view: View) -> Array:
    return np.abs(view["prices.spread_compression_velocity"])


def _spread(inputs: Inputs) -> Array:
    return np.minimum(1, 0.3 * np.abs(inputs.now["prices.spread_zscore"]) + 0.5 * inputs.rank(_speed, DAY))


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    value, near = combined.value, inputs.now["orderbook.depth_imbalance_5"]
    return Conclusion(
        {
            "activity_type": words(np.isfinite(value), "neutral", aggressive=value > 0.7, passive=value > 0.3),
            "inventory_bias": words(np.isfinite(near), "balanced", long=near > 0.2, short=near < -0.2),
        }
    )


MARKET_MAKER_ACTIVITY = Signal(
    name="market_maker_activity",
    title="Market maker activity",
    kind="unsigned intensity",
    interpretation="0 quiet to 1 extreme intensity of quote revision. No direction.",
    interval="[0, 1]",
    inputs={
        "orderbook.pull_wall_detected": NOW,
        "orderbook.push_wall_detected": NOW,
        "orderbook.bid_wall_detected": NOW,
        "orderbook.ask_wall_detected": NOW,
        "prices.spread_zscore": NOW,
        "prices.spread_compression_velocity": DAY,
        "orderbook.add_cancel_ratio": NOW,
        "orderbook.depth_imbalance_5": NOW,
        "orderbook.depth_imbalance_10": NOW,
    },
    components=(
        Component(
            "walls",
            0.30,
            "(0.4 max(pull_wall, push_wall) + 0.3 max(bid_wall, ask_wall)) / 0.7",
            _walls,
        ),
        Component(
            "spread_management",
            0.25,
            "0.3 |spread_zscore| + 0.5 times the percent rank of |spread_compression_velocity| in its previous 24 h, "
            "at most 1",
            _spread,
        ),
        Component(
            "quote_churn",
            0.25,
            "1 - 2 add_cancel_ratio, at least 0",
            lambda inputs: np.maximum(0, 1 - 2 * inputs.now["orderbook.add_cancel_ratio"]),
        ),
        Component(
            "inventory_skew",
            0.20,
            "2 |depth_imbalance_5 - depth_imbalance_10|, at most 1",
            lambda inputs: np.minimum(
                1,
                2 * np.abs(inputs.now["orderbook.depth_imbalance_5"] - inputs.now["orderbook.depth_imbalance_10"]),
            ),
        ),
    ),
    event=Event(60, "the mid moves by one standard deviation of an hour or more, either way, within the next hour"),
    combine="fixed",
    fields=(
        Field(
            "activity_type",
            "kind",
            "aggressive above 0.7, passive above 0.3, else neutral",
            ("aggressive", "passive", "neutral"),
        ),
        Field(
            "inventory_bias",
            "side",
            "long where depth_imbalance_5 > 0.2, short where < -0.2: a skew of the quotes, the inventory is inferred",
            ("long", "short", "balanced"),
        ),
    ),
    label="activity_type",
    conclude=_conclude,
)
