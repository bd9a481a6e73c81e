"""REST on loopback: polls become frames, limits and bans are kept, failures cost nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import Poll, Request, decoded
from orderflow_streaming.reading import rest
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.instruments import refresh, stored_symbols
from orderflow_streaming.reading.polls import Polls
from orderflow_streaming.reading.rest import RestClient, RestError
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.schema import OPERATIONS
from orderflow_streaming.store.engine import Engine
from tests.streaming.venue import until

BINANCE = exchange("binance_futures")
LIMITS = BINANCE.limits
_FILTERS = [{"filterType": "PRICE_FILTER", "tickSize": "0.10"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"}]
_BTC = {"symbol": "BTCUSDT", "status": "TRADING", "contractType": "PERPETUAL", "filters": _FILTERS}


class Rest:
    """Answers with what tests put in; remembers when it was asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str]] = []
        self.posted: list[tuple[str, str, bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"{}"
        self.delay_s = 0.0
        self.bodies: dict[str, bytes] = {}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((time.monotonic(), request.path_qs))
        self.posted.append((request.method, request.content_type, await request.read()))
        await asyncio.sleep(self.delay_s)
        return web.Response(status=self.status, headers=self.headers, body=self.bodies.get(request.path, self.body))


@asynccontextmanager
async def served(venue: Rest, limits: object = LIMITS) -> AsyncIterator[RestClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", venue.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            yield RestClient(session, f"http://127.0.0.1:{port}", limits)  # type: ignore[arg-type]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def polling(
    client: RestClient, folder: Path, count: int, interval_s: float
) -> AsyncIterator[tuple[Polls, Inbox]]:
    inbox = Inbox(Journal(folder))
    wanted = tuple(
        Poll("rest/openInterest", f"S{number}", f"/oi?symbol=S{number}", interval_s) for number in range(count)
    )
    polls = Polls(BINANCE, wanted, client, inbox)
    task = asyncio.create_task(polls.run())
    try:
        yield polls, inbox
    finally:
        task.cancel()
        await asyncio.wait({task})
        inbox.close()


async def test_answers_become_frames_of_their_channel(tmp_path: Path) -> None:
    venue = Rest()
    venue.body = b'{"openInterest":"1.5","symbol":"S0","time":1}'
    async with served(venue) as client, polling(client, tmp_path, 1, 60) as (polls, inbox):
        pending = inbox.pending("binance_futures", "rest/openInterest")
        await until(lambda: pending.raw)
        assert decoded(pending.raw[0]) == {
            "rest": "/oi?symbol=S0",
            "data": {"openInterest": "1.5", "symbol": "S0", "time": 1},
        }
        assert abs(pending.received[0] / 1e6 - time.time()) < 5
        assert (polls.polled[0].messages, polls.polled[0].failures) == (1, 0)


async def test_polls_are_spread_over_the_interval(tmp_path: Path) -> None:
    venue = Rest()
    async with served(venue) as client, polling(client, tmp_path, 4, 0.8):
        await until(lambda: len(venue.asked) >= 8)
    times = [at for at, _ in venue.asked[:8]]
    assert [path for _, path in venue.asked[:4]] == [f"/oi?symbol=S{number}" for number in range(4)]
    assert all(0.05 < later - earlier < 0.6 for earlier, later in pairwise(times))


@pytest.mark.parametrize("status", [429, 418])
async def test_a_ban_is_kept_as_long_as_the_venue_says(tmp_path: Path, status: int) -> None:
    venue = Rest()
    venue.status, venue.headers = status, {"Retry-After": "1"}
    async with served(venue) as client:
        with pytest.raises(RestError, match=str(status)):
            await client.get("/one")
        venue.status = 200
        with pytest.raises(RestError, match="as the venue demands"):
            await client.get("/two")
        await until(lambda: not client.away_s)
        await client.get("/three")
    (first, _), (second, path) = venue.asked
    assert path == "/three"
    assert second - first >= 1.0


async def test_half_of_the_weight_is_used_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_MINUTE_S", 0.4)
    venue = Rest()
    async with served(venue, replace(LIMITS, rest_weight_per_min=10)) as client:
        for _ in range(4):
            await client.get("/", weight=2)
    times = [at for at, _ in venue.asked]
    assert times[1] - times[0] < 0.2
    assert times[2] - times[0] >= 0.35


async def test_requests_that_can_wait_leave_room_for_those_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_MINUTE_S", 0.5)
    venue = Rest()
    async with served(venue, replace(LIMITS, rest_weight_per_min=20)) as client:
        for _ in range(4):
            await client.ask(Request("/history", weight=2), patient=True)
        waiting = asyncio.create_task(client.ask(Request("/history", weight=2), patient=True))
        await client.get("/poll", weight=2)
        await waiting
    times = [at for at, _ in venue.asked]
    assert [path for _, path in venue.asked[4:]] == ["/poll", "/history"]
    assert times[4] - times[0] < 0.4 <= times[5] - times[0]


async def test_a_body_is_posted_as_json() -> None:
    venue = Rest()
    async with served(venue) as client:
        await client.ask(Request("/info", b'{"type":"meta"}'))
        await client.get("/plain")
    assert venue.posted == [("POST", "application/json", b'{"type":"meta"}'), ("GET", "application/octet-stream", b"")]


@pytest.mark.parametrize(("status", "lasting"), [(400, True), (404, True), (403, False), (429, False), (500, False)])
async def test_an_error_says_whether_asking_again_can_help(status: int, lasting: bool) -> None:
    venue = Rest()
    venue.status = status
    async with served(venue) as client:
        with pytest.raises(RestError) as failed:
            await client.get("/")
    assert failed.value.lasting is lasting


async def test_polls_that_fail_for_a_while_leave_a_hole_and_short_failures_do_not(tmp_path: Path) -> None:
    venue, holes = Rest(), list[tuple[str, int, int]]()
    venue.body = b'{"openInterest":"1.5","symbol":"S0","time":1}'
    async with served(venue) as client:
        inbox = Inbox(Journal(tmp_path))
        poll = Poll("rest/openInterest", "S0", "/oi", 0.1)
        polls = Polls(BINANCE, (poll,), client, inbox, interrupted=lambda _, polled, *hole: holes.append(
            (polled.poll.symbol, *hole)))  # fmt: skip
        task = asyncio.create_task(polls.run())
        (polled,) = polls.polled
        await until(lambda: polled.messages >= 2)
        venue.status = 500
        await until(lambda: polled.failures == 1)
        venue.status = 200
        await until(lambda: not polled.failures)
        assert holes == []
        lost, venue.status = polled.last_us, 500
        await until(lambda: polled.failures == 5)
        venue.status = 200
        await until(lambda: holes)
        task.cancel()
        await asyncio.wait({task})
        inbox.close()
    [(symbol, lost_us, back_us)] = holes
    assert symbol == "S0"
    assert lost <= lost_us < back_us - 300_000


async def test_weight_used_by_others_is_heeded() -> None:
    venue = Rest()
    venue.headers = {LIMITS.used_weight_header: "1300"}
    async with served(venue) as client:
        await client.get("/")
        assert client.used_weight == 1300
        assert 0 < client.away_s <= 60
        with pytest.raises(RestError, match="no request for"):
            await client.get("/")


async def test_failures_are_told_in_one_line_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    venue = Rest()
    venue.status, venue.body = 503, b"<html>\n busy\n</html>"
    async with served(venue) as client, polling(client, tmp_path, 1, 0.05) as (polls, inbox):
        (polled,) = polls.polled
        await until(lambda: polled.failures >= 2)
        assert polled.reason == "503 <html> busy </html>"
        venue.status, venue.delay_s = 200, 0.5
        await until(lambda: "no answer" in polled.reason)
        venue.delay_s, venue.body = 0.0, b"{}"
        await until(lambda: polled.messages)
        assert (polled.failures, polled.reason) == (0, "")
        assert inbox.pending("binance_futures", "rest/openInterest").raw


async def test_nobody_there_is_an_error_of_one_line() -> None:
    async with aiohttp.ClientSession() as session:
        client = RestClient(session, "http://127.0.0.1:1", LIMITS)
        with pytest.raises(RestError) as failed:
            await client.get("/")
    assert "\n" not in str(failed.value)


async def test_instruments_are_stored_and_replaced(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "o.duckdb", memory_limit="256MB")
    engine.ensure(*OPERATIONS)
    venue = Rest()
    eth = {**_BTC, "symbol": "ETHUSDT"}
    venue.bodies["/fapi/v1/fundingInfo"] = b'[{"symbol":"ETHUSDT","fundingIntervalHours":4}]'
    async with served(venue) as client:
        for symbols in ([_BTC, eth], [eth]):
            venue.bodies["/fapi/v1/exchangeInfo"] = json.dumps({"symbols": symbols}).encode()
            await refresh(BINANCE, client, engine)
            assert stored_symbols(engine, BINANCE) == [symbol["symbol"] for symbol in symbols]
        row = engine.cursor().execute(
            "SELECT venue_symbol, status, contract_size, tick_size, lot_size, funding_interval_hours "
            "FROM ops.instruments"
        )
        assert row.fetchall() == [("ETHUSDT", "TRADING", 1.0, 0.1, 0.001, 4.0)]
        for body in (b"not json", b'{"symbols":[]}', b'{"symbols":[{}]}', b"[]"):
            venue.bodies["/fapi/v1/exchangeInfo"] = body
            with pytest.raises(RestError):
                await refresh(BINANCE, client, engine)
        assert stored_symbols(engine, BINANCE) == ["ETHUSDT"]
    engine.close()
