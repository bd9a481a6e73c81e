"""Tools for what exists and how it is defined, for running any read tool, and for free queries."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

from pydantic import Field

from mcp_server import catalog
from mcp_server.aliases import declared_aliases
from mcp_server.arguments import DEFAULT_ROWS, Limit
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import Tool, checked, find, tool
from mcp_server.results import Answer
from orderflow_assets.features.catalog import feature as declared_feature
from orderflow_assets.features.catalog import glossary as feature_glossary
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.tables import declared_tables
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.tables import Column

Kind = Literal["tool", "table", "feature", "signal"]
_FOUND = tuple(Column(name, "VARCHAR") for name in ("kind", "name", "unit", "what"))


@tool()
def catalog_search(
    context: Context,
    query: Annotated[str, Field(min_length=1, max_length=200)],
    kind: Kind | None = None,
    limit: Limit = 20,
) -> Answer:
    """Find features, signals, tables and tools by words in their name or definition, best match first. Use it when you
    do not know the exact name, such as "imbalance" or "funding"; then catalog_describe for the definition, or
    catalog_run_read to run a tool that is not listed."""
    wanted = query.lower().split()
    entries = [entry for entry in (*_entries(context), *_alias(context, query)) if kind in (None, entry[0])]
    scored = [(_score(wanted, entry), entry) for entry in entries]
    found = [entry for score, entry in sorted(scored, key=lambda item: -item[0]) if score]
    limit = context.rows(limit)
    answer = Answer.rows(_FOUND, found[:limit], source="declarations", truncated=len(found) > limit)
    if answer.truncated:
        answer.hint = f"{len(found)} names match. Add a word, choose a kind, or raise limit."
    if not found:
        answer.hint = f"Nothing declared matches {query!r}. Try fewer or more general words."
    return answer


def _entries(context: Context) -> list[tuple[str, str, str, str]]:
    return [
        *(("feature", row["feature"], row["unit"], row["definition"]) for row in feature_glossary()),
        *(("signal", item.name, item.interval, item.interpretation) for item in SIGNALS.values()),
        *(("table", name, "", table.doc.partition("\n")[0]) for name, table in declared_tables().items()),
        *(("tool", item.name, "", item.summary) for item in context.tools.values()),
    ]


def _alias(context: Context, query: str) -> list[tuple[str, str, str, str]]:
    """The tool that the query names by a further name of it."""
    alias = declared_aliases().get(query.strip())
    if alias is None or alias.tool not in context.tools:
        return []
    return [("tool", alias.name, "", f"Another name of {alias.tool}. {context.tools[alias.tool].summary}")]


def _score(wanted: list[str], entry: tuple[str, str, str, str]) -> int:
    """Words found, those in the name count three times; 0 unless all are found."""
    name, text = entry[1].lower(), f"{entry[2]} {entry[3]}".lower()
    scores = [3 * (word in name) + (word in text) for word in wanted]
    return sum(scores) if all(scores) else 0


_DESCRIBED = tuple(Column(name, "VARCHAR") for name in ("name", "type", "unit", "meaning"))


@tool()
def catalog_describe(context: Context, name: Annotated[str, Field(min_length=1, max_length=100)]) -> Answer:
    """Definition of one feature (prices.microprice), signal, table (features.trades) or tool: columns or arguments with
    type, unit and meaning; for features the formula, range, window and source. From the declarations, so it answers
    also where nothing is stored yet. Use catalog_search when unsure of the name."""
    if table := catalog.table(name):
        rows = [(column.name, column.type, column.unit, column.doc) for column in table.columns]
        about = {"kind": "table", "name": table.qualified, "doc": table.doc, "key": table.key, "time": table.time}
        return _described(rows, about)
    if name in SIGNALS:
        signal = SIGNALS[name].describe()
        parts = signal.pop("components")
        rows = [(part["component"], "component", f"weight {part['weight']:g}", part["definition"]) for part in parts]
        return _described(rows, {**signal, "kind": "signal", "nature": signal["kind"]})
    if name in context.tools or name in declared_aliases():
        return _described_tool(find(name, context.tools))
    try:
        group, feature = declared_feature(name)
    except UnknownNameError as error:
        if "several groups" in str(error):
            raise ToolError("unknown_name", str(error), "Call again with the full name.") from None
        raise catalog.unknown("name", name, [entry[1] for entry in _entries(context)]) from None
    kind = "feature" if feature in group.features else "companion"
    about = {
        "kind": kind,
        "name": f"{group.name}.{feature.name}",
        "table": group.table.qualified,
        "range": "true or false" if feature.dtype == "flag" else feature.interval,
        "window": feature.window,
        "stream": feature.stream,
        "source_of_definition": feature.source,
    }
    return _described([(feature.name, feature.column.type, feature.unit, feature.definition)], about)


def _described_tool(described: Tool) -> Answer:
    schema = described.input_schema
    required = schema.get("required", ())
    rows = [
        (
            argument,
            "required" if argument in required else f"optional, default {json.dumps(kind.get('default'))}",
            "",
            json.dumps({key: value for key, value in kind.items() if key != "default"}),
        )
        for argument, kind in schema["properties"].items()
    ]
    about = {"kind": "tool", "name": described.name, "description": described.description, "toolset": described.toolset}
    return _described(rows, about)


def _described(rows: list[tuple[str, str, str, str]], about: dict[str, Any]) -> Answer:
    return Answer.rows(_DESCRIBED, rows, source="declarations", meta={"about": about}, hoisted=False)


@tool()
def catalog_run_read(
    context: Context, name: Annotated[str, Field(max_length=64)], arguments: dict[str, Any] | None = None
) -> Answer:
    """Run any reading tool by name, also one that is not listed here; the answer is that tool's own. Find names with
    catalog_search (kind tool) and arguments with catalog_describe. Never changes anything. Prefer calling a listed tool
    directly."""
    chosen = find(name, context.tools)
    if chosen.writes:
        raise ToolError("read_only", f"{chosen.name} changes something.", "Only reading tools run here.")
    if chosen.name == "catalog_run_read":
        raise ToolError("argument", "catalog_run_read does not run itself.", "Name the tool that you want.")
    given = checked(chosen, arguments or {})
    answer = chosen.run(context, **given)
    answer.meta |= {"tool": chosen.name, "response_format": given.get("response_format", "concise")}
    return answer


@tool(always_load=True)
def sql_query(
    context: Context,
    sql: Annotated[str, Field(min_length=1, max_length=20_000)],
    limit: Limit = DEFAULT_ROWS,
    timeout_s: Annotated[float, Field(gt=0, le=20)] = 20,
) -> Answer:
    """One reading DuckDB SQL statement over the stored tables (SELECT, WITH, DESCRIBE, EXPLAIN), when no other tool
    answers. Tables: main.trades, main.prices, bars.bars_1m, features.*, forecasts.forecasts and more, see tables_list;
    columns by catalog_describe. TIMESTAMP columns are naive UTC. At most limit rows come back: aggregate in SQL, order
    what you page. Cancelled after timeout_s seconds."""
    limit = context.rows(limit)
    bounded = context.within(timeout_s)
    started = time.monotonic()
    rows = bounded.query(sql, None, max_rows=limit + 1)
    answer = Answer.of(rows.slice(0, limit), source="sql", truncated=rows.num_rows > limit)
    answer.meta = {"query_ms": round((time.monotonic() - started) * 1_000, 1)}
    if not rows.num_rows:
        answer.hint = "The statement ran and returned no rows."
    elif answer.truncated:
        answer.hint = "More rows exist than were sent. Aggregate, add ORDER BY with LIMIT and OFFSET, or raise limit."
    return answer
