"""All further names of tools, a file per family."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from mcp_server.aliases.alias import Alias


@cache
def declared_aliases() -> Mapping[str, Alias]:
    """By name. A family's file lists its own under ``ALIASES``. Raises ValueError for a name listed twice."""
    found: dict[str, Alias] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda item: item.name):
        for alias in getattr(importlib.import_module(f"{__name__}.{module.name}"), "ALIASES", ()):
            if alias.name in found:
                raise ValueError(f"the alias {alias.name} is listed for {found[alias.name].tool} and for {alias.tool}")
            found[alias.name] = alias
    return found
