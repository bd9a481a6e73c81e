"""The worth of the signals, measured once a day on the outcomes of the days before."""

import time
from typing import Any

from dagster import (
    AssetExecutionContext,
    BackfillPolicy,
    DefaultScheduleStatus,
    MaterializeResult,
    MetadataValue,
    asset,
    build_schedule_from_partitioned_job,
    define_asset_job,
)

from orderflow_assets import plots
from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import daily
from orderflow_assets.resources import StoreResource
from orderflow_assets.signals.forward import MOVES
from orderflow_assets.signals.labels import LABELS
from orderflow_assets.signals.worth import MEASURES, WORTH, measure
from orderflow_streaming.store.window import naive_utc


@asset(
    key=asset_key(WORTH.qualified),
    deps=[asset_key(LABELS.qualified), asset_key(MOVES.qualified)],
    partitions_def=daily,
    backfill_policy=BackfillPolicy.multi_run(1),
    group_name="signals",
    kinds={"duckdb", "python", "arch"},
    owners=OWNERS,
    code_version=table_version(WORTH),
    description=f"{WORTH.doc} Measures: {'; '.join(f'{name}, {text}' for name, text in MEASURES.items())}.",
    metadata=table_metadata(WORTH),
)
def worth(context: AssetExecutionContext, store: StoreResource) -> MaterializeResult:
    until = naive_utc(context.partition_time_window.end)
    with store.step() as opened:
        started = time.perf_counter()
        rows = measure(opened, until)
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": rows,
            "seconds": round(time.perf_counter() - started, 3),
        }
        picture = plots.decay(opened, WORTH, until)
    if picture:
        metadata["decay"] = MetadataValue.md(picture)
    return MaterializeResult(metadata=metadata)


signal_worth = define_asset_job(
    "signal_worth", selection=[asset_key(WORTH.qualified)], description="Measures what the signals were worth."
)

after_the_day = build_schedule_from_partitioned_job(
    signal_worth,
    name="signal_worth_daily",
    hour_of_day=0,
    minute_of_hour=45,
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every day at 00:45 UTC, when the outcomes of the day before are known.",
)
