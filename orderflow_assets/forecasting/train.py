"""Trains the models of a series, judges them on bars they have not seen, and lets the winner serve.

The newest :attr:`Plan.held_out` of the bars is never trained on: the stored model is the one that was judged. A
champion is compared on those of the same origins that lie after its own training data.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from orderflow_assets.forecasting import conformal, fitting, skill
from orderflow_assets.forecasting.fitting import ModelError
from orderflow_assets.forecasting.frame import LOOKBACK, MIN_BARS, Frame, as_naive
from orderflow_assets.forecasting.held_out import HeldOut, hold_out
from orderflow_assets.forecasting.models import NAIVE, ModelSpec, candidates
from orderflow_assets.forecasting.registry import Registry, RegistryError, Training, Version
from orderflow_assets.forecasting.skill import Judgement, Rule
from orderflow_assets.forecasting.targets import TARGETS, Target

_REFERENCE = 1_000
"""Held-out errors kept with a version for drift detection."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. ``parameters`` override the declared hyper-parameters, by model name."""

    lookback: timedelta = LOOKBACK
    held_out: float = 0.3
    rule: Rule = field(default_factory=Rule)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """What training one model for one target came to. ``version`` is None where it was refused for ``reason``."""

    target: str
    model: str
    version: int | None
    reason: str
    seconds: float
    rows: int = 0
    sha256: str | None = None
    judgement: Judgement | None = None
    coverage: dict[str, float | None] = field(default_factory=dict)
    """Share of held-out outcomes inside the interval, by level and step: ``95_h1``."""
    held_out: HeldOut | None = None


def train_series(registry: Registry, frame: Frame, plan: Plan, by: str) -> Iterator[Trained]:
    """Train and judge every candidate of every target on one frame. Nothing serves yet: see :func:`settle`."""
    for target in TARGETS.values():
        for spec in candidates(target.name):
            yield train(registry, frame, target, spec, plan, by)


def train(registry: Registry, frame: Frame, target: Target, spec: ModelSpec, plan: Plan, by: str) -> Trained:
    """Train one model on the older bars, register it as challenger and judge it on the newer ones."""
    started = time.monotonic()
    series, present = frame.series.key, len(frame) - frame.missing
    if present < MIN_BARS:
        return Trained(target.name, spec.name, None, f"{present} bars, {MIN_BARS} are needed to train", 0.0)
    split = len(frame) - int(len(frame) * plan.held_out)
    known = frame.until(split)
    overrides = plan.parameters.get(spec.name, {})
    version = registry.begin(
        Training(
            series=series,
            target=target.name,
            model=spec.name,
            data_from=as_naive(known.times[0]),
            data_to=as_naive(known.times[-1]),
            rows=len(known) - known.missing,
            data_hash=known.digest(),
            code_version=spec.code_version,
            parameters=dict(spec.parameters) | overrides,
        ),
        by,
    )
    try:
        fitted = fitting.fit(spec, target, known, overrides)
        held_out = hold_out(fitted, frame, slice(split, len(frame)))
        errors = held_out.errors
        apart = errors[:: target.stride, 0]
        reference = apart[~np.isnan(apart)][-_REFERENCE:]
        sha256 = registry.complete(series, target.name, version, fitted.save, reference.tolist(), by)
        judgement = skill.judge(
            errors,
            held_out.naive_errors,
            _champion_errors(registry.champion(series, target.name), registry, frame, held_out),
            max(target.steps),
            plan.rule,
        )
        covered = _coverage(errors, target)
        seconds = time.monotonic() - started
        metrics = judgement.to_dict() | {
            "coverage": covered,
            "seconds": seconds,
            "columns": fitted.columns,
            "judged_to": as_naive(frame.times[-1]).isoformat(),
        }
        registry.record_judgement(
            series,
            target.name,
            version,
            metrics,
            won=judgement.verdict == "promote",
            reason=judgement.reason,
            by=by,
        )
    except ModelError as error:
        registry.fail(series, target.name, version, str(error), by)
        return Trained(target.name, spec.name, None, str(error), time.monotonic() - started)
    except Exception as error:
        registry.fail(series, target.name, version, f"training failed: {error}", by)
        raise
    return Trained(
        target.name,
        spec.name,
        version,
        judgement.reason,
        seconds,
        rows=len(known) - known.missing,
        sha256=sha256,
        judgement=judgement,
        coverage=covered,
        held_out=held_out,
    )


def settle(registry: Registry, series: str, target: str, by: str) -> tuple[str, int, str]:
    """Carry out the verdict on the challenger; returns the model that serves, its version and why.

    Promotes the challenger, keeps what serves, or demotes the champion so that naive serves.
    """
    challenger, champion = registry.challenger(series, target), registry.champion(series, target)
    if challenger is not None and challenger.metrics is not None:
        verdict, reason = challenger.metrics["verdict"], challenger.metrics["reason"]
        if verdict == "promote":
            registry.promote(series, target, challenger.version, by, reason)
            return challenger.model, challenger.version, reason
        if verdict == "demote" and champion is not None:
            registry.demote(series, target, by, reason)
            return NAIVE, 0, reason
    if champion is not None:
        return champion.model, champion.version, champion.reason or ""
    return NAIVE, 0, (challenger.reason or "not judged") if challenger else "no model has been trained"


def _champion_errors(
    champion: Version | None, registry: Registry, frame: Frame, held_out: HeldOut
) -> np.ndarray | None:
    """Errors of the champion at the held-out origins after its own training data.

    None without a champion, or where its stored model cannot be loaded: it does not serve then either.
    """
    if champion is None:
        return None
    try:
        fitted = fitting.load(registry.artefact(champion))
    except (RegistryError, ModelError):
        return None
    errors = hold_out(fitted, frame, held_out.origins).errors
    errors[frame.times[held_out.origins] <= np.datetime64(champion.data_to)] = np.nan
    return errors


def _coverage(errors: np.ndarray, target: Target) -> dict[str, float | None]:
    widths = conformal.half_widths(errors, target.steps)
    return {
        f"{level:.0%}".rstrip("%") + f"_h{step}": skill.coverage(errors[:, column], widths[:, column, place])
        for place, level in enumerate(conformal.LEVELS)
        for column, step in enumerate(target.steps)
        if step in (target.steps[0], target.steps[-1])
    }
