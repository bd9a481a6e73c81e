"""``dagster dev`` as a person starts it: web server, daemon, sensor, runs, and a backfill from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_assets import backfill
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import asset_key
from orderflow_assets.watermark import GRACE
from orderflow_streaming.archive.continuous import prepare
from orderflow_streaming.exit_codes import CONFIGURATION, NOT_RUNNING
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.assets import tape
from tests.assets.planted import hours_of
from tests.conftest import ROOT

DEADLINE_S = 400
HOURS = hours_of(tape.START, tape.END)
CLOSED = hours_of(tape.START, tape.END - GRACE)[:-1]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen within {DEADLINE_S} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def webserver(raw_tape: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a ``dagster dev`` in a folder of its own, on a served store that holds the planted market."""
    shutil.copytree(raw_tape, tmp_path, dirs_exist_ok=True)
    engine = Engine(database_path(tmp_path))
    prepare(engine)
    server = StoreServer(engine, tmp_path)
    server.start()
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, home)
    environment = os.environ | {"ORDERFLOW_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("DAGSTER_HOME", None)
    with (tmp_path / "dagster.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)],
            cwd=home,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: process.poll() is not None or answers(address), "the web server's first answer")
        assert process.poll() is None, (tmp_path / "dagster.log").read_text()[-2000:]
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        server.stop()
        engine.close()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def ask(address: str, query: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


def materialized(address: str, key: str) -> int:
    path = json.dumps(key.split("/"))
    node = "... on AssetNode { partitionStats { numMaterialized } }"
    found = ask(address, f"{{ assetNodeOrError(assetKey: {{path: {path}}}) {{ {node} }} }}")
    return found["assetNodeOrError"]["partitionStats"]["numMaterialized"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_history_flows_by_itself_and_a_backfill_completes(webserver: str, tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(backfill.main, ["2025-03-01T23:00", "2025-03-02", "--webserver", webserver])
    assert result.exit_code == 0, result.output
    assert f"{len(LAYERS)} of {len(LAYERS)} asset hours computed, 0 failed" in result.output

    keys = [asset_key(layer.table.qualified).to_user_string() for layer in LAYERS]
    wait_for(lambda: materialized(webserver, "raw/trades") == len(HOURS), "the report of every hour of ticks")
    wait_for(lambda: all(materialized(webserver, key) == len(CLOSED) for key in keys), "the computing of every hour")
    with connect(tmp_path) as store:
        assert store.query("SELECT count(*) AS n FROM signals.signals").column("n")[0].as_py() > 0
    assert (tmp_path / "home" / ".dagster" / "storage").is_dir()


def test_without_dagster_the_backfill_says_how_to_start_it() -> None:
    result = CliRunner().invoke(
        backfill.main, ["2025-03-01", "2025-03-02", "--webserver", f"http://127.0.0.1:{free_port()}"]
    )
    assert result.exit_code == NOT_RUNNING
    assert "Start it with: dagster dev" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2024-03-01", "2024-03-02"], "no hour begins between"),
        (["2025-03-02", "2025-03-01"], "no hour begins between"),
        (["2025-03-01", "2025-03-02", "--select", "group:raw"], "selects no asset that is computed by the hour"),
    ],
)
def test_a_backfill_of_nothing_is_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(backfill.main, arguments)
    assert result.exit_code == CONFIGURATION
    assert said in result.output
