"""What a model is shown: small, complete, honest, and the same at every start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server import adapter
from mcp_server.errors import ToolError
from mcp_server.registry import CORE, checked, declared_tools, select
from orderflow_streaming.markets import MARKETS, SYMBOLS, UnknownNameError

TOOLS = declared_tools()
SLIM = """
import sys
import mcp_server.adapter, mcp_server.cli
from mcp_server.registry import declared_tools
declared_tools()
print([name for name in ("dagster", "torch", "pandas", "darts", "scipy", "sklearn") if name in sys.modules])
"""
LIST = """
from mcp_server import adapter
from mcp_server.registry import declared_tools
print([adapter._listed(tool).model_dump_json(by_alias=True) for tool in declared_tools().values()])
"""


def shown(name: str) -> str:
    return adapter._listed(TOOLS[name]).model_dump_json(by_alias=True, exclude_none=True)


def python(code: str, hash_seed: str = "0") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed}
    )
    return done.stdout


def test_the_core_costs_at_most_8000_tokens() -> None:
    core = [name for name, tool in TOOLS.items() if tool.toolset == CORE]
    assert 20 <= len(core) <= 25
    assert sum(len(shown(name)) for name in core) / 4 <= 8_000


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_is_named_described_and_bounded(name: str) -> None:
    tool = TOOLS[name]
    assert re.fullmatch(r"[a-z0-9_]{1,40}", name)
    assert 150 <= len(tool.description) <= 500
    assert len(shown(name)) / 4 <= 400
    assert tool.annotations["readOnlyHint"] is not tool.writes
    assert tool.annotations["destructiveHint"] is (tool.writes and not tool.adds)
    assert tool.input_schema["additionalProperties"] is False
    assert '"title"' not in json.dumps(tool.input_schema)


@pytest.mark.parametrize("name", TOOLS)
def test_names_are_enumerated_and_optional_arguments_take_null(name: str) -> None:
    tool = TOOLS[name]
    required = tool.input_schema.get("required", ())
    for argument, kind in tool.input_schema["properties"].items():
        assert isinstance(kind["type"], str)
        assert argument in required or complaint(name, {argument: None}).startswith(f"{name} needs") is bool(required)
        if tool.toolset == CORE and argument in ("symbol", "market"):
            assert kind["enum"] == list(SYMBOLS if argument == "symbol" else MARKETS)


def test_the_list_is_the_same_at_every_start() -> None:
    assert python(LIST, "1") == python(LIST, "2")


def test_a_reader_needs_neither_dagster_nor_torch_nor_pandas() -> None:
    assert python(SLIM).strip() == "[]"


def test_exclusion_wins_and_hides_from_the_catalogue_too() -> None:
    selection = select(TOOLS, names=("sql_query", "price_latest"), excluded=("sql_query",))
    assert list(selection.listed) == ["price_latest"]
    assert "sql_query" not in selection.reachable


def test_toolsets_add_up() -> None:
    assert set(select(TOOLS, toolsets=("all",), allow_write=True).listed) == set(TOOLS)
    sets = {tool.toolset for tool in TOOLS.values()}
    parts = [set(select(TOOLS, toolsets=(name,), allow_write=True).listed) for name in sets]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(TOOLS)
    assert "candles_get" not in select(TOOLS).listed
    assert "candles_get" in select(TOOLS).reachable


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [({"toolsets": ("cor",)}, "core"), ({"names": ("price_latst",)}, "price_latest"), ({"excluded": ("sql",)}, "sql")],
)
def test_an_unknown_name_stops_with_the_nearest(arguments: dict[str, tuple[str, ...]], nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=nearest):
        select(TOOLS, **arguments)  # type: ignore[arg-type]


def test_without_writes_allowed_no_tool_that_writes_can_be_reached() -> None:
    assert not any(tool.writes for tool in select(TOOLS, toolsets=("all",)).reachable.values())


def test_instructions_are_short() -> None:
    assert len(adapter.INSTRUCTIONS) < 1_500
    assert all(
        name in TOOLS for name in re.findall(r"[a-z]+_[a-z_]*(?:get|list|latest|health|search)\b", adapter.INSTRUCTIONS)
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def complaint(name: str, arguments: dict[str, object]) -> str:
    """What is wrong with the arguments, nothing where they are taken."""
    try:
        checked(TOOLS[name], arguments)
    except ToolError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", TOOLS)
def test_any_arguments_are_taken_or_refused_in_a_line(name: str) -> None:
    names = st.sampled_from([*TOOLS[name].input_schema["properties"], "other"])

    @settings(max_examples=25)
    @given(st.dictionaries(names, JSON_VALUES, max_size=4))
    def take(arguments: dict[str, object]) -> None:
        said = complaint(name, arguments)
        assert "\n" not in said
        assert len(said) < 500

    take()


def test_the_documentation_lists_every_tool_and_no_other() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "mcp.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)) == {
        (name, tool.toolset) for name, tool in TOOLS.items()
    }
