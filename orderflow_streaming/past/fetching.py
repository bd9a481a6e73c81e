"""The past over REST, put into the inbox as frames, so that it becomes rows the way everything does.

Nothing is read of an answer here: what is asked next is the exchange's :class:`~.exchanges.protocol.History`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from orderflow_streaming.exchanges.protocol import (
    Exchange,
    History,
    OutOfReachError,
    Pages,
    Request,
    decoded,
    rest_frame,
)
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.rest import RestClient, RestError

log = logging.getLogger(__name__)

TRIES = 5
FIRST_RETRY_S = 1.0
"""Doubled with every further failure of a request."""
_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)


@dataclass(slots=True)
class Fetched:
    """What was asked for. ``received`` are the receive times of the frames that came, UTC microseconds."""

    received: list[int] = field(default_factory=list)
    requests: int = 0
    missing: str = ""
    """What of it the venue does not offer; empty where it gave all."""


class Fetcher:
    """Asks one market, one request at a time, and only as much as leaves room for others."""

    def __init__(self, exchange: Exchange, client: RestClient, inbox: Inbox) -> None:
        self.exchange = exchange
        self.client, self._inbox = client, inbox
        self._turn = asyncio.Lock()

    async def span(self, stream: str, symbol: str, start_us: int, end_us: int) -> Fetched:
        """Rows of ``[start, end)``, UTC microseconds; raises :class:`RestError` where the venue does not answer."""
        history, fetched = self.exchange.histories[stream], Fetched()
        reach_us = time.time_ns() // 1000 - int((history.reach_s or 0.0) * 1e6)
        if history.reach_s is not None and start_us < reach_us:
            fetched.missing = f"the venue keeps it for {_duration(history.reach_s)} only"
            start_us = reach_us
        if start_us < end_us:
            await self._fetch(history, history.pages(symbol, start_us, end_us), fetched)
        return fetched

    async def numbers(self, stream: str, symbol: str, first: int, last: int) -> Fetched:
        """Rows by their numbers, both included; raises :class:`RestError` where the venue does not answer."""
        history, fetched = self.exchange.histories[stream], Fetched()
        if history.by_id is None:
            raise ValueError(f"{self.exchange.market.name} cannot be asked for {stream} by number")
        await self._fetch(history, history.by_id(symbol, first, last), fetched)
        return fetched

    async def _fetch(self, history: History, pages: Pages, fetched: Fetched) -> None:
        pending = self._inbox.pending(self.exchange.market.name, history.channel)
        try:
            request = next(pages)
            while True:
                body, answer = await self._answer(request)
                fetched.requests += 1
                if answer != []:
                    fetched.received.append(time.time_ns() // 1000)
                    pending.add(fetched.received[-1], rest_frame(request, body))
                asked, request = request, pages.send(answer)
                if request == asked:
                    raise RestError(f"the answers lead nowhere after {request.path}", lasting=True)
        except StopIteration:
            return
        except OutOfReachError as error:
            fetched.missing = str(error)
        except _UNREADABLE as error:
            raise RestError(f"the answer cannot be read: {error!r}"[:200]) from error
        finally:
            pages.close()

    async def _answer(self, request: Request) -> tuple[bytes, Any]:
        """The answer and what it says, asked for again as long as there is hope."""
        failures = 0
        async with self._turn:
            while True:
                await self._inbox.open.wait()
                try:
                    body = await self.client.ask(request, patient=True)
                    answer = decoded(body)
                    if refusal := self.exchange.refusal(answer):
                        raise RestError(refusal)
                    return body, answer
                except RestError as error:
                    failures += 1
                    if error.lasting or failures == TRIES:
                        raise
                    pause = max(self.client.away_s, FIRST_RETRY_S * 2 ** (failures - 1))
                    log.info("%s: %s: %s, again in %.0f s", self.exchange.market.name, request.path, error, pause)
                await asyncio.sleep(pause)


def _duration(seconds: float) -> str:
    return f"{seconds / 86_400:g} days" if seconds >= 86_400 else f"{seconds / 3600:g} hours"
