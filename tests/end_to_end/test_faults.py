"""What goes wrong on sockets, disks and clocks loses nothing that can be had again and stores nothing twice."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orderflow_streaming.store import connect
from orderflow_streaming.writing.storing import Storage
from tests.end_to_end.faults import (
    Account,
    account,
    await_whole,
    collecting,
    full_disk,
)
from tests.streaming.processes import Daemon, Simulation, running, wait_for

pytestmark = pytest.mark.slow

STALL_S = float(os.environ.get("ORDERFLOW_FAULT_STALL_S", "6"))


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("simulation")
    with running(Simulation(folder, "--symbols", "BTCUSDT,ETHUSDT", "--activity", 12)) as simulation:
        yield simulation


def more_trades(daemon: Daemon, rows: int = 60) -> None:
    before = daemon.count("trades")
    wait_for(lambda: daemon.count("trades") >= before + rows, what="stored trades")


def settled(fault: str, daemon: Daemon, simulation: Simulation, accounts: list[Account]) -> Account:
    """Collect a little longer, end the daemon and take stock."""
    more_trades(daemon)
    await_whole(daemon.data_dir)
    assert daemon.end() == 0
    accounts.append(account(fault, daemon.data_dir, simulation, daemon.connections))
    return accounts[-1]


def assert_nothing_lost(result: Account) -> None:
    assert result.stored > 100
    assert (result.lost, result.duplicated) == (0, 0)
    assert (result.states_unexplained, result.states_duplicated) == (0, 0)


def started(folder: Path, simulation: Simulation) -> Daemon:
    daemon = Daemon(folder, simulation, "--symbols", "BTCUSDT,ETHUSDT")
    more_trades(daemon)
    return daemon


def dropped_sockets(simulation: Simulation, daemon: Daemon) -> None:
    for _ in range(3):
        simulation.fault(fault="drop")
        time.sleep(2)


def lost_frames(simulation: Simulation, daemon: Daemon) -> None:
    simulation.fault(fault="skip", topic="btcusdt@aggTrade", count=7)
    more_trades(daemon, 30)
    simulation.fault(fault="skip", topic="ethusdt@aggTrade", count=1)


def broken_frames(simulation: Simulation, daemon: Daemon) -> None:
    for kind in ("truncated", "types", "huge"):
        simulation.fault(fault="malformed", kind=kind, topic="btcusdt@aggTrade", count=2)
        simulation.fault(fault="malformed", kind=kind, topic="ethusdt@bookTicker", count=2)


def repeated_frames(simulation: Simulation, daemon: Daemon) -> None:
    simulation.fault(fault="duplicate", count=400)


def refused_topics(simulation: Simulation, daemon: Daemon) -> None:
    simulation.fault(fault="refuse", topic="btcusdt@ticker", count=3)
    simulation.fault(fault="drop")
    wait_for(lambda: daemon.status()["unavailable"], what="a refused topic in the status")


def too_many_requests(simulation: Simulation, daemon: Daemon) -> None:
    simulation.fault(fault="rate_limit", seconds=3, status=429)
    simulation.fault(fault="skip", topic="btcusdt@aggTrade", count=3)


def stopped_process(simulation: Simulation, daemon: Daemon) -> None:
    daemon.send(signal.SIGSTOP)
    time.sleep(STALL_S)
    daemon.send(signal.SIGCONT)


def no_room_on_the_disk(simulation: Simulation, daemon: Daemon) -> None:
    with full_disk(daemon.pid):
        wait_for(lambda: daemon.status()["health"]["errors"] > 1, what="errors of the full disk")


@pytest.mark.parametrize(
    ("fault", "disturb"),
    [
        ("socket dropped every 2 s", dropped_sockets),
        ("frames lost on the way", lost_frames),
        ("malformed and huge frames", broken_frames),
        ("frames sent twice", repeated_frames),
        ("topic refused", refused_topics),
        ("429 while refilling", too_many_requests),
        ("process stopped", stopped_process),
        ("disk full", no_room_on_the_disk),
    ],
)
def test_a_running_daemon_loses_nothing_that_can_be_had_again(
    fault: str,
    disturb: Callable[[Simulation, Daemon], None],
    tmp_path: Path,
    simulation: Simulation,
    accounts: list[Account],
) -> None:
    with running(started(tmp_path, simulation)) as daemon:
        disturb(simulation, daemon)
        assert_nothing_lost(settled(fault, daemon, simulation, accounts))


def killed(daemon: Daemon) -> None:
    daemon.kill()


def killed_and_torn(daemon: Daemon) -> None:
    """As after a power cut: the ends of the files that were written last are missing."""
    daemon.kill()
    for pattern, size in (("journal/*.journal", 700), ("*.wal", 900)):
        for path in sorted(daemon.data_dir.glob(pattern))[-1:]:
            os.truncate(path, max(0, path.stat().st_size - size))


@pytest.mark.parametrize(
    ("fault", "end"), [("kill -9 while flushing", killed), ("power cut: journal and WAL torn", killed_and_torn)]
)
def test_a_killed_daemon_goes_on_where_it_was(
    fault: str,
    end: Callable[[Daemon], None],
    tmp_path: Path,
    simulation: Simulation,
    accounts: list[Account],
) -> None:
    with running(started(tmp_path, simulation)) as daemon:
        earlier = daemon.connections
        end(daemon)
    with running(started(tmp_path, simulation)) as daemon:
        result = settled(fault, daemon, simulation, accounts)
    assert earlier
    assert_nothing_lost(result)


def test_a_store_that_stands_still_loses_nothing(
    tmp_path: Path, simulation: Simulation, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, stalled = Storage.store, []

    def slowly(self: Storage, *given: Any, **named: Any) -> Any:
        if not stalled:
            stalled.append(time.monotonic())
            time.sleep(STALL_S)
        return storing(self, *given, **named)

    with collecting(tmp_path, simulation) as connections:
        counted(tmp_path, 60)
        monkeypatch.setattr(Storage, "store", slowly)
        wait_for(lambda: stalled, what="a flush")
        counted(tmp_path, 200, timeout_s=STALL_S + 60)
    accounts.append(account(f"store stalled {STALL_S:g} s", tmp_path, simulation, connections))
    assert_nothing_lost(accounts[-1])


def test_a_clock_that_jumps_loses_nothing(
    tmp_path: Path, simulation: Simulation, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, offset = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: now() + offset[0])
    with collecting(tmp_path, simulation) as connections:
        for hours in (0, 1, -2, 0):
            offset[0] = hours * 3_600 * 10**9
            counted(tmp_path, 60)
    accounts.append(account("clock jumps by hours", tmp_path, simulation, connections))
    assert_nothing_lost(accounts[-1])


def test_names_that_cannot_be_resolved_for_a_while_lose_nothing(
    tmp_path: Path, simulation: Simulation, accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked = socket.getaddrinfo, []

    def unresolved(host: Any, *given: Any, **named: Any) -> Any:
        if host == "localhost":
            asked.append(host)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(host, *given, **named)

    with collecting(tmp_path, simulation) as connections:
        counted(tmp_path, 60)
        monkeypatch.setattr(socket, "getaddrinfo", unresolved)
        simulation.fault(fault="drop")
        wait_for(lambda: len(asked) > 1, what="attempts to resolve the name")
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        counted(tmp_path, 60)
        await_whole(tmp_path)
    accounts.append(account("DNS failure", tmp_path, simulation, connections))
    assert_nothing_lost(accounts[-1])


def counted(data_dir: Path, rows: int, *, timeout_s: float = 30.0) -> None:
    """Wait until so many more trades are stored."""
    with connect(data_dir, embedded=False) as store:

        def count() -> int:
            return int(store.query("SELECT count(*) AS n FROM trades")["n"][0].as_py())

        before = count()
        wait_for(lambda: count() >= before + rows, timeout_s, what="stored trades")
