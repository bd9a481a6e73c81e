"""Looks for better hyper-parameters of a model with Optuna.

A trial is scored by its mean error ratio to naive over rolling origins, fold by fold, so that a bad one is given up
early. The newest bars take no part: the parameters found and those declared are compared there once, at the end.
The study is kept in a journal file; a run that was killed is taken up where it stopped. Bars that have grown make
another study, which begins with the best of the last one.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orderflow_assets.forecasting import fitting, validation
from orderflow_assets.forecasting.fitting import ModelError
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.held_out import hold_out
from orderflow_assets.forecasting.models import ModelSpec
from orderflow_assets.forecasting.spaces import SPACES, Space, Whole, choose
from orderflow_assets.forecasting.targets import Target
from orderflow_assets.forecasting.validation import Fold, ValidationError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import JournalStorage

SAMPLERS = ("tpe", "cmaes", "random", "grid")
PRUNERS = ("median", "hyperband", "none")
_SEED = 42
_REASON, _DECLARED, _SPACE = "reason", "declared_score", "space"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Search:
    """How to look. It ends with ``trials`` in all, this and earlier runs of the study, or after ``seconds``.

    The newest share ``held_out`` of the bars is kept for the final comparison; every ``stride``-th bar of a fold is
    an origin.
    """

    trials: int = 50
    seconds: float = 600.0
    sampler: str = "tpe"
    pruner: str = "median"
    folds: int = 3
    held_out: float = 0.2
    stride: int = 1

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ModelError(f"sampler {self.sampler!r} is none of {', '.join(SAMPLERS)}")
        if self.pruner not in PRUNERS:
            raise ModelError(f"pruner {self.pruner!r} is none of {', '.join(PRUNERS)}")
        if self.sampler == "cmaes" and find_spec("cmaes") is None:
            raise ModelError("the sampler cmaes needs the package of that name. Install it with: pip install cmaes")
        if self.trials < 1 or self.seconds <= 0 or self.folds < 2 or self.stride < 1:
            raise ModelError("trials and stride count from 1 up, folds from 2 up, and seconds are above 0")
        if not 0 < self.held_out < 1:
            raise ModelError(f"held_out is a share of the bars between 0 and 1, not {self.held_out!r}")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search came to. Scores are mean scaled absolute errors over naive's; below 1 beats naive."""

    model: str
    study: str
    parameters: Mapping[str, Any]
    """Overrides of what is declared; none where no trial scored better than that."""
    score: float
    """Of these parameters over the folds."""
    declared_score: float
    held_out_score: float
    """Of these parameters on the newest bars, trained on all others."""
    held_out_declared: float
    trials: int
    pruned: int
    failed: Mapping[int, str]
    """Trials that could not be trained, with the reason."""
    seconds: float
    running_best: tuple[float, ...]
    """Best score after each finished trial, in order."""


def tune(spec: ModelSpec, target: Target, frame: Frame, data_dir: Path, search: Search | None = None) -> Tuned:
    """Search the space of ``spec`` on all bars but the newest, or go on with a search of the same.

    Raises :class:`ModelError` where no space is declared, the bars are too few, no trial could be trained, or another
    process tunes the same.
    """
    started, search = time.monotonic(), search or Search()
    space = SPACES.get(spec.name)
    if space is None:
        raise ModelError(f"no hyper-parameters of {spec.name} are declared; there are some for {', '.join(SPACES)}")
    split = len(frame) - int(len(frame) * search.held_out)
    known = frame.until(split)
    folds = _folds(spec, target, known, space, search)

    def scores(parameters: Mapping[str, Any]) -> Iterator[float]:
        for parts in validation.forecasts(spec, target, known, folds, parameters, search.stride):
            yield validation.score(parts)

    path = data_dir / "studies" / f"{frame.series.key.replace('|', '@')}.{target.name}.{spec.name}.journal"
    with _journal(path) as storage:
        study = _study(storage, spec, known, space, search)
        if _DECLARED not in study.user_attrs:
            study.set_user_attr(_DECLARED, float(np.mean(list(scores({})))))
        _optimize(study, space, scores, search, started + search.seconds)
    parameters, score = _best(study, space)
    declared = study.user_attrs[_DECLARED]
    if score >= declared:
        parameters, score = {}, declared
    held_out_declared = _held_out(spec, target, frame, split, {}, search.stride)
    held_out = _held_out(spec, target, frame, split, parameters, search.stride) if parameters else held_out_declared
    trials = study.get_trials(deepcopy=False)
    finished = [trial.value for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
    return Tuned(
        model=spec.name,
        study=study.study_name,
        parameters=parameters,
        score=score,
        declared_score=declared,
        held_out_score=held_out,
        held_out_declared=held_out_declared,
        trials=len(_counted(study)),
        pruned=sum(trial.state.name == "PRUNED" for trial in trials),
        failed={trial.number: trial.user_attrs[_REASON] for trial in trials if _REASON in trial.user_attrs},
        seconds=time.monotonic() - started,
        running_best=tuple(np.minimum.accumulate(finished).tolist()),
    )


def _folds(spec: ModelSpec, target: Target, known: Frame, space: Space, search: Search) -> list[Fold]:
    """Rolling origins that are the same for every trial, apart by the longest window that a trial may look back."""
    lags = space.get("lags")
    longest = spec.tuned({"lags": lags.high}) if isinstance(lags, Whole) else spec
    gap = validation.purge(longest, target) + int(np.ceil(validation.EMBARGO * len(known)))
    try:
        return validation.split("expanding", len(known), gap, folds=search.folds, first=0.5)
    except ValidationError as error:
        raise ModelError(f"{spec.name} cannot be tuned: {error}") from error


@contextmanager
def _journal(path: Path) -> Iterator[JournalStorage]:
    """The journal file, held by this process alone; what a killed process left half-written is cut off."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(f"another process tunes with {path.name}; wait for it or stop it") from error
        file.seek(0)
        written = file.read()
        file.truncate(written.rfind(b"\n") + 1)
        Path(f"{path}.lock").unlink(missing_ok=True)
        yield JournalStorage(JournalFileBackend(str(path)))


def _study(storage: JournalStorage, spec: ModelSpec, known: Frame, space: Space, search: Search) -> Study:
    """The study of this declaration on these bars, with what is to be tried first."""
    import optuna

    searched = hashlib.sha256(repr((spec.code_version, sorted(space.items()))).encode()).hexdigest()
    same = f"{searched}{search.folds}{search.stride}{known.digest()}"
    name = f"{spec.name}-{hashlib.sha256(same.encode()).hexdigest()[:16]}"
    earlier = [one for one in optuna.get_all_study_summaries(storage) if one.user_attrs.get(_SPACE) == searched]
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params, skip_if_exists=True)
    if _SPACE not in study.user_attrs:
        study.set_user_attr(_SPACE, searched)
        for last in [one.best_trial for one in earlier if one.best_trial is not None][-1:]:
            study.enqueue_trial(last.params)
    study.sampler = _sampler(search.sampler, space, _SEED + len(study.get_trials(deepcopy=False)))
    study.pruner = _pruner(search)
    return study


def _sampler(name: str, space: Space, seed: int) -> BaseSampler:
    """``seed`` differs from run to run, or a study that is taken up would draw the same trials again."""
    from optuna import samplers

    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "grid":
        return samplers.GridSampler({one: dimension.grid() for one, dimension in space.items()}, seed=_SEED)
    return samplers.RandomSampler(seed=seed) if name == "random" else samplers.TPESampler(seed=seed)


def _pruner(search: Search) -> BasePruner:
    from optuna import pruners

    if search.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    if search.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=search.folds)
    return pruners.NopPruner()


def _optimize(
    study: Study, space: Space, scores: Callable[[Mapping[str, Any]], Iterator[float]], search: Search, deadline: float
) -> None:
    """Run the trials that are left, until the deadline."""
    from optuna import TrialPruned

    def objective(trial: Trial) -> float:
        done: list[float] = []
        try:
            for score in scores(choose(space, trial)):
                done.append(score)
                trial.report(float(np.mean(done)), len(done))
                if len(done) < search.folds and (trial.should_prune() or time.monotonic() > deadline):
                    raise TrialPruned
        except ModelError as error:
            trial.set_user_attr(_REASON, str(error))
            raise
        return float(np.mean(done))

    left, seconds = search.trials - len(_counted(study)), deadline - time.monotonic()
    if left > 0 and seconds > 0:
        study.optimize(objective, n_trials=left, timeout=seconds, catch=(ModelError,))


def _counted(study: Study) -> list[int]:
    """Trials that came to an end; one that was killed did not."""
    ended = {"COMPLETE", "PRUNED"}
    return [
        trial.number
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ended or _REASON in trial.user_attrs
    ]


def _best(study: Study, space: Space) -> tuple[dict[str, Any], float]:
    """Parameters and score of the best trial."""
    from optuna.trial import FixedTrial

    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
    if not finished:
        reasons = sorted({trial.user_attrs[_REASON] for trial in trials if _REASON in trial.user_attrs})
        raise ModelError(f"none of {len(trials)} trials was finished: {'; '.join(reasons) or 'the time was over'}")
    return choose(space, FixedTrial(study.best_params)), study.best_value


def _held_out(
    spec: ModelSpec, target: Target, frame: Frame, split: int, parameters: Mapping[str, Any], stride: int
) -> float:
    fitted = fitting.fit(spec, target, frame.until(split), parameters)
    return validation.score([hold_out(fitted, frame, slice(split, len(frame), stride))])
