"""Between what a model puts out and the forecast that is made of it.

At each origin log deviations are an affine map of outputs: ``deviations = matrix @ outputs + offset``. Outputs are in
the unit the target is learnt in: the volatility-scaled log return of each coming bar for a price, the log itself for a
volatility, its change for a volume. In these units naive puts out no return, the last hour's volatility and no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.targets import Target

UNITS: Mapping[str, str] = {
    "price": "volatility-scaled log return",
    "volatility": "log realized volatility",
    "volume": "log change of the hourly volume",
}
"""Unit of an output, by target."""


@dataclass(frozen=True, slots=True)
class AffineMap:
    """How outputs become log deviations at one origin: ``matrix`` is (steps, width), ``offset`` is (steps,)."""

    matrix: np.ndarray
    offset: np.ndarray

    @classmethod
    def at(cls, target: Target, frame: Frame, origin: int) -> AffineMap:
        """The map at bar ``origin``, found by asking for the deviations of no output and of each unit output."""
        probes = np.vstack([np.zeros(target.width), np.eye(target.width)])
        answers = target.deviate(frame, slice(origin, origin + 1), probes)
        return cls((answers[1:] - answers[0]).T, answers[0])

    def outputs(self, deviations: np.ndarray) -> np.ndarray:
        """Outputs (width,) that deviations (steps,) are made of."""
        return np.linalg.solve(self.matrix, deviations - self.offset)

    @property
    def naive(self) -> np.ndarray:
        """What naive, which never deviates from itself, puts out, (width,)."""
        return self.outputs(np.zeros(len(self.offset)))
