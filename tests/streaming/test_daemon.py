"""The daemon as a process: collects, serves, reports, and ends in order."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from orderflow_streaming import daemon
from orderflow_streaming.cli import main
from orderflow_streaming.markets import expected_tables
from orderflow_streaming.reading import collector
from orderflow_streaming.settings import Settings
from orderflow_streaming.store import StoreAuthError, connect
from orderflow_streaming.store.endpoint import database_path
from tests.streaming.processes import Daemon, Simulation, orderflow, running, wait_for

SYMBOLS = "BTCUSDT,ETHUSDT"


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    with running(Simulation(folder, "--symbols", SYMBOLS, "--activity", 8)) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory, simulation: Simulation) -> Iterator[Daemon]:
    """A daemon that several tests ask and disturb, and none ends."""
    with running(Daemon(tmp_path_factory.mktemp("collecting"), simulation, "--symbols", SYMBOLS)) as collecting:
        wait_for(lambda: collecting.count("btcusdt_binance_futures_trades") > 10, what="stored trades")
        yield collecting


def stored_keys(database: duckdb.DuckDBPyConnection, table: str, column: str) -> list[int]:
    return [row[0] for row in database.execute(f"SELECT {column}::BIGINT FROM {table} ORDER BY id").fetchall()]


def test_what_the_venue_sent_is_stored_completely_in_order_and_in_utc(tmp_path: Path, simulation: Simulation) -> None:
    with running(Daemon(tmp_path, simulation, "--symbols", SYMBOLS)) as daemon:
        wait_for(lambda: daemon.count("ethusdt_binance_futures_trades") > 15, what="stored trades")
        assert orderflow("stop", "--data-dir", daemon.data_dir).returncode == 0
        assert daemon.wait() == 0
    assert re.search(r"Collection report: .*\n.* of 20 filled, [\d,]+ rows", daemon.output)
    assert not list((daemon.data_dir / "journal").iterdir())
    assert orderflow("status", "--data-dir", daemon.data_dir).returncode == 5
    connections = set(daemon.connections)
    with duckdb.connect(str(database_path(daemon.data_dir)), read_only=True) as database:
        for symbol in ("btcusdt", "ethusdt"):
            for topic, stream, column in (
                ("aggTrade", "trades", "trade_id"),
                ("bookTicker", "prices", "source_seq"),
                ("depth20@100ms", "orderbooks", "source_seq"),
            ):
                sent = simulation.sent(f"{symbol}@{topic}", connections)
                stored = stored_keys(database, f"{symbol}_binance_futures_{stream}", column)
                assert stored == [key for key, _, _ in sent[: len(stored)]]
                assert 0 <= len(sent) - len(stored) < 100
        sent_at = {key: when for key, _, when in simulation.sent("btcusdt@aggTrade", connections)}
        times = database.execute(
            "SELECT trade_id::BIGINT, epoch_us(timestamp), epoch_us(received_at) FROM btcusdt_binance_futures_trades"
        ).fetchall()
        assert all(abs(event - sent_at[key]) < 5e6 and event <= received for key, event, received in times)
        found = database.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        assert set(expected_tables()) <= {row[0] for row in found}


def test_the_status_tells_how_every_stream_is_doing(collecting: Daemon) -> None:
    status = collecting.status()
    assert status["status"] == "HEALTHY", status["issues"]
    assert status["active_connections"] == 2
    assert status["active_symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert status["active_streams"] == {"symbols": 2, "exchanges": 1, "total": 22}
    trades = next(stream for stream in status["streams"] if stream["stream"] == "trades")
    assert trades["connected"]
    assert 0 <= trades["last_message_age_s"] < 10
    assert trades["rejected"] == trades["gaps"] == trades["duplicates"] == 0
    assert trades["lag_ms_p50"] <= trades["lag_ms_p99"]


def test_readers_are_served_while_rows_are_stored(collecting: Daemon) -> None:
    counts = []
    with collecting.store() as store:
        wait_for(
            lambda: (
                counts.append(store.query("SELECT count(*) AS n FROM prices")["n"][0].as_py())
                or counts[-1] > counts[0] + 20
            )
        )
    assert counts == sorted(counts)
    assert len(counts) > 3


def test_commands_ask_the_running_daemon(collecting: Daemon) -> None:
    folder = ["--data-dir", str(collecting.data_dir)]
    shown = CliRunner().invoke(main, ["status", *folder])
    assert shown.exit_code == 0
    assert "binance_futures" in shown.output
    assert json.loads(CliRunner().invoke(main, ["status", "--json", *folder]).output)["pid"] == collecting.pid
    assert CliRunner().invoke(main, ["flush", *folder]).output == "Stored.\n"
    with collecting.store() as reader, pytest.raises(StoreAuthError):
        reader.action("stop")
    with connect(collecting.data_dir, scope="write") as writer:
        writer.action("checkpoint")


def test_a_flush_leaves_nothing_behind(simulation: Simulation, collecting: Daemon) -> None:
    known = max(key for key, _, _ in simulation.sent("btcusdt@aggTrade"))
    wait_for(lambda: max(key for key, _, _ in simulation.sent("btcusdt@aggTrade")) > known + 3)
    with connect(collecting.data_dir, scope="write") as store:
        assert store.action("flush")["stored"] is True
        newest = store.query("SELECT max(trade_id::BIGINT) AS n FROM trades WHERE symbol = 'BTCUSDT'")["n"][0].as_py()
    assert newest >= known


def test_a_second_daemon_is_told_that_the_database_is_held(collecting: Daemon, simulation: Simulation) -> None:
    second = orderflow("run", "--data-dir", collecting.data_dir, "--simulator", simulation.url, "--port", 0)
    assert second.returncode == 3
    assert "is held by another process" in second.stderr
    assert second.stderr.count("\n") == 1


def test_faults_of_the_venue_are_noticed_counted_and_survived(simulation: Simulation, collecting: Daemon) -> None:
    simulation.fault(fault="skip", topic="btcusdt@aggTrade", count=3)
    simulation.fault(fault="duplicate", topic="btcusdt@bookTicker", count=5)
    simulation.fault(fault="malformed", topic="ethusdt@bookTicker", count=4, kind="truncated")
    simulation.fault(fault="malformed", topic="ethusdt@aggTrade", count=2, kind="types")

    def sent(fault: str, topic: str) -> list[int]:
        return [key for key, what, _ in simulation.sent(topic, collecting.connections) if what == fault]

    wait_for(lambda: len(sent("malformed", "ethusdt@aggTrade")) == 2 and len(sent("skip", "btcusdt@aggTrade")) == 3)
    wait_for(lambda: len(sent("malformed", "ethusdt@bookTicker")) == 4)
    wait_for(lambda: len(sent("duplicate", "btcusdt@bookTicker")) == 5)
    simulation.fault(fault="drop")
    wait_for(lambda: sum(part["reconnects"] for part in collecting.status()["sockets"]) == 2, what="two reconnects")
    wait_for(lambda: collecting.status()["active_connections"] == 2)
    before = collecting.count("btcusdt_binance_futures_trades")
    wait_for(lambda: collecting.count("btcusdt_binance_futures_trades") > before + 5, what="trades after the drop")
    wait_for(lambda: collecting.count("ops.gaps WHERE reason = 'disconnection' AND stream = 'prices'") == 2)
    status = {stream["stream"]: stream for stream in collecting.status()["streams"]}
    assert status["prices"]["duplicates"] >= 5
    assert status["prices"]["rejected"] == 4
    with collecting.store() as store:
        quarantined = store.query("SELECT topic, count(*) AS n FROM ops.quarantine GROUP BY topic ORDER BY topic")
        assert quarantined.to_pylist() == [{"topic": "aggTrade", "n": 2}, {"topic": "bookTicker", "n": 4}]
        gaps = store.query(
            "SELECT symbol, first_missing::BIGINT AS first, last_missing::BIGINT AS last FROM ops.gaps "
            "WHERE stream = 'trades' AND reason = 'sequence jump'"
        ).to_pylist()
        duplicates = store.query("SELECT count(*) AS n FROM prices GROUP BY symbol, source_seq HAVING count(*) > 1")
    assert duplicates.num_rows == 0
    missing = {("BTCUSDT", key) for key in sent("skip", "btcusdt@aggTrade")}
    missing |= {("ETHUSDT", key) for key in sent("malformed", "ethusdt@aggTrade")}
    found = {(gap["symbol"], key) for gap in gaps for key in range(gap["first"], gap["last"] + 1)}
    assert missing <= found


def test_a_database_another_program_holds_is_exit_3(tmp_path: Path) -> None:
    path = database_path(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)):
        ended = orderflow("run", "--data-dir", tmp_path, "--simulator", "http://127.0.0.1:1", "--port", 0)
    assert ended.returncode == 3


def test_a_taken_port_is_exit_2_and_says_which(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = CliRunner().invoke(main, ["run", "--data-dir", str(tmp_path), "--port", str(port)])
    assert ended.exit_code == 2
    assert f"port {port}" in ended.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--symbols", "BTCUSD"], "Did you mean 'BTCUSDT'?"),
        (["--markets", "binance_future"], "Did you mean 'binance_futures'?"),
        (["--streams", "trade"], "Did you mean 'trades'?"),
        (["--flush-interval", "0"], "flush_interval_seconds"),
        (["--config", "missing.json"], "does not exist"),
        (["--config", "broken.json"], "is not a JSON object"),
        (["--config", "unknown.json"], "unknown key 'symbol'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_exit_2_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    Path("unknown.json").write_text('{"symbol": []}')
    ended = CliRunner().invoke(main, ["run", "--data-dir", str(tmp_path / "data"), "--port", "0", *arguments])
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_no_market_reachable_is_exit_4_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "UNREACHABLE_AFTER_S", 0.5)
    monkeypatch.setattr(collector, "SAMPLE_S", 0.1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    arguments = ["run", "--data-dir", str(tmp_path), "--port", "0", "--simulator", url]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 4, ended.output
    assert "binance_futures public: " in ended.stderr
    assert CliRunner().invoke(main, ["status", "--data-dir", str(tmp_path)]).exit_code == 5


def test_the_second_signal_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    held = daemon.Daemon(Settings(data_dir=tmp_path, store_port=0, http_port=0))
    held._signalled(signal.SIGINT, None)
    assert codes == []
    held._signalled(signal.SIGINT, None)
    assert codes == [daemon.FORCED]
