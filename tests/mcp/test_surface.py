"""Every operation that people know by name can be called by it, with the arguments that they know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcp_server.aliases import declared_aliases
from mcp_server.errors import ToolError
from mcp_server.registry import Tool, checked, declared_tools, find

ELSEWHERE = {"crew"}
"""Groups that this server does not offer."""
SAMPLES: dict[str, Any] = {
    "coin": "BTC",
    "contract": "BTC_USDT",
    "exchange": "binance",
    "instrument_name": "BTC-PERPETUAL",
    "model_id": "lightgbm",
    "model_name": "lightgbm",
    "symbol": "BTCUSDT",
    "underlying": "BTC",
}
NOT_COLLECTED = {"kraken", "kraken_futures", "paradex_futures", "pyth"}
"""Venues whose streams are not stored: a question about their stored data is refused with those that are."""
OF_A_TYPE = {
    "str": "BTCUSDT",
    "int": 10,
    "float": 0.5,
    "bool": True,
    "list[float]": [float(number % 5) for number in range(120)],
    "list[str]": [],
}


@pytest.fixture(scope="module")
def operations(known_operations: Path) -> list[dict[str, Any]]:
    """The named operations with their parameters, as a shared file lists them."""
    entries = yaml.safe_load((known_operations / "mcp_tools.yaml").read_text())
    return [entry for entry in entries if entry["group"] not in ELSEWHERE]


def found(name: str) -> Tool | None:
    try:
        return find(name, declared_tools())
    except ToolError:
        return None


def values(parameter: dict[str, Any]) -> list[Any]:
    """Values that the parameter is known to take; the first one is enough for a call."""
    sample = SAMPLES.get(parameter["name"], parameter.get("example", OF_A_TYPE[parameter["type"]]))
    named = [*parameter.get("enum", ()), *parameter.get("documented", ())]
    named = [edge for value in named if value not in NOT_COLLECTED for edge in _edges(value)]
    return [parameter["default"], *named] if "default" in parameter else [*named, sample]


def _edges(value: Any) -> list[Any]:
    """Both ends of a range such as 1m..59m, or the value."""
    return value.split("..") if isinstance(value, str) else [value]


def complaints(entry: dict[str, Any], tool: Tool) -> Iterator[str]:
    """What the tool under this name does not take."""
    known = tool.input_schema["properties"]
    parameters = {parameter["name"]: parameter for parameter in entry["params"]}
    yield from (f"has no {name}" for name in parameters if name not in known)
    required = {name: values(item)[0] for name, item in parameters.items() if "default" not in item and name in known}
    try:
        checked(tool, required)
    except ToolError as error:
        if entry.get("params_known", True):
            yield f"with {required}: {error}"
        return
    for name, parameter in parameters.items():
        for value in values(parameter) if name in known else ():
            try:
                checked(tool, required | {name: value})
            except ToolError as error:
                yield f"with {name}={value!r}: {error}"


def test_every_name_is_a_tool_or_another_name_of_one(operations: list[dict[str, Any]]) -> None:
    assert len(operations) > 300
    unknown = [entry["name"] for entry in operations if found(entry["name"]) is None]
    assert not unknown, "\n".join(unknown)


def test_every_name_takes_the_arguments_that_it_is_known_to_take(operations: list[dict[str, Any]]) -> None:
    refused = [
        f"{entry['name']} {said}"
        for entry in operations
        if (tool := found(entry["name"])) is not None
        for said in complaints(entry, tool)
    ]
    assert not refused, "\n".join(refused)


def test_every_further_name_belongs_to_a_tool_and_says_how_its_arguments_are_called() -> None:
    tools = declared_tools()
    for name, alias in declared_aliases().items():
        assert name not in tools
        under = find(name, tools)
        assert set(alias.renamed) | set(alias.ignored) <= set(under.input_schema["properties"]), name
        assert all(reason for reason in alias.ignored.values()), name
