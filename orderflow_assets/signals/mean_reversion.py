"""Mean reversion: stretched price, funding, basis and flow, faded only where persistence statistics allow it."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, windows
from orderflow_assets.signals import moves
from orderflow_assets.signals.inputs import DAY, NOW, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, words

DECIDED, TRADED = 0.3, 0.0
REVERTING, PERSISTENT = 0.45, 0.55
_WINDOW, _HOUR = 240, 60


def gate(hurst: Array) -> Array:
    """1 below 0.45, a half up to 0.55, 0 above: how much of the evidence a market of this persistence allows."""
    allowed = np.where(hurst < REVERTING, 1.0, np.where(hurst <= PERSISTENT, 0.5, 0.0))
    return np.where(np.isfinite(hurst), allowed, np.nan)


def _scaled(feature: str, sign: int = 1) -> Component:
    weight = {"prices.mid_zscore": 0.40, "mark_prices.basis_zscore": 0.20, "trades.cvd_price_divergence": 0.20}[feature]
    name = {"prices.mid_zscore": "price", "mark_prices.basis_zscore": "basis"}.get(feature, "flow")
    short = feature.partition(".")[2]
    return Component(
        name,
        weight,
        f"{'-' if sign < 0 else ''}{short} / 3 inside [-1, 1]",
        lambda inputs: clip(sign * inputs.now[feature] / 3, -1, 1),
    )


def _reversion_pct(inputs: Inputs) -> Array:
    logged = np.log(inputs.day["bars.mid_close"])
    window = windows(logged, _WINDOW, inputs.outputs)
    count = np.isfinite(window).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        stretch = window[..., -1] - np.nansum(window, axis=-1) / count
    speed = moves.reversion(logged, _WINDOW, inputs.outputs)
    return 100 * np.abs(stretch) * (1 - np.exp(-speed * _HOUR))


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    stretched = combined.value * gate(inputs.now["prices.hurst_exponent"])
    strength, known = np.abs(stretched), np.isfinite(stretched)
    over, under = stretched > DECIDED, stretched < -DECIDED
    return Conclusion(
        {
            "signal": words(known, "NEUTRAL", OVERSOLD=under, OVERBOUGHT=over),
            "strength": strength,
            "expected_reversion_pct": _reversion_pct(inputs),
        },
        vote=np.where(under, 1.0, np.where(over, -1.0, 0.0)),
        value=strength,
    )


MEAN_REVERSION_SIGNAL = Signal(
    name="mean_reversion_signal",
    title="Mean reversion",
    kind="label with strength",
    interpretation=(
        "How stretched the market is, 0 where its returns persist. OVERSOLD speaks for a rise, OVERBOUGHT for a fall."
    ),
    interval="[0, 1]",
    inputs={
        "prices.mid_zscore": NOW,
        "prices.hurst_exponent": NOW,
        "funding.funding_percentile": NOW,
        "mark_prices.basis_zscore": NOW,
        "trades.cvd_price_divergence": NOW,
        "bars.mid_close": DAY,
    },
    components=(
        _scaled("prices.mid_zscore"),
        Component(
            "funding",
            0.20,
            "2 funding_percentile - 1",
            lambda inputs: 2 * inputs.now["funding.funding_percentile"] - 1,
        ),
        _scaled("mark_prices.basis_zscore"),
        _scaled("trades.cvd_price_divergence", -1),
    ),
    event=Event(
        60, "the next hour moves the mid against the stretch: up from OVERSOLD, down from OVERBOUGHT", directed=True
    ),
    fields=(
        Field(
            "signal",
            "label",
            "OVERBOUGHT where the mean of the components (positive: overbought), times 1 for hurst_exponent < 0.45, "
            "0.5 up to 0.55, 0 above, exceeds 0.3; OVERSOLD where it is below -0.3",
            ("OVERSOLD", "OVERBOUGHT", "NEUTRAL"),
        ),
        Field("strength", "1", "as the value"),
        Field(
            "expected_reversion_pct",
            "percent",
            "|ln mid less its 4 h mean| (1 - exp(-60 k)), k per minute from the regression of 1 min changes on levels "
            "over these 4 h, 0 where Dickey and Fuller's t is not below -2.86",
        ),
    ),
    label="signal",
    vote="up where OVERSOLD, down where OVERBOUGHT, else undecided",
    conclude=_conclude,
)
