"""What is usual, from five-minute steps: the same for all bars between two of them.

``values`` are (series, steps). ``ends`` are the steps that baselines end with, those included; a baseline holds the
``length`` steps up to there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import MIN_BASELINE, Array, percent_rank

_RELATIVE_ZERO = 1e-12
"""A spread below this share of the values themselves is rounding, not variation."""


def zscore(now: Array, values: Array, ends: Sequence[int], of: npt.NDArray[np.int64], length: int) -> Array:
    """(value - mean) / sample sd of ``now`` (series, bars); bar ``j`` is judged by the baseline ``ends[of[j]]``.

    NaN under 60 known steps and where they do not vary.
    """
    usual = np.array([_moments(_window(values, end, length)) for end in ends])
    mean, sd = usual.transpose(1, 2, 0)[..., of]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sd > _RELATIVE_ZERO * np.abs(mean), (now - mean) / sd, np.nan)


def rank(now: Array, values: Array, ends: Sequence[int], of: npt.NDArray[np.int64], length: int) -> Array:
    """(count below + half the ties) / n of ``now`` in its baseline, as in :func:`zscore`."""
    found = np.full(now.shape, np.nan)
    for number, end in enumerate(ends):
        bars = np.flatnonzero(of == number)
        window = _window(values, end, length)[:, None, :]
        found[:, bars] = percent_rank(now[:, bars], np.broadcast_to(window, (len(now), len(bars), window.shape[-1])))
    return found


def median(values: Array, ends: Sequence[int], of: npt.NDArray[np.int64], length: int) -> Array:
    """Median of the baseline of each bar; NaN under 60 known steps."""
    return np.array([_median(_window(values, end, length)) for end in ends]).T[:, of]


def _window(values: Array, end: int, length: int) -> Array:
    return values[:, max(0, end + 1 - length) : end + 1]


def _moments(window: Array) -> tuple[Array, Array]:
    count = np.isfinite(window).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(window, axis=-1) / count
        sd = np.sqrt(np.nansum((window - mean[:, None]) ** 2, axis=-1) / (count - 1))
    usable = count >= MIN_BASELINE
    return np.where(usable, mean, np.nan), np.where(usable, sd, np.nan)


def _median(window: Array) -> Array:
    known = [row[np.isfinite(row)] for row in window]
    return np.array([np.median(row) if len(row) >= MIN_BASELINE else np.nan for row in known])
