"""What was recorded and is replayed makes the same rows, once, however often."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from orderflow_streaming.cli import main
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.recordings import replaying
from orderflow_streaming.recordings.journal import Journal, Position, described, recorded_segments
from orderflow_streaming.recordings.replaying import JournalRecording, ReplayError, replay
from orderflow_streaming.schema import QUARANTINE, STREAMS
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.housekeeping import limit_quarantine
from orderflow_streaming.writing.storing import stored_mark
from orderflow_streaming.writing.writer import Writer
from tests.streaming.processes import Daemon, Simulation, running, wait_for
from tests.streaming.venue import quote

MARKET = "binance_futures"
MERGED = "okx_futures"
"""Its books come as changes, and its sizes in contracts."""


def rows(data_dir: Path) -> dict[str, list[tuple]]:
    """All rows of all streams and the quarantine, but for the row numbers."""
    with duckdb.connect(str(database_path(data_dir)), read_only=True) as database:
        found = {
            name: database.sql(f"SELECT DISTINCT * EXCLUDE (id) FROM {name} ORDER BY ALL").fetchall()
            for name in STREAMS
        }
        counted = {name: database.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in STREAMS}
        quarantined = database.sql("SELECT * FROM ops.quarantine ORDER BY ALL").fetchall()
    assert {name: len(values) for name, values in found.items()} == counted, "a row is there twice"
    return found | {"quarantine": quarantined}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    ended = run(*arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


# -- from a daemon -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose daemon kept everything it read, malformed frames included."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "config.json").write_text('{"journal_keep_hours": 1}')
    arguments = ("-s", "BTCUSDT,ETHUSDT", "-m", f"{MARKET},{MERGED}", "-c", folder / "config.json")
    with (
        running(Simulation(folder, "--symbols", "BTCUSDT,ETHUSDT", "--activity", 15)) as simulation,
        running(Daemon(folder, simulation, *arguments)) as daemon,
    ):
        wait_for(lambda: daemon.count("trades") > 5, what="stored trades")
        said = done("record", "--keep", 5, "--data-dir", daemon.data_dir)
        assert said.startswith("Frames are kept for 5 hours, at most 50 GB (from now on, kept for the next start")
        simulation.fault(fault="malformed", topic="btcusdt@aggTrade", count=2, kind="types")
        wait_for(lambda: daemon.count("ops.quarantine") == 2, what="rejected frames")
        before = daemon.count("trades")
        wait_for(lambda: daemon.count("trades") > before + 50, what="more trades")
        wait_for(lambda: daemon.count("btcusdt_okx_futures_orderbooks") > 10, what="merged books")
        assert daemon.end() == 0
    return daemon.data_dir


def test_a_replayed_journal_makes_the_rows_that_were_stored_and_again_adds_none(recorded: Path, tmp_path: Path) -> None:
    said = done("replay", recorded, "--data-dir", tmp_path / "again")
    assert f"  {MARKET}     trades " in said
    assert f"  {MERGED}         orderbooks " in said
    original, again = rows(recorded), rows(tmp_path / "again")
    for name in original.keys() - {"open_interest"}:
        assert again[name] == original[name], name
    # Two polls may answer with one state; which of the two answers is kept depends on where flushes fell.
    assert [row[:5] for row in again["open_interest"]] == [row[:5] for row in original["open_interest"]]
    assert (len(again["trades"]) > 50, len(again["quarantine"])) == (True, 2)
    for source in (recorded, recorded / "journal"):
        assert "stored    0 rows" in done("replay", source, "--data-dir", tmp_path / "again")
        assert rows(tmp_path / "again") == again
    assert not list((tmp_path / "again" / "journal").iterdir())


def test_the_recording_is_told_and_survives_the_next_start(recorded: Path) -> None:
    told = json.loads(done("record", "--json", "--data-dir", recorded))
    assert (told["keep_hours"], told["markets"]) == (5, [MARKET, MERGED])
    assert (told["segments"] >= 1, told["bytes"] > 0) == (True, True)
    assert told["first"] < told["last"]
    assert f"markets   {MARKET}, {MERGED}" in done("record", "--data-dir", recorded)
    assert run("record", "--keep", "never", "--data-dir", recorded).exit_code == 2


def test_a_stretch_of_a_recording_can_be_replayed(recorded: Path, tmp_path: Path) -> None:
    told = json.loads(done("record", "--json", "--data-dir", recorded))
    first, last = (datetime.fromisoformat(told[end]) for end in ("first", "last"))
    middle = (first + (last - first) / 2).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    done("replay", recorded, "--data-dir", tmp_path / "early", "--to", middle)
    said = done("replay", recorded, "--data-dir", tmp_path / "late", "--from", middle)
    assert "left out" in said
    done("replay", recorded, "--data-dir", tmp_path / "whole")
    early, late, whole = (rows(tmp_path / name) for name in ("early", "late", "whole"))
    assert early["trades"]
    assert sorted(early["trades"] + late["trades"]) == whole["trades"]
    said = done("replay", recorded, "--data-dir", tmp_path / "one", "--markets", MERGED)
    assert MARKET not in said
    assert [row for row in whole["trades"] if "okx" in row] == rows(tmp_path / "one")["trades"]


def test_what_cannot_be_replayed_is_one_line_that_says_why(recorded: Path, tmp_path: Path, wire: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unnamed.tsv").write_bytes(b"")
    shutil.copytree(recorded / "journal", tmp_path / "alone")
    target = ("--data-dir", tmp_path / "target")
    for arguments, said in (
        ((tmp_path / "empty", *target), "holds no journal segments"),
        ((tmp_path / "unnamed.tsv", *target), "name the one with --markets"),
        ((recorded, *target, "--markets", "binance_future"), "Did you mean 'binance_futures'?"),
        (
            (recorded, *target, "--markets", "bybit_spot"),
            "the recording has no bybit_spot; it has binance_futures, okx",
        ),
        ((recorded, "--data-dir", recorded), "cannot be replayed into itself"),
        ((recorded, *target, "--speed", "0"), "is no speed"),
        ((tmp_path / "alone", *target), "okx_futures counts contracts, and how large they are is not known"),
        (
            (wire / "sequences" / "okx_swap_uni_usd_swap_20220513.tsv", *target, "--markets", "okx_futures"),
            "counts contracts, and how large they are is not known",
        ),
    ):
        ended = run("replay", *arguments)
        assert ended.exit_code == 2, ended.output
        assert said in ended.stderr


# -- from the wire -------------------------------------------------------------------------------------


@pytest.mark.wire
@pytest.mark.parametrize(
    ("market", "files", "stream"),
    [
        ("binance_futures", ["sequences/binance_usdm_sushi_akro_20210722.tsv"], "quarantine"),
        ("bybit_futures", ["sequences/bybit_linear_xrpusdt_ob500_20241201.tsv"], "orderbooks"),
        ("kucoin_spot", ["sequences/kucoin_spot_6pairs_20210425.tsv.gz"], "prices"),
        ("hyperliquid_futures", ["sequences/hyperliquid_btc_20250126_a.tsv"], "trades"),
        (
            "gateio_futures",
            [
                "sequences/gate_usdt_6contracts_20230524.tsv",
                "gateio_futures/rest_instruments/004_instruments_BTC-USDT.json",
            ],
            "quarantine",
        ),
    ],
)
def test_a_recorded_sequence_of_each_form_is_replayed_once(
    wire: Path, tmp_path: Path, market: str, files: list[str], stream: str
) -> None:
    sources = [wire / file for file in files]
    if not all(source.exists() for source in sources):
        pytest.skip("the recorded sequence is not here")
    said = done("replay", *sources, "--markets", market, "--data-dir", tmp_path)
    assert said.startswith("Replayed ")
    first = rows(tmp_path)
    assert first[stream] or stream == "quarantine"
    assert "stored    0 rows" in done("replay", *sources, "--markets", market, "--data-dir", tmp_path)
    assert rows(tmp_path) == first


# -- the way of the frames -----------------------------------------------------------------------------


def journal_of_quotes(folder: Path, count: int, *, spacing_us: int = 1_000) -> list[int]:
    """A journal of quotes; their receive times."""
    times = [1_700_000_000_000_000 + spacing_us * number for number in range(count)]
    journal = Journal(folder)
    inbox = Inbox(journal)
    for number, received in enumerate(times):
        inbox.pending(MARKET, "bookTicker").add(received, quote("BTCUSDT", number))
        if number % 10 == 9:
            asyncio.run(inbox.sync())
    asyncio.run(inbox.sync())
    inbox.close()
    journal.close()
    return times


class Target:
    """A store that is replayed into."""

    def __init__(self, data_dir: Path) -> None:
        self.engine = Engine(database_path(data_dir), memory_limit="256MB")
        self.journal = Journal(data_dir / "journal", after=stored_mark(self.engine).segment)
        self.writer = Writer(self.engine, self.journal)
        self.writer.recover()
        self.writer.start()
        self.inbox = Inbox(self.journal, overflow="wait", synced=self.writer.synced)

    def close(self) -> None:
        self.writer.stop()
        self.inbox.close()
        self.journal.close()
        self.engine.close()


def test_receive_times_are_those_of_the_recording(tmp_path: Path) -> None:
    times = journal_of_quotes(tmp_path / "source", 25)
    done("replay", tmp_path / "source", "--data-dir", tmp_path / "target")
    with duckdb.connect(str(database_path(tmp_path / "target"))) as database:
        stored = database.sql("SELECT epoch_us(received_at) FROM prices ORDER BY received_at").fetchall()
    assert [received for (received,) in stored] == times


async def test_a_replay_keeps_the_pace_it_is_told(tmp_path: Path) -> None:
    await asyncio.to_thread(journal_of_quotes, tmp_path / "source", 40, spacing_us=50_000)
    target = Target(tmp_path / "target")
    started = time.monotonic()
    replayed = await replay(JournalRecording(tmp_path / "source"), target.inbox, target.writer, speed=4.0)
    taken = time.monotonic() - started
    target.close()
    assert replayed.frames == 40
    assert taken >= 1.5 / 4, "the last block begins 1.5 s after the first"


async def test_an_interrupted_replay_is_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(journal_of_quotes, tmp_path / "source", 100)
    monkeypatch.setattr(replaying, "PIECE_FRAMES", 10)
    target = Target(tmp_path / "target")

    def interrupt(position: int) -> None:
        if target.writer.pending or target.writer.totals.flushes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await replay(JournalRecording(tmp_path / "source"), target.inbox, target.writer, progress=interrupt)
    target.close()
    assert 0 < len(rows(tmp_path / "target")["prices"]) < 100
    said = await asyncio.to_thread(done, "replay", tmp_path / "source", "--data-dir", tmp_path / "target")
    assert "100 frames" in said
    assert len(rows(tmp_path / "target")["prices"]) == 100


async def test_a_store_that_refuses_ends_the_replay_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(journal_of_quotes, tmp_path / "source", 10)
    target = Target(tmp_path / "target")
    target.writer.totals.last_error = "No space left on device"
    monkeypatch.setattr(target.writer, "flush", lambda timeout_s: False)
    with pytest.raises(ReplayError, match="No space left on device"):
        await replay(JournalRecording(tmp_path / "source"), target.inbox, target.writer)
    target.close()


# -- what the journal keeps ----------------------------------------------------------------------------


def test_a_segment_tells_what_it_holds_and_damage_hides_only_itself(tmp_path: Path) -> None:
    times = journal_of_quotes(tmp_path, 30)
    (path,) = recorded_segments(tmp_path)
    whole = described(path)
    assert (whole.first_us, whole.last_us, whole.markets) == (times[0], times[-1], (MARKET,))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data + b"OFJ1 cut off")
    recording = JournalRecording(tmp_path)
    frames = [received for piece in recording.pieces() for received in piece.received]
    assert frames == times[:10] + times[20:]
    assert (recording.markets, sorted(tmp_path.iterdir())) == ({MARKET}, [path])
    path.write_bytes(b"")
    assert described(path).markets == ()
    assert list(JournalRecording(tmp_path).pieces()) == []


@pytest.mark.parametrize(("max_bytes", "left"), [(1e12, [1, 2, 3, 4]), (2_500, [3, 4]), (0, [4])])
def test_the_oldest_stored_segments_give_way_to_the_limit_of_size(
    tmp_path: Path, max_bytes: float, left: list[int]
) -> None:
    journal = Journal(tmp_path)
    for segment in range(1, 5):
        (tmp_path / f"{segment:012d}.journal").write_bytes(b"x" * 1_000)
    journal.prune(Position(3, 1_000), 5.0, max_bytes)
    assert journal.segments() == left


def test_a_segment_that_is_not_stored_stays_whatever_its_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "000000000001.journal").write_bytes(b"x" * 1_000)
    os.utime(tmp_path / "000000000001.journal", (0, 0))
    assert journal.prune(Position(1, 999), 0.0, 0.0) == 0
    assert journal.prune(Position(1, 1_000), 0.0, 0.0) == 1


@pytest.mark.parametrize(
    ("keep_days", "max_rows", "left"), [(100, 1_000, 10), (4.5, 1_000, 5), (100, 3, 3), (4.5, 3, 3)]
)
def test_the_quarantine_is_limited_by_age_and_by_rows(
    tmp_path: Path, keep_days: float, max_rows: int, left: int
) -> None:
    engine = Engine(database_path(tmp_path), memory_limit="256MB")
    now = datetime.now(UTC).replace(tzinfo=None)
    frames = [
        {"received_at": now - timedelta(days=day), "market": MARKET, "topic": "t", "reason": "r", "raw": b"{}"}
        for day in range(10)
    ]
    engine.write(QUARANTINE, pa.Table.from_pylist(frames, schema=QUARANTINE.arrow_schema))
    assert limit_quarantine(engine, keep_days=keep_days, max_rows=max_rows) == 10 - left
    cursor = engine.cursor()
    kept = cursor.execute("SELECT received_at FROM ops.quarantine ORDER BY received_at DESC").fetchall()
    assert [received for (received,) in kept] == [frame["received_at"] for frame in frames[:left]]
    cursor.close()
    engine.close()
