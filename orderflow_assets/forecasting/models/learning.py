"""Regressions on lags and covariates."""

from __future__ import annotations

from typing import Any

from orderflow_assets.forecasting.models.columns import BAR_COLUMNS, FEATURE_COLUMNS, STEADY_COLUMNS
from orderflow_assets.forecasting.models.spec import ModelSpec


def _regression(name: str, doc: str, *aliases: str, **declared: Any) -> ModelSpec:
    own: dict[str, Any] = {
        "family": "learning",
        "adapter": "regression",
        "extra": "forecast",
        "lags": 12,
        "past": True,
        "future": True,
        "static": True,
        "multivariate": True,
        "min_bars": 100,
    }
    return ModelSpec(name, doc, aliases=aliases, **(own | declared))


def _hourly(**parameters: Any) -> dict[str, dict[str, Any]]:
    """More of a booster where there is more to be learnt: volatility and volume persist, returns do not."""
    return {"volatility": parameters, "volume": parameters}


MODELS = (
    _regression(
        "lightgbm",
        "Gradient-boosted trees on scaled returns, bars and features: one small booster per step with a robust "
        "loss, in equal parts with naive.",
        "LightGBM",
        "LightGBMModel",
        trained=("price",),
        path="darts.models:LightGBMModel",
        estimator="lightgbm:LGBMRegressor",
        needs=("darts", "lightgbm"),
        covariates=(*BAR_COLUMNS, *FEATURE_COLUMNS),
        probabilistic=True,
        takes_missing=True,
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
        by_target=_hourly(n_estimators=150, learning_rate=0.05, num_leaves=8, min_child_samples=50),
    ),
    _regression(
        "har",
        "Ridge regression of log realized volatility on volatilities of several lengths, volume and the time of "
        "day, after Corsi 2009.",
        "HAR",
        targets=("volatility",),
        trained=("volatility",),
        path="darts.models:SKLearnModel",
        estimator="sklearn.linear_model:Ridge",
        needs=("darts", "sklearn"),
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
        parameters={"alpha": 30.0},
    ),
    _regression(
        "ridge",
        "Ridge regression, one per step.",
        "RegressionModel",
        "SKLearnModel",
        trained=("volume",),
        path="darts.models:SKLearnModel",
        estimator="sklearn.linear_model:Ridge",
        needs=("darts", "sklearn"),
        covariates=STEADY_COLUMNS,
        weight=0.5,
        parameters={"alpha": 30.0},
    ),
    _regression(
        "linear_regression",
        "Ordinary least squares, one equation per step.",
        "LinearRegression",
        "LinearRegressionModel",
        path="darts.models:LinearRegressionModel",
        estimator="sklearn.linear_model:LinearRegression",
        needs=("darts", "sklearn"),
        covariates=STEADY_COLUMNS,
        probabilistic=True,
        weight=0.5,
    ),
    _regression(
        "random_forest",
        "Mean of trees on resampled bars (Breiman 2001).",
        "RandomForest",
        "RandomForestModel",
        path="darts.models:RandomForestModel",
        estimator="sklearn.ensemble:RandomForestRegressor",
        needs=("darts", "sklearn"),
        covariates=STEADY_COLUMNS,
        weight=0.5,
        parameters={
            "n_estimators": 50,
            "max_depth": 6,
            "min_samples_leaf": 50,
            "max_features": 0.3,
            "random_state": 42,
            "n_jobs": 1,
        },
    ),
    _regression(
        "xgboost",
        "Gradient-boosted trees with second-order steps (Chen and Guestrin 2016): one small booster per step.",
        "XGBoost",
        "XGBModel",
        path="darts.models:XGBModel",
        estimator="xgboost:XGBRegressor",
        extra="boosting",
        needs=("darts", "xgboost"),
        covariates=(*BAR_COLUMNS, *FEATURE_COLUMNS),
        probabilistic=True,
        takes_missing=True,
        weight=0.5,
        parameters={
            "n_estimators": 40,
            "max_depth": 2,
            "learning_rate": 0.03,
            "min_child_weight": 100,
            "reg_lambda": 10.0,
            "tree_method": "hist",
            "random_state": 42,
            "n_jobs": 1,
        },
        by_target=_hourly(n_estimators=150, learning_rate=0.05, max_depth=3, min_child_weight=50),
    ),
    _regression(
        "catboost",
        "Gradient-boosted symmetric trees with ordered boosting (Prokhorenkova et al. 2018): one small booster per "
        "step.",
        "CatBoost",
        "CatBoostModel",
        path="darts.models:CatBoostModel",
        estimator="catboost:CatBoostRegressor",
        extra="boosting",
        needs=("darts", "catboost"),
        covariates=(*BAR_COLUMNS, *FEATURE_COLUMNS),
        probabilistic=True,
        takes_missing=True,
        weight=0.5,
        parameters={
            "iterations": 40,
            "depth": 3,
            "learning_rate": 0.05,
            "l2_leaf_reg": 10.0,
            "random_state": 42,
            "thread_count": 1,
            "allow_writing_files": False,
            "verbose": False,
        },
        by_target=_hourly(iterations=150, learning_rate=0.1),
    ),
)
