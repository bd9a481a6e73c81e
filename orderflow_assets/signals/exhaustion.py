"""Momentum exhaustion: a trend of four hours whose flow, positions, liquidations or funding turn."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, enough
from orderflow_assets.signals import moves
from orderflow_assets.signals.inputs import DAY, NOW, WEEK, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, flag, words

TREND, LEAST_SIGMAS = 240, 1.0
EXHAUSTED = 0.5
_HOUR = 60


def _trend(inputs: Inputs) -> Array:
    z = moves.scaled_return(inputs.day["bars.mid_close"], TREND, inputs.outputs)
    return np.where(np.abs(z) >= LEAST_SIGMAS, np.sign(z), np.nan)


def _flow_fade(inputs: Inputs) -> Array:
    slope = inputs.day["trades.cvd_slope"]
    earlier = slope[:, -inputs.outputs - _HOUR : slope.shape[1] - _HOUR]
    return clip(_trend(inputs) * (earlier - inputs.now["trades.cvd_slope"]), 0, 1)


def _unwind(inputs: Inputs) -> Array:
    past = inputs.baseline("oi.oi_momentum", WEEK)
    known = np.isfinite(past)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, past, 0).sum(axis=-1) / count
        variance = np.where(known, (past - mean[..., None]) ** 2, 0).sum(axis=-1) / (count - 1)
        sigma = np.where(enough(past) & (variance > 0), np.sqrt(variance), np.nan)
    return clip(-inputs.now["oi.oi_momentum"] / (3 * sigma), 0, 1)


def _climax(inputs: Inputs) -> Array:
    exhausted, imbalance = (
        inputs.now["liquidations.exhaustion_signal"],
        inputs.now["liquidations.liquidation_imbalance"],
    )
    against = np.nan_to_num(imbalance) * _trend(inputs) < 0
    return np.where(np.isfinite(exhausted), (exhausted > 0) & against, np.nan)


def _funding_turn(inputs: Inputs) -> Array:
    z, momentum, trend = inputs.now["funding.funding_zscore"], inputs.now["funding.funding_momentum"], _trend(inputs)
    known = np.isfinite(z) & np.isfinite(momentum)
    return flag(known, (np.sign(z) == trend) & (np.abs(z) > 2) & (momentum * trend < 0))


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    trend = _trend(inputs)
    value = np.where(np.isfinite(trend), combined.value, np.nan)
    known = np.isfinite(value)
    return Conclusion(
        {
            "exhaustion": flag(known, value > EXHAUSTED),
            "trend_direction": words(np.isfinite(trend), "bearish", bullish=trend > 0),
        },
        vote=np.where(value > EXHAUSTED, -trend, 0.0),
        value=value,
    )


MOMENTUM_EXHAUSTION = Signal(
    name="momentum_exhaustion",
    title="Momentum exhaustion",
    kind="score with trend side",
    interpretation="High: the trend of the last 4 h tires. Bearish for an uptrend, bullish for a downtrend.",
    interval="[0, 1]",
    inputs={
        "bars.mid_close": DAY,
        "trades.cvd_slope": DAY,
        "oi.oi_momentum": WEEK,
        "liquidations.exhaustion_signal": NOW,
        "liquidations.liquidation_imbalance": NOW,
        "funding.funding_zscore": NOW,
        "funding.funding_momentum": NOW,
    },
    components=(
        Component(
            "flow_fade",
            0.35,
            "d (cvd_slope one hour ago - cvd_slope) inside [0, 1], d the sign of the trend",
            _flow_fade,
        ),
        Component(
            "oi_unwind",
            0.25,
            "-oi_momentum over three of its standard deviations of the previous 7 days, by quarters of an hour, inside "
            "[0, 1]",
            _unwind,
        ),
        Component(
            "liquidation_climax",
            0.25,
            "1 where exhaustion_signal holds and longs were liquidated in a downtrend or shorts in an uptrend",
            _climax,
        ),
        Component(
            "funding_turn",
            0.15,
            "1 where funding_zscore lies beyond 2 with the trend and funding_momentum goes against it",
            _funding_turn,
        ),
    ),
    event=Event(
        240, "the next 4 h move against the trend by one standard deviation of 4 h or more", "reversal_probability"
    ),
    combine="fixed",
    fields=(
        Field("exhaustion", "flag", "the value is above 0.5"),
        Field(
            "trend_direction",
            "side",
            "the trend that tires: the sign of the 4 h log mid return where it reaches its standard deviation; NULL "
            "without one",
            ("bullish", "bearish"),
        ),
    ),
    label="trend_direction",
    vote="against trend_direction above 0.5, else undecided",
    conclude=_conclude,
)
