"""A store with an archive and a writer, for tests that seal what the writer stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from orderflow_streaming.archive.service import Archive
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.recordings.journal import FRAMES, Batch, Journal
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.place import place
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.writing.writer import Writer
from tests.streaming.messages import START_MS, book, candle, interest, mark, quote, trade

HOUR_MS = 3_600_000
FIRST_MS = START_MS // HOUR_MS * HOUR_MS
FIRST = datetime(1970, 1, 1) + timedelta(milliseconds=FIRST_MS)  # noqa: DTZ001
"""Start of the first hour of the tests, naive UTC."""
HOUR = timedelta(hours=1)


class Node:
    """One database with its writer and its archive, as a daemon has them."""

    def __init__(
        self,
        folder: Path,
        archive: Path | str | None,
        *,
        node: str = "alpha",
        retention_hours: float = 1.0,
        market: str = "binance_futures",
    ) -> None:
        self.folder, self.market = folder, market
        sealed = place(archive) if archive else None
        folder.mkdir(parents=True, exist_ok=True)
        self.engine = Engine(database_path(folder), memory_limit="512MB", archive=sealed)
        try:
            self.server = StoreServer(self.engine, folder)
            self.archive = Archive(self.engine, sealed, node=node, retention_hours=retention_hours)
            self.journal = Journal(folder / "journal")
            self.writer = Writer(self.engine, self.journal)
        except BaseException:
            self.engine.close()
            raise
        self.archive.register(self.server)

    def store(self, *frames: bytes, received_ms: int | None = None) -> None:
        received = (FIRST_MS + 25 if received_ms is None else received_ms) * 1000
        batches: dict[str, list[bytes]] = {}
        for frame in frames:
            batches.setdefault(exchange(self.market).route(frame) or "unplaced", []).append(frame)
        moment = pa.array([received], pa.timestamp("us"))[0]
        self.journal.append(
            Batch(self.market, channel, pa.record_batch([pa.repeat(moment, len(raw)), raw], schema=FRAMES))
            for channel, raw in batches.items()
        )
        self.writer.recover()

    def act(self, name: str, **body: Any) -> dict[str, Any]:
        handler, _ = self.server.action(name)
        return handler(body)

    def seal(self, hour: int = 0, stream: str | None = None) -> dict[str, dict[str, Any]]:
        """Seal hour number ``hour``; what was done by stream."""
        body = {"hour": (FIRST + hour * HOUR).isoformat(), "stream": stream}
        return {done["stream"]: done for done in self.act("seal", **body)["hours"]}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        schema, batches = self.engine.read(sql)
        return [tuple(row.values()) for row in pa.Table.from_batches(list(batches), schema).to_pylist()]

    def count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) FROM {table}")[0][0]

    def close(self) -> None:
        self.archive.stop()
        self.writer.stop()
        self.journal.close()
        self.engine.close()


@contextmanager
def opened(folder: Path, archive: Path | str | None, **named: Any) -> Iterator[Node]:
    node = Node(folder, archive, **named)
    try:
        yield node
    finally:
        node.close()


def hour_of_everything(hour: int, trades: int = 40) -> list[bytes]:
    """Frames of every kind in one hour, trades of two symbols spread over it."""
    start = FIRST_MS + hour * HOUR_MS
    step = HOUR_MS // trades
    symbols = ("BTCUSDT", "ETHUSDT")
    frames = [
        trade(start + n * step, 1_000 * hour + n, price=f"{100 + n}.5", symbol=symbols[n % 2]) for n in range(trades)
    ]
    frames += [quote(start + n * 60_000, 1_000 * hour + n, symbol=symbols[n % 2]) for n in range(30)]
    frames += [book(start + n * 120_000, 1_000 * hour + n) for n in range(20)]
    frames += [mark(start + n * 1_000, rate=f"0.000{n + 1}") for n in range(5)]
    frames += [candle(start + n * 60_000, closed=True) for n in range(5)]
    return [*frames, interest(start + 5_000, f"{1_000 + hour}.0")]
