"""What reacts: new series become partitions and are trained a first time."""

from __future__ import annotations

from math import ceil

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from orderflow_assets.defs.forecasting.names import RETRAIN_JOB
from orderflow_assets.forecasting.configured import chosen, configured_series
from orderflow_assets.forecasting.frame import HORIZON, Series, count_bars
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.skill import MIN_ORIGINS
from orderflow_assets.forecasting.train import Plan
from orderflow_assets.partitions import series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import StoreBusyError, StoreUnavailableError

JUDGEABLE_BARS = ceil((MIN_ORIGINS + HORIZON) / Plan().held_out)
"""Five-minute bars from which on a trained model can be judged."""


@sensor(
    job_name=RETRAIN_JOB,
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
    description="Adds every series that has bars to the partitions and trains it once it has enough of them.",
)
def series_with_bars(context: SensorEvaluationContext, store: StoreResource) -> SensorResult:
    try:
        with store.connect("read", embedded=False) as opened:
            counted = {found.key: count for found, count in count_bars(opened).items()}
    except (StoreUnavailableError, StoreBusyError) as error:
        return SensorResult(skip_reason=f"The store does not answer: {error}")
    bars = {found.key: counted.get(found.key, 0) for found in chosen(map(Series.parse, counted), configured_series())}
    known = set(context.instance.get_dynamic_partitions(series.name or ""))
    registry = Registry(store.data_dir)
    ready = [key for key, count in bars.items() if count >= JUDGEABLE_BARS and registry.last_training(key) is None]
    new = [key for key in bars if key not in known]
    if not new and not ready:
        return SensorResult(
            skip_reason=f"{len(known)} series are partitions; none is new or waits for its first models."
        )
    return SensorResult(
        dynamic_partitions_requests=[series.build_add_request(new)] if new else [],
        run_requests=[RunRequest(partition_key=key, run_key=f"first|{key}") for key in ready],
    )
