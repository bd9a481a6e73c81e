"""The rows of a computed table for the last minutes, computed now from what the store holds, and not stored.

A scratch store in memory gets the ticks of those minutes and, from before them, the stored rows that each layer looks
back on, in the columns that something is made of; then the layers' own functions run there. So a live row and a stored
row of the same minute are one computation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from orderflow_assets.bars.series import ARRIVAL, MINUTE
from orderflow_assets.layer import EVERY_ROW, Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.tables import declared_tables
from orderflow_streaming.markets import UnknownNameError, suggestion
from orderflow_streaming.schema import OPERATIONS
from orderflow_streaming.store import Store
from orderflow_streaming.store.client import LocalStore
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.reader import Reader, exists
from orderflow_streaming.store.window import naive_utc
from orderflow_streaming.tables import Table

MAX_MINUTES = 60
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_RECORDS = frozenset(table.qualified for table in OPERATIONS)


def live(store: Reader, name: str, symbol: str, minutes: int = 5, end: datetime | None = None) -> pa.Table:
    """Rows of the computed table ``name`` for ``symbol`` on all markets, for the ``minutes`` bars up to ``end``.

    ``end`` is the last full minute where it is not given. Raises UnknownNameError for a table that is no layer of
    minutes and ValueError for more than :data:`MAX_MINUTES`.
    """
    if not 1 <= minutes <= MAX_MINUTES:
        raise ValueError(f"{minutes} minutes; a live query computes 1 to {MAX_MINUTES}. Stored rows go back further.")
    end = naive_utc(end or datetime.now(UTC) - ARRIVAL).replace(second=0, microsecond=0)
    start = end - minutes * MINUTE
    chain = needed(_layer(name), start, end)
    everyone = _of_all_symbols(chain)
    with LocalStore(Engine(":memory:")) as scratch:
        looked_at = {source for layer in chain for sources in layer.lineage.values() for source in sources}
        for table, part in _parts(chain, start, end).items():
            names = _columns(table, looked_at)
            _copy(store, scratch, table, names, part, None if table.qualified in everyone else symbol)
        for layer in chain:
            layer.compute(scratch, start, end)
            if layer.table.qualified not in everyone and "symbol" in layer.table.names:
                _keep(scratch, layer.table, symbol)
        target = chain[-1].table
        return scratch.query(
            f'SELECT * FROM {target.qualified} WHERE symbol = ? AND "{target.time}" >= ? AND "{target.time}" < ? '
            f"ORDER BY {', '.join(target.key)}",
            [symbol, start, end],
        )


def _layer(name: str) -> Layer:
    of_minutes = {layer.table.qualified: layer for layer in LAYERS if "bar_ts" in layer.table.names}
    if name not in of_minutes:
        hint = suggestion(name, list(of_minutes))
        raise UnknownNameError(f"no live rows of {name!r}.{hint} Allowed: {', '.join(of_minutes)}.")
    return of_minutes[name]


def needed(target: Layer, start: datetime, end: datetime, layers: Iterable[Layer] = LAYERS) -> list[Layer]:
    """The layers that have rows in ``[start, end)`` and lead to ``target``, in order, ``target`` last."""
    wanted = {target.table.qualified}
    chain: list[Layer] = []
    for layer in reversed(list(layers)):
        if layer.table.qualified in wanted and _has_rows(layer, start, end):
            chain.insert(0, layer)
            wanted |= set(layer.inputs)
    return chain


def _has_rows(layer: Layer, start: datetime, end: datetime) -> bool:
    return (end - _EPOCH - timedelta(microseconds=1)) // layer.every > (start - _EPOCH - timedelta(microseconds=1)) // (
        layer.every
    )


def _of_all_symbols(chain: list[Layer]) -> set[str]:
    """Tables of which the rows of all symbols are needed."""
    found = {name for layer in chain for name in layer.across}
    for layer in reversed(chain):
        if layer.table.qualified in found:
            found |= set(layer.inputs)
    return found


@dataclass(frozen=True, slots=True)
class Part:
    """Rows with times before ``until``: at each step those from ``since`` on."""

    until: datetime
    since: dict[timedelta, datetime]

    def condition(self, table: Table) -> tuple[str, list[datetime]]:
        """SQL that is true for the rows, and its parameters."""
        tests = {step: f'"{table.time}" >= ?{_on(step)}' for step in self.since}
        return f'"{table.time}" < ? AND ({" OR ".join(tests.values())})', [self.until, *self.since.values()]


def _on(step: timedelta) -> str:
    return "" if step == EVERY_ROW else f" AND epoch_us(bar_ts) % {step // timedelta(microseconds=1)} = 0"


def _parts(chain: list[Layer], start: datetime, end: datetime) -> dict[Table, Part]:
    """What is copied: of each input the times from the furthest look back up to where its own rows are computed."""
    computed = {layer.table.qualified for layer in chain}
    known = declared_tables()
    parts: dict[Table, Part] = {}
    for layer in chain:
        for name in layer.inputs:
            until = start if name in computed else end + timedelta(microseconds=1)
            since = parts.setdefault(known[name], Part(until, {})).since
            for step, back in layer.steps(name).items():
                since[step] = min(since.get(step, start), start - back)
    return parts


def _columns(table: Table, looked_at: set[str]) -> list[str]:
    """Those that something is made of, and those every reader finds its rows by; all of a record of operation."""
    return [
        column.name
        for column in table.columns
        if table.qualified in _RECORDS
        or f"{table.qualified}.{column.name}" in looked_at
        or not column.nullable
        or column.type == "TIMESTAMP"
    ]


def _copy(
    store: Reader,
    scratch: Store,
    table: Table,
    names: list[str],
    part: Part,
    symbol: str | None,
) -> None:
    """The rows ``part`` of ``table`` with the columns ``names``, the others NULL."""
    scratch.ensure(table)
    if not exists(store, table.qualified):
        return
    conditions: list[str] = []
    parameters: list[Any] = []
    if table.qualified not in _RECORDS:
        condition, parameters = part.condition(table)
        conditions.append(condition)
    if symbol is not None and "symbol" in table.names:
        conditions.append("symbol = ?")
        parameters.append(symbol)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = ", ".join(f'"{name}"' for name in names)
    rows = store.query(f"SELECT {columns} FROM {table.qualified}{where}", parameters)
    for column in table.columns:
        if column.name not in names:
            rows = rows.append_column(column.arrow, pa.nulls(rows.num_rows, column.arrow.type))
    scratch.write(table, rows)


def _keep(scratch: LocalStore, table: Table, symbol: str) -> None:
    with scratch.engine.transaction() as cursor:
        cursor.execute(f"DELETE FROM {table.qualified} WHERE symbol <> ?", [symbol])
