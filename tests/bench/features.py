"""What an hour of the computed tables costs: CPU and wall time of every layer, memory, growth with the rows.

Ticks of all markets are made for the hours (:mod:`tests.bench.ticks`), an hour before them is computed from ticks and
repeated into the past so that baselines are as long as they will be, and then a process of its own computes hour by
hour against the served store, as a run of the orchestrator does. CPU is that of both processes.

    python -m tests.bench.features --hours 24 --rate 1.0
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from orderflow_assets.bars.series import DAY, HOUR
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.bench.ticks import SERIES, World, windows
from tests.bench.watching import cpu_s

START = datetime(2026, 11, 5)  # noqa: DTZ001
"""Midnight: the first hour holds what is computed once a day."""
RATE, HOURS, HISTORY = 0.1, 2, DAY
SIZES = (0.05, 0.1, 0.2)

SHORTER = {"bars.quotes_1s": DAY + HOUR, "bars.parent_trades": DAY + HOUR, "signals.signals": 7 * DAY}
"""Large tables that are read less far back than the longest baseline of their readers."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One layer's hour. ``peak_mb`` is the highest resident memory of the computing process meanwhile."""

    table: str
    start: datetime
    rows: int
    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Measured:
    ticks: dict[str, int]
    """Rows by stream in all measured hours."""
    spent: list[Spent]

    @property
    def rows(self) -> int:
        return sum(self.ticks.values())

    def of_hour(self, start: datetime) -> list[Spent]:
        return [one for one in self.spent if one.start == start]


@contextmanager
def market(rate: float, hours: int, history: timedelta) -> Iterator[tuple[Path, dict[str, int]]]:
    """A served store with the ticks of ``hours`` and computed tables before them; its folder, and rows by stream."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = Engine(database_path(folder))
        server = StoreServer(engine, folder)
        server.start()
        try:
            with connect(folder, scope="write") as store:
                ticks = filled(store, rate, hours, history)
            engine.checkpoint()
            yield folder, ticks
        finally:
            server.stop()
            engine.close()


def filled(store: Store, rate: float, hours: int, history: timedelta) -> dict[str, int]:
    """Store the ticks of ``hours`` and what was computed before them; rows by stream."""
    world = World(START - HOUR, START + hours * HOUR, rate)
    world.store_into(store, START - HOUR, START)
    for layer in LAYERS:
        layer.compute(store, START - HOUR, START)
    for layer in LAYERS:
        _repeat(store, layer, history)
    return world.store_into(store, START, START + hours * HOUR)


def _repeat(store: Store, layer: Layer, history: timedelta) -> None:
    """Store the rows of the hour before the start again for every hour before it that some layer reads."""
    table = layer.table
    read = max((reader.back(table.qualified) for reader in LAYERS if table.qualified in reader.inputs), default=HOUR)
    back = min(read, history, SHORTER.get(table.qualified, history))
    if layer.every > HOUR or back <= HOUR:
        return
    times = [column.name for column in table.columns if column.type == "TIMESTAMP"]
    moved = ", ".join(f'"{name}" - to_hours(ago) AS "{name}"' for name in times)
    store.insert_select(
        table,
        f"SELECT * EXCLUDE (ago) REPLACE ({moved}) FROM {table.qualified}, range(1, $hours) AS past(ago) "
        f'WHERE "{table.time}" >= $since AND "{table.time}" < $until ORDER BY "{table.time}" - to_hours(ago)',
        {"hours": round(back / HOUR), "since": START - HOUR, "until": START},
    )


def computed(folder: Path, hours: int) -> list[Spent]:
    """Every layer, hour by hour, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_compute, folder, hours, os.getpid()).result()


def _compute(folder: Path, hours: int, server: int) -> list[Spent]:
    spent = []
    with connect(folder, scope="write") as store:
        for start, end in windows(START, START + hours * HOUR, HOUR):
            for layer in LAYERS:
                Path("/proc/self/clear_refs").write_text("5")
                used, began = time.process_time() + cpu_s(server), time.perf_counter()
                rows = layer.compute(store, start, end)
                taken = time.process_time() + cpu_s(server) - used, time.perf_counter() - began
                spent.append(Spent(layer.table.qualified, start, rows, *taken, _peak_mb()))
    return spent


def _peak_mb() -> float:
    """Highest resident memory since it was last cleared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def run(rate: float, hours: int, history: timedelta) -> Measured:
    with market(rate, hours, history) as (folder, ticks):
        return Measured(ticks, computed(folder, hours))


def by_layer(rate: float = RATE, hours: int = HOURS, history: timedelta = HISTORY) -> list[dict[str, Any]]:
    """Cost of each layer in an ordinary hour, at midnight, and in a day of 24 hours; the sum of all first."""
    measured = run(rate, hours, history)
    by_table: dict[str, list[Spent]] = defaultdict(list)
    for one in measured.spent:
        by_table[one.table].append(one)
    rows = [_layer_row(table, spent) for table, spent in by_table.items()]
    summed = ("cpu_s", "wall_s", "midnight_cpu_s", "day_cpu_s")
    total: dict[str, Any] = {
        "layer": f"all {len(rows)}, {len(SERIES)} series, {measured.rows // hours:,} ticks an hour (rate {rate:g})",
        "rows": sum(row["rows"] for row in rows),
        **{name: round(sum(row[name] for row in rows), 2) for name in summed},
        "peak_mb": max(row["peak_mb"] for row in rows),
    }
    return [total, *sorted(rows, key=lambda row: -float(row["day_cpu_s"]))]


def _layer_row(table: str, spent: list[Spent]) -> dict[str, Any]:
    midnight, ordinary = spent[0], spent[1:] or spent
    cpu = sum(one.cpu_s for one in ordinary) / len(ordinary)
    return {
        "layer": table,
        "rows": round(sum(one.rows for one in ordinary) / len(ordinary)),
        "cpu_s": round(cpu, 2),
        "wall_s": round(sum(one.wall_s for one in ordinary) / len(ordinary), 2),
        "midnight_cpu_s": round(midnight.cpu_s, 2),
        "day_cpu_s": round(midnight.cpu_s + 23 * cpu, 1),
        "peak_mb": round(max(one.peak_mb for one in spent)),
    }


def growth(rates: tuple[float, ...] = SIZES, history: timedelta = HISTORY) -> list[dict[str, Any]]:
    """An ordinary hour at several sizes: seconds per million ticks, and what each further million costs."""
    rows: list[dict[str, Any]] = []
    for rate in rates:
        measured = run(rate, 2, history)
        cpu = sum(one.cpu_s for one in measured.of_hour(START + HOUR))
        million = measured.rows / 2e6
        row = {"case": f"an hour, rate {rate:g}", "ticks": round(1e6 * million), "cpu_s": round(cpu, 2)}
        row["cpu_s_per_million"] = round(cpu / million, 2)
        if rows:
            more = million - rows[-1]["ticks"] / 1e6
            row["cpu_s_per_further_million"] = round((cpu - rows[-1]["cpu_s"]) / more, 2)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=HOURS, help="hours from midnight that are computed")
    parser.add_argument("--rate", type=float, default=RATE, help="ticks, 1 is what the real markets send")
    parser.add_argument("--history-days", type=float, default=HISTORY / DAY, help="minute tables before them")
    given = parser.parse_args()
    print(json.dumps(by_layer(given.rate, given.hours, given.history_days * DAY), indent=2))


if __name__ == "__main__":
    main()
