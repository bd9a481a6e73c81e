"""Whether larger errors came at once or by and by, and since when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.forecasting.drift.thresholds import limit

_LEAST = 24
"""Values on either side of a change."""
_FREEDOM = 1.5
"""Log-likelihood that a jump gains over a climb from noise alone, since it can be put where the noise is."""


@dataclass(frozen=True, slots=True)
class Pace:
    """``began`` is the place of the first larger error; ``kind`` is sudden or gradual, None where neither is clear."""

    kind: str | None
    began: int


def pace(errors: np.ndarray) -> Pace | None:
    """Fit the roots of absolute errors, whose noise is near normal, by a level that jumps once and by one that climbs
    from a place to the end. The better fit tells the kind, by the margin of log-likelihood that is its threshold.

    None where neither finds growth or there are too few errors.
    """
    values = np.sqrt(errors)
    values -= values.mean()
    count = len(values)
    if count < 2 * _LEAST:
        return None
    places = np.arange(_LEAST, count - _LEAST + 1)
    after = count - places
    sums = np.cumsum(values[::-1])[::-1]
    jump = sums[places]
    jump_gain = np.where(jump > 0, jump**2 * count / (after * places), 0.0)
    climb = np.cumsum(sums[::-1])[::-1][places]
    climb_size = after * (after + 1) * (2 * after + 1) / 6 - (after * (after + 1) / 2) ** 2 / count
    climb_gain = np.where(climb > 0, climb**2 / climb_size, 0.0)
    if max(jump_gain.max(), climb_gain.max()) <= 0:
        return None
    total = values @ values
    for_climb = count / 2 * np.log((total - jump_gain.max()) / (total - climb_gain.max()))
    best = climb_gain if for_climb > 0 else jump_gain
    kind = None
    if abs(for_climb + _FREEDOM) > limit("pace"):
        kind = "gradual" if for_climb > -_FREEDOM else "sudden"
    return Pace(kind, int(places[best.argmax()]))
