"""Changing a running daemon: markets, symbols, streams and connections, without a row lost on what stays."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from orderflow_streaming.cli import main
from orderflow_streaming.store import InvalidActionError, StoreAuthError, connect
from tests.streaming.processes import Daemon, Simulation, running, wait_for

MARKET = "binance_futures"
SYMBOLS = "BTCUSDT,ETHUSDT"


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    symbols = f"{SYMBOLS},SOLUSDT"
    folder = tmp_path_factory.mktemp("simulation")
    with running(Simulation(folder, "--symbols", symbols, "--activity", 8)) as simulation:
        yield simulation


@pytest.fixture
def collecting(tmp_path: Path, simulation: Simulation) -> Iterator[Daemon]:
    with running(Daemon(tmp_path, simulation, "--symbols", "BTCUSDT")) as collecting:
        wait_for(lambda: collecting.count("btcusdt_binance_futures_trades") > 5, what="stored trades")
        yield collecting


def ask(daemon: Daemon, action: str, **body: Any) -> dict[str, Any]:
    with connect(daemon.data_dir, scope="write", embedded=False) as store:
        return store.action(action, body)


def run(daemon: Daemon, *arguments: str) -> str:
    ended = CliRunner().invoke(main, [*arguments, "--data-dir", str(daemon.data_dir)])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def keys(daemon: Daemon, table: str, column: str) -> list[int]:
    with daemon.store() as store:
        return store.query(f"SELECT {column}::BIGINT AS key FROM {table} ORDER BY id")["key"].to_pylist()


def test_a_symbol_more_loses_and_doubles_no_row_of_the_symbols_that_stay(
    collecting: Daemon, simulation: Simulation
) -> None:
    said = run(collecting, "configure", "--symbols", SYMBOLS)
    assert "symbols  BTCUSDT, ETHUSDT" in said
    assert "kept for the next start" in said
    wait_for(lambda: collecting.count("ethusdt_binance_futures_trades") > 5, what="trades of the new symbol")
    assert collecting.status()["active_symbols"] == ["BTCUSDT", "ETHUSDT"]
    said = run(collecting, "configure", "--symbols", "ETHUSDT")
    assert "symbols  ETHUSDT\n" in said
    wait_for(lambda: collecting.status()["active_symbols"] == ["ETHUSDT"], what="the symbol to end")
    before = collecting.count("ethusdt_binance_futures_trades")
    wait_for(lambda: collecting.count("ethusdt_binance_futures_trades") > before + 5, what="more trades")
    status = collecting.status()
    assert status["markets"][0]["reconnects"] == 0
    run(collecting, "flush")
    for symbol, topic, stream, column in (
        ("btcusdt", "aggTrade", "trades", "trade_id"),
        ("ethusdt", "aggTrade", "trades", "trade_id"),
        ("ethusdt", "bookTicker", "prices", "source_seq"),
    ):
        stored = keys(collecting, f"{symbol}_binance_futures_{stream}", column)
        sent = {key for key, _, _ in simulation.sent(f"{symbol}@{topic}", collecting.connections)}
        assert len(stored) == len(set(stored))
        assert [key for key in sorted(sent) if stored[0] <= key <= stored[-1]] == sorted(stored)
    with collecting.store() as store:
        assert store.query("SELECT * FROM ops.gaps WHERE symbol = 'ETHUSDT'").num_rows == 0


def test_streams_can_be_narrowed_and_widened(collecting: Daemon) -> None:
    answer = ask(collecting, "configure", stream_types=["trades"])
    assert (answer["stream_types"], answer["changed"]) == (["trades"], ["stream_types"])
    wait_for(lambda: [one["stream"] for one in collecting.status()["streams"]] == ["trades"], what="the streams to end")
    assert {one["socket"] for one in collecting.status()["sockets"]} == {"market"}
    count = collecting.count("prices")
    trades = collecting.count("trades")
    wait_for(lambda: collecting.count("trades") > trades + 5, what="more trades")
    assert collecting.count("prices") == count
    assert "streams  all" in run(collecting, "configure", "--streams", "all")
    wait_for(lambda: collecting.count("prices") > count, what="prices again")
    wait_for(lambda: collecting.count("ops.gaps WHERE stream = 'prices'"), what="the gap")


def test_a_market_stops_and_starts_and_the_time_between_is_a_gap(collecting: Daemon) -> None:
    assert run(collecting, "stop", MARKET).startswith(f"Stopped {MARKET}. Collecting no market")
    status = collecting.status()
    assert (status["markets"], status["active_connections"], status["state"]) == ([], 0, "RUNNING")
    count = collecting.count("prices")
    assert json.loads((collecting.data_dir / "runtime.json").read_text()) == {"markets": []}
    with pytest.raises(InvalidActionError, match="binance_futures is not collected"):
        ask(collecting, "stop", market=MARKET)
    assert run(collecting, "start", MARKET).startswith(f"Collecting {MARKET} (kept")
    assert run(collecting, "start", MARKET).startswith(f"{MARKET} was collected already")
    wait_for(lambda: collecting.count("prices") > count, what="prices again")
    wait_for(lambda: collecting.count("ops.gaps WHERE stream = 'prices' AND started_at < ended_at"), what="the gap")
    assert collecting.count("ops.gaps WHERE stream = 'prices' AND reason = 'disconnection'") == 1


def test_a_forced_reconnect_takes_over_without_a_hole(collecting: Daemon, simulation: Simulation) -> None:
    assert "binance_futures public" in run(collecting, "reconnect", MARKET, "--socket", "public")
    wait_for(lambda: len(collecting.connections) == 3, what="the second connection")
    before = collecting.count("btcusdt_binance_futures_prices")
    wait_for(lambda: collecting.count("btcusdt_binance_futures_prices") > before + 20, what="more prices")
    stored = keys(collecting, "btcusdt_binance_futures_prices", "source_seq")
    sent = {key for key, _, _ in simulation.sent("btcusdt@bookTicker", collecting.connections)}
    assert [key for key in sorted(sent) if stored[0] <= key <= stored[-1]] == sorted(stored)
    status = collecting.status()
    assert status["markets"][0]["reconnects"] == 0
    assert {one["socket"]: one["connections"] for one in status["sockets"]} == {"public": 2, "market": 1}


@pytest.mark.parametrize(
    ("action", "body", "said"),
    [
        ("start", {"market": "binance_future"}, "Did you mean 'binance_futures'?"),
        ("start", {}, "unknown market ''"),
        ("start", {"markets": "x"}, "unknown key 'markets'. Did you mean 'market'?"),
        ("stop", {"market": "okx_futures"}, "okx_futures is not collected. Collected: binance_futures."),
        ("configure", {"symbols": "BTCUSD"}, "Did you mean 'BTCUSDT'?"),
        ("configure", {"stream_types": ["trade"]}, "Did you mean 'trades'?"),
        ("configure", {"stream_type": ["trades"]}, "unknown key 'stream_type'. Did you mean 'stream_types'?"),
        ("configure", {"store_port": 1}, "unknown key 'store_port'."),
        ("reconnect", {"market": MARKET, "socket": "publik"}, "no socket 'publik'. Did you mean 'public'?"),
        ("flush", {"now": True}, "unknown key 'now'. Allowed: none."),
        ("acknowledge", {"id": "x"}, "say who with 'by'"),
        ("acknowledge", {"id": "x", "by": "me"}, "no alert 'x'"),
    ],
)
def test_what_a_running_daemon_does_not_know_is_refused_and_changes_nothing(
    shared: Daemon, action: str, body: dict[str, Any], said: str
) -> None:
    before = shared.status()["config"]
    with pytest.raises(InvalidActionError) as caught:
        ask(shared, action, **body)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert shared.status()["config"] == before
    assert not (shared.data_dir / "runtime.json").exists()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, simulation: Simulation) -> Iterator[Daemon]:
    """A daemon that nothing changes."""
    with running(Daemon(tmp_path_factory.mktemp("shared"), simulation, "--symbols", "BTCUSDT")) as shared:
        wait_for(lambda: shared.count("btcusdt_binance_futures_trades") > 5, what="stored trades")
        yield shared


def test_commands_say_what_is_wrong_with_exit_2(shared: Daemon) -> None:
    for arguments, said in (
        (["start", "binance_future"], "Did you mean 'binance_futures'?"),
        (["configure", "--symbols", "BTCUSD"], "Did you mean 'BTCUSDT'?"),
        (["configure"], "give --reset, or at least one of"),
        (["status", "--market", "okx_future"], "Did you mean 'okx_futures'?"),
        (["alerts", "ack", "nope", "--by", "me"], "no alert 'nope'"),
    ):
        ended = CliRunner().invoke(main, [*arguments, "--data-dir", str(shared.data_dir)])
        assert ended.exit_code == 2, ended.output
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("action", ["start", "stop", "configure", "reconnect", "flush", "acknowledge"])
def test_the_read_token_changes_nothing(shared: Daemon, action: str) -> None:
    with shared.store() as store, pytest.raises(StoreAuthError):
        store.action(action, {"market": MARKET})
    assert shared.status()["state"] == "RUNNING"


def test_the_status_has_a_line_per_market_and_stream(shared: Daemon) -> None:
    said = run(shared, "status")
    assert re.search(r"^HEALTHY +up", said), said
    for stream in shared.status()["streams"]:
        assert re.search(rf"│ binance_futures │ {stream['stream']} ", said)
    everything = json.loads(run(shared, "status", "--json", "--market", MARKET))
    assert len(everything["streams"]) == 11
    assert everything["tables"]["expected"] == everything["tables"]["offered"] == 10
    assert json.loads(run(shared, "status", "--json", "--market", "okx_futures"))["streams"] == []


def test_health_and_metrics_are_served_over_http(shared: Daemon) -> None:
    url = shared.status()["http"]
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        health = json.loads(answer.read())
    assert (health["status"], health["state"]) == ("HEALTHY", "RUNNING")
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    stored = {
        sample.labels["stream"]: sample.value
        for sample in families["orderflow_rows_stored"].samples
        if sample.name == "orderflow_rows_stored_total"
    }
    by_status = {one["stream"]: one["rows_stored"] for one in shared.status()["streams"]}
    assert stored.keys() == by_status.keys()
    assert all(0 <= stored[stream] <= by_status[stream] for stream in stored)
    assert stored["trades"] > 0
    lags = {sample.labels["quantile"] for sample in families["orderflow_lag_seconds"].samples}
    assert lags == {"0.5", "0.99"}
    states = {sample.labels["state"]: sample.value for sample in families["orderflow_state"].samples}
    assert [state for state, value in states.items() if value] == ["HEALTHY"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/", timeout=10)
