"""How fast a series is pulled back to its mean, and whether it is at all: AR(1) fit, augmented Dickey-Fuller test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import MIN_BASELINE, Array

LAGS = 11
"""(n - 1)^(1/3) of the 1440 minutes of a day, after Said & Dickey (1984)."""

EVERY = 15
"""Bars from one fit to the next."""

_RELATIVE_ZERO = 1e-12


def quarters(values: Array, length: int, minute: int, outputs: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The ``length`` bars up to each full quarter of an hour, and which of these windows stands at each output.

    ``values`` are (series, bars), ``minute`` is that of the first output's opening edge. The windows are (series,
    quarters, length); the one that stands at a bar ends at or before it.
    """
    last = values.shape[1] - outputs + np.arange(outputs)
    ends, which = np.unique(last - (minute + np.arange(outputs) + 1) % EVERY, return_inverse=True)
    return np.stack([values[:, end - length + 1 : end + 1] for end in ends], axis=1), which


@dataclass(frozen=True, slots=True)
class Fit:
    """Arrays of one value per fitted series. ``kappa`` is per step; it and ``mean`` are NaN unless 0 < phi < 1."""

    phi: Array
    kappa: Array
    mean: Array


def fit(values: Array) -> Fit:
    """Least squares of each step on the level before it, along the last axis; NaN under 60 known pairs."""
    level, step = values[..., :-1], np.diff(values, axis=-1)
    known = np.isfinite(step)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_level, mean_step = (np.where(known, part, 0.0).sum(axis=-1) / count for part in (level, step))
        x = np.where(known, level - mean_level[..., None], 0.0)
        y = np.where(known, step - mean_step[..., None], 0.0)
        spread = (x**2).sum(axis=-1)
        moved = spread > count * (_RELATIVE_ZERO * mean_level) ** 2
        slope = np.where((count >= MIN_BASELINE) & moved, (x * y).sum(axis=-1) / spread, np.nan)
        phi = 1 + slope
        pulled = (phi > 0) & (phi < 1)
        kappa = np.where(pulled, -np.log(np.where(pulled, phi, 1.0)), np.nan)
        mean = np.where(pulled, mean_level - mean_step / slope, np.nan)
    return Fit(phi, kappa, mean)


def dickey_fuller(values: Array, lags: int = LAGS) -> Array:
    """t-statistic of the level in the augmented Dickey-Fuller regression with a constant, along the last axis.

    ``values`` is (fits, times). Rows with an unknown term are left out; NaN under 60 of them or without movement.
    """
    step = np.diff(values, axis=-1)
    terms = [values[:, lags:-1], *(step[:, lags - lag : step.shape[1] - lag] for lag in range(1, lags + 1))]
    x, y = np.stack(terms, axis=-1), step[:, lags:]
    known = np.isfinite(x).all(axis=-1) & np.isfinite(y)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (_centred(part, known) for part in (x, y[..., None]))
        scale = np.sqrt((x**2).sum(axis=1, keepdims=True))
        moved = (scale > 0).all(axis=(1, 2)) & (count >= MIN_BASELINE)
        x = np.where(moved[:, None, None], x / scale, 0.0)
        inverse = np.linalg.pinv(np.swapaxes(x, 1, 2) @ x, hermitian=True)
        slopes = inverse @ (np.swapaxes(x, 1, 2) @ y)
        residual = ((y - x @ slopes) ** 2).sum(axis=(1, 2))
        variance = residual / (count - lags - 2) * inverse[:, 0, 0]
        return np.where(moved & (variance > 0), slopes[:, 0, 0] / np.sqrt(variance), np.nan)


def unit_root_pvalue(statistic: Array) -> Array:
    """p-value of a Dickey-Fuller statistic with a constant, from the response surface of MacKinnon (2010)."""
    from statsmodels.tsa.adfvalues import mackinnonp

    known = np.isfinite(statistic)
    values = np.full(statistic.shape, np.nan)
    values[known] = [mackinnonp(value, "c", 1) for value in statistic[known]]
    return values


def _centred(values: Array, known: np.ndarray) -> Array:
    """``values`` (fits, times, terms) less their mean over the ``known`` times, 0 at the others."""
    kept = np.where(known[..., None], values, 0.0)
    mean = kept.sum(axis=1, keepdims=True) / known.sum(axis=1)[:, None, None]
    return np.where(known[..., None], kept - mean, 0.0)
