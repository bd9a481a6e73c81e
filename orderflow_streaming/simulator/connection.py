"""One client's socket, seen from the exchange."""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import suppress
from time import monotonic

from aiohttp import web

from orderflow_streaming.simulator.dialects.dialect import Dialect
from orderflow_streaming.simulator.faults import Entry

BUFFER_BYTES = 1 << 20
"""Unsent bytes beyond which the clock waits for the client."""
_TEXT = 0x81


class Connection:
    """A WebSocket with its subscriptions. Data frames are written many at a time."""

    def __init__(
        self, number: int, dialect: Dialect, route: str, socket: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        self.number, self.dialect, self.route = number, dialect, route
        self.socket = socket
        self.topics: dict[str, None] = {}
        self._asked_at = self._opened_at = self._alive_at = monotonic()
        self._transport = transport
        self._messages: list[float] = []

    @property
    def open(self) -> bool:
        return not self.socket.closed and not self._transport.is_closing()

    def subscribe(self, topics: list[str]) -> None:
        self.topics |= dict.fromkeys(topics)
        self._asked_at = monotonic()

    def asked_within(self, seconds: float) -> bool:
        """Whether subscriptions were added in the last ``seconds``."""
        return monotonic() - self._asked_at < seconds

    def alive(self) -> None:
        """Count a sign of life: a pong, or any message where the server does not ping."""
        self._alive_at = monotonic()

    def unsubscribe(self, topics: list[str]) -> None:
        for topic in topics:
            self.topics.pop(topic, None)

    def heard(self) -> list[str]:
        """Subscribed topics that this route carries; the others stay silent."""
        return [topic for topic in self.topics if self.dialect.route(topic) == self.route]

    def too_many_messages(self) -> bool:
        """Count a message; true when the client sent more of them in a second than the venue allows."""
        now = monotonic()
        self._messages = [when for when in self._messages if when > now - 1.0] + [now]
        return len(self._messages) > self.dialect.messages_per_second

    def write(self, entries: list[Entry]) -> None:
        """Send the frames of ``entries`` as text messages, except those that are to be lost."""
        parts: list[bytes] = []
        for _, frame, _, fault in entries:
            if fault == "skip":
                continue
            size = len(frame)
            if size < 126:
                parts.append(bytes((_TEXT, size)))
            elif size < 65_536:
                parts.append(struct.pack("!BBH", _TEXT, 126, size))
            else:
                parts.append(struct.pack("!BBQ", _TEXT, 127, size))
            parts.append(frame)
        self._transport.write(b"".join(parts))

    async def drain(self) -> None:
        """Wait until the client has taken what was sent, or is gone."""
        while self.open and self._transport.get_write_buffer_size() > BUFFER_BYTES:
            await asyncio.sleep(0.002)

    def abort(self) -> None:
        self._transport.abort()

    async def heartbeat(self, lifetime_seconds: float) -> None:
        """Ping as often as the venue does; close when the client is silent for too long or the time is over."""
        dialect, ping_at = self.dialect, self._opened_at
        while self.open:
            await asyncio.sleep(min(1.0, lifetime_seconds / 10, dialect.ping_seconds or dialect.pong_seconds))
            now = monotonic()
            if now - self._opened_at > lifetime_seconds:
                await self.socket.close(code=1001, message=b"Connection lifetime is over")
                return
            if now - self._alive_at > dialect.pong_seconds:
                await self.socket.close(code=1008, message=b"Pong timeout")
                return
            if dialect.ping_seconds and now - ping_at >= dialect.ping_seconds:
                ping_at = now
                with suppress(ConnectionError):
                    await self.socket.ping(str(time.time_ns() // 1_000_000).encode())
