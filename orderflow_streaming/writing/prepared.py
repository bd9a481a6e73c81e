"""Statements that a connection plans once and runs often, over Arrow tables that change from run to run.

Planning a statement over a wide table costs milliseconds, many times what running it over a small batch does. DuckDB
keeps the plan of a prepared statement as long as it reads no table and the connection's temporary catalog stays as
it is. So what such a statement reads is handed in here: an Arrow table under a name that is registered once.
"""

from __future__ import annotations

import warnings
from typing import Any

import duckdb
import pyarrow as pa

# The relation it advises plans the statement anew, which costs more than the copy of a batch.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result makes an extra copy", UserWarning)


class _Shelf:
    """What is registered under a name: whatever table lies on it when the statement runs."""

    __slots__ = ("rows",)

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self.rows.__arrow_c_stream__(requested_schema)


class Prepared:
    """Prepared statements and their input tables, the only ones of a connection. Not thread-safe."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._shelves: dict[str, _Shelf] = {}
        self._catalog = 1
        """Rises when a name is registered, which makes the engine plan all statements anew at each run."""
        self._planned: dict[str, tuple[str, int]] = {}
        """Name of each statement, and the catalog it was planned in."""

    def put(self, name: str, rows: pa.Table) -> None:
        """Have ``name`` stand for ``rows`` in statements."""
        shelf = self._shelves.get(name)
        if shelf is not None and shelf.rows.schema.equals(rows.schema):
            shelf.rows = rows
            return
        self._shelves[name] = _Shelf(rows)
        self._connection.register(name, self._shelves[name])
        self._catalog += 1

    def release(self, name: str) -> None:
        """Let the rows of ``name`` go; it stands for none."""
        shelf = self._shelves[name]
        shelf.rows = shelf.rows.schema.empty_table()

    def rolled_back(self) -> None:
        """The transaction ended that may have been the first to hear of a name."""
        self._shelves.clear()

    def execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        """Run a statement without parameters."""
        name, catalog = self._planned.get(sql, (f"prepared_{len(self._planned)}", 0))
        if catalog != self._catalog:
            self._connection.execute(f"PREPARE {name} AS {sql}")
            self._planned[sql] = name, self._catalog
        return self._connection.execute(f"EXECUTE {name}")

    def select(self, sql: str) -> pa.Table:
        """The rows of a query without parameters."""
        return self.execute(sql).to_arrow_table()
