"""Smart money index: how unusual the evidence of large or informed activity is."""

from __future__ import annotations

import numpy as np

from orderflow_assets.signals.inputs import DAY, NOW, WEEK, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, words

_DIVERGENCE = "trades.cvd_price_divergence"


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    divergence = inputs.now[_DIVERGENCE]
    return Conclusion({"side": words(np.isfinite(divergence), "none", sell=divergence > 1, buy=divergence < -1)})


SMART_MONEY_INDEX = Signal(
    name="smart_money_index",
    title="Smart money index",
    kind="unsigned intensity",
    interpretation=(
        "0 ordinary to 1 extreme evidence of large or informed activity; bands at 0.2, 0.4, 0.6, 0.8. No direction by "
        "itself: side names who absorbs, sell where buyers are absorbed, buy where sellers are."
    ),
    interval="[0, 1]",
    inputs={
        "orderbook.absorption_ratio": NOW,
        "trades.whale_volume_ratio": DAY,
        "trades.flow_toxicity": WEEK,
        _DIVERGENCE: NOW,
    },
    components=(
        Component("absorption", 0.25, "absorption_ratio", lambda inputs: inputs.now["orderbook.absorption_ratio"]),
        Component(
            "whales",
            0.30,
            "percent rank of whale_volume_ratio in its previous 24 h",
            lambda inputs: inputs.rank("trades.whale_volume_ratio", DAY),
        ),
        Component(
            "toxicity",
            0.20,
            "percent rank of flow_toxicity in its previous 7 days, by quarters of an hour",
            lambda inputs: inputs.rank("trades.flow_toxicity", WEEK),
        ),
        Component(
            "divergence",
            0.25,
            "|cvd_price_divergence| / 3, at most 1",
            lambda inputs: np.minimum(1, np.abs(inputs.now[_DIVERGENCE]) / 3),
        ),
    ),
    event=Event(60, "the mid moves by one standard deviation of an hour or more, either way, within the next hour"),
    fields=(
        Field(
            "side",
            "side",
            "who absorbs: sell where cvd_price_divergence > 1 (buyers are absorbed), buy where < -1",
            ("sell", "buy", "none"),
        ),
    ),
    label="side",
    conclude=_conclude,
)
