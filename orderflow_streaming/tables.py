"""What a stored table is: columns with types, units and meaning, a key and a time column.

Every table of the platform, raw or computed, is one :class:`Table`. DDL, Arrow schemas, Dagster column
schemas, MCP resources and documentation derive from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

_ARROW: dict[str, pa.DataType] = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR": pa.string(),
    "BLOB": pa.binary(),
    "TIMESTAMP": pa.timestamp("us"),
    "DATE": pa.date32(),
    "JSON": pa.string(),
    "DOUBLE[][]": pa.list_(pa.list_(pa.float64())),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``type`` is DuckDB's name; times are ``TIMESTAMP`` and always UTC."""

    name: str
    type: str
    doc: str = ""
    unit: str = ""
    nullable: bool = True

    def __post_init__(self) -> None:
        if self.type not in _ARROW:
            raise ValueError(f"column {self.name!r}: type {self.type!r} is not one of {', '.join(_ARROW)}")

    @property
    def arrow(self) -> pa.Field:
        return pa.field(self.name, _ARROW[self.type], nullable=self.nullable)

    @property
    def storage(self) -> str:
        """The type it is stored as."""
        return "VARCHAR" if self.type == "JSON" else self.type

    @property
    def sql(self) -> str:
        return f'"{self.name}" {self.storage}{"" if self.nullable else " NOT NULL"}'


@dataclass(frozen=True, slots=True)
class Table:
    """A declared table. ``key`` is its natural key, ``time`` the column that windows are cut on."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time: str
    doc: str = ""
    _index: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {column.name: column for column in self.columns}
        if len(index) != len(self.columns):
            raise ValueError(f"table {self.qualified}: a column name appears twice")
        for name in (*self.key, self.time):
            if name not in index:
                raise ValueError(f"table {self.qualified}: {name!r} is in the key or is the time, but not a column")
        object.__setattr__(self, "_index", index)

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._index)

    def column(self, name: str) -> Column:
        return self._index[name]

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.schema([column.arrow for column in self.columns])

    @property
    def ddl(self) -> tuple[str, ...]:
        """Statements that create the schema and the table where they do not exist yet."""
        body = ", ".join(column.sql for column in self.columns)
        return (
            f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"',
            f'CREATE TABLE IF NOT EXISTS "{self.schema}"."{self.name}" ({body})',
        )

    def to_dict(self) -> dict[str, Any]:
        """A plain form that travels to the store; :meth:`from_dict` is its inverse."""
        return {
            "schema": self.schema,
            "name": self.name,
            "columns": [asdict(column) for column in self.columns],
            "key": list(self.key),
            "time": self.time,
            "doc": self.doc,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Table:
        return cls(
            schema=value["schema"],
            name=value["name"],
            columns=tuple(Column(**column) for column in value["columns"]),
            key=tuple(value["key"]),
            time=value["time"],
            doc=value.get("doc", ""),
        )
