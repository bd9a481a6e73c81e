"""Recordings fed through the way every frame takes: inbox, journal, writer.

A journal folder is replayed as it is, merged states included. They are what was stored at the time, and the changes
they were made of come from connections that overlapped, which the journal does not tell apart. A ``.tsv`` recording
has only what the venue sent, so its changes are merged on the way.

Receive times are those of the recording. A row is told by its natural key and a rejected frame by its receive time and
bytes, so a recording that is replayed again, or on top of an interrupted replay, adds nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import UnsupportedFrameError
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.session import UNPLACED
from orderflow_streaming.recordings import told
from orderflow_streaming.recordings.journal import Segment, described, read_segment, recorded_segments
from orderflow_streaming.recordings.recording import Message, RecordingError, messages
from orderflow_streaming.recordings.states import Missed, States
from orderflow_streaming.recordings.told import ToldInstruments
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.store import StoreError, connect
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.writer import Writer

PIECE_US = 200_000
"""Frames of so much time are replayed together."""
PIECE_FRAMES = 20_000
BACKLOG = 200_000
"""Frames in the journal at which the reading waits for the store."""
STORE_TIMEOUT_S = 600.0


class ReplayError(Exception):
    """The recording cannot be replayed, or the store cannot take it; the message says what to do."""


@dataclass(slots=True)
class Piece:
    """Frames of one channel of one market; ``received`` in UTC microseconds, parallel to ``raw``."""

    market: str
    channel: str
    received: list[int] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    done: int = 0
    """Bytes of the recording that were read so far."""


class Recording(Protocol):
    """Something that can be replayed."""

    @property
    def size(self) -> int:
        """Bytes to read."""

    @property
    def markets(self) -> Collection[str]:
        """Whose frames it holds."""

    def instruments(self) -> pa.Table:
        """Rows of ``ops.instruments``; empty where it does not know them."""

    def pieces(self) -> Iterator[Piece]:
        """Its frames, in the order they came as far as that is known; raises :class:`RecordingError`."""


class JournalRecording:
    """A journal folder; nothing is written there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: list[Segment] = [described(path) for path in recorded_segments(folder)]
        self.size = sum(segment.bytes for segment in self._segments)
        self.markets = {market for segment in self._segments for market in segment.markets}

    def instruments(self) -> pa.Table:
        """As the database beside the journal knows them."""
        try:
            with connect(self._folder.parent, scope="read") as store:
                return store.query(f"SELECT * FROM {INSTRUMENTS.qualified}")
        except StoreError:
            return INSTRUMENTS.arrow_schema.empty_table()

    def pieces(self) -> Iterator[Piece]:
        before = 0
        for segment in self._segments:
            for batch, offset in read_segment(segment.path):
                received = batch.frames["received_at"].cast(pa.int64()).to_pylist()
                raw = batch.frames["raw"].to_pylist()
                yield Piece(batch.market, batch.channel, received, raw, before + offset)
            before += segment.bytes


class EventRecording:
    """``.tsv`` files of one market, see :mod:`~orderflow_streaming.recordings.recording`."""

    def __init__(self, files: Sequence[Path], market: str) -> None:
        self._files, self._exchange = files, exchange(market)
        self.markets = (market,)
        self.size = sum(len(message.raw) for file in files for message in messages(str(file)))
        self.unread = 0
        """Messages of a product or version that is deliberately not read."""
        self.broken = 0
        """Lines that hold no message."""
        self.missed = 0
        """Times something was missing before a change, so that its state was given up."""

    def instruments(self) -> pa.Table:
        """As the answers in the recording tell."""
        with duckdb.connect(config={"threads": 1}) as connection:
            instruments = ToldInstruments(connection, self._exchange)
            normalizer = Normalizer(connection, inspect=True)
            for message in self._messages():
                for channel, frame in self._classified(message):
                    if told.tells_instruments(self._exchange, channel):
                        outcome = normalizer.normalize(self._exchange, channel, [frame], [message.received_at])
                        for unstored in outcome.unstored:
                            instruments.learn(unstored)
            rows = instruments.rows()
        received = (message.received_at for message in self._messages() if message.received_at is not None)
        as_of = pc.coalesce(rows["as_of"], pa.scalar(next(received, 0), pa.int64()).cast(pa.timestamp("us")))
        return rows.set_column(rows.schema.get_field_index("as_of"), "as_of", as_of)

    def pieces(self) -> Iterator[Piece]:
        market, done = self._exchange.market.name, 0
        for file in self._files:
            states, gathered, begun = States(self._exchange), _Gathered(market), None
            for message in self._messages(file):
                done += len(message.raw)
                classified = self._classified(message, count=True)
                if message.received_at is None:
                    self._only_instruments(file, classified)
                    continue
                received = message.received_at
                if begun is not None and (received - begun >= PIECE_US or gathered.frames >= PIECE_FRAMES):
                    yield from gathered.taken(done)
                    begun = None
                begun = received if begun is None else begun
                for channel, frame in classified:
                    gathered.add(channel, received, frame)
                    match states.absorb(channel, frame, received):
                        case Missed():
                            self.missed += 1
                        case (merged, state):
                            gathered.add(merged, received, state)
            for channel, received, frame in states.overdue():
                gathered.add(channel, received, frame)
            yield from gathered.taken(done)

    def _messages(self, file: Path | None = None) -> Iterator[Message]:
        for name in [file] if file else self._files:
            yield from messages(str(name))

    def _only_instruments(self, file: Path, classified: Sequence[tuple[str, bytes]]) -> None:
        """Insist that a message without a receive time is about instruments, which are learned beforehand."""
        if not all(told.tells_instruments(self._exchange, channel) for channel, _ in classified):
            raise RecordingError(
                f"{file} does not say when its messages were received, as .tsv files do; only answers about "
                "instruments can do without."
            )

    def _classified(self, message: Message, *, count: bool = False) -> list[tuple[str, bytes]]:
        """Channel and frame of each part of a message; what cannot be understood goes to quarantine."""
        if message.problem:
            self.broken += count
            return []
        try:
            return self._exchange.classify(message.raw, message.url)
        except UnsupportedFrameError:
            self.unread += count
            return []
        except ValueError:
            return [(UNPLACED, message.raw)]


class _Gathered:
    """Frames by channel."""

    def __init__(self, market: str) -> None:
        self._market = market
        self._pieces: dict[str, Piece] = {}
        self.frames = 0

    def add(self, channel: str, received: int, frame: bytes) -> None:
        piece = self._pieces.setdefault(channel, Piece(self._market, channel))
        piece.received.append(received)
        piece.raw.append(frame)
        self.frames += 1

    def taken(self, done: int) -> Iterator[Piece]:
        pieces, self._pieces, self.frames = self._pieces, {}, 0
        for piece in pieces.values():
            piece.done = done
            yield piece


def found(sources: Sequence[Path], markets: Collection[str]) -> Recording:
    """The recording that ``sources`` are: one journal or data folder, or files of one market.

    Raises :class:`ReplayError` for anything else and :class:`RecordingError` for a file that cannot be read.
    """
    first = sources[0]
    if first.is_dir():
        if len(sources) > 1:
            raise ReplayError("give one folder, or files; not several folders at once.")
        folder = first if recorded_segments(first) else first / "journal"
        if not recorded_segments(folder):
            raise ReplayError(
                f"{first} holds no journal segments. Record with: orderflow-stream record --keep HOURS; "
                "or give .tsv files."
            )
        return JournalRecording(folder)
    if len(markets) != 1:
        raise ReplayError("a file does not say which market it is of: name the one with --markets.")
    for source in sources:
        if not source.is_file():
            raise ReplayError(f"{source} does not exist.")
    return EventRecording(sources, next(iter(markets)))


@dataclass(slots=True)
class Replayed:
    """What was replayed; times are receive times in UTC microseconds."""

    frames: int = 0
    first_us: int | None = None
    last_us: int | None = None
    skipped: int = 0
    """Frames outside the asked time or market."""

    def add(self, received: Sequence[int]) -> None:
        if received:
            self.frames += len(received)
            low, high = min(received), max(received)
            self.first_us = low if self.first_us is None else min(low, self.first_us)
            self.last_us = high if self.last_us is None else max(high, self.last_us)


async def replay(
    recording: Recording,
    inbox: Inbox,
    writer: Writer,
    *,
    start_us: int | None = None,
    end_us: int | None = None,
    markets: Collection[str] = (),
    speed: float | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Replayed:
    """Feed the frames received in ``[start_us, end_us)`` of ``markets``, empty meaning all.

    ``speed`` 1 takes as long as the recording did, 2 half of it, None is as fast as the store takes it. ``progress``
    hears of the bytes read. Raises :class:`ReplayError` where the disk or the store refuses.
    """
    result, started = Replayed(), time.monotonic()
    waiting = 0
    for piece in recording.pieces():
        kept = _within(piece, start_us, end_us) if not markets or piece.market in markets else []
        result.skipped += len(piece.raw) - len(kept)
        if kept and speed is not None:
            begun = result.first_us if result.first_us is not None else piece.received[kept[0]]
            due = started + (piece.received[kept[0]] - begun) / 1e6 / speed
            if due > time.monotonic():
                await _synced(inbox)
                waiting = 0
                await asyncio.sleep(due - time.monotonic())
        pending = inbox.pending(piece.market, piece.channel)
        for position in kept:
            pending.add(piece.received[position], piece.raw[position])
        result.add([piece.received[position] for position in kept])
        waiting += len(kept)
        if waiting >= PIECE_FRAMES:
            await _synced(inbox)
            waiting = 0
            if writer.pending >= BACKLOG:
                await _stored(writer)
        progress(piece.done)
    await _synced(inbox)
    await _stored(writer)
    return result


def _within(piece: Piece, start_us: int | None, end_us: int | None) -> list[int]:
    """Positions of the frames received in the time asked for."""
    return [
        position
        for position, received in enumerate(piece.received)
        if (start_us is None or received >= start_us) and (end_us is None or received < end_us)
    ]


async def _synced(inbox: Inbox) -> None:
    if not await inbox.sync():
        raise ReplayError(f"the journal cannot be written: {inbox.last_error}. Make room and replay again.")


async def _stored(writer: Writer) -> None:
    if not await asyncio.to_thread(writer.flush, STORE_TIMEOUT_S):
        reason = writer.broken or writer.totals.last_error or "it takes too long"
        raise ReplayError(f"the store cannot take the frames: {reason}. Replay again: nothing is doubled.")
