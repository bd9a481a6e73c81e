"""What the store knows of each series of each stream: newest event time, last sequence, rows.

Kept in ``ops.series`` and moved in the same transaction as the rows, so that a restart reads a few hundred rows
instead of the tables, and a row newer than all of its series needs no look at the store to be known as new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_streaming.schema import IDENTITY, Stream
from orderflow_streaming.tables import Column, Table
from orderflow_streaming.writing.prepared import Prepared

Identity = tuple[str, str, str]
"""Symbol, exchange, market type."""

IDENTITY_NAMES = tuple(column.name for column in IDENTITY)
NOTHING_SEEN = np.iinfo(np.int64).min

SERIES = Table(
    "ops",
    "series",
    (
        Column("stream", "VARCHAR", "stream", nullable=False),
        *IDENTITY,
        Column("last_time", "TIMESTAMP", "newest event time seen, stored or not", "UTC", nullable=False),
        Column("last_sequence", "BIGINT", "highest consecutive id seen, where the venue numbers rows"),
        Column("rows", "BIGINT", "rows stored", "count", nullable=False),
    ),
    ("stream", *IDENTITY_NAMES),
    "last_time",
    "What the store holds of each series; moves in the same transaction as the rows.",
)


@dataclass(frozen=True, slots=True)
class Series:
    """``last_time`` in UTC microseconds; ``last_sequence`` is NOTHING_SEEN where rows are not numbered."""

    last_time: int = NOTHING_SEEN
    last_sequence: int = NOTHING_SEEN
    rows: int = 0


class Ledger:
    """The series known at the last commit, and the changes of the running transaction."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Identity], Series] = {}
        self._changed: dict[tuple[str, Identity], Series] = {}

    def load(self, cursor: duckdb.DuckDBPyConnection) -> None:
        rows = cursor.execute(
            f"SELECT stream, {listed(IDENTITY_NAMES)}, epoch_us(last_time), coalesce(last_sequence, ?), rows "
            "FROM ops.series",
            [NOTHING_SEEN],
        ).fetchall()
        self._known = {
            (stream, (symbol, exchange, market_type)): Series(*values)
            for stream, symbol, exchange, market_type, *values in rows
        }

    def get(self, stream: str, identity: Identity) -> Series:
        key = (stream, identity)
        return self._changed.get(key) or self._known.get(key) or Series()

    def change(self, stream: str, identity: Identity, series: Series) -> None:
        self._changed[stream, identity] = series

    def save(self, prepared: Prepared) -> None:
        """Write the changes of this transaction."""
        new = [key for key in self._changed if key not in self._known]
        old = [key for key in self._changed if key in self._known]
        if old:
            keys = " AND ".join(f't."{name}" = s."{name}"' for name in SERIES.key)
            prepared.put("changed_series", self._table(old))
            prepared.execute(
                "UPDATE ops.series t SET last_time = s.last_time, last_sequence = s.last_sequence, rows = s.rows "
                f"FROM changed_series s WHERE {keys}"
            )
        if new:
            prepared.put("new_series", self._table(new))
            prepared.execute("INSERT INTO ops.series BY NAME SELECT * FROM new_series")

    def committed(self) -> None:
        self._known |= self._changed
        self._changed = {}

    def rolled_back(self) -> None:
        self._changed = {}

    def rows(self) -> dict[tuple[str, Identity], int]:
        """Rows stored of each series."""
        return {key: series.rows for key, series in dict(self._known).items()}

    def _table(self, keys: Iterable[tuple[str, Identity]]) -> pa.Table:
        records = [(stream, *identity, self._changed[stream, identity]) for stream, identity in keys]
        sequences = [record[4].last_sequence for record in records]
        columns = [
            *([record[index] for record in records] for index in range(4)),
            pa.array([record[4].last_time for record in records], pa.timestamp("us")),
            pa.array([None if value == NOTHING_SEEN else value for value in sequences], pa.int64()),
            [record[4].rows for record in records],
        ]
        return pa.table(columns, schema=SERIES.arrow_schema)


@dataclass(frozen=True, slots=True)
class Numbered:
    """Rows of a stream with their series numbered: ``codes[row]`` indexes ``identities``."""

    codes: np.ndarray
    identities: list[Identity]

    @classmethod
    def of(cls, rows: pa.Table) -> Numbered:
        codes = np.zeros(rows.num_rows, np.int64)
        names: list[list[str]] = []
        for name in IDENTITY_NAMES:
            column, values = encode(rows[name])
            codes = codes * len(values) + column
            names.append(values)
        used, codes = np.unique(codes, return_inverse=True)
        symbols, exchanges, types = names
        identities = [
            (
                symbols[code // (len(exchanges) * len(types))],
                exchanges[code // len(types) % len(exchanges)],
                types[code % len(types)],
            )
            for code in used.tolist()
        ]
        return cls(codes, identities)


def quoted(name: str) -> str:
    return f'"{name}"'


def hot(stream: str) -> str:
    """The table of a stream that the writer fills, for SQL."""
    return f'hot."{stream}"'


def listed(names: Iterable[str]) -> str:
    """Column names for SQL."""
    return ", ".join(quoted(name) for name in names)


def encode(column: pa.ChunkedArray) -> tuple[np.ndarray, list]:
    """Number of each value among the distinct values, and these; NULL is a value."""
    encoded = pc.dictionary_encode(_whole(column), null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def key_columns(rows: pa.Table, stream: Stream) -> list[np.ndarray]:
    """The natural key, a sortable array per column; the time comes as UTC microseconds, and as 0 where the identifier
    tells the row alone."""
    arrays = []
    for name in stream.key:
        column = rows[name]
        if pa.types.is_timestamp(column.type):
            arrays.append(microseconds(column))
        elif pa.types.is_floating(column.type):
            arrays.append(_whole(column).to_numpy(zero_copy_only=False))
        else:
            arrays.append(encode(column)[0])
    if stream.identifier:
        told = rows[stream.identifier].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
        identifier = stream.key.index(stream.identifier)
        arrays = [array if place == identifier else np.where(told, 0, array) for place, array in enumerate(arrays)]
    return arrays


def same_key(stream: Stream, one: str, other: str) -> str:
    """SQL that is true where the rows of the aliases ``one`` and ``other`` have the same natural key."""
    conditions = []
    for name in stream.table.key:
        sides = [f"{alias}.{quoted(name)}" for alias in (one, other)]
        if stream.identifier and name in stream.key and name != stream.identifier:
            sides = [
                f"CASE WHEN {alias}.{quoted(stream.identifier)} IS NULL THEN {side} END"
                for alias, side in zip((one, other), sides, strict=True)
            ]
        conditions.append(" IS NOT DISTINCT FROM ".join(sides))
    return " AND ".join(conditions)


def microseconds(column: pa.ChunkedArray) -> np.ndarray:
    """A time column without NULLs as UTC microseconds."""
    return _whole(column).cast(pa.int64()).to_numpy()


def first_of_each(codes: np.ndarray, key: Sequence[np.ndarray]) -> np.ndarray:
    """Mask of the rows whose series and key did not come before in the same rows."""
    columns = [*key, codes]
    order = np.lexsort(columns)
    mask = np.ones(len(order), bool)
    mask[order[1:][_repeats(columns, order)]] = False
    return mask


def last_of_each(codes: np.ndarray, key: Sequence[np.ndarray], rank: Sequence[np.ndarray]) -> np.ndarray:
    """Mask of one row per series and key: the one of the highest ``rank`` (most significant first), then the last."""
    columns = [*key, codes]
    order = np.lexsort([*reversed(rank), *columns])
    mask = np.ones(len(order), bool)
    mask[order[:-1][_repeats(columns, order)]] = False
    return mask


def _repeats(columns: Sequence[np.ndarray], order: np.ndarray) -> np.ndarray:
    """For each row of ``order`` but the first, whether it equals the row before it in every column."""
    repeats = np.ones(max(0, len(order) - 1), bool)
    for column in columns:
        ordered = column[order]
        repeats &= ordered[1:] == ordered[:-1]
    return repeats


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
