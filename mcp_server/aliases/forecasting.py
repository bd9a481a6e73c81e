"""Names for forecasts, the models behind them, and why they say what they say."""

from __future__ import annotations

from typing import Any

from mcp_server.aliases.alias import MARKET, Alias, As

_ON = {"exchange": MARKET}
_SYMBOL = {"symbol": "BTCUSDT"}
_STEPS = "models forecast what they are declared for: prices 1 to 12 bars of five minutes ahead; see series_forecast"
_SERVES = "what serves the series is explained, with its own steps and bars"
_STORED = "stored results are told; model_train and backtest_start make new ones where writes are allowed"
_MEASURED = "the registry holds what a training measured and nothing that is sent"
_COUNTED = "it is known of the stored bars of the series"
_QUICK = {"naive": "naive", "naiveseasonal": "seasonal_naive", "autoarima": "arima", "autotheta": "theta"}
_QUICK |= {"fourtheta": "theta", "exponentialsmoothing": "ets", "autoets": "ets"}
_FOLDS = {"expanding_window": "expanding", "sliding_window": "sliding"}


def _statistical(name: Any) -> Any:
    return _QUICK.get(str(name).lower(), str(name).lower())


def _ensemble(rule: Any) -> str:
    return f"ensemble_{rule}"


def _pretrained(variant: Any) -> str:
    return f"chronos2_{variant}"


def _strategy(name: Any) -> Any:
    return _FOLDS.get(name, name)


def _canonical(name: Any) -> Any:
    """The name under which results of a model are stored."""
    from orderflow_assets.forecasting.models import ModelError, resolve

    try:
        return resolve(str(name)).name
    except ModelError:
        return name


_HOURS = As("hours", lambda hours: max(float(hours), 48.0))
"""At least the two days that are needed to train on one and to judge on the other."""

_CORE = (
    Alias("forecast_with_darts_quick", "forecast_now", renamed=_ON, ignored={"horizon": _STEPS}),
    Alias(
        "forecast_with_darts_statistical",
        "series_forecast",
        renamed={
            "exchange": MARKET,
            "model_name": As("model", _statistical),
            "horizon": "steps",
            "data_hours": "hours",
            "confidence_level": "confidence",
        },
        defaults={"steps": 24},
    ),
    Alias(
        "forecast_with_darts_ml",
        "forecast_now",
        renamed={"exchange": MARKET, "model_name": "model", "data_hours": _HOURS},
        ignored={"horizon": _STEPS, "include_features": "a model takes the features it is declared with"},
        defaults={"model": "lightgbm"},
    ),
    Alias(
        "forecast_with_darts_dl",
        "forecast_now",
        renamed={"exchange": MARKET, "model_name": "model", "data_hours": _HOURS},
        ignored={"horizon": _STEPS, "epochs": _STORED, "use_gpu": "a card is used where there is one"},
        defaults={"model": "nbeats"},
    ),
    Alias(
        "forecast_zero_shot",
        "forecast_now",
        renamed={"exchange": MARKET, "model_variant": As("model", _pretrained)},
        ignored={"horizon": _STEPS, "num_samples": "intervals are of past errors, not of samples"},
        defaults={"symbol": "BTCUSDT", "model": "chronos2_small"},
    ),
    Alias(
        "forecast_ensemble",
        "forecast_now",
        renamed={"exchange": MARKET, "models": "members", "aggregation": As("model", _ensemble)},
        ignored={"horizon": _STEPS},
        defaults={"model": "ensemble_mean"},
    ),
    Alias("list_darts_models", "forecast_models_list"),
)

_PRODUCTION = (
    Alias(
        "tune_forecast_hyperparameters",
        "models_list",
        given={"response_format": "detailed"},
        renamed=_ON,
        ignored=dict.fromkeys(("model_name", "n_trials", "metric", "hours"), _STORED),
        defaults=_SYMBOL,
    ),
    Alias(
        "cross_validate_timeseries",
        "model_cross_validate",
        renamed={
            "exchange": MARKET,
            "model_name": "model",
            "n_folds": "folds",
            "cv_strategy": As("strategy", _strategy),
            "hours": _HOURS,
        },
        ignored={"forecast_horizon": _STEPS},
        defaults={"symbol": "BTCUSDT", "model": "lightgbm"},
    ),
    Alias(
        "detect_model_drift",
        "drift_report",
        renamed=_ON,
        ignored={
            "model_id": "every model that serves is told; symbol, market and target narrow that",
            "metric": "every detector is told with its threshold",
            "window_size": "each detector has the window that its threshold was chosen for",
            **dict.fromkeys(("actual_data", "predictions"), "stored outcomes and forecasts are judged"),
        },
    ),
    Alias(
        "register_forecast_model",
        "registry_history",
        renamed=_ON,
        ignored=dict.fromkeys(("model_name", "mape", "direction_accuracy", "mae", "rmse", "horizon"), _MEASURED),
    ),
    Alias(
        "backtest_forecast_strategy",
        "backtest_results",
        renamed={"exchange": MARKET, "model": As("model", _canonical)},
        ignored=dict.fromkeys(("start_date", "end_date", "forecast_horizon", "retrain_frequency"), _STORED),
    ),
    Alias("get_model_performance", "leaderboard_get", renamed={"exchange": MARKET, "top_n": "limit"}),
    Alias(
        "route_forecast",
        "model_route",
        renamed=_ON,
        ignored={
            "data_length": _COUNTED,
            "forecast_horizon": _STEPS,
            **dict.fromkeys(("multivariate", "has_covariates"), _COUNTED),
            "prefer_interpretable": "models are told apart by measured skill and time alone",
        },
        defaults=_SYMBOL,
    ),
)

_EXPLAINED = dict.fromkeys(("model_name", "horizon", "data_hours"), _SERVES)
_EXPLANATIONS = (
    Alias("explain_forecast_features", "feature_importance", renamed=_ON, ignored=_EXPLAINED),
    Alias("get_model_reasoning", "forecast_explain", renamed=_ON, ignored=_EXPLAINED),
    Alias("get_forecast_confidence", "forecasts_get", renamed=_ON, defaults=_SYMBOL),
    Alias("analyze_forecast_errors", "error_analysis", renamed=_ON, defaults=_SYMBOL),
)

ALIASES = (*_CORE, *_PRODUCTION, *_EXPLANATIONS)
