"""The daemon: owns the store, collects what the settings ask for, and ends without losing anything."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import Any

from orderflow_streaming import markets, schema
from orderflow_streaming.collector import Collector, plans
from orderflow_streaming.gathering import gathering_loop
from orderflow_streaming.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import StoreUnavailableError
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.storing import stored_mark
from orderflow_streaming.writer import Writer

log = logging.getLogger(__name__)

FORCED = 130
"""Exit code after a second signal."""
_FLUSH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What is known at the end."""

    uptime_s: float
    expected: int
    """Isolated tables of the configured markets."""
    filled: int
    rows: int
    """Rows of these, ever."""
    stored: int
    """Rows stored by this process."""
    duplicates: int
    rejected: int
    gaps: int
    reconnects: int


class Daemon:
    """Once built, the store is open and has everything the journal held; :meth:`run` collects."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreLockedError, StoreUnavailableError, PortInUseError and UnknownNameError."""
        self.settings = settings
        self.plans = plans(settings)
        self._collector: Collector | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = 0
        self._engine = Engine(
            database_path(settings.data_dir), memory_limit=settings.store_memory_limit, threads=settings.store_threads
        )
        try:
            self._server = StoreServer(
                self._engine, settings.data_dir, host=settings.store_host, port=settings.store_port
            )
            self._open()
        except BaseException:
            self._engine.close()
            raise

    @property
    def address(self) -> str:
        return f"{self._server.endpoint.host}:{self._server.endpoint.port}"

    def run(self, started: Callable[[], None] = lambda: None) -> Report:
        """Collect until a signal or the ``stop`` action; ``started`` is called when clients can connect.

        Raises NoMarketReachedError and StoreBrokenError, after everything was closed.
        """
        with ExitStack() as closing:
            for close in (self._engine.close, self._writer.prune, self._journal.close):
                closing.callback(close)
            self._heed_signals(closing)
            self._server.start()
            self._writer.start()
            for end in (self._server.stop, self._checkpoint, self._writer.stop):
                closing.callback(end)
            with asyncio.Runner(loop_factory=gathering_loop) as runner:
                runner.run(self._collect(started))
        return self._report()

    # -- opening ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        settings = self.settings
        self._journal = Journal(
            settings.data_dir / "journal",
            segment_bytes=settings.journal_segment_mb << 20,
            after=stored_mark(self._engine).segment,
        )
        self._writer = Writer(
            self._engine,
            self._journal,
            interval_s=settings.flush_interval_seconds,
            batch_size=settings.batch_size,
            keep_hours=settings.journal_keep_hours,
            streams=settings.stream_types,
        )
        create_views(self._engine)
        recovered = self._writer.recover()
        if recovered:
            log.info("%d frames of the journal were not stored yet; they are now", recovered)
        self._server.register("status", self._status, "read")
        self._server.register("flush", self._flush, "write")
        self._server.register("stop", self._stop, "write")

    async def _collect(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._collector = Collector(self.settings, self._engine, self._journal, self._writer)
        if self._signals:
            self._collector.stopped.set()
        started()
        await self._collector.run()
        log.info("stopped reading; storing what is left")

    def _heed_signals(self, closing: ExitStack) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                closing.callback(signal.signal, number, signal.signal(number, self._signalled))

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """The first signal ends the reading, the second everything; what is synced is stored at the next start."""
        self._signals += 1
        if self._signals > 1:
            os._exit(FORCED)
        self._stop({})

    # -- actions ---------------------------------------------------------------------------------------

    def _running(self) -> tuple[Collector, asyncio.AbstractEventLoop]:
        if self._collector is None or self._loop is None:
            raise StoreUnavailableError("the daemon is starting. Try again in a moment.")
        return self._collector, self._loop

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        collector, _loop = self._running()
        place = {"store": self.address, "database": str(self._engine.path)}
        return collector.health.status() | place

    def _flush(self, _: dict[str, Any]) -> dict[str, Any]:
        collector, loop = self._running()
        if collector.health.stopping:
            raise StoreUnavailableError("the daemon is stopping, and stores everything before it ends.")
        flushing = asyncio.run_coroutine_threadsafe(collector.flush(), loop)
        try:
            stored = flushing.result(_FLUSH_TIMEOUT_S)
        except TimeoutError:
            stored = False
        return {"stored": stored, "pending": self._writer.pending}

    def _stop(self, _: dict[str, Any]) -> dict[str, Any]:
        if self._collector is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._collector.stopped.set)
        return {"stopping": True}

    def _checkpoint(self) -> None:
        if not self._writer.broken:
            self._engine.checkpoint()

    def _report(self) -> Report:
        totals = self._writer.totals
        expected = {
            (stream, (symbol, plan.exchange.market.exchange, plan.exchange.market.market_type))
            for plan in self.plans
            for stream in plan.streams
            for symbol in self.settings.symbols
        }
        rows = {key: count for key, count in self._writer.storage.ledger.rows().items() if key in expected and count}
        health = self._collector.health if self._collector else None
        return Report(
            uptime_s=health.uptime_s if health else 0.0,
            expected=len(expected),
            filled=len(rows),
            rows=sum(rows.values()),
            stored=sum(tally.stored for tally in totals.tallies.values()),
            duplicates=sum(tally.duplicates for tally in totals.tallies.values()),
            rejected=sum(totals.rejected.values()),
            gaps=sum(totals.gaps.values()),
            reconnects=health.reconnects if health else 0,
        )


def create_views(engine: Engine) -> None:
    """The isolated name of every declared symbol, market and stream, over the stream tables."""
    with engine.transaction() as cursor:
        for market in markets.MARKETS.values():
            for symbol in market.symbols:
                for stream in market.streams:
                    cursor.execute(schema.STREAMS[stream].view_ddl(symbol, market))
