"""Every tool, through the official client: good, missing, wrong, unknown, hostile and huge arguments, over a filled and
an empty store. A call answers within its limits or fails with the flag set and a line that teaches; none crashes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, types
from mcp.shared.memory import create_connected_server_and_client_session as connected

from mcp_server import adapter
from mcp_server.calls import Calls, Options
from mcp_server.registry import declared_tools, select
from mcp_server.results import MOST_CHARACTERS
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.mcp.conftest import STATUS
from tests.mcp.test_tools import GOOD
from tests.streaming.processes import Simulation

TOOLS = declared_tools()
NOWHERE = "http://127.0.0.1:9"
SAMPLES: dict[str, Any] = {
    "coin": "BTC",
    "column": "bars.close",
    "confirm": "BTCUSDT|binance_futures",
    "model": "ridge",
    "table": "main.trades",
    "values": [float(number % 7) for number in range(120)],
}
HOSTILE = (
    "'; DROP TABLE trades; --",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "{0.__class__} %s %n ${HOME}",
    "\u202e\u0000\U0001d54f null \n\r",
)
HUGE = "x" * 200_000
TELLTALES = ("Traceback", "pydantic", "site-packages", "/work/", "root:", "DuckDB", "\\n  File")
FROM_NO_ROWS = {
    "calculators_list",
    "catalog_describe",
    "catalog_search",
    "forecast_models_list",
    "funding_annualize",
    "markets_list",
    "position_intent_of",
    "sql_query",
    "streams_health",
    "tables_list",
    "values_anomalies",
    "values_change_points",
}
"""Tools that answer from declarations, from what they are given, or from the state of the daemon."""
ABSENT = {
    "consent": "asset",
    "dagster_unavailable": "Dagster",
    "model": "too few",
    "store": "The store could not answer",
}
"""Failures of good calls by code: a person's word is missing, no Dagster runs here, two hours train no model, and the
store of this test takes no orders.
"""


def good(name: str) -> dict[str, Any]:
    """Arguments that the tool's own schema suggests."""
    schema = TOOLS[name].input_schema
    chosen = {argument: suggested(argument, schema["properties"][argument]) for argument in schema.get("required", ())}
    return chosen | GOOD.get(name, {})


def suggested(argument: str, kind: Mapping[str, Any]) -> Any:
    """A value that the schema of one argument allows."""
    if argument in SAMPLES:
        return SAMPLES[argument]
    if "enum" in kind or "default" in kind:
        return kind.get("default", kind.get("enum", [None])[0])
    return {
        "string": "BTCUSDT",
        "integer": kind.get("minimum", 1),
        "number": kind.get("minimum", 1.0),
        "boolean": True,
        "array": [],
        "object": {},
    }[kind["type"]]


def wrong_types(name: str) -> Iterator[dict[str, Any]]:
    for argument, kind in TOOLS[name].input_schema["properties"].items():
        wrong = {"string": ["a", 1], "array": "text", "object": "text"}.get(kind["type"], {"an": "object"})
        yield good(name) | {argument: wrong}


def out_of_range(name: str) -> Iterator[dict[str, Any]]:
    for argument, kind in TOOLS[name].input_schema["properties"].items():
        beyond = [
            *([kind["minimum"] - 1] if "minimum" in kind else ()),
            *([kind["exclusiveMinimum"]] if "exclusiveMinimum" in kind else ()),
            *([kind["maximum"] + 1] if "maximum" in kind else ()),
            *(["no such choice"] if "enum" in kind else ()),
            *(["y" * (kind["maxLength"] + 1)] if "maxLength" in kind else ()),
            *([[1] * (kind["maxItems"] + 1)] if "maxItems" in kind else ()),
        ]
        yield from (good(name) | {argument: value} for value in beyond)


def huge(name: str) -> Iterator[dict[str, Any]]:
    for argument, kind in TOOLS[name].input_schema["properties"].items():
        many = {"string": HUGE, "integer": 10**300, "number": 10**300, "array": [HUGE] * 50, "object": {HUGE: HUGE}}
        if kind["type"] in many:
            yield good(name) | {argument: many[kind["type"]]}


def texts(name: str) -> Iterator[dict[str, Any]]:
    """Hostile text for every argument that is not restricted to a list, a different one for each."""
    for number, (argument, kind) in enumerate(TOOLS[name].input_schema["properties"].items()):
        if kind["type"] == "string" and "enum" not in kind:
            yield good(name) | {argument: HOSTILE[number % len(HOSTILE)]}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = Simulation(tmp_path_factory.mktemp("venues"), "--symbols", "BTCUSDT,ETHUSDT", "--activity", 0.1)
    yield running.url
    running.end()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data folder of a running store without a table."""
    folder = tmp_path_factory.mktemp("empty")
    engine = Engine(database_path(folder), memory_limit="512MB")
    server = StoreServer(engine, folder)
    server.register("status", lambda _: STATUS, "read")
    server.start()
    yield folder
    server.stop()
    engine.close()


@asynccontextmanager
async def client(folder: Path, simulator: str) -> AsyncIterator[ClientSession]:
    """The official client connected to a server of every tool, writing ones too."""
    calls = Calls(
        select(TOOLS, toolsets=("all",), allow_write=True),
        Options(folder, dagster_url=NOWHERE, simulator_url=simulator),
    )
    async with connected(adapter.build(calls, "0")) as session:
        yield session
    calls.close()


async def asked(session: ClientSession, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The payload of a call, held to what every call must keep to."""
    result = await session.call_tool(name, arguments)
    told = result.structuredContent
    assert told is not None
    assert isinstance(result.content[0], types.TextContent)
    assert json.loads(result.content[0].text) == told
    assert result.isError is ("error" in told)
    text = json.dumps(told, allow_nan=False)
    if result.isError:
        error = told["error"]
        assert error.keys() >= {"code", "message", "remedy", "retryable"}
        assert error["code"] != "internal", (name, arguments, error)
        assert len(text) < 2_000
        assert "\n" not in error["message"] + error["remedy"]
        assert not any(word in text for word in TELLTALES), text
    else:
        assert len(text) <= MOST_CHARACTERS + 2_000
        assert len(told["rows"]) == told["meta"]["rows"] <= 1_000
        assert all(len(row) == len(told["columns"]) for row in told["rows"])
        assert told["meta"]["elapsed_ms"] <= TOOLS[name].timeout_s * 1_000
        assert told["rows"] or told["hint"], name
    return told


def expected(name: str, told: dict[str, Any]) -> bool:
    """Whether the failure is that of a service which this test does without."""
    code, message = told["error"]["code"], told["error"]["message"]
    if code == "store":
        return TOOLS[name].toolset == "control" and ABSENT[code] in message
    return code in ABSENT and ABSENT[code] in message


@pytest.mark.parametrize("name", TOOLS)
async def test_a_good_call_answers_from_what_there_is(
    planted: tuple[Path, datetime], simulator: str, name: str
) -> None:
    async with client(planted[0], simulator) as session:
        told = await asked(session, name, good(name))
    assert "error" not in told or expected(name, told), told


@pytest.mark.parametrize("name", TOOLS)
async def test_where_nothing_is_stored_the_answer_is_empty_and_says_why(empty: Path, simulator: str, name: str) -> None:
    async with client(empty, simulator) as session:
        told = await asked(session, name, good(name))
    if "error" in told:
        assert expected(name, told), told
    elif TOOLS[name].toolset != "venues" and name not in FROM_NO_ROWS:
        assert told["rows"] == []
        assert told["hint"]


@pytest.mark.parametrize("name", TOOLS)
async def test_wrong_arguments_fail_with_the_flag_and_a_line(
    planted: tuple[Path, datetime], simulator: str, name: str
) -> None:
    required = TOOLS[name].input_schema.get("required", ())
    refused = [
        *({key: value for key, value in good(name).items() if key != argument} for argument in required),
        *wrong_types(name),
        *out_of_range(name),
        good(name) | {"exchnage": "binance"},
    ]
    async with client(planted[0], simulator) as session:
        for arguments in refused:
            told = await asked(session, name, arguments)
            assert told.get("error", {}).get("code") == "argument", (arguments, told)


@pytest.mark.parametrize("name", TOOLS)
async def test_hostile_and_huge_arguments_neither_crash_nor_reach_anything(
    planted: tuple[Path, datetime], simulator: str, name: str
) -> None:
    with connect(planted[0], scope="read") as store:
        before = store.query("SELECT count(*) AS n FROM trades")["n"].to_pylist()
        async with client(planted[0], simulator) as session:
            for arguments in (*texts(name), *huge(name)):
                await asked(session, name, arguments)
        assert store.query("SELECT count(*) AS n FROM trades")["n"].to_pylist() == before
