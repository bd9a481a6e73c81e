"""Further names of a tool: with some of its arguments set, and others called differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Value = Any
Unit = Literal["s", "m", "h", "d"]


@dataclass(frozen=True, slots=True)
class As:
    """An argument of an alias: the tool's ``argument`` and how a value becomes the tool's; and what ``further``
    arguments of the tool the same value says.
    """

    argument: str
    convert: Callable[[Value], Value]
    further: Mapping[str, Callable[[Value], Value]] = field(default_factory=dict)


def back(unit: Unit, argument: str = "start") -> As:
    """A number of seconds, minutes, hours or days back from now, such as ``hours=24`` for ``start="24h"``."""
    return As(argument, lambda value: f"{float(value):g}{unit}")


def names(argument: str) -> As:
    """Names in a text with commas, or a list of them, for a list."""
    return As(argument, lambda value: value.replace(",", " ").split() if isinstance(value, str) else list(value))


def _futures(value: Value) -> Value:
    return value if "_" in str(value) else f"{value}_futures"


MARKET = As("market", _futures)
"""An exchange for its futures market; a market's own name stays."""


@dataclass(frozen=True, slots=True)
class Alias:
    """``given`` are arguments of ``tool`` that the name itself says; ``renamed`` maps this name's arguments to the
    tool's; ``ignored`` are arguments that are accepted and change nothing, with the reason; ``defaults`` are
    arguments of the tool that need not be sent. Its other arguments are taken as they are.
    """

    name: str
    tool: str
    given: Mapping[str, Value] = field(default_factory=dict)
    renamed: Mapping[str, str | As] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)

    def translate(self, arguments: Mapping[str, Value]) -> dict[str, Value]:
        """The tool's arguments. Raises ValueError or TypeError where a value cannot be converted."""
        translated = {**self.defaults, **self.given}
        for name, value in arguments.items():
            place = self.renamed.get(name, name)
            if value is None or name in self.ignored:
                continue
            if isinstance(place, As):
                translated[place.argument] = place.convert(value)
                translated |= {further: convert(value) for further, convert in place.further.items()}
            else:
                translated[place] = value
        return translated

    def called(self, argument: str) -> str:
        """What this name calls the tool's ``argument``."""
        for name, place in self.renamed.items():
            if argument == (place.argument if isinstance(place, As) else place):
                return name
        return argument

    def properties(self, tool: Mapping[str, Any]) -> dict[str, Any]:
        """Schemas of this name's arguments, from those of the tool's."""
        own = {}
        for name, place in self.renamed.items():
            if isinstance(place, As):
                own[name] = {"type": ["number", "string"], "description": f"becomes {place.argument}"}
            else:
                own[name] = tool[place]
        taken = {place.argument if isinstance(place, As) else place for place in self.renamed.values()}
        taken |= {name for place in self.renamed.values() if isinstance(place, As) for name in place.further}
        kept = {name: kind for name, kind in tool.items() if name not in taken and name not in self.given}
        for name, value in self.defaults.items():
            own[self.called(name)] = {**{**kept, **own}[self.called(name)], "default": value}
        return {**kept, **own} | {
            name: {"description": f"changes nothing: {why}"} for name, why in self.ignored.items()
        }
