"""Regressions on lags and covariates, through Darts: scikit-learn and gradient-boosted trees."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orderflow_assets.forecasting.adapters.card import Card, card_of
from orderflow_assets.forecasting.adapters.construct import construct, import_class, refusals_explained
from orderflow_assets.forecasting.adapters.series import (
    columns_of,
    covariates_of,
    stretches,
    time_series,
    training_stretches,
)
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target

_MODEL_FILE = "model.pkl"


@dataclass(frozen=True, slots=True)
class Regression:
    """A trained regression with what it needs to be asked again."""

    spec: ModelSpec
    target: Target
    columns: tuple[str, ...]
    model: Any

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """See :class:`orderflow_assets.forecasting.fitting.Fitted`."""
        start, stop, step = origins.indices(len(frame))
        outputs = np.full((max(stop - start, 0), self.target.width), np.nan)
        learn, covariates = self.target.learn(frame), covariates_of(frame, self.columns)
        for stretch in stretches(learn, covariates, self.spec):
            first, last = max(stretch.start, start - self.spec.lags), min(stretch.stop, stop)
            if last - first > self.spec.lags:
                produced = self._outputs(frame.times[first:last], learn[first:last], covariates[first:last])
                outputs[last - start - len(produced) : last - start] = produced
        return self.spec.share(self.target.name) * self.target.deviate(frame, origins, outputs[::step])

    def _outputs(self, times: np.ndarray, learn: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """One row per bar but the first ``lags`` of the stretch."""
        series, known = time_series(times, learn), time_series(times, covariates) if self.columns else None
        forecasts = self.model.historical_forecasts(
            series,
            past_covariates=known,
            start=self.spec.lags,
            start_format="position",
            forecast_horizon=self.target.width,
            retrain=False,
            overlap_end=True,
            last_points_only=False,
            show_warnings=False,
        )
        return np.array([forecast.values(copy=False)[:, 0] for forecast in forecasts[1:]])

    def save(self, folder: Path) -> None:
        """Write the model and its card into an existing folder."""
        self.model.save(str(folder / _MODEL_FILE), clean=True)
        card_of(self.spec, self.target, self.columns).write(folder)


def fit(spec: ModelSpec, target: Target, frame: Frame) -> Regression:
    """Train on every stretch of ``frame`` that holds an example."""
    columns = columns_of(spec, frame)
    learn, covariates = target.learn(frame), covariates_of(frame, columns)
    parts = training_stretches(learn, covariates, spec, target.lead + target.width)
    model = construct(
        spec,
        lags=spec.lags,
        lags_past_covariates=[-1] if columns else None,
        output_chunk_length=target.width,
        output_chunk_shift=target.lead,
    )
    with refusals_explained(spec):
        model.fit(
            [time_series(frame.times[part], learn[part]) for part in parts],
            past_covariates=[time_series(frame.times[part], covariates[part]) for part in parts] if columns else None,
        )
    return Regression(spec, target, columns, model)


def load(folder: Path, card: Card) -> Regression:
    """Unpickled with Darts' restricted loader only."""
    from darts.utils.serialization.base import UnpicklingError

    try:
        model = import_class(card.spec.path).load(str(folder / _MODEL_FILE))
    except (OSError, EOFError, pickle.UnpicklingError, UnpicklingError) as error:
        raise ModelError(f"the stored model {folder.name[:12]} cannot be loaded: {error}") from error
    return Regression(card.spec, TARGETS[card.target], card.columns, model)
