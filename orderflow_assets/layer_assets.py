"""The Dagster assets of the computed tables, filled by one step: functions in, figures and verdicts out.

A step costs Dagster more than most tables take to compute, so a run over all tables is one step and not two for each.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Failure,
    MaterializeResult,
    MetadataValue,
    Output,
    multi_asset,
)

from orderflow_assets import plots, quality
from orderflow_assets.automation import on_new_or_late_data
from orderflow_assets.checks import check_specs, evaluations
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, column_lineage, layer_version, table_metadata
from orderflow_assets.partitions import hour_of, hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, StoreError

HOURS_PER_RUN = 24
"""A failure costs a day, not the whole backfill; a run costs seconds before it does anything."""

Events = Iterator[MaterializeResult | AssetCheckEvaluation | Output[None]]


def dependencies(layer: Layer, computed: Sequence[Layer] = LAYERS) -> list[AssetKey]:
    """The inputs that are assets by the hour, ticks or computed; records of operation such as gaps are not."""
    hourly_tables = {stream.table.qualified for stream in STREAMS.values()} | {
        other.table.qualified for other in computed
    }
    return [asset_key(name) for name in layer.inputs if name in hourly_tables]


def layer_assets(layers: Sequence[Layer] = LAYERS) -> AssetsDefinition:
    """The assets of ``layers``, each after what it reads, with their checks. Each can be run without the others.

    An hour depends on the same hour of its inputs, whatever ``layer.lookback`` says. With earlier hours as
    dependencies the first hours of a history would wait for ever, and each layer of a backfill would be a run of its
    own; runs take hours in order instead, so that what lies before is there.

    A table that cannot be computed or fails a blocking check holds back those that read it and no others. The step
    fails when everything else is done.
    """

    @multi_asset(
        name="tables",
        specs=[_spec(layer, layers) for layer in layers],
        check_specs=[spec for layer in layers for spec in check_specs(layer.table)],
        partitions_def=hourly,
        backfill_policy=BackfillPolicy.multi_run(HOURS_PER_RUN),
        can_subset=True,
    )
    def compute(context: AssetExecutionContext, store: StoreResource) -> Events:
        checks: dict[AssetKey, set[str]] = defaultdict(set)
        for check in context.selected_asset_check_keys:
            checks[check.asset_key].add(check.name)
        failed: dict[str, str] = {}
        with store.step() as opened:
            for layer in layers:
                name, key = layer.table.qualified, asset_key(layer.table.qualified)
                chosen = key in context.selected_asset_keys
                if chosen and (blamed := [source for source in layer.inputs if source in failed]):
                    failed[name] = f"not computed, because it reads {', '.join(blamed)}"
                elif chosen or checks[key]:
                    try:
                        yield from _fill(context, opened, layer, checks[key])
                    except Exception as error:
                        if isinstance(error, StoreError) and error.retryable:
                            raise
                        context.log.exception(f"{name} failed.")
                        failed[name] = f"{type(error).__name__}: {error}"
        if failed:
            name, reason = next(iter(failed.items()))
            others = f"; {len(failed) - 1} more failed or read what failed" if len(failed) > 1 else ""
            raise Failure(f"{name}: {reason}{others}", metadata=failed, allow_retries=False)

    return compute


class BlockedError(Exception):
    """A blocking check failed on what is stored."""


def _spec(layer: Layer, computed: Sequence[Layer]) -> AssetSpec:
    table = layer.table
    return AssetSpec(
        asset_key(table.qualified),
        deps=dependencies(layer, computed),
        description=table.doc,
        group_name=layer.group,
        kinds=set(layer.kinds),
        owners=OWNERS,
        automation_condition=on_new_or_late_data,
        code_version=layer_version(layer),
        metadata={**table_metadata(table), "lookback": str(layer.lookback)},
    )


def _fill(context: AssetExecutionContext, store: Store, layer: Layer, checks: set[str]) -> Events:
    """Computes the table where it is selected, then the selected ``checks`` of it. Raises BlockedError."""
    table, window = layer.table, context.partition_time_window
    key = asset_key(table.qualified)
    started = time.perf_counter()
    chosen = key in context.selected_asset_keys
    rows = layer.compute(store, window.start, window.end) if chosen else 0
    seconds = time.perf_counter() - started
    found = quality.measure(store, table, window.start, window.end)
    hours = {partition: found.get(hour_of(partition), quality.Hour()) for partition in context.partition_keys}
    if chosen:
        yield _materialization(context, store, layer, hours, {"rows_written": rows, "seconds": round(seconds, 3)})
    differences = quality.stored_differences(store, table)
    verdicts = {partition: quality.judge(table, hour, differences) for partition, hour in hours.items()}
    blocked = []
    for evaluation in evaluations(context.instance, table, verdicts, checks):
        yield evaluation
        if evaluation.blocking and not evaluation.passed:
            blocked.append(f"{evaluation.check_name} of {evaluation.partition}: {evaluation.description}")
    if blocked:
        raise BlockedError("; ".join(blocked))
    # Later steps of the run wait for these; a check that only warns holds up nothing.
    for name in checks & quality.BLOCKING:
        yield Output(None, context.assets_def.get_output_name_for_asset_check_key(AssetCheckKey(key, name)))


def _materialization(
    context: AssetExecutionContext,
    store: Store,
    layer: Layer,
    hours: Mapping[str, quality.Hour],
    figures: Mapping[str, float],
) -> MaterializeResult:
    """What the page of the asset shows: rows and NULLs by the hour, pictures on the last of them once it is over."""
    key, window = asset_key(layer.table.qualified), context.partition_time_window
    for partition, hour in hours.items():
        shown = {"dagster/partition_row_count": hour.rows, "null_share": hour.null_share}
        known = {name: value for name, value in shown.items() if value is not None}
        context.add_asset_metadata(known, key, partition)
    over = window.end <= datetime.now(UTC)
    pictures = plots.draw(layer, store, window.start, window.end) if over else {}
    context.add_asset_metadata(
        {
            **{title: MetadataValue.md(picture) for title, picture in pictures.items()},
            "dagster/column_lineage": column_lineage(layer),
        },
        key,
        context.partition_keys[-1],
    )
    return MaterializeResult(
        asset_key=key,
        metadata={"window": f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC", **figures},
    )
