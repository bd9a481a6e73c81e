"""Everything that reads: a task per market, from discovery to the journal, started and ended while the daemon runs."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial

import aiohttp

from orderflow_streaming.past.backfill import Backfill
from orderflow_streaming.past.backfill_order import Order
from orderflow_streaming.past.fetching import Fetcher
from orderflow_streaming.reading.connection import Connection
from orderflow_streaming.reading.holes import Holes
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.market_reader import MarketReader, Plan, plans
from orderflow_streaming.reading.rest import RestClient
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import StoreUnavailableError
from orderflow_streaming.watching.health import SAMPLE_S, Health
from orderflow_streaming.writing.housekeeping import keep_house
from orderflow_streaming.writing.writer import Writer

log = logging.getLogger(__name__)

UNREACHABLE_AFTER_S = 60.0
"""The daemon gives up when no socket of any market could be opened for so long after the start."""


class NoMarketReachedError(Exception):
    """No socket could be opened since the start."""


class StoreBrokenError(Exception):
    """The engine cannot go on; the journal has what is not stored."""


class Collector:
    """Lives on the event loop; :meth:`run` reads until it is told to stop, and leaves nothing unsynced."""

    def __init__(self, settings: Settings, engine: Engine, journal: Journal, writer: Writer) -> None:
        self.settings = settings
        self.readers: dict[str, MarketReader] = {}
        """By market; replaced as a whole when a market starts or ends."""
        self._engine, self._writer = engine, writer
        self._holes = Holes(writer)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._session: aiohttp.ClientSession | None = None
        self._clients: dict[str, RestClient] = {}
        self._changing = asyncio.Lock()
        self.stopped = asyncio.Event()
        self.inbox = Inbox(
            journal,
            limit=settings.buffer_frames,
            overflow=settings.overflow,
            synced=writer.synced,
            overflowed=lambda *hole: self._holes.overflowed(self.connections, *hole),
        )
        self.health = Health(self, journal, writer)

    @property
    def connections(self) -> list[Connection]:
        """Of all markets."""
        return [connection for reader in self.readers.values() for connection in reader.connections]

    async def run(self) -> None:
        """Collect until :attr:`stopped` is set.

        Raises :class:`NoMarketReachedError` and :class:`StoreBrokenError`.
        """
        self._writer.gaps_stored = partial(self._wake_refills, asyncio.get_running_loop())
        ending = asyncio.create_task(self.stopped.wait())
        syncing = asyncio.create_task(self.inbox.run(self.settings.journal_sync_seconds))
        async with aiohttp.ClientSession() as self._session:
            reading = asyncio.create_task(self._read())
            tasks = {ending, syncing, reading}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.health.stopping = True
                for ended in (ending, reading, syncing):
                    ended.cancel()
                    await asyncio.wait({ended})
        if not await self.inbox.sync():
            log.error("%d frames could not be written and are lost", self.inbox.frames)
        self.inbox.close()
        for task in done - {ending}:
            if error := task.exception():
                raise _cause(error)

    async def flush(self) -> bool:
        """Have everything read so far stored."""
        return await self.inbox.sync() and await asyncio.to_thread(self._writer.flush)

    def _wake_refills(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gaps were written down; called from the writer's thread, which outlives the loop."""
        for reader in self.readers.values():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(reader.refill.wake)

    async def change(self, settings: Settings) -> None:
        """Collect what ``settings`` ask for from now on; markets and sockets they leave alone read on undisturbed.

        Raises :class:`~orderflow_streaming.markets.UnknownNameError`, and
        :class:`~orderflow_streaming.store.errors.StoreUnavailableError` where rows of streams that end cannot be
        stored now; then nothing was changed.
        """
        if self._group is None:
            raise StoreUnavailableError("the daemon is starting. Try again in a moment.")
        async with self._changing:
            wanted = plans(settings)
            before = {stream for plan in plans(self.settings).values() for stream in plan.streams}
            ending = before - {stream for plan in wanted.values() for stream in plan.streams}
            if ending and not await self.flush():
                raise StoreUnavailableError(
                    f"what was read of {', '.join(sorted(ending))} cannot be stored now, and would be lost. Try again."
                )
            self.settings = settings
            self._writer.collect(settings.stream_types)
            self._writer.keep_hours = settings.journal_keep_hours
            for market in self.readers.keys() - wanted.keys():
                await self._end(market)
            await self.flush()
            for market, plan in wanted.items():
                if market in self.readers:
                    self.readers[market].change(plan)
                else:
                    self._begin(plan)

    def backfill(self, order: Order) -> tuple[Backfill, asyncio.Task[None]]:
        """Begin to carry out an order, also of markets that are not collected; it ends with the reading."""
        assert self._group is not None
        fetchers = {market: self._fetcher(market) for market in order.markets}
        job = Backfill(order, fetchers, self._engine, self.flush)
        return job, self._group.create_task(job.run(), name="backfill")

    def _fetcher(self, market: str) -> Fetcher:
        if market in self.readers:
            return self.readers[market].fetcher
        plan = plans(self.settings.model_copy(update={"markets": (market,)}))[market]
        return Fetcher(plan.exchange, self._client(plan), self.inbox)

    def _client(self, plan: Plan) -> RestClient:
        """One per address, also for markets that share it: what a venue allows, it allows per caller."""
        assert self._session is not None
        address, protocol = plan.endpoints.rest, plan.exchange
        if address not in self._clients:
            self._clients[address] = RestClient(self._session, address, protocol.limits, protocol.rest_headers)
        return self._clients[address]

    # -- markets ---------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            for plan in plans(self.settings).values():
                self._begin(plan)
            self._group.create_task(self._watch())
            self._group.create_task(keep_house(self.settings, self._engine))

    def _begin(self, plan: Plan) -> None:
        assert self._group is not None
        reader = MarketReader(
            plan,
            self._client(plan),
            self.inbox,
            self._engine,
            self._holes,
            stored=self.flush,
            refill_max_hours=self.settings.refill_max_hours,
        )
        self.readers = {**self.readers, plan.market: reader}
        self._tasks[plan.market] = self._group.create_task(reader.run(), name=plan.market)

    async def _end(self, market: str) -> None:
        task = self._tasks.pop(market)
        task.cancel()
        await asyncio.wait({task})
        self.health.ended(self.readers[market])
        self.readers = {name: reader for name, reader in self.readers.items() if name != market}

    # -- watching --------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Sample the figures, tell them now and then, and end what cannot go on."""
        told_at = time.monotonic()
        reached = False
        while True:
            self.health.sample()
            await asyncio.sleep(min(SAMPLE_S, self.settings.stats_interval_seconds))
            if self._writer.broken:
                raise StoreBrokenError(str(self._writer.broken))
            reached = reached or any(connection.sessions for connection in self.connections)
            if not reached and self.readers and self.health.uptime_s > UNREACHABLE_AFTER_S:
                raise NoMarketReachedError(self._why_unreachable())
            if time.monotonic() - told_at >= self.settings.stats_interval_seconds:
                told_at = time.monotonic()
                log.info("%s", self.health.line())

    def _why_unreachable(self) -> str:
        reasons = [f"{part.name}: {part.last_error or 'no answer'}" for part in self.connections]
        reasons += [f"{market}: {reader.failure}" for market, reader in self.readers.items() if reader.failure]
        return f"no market could be reached within {UNREACHABLE_AFTER_S:g} s ({'; '.join(reasons) or 'no answer'})."


def _cause(error: BaseException) -> BaseException:
    """The error behind the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
