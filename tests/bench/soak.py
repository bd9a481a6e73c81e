"""Whether memory stays flat: ``python -m tests.bench.soak --minutes 30``.

A simulator of all markets and a daemon run for so long. Resident memory is sampled, and a line fitted to it by least
squares once the warm-up is over; beside it the frames that wait, the lag and the CPU share.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from orderflow_streaming.simulator.dialects import DIALECTS
from tests.bench.watching import Sample, collecting, watched

WARM_UP_SHARE, LONGEST_WARM_UP_S = 0.2, 300.0
ROWS = 12
"""Lines of the printed table."""


def soak(minutes: float, markets: Sequence[str], activity: float) -> dict[str, Any]:
    """Figures of a run; memory in MB, times in seconds."""
    seconds = minutes * 60
    with (
        tempfile.TemporaryDirectory() as name,
        collecting(Path(name), markets, "--activity", activity) as (simulation, daemon),
    ):
        samples = watched(simulation, daemon, seconds, every_s=max(1.0, min(5.0, seconds / 100)))
    start = samples[0].at
    warm_up_s = min(LONGEST_WARM_UP_S, seconds * WARM_UP_SHARE)
    steady = [sample for sample in samples if sample.at - start >= warm_up_s]
    first, last = steady[0], steady[-1]
    elapsed_s = last.at - first.at
    lags = [sample.lag_ms for sample in steady if sample.lag_ms is not None]
    return {
        "markets": len(markets),
        "minutes": round((samples[-1].at - start) / 60, 1),
        "warm_up_s": round(warm_up_s),
        "frames_per_s": round((last.frames - first.frames) / elapsed_s),
        "cpu_cores": round((last.cpu_s - first.cpu_s) / elapsed_s, 3),
        "rss_mb_after_warm_up": round(first.rss_mb),
        "rss_mb_at_end": round(last.rss_mb),
        "rss_mb_largest": round(max(sample.rss_mb for sample in samples)),
        "slope_mb_per_h": round(slope_mb_per_h(steady), 1),
        "pending_largest": max(sample.pending for sample in steady),
        "flush_s_median": round(median(sample.flush_s for sample in steady), 3),
        "flush_s_largest": round(max(sample.flush_s for sample in steady), 3),
        "lag_ms_p99_median": round(median(lags), 1) if lags else None,
        "lag_ms_p99_largest": round(max(lags), 1) if lags else None,
        "dropped": last.dropped,
        "gaps": last.gaps,
        "rejected": last.rejected,
        "duplicates": last.duplicates,
        "rows_stored": last.stored,
        "samples": [
            {"s": round(sample.at - start, 1), "rss_mb": round(sample.rss_mb, 1), "pending": sample.pending}
            for sample in samples
        ],
    }


def slope_mb_per_h(samples: Sequence[Sample]) -> float:
    """Slope of the least-squares line through resident memory."""
    hours = np.array([sample.at for sample in samples]) / 3600
    memory = np.array([sample.rss_mb for sample in samples])
    slope, _ = np.polyfit(hours - hours[0], memory, 1)
    return float(slope)


def _printed(result: dict[str, Any]) -> Table:
    table = Table("s", "rss_mb", "pending", title="soak", title_justify="left")
    samples = result["samples"]
    for one in samples[:: max(1, len(samples) // ROWS)]:
        table.add_row(f"{one['s']:.0f}", f"{one['rss_mb']:.0f}", f"{one['pending']:,}")
    return table


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--activity", type=float, default=1.0, help="of the simulated market; 1 is about the real one")
    parser.add_argument("--markets", default=",".join(DIALECTS), help="separated by commas")
    given = parser.parse_args(arguments)
    result = soak(given.minutes, given.markets.split(","), given.activity)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 150)
    console.print(_printed(result))
    console.print(", ".join(f"{name} {value}" for name, value in result.items() if name != "samples"))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
