"""The catalogue of models: one :class:`ModelSpec` each, with everything the rest derives from.

Adding a model is one entry. ``naive`` has no class: it forecasts no deviation from the last value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from orderflow_assets.forecasting.frame import FEATURES

_BAR_COLUMNS = (
    "range",
    "flow_share",
    "vwap_gap",
    "volume_surprise",
    "momentum_12",
    "momentum_72",
    "volatility_6",
    "volatility_36",
    "volatility_144",
    "day_sin",
    "day_cos",
)
_FEATURE_COLUMNS = tuple(column for columns in FEATURES.values() for column in columns)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of Darts and how it is used here.

    ``path`` is imported on use only; ``estimator`` is the scikit-learn class that a wrapper model takes. ``extra``
    is the optional dependency group that holds both. ``weight`` is the share of the model in the mean with naive.
    """

    name: str
    doc: str
    targets: tuple[str, ...]
    path: str | None = None
    estimator: str | None = None
    extra: str | None = None
    lags: int = 0
    covariates: tuple[str, ...] = ()
    takes_missing: bool = False
    """Whether a covariate may be absent in some bars; where not, training and forecasts leave such bars out."""
    min_bars: int = 1
    """Bars without a gap needed to train."""
    weight: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code_version(self) -> str:
        """Hash of the declaration: a model trained under another one is another model."""
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()[:16]


NAIVE = "naive"

SPECS: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            NAIVE,
            "The last value stays.",
            targets=("price", "volatility"),
            takes_missing=True,
        ),
        ModelSpec(
            "lightgbm",
            "Gradient-boosted trees on scaled returns, bars and features: one small booster per step with a robust "
            "loss, in equal parts with naive.",
            targets=("price",),
            path="darts.models:LightGBMModel",
            extra="forecast",
            lags=12,
            covariates=(*_BAR_COLUMNS, *_FEATURE_COLUMNS),
            takes_missing=True,
            min_bars=100,
            weight=0.5,
            parameters={
                "objective": "huber",
                "n_estimators": 40,
                "num_leaves": 4,
                "learning_rate": 0.03,
                "min_child_samples": 100,
                "reg_lambda": 10.0,
                "random_state": 42,
                "deterministic": True,
                "force_row_wise": True,
                "n_jobs": 1,
                "verbose": -1,
            },
        ),
        ModelSpec(
            "har",
            "Ridge regression of log realized volatility on volatilities of several lengths, volume and the time of "
            "day, after Corsi 2009.",
            targets=("volatility",),
            path="darts.models:SKLearnModel",
            estimator="sklearn.linear_model:Ridge",
            extra="forecast",
            lags=1,
            covariates=(
                "log_sigma",
                "volatility_6",
                "volatility_36",
                "volatility_144",
                "volume_surprise",
                "range",
                "day_sin",
                "day_cos",
            ),
            min_bars=100,
            parameters={"alpha": 30.0},
        ),
    )
}


def candidates(target: str) -> list[ModelSpec]:
    """The trainable models of a target."""
    return [spec for spec in SPECS.values() if target in spec.targets and spec.path]
