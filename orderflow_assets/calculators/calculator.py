"""What a calculator is: one typed function, declared. Validation, Dagster config, MCP schema and docs derive from it.

    @calculator(category="momentum", version="1", reads={"bars.bars_1m": "hours"})
    def simple_return(
        store: Rows, symbol: str, exchange: str | None, end: datetime,
        *, hours: Annotated[int, Field(ge=1, le=168, description="hours to look back")] = 24,
    ) -> Result:
        "Return of the price over the last hours."

The function is pure over stored rows known at ``end``. Its docstring is the description, its keyword arguments are
the parameters.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticUndefined

from orderflow_assets.calculators.reading import Rows, exists, newest_minute, venue
from orderflow_assets.calculators.result import Result
from orderflow_assets.tables import hourly_tables
from orderflow_streaming.markets import suggestion
from orderflow_streaming.markets import symbol as known_symbol
from orderflow_streaming.store.window import naive_utc

Calculate = Callable[..., Result]
Every = Literal["hour", "day"]

GIVEN = ("store", "symbol", "exchange", "end")
"""What every calculator is called with before its own parameters."""
RESERVED = (*GIVEN, "response_format")
LONGEST_DESCRIPTION = 300
_NAME = re.compile(r"[a-z][a-z0-9_]{2,29}")
_TYPES = (int, float, bool, str)
_SAID = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}


class DeclarationError(ValueError):
    """A calculator that cannot be declared; one line says what is wrong and what is allowed."""


class ParameterError(ValueError):
    """A parameter that a calculator does not have or a value that it does not take."""


@dataclass(frozen=True)
class Calculator:
    """A declared calculator. ``reads`` maps a table to the hours it looks back, or the parameter that says them."""

    name: str
    category: str
    description: str
    version: str
    every: Every
    reads: Mapping[str, float | str]
    function: Calculate
    model: type[BaseModel]

    @cached_property
    def schema(self) -> dict[str, dict[str, Any]]:
        """JSON schema of each parameter."""
        properties: dict[str, dict[str, Any]] = self.model.model_json_schema().get("properties", {})
        return {name: {key: item for key, item in kind.items() if key != "title"} for name, kind in properties.items()}

    @property
    def tool(self) -> str:
        """Name of its MCP tool."""
        return f"calculate_{self.name}"

    @property
    def source(self) -> str:
        """File it is declared in."""
        return inspect.getsourcefile(self.function) or ""

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, validated; raises :class:`ParameterError`."""
        fields = self.model.model_fields
        for name in given:
            if name not in fields:
                allowed = f"Allowed: {', '.join(fields)}." if fields else "It takes none."
                raise ParameterError(
                    f"{self.name} has no parameter {name!r}.{suggestion(name, list(fields))} {allowed}"
                )
        try:
            model = self.model(**given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            raise ParameterError(
                f"{self.name}: {name} is {first.get('input')!r:.80}. Allowed: {allowed_values(self.schema[name])}."
            ) from None
        return {name: getattr(model, name) for name in fields}

    def lookback(self, arguments: Mapping[str, Any]) -> timedelta:
        """How far back it reads with these parameters."""
        hours = [arguments[span] if isinstance(span, str) else span for span in self.reads.values()]
        return timedelta(hours=max(hours))

    def run(
        self, store: Rows, symbol: str, exchange: str | None = None, end: datetime | None = None, /, **parameters: Any
    ) -> tuple[datetime | None, Result]:
        """When it was computed for and what came out; ``end`` is the newest stored minute unless given.

        ``exchange`` is an exchange (all its markets), a market or None for all. Raises :class:`ParameterError`,
        :class:`~orderflow_streaming.markets.UnknownNameError`, and whatever the calculator itself raises.
        """
        symbol, arguments = known_symbol(symbol), self.arguments(parameters)
        if exchange is not None:
            venue(exchange)
        missing = next((table for table in self.reads if not exists(store, table)), None)
        if missing:
            return None, Result.nothing(f"{missing} does not exist yet, and {self.name} reads it.")
        as_of = naive_utc(end) if end else newest_minute(store, symbol, exchange)
        if as_of is None:
            return None, Result.nothing(f"no minute of {symbol} on {exchange or 'any exchange'} is stored yet.")
        result = self.function(store, symbol, exchange, as_of, **arguments)
        if not isinstance(result, Result):
            raise TypeError(f"{self.name} returned {type(result).__name__}; a calculator returns a Result.")
        return as_of, result.settled(as_of)

    def describe(self) -> dict[str, Any]:
        """A plain form for catalogues and documentation."""
        return {
            "name": self.name,
            "category": self.category,
            "description": self.description,
            "version": self.version,
            "every": self.every,
            "tool": self.tool,
            "reads": dict(self.reads),
            "parameters": [
                {
                    "name": name,
                    "type": kind["type"],
                    "default": kind["default"],
                    "allowed": allowed_values(kind),
                    "description": kind["description"],
                }
                for name, kind in self.schema.items()
            ],
        }


def calculator(
    *, category: str, version: str, reads: Mapping[str, float | str], every: Every = "hour"
) -> Callable[[Calculate], Calculator]:
    """Declare the decorated function as a calculator; raises :class:`DeclarationError`.

    ``every`` says how often Dagster computes it: at the end of each hour, or of each day where it is heavy.
    """

    def declare(function: Calculate) -> Calculator:
        name = getattr(function, "__name__", repr(function))
        for problem in _problems(name, function, category, version, every):
            raise DeclarationError(f"calculator {name!r}: {problem}")
        model = _model(name, function)
        for problem in _wrong_reads(reads, model):
            raise DeclarationError(f"calculator {name!r}: {problem}")
        return Calculator(name, category, _description(function), version, every, dict(reads), function, model)

    return declare


def allowed_values(kind: Mapping[str, Any]) -> str:
    """What a parameter takes, in words."""
    if "enum" in kind:
        return ", ".join(map(str, kind["enum"]))
    if "const" in kind:
        return str(kind["const"])
    low, above = kind.get("minimum"), kind.get("exclusiveMinimum")
    high, below = kind.get("maximum"), kind.get("exclusiveMaximum")
    edges = (
        (low, f"from {low}"),
        (above, f"above {above}"),
        (high, f"to {high}" if low is not None or above is not None else f"up to {high}"),
        (below, f"below {below}"),
    )
    return " ".join([_SAID[kind["type"]], *(text for edge, text in edges if edge is not None)])


def _description(function: Calculate) -> str:
    """The first paragraph of the docstring on one line."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


def _problems(name: str, function: Calculate, category: str, version: str, every: str) -> Iterator[str]:
    if not inspect.isfunction(function):
        yield "put @calculator(...) on a function."
        return
    if not _NAME.fullmatch(name):
        yield "its name must be 3 to 30 of a-z, 0-9 and _, and begin with a letter."
    if not _description(function):
        yield "it has no docstring; the first paragraph says what it computes."
    elif len(_description(function)) > LONGEST_DESCRIPTION:
        yield f"the first paragraph of its docstring is longer than {LONGEST_DESCRIPTION} characters; shorten it."
    if not category or not version:
        yield "category and version are text, such as category='momentum', version='1'."
    if every not in get_args(Every):
        yield f"every is {every!r}. Allowed: {', '.join(get_args(Every))}."
    first = tuple(
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    )
    if first != GIVEN:
        yield f"it takes ({', '.join(first)}); write ({', '.join(GIVEN)}, *, its own parameters)."


def _model(name: str, function: Calculate) -> type[BaseModel]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DeclarationError(f"calculator {name!r}: {error}; import what its annotations name.") from error
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.default is inspect.Parameter.empty:
            raise DeclarationError(f"calculator {name!r}: the parameter {parameter.name!r} needs a default.")
        if parameter.name in RESERVED:
            raise DeclarationError(f"calculator {name!r}: the parameter name {parameter.name!r} is taken.")
        if parameter.name not in hints or not _simple(hints[parameter.name]):
            raise DeclarationError(
                f"calculator {name!r}: the parameter {parameter.name!r} must be int, float, bool, str or a Literal."
            )
        fields[parameter.name] = (hints[parameter.name], Field(parameter.default))
    model = create_model(name, __config__=ConfigDict(extra="forbid", validate_default=True), **fields)
    _check_fields(name, model)
    return model


def _check_fields(name: str, model: type[BaseModel]) -> None:
    for parameter, field in model.model_fields.items():
        if not field.description:
            raise DeclarationError(
                f"calculator {name!r}: the parameter {parameter!r} has no description; annotate it as "
                "Annotated[int, Field(ge=1, le=168, description='hours to look back')]."
            )
        assert field.default is not PydanticUndefined
    try:
        model()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DeclarationError(
            f"calculator {name!r}: the default {first['input']!r} of {first['loc'][0]!r} is not allowed."
        ) from None


def _simple(hint: Any) -> bool:
    """Whether a parameter may be of this type."""
    if get_origin(hint) is Literal:
        return len({type(item) for item in get_args(hint)}) == 1 and isinstance(get_args(hint)[0], str | int)
    return hint in _TYPES or (hasattr(hint, "__metadata__") and _simple(get_args(hint)[0]))


def _wrong_reads(reads: Mapping[str, float | str], model: type[BaseModel]) -> Iterator[str]:
    if not reads:
        yield "reads names no table; write reads={'bars.bars_1m': 'hours'}."
    known = hourly_tables()
    for table, span in reads.items():
        if table not in known:
            yield f"it reads {table!r}, which is no declared table.{suggestion(table, list(known))}"
        if isinstance(span, str):
            field = model.model_fields.get(span)
            if field is None or field.annotation not in (int, float):
                yield f"it reads {table} back by {span!r}, which is none of its numeric parameters."
        elif not span > 0:
            yield f"it reads {table} {span!r} hours back; write a positive number or the name of a parameter."
