"""Which columns of which tables a computation reads, and from when on: told by the plans of its queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from orderflow_streaming.store import Store, Window
from orderflow_streaming.store.client import LocalStore
from orderflow_streaming.store.engine import Parameters
from orderflow_streaming.tables import Table


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at a table; ``since`` is its oldest time by the filters pushed into it, None where there is none."""

    table: str
    columns: frozenset[str]
    since: datetime | None


class Spy(Store):
    """A store that keeps the scans of every query, and passes all on to the store behind it.

    The tables need rows long before and long after what is asked for: the planner drops filters that it can tell to be
    true.
    """

    def __init__(self, store: LocalStore, edges: Mapping[str, Mapping[str, timedelta]]) -> None:
        """``edges``: by table, how far each of its columns of time lies before the column that cuts it."""
        self._store, self._edges = store, edges
        self.scans: list[Scan] = []

    def query(
        self, sql: str, parameters: Parameters = None, *, max_rows: int | None = None, timeout_s: float = 60.0
    ) -> pa.Table:
        self._look(sql, parameters)
        return self._store.query(sql, parameters, max_rows=max_rows, timeout_s=timeout_s)

    def write(self, table: Table, data: pa.Table, window: Window | None = None) -> int:
        return self._store.write(table, data, window)

    def insert_select(self, table: Table, sql: str, parameters: Parameters = None, window: Window | None = None) -> int:
        self._look(sql, parameters)
        return self._store.insert_select(table, sql, parameters, window)

    def ensure(self, *tables: Table) -> None:
        self._store.ensure(*tables)

    def action(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._store.action(name, body)

    def close(self) -> None:
        self._store.close()

    def _look(self, sql: str, parameters: Parameters) -> None:
        with self._store.engine.transaction() as cursor:
            plan = cursor.execute(f"EXPLAIN (FORMAT json) {_literal(sql, parameters)}").fetchall()[0][1]
        for node in _nodes(json.loads(plan)):
            told = node.get("extra_info", {})
            if "Table" in told:
                table = told["Table"].partition(".")[2]
                columns, filters = (_listed(told.get(name, [])) for name in ("Projections", "Filters"))
                named = set(re.findall(r'"?(\w+)"?', " ".join([*columns, *filters])))
                self.scans.append(Scan(table, frozenset(named), _since(" ".join(filters), self._edges.get(table, {}))))


def _literal(sql: str, parameters: Parameters) -> str:
    """``sql`` with its parameters written out: the planner pushes constants into a scan, not parameters."""
    if isinstance(parameters, Mapping):
        return re.sub(r"\$(\w+)", lambda match: _sql(parameters[match[1]]), sql)
    values = iter(parameters or ())
    return re.sub(r"\?", lambda _: _sql(next(values)), sql)


def _sql(value: Any) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value}'"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    for node in plan if isinstance(plan, list) else [plan]:
        yield node
        yield from _nodes(node.get("children", []))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _since(filters: str, edges: Mapping[str, timedelta]) -> datetime | None:
    bounds = re.findall(r"\b(\w+) (?:>|>=|=) '([^']+)'", filters)
    found = [datetime.fromisoformat(value) + edges[column] for column, value in bounds if column in edges]
    return max(found, default=None)
