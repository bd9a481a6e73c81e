"""A venue that remembers: Binance's REST answers of the past on loopback, and all it takes to ask and to store them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.past.fetching import Fetcher
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.rest import RestClient
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.gaps import Gap
from orderflow_streaming.writing.writer import Writer
from tests.streaming.venue import until

BINANCE = exchange("binance_futures")
IDENTITY = ("BTCUSDT", "binance", "futures")
MINUTE_MS = 60_000
_INSTRUMENT = {"symbol": "BTCUSDT", "status": "TRADING", "contractType": "PERPETUAL", "filters": []}


class Past:
    """Trades ``id -> time in ms`` and one-minute bars since ``bars_from_ms``; refuses as tests tell it to."""

    def __init__(self, trades: dict[int, int], bars_from_ms: int = 0) -> None:
        self.trades, self.bars_from_ms = trades, bars_from_ms
        self.asked: list[str] = []
        self.refuse: list[tuple[int, dict[str, str], bytes]] = []
        """Status, headers and body of the answers to come, before it answers properly."""
        self.before: Callable[[str], None] = lambda path: None

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        self.before(request.path_qs)
        if self.refuse:
            status, headers, body = self.refuse.pop(0)
            return web.Response(status=status, headers=headers, body=body)
        query = {name: int(value) for name, value in request.query.items() if value.isdigit()}
        kind = request.path.rpartition("/")[2]
        found = {
            "aggTrades": self._trades,
            "klines": self._bars,
            "fundingRate": lambda query: [],
            "openInterestHist": lambda query: [],
            "exchangeInfo": lambda query: {"symbols": [_INSTRUMENT]},
            "fundingInfo": lambda query: [],
        }[kind](query)
        return web.Response(body=json.dumps(found).encode())

    def _trades(self, query: dict[str, int]) -> list[dict[str, Any]]:
        within = [
            identity
            for identity, when in sorted(self.trades.items())
            if identity >= query.get("fromId", 0) and query.get("startTime", 0) <= when <= query.get("endTime", 2**62)
        ]
        return [
            {
                "a": identity,
                "p": "100.0",
                "q": "1.5",
                "f": identity,
                "l": identity,
                "T": self.trades[identity],
                "m": False,
            }
            for identity in within[: query["limit"]]
        ]

    def _bars(self, query: dict[str, int]) -> list[list[Any]]:
        first = -(-max(query["startTime"], self.bars_from_ms) // MINUTE_MS) * MINUTE_MS
        opens = range(first, min(query["endTime"], time.time_ns() // 1_000_000) + 1, MINUTE_MS)
        return [
            [at, "100", "101", "99", "100.5", "7", at + MINUTE_MS - 1, "700", 3, "4", "400", "0"]
            for at in list(opens)[: query["limit"]]
        ]


class Asking:
    """A fetcher of the venue, and the store that its frames end in."""

    def __init__(self, venue: Past, folder: Path, client: RestClient, protocol: Exchange) -> None:
        self.venue = venue
        self.engine = Engine(folder / "orderflow.duckdb", memory_limit="512MB")
        self.journal = Journal(folder / "journal")
        self.writer = Writer(self.engine, self.journal, interval_s=60)
        self.inbox = Inbox(self.journal, synced=self.writer.synced)
        self.client = client
        self.fetcher = Fetcher(protocol, client, self.inbox)

    async def stored(self) -> bool:
        return await self.inbox.sync() and await asyncio.to_thread(self.writer.flush)

    async def store(self, *frames: bytes, gaps: tuple[Gap, ...] = ()) -> None:
        """Socket frames as if just received."""
        for frame in frames:
            self.inbox.pending("binance_futures", BINANCE.route(frame) or "").add(time.time_ns() // 1000, frame)
        for gap in gaps:
            self.writer.note(gap)
        assert await self.stored()
        await until(lambda: not self.writer._gaps)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.cursor().execute(sql).fetchall()

    def gaps(self) -> list[tuple[Any, ...]]:
        """Stream, whether it is filled, given up, the rows and the reason, oldest gap first."""
        return self.rows(
            "SELECT stream, filled_at IS NOT NULL, given_up_at IS NOT NULL, filled_rows, fill_reason FROM ops.gaps "
            "ORDER BY started_at, stream"
        )


@asynccontextmanager
async def asking(venue: Past, folder: Path, protocol: Exchange = BINANCE) -> AsyncIterator[Asking]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", venue.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session:
        client = RestClient(session, f"http://127.0.0.1:{runner.addresses[0][1]}", protocol.limits)
        asked = Asking(venue, folder, client, protocol)
        asked.writer.start()
        try:
            yield asked
        finally:
            asked.writer.stop()
            asked.inbox.close()
            asked.journal.close()
            asked.engine.close()
            await runner.cleanup()
