"""``orderflow-mcp``: serve the tools to a model, or list them."""

from __future__ import annotations

import json
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orderflow_streaming.exit_codes import CONFIGURATION, CommandError

if TYPE_CHECKING:
    from mcp_server.registry import Selection
    from orderflow_assets.calculators.discovery import Found

PREFIX = "ORDERFLOW_MCP"
_SERVE = "serve"


_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=[f"{PREFIX}_DATA_DIR", "ORDERFLOW_DATA_DIR"],
    default=Path("data"),
    show_default=True,
    help="Data folder of the daemon.",
)


class _ServeByDefault(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--version", *ctx.help_option_names}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = [_SERVE, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_ServeByDefault,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done or stopped by a signal, 2 configuration.",
)
@click.version_option(package_name="orderflow")
def main() -> None:
    """Answer questions about order flow over the Model Context Protocol. Without a command it serves."""


@main.command(_SERVE, context_settings={"auto_envvar_prefix": PREFIX, "max_content_width": 110})
@_data_dir
@click.option("--transport", type=click.Choice(["stdio", "http"]), default="stdio", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback only with a token (HTTP).")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--token", help="Bearer token that opens reading (HTTP); a variable or a file does not show in ps.")
@click.option("--write-token", help="Bearer token that opens everything (HTTP).")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Bearer tokens, a line `read TOKEN` or `write TOKEN` each (HTTP).",
)
@click.option("--allowed-host", "allowed_hosts", multiple=True, help="A further Host header to answer (HTTP).")
@click.option("--toolsets", default="core", show_default=True, help="core, all, or names with commas.")
@click.option("--tools", help="Only these tools, with commas; replaces --toolsets.")
@click.option("--exclude-tools", help="Never these tools, with commas.")
@click.option("--read-only", is_flag=True, help="Leave out tools that change something (default); wins.")
@click.option("--allow-write", is_flag=True, help="Offer tools that change something.")
@click.option("--max-rows", type=click.IntRange(1, 1000), default=1000, show_default=True, help="Rows of one answer.")
@click.option("--conformance", is_flag=True, hidden=True)
def serve(
    data_dir: Path,
    transport: str,
    toolsets: str,
    tools: str | None,
    exclude_tools: str | None,
    read_only: bool,
    allow_write: bool,
    max_rows: int,
    conformance: bool,
    **network: Any,
) -> None:
    """Serve the tools over stdio or HTTP. Every option can also be set as ORDERFLOW_MCP_<OPTION>."""
    output = _take_stdout() if transport == "stdio" else None
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    writing = allow_write and not read_only
    found = _discover(data_dir)
    selection = _select(found, toolsets, tools, exclude_tools, writing)

    from mcp_server import adapter, fixtures
    from mcp_server.calls import Calls, Options
    from mcp_server.context import DEFAULT_DAGSTER_URL

    dagster_url = os.environ.get("ORDERFLOW_DAGSTER_URL", DEFAULT_DAGSTER_URL)
    options = Options(data_dir, max_rows, dagster_url, found, os.environ.get("ORDERFLOW_SIMULATOR_URL"))
    calls = Calls(fixtures.with_tools(selection) if conformance else selection, options)
    server = adapter.build(calls, version("orderflow"))
    if conformance:
        fixtures.extend(server)
    if output is not None:
        if sys.stdin.isatty():
            click.echo("orderflow-mcp speaks MCP on stdin and stdout; a client such as Claude starts it.", err=True)
        adapter.serve_stdio(server, output)
    else:
        _serve_http(server, writing, **network)
    sys.stderr.flush()
    os._exit(0)  # a worker may still wait for the store; it has nothing to save


@main.command("tools")
@_data_dir
@click.option("--toolsets", default="all", show_default=True, help="core, all, or names with commas.")
@click.option("--json", "as_json", is_flag=True, help="Everything declared, as JSON.")
def list_tools(data_dir: Path, toolsets: str, as_json: bool) -> None:
    """List the tools, those of plugin files too."""
    selection = _select(_discover(data_dir), toolsets, None, None, True)
    listed: list[dict[str, Any]] = [tool.describe() for tool in selection.listed.values()]
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    for tool in listed:
        click.echo(f"{tool['name']:32} {tool['toolset']:12} {tool['summary']}")


def _take_stdout() -> int:
    """A descriptor of standard output for the protocol alone; whatever else is printed goes to stderr from here on."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    return output


def _serve_http(
    server: Any,
    writing: bool,
    *,
    host: str,
    port: int,
    token: str | None,
    write_token: str | None,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
) -> None:
    from mcp_server import adapter, http

    tokens = http.tokens(token, write_token, token_file)
    http.require_guard(host, tokens, allowed_hosts, writing=writing)
    listener = http.bound(host, port)
    click.echo(f"orderflow-mcp serves on http://{http.address(listener)}/mcp", err=True)
    hosts = http.allowed_hosts(host, allowed_hosts)
    sessions = adapter.http_sessions(server, hosts, http.allowed_origins(hosts))
    http.serve(http.application(sessions, tokens), listener)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _discover(data_dir: Path) -> Found:
    from orderflow_assets.calculators.discovery import discover, plugins_folder

    return discover(plugins_folder(data_dir))


def _select(found: Found, toolsets: str, tools: str | None, exclude_tools: str | None, allow_write: bool) -> Selection:
    from mcp_server.registry import declared_tools, select
    from mcp_server.tools.calculators import plugin_tools
    from orderflow_streaming.markets import UnknownNameError

    try:
        return select(
            dict(sorted((declared_tools() | plugin_tools(found)).items())),
            toolsets=_names(toolsets),
            names=_names(tools),
            excluded=_names(exclude_tools),
            allow_write=allow_write,
        )
    except UnknownNameError as error:
        raise CommandError(str(error), CONFIGURATION) from None
