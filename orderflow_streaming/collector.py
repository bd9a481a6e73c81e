"""Everything that reads: the sockets and polls of the configured markets, from discovery to the journal."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import aiohttp

from orderflow_streaming import schema
from orderflow_streaming.connection import Connection
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import Endpoints, Exchange, Topic
from orderflow_streaming.gaps import DISCONNECTION, OVERFLOW, Gap
from orderflow_streaming.health import SAMPLE_S, Health
from orderflow_streaming.inbox import Inbox
from orderflow_streaming.instruments import keep, refresh, stored_symbols
from orderflow_streaming.journal import Journal
from orderflow_streaming.markets import Market
from orderflow_streaming.polls import Polls
from orderflow_streaming.rest import RestClient, RestError
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.subscription import Subscription
from orderflow_streaming.writer import Writer, consecutive

log = logging.getLogger(__name__)

DISCOVERY_TIMEOUT_S = 15.0
UNREACHABLE_AFTER_S = 60.0
"""The daemon gives up when no socket of any market could be opened for so long after the start."""


class NoMarketReachedError(Exception):
    """No socket could be opened since the start."""


class StoreBrokenError(Exception):
    """The engine cannot go on; the journal has what is not stored."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One market to collect."""

    exchange: Exchange
    endpoints: Endpoints
    streams: tuple[str, ...]


def plans(settings: Settings) -> tuple[Plan, ...]:
    """What the settings ask for; raises :class:`~orderflow_streaming.markets.UnknownNameError`."""
    wanted = {schema.stream(name).name for name in settings.stream_types}
    found = []
    for name in settings.markets:
        protocol = exchange(name)
        endpoints = protocol.simulated(settings.simulator_url) if settings.simulator_url else protocol.endpoints
        streams = tuple(stream for stream in protocol.market.streams if not wanted or stream in wanted)
        found.append(Plan(protocol, endpoints, streams))
    return tuple(found)


def _cause(error: BaseException) -> BaseException:
    """The error behind the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Collector:
    """Lives on the event loop; :meth:`run` reads until it is told to stop, and leaves nothing unsynced."""

    def __init__(self, settings: Settings, engine: Engine, journal: Journal, writer: Writer) -> None:
        self._settings, self._engine, self._writer = settings, engine, writer
        self._plans = plans(settings)
        self._numbered = consecutive()
        self._connections: list[Connection] = []
        self._polls: list[Polls] = []
        self.stopped = asyncio.Event()
        self.inbox = Inbox(
            journal,
            limit=settings.buffer_frames,
            overflow=settings.overflow,
            synced=writer.synced,
            overflowed=self._overflowed,
        )
        self.health = Health(settings, self._connections, self._polls, self.inbox, journal, writer)

    async def run(self) -> None:
        """Collect until :attr:`stopped` is set.

        Raises :class:`NoMarketReachedError` and :class:`StoreBrokenError`.
        """
        ending = asyncio.create_task(self.stopped.wait())
        syncing = asyncio.create_task(self.inbox.run(self._settings.journal_sync_seconds))
        async with aiohttp.ClientSession() as session:
            reading = asyncio.create_task(self._read(session))
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

    async def _read(self, session: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            for plan in self._plans:
                tasks.create_task(self._read_market(plan, session))

    async def _read_market(self, plan: Plan, session: aiohttp.ClientSession) -> None:
        client = RestClient(session, plan.endpoints.rest, plan.exchange.limits)
        known = await self._discover(plan, client)
        symbols = self._listed(plan)
        connections = [
            Connection(plan.exchange, socket, self.inbox, interrupted=self._interrupted)
            for socket in plan.exchange.sockets(symbols, plan.streams, plan.endpoints)
        ]
        for connection in connections:
            self._resume(connection)
        polls = Polls(plan.exchange, plan.exchange.polls(symbols, plan.streams), client, self.inbox)
        self._connections += connections
        self._polls.append(polls)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep(plan.exchange, client, self._engine, known=known))
            tasks.create_task(polls.run())
            for connection in connections:
                tasks.create_task(connection.run())

    async def _discover(self, plan: Plan, client: RestClient) -> bool:
        """Ask the venue what it lists; False where it did not tell."""
        try:
            async with asyncio.timeout(DISCOVERY_TIMEOUT_S):
                await refresh(plan.exchange, client, self._engine)
        except (RestError, TimeoutError) as error:
            reason = str(error) or f"no answer within {DISCOVERY_TIMEOUT_S:g} s"
            log.warning("%s: the instruments could not be asked for: %s", plan.exchange.market.name, reason)
            return False
        return True

    def _listed(self, plan: Plan) -> list[str]:
        """Symbols to subscribe: what the venue lists, else all where it never told."""
        listed = stored_symbols(self._engine, plan.exchange)
        if not listed:
            return list(self._settings.symbols)
        for symbol in self._settings.symbols:
            if symbol not in listed:
                self.health.unlisted.append((plan.exchange.market.name, symbol))
                log.warning("%s does not list %s", plan.exchange.market.name, symbol)
        return [symbol for symbol in self._settings.symbols if symbol in listed]

    async def _watch(self) -> None:
        """Sample the figures, tell them now and then, and end what cannot go on."""
        told_at = time.monotonic()
        while True:
            self.health.sample()
            await asyncio.sleep(min(SAMPLE_S, self._settings.stats_interval_seconds))
            if self._writer.broken:
                raise StoreBrokenError(str(self._writer.broken))
            if self.health.uptime_s > UNREACHABLE_AFTER_S and not any(part.sessions for part in self._connections):
                raise NoMarketReachedError(self._why_unreachable())
            if time.monotonic() - told_at >= self._settings.stats_interval_seconds:
                told_at = time.monotonic()
                log.info("%s", self.health.line())

    def _why_unreachable(self) -> str:
        reasons = [f"{part.name}: {part.last_error or 'no answer'}" for part in self._connections]
        return f"no market could be reached within {UNREACHABLE_AFTER_S:g} s ({'; '.join(reasons) or 'no answer'})."

    # -- holes -----------------------------------------------------------------------------------------

    def _resume(self, connection: Connection) -> None:
        """Take the time since the last stored row, when no daemon ran, for a lost connection."""
        market, ledger = connection.exchange.market, self._writer.storage.ledger
        for subscription in connection.subscriptions.values():
            identity = subscription.topic.symbol, market.exchange, market.market_type
            known = (ledger.get(stream, identity).last_time for stream in subscription.topic.streams)
            subscription.interrupted_us = max(0, *known)

    def _interrupted(self, connection: Connection, subscription: Subscription, lost_us: int, back_us: int) -> None:
        self._note(connection.exchange.market, subscription.topic, lost_us, back_us, DISCONNECTION)

    def _overflowed(self, market: str, channel: str, first_us: int, last_us: int) -> None:
        for connection in self._connections:
            for subscription in connection.subscriptions.values():
                if (connection.exchange.market.name, subscription.topic.channel) == (market, channel):
                    self._note(connection.exchange.market, subscription.topic, first_us, last_us, OVERFLOW)

    def _note(self, market: Market, topic: Topic, start_us: int, end_us: int, reason: str) -> None:
        """Write down what may be missing of a topic; numbered rows tell that themselves."""
        for stream in topic.streams:
            if (market.name, stream) not in self._numbered:
                identity = topic.symbol, market.exchange, market.market_type
                self._writer.note(Gap(stream, identity, start_us, end_us, reason))
