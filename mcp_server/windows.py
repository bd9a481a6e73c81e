"""Rows of a declared table for one series and a stretch of time, newest first, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mcp_server.arguments import span
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.results import Answer
from orderflow_streaming.markets import market as declared_market
from orderflow_streaming.store.reader import exists
from orderflow_streaming.tables import Column, Table
from orderflow_streaming.writing.series import SERIES

AGE = Column("age_s", "DOUBLE", "age of this row now", "s")
NEWEST_FIRST = {"order": "newest first", "times": "UTC"}


def series(symbol: str | None, market: str | None) -> dict[str, Any]:
    """Column values that name a series; what is None does not restrict."""
    venue = declared_market(market) if market else None
    equals = {"symbol": symbol} if symbol else {}
    return equals | ({"exchange": venue.exchange, "market_type": venue.market_type} if venue else {})


def conditions(
    table: Table, equals: Mapping[str, Any], start: datetime | None, end: datetime | None, time: str | None = None
) -> tuple[str, list[Any]]:
    """SQL condition, ``TRUE`` without any, and its parameters; the stretch is ``[start, end)``."""
    column = time or table.time
    parts = [f'"{name}" = ?' for name in equals]
    values = list(equals.values())
    for edge, test in ((start, ">="), (end, "<")):
        if edge is not None:
            parts.append(f'"{column}" {test} ?::TIMESTAMP')
            values.append(edge)
    return " AND ".join(parts) or "TRUE", values


def missing(context: Context, table: Table) -> bool:
    """Whether the store has no such table yet."""
    return not exists(context, table.qualified)


def why_empty(
    context: Context,
    table: Table,
    equals: Mapping[str, Any],
    start: datetime | None,
    end: datetime | None,
    time: str | None = None,
) -> str:
    """One sentence on why no row was found, with the stretch that is stored where there is one."""
    column = time or table.time
    where, values = conditions(table, equals, None, None)
    found = context.query(
        f'SELECT min("{column}"), max("{column}"), count(*) FROM "{table.schema}"."{table.name}" WHERE {where}', values
    )
    first, last, count = (column[0].as_py() for column in found.columns)
    named = _label(equals)
    if not count:
        return f"{table.qualified} holds no rows of {named} yet."
    asked = f"from {said(start, 'the first')} to {said(end, 'now')}"
    return f"{table.qualified} holds no rows of {named} {asked}. Stored: {said(first)} to {said(last)}."


def _label(equals: Mapping[str, Any]) -> str:
    """``BTCUSDT binance_futures`` and what else was asked for."""
    market = ["_".join(equals[name] for name in ("exchange", "market_type") if name in equals)]
    rest = [str(value) for name, value in equals.items() if name not in ("exchange", "market_type")]
    return " ".join(filter(None, [*rest[:1], *market, *rest[1:]])) or "any series"


def named(equals: Mapping[str, Any]) -> dict[str, Any]:
    """For ``meta``: what all rows have in common because it was asked for."""
    return {"only": dict(equals)} if equals else {}


def no_table(table: Table) -> str:
    """Why a table that is declared has nothing to say, and what fills it."""
    if table.schema in ("main", "ops"):
        return f"{table.qualified} does not exist yet. The daemon creates it: orderflow-stream run."
    return f"{table.qualified} does not exist yet. Dagster fills it: materialize its asset."


def empty(table: Table, columns: Sequence[Column], reason: str) -> Answer:
    return Answer(columns, [[] for _ in columns], table.qualified, hint=reason)


def newest(
    context: Context,
    table: Table,
    *,
    equals: Mapping[str, Any],
    columns: Sequence[str],
    limit: int,
    start: str | None = None,
    end: str | None = None,
    cursor: str | None = None,
    time: str | None = None,
    tie: str | None = None,
    least: Mapping[str, float] | None = None,
) -> Answer:
    """At most ``limit`` rows in ``[start, end)``, newest first; an empty answer says why.

    ``least`` are the smallest values that columns may have. ``tie`` is the column that orders rows of equal time
    (``id`` where the table has one); together they are the cursor of the next page.
    """
    order = time or table.time
    second = tie or ("id" if "id" in table.names else order)
    shown = [table.column(name) for name in columns]
    first, last = span(start, end)
    page, page_values = _after(cursor, order, second, table)
    read = ", ".join(f'"{name}"' for name in dict.fromkeys((*columns, order, second)))
    limit = context.rows(limit)
    floors = "".join(f' AND "{name}" >= ?' for name in least or ())

    def rows_from(begin: datetime | None) -> pa.Table | None:
        where, values = conditions(table, equals, begin, last, order)
        sql = (
            f'SELECT {read} FROM "{table.schema}"."{table.name}" WHERE {where}{page}{floors} '
            f'ORDER BY "{order}" DESC, "{second}" DESC LIMIT {limit + 1}'
        )
        return fetched(context, table, sql, [*values, *page_values, *(least or {}).values()])

    recent = (
        sealed_before(context, table) if (first, last, cursor) == (None, None, None) and order == table.time else None
    )
    found = rows_from(recent) if recent else None
    if found is None or found.num_rows <= limit:
        found = rows_from(first)
    if found is None:
        return empty(table, shown, no_table(table))
    if not found.num_rows:
        reason = "No rows follow this page." if cursor else why_empty(context, table, equals, first, last, order)
        return empty(table, shown, reason)
    rows = found.slice(0, limit)
    times, ties = rows[order], rows[second]
    return Answer(
        shown,
        [rows[name].to_pylist() for name in columns],
        table.qualified,
        time=order if order in columns else None,
        truncated=found.num_rows > limit,
        cursor=lambda index: f"{times[index].as_py().isoformat()},{ties[index].as_py()}",
        dated=last is None and cursor is None,
        meta={**named(equals), **NEWEST_FIRST},
    )


def aggregated(
    context: Context,
    table: Table,
    columns: Sequence[Column],
    sql: str,
    values: Sequence[Any],
    *,
    equals: Mapping[str, Any],
    edges: tuple[datetime | None, datetime | None] = (None, None),
    time: str | None = None,
    limit: int | None = None,
    paged_by: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Answer:
    """The rows of an aggregation of ``table``; an empty answer says why.

    ``sql`` asks for one row more than ``limit``; the cursor of the next page is the last row's ``paged_by``, a time.
    """
    limit = context.rows(limit or context.max_rows)
    found = fetched(context, table, sql, values)
    if found is None:
        return empty(table, columns, no_table(table))
    if not found.num_rows:
        return empty(table, columns, why_empty(context, table, equals, *edges))
    rows = found.slice(0, limit)
    times = rows[paged_by] if paged_by else None
    window = {"start": said(edges[0], "first stored"), "end": said(edges[1], "now")}
    return Answer.of(
        rows,
        {column.name: column for column in columns},
        source=table.qualified,
        time=time,
        truncated=found.num_rows > limit,
        cursor=(lambda index: times[index].as_py().isoformat()) if times is not None else None,
        dated=edges[1] is None,
        meta={**named(equals), "window": window, **(meta or {})},
    )


def measured(
    context: Context,
    table: Table,
    equals: Mapping[str, Any],
    names: Sequence[str],
    *,
    start: str | None,
    end: str | None,
    limit: int,
    order: str,
    time: str,
) -> Answer:
    """Rows of a table that is measured at marks; those of the newest mark where no start is given."""
    first, last = span(start, end)
    where, values = conditions(table, equals, first, last, time)
    newest = "" if first else f"QUALIFY {time} = max({time}) OVER ()"
    limit = context.rows(limit)
    sql = f"""SELECT {", ".join(names)} FROM {table.qualified} WHERE {where} {newest}
        ORDER BY {time} DESC, {order} LIMIT {limit + 1}"""
    return aggregated(
        context,
        table,
        [table.column(name) for name in names],
        sql,
        values,
        equals=equals,
        edges=(first, last),
        limit=limit,
        time=time,
        meta=NEWEST_FIRST,
    )


def fetched(context: Context, table: Table, sql: str, values: Sequence[Any]) -> pa.Table | None:
    """The rows of a query of ``table``, None where the store has no such table yet."""
    try:
        return context.query(sql, values)
    except ToolError as error:
        if error.code == "query" and missing(context, table):
            return None
        raise


def cursor_time(cursor: str | None) -> datetime | None:
    """The time in a cursor of :func:`aggregated`."""
    if cursor is None:
        return None
    try:
        return datetime.fromisoformat(cursor)
    except ValueError:
        raise _no_cursor(cursor) from None


def _no_cursor(cursor: str) -> ToolError:
    return ToolError(
        "argument", f"cursor: {cursor[:80]!r} is not a cursor.", "Send meta.next_cursor of the previous answer."
    )


def _after(cursor: str | None, order: str, second: str, table: Table) -> tuple[str, list[Any]]:
    """Condition for the rows after the cursor."""
    if cursor is None:
        return "", []
    time, _, tie = cursor.partition(",")
    kind = table.column(second).type
    try:
        moment = datetime.fromisoformat(time)
        value: Any = tie if kind == "VARCHAR" else datetime.fromisoformat(tie) if kind == "TIMESTAMP" else int(tie)
    except ValueError:
        raise _no_cursor(cursor) from None
    return f' AND ("{order}" < ? OR ("{order}" = ? AND "{second}" < ?::{kind}))', [moment, moment, value]


def sealed_before(context: Context, table: Table) -> datetime | None:
    """The first time of a stream of which no row lies in a file; None for other tables and without sealed hours.

    What is newest is looked for from there on first, and only then in every file.
    """
    if table.schema != "main":
        return None
    try:
        found = context.query("SELECT max(hour) + INTERVAL 1 HOUR FROM ops.archive WHERE stream = ?", [table.name])
    except ToolError as error:
        if error.code == "query":
            return None
        raise
    return found[0][0].as_py()


def _known_series(context: Context, table: Table, equals: Mapping[str, Any]) -> int:
    """How many series of a stream under ``equals`` have rows."""
    where, values = conditions(SERIES, {"stream": table.name, **equals}, None, None)
    return context.query(f"SELECT count(*) FROM ops.series WHERE {where} AND rows > 0", values)[0][0].as_py()


def latest(
    context: Context, table: Table, names: Sequence[str], equals: Mapping[str, Any], by: Sequence[str]
) -> Answer:
    """The newest row of each group of rows equal in ``by``, in the order of ``by``, and how old it is.

    ``names`` holds the table's time.
    """
    shown = {name: table.column(name) for name in names}
    groups = ", ".join(f'"{name}"' for name in by)
    tie = "id" if "id" in table.names else table.time
    picked = ", ".join(f'"{name}" := "{name}"' for name in names)
    read = ", ".join(f'newest."{name}" AS "{name}"' for name in names)
    source = f'"{table.schema}"."{table.name}"'

    def rows_from(begin: datetime | None) -> pa.Table | None:
        where, values = conditions(table, equals, begin, None)
        sql = f"""
            WITH ends AS (
                SELECT {groups}, max("{table.time}") AS "{table.time}" FROM {source} WHERE {where} GROUP BY {groups}
            ),
            last AS (SELECT * FROM (SELECT * FROM {source} WHERE {where}) JOIN ends USING ({groups}, "{table.time}"))
            SELECT {read} FROM (
                SELECT {groups}, arg_max(struct_pack({picked}), "{tie}") AS newest FROM last GROUP BY {groups}
            )
            ORDER BY {groups}"""
        return fetched(context, table, sql, [*values, *values])

    recent = sealed_before(context, table)
    rows = rows_from(recent) if recent else None
    if rows is None or rows.num_rows < _known_series(context, table, equals):
        rows = rows_from(None)
    if rows is None:
        return empty(table, list(shown.values()), no_table(table))
    if not rows.num_rows:
        return empty(table, list(shown.values()), why_empty(context, table, equals, None, None))
    answer = Answer.of(rows, shown, source=table.qualified, time=table.time)
    now = datetime.now(UTC).replace(tzinfo=None)
    answer.columns = [*answer.columns, AGE]
    answer.values.append([round((now - moment).total_seconds(), 1) for moment in rows[table.time].to_pylist()])
    return answer


def said(moment: datetime | None, otherwise: str = "") -> str:
    """A time as text, to the second."""
    if moment is None:
        return otherwise
    return f"{moment.isoformat(timespec='seconds')}Z"
