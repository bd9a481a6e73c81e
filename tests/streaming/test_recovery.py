"""``kill -9`` under load loses nothing that was synced, and stores nothing twice."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import decoded
from orderflow_streaming.recordings.journal import Journal, Position
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.storing import stored_mark
from tests.streaming.processes import Daemon, Simulation, running, wait_for

SYMBOLS = "BTCUSDT,ETHUSDT"
_TOPICS = {
    "aggTrade": ("a", "trades", "trade_id"),
    "bookTicker": ("u", "prices", "source_seq"),
    "depth20@100ms": ("u", "orderbooks", "source_seq"),
}


def journaled(data_dir: Path) -> dict[str, list[int]]:
    """Keys of the frames that the journal holds, by topic."""
    keys: dict[str, list[int]] = {}
    for block in Journal(data_dir / "journal").read(Position(0, 0)):
        for raw in block.batch.frames["raw"].to_pylist():
            topic = exchange("binance_futures").topic(raw) or ""
            if topic.partition("@")[2] in _TOPICS:
                keys.setdefault(topic, []).append(decoded(raw)["data"][_TOPICS[topic.partition("@")[2]][0]])
    return keys


def stored(data_dir: Path) -> dict[str, list[int]]:
    with duckdb.connect(str(database_path(data_dir))) as database:
        return {
            f"{symbol}@{suffix}": [
                row[0]
                for row in database.execute(
                    f"SELECT {column}::BIGINT FROM {symbol}_binance_futures_{stream} ORDER BY id"
                ).fetchall()
            ]
            for symbol in ("btcusdt", "ethusdt")
            for suffix, (_, stream, column) in _TOPICS.items()
        }


def _wait_for_trades(daemon: Daemon, rows: int) -> None:
    """Wait until so many more trades are stored."""
    before = daemon.count("trades")
    wait_for(lambda: daemon.count("trades") >= before + rows, what="stored trades")


@pytest.mark.slow
def test_what_was_synced_before_a_kill_is_stored_after_it_once(tmp_path: Path) -> None:
    with running(Simulation(tmp_path, "--symbols", SYMBOLS, "--activity", 20)) as simulation:
        survived: dict[str, set[int]] = {}
        lives: list[list[int]] = []
        for _ in range(2):
            with running(Daemon(tmp_path, simulation, "--symbols", SYMBOLS)) as daemon:
                _wait_for_trades(daemon, 100)
                daemon.kill()
            lives.append(daemon.connections)
            held = journaled(daemon.data_dir)
            assert sum(map(len, held.values())) > 0
            for topic, keys in stored(daemon.data_dir).items():
                survived.setdefault(topic, set()).update(keys, held.get(topic, []))
        with running(Daemon(tmp_path, simulation, "--symbols", SYMBOLS)) as daemon:
            _wait_for_trades(daemon, 50)
            assert daemon.end() == 0
        with duckdb.connect(str(database_path(daemon.data_dir)), read_only=True) as database:
            down = database.execute(
                "SELECT symbol, count(*) FROM ops.gaps WHERE stream = 'prices' AND reason = 'disconnection' "
                "AND started_at < ended_at GROUP BY symbol ORDER BY symbol"
            ).fetchall()
        assert down == [("BTCUSDT", 2), ("ETHUSDT", 2)]
        rows = stored(daemon.data_dir)
        for topic, keys in rows.items():
            assert len(keys) == len(set(keys)), topic
            assert survived[topic] <= set(keys), topic
            for connections in lives:
                sent = [key for key, _, _ in simulation.sent(topic, set(connections))]
                kept = [key for key in sent if key in set(keys)]
                assert kept == sent[: len(kept)], f"{topic}: a hole in what one connection brought"
    engine = Engine(database_path(daemon.data_dir))
    assert stored_mark(engine) > Position(2, 0)
    engine.close()
