"""What some rows of a stream are, as figures that do not depend on their order or on where they lie."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

import duckdb

from orderflow_streaming.archive.layout import columns
from orderflow_streaming.schema import Stream


@dataclass(frozen=True, slots=True)
class Content:
    """``hash`` is the sum of the hashes of the rows, each over all columns: parts of a whole add up to it.

    A sum and not an exclusive or, so that a row that is there twice is not like one that is not there.
    """

    rows: int = 0
    hash: int = 0
    first_time: datetime | None = None
    last_time: datetime | None = None
    last_id: int = 0

    def same_rows(self, other: Content) -> bool:
        return (self.rows, self.hash) == (other.rows, other.hash)

    def __add__(self, other: Content) -> Content:
        return Content(
            self.rows + other.rows,
            self.hash + other.hash,
            min((time for time in (self.first_time, other.first_time) if time), default=None),
            max((time for time in (self.last_time, other.last_time) if time), default=None),
            max(self.last_id, other.last_id),
        )


def content(cursor: duckdb.DuckDBPyConnection, stream: Stream, source: str, condition: str = "TRUE") -> Content:
    """Content of the rows of ``source`` under ``condition``."""
    time = f'"{stream.time}"'
    found = cursor.execute(
        f"SELECT count(*), coalesce(sum(hash({columns(stream.table)})::HUGEINT), 0), min({time}), max({time}), "
        f"coalesce(max(id), 0) FROM {source} WHERE {condition}"
    ).fetchall()
    return Content(*found[0])


def hashed_as(stream: Stream) -> str:
    """What a hash depends on beside the rows; hashes of another ``hashed_as`` cannot be compared."""
    return f"{duckdb.__version__}:{zlib.crc32(columns(stream.table).encode()):08x}"
