"""What signals look at: the bars asked for, and three pasts of them, as arrays of shape (series, times).

A feature is named ``group.feature``. Long pasts are looked at on marks, full quarters of an hour or full hours UTC:
what moves slowly is not read minute by minute for a month.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import Array, Identity, before, current, percent_rank, rank_before

if TYPE_CHECKING:
    from orderflow_assets.signals.signal import Evaluation

Whole = npt.NDArray[np.int64]


class Past(Flag):
    """How much of its past a signal needs of a feature, besides the bars themselves."""

    NOW = 0
    DAY = auto()
    """The 25 hours before, minute by minute; baselines take the last 24."""
    WEEK = auto()
    """The 7 days before, every full quarter of an hour."""
    MONTH = auto()
    """The 32 days before, every full hour; baselines take the last 30."""


NOW, DAY, WEEK, MONTH = Past.NOW, Past.DAY, Past.WEEK, Past.MONTH

LENGTH: Mapping[Past, int] = {DAY: 1440, WEEK: 672, MONTH: 720}
"""Bars or marks a baseline has."""

TEXT: Mapping[Past, str] = {
    NOW: "the bar",
    DAY: "the bar and the 24 h before",
    WEEK: "the bar and the 7 d before, every full quarter of an hour",
    MONTH: "the bar and the 30 d before, every full hour",
}


@dataclass(frozen=True, slots=True)
class View:
    """Features over the same times, by name; all arrays have the shape (series, times)."""

    values: Mapping[str, Array]
    shape: tuple[int, int]

    def __getitem__(self, feature: str) -> Array:
        try:
            return self.values[feature]
        except KeyError:
            raise KeyError(f"{feature} is not declared for this past; a signal declares all it reads.") from None

    def filled(self, value: float = np.nan) -> Array:
        return np.full(self.shape, value)


@dataclass(frozen=True, slots=True)
class Marks:
    """For each bar asked for: how many marks of a view lie before its closing edge, and how many up to it."""

    before: Whole
    through: Whole

    def windows(self, values: Array, length: int) -> Array:
        """The ``length`` marks before each bar, (series, outputs, length)."""
        return np.lib.stride_tricks.sliding_window_view(values, length, axis=1)[:, self.before - length]


Reading = str | Callable[[View], Array]
"""A feature by name, or what is made of several."""


def read(what: Reading, view: View) -> Array:
    return view[what] if isinstance(what, str) else what(view)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything the signals of one stretch of bars are made of.

    ``now`` and ``day`` end with the ``outputs`` bars asked for; ``evaluated`` holds the signals before the present
    one in listed order.
    """

    series: tuple[Identity, ...]
    outputs: int
    now: View
    day: View
    week: View
    month: View
    marks: Mapping[Past, Marks]
    evaluated: dict[str, Evaluation] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.series), self.outputs

    def lately(self, what: Reading) -> Array:
        """What needs the minutes before a bar, at each bar asked for: (series, outputs)."""
        return current(read(what, self.day), self.outputs)

    def baseline(self, what: Reading, past: Past) -> Array:
        """Its values before each bar: (series, outputs, length of the past)."""
        if past is DAY:
            return before(read(what, self.day), LENGTH[DAY], self.outputs)
        view = self.week if past is WEEK else self.month
        return self.marks[past].windows(read(what, view), LENGTH[past])

    def rank(self, what: Reading, past: Past) -> Array:
        """Percent rank of each bar in its own past, (series, outputs)."""
        if past is DAY:
            return rank_before(read(what, self.day), LENGTH[DAY], self.outputs)
        return percent_rank(read(what, self.now), self.baseline(what, past))
