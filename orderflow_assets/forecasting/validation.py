"""Cross-validation of forecasts: six ways to divide the bars into what is trained on and what is forecast.

A bar is an example: what was known when it closed, and an outcome in the bars after it. Examples that are close to
each other share bars, so no example is trained on within ``gap`` bars of one that is forecast: the horizon (labels
that overlap are purged), the longest feature window, and an embargo. After Lopez de Prado 2018, chapters 7 and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.backtest import metrics
from orderflow_assets.forecasting.frame import LONGEST_WINDOW, Frame
from orderflow_assets.forecasting.held_out import HeldOut, hold_out
from orderflow_assets.forecasting.models import ModelError, ModelSpec
from orderflow_assets.forecasting.targets import Target

EMBARGO = 0.01
"""Share of the bars left out in addition to those that overlap."""
METRICS = ("rmae", "mae", "rmse", "mape", "smape")
"""``rmae`` is the mean scaled absolute error over naive's; the others are of levels, the last two in per cent."""


class ValidationError(ValueError):
    """The bars cannot be divided as asked."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Indices of the bars trained on and of those forecast, both ascending."""

    train: np.ndarray
    test: np.ndarray


def expanding(bars: int, gap: int, folds: int = 5, first: float | None = None) -> Iterator[Fold]:
    """``folds`` blocks are forecast, each from everything before it.

    ``first`` is the share of the bars before the first of them; None: as many as are in a block.
    """
    _at_least(2, folds=folds)
    start = int(bars * (1 / (folds + 1) if first is None else first))
    for test in np.array_split(np.arange(start, bars), folds):
        yield Fold(np.arange(test[0] - gap), test)


def sliding(bars: int, gap: int, folds: int = 5, train: float = 4.0) -> Iterator[Fold]:
    """Windows of one length, ``train`` times as long as what is forecast after them, that slide to the end."""
    _at_least(2, folds=folds)
    width = int((bars - gap) / (folds + train))
    for start in range(bars - folds * width, bars, max(width, 1)):
        yield Fold(np.arange(start - gap - int(train * width), start - gap), np.arange(start, start + width))


def walk_forward(bars: int, gap: int, train: int = 2_016, test: int = 288) -> Iterator[Fold]:
    """Train on ``train`` bars (a week), forecast the next ``test`` (a day), move on by as many, to the end."""
    _at_least(1, train=train, test=test)
    for start in range(train + gap, bars - test + 1, test):
        yield Fold(np.arange(start - gap - train, start - gap), np.arange(start, start + test))


def blocked(bars: int, gap: int, folds: int = 5, test: float = 0.2) -> Iterator[Fold]:
    """Blocks that share no bar; the newest share ``test`` of each is forecast from the rest of it."""
    _at_least(2, folds=folds)
    for block in np.array_split(np.arange(bars), folds):
        start = len(block) - int(test * len(block))
        yield Fold(block[: max(start - gap, 0)], block[start:])


def purged_kfold(bars: int, gap: int, folds: int = 5) -> Iterator[Fold]:
    """Each of ``folds`` blocks is forecast once, from all bars before and after it."""
    _at_least(2, folds=folds)
    for test in np.array_split(np.arange(bars), folds):
        yield Fold(_apart(bars, gap, [test]), test)


def combinatorial_purged(bars: int, gap: int, groups: int = 6, tests: int = 2) -> Iterator[Fold]:
    """Every choice of ``tests`` out of ``groups`` blocks is forecast from the others.

    Each block is forecast ``C(groups - 1, tests - 1)`` times, from as many trainings.
    """
    _at_least(1, tests=tests)
    _at_least(tests + 1, groups=groups)
    blocks = np.array_split(np.arange(bars), groups)
    for chosen in combinations(blocks, tests):
        yield Fold(_apart(bars, gap, chosen), np.concatenate(chosen))


STRATEGIES: Mapping[str, Callable[..., Iterator[Fold]]] = {
    strategy.__name__: strategy
    for strategy in (expanding, sliding, walk_forward, blocked, purged_kfold, combinatorial_purged)
}


def split(strategy: str, bars: int, gap: int, **shape: Any) -> list[Fold]:
    """The folds of one of :data:`STRATEGIES`; ``shape`` are its own arguments.

    Raises :class:`ValidationError` for an unknown strategy or argument, and where a fold would be empty.
    """
    if strategy not in STRATEGIES:
        raise ValidationError(f"strategy {strategy!r} is none of {', '.join(STRATEGIES)}")
    try:
        folds = list(STRATEGIES[strategy](bars, gap, **shape))
    except TypeError as error:
        raise ValidationError(f"{strategy} does not take that: {error}") from error
    if not folds or any(fold.train.size == 0 or fold.test.size == 0 or fold.train[0] < 0 for fold in folds):
        raise ValidationError(f"{bars} bars are too few for {strategy} with {gap} bars between training and test")
    return folds


def purge(spec: ModelSpec, target: Target) -> int:
    """Bars that an example reaches over: its horizon and the longest window it looks back."""
    return max(target.steps) + max(spec.lags + 1, LONGEST_WINDOW if spec.covariates else 0)


@dataclass(frozen=True, slots=True)
class Validation:
    """Scores of one model, one per fold; ``sizes`` are the bars trained on and the origins forecast."""

    model: str
    strategy: str
    metric: str
    gap: int
    scores: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def folds(self) -> int:
        return len(self.scores)

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def sd(self) -> float:
        """Standard deviation over the folds; NaN for one fold."""
        return float(np.std(self.scores, ddof=1)) if self.folds > 1 else np.nan

    @property
    def stability(self) -> str:
        """``high`` where the folds differ by less than a fifth of their mean, ``medium`` by less than half."""
        spread = self.sd / self.mean
        return "high" if spread < 0.2 else "medium" if spread < 0.5 else "low"


def cross_validate(
    spec: ModelSpec,
    target: Target,
    frame: Frame,
    strategy: str = "expanding",
    *,
    metric: str = "rmae",
    embargo: float = EMBARGO,
    parameters: Mapping[str, Any] | None = None,
    stride: int = 1,
    **shape: Any,
) -> Validation:
    """Train and score a model on every fold of ``frame``; every ``stride``-th bar of a test part is an origin.

    ``shape`` are the arguments of the strategy, such as ``folds``. Raises :class:`ValidationError`, and
    :class:`ModelError` where the bars of a fold are too few to train on or the model answers nowhere in it.
    """
    if metric not in METRICS:
        raise ValidationError(f"metric {metric!r} is none of {', '.join(METRICS)}")
    if not 0 <= embargo < 1:
        raise ValidationError(f"embargo is a share of the bars from 0 up to 1, not {embargo!r}")
    _at_least(1, stride=stride)
    gap = purge(spec, target) + int(np.ceil(embargo * len(frame)))
    folds = split(strategy, len(frame), gap, **shape)
    scores = [score(parts, metric) for parts in forecasts(spec, target, frame, folds, parameters, stride)]
    sizes = tuple((len(fold.train), len(range(0, len(fold.test), stride))) for fold in folds)
    return Validation(spec.name, strategy, metric, gap, tuple(scores), sizes)


def forecasts(
    spec: ModelSpec,
    target: Target,
    frame: Frame,
    folds: Iterable[Fold],
    parameters: Mapping[str, Any] | None = None,
    stride: int = 1,
) -> Iterator[list[HeldOut]]:
    """Forecasts of the test part of each fold by a model trained on the rest of it, one per run of bars."""
    for fold in folds:
        fitted = fitting.fit(spec, target, training_frame(frame, fold.train), parameters)
        yield [
            hold_out(
                fitted, frame.until(int(run[-1]) + 1 + max(target.steps)), slice(int(run[0]), int(run[-1]) + 1, stride)
            )
            for run in _runs(fold.test)
        ]


def score(parts: Sequence[HeldOut], metric: str = "rmae") -> float:
    """One of :data:`METRICS` over all steps and origins at which forecast and outcome are known.

    Raises :class:`ModelError` where there are none.
    """
    known = [~np.isnan(part.errors) for part in parts]
    if not any(there.any() for there in known):
        raise ModelError("the model answers at none of the origins of a fold whose outcome is known")

    def gather(values: Callable[[HeldOut], np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [np.broadcast_to(values(part), there.shape)[there] for part, there in zip(parts, known, strict=True)]
        )

    if metric == "rmae":
        return float(gather(lambda part: part.errors).sum() / gather(lambda part: part.naive_errors).sum())
    anchor, outcome, deviation = (
        gather(values)
        for values in (lambda part: part.anchor[:, None], lambda part: part.outcomes, lambda part: part.deviations)
    )
    return metrics.errors(anchor, outcome, deviation)[metric]


def training_frame(frame: Frame, bars: np.ndarray) -> Frame:
    """``frame`` from the first to the last of ``bars``, as if no other bar between them had been recorded."""
    first, stop = int(bars[0]), int(bars[-1]) + 1
    part, hidden = frame.between(first, stop), np.ones(stop - first, dtype=bool)
    hidden[bars - first] = False
    if not hidden.any():
        return part
    price, returns, sigma = (np.where(hidden, np.nan, values) for values in (part.price, part.returns, part.sigma))
    return replace(part, price=price, returns=returns, sigma=sigma)


def _apart(bars: int, gap: int, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """The bars further than ``gap`` from every block."""
    free = np.ones(bars, dtype=bool)
    for block in blocks:
        free[max(block[0] - gap, 0) : block[-1] + gap + 1] = False
    return np.flatnonzero(free)


def _runs(indices: np.ndarray) -> list[np.ndarray]:
    """``indices`` cut where one is missing."""
    return np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)


def _at_least(least: int, **counts: float) -> None:
    for name, count in counts.items():
        if count != int(count) or count < least:
            raise ValidationError(f"{name} is a whole number from {least} up, not {count!r}")
