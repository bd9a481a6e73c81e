"""The Dagster asset of each computed table: the hour's window in, the table's own function, figures out."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    asset,
)

from orderflow_assets import plots, quality
from orderflow_assets.automation import on_new_or_late_data
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, column_lineage, layer_version, table_metadata
from orderflow_assets.partitions import hour_of, hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.schema import STREAMS

HOURS_PER_RUN = 24
"""A failure costs a day, not the whole backfill; a run costs seconds before it does anything."""


def layers_of(group: str) -> list[Layer]:
    return [layer for layer in LAYERS if layer.group == group]


def dependencies(layer: Layer, computed: Iterable[Layer] = LAYERS) -> list[AssetKey]:
    """The inputs that are assets by the hour, ticks or computed; records of operation such as gaps are not."""
    hourly_tables = {stream.table.qualified for stream in STREAMS.values()} | {
        other.table.qualified for other in computed
    }
    return [asset_key(name) for name in layer.inputs if name in hourly_tables]


def layer_asset(layer: Layer, computed: Iterable[Layer] = LAYERS) -> AssetsDefinition:
    """The asset of ``layer``. An hour depends on the same hour of its inputs, whatever ``layer.lookback`` says.

    With earlier hours as dependencies the first hours of a history would wait for ever, and each layer of a backfill
    would be a run of its own; runs take hours in order instead, so that what lies before is there.
    """
    table = layer.table
    lineage = column_lineage(layer)

    @asset(
        key=asset_key(table.qualified),
        deps=dependencies(layer, computed),
        partitions_def=hourly,
        backfill_policy=BackfillPolicy.multi_run(HOURS_PER_RUN),
        automation_condition=on_new_or_late_data,
        description=table.doc,
        group_name=layer.group,
        kinds=set(layer.kinds),
        owners=OWNERS,
        code_version=layer_version(layer),
        metadata={**table_metadata(table), "lookback": str(layer.lookback)},
    )
    def compute(context: AssetExecutionContext, store: StoreResource) -> MaterializeResult:
        window = context.partition_time_window
        with store.step() as opened:
            started = time.perf_counter()
            rows = layer.compute(opened, window.start, window.end)
            seconds = time.perf_counter() - started
            hours = quality.filled(opened, table, window.start, window.end)
            pictures = plots.draw(layer, opened, window.start, window.end) if window.end <= datetime.now(UTC) else {}
        for partition in context.partition_keys:
            hour = hours.get(hour_of(partition), quality.Filled())
            context.add_asset_metadata(
                {
                    "dagster/partition_row_count": hour.rows,
                    **({"null_share": hour.null_share} if hour.null_share is not None else {}),
                },
                partition_key=partition,
            )
        shown = {
            **{title: MetadataValue.md(picture) for title, picture in pictures.items()},
            "dagster/column_lineage": lineage,
        }
        if shown:
            context.add_asset_metadata(shown, partition_key=context.partition_keys[-1])
        return MaterializeResult(
            metadata={
                "window": f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC",
                "rows_written": rows,
                "seconds": round(seconds, 3),
            }
        )

    return compute
