"""Health of a series: what the drift checks of the last 24 hours come to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from orderflow_assets.forecasting.drift.tables import DRIFT, SEVERITIES
from orderflow_assets.forecasting.frame import utc_now
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column

LOOKED_BACK = timedelta(hours=24)

HEALTH: tuple[Column, ...] = (
    DRIFT.column("series"),
    Column("health", "VARCHAR", "ok or warning or degraded or critical or unknown"),
    Column("checks", "BIGINT", "drift checks looked at", "count"),
    Column("critical_findings", "BIGINT", "times a finding became critical", "count"),
    Column("high_findings", "BIGINT", "times a finding became high", "count"),
    Column("newest_severity", "VARCHAR", "worst severity of the newest check"),
    Column("checked_at", "TIMESTAMP", "clock time of the newest check", "UTC"),
)

HEALTH_SQL = f"""
WITH checks AS (
    SELECT *, lag(severity, 1, 'NONE') OVER (PARTITION BY series, target ORDER BY checked_at) AS before
    FROM {DRIFT.qualified}
    WHERE checked_at > ? AND {{where}}
)
SELECT series,
       CASE WHEN count(*) FILTER (severity = 'CRITICAL') > 0 THEN 'critical'
            WHEN count(*) FILTER (severity = 'HIGH' AND before <> 'HIGH') > 2 THEN 'degraded'
            WHEN count(*) FILTER (severity = 'HIGH') > 0 THEN 'warning'
            WHEN count(error_ratio) = 0 THEN 'unknown'
            ELSE 'ok' END AS health,
       count(DISTINCT checked_at) AS checks,
       count(*) FILTER (severity = 'CRITICAL' AND before <> 'CRITICAL') AS critical_findings,
       count(*) FILTER (severity = 'HIGH' AND before <> 'HIGH') AS high_findings,
       arg_max(severity, (checked_at, list_position({list(SEVERITIES)}, severity))) AS newest_severity,
       max(checked_at) AS checked_at
FROM checks GROUP BY series ORDER BY series
"""
"""Health by series since a time: critical with any critical finding, degraded with more than two high ones, warning
with any, unknown where no check had enough outcomes to say anything. A finding that lasts counts once."""


def health(store: Store) -> list[dict[str, Any]]:
    """Health of every series that was checked in the last 24 hours."""
    return store.query(HEALTH_SQL.format(where="TRUE"), [utc_now() - LOOKED_BACK]).to_pylist()
