"""What a temporal fusion transformer looked at: the inputs it selected and the bars it attended to (Lim et al. 2021).

Both are weights of the network itself, shares that add up to one; they say where it looked, not which way that moved
the forecast. Reading them costs a forecast of the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orderflow_assets.forecasting.adapters.series import covariates_of, time_series
from orderflow_assets.forecasting.explain.shapley import HISTORY, NotExplainableError
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import Frame

MODEL = "tft"
_NAME = re.compile(r"(?P<component>.+)_(?P<kind>target|pastcov|futcov)")


@dataclass(frozen=True, slots=True)
class Attention:
    """Of one forecast: ``selection`` of the encoder by input, ``bars`` by lag (0 is the bar that closed at the origin),
    the mean over all steps, and ``ahead``, what was attended to among the bars still to come.
    """

    selection: Mapping[str, float]
    bars: np.ndarray
    ahead: float


def read(fitted: Fitted, frame: Frame, origin: int) -> Attention:
    """Selection and attention of the forecast at bar ``origin``.

    Raises :class:`NotExplainableError` for any other model, for a target whose outcome is not that of the next bars,
    and where the model has no answer at the origin.
    """
    if fitted.spec.name != MODEL:
        raise NotExplainableError(f"{fitted.spec.name} has no attention to read")
    model: Any = fitted
    if model.model.output_chunk_shift:
        raise NotExplainableError(
            f"{fitted.spec.name} skips the bars before the outcome of {fitted.target.name}, "
            "and Darts reads the attention only of networks that skip none"
        )
    from darts.explainability import TFTExplainer

    learn = fitted.target.fed(fitted.spec.feed).learn(frame)
    values = model.scale.apply(np.column_stack([learn, covariates_of(frame, fitted.columns)]))
    window = slice(origin - fitted.spec.lags, origin + 1)
    if window.start < 0 or not np.isfinite(values[window]).all():
        raise NotExplainableError(f"{fitted.spec.name} has no answer at this bar")
    times = frame.times[window]
    past = time_series(times, values[window, 1:]) if fitted.columns else None
    explainer = TFTExplainer(
        model.model, background_series=time_series(times, values[window, :1]), background_past_covariates=past
    )
    found = explainer.explain()
    selected = found.get_encoder_importance_over_time()
    shares = selected.values(copy=False).mean(axis=0) / 100
    weights = found.get_attention().values(copy=False)
    weights = (weights / weights.sum(axis=0)).mean(axis=1)
    inside = len(times)
    names = inputs_of(list(selected.components), fitted.columns)
    return Attention(
        dict(zip(names, shares.tolist(), strict=True)), weights[:inside][::-1], float(weights[inside:].sum())
    )


def inputs_of(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The inputs the network names ``0_target``, ``3_pastcov`` or ``add_relative_index_futcov``."""
    return [_input(name, columns) for name in names]


def _input(name: str, columns: Sequence[str]) -> str:
    found = _NAME.fullmatch(name)
    if found is None:
        raise NotExplainableError(f"the input {name!r} is neither the target nor a covariate")
    component = found["component"]
    if found["kind"] == "target":
        return HISTORY
    return columns[int(component)] if component.isdigit() else component
