"""What the status says when something is not as it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.markets import expected_tables
from orderflow_streaming.reading.holes import Holes
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.market_reader import MarketReader, plans
from orderflow_streaming.reading.rest import RestClient
from orderflow_streaming.reading.subscription import State
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.watching import conditions as judged
from orderflow_streaming.watching import health as figures
from orderflow_streaming.watching.health import Health
from orderflow_streaming.watching.rates import Rates
from orderflow_streaming.writing.storing import Tally
from orderflow_streaming.writing.writer import Writer

MARKET = "binance_futures"


async def _stored() -> bool:
    return True


class Parts:
    """A daemon's parts that are built and do not run."""

    def __init__(self, folder: Path, symbols: tuple[str, ...] = ("BTCUSDT",)) -> None:
        self.engine = Engine(folder / "o.duckdb", memory_limit="256MB")
        journal = Journal(folder / "journal")
        self.writer = Writer(self.engine, journal)
        self.inbox = Inbox(journal, synced=self.writer.synced)
        self.settings = Settings(data_dir=folder, symbols=symbols, markets=(MARKET,))
        (plan,) = plans(self.settings).values()
        client = RestClient(None, plan.endpoints.rest, plan.exchange.limits)  # type: ignore[arg-type]
        holes = Holes(self.writer)
        self.reader = MarketReader(plan, client, self.inbox, self.engine, holes, stored=_stored, refill_max_hours=24)
        self.reader._keep(plan.exchange.sockets(plan.symbols, plan.streams, plan.endpoints))
        self.readers = {MARKET: self.reader}
        for connection in self.reader.connections:
            connection.connected = True
            for subscription in connection.subscriptions.values():
                subscription.state = State.ACTIVE
        self.health = Health(self, journal, self.writer)

    @property
    def issues(self) -> list[str]:
        return self.health.status()["issues"]

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


def stream_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(stream for stream in status["streams"] if stream["stream"] == name)


def test_a_lost_connection_and_topics_without_data_are_issues(parts: Parts) -> None:
    public, market = parts.reader.connections
    public.connected, public.last_error = False, "reset by peer"
    refused = market.subscriptions["btcusdt@forceOrder"]
    refused.refused("2: no such", 0.0)
    status = parts.health.status()
    assert status["status"] == "DEGRADED"
    assert "binance_futures public: not connected (reset by peer)" in status["issues"]
    assert "binance_futures liquidations: refused for BTCUSDT (2: no such)" in status["issues"]
    (missing,) = status["unavailable"]
    assert (missing["state"], missing["streams"], missing["symbol"]) == ("refused", ["liquidations"], "BTCUSDT")
    assert (stream_of(status, "liquidations")["unavailable"], stream_of(status, "liquidations")["refused"]) == (1, 1)
    assert status["tables"]["refused"] == ["btcusdt_binance_futures_liquidations"]


def test_a_socket_that_is_opened_for_the_first_time_is_no_issue(parts: Parts) -> None:
    public, _ = parts.reader.connections
    public.connected = False
    assert parts.issues == []
    public.sessions = 1
    assert parts.issues == ["binance_futures public: not connected (opening again)"]


def test_many_refused_topics_are_one_condition(tmp_path: Path) -> None:
    parts = Parts(tmp_path, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    for connection in parts.reader.connections:
        for name, subscription in connection.subscriptions.items():
            if name.endswith("@forceOrder"):
                subscription.refused("2: no such", 0.0)
    (condition,) = parts.health.conditions()
    parts.close()
    assert condition.message == "binance_futures liquidations: refused for BTCUSDT, ETHUSDT, SOLUSDT (2: no such)"
    assert len(condition.details["topics"]) == 3


def test_what_the_venue_does_not_list_is_told_and_is_no_issue(parts: Parts) -> None:
    parts.reader.listed = ["ETHUSDT"]
    status = parts.health.status()
    assert status["status"] == "HEALTHY"
    assert [(entry["symbol"], entry["state"]) for entry in status["unavailable"]] == [("BTCUSDT", "unlisted")]
    assert set(status["tables"]["unlisted"]) == {
        name for name in expected_tables() if name.startswith("btcusdt_binance_f")
    }
    assert status["tables"]["offered"] == 0


def test_a_symbol_listed_against_what_is_declared_is_an_unexpected_table(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    market = replace(parts.reader.plan.exchange.market, unlisted=frozenset({"BTCUSDT"}))
    assert parts.health.status()["tables"]["unexpected"] == []
    parts.reader.plan.exchange.__class__.market, before = market, parts.reader.plan.exchange.market
    try:
        parts.reader.listed = ["BTCUSDT"]
        tables = parts.health.status()["tables"]
    finally:
        parts.reader.plan.exchange.__class__.market = before
        parts.close()
    assert (tables["expected"], tables["offered"], len(tables["unexpected"])) == (0, 10, 10)


def test_losses_resyncs_gaps_and_rejected_frames_show_where_they_belong(parts: Parts) -> None:
    public, market = parts.reader.connections
    public.losses, market.losses = 2, 1
    next(iter(public.subscriptions.values())).resyncs = 3
    parts.writer.totals.gaps[MARKET, "trades"] = 4
    parts.writer.totals.rejected[MARKET, "unplaced"] = 5
    status = parts.health.status()
    (summary,) = status["markets"]
    assert (summary["reconnects"], summary["resyncs"], summary["gaps"], summary["rejected"]) == (3, 3, 4, 5)
    assert (stream_of(status, "prices")["reconnects"], stream_of(status, "trades")["reconnects"]) == (2, 1)
    assert parts.health.reconnects == 3
    parts.reader._keep([])
    parts.health.ended(parts.reader)
    parts.readers.clear()
    assert parts.health.reconnects == 3


@pytest.mark.parametrize(
    ("age_s", "pending", "verdict"),
    [
        (59, 5, "HEALTHY"),
        (61, 5, "DEGRADED"),
        (121, 5, "CRITICAL"),
        (1, 200_001, "DEGRADED"),
        (1, 1_000_001, "CRITICAL"),
        (61, 1_000_001, "CRITICAL"),
        (1000, 0, "HEALTHY"),
    ],
)
def test_the_critical_rule_comes_before_the_degraded_one(
    parts: Parts, age_s: float, pending: int, verdict: str
) -> None:
    parts.writer.synced(pending)
    parts.writer.totals.last_flush_at = time.time() - age_s
    assert parts.health.status()["status"] == verdict


def test_failing_flushes_dropped_frames_waiting_readers_and_a_full_disk_are_issues(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged, "LITTLE_DISK_BYTES", 1 << 62)
    parts.health.sample()
    parts.writer.totals.last_error = "No space left on device"
    parts.inbox.dropped[MARKET, "partialDepth"] = 3
    parts.inbox.open.clear()
    parts.inbox.last_error = "Input/output error"
    parts.health.sample()
    found = {condition.key: condition for condition in parts.health.conditions()}
    assert found["flush failing"].message == "the last flush failed: No space left on device"
    assert found[f"dropped {MARKET}"].message.startswith("binance_futures: 3 frames")
    assert "reading waits" in found
    assert "Input/output error" in found["journal failing"].message
    assert "left on the disk" in found["disk space"].message
    assert {condition.level for condition in found.values()} == {judged.Level.HIGH}


def test_a_broken_store_and_a_nearly_full_disk_are_critical_and_come_first(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.reader.connections[0].connected, parts.reader.connections[0].last_error = False, "reset by peer"
    assert parts.health.status()["status"] == "DEGRADED"
    parts.writer.broken = RuntimeError("invalidated")
    assert parts.issues[0] == "the store is broken: invalidated"
    assert parts.health.status()["status"] == "CRITICAL"
    parts.writer.broken = None
    monkeypatch.setattr(judged, "VERY_LITTLE_DISK_BYTES", 1 << 62)
    monkeypatch.setattr(judged, "LITTLE_DISK_BYTES", 1 << 62)
    assert "left on the disk" in parts.issues[0]
    assert parts.health.status()["status"] == "CRITICAL"


def test_few_rows_after_the_start_are_an_issue(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "GRACE_S", -1.0)
    assert parts.issues == ["only 0 rows in the last minute"]
    for connection in parts.reader.connections:
        connection.connected = False
    assert parts.issues[0] == "no socket of any market is connected"
    parts.readers.clear()
    assert parts.issues == []


def test_gaps_and_resyncs_are_told_without_a_verdict_and_pass(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(figures.time, "monotonic", lambda: clock[0])
    subscription = next(iter(parts.reader.connections[0].subscriptions.values()))
    parts.health.sample()
    clock[0], subscription.resyncs = 5.0, 1
    parts.writer.totals.gaps[MARKET, "trades"] = 1
    parts.health.sample()
    status = parts.health.status()
    assert (status["status"], len(status["issues"])) == ("HEALTHY", 2)
    for second in (30.0, 65.0, 70.0):
        clock[0] = second
        parts.health.sample()
    assert parts.issues == []


def test_polls_that_fail_again_and_again_are_the_worse(parts: Parts) -> None:
    parts.reader.polls.change(parts.reader.plan.exchange.polls(("BTCUSDT",), ("open_interest",)))
    polled = parts.reader.polls.polled[0]
    for failures, levels in ((1, []), (2, [judged.Level.MEDIUM]), (10, [judged.Level.HIGH])):
        polled.failures, polled.reason = failures, "503"
        assert [condition.level for condition in parts.health.conditions()] == levels


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
    assert parts.health.status()["health"]["records_per_minute"] == 120.0


def test_rates_forget_what_is_older_than_a_minute_and_know_nothing_at_first() -> None:
    rates = Rates()
    assert rates.per_minute("x") == 0.0
    for second, total in [(0, 0), (5, 1000), (60, 1000), (65, 1000), (70, 1010)]:
        rates.sample({"x": total}, float(second))
    assert rates.per_minute("x") == pytest.approx(10 * 60 / 65)
