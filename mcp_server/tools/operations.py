"""Tools for the state of the platform: collection, stored tables, gaps, assets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mcp_server import catalog, dagster, windows
from mcp_server.arguments import DEFAULT_ROWS, Format, Limit, Market, Symbol, Time, span
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.tables import declared_tables
from orderflow_streaming.schema import GAPS, QUARANTINE
from orderflow_streaming.tables import Column

_TABLES = (
    Column("table", "VARCHAR"),
    Column("rows", "BIGINT", "stored rows, NULL where the table does not exist yet", "count"),
    Column("newest", "TIMESTAMP", "newest value of the time column", "UTC"),
    Column("time_column", "VARCHAR"),
    Column("doc", "VARCHAR"),
)


@tool()
def tables_list(context: Context, schema_name: str | None = None) -> Answer:
    """Declared tables with stored rows, the newest time in each (UTC) and what they hold. Call it before sql_query, or
    to see what exists yet: rows is NULL for a table nothing has filled. schema_name narrows to main (streams), bars,
    features, signals, forecasts, models or ops. For columns use catalog_describe."""
    declared = declared_tables()
    schemas = sorted({table.schema for table in declared.values()})
    if schema_name is not None and schema_name not in schemas:
        raise catalog.unknown("schema", schema_name, schemas)
    chosen = [table for table in declared.values() if schema_name in (None, table.schema)]
    counted = stored(context, [table.qualified for table in chosen])
    rows = [
        (table.qualified, *counted.get(table.qualified, (None, None)), table.time, table.doc.partition("\n")[0])
        for table in chosen
    ]
    answer = Answer.rows(_TABLES, rows, source="store")
    size = context.query("SELECT sum(block_size * total_blocks)::BIGINT FROM pragma_database_size()")[0][0].as_py()
    rows_stored = sum(count for count, _ in counted.values())
    answer.meta = {"tables_stored": len(counted), "rows_stored": rows_stored, "database_bytes": size}
    return answer


def stored(context: Context, names: list[str]) -> dict[str, tuple[int, datetime | None]]:
    """Rows and newest time of those of the tables that exist."""
    found = context.query("SELECT table_schema || '.' || table_name AS name FROM information_schema.tables")
    there = [name for name in names if name in set(found["name"].to_pylist())]
    if not there:
        return {}
    parts = []
    for name in there:
        table = declared_tables()[name]
        parts.append(
            f"SELECT '{name}' AS name, count(*) AS rows, max(\"{table.time}\")::TIMESTAMP AS newest "
            f'FROM "{table.schema}"."{table.name}"'
        )
    rows = context.query(" UNION ALL ".join(parts)).to_pylist()
    return {row["name"]: (row["rows"], row["newest"]) for row in rows}


_STREAMS = (
    Column("market", "VARCHAR"),
    Column("stream", "VARCHAR"),
    Column("connected", "BOOLEAN"),
    Column("symbols", "BIGINT", "symbols subscribed", "count"),
    Column("last_message_age_s", "DOUBLE", "since the last message", "s"),
    Column("messages_per_min", "DOUBLE", "received, last minute", "per min"),
    Column("rows_per_min", "DOUBLE", "stored, last minute", "per min"),
    Column("lag_ms_p50", "DOUBLE", "receive time - event time, median", "ms"),
    Column("gaps", "BIGINT", "since the start", "count"),
    Column("rejected", "BIGINT", "frames quarantined since the start", "count"),
    Column("dropped", "BIGINT", "frames dropped since the start", "count"),
    Column("unavailable", "BIGINT", "topics the venue does not give", "count"),
)
_STREAMS_DETAIL = (
    Column("messages", "BIGINT", "since the start", "count"),
    Column("rows_stored", "BIGINT", "since the start", "count"),
    Column("duplicates", "BIGINT", "not stored again, since the start", "count"),
    Column("lag_ms_p99", "DOUBLE", "receive time - event time, 99th percentile", "ms"),
)


@tool(always_load=True)
def streams_health(context: Context, market: Market | None = None, response_format: Format = "concise") -> Answer:
    """Live state of the collection, a row per market and stream: connected, age of the last message, rates, lag, gaps,
    rejected and dropped frames; meta has HEALTHY or DEGRADED with the issues in words. Ask before trusting a figure as
    current. Counts are since the daemon's start; ages in seconds, rates per minute. For gaps in stored data use
    data_quality_get."""
    state = context.action("status")
    columns = (*_STREAMS, *_STREAMS_DETAIL) if response_format == "detailed" else _STREAMS
    rows = [
        [stream.get(column.name) for column in columns]
        for stream in state.get("streams", ())
        if market in (None, stream["market"])
    ]
    answer = Answer.rows(columns, rows, source="daemon")
    answer.moment = datetime.now(UTC).replace(tzinfo=None)
    writer = state.get("writer", {})
    answer.meta = {
        "status": state["status"],
        "state": state["state"],
        "issues": state["issues"],
        "uptime_s": state["uptime_seconds"],
        "started_at": state["start_time"],
        "pending_frames": writer.get("pending_records"),
        "flush_age_s": writer.get("flush_age_seconds"),
    }
    if not rows:
        answer.hint = f"The daemon collects no stream of {market}." if market else "The daemon collects no stream."
    return answer


_QUALITY = (
    Column("kind", "VARCHAR"),
    Column("market", "VARCHAR"),
    Column("symbol", "VARCHAR"),
    Column("stream", "VARCHAR"),
    Column("reason", "VARCHAR"),
    Column("count", "BIGINT", "gaps, or frames", "count"),
    Column("seconds", "DOUBLE", "stretch not covered, sum over the gaps whose ends are known", "s"),
    Column("first", "TIMESTAMP", "start of the first gap, or first frame", "UTC"),
    Column("last", "TIMESTAMP", "end of the last gap, or last frame", "UTC"),
)


@tool()
def data_quality_get(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    start: Time = "24h",
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """What the stored data lack: gaps (stretches not covered, in seconds) and quarantined frames (received, but no row
    could be made of them), counted by market, symbol, stream and reason. Default: noticed in the last 24 hours, UTC. An
    empty answer means none was recorded while the daemon ran. symbol narrows the gaps only. For live state use
    streams_health."""
    first, last = span(start, end)
    limit = context.rows(limit)
    tables = (GAPS, QUARANTINE)
    absent = [table for table in tables if windows.missing(context, table)]
    gaps, gap_values = windows.conditions(GAPS, windows.series(symbol, market), first, last)
    frames, frame_values = windows.conditions(QUARANTINE, {"market": market} if market else {}, first, last)
    parts = {
        GAPS.qualified: f"""
            SELECT 'gap' AS kind, exchange || '_' || market_type AS market, symbol, stream, reason, count(*) AS count,
                   sum(epoch(ended_at) - epoch(started_at)) AS seconds,
                   min(coalesce(started_at, detected_at)) AS first, max(coalesce(ended_at, detected_at)) AS last
            FROM ops.gaps WHERE {gaps} GROUP BY ALL""",
        QUARANTINE.qualified: f"""
            SELECT 'quarantine' AS kind, market, NULL AS symbol, topic AS stream, reason, count(*) AS count,
                   NULL AS seconds, min(received_at) AS first, max(received_at) AS last
            FROM ops.quarantine WHERE {frames} GROUP BY ALL""",
    }
    values = {GAPS.qualified: gap_values, QUARANTINE.qualified: frame_values}
    there = [table.qualified for table in tables if table not in absent]
    window = {"start": windows.said(first, "first stored"), "end": windows.said(last, "now")}
    if not there:
        return windows.empty(GAPS, _QUALITY, windows.no_table(GAPS))
    counted = " UNION ALL ".join(parts[name] for name in there)
    sql = f"{counted} ORDER BY last DESC, kind, market, symbol LIMIT {limit + 1}"
    rows = context.query(sql, [value for name in there for value in values[name]])
    answer = Answer.of(
        rows.slice(0, limit),
        {column.name: column for column in _QUALITY},
        source=" + ".join(there),
        truncated=rows.num_rows > limit,
        meta={"window": window},
    )
    if not rows.num_rows:
        answer.hint = f"No gap and no quarantined frame was recorded from {window['start']} to {window['end']}."
    return answer


_ASSETS = (
    Column("asset", "VARCHAR"),
    Column("group", "VARCHAR"),
    Column("materialized_at", "TIMESTAMP", "last materialization", "UTC"),
    Column("freshness", "VARCHAR"),
    Column("checks", "JSON"),
    Column("newest_row", "TIMESTAMP", "newest time in the asset's table", "UTC"),
)
GRAPHQL = """
query { assetNodes {
  assetKey { path } groupName
  assetMaterializations(limit: 1) { timestamp }
  freshnessStatusInfo { freshnessStatus }
  assetChecksOrError { __typename ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } }
} }"""


@tool(open_world=True)
def assets_status(context: Context, group: str | None = None) -> Answer:
    """State of the Dagster assets: last materialization, freshness verdict, checks of that materialization by state,
    and the newest row stored in the asset's table. Use it to see whether bars, features and forecasts keep up and which
    checks fail. Needs the Dagster web server; where it does not run, tables_list still says how fresh the stored tables
    are. Times UTC."""
    nodes = dagster.ask(context, GRAPHQL)["assetNodes"]
    groups = sorted({node["groupName"] for node in nodes})
    if group is not None and group not in groups:
        raise catalog.unknown("asset group", group, groups)
    chosen = [node for node in nodes if group in (None, node["groupName"])]
    names = {".".join(node["assetKey"]["path"]): node for node in chosen}
    newest = _newest_rows(context, list(names))
    rows = [
        (
            name,
            node["groupName"],
            _materialized(node),
            (node["freshnessStatusInfo"] or {}).get("freshnessStatus"),
            _checks(node),
            newest.get(name),
        )
        for name, node in sorted(names.items())
    ]
    answer = Answer.rows(_ASSETS, rows, source="Dagster")
    failing = [name for name, node in names.items() if {"FAILED", "EXECUTION_FAILED"} & set(_checks(node))]
    answer.meta = {"failing_checks": failing, "never_materialized": sum(not _materialized(n) for n in chosen)}
    return answer


def _newest_rows(context: Context, names: list[str]) -> dict[str, datetime | None]:
    """Newest stored time of each asset that is a declared table; none where the store does not run."""
    known = {name: catalog.table(name.removeprefix("raw.")) for name in names}
    try:
        counted = stored(context, [table.qualified for table in known.values() if table])
    except ToolError:
        return {}
    return {name: counted[table.qualified][1] for name, table in known.items() if table and table.qualified in counted}


def _materialized(node: dict[str, Any]) -> datetime | None:
    found = node["assetMaterializations"]
    return datetime.fromtimestamp(float(found[0]["timestamp"]) / 1_000, UTC).replace(tzinfo=None) if found else None


def _checks(node: dict[str, Any]) -> dict[str, int]:
    """How many checks of the last materialization are in each state; NOT_RUN where there was none."""
    states: dict[str, int] = {}
    for check in (node["assetChecksOrError"] or {}).get("checks", ()):
        execution = check["executionForLatestMaterialization"]
        state = execution["status"] if execution else "NOT_RUN"
        states[state] = states.get(state, 0) + 1
    return states
