"""The whole daemon against the simulator: how fast it goes, and what 5,000 frames a second cost it.

At full speed the simulator plays history as fast as the daemon takes it; then it sends at a pace over all sockets of
the markets. Frames are counted where they are sent and where they are stored.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orderflow_streaming.simulator.dialects import DIALECTS
from tests.bench.watching import Sample, collecting, sample, simulated, watched

PACE = 5_000
"""Frames per second."""
PROBE_S, SETTLE_S, WATCH_S = 8.0, 10.0, 20.0
HISTORY_MINUTES = {1: 12.0, len(DIALECTS): 3.0}
"""Simulated minutes to play at full speed, by number of markets."""
LONGEST_S = 120.0


def full_speed(markets: Sequence[str]) -> dict[str, Any]:
    """Frames per second from the first to the last frame of the history, and per CPU second of the daemon."""
    minutes = HISTORY_MINUTES[len(markets)]
    with (
        tempfile.TemporaryDirectory() as name,
        collecting(Path(name), markets, "--history", minutes / 60) as (simulation, daemon),
    ):
        samples: list[Sample] = []
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline and simulated(simulation)["mode"] != "paced":
            if (now := sample(daemon)) is not None:
                samples.append(now)
            time.sleep(0.2)
        finished = simulated(simulation)["mode"] == "paced"
    running = [one for one in samples if one.messages]
    first, last = running[0], running[-1]
    frames, cpu_s = last.messages - first.messages, last.cpu_s - first.cpu_s
    return {
        "case": f"full speed, {len(markets)} market{'s' if len(markets) > 1 else ''}",
        "finished": finished,
        "frames": frames,
        "frames_per_s": round(frames / (last.at - first.at)),
        "frames_per_cpu_s": round(frames / cpu_s),
        "cpu_cores": round(cpu_s / (last.at - first.at), 2),
        "pending_largest": max(one.pending for one in running),
        "dropped": last.dropped,
        "gaps": last.gaps,
        "rejected": last.rejected,
    }


def paced(markets: Sequence[str]) -> dict[str, Any]:
    """CPU share of the daemon at a pace of 5,000 frames per second."""
    speed = PACE / _natural_rate(markets)
    with (
        tempfile.TemporaryDirectory() as name,
        collecting(Path(name), markets, "--speed", f"{speed:.2f}") as (_, daemon),
    ):
        watched(daemon, SETTLE_S)
        samples = watched(daemon, WATCH_S, every_s=0.5)
        sockets = daemon.status()["active_connections"]
    first, last = samples[0], samples[-1]
    elapsed_s, frames = last.at - first.at, last.messages - first.messages
    cpu_s = last.cpu_s - first.cpu_s
    return {
        "case": f"paced, {len(markets)} markets, {sockets} plain sockets",
        "frames": frames,
        "frames_per_s": round(frames / elapsed_s),
        "frames_per_cpu_s": round(frames / cpu_s),
        "cpu_cores": round(cpu_s / elapsed_s, 3),
        "cores_at_5000_per_s": round(cpu_s / frames * PACE, 3),
        "pending_largest": max(one.pending for one in samples),
        "dropped": last.dropped,
        "gaps": last.gaps,
        "rejected": last.rejected,
    }


def _natural_rate(markets: Sequence[str]) -> float:
    """Frames per second of the markets at the pace of the real ones."""
    with tempfile.TemporaryDirectory() as name, collecting(Path(name), markets) as (_, daemon):
        watched(daemon, 3.0)
        samples = watched(daemon, PROBE_S)
    first, last = samples[0], samples[-1]
    return (last.messages - first.messages) / (last.at - first.at)


def measure() -> list[dict[str, Any]]:
    every = list(DIALECTS)
    return [full_speed(every[:1]), full_speed(every), paced(every)]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
