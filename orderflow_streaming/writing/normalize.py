"""From raw frames to rows of the stream tables, batch by batch, inside DuckDB.

A batch is frames of one market and one channel. Where its items make at most one row of one stream each, a single
statement takes the declared values out of all of them, derives the columns and appends them to a temporary *staging
table*. What it cannot take, and the frames of other channels, are examined: one statement says for each item why no
row can be made of it, if so, and further ones stage the rows of each stream. Python looks at no field.

Every item of every frame ends up in one of three places: staged, counted as a known kind that no table stores, or
rejected with a reason. A malformed item costs only itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa

from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.schema import INSTRUMENTS, STREAMS
from orderflow_streaming.writing.prepared import Prepared
from orderflow_streaming.writing.projection import FRAMES, KNOWN_INSTRUMENTS, Plan, plan, staged, staged_columns

_BATCH = ["frame", "received_at", "raw"]
_OF_INSTRUMENT = ("exchange", "market_type", "symbol", "venue_symbol", "contract_size", "funding_interval_hours")


@dataclass(frozen=True, slots=True)
class Rejected:
    """One item of a frame, by the frame's position in the batch, that no row could be made of."""

    frame: int
    item: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unstored:
    """Rows of a kind that no table stores: ``frame``, ``item``, ``symbol``, then the kind's fields."""

    kind: str
    rows: pa.Table


@dataclass(slots=True)
class Outcome:
    """What became of a batch; counts are items by stream (``staged``) and by kind (``known``)."""

    first: int
    """Number of the batch's first frame in the ``frame`` column of the staging tables."""
    staged: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    unstored: list[Unstored] = field(default_factory=list)
    """Filled when the normalizer inspects."""


class Normalizer:
    """Appends the rows of batches to the staging tables of one connection. Not thread-safe.

    ``instruments`` names a relation with the columns of ``ops.instruments``; None means that nothing is known of
    any instrument. It is read again after each :meth:`clear`. With ``inspect`` (reading a recording) it is read for
    each batch, rows of unstored kinds are handed out too, and a row is staged with NULL where only the receive time,
    the URL or the contract size, all unknown, could tell its time, its symbol or its quantity in base coin.

    Call it outside a transaction: the staging tables survive the failure of a later one.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        instruments: str | None = None,
        *,
        inspect: bool = False,
        prepared: Prepared | None = None,
    ) -> None:
        """``prepared`` is the connection's, where others use it too."""
        self._connection = connection
        self._inspect = inspect
        self._instruments = instruments
        self._frames = 0
        self._knows_instruments = False
        for stream in STREAMS:
            columns = ", ".join(f'"{column.name}" {column.type}' for column in staged_columns(stream))
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {staged(stream)} ({columns})")
        self._prepared = prepared or Prepared(connection)

    def normalize(
        self, exchange: Exchange, channel: str, frames: Sequence[bytes], received_at: Sequence[int | None] | np.ndarray
    ) -> Outcome:
        """Stage the rows of ``frames``, received at ``received_at`` microseconds since the epoch, UTC."""
        outcome = Outcome(self._frames)
        self._frames += len(frames)
        steps = plan(exchange, channel, self._inspect)
        if frames:
            if self._inspect or not self._knows_instruments:
                self._read_instruments()
            times = pa.array(received_at, pa.int64()).cast(pa.timestamp("us"))
            numbers = np.arange(outcome.first, self._frames)
            self._run(steps, pa.table([numbers, times, text_column(frames)], _BATCH), outcome)
            self._prepared.release(FRAMES)
        return outcome

    def clear(self) -> None:
        """Empty the staging tables and number frames from 0 again."""
        for stream in STREAMS:
            self._connection.execute(f"TRUNCATE {staged(stream)}")
        self._frames = 0
        self._knows_instruments = False

    def _read_instruments(self) -> None:
        columns = [column for column in INSTRUMENTS.columns if column.name in _OF_INSTRUMENT]
        if self._instruments is None:
            known = pa.schema([column.arrow for column in columns]).empty_table()
        else:
            names = ", ".join(f'"{column.name}"' for column in columns)
            known = self._connection.sql(f"SELECT {names} FROM {self._instruments}").to_arrow_table()
        self._prepared.put(KNOWN_INSTRUMENTS, known)
        self._knows_instruments = True

    def _run(self, steps: Plan, batch: pa.Table, outcome: Outcome) -> None:
        """Stage one batch; where the engine cannot evaluate a frame, halve the batch until it stands alone."""
        self._prepared.put(FRAMES, batch)
        try:
            self._stage(steps, batch, outcome)
        except (duckdb.DataError, duckdb.InvalidInputException) as error:
            self._unstage(steps, f"frame BETWEEN {batch['frame'][0]} AND {batch['frame'][-1]}")
            if batch.num_rows == 1:
                reason = f"the engine cannot read it: {str(error).splitlines()[0]}"
                outcome.rejected.append(Rejected(batch["frame"][0].as_py() - outcome.first, 0, reason))
                return
            half = batch.num_rows // 2
            self._run(steps, batch.slice(0, half), outcome)
            self._run(steps, batch.slice(half), outcome)

    def _stage(self, steps: Plan, batch: pa.Table, outcome: Outcome) -> None:
        staged_directly, batch = self._directly(steps, batch)
        result = self._examined(steps) if batch.num_rows else Outcome(outcome.first)
        for counts in (staged_directly, result.staged):
            for stream, count in counts.items():
                outcome.staged[stream] = outcome.staged.get(stream, 0) + count
        for kind, count in result.known.items():
            outcome.known[kind] = outcome.known.get(kind, 0) + count
        outcome.unstored += result.unstored
        outcome.rejected += [Rejected(item.frame - outcome.first, item.item, item.reason) for item in result.rejected]

    def _directly(self, steps: Plan, batch: pa.Table) -> tuple[dict[str, int], pa.Table]:
        """Rows staged in one statement, and the frames, now put in, that have anything amiss."""
        if steps.direct is None:
            return {}, batch
        stream, statement = steps.direct
        count = self._changed(self._prepared.execute(statement))
        amiss = f"SELECT frame FROM {staged(stream)} WHERE frame >= {batch['frame'][0]} AND item IS NULL"
        found = np.unique(self._connection.execute(amiss).fetchnumpy()["frame"])
        if not len(found):
            return {stream: count}, batch.slice(0, 0)
        count -= self._unstage(steps, f"frame IN ({amiss})")
        rest = batch.take(np.searchsorted(batch["frame"].to_numpy(), found))
        self._prepared.put(FRAMES, rest)
        return {stream: count}, rest

    def _examined(self, steps: Plan) -> Outcome:
        """What became of the frames that were put in; those rejected by the number they have in the staging tables."""
        prepared, outcome = self._prepared, Outcome(0)
        items = prepared.select(steps.examine)
        prepared.put(steps.items, items)
        for stream, statement in steps.stage:
            outcome.staged[stream] = self._changed(prepared.execute(statement))
        for kind, statement in steps.unstored:
            if self._inspect:
                outcome.unstored.append(Unstored(kind, prepared.select(statement)))
                outcome.known[kind] = outcome.unstored[-1].rows.num_rows
            else:
                outcome.known[kind] = self._changed(prepared.execute(statement))
        if items["reason"].null_count < items.num_rows:
            refused = items.select(["frame", "item", "reason"]).filter(items["reason"].is_valid())
            outcome.rejected += [Rejected(**row) for row in refused.to_pylist()]
        prepared.release(steps.items)
        return outcome

    def _unstage(self, steps: Plan, which: str) -> int:
        """Take rows out of the staging tables; returns how many."""
        deletions = (f"DELETE FROM {staged(stream)} WHERE {which}" for stream, _ in steps.stage)
        return sum(self._changed(self._connection.execute(deletion)) for deletion in deletions)

    def _changed(self, result: duckdb.DuckDBPyConnection) -> int:
        """The one number a statement returned: rows inserted, or counted."""
        return int(result.fetchall()[0][0])


def text_column(frames: Sequence[bytes]) -> pa.Array:
    """``frames`` as an Arrow string column, without a Python object per frame; what is not UTF-8 becomes empty."""
    body = b"".join(frames)
    offsets = np.zeros(len(frames) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, frames), dtype=np.int64, count=len(frames)), out=offsets[1:])
    column = pa.LargeStringArray.from_buffers(len(frames), pa.py_buffer(offsets), pa.py_buffer(body))
    if body.isascii():
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return text_column([frame if _is_utf8(frame) else b"" for frame in frames])
    return column


def _is_utf8(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True
