"""The registry's tables and the statements on them; each function works inside the transaction it is given."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from orderflow_assets.forecasting.frame import utc_now
from orderflow_assets.forecasting.tables import STATUSES
from orderflow_assets.forecasting.versions import Version

CHAMPION, CHALLENGER = "champion", "challenger"


class RegistryError(Exception):
    """The registry cannot do what was asked; the message says why and what to do."""


SCHEMA = f"""
CREATE TABLE IF NOT EXISTS model_version (
    series TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL, model TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN {STATUSES}), trained_at TEXT NOT NULL, data_from TEXT NOT NULL,
    data_to TEXT NOT NULL, rows INTEGER NOT NULL, data_hash TEXT NOT NULL, code_version TEXT NOT NULL,
    parameters TEXT NOT NULL, metrics TEXT, reference TEXT, artefact_sha256 TEXT, reason TEXT,
    PRIMARY KEY (series, target, version));
CREATE TABLE IF NOT EXISTS model_alias (
    series TEXT NOT NULL, target TEXT NOT NULL, alias TEXT NOT NULL CHECK (alias IN ('{CHAMPION}', '{CHALLENGER}')),
    version INTEGER NOT NULL, set_at TEXT NOT NULL, set_by TEXT NOT NULL,
    PRIMARY KEY (series, target, alias));
CREATE TABLE IF NOT EXISTS model_skill (
    series TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL, step INTEGER NOT NULL,
    origins INTEGER NOT NULL, rmae REAL NOT NULL, coverage_80 REAL, coverage_95 REAL,
    PRIMARY KEY (series, target, version, step));
CREATE TABLE IF NOT EXISTS model_event (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, series TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL,
    event TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS model_event_series ON model_event (series, target, event);
CREATE TRIGGER IF NOT EXISTS model_event_stays BEFORE UPDATE ON model_event
    BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS model_event_remains BEFORE DELETE ON model_event
    BEGIN SELECT raise(ABORT, 'events are never removed'); END;
"""
LATER_COLUMNS = {
    "frame_hash": "TEXT",
    "source_version": "TEXT",
    "library_versions": "TEXT",
    "fit_s": "REAL",
    "load_s": "REAL",
    "predict_s": "REAL",
    "device": "TEXT",
}
"""Columns of ``model_version`` that a registry of an earlier release lacks."""

OF_VERSION = "series = ? AND target = ? AND version = ?"


SKILLS_SQL = """
WITH newest AS (
    SELECT series, target, model, max(version) AS version FROM model_version
    WHERE json_extract(metrics, '$.judged_from') IS NOT NULL GROUP BY series, target, model)
SELECT v.series, v.target, v.model, v.version, v.artefact_sha256 IS NOT NULL AS stored, v.rows AS bars,
       v.fit_s, v.load_s, v.predict_s, v.device, json_extract(v.metrics, '$.judged_from') AS judged_from,
       json_extract(v.metrics, '$.judged_to') AS judged_to, s.step, s.origins, s.rmae, s.coverage_80, s.coverage_95
FROM newest JOIN model_version v USING (series, target, model, version)
JOIN model_skill s USING (series, target, version) ORDER BY v.series, v.target, v.model, s.step
"""


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def rows_of(connection: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def select_versions(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[Version]:
    sql = (
        "SELECT v.*, a.alias, a.set_at AS since FROM model_version v "
        f"LEFT JOIN model_alias a USING (series, target, version) {where} ORDER BY v.series, v.target, v.version"
    )
    return [Version.of(row) for row in rows_of(connection, sql, values)]


def aliased(connection: sqlite3.Connection, series: str, target: str, alias: str) -> int | None:
    row = connection.execute(
        "SELECT version FROM model_alias WHERE series = ? AND target = ? AND alias = ?", (series, target, alias)
    ).fetchone()
    return int(row[0]) if row else None


def set_alias(
    connection: sqlite3.Connection, series: str, target: str, alias: str, version: int, by: str, reason: str
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO model_alias (series, target, alias, version, set_at, set_by) VALUES (?, ?, ?, ?, ?, ?)",
        (series, target, alias, version, utc_now().isoformat(), by),
    )
    add_event(connection, series, target, version, f"{alias}_set", by, reason)


def drop_alias(connection: sqlite3.Connection, series: str, target: str, alias: str, by: str, reason: str) -> None:
    former = aliased(connection, series, target, alias)
    if former is not None:
        connection.execute(
            "DELETE FROM model_alias WHERE series = ? AND target = ? AND alias = ?", (series, target, alias)
        )
        add_event(connection, series, target, former, f"{alias}_dropped", by, reason)


def set_status(
    connection: sqlite3.Connection, series: str, target: str, version: int, status: str, by: str, reason: str
) -> None:
    changed = connection.execute(
        f"UPDATE model_version SET status = ?, reason = ? WHERE {OF_VERSION}",
        (status, reason, series, target, version),
    )
    if changed.rowcount != 1:
        raise RegistryError(f"{series} {target} has no version {version}.")
    add_event(connection, series, target, version, status, by, reason)


def add_event(
    connection: sqlite3.Connection, series: str, target: str, version: int, event: str, by: str, reason: str
) -> None:
    connection.execute(
        "INSERT INTO model_event (at, series, target, version, event, by, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (utc_now().isoformat(), series, target, version, event, by, reason),
    )
