"""Reports the hours of ticks to Dagster. The daemon knows nothing of Dagster; this sensor owns the list of streams."""

from __future__ import annotations

from datetime import UTC, datetime

from dagster import (
    AssetMaterialization,
    DefaultSensorStatus,
    MetadataValue,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from orderflow_assets import watermark
from orderflow_assets.automation import LOOKBACK
from orderflow_assets.defs.tables.assets import hours
from orderflow_assets.late import stretches
from orderflow_assets.layer_assets import HOURS_PER_RUN
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import IN_ORDER, hour_key, hourly
from orderflow_assets.resources import StoreResource
from orderflow_assets.watermark import HourReport, Progress
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import StoreBusyError, StoreUnavailableError

LATE = "late"
"""Metadata of a report of an hour that was complete by the market's clock before these ticks of it came."""

KEYS = {stream.name: asset_key(stream.table.qualified) for stream in STREAMS.values()}


@sensor(
    job=hours,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Reports each closed hour of every stream, changed hours again, and the running hour every 5 minutes.",
)
def raw_watermark(context: SensorEvaluationContext, store: StoreResource) -> SensorResult:
    """Events and cursor move together: what one tick does not report waits for the next.

    A stream without rows in an hour in which others have some is reported with zero rows, so that what is computed
    from it need not wait for ever. Hours older than the automation looks back are computed by runs requested here.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    try:
        with store.connect("read", embedded=False) as opened:
            streams = watermark.stored_streams(opened)
            if not streams:
                return SensorResult(skip_reason="The store runs and has no stream table yet.")
            progress, due = watermark.advance(opened, streams, Progress.from_json(context.cursor), now)
            reports = watermark.describe(opened, streams, filter(_partitioned, due.hours))
    except (StoreUnavailableError, StoreBusyError) as error:
        return SensorResult(skip_reason=f"The store does not answer: {error}")
    cursor = watermark.settle(progress, due).to_json()
    if not reports:
        return SensorResult(skip_reason=_why_nothing(progress), cursor=cursor)
    old = [hour for hour in due.closed if _partitioned(hour) and hour <= now - LOOKBACK]
    known = {stream.name: context.instance.get_materialized_partitions(KEYS[stream.name]) for stream in streams}
    runs = [_run_over(stretch) for stretch in stretches(sorted(old), HOURS_PER_RUN)]
    return SensorResult(
        asset_events=[
            _event(report, closed=report.hour in due.closed, late=report.hour in due.late)
            for report in reports
            if report.stream in progress.waiting[report.hour] or hour_key(report.hour) not in known[report.stream]
        ],
        run_requests=runs,
        skip_reason=None if runs else f"Reported {', '.join(sorted({hour_key(report.hour) for report in reports}))}.",
        cursor=cursor,
    )


def _partitioned(hour: datetime) -> bool:
    return hourly.has_partition_key(hour_key(hour))


def _event(report: HourReport, *, closed: bool, late: bool) -> AssetMaterialization:
    figures = {
        "dagster/partition_row_count": report.rows,
        "series": report.series,
        "closed": closed,
        "first_event": _time(report.first),
        "last_event": _time(report.last),
        "mean_lag_s": report.lag_s,
        LATE: late or None,
    }
    return AssetMaterialization(
        KEYS[report.stream],
        partition=hour_key(report.hour),
        description="" if closed else "The hour is still running.",
        metadata={name: value for name, value in figures.items() if value is not None},
    )


def _time(value: datetime | None) -> MetadataValue | None:
    return MetadataValue.timestamp(value.replace(tzinfo=UTC)) if value else None


def _run_over(stretch: list[datetime]) -> RunRequest:
    return RunRequest(
        tags={
            "dagster/asset_partition_range_start": hour_key(stretch[0]),
            "dagster/asset_partition_range_end": hour_key(stretch[-1]),
            **IN_ORDER,
        }
    )


def _why_nothing(progress: Progress) -> str:
    if progress.watermark is None:
        return "The store runs and has no ticks yet."
    waiting = [hour for hour in progress.waiting if _partitioned(hour)]
    if not waiting:
        return f"No ticks since {progress.watermark:%Y-%m-%d %H:%M:%S} UTC."
    return (
        f"The market's clock is at {progress.watermark:%Y-%m-%d %H:%M:%S} UTC; "
        f"the hour of {waiting[-1]:%H:%M} is reported when it has ended and, unless a history is being caught up "
        "with, at the next 5-minute mark."
    )
