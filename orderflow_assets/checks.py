"""Asset checks made from the declarations: one verdict per check and hour, given in the step that computes the table.

Blocking checks stop what is downstream of the hour; the others warn.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from orderflow_assets import quality
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import hourly
from orderflow_streaming.tables import Table


def check_specs(table: Table) -> list[AssetCheckSpec]:
    """All checks of one computed table."""
    return [
        AssetCheckSpec(
            name,
            asset=asset_key(table.qualified),
            description=quality.CHECKS[name][1],
            blocking=quality.CHECKS[name][0],
            partitions_def=hourly,
        )
        for name in quality.checks(table)
    ]


def evaluations(
    instance: DagsterInstance,
    table: Table,
    verdicts: Mapping[str, Sequence[quality.Verdict]],
    wanted: Collection[str],
) -> Iterator[AssetCheckEvaluation]:
    """The ``wanted`` checks out of the ``verdicts`` on each partition, with the materialization they looked at.

    Dagster gives a run over a range one result for the whole range, which counts for none of its partitions; so the
    evaluations are made by hand.
    """
    key = asset_key(table.qualified)
    targets = _latest_materializations(instance, key, list(verdicts))
    for partition, found in verdicts.items():
        for verdict in found:
            if verdict.check not in wanted:
                continue
            blocking = quality.CHECKS[verdict.check][0]
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
