"""Where alerts are told: the log at once, a file and a webhook through queues that never hold up the collection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec

from orderflow_streaming.settings import Settings
from orderflow_streaming.watching.alerts import Event, Notice
from orderflow_streaming.watching.conditions import Level

log = logging.getLogger(__name__)

QUEUED = 1_000
ATTEMPTS = 5
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
FAREWELL_S = 5.0
"""How long the end waits for what is queued."""
_MAY_PASS = (408, 425, 429)


class ChannelError(Exception):
    """A notice could not be delivered. ``lasting``: another attempt would end the same."""

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


Deliver = Callable[[bytes], Awaitable[None]]
"""Takes one notice as JSON; raises :class:`ChannelError`."""


def to_log(notice: Notice) -> None:
    """MEDIUM and HIGH as warnings, CRITICAL as an error, what is over as information."""
    level = Level[notice.alert.level]
    severity = logging.ERROR if level is Level.CRITICAL else logging.WARNING if level >= Level.MEDIUM else logging.INFO
    if notice.event is Event.CLEARED:
        severity = logging.INFO
    log.log(severity, "alert %s %s: %s [%s]", notice.event, notice.alert.level, notice.alert.message, notice.alert.id)


def to_file(path: Path) -> Deliver:
    """Appends a line per notice."""

    def append(body: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(body + b"\n")

    async def deliver(body: bytes) -> None:
        try:
            await asyncio.to_thread(append, body)
        except OSError as error:
            raise ChannelError(f"{path}: {error.strerror or error}") from error

    return deliver


def to_webhook(session: aiohttp.ClientSession, url: str, timeout_s: float) -> Deliver:
    """Posts each notice. The address may hold a secret, so errors name its host alone."""
    host = urlsplit(url).hostname
    timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def deliver(body: bytes) -> None:
        try:
            async with session.post(
                url, data=body, headers={"Content-Type": "application/json"}, timeout=timeout
            ) as answer:
                status = answer.status
        except TimeoutError as error:
            raise ChannelError(f"{host} did not answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise ChannelError(f"{host}: {type(error).__name__}") from error
        if status >= 300:
            raise ChannelError(f"{host} answered {status}", lasting=status < 500 and status not in _MAY_PASS)

    return deliver


@dataclass(slots=True)
class Tally:
    """What became of the notices of a channel."""

    sent: int = 0
    failed: int = 0
    """Given up, or pushed out of a full queue."""
    last_error: str = ""


class Channel:
    """One way of telling, with a queue of its own."""

    def __init__(self, name: str, deliver: Deliver) -> None:
        self.name = name
        self.tally = Tally()
        self._deliver = deliver
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def tell(self, body: bytes) -> None:
        """Queue a notice; the oldest gives way where the queue is full."""
        if self._queue.full():
            self._queue.get_nowait()
            self._queue.task_done()
            self._fail("the queue is full")
        self._queue.put_nowait(body)

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            body = await self._queue.get()
            await self._try(body)
            self._queue.task_done()

    async def drained(self) -> None:
        """Wait until everything queued was delivered or given up."""
        await self._queue.join()

    async def _try(self, body: bytes) -> None:
        delay = FIRST_RETRY_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._deliver(body)
            except ChannelError as error:
                if error.lasting or attempt == ATTEMPTS:
                    self._fail(str(error))
                    return
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_S)
            else:
                self.tally.sent += 1
                return

    def _fail(self, reason: str) -> None:
        self.tally.failed += 1
        self.tally.last_error = reason
        log.error("an alert could not be told by %s: %s", self.name, reason)


class Channels:
    """The channels of a configuration."""

    def __init__(self, channels: list[Channel], *, log_too: bool) -> None:
        self.queued, self._log_too = channels, log_too

    def tell(self, notice: Notice) -> None:
        """By every channel."""
        if self._log_too:
            to_log(notice)
        self.queue(notice)

    def queue(self, notice: Notice) -> None:
        """By every channel but the log."""
        body = msgspec.json.encode(notice.to_dict())
        for channel in self.queued:
            channel.tell(body)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Channels]:
    """The channels of ``settings``, delivering; at the end what is queued has a few seconds left."""
    async with AsyncExitStack() as stack:
        queued = []
        if "file" in settings.alert_channels:
            queued.append(Channel("file", to_file(settings.alerts_path)))
        if "webhook" in settings.alert_channels and settings.alert_webhook_url:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            post = to_webhook(session, settings.alert_webhook_url, settings.alert_webhook_timeout_seconds)
            queued.append(Channel("webhook", post))
        delivering = [asyncio.create_task(channel.run(), name=f"alerts by {channel.name}") for channel in queued]
        try:
            yield Channels(queued, log_too="log" in settings.alert_channels)
        finally:
            await _farewell(queued)
            for task in delivering:
                task.cancel()
            await asyncio.gather(*delivering, return_exceptions=True)


async def _farewell(queued: list[Channel]) -> None:
    try:
        async with asyncio.timeout(FAREWELL_S):
            await asyncio.gather(*(channel.drained() for channel in queued))
    except TimeoutError:
        left = ", ".join(f"{channel.waiting} by {channel.name}" for channel in queued)
        log.error("alerts that could not be told before the end: %s", left)
