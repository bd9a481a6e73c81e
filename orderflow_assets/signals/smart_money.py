"""Smart money index: how unusual the evidence of large or informed activity is."""

from __future__ import annotations

import numpy as np

from orderflow_assets.signals.signal import Component, Inputs, Sides, Signal

_DAY, _WEEK = 1440, 7 * 1440


def _side(inputs: Inputs) -> Sides:
    divergence = inputs.now("trades.cvd_price_divergence")
    side = np.full(divergence.shape, None, dtype=object)
    side[np.isfinite(divergence)] = "none"
    side[divergence > 1] = "sell"
    side[divergence < -1] = "buy"
    return side


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
        "orderbook.absorption_ratio": 0,
        "trades.whale_volume_ratio": _DAY,
        "trades.flow_toxicity": _WEEK,
        "trades.cvd_price_divergence": 0,
    },
    components=(
        Component(
            "absorption",
            0.25,
            "absorption_ratio",
            lambda inputs: inputs.now("orderbook.absorption_ratio"),
        ),
        Component(
            "whales",
            0.30,
            "percent rank of whale_volume_ratio in its previous 24 h",
            lambda inputs: inputs.rank("trades.whale_volume_ratio", _DAY),
        ),
        Component(
            "toxicity",
            0.20,
            "percent rank of flow_toxicity in its previous 7 days",
            lambda inputs: inputs.rank("trades.flow_toxicity", _WEEK),
        ),
        Component(
            "divergence",
            0.25,
            "|cvd_price_divergence| / 3, at most 1",
            lambda inputs: np.minimum(1, np.abs(inputs.now("trades.cvd_price_divergence")) / 3),
        ),
    ),
    side=_side,
)
