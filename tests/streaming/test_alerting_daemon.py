"""Alerts of a running daemon, from a lost venue to the acknowledgement of a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from orderflow_streaming.cli import main
from tests.streaming.processes import Daemon, Simulation, orderflow, running, wait_for


def alerts(data_dir: Path, *options: str) -> list[dict[str, Any]]:
    ended = CliRunner().invoke(main, ["alerts", "--json", "--data-dir", str(data_dir), *options])
    assert ended.exit_code == 0, ended.output
    return [json.loads(line) for line in ended.stdout.splitlines()]


def told(data_dir: Path) -> list[tuple[str, str]]:
    file = data_dir / "logs" / "alerts.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(notice["event"], notice["condition"]) for notice in map(json.loads, lines)]


def test_a_lost_venue_raises_one_alert_which_a_person_acknowledges_and_a_restart_keeps(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"health_check_interval_seconds": 0.1, "alert_repeat_seconds": 0.2}))
    down = "socket down binance_futures public"
    with running(Simulation(tmp_path, "--symbols", "BTCUSDT")) as simulation:
        with running(Daemon(tmp_path, simulation, "--config", config, "--symbols", "BTCUSDT")) as daemon:
            data_dir = daemon.data_dir
            wait_for(lambda: daemon.count("prices") > 3, what="stored prices")
            simulation.kill()
            wait_for(lambda: ("repeated", down) in told(data_dir), what="a repeated notice")
            (alert,) = [alert for alert in alerts(data_dir) if alert["condition"] == down]
            assert (alert["level"], alert["source"], alert["acknowledged"]) == ("MEDIUM", "binance_futures", False)
            assert daemon.status()["pending_alerts"] >= 2
            said = CliRunner().invoke(main, ["alerts", "--data-dir", str(data_dir), "ack", alert["id"], "--by", "Ada"])
            assert said.output == f"Alert {alert['id']} acknowledged by Ada.\n"
            assert down not in [alert["condition"] for alert in alerts(data_dir)]
            assert "alert raised MEDIUM: binance_futures public: not connected" in daemon.output
            repeated = told(data_dir).count(("repeated", down))
            other = ("repeated", "socket down binance_futures market")
            more = told(data_dir).count(other) + 2
            wait_for(lambda: told(data_dir).count(other) >= more, what="the other notice again")
            assert told(data_dir).count(("repeated", down)) == repeated
            assert daemon.end() == 0
        (kept,) = [alert for alert in alerts(data_dir, "--all") if alert["condition"] == down]
        assert (kept["acknowledged_by"], kept["cleared_at"]) == ("Ada", None)
    with (
        running(Simulation(tmp_path, "--symbols", "BTCUSDT")) as simulation,
        running(Daemon(tmp_path, simulation, "--config", config, "--symbols", "BTCUSDT")) as daemon,
    ):
        wait_for(lambda: ("cleared", down) in told(data_dir), what="the cleared notice")
        assert told(data_dir).count(("raised", down)) == 1
        second = orderflow("run", "--data-dir", data_dir, "--simulator", simulation.url, "--port", 0)
        assert second.returncode == 3
        assert second.stderr.count("\n") == 1
        wait_for(lambda: ("raised", None) in told(data_dir), what="the notice of the failed start")
        assert daemon.end() == 0
