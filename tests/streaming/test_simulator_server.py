"""The simulator as a client meets it: real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from click.testing import CliRunner

from orderflow_streaming.commands.simulate import command
from orderflow_streaming.simulator import faults
from orderflow_streaming.simulator.clock import STEP_US, Clock
from orderflow_streaming.simulator.dialects.binance.futures import BinanceFutures
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.server import Plan, Simulator

START_US = 1_760_000_040_000_000
MINUTE_US = 60_000_000
SYMBOLS = ("BTCUSDT", "WIFUSDT")


class Venue:
    """A running simulator and its addresses."""

    def __init__(self, simulator: Simulator, port: int) -> None:
        self.simulator = simulator
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/binance_futures"

    def socket(self, route: str, *topics: str) -> websockets.connect:
        query = f"?streams={'/'.join(topics)}" if topics else ""
        return websockets.connect(
            f"{self.ws}/{route}/stream{query}", compression=None, max_size=2**24, close_timeout=0.2
        )

    async def call(self, method: str, path: str, **arguments: Any) -> tuple[int, Any, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.http}{path}", **arguments) as answer,
        ):
            return answer.status, json.loads(await answer.read()), answer.headers

    async def fault(self, **fault: Any) -> None:
        status, body, _ = await self.call("POST", "/control", json=fault)
        assert status == 200, body

    async def status(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.call("GET", "/control/status"))[1]
        return body


@asynccontextmanager
async def running(**plan: Any) -> AsyncIterator[Venue]:
    simulator = Simulator(Plan(**{"symbols": SYMBOLS, "start_us": START_US, "speed": 20.0, "seed": 4, **plan}))
    port = await simulator.start(0)
    task = asyncio.create_task(simulator.run())
    try:
        yield Venue(simulator, port)
    finally:
        simulator.stop()
        await asyncio.wait_for(task, 10)
        await simulator.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.02)


async def receive(client: websockets.ClientConnection, seconds: float = 60.0) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), seconds))
    return message


async def last_words(client: websockets.ClientConnection) -> websockets.ConnectionClosed:
    """How the server ended the connection, which it must within ten seconds."""
    async with asyncio.timeout(10):
        while True:
            try:
                await client.recv()
            except websockets.ConnectionClosed as closed:
                return closed


async def silent(client: websockets.ClientConnection, seconds: float = 0.4) -> bool:
    try:
        await asyncio.wait_for(client.recv(), seconds)
    except TimeoutError:
        return True
    return False


async def ask(client: websockets.ClientConnection, message: Any) -> dict[str, Any]:
    """The answer to a request, whatever data comes in between."""
    await client.send(message if isinstance(message, str) else json.dumps(message))
    while "stream" in (answer := await receive(client)):
        pass
    return answer


async def test_subscriptions_are_acknowledged_and_listed() -> None:
    async with running() as venue, venue.socket("market") as client:
        topics = ["btcusdt@aggTrade", "wifusdt@markPrice@1s"]
        assert await ask(client, {"method": "SUBSCRIBE", "params": topics, "id": 7}) == {"result": None, "id": 7}
        heard = {(await receive(client))["stream"] for _ in range(60)}
        assert heard == set(topics)
        assert await ask(client, {"method": "LIST_SUBSCRIPTIONS", "id": 8}) == {"result": topics, "id": 8}
        removed = await ask(client, {"method": "UNSUBSCRIBE", "params": topics[:1], "id": 9})
        assert removed == {"result": None, "id": 9}
        assert {(await receive(client))["stream"] for _ in range(10)} == {topics[1]}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"id": 1}', 2),
        ('{"method": "SUBSCRIB", "params": [], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": [5], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": -1}', 2),
    ],
)
async def test_wrong_requests_get_the_errors_of_the_exchange(message: str, code: int) -> None:
    async with running() as venue, venue.socket("market") as client:
        answer = await ask(client, message)
        assert answer["code"] == code
        assert set(answer) == {"code", "msg"}


@pytest.mark.parametrize("topic", ["btcusdt@aggTrade", "nopeusdt@bookTicker", "btcusdt@nothing", "bookTicker"])
async def test_topics_of_another_route_or_of_no_symbol_are_acknowledged_and_silent(topic: str) -> None:
    async with running() as venue, venue.socket("public") as client:
        assert await ask(client, {"method": "SUBSCRIBE", "params": [topic], "id": 1}) == {"result": None, "id": 1}
        assert await silent(client)


async def test_a_server_sends_what_the_generator_makes(tmp_path: Path) -> None:
    """Same seed, start and knobs: the same bytes, in the same order, and the log names each."""
    topics = ("btcusdt@bookTicker", "wifusdt@depth20@100ms")
    log = tmp_path / "sent.tsv"
    wanted = [frame.decode() for _, _, frame in frames(4, START_US, START_US + 2 * MINUTE_US, SYMBOLS, topics=topics)]
    async with (
        running(speed=500.0, wait_for_subscribers=1, log=log) as venue,
        venue.socket("public", *topics) as client,
    ):
        got = [await asyncio.wait_for(client.recv(), 10) for _ in wanted]
    assert got == wanted
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    sent = [(topic, int(key)) for _, topic, _, key, fault in lines if topic != "-" and not fault]
    assert sent[: len(wanted)] == [(message["stream"], message["data"]["u"]) for message in map(json.loads, wanted)]


async def test_history_waits_for_its_subscribers_and_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "sent.tsv"
    plan = {"start_us": None, "history_hours": 0.1, "speed": 1.0, "symbols": ["WIFUSDT"]}
    async with running(**plan, log=log) as venue, venue.socket("public", "wifusdt@bookTicker") as public:
        assert await silent(public, 1.3), "one route alone must not start the history"
        assert (await venue.status())["mode"] == "waiting"
        async with venue.socket("market") as market:
            await ask(market, {"method": "SUBSCRIBE", "params": ["wifusdt@aggTrade"], "id": 1})
            got: dict[str, list[int]] = {"public": [], "market": []}

            async def collect(name: str, client: websockets.ClientConnection, key: str) -> None:
                async for message in client:
                    got[name].append(json.loads(message)["data"][key])

            tasks = [
                asyncio.create_task(collect("public", public, "u")),
                asyncio.create_task(collect("market", market, "a")),
            ]

            async def present() -> bool:
                return (await venue.status())["mode"] == "paced"

            await until(present, 30)
            state = await venue.status()
            assert abs(state["behind_seconds"]) < 60
            for task in tasks:
                task.cancel()
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    for name, topic in (("public", "wifusdt@bookTicker"), ("market", "wifusdt@aggTrade")):
        sent = [int(key) for _, sent_topic, _, key, _ in lines if sent_topic == topic]
        assert len(got[name]) > 20
        assert got[name] == sent[: len(got[name])]
    assert got["market"] == list(range(got["market"][0], got["market"][0] + len(got["market"])))


async def test_a_slow_client_holds_the_clock_and_loses_nothing() -> None:
    """Back-pressure: what does not fit the buffers waits."""
    topic = "btcusdt@depth20@100ms"
    async with (
        running(start_us=None, history_hours=6.0, wait_for_subscribers=1) as venue,
        venue.socket("public", topic) as client,
    ):
        last = (await receive(client))["data"]["u"]

        async def held() -> bool:
            before = (await venue.status())["clock_us"]
            await asyncio.sleep(0.4)
            return bool((await venue.status())["clock_us"] == before)

        await until(held, 30)
        assert (await venue.status())["mode"] == "history", "the present must not be reached unread"
        for _ in range(3_000):
            data = (await receive(client))["data"]
            assert data["pu"] == last
            last = data["u"]


async def test_pings_come_and_silence_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of the test's own: a stalled machine neither closes a socket nor swallows a ping."""
    monkeypatch.setattr(BinanceFutures, "ping_seconds", 0.05)
    monkeypatch.setattr(BinanceFutures, "pong_seconds", 600.0)
    now = time.monotonic()
    monkeypatch.setattr("orderflow_streaming.simulator.connection.monotonic", lambda: now)
    async with running() as venue, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{venue.ws}/market/stream", autoping=False) as client:
            for _ in range(3):
                now += 1
                assert (await client.receive(60)).type is aiohttp.WSMsgType.PING
            now += 601
            while (message := await client.receive(60)).type is aiohttp.WSMsgType.PING:
                pass
            assert message.type is aiohttp.WSMsgType.CLOSE
        async with session.ws_connect(f"{venue.ws}/market/stream", autoping=False) as client:
            for _ in range(5):
                now += 200
                ping = await client.receive(60)
                assert ping.type is aiohttp.WSMsgType.PING, "answering pings must keep the socket"
                await client.pong(ping.data)


async def test_too_many_messages_close_the_socket() -> None:
    async with running() as venue, venue.socket("market") as client:
        for number in range(15):
            await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        closed = await last_words(client)
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1008


async def test_rest_counts_weight_and_refuses_above_the_limit() -> None:
    async with running() as venue:
        _, _, headers = await venue.call("GET", "/binance_futures/fapi/v1/time")
        used = int(headers["X-MBX-USED-WEIGHT-1M"])
        _, _, headers = await venue.call("GET", "/binance_futures/fapi/v1/aggTrades?symbol=BTCUSDT")
        assert int(headers["x-mbx-used-weight-1m"]) in (used + 20, 20)
        statuses = set()
        for _ in range(130):
            status, body, headers = await venue.call("GET", "/binance_futures/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1")
            statuses.add(status)
            if status == 429:
                assert body["code"] == -1003
                assert 1 <= int(headers["Retry-After"]) <= 60
                break
        assert statuses == {200, 429}


async def test_the_clock_is_the_time_of_rest_and_runs_at_its_speed() -> None:
    async with running(speed=50.0) as venue:

        async def server_time() -> float:
            _, body, _ = await venue.call("GET", "/binance_futures/fapi/v1/time")
            return float(body["serverTime"]) / 1_000

        began, first = time.monotonic(), await server_time()

        async def at_its_speed() -> bool:
            last = await server_time()
            return 40 < (last - first) / (time.monotonic() - began) < 60

        await until(at_its_speed, 60)


async def test_skip_leaves_a_hole_in_the_numbers() -> None:
    async with running() as venue, venue.socket("market", "btcusdt@aggTrade") as client:
        last = (await receive(client))["data"]["a"]
        await venue.fault(fault="skip", topic="btcusdt@aggTrade", count=3)
        jumps = []
        for _ in range(200):
            number = (await receive(client))["data"]["a"]
            if number != last + 1:
                jumps.append(number - last)
            last = number
        assert jumps == [4]
        assert (await venue.status())["faults"] == {"active": [], "played": {"skip": 3}}


async def test_duplicate_repeats_a_frame() -> None:
    async with running() as venue, venue.socket("market", "btcusdt@aggTrade") as client:
        last = (await receive(client))["data"]["a"]
        await venue.fault(fault="duplicate", count=2)
        repeats = 0
        for _ in range(200):
            number = (await receive(client))["data"]["a"]
            assert number - last in (0, 1)
            repeats += number == last
            last = number
        assert repeats == 2


@pytest.mark.parametrize("kind", ["truncated", "types", "huge"])
async def test_malformed_frames_reach_the_client_broken(kind: str) -> None:
    async with running() as venue, venue.socket("market", "btcusdt@aggTrade") as client:
        await receive(client)
        await venue.fault(fault="malformed", kind=kind, count=2)
        broken: list[str] = []
        sound = 0
        while len(broken) < 2 or not sound:
            message = await asyncio.wait_for(client.recv(), 10)
            assert isinstance(message, str)
            if _sound(message):
                sound += 1
            else:
                broken.append(message)
        assert len(broken) == 2
        assert all((len(message) > 1_000_000) == (kind == "huge") for message in broken)
        assert (await venue.status())["faults"]["played"] == {"malformed": 2}


def _sound(message: str) -> bool:
    try:
        decoded = json.loads(message)
    except json.JSONDecodeError:
        return False
    return set(decoded) == {"stream", "data"} and isinstance(decoded["data"]["p"], str)


@pytest.mark.parametrize("abrupt", [True, False])
async def test_drop_closes_the_sockets_of_a_route(abrupt: bool) -> None:
    async with running() as venue:
        async with (
            venue.socket("public", "btcusdt@bookTicker") as public,
            venue.socket("market", "btcusdt@ticker") as market,
        ):
            await receive(public)
            await venue.fault(fault="drop", route="public", abrupt=abrupt)
            assert ((await last_words(public)).rcvd is None) == abrupt
            assert (await receive(market))["stream"] == "btcusdt@ticker"
        async with venue.socket("public", "btcusdt@bookTicker") as again:
            assert (await receive(again))["stream"] == "btcusdt@bookTicker"


async def test_stall_is_silent_but_answers_pings() -> None:
    async with running() as venue, venue.socket("public", "btcusdt@bookTicker") as client:
        await receive(client)
        await venue.fault(fault="stall", seconds=1.2, route="public")
        async with asyncio.timeout(10):
            while not await silent(client, 0.3):
                pass
        await asyncio.wait_for(await client.ping(), 1)
        assert (await receive(client, 5))["stream"] == "btcusdt@bookTicker"


async def test_refuse_answers_with_an_error_once() -> None:
    async with running() as venue, venue.socket("market") as client:
        await venue.fault(fault="refuse", topic="btcusdt@ticker")
        request = {"method": "SUBSCRIBE", "params": ["btcusdt@ticker"], "id": 3}
        answer = await ask(client, request)
        assert answer["id"] == 3
        assert set(answer["error"]) == {"code", "msg"}
        assert await silent(client, 0.3)
        assert await ask(client, request) == {"result": None, "id": 3}
        assert (await receive(client))["stream"] == "btcusdt@ticker"


@pytest.mark.parametrize("status", [429, 418])
async def test_rate_limit_refuses_rest_for_a_while(status: int) -> None:
    async with running() as venue:
        await venue.fault(fault="rate_limit", status=status, seconds=0.8)
        got, body, headers = await venue.call("GET", "/binance_futures/fapi/v1/ping")
        assert (got, body["code"], headers["Retry-After"]) == (status, -1003, "1")

        async def served() -> bool:
            return (await venue.call("GET", "/binance_futures/fapi/v1/ping"))[0] == 200

        await until(served)


async def test_slow_ack_delays_the_answer() -> None:
    async with running() as venue, venue.socket("market") as client:
        await venue.fault(fault="slow_ack", seconds=0.6)
        began = time.monotonic()
        await ask(client, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert time.monotonic() - began > 0.5


async def test_faults_given_at_the_start_begin_when_they_say() -> None:
    given = [faults.parse("refuse,topic=btcusdt@ticker"), faults.parse("skip,count=5,after=3600")]
    async with running(faults=given) as venue, venue.socket("market") as client:
        answer = await ask(client, {"method": "SUBSCRIBE", "params": ["btcusdt@ticker"], "id": 3})
        assert "error" in answer
        active = (await venue.status())["faults"]["active"]
        assert [(one["fault"], one["count"], one["after"]) for one in active] == [("skip", 5, 3600.0)]


@pytest.mark.parametrize(
    "fault", ["dropp", "stall", "skip,count=many", "skip,colour=red", '{"fault": 5}', "skip,count"]
)
def test_unknown_faults_are_refused_with_what_is_allowed(fault: str) -> None:
    with pytest.raises(
        faults.FaultError, match="drop, skip, duplicate, malformed, stall, refuse, rate_limit, slow_ack"
    ):
        faults.parse(fault)


async def test_control_refuses_what_it_does_not_know() -> None:
    async with running() as venue:
        status, body, _ = await venue.call("POST", "/control", json={"fault": "explode"})
        assert status == 400
        assert "drop, skip" in body["error"]


def test_the_clock_runs_free_until_the_present_and_then_in_step() -> None:
    now = {"present": 1_000.0, "passed": 0.0}
    clock = Clock(990_000_000, 2.0, history=True, present=lambda: now["present"], passed=lambda: now["passed"])
    clock.begin()
    steps = []
    while clock.free:
        due = clock.target_us()
        steps.append(due - clock.position_us)
        clock.position_us = due
    assert steps == [STEP_US] * 10
    assert clock.position_us == 1_000_000_000
    now["passed"] += 3.0
    assert clock.target_us() == 1_006_000_000
    with pytest.raises(ValueError, match="above 0"):
        Clock(0, 0.0)


async def _command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from orderflow_streaming.cli import main; main()",
        "simulate",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_says_where_it_serves_and_stops_when_told(number: signal.Signals) -> None:
    process = await _command("--port", "0", "--symbols", "WIFUSDT")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 20)
    advice = (await asyncio.wait_for(process.stdout.readline(), 5)).decode()
    assert advice.startswith("Collect it with: orderflow-stream run --simulator http://127.0.0.1:")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{advice.split()[-1]}/binance_futures/fapi/v1/ping") as answer,
    ):
        assert answer.status == 200
    process.send_signal(number)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors) == (0, b"")


async def test_a_port_in_use_ends_the_command_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await _command("--port", str(taken.getsockname()[1]), "--symbols", "WIFUSDT")
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert len(errors.decode().strip().splitlines()) == 1
    assert "--port" in errors.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--activity", "0"],
        ["--symbols", "BTCUSD"],
        ["--market", "nowhere"],
        ["--fault", "explode"],
        ["--history", "1", "--start", "2025-01-01"],
        ["--speed", "-1"],
        ["--book-interval-ms", "70"],
        ["--log", "/nowhere/at/all.tsv"],
    ],
)
def test_unusable_flags_end_the_command_with_one_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, ["--port", "0", *arguments])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
