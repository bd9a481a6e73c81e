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
    steps, jumps = (np.isfinite(part).sum(axis=-1) for part in (step, jump))
    with np.errstate(invalid="ignore", divide="ignore"):
        drift = np.nansum(step, axis=-1) / steps
        square = (step - drift[..., None]) ** 2
        total = np.nansum(square, axis=-1)
        short = total / (steps - 1)
        long = np.nansum((jump - q * drift[..., None]) ** 2, axis=-1) / (q * jumps * (1 - q / steps))
        ratio = np.where((steps >= MIN_BASELINE) & (short > 0), long / short, np.nan)
        theta = sum(
            (2 * (1 - lag / q)) ** 2 * np.nansum(square[..., lag:] * square[..., :-lag], axis=-1) for lag in range(1, q)
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
    known = returns[np.isfinite(returns)]
    if len(known) < least:
        return np.nan, np.nan
    profile = np.cumsum(known - known.mean())
    scales = np.unique(np.round(np.geomspace(SMALLEST_SCALE, len(known) // 4, _SCALES)).astype(int))
    fluctuation = np.array([_fluctuation(profile, scale) for scale in scales])
    if len(scales) < LEAST_SCALES or not (fluctuation > 0).all():
        return np.nan, np.nan
    x, y = np.log(scales), np.log(fluctuation)
    x = x - x.mean()
    exponent = float(x @ y / (x @ x))
    residual = y - y.mean() - exponent * x
    return exponent, float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))


def _fluctuation(profile: Array, scale: int) -> float:
    """Root mean square of the profile about a straight line in each stretch of ``scale`` values."""
    stretches = profile[: len(profile) // scale * scale].reshape(-1, scale)
    centred = stretches - stretches.mean(axis=1, keepdims=True)
    time = np.arange(scale) - (scale - 1) / 2
    fitted = np.outer(centred @ time / (time @ time), time)
    return float(np.sqrt(np.mean((centred - fitted) ** 2)))
