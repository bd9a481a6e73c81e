"""From raw frames to rows of the stream tables, batch by batch, inside DuckDB.

A batch is frames of one market and one channel. One statement takes the declared values out of each frame and says
for each item why no row can be made of it, if so; further statements derive the columns of each stream and append
them to a temporary *staging table*. Python looks at no field.

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
from orderflow_streaming.projection import Plan, plan, staged, staged_columns
from orderflow_streaming.schema import INSTRUMENTS, STREAMS


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
    any instrument. With ``inspect`` (reading a recording) rows of unstored kinds are handed out too, and a row is
    staged with NULL where only the receive time, the URL or the contract size, all unknown, could tell its time, its
    symbol or its quantity in base coin.

    Call it outside a transaction: the staging tables survive the failure of a later one.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, instruments: str | None = None, *, inspect: bool = False
    ) -> None:
        self._connection = connection
        self._inspect = inspect
        self._instruments = instruments or _no_instruments(connection)
        self._frames = 0
        for stream in STREAMS:
            columns = ", ".join(f'"{column.name}" {column.type}' for column in staged_columns(stream))
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {staged(stream)} ({columns})")

    def normalize(
        self, exchange: Exchange, channel: str, frames: Sequence[bytes], received_at: Sequence[int | None] | np.ndarray
    ) -> Outcome:
        """Stage the rows of ``frames``, received at ``received_at`` microseconds since the epoch, UTC."""
        outcome = Outcome(self._frames)
        self._frames += len(frames)
        times = pa.array(received_at, pa.int64()).cast(pa.timestamp("us"))
        if frames:
            self._run(plan(exchange, channel, self._instruments, self._inspect), frames, times, outcome, outcome.first)
        return outcome

    def clear(self) -> None:
        """Empty the staging tables and number frames from 0 again."""
        for stream in STREAMS:
            self._connection.execute(f"TRUNCATE {staged(stream)}")
        self._frames = 0

    def _run(self, steps: Plan, frames: Sequence[bytes], times: pa.Array, outcome: Outcome, first: int) -> None:
        """Stage one batch; where the engine cannot evaluate a frame, halve the batch until it stands alone."""
        numbers = np.arange(first, first + len(frames))
        batch = pa.table([numbers, times, text_column(frames)], ["frame", "received_at", "raw"])
        self._connection.register("incoming_frames", batch)
        try:
            counts = self._directly(steps, first) or self._examined(steps, outcome)
        except (duckdb.DataError, duckdb.InvalidInputException) as error:
            self._unstage(steps, first)
            if len(frames) == 1:
                reason = f"the engine cannot read it: {str(error).splitlines()[0]}"
                outcome.rejected.append(Rejected(first - outcome.first, 0, reason))
                return
            half = len(frames) // 2
            self._run(steps, frames[:half], times[:half], outcome, first)
            self._run(steps, frames[half:], times[half:], outcome, first + half)
            return
        finally:
            self._connection.unregister("incoming_frames")
        for kind, count in counts.items():
            outcome.staged[kind] = outcome.staged.get(kind, 0) + count

    def _directly(self, steps: Plan, first: int) -> dict[str, int] | None:
        """Rows staged in one statement, or None, and nothing staged, if anything is amiss with a frame."""
        if steps.direct is None:
            return None
        stream, statement = steps.direct
        count = self._changed(statement)
        if not self._changed(f"SELECT count(*) FROM {staged(stream)} WHERE frame >= {first} AND item IS NULL"):
            return {stream: count}
        self._unstage(steps, first)
        return None

    def _examined(self, steps: Plan, outcome: Outcome) -> dict[str, int]:
        """Rows staged by stream; what makes none goes into ``outcome``."""
        connection = self._connection
        connection.execute(steps.examine)
        counts = {stream: self._changed(statement) for stream, statement in steps.stage}
        unstored = []
        for kind, statement in steps.unstored:
            if self._inspect:
                unstored.append(Unstored(kind, connection.sql(statement).to_arrow_table()))
            else:
                outcome.known[kind] = outcome.known.get(kind, 0) + self._changed(statement)
        for rows in unstored:
            outcome.known[rows.kind] = outcome.known.get(rows.kind, 0) + rows.rows.num_rows
        outcome.unstored += unstored
        outcome.rejected += [
            Rejected(frame - outcome.first, item, reason)
            for frame, item, reason in connection.execute(steps.rejected).fetchall()
        ]
        return counts

    def _unstage(self, steps: Plan, first: int) -> None:
        for stream, _ in steps.stage:
            self._connection.execute(f"DELETE FROM {staged(stream)} WHERE frame >= {first}")

    def _changed(self, statement: str) -> int:
        """The one number a statement returns: rows inserted, or counted."""
        return int(self._connection.execute(statement).fetchall()[0][0])


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


def _no_instruments(connection: duckdb.DuckDBPyConnection) -> str:
    columns = ", ".join(f'"{column.name}" {column.type}' for column in INSTRUMENTS.columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE no_instruments ({columns})")
    return "no_instruments"
