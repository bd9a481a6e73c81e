"""Correlations of columns with gaps, and the groups of columns that they join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST = 30
"""Rows in which both columns are known, below which a correlation is not told."""
_FLAT = 1e-12
"""Share of a column's own square below which its variance is taken for rounding."""


@dataclass(frozen=True, slots=True)
class Correlations:
    """``values`` are NaN where a pair has too few rows in common or a column does not change in them."""

    names: Sequence[str]
    values: np.ndarray
    rows: np.ndarray


def between(names: Sequence[str], columns: np.ndarray, method: str) -> Correlations:
    """Of every pair of columns, over the rows in which both are finite; ``spearman`` ranks each column first."""
    known = np.isfinite(columns)
    values = np.where(known, columns, np.nan)
    if method == "spearman":
        values = np.column_stack([_ranked(column) for column in values.T]) if values.shape[1] else values
    counts = known.sum(axis=0)
    centre = np.divide(np.nansum(values, axis=0), counts, out=np.zeros(len(counts)), where=counts > 0)
    filled = np.where(known, values - centre, 0.0)
    mask = known.astype(float)
    shared = mask.T @ mask
    safe = np.maximum(shared, 1)
    sums = filled.T @ mask
    squares = (filled**2).T @ mask
    spread = squares - sums**2 / safe
    spread[spread <= _FLAT * squares] = 0.0
    cross = filled.T @ filled - sums * sums.T / safe
    scale = np.sqrt(spread * spread.T)
    found = np.divide(cross, scale, out=np.full(cross.shape, np.nan), where=(scale > 0) & (shared >= LEAST))
    return Correlations(names, np.clip(found, -1, 1), shared.astype(int))


def strongest(found: Correlations, across: bool) -> list[tuple[Any, ...]]:
    """Pairs with a correlation, strongest first; with ``across`` those of different groups only."""
    pairs = []
    for left in range(len(found.names)):
        for right in range(left + 1, len(found.names)):
            value = float(found.values[left, right])
            one, other = found.names[left], found.names[right]
            if np.isfinite(value) and not (across and one.partition(".")[0] == other.partition(".")[0]):
                pairs.append((one, other, value, int(found.rows[left, right])))
    return sorted(pairs, key=lambda pair: -abs(pair[2]))


def clusters(found: Correlations, threshold: float) -> list[tuple[list[str], float]]:
    """Columns that a chain of |correlations| of at least ``threshold`` joins, largest first, each with the weakest
    link that was used.
    """
    home = {name: {name} for name in found.names}
    weakest: dict[str, float] = {}
    for one, other, value, _ in strongest(found, across=False):
        if abs(value) < threshold:
            break
        if home[one] is not home[other]:
            home[one] |= home[other]
            for name in home[other]:
                home[name] = home[one]
        for name in home[one]:
            weakest[name] = min(abs(value), weakest.get(name, 1.0)) if name in (one, other) else weakest.get(name, 1.0)
    groups = {id(members): members for members in home.values() if len(members) > 1}
    joined = [(sorted(members), min(weakest[name] for name in members)) for members in groups.values()]
    return sorted(joined, key=lambda group: (-len(group[0]), group[0]))


def _ranked(values: np.ndarray) -> np.ndarray:
    """Mean ranks of the finite values."""
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    _, places, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks[known] = ((ends - counts + 1 + ends) / 2)[places]
    return ranks
