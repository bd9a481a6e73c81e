"""Closed hours of ticks as sealed files, hour by hour: to be seen, checked and redone by a person."""

import time
from datetime import datetime
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetSelection,
    DefaultScheduleStatus,
    Failure,
    MaterializeResult,
    MetadataValue,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    TableColumn,
    TableRecord,
    TableSchema,
    asset,
    asset_check,
    define_asset_job,
    schedule,
)

from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import hour_key, hour_of, hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.schema import ARCHIVE, STREAMS
from orderflow_streaming.store import StoreBusyError, StoreUnavailableError
from orderflow_streaming.store.window import naive_utc

ARCHIVE_KEY = asset_key(ARCHIVE.qualified)
HOURS_PER_TICK = 24
"""Hours that the schedule asks for at once; a longer backlog takes several ticks, or a backfill."""

_FILES = TableSchema(
    columns=[
        TableColumn("stream", "string"),
        TableColumn("done", "string", description="what was done with the hour"),
        TableColumn("rows", "int"),
        TableColumn("bytes", "int"),
        TableColumn("content_hash", "string", description="sum of the hashes of all rows"),
        TableColumn("sha256", "string", description="of the file"),
        TableColumn("path", "string", description="under the root of the archive"),
    ]
)


@asset(
    key=ARCHIVE_KEY,
    deps=[asset_key(stream.table.qualified) for stream in STREAMS.values()],
    partitions_def=hourly,
    group_name="operations",
    kinds={"parquet", "duckdb"},
    owners=OWNERS,
    code_version=table_version(ARCHIVE),
    pool="archive",
    description=f"{ARCHIVE.doc} Materializing an hour seals it, again where rows came or changed since, and drops from "
    "the database what is sealed and older than the retention.",
    metadata=table_metadata(ARCHIVE),
)
def archive(context: AssetExecutionContext, store: StoreResource) -> MaterializeResult:
    started, hour = time.perf_counter(), naive_utc(context.partition_time_window.start)
    with store.step() as opened:
        sealed = opened.action("seal", {"hour": hour.isoformat()})["hours"]
        dropped = opened.action("drop")
        root = opened.action("archive_status")["archive"]
    _raise_for([*sealed, *dropped["hours"]])
    files = [outcome for outcome in sealed if outcome["path"]]
    gone = [outcome for outcome in dropped["hours"] if outcome["dropped"]]
    return MaterializeResult(
        metadata={
            "dagster/partition_row_count": sum(outcome["rows"] for outcome in files),
            "bytes": sum(outcome["bytes"] for outcome in files),
            "files_written": sum(outcome["done"].startswith("sealed") for outcome in files),
            "files": MetadataValue.table([_record(outcome) for outcome in files], _FILES),
            "archive": root,
            "rows_dropped": sum(outcome["rows"] for outcome in gone),
            "hours_dropped": len({outcome["hour"] for outcome in gone}),
            "older_hours_not_sealed": len({entry["hour"] for entry in dropped["unsealed"]}),
            "seconds": round(time.perf_counter() - started, 3),
        }
    )


@asset_check(
    asset=ARCHIVE_KEY,
    name="files_hold_what_was_sealed",
    description="Every file of the hour has the SHA-256, the rows and the content hash that were written down.",
    partitions_def=hourly,
)
def files_hold_what_was_sealed(context: AssetCheckExecutionContext, store: StoreResource) -> AssetCheckResult:
    hour = hour_of(context.partition_key)
    with store.step("read") as opened:
        files = opened.action("archive_check", {"hour": hour.isoformat()})["files"]
    damaged = {file["path"]: file["why"] for file in files if not file["intact"]}
    return AssetCheckResult(
        passed=not damaged,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(damaged.values()) or f"{len(files)} files are as they were sealed",
        metadata={"files": len(files), "rows": sum(file["rows"] for file in files), "damaged": damaged},
    )


archive_hours = define_asset_job(
    "archive_hours",
    selection=AssetSelection.assets(ARCHIVE_KEY),
    description="Seals one hour of all streams, proves the files, and drops what the retention allows.",
)


@schedule(
    job=archive_hours,
    cron_schedule="7 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every hour; does nothing unless the daemon has an archive.",
)
def every_hour(context: ScheduleEvaluationContext, store: StoreResource) -> list[RunRequest] | SkipReason:
    """The closed hours of which the daemon has rows that are not sealed, oldest first."""
    try:
        with store.connect("read", embedded=False) as opened:
            status = opened.action("archive_status")
    except (StoreUnavailableError, StoreBusyError) as error:
        return SkipReason(f"The store does not answer: {error}")
    if not status["configured"]:
        return SkipReason("No archive is configured: set archive or retention_hours of the daemon.")
    keys = [hour_key(datetime.fromisoformat(hour)) for hour in status["waiting"]]
    due = [key for key in keys if hourly.has_partition_key(key)][:HOURS_PER_TICK]
    at = context.scheduled_execution_time
    return [RunRequest(partition_key=key, run_key=f"{at:%Y-%m-%dT%H}|{key}") for key in due] or SkipReason(
        "No closed hour waits to be sealed."
    )


def _record(outcome: dict[str, Any]) -> TableRecord:
    return TableRecord({column.name: outcome[column.name] for column in _FILES.columns})


def _raise_for(outcomes: list[dict[str, Any]]) -> None:
    """End the step where an hour failed; the others are done."""
    failed = [outcome for outcome in outcomes if outcome["done"] == "failed"]
    if failed:
        why = "; ".join(dict.fromkeys(outcome["why"] for outcome in failed))
        raise Failure(
            f"{len(failed)} stream hours failed and keep their rows: {why}",
            metadata={f"{outcome['stream']} {outcome['hour']}": outcome["why"] for outcome in failed},
            allow_retries=False,
        )
