"""Shapley values of forecasts by tree and linear models: how far each input moved what the model put out.

Trees are explained exactly along their paths (Lundberg et al. 2020), so what is expected without knowing an input is
its mean over the bars trained on; linear models by coefficient times distance from the mean of the input over the bars
given. Both add up: ``base`` and the values of all inputs make the output, to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from orderflow_assets.forecasting.explain.outputs import AffineMap
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import NAIVE

HISTORY = "history"
"""Name of the target's own past among the inputs."""

_LEAST_BACKGROUND = 30
_NAME = re.compile(r"(?P<component>.+)_(?P<kind>target|pastcov)_lag(?P<lag>-\d+)")


class NotExplainableError(ValueError):
    """The model has no such explanation; the message says why."""


class Input(NamedTuple):
    """One number a model is fed: ``lag`` 0 is of the bar that closed at the origin, None is no bar of its own."""

    feature: str
    lag: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """``base + values.sum(axis=2)`` is ``outputs``, the outputs of the served forecast, its share of naive included."""

    inputs: tuple[Input, ...]
    given: np.ndarray
    """Values of the inputs, (origins, inputs)."""
    values: np.ndarray
    """Contributions, (origins, width, inputs)."""
    base: np.ndarray
    """Output expected without knowing the inputs, (width,)."""
    outputs: np.ndarray
    """What was forecast, in units of the output, (origins, width). Taken from the forecast, not from the values."""

    @property
    def discrepancy(self) -> float:
        """Largest distance of base and values from the output."""
        return float(np.abs(self.base + self.values.sum(axis=2) - self.outputs).max())


def explain(fitted: Fitted, frame: Frame, origins: Sequence[int]) -> Explanation:
    """Explain the forecasts at bars ``origins``, all of which the model has an answer for.

    Raises :class:`NotExplainableError` for a model that is neither made of trees nor linear in its inputs.
    """
    maps = [AffineMap.at(fitted.target, frame, origin) for origin in origins]
    places = np.asarray(origins)
    answers = fitted.deviations(frame, slice(places.min(), places.max() + 1))[places - places.min()]
    outputs = np.vstack([map_.outputs(answer) for map_, answer in zip(maps, answers, strict=True)])
    model = _regression(fitted)
    inputs = inputs_of(model.lagged_feature_names, fitted.columns)
    given = rows(fitted, frame, inputs, places)
    known = rows(fitted, frame, inputs, np.arange(places.max() + 1))
    parts = [_shap(estimator, given, known) for estimator in _estimators(model)]
    weight = fitted.spec.share(fitted.target.name)
    values = weight * np.concatenate([values for values, _ in parts], axis=1)
    base = weight * np.concatenate([base for _, base in parts])
    if weight != 1:
        naive = (1 - weight) * np.vstack([map_.naive for map_ in maps])
        inputs, values = (*inputs, Input(NAIVE, None)), np.concatenate([values, naive[:, :, None]], axis=2)
        given = np.column_stack([given, np.full(len(given), np.nan)])
    return Explanation(inputs, given, values, base, outputs)


def inputs_of(names: Sequence[str], columns: Sequence[str]) -> tuple[Input, ...]:
    """The inputs a model of Darts names ``0_target_lag-2`` or ``3_pastcov_lag-1``, components by name or place."""
    return tuple(_input(name, columns) for name in names)


def _input(name: str, columns: Sequence[str]) -> Input:
    found = _NAME.fullmatch(name)
    if found is None:
        raise NotExplainableError(f"the input {name!r} is neither a lag of the target nor of a covariate")
    lag = -int(found["lag"]) - 1
    if found["kind"] == "target":
        return Input(HISTORY, lag)
    component = found["component"]
    return Input(columns[int(component)] if component.isdigit() else component, lag)


def rows(fitted: Fitted, frame: Frame, inputs: Sequence[Input], origins: np.ndarray) -> np.ndarray:
    """What the model is fed at each origin, (origins, inputs); NaN where unknown."""
    learn, unknown = fitted.target.learn(frame), np.full(len(frame), np.nan)
    columns = []
    for feature, lag in inputs:
        source = learn if feature == HISTORY else frame.covariates.get(feature, unknown)
        places = origins - (lag or 0)
        columns.append(np.where(places >= 0, source[np.maximum(places, 0)], np.nan))
    return np.column_stack(columns)


def _regression(fitted: Fitted) -> Any:
    """The model of Darts inside, which must put out all steps at once from one row of inputs."""
    model, name = getattr(fitted, "model", None), fitted.spec.name
    if fitted.spec.adapter != "regression" or model is None:
        raise NotExplainableError(f"{name} is neither made of trees nor linear in its inputs")
    if model.output_chunk_length != fitted.target.width or not model.multi_models:
        raise NotExplainableError(f"{name} feeds its own outputs back, so its inputs do not add up to a forecast")
    return model


def _estimators(model: Any) -> list[Any]:
    """One per output, or a single one for all of them."""
    from sklearn.multioutput import MultiOutputRegressor

    return list(model.model.estimators_) if isinstance(model.model, MultiOutputRegressor) else [model.model]


def _shap(estimator: Any, given: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (origins, outputs, inputs) and base (outputs,) of one fitted estimator."""
    import shap

    if hasattr(estimator, "coef_"):
        background = known[~np.isnan(known).any(axis=1)]
        if len(background) < _LEAST_BACKGROUND:
            raise NotExplainableError(f"{len(background)} bars with all inputs, {_LEAST_BACKGROUND} are needed")
        explainer = shap.LinearExplainer(estimator, shap.maskers.Independent(background, len(background)))
        values = explainer.shap_values(given)
    else:
        try:
            explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        except ValueError as error:
            raise NotExplainableError(
                f"{type(estimator).__name__} is neither linear nor made of trees: {error}"
            ) from error
        values = explainer.shap_values(given, check_additivity=False)
    base = np.atleast_1d(np.asarray(explainer.expected_value, float))
    return np.asarray(values, float).reshape(len(given), given.shape[1], len(base)).transpose(0, 2, 1), base
