"""The daemon: owns the store, collects what the settings ask for, and ends without losing anything."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from types import FrameType

from orderflow_streaming.actions import Actions
from orderflow_streaming.archive.continuous import create_views
from orderflow_streaming.archive.service import Archive
from orderflow_streaming.markets import table_name
from orderflow_streaming.past.backfilling import Backfilling
from orderflow_streaming.reading.collector import Collector
from orderflow_streaming.reading.gathering import gathering_loop
from orderflow_streaming.reading.market_reader import Plan, plans
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.place import place
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.watching import coverage, web
from orderflow_streaming.watching.alerting import Alerting
from orderflow_streaming.writing.series import Identity
from orderflow_streaming.writing.storing import stored_mark
from orderflow_streaming.writing.writer import Writer

log = logging.getLogger(__name__)

FORCED = 130
"""Exit code after a second signal."""


@dataclass(frozen=True, slots=True)
class MarketReport:
    """What is known of one market at the end."""

    market: str
    expected: int
    """Isolated tables it should fill."""
    filled: int
    rows: int
    """Rows of these, ever."""
    stored: int
    """Rows stored by this process."""
    duplicates: int
    rejected: int
    gaps: int
    reconnects: int
    empty: tuple[str, ...]
    """Isolated tables without a row."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is known at the end."""

    uptime_s: float
    markets: tuple[MarketReport, ...]

    def total(self, figure: str) -> int:
        """Sum of one figure over the markets."""
        return sum(getattr(market, figure) for market in self.markets)


class Daemon:
    """Once built, the store is open and has everything the journal held; :meth:`run` collects."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreLockedError, StoreUnavailableError, PortInUseError and UnknownNameError."""
        self.settings = settings
        self.plans = plans(settings)
        self._collector: Collector | None = None
        self._listener: socket.socket | None = None
        self._signals = 0
        self._sealed = place(settings.archive_root) if settings.archive_root else None
        self._engine = Engine(
            database_path(settings.data_dir),
            memory_limit=settings.store_memory_limit,
            threads=settings.store_threads,
            archive=self._sealed,
        )
        try:
            self._server = StoreServer(
                self._engine, settings.data_dir, host=settings.store_host, port=settings.store_port
            )
            self._open()
        except BaseException:
            if self._listener is not None:
                self._listener.close()
            self._engine.close()
            raise

    @property
    def address(self) -> str:
        return f"{self._server.endpoint.host}:{self._server.endpoint.port}"

    @property
    def http_address(self) -> str | None:
        """``http://host:port`` of ``/health`` and ``/metrics``; None where they are off."""
        if self._listener is None:
            return None
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

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
            self._archive.start()
            for end in (self._server.stop, self._archive.stop, self._checkpoint, self._writer.stop):
                closing.callback(end)
            with asyncio.Runner(loop_factory=gathering_loop) as runner:
                runner.run(self._collect(started))
        return self._report()

    # -- opening ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        settings = self.settings
        self._archive = Archive(
            self._engine, self._sealed, node=settings.node, retention_hours=settings.retention_hours
        )
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
            max_journal_bytes=settings.journal_max_gb * 1e9,
            streams=settings.stream_types,
        )
        create_views(self._engine)
        recovered = self._writer.recover()
        if recovered:
            log.info("%d frames of the journal were not stored yet; they are now", recovered)
        if settings.http_port is not None:
            self._listener = web.listening(settings.http_host, settings.http_port)
        where = {"store": self.address, "http": self.http_address, "database": str(self._engine.path)}
        self._actions = Actions(self._server, lambda: self._writer.pending, where)
        Backfilling(self._server, self._actions)
        self._archive.register(self._server)

    async def _collect(self, started: Callable[[], None]) -> None:
        self._collector = Collector(self.settings, self._engine, self._journal, self._writer)
        alerting = Alerting(self.settings, self._engine, self._collector.health.conditions)
        self._actions.attach(self._collector, alerting, asyncio.get_running_loop())
        if self._signals:
            self._collector.stopped.set()
        async with AsyncExitStack() as serving:
            await serving.enter_async_context(alerting.running())
            if self._listener is not None:
                await serving.enter_async_context(web.serving(self._listener, self._actions.status))
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
        self._actions.end()

    # -- ending ----------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        if not self._writer.broken:
            self._engine.checkpoint()

    def _report(self) -> Report:
        settings = self._collector.settings if self._collector else self.settings
        health = self._collector.health if self._collector else None
        rows = self._writer.storage.ledger.rows()
        return Report(
            uptime_s=health.uptime_s if health else 0.0,
            markets=tuple(self._market_report(plan, rows) for plan in plans(settings).values()),
        )

    def _market_report(self, plan: Plan, rows: Mapping[tuple[str, Identity], int]) -> MarketReport:
        totals, name = self._writer.totals, plan.market
        reader = self._collector.readers.get(name) if self._collector else None
        of_table = {
            table_name(symbol, name, stream): count
            for (stream, (symbol, *venue)), count in rows.items()
            if "_".join(venue) == name and count
        }
        wanted = coverage.offered(reader) if reader else coverage.expected(plan)
        tallies = [tally for (market, _), tally in totals.tallies.items() if market == name]
        return MarketReport(
            market=name,
            expected=len(wanted),
            filled=len(wanted & of_table.keys()),
            rows=sum(of_table.values()),
            stored=sum(tally.stored for tally in tallies),
            duplicates=sum(tally.duplicates for tally in tallies),
            rejected=sum(count for (market, _), count in totals.rejected.items() if market == name),
            gaps=sum(count for (market, _), count in totals.gaps.items() if market == name),
            reconnects=reader.losses if reader else 0,
            empty=tuple(sorted(wanted - of_table.keys())),
        )
