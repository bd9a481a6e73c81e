"""Which hours are sealed, as the database knows it, and who this database is in the archive.

Everything here works inside the caller's transaction, so that what readers see changes with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime

import duckdb
import pyarrow as pa

from orderflow_streaming.schema import ARCHIVE
from orderflow_streaming.tables import Column, Table

SITE = Table(
    "ops",
    "archive_site",
    (
        Column("root", "VARCHAR", "root of the archive: a path or a URL", nullable=False),
        Column("node", "VARCHAR", "name of this database in it", nullable=False),
        Column("identity", "VARCHAR", "tells two databases of the same name apart", nullable=False),
        Column("named_at", "TIMESTAMP", "when it got its name", "UTC", False),
    ),
    ("node",),
    "named_at",
    "The archive this database seals into.",
)

REPLACED = Table(
    "ops",
    "archive_replaced",
    (
        Column("path", "VARCHAR", "file, under the root of the archive", nullable=False),
        Column("replaced_at", "TIMESTAMP", "since when a newer version counts", "UTC", False),
    ),
    ("path",),
    "replaced_at",
    "Files that wait to be deleted until no query can still read them.",
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row of ``ops.archive``; times are naive UTC."""

    stream: str
    node: str
    hour: datetime
    version: int
    path: str
    rows: int
    content_hash: str
    hashed_as: str
    sha256: str
    bytes: int
    first_time: datetime
    last_time: datetime
    last_id: int
    sealed_at: datetime
    dropped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where this database seals to, and as whom."""

    root: str
    node: str
    identity: str


_NAMES = ", ".join(f'"{field.name}"' for field in fields(Sealed))
OWN = "node IN (SELECT node FROM ops.archive_site)"
"""Condition on ``ops.archive``: sealed from this database."""
_SEEN = f"(dropped_at IS NOT NULL OR NOT {OWN})"
"""Files that readers read: other nodes' hours, and those of this database whose rows are no longer hot."""


def sealed(cursor: duckdb.DuckDBPyConnection, condition: str = "TRUE", *values: object) -> list[Sealed]:
    """Rows of the manifest, by hour."""
    sql = f"SELECT {_NAMES} FROM ops.archive WHERE {condition} ORDER BY hour, stream, node"
    return [Sealed(*row) for row in cursor.execute(sql, list(values)).fetchall()]


def seen(cursor: duckdb.DuckDBPyConnection, stream: str) -> list[Sealed]:
    """The files that readers of ``stream`` read."""
    return sealed(cursor, f"stream = ? AND {_SEEN}", stream)


def own(cursor: duckdb.DuckDBPyConnection, stream: str, hour: datetime) -> Sealed | None:
    """What this database sealed of one hour."""
    return next(iter(sealed(cursor, f"stream = ? AND hour = ? AND {OWN}", stream, hour)), None)


def horizons(cursor: duckdb.DuckDBPyConnection) -> dict[str, datetime]:
    """End of the newest hour of each stream whose rows left this database."""
    return dict(
        cursor.execute(
            f"SELECT stream, max(hour) + INTERVAL 1 HOUR FROM ops.archive WHERE dropped_at IS NOT NULL AND {OWN} "
            "GROUP BY stream"
        ).fetchall()
    )


def last_ids(cursor: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Highest row number of each stream that this database sealed."""
    return dict(cursor.execute(f"SELECT stream, max(last_id) FROM ops.archive WHERE {OWN} GROUP BY stream").fetchall())


def put(cursor: duckdb.DuckDBPyConnection, entry: Sealed) -> None:
    """Insert or replace the row of one stream, node and hour."""
    values = astuple(entry)
    assignments = ", ".join(f'"{field.name}" = ?' for field in fields(Sealed)[3:])
    changed = cursor.execute(
        f"UPDATE ops.archive SET {assignments} WHERE stream = ? AND node = ? AND hour = ? RETURNING 1",
        [*values[3:], *values[:3]],
    ).fetchall()
    if not changed:
        cursor.execute(f"INSERT INTO ops.archive ({_NAMES}) VALUES ({', '.join('?' * len(values))})", list(values))


def put_node(cursor: duckdb.DuckDBPyConnection, node: str, rows: pa.Table) -> None:
    """Replace everything known of another node."""
    cursor.execute("DELETE FROM ops.archive WHERE node = ?", [node])
    cursor.register("node_rows", rows)
    cursor.execute("INSERT INTO ops.archive BY NAME SELECT * FROM node_rows")
    cursor.unregister("node_rows")


def replaced(cursor: duckdb.DuckDBPyConnection, path: str, now: datetime) -> None:
    cursor.execute("INSERT INTO ops.archive_replaced VALUES (?, ?)", [path, now])


def site(cursor: duckdb.DuckDBPyConnection) -> Site | None:
    found = cursor.execute("SELECT root, node, identity FROM ops.archive_site").fetchall()
    return Site(*found[0]) if found else None


def set_site(cursor: duckdb.DuckDBPyConnection, value: Site, now: datetime) -> None:
    cursor.execute("DELETE FROM ops.archive_site")
    cursor.execute("INSERT INTO ops.archive_site VALUES (?, ?, ?, ?)", [value.root, value.node, value.identity, now])


def as_table(entries: Iterable[Sealed]) -> pa.Table:
    return pa.Table.from_pylist([asdict(entry) for entry in entries], schema=ARCHIVE.arrow_schema)
