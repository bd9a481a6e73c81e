"""The server and the store as processes of their own, and the official client in front of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

DEADLINE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]

STORE = """
import signal, sys, threading
from pathlib import Path
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.mcp.planted import plant

folder, stopped = Path(sys.argv[1]), threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
engine = Engine(database_path(folder), memory_limit="512MB")
server = StoreServer(engine, folder)
server.start()
with connect(folder, scope="write") as store:
    if not store.query("SELECT 1 FROM information_schema.tables WHERE table_name = 'prices'").num_rows:
        plant(store)
print("ready", flush=True)
while not stopped.wait(0.1):
    pass
server.stop()
engine.close()
"""

EXTRA_TOOLS = """
import os, sys, time
from mcp_server import adapter, cli, registry
from mcp_server.context import Context
from mcp_server.results import Answer
from orderflow_streaming.tables import Column

VALUE = [Column("value", "INTEGER")]

@registry.tool()
def noisy(context: Context) -> Answer:
    "Prints wherever it can. For tests only."
    print("a stray print")
    os.write(1, b"a library writing to descriptor 1\\n")
    return Answer.rows(VALUE, [[1]], source="test")

@registry.tool(timeout_s=3.0)
def endless(context: Context) -> Answer:
    "Asks more than the time allows. For tests only."
    rows = context.query("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
    return Answer.of(rows, source="test")

@registry.tool(timeout_s=3.0)
def stuck(context: Context) -> Answer:
    "Hangs past its limit. For tests only."
    time.sleep(30)
    return Answer.rows(VALUE, [[1]], source="test")

@registry.tool(writes=True)
def changing(context: Context) -> Answer:
    "Would change something. For tests only."
    return Answer.rows(VALUE, [[2]], source="test")

@registry.tool()
def broken(context: Context) -> Answer:
    "Fails in an unforeseen way. For tests only."
    raise RuntimeError("secret detail of /etc/passwd")

declared = registry.declared_tools() | {item.name: item for item in (noisy, endless, stuck, changing, broken)}
registry.declared_tools = lambda: declared
adapter.PROGRESS_EVERY_S = 0.3
adapter.GRACE_S = 0.5
cli.main()
"""
"""A server with tools that misbehave, through the same command line as the real one."""


def environment(**more: str) -> dict[str, str]:
    """The environment without settings of this project, with the repository to import from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def command(*, extra: bool = False) -> list[str]:
    """How the server is started; ``extra`` adds the misbehaving tools."""
    return [sys.executable, "-c", EXTRA_TOOLS if extra else "from mcp_server.cli import main; main()"]


def _line(process: subprocess.Popen[str], stream: Any) -> str:
    """The next line of ``stream``; a process that says nothing is killed at the deadline."""
    timer = threading.Timer(DEADLINE_S, process.kill)
    timer.start()
    try:
        return stream.readline()
    finally:
        timer.cancel()


@contextmanager
def store_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns the store in ``folder`` and serves it, with planted rows; stopped at the end."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", STORE, str(folder)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            assert _line(process, process.stdout) == "ready\n"
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=DEADLINE_S)


@asynccontextmanager
async def stdio(folder: Path, *flags: str, extra: bool = False, **client: Any) -> AsyncIterator[ClientSession]:
    """The official client with the server as its child, initialized."""
    words = [*command(extra=extra), "--data-dir", str(folder), *flags]
    parameters = StdioServerParameters(command=words[0], args=words[1:], env=environment())
    with (folder.parent / "stderr.log").open("w") as log:
        async with (
            stdio_client(parameters, errlog=log) as (read, write),
            ClientSession(read, write, **client) as session,
        ):
            await session.initialize()
            yield session


@dataclass(frozen=True, slots=True)
class HttpServer:
    process: subprocess.Popen[str]
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}/mcp"


@contextmanager
def http_process(folder: Path, *flags: str, extra: bool = False, **variables: str) -> Iterator[HttpServer]:
    """The server over HTTP on a free port; killed at the end if it still runs."""
    arguments = ["serve", "--transport", "http", "--port", "0", "--data-dir", str(folder), *flags]
    with subprocess.Popen(
        [*command(extra=extra), *arguments], stderr=subprocess.PIPE, text=True, env=environment(**variables)
    ) as process:
        try:
            line = _line(process, process.stderr)
            found = re.search(r"http://(\S+)/mcp", line)
            assert found, line
            yield HttpServer(process, found[1])
        finally:
            process.kill()


@asynccontextmanager
async def http(server: HttpServer, token: str | None = None) -> AsyncIterator[ClientSession]:
    """The official client connected over Streamable HTTP, initialized."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    async with (
        httpx.AsyncClient(headers=headers, timeout=DEADLINE_S) as client,
        streamable_http_client(server.url, http_client=client) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


def answer(result: types.CallToolResult) -> dict[str, Any]:
    """The structured answer of a call that succeeded."""
    assert result.structuredContent is not None
    assert not result.isError, result.structuredContent
    return result.structuredContent


def error(result: types.CallToolResult) -> dict[str, Any]:
    """The error of a call that failed."""
    assert result.structuredContent is not None
    assert result.isError, result.structuredContent
    found: dict[str, Any] = result.structuredContent["error"]
    return found
