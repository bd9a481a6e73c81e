"""What clients install starts the server, small and reading only."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.mcp import conformance
from tests.mcp.processes import ROOT, environment

HEAVY = ("dagster", "torch", "darts", "crewai", "ccxt", "pandas")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for name in ("one", "two"):
        command = [sys.executable, str(ROOT / ".ci" / "packages.py"), str(folder / name)]
        subprocess.run(command, check=True, capture_output=True, env=environment())
    return folder


@pytest.fixture(scope="module")
def unpacked(built: Path) -> Path:
    (bundle,) = (built / "one").glob("*.mcpb")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(built / "unpacked")
    return built / "unpacked"


def test_the_same_sources_make_the_same_bundle(built: Path) -> None:
    first, second = (next((built / name).glob("*.mcpb")).read_bytes() for name in ("one", "two"))
    assert first == second
    assert len(first) < 5_000_000


def test_the_bundle_asks_for_little_and_never_writes(unpacked: Path) -> None:
    needed = tomllib.loads((unpacked / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(one.startswith("mcp==") for one in needed)
    assert not any(one.startswith(HEAVY) for one in needed)
    manifest = json.loads((unpacked / "manifest.json").read_text())
    assert manifest["server"]["mcp_config"]["env"]["ORDERFLOW_MCP_READ_ONLY"] == "1"
    assert not any("WRITE" in name for name in manifest["server"]["mcp_config"]["env"])
    assert len(manifest["prompts"]) == 8


async def test_a_client_that_fills_in_the_manifest_gets_the_server_of_the_bundle(
    unpacked: Path, tmp_path: Path
) -> None:
    config = json.loads((unpacked / "manifest.json").read_text())["server"]["mcp_config"]
    chosen = {"data_dir": str(tmp_path), "toolsets": "core", "max_rows": "1000"}

    def filled(text: str) -> str:
        for name, value in chosen.items():
            text = text.replace(f"${{user_config.{name}}}", value)
        return text

    variables = {name: filled(value) for name, value in config["env"].items()} | {"ORDERFLOW_MCP_ALLOW_WRITE": "1"}
    # What uv would do after it has installed the bundle: the server's own module, from the unpacked folder.
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server", *config["args"][config["args"].index("serve") :]],
        env={**os.environ, "PYTHONPATH": str(unpacked), **variables},
        cwd=unpacked,
    )
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        listed = (await session.list_tools()).tools
        manifest = json.loads((unpacked / "manifest.json").read_text())
        assert [tool.name for tool in listed] == [tool["name"] for tool in manifest["tools"]]
        assert all(tool.annotations and tool.annotations.readOnlyHint for tool in listed)


@pytest.mark.parametrize("client", ["claude mcp add", "claude_desktop_config.json"])
async def test_what_the_documentation_says_starts_the_server(client: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mcp.md").read_text()
    binary = str(Path(sys.executable).parent / "orderflow-mcp")
    if client == "claude mcp add":
        (line,) = re.findall(r"^\$ claude mcp add orderflow -- (.*)$", page, re.MULTILINE)
        command, *arguments = shlex.split(
            line.replace("$(pwd)/.venv/bin/orderflow-mcp", binary).replace("$(pwd)", str(tmp_path))
        )
        variables = {}
    else:
        (block,) = re.findall(r"^```json\n(\{\n  \"mcpServers\".*?)^```", page, re.MULTILINE | re.DOTALL)
        said = json.loads(block)["mcpServers"]["orderflow"]
        assert said["command"].endswith("/.venv/bin/orderflow-mcp")
        command, arguments = binary, said["args"]
        variables = {name: text.replace("/absolute/path", str(tmp_path)) for name, text in said["env"].items()}
    parameters = StdioServerParameters(command=command, args=arguments, env=environment(**variables))
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        assert (await session.initialize()).serverInfo.name == "orderflow"
        assert not (await session.call_tool("markets_list", {})).isError


def test_the_registry_entry_names_the_package_and_starts_it_reading(built: Path) -> None:
    entry = json.loads((built / "one" / "server.json").read_text())
    assert len(entry["description"]) <= 100
    (package,) = entry["packages"]
    assert package["version"] == entry["version"]
    assert package["transport"] == {"type": "stdio"}
    assert {"name": "ORDERFLOW_MCP_READ_ONLY", "value": "1"} in package["environmentVariables"]


@pytest.mark.slow
def test_the_official_validator_takes_the_manifest(unpacked: Path) -> None:
    if reason := conformance.missing(conformance.BUNDLES):
        pytest.skip(f"the validator of bundles needs Node: {reason}")
    done = conformance.npx(conformance.BUNDLES, "mcpb", "validate", str(unpacked / "manifest.json"), timeout_s=60)
    assert done.returncode == 0, done.stdout + done.stderr
