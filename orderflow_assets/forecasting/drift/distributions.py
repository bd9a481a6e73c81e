"""Comparing two samples: Kolmogorov-Smirnov with effective sample sizes, PSI, Jensen-Shannon, many tests at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a recent sample lies from a reference. ``distance`` and ``p`` are of Kolmogorov-Smirnov."""

    distance: float
    p: float
    psi: float
    jensen_shannon: float
    """The distance, root of the divergence to base 2, in [0, 1]."""


def shift(recent: np.ndarray, reference: np.ndarray, recent_size: float, reference_size: float) -> Shift:
    """Compare two samples, without NaN, that are worth ``recent_size`` and ``reference_size`` independent values."""
    from scipy.spatial.distance import jensenshannon

    recent, reference = np.sort(recent), np.sort(reference)
    distance = _distance(recent, reference)
    shares = _shares(recent, reference)
    return Shift(
        distance,
        _p(distance, recent_size * reference_size / (recent_size + reference_size)),
        _stability(*shares),
        float(jensenshannon(*shares, base=2)),
    )


def effective_size(values: np.ndarray) -> float:
    """How many independent values an autocorrelated sample is worth, between 1 and its length.

    ``n / (1 + 2 * sum of autocorrelations)`` of the ranks, summed over pairs of lags while a pair is positive
    (the initial positive sequence of Geyer 1992).
    """
    count = len(values)
    if count < 4:
        return float(count)
    ranks = values.argsort().argsort() - (count - 1) / 2
    if values.min() == values.max():
        return 1.0
    spectrum = np.fft.rfft(ranks, 2 * count)
    correlation = np.fft.irfft((spectrum * spectrum.conj()).real)[:count]
    correlation /= correlation[0]
    pairs = correlation[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = np.flatnonzero(pairs <= 0)
    summed = 2 * pairs[: stop[0] if len(stop) else None].sum() - 1
    return float(np.clip(count / max(summed, 1.0), 1.0, count))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for having made that many tests (Benjamini & Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_values).tolist() if p_values else []


def population_stability(recent: np.ndarray, reference: np.ndarray) -> float:
    """Population stability index over the reference's deciles, ends open, half a count added to each bin."""
    return _stability(*_shares(np.sort(recent), np.sort(reference)))


def _distance(recent: np.ndarray, reference: np.ndarray) -> float:
    """Largest gap between the distribution functions of two sorted samples."""
    places = np.concatenate((recent, reference))
    gap = np.searchsorted(recent, places, "right") / len(recent)
    gap -= np.searchsorted(reference, places, "right") / len(reference)
    return float(np.abs(gap).max())


def _p(distance: float, size: float) -> float:
    """Kolmogorov's limit with the correction of Stephens 1970 for small samples."""
    from scipy.special import kolmogorov

    root = np.sqrt(size)
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def _stability(p: np.ndarray, q: np.ndarray) -> float:
    return float(((p - q) * np.log(p / q)).sum())


def _shares(recent: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of both sorted samples in the reference's deciles; equal deciles are one bin."""
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    recent_counts, reference_counts = (
        np.diff(np.searchsorted(values, edges, "right"), prepend=0, append=len(values)) + 0.5
        for values in (recent, reference)
    )
    return recent_counts / recent_counts.sum(), reference_counts / reference_counts.sum()
