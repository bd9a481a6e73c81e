"""Regime transition: the modelled chance that the state of hourly returns is another one a day from now."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals.inputs import MONTH, Inputs, Reading, View
from orderflow_assets.signals.regime_models import STATES
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Labels, Signal
from orderflow_assets.timeseries import regimes

AHEAD_HOURS, FILTER_HOURS = 24, 720
VOTES_ABOVE = 0.5

_DAY_US = 86_400_000_000
_LONGEST_HOURS = 24 * 365.0
_VOTES = {"BULL": 1.0, "BEAR": -1.0, "RANGING": 0.0}


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    transition, confidence, duration, change = np.full((4, *inputs.shape), np.nan)
    current, predicted = np.full((2, *inputs.shape), None, dtype=object)
    through = inputs.marks[MONTH].through
    for mark in sorted(set(through.tolist())):
        bars = np.flatnonzero(through == mark)
        rows, shares, models = _filtered(inputs, mark)
        if not len(rows):
            continue
        place = np.ix_(rows, bars)
        now, ahead = shares.argmax(axis=-1), regimes.ahead(shares[:, None], models, AHEAD_HOURS)[:, 0].argmax(axis=-1)
        leaving = regimes.leaving(shares[:, None], models, AHEAD_HOURS)[:, 0]
        stay = np.take_along_axis(np.diagonal(models, axis1=1, axis2=2), now[:, None], axis=1)[:, 0]
        with np.errstate(divide="ignore"):
            hours = 1 / (1 - stay)
        transition[place] = leaving[:, None]
        confidence[place] = shares.max(axis=-1)[:, None]
        duration[place] = np.where(hours < _LONGEST_HOURS, hours, np.nan)[:, None]
        names = np.array(STATES, dtype=object)
        current[place], predicted[place] = names[now][:, None], names[ahead][:, None]
        heading = np.array([_VOTES[name] for name in names[ahead]])
        change[place] = np.where(now != ahead, heading, np.nan)[:, None]
    fields: dict[str, Array | Labels] = {
        "current_regime": current,
        "predicted_regime": predicted,
        "transition_probability": transition,
        "timeframe_hours": duration,
    }
    return Conclusion(
        fields,
        vote=np.where(transition > VOTES_ABOVE, change, np.nan),
        value=transition,
        confidence=np.nan_to_num(confidence),
    )


def _filtered(inputs: Inputs, mark: int) -> tuple[np.ndarray, Array, Array]:
    """Series with a model, the shares of their states after the full hour before ``mark``, and transition matrices."""
    logged = np.log(inputs.month["bars.mid_close"])
    midnight = int((inputs.month_us[mark - 1] - 1) // _DAY_US * _DAY_US)
    known = [
        (row, model)
        for row, identity in enumerate(inputs.series)
        if (model := inputs.regimes.get((identity, midnight))) and np.isfinite(logged[row, mark - 1])
    ]
    if not known:
        return np.zeros(0, np.int64), np.zeros((0, len(STATES))), np.zeros((0, len(STATES), len(STATES)))
    returns = np.diff(logged[:, mark - FILTER_HOURS - 1 : mark], axis=1)
    density = np.stack([regimes.log_density(model, returns[row][:, None]) for row, model in known])
    start, transition = (np.stack([getattr(model, name) for _, model in known]) for name in ("start", "transition"))
    shares = regimes.filtered(start, transition, density)[:, -1]
    return np.array([row for row, _ in known]), shares, transition


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
        "Model-based chance that the state of hourly returns 24 h from now is another than the most probable one now. "
        "Confidence is the filtered probability of that state."
    ),
    interval="[0, 1]",
    inputs={
        "bars.mid_close": MONTH,
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
    assumptions=("the last 720 hourly returns tell the state; earlier ones are forgotten by then",),
)
