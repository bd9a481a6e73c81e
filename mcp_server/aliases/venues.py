"""What the names for venues' own data share: further names of the tools that ask a venue, each with its venue said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.aliases.alias import Alias, As, Value

MOST_LEVELS = 100
"""Levels of a book that are shown at most."""
LEVELS = As("depth", lambda value: min(int(value), MOST_LEVELS))
"""A depth; deeper than what is shown, all that is shown."""


def sections(names: Mapping[str, str]) -> As:
    """A venue's own names of its sections for ours; others are left to be refused."""
    return As("market", lambda value: names.get(str(value), value))


def of(
    exchange: str,
    market: str | None,
    name: str,
    tool: str,
    renamed: Mapping[str, str | As] | None = None,
    ignored: Mapping[str, str] | None = None,
    given: Mapping[str, Value] | None = None,
    **defaults: Any,
) -> Alias:
    """A name for what one section of a venue says; without ``market`` an argument says which section."""
    said = {"exchange": exchange} | ({"market": market} if market else {})
    return Alias(
        name, tool, given={**said, **(given or {})}, renamed=renamed or {}, ignored=ignored or {}, defaults=defaults
    )
