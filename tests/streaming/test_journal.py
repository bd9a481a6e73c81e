"""The journal: what was synced is read back whatever happens to the bytes around it."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_streaming.recordings.journal import FRAMES, Batch, Journal, Position

START = Position(0, 0)


def batch(channel: str, *raw: bytes, received: int = 1_700_000_000_000_000) -> Batch:
    times = [received + index for index in range(len(raw))]
    return Batch(
        "binance_futures", channel, pa.record_batch([pa.array(times, pa.timestamp("us")), list(raw)], schema=FRAMES)
    )


def raws(journal: Journal, start: Position = START) -> list[bytes]:
    return [raw for block in journal.read(start) for raw in block.batch.frames["raw"].to_pylist()]


def segment(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}.journal"


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([batch("trades", b"{1}", b"\x00\xff"), batch("books", b"")])
    end = journal.append([batch("trades", b"{2}")])
    blocks = list(journal.read(START))
    assert [block.batch.channel for block in blocks] == ["trades", "books", "trades"]
    assert blocks[0].batch == batch("trades", b"{1}", b"\x00\xff")
    assert blocks[-1].end == end == journal.end
    assert raws(journal, blocks[0].end) == [b"", b"{2}"]


def test_a_position_of_a_block_resumes_after_it_in_a_new_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    stored = first.append([batch("trades", b"1")])
    first.append([batch("trades", b"2")])
    first.close()
    second = Journal(tmp_path)
    second.append([batch("trades", b"3")])
    assert raws(second, stored) == [b"2", b"3"]
    assert second.segments() == [1, 2]


def test_numbers_go_on_after_the_stored_mark_when_all_segments_are_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, after=41)
    assert journal.append([batch("trades", b"1")]).segment == 42


def test_segments_rotate_by_size_and_a_block_is_never_split(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=2_000)
    frames = [os.urandom(300) for _ in range(20)]
    for frame in frames:
        journal.append([batch("trades", frame)])
    assert len(journal.segments()) > 2
    assert raws(journal) == frames


def test_segments_stored_to_their_end_are_deleted_and_the_active_one_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    ends = [journal.append([batch("trades", bytes([value]))]) for value in range(4)]
    assert journal.prune(Position(ends[1].segment, ends[1].offset - 1), 0) == 1
    assert journal.prune(ends[1], keep_hours=1) == 0
    assert journal.prune(ends[1], keep_hours=0) == 1
    assert journal.prune(ends[3], keep_hours=0) == 1
    assert journal.segments() == [ends[3].segment]


def test_old_recordings_are_kept_as_long_as_asked(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    ends = [journal.append([batch("trades", b"x")]) for _ in range(2)]
    two_hours_ago = time.time() - 7200
    os.utime(segment(tmp_path, ends[0].segment), (two_hours_ago, two_hours_ago))
    assert journal.prune(ends[1], keep_hours=3) == 0
    assert journal.prune(ends[1], keep_hours=1) == 1


_PAYLOADS = st.lists(st.lists(st.binary(max_size=60), max_size=4), min_size=1, max_size=6)


def _written(folder: Path, payloads: list[list[bytes]]) -> tuple[Path, list[int]]:
    journal = Journal(folder)
    ends = [journal.append([batch("trades", *payload)]).offset for payload in payloads]
    journal.close()
    return segment(folder, 1), ends


@settings(max_examples=60, deadline=None)
@given(payloads=_PAYLOADS, cut=st.floats(0, 1))
def test_a_truncated_segment_gives_every_block_before_the_cut(payloads: list[list[bytes]], cut: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        path, ends = _written(Path(name), payloads)
        size = int(cut * ends[-1])
        os.truncate(path, size)
        whole = [payload for payload, end in zip(payloads, ends, strict=True) if end <= size]
        recovered = Journal(Path(name))
        recovered.append([batch("trades", b"later")])
        assert raws(recovered) == [raw for payload in whole for raw in payload] + [b"later"]
        torn = size - max([0, *(end for end in ends if end <= size)])
        assert sum(path.stat().st_size for path in Path(name).glob("*.damaged")) == torn


@settings(max_examples=120, deadline=None)
@given(payloads=_PAYLOADS, place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_byte_costs_only_its_own_block(payloads: list[list[bytes]], place: float, flip: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path, ends = _written(Path(name), payloads)
        at = int(place * ends[-1])
        data = bytearray(path.read_bytes())
        data[at] ^= flip
        path.write_bytes(data)
        starts = [0, *ends[:-1]]
        spared = [payload for payload, start, end in zip(payloads, starts, ends, strict=True) if not start <= at < end]
        assert raws(Journal(Path(name))) == [raw for payload in spared for raw in payload]
        kept = next(Path(name).glob("*.damaged")).read_bytes()
        assert bytes(data[at : at + 1]) in kept


@settings(max_examples=40, deadline=None)
@given(garbage=st.binary(max_size=400))
def test_a_segment_of_garbage_raises_nothing_and_later_segments_are_read(garbage: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        segment(Path(name), 1).write_bytes(garbage)
        journal = Journal(Path(name))
        journal.append([batch("trades", b"good")])
        assert raws(journal) == [b"good"]


def test_damage_is_reported_in_one_line_and_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = _written(tmp_path, [[b"a"], [b"b"]])
    os.truncate(path, path.stat().st_size - 1)
    journal = Journal(tmp_path)
    for _ in range(2):
        assert raws(journal) == [b"a"]
    assert len(caplog.records) == 1
    assert "damaged bytes" in caplog.text


def test_a_failed_write_counts_nothing_and_the_same_frames_can_be_appended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append([batch("trades", b"1")])
    write, fail = os.write, [True]

    def full_disk(file: int, data: memoryview) -> int:
        if fail:
            fail.pop()
            return write(file, data[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        journal.append([batch("trades", b"2")])
    monkeypatch.undo()
    assert raws(journal) == [b"1"]
    journal.append([batch("trades", b"2")])
    assert raws(journal) == [b"1", b"2"]
    journal.close()
    assert raws(Journal(tmp_path)) == [b"1", b"2"]


def test_a_reader_in_another_thread_sees_whole_synced_blocks_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=4_000)
    count, seen, failures = 150, [], []

    def follow() -> None:
        position = START
        deadline = time.monotonic() + 20
        while len(seen) < count and time.monotonic() < deadline:
            for block in journal.read(position):
                position = block.end
                seen.extend(block.batch.frames["raw"].to_pylist())
        failures.extend(tmp_path.glob("*.damaged"))

    reader = threading.Thread(target=follow)
    reader.start()
    for value in range(count):
        journal.append([batch("trades", str(value).encode())])
    reader.join()
    assert seen == [str(value).encode() for value in range(count)]
    assert failures == []
