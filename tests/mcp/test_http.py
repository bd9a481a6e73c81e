"""The server over Streamable HTTP: the same answers, and who is let in."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from mcp_server.cli import main
from tests.mcp.processes import (
    DEADLINE_S,
    HttpServer,
    answer,
    error,
    http,
    http_process,
    stdio,
    store_process,
)

READ, WRITE = "read-token-0123456789", "write-token-0123456789"
ACCEPT = {"Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose store another process serves."""
    path = tmp_path_factory.mktemp("mcp") / "data"
    with store_process(path):
        yield path


@pytest.fixture(scope="module")
def open_server(folder: Path) -> Iterator[HttpServer]:
    """On loopback, without a token."""
    with http_process(folder, extra=True) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_server(folder: Path) -> Iterator[HttpServer]:
    """With a token to read and one to write, set by variables, and tools that write."""
    variables = {"ORDERFLOW_MCP_TOKEN": READ, "ORDERFLOW_MCP_WRITE_TOKEN": WRITE, "ORDERFLOW_MCP_ALLOW_WRITE": "1"}
    with http_process(folder, extra=True, **variables) as server:
        yield server


def posted(server: HttpServer, **headers: str | bytes) -> httpx.Response:
    sent = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in headers.items()}
    accept = {name.encode(): value.encode() for name, value in ACCEPT.items()}
    return httpx.post(server.url, json=INITIALIZE, headers=accept | sent, timeout=DEADLINE_S)


async def test_the_answers_are_those_of_stdio(folder: Path, open_server: HttpServer) -> None:
    asked = ("bars_get", {"symbol": "BTCUSDT", "limit": 3})
    async with http(open_server) as over_http, stdio(folder, extra=True) as over_stdio:
        assert (await over_http.list_tools()).tools == (await over_stdio.list_tools()).tools
        first, second = [answer(await session.call_tool(*asked)) for session in (over_http, over_stdio)]
    assert first["rows"] == second["rows"]


async def test_sessions_do_not_wait_for_each_other(open_server: HttpServer) -> None:
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with http(open_server) as first, http(open_server) as second:
        long = asyncio.create_task(first.call_tool("endless", {}, progress_callback=note))
        quick = [answer(await second.call_tool("noisy", {})) for _ in range(3)]
        assert not long.done()
        assert error(await long)["code"] == "timeout"
    assert all(found["rows"] == [[1]] for found in quick)
    assert told


def test_health_needs_nothing_and_tells_nothing(guarded_server: HttpServer) -> None:
    found = httpx.get(f"http://{guarded_server.address}/health", timeout=DEADLINE_S)
    assert (found.status_code, found.json()) == (200, {"status": "ok"})


def test_without_a_token_nobody_gets_in(guarded_server: HttpServer) -> None:
    found = posted(guarded_server)
    assert found.status_code == 401
    assert found.headers["www-authenticate"] == 'Bearer realm="orderflow"'
    for wrong in ("Bearer nonsense", f"Basic {READ}", "Bearer", f"Bearer {READ}x", "Bearer é".encode()):
        found = posted(guarded_server, Authorization=wrong)
        assert found.status_code == 401
        assert 'error="invalid_token"' in found.headers["www-authenticate"]
        assert READ not in found.text


async def test_a_token_opens_what_it_is_for(guarded_server: HttpServer) -> None:
    async with http(guarded_server, READ) as session:
        assert answer(await session.call_tool("price_latest", {}))["rows"]
        assert error(await session.call_tool("changing", {}))["code"] == "scope"
    async with http(guarded_server, WRITE) as session:
        assert answer(await session.call_tool("price_latest", {}))["rows"]
        assert answer(await session.call_tool("changing", {}))["rows"] == [[2]]


async def test_reading_only_wins_over_allowing_to_write(folder: Path) -> None:
    file = folder.parent / "tokens"
    file.write_text(f"{READ}\n\nwrite {WRITE}\n")
    with http_process(folder, "--allow-write", "--read-only", "--token-file", str(file), extra=True) as server:
        async with http(server, READ) as session:
            assert answer(await session.call_tool("price_latest", {}))["rows"]
        async with http(server, WRITE) as session:
            assert "changing" not in {tool.name for tool in (await session.list_tools()).tools}
            assert error(await session.call_tool("changing", {}))["code"] == "read_only"


def test_a_page_of_another_site_is_refused(open_server: HttpServer) -> None:
    assert posted(open_server).status_code == 200
    assert posted(open_server, Origin=f"http://{open_server.address}").status_code == 200
    assert posted(open_server, Origin="http://evil.example").status_code == 403
    assert posted(open_server, Host="evil.example").status_code == 421


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "0.0.0.0", "--token", READ], "--allowed-host"),
        (["--token", "short"], "16"),
        (["--token", READ, "--write-token", READ], "twice"),
        (["--token-file", "no/such/file"], "cannot be read"),
        (["--token-file", "/dev/null"], "`read TOKEN`"),
        (["--allow-write"], "--write-token"),
        (["--allow-write", "--token", READ], "--write-token"),
        (["--host", "no.such.host.invalid", "--token", READ], "cannot be listened on"),
    ],
)
def test_what_would_let_strangers_in_is_refused(tmp_path: Path, flags: list[str], said: str) -> None:
    refused(tmp_path, flags, said)


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused(tmp_path, ["--port", str(taken.getsockname()[1])], "in use")


def refused(folder: Path, flags: list[str], said: str) -> None:
    arguments = ["serve", "--transport", "http", "--port", "0", "--data-dir", str(folder), *flags]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 2
    assert found.stderr.count("\n") == 1, found.stderr
    assert said in found.stderr
    assert found.stdout == ""


def test_it_stops_soon_though_a_stream_is_open(folder: Path) -> None:
    with http_process(folder) as server:
        opened = posted(server)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "Accept": "text/event-stream"}
        with httpx.stream("GET", server.url, headers=session, timeout=DEADLINE_S) as stream:
            assert stream.status_code == 200
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=DEADLINE_S) == 0
        assert time.monotonic() - started < 10
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()
