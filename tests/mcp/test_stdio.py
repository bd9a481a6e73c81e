"""The server as Claude runs it: the official client over the standard streams of a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import McpError, types
from pydantic import AnyUrl

from orderflow_assets.features.catalog import GROUPS
from orderflow_streaming.store import connect
from tests.mcp.processes import DEADLINE_S, answer, command, environment, error, stdio, store_process

TOKENS = 8_000
TOKENS_OF_A_TOOL = 400
CHARACTERS_PER_TOKEN = 4

HANDSHAKE = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose store another process serves."""
    path = tmp_path_factory.mktemp("mcp") / "data"
    with store_process(path):
        yield path


def spoken(folder: Path, *messages: dict[str, Any], flags: tuple[str, ...] = (), extra: bool = False) -> list[bytes]:
    """Every line the server writes to standard output for ``messages``, until it has answered all of them."""
    arguments = [*command(extra=extra), "--data-dir", str(folder), *flags]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in [*HANDSHAKE, *messages]:
            process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        lines, waiting = [], {message["id"] for message in messages}
        while waiting and (line := process.stdout.readline()):
            lines.append(line)
            waiting.discard(json.loads(line).get("id"))
        process.stdin.close()
        assert process.wait(timeout=DEADLINE_S) == 0
        return lines


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


# -- what is offered ---------------------------------------------------------------------------------------------


def test_the_list_is_the_same_bytes_at_every_start_and_small(folder: Path) -> None:
    first, second = (spoken(folder, request(2, "tools/list"))[-1] for _ in range(2))
    assert first == second
    tools = json.loads(first)["result"]["tools"]
    sizes = {tool["name"]: len(json.dumps(tool, separators=(",", ":"))) for tool in tools}
    assert sum(sizes.values()) <= TOKENS * CHARACTERS_PER_TOKEN, sizes
    assert {name: size for name, size in sizes.items() if size > TOKENS_OF_A_TOOL * CHARACTERS_PER_TOKEN} == {}


async def test_every_tool_says_what_a_client_must_know(folder: Path) -> None:
    async with stdio(folder, "--toolsets", "all") as session:
        tools = (await session.list_tools()).tools
    assert len(tools) >= 20
    for tool in tools:
        assert re.fullmatch(r"[a-z0-9_]{3,40}", tool.name)
        assert 150 <= len(tool.description or "") <= 500, (tool.name, len(tool.description or ""))
        assert tool.inputSchema["additionalProperties"] is False
        assert '"title"' not in json.dumps(tool.inputSchema)
        assert tool.annotations is not None
        assert tool.annotations.readOnlyHint is True
        assert tool.annotations.destructiveHint is False


def test_the_handshake_names_the_product_and_says_where_to_start(folder: Path) -> None:
    result = json.loads(spoken(folder, request(2, "ping"))[0])["result"]
    assert result["serverInfo"]["name"] == "orderflow"
    assert result["serverInfo"]["version"] == version("orderflow")
    assert len(result["instructions"]) < 1_500
    assert {"tools", "resources", "prompts", "completions"} <= set(result["capabilities"])


# -- what is answered --------------------------------------------------------------------------------------------


async def test_an_answer_is_what_the_store_holds_and_both_forms_of_it_agree(folder: Path) -> None:
    async with stdio(folder) as session:
        result = await session.call_tool("trades_recent", {"symbol": "BTCUSDT", "limit": 5})
    found = answer(result)
    assert isinstance(result.content[0], types.TextContent)
    assert json.loads(result.content[0].text) == found
    with connect(folder) as store:
        stored = store.query("SELECT price, side FROM trades ORDER BY timestamp DESC LIMIT 5")
    place = {name: index for index, name in enumerate(found["columns"])}
    assert [row[place["price"]] for row in found["rows"]] == pytest.approx(stored["price"].to_pylist(), rel=1e-9)
    assert [row[place["side"]] for row in found["rows"]] == stored["side"].to_pylist()
    assert found["meta"]["truncated"] is True


async def test_pages_follow_each_other_without_gap_or_repeat(folder: Path) -> None:
    seen: list[float] = []
    async with stdio(folder) as session:
        cursor = None
        for _ in range(40):
            arguments = {"symbol": "BTCUSDT", "limit": 7, "cursor": cursor}
            found = answer(await session.call_tool("trades_recent", arguments))
            place = found["columns"].index("price")
            seen += [row[place] for row in found["rows"]]
            cursor = found["meta"]["next_cursor"]
            if cursor is None:
                break
    with connect(folder) as store:
        stored = store.query("SELECT price FROM trades ORDER BY timestamp DESC")
    assert seen == pytest.approx(stored["price"].to_pylist(), rel=1e-9)


async def test_a_misspelt_name_is_refused_with_the_nearest_one(folder: Path) -> None:
    misspelt: list[tuple[str, dict[str, Any], str]] = [
        ("price_latst", {}, "price_latest"),
        ("trades_recent", {"symbl": "BTCUSDT"}, "symbol"),
        ("trades_recent", {"symbol": "BTCUSD"}, "BTCUSDT"),
        ("trades_recent", {"symbol": "BTCUSDT", "market": "binance_future"}, "binance_futures"),
    ]
    async with stdio(folder) as session:
        for tool, arguments, near in misspelt:
            found = error(await session.call_tool(tool, arguments))
            assert found["nearest"] == near
            assert found["retryable"] is False
            assert found["message"]
            assert found["remedy"]


async def test_null_is_the_same_as_leaving_an_optional_argument_out(folder: Path) -> None:
    async with stdio(folder) as session:
        tool = {tool.name: tool for tool in (await session.list_tools()).tools}["trades_recent"]
        optional = set(tool.inputSchema["properties"]) - set(tool.inputSchema["required"])
        nulls = answer(await session.call_tool("trades_recent", {"symbol": "BTCUSDT", **dict.fromkeys(optional)}))
        plain = answer(await session.call_tool("trades_recent", {"symbol": "BTCUSDT"}))
    assert nulls["rows"] == plain["rows"]


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_tool_that_prints_leaves_the_protocol_alone(folder: Path) -> None:
    lines = spoken(folder, request(2, "tools/call", name="noisy", arguments={}), request(3, "ping"), extra=True)
    assert {json.loads(line)["id"] for line in lines} == {1, 2, 3}
    assert b"stray" not in b"".join(lines)


async def test_a_long_call_reports_progress_blocks_nobody_and_is_cut_off(folder: Path) -> None:
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with stdio(folder, extra=True) as session:
        started = time.monotonic()
        long = asyncio.create_task(session.call_tool("endless", {}, progress_callback=note))
        await asyncio.sleep(0)
        quick = answer(await session.call_tool("noisy", {}))
        assert not long.done()
        found = error(await long)
        took = time.monotonic() - started
    assert quick["rows"] == [[1]]
    assert found["code"] == "timeout"
    assert 3.0 <= took < 12.0
    assert told
    assert told == sorted(told)


async def test_a_worker_that_hangs_is_abandoned(folder: Path) -> None:
    async with stdio(folder, extra=True) as session:
        assert error(await session.call_tool("stuck", {}))["code"] == "timeout"
        assert answer(await session.call_tool("noisy", {}))["rows"] == [[1]]


async def test_a_cancelled_call_frees_the_session(folder: Path) -> None:
    async with stdio(folder, extra=True) as session:
        with anyio.move_on_after(0.5) as scope:
            await session.call_tool("stuck", {})
        assert scope.cancelled_caught
        notice = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=1, reason="enough"))
        await session.send_notification(types.ClientNotification(notice))
        assert answer(await session.call_tool("noisy", {}))["rows"] == [[1]]


async def test_an_unforeseen_failure_tells_nothing_of_the_inside(folder: Path) -> None:
    async with stdio(folder, extra=True) as session:
        result = await session.call_tool("broken", {})
    assert error(result)["code"] == "internal"
    assert "secret" not in result.model_dump_json()
    assert "Traceback" not in result.model_dump_json()
    assert "secret" in (folder.parent / "stderr.log").read_text()


async def test_without_a_daemon_calls_say_so_and_work_as_soon_as_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    async with stdio(folder) as session:
        found = error(await session.call_tool("price_latest", {}))
        assert found["retryable"] is True
        assert "orderflow-stream run" in found["remedy"]
        assert str(tmp_path) not in json.dumps(found)
        for _ in range(2):
            with store_process(folder):
                assert answer(await session.call_tool("price_latest", {}))["rows"]
            assert error(await session.call_tool("price_latest", {}))["retryable"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(folder: Path, number: signal.Signals) -> None:
    arguments = [*command(), "--data-dir", str(folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(HANDSHAKE[0]).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=DEADLINE_S) == 0
        assert time.monotonic() - started < 5


# -- resources, prompts, completions -----------------------------------------------------------------------------


async def test_resources_prompts_and_completions(folder: Path) -> None:
    async with stdio(folder) as session:
        for resource in (await session.list_resources()).resources:
            content = (await session.read_resource(resource.uri)).contents[0]
            assert isinstance(content, types.TextResourceContents)
            assert json.loads(content.text)
        content = (await session.read_resource(AnyUrl("flow://schema/features.prices"))).contents[0]
        assert isinstance(content, types.TextResourceContents)
        assert "microprice" in content.text
        with pytest.raises(McpError) as refused:
            await session.read_resource(AnyUrl("flow://schema/features.price"))
        assert "features.prices" in str(refused.value)
        for prompt in (await session.list_prompts()).prompts:
            written = await session.get_prompt(prompt.name, {"symbol": "ethusdt"})
            content_of = written.messages[0].content
            assert isinstance(content_of, types.TextContent)
            assert "ETHUSDT" in content_of.text
        offered = await session.complete(
            types.ResourceTemplateReference(type="ref/resource", uri="flow://schema/{table}"),
            {"name": "table", "value": "features."},
        )
        assert set(offered.completion.values) == {group.table.qualified for group in GROUPS.values()}


# -- what it weighs ----------------------------------------------------------------------------------------------


def test_a_slim_install_is_enough() -> None:
    heavy = ("dagster", "torch", "darts", "pandas", "matplotlib", "scipy", "sklearn", "crewai")
    script = (
        "import sys\n"
        "from mcp_server import adapter, http\n"
        "from mcp_server.calls import Calls, Options\n"
        "from mcp_server.registry import declared_tools, select\n"
        "adapter.build(Calls(select(declared_tools(), toolsets=['all']), Options()), '0')\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert found.stdout.strip() == "[]", found.stderr
