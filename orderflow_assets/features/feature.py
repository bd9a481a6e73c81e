"""What a feature is: one number per series and minute, with its meaning declared next to its name.

A :class:`Group` is the features of one kind of market data. Its stored table, column documents, range checks and
every glossary derive from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isinf
from typing import Literal

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY
from orderflow_assets.lineage import Sources
from orderflow_streaming.tables import Column, Table

ROUNDING = 1e-9
"""How far outside its range a value may lie and still count as inside: floating point, not meaning."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The values a feature can take, written ``[0, 1]`` or ``(0, inf)``; a round bracket leaves the end out."""

    low: float
    high: float
    low_open: bool
    high_open: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        low, comma, high = text[1:-1].partition(",")
        if text[:1] not in "[(" or text[-1:] not in "])" or not comma:
            raise ValueError(f"range {text!r} is not written like [0, 1] or (0, inf)")
        return cls(float(low), float(high), text[0] == "(", text[-1] == ")")

    def violation(self, column: str) -> str:
        """SQL that is true for a value outside; ``FALSE`` where every finite number is allowed."""
        tests = [f'NOT isfinite("{column}")']
        if not isinf(self.low):
            tests.append(f'"{column}" {"<=" if self.low_open else "<"} {self.low - (0 if self.low_open else ROUNDING)}')
        if not isinf(self.high):
            edge = self.high + (0 if self.high_open else ROUNDING)
            tests.append(f'"{column}" {">=" if self.high_open else ">"} {edge}')
        return " OR ".join(tests)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature table, NULL where it is undefined.

    ``interval`` is the hard range, ``window`` the data it looks at, ``source`` the paper or convention it
    follows. Flags are BOOLEAN and have no interval; a label is one of the words its interval lists, ``{none, mild}``.
    """

    name: str
    unit: str
    stream: str
    window: str
    definition: str
    source: str
    interval: str = "(-inf, inf)"
    dtype: Literal["float", "flag", "label"] = "float"
    inputs: Sources = ()
    """Columns it is made of, ``schema.table.column``: the lineage Dagster shows."""

    @property
    def range(self) -> Interval:
        return Interval.parse(self.interval)

    @property
    def labels(self) -> tuple[str, ...]:
        """The words a label can be, in their order."""
        if self.dtype != "label" or self.interval[:1] != "{" or self.interval[-1:] != "}":
            raise ValueError(f"{self.name} has no words like {{none, mild}}: {self.dtype} with {self.interval!r}")
        return tuple(word.strip() for word in self.interval[1:-1].split(","))

    @property
    def column(self) -> Column:
        text = {"float": f"range {self.interval}", "flag": "true or false", "label": f"one of {self.interval}"}
        return Column(
            self.name,
            {"float": "DOUBLE", "flag": "BOOLEAN", "label": "VARCHAR"}[self.dtype],
            f"{self.definition} Window: {self.window}; {text[self.dtype]}. Source: {self.source}.",
            self.unit,
        )

    @property
    def violation(self) -> str | None:
        """SQL that is true for a stored value that cannot be, None for flags."""
        if self.dtype == "label":
            return f'"{self.name}" NOT IN ({", ".join(repr(word) for word in self.labels)})'
        return None if self.dtype == "flag" else self.range.violation(self.name)


@dataclass(frozen=True)
class Group:
    """Features of one kind of data; ``companions`` explain or support them and are stored after them."""

    name: str
    doc: str
    observations: str
    features: tuple[Feature, ...]
    companions: tuple[Feature, ...] = ()

    @cached_property
    def columns(self) -> tuple[Feature, ...]:
        return (*self.features, *self.companions)

    @cached_property
    def lineage(self) -> dict[str, Sources]:
        """What each column is declared to be made of."""
        return {feature.name: feature.inputs for feature in self.columns if feature.inputs}

    @cached_property
    def table(self) -> Table:
        columns = (
            *BAR_COLUMNS,
            Column("n_obs", "BIGINT", self.observations, "count", nullable=False),
            *(feature.column for feature in self.columns),
        )
        return Table("features", self.name, columns, BAR_KEY, "open_time", self.doc)


ANY = "(-inf, inf)"
SHARE = "[0, 1]"
BALANCE = "[-1, 1]"
POSITIVE = "(0, inf)"
NON_NEGATIVE = "[0, inf)"
