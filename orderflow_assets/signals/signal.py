"""What a signal is: weighted components, each a transform of features; all its rows follow from its declaration.

A component that is NULL drops out and the other weights are scaled up. Confidence is the weight that is there over
all weight; below one half the value is NULL. Weights are priors, not estimates, and a value is no probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import Array, Grid, before, current, percent_rank

LEAST_CONFIDENCE = 0.5


@dataclass(frozen=True, slots=True)
class Inputs:
    """Features on one minute grid, by group; the last ``outputs`` bars are the ones asked for."""

    grids: Mapping[str, Grid]
    outputs: int

    def _values(self, feature: str) -> Array:
        group, _, name = feature.partition(".")
        return self.grids[group][name]

    def now(self, feature: str) -> Array:
        """The feature at each asked bar, (series, outputs)."""
        return current(self._values(feature), self.outputs)

    def rank(self, feature: str, bars: int) -> Array:
        """Its percent rank among the ``bars`` before, (series, outputs)."""
        return percent_rank(self.now(feature), before(self._values(feature), bars, self.outputs))


Transform = Callable[[Inputs], Array]
Sides = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a signal; ``value`` maps features to (series, outputs)."""

    name: str
    weight: float
    definition: str
    value: Transform


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal. ``inputs`` maps ``group.feature`` to the bars of past it needs, ``side`` names a side or None."""

    name: str
    title: str
    kind: str
    interpretation: str
    interval: str
    inputs: Mapping[str, int]
    components: tuple[Component, ...]
    side: Callable[[Inputs], Sides] | None = None

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Features it reads, by group."""
        split = [name.partition(".")[::2] for name in self.inputs]
        return {group: tuple(name for owner, name in split if owner == group) for group, _ in split}

    def evaluate(self, inputs: Inputs) -> Evaluation:
        parts = {component.name: component.value(inputs) for component in self.components}
        weights = np.array([component.weight for component in self.components])[:, None, None]
        values = np.stack(list(parts.values()))
        there = np.where(np.isfinite(values), weights, 0.0)
        available = there.sum(axis=0)
        confidence = available / weights.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.nansum(values * weights, axis=0) / available
        value = np.where(confidence >= LEAST_CONFIDENCE, mean, np.nan)
        side = self.side(inputs) if self.side else np.full(value.shape, None, dtype=object)
        return Evaluation(value, confidence, side, parts)

    def describe(self) -> dict[str, Any]:
        """A plain form for glossaries and tools."""
        return {
            "signal": self.name,
            "title": self.title,
            "kind": self.kind,
            "range": self.interval,
            "interpretation": self.interpretation,
            "inputs": list(self.inputs),
            "components": [
                {"component": part.name, "weight": part.weight, "definition": part.definition}
                for part in self.components
            ],
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A signal at every series and bar, (series, outputs) each."""

    value: Array
    confidence: Array
    side: Sides
    components: Mapping[str, Array]
