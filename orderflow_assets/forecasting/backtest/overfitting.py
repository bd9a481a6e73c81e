"""How much of a result is the luck of having tried many things.

The deflated Sharpe ratio asks whether a Sharpe ratio is above what the best of so many worthless strategies would
show. The probability of backtest overfitting asks how often the one that is best on half of the bars is below the
median on the other half.
"""

from __future__ import annotations

from itertools import combinations
from math import e, sqrt

import numpy as np

BLOCKS = 16
"""Blocks of bars that are divided into halves, in 12,870 ways."""


def sharpe(returns: np.ndarray) -> float:
    """Mean over standard deviation, per bar; NaN where nothing moves."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / deviation if deviation > 0 else np.nan


def best_of_luck(trials: int, variance: float) -> float:
    """Expected largest Sharpe ratio among ``trials`` strategies whose true one is zero.

    ``variance`` is that of the Sharpe ratios over the trials, per bar as they are.
    """
    from scipy.special import ndtri

    if trials < 2:
        return 0.0
    gumbel = (1 - np.euler_gamma) * ndtri(1 - 1 / trials) + np.euler_gamma * ndtri(1 - 1 / (trials * e))
    return float(sqrt(variance) * gumbel)


def deflated_sharpe(ratio: float, bars: int, skewness: float, kurtosis: float, threshold: float) -> float:
    """Probability that the true Sharpe ratio is above ``threshold`` (Bailey and Lopez de Prado 2014).

    ``ratio`` and ``threshold`` are per bar; ``kurtosis`` is 3 for a normal distribution. NaN where the moments allow
    no error of the ratio.
    """
    from scipy.special import ndtr

    spread = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    return float(ndtr((ratio - threshold) * sqrt((bars - 1) / spread))) if spread > 0 else np.nan


def moments(returns: np.ndarray) -> tuple[float, float]:
    """Skewness and kurtosis (3 for a normal distribution)."""
    standard = (returns - returns.mean()) / returns.std()
    return float((standard**3).mean()), float((standard**4).mean())


def probability_of_overfitting(performance: np.ndarray, *, by_sharpe: bool, blocks: int = BLOCKS) -> float:
    """Share of ways to halve the bars in which the best on one half is at or below the median on the other.

    ``performance`` is ``(bars, strategies)``, more is better, without NaN; it is judged by its mean, or by its Sharpe
    ratio. Combinatorially symmetric cross-validation of Bailey, Borwein, Lopez de Prado and Zhu 2015: bars in
    ``blocks`` (even) that follow each other, every half of the blocks against the other half. NaN with fewer than two
    strategies or two bars a block.
    """
    bars, strategies = performance.shape
    length = bars // blocks
    if strategies < 2 or length < 2:
        return float("nan")
    cut = performance[: length * blocks].reshape(blocks, length, strategies)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    halves = _halves(blocks)
    count = length * blocks // 2

    def judged(chosen: np.ndarray) -> np.ndarray:
        mean = chosen @ sums / count
        if not by_sharpe:
            return mean
        deviation = np.sqrt(np.maximum(chosen @ squares / count - mean**2, 0))
        return np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 0)

    inside, outside = judged(halves), judged(1 - halves)
    chosen = outside[np.arange(len(halves)), inside.argmax(axis=1)][:, None]
    rank = (outside < chosen).sum(axis=1) + ((outside == chosen).sum(axis=1) + 1) / 2
    return float((rank <= (strategies + 1) / 2).mean())


def _halves(blocks: int) -> np.ndarray:
    """Every choice of half of the blocks, ``(choices, blocks)`` of zeros and ones."""
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1, axis=1)
    return halves
