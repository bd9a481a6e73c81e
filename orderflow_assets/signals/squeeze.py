"""Squeeze: pressure for a forced move against the crowded side."""

from __future__ import annotations

import numpy as np

from orderflow_assets.signals.inputs import NOW, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, words

VOTES_ABOVE = 0.6


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    regime, ratio = inputs.now["funding.funding_regime_score"], inputs.now["oi.long_short_ratio"]
    with np.errstate(invalid="ignore", divide="ignore"):
        accounts = np.sign(np.log(ratio))
    crowded = np.where(np.nan_to_num(regime) != 0, np.sign(regime), accounts)
    crowded = np.where(np.isnan(crowded) & np.isfinite(regime), 0.0, crowded)
    side = words(np.isfinite(crowded), "none", down=crowded > 0, up=crowded < 0)
    return Conclusion({"squeeze_side": side}, vote=np.where(combined.value > VOTES_ABOVE, -crowded, 0.0))


SQUEEZE_PROBABILITY = Signal(
    name="squeeze_probability",
    title="Squeeze",
    kind="score with side",
    interpretation="0 none to 1 extreme pressure for a forced move against the crowded side.",
    interval="[0, 1]",
    inputs={
        "funding.funding_zscore": NOW,
        "funding.funding_regime_score": NOW,
        "oi.leverage_zscore": NOW,
        "oi.position_crowding_score": NOW,
        "oi.long_short_ratio": NOW,
        "ticker.volatility_compression_idx": NOW,
    },
    components=(
        Component(
            "funding_extreme",
            0.30,
            "|funding_zscore| / 3, at most 1",
            lambda inputs: np.minimum(1, np.abs(inputs.now["funding.funding_zscore"]) / 3),
        ),
        Component(
            "leverage",
            0.25,
            "leverage_zscore / 2 inside [0, 1]: only high leverage counts",
            lambda inputs: clip(inputs.now["oi.leverage_zscore"] / 2, 0, 1),
        ),
        Component("crowding", 0.25, "position_crowding_score", lambda inputs: inputs.now["oi.position_crowding_score"]),
        Component(
            "compression",
            0.20,
            "volatility_compression_idx",
            lambda inputs: inputs.now["ticker.volatility_compression_idx"],
        ),
    ),
    event=Event(
        240,
        "within 4 h the mid moves by three standard deviations of 4 h or more to squeeze_side, and the liquidations of "
        "the crowded side over these 4 h reach the top 5 % of such sums of the 7 d before",
        "squeeze",
    ),
    required=(("funding_extreme",), ("leverage", "crowding", "compression")),
    fields=(
        Field(
            "squeeze_side",
            "direction",
            "down where longs are crowded, up where shorts are: the sign of funding_regime_score, where that is 0 the "
            "sign of ln long_short_ratio",
            ("up", "down", "none"),
        ),
    ),
    label="squeeze_side",
    vote="squeeze_side, where the value is above 0.6",
    conclude=_conclude,
)
