"""Trains the models of a series, judges them on bars they have not seen, and lets the winner serve.

The newest :attr:`Plan.held_out` of the bars is never trained on: the stored model is the one that was judged. All
models of a target are judged on the same bars; the best of them challenges the champion, which is compared on those of
the origins that lie after its own training data. The best of several looks better than it is, so the p-value that is
asked of it is divided by their number (Bonferroni).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import packages_distributions, version
from math import ceil
from typing import Any

import numpy as np

from orderflow_assets.forecasting import conformal, costs, fitting, skill
from orderflow_assets.forecasting.fitting import Fitted, ModelError
from orderflow_assets.forecasting.frame import LOOKBACK, MIN_BARS, Frame, as_naive
from orderflow_assets.forecasting.held_out import HeldOut, hold_out
from orderflow_assets.forecasting.models import NAIVE, ModelSpec, candidates, resolve
from orderflow_assets.forecasting.registry import Registry, RegistryError, Timings, Training, Version
from orderflow_assets.forecasting.skill import Judgement, Rule
from orderflow_assets.forecasting.spaces import SPACES
from orderflow_assets.forecasting.targets import TARGETS, Target
from orderflow_assets.forecasting.versions import StepSkill
from orderflow_assets.sources import fingerprint

_REFERENCE = 1_000
"""Held-out errors kept with a version for drift detection."""
_SAMPLE = 5
"""Origins asked to learn what one more origin takes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. ``parameters`` override the declared hyper-parameters, by model name.

    ``models`` are trained instead of the declared ones. After ``max_seconds`` no further model of the series is begun.
    With ``tuning_trials`` the models that have a search space are tuned first, on the bars that they are trained on.
    """

    lookback: timedelta = LOOKBACK
    held_out: float = 0.3
    rule: Rule = field(default_factory=Rule)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    max_seconds: float = 240.0
    tuning_trials: int = 0

    def specs(self, target: str) -> list[ModelSpec]:
        """What is trained for a target. Raises :class:`ModelError` for a name that is not declared."""
        named = [resolve(name) for name in self.models]
        return [spec for spec in named if target in spec.targets] if named else candidates(target)


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
    steps: tuple[StepSkill, ...] = ()
    held_out: HeldOut | None = None
    columns: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Held-out errors over naive's; infinite where nothing was judged."""
        against = self.judgement.against_naive if self.judgement else None
        return against.ratio if against and np.isfinite(against.ratio) else np.inf

    @property
    def coverage(self) -> dict[str, float | None]:
        """Share of held-out outcomes inside the interval, by level and step: ``95_h1``; first and last step."""
        ends = (self.steps[0], self.steps[-1]) if self.steps else ()
        return {
            f"{level}_h{step.step}": share
            for step in ends
            for level, share in (("80", step.coverage_80), ("95", step.coverage_95))
        }


def train_series(registry: Registry, frame: Frame, plan: Plan, by: str) -> Iterator[Trained]:
    """Train and judge the models of every target on one frame, alone in the world for this series.

    Nothing serves yet: see :func:`settle`. Raises :class:`RegistryError` where another process trains the series, and
    :class:`ModelError` where the plan names a model that is not declared.
    """
    wanted = {target.name: plan.specs(target.name) for target in TARGETS.values()}
    deadline = time.monotonic() + plan.max_seconds
    with registry.training(frame.series.key, by):
        for target in TARGETS.values():
            yield from train_target(registry, frame, target, wanted[target.name], plan, by, deadline)
        registry.prune(frame.series.key)


def train_target(
    registry: Registry,
    frame: Frame,
    target: Target,
    specs: list[ModelSpec],
    plan: Plan,
    by: str,
    deadline: float | None = None,
) -> list[Trained]:
    """Train ``specs`` on the older bars, judge them on the newer ones and let the best challenge the champion.

    ``deadline`` is a monotonic time after which no model is begun.
    """
    series, present = frame.series.key, len(frame) - frame.missing
    if present < MIN_BARS:
        reason = f"{present} bars, {MIN_BARS} are needed to train"
        return [Trained(target.name, spec.name, None, reason, 0.0) for spec in specs]
    deadline = time.monotonic() + plan.max_seconds if deadline is None else deadline
    trained = []
    ordered = _longest_waiting_first(registry, series, target.name, specs)
    for place, spec in enumerate(ordered):
        left = deadline - time.monotonic()
        refusal = _no_time(registry, spec, target, int(len(frame) * (1 - plan.held_out)), left, plan.max_seconds)
        if refusal:
            trained.append(Trained(target.name, spec.name, None, refusal, 0.0))
        else:
            trained.append(_train(registry, frame, target, spec, plan, by, left / (len(ordered) - place)))
    return _judge(registry, frame, target, trained, plan, by)


def _longest_waiting_first(registry: Registry, series: str, target: str, specs: list[ModelSpec]) -> list[ModelSpec]:
    """The champion's model first, then whichever was not trained for longest, so that a time limit starves none."""
    champion = registry.champion(series, target)
    last = {found.model: found.trained_at for found in registry.versions(series) if found.target == target}
    return sorted(
        specs,
        key=lambda spec: (champion is None or champion.model != spec.name, last.get(spec.name, datetime.min)),  # noqa: DTZ901
    )


def _no_time(registry: Registry, spec: ModelSpec, target: Target, bars: int, left: float, limit: float) -> str | None:
    """Why a model is not begun with ``left`` seconds."""
    if left <= 0:
        return f"not tried: the {limit:g} s for this series were used up"
    device = "gpu" if spec.gpu and costs.gpus() else "cpu"
    expected = costs.fit_cost(costs.of_model(registry.measured(), spec.name, target.name, device), bars)
    if expected.seconds is not None and expected.seconds > left:
        return f"not tried: training takes about {expected.seconds:.3g} s ({expected.basis}), {left:.3g} s are left"
    return None


def _train(
    registry: Registry, frame: Frame, target: Target, spec: ModelSpec, plan: Plan, by: str, share: float
) -> Trained:
    """Train one model on the older bars, store it and forecast the newer ones. ``share`` is its seconds."""
    started, series = time.monotonic(), frame.series.key
    split = len(frame) - int(len(frame) * plan.held_out)
    known = frame.until(split)
    try:
        overrides = _overrides(registry, spec, target, known, plan, share / 2)
    except ModelError as error:
        return Trained(target.name, spec.name, None, f"not tuned: {error}", time.monotonic() - started)
    number = registry.begin(
        Training(
            series=series,
            target=target.name,
            model=spec.name,
            data_from=as_naive(known.times[0]),
            data_to=as_naive(known.times[-1]),
            rows=len(known) - known.missing,
            data_hash=known.digest(),
            code_version=spec.code_version,
            parameters={**spec.parameters, **spec.by_target.get(target.name, {}), **overrides},
            frame_hash=frame.digest(),
            source_version=source_version(spec),
            library_versions=library_versions(spec),
        ),
        by,
    )
    try:
        fit_s, fitted = _timed(lambda: fitting.fit(spec, target, known, overrides))
        origins = slice(split, len(frame))
        predict_s, each_s = _asking(fitted, frame, origins)
        held_out = hold_out(fitted, frame, origins, max(1, ceil(each_s * (len(frame) - split) / (share / 2))))
        errors = held_out.errors
        apart = errors[:: target.stride, 0]
        reference = apart[~np.isnan(apart)][-_REFERENCE:]
        sha256 = registry.complete(series, target.name, number, fitted.save, reference.tolist(), by)
        load_s, _ = _timed(lambda: fitting.load(registry.artefact(registry.version(series, target.name, number))))
        registry.record_timings(series, target.name, number, Timings(fit_s, load_s, predict_s, _device(spec)))
    except ModelError as error:
        registry.fail(series, target.name, number, str(error), by)
        return Trained(target.name, spec.name, None, str(error), time.monotonic() - started)
    except Exception as error:
        registry.fail(series, target.name, number, f"training failed: {error}", by)
        raise
    return Trained(
        target.name,
        spec.name,
        number,
        "not judged yet",
        time.monotonic() - started,
        rows=len(known) - known.missing,
        sha256=sha256,
        steps=step_skills(held_out, target),
        held_out=held_out,
        columns=fitted.columns,
    )


def _overrides(
    registry: Registry, spec: ModelSpec, target: Target, known: Frame, plan: Plan, seconds: float
) -> dict[str, Any]:
    """Hyper-parameters in place of the declared ones: those that are given, and those that were found by trial."""
    given = plan.parameters.get(spec.name, {})
    if not plan.tuning_trials or spec.name not in SPACES:
        return given
    from orderflow_assets.forecasting.tuning import Search, tune

    search = Search(trials=plan.tuning_trials, seconds=seconds)
    return dict(tune(spec, target, known, registry.folder.parent, search).parameters) | given


def _judge(
    registry: Registry, frame: Frame, target: Target, trained: list[Trained], plan: Plan, by: str
) -> list[Trained]:
    """Judge all that were trained; the best of them becomes the challenger."""
    contestants = [result for result in trained if result.held_out is not None]
    if not contestants:
        return trained
    rule = replace(plan.rule, max_p=plan.rule.max_p / len(contestants))
    champion = registry.champion(frame.series.key, target.name)
    incumbent = _held_out_champion(champion, registry, frame, contestants)
    judged = [
        result if result.held_out is None else _compared(result, result.held_out, incumbent, target, rule)
        for result in trained
    ]
    best = min((result for result in judged if result.held_out is not None), key=lambda result: result.ratio)
    told = [_told(result, best, len(contestants)) for result in judged]
    for result in told:
        if result.judgement is None or result.version is None or result.held_out is None:
            continue
        metrics = result.judgement.to_dict() | {
            "coverage": result.coverage,
            "seconds": result.seconds,
            "columns": result.columns,
            "contestants": len(contestants),
            "judged_from": as_naive(frame.times[result.held_out.origins][0]).isoformat(),
            "judged_to": as_naive(frame.times[-1]).isoformat(),
        }
        won = result.version == best.version and result.judgement.verdict == "promote"
        registry.record_judgement(
            frame.series.key,
            target.name,
            result.version,
            metrics,
            won=won,
            reason=result.reason,
            by=by,
            steps=result.steps,
        )
        if result.version == best.version:
            registry.challenge(frame.series.key, target.name, result.version, by, result.reason)
    return told


def _compared(result: Trained, held_out: HeldOut, incumbent: HeldOut | None, target: Target, rule: Rule) -> Trained:
    stride = max(held_out.stride, incumbent.stride if incumbent else 1)
    errors = incumbent.errors if incumbent else None
    horizon = ceil(max(target.steps) / stride)
    return replace(result, judgement=skill.judge(held_out.errors, held_out.naive_errors, errors, horizon, rule))


def _told(result: Trained, best: Trained, contestants: int) -> Trained:
    """The result with its reason; only the best may be promoted, and only by it may a champion fall."""
    if result.judgement is None:
        return result
    if result.version == best.version:
        among = f"; the best of {contestants}" if contestants > 1 else ""
        return replace(result, reason=result.judgement.reason + among)
    reason = f"{result.judgement.reason}; {best.model} did better: {best.ratio:.3f}"
    return replace(result, judgement=replace(result.judgement, verdict="keep", reason=reason), reason=reason)


def _asking(fitted: Fitted, frame: Frame, origins: slice) -> tuple[float, float]:
    """Seconds that one forecast takes, and that each further one of the same call does."""
    newest = slice(origins.stop - 1, origins.stop)
    apart = max(1, (origins.stop - origins.start) // _SAMPLE)
    fitted.deviations(frame, newest)  # the first answer of a library pays for its start
    one, _ = _timed(lambda: fitted.deviations(frame, newest))
    some, asked = _timed(lambda: fitted.deviations(frame, slice(origins.start, origins.stop, apart)))
    return one, max(some - one, 0.0) / max(len(asked) - 1, 1)


def step_skills(held_out: HeldOut, target: Target) -> tuple[StepSkill, ...]:
    """Errors over naive's and coverage, step by step, where there is at least one origin with both."""
    errors, naive = held_out.errors, held_out.naive_errors
    widths = conformal.half_widths(errors, target.steps)
    found = []
    for column, step in enumerate(target.steps):
        known = ~np.isnan(errors[:, column]) & ~np.isnan(naive[:, column])
        total = float(naive[known, column].sum())
        if total > 0:
            covered = [
                skill.coverage(errors[:, column], widths[:, column, place]) for place in range(len(conformal.LEVELS))
            ]
            found.append(StepSkill(step, int(known.sum()), float(errors[known, column].sum()) / total, *covered))
    return tuple(found)


def settle(registry: Registry, series: str, target: str, by: str) -> tuple[str, int, str]:
    """Carry out the verdict on the challenger; returns the model that serves, its version and why.

    Promotes the challenger, keeps what serves, or demotes the champion so that naive serves. A verdict that is older
    than the champion's service, as after a rollback, is not carried out.
    """
    challenger, champion = registry.challenger(series, target), registry.champion(series, target)
    if challenger is not None and challenger.metrics is not None:
        verdict, reason = challenger.metrics["verdict"], challenger.metrics["reason"]
        stale = champion is not None and (champion.since or datetime.min) > (challenger.since or datetime.min)  # noqa: DTZ901
        if verdict == "promote" and not stale:
            registry.promote(series, target, challenger.version, by, reason)
            return challenger.model, challenger.version, reason
        if verdict == "demote" and champion is not None and not stale:
            registry.demote(series, target, by, reason)
            return NAIVE, 0, reason
    if champion is not None:
        return champion.model, champion.version, champion.reason or ""
    return NAIVE, 0, (challenger.reason or "not judged") if challenger else "no model has been trained"


def _held_out_champion(
    champion: Version | None, registry: Registry, frame: Frame, contestants: list[Trained]
) -> HeldOut | None:
    """The champion at the held-out origins, NaN at those that it was trained on.

    None without a champion, or where its stored model cannot be loaded: it does not serve then either.
    """
    if champion is None:
        return None
    try:
        fitted = fitting.load(registry.artefact(champion))
    except (RegistryError, ModelError):
        return None
    held_out = {result.model: result.held_out for result in contestants if result.held_out}
    like = held_out.get(champion.model) or next(iter(held_out.values()))
    found = hold_out(fitted, frame, like.origins, like.stride)
    found.deviations[frame.times[like.origins] <= np.datetime64(champion.data_to)] = np.nan
    return found


def source_version(spec: ModelSpec) -> str:
    """Hash of the product's own source that trains and asks a model."""
    return fingerprint(f"orderflow_assets.forecasting.adapters.{spec.adapter}")[:16]


def library_versions(spec: ModelSpec) -> dict[str, str]:
    """Installed releases of the libraries that a model needs."""
    names = dict.fromkeys(name for need in (*spec.needs, "numpy") for name in _distributions().get(need, ()))
    return {name: version(name) for name in names}


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _device(spec: ModelSpec) -> str:
    """Where a model that can use a GPU has just run."""
    torch = sys.modules.get("torch")
    return "gpu" if spec.gpu and torch is not None and torch.cuda.is_available() else "cpu"


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
