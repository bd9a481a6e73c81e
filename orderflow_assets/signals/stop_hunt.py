"""Stop hunt: a run through an extreme of the hour that closes back inside, with the flow that such runs leave."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals import moves
from orderflow_assets.signals.inputs import DAY, NOW, Inputs, View
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, flag, words

_LIQUIDATED = "liquidations.total_liquidation_value"


def _runs(inputs: Inputs) -> tuple[Array, Array]:
    high, low, close = (inputs.day[f"bars.{name}"] for name in ("high", "low", "close"))
    return moves.pierced(high, low, close, inputs.outputs)


def _seen(inputs: Inputs) -> np.ndarray:
    return moves.judged(inputs.day["bars.close"], inputs.outputs)


def _pattern(inputs: Inputs) -> Array:
    above, below = _runs(inputs)
    return flag(_seen(inputs), np.isfinite(above) | np.isfinite(below))


def _recent(view: View) -> Array:
    value = view[_LIQUIDATED]
    total = view.filled()
    total[:, 2:] = value[:, 2:] + value[:, 1:-1] + value[:, :-2]
    return total


def _forced(inputs: Inputs) -> Array:
    recent = inputs.lately(_recent)
    return np.where(recent == 0, 0.0, inputs.rank(_recent, DAY))


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    above, below = (np.where(np.isfinite(since), since, np.inf) for since in _runs(inputs))
    return Conclusion({"hunted_side": words(_seen(inputs), "none", longs=below < above, shorts=above < below)})


STOP_HUNT_PROBABILITY = Signal(
    name="stop_hunt_probability",
    title="Stop hunt",
    kind="score",
    interpretation=(
        "0 none to 1 full resemblance to a run on resting stops followed by reversal. Intent cannot be seen in public "
        "data."
    ),
    interval="[0, 1]",
    inputs={
        "bars.high": DAY,
        "bars.low": DAY,
        "bars.close": DAY,
        _LIQUIDATED: DAY,
        "trades.sweep_detected": NOW,
        "orderbook.pull_wall_detected": NOW,
        "orderbook.push_wall_detected": NOW,
        "orderbook.add_cancel_ratio": NOW,
        "prices.price_efficiency": NOW,
    },
    components=(
        Component(
            "pattern",
            0.40,
            "1 where one of the last three bars traded beyond the high or low of the 60 bars before it, by half the "
            "mean true range of 14 bars at most, and the bar closed back inside; else 0; NULL where the bar did not "
            "trade or fewer than 30 of the 60 did",
            _pattern,
        ),
        Component(
            "forced_flow",
            0.15,
            "percent rank, in the previous 24 h, of the value liquidated in the last three bars; 0 where it is 0",
            _forced,
        ),
        Component("sweep", 0.15, "sweep_detected", lambda inputs: inputs.now["trades.sweep_detected"]),
        Component(
            "walls",
            0.15,
            "0.6 pull_wall_detected + 0.4 push_wall_detected",
            lambda inputs: (
                0.6 * inputs.now["orderbook.pull_wall_detected"] + 0.4 * inputs.now["orderbook.push_wall_detected"]
            ),
        ),
        Component(
            "withdrawal",
            0.10,
            "1 - 2 add_cancel_ratio, at least 0",
            lambda inputs: np.maximum(0, 1 - 2 * inputs.now["orderbook.add_cancel_ratio"]),
        ),
        Component(
            "inefficiency", 0.05, "1 - price_efficiency", lambda inputs: 1 - inputs.now["prices.price_efficiency"]
        ),
    ),
    event=Event(
        10,
        "within 10 min the mid takes back 80 % of the way from the close before the last three bars to their far end; "
        "told only of a run",
        "retracement",
    ),
    combine="fixed",
    fields=(
        Field(
            "hunted_side",
            "side",
            "longs where a low was pierced, shorts where a high was, the later run if both were",
            ("longs", "shorts", "none"),
        ),
    ),
    label="hunted_side",
    conclude=_conclude,
)
