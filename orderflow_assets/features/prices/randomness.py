"""How far the mid is from a random walk: variance ratio, sign reversals, entropy of signs, fluctuation analysis."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array, windows

LEAST_CHANGES = 20
LEAST_WORDS = 60
WORD = 3
LEAST_RETURNS = 720
SMALLEST_SCALE = 10
LEAST_SCALES = 8
_SCALES = 20


def variance_ratio(log_mid: Array, q: int, length: int, outputs: int, stride: int) -> tuple[Array, Array]:
    """VR(q) of the ``length`` last returns and its robust z*, (series, outputs) each (Lo & MacKinlay 1988).

    ``log_mid`` is (series, seconds); an output stands every ``stride`` seconds, the last at the last second.
    Overlapping, bias-corrected; a return with an unknown end is left out; NULL under 60 returns.
    """
    step = _strided(np.diff(log_mid, axis=1), length, outputs, stride)
    jump = _strided(log_mid[:, q:] - log_mid[:, :-q], length - q + 1, outputs, stride)
    moved, leapt = np.isfinite(step), np.isfinite(jump)
    steps, jumps = np.count_nonzero(moved, axis=-1), np.count_nonzero(leapt, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        drift = np.where(moved, step, 0.0).sum(axis=-1) / steps
        square = np.where(moved, (step - drift[..., None]) ** 2, 0.0)
        total = square.sum(axis=-1)
        short = total / (steps - 1)
        long = np.where(leapt, (jump - q * drift[..., None]) ** 2, 0.0).sum(axis=-1) / (q * jumps * (1 - q / steps))
        ratio = np.where((steps >= MIN_BASELINE) & (short > 0), long / short, np.nan)
        theta = sum(
            (2 * (1 - lag / q)) ** 2 * np.einsum("...k,...k->...", square[..., lag:], square[..., :-lag])
            for lag in range(1, q)
        )
        z = (ratio - 1) / np.sqrt(theta / total**2)
    return ratio, np.where(np.isfinite(z), z, np.nan)


def _strided(values: Array, length: int, outputs: int, stride: int) -> Array:
    """Windows of ``length`` that end every ``stride`` values, the last at the end: (series, outputs, length)."""
    return windows(values, length, (outputs - 1) * stride + 1)[:, ::stride]


def sign_memory(mid: Array, length: int, outputs: int, stride: int) -> tuple[Array, Array]:
    """Share of reversals and entropy of three-sign words among the non-zero mid changes of each window.

    ``mid`` is (seconds,) of one series, windows as in :func:`variance_ratio`; both results are (outputs,).
    """
    change = np.diff(mid)
    when = np.flatnonzero(np.nan_to_num(change) != 0)
    up = change[when] > 0
    last = len(change) - 1 - stride * np.arange(outputs - 1, -1, -1)
    first, beyond = np.searchsorted(when, last - length + 1), np.searchsorted(when, last + 1)
    count = beyond - first

    reversals = _between(np.concatenate([[False], up[1:] != up[:-1]])[: len(up)], first + 1, beyond)
    with np.errstate(invalid="ignore", divide="ignore"):
        reversal_rate = np.where(count >= LEAST_CHANGES, reversals / (count - 1), np.nan)

    words = count - WORD + 1
    code = np.full(len(up), -1)
    code[WORD - 1 :] = sum(up[k : len(up) - WORD + 1 + k].astype(int) << k for k in range(WORD))
    entropy = np.zeros(outputs)
    for word in range(2**WORD):
        share = _between(code == word, first + WORD - 1, beyond) / np.maximum(words, 1)
        entropy -= share * np.log2(np.where(share > 0, share, 1))
    return reversal_rate, np.where(words >= LEAST_WORDS, entropy / WORD, np.nan)


def _between(flags: np.ndarray, first: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """How many flags are set from ``first`` up to, and without, ``beyond``."""
    counted = np.concatenate([[0], np.cumsum(flags)])
    top = len(flags)
    return np.maximum(0, counted[np.minimum(beyond, top)] - counted[np.minimum(first, top)])


def hurst(returns: Array, least: int = LEAST_RETURNS) -> tuple[float, float]:
    """Scaling exponent of detrended fluctuation analysis of order 1 and its standard error (Peng et al. 1994).

    ``returns`` may hold NaN, which is left out. NaN results under ``least`` returns or 8 scales, or without movement.
    """
    exponent, error = hursts(returns[None], least)
    return float(exponent[0]), float(error[0])


def hursts(returns: Array, least: int = LEAST_RETURNS) -> tuple[Array, Array]:
    """:func:`hurst` of each row of ``returns``, (series, returns): two arrays (series,)."""
    known = np.isfinite(returns)
    counts = known.sum(axis=1)
    exponent, error = np.full((2, len(returns)), np.nan)
    for count in np.unique(counts[counts >= least]).tolist():
        alike = np.flatnonzero(counts == count)
        exponent[alike], error[alike] = _scaling(returns[alike][known[alike]].reshape(-1, count))
    return exponent, error


def _scaling(returns: Array) -> tuple[Array, Array]:
    """Exponent and standard error of each row of known returns."""
    profile = np.cumsum(returns - returns.mean(axis=1, keepdims=True), axis=1)
    scales = np.unique(np.round(np.geomspace(SMALLEST_SCALE, returns.shape[1] // 4, _SCALES)).astype(int))
    fluctuation = np.stack([_fluctuation(profile, scale) for scale in scales.tolist()], axis=1)
    usable = np.logical_and.reduce(fluctuation > 0, axis=1) & (len(scales) >= LEAST_SCALES)
    x, y = np.log(scales), np.log(np.where(usable[:, None], fluctuation, 1.0))
    x = x - x.mean()
    exponent = y @ x / (x @ x)
    residual = y - y.mean(axis=1, keepdims=True) - exponent[:, None] * x
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt((residual**2).sum(axis=1) / (len(x) - 2) / (x @ x))
    return np.where(usable, exponent, np.nan), np.where(usable, error, np.nan)


def _fluctuation(profile: Array, scale: int) -> Array:
    """Root mean square of each profile about a straight line in each stretch of ``scale`` values."""
    stretches = profile[:, : profile.shape[1] // scale * scale].reshape(len(profile), -1, scale)
    time = np.arange(scale) - (scale - 1) / 2
    apart = stretches - stretches.mean(axis=2, keepdims=True)
    apart -= (apart @ time / (time @ time))[..., None] * time
    return np.sqrt(np.einsum("ijk,ijk->i", apart, apart) / (apart.shape[1] * scale))
