"""What can be read by address: the catalogue, the declared columns of a table, the meaning of features and signals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mcp_server import catalog
from mcp_server.errors import ToolError
from mcp_server.files import ADDRESS
from orderflow_assets.features.catalog import glossary as features
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.catalog import glossary as signals
from orderflow_assets.tables import declared_tables
from orderflow_streaming.markets import MARKETS, SYMBOLS

if TYPE_CHECKING:
    from mcp_server.registry import Tool

JSON = "application/json"
ASSET = "flow://asset/"
_SCHEMA = "flow://schema/"
_FEATURE = "flow://feature/"


@dataclass(frozen=True, slots=True)
class Resource:
    uri: str
    name: str
    description: str
    mime: str = JSON


RESOURCES = (
    Resource("flow://catalog", "catalog", "Every tool and every table, a line each."),
    Resource("flow://glossary", "glossary", "Every feature and signal: definition, unit, range, window, source."),
)
TEMPLATES = (
    Resource("flow://schema/{table}", "schema", "Columns of a table with types, units and meaning."),
    Resource("flow://feature/{feature}", "feature", "One feature: definition, unit, range, window, source."),
    Resource(f"{ASSET}{{key}}", "asset", "What a Dagster asset is made of and what is made of it."),
    Resource(f"{ADDRESS}{{file}}", "export", "A file of rows that an export wrote.", "application/octet-stream"),
)


def read(uri: str, tools: Mapping[str, Tool]) -> Any:
    """The content at ``uri`` as plain values; raises :class:`ToolError` where there is none."""
    if uri == "flow://catalog":
        return {
            "tools": [{"name": tool.name, "summary": tool.summary} for tool in tools.values()],
            "tables": [{"name": name, "doc": table.doc} for name, table in declared_tables().items()],
        }
    if uri == "flow://glossary":
        return {"features": features(), "signals": signals()}
    if uri.startswith(_SCHEMA):
        name = uri.removeprefix(_SCHEMA)
        table = catalog.table(name)
        if table is None:
            raise catalog.unknown("table", name, list(declared_tables()))
        return table.to_dict() | {"columns": [asdict(column) for column in table.columns]}
    if uri.startswith(_FEATURE):
        name = uri.removeprefix(_FEATURE)
        rows = {row["feature"]: row for row in features()}
        if name not in rows:
            raise catalog.unknown("feature", name, list(rows))
        return rows[name]
    raise ToolError("unknown_resource", f"There is no resource {uri[:80]!r}.", "Read flow://catalog.")


def choices(argument: str) -> Iterable[str]:
    """Values that an argument of a prompt or of an address may have."""
    match argument:
        case "symbol":
            return SYMBOLS
        case "market":
            return tuple(MARKETS)
        case "table":
            return tuple(declared_tables())
        case "feature":
            return tuple(row["feature"] for row in features())
        case "signal":
            return tuple(SIGNALS)
        case "model":
            return tuple(SPECS)
        case _:
            return ()
