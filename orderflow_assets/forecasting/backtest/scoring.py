"""All figures of one model at one step: its forecasts of the test part beside naive's and beside what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orderflow_assets.forecasting import conformal, skill
from orderflow_assets.forecasting.backtest import metrics
from orderflow_assets.forecasting.backtest.grades import grade
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.targets import Target

_COVERED = {f"coverage_{round(100 * level)}": metrics.LEVELS.index(level) for level in conformal.LEVELS}
_95 = metrics.LEVELS.index(0.95)


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened over the test part: one row per origin, one column per step, log units."""

    target: Target
    anchor: np.ndarray
    """Log of the naive forecast, ``(origins,)``."""
    outcome: np.ndarray
    scale: np.ndarray
    usual: np.ndarray
    """Mean absolute error of naive before the test part, in levels, ``(steps,)``."""

    @classmethod
    def of(cls, target: Target, frame: Frame, origins: slice) -> Truth:
        anchor, outcome = target.anchor(frame), target.outcomes(frame)
        usual = np.full(len(target.steps), np.nan)
        for column, step in enumerate(target.steps):
            before = slice(0, max(0, origins.start - step))
            missed = np.abs(np.exp(outcome[before, column]) - np.exp(anchor[before]))
            if not np.isnan(missed).all():
                usual[column] = np.nanmean(missed)
        return cls(target, anchor[origins], outcome[origins], target.scales(frame)[origins], usual)


@dataclass(frozen=True, slots=True)
class Scored:
    """Forecasts of one model with their errors and intervals, ``(origins, steps, …)``."""

    deviations: np.ndarray
    errors: np.ndarray
    """Outcome - forecast over the scale known at the origin."""
    widths: np.ndarray
    """Half-widths over scale of :data:`metrics.LEVELS`, each from errors known at the origin."""

    @classmethod
    def of(cls, truth: Truth, deviations: np.ndarray) -> Scored:
        errors = (truth.outcome - truth.anchor[:, None] - deviations) / truth.scale
        return cls(deviations, errors, conformal.half_widths(np.abs(errors), truth.target.steps, metrics.LEVELS))


def figures(truth: Truth, model: Scored, naive: Scored, column: int) -> dict[str, Any]:
    """Errors, direction and intervals of the step of ``column`` over the origins that model and naive share."""
    known = ~np.isnan(model.errors[:, column]) & ~np.isnan(naive.errors[:, column])
    step, origins = truth.target.steps[column], int(known.sum())
    found: dict[str, Any] = {"origins": origins, "folds": origins // step}
    if not origins:
        return found
    anchor, outcome = truth.anchor[known], truth.outcome[known, column]
    deviation = model.deviations[known, column]
    found |= metrics.errors(anchor, outcome, deviation)
    found["mase"] = found["mae"] / truth.usual[column] if truth.usual[column] > 0 else np.nan
    mine, other = np.abs(model.errors[known, column]), np.abs(naive.errors[known, column])
    found["rmae"] = mine.sum() / other.sum() if other.sum() > 0 else np.nan
    found["dm_statistic"], found["dm_p"] = skill.diebold_mariano(mine - other, step)
    found |= metrics.direction(deviation, outcome - anchor, step)
    return found | _intervals(model, naive, column)


def _intervals(model: Scored, naive: Scored, column: int) -> dict[str, Any]:
    known = ~np.isnan(model.errors[:, column]) & ~np.isnan(naive.errors[:, column])
    known &= ~np.isnan(model.widths[:, column, 0]) & ~np.isnan(naive.widths[:, column, 0])
    found: dict[str, Any] = {"coverage_origins": int(known.sum())}
    if not known.any():
        return found
    errors, widths = model.errors[known, column], model.widths[known, column]
    others, their_widths = naive.errors[known, column], naive.widths[known, column]
    found |= {name: float((np.abs(errors) <= widths[:, place]).mean()) for name, place in _COVERED.items()}
    score, their_score = metrics.crps(errors, widths), metrics.crps(others, their_widths)
    winkler = metrics.winkler(errors, widths[:, _95], 0.95)
    their_winkler = metrics.winkler(others, their_widths[:, _95], 0.95)
    return found | {
        "crps_ratio": score / their_score if their_score > 0 else np.nan,
        "winkler_ratio": winkler / their_winkler if their_winkler > 0 else np.nan,
    }


def reliability(scored: Scored, column: int) -> list[float]:
    """Share of outcomes inside the interval of each of :data:`metrics.LEVELS`; empty where none is stated."""
    errors, widths = np.abs(scored.errors[:, column]), scored.widths[:, column]
    known = ~np.isnan(errors) & ~np.isnan(widths[:, 0])
    return (errors[known, None] <= widths[known]).mean(axis=0).tolist() if known.any() else []


def graded(row: dict[str, Any], *, naive: bool) -> dict[str, str]:
    """Grade and reason for the figures in ``row``."""
    missed = [abs(row.get(name, np.nan) - metrics.LEVELS[place]) for name, place in _COVERED.items()]
    letter, reason = grade(
        row["origins"],
        row["folds"],
        row.get("rmae", np.nan),
        row.get("dm_p", np.nan),
        float(np.max(missed)),
        naive=naive,
    )
    return {"grade": letter, "reason": reason}
