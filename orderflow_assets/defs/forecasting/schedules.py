"""What runs by the clock: forecasts and scores every five minutes, drift every ten, training every night."""

from __future__ import annotations

from collections.abc import Iterator

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    schedule,
)

from orderflow_assets.automation import NIGHTLY
from orderflow_assets.defs.forecasting.names import (
    CHALLENGER_CHECKS,
    CHAMPIONS_KEY,
    DRIFT_CHECK,
    DRIFT_KEY,
    FORECASTS_KEY,
    SCORES_KEY,
    TRAIN_JOB,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting.frame import STEP, known_until
from orderflow_assets.partitions import hour_key, hourly, series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import StoreBusyError, StoreUnavailableError

HEAVY = {"orderflow/heavy": "training", "dagster/max_runtime": "300"}
"""Run tags: one such run at a time, and none longer than 300 seconds."""

forecast_and_score = define_asset_job(
    "forecast_and_score",
    selection=AssetSelection.assets(FORECASTS_KEY, SCORES_KEY),
    description="Forecasts of the hour for edges that have none yet, and errors of those whose outcome is known.",
)
drift_check = define_asset_job(
    "drift_check",
    selection=AssetSelection.assets(DRIFT_KEY) | AssetSelection.checks(DRIFT_CHECK),
    description="Looks for drift in the errors of every model that serves.",
)
train = define_asset_job(
    TRAIN_JOB,
    selection=AssetSelection.assets(VERSIONS_KEY, CHAMPIONS_KEY).without_checks()
    | AssetSelection.checks(*CHALLENGER_CHECKS.values()),
    tags=HEAVY,
    description="Trains the models of a series, judges them, and lets the winner serve.",
)


@schedule(
    job=forecast_and_score,
    cron_schedule="1-59/5 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every 300 seconds, a minute after the bars of five minutes have closed.",
)
def every_five_minutes(context: ScheduleEvaluationContext, store: StoreResource) -> list[RunRequest] | SkipReason:
    """The hours that the newest and the second newest edge belong to, by the market's clock and not the wall's."""
    try:
        with store.connect("read", embedded=False) as opened:
            newest = known_until(opened)
    except (StoreUnavailableError, StoreBusyError) as error:
        return SkipReason(f"The store does not answer: {error}")
    if newest is None:
        return SkipReason("There are no bars yet.")
    # An edge closes the bar that opened one step before it and belongs to that bar's hour.
    hours = [hour_key((newest - back * STEP).replace(minute=0)) for back in (1, 2)]
    requests = [
        RunRequest(partition_key=hour, run_key=f"{newest:%Y-%m-%dT%H:%M}|{hour}")
        for hour in dict.fromkeys(hours)
        if hourly.has_partition_key(hour)
    ]
    return requests or SkipReason(f"The newest bar, of {newest} UTC, lies outside the partitions.")


@schedule(
    job=drift_check,
    cron_schedule="3-59/10 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every 600 seconds.",
)
def every_ten_minutes() -> RunRequest:
    return RunRequest()


@schedule(
    job=train,
    cron_schedule=NIGHTLY,
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every series once a night, one after the other.",
)
def nightly(context: ScheduleEvaluationContext) -> Iterator[RunRequest]:
    for key in context.instance.get_dynamic_partitions(series.name or ""):
        yield RunRequest(partition_key=key, run_key=f"nightly|{context.scheduled_execution_time:%Y-%m-%d}|{key}")
