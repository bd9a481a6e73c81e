"""One symbol on all its venues: its table's shape, and sums and means over the venues that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.bars.series import BAR_COLUMNS, MINUTE
from orderflow_assets.features.feature import Group
from orderflow_assets.features.grid import Array, Identity, Mask, epoch_us
from orderflow_streaming.tables import Column, Table

_MINUTE_US = 60_000_000
SYMBOL_COLUMNS: tuple[Column, ...] = (BAR_COLUMNS[0], *BAR_COLUMNS[3:])
"""symbol, open_time, bar_ts"""

SYMBOL_KEY = ("symbol", "bar_ts")


@dataclass(frozen=True)
class SymbolGroup(Group):
    """Columns of one row per symbol and minute; ``n_obs`` counts the venues that have a bar."""

    @cached_property
    def table(self) -> Table:
        columns = (
            *SYMBOL_COLUMNS,
            Column("n_obs", "BIGINT", self.observations, "venues", nullable=False),
            *(feature.column for feature in self.columns),
        )
        return Table("analytics", self.name, columns, SYMBOL_KEY, "open_time", self.doc)


@dataclass(frozen=True)
class Venues:
    """Which series are venues of which symbol. Arrays of series (series, bars) become arrays of symbols."""

    series: tuple[Identity, ...]

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted({symbol for symbol, _, _ in self.series}))

    @cached_property
    def _membership(self) -> Array:
        """(symbols, series), one where the series is of the symbol."""
        own = np.array([symbol for symbol, _, _ in self.series])
        return (np.array(self.symbols)[:, None] == own[None, :]).astype(float)

    def of(self, symbol: str) -> list[int]:
        """Places of the series of ``symbol``."""
        return [place for place, identity in enumerate(self.series) if identity[0] == symbol]

    def count(self, known: Mask) -> Array:
        """How many venues are true in ``known``."""
        return self._membership @ known

    def total(self, values: Array) -> Array:
        """Sum over the venues that are known, NaN where none is."""
        known = np.isfinite(values)
        return np.where(self.count(known) > 0, self._membership @ np.where(known, values, 0.0), np.nan)

    def mean(self, values: Array, weights: Array) -> Array:
        """Mean over the venues with a value and a positive weight, NaN where there is none."""
        known = np.isfinite(values) & (weights > 0)
        weight = self._membership @ np.where(known, weights, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._membership @ np.where(known, values * weights, 0.0) / weight


def ratio(part: Array, whole: Array) -> Array:
    """``part / whole``, NaN where the whole is zero or unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole != 0, part / whole, np.nan)


def imbalance(left: Array, right: Array) -> Array:
    """(left - right) / (left + right), in [-1, 1] for amounts; NaN where both are zero."""
    return ratio(left - right, left + right)


def rows(
    declared: Table,
    symbols: tuple[str, ...],
    start: datetime,
    present: Mask,
    values: Mapping[str, npt.NDArray[Any]],
) -> pa.Table:
    """Rows of ``declared`` where ``present`` (symbols, minutes), the first minute opening at ``start``.

    ``values`` are (symbols, minutes) each: numbers with NaN stored as NULL, or objects (text, None) for text columns.
    """
    row, minute = np.nonzero(present)
    opening = epoch_us(start) + minute * _MINUTE_US
    stamp = pa.timestamp("us")
    data: dict[str, Any] = {
        "symbol": pa.array([symbols[index] for index in row], pa.string()),
        "open_time": pa.array(opening).cast(stamp),
        "bar_ts": pa.array(opening + _MINUTE_US).cast(stamp),
    }
    for name, array in values.items():
        data[name] = _cells(array[row, minute], declared.column(name).arrow.type)
    return pa.table(data)


def _cells(picked: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array(picked, kind)
    cells = pa.array(picked, mask=np.isnan(picked))
    return cells if pa.types.is_floating(kind) else pc.round(cells).cast(pa.int64()).cast(kind)


def minutes_between(start: datetime, end: datetime) -> int:
    return round((end - start) / MINUTE)
