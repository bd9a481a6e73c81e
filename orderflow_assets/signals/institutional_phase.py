"""Institutional phase: accumulation or distribution, where large flow, absorption, positioning and value agree."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals.inputs import LENGTH, WEEK, Inputs, View
from orderflow_assets.signals.signal import (
    LEAST_CONFIDENCE,
    Combined,
    Component,
    Conclusion,
    Event,
    Field,
    Signal,
    clip,
    words,
)

DECIDED = 0.2
PERSISTS = 9
"""Consecutive quarter-hour marks: two hours from the first to the last."""

_DAY_OF_MARKS = 96
_WEIGHTS = {"whale_flow": 0.35, "absorption": 0.25, "positioning": 0.25, "value_area": 0.15}


def evidence(view: View) -> dict[str, Array]:
    """Each piece between -1 (distribution) and 1 (accumulation)."""
    hourly_bps = 1e4 * np.sqrt(view["prices.realized_variance_1h"])
    with np.errstate(invalid="ignore", divide="ignore"):
        value_area = clip(-view["prices.price_vs_vwap"] / np.where(hourly_bps > 0, 2 * hourly_bps, np.nan), -1, 1)
    return {
        "whale_flow": clip(2 * view["trades.signed_whale_ratio"], -1, 1),
        "absorption": -np.sign(view["trades.aggressive_delta"]) * view["orderbook.absorption_ratio"],
        "positioning": view["oi.position_intent_score"] * np.minimum(1, np.abs(view["oi.oi_delta_pct"]) / 5),
        "value_area": value_area,
    }


def _net(view: View) -> Array:
    pieces = evidence(view)
    weights = np.array([_WEIGHTS[name] for name in pieces])[:, None, None]
    values = np.stack(list(pieces.values()))
    known = np.where(np.isfinite(values), weights, 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known >= LEAST_CONFIDENCE - 1e-12, np.nansum(values * weights, axis=0) / known, np.nan)


def lasting(marks: Array) -> Array:
    """Sign of the latest run of ``PERSISTS`` equal signs along the last axis, 0 without one; NaN marks end a run."""
    latest = np.zeros(marks.shape[:-1])
    for stop in range(PERSISTS, marks.shape[-1] + 1):
        run = marks[..., stop - PERSISTS : stop]
        steady = (run == run[..., -1:]).all(axis=-1)
        latest = np.where(steady, run[..., -1], latest)
    return latest


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    net = _net(inputs.week)
    signs = np.where(np.isfinite(net), np.sign(net) * (np.abs(net) > DECIDED), np.nan)
    past = inputs.marks[WEEK].windows(signs, LENGTH[WEEK])[..., -_DAY_OF_MARKS:]
    phase = np.where(np.isfinite(combined.value), lasting(past), np.nan)
    known, intensity = np.isfinite(phase), np.abs(combined.value)
    return Conclusion(
        {
            "phase": words(known, "NEUTRAL", ACCUMULATION=phase > 0, DISTRIBUTION=phase < 0),
            "intensity": intensity,
            "evidence": combined.value,
            "price_target_direction": words(known, "neutral", higher=phase > 0, lower=phase < 0),
        },
        vote=np.where(phase == 0, np.nan, phase),
        value=intensity,
    )


INSTITUTIONAL_PHASE = Signal(
    name="institutional_phase",
    title="Institutional phase",
    kind="label with intensity",
    interpretation=(
        "How strongly large flow, absorption, positioning and value point one way. The phase is a hypothesis about "
        "large holders that nobody can observe: test it as an event study."
    ),
    interval="[0, 1]",
    inputs={
        "trades.signed_whale_ratio": WEEK,
        "trades.aggressive_delta": WEEK,
        "orderbook.absorption_ratio": WEEK,
        "oi.position_intent_score": WEEK,
        "oi.oi_delta_pct": WEEK,
        "prices.price_vs_vwap": WEEK,
        "prices.realized_variance_1h": WEEK,
    },
    components=(
        Component(
            "whale_flow",
            0.35,
            "2 signed_whale_ratio inside [-1, 1]",
            lambda inputs: evidence(inputs.now)["whale_flow"],
        ),
        Component(
            "absorption",
            0.25,
            "absorption_ratio against the sign of aggressive_delta",
            lambda inputs: evidence(inputs.now)["absorption"],
        ),
        Component(
            "positioning",
            0.25,
            "position_intent_score times |oi_delta_pct| / 5, the latter at most 1",
            lambda inputs: evidence(inputs.now)["positioning"],
        ),
        Component(
            "value_area",
            0.15,
            "-price_vs_vwap over two standard deviations of an hour (root of realized_variance_1h) inside [-1, 1]",
            lambda inputs: evidence(inputs.now)["value_area"],
        ),
    ),
    event=Event(240, "the mid moves in the direction of the phase over the next 4 h", directed=True),
    fields=(
        Field(
            "phase",
            "phase",
            "sign of the evidence beyond 0.2 that last held at nine full quarters of an hour in a row, within the 24 h "
            "before; NEUTRAL where none did",
            ("ACCUMULATION", "DISTRIBUTION", "NEUTRAL"),
        ),
        Field("intensity", "1", "|evidence|, as the value"),
        Field("evidence", "1", "weighted mean of the components: positive accumulation, negative distribution"),
        Field("price_target_direction", "direction", "where the phase points", ("higher", "lower", "neutral")),
    ),
    label="phase",
    vote="up in ACCUMULATION, down in DISTRIBUTION, none in NEUTRAL",
    conclude=_conclude,
)
