"""REST of one venue, below half of what it allows."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping

import aiohttp

from orderflow_streaming.exchanges.protocol import Limits, Request

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_MINUTE_S = 60.0
_LOCKED_OUT = (403, 418, 429)
"""The address asked too much: 403 is the answer of Bybit, and of Binance's firewall."""
_MAY_PASS = (408, 425, *_LOCKED_OUT)
"""Of the refusals, those that are about the time and not about the request."""
_SHORTEST_BAN_S = 60.0
SHARE = 0.5
"""Part of the venue's limit that is used at most."""
PATIENT_SHARE = 0.4
"""Part of it that requests may use which can wait, so that those which cannot always find room."""


class RestError(Exception):
    """A REST request brought no answer that can be used; the message says why, in one line.

    ``lasting``: the same request will be refused again.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class RestClient:
    """Requests paths of one venue. Waits for its share of the weight, and stays away as long as it is told to."""

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, limits: Limits, headers: Mapping[str, str] | None = None
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._limits = limits
        self._headers = dict(headers or {})
        self._spent: deque[tuple[float, int]] = deque()
        self._away_until = 0.0
        self.used_weight: int | None = None
        """Weight used in this minute, as the venue counts it."""

    @property
    def away_s(self) -> float:
        """Seconds for which no request is made, because the venue asked for it or half of its limit is used."""
        return max(0.0, self._away_until - time.monotonic())

    async def get(self, path: str, weight: int = 1) -> bytes:
        """Body of the answer to GET ``path``; raises :class:`RestError`."""
        return await self.ask(Request(path, weight=weight))

    async def ask(self, request: Request, *, patient: bool = False) -> bytes:
        """Body of the answer; a ``patient`` request leaves room for others. Raises :class:`RestError`."""
        await self._share(request.weight, PATIENT_SHARE if patient else SHARE)
        if self.away_s:
            raise RestError(f"no request for {self.away_s:.0f} s, as the venue demands")
        self._spent.append((time.monotonic(), request.weight))
        method = "GET" if request.body is None else "POST"
        headers = self._headers if request.body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._base_url + request.path, data=request.body, headers=headers, timeout=TIMEOUT
            ) as answer:
                body = await answer.read()
                self._take_note(answer)
        except TimeoutError as error:
            raise RestError(f"no answer within {TIMEOUT.total:g} s") from error
        except aiohttp.ClientError as error:
            raise RestError(_one_line(str(error)) or type(error).__name__) from error
        if answer.status != 200:
            lasting = 400 <= answer.status < 500 and answer.status not in _MAY_PASS
            raise RestError(f"{answer.status} {_one_line(body.decode(errors='replace'))}", lasting=lasting)
        return body

    async def _share(self, weight: int, share: float) -> None:
        """Wait until ``weight`` fits into the share of the limit, counting the last minute."""
        while True:
            now = time.monotonic()
            while self._spent and now - self._spent[0][0] >= _MINUTE_S:
                self._spent.popleft()
            spent = sum(part for _, part in self._spent)
            if not spent or spent + weight <= self._limits.rest_weight_per_min * share:
                return
            await asyncio.sleep(_MINUTE_S - (now - self._spent[0][0]))

    def _take_note(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status in _LOCKED_OUT:
            told = answer.headers.get("Retry-After", "")
            self._away_until = time.monotonic() + (float(told) if told.isdigit() else _SHORTEST_BAN_S)
        used = answer.headers.get(self._limits.used_weight_header, "") if self._limits.used_weight_header else ""
        if used.isdigit():
            self.used_weight = int(used)
            if self.used_weight > self._limits.rest_weight_per_min * SHARE:
                self._away_until = max(self._away_until, time.monotonic() + _MINUTE_S - time.time() % _MINUTE_S)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
