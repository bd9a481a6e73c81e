"""What the status says when something is not as it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderflow_streaming import health as figures
from orderflow_streaming.connection import Connection
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.health import Health, Rates
from orderflow_streaming.inbox import Inbox
from orderflow_streaming.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.storing import Tally
from orderflow_streaming.subscription import State
from orderflow_streaming.writer import Writer

MARKET = "binance_futures"


class Parts:
    """A daemon's parts that are built and do not run."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder / "o.duckdb", memory_limit="256MB")
        journal = Journal(folder / "journal")
        self.writer = Writer(self.engine, journal)
        self.inbox = Inbox(journal, synced=self.writer.synced)
        protocol = exchange(MARKET)
        sockets = protocol.sockets(["BTCUSDT"], protocol.market.streams, protocol.endpoints)
        self.connections = [Connection(protocol, socket, self.inbox) for socket in sockets]
        for connection in self.connections:
            connection.connected = True
            for subscription in connection.subscriptions.values():
                subscription.state = State.ACTIVE
        settings = Settings(data_dir=folder)
        self.health = Health(settings, self.connections, [], self.inbox, journal, self.writer)

    def close(self) -> None:
        self.inbox.close()
        self.engine.close()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(tmp_path)
    yield parts
    parts.close()


def test_all_well_is_healthy_and_plain_json(parts: Parts) -> None:
    parts.health.sample()
    status = parts.health.status()
    assert (status["status"], status["issues"]) == ("HEALTHY", [])
    assert json.loads(json.dumps(status)) == status
    assert {stream["stream"] for stream in status["streams"]} == set(exchange(MARKET).market.streams) - {
        "open_interest"
    }


def test_a_lost_connection_and_topics_without_data_are_issues(parts: Parts) -> None:
    public, market = parts.connections
    public.connected, public.last_error = False, "reset by peer"
    refused = market.subscriptions["btcusdt@forceOrder"]
    refused.refused("2: no such", 0.0)
    status = parts.health.status()
    assert status["status"] == "DEGRADED"
    assert "binance_futures public: not connected (reset by peer)" in status["issues"]
    assert "binance_futures btcusdt@forceOrder: 2: no such" in status["issues"]
    (missing,) = status["unavailable"]
    assert (missing["state"], missing["streams"], missing["symbol"]) == ("refused", ["liquidations"], "BTCUSDT")
    liquidations = next(stream for stream in status["streams"] if stream["stream"] == "liquidations")
    assert liquidations["unavailable"] == 1


def test_what_the_venue_does_not_list_is_told_and_is_no_issue(parts: Parts) -> None:
    parts.health.unlisted.append((MARKET, "BRETTUSDT"))
    status = parts.health.status()
    assert status["status"] == "HEALTHY"
    assert [(entry["symbol"], entry["state"]) for entry in status["unavailable"]] == [("BRETTUSDT", "unlisted")]


@pytest.mark.parametrize(("age_s", "starts"), [(59, None), (61, "nothing was stored"), (121, "CRITICAL: nothing")])
def test_an_old_flush_with_frames_waiting_is_an_issue_and_the_older_the_worse(
    parts: Parts, age_s: float, starts: str | None
) -> None:
    parts.writer.synced(5)
    parts.writer.totals.last_flush_at = time.time() - age_s
    issues = parts.health.issues()
    assert bool(issues) == (starts is not None)
    assert starts is None or issues[0].startswith(starts)


def test_an_old_flush_with_nothing_to_store_is_none(parts: Parts) -> None:
    parts.writer.totals.last_flush_at = time.time() - 1000
    assert parts.health.issues() == []


def test_failing_flushes_dropped_frames_waiting_readers_and_a_full_disk_are_issues(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "LEAST_DISK_BYTES", 1 << 62)
    parts.writer.totals.last_error = "No space left on device"
    parts.inbox.dropped[MARKET, "partialDepth"] = 3
    parts.inbox.open.clear()
    issues = parts.health.issues()
    assert [issue for issue in issues if "No space left" in issue]
    assert "binance_futures partialDepth: 3 frames dropped" in issues
    assert "reading waits for the disk" in issues
    assert [issue for issue in issues if "left on the disk" in issue]


def test_few_rows_after_the_start_are_an_issue(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "GRACE_S", -1.0)
    assert parts.health.issues() == ["only 0 rows in the last minute"]


def test_rates_count_distinct_stored_rows_of_the_last_minute(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(figures.time, "monotonic", lambda: clock[0])
    tally = parts.writer.totals.tallies.setdefault((MARKET, "trades"), Tally())
    for second in range(0, 125, 5):
        clock[0] = float(second)
        tally.stored, tally.duplicates = second * 2, second * 50
        parts.health.sample()
    trades = next(stream for stream in parts.health.status()["streams"] if stream["stream"] == "trades")
    assert trades["rows_per_min"] == 120.0
    assert trades["duplicates"] == 6000
    assert parts.health.rows_per_minute == 120.0


def test_rates_forget_what_is_older_than_a_minute_and_know_nothing_at_first() -> None:
    rates = Rates()
    assert rates.per_minute("x") == 0.0
    for second, total in [(0, 0), (5, 1000), (60, 1000), (65, 1000), (70, 1010)]:
        rates.sample({"x": total}, float(second))
    assert rates.per_minute("x") == pytest.approx(10 * 60 / 65)
