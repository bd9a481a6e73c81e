"""What reacts: new series become partitions and are trained a first time, drift asks for a training."""

from __future__ import annotations

import json
from math import ceil

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from orderflow_assets.alerts import raise_alert
from orderflow_assets.defs.forecasting.names import CAUSE, CAUSED_BY_DRIFT, DRIFT_CHECK, RETRAIN_JOB
from orderflow_assets.forecasting.configured import chosen, configured_series
from orderflow_assets.forecasting.frame import HORIZON, Series, count_bars, utc_now
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.retraining import decide
from orderflow_assets.forecasting.skill import MIN_ORIGINS
from orderflow_assets.forecasting.train import Plan
from orderflow_assets.partitions import series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import StoreBusyError, StoreUnavailableError

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

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


@sensor(
    job_name=RETRAIN_JOB,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Trains a series when its drift check fails: one training at a time and none within the cooldown.",
)
def retrain_on_drift(context: SensorEvaluationContext, store: StoreResource) -> SensorResult:
    """Acts once on each failed evaluation; a refusal is said once until the series is trained again.

    The cursor holds the last evaluation acted on and, per series, the training a refusal was said for.
    """
    state = json.loads(context.cursor) if context.cursor else {"after": {}, "refused": {}}
    registry, now = Registry(store.data_dir), utc_now()
    requests: list[RunRequest] = []
    try:
        with store.connect("write", embedded=False) as opened:
            for key, evaluation in _failed(context.instance).items():
                if state["after"].get(key) == evaluation:
                    continue
                last = registry.last_training(key)
                decision = decide(now, last, running=_running(context.instance, key))
                details = {"evaluation": evaluation, "check": "drift", "reason": decision.reason}
                source, since = f"retrain_{key}", str(last)
                if decision.retrain:
                    tags = {CAUSE: CAUSED_BY_DRIFT}
                    requests.append(RunRequest(partition_key=key, run_key=f"drift|{key}|{evaluation}", tags=tags))
                    raise_alert(
                        opened, "MEDIUM", source, f"retraining of {key} started: its drift check failed", details
                    )
                elif state["refused"].get(key) != since:
                    raise_alert(opened, "LOW", source, f"retraining of {key} refused: {decision.reason}", details)
                    state["refused"][key] = since
                state["after"][key] = evaluation
    except (StoreUnavailableError, StoreBusyError) as error:
        return SensorResult(skip_reason=f"The store does not answer: {error}")
    cursor = json.dumps(state)
    if not requests:
        return SensorResult(skip_reason="No failed drift check asks for a training now.", cursor=cursor)
    return SensorResult(run_requests=requests, cursor=cursor)


def _failed(instance: DagsterInstance) -> dict[str, int]:
    """Series whose latest drift evaluation failed, with the number of that evaluation."""
    latest = instance.event_log_storage.get_asset_check_partition_info([DRIFT_CHECK])
    return {
        info.partition_key: info.latest_check_event_storage_id
        for info in latest
        if info.partition_key and info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
    }


def _running(instance: DagsterInstance, key: str) -> bool:
    """Whether a training of the series waits or runs."""
    filters = RunsFilter(job_name=RETRAIN_JOB, tags={"dagster/partition": key}, statuses=_UNFINISHED)
    return instance.get_runs_count(filters) > 0
