"""What can be asked about: every declared table, its columns, and which stored table holds a feature."""

from __future__ import annotations

from functools import cache

from mcp_server.errors import ToolError
from orderflow_assets.forecasting.tables import TABLES as FORECASTING
from orderflow_assets.layers import LAYERS
from orderflow_streaming.markets import suggestion
from orderflow_streaming.schema import OPERATIONS, STREAMS
from orderflow_streaming.tables import Table
from orderflow_streaming.writing.series import SERIES


@cache
def tables() -> dict[str, Table]:
    """Every declared table by qualified name: streams, computed tables, forecasting, operations."""
    declared = (
        *(stream.table for stream in STREAMS.values()),
        *(layer.table for layer in LAYERS),
        *FORECASTING,
        *OPERATIONS,
        SERIES,
    )
    return {table.qualified: table for table in declared}


def table(name: str) -> Table | None:
    """The table called ``schema.name`` or, in the main schema, ``name``."""
    return tables().get(name) or tables().get(f"main.{name}")


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
