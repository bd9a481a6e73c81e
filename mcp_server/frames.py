"""Minute rows of several groups of features side by side, the composite signals among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from mcp_server import catalog, windows
from mcp_server.arguments import one_of
from mcp_server.context import Context
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_streaming.tables import Column, Table

COMPOSITE = "composite"
"""The group of the composite signals' values."""
NAMES = (*GROUPS, COMPOSITE)
TIME = Column("bar_ts", "TIMESTAMP", "closing edge", "UTC")


Groups = Annotated[list[Annotated[str, one_of(NAMES)]], Field(min_length=1, max_length=len(NAMES))]
Names = Annotated[list[str], Field(max_length=40)]


@dataclass(frozen=True, slots=True)
class Frame:
    """``rows`` hold ``bar_ts`` and a column per feature, newest first; ``missing`` says which groups have no table."""

    rows: pa.Table | None
    columns: dict[str, Column]
    table: Table
    missing: list[str]
    truncated: bool = False

    def numbers(self) -> tuple[list[str], np.ndarray]:
        """The numeric features and their values, a column each, NaN where there is none."""
        kinds = ("DOUBLE", "BIGINT", "INTEGER")
        names = [name for name, column in self.columns.items() if column.type in kinds]
        if self.rows is None:
            return names, np.empty((0, len(names)))
        cells = [self.rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names]
        return names, np.column_stack(cells) if cells else np.empty((self.rows.num_rows, 0))


def read(
    context: Context,
    equals: dict[str, Any],
    groups: Sequence[str],
    features: Sequence[str] | None,
    edges: tuple[datetime | None, datetime | None],
    most: int,
) -> Frame:
    """At most ``most`` minutes of the groups, those of ``features`` where given, which are told with or without their
    group. Raises :class:`~mcp_server.errors.ToolError` for a feature that none of the groups has.
    """
    columns = _chosen(groups, features)
    used = [group for group in dict.fromkeys(groups) if any(name.startswith(f"{group}.") for name in columns)]
    missing = [group for group in used if windows.missing(context, _table(group))]
    there = [group for group in used if group not in missing]
    table = _table((there or used)[0])
    if not there:
        return Frame(None, columns, table, missing)
    parts, values = [], []
    for group in there:
        mine = [name for name in columns if name.startswith(f"{group}.")]
        where, given = windows.conditions(_table(group), equals, *edges, time="bar_ts")
        parts.append(_part(group, mine, where))
        values += given
    columns = {name: column for name, column in columns.items() if name.partition(".")[0] in there}
    shown = ", ".join(f'"{name}"' for name in columns)
    joined = " ".join([f"({parts[0]})", *(f"FULL JOIN ({part}) USING (bar_ts)" for part in parts[1:])])
    sql = f"SELECT bar_ts, {shown} FROM {joined} ORDER BY bar_ts DESC LIMIT {most + 1}"
    rows = context.query(sql, values)
    return Frame(rows.slice(0, most), columns, table, missing, rows.num_rows > most)


def _table(group: str) -> Table:
    return SIGNALS_TABLE if group == COMPOSITE else GROUPS[group].table


def _chosen(groups: Sequence[str], features: Sequence[str] | None) -> dict[str, Column]:
    known: dict[str, Column] = {}
    for group in dict.fromkeys(groups):
        if group == COMPOSITE:
            known |= {
                f"{group}.{name}": Column(f"{group}.{name}", "DOUBLE", signal.title) for name, signal in SIGNALS.items()
            }
        else:
            known |= {
                f"{group}.{item.name}": Column(
                    f"{group}.{item.name}", item.column.type, item.definition, item.column.unit
                )
                for item in GROUPS[group].features
            }
    if not features:
        return known
    chosen: dict[str, Column] = {}
    for asked in features:
        found = [name for name in known if asked in (name, name.partition(".")[2])]
        if not found:
            raise catalog.unknown(f"feature of {', '.join(groups)}", asked, [name.partition(".")[2] for name in known])
        chosen |= {name: known[name] for name in found}
    return chosen


def _part(group: str, names: Sequence[str], where: str) -> str:
    """The rows of one group as SQL."""
    if group != COMPOSITE:
        cells = ", ".join(f'"{name.partition(".")[2]}" AS "{name}"' for name in names)
        return f"SELECT bar_ts, {cells} FROM {_table(group).qualified} WHERE {where}"
    cells = ", ".join(f"max(value) FILTER (signal = '{name.partition('.')[2]}') AS \"{name}\"" for name in names)
    return f"SELECT bar_ts, {cells} FROM {SIGNALS_TABLE.qualified} WHERE {where} GROUP BY bar_ts"
