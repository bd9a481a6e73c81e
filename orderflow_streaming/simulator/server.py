"""The simulated exchanges on one port: sockets and REST below ``/{market}``, and ``/control``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.simulator import faults
from orderflow_streaming.simulator.clock import Clock
from orderflow_streaming.simulator.connection import Connection
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import Dialect, RestAnswer, RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.log import SentLog
from orderflow_streaming.simulator.market import Market

TICK_SECONDS = 0.01
"""Time between two looks at a paced clock."""
SETTLE_SECONDS = 1.0
"""Without new subscriptions, before history starts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated and how."""

    seed: int = 1
    start_us: int | None = None
    """None begins now."""
    history_hours: float = 0.0
    """Begin that long before now and run free until the present."""
    opening_hours: Mapping[str, float] = field(default_factory=dict)
    """Markets that open only so long before now, and refuse every request until then."""
    speed: float = 1.0
    markets: Sequence[str] = ("binance_futures",)
    symbols: Sequence[str] = SYMBOLS
    activity: float = 1.0
    book_interval_ms: int = 100
    wait_for_subscribers: int | None = None
    """Sockets with subscriptions to wait for; None waits for one on each route with history, else for none."""
    lifetime_seconds: float | None = None
    """Age at which sockets are closed; None as each venue does."""
    log: Path | None = None
    faults: Sequence[faults.Fault] = field(default_factory=tuple)

    def begin_us(self, present_us: int) -> int:
        """Simulated time at the start."""
        if self.start_us is not None:
            return self.start_us
        return present_us - int(self.history_hours * 3_600e6)

    def opens_us(self, present_us: int) -> dict[str, int]:
        """Simulated time at which markets open; those that are absent are open from the start."""
        return {name: present_us - int(hours * 3_600e6) for name, hours in self.opening_hours.items()}


class Simulator:
    """Serves :class:`Plan`; :meth:`start`, then :meth:`run` until :meth:`stop`, then :meth:`close`."""

    def __init__(self, plan: Plan) -> None:
        present_us = time.time_ns() // 1_000
        begin_us = plan.begin_us(present_us)
        self.plan = plan
        self.clock = Clock(begin_us, plan.speed, history=plan.history_hours > 0)
        self.faults = faults.Faults(plan.faults)
        self.log = SentLog(plan.log)
        self._feeds = {name: Feed(DIALECTS[name]) for name in plan.markets}
        self._market = Market(
            plan.seed,
            begin_us,
            [feed.dialect.venue for feed in self._feeds.values()],
            plan.symbols,
            activity=plan.activity,
            book_interval_ms=plan.book_interval_ms,
            opens_us=plan.opens_us(present_us),
        )
        self._connections: list[Connection] = []
        self._numbers = 0
        self._weights: dict[tuple[str, int], int] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="market")
        self._stopping = asyncio.Event()
        self._started = False
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, host: str = "127.0.0.1") -> int:
        """Listen, and return the port; OSError where it is taken."""
        await self._load()
        app = web.Application()
        app.router.add_post("/control", self._control)
        app.router.add_get("/control/status", self._status)
        for name, feed in self._feeds.items():
            for route, path in feed.dialect.routes.items():
                app.router.add_get(f"/{name}{path}", partial(self._socket, feed.dialect, route))
            app.router.add_route("*", f"/{name}/{{path:.*}}", partial(self._rest, feed))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    def stop(self) -> None:
        self._stopping.set()

    async def close(self) -> None:
        for connection in self._connections:
            connection.abort()
        if self._runner is not None:
            await self._runner.cleanup()
        self._worker.shutdown(cancel_futures=True)
        self.log.close()

    async def run(self) -> None:
        """Move the clock and send what is due, until stopped."""
        ahead = self._prepare()
        await self._subscribers()
        self.clock.begin()
        self._started = True
        while not self._stopping.is_set():
            if self.clock.free:
                await self._subscribers()
            until_us = self.clock.target_us()
            if until_us > self._market_end_us:
                until_us = self._market_end_us
            await self._drop()
            if until_us > self.clock.position_us:
                await self._send(self.clock.position_us, until_us)
            if self.clock.position_us == self._market_end_us:
                self._add(await ahead)
                ahead = self._prepare()
            elif not self.clock.free:
                self.log.flush()
                await asyncio.sleep(TICK_SECONDS)
        ahead.cancel()

    @property
    def _market_end_us(self) -> int:
        return max(feed.end_us for feed in self._feeds.values())

    def _prepare(self) -> asyncio.Future[dict[str, Batch]]:
        """Make the next minute in the background, with the frames that somebody listens to now."""
        listened = {
            name: list(
                dict.fromkeys(
                    topic
                    for connection in self._connections
                    if connection.dialect.venue.name == name
                    for topic in connection.heard()
                )
            )
            for name in self._feeds
        }
        return asyncio.get_running_loop().run_in_executor(self._worker, self._make, listened)

    def _make(self, listened: dict[str, list[str]]) -> dict[str, Batch]:
        minutes = self._market.minute()
        batches = {name: Batch(minute for minute in minutes if minute.venue.name == name) for name in self._feeds}
        for name, topics in listened.items():
            for topic in topics:
                batches[name].frames(self._feeds[name].dialect, topic)
        return {name: batch for name, batch in batches.items() if batch.minutes}

    def _add(self, batches: dict[str, Batch]) -> None:
        for name, batch in batches.items():
            self._feeds[name].add(batch)

    @property
    def _open(self) -> dict[str, Feed]:
        """The markets that have begun."""
        return {name: feed for name, feed in self._feeds.items() if feed.history}

    async def _load(self) -> None:
        """The minute in which the clock begins."""
        self._add(await self._prepare())

    async def _subscribers(self) -> None:
        """Wait for those who must not miss the beginning."""
        while not self._stopping.is_set() and not self._enough():
            await asyncio.sleep(0.02)

    def _enough(self) -> bool:
        listening = [connection for connection in self._connections if connection.topics]
        if self.plan.wait_for_subscribers is None and not self.clock.free:
            return True
        if any(connection.asked_within(SETTLE_SECONDS) for connection in listening):
            return False
        if self.plan.wait_for_subscribers is not None:
            return len(listening) >= self.plan.wait_for_subscribers
        heard = {(connection.dialect.venue.name, connection.route) for connection in listening}
        return all((name, route) in heard for name, feed in self._open.items() for route in feed.dialect.routes)

    async def _send(self, start_us: int, end_us: int) -> None:
        """Send what is due and move the clock; a subscription made from then on begins at ``end_us``."""
        busy = [connection for connection in self._connections if connection.open]
        for connection in busy:
            if not connection.topics:
                continue
            feed = self._feeds[connection.dialect.venue.name]
            sent = feed.between(connection.heard(), start_us, end_us)
            if not sent:
                continue
            market = connection.dialect.venue.name
            if self.faults.stalled(market, connection.route):
                self.log.event(connection.number, end_us, f"stalled {len(sent)}")
                continue
            entries = self.faults.on_frames(market, [(topic, frame, key, "") for _, _, topic, frame, key in sent])
            connection.write(entries)
            self.log.frames(connection.number, end_us, entries)
        self.clock.position_us = end_us
        for connection in busy:
            await connection.drain()
        await asyncio.sleep(0)

    async def _drop(self) -> None:
        for fault in self.faults.drops():
            for connection in [one for one in self._connections if _concerns(fault, one)]:
                self.faults.played["drop"] += 1
                self.log.event(connection.number, self.clock.position_us, "drop")
                if fault.abrupt:
                    connection.abort()
                else:
                    await connection.socket.close(code=1001, message=b"Going away")

    async def _socket(self, dialect: Dialect, route: str, request: web.Request) -> web.WebSocketResponse:
        if dialect.venue.name not in self._open:
            raise web.HTTPServiceUnavailable(text="the market is not open yet")
        if reason := dialect.refuses(request.query, self.clock.position_us):
            raise web.HTTPUnauthorized(text=reason)
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        if not isinstance(request.transport, asyncio.Transport):
            return socket
        self._numbers += 1
        connection = Connection(self._numbers, dialect, route, socket, request.transport)
        market = dialect.venue.name
        asked, refused = dialect.opened(request.query), self.faults.refused(market)
        connection.subscribe([topic for topic in asked if topic not in refused])
        self.faults.refuse(market, asked)
        self._connections.append(connection)
        self.log.event(connection.number, self.clock.position_us, f"open {dialect.venue.name} {route}")
        lifetime = self.plan.lifetime_seconds or dialect.lifetime_seconds
        heartbeat = asyncio.create_task(connection.heartbeat(lifetime))
        try:
            if greeting := dialect.greeting(request.query):
                await _say(connection, greeting)
            async for message in socket:
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    connection.alive()
                elif connection.too_many_messages():
                    await socket.close(code=1008, message=b"Too many requests")
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._answer(connection, message.data)
        finally:
            heartbeat.cancel()
            self._connections.remove(connection)
            self.log.event(connection.number, self.clock.position_us, "closed")
        return socket

    async def _answer(self, connection: Connection, data: str | bytes) -> None:
        message = data.encode() if isinstance(data, str) else data
        dialect = connection.dialect
        market = dialect.venue.name
        if dialect.ping_seconds is None:
            connection.alive()
        answer = dialect.answer(message, list(connection.topics), self.faults.refused(market))
        self.faults.refuse(market, answer.refused)
        await asyncio.sleep(self.faults.ack_delay(market))
        if answer.close:
            connection.abort()
            return
        for body in (answer.body, *answer.more):
            if body:
                await _say(connection, body)
        connection.unsubscribe(list(answer.remove))
        if answer.add:
            self._join(connection, list(answer.add))

    def _join(self, connection: Connection, topics: list[str]) -> None:
        """Subscribe, and send what the venue sends at once to a new subscriber, with nothing in between."""
        dialect = connection.dialect
        history, now_us = self._feeds[dialect.venue.name].history, self.clock.position_us
        for topic in topics:
            if dialect.route(topic) == connection.route and dialect.symbol(topic) in history:
                first = [(topic, frame, 0, "") for frame in dialect.joined(topic, history, now_us)]
                connection.write(first)
                self.log.event(connection.number, now_us, f"joined {topic} {len(first)}")
        connection.subscribe(topics)

    async def _rest(self, feed: Feed, request: web.Request) -> web.Response:
        dialect, name = feed.dialect, feed.dialect.venue.name
        if name not in self._open:
            raise web.HTTPServiceUnavailable(text="the market is not open yet")
        limited = self.faults.rate_limit(name)
        minute = int(time.time() // 60)
        used = self._weights.get((name, minute), 0)
        if limited is None and used >= dialect.rest_weight_per_minute:
            limited = 429, 60 - time.time() % 60
        if limited is not None:
            status, left = limited
            until_us = int((time.time() + left) * 1e6)
            answer = dialect.rate_limited(status, max(1, round(left)), until_us)
            self.log.event(0, self.clock.position_us, f"rate_limit {status} {request.path}")
            return _response(answer, dialect.weight_header(used))
        path = request.path.removeprefix(f"/{name}")
        answer = dialect.rest(
            RestCall(
                request.method,
                path,
                request.query,
                feed.history,
                self.clock.position_us,
                await request.read(),
                f"{request.scheme}://{request.host}/{name}",
            )
        )
        used += answer.weight
        self._weights = {(name, minute): used} | {
            key: weight for key, weight in self._weights.items() if key[1] == minute and key[0] != name
        }
        return _response(answer, dialect.weight_header(used))

    async def _control(self, request: web.Request) -> web.Response:
        """Add a fault."""
        try:
            fault = faults.parse(await request.read())
        except faults.FaultError as error:
            return _json({"error": str(error)}, 400)
        self.faults.add(fault)
        self.log.event(0, self.clock.position_us, f"control {msgspec.json.encode(fault).decode()}")
        return _json({"added": fault, "active": self.faults.active})

    async def _status(self, request: web.Request) -> web.Response:
        self.log.flush()
        position_us = self.clock.position_us
        mode = "waiting" if not self._started else "history" if self.clock.free else "paced"
        return _json(
            {
                "clock": datetime.fromtimestamp(position_us / 1e6, UTC).isoformat(),
                "clock_us": position_us,
                "mode": mode,
                "speed": self.clock.speed,
                "behind_seconds": round(time.time() - position_us / 1e6, 3),
                "seed": self.plan.seed,
                "connections": [
                    {
                        "connection": one.number,
                        "market": one.dialect.venue.name,
                        "route": one.route,
                        "topics": list(one.topics),
                    }
                    for one in self._connections
                ],
                "frames": dict(self.log.sent),
                "frames_total": self.log.sent.total(),
                "faults": {"active": self.faults.active, "played": dict(self.faults.played)},
            }
        )


def _concerns(fault: faults.Drop, connection: Connection) -> bool:
    return fault.route in ("", connection.route) and fault.market in ("", connection.dialect.venue.name)


async def _say(connection: Connection, body: bytes) -> None:
    """A control message to the client; the socket may be gone by now."""
    if connection.open:
        await connection.socket.send_frame(body, WSMsgType.TEXT)


def _response(answer: RestAnswer, headers: Any) -> web.Response:
    kind = "application/json" if answer.body[:1] in b"{[" else "text/html"
    return web.Response(
        body=answer.body, status=answer.status, content_type=kind, headers={**headers, **answer.headers}
    )


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
