"""Smart money flow: net direction of large and aggressive flow."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, rolling_sum
from orderflow_assets.signals.inputs import DAY, NOW, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, words

DECIDED = 0.2
_QUARTER = 15


def _aggression(inputs: Inputs) -> Array:
    return 0.5 * (2 * inputs.now["trades.aggressive_ratio"] - 1) + 0.5 * inputs.now["trades.cvd_slope"]


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    value = combined.value
    traded = rolling_sum(inputs.day["bars.quote_volume"], _QUARTER, inputs.outputs)
    return Conclusion(
        {
            "direction": words(np.isfinite(value), "NEUTRAL", BUYING=value > DECIDED, SELLING=value < -DECIDED),
            "strength": np.abs(value),
            "volume_estimate_quote": inputs.now["trades.whale_volume_ratio"] * traded,
        },
        vote=np.sign(value) * (np.abs(value) > DECIDED),
    )


SMART_MONEY_FLOW = Signal(
    name="smart_money_flow",
    title="Smart money flow",
    kind="directional",
    interpretation="-1 all selling to 1 all buying, by large and aggressive flow.",
    interval="[-1, 1]",
    inputs={
        "trades.signed_whale_ratio": NOW,
        "trades.whale_volume_ratio": NOW,
        "trades.aggressive_ratio": NOW,
        "trades.cvd_slope": NOW,
        "orderbook.depth_imbalance_5": NOW,
        "orderbook.depth_imbalance_10": NOW,
        "oi.position_intent_score": NOW,
        "bars.quote_volume": DAY,
    },
    components=(
        Component(
            "whales",
            0.40,
            "2 signed_whale_ratio inside [-1, 1]",
            lambda inputs: clip(2 * inputs.now["trades.signed_whale_ratio"], -1, 1),
        ),
        Component("aggression", 0.30, "0.5 (2 aggressive_ratio - 1) + 0.5 cvd_slope", _aggression),
        Component(
            "book",
            0.15,
            "mean of depth_imbalance_5 and depth_imbalance_10",
            lambda inputs: (inputs.now["orderbook.depth_imbalance_5"] + inputs.now["orderbook.depth_imbalance_10"]) / 2,
        ),
        Component("positioning", 0.15, "position_intent_score", lambda inputs: inputs.now["oi.position_intent_score"]),
    ),
    event=Event(60, "the mid moves in the direction of the flow over the next hour", directed=True),
    required=(("whales", "aggression"),),
    fields=(
        Field("direction", "direction", "BUYING above 0.2, SELLING below -0.2", ("BUYING", "SELLING", "NEUTRAL")),
        Field("strength", "1", "|value|"),
        Field("volume_estimate_quote", "quote ccy", "value traded by whales in the last 15 bars"),
    ),
    label="direction",
    vote="direction",
    conclude=_conclude,
)
