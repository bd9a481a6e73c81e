"""What a tool is. One typed function declares it: name, schema, description and limits all derive from it.

The first parameter is the :class:`~mcp_server.context.Context` of the call; the others are the arguments. The
docstring is the description a model reads, its first sentence the summary.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticUndefined

from mcp_server import tools
from mcp_server.aliases import declared_aliases
from mcp_server.aliases.alias import Alias
from mcp_server.errors import ToolError
from mcp_server.results import Answer
from orderflow_streaming.markets import UnknownNameError, suggestion

CORE = "core"
GENERATED = "GENERATED"
"""Name in a module of tools under which it lists those it makes of other declarations."""
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Tool:
    """``adds`` marks a writing tool that changes and removes nothing. ``always_load`` asks hosts that defer tools to
    show this one at once. ``alias`` is the further name under which the tool was found.
    """

    name: str
    description: str
    toolset: str
    run: Callable[..., Answer]
    arguments: type[BaseModel]
    input_schema: dict[str, Any]
    writes: bool = False
    adds: bool = False
    open_world: bool = False
    always_load: bool = False
    timeout_s: float = TIMEOUT_S
    alias: Alias | None = None

    def under(self, alias: Alias) -> Tool:
        """The tool as ``alias`` calls it."""
        properties = alias.properties(self.input_schema["properties"])
        needed = {alias.called(name) for name in self.input_schema.get("required", ()) if name not in alias.defaults}
        required = [name for name in properties if name in needed]
        input_schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return replace(
            self, name=alias.name, alias=alias, input_schema=input_schema | ({"required": required} if required else {})
        )

    @property
    def aliases(self) -> list[str]:
        """Further names, in name order."""
        return sorted(alias.name for alias in declared_aliases().values() if alias.tool == self.name)

    @property
    def summary(self) -> str:
        return self.description.partition(". ")[0].rstrip(".") + "."

    @property
    def annotations(self) -> dict[str, bool]:
        return {
            "readOnlyHint": not self.writes,
            "destructiveHint": self.writes and not self.adds,
            "idempotentHint": not self.writes,
            "openWorldHint": self.open_world,
        }

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "aliases": self.aliases,
            "toolset": self.toolset,
            "summary": self.summary,
            "description": self.description,
            "annotations": self.annotations,
            "timeout_s": self.timeout_s,
            "input_schema": self.input_schema,
        }


def tool(
    *,
    toolset: str = CORE,
    writes: bool = False,
    adds: bool = False,
    open_world: bool = False,
    always_load: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Callable[[Callable[..., Answer]], Tool]:
    """Declare the decorated function as a tool."""

    def declare(function: Callable[..., Answer]) -> Tool:
        arguments = _arguments(function)
        return Tool(
            name=function.__name__,
            description=" ".join((inspect.getdoc(function) or "").split()),
            toolset=toolset,
            run=function,
            arguments=arguments,
            input_schema=schema(arguments),
            writes=writes,
            adds=adds,
            open_world=open_world,
            always_load=always_load,
            timeout_s=timeout_s,
        )

    return declare


def _arguments(function: Callable[..., Answer]) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        required = parameter.default is inspect.Parameter.empty
        fields[parameter.name] = (hints[parameter.name], Field() if required else Field(parameter.default))
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def schema(arguments: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema without titles. What is optional may be null too; the schema only says what to send."""
    schema = arguments.model_json_schema()
    properties = {name: _given(_untitled(value)) for name, value in schema.get("properties", {}).items()}
    required = schema.get("required", [])
    result = {"type": "object", "properties": properties, "additionalProperties": False}
    return result | ({"required": required} if required else {})


def _given(value: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is not null; a default of null goes without saying."""
    inner = next((part for part in value.get("anyOf", ()) if part != {"type": "null"}), value)
    outer = {key: value[key] for key in ("description", "default") if value.get(key) is not None}
    return {key: item for key, item in inner.items() if key != "default"} | outer


def _untitled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untitled(item) for key, item in value.items() if key != "title"}
    return [_untitled(item) for item in value] if isinstance(value, list) else value


def checked(declared: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the function takes them; raises :class:`ToolError` that names the first wrong one."""
    fields = declared.arguments.model_fields
    for name in arguments:
        if name not in declared.input_schema["properties"]:
            raise _unknown_argument(declared, name)
    if declared.alias:
        try:
            arguments = declared.alias.translate(arguments)
        except (TypeError, ValueError) as error:
            raise ToolError(
                "argument", f"An argument does not fit: {error}.", f"{declared.name} takes numbers there."
            ) from None
    given = {
        name: value
        for name, value in arguments.items()
        if value is not None or fields[name].default is PydanticUndefined
    }
    try:
        model = declared.arguments(**given)
    except ValidationError as error:
        raise _wrong_argument(declared, error) from None
    return {name: getattr(model, name) for name in fields}


def _unknown_argument(declared: Tool, name: str) -> ToolError:
    known = list(declared.input_schema["properties"])
    hint = suggestion(name, known).strip()
    allowed = f"{declared.name} takes: {', '.join(known)}." if known else f"{declared.name} takes no arguments."
    nearest = hint.split("'")[1] if hint else None
    return ToolError("argument", f"Unknown argument {name[:80]!r}.", f"{hint} {allowed}".strip(), nearest=nearest)


def _wrong_argument(declared: Tool, error: ValidationError) -> ToolError:
    """One line for the most telling of pydantic's complaints."""
    found = sorted(error.errors(include_url=False), key=lambda item: item["type"] == "none_required")
    first = found[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    name = declared.alias.called(field) if declared.alias else field or declared.name
    kind = schema(declared.arguments)["properties"].get(field, {"type": "object"})
    value = repr(first.get("input"))[:80]
    if first["type"] == "missing":
        allowed = f"Allowed: {', '.join(map(str, kind['enum']))}." if "enum" in kind else f"Call again with {name}."
        return ToolError("argument", f"{declared.name} needs the argument {name!r}.", allowed)
    if first["type"] == "literal_error":
        allowed = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        hint = suggestion(str(first["input"]), allowed.split(", ")).strip()
        nearest = hint.split("'")[1] if hint else None
        return ToolError(
            "argument", f"{name}: {value} is not allowed.", f"{hint} Allowed: {allowed}.".strip(), nearest=nearest
        )
    return ToolError("argument", f"{name}: {value} does not fit.", _allowed(kind))


def _allowed(kind: dict[str, Any]) -> str:
    """What an argument takes, in words."""
    names = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
    types = [kind["type"]] if isinstance(kind["type"], str) else kind["type"]
    said = " or ".join(names.get(name, f"an {name}") for name in types)
    low, high = kind.get("minimum", kind.get("exclusiveMinimum")), kind.get("maximum")
    limits = f" from {low} to {high}" if high is not None else ""
    length = kind.get("maxLength", kind.get("maxItems"))
    return f"Allowed: {said}{limits}{f' of at most {length}' if length else ''}."


@cache
def declared_tools() -> dict[str, Tool]:
    """All tools by name, in name order."""
    found: dict[str, Tool] = {}
    for module in sorted(pkgutil.iter_modules(tools.__path__), key=lambda item: item.name):
        contents = vars(importlib.import_module(f"{tools.__name__}.{module.name}"))
        listed = (*contents.values(), *contents.get(GENERATED, ()))
        found |= {item.name: item for item in listed if isinstance(item, Tool)}
    return dict(sorted(found.items()))


def find(name: str, known: Mapping[str, Tool]) -> Tool:
    """The tool called ``name``, by an alias too; raises :class:`ToolError` with the nearest name."""
    if name in known:
        return known[name]
    alias = declared_aliases().get(name)
    if alias and alias.tool in known:
        return known[alias.tool].under(alias)
    declared = declared_tools().get(alias.tool if alias else name)
    if declared and declared.writes:
        raise ToolError(
            "read_only",
            f"{name} writes, and this server does not offer it.",
            f"Start it with --allow-write and toolset {declared.toolset} where that is wanted.",
        )
    hint = suggestion(name, list(known)).strip()
    nearest = hint.split("'")[1] if hint else None
    raise ToolError(
        "unknown_tool",
        f"There is no tool {name[:80]!r}.",
        f"{hint} catalog_search finds tools.".strip(),
        nearest=nearest,
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """``listed`` tools are shown; ``reachable`` ones can be run, by name or through the catalogue."""

    listed: Mapping[str, Tool]
    reachable: Mapping[str, Tool]


def select(
    known: Mapping[str, Tool],
    *,
    toolsets: Iterable[str] = (CORE,),
    names: Iterable[str] = (),
    excluded: Iterable[str] = (),
    allow_write: bool = False,
) -> Selection:
    """The tools of a server. ``names`` replace the toolsets; exclusion and read-only win over everything.

    Raises :class:`~orderflow_streaming.markets.UnknownNameError` with the nearest name.
    """
    sets = {item.toolset for item in known.values()} | {"all"}
    _require(toolsets, sets, "toolset")
    _require((*names, *excluded), known, "tool")
    reachable = {
        name: item for name, item in known.items() if name not in set(excluded) and (allow_write or not item.writes)
    }
    wanted = set(names)
    listed = {
        name: item
        for name, item in reachable.items()
        if (name in wanted if wanted else "all" in toolsets or item.toolset in toolsets)
    }
    return Selection(listed, reachable)


def _require(names: Iterable[str], allowed: Iterable[str], what: str) -> None:
    choices = sorted(allowed)
    for name in names:
        if name not in choices:
            raise UnknownNameError(
                f"unknown {what} {name!r}.{suggestion(name, choices)} Allowed: {', '.join(choices)}."
            )
