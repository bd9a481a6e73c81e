"""Paths asked again and again over REST, evenly spread over time; answers become frames."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orderflow_streaming.exchanges.protocol import Exchange, Poll, decoded, rest_frame
from orderflow_streaming.reading.inbox import Inbox, Pending
from orderflow_streaming.reading.rest import RestClient, RestError

log = logging.getLogger(__name__)

MISSED_POLLS = 3
"""No answer for so many intervals is a hole."""


@dataclass(slots=True)
class Polled:
    """A poll and what came of it; ``last_us`` is the receive time of the last answer, UTC microseconds."""

    poll: Poll
    streams: tuple[str, ...]
    pending: Pending
    messages: int = 0
    last_us: int = 0
    interrupted_us: int = 0
    """``last_us`` when the answers ceased; 0 once one came again."""
    failures: int = 0
    """In a row."""
    reason: str = ""


Interrupted = Callable[[Exchange, Polled, int, int], None]


class Polls:
    """The polls of one market."""

    def __init__(
        self,
        exchange: Exchange,
        polls: Sequence[Poll],
        client: RestClient,
        inbox: Inbox,
        *,
        interrupted: Interrupted = lambda exchange, polled, lost_us, back_us: None,
    ) -> None:
        """``interrupted`` hears of each poll that is answered again after a while, with the receive times around."""
        self.exchange = exchange
        self._client = client
        self._interrupted = interrupted
        self._inbox = inbox
        self._changed = asyncio.Event()
        self.polled: list[Polled] = []
        self.change(polls)

    def change(self, polls: Sequence[Poll]) -> None:
        """Poll these from now on; those of before that stay keep their time."""
        held = {polled.poll: polled for polled in self.polled}
        self.polled = [held.get(poll) or self._new(poll) for poll in polls]
        self._changed.set()

    def _new(self, poll: Poll) -> Polled:
        streams = tuple(dict.fromkeys(rows.kind for rows in self.exchange.channels[poll.channel].rows))
        return Polled(poll, streams, self._inbox.pending(self.exchange.market.name, poll.channel))

    async def run(self) -> None:
        """Poll until cancelled."""
        running: dict[Poll, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                wanted = {polled.poll for polled in self.polled}
                for poll in running.keys() - wanted:
                    running.pop(poll).cancel()
                for number, polled in enumerate(self.polled):
                    if polled.poll not in running:
                        offset = polled.poll.interval_s * number / len(self.polled)
                        running[polled.poll] = tasks.create_task(self._repeat(polled, offset))
                await self._changed.wait()

    async def _repeat(self, polled: Polled, offset_s: float) -> None:
        due = time.monotonic() + offset_s
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._ask(polled)
            due = max(due + polled.poll.interval_s, time.monotonic())

    async def _ask(self, polled: Polled) -> None:
        poll = polled.poll
        try:
            body = await self._client.ask(poll.request)
            if refusal := self.exchange.refusal(decoded(body)):
                raise RestError(refusal)
        except (RestError, ValueError) as error:
            polled.failures += 1
            polled.reason = str(error)
            polled.interrupted_us = polled.interrupted_us or polled.last_us
            if polled.failures == 1:
                log.warning("%s: %s: %s", self.exchange.market.name, poll.path, error)
            return
        if polled.failures:
            log.info("%s: %s answers again", self.exchange.market.name, poll.path)
        polled.failures, polled.reason = 0, ""
        polled.messages += 1
        polled.last_us = time.time_ns() // 1000
        self._notice_hole(polled)
        polled.pending.add(polled.last_us, rest_frame(poll.request, body))

    def _notice_hole(self, polled: Polled) -> None:
        lost_us, polled.interrupted_us = polled.interrupted_us, 0
        if lost_us and polled.last_us - lost_us > MISSED_POLLS * polled.poll.interval_s * 1e6:
            self._interrupted(self.exchange, polled, lost_us, polled.last_us)
