"""Ways to combine the forecasts of several models. Naive is always one of them.

Deviations are log deviations from naive, so naive's are zero and the weight that the others leave is naive's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Weights = tuple[float, ...]
"""One per model, without naive's."""

TRIM = 0.1
"""Share of the forecasts that the trimmed mean leaves out on either side, at least one."""
FLOOR = 0.5
"""Error ratio below which a model gains no further weight."""
PRIOR = 500
"""Origins at which measured skill counts half, equal weights the other half."""
PENALTY = 0.25
"""Weight of the ridge penalty, in units of the mean squared size of a model's deviations."""


def mean(deviations: np.ndarray) -> np.ndarray:
    """The mean with naive. ``deviations`` is ``(models, origins, steps)``, here and below; NaN where one has none."""
    return deviations.sum(axis=0) / (len(deviations) + 1)


def median(deviations: np.ndarray) -> np.ndarray:
    """The median with naive."""
    return np.median(_with_naive(deviations), axis=0)


def trimmed_mean(deviations: np.ndarray) -> np.ndarray:
    """The mean with naive, the largest and the smallest :data:`TRIM` left out; of two forecasts none is."""
    forecasts = np.sort(_with_naive(deviations), axis=0)
    cut = min(max(1, round(TRIM * len(forecasts))), (len(forecasts) - 1) // 2)
    trimmed = forecasts[cut : len(forecasts) - cut].mean(axis=0)
    return np.where(np.isnan(deviations).any(axis=0), np.nan, trimmed)


def weighted(deviations: np.ndarray, weights: Weights) -> np.ndarray:
    """The weighted sum."""
    return np.tensordot(weights, deviations, axes=1)


def skill_weights(moved: np.ndarray, deviations: np.ndarray) -> Weights:
    """Weights in inverse proportion to errors out of sample, drawn to equal ones.

    ``moved`` is the scaled log outcome less naive's, ``(origins, steps)``; ``deviations`` are scaled likewise.
    """
    ratios = np.append(np.abs(moved - deviations).sum(axis=(1, 2)) / np.abs(moved).sum(), 1.0)
    inverse = 1 / np.maximum(ratios, FLOOR)
    trust = len(moved) / (len(moved) + PRIOR)
    weights = trust * inverse / inverse.sum() + (1 - trust) / len(ratios)
    return tuple(weights[:-1].tolist())


def stacking_weights(moved: np.ndarray, deviations: np.ndarray) -> Weights:
    """Weights from zero up by ridge regression of the outcomes on forecasts out of sample (Breiman 1996).

    The penalty draws them to zero, which is naive. Arguments as for :func:`skill_weights`.
    """
    from sklearn.linear_model import Ridge

    rows = deviations.reshape(len(deviations), -1).T
    penalty = PENALTY * float((rows**2).sum(axis=0).mean())
    if penalty == 0:
        return (0.0,) * len(deviations)
    regression = Ridge(alpha=penalty, fit_intercept=False, positive=True).fit(rows, moved.ravel())
    return tuple(regression.coef_.tolist())


PLAIN: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"mean": mean, "median": median, "trimmed": trimmed_mean}
"""Rules that need no learning."""
LEARNT: Mapping[str, Callable[[np.ndarray, np.ndarray], Weights]] = {
    "weighted": skill_weights,
    "stacking": stacking_weights,
}
"""Rules whose weights are learnt from forecasts of bars that the models were not trained on."""


def _with_naive(deviations: np.ndarray) -> np.ndarray:
    return np.concatenate((deviations, np.zeros_like(deviations[:1])))
