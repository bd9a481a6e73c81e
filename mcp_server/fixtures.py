"""The fixtures that the official conformance suite asks for by name, in front of what the server itself offers.

Only ``orderflow-mcp serve --conformance``, which no help shows, adds them. Whatever carries no fixture's name is
answered by the server's own handlers.
"""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from pydantic import AnyUrl

from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import Selection, Tool, tool
from mcp_server.results import Answer, Picture
from orderflow_streaming.tables import Column

TOOLSET = "conformance"
PAUSE_S = 0.05

Content = list[types.ContentBlock]
Fixture = Callable[[Server, Mapping[str, Any]], Awaitable[Content]]


def _pixel() -> bytes:
    """A red pixel as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")), chunk(b"IEND", b""))
    )


def _silence() -> bytes:
    """A hundredth of a second of nothing as WAV."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as sound:
        sound.setparams((1, 1, 8_000, 0, "NONE", "not compressed"))
        sound.writeframes(b"\x80" * 80)
    return sink.getvalue()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=_encoded(_pixel()), mimeType="image/png")


def _embedded(uri: str, text: str, mime: str = "text/plain") -> types.EmbeddedResource:
    return types.EmbeddedResource(
        type="resource", resource=types.TextResourceContents(uri=AnyUrl(uri), mimeType=mime, text=text)
    )


# -- tools that the registry can declare: they take the way of every other tool ---------------------------------------

_SAID = (Column("text", "VARCHAR"),)


@tool(toolset=TOOLSET)
def test_simple_text(context: Context) -> Answer:
    """A row of text."""
    return Answer.rows(_SAID, [["This is a simple text response for testing."]], source=TOOLSET)


@tool(toolset=TOOLSET)
def test_image_content(context: Context) -> Answer:
    """A row with a picture beside it."""
    return Answer.rows(_SAID, [["a red pixel"]], source=TOOLSET, pictures=[Picture(_pixel())])


@tool(toolset=TOOLSET)
def test_error_handling(context: Context) -> Answer:
    """Always fails."""
    raise ToolError(TOOLSET, "This tool intentionally returns an error for testing.", "There is none.")


_TOOLS: dict[str, Tool] = {item.name: item for item in (test_simple_text, test_image_content, test_error_handling)}


def with_tools(selection: Selection) -> Selection:
    """``selection`` with the tools above listed too."""
    return Selection({**selection.listed, **_TOOLS}, selection.reachable)


# -- tools that use parts of the protocol which no tool of the product uses -------------------------------------------


async def _audio(server: Server, arguments: Mapping[str, Any]) -> Content:
    return [types.AudioContent(type="audio", data=_encoded(_silence()), mimeType="audio/wav")]


async def _resource(server: Server, arguments: Mapping[str, Any]) -> Content:
    return [_embedded("test://embedded-resource", "This is an embedded resource content.")]


async def _mixed(server: Server, arguments: Mapping[str, Any]) -> Content:
    inside = _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return [_text("Multiple content types test:"), _image(), inside]


async def _logging(server: Server, arguments: Mapping[str, Any]) -> Content:
    context = server.request_context
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.session.send_log_message("info", message, related_request_id=context.request_id)
        await anyio.sleep(PAUSE_S)
    return [_text("Three messages were logged.")]


async def _progress(server: Server, arguments: Mapping[str, Any]) -> Content:
    context = server.request_context
    token = context.meta.progressToken if context.meta else None
    for done in (0, 50, 100):
        if token is not None:
            await context.session.send_progress_notification(
                token, done, 100, related_request_id=str(context.request_id)
            )
        await anyio.sleep(PAUSE_S)
    return [_text("Progress was reported three times.")]


async def _sampling(server: Server, arguments: Mapping[str, Any]) -> Content:
    context = server.request_context
    asked = types.SamplingMessage(role="user", content=_text(str(arguments.get("prompt"))))
    sampled = await context.session.create_message([asked], max_tokens=100, related_request_id=context.request_id)
    return [_text(f"LLM response: {sampled.content.text if sampled.content.type == 'text' else sampled.content.type}")]


def _eliciting(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> Fixture:
    """Asks the user for ``properties``."""
    schema = {"type": "object", "properties": dict(properties), "required": list(required)}

    async def elicit(server: Server, arguments: Mapping[str, Any]) -> Content:
        context = server.request_context
        said = str(arguments.get("message", "Please fill in the form."))
        found = await context.session.elicit_form(said, schema, context.request_id)
        return [_text(f"Elicitation completed: action={found.action}, content={found.content}")]

    return elicit


def _titled(kind: str, *values: tuple[str, str]) -> dict[str, Any]:
    return {kind: [{"const": value, "title": title} for value, title in values]}


_OPTIONS = ["option1", "option2", "option3"]
_FIXTURES: dict[str, Fixture] = {
    "test_audio_content": _audio,
    "test_embedded_resource": _resource,
    "test_multiple_content_types": _mixed,
    "test_tool_with_logging": _logging,
    "test_tool_with_progress": _progress,
    "test_sampling": _sampling,
    "test_elicitation": _eliciting(
        {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        },
        ("username", "email"),
    ),
    "test_elicitation_sep1034_defaults": _eliciting(
        {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        }
    ),
    "test_elicitation_sep1330_enums": _eliciting(
        {
            "untitledSingle": {"type": "string", "enum": _OPTIONS},
            "titledSingle": {"type": "string"}
            | _titled("oneOf", ("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option")),
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
            "titledMulti": {
                "type": "array",
                "items": _titled(
                    "anyOf", ("value1", "First Choice"), ("value2", "Second Choice"), ("value3", "Third Choice")
                ),
            },
        }
    ),
}
_ARGUMENTS = {"test_sampling": "prompt", "test_elicitation": "message"}


def _listed(name: str) -> types.Tool:
    argument = _ARGUMENTS.get(name)
    schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    if argument:
        schema |= {"properties": {argument: {"type": "string"}}, "required": [argument]}
    return types.Tool(name=name, description="A fixture of the conformance suite.", inputSchema=schema)


# -- resources and prompts --------------------------------------------------------------------------------------------

_STATIC = {
    "test://static-text": "text/plain",
    "test://static-binary": "image/png",
    "test://watched-resource": "text/plain",
}
_BEFORE, _AFTER = "test://template/", "/data"


def _contents(uri: str) -> types.TextResourceContents | types.BlobResourceContents | None:
    address = AnyUrl(uri)
    if uri == "test://static-binary":
        return types.BlobResourceContents(uri=address, mimeType=_STATIC[uri], blob=_encoded(_pixel()))
    if uri in _STATIC:
        text = "This is the content of the static text resource."
        return types.TextResourceContents(uri=address, mimeType=_STATIC[uri], text=text)
    if uri.startswith(_BEFORE) and uri.endswith(_AFTER):
        number = uri.removeprefix(_BEFORE).removesuffix(_AFTER)
        text = f'{{"id":"{number}","templateTest":true,"data":"Data for ID: {number}"}}'
        return types.TextResourceContents(uri=address, mimeType="application/json", text=text)
    return None


_PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
}


def _messages(name: str, arguments: Mapping[str, str]) -> list[types.ContentBlock]:
    given = [arguments.get(argument, "") for argument in _PROMPTS[name]]
    match name:
        case "test_prompt_with_arguments":
            return [_text("Prompt with arguments: arg1='{}', arg2='{}'".format(*given))]
        case "test_prompt_with_embedded_resource":
            inside = _embedded(given[0], "Embedded resource content for testing.")
            return [inside, _text("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            return [_image(), _text("Please analyze the image above.")]
        case _:
            return [_text("This is a simple prompt for testing.")]


# -- in front of the server's own handlers ----------------------------------------------------------------------------


def extend(server: Server) -> Server:
    """``server`` with the fixtures; it also takes log levels and subscriptions."""
    own = dict(server.request_handlers)
    watched: set[tuple[ServerSession, str]] = set()

    async def answered(request: Any) -> Any:
        return (await own[type(request)](request)).root

    async def list_tools(request: types.ListToolsRequest) -> types.ServerResult:
        result = await answered(request)
        return types.ServerResult(types.ListToolsResult(tools=[*result.tools, *map(_listed, _FIXTURES)]))

    async def call_tool(request: types.CallToolRequest) -> types.ServerResult:
        fixture = _FIXTURES.get(request.params.name)
        if fixture is None:
            return await own[types.CallToolRequest](request)
        content = await fixture(server, request.params.arguments or {})
        return types.ServerResult(types.CallToolResult(content=content))

    async def list_resources(request: types.ListResourcesRequest) -> types.ServerResult:
        result = await answered(request)
        more = [types.Resource(uri=AnyUrl(uri), name=uri, mimeType=mime) for uri, mime in _STATIC.items()]
        return types.ServerResult(types.ListResourcesResult(resources=[*result.resources, *more]))

    async def list_templates(request: types.ListResourceTemplatesRequest) -> types.ServerResult:
        result = await answered(request)
        more = types.ResourceTemplate(uriTemplate=f"{_BEFORE}{{id}}{_AFTER}", name="template")
        return types.ServerResult(
            types.ListResourceTemplatesResult(resourceTemplates=[*result.resourceTemplates, more])
        )

    async def read_resource(request: types.ReadResourceRequest) -> types.ServerResult:
        found = _contents(str(request.params.uri))
        if found is None:
            return await own[types.ReadResourceRequest](request)
        return types.ServerResult(types.ReadResourceResult(contents=[found]))

    async def subscribe(request: types.SubscribeRequest) -> types.ServerResult:
        watched.add((server.request_context.session, str(request.params.uri)))
        return types.ServerResult(types.EmptyResult())

    async def unsubscribe(request: types.UnsubscribeRequest) -> types.ServerResult:
        watched.discard((server.request_context.session, str(request.params.uri)))
        return types.ServerResult(types.EmptyResult())

    async def list_prompts(request: types.ListPromptsRequest) -> types.ServerResult:
        result = await answered(request)
        more = [
            types.Prompt(
                name=name,
                description="A fixture of the conformance suite.",
                arguments=[types.PromptArgument(name=argument, required=True) for argument in arguments],
            )
            for name, arguments in _PROMPTS.items()
        ]
        return types.ServerResult(types.ListPromptsResult(prompts=[*result.prompts, *more]))

    async def get_prompt(request: types.GetPromptRequest) -> types.ServerResult:
        if request.params.name not in _PROMPTS:
            return await own[types.GetPromptRequest](request)
        contents = _messages(request.params.name, request.params.arguments or {})
        messages = [types.PromptMessage(role="user", content=content) for content in contents]
        return types.ServerResult(types.GetPromptResult(messages=messages))

    async def set_level(request: types.SetLevelRequest) -> types.ServerResult:
        return types.ServerResult(types.EmptyResult())

    server.request_handlers |= {
        types.ListToolsRequest: list_tools,
        types.CallToolRequest: call_tool,
        types.ListResourcesRequest: list_resources,
        types.ListResourceTemplatesRequest: list_templates,
        types.ReadResourceRequest: read_resource,
        types.SubscribeRequest: subscribe,
        types.UnsubscribeRequest: unsubscribe,
        types.ListPromptsRequest: list_prompts,
        types.GetPromptRequest: get_prompt,
        types.SetLevelRequest: set_level,
    }
    return server
