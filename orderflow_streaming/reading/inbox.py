"""Frames that were read and are not on disk yet: bounded, by market and channel.

The reading tasks append to lists; :meth:`Inbox.sync` moves them to the journal in one write, again and again.
A frame that could not be written stays here and is tried again. When too many wait, the overflow rule applies:
``drop_books`` drops the oldest book snapshots and counts them, ``wait`` (and ``drop_books`` when no book is left)
stops the reading until the disk has caught up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from orderflow_streaming.recordings.journal import FRAMES, Batch, Journal

log = logging.getLogger(__name__)

_RETRY_S = 1.0


@dataclass(slots=True)
class Pending:
    """Frames of one channel since the last sync; ``received`` in UTC microseconds, parallel to ``raw``."""

    market: str
    channel: str
    droppable: bool
    received: list[int] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def add(self, received: int, raw: bytes) -> None:
        self.received.append(received)
        self.raw.append(raw)

    def take(self) -> Batch:
        """Everything so far as one batch; starts anew."""
        received, raw, self.received, self.raw = self.received, self.raw, [], []
        arrays = [pa.array(received, pa.timestamp("us")), pa.array(raw, pa.binary())]
        return Batch(self.market, self.channel, pa.RecordBatch.from_arrays(arrays, schema=FRAMES))


class Inbox:
    """What the sockets and polls fill and the journal empties. Lives on the event loop."""

    def __init__(
        self,
        journal: Journal,
        *,
        limit: int = 500_000,
        overflow: Literal["drop_books", "wait"] = "drop_books",
        synced: Callable[[int], None] = lambda frames: None,
        overflowed: Callable[[str, str, int, int], None] = lambda market, channel, first_us, last_us: None,
    ) -> None:
        """``synced`` hears how many frames came onto the disk; ``overflowed`` which were dropped, and from when to
        when, once the disk works again."""
        self._journal = journal
        self._limit = limit
        self._overflow = overflow
        self._synced, self._overflowed = synced, overflowed
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._pending: dict[tuple[str, str], Pending] = {}
        self._unsynced: list[Batch] = []
        self._syncing = asyncio.Lock()
        self.open = asyncio.Event()
        """Cleared while reading has to wait."""
        self.open.set()
        self.dropped: Counter[tuple[str, str]] = Counter()
        """Frames the overflow rule dropped, by market and channel."""
        self._holes: dict[tuple[str, str], tuple[int, int]] = {}
        self.sync_errors = 0
        self.last_error = ""
        """Of the last write, empty when it went through."""

    def pending(self, market: str, channel: str, *, droppable: bool = False) -> Pending:
        """The list to append frames of this channel to; the same object every time."""
        return self._pending.setdefault((market, channel), Pending(market, channel, droppable))

    @property
    def frames(self) -> int:
        """Frames that are not on disk; may be asked from any thread."""
        return sum(len(pending.raw) for pending in list(self._pending.values())) + sum(
            batch.frames.num_rows for batch in list(self._unsynced)
        )

    async def run(self, interval_s: float) -> None:
        """Sync every ``interval_s`` until cancelled; a write that is under way ends nevertheless."""
        while True:
            await asyncio.sleep(interval_s)
            if not await asyncio.shield(self.sync(interval_s)):
                await asyncio.sleep(_RETRY_S)

    async def sync(self, check_s: float = 0.2) -> bool:
        """Move everything to the journal; False where the disk refused and the frames are still here."""
        async with self._syncing:
            return await self._sync(check_s)

    async def _sync(self, check_s: float) -> bool:
        self._unsynced += [pending.take() for pending in self._pending.values() if pending.raw]
        if not self._unsynced:
            return True
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._disk, self._journal.append, tuple(self._unsynced))
        while not writing.done():
            await asyncio.wait({writing}, timeout=check_s)
            self._limit_pending()
        try:
            writing.result()
        except OSError as error:
            self.sync_errors += 1
            self.last_error = error.strerror or str(error)
            log.error("the journal cannot be written, %d frames wait: %s", self.frames, self.last_error)
            self._limit_unsynced()
            return False
        frames = sum(batch.frames.num_rows for batch in self._unsynced)
        self._unsynced = []
        self.last_error = ""
        self.open.set()
        self._synced(frames)
        for (market, channel), (first_us, last_us) in self._holes.items():
            self._overflowed(market, channel, first_us, last_us)
        self._holes = {}
        return True

    def close(self) -> None:
        self._disk.shutdown()

    # -- overflow --------------------------------------------------------------------------------------

    def _limit_pending(self) -> None:
        """Apply the overflow rule to what came while the disk was busy."""
        excess = self.frames - self._limit
        for pending in self._pending.values() if self._overflow == "drop_books" else ():
            dropped = min(excess, len(pending.raw)) if pending.droppable else 0
            if dropped > 0:
                self._count(pending.market, pending.channel, pending.received[:dropped])
                del pending.received[:dropped], pending.raw[:dropped]
                excess -= dropped
        if excess > 0:
            self.open.clear()
        else:
            self.open.set()

    def _limit_unsynced(self) -> None:
        """Apply the overflow rule to batches the disk refused, oldest first."""
        excess = self.frames - self._limit
        kept: list[Batch] = []
        for batch in self._unsynced:
            pending = self._pending[batch.market, batch.channel]
            if excess > 0 and pending.droppable and self._overflow == "drop_books":
                excess -= batch.frames.num_rows
                self._count(batch.market, batch.channel, batch.frames["received_at"].cast(pa.int64()).to_pylist())
            else:
                kept.append(batch)
        self._unsynced = kept
        self._limit_pending()

    def _count(self, market: str, channel: str, received: Sequence[int]) -> None:
        if not self.dropped[market, channel]:
            log.error("%s %s: book snapshots are dropped, the disk is too slow", market, channel)
        self.dropped[market, channel] += len(received)
        first_us, _ = self._holes.get((market, channel), (received[0], 0))
        self._holes[market, channel] = first_us, received[-1]
