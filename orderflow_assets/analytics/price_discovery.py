"""Where the price of a symbol is made: shares of price discovery from an error-correction model of its venues' mids.

Log mids of one asset are cointegrated, each pair differing by a stationary spread, so the cointegrating vectors are
known: the spreads to the first venue. Given them, the vector error-correction model is a linear regression, done here
on the seconds in which all its terms are known; outages leave out seconds instead of ending the day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.features.grid import Array

LAGS_S = 10
"""Lagged differences in the model, at one second each."""

LEAST_SECONDS = 3600
"""Complete seconds a day needs."""

_MOST_CONDITION = 1e12


@dataclass(frozen=True, slots=True)
class Shares:
    """Per venue: Hasbrouck's information share with the venue ordered last (``low``) and first (``high``), and the
    component share of Gonzalo and Granger, which adds up to one and may be negative. ``seconds`` enter the model."""

    low: Array
    high: Array
    component: Array
    seconds: int


def shares(log_mids: Array) -> Shares | None:
    """Of ``log_mids`` (venues, seconds), NaN where unknown; None where they cannot be told.

    Sources: Hasbrouck 1995; Gonzalo & Granger 1995; closed forms of the first and last place in the ordering follow
    from the Cholesky factor.
    """
    target, regressors = _design(log_mids)
    venues = len(log_mids)
    if len(target) < max(LEAST_SECONDS, 10 * regressors.shape[1]) or (target.std(axis=0) == 0).any():
        return None
    scale = regressors.std(axis=0)
    scale[-1] = 1.0
    if (scale == 0).any():
        return None
    scaled = regressors / scale
    gram = scaled.T @ scaled
    if np.linalg.cond(gram) > _MOST_CONDITION:
        return None
    coefficients = np.linalg.solve(gram, scaled.T @ target)
    residuals = target - scaled @ coefficients
    adjustment = (coefficients[: venues - 1] / scale[: venues - 1, None]).T
    omega = residuals.T @ residuals / (len(target) - regressors.shape[1])
    common = _orthogonal(adjustment)
    return Shares(*_information(common, omega), common / common.sum(), len(target))


def _design(log_mids: Array) -> tuple[Array, Array]:
    """Differences (rows, venues) and what explains them: spreads before, lagged differences, a constant."""
    difference = np.diff(log_mids, axis=1)
    spread = log_mids[1:] - log_mids[:1]
    seconds = difference.shape[1]
    lagged = [difference[:, LAGS_S - lag : seconds - lag] for lag in range(1, LAGS_S + 1)]
    explained = difference[:, LAGS_S:]
    terms = np.vstack([spread[:, LAGS_S : LAGS_S + explained.shape[1]], *lagged, np.ones((1, explained.shape[1]))])
    complete = np.isfinite(explained).all(axis=0) & np.isfinite(terms).all(axis=0)
    return explained[:, complete].T, terms[:, complete].T


def _orthogonal(adjustment: Array) -> Array:
    """The direction that no error correction reaches: the permanent innovation weighs the venues by it."""
    left = np.linalg.svd(adjustment)[0][:, -1]
    return left * np.sign(left.sum() or 1.0)


def _information(common: Array, omega: Array) -> tuple[Array, Array]:
    """Share of the variance of the permanent innovation that is the venue's own, ordered last and first."""
    variance = common @ omega @ common
    last = common**2 / np.diag(np.linalg.inv(omega)) / variance
    first = (omega @ common) ** 2 / np.diag(omega) / variance
    return np.minimum(first, last), np.maximum(first, last)
