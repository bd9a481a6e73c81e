"""A real daemon against the simulator: what was missed is had again, and the past is filled, whatever happens."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orderflow_streaming.exchanges import PROTOCOLS, exchange
from orderflow_streaming.store import StoreError
from orderflow_streaming.store.endpoint import database_path
from tests.streaming.processes import Daemon, Process, Simulation, orderflow, running, wait_for

SYMBOLS = "BTCUSDT,ETHUSDT"
MARKET = "binance_futures"
COLLECT = ("--symbols", SYMBOLS, "--markets", MARKET)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    with running(Simulation(folder, "--symbols", SYMBOLS, "--market", MARKET, "--activity", 8)) as simulation:
        yield simulation


def ask(daemon: Daemon, sql: str) -> list[dict[str, Any]]:
    with daemon.store() as store:
        return store.query(sql).to_pylist()


def assert_whole(rows: list[dict[str, Any]]) -> None:
    """Of each symbol, every trade between the first and the last is stored, and each once."""
    assert len(rows) == 2
    for row in rows:
        assert row["stored"] == row["different"] == row["wanted"], row


WHOLE = (
    "SELECT symbol, count(*) AS stored, count(DISTINCT trade_id) AS different, "
    "max(trade_id::BIGINT) - min(trade_id::BIGINT) + 1 AS wanted FROM trades GROUP BY symbol"
)


def await_filled(daemon: Daemon, gaps: int) -> list[dict[str, Any]]:
    """Wait until so many gaps of trades are there, all filled."""
    sql = "SELECT * FROM ops.gaps WHERE stream = 'trades'"

    def found() -> list[dict[str, Any]] | None:
        rows = ask(daemon, sql)
        return rows if len(rows) >= gaps and all(row["filled_at"] for row in rows) else None

    return wait_for(found, 40, f"{gaps} gaps filled")


@pytest.mark.slow
def test_lost_frames_and_lost_connections_are_made_good(tmp_path: Path, simulation: Simulation) -> None:
    with running(Daemon(tmp_path, simulation, *COLLECT)) as daemon:
        wait_for(lambda: daemon.count("trades") > 50, what="stored trades")
        simulation.fault(fault="skip", topic="btcusdt@aggTrade", count=5)
        [*_, gap] = await_filled(daemon, 1)
        assert (gap["reason"], gap["fill_reason"], gap["given_up_at"]) == ("sequence jump", None, None)
        assert gap["filled_rows"] == int(gap["last_missing"]) - int(gap["first_missing"]) + 1
        for _ in range(2):
            before = daemon.count("trades")
            simulation.fault(fault="drop", route="market")
            wait_for(lambda before=before: daemon.count("trades") > before + 50, what="trades after the drop")
        wait_for(lambda: daemon.count("ops.gaps WHERE filled_at IS NULL AND given_up_at IS NULL") == 0, 40)
        assert_whole(ask(daemon, WHOLE))
        states = ask(daemon, "SELECT stream, bool_and(filled_at IS NOT NULL) AS filled FROM ops.gaps GROUP BY stream")
        filled = {row["stream"]: row["filled"] for row in states}
        assert filled["candles"]
        assert filled["funding_rates"]
        assert not filled["mark_prices"]
        streams = {stream["stream"]: stream for stream in daemon.status()["streams"]}
        assert streams["trades"]["gaps_open"] == streams["candles"]["gaps_open"] == 0
        assert streams["mark_prices"]["gaps_open"] == streams["mark_prices"]["gaps"] > 0


@pytest.mark.slow
def test_a_refill_waits_as_long_as_the_venue_demands(tmp_path: Path, simulation: Simulation) -> None:
    with running(Daemon(tmp_path, simulation, *COLLECT, "--streams", "trades")) as daemon:
        wait_for(lambda: daemon.count("trades") > 20, what="stored trades")
        simulation.fault(fault="rate_limit", seconds=4)
        limited_at = time.monotonic()
        simulation.fault(fault="skip", topic="ethusdt@aggTrade", count=3)
        await_filled(daemon, 1)
        assert time.monotonic() - limited_at >= 4
        refused = [line for line in simulation.log.read_text().splitlines() if "rate_limit 429" in line]
        assert 1 <= len(refused) <= 3
        assert_whole(ask(daemon, WHOLE))


@pytest.mark.slow
def test_the_hole_between_two_runs_is_filled(tmp_path: Path, simulation: Simulation) -> None:
    for _ in range(2):
        with running(Daemon(tmp_path, simulation, *COLLECT)) as daemon:
            before = daemon.count("trades")
            wait_for(lambda before=before: daemon.count("trades") > before + 50, what="stored trades")
            daemon.kill()
        known = max(key for key, _, _ in simulation.sent("btcusdt@aggTrade"))
        wait_for(lambda known=known: newest_id(simulation) > known + 20, what="trades nobody reads")
    with running(Daemon(tmp_path, simulation, *COLLECT)) as daemon:
        await_filled(daemon, 4)
        wait_for(lambda: daemon.count("ops.gaps WHERE filled_at IS NULL AND given_up_at IS NULL") == 0, 40)
        assert_whole(ask(daemon, WHOLE))
        bars = ask(daemon, "SELECT count(*) AS n, count(DISTINCT open_time) AS d FROM candles WHERE symbol = 'BTCUSDT'")
        assert bars[0]["n"] == bars[0]["d"]


def newest_id(simulation: Simulation) -> int:
    """The newest trade of BTCUSDT, as the venue tells it over REST."""
    url = f"{simulation.url}/{MARKET}/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(json.load(answer)[-1]["a"])


# -- the past ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """A venue with two hours and a half behind it."""
    folder = tmp_path_factory.mktemp("yesterday")
    past = ("--history", 2.5, "--wait-for-subscribers", 0, "--activity", 0.3)
    with running(Simulation(folder, "--symbols", SYMBOLS, "--market", MARKET, *past)) as simulation:

        def present() -> bool:
            with urllib.request.urlopen(f"{simulation.url}/control/status", timeout=10) as answer:
                return json.load(answer)["mode"] == "paced"

        wait_for(present, 120, "the simulated history")
        yield simulation


def span() -> tuple[str, ...]:
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    return "--from", (end - timedelta(hours=2)).isoformat(), "--to", end.isoformat()


def backfill_arguments(folder: Path, simulation: Simulation, times: tuple[str, ...]) -> tuple[object, ...]:
    return ("backfill", *times, *COLLECT, "--data-dir", folder / "data", "--simulator", simulation.url)


@pytest.mark.slow
def test_a_backfill_that_is_killed_goes_on_and_stores_nothing_twice(tmp_path: Path, yesterday: Simulation) -> None:
    times = span()
    arguments = backfill_arguments(tmp_path, yesterday, times)
    killed = Process(tmp_path / "backfill.log", *arguments)
    journal = tmp_path / "data" / "journal"
    wait_for(lambda: sum(segment.stat().st_size for segment in journal.glob("*")) > 100_000, what="the first answers")
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    ended = orderflow(*arguments, "--json", timeout_s=120)
    assert ended.returncode == 0, ended.stderr
    outcome = json.loads(ended.stdout)
    assert (outcome["state"], outcome["failed"]) == ("done", 0)
    again = json.loads(orderflow(*arguments, "--json").stdout)
    assert (again["known"], again["requests"]) == (again["chunks"], 0)
    with duckdb.connect(str(database_path(tmp_path / "data")), read_only=True) as database:
        assert_whole(database.sql(WHOLE).to_arrow_table().to_pylist())
        bars = "SELECT symbol, count(*), bool_and(is_closed) FROM candles GROUP BY symbol ORDER BY symbol"
        assert database.sql(bars).fetchall() == [("BTCUSDT", 120, True), ("ETHUSDT", 120, True)]
        interest = "SELECT count(*), count(DISTINCT timestamp), min(open_interest_usd) > 0 FROM open_interest"
        assert database.sql(interest).fetchall() == [(48, 24, True)]
        assert database.sql("SELECT count(*) FROM ops.gaps").fetchall() == [(0,)]
        assert database.sql("SELECT count(*) FROM ops.quarantine").fetchall() == [(0,)]


@pytest.mark.slow
def test_the_running_daemon_fills_the_past_beside_its_work(tmp_path: Path, yesterday: Simulation) -> None:
    times = span()
    with running(Daemon(tmp_path, yesterday, *COLLECT)) as daemon:
        wait_for(lambda: daemon.count("candles") >= 2, what="live rows")
        ended = orderflow(*backfill_arguments(tmp_path, yesterday, times), "--json", timeout_s=120)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["state"] == "done"
        newest = max(row["until"] for row in ask(daemon, "SELECT max(timestamp) AS until FROM trades"))
        wait_for(lambda: ask(daemon, "SELECT max(timestamp) AS t FROM trades")[0]["t"] > newest, what="live trades")
        wait_for(lambda: daemon.count("ops.gaps WHERE stream = 'trades' AND filled_at IS NULL") == 0, 40)
        [stored] = ask(daemon, "SELECT count(*) AS n FROM candles WHERE symbol = 'BTCUSDT' AND is_closed")
        assert stored["n"] >= 120
        lag = next(stream for stream in daemon.status()["streams"] if stream["stream"] == "trades")["lag_ms_p99"]
        assert lag < 60_000
        refused = orderflow("backfill", *times, "--streams", "ticker_24h", "--data-dir", daemon.data_dir)
        assert refused.returncode == 2
        assert "no venue gives ticker_24h again" in refused.stderr


@pytest.mark.slow
def test_one_backfill_runs_at_a_time_and_can_be_stopped_and_resumed(tmp_path: Path, yesterday: Simulation) -> None:
    arguments = (*backfill_arguments(tmp_path, yesterday, span()), "--streams", "candles")
    with running(Daemon(tmp_path, yesterday, *COLLECT)) as daemon:
        wait_for(lambda: daemon.count("trades") > 0, what="live rows")
        yesterday.fault(fault="rate_limit", seconds=8)
        with running(Process(tmp_path / "backfill.log", *arguments, "--json")) as first:

            def state() -> str | None:
                try:
                    with daemon.store() as store:
                        return str(store.action("backfill_status")["state"])
                except StoreError:
                    return None

            wait_for(lambda: state() == "running", what="the backfill")
            second = orderflow(*arguments)
            assert (second.returncode, second.stderr.count("\n")) == (1, 1), second.stderr
            assert "a backfill runs already" in second.stderr
            stopped = orderflow("backfill", "--stop", "--json", "--data-dir", daemon.data_dir)
            assert json.loads(stopped.stdout)["state"] == "stopped"
            assert first.wait() == 0
        resumed = json.loads(orderflow(*arguments, "--json", timeout_s=120).stdout)
        assert (resumed["state"], resumed["failed"]) == ("done", 0)
        assert daemon.end() == 0
        assert "Traceback" not in daemon.output


# -- all markets ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_market_has_again_what_its_venue_gives_again(tmp_path: Path) -> None:
    given_again = {name: set(exchange(name).histories) for name in PROTOCOLS}
    markets = [part for name in PROTOCOLS for part in ("--market", name)]
    collected = ("--symbols", "BTCUSDT", "--markets", ",".join(PROTOCOLS))
    with (
        running(Simulation(tmp_path, "--symbols", "BTCUSDT", "--activity", 2, *markets)) as simulation,
        running(Daemon(tmp_path, simulation, *collected)) as daemon,
    ):
        distinct = "SELECT count(DISTINCT (exchange, market_type)) AS n FROM"
        wait_for(lambda: ask(daemon, f"{distinct} trades")[0]["n"] == len(PROTOCOLS), 60, "trades of every market")
        wait_for(lambda: ask(daemon, f"{distinct} candles")[0]["n"] == len(PROTOCOLS), 60, "candles of every market")
        simulation.fault(fault="drop")
        gaps = "ops.gaps WHERE stream = 'candles' AND filled_at IS NOT NULL"
        wait_for(
            lambda: ask(daemon, f"{distinct} {gaps}")[0]["n"] == len(PROTOCOLS), 90, "a filled gap of every market"
        )
        pending = "ops.gaps WHERE filled_at IS NULL AND given_up_at IS NULL"
        wait_for(lambda: daemon.count(pending) == 0, 60, "all gaps settled")
        for gap in ask(daemon, "SELECT * FROM ops.gaps"):
            offered = gap["stream"] in given_again[f"{gap['exchange']}_{gap['market_type']}"]
            assert offered or "does not give" in gap["fill_reason"], gap
            assert gap["filled_at"] or not offered or gap["stream"] == "trades", gap
        twice = "SELECT exchange, trade_id FROM trades GROUP BY exchange, market_type, trade_id HAVING count(*) > 1"
        assert ask(daemon, twice) == []
        numbered = "exchange IN ('binance', 'okx', 'gateio')"
        whole = WHOLE.replace("symbol, count", "exchange, market_type, count").replace(
            "GROUP BY symbol", f"WHERE {numbered} GROUP BY exchange, market_type"
        )
        for row in ask(daemon, whole):
            assert row["stored"] == row["different"] == row["wanted"], row
        assert ask(daemon, "SELECT market, topic, reason FROM ops.quarantine") == []
