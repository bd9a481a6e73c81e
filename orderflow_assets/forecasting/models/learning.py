"""Regressions on lags and covariates."""

from __future__ import annotations

from orderflow_assets.forecasting.models.columns import BAR_COLUMNS, FEATURE_COLUMNS
from orderflow_assets.forecasting.models.spec import ModelSpec

MODELS = (
    ModelSpec(
        "lightgbm",
        "Gradient-boosted trees on scaled returns, bars and features: one small booster per step with a robust "
        "loss, in equal parts with naive.",
        family="learning",
        adapter="regression",
        trained=("price",),
        aliases=("LightGBM", "LightGBMModel"),
        path="darts.models:LightGBMModel",
        extra="forecast",
        needs=("darts", "lightgbm"),
        lags=12,
        covariates=(*BAR_COLUMNS, *FEATURE_COLUMNS),
        past=True,
        future=True,
        static=True,
        multivariate=True,
        probabilistic=True,
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
        family="learning",
        adapter="regression",
        targets=("volatility",),
        trained=("volatility",),
        aliases=("HAR",),
        path="darts.models:SKLearnModel",
        estimator="sklearn.linear_model:Ridge",
        extra="forecast",
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
        past=True,
        future=True,
        static=True,
        multivariate=True,
        min_bars=100,
        parameters={"alpha": 30.0},
    ),
)
