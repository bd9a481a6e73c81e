"""Median time of a tool call over stdio, as the official client sees it, and the CPU that starting up takes.

The baseline is a bare server of the same SDK whose one tool returns a constant.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.mcp.planted import plant

CALLS, ROUNDS = 150, 3

BARE = """
import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

server = Server("bare")
TOOL = types.Tool(name="constant", description="A constant.", inputSchema={"type": "object"})

@server.list_tools()
async def list_tools():
    return [TOOL]

@server.call_tool(validate_input=False)
async def call_tool(name, arguments):
    return types.CallToolResult(content=[types.TextContent(type="text", text="{}")], structuredContent={})

async def main():
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())

anyio.run(main)
"""
SERVE = "from mcp_server.cli import main; main()"

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "catalog_describe (no store)": ("catalog_describe", {"name": "prices.mid_price"}),
    "price_latest": ("price_latest", {}),
    "features_get 100 rows x 26": ("features_get", {"symbol": "BTCUSDT", "group": "prices", "limit": 100}),
    "sql_query 1,000 rows x 8": (
        "sql_query",
        {"sql": "SELECT i, i+1, i+2, i+3, i+4, i+5, i+6, i+7 FROM range(1000) t(i)", "limit": 1000},
    ),
}


def _python(*code: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-c", *code])


async def _p50_ms(server: StdioServerParameters, calls: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, float]:
    """Median milliseconds of a call, by case."""
    medians = {}
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        for case, (name, arguments) in calls.items():
            taken = []
            for _ in range(CALLS):
                started = time.perf_counter()
                result = await session.call_tool(name, arguments)
                taken.append((time.perf_counter() - started) * 1e3)
                if result.isError:
                    raise RuntimeError(f"{case}: {result.content}")
            medians[case] = median(taken)
    return medians


def _start_cpu_s(code: str, *arguments: str) -> float:
    """CPU seconds of a server that starts, reads the end of its input and stops."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *arguments], stdin=subprocess.DEVNULL, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> list[dict[str, Any]]:
    """A row per case: p50 of a call beside that of the bare server, best round of each; and the CPU of a start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = Engine(database_path(folder), memory_limit="512MB")
        store = StoreServer(engine, folder)
        store.start()
        with connect(folder, scope="write") as writing:
            plant(writing)
        ours: dict[str, float] = {}
        bare = float("inf")
        for _ in range(ROUNDS):
            bare = min(bare, asyncio.run(_p50_ms(_python(BARE), {"bare": ("constant", {})}))["bare"])
            for case, value in asyncio.run(_p50_ms(_python(SERVE, "serve", "--data-dir", name), CASES)).items():
                ours[case] = min(value, ours.get(case, value))
        store.stop()
        engine.close()
    start, bare_start = (
        median(_start_cpu_s(code, *arguments) for _ in range(ROUNDS))
        for code, arguments in ((SERVE, ["serve"]), (BARE, []))
    )
    return [
        *(
            {
                "case": f"mcp {case}",
                "p50_ms": round(value, 2),
                "bare_p50_ms": round(bare, 2),
                "ratio": round(value / bare, 2),
            }
            for case, value in ours.items()
        ),
        {
            "case": "mcp start-up",
            "cpu_s": round(start, 2),
            "bare_cpu_s": round(bare_start, 2),
            "ratio": round(start / bare_start, 2),
        },
    ]
