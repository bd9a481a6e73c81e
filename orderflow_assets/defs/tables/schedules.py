"""Keeps the hour that is running now fresh, while the automation computes hours that are over."""

from __future__ import annotations

from datetime import datetime, timedelta

from dagster import (
    DagsterRunStatus,
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from orderflow_assets import watermark
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.defs.tables.assets import hour_so_far
from orderflow_assets.partitions import IN_ORDER, hour_key
from orderflow_assets.resources import StoreResource
from orderflow_assets.watermark import floor
from orderflow_streaming.store import Store, StoreBusyError, StoreUnavailableError
from orderflow_streaming.store.window import naive_utc

MINUTE = timedelta(minutes=1)
_TAG = {"orderflow/refresh": "running hour"}
_UNFINISHED = [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


@schedule(
    job=hour_so_far,
    cron_schedule="*/5 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every 5 minutes the hour that these 5 minutes belong to; not where all its minutes are computed.",
)
def running_hour(context: ScheduleEvaluationContext, store: StoreResource) -> RunRequest | SkipReason:
    """By the wall clock: what a market whose clock stands elsewhere has is computed as the sensor reports it."""
    at = naive_utc(context.scheduled_execution_time)
    hour = floor(at - timedelta(microseconds=1), 60)
    try:
        with store.connect("read", embedded=False) as opened:
            since = _computed_until(opened, hour)
            newest = watermark.newest(opened, watermark.stored_streams(opened), since + MINUTE, at)
    except (StoreUnavailableError, StoreBusyError) as error:
        return SkipReason(f"The store does not answer: {error}")
    if newest is None:
        return SkipReason(f"No tick is newer than the last minute computed, which ends at {since:%Y-%m-%d %H:%M} UTC.")
    if context.instance.get_runs_count(RunsFilter(tags=_TAG, statuses=_UNFINISHED)):
        return SkipReason("The last refresh of the running hour has not ended.")
    return RunRequest(run_key=f"{at:%Y-%m-%dT%H:%M}", partition_key=hour_key(hour), tags={**_TAG, **IN_ORDER})


def _computed_until(store: Store, hour: datetime) -> datetime:
    """End of the last minute of ``hour`` that has bars; its beginning where none has."""
    if not store.exists(BARS_1M):
        return hour
    sql = f"SELECT max(bar_ts) AS last FROM {BARS_1M.qualified} WHERE open_time >= $start::TIMESTAMP"
    last: datetime | None = store.query(sql, {"start": hour}).column("last")[0].as_py()
    return last or hour
