"""How often a spread that rose to some level fell back to half of it in time."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array

_KNOWN = 0.5
"""Share of the minutes after a rise that must be known, or the episode tells nothing."""


def convergence(spread: Array, memory: int, holding: int, outputs: int, least: int) -> tuple[Array, Array]:
    """Share of episodes that halved within ``holding`` bars, and their number, for each of the last ``outputs`` bars.

    ``spread`` is (bars,) of one symbol, at least ``memory + outputs + 1`` of them. An episode at level c begins where
    the spread is below c and at or above it one bar later; those count that began in the ``memory`` bars before and
    are over by the bar. The share is NaN under ``least`` episodes, both are NaN where the spread is.
    """
    began, before = spread[1:], spread[:-1]
    after = np.where(np.isfinite(spread), spread, np.inf)[1:]
    halved = _next_lowest(after, holding) <= began / 2
    told = _next_known(np.isfinite(spread)[1:], holding) >= _KNOWN * holding
    length = memory - holding + 1
    first = len(began) - outputs - memory + np.arange(outputs)
    ends = first[:, None] + np.arange(length)
    level = spread[-outputs:][:, None]
    with np.errstate(invalid="ignore"):
        rises = (before[ends] < level) & (began[ends] >= level) & told[ends]
    count = rises.sum(axis=1)
    converged = (rises & halved[ends]).sum(axis=1)
    known = np.isfinite(level[:, 0])
    share = np.where(known & (count >= least), converged / np.maximum(count, 1), np.nan)
    return share, np.where(known, count, np.nan)


def _next_lowest(values: Array, length: int) -> Array:
    """Lowest of the ``length`` values after each, infinity past the end (van Herk 1992)."""
    blocks = -(-len(values) // length) + 1
    padded = np.full((blocks, length), np.inf)
    padded.ravel()[: len(values) - 1] = values[1:]
    rising = np.minimum.accumulate(padded, axis=1).ravel()
    falling = np.minimum.accumulate(padded[:, ::-1], axis=1)[:, ::-1].ravel()
    place = np.arange(len(values))
    return np.minimum(falling[place], rising[place + length - 1])


def _next_known(known: np.ndarray, length: int) -> np.ndarray:
    """How many of the ``length`` values after each are known."""
    total = np.concatenate([[0], np.cumsum(known)])
    place = np.arange(len(known))
    return total[np.minimum(place + 1 + length, len(known))] - total[place + 1]
