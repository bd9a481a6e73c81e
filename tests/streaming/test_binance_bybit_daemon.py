"""The daemon against simulated Binance spot and Bybit: all tables filled, and nothing lost that can be had again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orderflow_streaming.markets import MARKETS
from orderflow_streaming.store.endpoint import database_path
from tests.streaming.processes import Daemon, Simulation, orderflow, running, wait_for

NAMES = ("binance_spot", "bybit_futures", "bybit_spot")
SYMBOLS = "BTCUSDT,WIFUSDT"


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    markets = [argument for name in NAMES for argument in ("--market", name)]
    folder = tmp_path_factory.mktemp("simulation")
    with running(Simulation(folder, *markets, "--symbols", SYMBOLS, "--activity", 6)) as simulation:
        yield simulation


def collecting(folder: Path, simulation: Simulation) -> Daemon:
    return Daemon(folder, simulation, "--markets", ",".join(NAMES), "--symbols", SYMBOLS)


def expected_tables() -> list[str]:
    return [
        f"{symbol}_{name}_{stream}"
        for name in NAMES
        for symbol in ("btcusdt", "wifusdt")
        for stream in MARKETS[name].streams
        if stream != "liquidations"
    ]


def test_every_table_is_filled_without_gaps_and_rejections(tmp_path: Path, simulation: Simulation) -> None:
    with running(collecting(tmp_path, simulation)) as daemon:
        wait_for(lambda: all(daemon.count(table) for table in expected_tables()), timeout_s=60, what="all tables")
        streams = [stream for stream in daemon.status()["streams"] if stream["messages"]]
        assert {(stream["rejected"], stream["gaps"], stream["resyncs"]) for stream in streams} == {(0, 0, 0)}
        assert orderflow("stop", "--data-dir", daemon.data_dir).returncode == 0
        assert daemon.wait() == 0
    with duckdb.connect(str(database_path(daemon.data_dir)), read_only=True) as database:
        identities = [
            int(row[0])
            for row in database.execute("SELECT trade_id FROM btcusdt_binance_spot_trades ORDER BY id").fetchall()
        ]
        assert identities == list(range(identities[0], identities[0] + len(identities)))
        crossed = "SELECT count(*) FROM orderbooks WHERE bid_1_price >= ask_1_price OR bid_1_price <= bid_2_price"
        assert database.execute(crossed).fetchall() == [(0,)]
        sizes = (
            "SELECT exchange, market_type, min(contract_size), count(*) FROM ops.instruments GROUP BY ALL ORDER BY ALL"
        )
        assert database.execute(sizes).fetchall() == [
            ("binance", "spot", 1.0, 2),
            ("bybit", "futures", 1.0, 2),
            ("bybit", "spot", 1.0, 2),
        ]


@pytest.mark.slow
def test_faults_cost_nothing_that_the_venue_gives_again(tmp_path: Path, simulation: Simulation) -> None:
    with running(collecting(tmp_path, simulation)) as daemon:
        wait_for(lambda: all(daemon.count(f"btcusdt_{name}_trades") > 20 for name in NAMES), what="stored trades")
        simulation.fault(fault="skip", market="bybit_futures", topic="orderbook.50.BTCUSDT")
        simulation.fault(fault="duplicate", market="bybit_spot", topic="orderbook.50.BTCUSDT", count=3)
        simulation.fault(fault="malformed", market="bybit_spot", topic="orderbook.50.WIFUSDT")
        simulation.fault(fault="malformed", market="bybit_futures", topic="tickers.BTCUSDT")
        simulation.fault(fault="duplicate", market="bybit_spot", topic="publicTrade.BTCUSDT", count=4)
        simulation.fault(fault="duplicate", market="binance_spot", topic="btcusdt@trade", count=4)
        simulation.fault(fault="skip", market="binance_spot", topic="btcusdt@trade", count=2)

        def resynced() -> bool:
            streams = [stream for stream in daemon.status()["streams"] if stream["resyncs"]]
            found = {(stream["market"], stream["stream"]) for stream in streams}
            return found >= {
                ("bybit_futures", "orderbooks"),
                ("bybit_spot", "orderbooks"),
                ("bybit_futures", "mark_prices"),
            }

        wait_for(resynced, what="new snapshots of both books and of the ticker")
        stored = {name: daemon.count(f"btcusdt_{name}_orderbooks") for name in NAMES}
        wait_for(lambda: all(daemon.count(f"btcusdt_{name}_orderbooks") > stored[name] + 5 for name in NAMES))
        connected = len(daemon.connections)
        simulation.fault(fault="drop", market="bybit_futures")
        wait_for(lambda: len(daemon.connections) > connected, what="a new connection")
        marks = daemon.count("btcusdt_bybit_futures_mark_prices")
        wait_for(lambda: daemon.count("btcusdt_bybit_futures_mark_prices") > marks + 5, what="marks after the drop")

        def consecutive() -> bool:
            """Whether all trades that were sent since the first one stored are stored, those skipped too."""
            with daemon.store() as store:
                found = store.query("SELECT trade_id::BIGINT AS id FROM btcusdt_binance_spot_trades ORDER BY 1")
            identities = found["id"].to_pylist()
            return identities == list(range(identities[0], identities[-1] + 1))

        wait_for(consecutive, timeout_s=40, what="skipped trades")
        assert orderflow("stop", "--data-dir", daemon.data_dir).returncode == 0
        assert daemon.wait() == 0
    with duckdb.connect(str(database_path(daemon.data_dir)), read_only=True) as database:
        for name in NAMES:
            twice = f"SELECT trade_id FROM btcusdt_{name}_trades GROUP BY 1 HAVING count(*) > 1"
            assert database.execute(twice).fetchall() == []
        reasons = database.execute("SELECT DISTINCT exchange, market_type, stream, reason FROM ops.gaps").fetchall()
        assert {(exchange, kind, stream) for exchange, kind, stream, _ in reasons} >= {
            ("bybit", "futures", "orderbooks"),
            ("binance", "spot", "trades"),
        }


@pytest.mark.slow
def test_a_refused_topic_is_unavailable_and_its_neighbours_are_read(tmp_path: Path, simulation: Simulation) -> None:
    simulation.fault(fault="refuse", market="bybit_spot", topic="publicTrade.WIFUSDT", count=2)
    with running(collecting(tmp_path, simulation)) as daemon:
        wait_for(lambda: daemon.count("btcusdt_bybit_spot_trades") > 5, what="trades of the neighbour")

        (refused,) = wait_for(lambda: daemon.status()["unavailable"], what="the refused topic in the status")
        assert refused["topic"] == "publicTrade.WIFUSDT"
        assert "Invalid symbol" in refused["reason"]
        assert daemon.count("wifusdt_bybit_spot_prices") > 0
