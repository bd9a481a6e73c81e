import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from orderflow_streaming.store import (
    InvalidQueryError,
    InvalidWriteError,
    QueryMemoryError,
    QueryTimeoutError,
    Store,
    StoreAuthError,
    StoreLockedError,
    StoreUnavailableError,
    Window,
    connect,
)
from orderflow_streaming.store.client import LocalStore, RemoteStore
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import PortInUseError, StoreServer
from orderflow_streaming.tables import Column, Table

BARS = Table(
    "bars",
    "bars_test",
    (Column("ts", "TIMESTAMP", nullable=False), Column("symbol", "VARCHAR", nullable=False), Column("close", "DOUBLE")),
    ("symbol", "ts"),
    "ts",
)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def rows(*values: tuple[int, str, float | None]) -> pa.Table:
    """Bars at START + n hours."""
    return pa.table(
        {
            "close": pa.array([value[2] for value in values], pa.float64()),
            "ts": pa.array([START + value[0] * HOUR for value in values], pa.timestamp("us", "UTC")),
            "symbol": [value[1] for value in values],
        }
    )


def stored(store: Store) -> list[tuple[int, str, float | None]]:
    found = store.query("SELECT ts, symbol, close FROM bars.bars_test ORDER BY ts, symbol").to_pylist()
    return [((row["ts"] - START.replace(tzinfo=None)) // HOUR, row["symbol"], row["close"]) for row in found]


def test_writing_a_window_replaces_it_and_nothing_else(store: Store) -> None:
    store.write(BARS, rows((0, "A", 1.0), (1, "A", 2.0), (1, "B", 3.0), (2, "A", 4.0)))
    written = store.write(BARS, rows((1, "A", 20.0)), Window(START + HOUR, START + 2 * HOUR))
    assert written == 1
    assert stored(store) == [(0, "A", 1.0), (1, "A", 20.0), (2, "A", 4.0)]


def test_a_window_may_be_narrowed_by_column_values(store: Store) -> None:
    store.write(BARS, rows((1, "A", 2.0), (1, "B", 3.0)))
    store.write(BARS, rows((1, "A", 9.0)), Window(START, START + 3 * HOUR, equals={"symbol": "A"}))
    assert stored(store) == [(1, "A", 9.0), (1, "B", 3.0)]


def test_an_empty_write_still_clears_its_window(store: Store) -> None:
    store.write(BARS, rows((1, "A", 2.0)))
    assert store.write(BARS, rows(), Window(START, START + 3 * HOUR)) == 0
    assert stored(store) == []


def test_columns_are_matched_by_name_and_cast(store: Store) -> None:
    data = rows((0, "A", 1.0)).set_column(0, "close", pa.array([7], pa.int32()))
    store.write(BARS, data)
    assert stored(store) == [(0, "A", 7.0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.drop_columns(["close"]), "missing close"),
        (lambda data: data.append_column("extra", pa.array([1])), "not declared extra"),
        (lambda data: data.set_column(0, "close", pa.array(["high"])), "bars.bars_test"),
        (lambda data: data.set_column(2, "symbol", pa.array([None], pa.string())), "'symbol' must not be NULL"),
    ],
)
def test_data_that_does_not_fit_leaves_the_window_as_it_was(store: Store, change, message: str) -> None:
    store.write(BARS, rows((0, "A", 1.0)))
    with pytest.raises(InvalidWriteError, match=message):
        store.write(BARS, change(rows((0, "A", 2.0))), Window(START, START + HOUR))
    assert stored(store) == [(0, "A", 1.0)]


def test_insert_select_runs_inside_the_owner(store: Store) -> None:
    store.write(BARS, rows((0, "A", 1.0), (1, "A", 2.0)))
    written = store.insert_select(
        BARS,
        "SELECT symbol, ts + INTERVAL 10 HOUR AS ts, close * $factor AS close FROM bars.bars_test WHERE ts >= $start",
        {"factor": 3, "start": START + HOUR},
        Window(START + 10 * HOUR, START + 12 * HOUR),
    )
    assert written == 1
    assert stored(store)[-1] == (11, "A", 6.0)


def test_insert_select_refuses_other_columns_before_it_deletes(store: Store) -> None:
    store.write(BARS, rows((0, "A", 1.0)))
    with pytest.raises(InvalidWriteError, match="missing close"):
        store.insert_select(BARS, "SELECT ts, symbol FROM bars.bars_test", None, Window(START, START + HOUR))
    assert stored(store) == [(0, "A", 1.0)]


def test_times_with_a_zone_mean_the_same_instant(store: Store) -> None:
    store.write(BARS, rows((0, "A", 1.0), (1, "A", 2.0)))
    tokyo = (START + HOUR).astimezone(timezone(timedelta(hours=9)))
    found = store.query("SELECT close FROM bars.bars_test WHERE ts >= ?", [tokyo])
    assert found["close"].to_pylist() == [2.0]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM bars.bars_test", "only reading is allowed"),
        ("SELECT 1; SELECT 2", "one statement, not 2"),
        ("", "one statement, not 0"),
        ("SELECT nothing_like_it FROM range(1)", "nothing_like_it"),
        ("SELECT * FROM read_csv('/etc/hostname')", "disabled by configuration"),
        ("SELECT * FROM read_text('/etc/hostname')", "disabled by configuration"),
        ("COPY (SELECT 1) TO '/tmp/out.csv'", "only reading is allowed"),
        ("ATTACH '/tmp/other.duckdb'", "only reading is allowed"),
        ("PRAGMA memory_limit='8GB'", "only reading is allowed"),
        ("SET memory_limit='8GB'", "only reading is allowed"),
        ("SELECT * FROM data", "data"),
    ],
)
def test_a_query_reads_the_database_and_nothing_else(store: Store, sql: str, message: str) -> None:
    with pytest.raises(InvalidQueryError, match=message):
        store.query(sql)


def test_at_most_the_asked_rows_come_back(store: Store) -> None:
    assert store.query("SELECT * FROM range(200000)", max_rows=70_001).num_rows == 70_001
    assert store.query("SELECT * FROM range(5)", max_rows=7).num_rows == 5
    assert store.query("SELECT * FROM range(0)").num_rows == 0


def test_a_query_past_its_time_is_cancelled_and_says_so(store: Store) -> None:
    with pytest.raises(QueryTimeoutError, match=r"longer than 0\.2 s"):
        store.query(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3", timeout_s=0.2
        )
    assert store.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_the_time_limit_holds_while_rows_are_streamed(served: StoreServer, tmp_path: Path) -> None:
    with connect(tmp_path) as reader, pytest.raises(QueryTimeoutError):
        reader.query("SELECT * FROM range(100000000000)", timeout_s=0.3)


def test_a_query_past_the_memory_is_cancelled_and_says_so(served: StoreServer, tmp_path: Path) -> None:
    with connect(tmp_path) as reader:
        with pytest.raises(QueryMemoryError, match="more memory"):
            reader.query("SELECT string_agg(range::VARCHAR || repeat('x', 300)) FROM range(10000000)", timeout_s=60)
        assert reader.query("SELECT 1 AS one").num_rows == 1


def test_a_reader_cannot_write_in_any_way(served: StoreServer, tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as writer:
        writer.write(BARS, rows((0, "A", 1.0)))
    with connect(tmp_path) as reader:
        assert isinstance(reader, RemoteStore)
        for attempt in (
            lambda: reader.write(BARS, rows((0, "A", 2.0)), Window(START, START + HOUR)),
            lambda: reader.insert_select(BARS, "SELECT * FROM bars.bars_test"),
            lambda: reader.ensure(BARS),
            lambda: reader.action("checkpoint"),
        ):
            with pytest.raises(StoreAuthError, match="only reads"):
                attempt()
        assert stored(reader) == [(0, "A", 1.0)]


def test_an_embedded_reader_cannot_write(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as writer:
        writer.write(BARS, rows((0, "A", 1.0)))
    with connect(tmp_path) as reader:
        assert isinstance(reader, LocalStore)
        with pytest.raises(StoreAuthError):
            reader.write(BARS, rows((0, "A", 2.0)))
        assert stored(reader) == [(0, "A", 1.0)]


@pytest.mark.parametrize("token", ["", "wrong", "Bearer"])
def test_a_wrong_token_is_refused(served: StoreServer, token: str) -> None:
    client = RemoteStore(served.endpoint, token)
    for attempt in (
        lambda: client.query("SELECT 1"),
        lambda: client.action("ping"),
        lambda: client.write(BARS, rows()),
    ):
        with pytest.raises(StoreAuthError, match="token is missing or wrong"):
            attempt()


def test_tokens_are_for_the_owner_alone_and_stay(served: StoreServer, tmp_path: Path) -> None:
    tokens = {path.name: path.read_text() for path in (tmp_path / "store").glob("*.token")}
    assert set(tokens) == {"read.token", "write.token"}
    assert len(set(tokens.values())) == 2
    assert all((tmp_path / "store" / name).stat().st_mode & 0o777 == 0o600 for name in tokens)
    StoreServer(served.engine, tmp_path)
    assert {path.name: path.read_text() for path in (tmp_path / "store").glob("*.token")} == tokens


def test_no_store_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="orderflow-stream run"):
        connect(tmp_path)
    with pytest.raises(StoreUnavailableError, match="orderflow-stream run"):
        connect(tmp_path, scope="write", embedded=False)


def test_an_endpoint_left_by_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "endpoint.json").write_text(f'{{"host":"127.0.0.1","port":9,"pid":{int(child.stdout)}}}')
    with connect(tmp_path, scope="write") as store:
        assert isinstance(store, LocalStore)


def test_a_stopped_store_is_an_error_that_names_the_command(served: StoreServer, tmp_path: Path) -> None:
    reader = connect(tmp_path)
    served.stop()
    with pytest.raises(StoreUnavailableError, match="orderflow-stream run"):
        reader.query("SELECT 1")


def test_a_file_held_by_another_process_is_one_line(tmp_path: Path) -> None:
    path = database_path(tmp_path)
    duckdb.connect(str(path)).close()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreLockedError, match="held by another process") as caught:
            Engine(path)
        assert "\n" not in str(caught.value)
    finally:
        holder.kill()
        holder.wait()


def test_a_taken_port_is_refused_and_not_shared(served: StoreServer, tmp_path: Path) -> None:
    with pytest.raises(PortInUseError, match="is taken"):
        StoreServer(served.engine, tmp_path, port=served.endpoint.port)


def test_the_store_does_not_serve_beyond_loopback(served: StoreServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidWriteError, match="loopback only"):
        StoreServer(served.engine, tmp_path, host="0.0.0.0")


def test_a_client_killed_while_it_writes_leaves_the_old_window(served: StoreServer, tmp_path: Path) -> None:
    """The client sends half of a stream and dies; the owner keeps the rows it had and goes on serving."""
    with connect(tmp_path, scope="write") as writer:
        writer.write(BARS, rows((0, "A", 1.0)))
    script = f"""
import os, signal, pyarrow as pa, pyarrow.flight as flight
from pathlib import Path
from tests.streaming.test_store import BARS, START, HOUR, rows
from orderflow_streaming.store import Window, wire
from orderflow_streaming.store.endpoint import find, read_token
folder = Path({str(tmp_path)!r})
client = flight.FlightClient(find(folder).uri)
options = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer " + read_token(folder, "write").encode())])
request = {{"table": BARS.to_dict(), "window": Window(START, START + HOUR).to_dict()}}
data = rows((0, "A", 2.0))
writer, _ = client.do_put(flight.FlightDescriptor.for_command(wire.encode(request)), data.schema, options)
writer.write_table(data)
os.kill(os.getpid(), signal.SIGKILL)
"""
    script = script.replace(
        "store import Window, wire", "store import Window\nfrom orderflow_streaming.store import wire"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    with connect(tmp_path, scope="write") as writer:
        assert stored(writer) in ([(0, "A", 1.0)], [(0, "A", 2.0)])
        writer.write(BARS, rows((0, "A", 3.0)), Window(START, START + HOUR))
        assert stored(writer) == [(0, "A", 3.0)]


def test_writers_of_the_same_and_of_other_windows_all_succeed(served: StoreServer, tmp_path: Path) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            with connect(tmp_path, scope="write") as store:
                for _ in range(10):
                    store.write(
                        BARS,
                        rows((number % 2, "A", float(number))),
                        Window(START + number % 2 * HOUR, START + (number % 2 + 1) * HOUR),
                    )
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with connect(tmp_path) as reader:
        assert [row[:2] for row in stored(reader)] == [(0, "A"), (1, "A")]


def test_readers_see_whole_windows_while_a_writer_replaces_them(served: StoreServer, tmp_path: Path) -> None:
    window = Window(START, START + HOUR)
    data = [rows(*((0, f"S{number}", float(version)) for number in range(100))) for version in range(2)]
    done = threading.Event()
    seen: set[tuple[int, int]] = set()

    def read() -> None:
        with connect(tmp_path) as reader:
            while not done.is_set():
                row = reader.query(
                    "SELECT count(*) AS n, count(DISTINCT close) AS versions FROM bars.bars_test"
                ).to_pylist()[0]
                seen.add((row["n"], row["versions"]))

    with connect(tmp_path, scope="write") as writer:
        writer.write(BARS, data[0], window)
        thread = threading.Thread(target=read)
        thread.start()
        for version in range(60):
            writer.write(BARS, data[version % 2], window)
        done.set()
        thread.join()
    assert seen == {(100, 1)}


def test_a_new_column_of_a_declaration_is_added_and_a_lost_one_refused() -> None:
    wider = Table("bars", "bars_test", (*BARS.columns, Column("volume", "DOUBLE")), BARS.key, BARS.time)
    narrower = Table("bars", "bars_test", BARS.columns[:2], BARS.key, BARS.time)
    fresh = Engine(":memory:")
    fresh.ensure(BARS)
    fresh._declared.clear()
    fresh.ensure(wider)
    assert [row[0] for row in fresh.cursor().execute("describe bars.bars_test").fetchall()] == list(wider.names)
    fresh._declared.clear()
    with pytest.raises(InvalidWriteError, match="declaration lacks: close, volume"):
        fresh.ensure(narrower)


def test_the_store_keeps_utc_whatever_the_machine_says(tmp_path: Path) -> None:
    script = (
        "from datetime import datetime, UTC\nfrom pathlib import Path\nfrom orderflow_streaming.store import connect\n"
        "from tests.streaming.test_store import BARS, rows\n"
        f"store = connect(Path({str(tmp_path)!r}), scope='write')\nstore.write(BARS, rows((0, 'A', 1.0)))\n"
        "off = 'abs(epoch(now()::TIMESTAMP) - epoch(?::TIMESTAMP)) < 60'\n"
        "print(store.query(f'SELECT ts, {off} AS same FROM bars.bars_test', [datetime.now(UTC)]).to_pylist())"
    )
    for zone in ("America/New_York", "Asia/Tokyo"):
        environment = {**os.environ, "TZ": zone}
        output = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            check=True,
        ).stdout.decode()
        assert "datetime.datetime(2026, 1, 1, 0, 0)" in output
        assert "'same': True" in output
