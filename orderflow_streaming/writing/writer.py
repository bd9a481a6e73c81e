"""The writer: a thread that moves synced frames from the journal into the store, flush by flush.

A flush reads blocks from the mark on, normalizes them in the engine and stores the rows and the new mark in one
transaction. What ran before a crash and what runs after a restart is the same code on the same bytes.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa

from orderflow_streaming.exchanges import PROTOCOLS, exchange
from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.recordings.journal import Block, Journal, Position
from orderflow_streaming.schema import QUARANTINE, STREAMS
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.gaps import Gap
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.prepared import Prepared
from orderflow_streaming.writing.storing import Consecutive, Storage, Stored, Tally, stored_mark

log = logging.getLogger(__name__)

FRAMES_PER_FLUSH = 50_000
"""A backlog is stored in transactions of about so many frames."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
POISON = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, pa.ArrowInvalid, OverflowError)
"""Errors that data causes. Other errors of the engine may pass."""
BROKEN = (duckdb.FatalException, duckdb.InternalException)
"""After these the database has to be opened anew."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of one channel of one market; ``received`` in UTC microseconds."""

    market: str
    channel: str
    received: np.ndarray
    raw: list[bytes]

    def part(self, start: int, end: int) -> Frames:
        return Frames(self.market, self.channel, self.received[start:end], self.raw[start:end])


@dataclass(frozen=True, slots=True)
class Quarantined:
    received: int
    market: str
    channel: str
    reason: str
    raw: bytes


@dataclass(slots=True)
class Totals:
    """What was done since the start. Written by the writer's thread, read by anyone."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By market and stream; the lag is that of the last flush."""
    gaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By market and stream."""
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Frames, by market and channel."""
    flushes: int = 0
    errors: int = 0
    last_error: str = ""
    """Of the last flush, empty when it went through."""
    last_flush_at: float | None = None
    """Unix time."""
    last_flush_s: float = 0.0

    def add(self, stored: Stored, quarantined: Iterable[Quarantined]) -> None:
        for key, tally in stored.tallies.items():
            total = self.tallies.setdefault(key, Tally())
            total.stored += tally.stored
            total.updated += tally.updated
            total.duplicates += tally.duplicates
            total.unchanged += tally.unchanged
            total.lag_ms = tally.lag_ms or total.lag_ms
        self.gaps.update((f"{gap.identity[1]}_{gap.identity[2]}", gap.stream) for gap in stored.gaps)
        self.rejected.update((frame.market, frame.channel) for frame in quarantined)


class Writer:
    """Stores what the journal holds past the mark; :meth:`recover` first, then as a thread."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        *,
        interval_s: float = 5.0,
        batch_size: int = 50_000,
        keep_hours: float = 0.0,
        max_journal_bytes: float = math.inf,
        streams: Collection[str] = (),
    ) -> None:
        """``streams`` are those to store; empty means all."""
        self._journal = journal
        self.collect(streams)
        self._interval_s, self._batch_size = interval_s, batch_size
        self.keep_hours, self._max_journal_bytes = keep_hours, max_journal_bytes
        cursor = engine.cursor()
        prepared = Prepared(cursor)
        self.storage = Storage(engine, cursor, consecutive(), prepared)
        self._normalizer = Normalizer(cursor, "ops.instruments", prepared=prepared)
        self._mark = stored_mark(engine)
        self._gaps: deque[Gap] = deque()
        self._wake = threading.Condition()
        self._synced = self._stored = 0
        self._asked = self._stopping = False
        self._thread = threading.Thread(target=self._run, name="writer")
        self.totals = Totals()
        self.gaps_stored: Callable[[], None] = lambda: None
        """Called from the writer's thread once gaps were written down."""
        self.broken: Exception | None = None
        """Why the thread ended, where it ended by itself."""

    @property
    def pending(self) -> int:
        """Frames on disk that are not stored."""
        return self._synced - self._stored

    def synced(self, frames: int) -> None:
        """The journal has so many more frames on disk."""
        with self._wake:
            self._synced += frames
            if self.pending >= self._batch_size:
                self._wake.notify_all()

    def collect(self, streams: Collection[str]) -> None:
        """Store these streams from the next flush on; empty means all."""
        self._streams = frozenset(streams or STREAMS)

    def note(self, gap: Gap) -> None:
        """Write the gap down with the next flush."""
        self._gaps.append(gap)

    def recover(self) -> int:
        """Store what the journal holds past the mark; returns the frames."""
        frames = self._drain()
        self._synced = self._stored = 0
        return frames

    def prune(self) -> None:
        """Delete segments of the journal that are stored and kept long enough."""
        self._journal.prune(self._mark, self.keep_hours, self._max_journal_bytes)

    def start(self) -> None:
        self._thread.start()

    def flush(self, timeout_s: float = 60.0) -> bool:
        """Have everything synced so far stored; False where that did not happen in time."""
        with self._wake:
            target, self._asked = self._synced, True
            self._wake.notify_all()
            done = self._wake.wait_for(lambda: self._stored >= target or not self._thread.is_alive(), timeout_s)
            return done and self._stored >= target

    def stop(self) -> None:
        """Store what is synced and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        retry_s = 0.0
        while True:
            with self._wake:
                self._wake.wait_for(self._due, retry_s or self._interval_s)
                self._asked, stopping = False, self._stopping
            try:
                self._drain()
                retry_s = 0.0
            except BROKEN as error:
                self._failed(error)
                self.broken = error
                stopping = True
            except (duckdb.Error, OSError, MemoryError) as error:
                self._failed(error)
                retry_s = min(LONGEST_RETRY_S, max(FIRST_RETRY_S, 2 * retry_s))
            with self._wake:
                self._wake.notify_all()
            if stopping:
                return

    def _due(self) -> bool:
        waiting = self.pending >= self._batch_size and not self.totals.last_error
        return self._asked or self._stopping or waiting

    def _failed(self, error: Exception) -> None:
        self.totals.errors += 1
        self.totals.last_error = _first_line(error)
        log.error("flush failed, %d frames wait in the journal: %s", self.pending, self.totals.last_error)

    def _drain(self) -> int:
        """Flush until everything that was synced when the call began is stored; returns the frames."""
        target, end, frames = self._synced, self._journal.end, 0
        while self._mark < end and (blocks := self._blocks()):
            frames += self._flush(blocks)
        if self._gaps:
            self._flush([])
        self._stored = max(self._stored, target)
        return frames

    def _blocks(self) -> list[Block]:
        blocks: list[Block] = []
        frames = 0
        for block in self._journal.read(self._mark):
            blocks.append(block)
            frames += block.batch.frames.num_rows
            if frames >= FRAMES_PER_FLUSH:
                break
        return blocks

    # -- one flush -------------------------------------------------------------------------------------

    def _flush(self, blocks: Sequence[Block]) -> int:
        started = time.monotonic()
        groups = _grouped(blocks)
        mark = blocks[-1].end if blocks else self._mark
        gaps = list(self._gaps)
        try:
            stored, quarantined = self._transact(groups, mark, gaps)
        except POISON as error:
            log.warning("a flush was refused (%s), looking for the frames that cause it", _first_line(error))
            good, bad = self._sifted(groups)
            stored, quarantined = self._transact(good, mark, gaps, bad)
        for _ in gaps:
            self._gaps.popleft()
        self._mark = mark
        self.prune()
        frames = sum(block.batch.frames.num_rows for block in blocks)
        self._stored += frames
        totals = self.totals
        totals.add(stored, quarantined)
        if stored.gaps:
            self.gaps_stored()
        totals.flushes += 1
        totals.last_error = ""
        totals.last_flush_at, totals.last_flush_s = time.time(), time.monotonic() - started
        return frames

    def _transact(
        self,
        groups: Sequence[Frames],
        mark: Position,
        gaps: Sequence[Gap] = (),
        quarantined: Sequence[Quarantined] = (),
        *,
        dry_run: bool = False,
    ) -> tuple[Stored, list[Quarantined]]:
        """Normalize and store, all or nothing."""
        rejected = list(quarantined)
        streams: set[str] = set()
        try:
            for frames in groups:
                streams |= self._stage(frames, rejected)
            table = _quarantine_table(rejected)
            wanted = streams & self._streams
            return self.storage.store(wanted, mark, quarantine=table, gaps=gaps, dry_run=dry_run), rejected
        finally:
            self._normalizer.clear()

    def _stage(self, frames: Frames, rejected: list[Quarantined]) -> set[str]:
        """Stage the rows of one channel; returns the streams that got some."""
        protocol = exchange(frames.market) if frames.market in PROTOCOLS else None
        if protocol is None:
            rejected += _all_rejected(frames, "the market has no protocol")
            return set()
        if frames.channel not in protocol.channels:
            rejected += self._misfits(protocol, frames)
            return set()
        if not _makes_rows(protocol, frames.channel):
            return set()
        outcome = self._normalizer.normalize(protocol, frames.channel, frames.raw, frames.received)
        reasons: dict[int, str] = {}
        for item in outcome.rejected:
            reasons.setdefault(item.frame, item.reason)
        rejected += [
            Quarantined(int(frames.received[row]), frames.market, frames.channel, reason, frames.raw[row])
            for row, reason in reasons.items()
        ]
        return set(outcome.staged)

    def _misfits(self, protocol: Exchange, frames: Frames) -> list[Quarantined]:
        """Frames that nothing could take, each with what is wrong with it."""
        found = []
        for received, raw in zip(frames.received.tolist(), frames.raw, strict=True):
            channel, reason = protocol.route(raw), "no topic and no control message is like it"
            if channel is not None:
                outcome = self._normalizer.normalize(protocol, channel, [raw], [received])
                reason = outcome.rejected[0].reason if outcome.rejected else "its state could not take it"
            found.append(Quarantined(received, frames.market, channel or frames.channel, reason, raw))
        return found

    def _sifted(self, groups: Sequence[Frames]) -> tuple[list[Frames], list[Quarantined]]:
        """The frames that can be stored, and those that cannot, each found alone by halving."""
        try:
            self._transact(groups, self._mark, dry_run=True)
        except POISON as error:
            halves = _halves(groups)
            if not halves:
                (frames,) = groups
                return [], _all_rejected(frames, f"cannot be stored: {_first_line(error)}")
            (left, bad_left), (right, bad_right) = (self._sifted(half) for half in halves)
            return left + right, bad_left + bad_right
        return list(groups), []


def consecutive() -> Consecutive:
    """Market and stream to the column that numbers its rows, of every protocol there is."""
    return {
        (market, rows.kind): channel.consecutive
        for market in PROTOCOLS
        for channel in exchange(market).channels.values()
        if channel.consecutive
        for rows in channel.rows
        if rows.kind in STREAMS
    }


@cache
def _makes_rows(protocol: Exchange, channel: str) -> bool:
    """False for changes of a state: what is stored of them are the frames of the merged state."""
    return any(rows.kind in STREAMS for rows in protocol.channels[channel].rows)


def _grouped(blocks: Iterable[Block]) -> list[Frames]:
    """One entry per market and channel, frames in the order they came."""
    parts: dict[tuple[str, str], list[pa.RecordBatch]] = {}
    for block in blocks:
        parts.setdefault((block.batch.market, block.batch.channel), []).append(block.batch.frames)
    groups = []
    for (market, channel), batches in parts.items():
        table = pa.Table.from_batches(batches).combine_chunks()
        received = table["received_at"].cast(pa.int64()).to_numpy()
        groups.append(Frames(market, channel, received, table["raw"].to_pylist()))
    return groups


def _halves(groups: Sequence[Frames]) -> list[list[Frames]]:
    """Two halves of the frames; empty where there is only one frame."""
    if len(groups) > 1:
        middle = len(groups) // 2
        return [list(groups[:middle]), list(groups[middle:])]
    (frames,) = groups
    middle = len(frames.raw) // 2
    return [[frames.part(0, middle)], [frames.part(middle, len(frames.raw))]] if middle else []


def _all_rejected(frames: Frames, reason: str) -> list[Quarantined]:
    return [
        Quarantined(received, frames.market, frames.channel, reason, raw)
        for received, raw in zip(frames.received.tolist(), frames.raw, strict=True)
    ]


def _quarantine_table(frames: Sequence[Quarantined]) -> pa.Table | None:
    if not frames:
        return None
    return pa.table(
        [
            pa.array([frame.received for frame in frames], pa.timestamp("us")),
            [frame.market for frame in frames],
            [frame.channel for frame in frames],
            [frame.reason for frame in frames],
            pa.array([frame.raw for frame in frames], pa.binary()),
        ],
        schema=QUARANTINE.arrow_schema,
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
