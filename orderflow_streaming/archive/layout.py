"""Names and SQL of sealed files: where an hour lies, what its columns are numbered, how a view reads many of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from orderflow_streaming.schema import IDENTITY, Stream
from orderflow_streaming.tables import Column, Table

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GROWTH = 4
"""How much longer a stretch of files is than the one after it."""
NODES = "nodes"
"""Folder of the lists that say which files of each node count."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BETWEEN = "|"
_VERSIONED = re.compile(r".*\.v\d+")


class File(Protocol):
    """A sealed file as far as reading goes."""

    @property
    def hour(self) -> datetime: ...
    @property
    def path(self) -> str: ...


def node_name(value: str) -> str:
    """``value`` where it can name a file; raises ValueError."""
    if not _NODE.fullmatch(value) or _VERSIONED.fullmatch(value) or value.endswith(".parquet"):
        raise ValueError(
            f"node {value!r} cannot name a file. Use letters, digits, '-', '_' and '.', at most 100, "
            "and no '.v2' at the end"
        )
    return value


def file_path(stream: str, hour: datetime, node: str, version: int) -> str:
    """Path of one sealed hour under the root. A new version gets a new name: readers may still use the old one."""
    name = f"{node}.parquet" if version == 1 else f"{node}.v{version}.parquet"
    return f"stream={stream}/date={hour:%Y-%m-%d}/hour={hour:%H}/{name}"


def node_path(node: str) -> str:
    return f"{NODES}/{node}.parquet"


# -- SQL ----------------------------------------------------------------------------------------------------


def columns(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in table.names)


def row_order(stream: Stream) -> str:
    """Rows of a series together, in time: statistics of a row group then tell what is not in it."""
    return ", ".join(f'"{name}"' for name in (*(column.name for column in IDENTITY), stream.time, "id"))


def within(stream: Stream, start: datetime, end: datetime) -> str:
    return f"\"{stream.time}\" >= TIMESTAMP '{start}' AND \"{stream.time}\" < TIMESTAMP '{end}'"


def field_ids(table: Table) -> str:
    """Numbers of the columns for ``COPY``. They follow from the names, so that columns may be added in any order."""
    return "{" + ", ".join(f'"{column.name}": {_field_id(column)}' for column in table.columns) + "}"


def read_files(table: Table, paths: Iterable[str]) -> str:
    """The rows of some files with the declared columns, NULL where a file is older than a column.

    With the columns given the engine opens no file before it reads from it; a list as one text is bound faster than
    a list of texts.
    """
    fields = ", ".join(
        f"{_field_id(column)}={{name: {column.name}, type: {column.storage}, default_value: NULL}}"
        for column in table.columns
    )
    kind = "MAP(INTEGER, STRUCT(name VARCHAR, type VARCHAR, default_value VARCHAR))"
    files = f"string_split('{_BETWEEN.join(paths)}', '{_BETWEEN}')"
    return f"read_parquet({files}, hive_partitioning = false, schema = '{{{fields}}}'::{kind})"


def continuous_view(stream: Stream, root: str, empty: str, files: Sequence[File]) -> str:
    """DDL of the table that readers use: what is hot, then the files, newest stretch first.

    The time condition of each stretch lets the engine leave out stretches a query does not ask for, without a look
    at their files. The engine looks for the first two files of each list whatever is asked: that is ``empty``, a file
    without rows that is always there, so that what is hot can be read when the archive cannot.
    """
    hot, names = stream.hot, columns(stream.table)
    parts = [f'SELECT {names} FROM "{hot.schema}"."{hot.name}"']
    for start, end, part in stretches(files):
        source = read_files(stream.table, [empty, empty, *(f"{root}/{file.path}" for file in part)])
        parts.append(f"SELECT {names} FROM {source} WHERE {within(stream, start, end)}")
    return f'CREATE OR REPLACE VIEW main."{stream.name}" AS {" UNION ALL ".join(parts)}'


def stretches(files: Sequence[File]) -> Iterator[tuple[datetime, datetime, list[File]]]:
    """Files in stretches of whole days, newest first, each :data:`GROWTH` times as long as the one after it.

    A query pays for every stretch when it is planned and for every file of a stretch it touches: few stretches for
    what is old, short ones for what is asked for most.
    """
    left = sorted(files, key=lambda file: (file.hour, file.path))
    days = 1
    while left:
        end = left[-1].hour.replace(hour=0) + DAY
        start = end - days * DAY
        first = next(index for index, file in enumerate(left) if file.hour >= start)
        yield start, end, left[first:]
        left, days = left[:first], GROWTH * days


def _field_id(column: Column) -> int:
    return zlib.crc32(column.name.encode()) & 0x7FFFFFFF
