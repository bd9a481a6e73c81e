"""Regime transition: the modelled chance that the state of hourly moves is another one a day from now.

The states, their probabilities and the way from one to another are those of ``analytics.regimes`` at step 1h. A series
with too few days for an hourly model has no value: over the 288 steps of a five-minute one any state is forgotten,
and what is left to leave it is the same number at every bar.
"""

from __future__ import annotations

import numpy as np

from orderflow_assets.analytics.regimes import STATES
from orderflow_assets.features.grid import Array
from orderflow_assets.signals.inputs import MONTH, NOW, Inputs, Reading, View
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Labels, Signal

VOTES_ABOVE = 0.5

_LONGEST_HOURS = 24 * 365.0
_VOTES = {"BULL": 1.0, "BEAR": -1.0, "RANGING": 0.0}


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    now, ahead = inputs.now["regimes.state"], inputs.now["regimes.predicted_state"]
    transition, stay = inputs.now["regimes.transition_probability"], inputs.now["regimes.expected_remaining_h"]
    fields: dict[str, Array | Labels] = {
        "current_regime": _named(now),
        "predicted_regime": _named(ahead),
        "transition_probability": transition,
        "timeframe_hours": np.where(stay < _LONGEST_HOURS, stay, np.nan),
    }
    heading = np.where(np.isfinite(ahead), np.array([_VOTES[name] for name in STATES])[_place(ahead)], np.nan)
    return Conclusion(
        fields,
        vote=np.where((transition > VOTES_ABOVE) & (now != ahead), heading, np.nan),
        value=transition,
        confidence=np.nan_to_num(inputs.now["regimes.confidence"]),
    )


def _place(state: Array) -> np.ndarray:
    return np.nan_to_num(state).astype(np.int64)


def _named(state: Array) -> Labels:
    names: Labels = np.array(STATES, dtype=object)[_place(state)]
    names[np.isnan(state)] = None
    return names


def _overlay(name: str, what: Reading) -> Component:
    shown = name if isinstance(what, str) else f"|{name}|"
    return Component(
        name,
        0.0,
        f"percent rank of {shown} in its previous 30 days, by full hours; reported, not part of the value",
        lambda inputs: inputs.rank(what, MONTH),
    )


def _funding(view: View) -> Array:
    return np.abs(view["funding.funding_zscore"])


REGIME_TRANSITION = Signal(
    name="regime_transition",
    title="Regime transition",
    kind="score with labels",
    interpretation=(
        "Model-based chance that the state of hourly moves 24 h from now is another than the most probable one now. "
        "Confidence is the filtered probability of that state. NULL for a series too young for an hourly model."
    ),
    interval="[0, 1]",
    inputs={
        "regimes.state": NOW,
        "regimes.predicted_state": NOW,
        "regimes.confidence": NOW,
        "regimes.transition_probability": NOW,
        "regimes.expected_remaining_h": NOW,
        "trades.flow_toxicity": MONTH,
        "funding.funding_zscore": MONTH,
        "oi.leverage_zscore": MONTH,
        "ticker.volatility_expansion_idx": MONTH,
    },
    components=(
        _overlay("flow_toxicity", "trades.flow_toxicity"),
        _overlay("funding_zscore", _funding),
        _overlay("leverage_zscore", "oi.leverage_zscore"),
        _overlay("volatility_expansion_idx", "ticker.volatility_expansion_idx"),
    ),
    event=Event(1440, "24 h later the filtered state is another one"),
    combine="own",
    weights="none",
    fields=(
        Field("current_regime", "label", "most probable filtered state at the last full hour", STATES),
        Field("predicted_regime", "label", "most probable state 24 h ahead", STATES),
        Field("transition_probability", "1", "as the value"),
        Field("timeframe_hours", "h", "expected stay in the current state, 1 / (1 - p); NULL beyond a year"),
    ),
    label="predicted_regime",
    vote="predicted_regime, where it differs from current_regime and the value is above 0.5",
    conclude=_conclude,
    assumptions=("the hourly model fitted at midnight holds for the day, and for the day after",),
)
