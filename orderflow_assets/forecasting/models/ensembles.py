"""Combinations of models; naive is always a member without being named.

A member that forecasts another target than the one asked for, or is not installed, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orderflow_assets.forecasting.models import deep, learning, statistical
from orderflow_assets.forecasting.models.spec import ModelSpec

_MEMBERS: Mapping[str, ModelSpec] = {
    spec.name: spec for family in (statistical, learning, deep) for spec in family.MODELS
}
_FEW = ("theta", "ridge", "lightgbm", "har")
_LEARNING = ("ridge", "lightgbm", "xgboost", "catboost", "random_forest", "har")
_DEEP = ("nlinear", "dlinear", "tide", "nhits", "tsmixer")


def _ensemble(name: str, doc: str, rule: str, members: Sequence[str], trained: tuple[str, ...] = ()) -> ModelSpec:
    """A combination by one of the rules of :mod:`orderflow_assets.forecasting.ensembles`."""
    specs = [_MEMBERS[member] for member in members]
    return ModelSpec(
        name,
        doc,
        family="ensemble",
        adapter="ensemble",
        trained=trained,
        extra="forecast",
        needs=("darts",),
        lags=max(spec.lags for spec in specs),
        covariates=tuple(dict.fromkeys(column for spec in specs for column in spec.covariates)),
        past=any(spec.past for spec in specs),
        gpu=any(spec.gpu for spec in specs),
        min_bars=max(spec.min_bars for spec in specs),
        parameters={"rule": rule, "members": list(members)},
    )


MODELS = (
    _ensemble(
        "ensemble_mean",
        "Mean of a few models that err differently and of naive: the benchmark of combinations.",
        "mean",
        _FEW,
        trained=("price",),
    ),
    _ensemble("ensemble_median", "Median of a few models that err differently and of naive.", "median", _FEW),
    _ensemble(
        "ensemble_trimmed",
        "Mean of a few models and of naive without the highest and the lowest forecast.",
        "trimmed",
        _FEW,
    ),
    _ensemble(
        "ensemble_weighted",
        "Mean of a few models and of naive, weighted by inverse errors out of sample drawn to equal weights.",
        "weighted",
        _FEW,
    ),
    _ensemble(
        "ensemble_stacking",
        "Ridge regression with weights from zero up on forecasts out of sample of a few models (Breiman 1996).",
        "stacking",
        _FEW,
    ),
    _ensemble("ensemble_ml", "Regressions and trees with naive, weighted by skill.", "weighted", _LEARNING),
    _ensemble("ensemble_dl", "Mean of small neural networks and of naive.", "mean", _DEEP),
    _ensemble(
        "ensemble_all",
        "Trimmed mean of statistical models, regressions, trees and neural networks with naive.",
        "trimmed",
        ("theta", "auto_ets", *_LEARNING, *_DEEP),
    ),
)
