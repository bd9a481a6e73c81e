"""A model trained now on stored bars, judged on the newest of them, and asked for what comes next.

The newest :data:`HELD_OUT` bars are not trained on. The model forecasts from each of them; its errors there set the
intervals and say how good it is. What it forecasts from the last bar is the answer, so the model that answers is the
one that was judged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from orderflow_assets.forecasting import conformal, fitting, skill
from orderflow_assets.forecasting.frame import MIN_BARS, STEP, Frame, as_naive
from orderflow_assets.forecasting.held_out import HeldOut, hold_out
from orderflow_assets.forecasting.models import ModelError, ModelSpec, resolve
from orderflow_assets.forecasting.targets import Target

HELD_OUT = 288
"""Newest bars that are judged on: a day."""
LIGHT = ("naive", "regression", "local")
"""Adapters of models that train in seconds on a few thousand bars."""


def heavy(spec: ModelSpec) -> str | None:
    """Why a model is not trained while somebody waits for the answer; None where it can be."""
    if spec.adapter == "ensemble":
        parts = [name for name in spec.parameters["members"] if heavy(resolve(name))]
        return f"{spec.name} holds {', '.join(parts)}, which train for minutes" if parts else None
    if spec.adapter in LIGHT:
        return None
    return f"{spec.name} is a {spec.family} model, which takes longer to load or train than a call may"


@dataclass(frozen=True, slots=True)
class Step:
    """A forecast ``step`` bars ahead as levels; bounds by their share, None where too few errors are known."""

    step: int
    target_ts: datetime
    point: float
    bounds: Mapping[float, tuple[float, float] | None]


@dataclass(frozen=True, slots=True)
class Answered:
    """The forecast from ``origin``, and how the model did on the held-out bars before it.

    ``rmae`` is its mean error over naive's, below 1 better; ``p_better`` the chance of so large a gain if it were none
    (Diebold and Mariano). None where too little is known to say.
    """

    model: str
    origin: datetime
    last_value: float
    steps: tuple[Step, ...]
    trained_bars: int
    trained_to: datetime
    origins: int
    rmae: float | None
    p_better: float | None
    coverage: Mapping[float, float | None]
    seconds: float
    parameters: Mapping[str, Any]


def forecast(
    spec: ModelSpec,
    target: Target,
    frame: Frame,
    parameters: Mapping[str, Any] | None = None,
    budget_s: float | None = None,
) -> Answered:
    """Raises :class:`ModelError` where the bars are too few, the newest is unknown, or it would take too long."""
    started = time.monotonic()
    split = len(frame) - HELD_OUT
    if split - np.count_nonzero(np.isnan(frame.price[:split])) < MIN_BARS:
        raise ModelError(f"{len(frame)} bars are too few: {MIN_BARS} to train on and {HELD_OUT} to judge on are needed")
    anchor, last = target.anchor(frame), len(frame) - 1
    if np.isnan(anchor[last]) or np.isnan(frame.sigma[last]):
        raise ModelError(f"the bar of {as_naive(frame.times[last]):%Y-%m-%d %H:%M} UTC is not known whole")
    fitted = fitting.fit(spec, target, frame.until(split), parameters)
    _in_time(fitted, frame, split, budget_s, started)
    held = hold_out(fitted, frame, slice(split, len(frame)))
    if np.isnan(held.deviations[-1]).any():
        raise ModelError(f"{spec.name} needs {fitted.spec.lags + 1} bars without a gap before the newest")
    widths = conformal.half_widths(held.errors, target.steps)
    origins, rmae, p_better = _skill(held, target)
    return Answered(
        spec.name,
        as_naive(frame.times[last]),
        float(np.exp(anchor[last])),
        tuple(_steps(held, widths[-1], target, as_naive(frame.times[last]))),
        split,
        as_naive(frame.times[split - 1]),
        origins,
        rmae,
        p_better,
        {level: skill.coverage(held.errors, widths[..., place]) for place, level in enumerate(conformal.LEVELS)},
        time.monotonic() - started,
        dict(fitted.spec.parameters),
    )


def _in_time(fitted: fitting.Fitted, frame: Frame, split: int, budget_s: float | None, started: float) -> None:
    """Refuses to ask at every held-out bar where a few of them say that it takes too long."""
    if budget_s is None:
        return
    asked = slice(split, len(frame), HELD_OUT // 4)
    before = time.monotonic()
    answers = len(fitted.deviations(frame, asked))
    expected = (time.monotonic() - before) / answers * HELD_OUT
    left = budget_s - (time.monotonic() - started)
    if expected > left:
        raise ModelError(f"{fitted.spec.name} needs about {expected:.0f} s for {HELD_OUT} bars, {left:.0f} s are left")


def _steps(held: HeldOut, widths: np.ndarray, target: Target, origin: datetime) -> list[Step]:
    anchor, deviations, scales = held.anchor[-1], held.deviations[-1], held.scales[-1]
    steps = []
    for place, step in enumerate(target.steps):
        centre = anchor + deviations[place]
        bounds = {}
        for level, width in zip(conformal.LEVELS, widths[place] * scales[place], strict=True):
            bounds[level] = None if np.isnan(width) else (float(np.exp(centre - width)), float(np.exp(centre + width)))
        steps.append(Step(step, origin + step * STEP, float(np.exp(centre)), bounds))
    return steps


def _skill(held: HeldOut, target: Target) -> tuple[int, float | None, float | None]:
    """Origins whose outcomes are all known, mean error over naive's there, and its p-value."""
    known = ~np.isnan(held.errors).any(axis=1)
    if not known.any():
        return 0, None, None
    found = skill.compare(held.errors[known], held.naive_errors[known], max(target.steps))
    ratio, p_value = (None if np.isnan(value) else value for value in (found.ratio, found.p_better))
    return int(known.sum()), ratio, p_value
