"""The only module that knows the MCP SDK: turns a selection of tools into a server, over stdio or HTTP."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from io import TextIOWrapper
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from mcp_server import files, prompts, resources
from mcp_server.calls import Calls, Reply
from mcp_server.errors import ToolError
from mcp_server.registry import Tool
from mcp_server.results import encode

WORKERS = 8
"""Tools that run at once; further calls wait."""
PROGRESS_EVERY_S = 5.0
GRACE_S = 2.0
"""How long past its own limit a call may take before it is abandoned."""

INSTRUCTIONS = """\
Order flow of crypto markets: quotes, books, trades, bars, features, signals, forecasts, all from the store of a \
running collector. Every figure was measured or computed; where there are none, the answer is empty and `hint` says why.
Start with price_latest, trade_flow_get or features_get for a market question, markets_list and tables_list for what \
exists, streams_health and data_quality_get before trusting a figure. catalog_search finds a feature, signal, table \
or tool by words, catalog_describe gives its definition and unit. sql_query reads anything else.
Answers: `columns` and `rows`, newest first; columns equal in all rows are in `constants`; units are in `units`. \
`meta.staleness_s` is the age of the newest row. `meta.truncated` with `meta.next_cursor`: call again with cursor.
Times are UTC; bar_ts is the closing edge of a bar. side is the taker's. Symbols are BTCUSDT, markets binance_futures.
An error has a code, a remedy and `retryable`."""


def build(calls: Calls, version: str) -> Server:
    """The server that shows and runs the tools of ``calls``."""
    server: Server = Server("orderflow", version=version, instructions=INSTRUCTIONS)
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="tool")
    listed = [_listed(tool) for tool in calls.selection.listed.values()]

    @server.list_tools()
    async def list_tools() -> list[types.Tool]:
        return listed

    async def call_tool(request: types.CallToolRequest) -> types.ServerResult:
        try:
            tool = calls.listed(request.params.name)
            arguments = request.params.arguments or {}
            _authorize(server, tool)
            await _agreed(server, tool, arguments)
            return _result(await _run(server, pool, calls, tool, arguments))
        except ToolError as error:
            return _result(Reply(error.to_dict()), failed=True)

    # Not server.call_tool(): it checks arguments against the schema on every call, in words of its own.
    server.request_handlers[types.CallToolRequest] = call_tool

    @server.list_resources()
    async def list_resources() -> list[types.Resource]:
        return [
            types.Resource(uri=AnyUrl(item.uri), name=item.name, description=item.description, mimeType=item.mime)
            for item in resources.RESOURCES
        ]

    @server.list_resource_templates()
    async def list_templates() -> list[types.ResourceTemplate]:
        return [
            types.ResourceTemplate(
                uriTemplate=item.uri, name=item.name, description=item.description, mimeType=item.mime
            )
            for item in resources.TEMPLATES
        ]

    @server.read_resource()
    async def read_resource(uri: AnyUrl) -> list[ReadResourceContents]:
        try:
            if str(uri).startswith(files.ADDRESS):
                held, mime = calls.file(str(uri))
                return [
                    ReadResourceContents(content=held.decode() if mime == files.MIME["csv"] else held, mime_type=mime)
                ]
            if str(uri).startswith(resources.ASSET):
                asset = {"asset": str(uri).removeprefix(resources.ASSET)}
                content = (await _run(server, pool, calls, calls.reachable("asset_lineage"), asset)).payload
            else:
                content = resources.read(str(uri), calls.selection.reachable)
        except ToolError as error:
            raise McpError(types.ErrorData(code=-32002, message=str(error))) from None
        return [ReadResourceContents(content=encode(content), mime_type=resources.JSON)]

    @server.list_prompts()
    async def list_prompts() -> list[types.Prompt]:
        return [
            types.Prompt(
                name=item.name,
                description=item.description,
                arguments=[
                    types.PromptArgument(
                        name=name,
                        description=f"{prompts.ARGUMENTS[name]} (default {prompts.DEFAULTS[name]})",
                        required=False,
                    )
                    for name in item.arguments
                ],
            )
            for item in prompts.PROMPTS.values()
        ]

    @server.get_prompt()
    async def get_prompt(name: str, arguments: dict[str, str] | None) -> types.GetPromptResult:
        try:
            text = prompts.write(name, arguments or {})
        except ToolError as error:
            raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=str(error))) from None
        message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
        return types.GetPromptResult(description=prompts.PROMPTS[name].description, messages=[message])

    @server.completion()
    async def complete(
        reference: types.PromptReference | types.ResourceTemplateReference,
        argument: types.CompletionArgument,
        context: types.CompletionContext | None,
    ) -> types.Completion:
        typed = argument.value.lower()
        values = [value for value in resources.choices(argument.name) if value.lower().startswith(typed)]
        return types.Completion(values=values[:100], total=len(values), hasMore=len(values) > 100)

    return server


def serve_stdio(server: Server, output: int) -> None:
    """Serve from stdin to the descriptor ``output`` until stdin ends or a signal comes."""

    async def serve() -> None:
        stdout = anyio.wrap_file(TextIOWrapper(os.fdopen(output, "wb"), encoding="utf-8"))
        async with stdio_server(stdout=stdout) as (read, write):
            await server.run(read, write, server.create_initialization_options())

    # The thread that reads stdin cannot be interrupted, and there is nothing to save.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    anyio.run(serve)


def http_sessions(server: Server, hosts: list[str], origins: list[str]) -> StreamableHTTPSessionManager:
    """Sessions over Streamable HTTP, for requests with these Host and Origin headers only."""
    logging.getLogger("mcp.server.streamable_http").addFilter(_worth_logging)
    security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)
    return StreamableHTTPSessionManager(server, security_settings=security)


def _worth_logging(record: logging.LogRecord) -> bool:
    """Not so the end of a stream that a client closed, which the SDK logs as an error."""
    return not (record.exc_info and record.exc_info[0] is anyio.ClosedResourceError)


def _listed(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        inputSchema=tool.input_schema,
        annotations=types.ToolAnnotations.model_validate(tool.annotations),
        _meta={"anthropic/alwaysLoad": True} if tool.always_load else None,
    )


def _result(reply: Reply, *, failed: bool = False) -> types.ServerResult:
    """The payload twice, as some clients show only the text and some only the structure."""
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=encode(reply.payload))]
    content += [
        types.ImageContent(type="image", data=base64.b64encode(picture.data).decode(), mimeType=picture.mime)
        for picture in reply.pictures
    ]
    content += [
        types.ResourceLink(
            type="resource_link", uri=AnyUrl(link.uri), name=link.name, mimeType=link.mime, size=link.size
        )
        for link in reply.links
    ]
    return types.ServerResult(types.CallToolResult(content=content, structuredContent=reply.payload, isError=failed))


def _authorize(server: Server, tool: Tool) -> None:
    request = server.request_context.request
    scope = request.scope["orderflow_scope"] if request is not None else "write"
    if tool.writes and scope != "write":
        raise ToolError("scope", f"{tool.name} changes something, and this token only reads.", "Use a write token.")


async def _agreed(server: Server, tool: Tool, arguments: dict[str, Any]) -> None:
    """Ask the user before something changes, where the client can; other hosts ask by the tool's annotations."""
    context = server.request_context
    able = types.ClientCapabilities(elicitation=types.ElicitationCapability())
    if not tool.writes or tool.adds or not context.session.check_client_capability(able):
        return
    said = f"{tool.name}: {tool.summary} Arguments: {encode(arguments)[:500]}. Go on?"
    answered = await context.session.elicit_form(said, {"type": "object", "properties": {}}, context.request_id)
    if answered.action != "accept":
        raise ToolError("declined", f"The user did not agree to {tool.name}.", "Ask the user what to do instead.")


async def _run(server: Server, pool: ThreadPoolExecutor, calls: Calls, tool: Tool, arguments: dict[str, Any]) -> Reply:
    """Run the tool on a worker thread; report progress while it takes long, give up past its limit."""
    context = server.request_context
    token = context.meta.progressToken if context.meta else None
    loop = asyncio.get_running_loop()
    started = loop.time()
    work = loop.run_in_executor(pool, calls.reply, tool, arguments)
    try:
        while not (await asyncio.wait({work}, timeout=PROGRESS_EVERY_S))[0]:
            elapsed = loop.time() - started
            if elapsed > tool.timeout_s + GRACE_S:
                raise ToolError(
                    "timeout", "The call ran past its time limit.", "Narrow the time range, then try again."
                )
            if token is not None:
                await context.session.send_progress_notification(
                    token, elapsed, tool.timeout_s, "still computing", related_request_id=str(context.request_id)
                )
    finally:
        if not work.done():
            work.cancel()
    try:
        return work.result()
    except ToolError:
        raise
    except Exception:
        calls.log_failure(tool)
        raise ToolError(
            "internal", f"{tool.name} failed unexpectedly.", "The log of the server (stderr) says more.", retryable=True
        ) from None
