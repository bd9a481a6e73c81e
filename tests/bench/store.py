"""The store under load: what a flush costs beside the bare insert of its rows, and what readers feel meanwhile."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pyarrow as pa

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.recordings.journal import FRAMES, Batch, Journal
from orderflow_streaming.schema import INSTRUMENTS, STREAMS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.writing.storing import Stored
from orderflow_streaming.writing.writer import Writer
from tests.bench.normalize import MARKET, START_US
from tests.bench.simulated import flushes

FLUSH_ROWS, ROUNDS = 10_000, 7
FLUSH_S, WARM_FLUSHES = 5.0, 4
"""The first flushes plan the statements that the later ones run."""
INGEST_FRAMES_PER_S, READ_S = 5_000, 8.0

POINT = "SELECT * FROM btcusdt_binance_futures_prices ORDER BY timestamp DESC LIMIT 1"
BARS = """SELECT time_bucket(INTERVAL 1 MINUTE, timestamp) AS minute, first(price ORDER BY timestamp), max(price),
min(price), last(price ORDER BY timestamp), sum(quantity) FROM btcusdt_binance_futures_trades GROUP BY minute"""


def chunks(size: int, count: int) -> list[list[Batch]]:
    """``count`` times about ``size`` consecutive simulated frames, batched by channel as the daemon does."""
    route = exchange(MARKET).route
    stream = frames(1, START_US, START_US + 3_600_000_000)
    made = []
    for _ in range(count):
        by_channel: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for when_us, _, frame in islice(stream, size):
            by_channel[str(route(frame))].append((when_us, frame))
        made.append([_batch(channel, rows) for channel, rows in by_channel.items()])
    return made


def _batch(channel: str, rows: list[tuple[int, bytes]]) -> Batch:
    times = pa.array([when for when, _ in rows], pa.timestamp("us"))
    return Batch(MARKET, channel, pa.record_batch([times, pa.array([raw for _, raw in rows])], schema=FRAMES))


def flush() -> list[dict[str, Any]]:
    """Median CPU of journal-to-store for 10,000 rows over all tables, and of the bare Arrow insert of the same rows."""
    ours, steps, bare, rows = [], [], [], []

    def timed(store: Callable[..., Stored]) -> Callable[..., Stored]:
        def step(*arguments: Any, **options: Any) -> Stored:
            started = time.process_time()
            stored = store(*arguments, **options)
            steps.append(time.process_time() - started)
            return stored

        return step

    with tempfile.TemporaryDirectory() as folder:
        engine, journal = Engine(Path(folder) / "ours.duckdb"), Journal(Path(folder) / "journal")
        writer = Writer(engine, journal)
        writer.storage.store = timed(writer.storage.store)  # type: ignore[method-assign]
        plain = Engine(Path(folder) / "bare.duckdb")
        plain.ensure(*(stream.table for stream in STREAMS.values()))
        last = dict.fromkeys(STREAMS, 0)
        for batches in chunks(FLUSH_ROWS, WARM_FLUSHES + ROUNDS):
            journal.append(batches)
            started = time.process_time()
            writer.recover()
            ours.append(time.process_time() - started)
            fresh = {name: _rows_after(engine, name, last[name]) for name in STREAMS}
            last |= {name: last[name] + table.num_rows for name, table in fresh.items()}
            rows.append(sum(table.num_rows for table in fresh.values()))
            started = time.process_time()
            with plain.transaction() as cursor:
                for name, table in fresh.items():
                    cursor.register("incoming", table)
                    cursor.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM incoming')
            bare.append(time.process_time() - started)
        writer.stop()
        journal.close()
        engine.close()
        plain.close()
    base = median(bare[WARM_FLUSHES:])
    return [
        {
            "case": case,
            "rows": round(median(rows[WARM_FLUSHES:])),
            "cpu_ms": round(median(taken[WARM_FLUSHES:]) * 1000, 1),
            "bare_insert_cpu_ms": round(base * 1000, 1),
            "ratio": round(median(taken[WARM_FLUSHES:]) / base, 2),
        }
        for case, taken in (("flush, decode included", ours), ("flush, the store step of it", steps))
    ]


def flush_of_all_markets() -> list[dict[str, Any]]:
    """Median CPU of storing what five seconds of all markets bring: many small batches, one per market and channel."""
    known, made = flushes(list(DIALECTS), FLUSH_S, WARM_FLUSHES + ROUNDS)
    spent, frames = [], []
    with tempfile.TemporaryDirectory() as folder:
        engine, journal = Engine(Path(folder) / "ours.duckdb"), Journal(Path(folder) / "journal")
        writer = Writer(engine, journal)
        with engine.transaction() as cursor:
            cursor.register("known", known)
            cursor.execute(f"INSERT INTO {INSTRUMENTS.qualified} BY NAME SELECT * FROM known")
        for batches in made:
            journal.append(batches)
            started = time.process_time()
            frames.append(writer.recover())
            spent.append(time.process_time() - started)
        rejected = writer.totals.rejected.total()
        writer.stop()
        journal.close()
        engine.close()
    cost = median(spent[WARM_FLUSHES:])
    return [
        {
            "case": f"flush of {len(DIALECTS)} markets every {FLUSH_S:g} s, {len(made[-1])} channels",
            "frames": round(median(frames[WARM_FLUSHES:])),
            "rejected": rejected,
            "cpu_ms": round(cost * 1000, 1),
            "cpu_ms_per_channel": round(cost * 1000 / len(made[-1]), 1),
            "cores": round(cost / FLUSH_S, 3),
        }
    ]


def _rows_after(engine: Engine, name: str, identity: int) -> pa.Table:
    schema, batches = engine.read(f'SELECT * FROM "{name}" WHERE id > ?', [identity])
    return pa.Table.from_batches(list(batches), schema)


def readers() -> list[dict[str, Any]]:
    """Latency of a point query and of a market's minute bars over Flight, idle and while 5,000 frames/s are stored."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        engine, journal = Engine(database_path(data_dir)), Journal(data_dir / "journal")
        server, writer = StoreServer(engine, data_dir), Writer(engine, journal, interval_s=1.0)
        server.start()
        for name in ("prices", "trades"):
            engine.cursor().execute(STREAMS[name].view_ddl("BTCUSDT", MARKETS[MARKET]))
        made = chunks(INGEST_FRAMES_PER_S, 40)
        for batches in made[:25]:
            journal.append(batches)
        writer.recover()
        writer.start()
        with connect(data_dir) as store:
            idle = {name: _latencies(store, sql) for name, sql in (("point query", POINT), ("minute bars", BARS))}
            feeder = threading.Thread(target=_feed, args=(journal, writer, made[25:]))
            feeder.start()
            busy = {name: _latencies(store, sql) for name, sql in (("point query", POINT), ("minute bars", BARS))}
            feeder.join()
        writer.stop()
        server.stop()
        journal.close()
        engine.close()
    return [
        {
            "case": f"reader, {name}",
            "idle_p50_ms": round(idle[name][0], 1),
            "idle_p99_ms": round(idle[name][1], 1),
            "ingesting_p50_ms": round(busy[name][0], 1),
            "ingesting_p99_ms": round(busy[name][1], 1),
            "ratio": round(busy[name][1] / idle[name][1], 2),
        }
        for name in idle
    ]


def _feed(journal: Journal, writer: Writer, made: list[list[Batch]]) -> None:
    for batches in made:
        due = time.monotonic() + 1.0
        journal.append(batches)
        writer.synced(sum(batch.frames.num_rows for batch in batches))
        time.sleep(max(0.0, due - time.monotonic()))


def _latencies(store: Store, sql: str) -> tuple[float, float]:
    """Median and 99th percentile in ms."""
    taken = []
    until = time.monotonic() + READ_S * 0.9
    while time.monotonic() < until:
        started = time.perf_counter()
        store.query(sql)
        taken.append((time.perf_counter() - started) * 1000)
    return median(taken), quantiles(taken, n=100)[98]


def measure() -> list[dict[str, Any]]:
    return [*flush(), *flush_of_all_markets(), *readers()]
