"""The journal: frames exactly as they came, on disk before they count as received.

A segment is a file of blocks; a block is the frames that one channel of one market brought between two syncs:
a header (magic, CRC-32, lengths, names) and a zstd-compressed Arrow record batch of
``received_at`` (UTC microseconds) and ``raw``. One thread appends, any thread reads what is synced. A segment is
never appended to after a restart. Where bytes are damaged, reading goes on at the next whole block; the damaged
bytes are kept aside in a file of their own.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

log = logging.getLogger(__name__)

FRAMES = pa.schema([pa.field("received_at", pa.timestamp("us")), pa.field("raw", pa.binary())])
"""What a block holds."""

_MAGIC = b"OFJ1"
_HEADER = struct.Struct("<4sIIIHH")
_CRC_FROM = 8
"""The checksum covers the block from here: everything but the magic and itself."""
_CODEC = pa.Codec("zstd", compression_level=1)
_SUFFIX = ".journal"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the journal: bytes before it are done with."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames of one channel of one market, in the order they came."""

    market: str
    channel: str
    frames: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Block:
    """A batch as read back, with the position after it."""

    batch: Batch
    end: Position


class Journal:
    """Segments in ``folder``. Numbers go on from ``after``, so that a position only ever rises."""

    def __init__(self, folder: Path, *, segment_bytes: int = 64 << 20, after: int = 0) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._file: int | None = None
        self._end = Position(max([after, *self.segments()], default=0) + 1, 0)

    @property
    def end(self) -> Position:
        """Everything before it is on disk."""
        return self._end

    def segments(self) -> list[int]:
        """Numbers of the segments on disk, in order."""
        return sorted(int(path.stem) for path in self._folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())

    def append(self, batches: Iterable[Batch]) -> Position:
        """Write the batches and wait until the disk has them.

        On OSError none of them counts: the segment is cut back and given up, and the same batches may be
        appended again.
        """
        data = b"".join(_encode(batch) for batch in batches)
        if self._end.offset and self._end.offset + len(data) > self._segment_bytes:
            self._rotate()
        try:
            if self._file is None:
                self._create()
                assert self._file is not None
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            self._abandon()
            raise
        self._end = Position(self._end.segment, self._end.offset + len(data))
        return self._end

    def read(self, start: Position) -> Iterator[Block]:
        """Every whole block from ``start`` to what was synced when the call began."""
        end = self._end
        for segment in self.segments():
            if start.segment <= segment <= end.segment:
                offset = start.offset if segment == start.segment else 0
                limit = end.offset if segment == end.segment else self._path(segment).stat().st_size
                if offset < limit:
                    yield from self._read_segment(segment, offset, limit)

    def prune(self, stored: Position, keep_hours: float, max_bytes: float = math.inf) -> int:
        """Delete segments that are stored to their end and are older than ``keep_hours``, or the oldest of a journal
        larger than ``max_bytes``; returns how many."""
        deleted, size = 0, self.size()
        for segment in self.segments():
            path = self._path(segment)
            held = path.stat()
            whole = segment < stored.segment or (segment == stored.segment and stored.offset >= held.st_size)
            active = segment == self._end.segment and self._file is not None
            old = time.time() - held.st_mtime >= keep_hours * 3600
            if whole and not active and (old or size > max_bytes):
                path.unlink()
                deleted += 1
                size -= held.st_size
        return deleted

    def size(self) -> int:
        """Bytes of all segments on disk; may be asked from any thread."""
        return sum(_size(path) for path in self._folder.glob(f"*{_SUFFIX}"))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # -- segments --------------------------------------------------------------------------------------

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:012d}{_SUFFIX}"

    def _create(self) -> None:
        self._file = os.open(self._path(self._end.segment), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _rotate(self) -> None:
        self.close()
        self._end = Position(self._end.segment + 1, 0)

    def _abandon(self) -> None:
        """Give the segment up after a failed write: what the disk holds of it past the last sync is unknown."""
        if self._file is not None:
            try:
                os.ftruncate(self._file, self._end.offset)
            except OSError as error:
                log.warning("journal segment %d could not be cut back: %s", self._end.segment, error.strerror)
        self._rotate()

    def _read_segment(self, segment: int, offset: int, limit: int) -> Iterator[Block]:
        with self._path(segment).open("rb") as file, mmap.mmap(file.fileno(), limit, access=mmap.ACCESS_READ) as data:
            while offset < limit:
                decoded = _decode(data, offset, limit)
                if decoded is None:
                    good = _next_block(data, offset + 1, limit)
                    self._set_aside(segment, offset, data[offset:good])
                    offset = good
                    continue
                batch, offset = decoded
                yield Block(batch, Position(segment, offset))

    def _set_aside(self, segment: int, offset: int, damaged: bytes) -> None:
        path = self._folder / f"{segment:012d}-{offset}.damaged"
        if not path.exists():
            path.write_bytes(damaged)
            log.warning(
                "journal segment %d: %d damaged bytes at %d kept in %s", segment, len(damaged), offset, path.name
            )


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment on disk, as a reader of the recording sees it."""

    path: Path
    bytes: int
    first_us: int | None
    """Receive time of the first frame, UTC microseconds; None where nothing whole is in it."""
    last_us: int | None
    """Receive time of the last frame of its last block."""
    markets: tuple[str, ...]


def recorded_segments(folder: Path) -> list[Path]:
    """The segments of a journal folder, oldest first."""
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())


def read_segment(path: Path) -> Iterator[tuple[Batch, int]]:
    """Every whole block of a segment with the offset after it. Nothing is written; damaged bytes are passed over."""
    limit = path.stat().st_size
    if not limit:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), limit, access=mmap.ACCESS_READ) as data:
        offset = 0
        while offset < limit:
            decoded = _decode(data, offset, limit)
            if decoded is None:
                offset = _next_block(data, offset + 1, limit)
                continue
            batch, offset = decoded
            yield batch, offset


def described(path: Path) -> Segment:
    """What a segment holds, from the headers of its blocks and the frames of the first and the last."""
    size = path.stat().st_size
    if not size:
        return Segment(path, 0, None, None, ())
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        markets: dict[str, None] = {}
        first = last = None
        offset = _next_block(data, 0, size)
        while offset + _HEADER.size <= size:
            magic, _, length, _, market_size, channel_size = _HEADER.unpack_from(data, offset)
            start = offset + _HEADER.size
            end = start + market_size + channel_size + length
            if magic != _MAGIC or end > size:
                offset = _next_block(data, offset + 1, size)
                continue
            markets[data[start : start + market_size].decode(errors="replace")] = None
            first, last = offset if first is None else first, offset
            offset = end
        times = [_times(data, block, size) for block in (first, last) if block is not None]
    return Segment(path, size, times[0][0] if times else None, times[-1][-1] if times else None, tuple(sorted(markets)))


def _times(data: mmap.mmap, offset: int, limit: int) -> tuple[int | None, int | None]:
    """Receive times of the first and the last frame of a block."""
    decoded = _decode(data, offset, limit)
    if decoded is None or not decoded[0].frames.num_rows:
        return None, None
    received = decoded[0].frames["received_at"].cast(pa.int64())
    return received[0].as_py(), received[-1].as_py()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _encode(batch: Batch) -> bytes:
    serialized = batch.frames.serialize()
    payload = _CODEC.compress(serialized, asbytes=True)
    market, channel = batch.market.encode(), batch.channel.encode()
    body = (len(payload), serialized.size, len(market), len(channel))
    checked = _HEADER.pack(_MAGIC, 0, *body)[_CRC_FROM:] + market + channel + payload
    return _MAGIC + zlib.crc32(checked).to_bytes(4, "little") + checked


def _decode(data: mmap.mmap, offset: int, limit: int) -> tuple[Batch, int] | None:
    """The block at ``offset`` and the offset after it; None where no whole block starts there."""
    start = offset + _HEADER.size
    if start > limit:
        return None
    magic, crc, size, full_size, market_size, channel_size = _HEADER.unpack_from(data, offset)
    end = start + market_size + channel_size + size
    if magic != _MAGIC or end > limit or zlib.crc32(data[offset + _CRC_FROM : end]) != crc:
        return None
    names, payload = start + market_size, start + market_size + channel_size
    frames = pa.ipc.read_record_batch(_CODEC.decompress(data[payload:end], full_size), FRAMES)
    return Batch(data[start:names].decode(), data[names:payload].decode(), frames), end


def _next_block(data: mmap.mmap, offset: int, limit: int) -> int:
    """Offset of the next whole block, or ``limit``."""
    while (offset := data.find(_MAGIC, offset, limit)) >= 0:
        if _decode(data, offset, limit) is not None:
            return offset
        offset += 1
    return limit


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
