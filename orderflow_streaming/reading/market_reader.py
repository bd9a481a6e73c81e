"""Reads one market: asks what it lists, keeps its sockets and polls, and changes them while it runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from orderflow_streaming import schema
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import Endpoints, Exchange, Socket
from orderflow_streaming.past.fetching import Fetcher
from orderflow_streaming.past.refill import Refill
from orderflow_streaming.reading.connection import Connection
from orderflow_streaming.reading.holes import Holes
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.instruments import NEEDED_RETRY_S, keep, refresh, stored_symbols
from orderflow_streaming.reading.polls import Polls
from orderflow_streaming.reading.rest import RestClient, RestError
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine

log = logging.getLogger(__name__)

DISCOVERY_TIMEOUT_S = 15.0
FIRST_RESTART_S, LONGEST_RESTART_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One market to collect."""

    exchange: Exchange
    endpoints: Endpoints
    symbols: tuple[str, ...]
    streams: tuple[str, ...]

    @property
    def market(self) -> str:
        return self.exchange.market.name


def plans(settings: Settings) -> dict[str, Plan]:
    """What the settings ask for, by market; raises :class:`~orderflow_streaming.markets.UnknownNameError`."""
    wanted = {schema.stream(name).name for name in settings.stream_types}
    found = {}
    for name in settings.markets:
        protocol = exchange(name)
        endpoints = protocol.simulated(settings.simulator_url) if settings.simulator_url else protocol.endpoints
        streams = tuple(stream for stream in protocol.market.collected if not wanted or stream in wanted)
        found[name] = Plan(protocol, endpoints, settings.symbols, streams)
    return found


class MarketReader:
    """Lives on the event loop. Its lists are replaced, never changed in place, so that any thread may read them."""

    def __init__(
        self,
        plan: Plan,
        client: RestClient,
        inbox: Inbox,
        engine: Engine,
        holes: Holes,
        stored: Callable[[], Awaitable[bool]],
        refill_max_hours: float,
    ) -> None:
        """``stored`` has everything read so far stored and says whether it did; gaps up to ``refill_max_hours`` are
        asked for again."""
        self.plan = plan
        self.client = client
        self.polls = Polls(plan.exchange, (), self.client, inbox, interrupted=holes.unanswered)
        self.fetcher = Fetcher(plan.exchange, self.client, inbox)
        self.refill = Refill(self.fetcher, engine, stored, max_hours=refill_max_hours)
        self.connections: list[Connection] = []
        self.listed: list[str] = []
        """Symbols the venue lists; empty where it never told."""
        self.failure = ""
        """Why the market is not read: it does not say how large its contracts are, or an error ended the reading."""
        self.past_losses = 0
        """Connections lost on sockets that are kept no more."""
        self._inbox, self._engine, self._holes = inbox, engine, holes
        self._changed = asyncio.Event()

    @property
    def losses(self) -> int:
        """Connections lost since the market was started."""
        return self.past_losses + sum(connection.losses for connection in self.connections)

    @property
    def unlisted(self) -> list[str]:
        """Symbols that are wanted and that the venue does not list."""
        return [symbol for symbol in self.plan.symbols if self.listed and symbol not in self.listed]

    async def run(self) -> None:
        """Read until cancelled. An error that ends the reading is logged, and the market begun anew after a while."""
        delay = FIRST_RESTART_S
        while True:
            begun = time.monotonic()
            try:
                await self._read()
            except Exception as error:
                self.failure = str(_cause(error)) or type(_cause(error)).__name__
                log.exception("%s: stopped by an error, begun anew soon", self.plan.market)
            finally:
                self._keep([])
            if time.monotonic() - begun > LONGEST_RESTART_S:
                delay = FIRST_RESTART_S
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_RESTART_S)

    def change(self, plan: Plan) -> None:
        """Read by ``plan`` from now on; only sockets and polls that it changes are touched."""
        self.plan = plan
        self._changed.set()

    def renew(self, socket: str | None = None) -> list[str]:
        """Have the connection of ``socket``, or of every socket, replaced; the names of those."""
        found = [connection for connection in self.connections if socket in (None, connection.socket.name)]
        for connection in found:
            connection.renew()
        return [connection.socket.name for connection in found]

    async def _read(self) -> None:
        known = await self._discover()
        while not known and self._needs_sizes():
            await asyncio.sleep(NEEDED_RETRY_S)
            known = await self._discover()
        self.failure = ""
        async with asyncio.TaskGroup() as tasks:
            instruments = keep(self.plan.exchange, self.client, self._engine, known=known, refreshed=self._changed.set)
            tasks.create_task(instruments)
            tasks.create_task(self.polls.run())
            tasks.create_task(self.refill.run())
            running: dict[Connection, asyncio.Task[None]] = {}
            while True:
                self._changed.clear()
                self._settle(tasks, running)
                await self._changed.wait()

    def _settle(self, tasks: asyncio.TaskGroup, running: dict[Connection, asyncio.Task[None]]) -> None:
        """Make sockets and polls what the plan says."""
        plan = self.plan
        self.listed = stored_symbols(self._engine, plan.exchange)
        for symbol in self.unlisted:
            log.warning("%s does not list %s", plan.market, symbol)
        symbols = [symbol for symbol in plan.symbols if symbol not in self.unlisted]
        sockets = plan.exchange.sockets(symbols, plan.streams, plan.endpoints) if symbols else ()
        self._keep(sockets)
        self.polls.change(plan.exchange.polls(symbols, plan.streams) if symbols else ())
        self._holes.resume(self.connections, self.polls)
        for connection in [connection for connection in running if connection not in self.connections]:
            running.pop(connection).cancel()
        for connection in self.connections:
            if connection not in running:
                running[connection] = tasks.create_task(connection.run())

    def _keep(self, sockets: Sequence[Socket]) -> None:
        """Change, add and drop connections until there is one for each of ``sockets``."""
        present = {connection.socket.name: connection for connection in self.connections}
        kept = []
        for socket in sockets:
            connection = present.pop(socket.name, None)
            if connection is None:
                connection = Connection(
                    self.plan.exchange,
                    socket,
                    self._inbox,
                    interrupted=self._holes.interrupted,
                    ticket=self._ticket if self.plan.exchange.ticket() else None,
                )
            elif connection.socket != socket:
                connection.change(socket)
            kept.append(connection)
        self.past_losses += sum(connection.losses for connection in present.values())
        self.connections = kept

    async def _ticket(self) -> bytes:
        request = self.plan.exchange.ticket()
        assert request is not None
        return await self.client.ask(request)

    def _needs_sizes(self) -> bool:
        """Whether a venue that counts contracts has never said how large they are."""
        return not self.plan.exchange.counts_base and not stored_symbols(self._engine, self.plan.exchange)

    async def _discover(self) -> bool:
        """Ask the venue what it lists; False where it did not tell."""
        try:
            async with asyncio.timeout(DISCOVERY_TIMEOUT_S):
                await refresh(self.plan.exchange, self.client, self._engine)
        except (RestError, TimeoutError) as error:
            reason = (
                f"the instruments could not be asked for: {str(error) or f'no answer in {DISCOVERY_TIMEOUT_S:g} s'}"
            )
            if reason != self.failure:
                log.warning("%s: %s", self.plan.market, reason)
            self.failure = reason
            return False
        return True


def _cause(error: BaseException) -> BaseException:
    """The error behind the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
