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
from tests.bench.watching import Sample, collecting, watched

PACE = 5_000
"""Frames per second."""
PROBE_S, SETTLE_S, WATCH_S = 8.0, 10.0, 20.0
HISTORY_MINUTES = {1: 12.0, len(DIALECTS): 3.0}
"""Simulated minutes to play at full speed, by number of markets."""
LONGEST_S = 120.0
FEW = 20_000
"""So many frames wait between two flushes at the pace of the real markets."""


def full_speed(markets: Sequence[str]) -> dict[str, Any]:
    """Frames of a history per second until all are stored, and per CPU second of the daemon."""
    minutes = HISTORY_MINUTES[len(markets)]
    samples: list[Sample] = []
    with (
        tempfile.TemporaryDirectory() as name,
        collecting(Path(name), markets, "--history", minutes / 60) as (simulation, daemon),
    ):
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline and not (samples and samples[-1].is_live and samples[-1].pending < FEW):
            samples += watched(simulation, daemon, seconds=0.1, every_s=0.1)
    started = [one for one in samples if one.frames]
    return _figures(f"full speed, {len(markets)} market{'s' * (len(markets) > 1)}", started) | {
        "history_min": minutes,
        "all_stored": started[-1].is_live and started[-1].pending < FEW,
    }


def paced(markets: Sequence[str]) -> dict[str, Any]:
    """CPU share of the daemon at a pace of 5,000 frames per second."""
    speed = PACE / _natural_rate(markets)
    with (
        tempfile.TemporaryDirectory() as name,
        collecting(Path(name), markets, "--speed", f"{speed:.2f}") as (simulation, daemon),
    ):
        watched(simulation, daemon, SETTLE_S)
        samples = watched(simulation, daemon, WATCH_S, every_s=0.5)
        sockets = daemon.status()["active_connections"]
    figures = _figures(f"paced, {len(markets)} markets, {sockets} plain sockets", samples)
    return figures | {"cores_at_5000_per_s": round(PACE / figures["frames_per_cpu_s"], 3)}


def _natural_rate(markets: Sequence[str]) -> float:
    """Frames per second of the markets at the pace of the real ones."""
    with tempfile.TemporaryDirectory() as name, collecting(Path(name), markets) as (simulation, daemon):
        watched(simulation, daemon, 3.0)
        samples = watched(simulation, daemon, PROBE_S)
    first, last = samples[0], samples[-1]
    return (last.frames - first.frames) / (last.at - first.at)


def _figures(case: str, samples: Sequence[Sample]) -> dict[str, Any]:
    first, last = samples[0], samples[-1]
    elapsed_s, frames, cpu_s = last.at - first.at, last.frames - first.frames, last.cpu_s - first.cpu_s
    return {
        "case": case,
        "frames": frames,
        "frames_per_s": round(frames / elapsed_s),
        "frames_per_cpu_s": round(frames / cpu_s),
        "cpu_cores": round(cpu_s / elapsed_s, 2),
        "pending_largest": max(one.pending for one in samples),
        "flush_s_largest": max(one.flush_s for one in samples),
        "rss_mb_largest": round(max(one.rss_mb for one in samples)),
        "dropped": last.dropped,
        "gaps": last.gaps,
        "rejected": last.rejected,
    }


def measure() -> list[dict[str, Any]]:
    every = list(DIALECTS)
    return [full_speed(every[:1]), full_speed(every), paced(every)]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
