"""Computes again what looks back on an hour whose ticks changed late, such as after a backfill or a filled gap.

The changed hour itself is computed again by the automation. This sensor waits until the changes have come to rest and
that is done, then asks for the later hours that reach back, table by table in order, one run at a time.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from orderflow_assets.defs.raw.sensors import KEYS, LATE
from orderflow_assets.defs.tables.assets import hours
from orderflow_assets.late import Agenda, Task, tasks
from orderflow_assets.layer_assets import HOURS_PER_RUN
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import IN_ORDER, hour_key, hour_of

REST_SECONDS = 120.0
"""How long no late hour may have been told before what looks back on them is computed."""

PATIENCE_SECONDS = 1800.0
"""How long the changed hours are waited for; one that fails its checks does not hold up the others for ever."""

RUN_TAG = "orderflow/late"
_TABLES = {layer.table.qualified: asset_key(layer.table.qualified) for layer in LAYERS}
_EVENTS_PER_TICK = 1_000


@sensor(
    job=hours,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="After late changes of closed hours, computes the later hours whose baselines reach back into them.",
)
def late_corrections(context: SensorEvaluationContext) -> SensorResult:
    agenda = _told(context.instance, Agenda.from_json(context.cursor))
    if agenda.running and _unfinished(context.instance, agenda.running):
        return SensorResult(skip_reason=f"{len(agenda.waiting)} runs wait for one to end.", cursor=agenda.to_json())
    agenda = replace(agenda, running=None)
    if not agenda.waiting and agenda.changed:
        quiet_s = time.time() - agenda.told_s
        if quiet_s < REST_SECONDS:
            return SensorResult(skip_reason="Late hours keep coming.", cursor=agenda.to_json())
        if quiet_s < PATIENCE_SECONDS and (behind := _not_yet_computed(context.instance, agenda)):
            return SensorResult(skip_reason=f"Waits for the changed hours of {behind}.", cursor=agenda.to_json())
        stored = {name: _stored_hours(context.instance, key) for name, key in _TABLES.items()}
        found = tasks(LAYERS, agenda.changed.keys(), stored, HOURS_PER_RUN)
        agenda = replace(agenda, changed={}, waiting=tuple(found))
    if not agenda.waiting:
        return SensorResult(skip_reason="No late changes.", cursor=agenda.to_json())
    task, *rest = agenda.waiting
    request = _request(task, agenda.seen)
    agenda = replace(agenda, waiting=tuple(rest), running=request.tags[RUN_TAG])
    return SensorResult(run_requests=[request], cursor=agenda.to_json())


def _told(instance: DagsterInstance, agenda: Agenda) -> Agenda:
    """The agenda with the late hours told since."""
    seen, changed, told_s = agenda.seen, dict(agenda.changed), agenda.told_s
    for key in KEYS.values():
        after = agenda.seen
        while True:
            records = instance.fetch_materializations(
                AssetRecordsFilter(key, after_storage_id=after), limit=_EVENTS_PER_TICK, ascending=True
            ).records
            for record in records:
                event = record.asset_materialization
                if event and event.partition and LATE in event.metadata:
                    hour = hour_of(event.partition)
                    changed[hour] = max(changed.get(hour, 0), record.storage_id)
                    told_s = max(told_s, record.timestamp)
                after = record.storage_id
            seen = max(seen, after)
            if len(records) < _EVENTS_PER_TICK:
                break
    return replace(agenda, seen=seen, changed=changed, told_s=told_s)


def _unfinished(instance: DagsterInstance, tag: str) -> bool:
    runs = instance.get_runs(RunsFilter(tags={RUN_TAG: tag}), limit=1)
    return bool(runs) and not runs[0].is_finished


def _not_yet_computed(instance: DagsterInstance, agenda: Agenda) -> str | None:
    """A table whose rows of a changed hour are older than the change or missing; None when all are computed."""
    partitions = {hour_key(hour): number for hour, number in agenda.changed.items()}
    for name, key in _TABLES.items():
        latest = instance.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION, partitions=set(partitions)
        )
        if any(latest.get(partition, 0) < number for partition, number in partitions.items()):
            return name
    return None


def _stored_hours(instance: DagsterInstance, key: AssetKey) -> list[datetime]:
    return [hour_of(partition) for partition in instance.get_materialized_partitions(key)]


def _request(task: Task, number: int) -> RunRequest:
    tag = f"{number}:{task.first:%Y-%m-%dT%H}:{task.last:%Y-%m-%dT%H}:{task.tables[0]}"
    return RunRequest(
        run_key=tag,
        asset_selection=[_TABLES[name] for name in task.tables],
        tags={
            "dagster/asset_partition_range_start": hour_key(task.first),
            "dagster/asset_partition_range_end": hour_key(task.last),
            RUN_TAG: tag,
            **IN_ORDER,
        },
    )
