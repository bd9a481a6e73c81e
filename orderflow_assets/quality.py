"""What is right and wrong about the stored rows of a table, hour by hour, from its declaration alone.

:func:`measure` asks the store once per window, :func:`judge` turns the figures of one hour into verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_assets.bars.series import BAR_KEY, SERIES_NAMES
from orderflow_assets.features.catalog import GROUPS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

QUERY_TIMEOUT_S = 120.0

BAR_RULES: dict[str, str] = {
    "low is the lowest": "low > least(open, close, high)",
    "high is the highest": "high < greatest(open, close, low)",
    "prices are positive": "low <= 0 OR bid_price <= 0",
    "amounts are not negative": "least(volume, quote_volume, taker_buy_volume, taker_buy_quote, trade_count) < 0",
    "takers buy at most all": "taker_buy_volume > volume * (1 + 1e-9)",
    "the bid is below the ask": "bid_price >= ask_price",
}
"""SQL that is true for a one-minute bar that cannot be."""


APART = 0.01
LEAST_VENUES = 3
"""A venue's mid stands apart when it is further than this (log points) from the median of so many venues or more."""


def rules(table: Table) -> dict[str, str]:
    """What must be true of no row of ``table``: the name of the rule, a column for features, and its SQL."""
    if table.qualified == "bars.bars_1m":
        return BAR_RULES
    declared = (*GROUPS.values(), *ANALYTICS.values())
    group = next((group for group in declared if group.table.qualified == table.qualified), None)
    return {item.name: item.violation for item in group.columns if item.violation} if group else {}


def on_minutes(table: Table) -> bool:
    """Whether the table should have rows in every minute: bars of any length up to one minute."""
    return table.time == "open_time"


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a table: rows, rows that repeat a key, values per column, rows that break a rule.

    ``minutes`` is how many minutes lie between the first and the last row of any series, ``covered`` in how many
    of them each series has rows; ``None`` for tables without bars. ``overlapping`` are bars that open before the one
    before them closed or close before they open, ``apart`` the minutes of each series in which its price stood apart.
    """

    rows: int = 0
    duplicates: int = 0
    values: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, int] = field(default_factory=dict)
    overlapping: int = 0
    apart: Mapping[str, int] = field(default_factory=dict)
    minutes: int | None = None
    covered: Mapping[str, int] = field(default_factory=dict)

    @property
    def null_share(self) -> float | None:
        """Share of cells without a value, over the columns that may be NULL; None without such cells."""
        cells = self.rows * len(self.values)
        return 1 - sum(self.values.values()) / cells if cells else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``text`` is one line for a person, ``figures`` what it rests on."""

    check: str
    passed: bool
    text: str
    figures: Mapping[str, Any]


CHECKS: dict[str, tuple[bool, str]] = {
    "columns": (True, "The stored columns and types are the declared ones."),
    "unique_key": (True, "No two rows share the natural key."),
    "monotone": (True, "Every bar closes after it opens, and opens no earlier than the one before it closed."),
    "ranges": (True, "Every value lies in its declared range and every rule holds."),
    "null_share": (False, "Every column that may be NULL has a value somewhere in the hour."),
    "every_minute": (False, "Every series has rows in every minute that any series has."),
    "venues_agree": (False, f"Every mid is within {APART:.0%} of the median of its venues, {LEAST_VENUES} or more."),
}
"""Name of each check, whether it blocks, and what it says."""

BLOCKING = frozenset(name for name, (blocks, _) in CHECKS.items() if blocks)


def checks(table: Table) -> tuple[str, ...]:
    """The checks that say something about ``table``."""
    silent = {
        "monotone": not _has_bars(table),
        "venues_agree": not _has_mids(table),
        "ranges": not rules(table),
        "null_share": not any(column.nullable for column in table.columns),
        "every_minute": not on_minutes(table),
    }
    return tuple(name for name in CHECKS if not silent.get(name, False))


def _has_bars(table: Table) -> bool:
    """Whether the rows of a series are bars, one after the other."""
    return table.key == BAR_KEY


def _has_mids(table: Table) -> bool:
    return _has_bars(table) and on_minutes(table) and "mid_close" in table.names


def stored_differences(store: Store, table: Table) -> list[str]:
    """What the stored table has otherwise than declared, column by column; empty when nothing."""
    rows = store.query(f"SELECT name, type FROM pragma_table_info('{table.qualified}')").to_pylist()
    stored = {row["name"]: row["type"] for row in rows}
    declared = {column.name: "VARCHAR" if column.type == "JSON" else column.type for column in table.columns}
    return [
        f"{name}: declared {declared.get(name, 'not at all')}, stored {stored.get(name, 'not at all')}"
        for name in {**declared, **stored}
        if declared.get(name) != stored.get(name)
    ]


def measure(store: Store, table: Table, start: datetime, end: datetime) -> dict[datetime, Hour]:
    """The hours of ``[start, end)`` that have rows, by their naive UTC start, in one request."""
    hour, minute = f"date_trunc('hour', \"{table.time}\")", f"date_trunc('minute', \"{table.time}\")"
    broken = rules(table)
    nullable = [column.name for column in table.columns if column.nullable]
    series = ", ".join(name for name in table.names if name in SERIES_NAMES) or "''"
    figures = [
        "count(*) AS rows",
        f"count(*) - count(DISTINCT ({', '.join(table.key)})) AS duplicates",
        *(f'count("{name}") AS v{index}' for index, name in enumerate(nullable)),
        *(f"count(*) FILTER ({sql}) AS b{index}" for index, sql in enumerate(broken.values())),
    ]
    bars = f"(PARTITION BY {series} ORDER BY bar_ts)"
    overlaps = (
        f"bar_ts <= open_time OR bar_ts > lag(bar_ts) OVER {bars} AND open_time < lag(bar_ts) OVER {bars}"
        if _has_bars(table)
        else "false"
    )
    venues = "(PARTITION BY symbol, open_time)"
    apart = (
        f"count(mid_close) OVER {venues} >= {LEAST_VENUES}"
        f" AND abs(ln(mid_close / median(mid_close) OVER {venues})) > {APART}"
        if _has_mids(table)
        else "false"
    )
    sql = f"""
        WITH part AS (
            SELECT *, {hour} AS _hour, {minute} AS _minute, {overlaps} AS _overlaps, {apart} AS _apart
            FROM {table.qualified}
            WHERE "{table.time}" >= $start::TIMESTAMP AND "{table.time}" < $end::TIMESTAMP
        ), coverage AS (
            SELECT _hour, concat_ws('|', {series}) AS _series, count(DISTINCT _minute) AS _covered,
                   count(*) FILTER (_overlaps) AS _overlapping, count(*) FILTER (_apart) AS _parted,
                   min(_minute) AS _first, max(_minute) AS _last
            FROM part GROUP BY ALL
        ), span AS (
            SELECT _hour, date_diff('minute', min(_first), max(_last)) + 1 AS minutes,
                   map(list(_series), list(_covered)) AS covered, sum(_overlapping)::BIGINT AS overlapping,
                   map(list(_series), list(_parted)) AS apart
            FROM coverage GROUP BY ALL
        ), figures AS (SELECT _hour, {", ".join(figures)} FROM part GROUP BY ALL)
        SELECT * FROM figures JOIN span USING (_hour)
    """
    return {
        row["_hour"]: Hour(
            rows=row["rows"],
            duplicates=row["duplicates"],
            values={name: row[f"v{index}"] for index, name in enumerate(nullable)},
            broken={name: row[f"b{index}"] for index, name in enumerate(broken)},
            overlapping=row["overlapping"],
            apart={name: count for name, count in dict(row["apart"]).items() if count},
            minutes=row["minutes"] if on_minutes(table) else None,
            covered=dict(row["covered"]) if on_minutes(table) else {},
        )
        for row in store.query(sql, {"start": start, "end": end}, timeout_s=QUERY_TIMEOUT_S).to_pylist()
    }


def judge(table: Table, hour: Hour, differences: list[str]) -> list[Verdict]:
    """The verdicts of :func:`checks` on one hour; ``differences`` as of :func:`stored_differences`."""
    broken = {name: count for name, count in hour.broken.items() if count}
    empty = [name for name, count in hour.values.items() if hour.rows and not count]
    holes = {series: count for series, count in hour.covered.items() if count < (hour.minutes or 0)}
    verdicts = (
        Verdict("columns", not differences, "; ".join(differences) or "as declared", {"differences": len(differences)}),
        Verdict(
            "unique_key",
            not hour.duplicates,
            f"{hour.duplicates} of {hour.rows} rows repeat ({', '.join(table.key)})",
            {"rows": hour.rows, "duplicates": hour.duplicates},
        ),
        Verdict(
            "monotone",
            not hour.overlapping,
            f"{hour.overlapping} of {hour.rows} bars overlap the one before them",
            {"overlapping": hour.overlapping},
        ),
        Verdict(
            "ranges",
            not broken,
            "; ".join(f"{name}: {count} rows" for name, count in broken.items()) or "nothing outside",
            {"rules": len(hour.broken), "broken": dict(broken)},
        ),
        Verdict(
            "null_share",
            not empty,
            f"without any value: {', '.join(empty)}" if empty else "every column has values",
            {"null_share": hour.null_share, "empty_columns": empty},
        ),
        Verdict(
            "every_minute",
            hour.rows > 0 and not holes,
            _coverage(hour, holes),
            {"minutes": hour.minutes, "series": len(hour.covered), "short": holes},
        ),
        Verdict("venues_agree", not hour.apart, _apart(hour), {"apart": dict(hour.apart)}),
    )
    wanted = checks(table)
    return [verdict for verdict in verdicts if verdict.check in wanted]


def _coverage(hour: Hour, holes: Mapping[str, int]) -> str:
    if not hour.rows:
        return "no rows"
    if not holes:
        return f"{len(hour.covered)} series in each of {hour.minutes} minutes"
    worst = sorted(holes.items(), key=lambda item: item[1])[:5]
    return f"{len(holes)} series are short of {hour.minutes} minutes: " + ", ".join(f"{n} {c}" for n, c in worst)


def _apart(hour: Hour) -> str:
    worst = sorted(hour.apart.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{name} in {count} minutes" for name, count in worst) or f"all within {APART:.0%}"
