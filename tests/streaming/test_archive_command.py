"""``orderflow-stream archive``, and two daemons that feed one archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orderflow_streaming.cli import main
from orderflow_streaming.store import connect
from tests.streaming.archives import FIRST, FIRST_MS, HOUR, HOUR_MS, Node, hour_of_everything, opened
from tests.streaming.messages import trade
from tests.streaming.processes import Daemon, Simulation, orderflow, running, wait_for


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(*hour_of_everything(0), *(trade(FIRST_MS + hour * HOUR_MS, 9_000 + hour) for hour in (1, 2)))
        node.server.start()
        yield node
        node.server.stop()


def archive(node: Node, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["archive", "--data-dir", str(node.folder), *arguments])


def test_it_seals_what_waits_and_drops_what_is_old(node: Node) -> None:
    done = archive(node)
    assert done.exit_code == 0, done.output
    assert "10 files written" in done.output
    assert "of 10 stream hours older than 1 h" in done.output
    assert (node.count("hot.trades"), node.count("trades")) == (0, 42)
    again = archive(node)
    assert "0 files written" in again.output


def test_one_hour_as_json(node: Node) -> None:
    done = archive(node, "--hour", f"{FIRST + timedelta(hours=1):%Y-%m-%dT%H:%M}", "--no-drop", "--json")
    told = json.loads(done.stdout)
    (written,) = [outcome for outcome in told["sealed"] if outcome["path"]]
    assert (written["stream"], written["rows"], written["dropped"]) == ("trades", 1, False)
    assert told["dropped"] == []
    assert node.count("hot.trades") == 42


def test_a_range_is_half_open(node: Node) -> None:
    start, end = (FIRST + timedelta(hours=hour) for hour in (0, 2))
    done = archive(node, "--from", f"{start:%Y-%m-%dT%H:%M}", "--to", f"{end:%Y-%m-%dT%H:%M}", "--no-drop")
    assert "9 files written" in done.output
    assert node.rows("SELECT count(DISTINCT hour) FROM ops.archive") == [(2,)]


def test_the_status_says_what_is_sealed_and_what_waits(node: Node) -> None:
    before = json.loads(archive(node, "--status", "--json").stdout)
    assert before["waiting"] == [(FIRST + timedelta(hours=hour)).isoformat() for hour in range(3)]
    archive(node)
    shown = archive(node, "--status")
    assert "alpha" in shown.output
    assert "hours that wait to be sealed: none" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hour", "2025-10-09T08:00", "--from", "2025-10-09"], "give --hour alone"),
        (["--to", "2025-10-09"], "--to needs --from"),
        (["--hour", "2025-10-09T08:30"], "08:30 is not the start of an hour"),
        (["--from", "2999-01-01"], "is over"),
        (["--hour", "2999-01-01T00:00"], "is not over"),
        (["--hour", "soon"], "does not match"),
    ],
)
def test_what_cannot_be_done_is_exit_2(node: Node, arguments: list[str], said: str) -> None:
    done = archive(node, *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output


def test_a_failing_hour_is_exit_1_and_the_others_are_done(node: Node, tmp_path: Path) -> None:
    archive(node, "--hour", f"{FIRST:%Y-%m-%dT%H:%M}")
    ((path,),) = node.rows("SELECT path FROM ops.archive WHERE stream = 'trades'")
    (tmp_path / "archive" / path).unlink()
    done = archive(node, "--from", f"{FIRST:%Y-%m-%dT%H:%M}", "--to", f"{FIRST + 3 * HOUR:%Y-%m-%dT%H:%M}")
    assert done.exit_code == 1
    assert "1 stream hours failed and keep their rows" in done.stderr
    assert node.rows("SELECT count(DISTINCT hour) FROM ops.archive") == [(3,)]


def test_without_a_daemon_or_an_archive_it_says_so(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["archive", "--data-dir", str(tmp_path)]).exit_code == 5
    with opened(tmp_path / "data", None) as node:
        node.server.start()
        done = archive(node)
        node.server.stop()
    assert done.exit_code == 2
    assert "no archive is configured" in done.output


@pytest.mark.slow
def test_two_daemons_feed_one_archive(tmp_path: Path) -> None:
    """Each with a market of its own, from a simulator whose clock runs through the end of an hour long past."""
    shared = tmp_path / "archive"
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(hours=6)
    start = f"{hour + timedelta(minutes=59, seconds=40):%Y-%m-%dT%H:%M:%S}"
    options = ("--start", start, "--speed", 10, "--symbols", "BTCUSDT,ETHUSDT", "--wait-for-subscribers", 3)
    with (
        running(Simulation(tmp_path, *options)) as simulation,
        running(_daemon(tmp_path / "a", simulation, "binance_futures", shared)) as a,
        running(_daemon(tmp_path / "b", simulation, "binance_spot", shared)) as b,
    ):
        for daemon in (a, b):
            wait_for(lambda d=daemon: d.count(f"trades WHERE timestamp > '{hour + HOUR}'") > 20, what="the next hour")
        counts = {}
        for daemon in (a, b):
            assert orderflow("flush", "--data-dir", daemon.data_dir).returncode == 0
            counts[daemon] = daemon.count(f"trades WHERE timestamp < '{hour + HOUR}'")
            done = orderflow("archive", "--data-dir", daemon.data_dir, "--hour", f"{hour:%Y-%m-%dT%H:%M}")
            assert done.returncode == 0, done.stderr
            assert daemon.count(f"hot.trades WHERE timestamp < '{hour + HOUR}'") == 0
        sealed = sum(counts.values())
        assert min(counts.values()) > 0
        assert b.count(f"trades WHERE timestamp < '{hour + HOUR}'") == sealed, "b looked after a had sealed"
        with connect(shared) as reader:
            found = reader.query("SELECT market_type, count(*) AS n FROM trades GROUP BY ALL ORDER BY ALL").to_pylist()
        assert [(row["market_type"], row["n"]) for row in found] == [("futures", counts[a]), ("spot", counts[b])]


def _daemon(folder: Path, simulation: Simulation, market: str, archive: Path) -> Daemon:
    folder.mkdir()
    settings = folder / "settings.json"
    settings.write_text(
        json.dumps({"archive": str(archive), "node": folder.name, "retention_hours": 1, "http_port": None})
    )
    return Daemon(folder, simulation, "--config", settings, "--markets", market, "--symbols", "BTCUSDT,ETHUSDT")
