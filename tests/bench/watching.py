"""A simulator and a daemon as processes of their own, and what the daemon uses while it runs."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orderflow_streaming.store import StoreError
from tests.streaming.processes import Daemon, Simulation, running

PUSHED = ("prices", "orderbooks", "trades")
"""Streams whose rows are sent the moment they happen; polled figures are as old as the venue makes them."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of the daemon at one instant; sums are since its start."""

    at: float
    """Seconds of a clock that only runs forward."""
    cpu_s: float
    rss_mb: float
    frames: int
    """Sent by the simulator."""
    pending: int
    """Frames that are read and not stored yet, in memory or in the journal."""
    flush_s: float
    lag_ms: float | None
    """Largest p99, over markets and pushed streams, of receive time minus event time in the last flush."""
    dropped: int
    gaps: int
    rejected: int
    duplicates: int
    stored: int
    is_live: bool
    """Whether the simulator has sent all of the history."""


def sample(simulation: Simulation, daemon: Daemon) -> Sample | None:
    """None where the daemon did not answer in time."""
    try:
        status = daemon.status()
    except StoreError:
        return None
    sent = simulated(simulation)
    streams, writer = status["streams"], status["writer"]
    lags = [
        stream["lag_ms_p99"] for stream in streams if stream["stream"] in PUSHED and stream["lag_ms_p99"] is not None
    ]

    def total(name: str) -> int:
        return sum(market[name] for market in status["markets"])

    return Sample(
        at=time.monotonic(),
        cpu_s=cpu_s(daemon.pid),
        rss_mb=rss_mb(daemon.pid),
        frames=sent["frames_total"],
        pending=writer["pending_records"] + writer["unsynced_records"],
        flush_s=writer["last_flush_seconds"],
        lag_ms=max(lags, default=None),
        dropped=total("dropped"),
        gaps=total("gaps"),
        rejected=writer["quarantined"],
        duplicates=total("duplicates"),
        stored=total("rows_stored"),
        is_live=sent["mode"] == "paced",
    )


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def simulated(simulation: Simulation) -> Mapping[str, Any]:
    """What the simulator says of itself."""
    with urllib.request.urlopen(f"{simulation.url}/control/status", timeout=10) as answer:
        status: Mapping[str, Any] = json.loads(answer.read())
        return status


@contextmanager
def collecting(folder: Path, markets: Sequence[str], *options: object) -> Iterator[tuple[Simulation, Daemon]]:
    """A daemon that collects ``markets`` of a simulator started with ``options``."""
    chosen = [part for market in markets for part in ("--market", market)]
    with running(Simulation(folder, *chosen, *options)) as simulation:
        flags = ("--markets", ",".join(markets), "--http-port", "off", "--flush-interval", 5)
        with running(Daemon(folder, simulation, *flags)) as daemon:
            yield simulation, daemon


def watched(simulation: Simulation, daemon: Daemon, seconds: float, every_s: float = 1.0) -> list[Sample]:
    """Samples over so many seconds."""
    taken = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (now := sample(simulation, daemon)) is not None:
            taken.append(now)
        time.sleep(every_s)
    return taken
