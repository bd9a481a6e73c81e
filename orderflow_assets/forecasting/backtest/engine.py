"""Walk-forward forecasts: train on what was known, forecast every bar until the next training, and so on.

No forecast sees a bar after its origin: a model is trained on bars before its fold only, and asked with a frame that
ends with the fold.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.backtest.tables import WINDOWS
from orderflow_assets.forecasting.frame import MIN_BARS, Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec
from orderflow_assets.forecasting.targets import Target


@dataclass(frozen=True, slots=True)
class Plan:
    """How to walk. The newest ``test_share`` of the bars is forecast, ``retrain_every`` bars after each training.

    ``window`` is ``expanding`` (train on all bars so far) or ``sliding`` (on the last ``train_bars``; None: as many
    as the first training has). ``parameters`` override the declared hyper-parameters, by model name.
    """

    test_share: float = 0.5
    retrain_every: int = 288
    window: str = "expanding"
    train_bars: int | None = None
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share is a share of the bars between 0 and 1, not {self.test_share!r}")
        if self.retrain_every < 1:
            raise ValueError(f"retrain_every counts bars, from 1 up, not {self.retrain_every!r}")
        if self.window not in WINDOWS:
            raise ValueError(f"window is {' or '.join(WINDOWS)}, not {self.window!r}")
        if self.train_bars is not None and (self.window != "sliding" or self.train_bars < MIN_BARS):
            raise ValueError(f"train_bars goes with a sliding window and is at least {MIN_BARS}, not {self.train_bars}")

    def test_part(self, bars: int) -> slice:
        """The origins forecast from, of as many bars."""
        return slice(bars - int(bars * self.test_share), bars)


@dataclass(frozen=True, slots=True)
class Fold:
    """A training and what is forecast with it; ``test`` begins where ``train`` ends."""

    train: slice
    test: slice


@dataclass(frozen=True, slots=True)
class Walk:
    """Forecasts of one model over the test part, NaN where it had none; CPU seconds of all folds."""

    spec: ModelSpec
    target: Target
    origins: slice
    deviations: np.ndarray
    """Log deviations from naive, ``(origins, steps)``."""
    fits: int
    fit_seconds: float
    predict_seconds: float
    refused: tuple[str, ...]
    """Why folds have no forecast, one reason each."""


def folds(bars: int, plan: Plan) -> Iterator[Fold]:
    """The folds of ``bars`` in time order; together their test parts are the newest ``test_share``."""
    first = plan.test_part(bars).start
    length = plan.train_bars or first
    for start in range(first, bars, plan.retrain_every):
        known = 0 if plan.window == "expanding" else max(0, start - length)
        yield Fold(slice(known, start), slice(start, min(start + plan.retrain_every, bars)))


def walk(spec: ModelSpec, target: Target, frame: Frame, plan: Plan) -> Walk:
    """Forecast the test part of ``frame`` with one model, trained anew for each fold.

    A fold for which it cannot be trained has no forecast. Raises :class:`ModelError` where that is so for all.
    """
    parts, origins = list(folds(len(frame), plan)), plan.test_part(len(frame))
    deviations = np.full((origins.stop - origins.start, len(target.steps)), np.nan)
    refused, fit_seconds, predict_seconds = [], 0.0, 0.0
    for fold in parts:
        began = time.process_time()
        try:
            known = frame.between(fold.train.start, fold.train.stop)
            fitted = fitting.fit(spec, target, known, plan.parameters.get(spec.name))
        except ModelError as error:
            refused.append(str(error))
            continue
        trained = time.process_time()
        place = slice(fold.test.start - origins.start, fold.test.stop - origins.start)
        deviations[place] = fitted.deviations(frame.until(fold.test.stop), fold.test)
        fit_seconds += trained - began
        predict_seconds += time.process_time() - trained
    if len(refused) == len(parts):
        raise ModelError(refused[0] if refused else f"{len(frame)} bars leave nothing to forecast")
    return Walk(
        spec,
        target,
        origins,
        deviations,
        len(parts) - len(refused),
        fit_seconds,
        predict_seconds,
        tuple(refused),
    )
