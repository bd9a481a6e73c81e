"""One socket of a market: opened, subscribed, watched, renewed before its time and opened again when lost.

What happens on one connection is :class:`~orderflow_streaming.reading.session.Session`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress

from websockets.exceptions import InvalidStatus, WebSocketException

from orderflow_streaming.exchanges.protocol import Exchange, Socket, Topic
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.rest import RestError
from orderflow_streaming.reading.session import ConnectionLostError, Session, Ticket
from orderflow_streaming.reading.subscription import Subscription

log = logging.getLogger(__name__)

LONGEST_DELAY_S = 60.0
STABLE_AFTER_S = 60.0
"""Data for so long resets the reconnect delay."""
TAKEOVER_TIMEOUT_S = 30.0
LAG_S = 10.0
"""So long after a takeover, a message of the old connection may still come on the new one."""

Interrupted = Callable[["Connection", Subscription, int, int], None]


class Connection:
    """Keeps one :class:`~orderflow_streaming.exchanges.protocol.Socket` and fills the inbox from it."""

    def __init__(
        self,
        exchange: Exchange,
        socket: Socket,
        inbox: Inbox,
        *,
        interrupted: Interrupted = lambda connection, subscription, lost_us, back_us: None,
        ticket: Ticket | None = None,
        tick_s: float = 1.0,
    ) -> None:
        """``interrupted`` hears of each subscription that brings data again, with the receive times around the hole.
        ``ticket`` asks a venue that tells only then where to connect."""
        self.exchange, self.socket, self.inbox = exchange, socket, inbox
        self.interrupted, self.ticket = interrupted, ticket
        self.tick_s = tick_s
        self.name = f"{exchange.market.name} {socket.name}"
        self.subscriptions = {topic.name: self._subscription(topic) for topic in socket.topics}
        self._session: Session | None = None
        self._hurried = asyncio.Event()
        self._overlap_ends: asyncio.TimerHandle | None = None
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
        droppable = "orderbooks" in topic.streams and not topic.merged
        return Subscription(topic, self.inbox.pending(self.exchange.market.name, topic.channel, droppable=droppable))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, or until someone asks for it."""
        self._hurried.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    async def _replaced(self, old: Session) -> Session:
        """The session that takes over from ``old``, or ``old`` where no second connection can be had."""
        self._overlap(set)
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
            self._overlap_ends = asyncio.get_running_loop().call_later(LAG_S, self._overlap, lambda: None)
            log.info("%s: renewed", self.name)
            return new
        await new.close()
        self._overlap(lambda: None)
        old.postpone(time.monotonic() + LONGEST_DELAY_S)
        log.warning("%s: could not be renewed (%s), will be tried again", self.name, _describe(new.error()))
        return old

    def _overlap(self, memory: Callable[[], set[int] | None]) -> None:
        """Let every subscription tell what two connections bring from what one brings, or stop that."""
        if self._overlap_ends is not None:
            self._overlap_ends.cancel()
        for subscription in self.subscriptions.values():
            subscription.overlap = memory()

    def _after_loss(self, session: Session) -> float:
        """Take note of why the session ended; returns the seconds to wait before the next."""
        self.connected = False
        self._interrupt()
        if (name := session.left_unanswered()) and name in self.subscriptions:
            self.subscriptions[name].closed_upon(time.monotonic())
        error = session.error()
        self.last_error = _describe(error)
        self.losses += session.opened
        self.failures = 0 if session.stable_for() >= STABLE_AFTER_S else self.failures + 1
        delay = max(reconnect_delay(self.failures), _retry_after(error))
        foreseen = isinstance(error, OSError | WebSocketException | ConnectionLostError | RestError)
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
