"""One connection to a venue, from the handshake to its end: subscribed, read, watched.

No field of a data frame is read here. The topic says which list a frame is appended to; only what no topic
places is looked at as a control message. Messages that are changes also go to the state they change.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection, connect

from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import Address, Control, ControlKind, decoded
from orderflow_streaming.reading.subscription import Remedy, State, Subscription
from orderflow_streaming.reading.upkeep import Upkeep

if TYPE_CHECKING:
    from orderflow_streaming.reading.connection import Connection

log = logging.getLogger(__name__)

UNPLACED = "unplaced"
"""Channel of frames that neither a topic nor a control message explains, or that no state can take; they end in
quarantine."""

OPEN_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
"""A request not answered for so long means a dead connection."""
RENEWAL_MARGIN_S = 600.0
"""So long before the venue ends a connection, at most, a second one takes over."""
_CLOSE_TIMEOUT_S = 2.0
_MAX_FRAME_BYTES = 8 << 20
_QUEUED_FRAMES = 4096

Ticket = Callable[[], Awaitable[bytes]]
"""Asks the venue for what :meth:`~orderflow_streaming.exchanges.protocol.Exchange.address` reads; raises RestError."""


class ConnectionLostError(Exception):
    """Why a connection was given up."""


@dataclass(slots=True)
class _Asked:
    """A request on the socket, and the topics of it that have no answer yet."""

    names: list[str]
    deadline: float


class Session:
    """One connection, from the handshake to its end. Runs as a task of its own."""

    def __init__(self, owner: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._owner = owner
        self.subscriptions = owner.subscriptions
        self._exchange = owner.exchange
        self._states = {
            name: Upkeep.of(owner.exchange, subscription.topic, owner.inbox)
            for name, subscription in owner.subscriptions.items()
            if subscription.topic.merged
        }
        self._requests: dict[int, _Asked] = {}
        self._last_request = 0
        self._answered, self._greeted = asyncio.Event(), asyncio.Event()
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
        address = await self._address()
        async with connect(
            address.url,
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
                    interval_s = address.ping_interval_s or beat.interval_s
                    tasks.create_task(self._beat(socket, beat.payload, interval_s))

    async def _address(self) -> Address:
        owner = self._owner
        answer = await owner.ticket() if owner.ticket else b"null"
        try:
            return self._exchange.address(owner.socket, decoded(answer))
        except ValueError as error:
            raise ConnectionLostError(f"the venue does not say where to connect: {error}") from error

    def _connected(self) -> None:
        owner, now = self._owner, time.monotonic()
        lifetime = self._exchange.limits.connection_lifetime_h * 3600
        self._renew_at = now + lifetime - min(RENEWAL_MARGIN_S, lifetime / 10) * random.uniform(0.5, 1)
        self.opened = owner.connected = True
        owner.sessions += 1
        if not self._exchange.greets:
            self._greeted.set()
        for subscription in self.subscriptions.values():
            subscription.asked(now)
        log.info("%s: connected, %d topics", owner.name, len(self.subscriptions))

    # -- reading ---------------------------------------------------------------------------------------

    async def _read(self, socket: ClientConnection) -> None:
        owner = self._owner
        subscriptions, topic_of, clock = self.subscriptions, self._exchange.topic, time.time_ns
        reading, states = owner.inbox.open, self._states
        while True:
            frame = await socket.recv(decode=False)
            now = clock() // 1000
            self._frames += 1
            subscription = subscriptions.get(topic_of(frame) or "")
            if subscription is None:
                self._other(frame, now)
                continue
            subscription.messages += 1
            if subscription.overlap is not None and subscription.repeated(frame):
                continue
            if not subscription.topic.merged or self._taken(subscription, states[subscription.topic.name], frame, now):
                pending = subscription.pending
                pending.received.append(now)
                pending.raw.append(frame)
                if subscription.interrupted_us and self._is_whole(subscription):
                    owner.interrupted(owner, subscription, subscription.interrupted_us, now)
                    subscription.interrupted_us = 0
                subscription.last_us = now
            if not reading.is_set():
                await reading.wait()

    def _is_whole(self, subscription: Subscription) -> bool:
        """Whether its messages bring rows: a state that waits for a snapshot does not."""
        state = self._states.get(subscription.topic.name)
        return state is None or not state.merger.waiting

    def _taken(self, subscription: Subscription, state: Upkeep, frame: bytes, now: int) -> bool:
        """Have the state take a message; False where it cannot be understood, and went to quarantine."""
        try:
            state.absorb(frame, now)
        except (OutOfSequenceError, ValueError) as error:
            subscription.resyncs += 1
            subscription.interrupted()
            state.lost(time.monotonic())
            log.warning("%s: %s: %s", self._owner.name, subscription.topic.name, error)
            if isinstance(error, ValueError):
                self._owner.inbox.pending(self._exchange.market.name, UNPLACED).add(now, frame)
                return False
        return True

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
        names = self._settled(control)
        if control.kind is ControlKind.WELCOME:
            self._greeted.set()
        elif control.kind is ControlKind.ACK:
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

    def _settled(self, control: Control) -> list[str]:
        """The topics that the answer to a request is about; nobody waits for another answer to them."""
        if control.kind not in (ControlKind.ACK, ControlKind.REFUSED):
            return []
        asked = self._requests.get(control.request or 0)
        names = list(control.topics) or (list(asked.names) if asked else [])
        for waiting in [asked] if asked else self._requests.values():
            waiting.names = [name for name in waiting.names if name not in names]
        self._requests = {number: waiting for number, waiting in self._requests.items() if waiting.names}
        self._answered.set()
        return [name for name in names if name in self.subscriptions]

    def left_unanswered(self) -> str | None:
        """The topic that the venue closed the connection for, as far as that can be told."""
        names = [name for asked in self._requests.values() for name in asked.names]
        return names[0] if self._exchange.closes_on_refusal and len(names) == 1 else None

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
        await self._greeted.wait()
        await self._subscribe(socket, [name for name, wanted in self.subscriptions.items() if wanted.available])
        self._everything_asked = True

    async def _subscribe(self, socket: ClientConnection, names: Sequence[str], *, alone: bool = False) -> None:
        for part in [[name] for name in names] if alone else self._exchange.batches(names):
            now = time.monotonic()
            for name in part:
                self.subscriptions[name].asked(now)
                if name in self._states:
                    self._states[name].asked(now)
            number = self._request(part)
            await self._send(socket, self._exchange.subscribe(part, number))
            while self._exchange.closes_on_refusal and number in self._requests:
                self._answered.clear()
                await self._answered.wait()

    async def _unsubscribe(self, socket: ClientConnection, names: Sequence[str]) -> None:
        """Nothing depends on the answer."""
        for part in self._exchange.batches(names):
            self._last_request += 1
            await self._send(socket, self._exchange.unsubscribe(part, self._last_request))

    def _request(self, names: Sequence[str]) -> int:
        self._last_request += 1
        self._requests[self._last_request] = _Asked(list(names), time.monotonic() + ANSWER_TIMEOUT_S)
        return self._last_request

    async def _send(self, socket: ClientConnection, message: bytes) -> None:
        """Send, at half the pace the venue allows."""
        async with self._sending:
            await socket.send(message.decode())
            await asyncio.sleep(2 / self._exchange.limits.messages_per_s)

    async def _beat(self, socket: ClientConnection, payload: Callable[[], bytes], interval_s: float) -> None:
        """Send the heartbeat; a venue that answers nothing at all to it is gone."""
        heartbeat = self._exchange.heartbeat
        seen, heard_at = -1, time.monotonic()
        while True:
            await asyncio.sleep(interval_s)
            if self._frames != seen:
                seen, heard_at = self._frames, time.monotonic()
            elif time.monotonic() - heard_at >= heartbeat.silent_after_s:
                raise ConnectionLostError(f"nothing came for {heartbeat.silent_after_s:g} s")
            await socket.send(payload().decode())

    # -- watching --------------------------------------------------------------------------------------

    async def _watch(self, socket: ClientConnection) -> None:
        frames = 0
        while True:
            await asyncio.sleep(self._owner.tick_s)
            now = time.monotonic()
            if any(asked.deadline < now for asked in self._requests.values()):
                raise ConnectionLostError(f"no answer to a request within {ANSWER_TIMEOUT_S:g} s")
            if self._everything_asked and not self._requests and not self.ready.done():
                self.ready.set_result(None)
            if now >= self._renew_at:
                self.expire()
            if self._frames != frames:
                frames, self._data_until = self._frames, now
                self._data_since = self._data_since or now
            now_us = time.time_ns() // 1000
            for state in self._states.values():
                state.catch_up(now_us)
            await self._remedy(socket, now)

    async def _remedy(self, socket: ClientConnection, now: float) -> None:
        """Ask again for what is silent or was refused; give the connection up where that did not help."""
        alone, self._alone = self._alone, []
        again = [
            name
            for name, state in self._states.items()
            if self.subscriptions[name].state is State.ACTIVE and state.needs_snapshot(now)
        ]
        for name, subscription in self.subscriptions.items():
            remedy = subscription.check(now)
            if remedy is Remedy.RECONNECT:
                raise ConnectionLostError(f"{name} stayed silent after asking again")
            if remedy is Remedy.RESUBSCRIBE and name not in again:
                again.append(name)
            elif remedy is Remedy.ASK:
                alone.append(name)
        if again:
            log.warning("%s: nothing to go on from %s, asking again", self._owner.name, _some(again))
            await self._unsubscribe(socket, again)
            await self._subscribe(socket, again)
        await self._subscribe(socket, alone, alone=True)

    def expire(self) -> None:
        """Ask for another connection to take over."""
        if not self.expiring.done():
            self.expiring.set_result(None)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
