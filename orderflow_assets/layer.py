"""A computed table and the function that fills it: what Dagster, live queries and tests all call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

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
    lineage: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Of each column the columns it is made of, ``schema.table.column``; what features declare themselves is added."""

    def back(self, name: str) -> timedelta:
        """How far back the input ``name`` is read."""
        return self.backs.get(name, self.lookback)
