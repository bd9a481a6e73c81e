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
_ROUNDING = 1e-12
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

    origins: np.ndarray
    """Bars of the forecasts explained."""
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
        """Largest distance of base and values from the output, relative to it where it exceeds 1."""
        distance = np.abs(self.base + self.values.sum(axis=2) - self.outputs)
        return float((distance / np.maximum(1, np.abs(self.outputs))).max())


class _Part(NamedTuple):
    """What one model puts out by itself: of each input its value and its contribution, and a base."""

    inputs: tuple[Input, ...]
    given: np.ndarray
    values: np.ndarray
    base: np.ndarray


def explain(fitted: Fitted, frame: Frame, origins: slice) -> Explanation:
    """Explain the forecasts at those bars of ``origins`` at which the model has an answer.

    Of an ensemble whose forecast is a weighted sum the members are explained, each with its weight; a member that
    cannot be, such as a statistical one, is an input of its own. Raises :class:`NotExplainableError` for a model that
    is neither made of trees nor linear in its inputs, and where there is no answer.
    """
    summands = require(fitted)
    answers = fitted.deviations(frame, origins)
    known = np.isfinite(answers).all(axis=1)
    if not known.any():
        raise NotExplainableError(f"{fitted.spec.name} has no forecast at the bars asked for")
    places = np.arange(*origins.indices(len(frame)))[known]
    maps = [AffineMap.at(fitted.target, frame, place) for place in places.tolist()]
    parts = [(_part(member, frame, places, maps), factor) for member, factor in summands]
    rest = 1 - sum(factor for _, factor in summands)
    if abs(rest) > _ROUNDING:
        parts.append((_alone(NAIVE, np.vstack([at.naive for at in maps])), rest))
    inputs = tuple(dict.fromkeys(name for part, _ in parts for name in part.inputs))
    given = np.full((len(places), len(inputs)), np.nan)
    values = np.zeros((len(places), fitted.target.width, len(inputs)))
    for part, factor in parts:
        columns = [inputs.index(name) for name in part.inputs]
        given[:, columns] = part.given
        values[:, :, columns] += factor * part.values
    base = np.sum([factor * part.base for part, factor in parts], axis=0)
    outputs = np.vstack([at.outputs(answer) for at, answer in zip(maps, answers[known], strict=True)])
    return Explanation(places, inputs, given, values, base, outputs)


def require(fitted: Fitted) -> list[tuple[Fitted, float]]:
    """The models whose outputs, each times its factor, add up to the forecast; the rest of the factors to 1 is naive's.

    Raises :class:`NotExplainableError` where they do not, or where none of them is made of trees or linear.
    """
    if fitted.spec.adapter != "ensemble":
        _regression(fitted)
        return [(fitted, fitted.spec.share(fitted.target.name))]
    ensemble: Any = fitted
    name, rule = fitted.spec.name, fitted.spec.parameters["rule"]
    if not ensemble.weights and rule != "mean":
        raise NotExplainableError(f"{name} takes a {rule} of its members, which is no sum of what they contribute")
    if not any(_is_explainable(member) for member in ensemble.members):
        raise NotExplainableError(f"no member of {name} is made of trees or linear in its inputs")
    count = len(ensemble.members)
    return list(zip(ensemble.members, ensemble.weights or [1 / (count + 1)] * count, strict=True))


def _part(fitted: Fitted, frame: Frame, places: np.ndarray, maps: Sequence[AffineMap]) -> _Part:
    """One summand, its own share of naive taken out."""
    if not _is_explainable(fitted):
        share = fitted.spec.share(fitted.target.name)
        answers = [fitted.deviations(frame, slice(place, place + 1))[0] / share for place in places.tolist()]
        return _alone(
            fitted.spec.name, np.vstack([at.outputs(answer) for at, answer in zip(maps, answers, strict=True)])
        )
    model = _regression(fitted)
    inputs = inputs_of(model.lagged_feature_names, fitted.columns)
    given = rows(fitted, frame, inputs, places)
    before = rows(fitted, frame, inputs, np.arange(places.max() + 1))
    found = [_shap(estimator, given, before) for estimator in _estimators(model)]
    values = np.concatenate([values for values, _ in found], axis=1)
    return _Part(inputs, given, values, np.concatenate([base for _, base in found]))


def _alone(name: str, outputs: np.ndarray) -> _Part:
    """A model whose outputs (origins, width) are taken as a whole."""
    unknown = np.full((len(outputs), 1), np.nan)
    return _Part((Input(name, None),), unknown, outputs[:, :, None], np.zeros(outputs.shape[1]))


def _is_explainable(fitted: Fitted) -> bool:
    try:
        _regression(fitted)
    except NotExplainableError:
        return False
    return True


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
