"""A computed table and the function that fills it: what Dagster, live queries and tests all call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

EVERY_ROW = timedelta(microseconds=1)
"""The step of what is read row by row."""

Compute = Callable[[Store, datetime, datetime], int]


@dataclass(frozen=True, slots=True)
class Layer:
    """``compute(store, start, end)`` replaces the rows whose ``table.time`` lies in ``[start, end)``.

    It may read rows of ``inputs`` back to ``start - lookback``, never after ``end``, and returns the number of
    rows written. ``inputs`` are qualified table names (``main.trades``, ``bars.bars_1m``), ``across`` those of them
    in which a row may depend on other symbols than its own. Rows come at multiples of ``every`` since 1970.
    """

    table: Table
    compute: Compute
    inputs: tuple[str, ...]
    lookback: timedelta
    group: str
    kinds: tuple[str, ...] = ("duckdb", "sql")
    across: tuple[str, ...] = ()
    every: timedelta = timedelta(minutes=1)
    backs: Mapping[str, timedelta] = field(default_factory=dict, compare=False)
    """Inputs that are read less far back than ``lookback``, and how far."""
    marks: Mapping[str, Mapping[timedelta, timedelta]] = field(default_factory=dict, compare=False)
    """Inputs that are not read row by row all the way back: how far back they are read at each step.

    At a step only rows whose ``bar_ts`` is a multiple of it since 1970 are read; at :data:`EVERY_ROW`, all.
    """
    lineage: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Of each column but keys and times the columns of ``inputs`` it is made of, ``schema.table.column``."""

    def back(self, name: str) -> timedelta:
        """How far back the input ``name`` is read."""
        return max(self.steps(name).values())

    def steps(self, name: str) -> Mapping[timedelta, timedelta]:
        """How far back the input ``name`` is read at each step."""
        return self.marks.get(name, {EVERY_ROW: self.backs.get(name, self.lookback)})
