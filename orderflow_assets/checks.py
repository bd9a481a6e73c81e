"""Asset checks made from the declarations: one step per table, one verdict per check and hour.

Blocking checks stop what is downstream of the hour; the others warn.
"""

from collections.abc import Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    Output,
    multi_asset_check,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from orderflow_assets import quality
from orderflow_assets.layer import Layer
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import hour_of, hourly
from orderflow_assets.resources import StoreResource


def layer_checks(layer: Layer) -> AssetChecksDefinition:
    """All checks of one computed table. In a run over many hours each hour gets its own evaluation.

    Dagster gives a run over a range one result for the whole range, which counts for none of its partitions; so the
    evaluations are yielded by hand, each with its partition and the materialization it looked at.
    """
    table, key = layer.table, asset_key(layer.table.qualified)
    specs = {
        name: AssetCheckSpec(
            name,
            asset=key,
            description=quality.CHECKS[name][1],
            blocking=quality.CHECKS[name][0],
            partitions_def=hourly,
        )
        for name in quality.checks(table)
    }

    @multi_asset_check(name=f"check_{table.schema}_{table.name}", specs=list(specs.values()))
    def check(
        context: AssetCheckExecutionContext, store: StoreResource
    ) -> Iterator[Output[None] | AssetCheckEvaluation]:
        window = context.partition_time_window
        with store.step("read") as opened:
            differences = quality.stored_differences(opened, table)
            hours = quality.measure(opened, table, window.start, window.end)
        targets = _latest_materializations(context.instance, key, list(context.partition_keys))
        for partition in context.partition_keys:
            start = hour_of(partition)
            for verdict in quality.judge(table, hours.get(start, quality.Hour()), differences):
                blocking = specs[verdict.check].blocking
                yield AssetCheckEvaluation(
                    check_name=verdict.check,
                    asset_key=key,
                    passed=verdict.passed,
                    metadata=dict(verdict.figures),
                    target_materialization_data=targets.get(partition),
                    severity=AssetCheckSeverity.ERROR if blocking else AssetCheckSeverity.WARN,
                    description=verdict.text,
                    blocking=blocking,
                    partition=partition,
                )
        for spec in specs.values():
            yield Output(None, output_name=spec.get_python_identifier())

    return check


def _latest_materializations(
    instance: DagsterInstance, key: AssetKey, partitions: list[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    latest = instance.get_latest_storage_id_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, partitions=set(partitions)
    )
    if not latest:
        return {}
    records = instance.fetch_materializations(
        AssetRecordsFilter(key, storage_ids=list(latest.values())), limit=len(latest)
    ).records
    return {
        record.partition_key: AssetCheckEvaluationTargetMaterializationData(
            run_id=record.run_id, storage_id=record.storage_id, timestamp=record.timestamp
        )
        for record in records
        if record.partition_key
    }
