"""One socket of a market: opened, subscribed, watched, renewed before its time and opened again when lost.

No field of a data frame is read here. The topic says which list a frame is appended to; only what no topic
places is looked at as a control message.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from orderflow_streaming.exchanges.protocol import Control, ControlKind, Exchange, Socket, Topic
from orderflow_streaming.inbox import Inbox
from orderflow_streaming.subscription import Remedy, Subscription

log = logging.getLogger(__name__)

UNPLACED = "unplaced"
"""Channel of frames that neither a topic nor a control message explains; they end in quarantine."""

OPEN_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
"""A request not answered for so long means a dead connection."""
LONGEST_DELAY_S = 60.0
STABLE_AFTER_S = 60.0
"""Data for so long resets the reconnect delay."""
RENEWAL_MARGIN_S = 600.0
"""So long before the venue ends a connection, at most, a second one takes over."""
TAKEOVER_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 2.0
_MAX_FRAME_BYTES = 8 << 20
_QUEUED_FRAMES = 4096

Interrupted = Callable[["Connection", Subscription, int, int], None]


class ConnectionLostError(Exception):
    """Why a connection was given up."""


class Connection:
    """Keeps one :class:`~orderflow_streaming.exchanges.protocol.Socket` and fills the inbox from it."""

    def __init__(
        self,
        exchange: Exchange,
        socket: Socket,
        inbox: Inbox,
        *,
        interrupted: Interrupted = lambda connection, subscription, lost_us, back_us: None,
        tick_s: float = 1.0,
    ) -> None:
        """``interrupted`` hears of each subscription that brings data again, with the receive times around the hole."""
        self.exchange, self.socket, self.inbox = exchange, socket, inbox
        self.interrupted = interrupted
        self.tick_s = tick_s
        self.name = f"{exchange.market.name} {socket.name}"
        self.subscriptions = {topic.name: self._subscription(topic) for topic in socket.topics}
        self._session: Session | None = None
        self._hurried = asyncio.Event()
        self.connected = False
        self.sessions = 0
        """Connections opened so far."""
        self.losses = 0
        """Connections lost so far."""
        self.failures = 0
        """Attempts in a row without a stable connection."""
        self.last_error = ""

    async def run(self) -> None:
        """Keep the socket until cancelled."""
        session = self._session = Session(self)
        try:
            while True:
                if session.subscriptions is not self.subscriptions:
                    session.expire()
                await asyncio.wait({session.task, session.expiring}, return_when=asyncio.FIRST_COMPLETED)
                if session.task.done():
                    await self._pause(self._after_loss(session))
                    session = Session(self)
                else:
                    session = await self._replaced(session)
                self._session = session
        finally:
            await session.close()
            self.connected = False

    def change(self, socket: Socket) -> None:
        """Keep ``socket`` from now on. A second connection takes over, so that topics of both lose nothing."""
        wanted: dict[str, Subscription] = {}
        for topic in socket.topics:
            held = self.subscriptions.get(topic.name)
            if held is None or held.topic.channel != topic.channel:
                held = self._subscription(topic)
            held.topic = topic
            wanted[topic.name] = held
        self.socket, self.subscriptions = socket, wanted
        if self._session is not None:
            self._session.expire()

    def renew(self) -> None:
        """Have a second connection take over; where none is open, try again at once."""
        self._hurried.set()
        if self.connected and self._session is not None:
            self._session.expire()

    def _subscription(self, topic: Topic) -> Subscription:
        droppable = "orderbooks" in topic.streams
        return Subscription(topic, self.inbox.pending(self.exchange.market.name, topic.channel, droppable=droppable))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, or until someone asks for it."""
        self._hurried.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    async def _replaced(self, old: Session) -> Session:
        """The session that takes over from ``old``, or ``old`` where no second connection can be had."""
        new = Session(self)
        try:
            await asyncio.wait(
                {new.task, new.ready, old.task}, timeout=TAKEOVER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            await new.close()
            raise
        if new.ready.done() or old.task.done():
            if not new.ready.done():
                self._interrupt()
            await old.close()
            log.info("%s: renewed", self.name)
            return new
        await new.close()
        old.postpone(time.monotonic() + LONGEST_DELAY_S)
        log.warning("%s: could not be renewed (%s), will be tried again", self.name, _describe(new.error()))
        return old

    def _after_loss(self, session: Session) -> float:
        """Take note of why the session ended; returns the seconds to wait before the next."""
        self.connected = False
        self._interrupt()
        error = session.error()
        self.last_error = _describe(error)
        self.losses += session.opened
        self.failures = 0 if session.stable_for() >= STABLE_AFTER_S else self.failures + 1
        delay = max(reconnect_delay(self.failures), _retry_after(error))
        foreseen = isinstance(error, OSError | WebSocketException | ConnectionLostError)
        log.warning(
            "%s: %s (%s), next attempt in %.1f s",
            self.name,
            "connection lost" if session.opened else "no connection",
            self.last_error,
            delay,
            exc_info=None if foreseen else error,
        )
        return delay

    def _interrupt(self) -> None:
        for subscription in self.subscriptions.values():
            subscription.interrupted()


class Session:
    """One connection, from the handshake to its end. Runs as a task of its own."""

    def __init__(self, owner: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._owner = owner
        self.subscriptions = owner.subscriptions
        self._exchange = owner.exchange
        self._requests: dict[int, tuple[Sequence[str], float]] = {}
        self._last_request = 0
        self._everything_asked = False
        self._alone: list[str] = []
        self._sending = asyncio.Lock()
        self._renew_at = float("inf")
        self._frames = 0
        self._data_since = self._data_until = 0.0
        self.opened = False
        self.expiring: asyncio.Future[None] = loop.create_future()
        """Done when another connection should take over."""
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when everything was asked for and answered."""
        self.task = loop.create_task(self._run(), name=owner.name)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})

    def error(self) -> BaseException:
        """What ended the session."""
        error: BaseException | None = None if self.task.cancelled() else self.task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error or ConnectionLostError("closed")

    def stable_for(self) -> float:
        """Seconds between the first and the last data."""
        return self._data_until - self._data_since

    def postpone(self, renew_at: float) -> None:
        self._renew_at = renew_at
        self.expiring = asyncio.get_running_loop().create_future()

    async def _run(self) -> None:
        owner, beat = self._owner, self._exchange.heartbeat
        async with connect(
            owner.socket.url,
            additional_headers=dict(owner.socket.headers),
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=None if beat.payload else beat.interval_s,
            ping_timeout=None if beat.payload else beat.silent_after_s,
            max_size=_MAX_FRAME_BYTES,
            max_queue=_QUEUED_FRAMES,
        ) as socket:
            self._connected()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(socket))
                tasks.create_task(self._subscribe_all(socket))
                tasks.create_task(self._watch(socket))
                if beat.payload:
                    tasks.create_task(self._beat(socket, beat.payload.decode()))

    def _connected(self) -> None:
        owner, now = self._owner, time.monotonic()
        lifetime = self._exchange.limits.connection_lifetime_h * 3600
        self._renew_at = now + lifetime - min(RENEWAL_MARGIN_S, lifetime / 10) * random.uniform(0.5, 1)
        self.opened = owner.connected = True
        owner.sessions += 1
        for subscription in self.subscriptions.values():
            subscription.asked(now)
        log.info("%s: connected, %d topics", owner.name, len(self.subscriptions))

    # -- reading ---------------------------------------------------------------------------------------

    async def _read(self, socket: ClientConnection) -> None:
        owner = self._owner
        subscriptions, topic_of, clock = self.subscriptions, self._exchange.topic, time.time_ns
        reading = owner.inbox.open
        while True:
            frame = await socket.recv(decode=False)
            now = clock() // 1000
            self._frames += 1
            subscription = subscriptions.get(topic_of(frame) or "")
            if subscription is None:
                self._other(frame, now)
                continue
            pending = subscription.pending
            pending.received.append(now)
            pending.raw.append(frame)
            subscription.messages += 1
            if subscription.interrupted_us:
                owner.interrupted(owner, subscription, subscription.interrupted_us, now)
                subscription.interrupted_us = 0
            subscription.last_us = now
            if not reading.is_set():
                await reading.wait()

    def _other(self, frame: bytes, now: int) -> None:
        """A control message, or data of a topic nobody asked for."""
        channel = self._exchange.route(frame)
        if channel is None:
            control = self._exchange.control(frame)
            if control.kind is not ControlKind.UNKNOWN:
                self._control(control)
                return
        self._owner.inbox.pending(self._exchange.market.name, channel or UNPLACED).add(now, frame)

    def _control(self, control: Control) -> None:
        names: Sequence[str] = control.topics
        if control.request in self._requests:
            names, _ = self._requests.pop(control.request)
        names = [name for name in names if name in self.subscriptions]
        if control.kind is ControlKind.ACK:
            for name in names:
                self.subscriptions[name].acknowledged()
        elif control.kind is ControlKind.REFUSED:
            self._refused(names, control.reason)
        elif control.kind is ControlKind.SHUTDOWN:
            log.info("%s: the venue announces a shutdown", self._owner.name)
            self.expire()
        elif control.kind is ControlKind.RATE_LIMITED:
            raise ConnectionLostError(f"rate limited: {control.reason}")
        elif control.kind is ControlKind.ERROR:
            self._owner.last_error = control.reason
            log.warning("%s: %s", self._owner.name, control.reason)

    def _refused(self, names: Sequence[str], reason: str) -> None:
        """One bad topic fails a whole request, so the topics of a longer one are asked for again, each alone."""
        if len(names) > 1:
            self._alone += names
            return
        for name in names:
            self.subscriptions[name].refused(reason, time.monotonic())
            log.warning("%s: %s refused: %s", self._owner.name, name, reason)

    # -- asking ----------------------------------------------------------------------------------------

    async def _subscribe_all(self, socket: ClientConnection) -> None:
        await self._subscribe(socket, [name for name, wanted in self.subscriptions.items() if wanted.available])
        self._everything_asked = True

    async def _subscribe(self, socket: ClientConnection, names: Sequence[str], *, size: int | None = None) -> None:
        for part in _parts(names, size or self._exchange.limits.topics_per_request):
            for name in part:
                self.subscriptions[name].asked(time.monotonic())
            await self._send(socket, self._exchange.subscribe(part, self._request(part)))

    async def _unsubscribe(self, socket: ClientConnection, names: Sequence[str]) -> None:
        for part in _parts(names, self._exchange.limits.topics_per_request):
            await self._send(socket, self._exchange.unsubscribe(part, self._request(())))

    def _request(self, names: Sequence[str]) -> int:
        self._last_request += 1
        self._requests[self._last_request] = (names, time.monotonic() + ANSWER_TIMEOUT_S)
        return self._last_request

    async def _send(self, socket: ClientConnection, message: bytes) -> None:
        """Send, at half the pace the venue allows."""
        async with self._sending:
            await socket.send(message.decode())
            await asyncio.sleep(2 / self._exchange.limits.messages_per_s)

    async def _beat(self, socket: ClientConnection, payload: str) -> None:
        """Send the heartbeat; a venue that answers nothing at all to it is gone."""
        heartbeat = self._exchange.heartbeat
        seen, heard_at = -1, time.monotonic()
        while True:
            await asyncio.sleep(heartbeat.interval_s)
            if self._frames != seen:
                seen, heard_at = self._frames, time.monotonic()
            elif time.monotonic() - heard_at >= heartbeat.silent_after_s:
                raise ConnectionLostError(f"nothing came for {heartbeat.silent_after_s:g} s")
            await socket.send(payload)

    # -- watching --------------------------------------------------------------------------------------

    async def _watch(self, socket: ClientConnection) -> None:
        frames = 0
        while True:
            await asyncio.sleep(self._owner.tick_s)
            now = time.monotonic()
            if any(deadline < now for _, deadline in self._requests.values()):
                raise ConnectionLostError(f"no answer to a request within {ANSWER_TIMEOUT_S:g} s")
            if self._everything_asked and not self._requests and not self.ready.done():
                self.ready.set_result(None)
            if now >= self._renew_at:
                self.expire()
            if self._frames != frames:
                frames, self._data_until = self._frames, now
                self._data_since = self._data_since or now
            await self._remedy(socket, now)

    async def _remedy(self, socket: ClientConnection, now: float) -> None:
        """Ask again for what is silent or was refused; give the connection up where that did not help."""
        alone, again = self._alone, []
        self._alone = []
        for name, subscription in self.subscriptions.items():
            remedy = subscription.check(now)
            if remedy is Remedy.RECONNECT:
                raise ConnectionLostError(f"{name} stayed silent after asking again")
            if remedy is Remedy.RESUBSCRIBE:
                again.append(name)
            elif remedy is Remedy.ASK:
                alone.append(name)
        if again:
            log.warning("%s: nothing from %s, asking again", self._owner.name, _some(again))
            await self._unsubscribe(socket, again)
            await self._subscribe(socket, again)
        await self._subscribe(socket, alone, size=1)

    def expire(self) -> None:
        """Ask for another connection to take over."""
        if not self.expiring.done():
            self.expiring.set_result(None)


def reconnect_delay(failures: int) -> float:
    """Seconds before the next attempt: anything up to 1, 2, 4, … 60, so that many clients do not come at once."""
    return random.uniform(0, min(LONGEST_DELAY_S, 2.0 ** max(0, failures - 1)))


def _retry_after(error: BaseException) -> float:
    """Seconds the venue asks to stay away when it refuses the handshake."""
    if isinstance(error, InvalidStatus) and error.response.status_code in (418, 429):
        value = error.response.headers.get("Retry-After", "")
        return float(value) if value.isdigit() else LONGEST_DELAY_S
    return 0.0


def _describe(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__


def _parts(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
