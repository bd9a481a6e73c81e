"""Forecasts of one series by kept statistical models, each measured against the last value."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import Array, bridged, one_of, require, vector

CANDIDATES: tuple[str, ...] = ("naive", "seasonal_naive", "theta", "ets", "arima")
"""From the plainest to the costliest; of equals the plainer wins. The second one only takes part with a season."""
MODELS: tuple[str, ...] = ("auto", *CANDIDATES)

LONGEST = 1000
"""Values a model is fitted to at most, the latest: older ones cost time and say little."""
LEAST = 30
MOST_ORIGINS = 5
LEAST_ORIGINS = 2


@dataclass(frozen=True, eq=False)
class ForecastResult:
    """``forecast``, ``lower`` and ``upper`` are (steps,), in the units of the series.

    ``metrics``: ``scores``, a row per model compared (see :func:`scores`), ``mase`` and ``skill`` of the model taken
    (None where there was too little to compare on), ``origins``, ``fitted_on`` values and ``interpolated`` of them.
    """

    forecast: Array
    lower: Array
    upper: Array
    model: str
    confidence: float
    metrics: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Backtest:
    """What would have been forecast at several origins: arrays of shape (origins, steps).

    ``scale`` (origins,) is the mean absolute one-step change before each origin.
    """

    model: str
    error: Array
    covered: npt.NDArray[np.bool_]
    scale: Array


def forecast(
    values: npt.ArrayLike, steps: int, *, model: str = "auto", season: int | None = None, confidence: float = 0.95
) -> ForecastResult:
    """The next ``steps`` values with intervals that hold ``confidence`` of them if the model is right.

    ``auto`` takes the model with the least mean absolute scaled error over rolling origins, the last value being one
    of them (naive). ``season`` is in steps, None for none. Missing ends are cut off, gaps inside bridged by straight
    lines. Intervals are the model's own and widen with the horizon as it says.
    Models: AutoARIMA (Hyndman & Khandakar 2008), AutoETS (Hyndman et al. 2002), AutoTheta (Fiorucci et al. 2016).

    Raises ValueError for fewer than 30 values (two seasons and ten if that is more) and for impossible parameters.
    """
    one_of(model, MODELS, "model")
    history, interpolated = _prepared(values, steps, season)
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence is a share such as 0.95, not {confidence}")
    if model == "seasonal_naive" and season is None:
        raise ValueError("seasonal_naive needs season, the length of a cycle in steps")
    compared = CANDIDATES if model == "auto" else tuple(dict.fromkeys(("naive", model)))
    backtests = backtest(history, steps, models=compared, season=season, confidence=confidence)
    table = scores(backtests)
    if model == "auto":
        if not table:
            needed = least_values(season) + LEAST_ORIGINS * steps
            raise ValueError(
                f"choosing a model for {steps} steps needs {needed} values, here are {len(history)}: name one of "
                f"{', '.join(CANDIDATES)} or forecast fewer steps"
            )
        model = min(table, key=lambda row: (row["mase"] is not None, row["mase"]))["model"]
    chosen = next((row for row in table if row["model"] == model), None)
    mean, lower, upper = _fitted(model, history, steps, season, confidence)
    return ForecastResult(
        mean,
        lower,
        upper,
        model,
        confidence,
        {
            "scores": table,
            "mase": chosen["mase"] if chosen else None,
            "skill": chosen["skill"] if chosen else None,
            "origins": len(backtests[0].scale) if backtests else 0,
            "fitted_on": len(history),
            "interpolated": interpolated,
        },
    )


def least_values(season: int | None) -> int:
    """Values without which no model is fitted."""
    return max(LEAST, 2 * season + 10) if season else LEAST


def backtest(
    values: npt.ArrayLike,
    steps: int,
    *,
    models: tuple[str, ...] = CANDIDATES,
    season: int | None = None,
    confidence: float = 0.95,
    origins: int = MOST_ORIGINS,
) -> list[Backtest]:
    """Errors (actual - forecast) at up to ``origins`` origins ``steps`` apart, the last one ``steps`` before the end.

    Each model is refitted at each origin on what lies before. Empty where fewer than two origins have enough before
    them.
    """
    history, _ = _prepared(values, steps, season)
    possible = (len(history) - least_values(season)) // steps
    if possible < LEAST_ORIGINS:
        return []
    edges = [len(history) - steps * back for back in range(min(origins, possible), 0, -1)]
    actual = np.stack([history[edge : edge + steps] for edge in edges])
    scale = np.array([np.abs(np.diff(history[:edge])).mean() for edge in edges])
    tested = []
    for name in models:
        if name == "seasonal_naive" and season is None:
            continue
        made = [_fitted(name, history[:edge], steps, season, confidence) for edge in edges]
        mean, lower, upper = (np.stack(part) for part in zip(*made, strict=True))
        tested.append(Backtest(name, actual - mean, (actual >= lower) & (actual <= upper), scale))
    return tested


def scores(backtests: list[Backtest]) -> list[dict[str, Any]]:
    """A row per model: ``mase``, ``skill`` = 1 - mase / that of naive (positive: better), ``coverage`` of its interval.

    ``mase`` (Hyndman & Koehler 2006) is None where the series did not move before an origin.
    """
    table: list[dict[str, Any]] = []
    for tested in backtests:
        moving = (tested.scale > 0).all()
        mase = float((np.abs(tested.error) / tested.scale[:, None]).mean()) if moving else None
        naive = table[0]["mase"] if table else mase
        skill = 1 - mase / naive if mase is not None and naive else None
        table.append({"model": tested.model, "mase": mase, "skill": skill, "coverage": float(tested.covered.mean())})
    return table


def _prepared(values: npt.ArrayLike, steps: int, season: int | None) -> tuple[Array, int]:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if season is not None and season < 2:
        raise ValueError(f"a season has at least 2 steps, not {season}: leave it out for a series without one")
    array = vector(values)
    require(array, least_values(season), "a forecast")
    history, interpolated = bridged(array)
    return history[-LONGEST:], interpolated


def _fitted(name: str, history: Array, steps: int, season: int | None, confidence: float) -> tuple[Array, Array, Array]:
    """Mean, lower and upper end of the next ``steps``."""
    if np.ptp(history) == 0:
        flat = np.full(steps, history[-1])
        return flat, flat, flat
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _model(name, season).forecast(history, h=steps, level=[100 * confidence])
    lower, upper = (next(made[key] for key in made if key.startswith(edge)) for edge in ("lo-", "hi-"))
    mean, lower, upper = (np.asarray(part, dtype=np.float64) for part in (made["mean"], lower, upper))
    if not (np.isfinite(mean).all() and np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ValueError(f"{name} found no forecast for these {len(history)} values: try model='naive'")
    return mean, lower, upper


def _model(name: str, season: int | None) -> Any:
    from statsforecast import models

    length = season or 1
    match name:
        case "arima":
            return models.AutoARIMA(season_length=length)
        case "ets":
            return models.AutoETS(season_length=length)
        case "theta":
            return models.AutoTheta(season_length=length, decomposition_type="additive")
        case "seasonal_naive":
            return models.SeasonalNaive(season_length=length)
    return models.Naive()
