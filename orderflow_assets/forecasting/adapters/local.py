"""Models of one series, through Darts: estimated anew at every origin on the last ``lags + 1`` bars, in double
precision.

Nothing is learnt that would have to be stored: the artefact is the card alone.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orderflow_assets.forecasting.adapters.card import Card, card_of
from orderflow_assets.forecasting.adapters.construct import construct
from orderflow_assets.forecasting.adapters.series import columns_of, covariates_of, time_series, training_stretches
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target

_REFUSALS = (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError)
"""What the libraries raise on a window that they cannot be estimated on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Local:
    """A model of one series. Its covariates, where it has any, are further components of the series."""

    spec: ModelSpec
    target: Target
    columns: tuple[str, ...]

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """See :class:`orderflow_assets.forecasting.fitting.Fitted`. NaN also where it cannot be estimated."""
        start, stop, step = origins.indices(len(frame))
        fed = self.target.fed(self.spec.feed)
        values = np.column_stack([fed.learn(frame), covariates_of(frame, self.columns)])
        asked = range(start, stop, step)
        outputs, refused = np.full((len(asked), fed.width), np.nan), []
        for row, origin in enumerate(asked):
            window = slice(origin - self.spec.lags, origin + 1)
            if window.start < 0 or np.isnan(values[window]).any():
                continue
            try:
                outputs[row] = _estimate(self.spec, fed, frame.times[window], values[window])
            except _REFUSALS as error:
                refused.append(str(error))
        if refused:
            logger.warning(
                "%s has no answer at %d of %d origins: %s", self.spec.name, len(refused), len(asked), refused[0]
            )
        return self.spec.share(self.target.name) * fed.deviate(frame, origins, outputs)

    def save(self, folder: Path) -> None:
        card_of(self.spec, self.target, self.columns).write(folder)


def fit(spec: ModelSpec, target: Target, frame: Frame) -> Local:
    """Choose the columns, and see that the newest whole window can be estimated on."""
    columns, fed = columns_of(spec, frame), target.fed(spec.feed)
    learn, known = fed.learn(frame), covariates_of(frame, columns)
    newest = training_stretches(learn, known, spec, ahead=0)[-1]
    window = slice(newest.stop - spec.lags - 1, newest.stop)
    try:
        _estimate(spec, fed, frame.times[window], np.column_stack([learn, known])[window])
    except _REFUSALS as error:
        raise ModelError(f"{spec.name} cannot be estimated on the last {spec.lags + 1} bars: {error}") from error
    return Local(spec, target, columns)


def load(folder: Path, card: Card) -> Local:
    return Local(card.spec, TARGETS[card.target], card.columns)


def _estimate(spec: ModelSpec, fed: Target, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Estimate on ``values`` ``(bars, components)``; the ``width`` forecasts of the first component."""
    model = construct(spec, input_chunk_length=spec.lags + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(time_series(times, values))
        forecast: Any = model.predict(fed.lead + fed.width)
    produced: np.ndarray = forecast.values(copy=False)[fed.lead :, 0]
    return produced
