"""From the journal into the store: each row once, good neighbours kept, nothing lost on the way."""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.recordings.journal import FRAMES, Batch, Journal
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.storing import Storage
from orderflow_streaming.writing.writer import Writer
from tests.streaming.messages import START_MS, book, candle, interest, mark, quote, trade

MARKET = "binance_futures"
HOUR_MS = 3_600_000


class Tape:
    """A journal, a store and a writer between them, as the daemon has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine(folder / "orderflow.duckdb", memory_limit="512MB")
        self.journal = Journal(folder / "journal")
        self.writer = Writer(self.engine, self.journal)

    def append(self, *frames: bytes, received_ms: int | None = None) -> None:
        """Sync the frames as one write; each is received 25 ms after the start, or when told."""
        received = (START_MS + 25 if received_ms is None else received_ms) * 1000
        batches: dict[str, list[bytes]] = {}
        for frame in frames:
            batches.setdefault(exchange(MARKET).route(frame) or "unplaced", []).append(frame)
        times = pa.array([received], pa.timestamp("us"))
        self.journal.append(
            Batch(MARKET, channel, pa.record_batch([pa.repeat(times[0], len(raw)), raw], schema=FRAMES))
            for channel, raw in batches.items()
        )

    def store(self, *frames: bytes, received_ms: int | None = None) -> None:
        self.append(*frames, received_ms=received_ms)
        self.writer.recover()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.cursor().execute(sql).fetchall()

    def close(self) -> None:
        self.writer.stop()
        self.journal.close()
        self.engine.close()


@contextmanager
def opened(folder: Path) -> Iterator[Tape]:
    tape = Tape(folder)
    try:
        yield tape
    finally:
        tape.close()


@pytest.fixture
def tape(tmp_path: Path) -> Iterator[Tape]:
    with opened(tmp_path) as tape:
        yield tape


def utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)


# -- each row once ------------------------------------------------------------------------------------------


def test_rows_of_every_kind_are_stored_with_identity_times_and_ids(tape: Tape) -> None:
    tape.store(
        quote(START_MS, 7), quote(START_MS + 1, 8, symbol="ETHUSDT"), trade(START_MS + 2, 5), book(START_MS + 3, 9),
        mark(START_MS + 4), candle(START_MS), interest(START_MS + 5),
    )  # fmt: skip
    assert tape.rows("SELECT id, symbol, exchange, market_type, timestamp, received_at, source_seq FROM prices") == [
        (1, "BTCUSDT", "binance", "futures", utc(START_MS), utc(START_MS + 25), "7"),
        (2, "ETHUSDT", "binance", "futures", utc(START_MS + 1), utc(START_MS + 25), "8"),
    ]
    for stream in ("trades", "orderbooks", "mark_prices", "funding_rates", "index_prices", "candles", "open_interest"):
        assert tape.rows(f"SELECT count(*), min(id) FROM {stream}") == [(1, 1)], stream
    assert tape.rows("SELECT count(*) FROM ops.quarantine") == [(0,)]


def test_the_same_frames_again_store_nothing_more_in_one_flush_or_in_another(tape: Tape) -> None:
    frames = [trade(START_MS + n, n) for n in range(5)] + [quote(START_MS, 1), book(START_MS, 1), interest(START_MS)]
    tape.store(*frames, *frames)
    tape.store(*frames)
    assert [tape.rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("trades", "prices", "orderbooks")] == [5, 1, 1]
    assert tape.rows("SELECT count(*) FROM open_interest") == [(1,)]
    assert tape.writer.totals.tallies[MARKET, "trades"].duplicates == 10
    assert tape.writer.totals.tallies[MARKET, "trades"].stored == 5


def test_a_late_row_that_is_new_is_stored_and_one_that_is_not_is_not(tape: Tape) -> None:
    tape.store(trade(START_MS, 1), trade(START_MS + 100, 3))
    tape.store(trade(START_MS + 50, 2), trade(START_MS, 1), trade(START_MS + 100, 3), trade(START_MS + 100, 4))
    assert tape.rows("SELECT trade_id FROM trades ORDER BY trade_id") == [("1",), ("2",), ("3",), ("4",)]


def test_equal_keys_of_different_symbols_are_different_rows(tape: Tape) -> None:
    tape.store(quote(START_MS, 1), quote(START_MS, 1, symbol="ETHUSDT"))
    tape.store(quote(START_MS, 1, symbol="SOLUSDT"), quote(START_MS, 1))
    assert tape.rows("SELECT symbol FROM prices ORDER BY symbol") == [("BTCUSDT",), ("ETHUSDT",), ("SOLUSDT",)]


def test_ids_go_on_without_holes_over_flushes_and_restarts(tmp_path: Path) -> None:
    for start in range(0, 30, 10):
        with opened(tmp_path) as tape:
            for n in range(start, start + 10, 5):
                tape.store(*(trade(START_MS + k, k) for k in range(max(0, n - 2), n + 5)))
    with opened(tmp_path) as tape:
        assert tape.rows("SELECT id, trade_id::INT FROM trades ORDER BY id") == [(n + 1, n) for n in range(30)]


def test_what_is_known_of_each_series_survives_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as tape:
        tape.store(trade(START_MS, 1), trade(START_MS + 1, 2), quote(START_MS, 1))
        before = tape.rows("SELECT * FROM ops.series ORDER BY ALL")
    with opened(tmp_path) as tape:
        tape.store(trade(START_MS, 1), quote(START_MS, 1), trade(START_MS + 9, 3))
        assert tape.rows("SELECT count(*) FROM prices") == [(1,)]
        assert tape.rows("SELECT last_sequence, rows FROM ops.series WHERE stream = 'trades'") == [(3, 3)]
        assert [row for row in tape.rows("SELECT * FROM ops.series ORDER BY ALL") if row[0] == "prices"] == before[:1]


_EVENTS = st.lists(st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.integers(0, 6)), max_size=12)


@settings(max_examples=15, deadline=None)
@given(flushes=st.lists(_EVENTS, min_size=1, max_size=3))
def test_any_repetition_and_order_stores_each_distinct_row_once(flushes: list[list[tuple[str, int]]]) -> None:
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as tape:
        for events in flushes:
            if events:
                tape.store(*(trade(START_MS + number // 2, number, symbol=symbol) for symbol, number in events))
        stored = tape.rows("SELECT symbol, trade_id::INT FROM trades")
        assert len(stored) == len(set(stored))
        assert set(stored) == {event for events in flushes for event in events}


@pytest.mark.wire
@pytest.mark.parametrize("name", ["binance_usdm_sushi_akro_20210722.tsv", "binance_usdm_btcusdt_20240808.tsv.gz"])
def test_a_recording_replayed_twice_stores_each_row_once(tape: Tape, wire: Path, name: str) -> None:
    path = wire / "sequences" / name
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        recorded = [line.rstrip(b"\n").split(b"\t", 2) for line in lines]
    frames = [raw for _, kind, raw in recorded if kind == b"ws"][:6_000]
    counts = []
    for _ in range(2):
        for start in range(0, len(frames), 1_000):
            tape.append(*frames[start : start + 1_000])
        tape.writer.recover()
        counts.append(
            [
                tape.rows(f"SELECT count(*), count(DISTINCT id) FROM {name}")[0]
                for name in ("prices", "trades", "candles")
            ]
        )
    assert counts[0] == counts[1]
    assert counts[0][0][0] > 300
    trades = {raw for raw in frames if b'Trade"' in raw or b'"trade"' in raw}
    assert counts[0][1][0] == len(trades)
    assert tape.rows("SELECT count(*) FROM ops.quarantine") == [(0,)]


# -- bad frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        trade(START_MS, 2)[:-9],
        trade(START_MS, 2).replace(b'"100.0"', b'"n/a"'),
        trade(START_MS, 2).replace(b'"q"', b'"x"'),
    ],
    ids=["torn", "no number", "no size"],
)
def test_a_bad_frame_costs_only_itself_and_is_kept_with_the_reason(tape: Tape, bad: bytes) -> None:
    tape.store(trade(START_MS, 1), bad, trade(START_MS, 3))
    assert tape.rows("SELECT trade_id FROM trades ORDER BY id") == [("1",), ("3",)]
    ((market, topic, reason, raw, received),) = tape.rows(
        "SELECT market, topic, reason, raw, received_at FROM ops.quarantine"
    )
    assert (market, topic, raw, received) == (MARKET, "aggTrade", bad, utc(START_MS + 25))
    assert reason
    assert tape.writer.totals.rejected == {(MARKET, "aggTrade"): 1}


def test_frames_nobody_understands_are_kept(tape: Tape) -> None:
    tape.store(b'{"news":1}', b"\xff\x00", trade(START_MS, 1))
    assert tape.rows("SELECT raw, topic FROM ops.quarantine ORDER BY raw") == [
        (b'{"news":1}', "unplaced"),
        (b"\xff\x00", "unplaced"),
    ]
    assert tape.rows("SELECT count(*) FROM trades") == [(1,)]


def test_frames_the_engine_refuses_only_at_the_insert_are_found_and_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as tape:
        ddl = tape.rows("SELECT sql FROM duckdb_tables() WHERE table_name = 'trades'")[0][0]
    connection = duckdb.connect(str(tmp_path / "orderflow.duckdb"))
    connection.execute("DROP TABLE hot.trades")
    connection.execute(ddl.replace("price DOUBLE NOT NULL", "price DOUBLE NOT NULL CHECK (price < 1000)"))
    connection.close()
    with opened(tmp_path) as tape:
        poison = trade(START_MS + 4, 4, price="5000.0")
        frames = (
            [trade(START_MS + n, n) for n in range(1, 4)] + [poison] + [trade(START_MS + n, n) for n in range(5, 9)]
        )
        tape.store(*frames, quote(START_MS, 1))
        assert tape.rows("SELECT trade_id::INT, id FROM trades ORDER BY id") == [
            (1, 1),
            (2, 2),
            (3, 3),
            (5, 4),
            (6, 5),
            (7, 6),
            (8, 7),
        ]
        assert tape.rows("SELECT count(*) FROM prices") == [(1,)]
        ((reason, raw),) = tape.rows("SELECT reason, raw FROM ops.quarantine")
        assert raw == poison
        assert "cannot be stored" in reason


def test_a_passing_failure_keeps_the_frames_and_stores_them_once(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [duckdb.IOException("No space left on device"), duckdb.OutOfMemoryException("too little memory")]
    store = Storage.store

    def failing(self: Storage, *arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return store(self, *arguments, **named)

    monkeypatch.setattr(Storage, "store", failing)
    monkeypatch.setattr("orderflow_streaming.writing.writer.FIRST_RETRY_S", 0.05)
    tape.append(trade(START_MS, 1), trade(START_MS, 2))
    tape.writer.synced(2)
    tape.writer.start()
    tape.writer.flush(0.01)
    deadline = time.monotonic() + 10
    while tape.writer.pending and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tape.rows("SELECT trade_id FROM trades ORDER BY id") == [("1",), ("2",)]
    assert tape.writer.totals.errors == 2
    assert tape.writer.totals.last_error == ""


def test_a_broken_engine_ends_the_writer_and_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise duckdb.FatalException("the database has been invalidated")

    with opened(tmp_path) as tape:
        tape.append(trade(START_MS, 1))
        tape.writer.synced(1)
        with monkeypatch.context() as patch:
            patch.setattr(Storage, "store", broken)
            tape.writer.start()
            assert not tape.writer.flush(10)
        assert isinstance(tape.writer.broken, duckdb.FatalException)
    with opened(tmp_path) as tape:
        assert tape.writer.recover() == 1
        assert tape.rows("SELECT trade_id FROM trades") == [("1",)]


def test_streams_that_are_not_wanted_are_not_stored(tmp_path: Path) -> None:
    with opened(tmp_path) as tape:
        tape.writer = Writer(tape.engine, tape.journal, streams=("mark_prices",))
        tape.store(mark(START_MS), trade(START_MS, 1))
        counts = [
            tape.rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("mark_prices", "funding_rates", "trades")
        ]
        assert counts == [1, 0, 0]


def test_a_failure_in_the_middle_of_a_flush_leaves_no_trace(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    tape.store(trade(START_MS, 1), mark(START_MS))
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "_move", lambda *_: (_ for _ in ()).throw(duckdb.IOException("disk")))
        with pytest.raises(duckdb.IOException):
            tape.store(trade(START_MS + 1, 2), mark(START_MS + 1000, rate="0.0002"), b"junk")
    assert tape.rows("SELECT count(*) FROM trades") == [(1,)]
    assert tape.rows("SELECT count(*) FROM ops.quarantine") == [(0,)]
    tape.writer.recover()
    assert tape.rows("SELECT id, trade_id FROM trades ORDER BY id") == [(1, "1"), (2, "2")]
    assert tape.rows("SELECT funding_rate FROM funding_rates ORDER BY id") == [(0.0001,), (0.0002,)]
    assert tape.rows("SELECT raw FROM ops.quarantine") == [(b"junk",)]


# -- candles, funding, open interest ------------------------------------------------------------------------


def test_a_candle_is_updated_while_it_forms_and_keeps_its_id(tape: Tape) -> None:
    tape.store(candle(START_MS, "101", 1), candle(START_MS, "102", 2), received_ms=START_MS + 10)
    tape.store(candle(START_MS, "103", 3), candle(START_MS, "99", 1, symbol="ETHUSDT"), received_ms=START_MS + 20)
    tape.store(candle(START_MS, "104", 4, closed=True), candle(START_MS + 60_000, "105", 1), received_ms=START_MS + 30)
    found = tape.rows("SELECT id, symbol, close, trade_count, is_closed, received_at FROM candles ORDER BY id")
    assert found == [
        (1, "BTCUSDT", 104.0, 4, True, utc(START_MS + 30)),
        (2, "ETHUSDT", 99.0, 1, False, utc(START_MS + 20)),
        (3, "BTCUSDT", 105.0, 1, False, utc(START_MS + 30)),
    ]
    tally = tape.writer.totals.tallies[MARKET, "candles"]
    assert (tally.stored, tally.updated, tally.duplicates) == (3, 3, 0)


@pytest.mark.parametrize("same_flush", [True, False])
def test_a_closed_candle_never_opens_again(tape: Tape, same_flush: bool) -> None:
    closed, late = candle(START_MS, "104", 4, closed=True), candle(START_MS, "103", 3)
    for frames in [(closed, late)] if same_flush else [(closed,), (late,)]:
        tape.store(*frames)
    assert tape.rows("SELECT close, is_closed FROM candles") == [(104.0, True)]


def test_a_forming_candle_does_not_go_back_to_what_was_received_before(tape: Tape) -> None:
    tape.store(candle(START_MS, "103", 3), received_ms=START_MS + 20)
    tape.store(candle(START_MS, "101", 1), received_ms=START_MS + 10)
    assert tape.rows("SELECT close FROM candles") == [(103.0,)]


def test_candles_of_other_times_are_not_touched(tape: Tape) -> None:
    tape.store(*(candle(START_MS + 60_000 * n, f"{n + 1}") for n in range(5)))
    tape.store(candle(START_MS + 120_000, "77"), candle(START_MS + 240_000, "99"))
    assert tape.rows("SELECT close FROM candles ORDER BY open_time") == [(1.0,), (2.0,), (77.0,), (4.0,), (99.0,)]


def rates(tape: Tape) -> list[tuple[int, float]]:
    found = tape.rows("SELECT epoch_ms(timestamp), funding_rate FROM funding_rates ORDER BY timestamp")
    return [((at - START_MS) // 1000, rate) for at, rate in found]


def test_a_funding_rate_is_stored_when_it_or_its_settlement_changes(tape: Tape) -> None:
    seconds = ["0.0001", "0.0001", "0.0002", "0.0002", "0.0001"]
    frames = [mark(START_MS + 1000 * n, rate=rate) for n, rate in enumerate(seconds)]
    tape.store(*frames[:2])
    tape.store(*frames[2:], mark(START_MS + 5000, rate="0.0001", settles=START_MS + HOUR_MS))
    assert rates(tape) == [(0, 0.0001), (2, 0.0002), (4, 0.0001), (5, 0.0001)]
    assert tape.rows("SELECT count(*) FROM mark_prices") == [(6,)]


def test_an_unchanged_funding_rate_is_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as tape:
        tape.store(mark(START_MS), mark(START_MS + 1000))
    with opened(tmp_path) as tape:
        tape.store(mark(START_MS + 2000), mark(START_MS + 3000, rate="0.0003"))
        assert rates(tape) == [(0, 0.0001), (3, 0.0003)]


def test_late_funding_rates_are_stored_where_they_differ_from_what_held_then(tape: Tape) -> None:
    tape.store(mark(START_MS, rate="0.0001"), mark(START_MS + 60_000, rate="0.0002"))
    late = [(10, "0.0001"), (20, "0.0005"), (30, "0.0005"), (60, "0.0002"), (0, "0.0001")]
    for _ in range(2):
        tape.store(*(mark(START_MS + 1000 * second, rate=rate) for second, rate in late))
        assert rates(tape) == [(0, 0.0001), (20, 0.0005), (60, 0.0002)]
    tape.store(mark(START_MS + 61_000, rate="0.0002"))
    assert len(rates(tape)) == 3


def test_open_interest_is_valued_with_the_mark_known_then(tape: Tape) -> None:
    tape.store(
        mark(START_MS, "100.0"), mark(START_MS + 2000, "200.0"), mark(START_MS + 1000, "999.0", symbol="ETHUSDT"),
        interest(START_MS + 1500, "10.0"), interest(START_MS - 1, "10.0"), interest(START_MS + 62_001, "10.0"),
    )  # fmt: skip
    found = tape.rows("SELECT epoch_ms(timestamp), open_interest_usd FROM open_interest ORDER BY timestamp")
    assert found == [(START_MS - 1, None), (START_MS + 1500, 1000.0), (START_MS + 62_001, None)]


def test_open_interest_is_valued_with_a_mark_of_an_earlier_flush(tape: Tape) -> None:
    tape.store(mark(START_MS, "100.0"))
    tape.store(interest(START_MS + 59_000, "10.0"))
    assert tape.rows("SELECT open_interest_usd FROM open_interest") == [(1000.0,)]


def test_the_hourly_change_compares_with_the_last_value_an_hour_old_or_says_nothing(tape: Tape) -> None:
    tape.store(
        interest(START_MS, "80.0"), interest(START_MS + 15_000, "100.0"), interest(START_MS, "5.0", symbol="ETHUSDT")
    )
    tape.store(interest(START_MS + HOUR_MS + 20_000, "150.0"), interest(START_MS + HOUR_MS + 315_001, "150.0"))
    found = tape.rows(
        "SELECT epoch_ms(timestamp), oi_change_1h, oi_change_pct_1h FROM open_interest "
        "WHERE symbol = 'BTCUSDT' ORDER BY timestamp"
    )
    assert found == [
        (START_MS, None, None),
        (START_MS + 15_000, None, None),
        (START_MS + HOUR_MS + 20_000, 50.0, 50.0),
        (START_MS + HOUR_MS + 315_001, None, None),
    ]


def test_the_hourly_change_is_found_inside_one_flush_too(tape: Tape) -> None:
    tape.store(interest(START_MS, "100.0"), interest(START_MS + HOUR_MS, "90.0"))
    assert tape.rows("SELECT oi_change_1h FROM open_interest ORDER BY timestamp") == [(None,), (-10.0,)]


# -- gaps ---------------------------------------------------------------------------------------------------


def gaps(tape: Tape) -> list[tuple[Any, ...]]:
    return tape.rows(
        "SELECT symbol, first_missing, last_missing, epoch_ms(started_at), epoch_ms(ended_at), reason "
        "FROM ops.gaps ORDER BY ALL"
    )


def test_a_jump_of_trade_ids_is_a_gap_in_one_flush_and_over_two_and_over_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as tape:
        tape.store(
            trade(START_MS, 10),
            trade(START_MS + 2, 14),
            trade(START_MS + 1, 11),
            trade(START_MS, 500, symbol="ETHUSDT"),
        )
        tape.store(trade(START_MS + 3, 15), trade(START_MS + 4, 17))
        assert tape.writer.totals.gaps == {(MARKET, "trades"): 2}
    with opened(tmp_path) as tape:
        tape.store(trade(START_MS + 9, 30))
        reason = "sequence jump"
        assert gaps(tape) == [
            ("BTCUSDT", "12", "13", START_MS + 1, START_MS + 2, reason),
            ("BTCUSDT", "16", "16", START_MS + 3, START_MS + 4, reason),
            ("BTCUSDT", "18", "29", START_MS + 4, START_MS + 9, reason),
        ]  # fmt: skip


def test_repeated_and_late_trades_open_no_gap(tape: Tape) -> None:
    tape.store(trade(START_MS, 10), trade(START_MS + 1, 11), trade(START_MS + 2, 12))
    tape.store(trade(START_MS, 10), trade(START_MS + 2, 12), trade(START_MS + 3, 13), trade(START_MS, 5))
    assert gaps(tape) == []


# -- the journal's side -------------------------------------------------------------------------------------


def test_stored_segments_are_deleted_and_the_mark_says_how_far(tape: Tape) -> None:
    tape.store(trade(START_MS, 1))
    (mark_row,) = tape.rows('SELECT segment, "offset" FROM ops.journal_mark')
    assert mark_row == (tape.journal.end.segment, tape.journal.end.offset)
    tape.store(trade(START_MS, 2))
    assert tape.rows('SELECT count(*), max("offset") > ? FROM ops.journal_mark'.replace("?", str(mark_row[1]))) == [
        (1, True)
    ]


def test_a_store_that_lost_nothing_replays_nothing_and_one_behind_catches_up(tmp_path: Path) -> None:
    with opened(tmp_path) as tape:
        tape.store(trade(START_MS, 1))
        tape.append(trade(START_MS, 2), trade(START_MS, 3))
    with opened(tmp_path) as tape:
        assert tape.writer.recover() == 2
        assert tape.writer.recover() == 0
        assert tape.rows("SELECT trade_id FROM trades ORDER BY id") == [("1",), ("2",), ("3",)]
        assert tape.journal.segments() == []


def test_lag_is_receive_time_minus_event_time(tape: Tape) -> None:
    tape.store(*(trade(START_MS + n, n) for n in range(21)), received_ms=START_MS + 30)
    median, high = tape.writer.totals.tallies[MARKET, "trades"].lag_ms or (0, 0)
    assert median == 20.0
    assert 29.0 < high <= 30.0


def test_times_are_utc_wherever_the_daemon_runs(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        tape.store(trade(START_MS, 1), mark(START_MS, settles=START_MS + HOUR_MS))
        assert tape.rows("SELECT timestamp, received_at FROM trades") == [(utc(START_MS), utc(START_MS + 25))]
        assert tape.rows("SELECT next_funding_time FROM funding_rates") == [(utc(START_MS + HOUR_MS),)]
        ((moved,),) = tape.rows("SELECT moved_at FROM ops.journal_mark")
        assert abs(moved - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_checkpoint_waits_for_the_writer(tape: Tape) -> None:
    tape.store(trade(START_MS, 1))
    with ThreadPoolExecutor(1) as pool:
        with tape.engine.transaction() as cursor:
            cursor.execute("UPDATE hot.trades SET price = 1")
            checkpoint = pool.submit(tape.engine.checkpoint)
            time.sleep(0.1)
            assert not checkpoint.done()
        assert checkpoint.result(10) is None
