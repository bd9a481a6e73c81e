"""What a signal is: components made of features, how they combine, and what it says besides its value.

A component that is NULL drops out. Confidence is the weight that is there over all weight; below one half the value
is NULL. Weights are priors, not estimates, and a value is no probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.signals.inputs import TEXT, Inputs, Past

LEAST_CONFIDENCE = 0.5

Labels = npt.NDArray[np.object_]
"""Words of shape (series, outputs), None where there is none."""

Combine = Literal["renormalised", "fixed", "own"]

COMBINE: Mapping[Combine, str] = {
    "renormalised": "weighted mean of the components that are known; the weights of the others are shared out",
    "fixed": "weighted sum of the components that are known over all weight: what is unknown adds nothing, so that the "
    "value is a lower bound",
    "own": "computed as the components say; they are reported and not averaged",
}


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a signal; ``value`` maps the inputs to (series, outputs)."""

    name: str
    weight: float
    definition: str
    value: Callable[[Inputs], Array]


@dataclass(frozen=True, slots=True)
class Field:
    """Something a signal says besides its value; ``words`` are those a label can be."""

    name: str
    unit: str
    meaning: str
    words: tuple[str, ...] = ()

    @property
    def dtype(self) -> Literal["float", "flag", "label"]:
        if self.words:
            return "label"
        return "flag" if self.unit == "flag" else "float"


@dataclass(frozen=True, slots=True)
class Event:
    """What must follow for a signal to have been right, known ``minutes`` after the bar.

    ``probability`` names the calibrated chance of it, where one is estimated; ``directed`` says that it is about the
    side the signal takes, not about how high its value is.
    """

    minutes: int
    definition: str
    probability: str = ""
    directed: bool = False


@dataclass(frozen=True, slots=True)
class Combined:
    """The components (series, outputs) each, their mean by the declared rule, and the share of weight known."""

    value: Array
    confidence: Array
    parts: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from the combined components: fields, vote, and a value or confidence of the signal's own.

    ``vote`` is 1 for up, -1 for down, 0 for a signal with a direction that is undecided, NaN for none.
    """

    fields: Mapping[str, Array | Labels]
    vote: Array | None = None
    value: Array | None = None
    confidence: Array | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A signal at every series and bar, (series, outputs) each."""

    value: Array
    confidence: Array
    vote: Array
    side: Labels
    components: Mapping[str, Array]
    fields: Mapping[str, Array | Labels] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal. ``inputs`` maps what it reads to the past it needs of it; ``after`` names signals it reads.

    ``required`` lists alternatives: of each tuple one component must be known. ``label`` is the field that names a
    side, a direction or a phase. ``weights`` says who chose them.
    """

    name: str
    title: str
    kind: str
    interpretation: str
    interval: str
    inputs: Mapping[str, Past]
    components: tuple[Component, ...]
    event: Event
    combine: Combine = "renormalised"
    weights: str = "chosen, not estimated"
    after: tuple[str, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    fields: tuple[Field, ...] = ()
    label: str = ""
    vote: str = "none: the value has no direction"
    conclude: Callable[[Inputs, Combined], Conclusion] | None = None
    assumptions: tuple[str, ...] = ()

    def evaluate(self, inputs: Inputs) -> Evaluation:
        parts = {component.name: component.value(inputs) for component in self.components}
        combined = self._combined(parts, inputs.shape)
        said = self.conclude(inputs, combined) if self.conclude else Conclusion({})
        value = combined.value if said.value is None else said.value
        return Evaluation(
            value,
            combined.confidence if said.confidence is None else said.confidence,
            np.full(value.shape, np.nan) if said.vote is None else np.where(np.isfinite(value), said.vote, np.nan),
            self._side(said, value),
            parts,
            said.fields,
        )

    def _combined(self, parts: Mapping[str, Array], shape: tuple[int, int]) -> Combined:
        if self.combine == "own":
            return Combined(np.full(shape, np.nan), np.full(shape, np.nan), parts)
        weights = np.array([component.weight for component in self.components])[:, None, None]
        values = np.stack(list(parts.values()))
        known = np.isfinite(values)
        available = np.where(known, weights, 0.0).sum(axis=0)
        confidence = available / weights.sum()
        total = np.where(known, values * weights, 0.0).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / (available if self.combine == "renormalised" else weights.sum())
        usable = confidence >= LEAST_CONFIDENCE - 1e-12
        for alternatives in self.required:
            usable &= np.logical_or.reduce([np.isfinite(parts[name]) for name in alternatives])
        return Combined(np.where(usable, mean, np.nan), confidence, parts)

    def _side(self, said: Conclusion, value: Array) -> Labels:
        if not self.label:
            return np.full(value.shape, None, dtype=object)
        return np.asarray(said.fields[self.label], dtype=object)

    def describe(self) -> dict[str, Any]:
        """A plain form for glossaries, documentation and tools."""
        return {
            "signal": self.name,
            "title": self.title,
            "kind": self.kind,
            "range": self.interval,
            "interpretation": self.interpretation,
            "inputs": [*self.inputs, *self.after],
            "components": [
                {"component": part.name, "weight": part.weight, "definition": part.definition}
                for part in self.components
            ],
            "combine": COMBINE[self.combine],
            "weights": self.weights,
            "past": {name: TEXT[past] for name, past in self.inputs.items()},
            "fields": [
                {"field": item.name, "unit": item.unit, "meaning": item.meaning, "words": list(item.words)}
                for item in self.fields
            ],
            "direction": self.vote,
            "label": {"event": self.event.definition, "known_after_minutes": self.event.minutes},
            "assumptions": list(self.assumptions),
        }


def words(known: Mask, otherwise: str, **cases: Mask) -> Labels:
    """``otherwise`` where known, the name of the first case that holds, None where unknown."""
    named = np.full(known.shape, otherwise, dtype=object)
    for name, mask in reversed(cases.items()):
        named[mask] = name
    named[~known] = None
    return named


def flag(known: Mask, holds: Mask) -> Array:
    """1 where it holds, 0 where not, NaN where unknown."""
    return np.where(known, holds.astype(float), np.nan)


def clip(values: Array, low: float, high: float) -> Array:
    return np.clip(values, low, high)
