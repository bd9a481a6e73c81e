"""Build what clients install: a bundle for Claude Desktop (`.mcpb`) and the entry of a registry (`server.json`).

``python .ci/packages.py dist [--name io.github.you/orderflow]``. Both are made of pyproject.toml and of the
declarations of the server, and start it reading only.
"""

from __future__ import annotations

import argparse
import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from mcp_server.prompts import PROMPTS, write
from mcp_server.registry import declared_tools, select

ROOT = Path(__file__).resolve().parent.parent
CODE = ("mcp_server", "orderflow_assets", "orderflow_streaming")
SERVE = {"ORDERFLOW_MCP_READ_ONLY": "1"}
DATED = (2026, 1, 1, 0, 0, 0)
"""Time of every file in the bundle: the same sources make the same bytes."""
SETTINGS: dict[str, dict[str, Any]] = {
    "ORDERFLOW_MCP_DATA_DIR": {
        "type": "directory",
        "title": "Data folder",
        "description": "The folder that orderflow-stream writes to.",
        "required": True,
    },
    "ORDERFLOW_MCP_TOOLSETS": {
        "type": "string",
        "title": "Toolsets",
        "description": "core, all, or names with commas.",
        "required": False,
        "default": "core",
    },
    "ORDERFLOW_MCP_MAX_ROWS": {
        "type": "number",
        "title": "Rows of one answer",
        "description": "At most so many rows.",
        "required": False,
        "default": 1000,
        "min": 1,
        "max": 1000,
    },
}


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def manifest() -> dict[str, Any]:
    """The bundle's manifest: uv installs the slim server at its first start."""
    about = project()
    chosen = {name: f"${{user_config.{_key(name)}}}" for name in SETTINGS}
    return {
        "manifest_version": "0.4",
        "name": about["name"],
        "display_name": "Orderflow",
        "version": about["version"],
        "description": "Order flow of crypto markets: quotes, books, trades, features, signals, forecasts.",
        "author": about["authors"][0],
        "license": about["license"],
        "keywords": about["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "mcp_server/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "orderflow-mcp", "serve"],
                "env": SERVE | chosen,
            },
        },
        "tools": [
            {"name": tool.name, "description": tool.summary} for tool in select(declared_tools()).listed.values()
        ],
        "tools_generated": True,
        "prompts": [
            {"name": name, "description": prompt.description, "text": write(name, {})}
            for name, prompt in PROMPTS.items()
        ],
        "compatibility": {
            "platforms": ["darwin", "linux", "win32"],
            "runtimes": {"python": about["requires-python"]},
        },
        "user_config": {_key(name): setting for name, setting in SETTINGS.items()},
    }


def registry_entry(name: str) -> dict[str, Any]:
    """What a registry of servers lists, for a package of that name on PyPI."""
    about = project()
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": name,
        "description": "Order flow of crypto markets from a local store, reading only.",
        "version": about["version"],
        "packages": [
            {
                "registryType": "pypi",
                "identifier": about["name"],
                "version": about["version"],
                "runtimeHint": "uvx",
                "runtimeArguments": [
                    {"type": "named", "name": "--from", "value": f"{about['name']}[mcp]=={about['version']}"},
                    {"type": "positional", "value": "orderflow-mcp"},
                ],
                "packageArguments": [{"type": "positional", "value": "serve"}],
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    *({"name": variable, "value": value} for variable, value in SERVE.items()),
                    *(_variable(variable, setting) for variable, setting in SETTINGS.items()),
                ],
            }
        ],
    }


def _variable(name: str, setting: dict[str, Any]) -> dict[str, Any]:
    described = {"name": name, "description": setting["description"], "isRequired": setting["required"]}
    return described | ({"default": str(setting["default"])} if "default" in setting else {})


def _key(variable: str) -> str:
    return variable.removeprefix("ORDERFLOW_MCP_").lower()


def slim_project() -> str:
    """A pyproject.toml that asks for what the server needs and no more. JSON's strings and lists are TOML's too."""
    about = project()
    needed = [*about["dependencies"], *about["optional-dependencies"]["mcp"]]
    return "\n".join(
        (
            "[project]",
            *(f"{key} = {json.dumps(about[key])}" for key in ("name", "version", "description", "requires-python")),
            f"dependencies = {json.dumps(needed)}",
            "",
            "[project.scripts]",
            f"orderflow-mcp = {json.dumps(about['scripts']['orderflow-mcp'])}",
            "",
            "[build-system]",
            'requires = ["hatchling>=1.27"]',
            'build-backend = "hatchling.build"',
            "",
            "[tool.hatch.build.targets.wheel]",
            f"packages = {json.dumps(list(CODE))}",
            "",
        )
    )


def bundle(path: Path) -> None:
    files = {
        "manifest.json": json.dumps(manifest(), indent=2).encode(),
        "pyproject.toml": slim_project().encode(),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    for package in CODE:
        for source in sorted((ROOT / package).rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                files[source.relative_to(ROOT).as_posix()] = source.read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, DATED), content, zipfile.ZIP_DEFLATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="io.github.orderflow/orderflow", help="your namespace in the registry")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / f"{project()['name']}-{project()['version']}.mcpb"
    bundle(path)
    entry = given.folder / "server.json"
    entry.write_text(json.dumps(registry_entry(given.name), indent=2) + "\n")
    print(f"{path} ({path.stat().st_size:,} bytes)\n{entry}")


if __name__ == "__main__":
    main()
