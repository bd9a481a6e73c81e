"""What can be asked about: every declared table, its columns, and which stored table holds a feature."""

from __future__ import annotations

from mcp_server.errors import ToolError
from orderflow_assets.tables import declared_tables
from orderflow_streaming.markets import suggestion
from orderflow_streaming.tables import Table


def table(name: str) -> Table | None:
    """The table called ``schema.name`` or, in the main schema, ``name``."""
    return declared_tables().get(name) or declared_tables().get(f"main.{name}")


def unknown(what: str, name: str, known: list[str]) -> ToolError:
    """The error for a name that is not declared, with the nearest one."""
    hint = suggestion(name, known).strip()
    nearest = hint.split("'")[1] if hint else None
    return ToolError(
        "unknown_name",
        f"Unknown {what} {name[:80]!r}.",
        f"{hint} catalog_search finds names.".strip(),
        nearest=nearest,
    )
