"""Figures of the forecasts of one step: errors, direction and intervals, each beside naive's where that is the measure.

All arguments are arrays over the same origins in time order, without NaN. Everything is in log units unless it says
level; a scaled error is divided by the scale known at its origin.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

LEVELS: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Intervals whose bounds, with the point forecast as the median, make the quantiles of the CRPS."""
_NINETY_FIVE = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""


def errors(anchor: np.ndarray, outcome: np.ndarray, deviation: np.ndarray) -> dict[str, float]:
    """Figures of the errors, forecast - outcome, in levels; ``r2`` of log errors against naive.

    ``r2`` is that of Campbell and Thompson 2008: one minus the squared errors over those of naive.
    """
    actual, forecast = np.exp(outcome), np.exp(anchor + deviation)
    error = forecast - actual
    size = np.abs(error)
    moved = float(((outcome - anchor) ** 2).sum())
    missed = float(((outcome - anchor - deviation) ** 2).sum())
    return {
        "mae": float(size.mean()),
        "naive_mae": float(np.abs(np.exp(anchor) - actual).mean()),
        "rmse": sqrt(float((error**2).mean())),
        "median_ae": float(np.median(size)),
        "max_error": float(size.max()),
        "bias": float(error.mean()),
        "mape": float(100 * (size / actual).mean()),
        "smape": float(100 * (2 * size / (actual + forecast)).mean()),
        "r2": 1 - missed / moved if moved else np.nan,
    }


def direction(deviation: np.ndarray, moved: np.ndarray, step: int) -> dict[str, float]:
    """How often the sign of the forecast was that of the outcome, with its interval and the probability of luck.

    ``moved`` is the log change that happened. Origins at which either is zero say nothing and are left out. Outcomes
    of origins closer than ``step`` overlap, so that interval and p-value count one origin in ``step``.
    """
    told = (deviation != 0) & (moved != 0)
    count = int(told.sum())
    figures: dict[str, float] = {"direction_origins": count}
    if count < 2:
        return figures
    up, rose = deviation[told] > 0, moved[told] > 0
    hit, apart = float((up == rose).mean()), count / step
    low, high = wilson(hit, apart)
    return figures | {
        "direction_hit": hit,
        "direction_low": low,
        "direction_high": high,
        "direction_p": pesaran_timmermann(up, rose, apart),
    }


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of ``count`` independent trials (Wilson 1927)."""
    z2 = _NINETY_FIVE**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return centre - half, centre + half


def pesaran_timmermann(up: np.ndarray, rose: np.ndarray, count: float | None = None) -> float:
    """Probability of so many right signs if forecast and outcome were independent (Pesaran and Timmermann 1992).

    Their statistic is the correlation of the two signs times the root of ``count`` - 1, where ``count`` is how many
    origins are independent (all of them by default). One-sided; NaN where one of the two never changes.
    """
    from scipy.special import ndtr

    independent = len(up) if count is None else count
    if up.all() or rose.all() or not up.any() or not rose.any() or independent <= 1:
        return float("nan")
    correlation = float(np.corrcoef(up, rose)[0, 1])
    return float(ndtr(-correlation * sqrt(independent - 1)))


def crps(scaled: np.ndarray, widths: np.ndarray, levels: tuple[float, ...] = LEVELS) -> float:
    """Mean continuous ranked probability score of scaled signed errors, outcome - forecast.

    ``widths`` are half-widths ``(origins, levels)``; with the point forecast as the median they are quantiles, over
    which twice the pinball loss is integrated by the trapezoid rule (Gneiting and Raftery 2007).
    """
    halves = np.array(levels) / 2
    chances = np.concatenate((0.5 - halves[::-1], [0.5], 0.5 + halves))
    quantiles = np.concatenate((-widths[:, ::-1], np.zeros((len(widths), 1)), widths), axis=1)
    missed = scaled[:, None] - quantiles
    pinball = np.maximum(chances * missed, (chances - 1) * missed).mean(axis=0)
    return float(2 * np.trapezoid(np.concatenate(([0], pinball, [0])), np.concatenate(([0], chances, [1]))))


def winkler(scaled: np.ndarray, width: np.ndarray, level: float) -> float:
    """Mean interval score of Winkler 1972: the width, and what lies outside times ``2 / (1 - level)``."""
    outside = np.maximum(np.abs(scaled) - width, 0)
    return float((2 * width + 2 / (1 - level) * outside).mean())
