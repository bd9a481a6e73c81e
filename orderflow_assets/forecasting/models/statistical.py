"""Models of one series, estimated anew at every origin on the last day of five-minute bars.

They are fed logs of levels and difference or smooth them by themselves. No season is assumed, but for TBATS, which
is about seasons: a day of bars holds none that could be told from chance.
"""

from __future__ import annotations

from typing import Any

from orderflow_assets.forecasting.models.spec import ModelSpec

_HOUR, _DAY = 12, 288


def _model(name: str, doc: str, *aliases: str, library: str | None = None, **declared: Any) -> ModelSpec:
    """A class of Darts; ``library`` is the class it calls on, where it has one."""
    own: dict[str, Any] = {
        "family": "statistical",
        "adapter": "local",
        "path": f"darts.models:{aliases[0]}",
        "estimator": library,
        "extra": "forecast",
        "needs": ("darts", *([library.partition(".")[0].partition(":")[0]] if library else [])),
        "feed": "logs",
        "lags": _DAY - 1,
        "probabilistic": True,
    }
    return ModelSpec(name, doc, aliases=aliases, **(own | declared))


def _nixtla(name: str, doc: str, *aliases: str, **declared: Any) -> ModelSpec:
    """A model of statsforecast, with covariates regressed out beforehand by Darts."""
    library = f"statsforecast.models:{declared.pop('library', aliases[0])}"
    return _model(name, doc, *aliases, library=library, future=True, **declared)


MODELS = (
    _model(
        "arima",
        "Autoregression and moving average of the changes, of fixed orders.",
        "ARIMA",
        future=True,
        parameters={"p": 1, "d": 1, "q": 1},
    ),
    _nixtla(
        "auto_arima",
        "ARIMA, its orders chosen by information criterion (Hyndman and Khandakar 2008).",
        "AutoARIMA",
        "StatsForecastAutoARIMA",
        parameters={"seasonal": False, "max_p": 3, "max_q": 3, "max_d": 1},
    ),
    _model(
        "varima",
        "Vector autoregression of scaled returns (or of what else the target learns from), volume and range.",
        "VARIMA",
        feed="learned",
        covariates=("volume_surprise", "range"),
        future=True,
        multivariate=True,
        parameters={"p": 1, "d": 0, "q": 0},
    ),
    _model(
        "exponential_smoothing",
        "Level and damped trend, smoothed exponentially (Holt 1957).",
        "ExponentialSmoothing",
        parameters={"trend": "additive", "damped": True, "seasonal": None, "random_state": 42},
    ),
    _nixtla(
        "auto_ets",
        "Exponential smoothing in state-space form, its kind chosen by information criterion (Hyndman et al. 2002).",
        "AutoETS",
        "StatsForecastAutoETS",
        parameters={"season_length": 1, "model": "AZN"},
    ),
    _model(
        "theta",
        "Half drift, half exponential smoothing (Assimakopoulos and Nikolopoulos 2000).",
        "Theta",
        probabilistic=False,
        parameters={"theta": 2, "season_mode": None},
    ),
    _model(
        "four_theta",
        "Theta with a choice of trend and of combination (Spiliotis et al. 2020).",
        "FourTheta",
        feed="levels",
        probabilistic=False,
        parameters={"theta": 2, "season_mode": None, "normalization": False},
    ),
    _nixtla(
        "auto_theta",
        "The best of four variants of Theta (Fiorucci et al. 2016).",
        "AutoTheta",
        "StatsForecastAutoTheta",
        parameters={"season_length": 1, "decomposition_type": "additive"},
    ),
    _nixtla(
        "auto_ces",
        "Complex exponential smoothing (Svetunkov et al. 2022).",
        "AutoCES",
        "StatsForecastAutoCES",
        parameters={"season_length": 1, "model": "N"},
    ),
    _nixtla(
        "auto_mfles",
        "Trend, Fourier terms and exponential smoothing fitted in turn to what is left over.",
        "AutoMFLES",
        probabilistic=True,
        parameters={"test_size": _HOUR, "n_windows": 1},
    ),
    _nixtla(
        "tbats",
        "Trend, hourly season by trigonometric terms and ARMA errors (De Livera et al. 2011).",
        "TBATS",
        "BATS",
        parameters={"season_length": [_HOUR], "use_boxcox": False},
    ),
    _nixtla(
        "auto_tbats",
        "TBATS, its parts chosen by information criterion.",
        "AutoTBATS",
        parameters={"season_length": [_HOUR], "use_boxcox": False},
    ),
    _nixtla(
        "croston",
        "Smoothed size over smoothed interval, for amounts that are often zero (Croston 1972); without zeros it is "
        "simple exponential smoothing.",
        "Croston",
        library="CrostonClassic",
        feed="levels",
        parameters={"version": "classic"},
    ),
    _model(
        "fft",
        "The strongest waves of the last day, continued.",
        "FFT",
        feed="learned",
        probabilistic=False,
        parameters={"nr_freqs_to_keep": 10},
    ),
    _model(
        "kalman",
        "A linear state-space model identified from the last day (N4SID), continued by its Kalman filter.",
        "KalmanForecaster",
        "Kalman",
        feed="learned",
        future=True,
        multivariate=True,
        parameters={"dim_x": 2, "random_state": 42},
    ),
    _model(
        "prophet",
        "Piecewise linear trend with changes of slope, fitted as a regression (Taylor and Letham 2018).",
        "Prophet",
        library="prophet:Prophet",
        extra="prophet",
        future=True,
        parameters={
            "random_state": 42,
            "weekly_seasonality": False,
            "yearly_seasonality": False,
            "uncertainty_samples": 0,
        },
    ),
)
