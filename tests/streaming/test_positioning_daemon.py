"""A daemon asks four simulated venues who is long and stores what they say in one table."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orderflow_streaming.store.endpoint import database_path
from tests.streaming.processes import Daemon, Simulation, orderflow, running, wait_for
from tests.streaming.test_positioning import KINDS, TELLING

pytestmark = pytest.mark.slow

SPEED = 120
MINUTES_BEFORE = 30
AT_ONCE = sorted(
    [(market, "BTCUSDT", "accounts") for market in TELLING]
    + [("gateio_futures", "BTCUSDT", kind) for kind in KINDS["gateio_futures"] - {"accounts"}]
)
"""What the first poll of each market brings; the others are spread over the five minutes."""


def test_statistics_are_stored_by_series_and_kind_without_isolated_tables(tmp_path: Path) -> None:
    start = datetime.now(UTC) - timedelta(minutes=MINUTES_BEFORE)
    markets = [argument for name in TELLING for argument in ("--market", name)]
    simulated = Simulation(
        tmp_path, *markets, "--symbols", "BTCUSDT", "--speed", SPEED, "--start", f"{start:%Y-%m-%dT%H:%M:%S}"
    )
    with running(simulated) as simulation:
        wait_for(lambda: _now(simulation) > start + timedelta(minutes=6), what="the first statistics")
        asked = ("--markets", ",".join(TELLING), "--symbols", "BTCUSDT", "--streams", "positioning")
        with running(Daemon(tmp_path, simulation, *asked)) as daemon:
            wait_for(lambda: daemon.count("positioning") >= len(AT_ONCE), timeout_s=30, what="the first answers")
            assert orderflow("stop", "--data-dir", daemon.data_dir).returncode == 0
            assert daemon.wait() == 0
    with duckdb.connect(str(database_path(daemon.data_dir)), read_only=True) as database:
        found = database.execute(
            "SELECT DISTINCT exchange || '_' || market_type, symbol, kind FROM hot.positioning WHERE long_share "
            "BETWEEN 0.2 AND 0.9 ORDER BY ALL"
        ).fetchall()
        assert found == AT_ONCE
        named = database.execute(
            "SELECT view_name FROM duckdb_views() WHERE view_name LIKE '%\\_positioning' ESCAPE '\\'"
        )
        assert named.fetchall() == []
        assert database.execute("SELECT count(*) FROM ops.quarantine").fetchall() == [(0,)]


def _now(simulation: Simulation) -> datetime:
    with urllib.request.urlopen(f"{simulation.url}/binance_futures/fapi/v1/time", timeout=10) as answer:
        return datetime.fromtimestamp(json.loads(answer.read())["serverTime"] / 1000, UTC)
