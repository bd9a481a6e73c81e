"""Tools that write stored rows to files of the export folder. They add files and change nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from mcp_server import catalog, files, frames, windows
from mcp_server.arguments import DEFAULT_MARKET, NamedMarket, Symbol, Time, span
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.files import FileFormat
from mcp_server.frames import COMPOSITE, Groups, Names
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.tables import declared_tables
from orderflow_streaming.tables import Column, Table

TOOLSET = "exports"
MOST_ROWS = 100_000
TIMEOUT_S = 60.0

Rows = Annotated[int, Field(ge=1, le=MOST_ROWS)]
FileName = Annotated[str, Field(min_length=1, max_length=100, description="without a path")]
_FILE = (
    Column("file", "VARCHAR", "in the exports folder of the data"),
    Column("uri", "VARCHAR", "where it is read as a resource"),
    Column("format", "VARCHAR"),
    Column("rows", "BIGINT", "in the file", "count"),
    Column("bytes", "BIGINT", "of the file", "bytes"),
    Column("first", "TIMESTAMP", "oldest row", "UTC"),
    Column("last", "TIMESTAMP", "newest row", "UTC"),
    Column("columns", "VARCHAR"),
)


@tool(toolset=TOOLSET, writes=True, adds=True, timeout_s=TIMEOUT_S)
def table_export(
    context: Context,
    table: Annotated[str, Field(max_length=100, description="main.trades, features.prices, …")],
    symbol: Symbol | None = None,
    market: NamedMarket | None = None,
    columns: Names | None = None,
    start: Time | None = None,
    end: Time | None = None,
    format: FileFormat = "csv",
    file_name: FileName | None = None,
    limit: Rows = 10_000,
) -> Answer:
    """Write rows of one stored table to a new CSV or Parquet file in the exports folder of the data, oldest first, the
    newest limit of the window. The answer has the file and a resource link to it. Never replaces a file, never writes
    elsewhere. Without start and end: the newest rows. tables_list names tables, catalog_describe their columns. Times
    UTC."""
    declared = catalog.table(table)
    if declared is None:
        raise catalog.unknown("table", table, list(declared_tables()))
    names = list(declared.names)
    for name in columns or ():
        if name not in names:
            raise catalog.unknown(f"column of {declared.qualified}", name, names)
    equals = windows.series(symbol, market)
    if lacking := [name for name in equals if name not in names]:
        raise ToolError("argument", f"{declared.qualified} has no {lacking[0]}.", "Leave symbol and market out.")
    edges = span(start, end)
    where, values = windows.conditions(declared, equals, *edges)
    shown = list(dict.fromkeys((declared.time, *(columns or names))))
    read = ", ".join(_cell(declared.column(name), format) for name in shown)
    sql = f"""SELECT * FROM (
        SELECT {read} FROM "{declared.schema}"."{declared.name}" WHERE {where}
        ORDER BY "{declared.time}" DESC LIMIT {limit + 1}) ORDER BY "{declared.time}" """
    found = windows.fetched(context, declared, sql, values)
    if found is None:
        return windows.empty(declared, _FILE, windows.no_table(declared))
    if not found.num_rows:
        return windows.empty(declared, _FILE, windows.why_empty(context, declared, equals, *edges))
    stem = "-".join(filter(None, (declared.qualified, symbol, market)))
    return _written(context, declared, found, limit, declared.time, stem, format, file_name, equals)


def _cell(column: Column, format: FileFormat) -> str:
    """The column as a cell of the file: lists and structures are JSON in CSV."""
    nested = column.type.endswith("]") or column.type.startswith(("STRUCT", "MAP"))
    text = format == "csv" and (nested or column.type == "BLOB")
    if not text:
        return f'"{column.name}"'
    made = f'base64("{column.name}")' if column.type == "BLOB" else f'to_json("{column.name}")::VARCHAR'
    return f'{made} AS "{column.name}"'


@tool(toolset=TOOLSET, writes=True, adds=True, timeout_s=TIMEOUT_S)
def features_export(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    groups: Groups = ["prices", "orderbook", "trades"],  # noqa: B006
    features: Names | None = None,
    include_composite: Annotated[bool, Field(description="the composite signals too")] = False,
    start: Time = "60m",
    end: Time | None = None,
    format: FileFormat = "csv",
    file_name: FileName | None = None,
    limit: Rows = 10_000,
) -> Answer:
    """Write minute rows of groups of features side by side to a new file in the exports folder of the data, oldest
    first, a column per feature, empty where undefined. The answer has a resource link. Never replaces a file. bar_ts is
    the closing edge, UTC. To look at rows use features_query."""
    equals = windows.series(symbol, market)
    edges = span(start, end)
    wanted = [*groups, COMPOSITE] if include_composite else groups
    frame = frames.read(context, equals, wanted, features, edges, limit)
    if frame.rows is None:
        return windows.empty(frame.table, _FILE, windows.no_table(frame.table))
    if not frame.rows.num_rows:
        return windows.empty(frame.table, _FILE, windows.why_empty(context, frame.table, equals, *edges, "bar_ts"))
    rows = frame.rows.sort_by("bar_ts")
    answer = _written(
        context, frame.table, rows, limit, "bar_ts", f"features-{symbol}-{market}", format, file_name, equals
    )
    answer.truncated = frame.truncated
    answer.hint = _older(rows["bar_ts"][0].as_py()) if frame.truncated else None
    answer.meta |= {"missing": frame.missing} if frame.missing else {}
    return answer


def _written(
    context: Context,
    table: Table,
    found: pa.Table,
    limit: int,
    time: str,
    stem: str,
    format: FileFormat,
    name: str | None,
    equals: dict[str, Any],
) -> Answer:
    """The file that was made of the rows, oldest first, of which one more than ``limit`` says that there are more."""
    more = found.num_rows > limit
    rows = found.slice(found.num_rows - limit) if more else found
    link = files.save(context.exports, rows, stem, format, name)
    first, last = rows[time][0].as_py(), rows[time][-1].as_py()
    row = (link.name, link.uri, format, rows.num_rows, link.size, first, last, rows.column_names)
    answer = Answer.rows([*_FILE], [row], source=table.qualified, truncated=more, links=[link])
    answer.moment = last
    answer.meta = windows.named(equals)
    answer.hint = _older(first) if more else None
    return answer


def _older(first: Any) -> str:
    return f"Older rows of the window are not in the file. Export them with end={first.isoformat()}Z, or raise limit."
