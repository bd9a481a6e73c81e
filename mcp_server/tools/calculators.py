"""A tool for each calculator, made of its declaration, and the list of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, create_model

from mcp_server.arguments import Format, Symbol, Time, moment, named
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import Tool, schema, tool
from mcp_server.results import Answer, undeclared
from orderflow_assets.calculators.calculator import Calculator, ParameterError
from orderflow_assets.calculators.discovery import Found, built_in
from orderflow_assets.calculators.reading import exchanges
from orderflow_assets.calculators.result import Result, absent
from orderflow_streaming.tables import Column

TOOLSET = "calculators"
TIMEOUT_S = 60.0
"""Some fit models, and a library may compile at its first use."""
SHORT = 24
"""Entries of a list that a concise answer keeps, the newest."""
log = logging.getLogger(__name__)

Exchange = Annotated[str, named(exchanges(), "exchange or market, such as binance")]
_PARTS = (Column("part", "VARCHAR"), undeclared("value"))
_ABOUT = "From rows stored up to end (default: newest). meta has signals, and errors where a part is absent."


class Call(BaseModel):
    """What every calculator is asked with."""

    model_config = ConfigDict(extra="forbid")

    symbol: Symbol = "BTCUSDT"
    exchange: Exchange | None = None
    end: Time | None = None


class Shape(BaseModel):
    """How it is answered."""

    response_format: Format = "concise"


def generated(item: Calculator) -> Tool:
    """The tool ``calculate_<name>``."""
    arguments: type[BaseModel] = create_model(item.tool, __base__=(Shape, item.model, Call))

    def run(context: Context, **given: Any) -> Answer:
        return _answer(item, context, **given)

    return Tool(
        name=item.tool,
        description=f"{item.description} {_ABOUT}",
        toolset=TOOLSET,
        run=run,
        arguments=arguments,
        input_schema=schema(arguments),
        timeout_s=TIMEOUT_S,
    )


def plugin_tools(found: Found) -> dict[str, Tool]:
    """The tools of the calculators that come from plugin files, by name."""
    return {item.tool: generated(item) for name, item in found.calculators.items() if name in found.plugins}


GENERATED = tuple(generated(item) for item in built_in().calculators.values())


def _answer(
    item: Calculator,
    context: Context,
    *,
    symbol: str,
    exchange: str | None,
    end: str | None,
    response_format: str,
    **parameters: Any,
) -> Answer:
    until = moment("end", end)
    try:
        as_of, result = item.run(context, symbol, exchange, until, **parameters)
    except (ToolError, ParameterError):
        raise
    except ImportError as error:
        raise ToolError("missing_library", f"{item.name} cannot run here.", f"{absent(error)}.".capitalize()) from None
    except Exception as error:  # a plugin may raise anything; the caller learns its kind, the log the rest
        log.exception("calculator %s failed", item.name)
        raise ToolError(
            "calculator",
            f"{item.name} raised {type(error).__name__}.",
            f"The log of the server (stderr) says more; it is declared in {item.source.rpartition('/')[2]}.",
        ) from None
    return _told(item, result, response_format, moment=as_of, dated=until is None, parameters=parameters)


def _told(
    item: Calculator, result: Result, response_format: str, *, parameters: Mapping[str, Any], **rest: Any
) -> Answer:
    data = {name: _shortened(value) for name, value in result.data.items()}
    data = data if response_format == "concise" else dict(result.data)
    meta = {
        "calculator": item.name,
        "version": item.version,
        "parameters": dict(parameters),
        "signals": [signal.to_dict() for signal in result.signals],
        "errors": list(result.errors),
        "about": dict(result.metadata),
    }
    answer = Answer.rows(_PARTS, data.items(), source=f"calculator {item.name}", hoisted=False, meta=meta, **rest)
    if not data:
        answer.hint = " ".join(result.errors) or f"{item.name} found nothing to say."
    elif data != result.data:
        answer.hint = f"Lists hold their last {SHORT} entries; response_format detailed gives all of them."
    return answer


def _shortened(value: Any) -> Any:
    """Long lists without their beginning."""
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    return [_shortened(item) for item in value[-SHORT:]] if isinstance(value, list) else value


_LISTED = (
    *(Column(name, "VARCHAR") for name in ("calculator", "tool", "category", "every", "version", "parameters")),
    Column("plugin", "VARCHAR", "plugin file it comes from"),
    Column("problem", "VARCHAR", "why the file is left out"),
    Column("description", "VARCHAR"),
)


@tool(toolset=TOOLSET)
def calculators_list(context: Context) -> Answer:
    """Which calculators there are: name, tool, category, parameters, how often Dagster computes them (every) and what
    they compute. plugin names the file of those that were added; a file that could not be used has its reason in
    problem. Run one with its tool, or read stored results from calculators.results."""
    rows = [
        (
            row["name"],
            row["tool"],
            row["category"],
            row["every"],
            row["version"],
            ", ".join(parameter["name"] for parameter in row["parameters"]),
            row["plugin"],
            None,
            row["description"],
        )
        for row in context.calculators.describe()
    ]
    broken = [(None,) * 6 + (item.name, item.reason, None) for item in context.calculators.broken]
    return Answer.rows(_LISTED, [*rows, *broken], source="declarations")
