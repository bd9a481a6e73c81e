"""Frames between the sockets and the disk: bounded, retried, dropped by rule and counted."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.recordings.journal import Batch, Journal, Position

MARKET = "binance_futures"


class Disk(Journal):
    """A journal whose disk can be full, or slow."""

    full = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ready = threading.Event()
        self.ready.set()

    def append(self, batches: Iterable[Batch]) -> Position:
        self.ready.wait(10)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(batches)

    def frames(self) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for block in self.read(Position(0, 0)):
            found.setdefault(block.batch.channel, []).extend(block.batch.frames["raw"].to_pylist())
        return found


@contextmanager
def filled(folder: Path, **named: Any) -> Iterator[tuple[Inbox, Disk]]:
    disk = Disk(folder)
    inbox = Inbox(disk, **named)
    inbox.pending(MARKET, "aggTrade")
    inbox.pending(MARKET, "depth", droppable=True)
    try:
        yield inbox, disk
    finally:
        disk.ready.set()
        inbox.close()


def add(inbox: Inbox, channel: str, *raw: bytes, start: int = 0) -> None:
    for number, frame in enumerate(raw):
        inbox.pending(MARKET, channel).add(start + number, frame)


async def test_everything_added_is_synced_once_and_told(tmp_path: Path) -> None:
    told: list[int] = []
    with filled(tmp_path, synced=told.append) as (inbox, disk):
        add(inbox, "aggTrade", b"1", b"2")
        add(inbox, "depth", b"b")
        assert inbox.frames == 3
        assert await inbox.sync()
        assert inbox.frames == 0
        assert await inbox.sync()
        assert disk.frames() == {"aggTrade": [b"1", b"2"], "depth": [b"b"]}
        assert told == [3]


async def test_two_syncs_at_once_write_nothing_twice(tmp_path: Path) -> None:
    with filled(tmp_path) as (inbox, disk):
        add(inbox, "aggTrade", b"1")
        disk.ready.clear()
        syncs = [asyncio.create_task(inbox.sync(0.01)) for _ in range(2)]
        await asyncio.sleep(0.03)
        add(inbox, "aggTrade", b"2")
        disk.ready.set()
        assert await asyncio.gather(*syncs) == [True, True]
        assert await inbox.sync()
        assert disk.frames() == {"aggTrade": [b"1", b"2"]}


async def test_a_cancelled_run_finishes_the_write_that_is_under_way(tmp_path: Path) -> None:
    with filled(tmp_path) as (inbox, disk):
        add(inbox, "aggTrade", b"1")
        disk.ready.clear()
        running = asyncio.create_task(inbox.run(0.01))
        await asyncio.sleep(0.05)
        running.cancel()
        disk.ready.set()
        add(inbox, "aggTrade", b"2")
        assert await inbox.sync()
        assert disk.frames() == {"aggTrade": [b"1", b"2"]}


async def test_frames_wait_while_the_disk_is_full_and_are_written_when_it_is_not(tmp_path: Path) -> None:
    with filled(tmp_path) as (inbox, disk):
        disk.full = True
        add(inbox, "aggTrade", b"1")
        assert not await inbox.sync()
        add(inbox, "aggTrade", b"2")
        assert not await inbox.sync()
        assert inbox.frames == 2
        assert inbox.sync_errors == 2
        disk.full = False
        assert await inbox.sync()
        assert disk.frames() == {"aggTrade": [b"1", b"2"]}


async def test_a_full_inbox_drops_the_oldest_books_and_no_trade(tmp_path: Path) -> None:
    holes: list[tuple[str, str, int, int]] = []
    with filled(tmp_path, limit=6, overflowed=lambda *hole: holes.append(hole)) as (inbox, disk):
        disk.full = True
        add(inbox, "depth", b"b1", b"b2", start=100)
        assert not await inbox.sync()
        add(inbox, "aggTrade", b"1", b"2", b"3", start=200)
        add(inbox, "depth", b"b3", b"b4", start=300)
        assert not await inbox.sync()
        assert inbox.dropped == {(MARKET, "depth"): 2}
        assert inbox.open.is_set()
        disk.full = False
        assert await inbox.sync()
        assert disk.frames() == {"aggTrade": [b"1", b"2", b"3"], "depth": [b"b3", b"b4"]}
        assert holes == [(MARKET, "depth", 100, 101)]


@pytest.mark.parametrize("overflow", ["drop_books", "wait"])
async def test_reading_waits_when_nothing_may_be_dropped(tmp_path: Path, overflow: Any) -> None:
    channel = "aggTrade" if overflow == "drop_books" else "depth"
    with filled(tmp_path, limit=3, overflow=overflow) as (inbox, disk):
        disk.full = True
        add(inbox, channel, b"1", b"2", b"3", b"4")
        assert not await inbox.sync()
        assert not inbox.open.is_set()
        assert inbox.frames == 4
        disk.full = False
        assert await inbox.sync()
        assert inbox.open.is_set()
        assert disk.frames() == {channel: [b"1", b"2", b"3", b"4"]}
        assert not inbox.dropped


async def test_the_rule_holds_while_one_write_takes_long(tmp_path: Path) -> None:
    with filled(tmp_path, limit=4) as (inbox, disk):
        add(inbox, "depth", b"b1")
        disk.ready.clear()
        syncing = asyncio.create_task(inbox.sync(0.01))
        await asyncio.sleep(0.03)
        add(inbox, "depth", *(b"%d" % number for number in range(10)))
        while inbox.frames > 4:
            await asyncio.sleep(0.01)
        disk.ready.set()
        assert await syncing
        assert await inbox.sync()
        assert disk.frames() == {"depth": [b"b1", b"7", b"8", b"9"]}
        assert inbox.dropped[MARKET, "depth"] == 7
