"""``orderflow-mcp`` at the prompt: what it lists and what it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from mcp_server.cli import main


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLSETS", "TOOLS", "EXCLUDE_TOOLS", "TOKEN", "WRITE_TOKEN", "PORT", "MAX_ROWS"):
        monkeypatch.delenv(f"ORDERFLOW_MCP_{name}", raising=False)
    monkeypatch.setenv("ORDERFLOW_MCP_TRANSPORT", "http")  # stdio takes the descriptors of this process


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, [*arguments], env=variables)


def test_tools_are_listed_with_what_scripts_need() -> None:
    found = run("tools", "--json")
    assert found.exit_code == 0
    tools = json.loads(found.stdout)
    assert [tool["name"] for tool in tools] == sorted({tool["name"] for tool in tools})
    for tool in tools:
        assert {"name", "aliases", "toolset", "summary"} <= set(tool)
        assert tool["summary"].endswith(".")


def test_the_plain_list_has_a_line_a_tool() -> None:
    tools = json.loads(run("tools", "--json").stdout)
    lines = run("tools").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [tool["name"] for tool in tools]


def test_core_is_a_part_of_all() -> None:
    core = json.loads(run("tools", "--toolsets", "core", "--json").stdout)
    assert {tool["toolset"] for tool in core} == {"core"}
    assert 15 <= len(core) <= 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--toolsets", "cor"], "'core'"),
        (["--tools", "price_latst"], "'price_latest'"),
        (["--exclude-tools", "price_latst"], "'price_latest'"),
        (["tools", "--toolsets", "cor"], "'core'"),
        (["--max-rows", "0"], "0"),
        (["--max-rows", "1001"], "1001"),
        (["--port", "70000"], "70000"),
        (["--transport", "smoke"], "smoke"),
        (["--data-dir", __file__], "data-dir"),
        (["--no-such-flag"], "--no-such-flag"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_what_cannot_be_used_ends_with_code_2_and_the_reason(arguments: list[str], said: str) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(("name", "value"), [("TOOLSETS", "cor"), ("TOOLS", "x"), ("PORT", "x"), ("MAX_ROWS", "0")])
def test_variables_are_read_and_checked_like_flags(name: str, value: str) -> None:
    found = run(**{f"ORDERFLOW_MCP_{name}": value})
    assert found.exit_code == 2
    assert value in found.stderr
