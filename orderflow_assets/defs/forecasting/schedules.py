"""What runs by the clock: forecasts and scores every five minutes, drift every ten, the leaderboard every hour, and
each series' training once a day, in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    schedule,
)

from orderflow_assets.defs.forecasting.names import (
    CHALLENGER_CHECKS,
    CHAMPIONS_KEY,
    DRIFT_CHECK,
    DRIFT_INPUTS_KEY,
    DRIFT_KEY,
    DRIFT_REFERENCES_KEY,
    FORECASTS_KEY,
    FRAMES_KEY,
    LEADERBOARD_KEY,
    RETRAIN_JOB,
    SCORES_KEY,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting.configured import configured_series
from orderflow_assets.forecasting.drift.tables import DRIFT
from orderflow_assets.forecasting.frame import STEP, known_until, utc_now
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.retraining import COOLDOWN, hour_of_day
from orderflow_assets.forecasting.tables import FORECASTS, LEADERBOARD, SCORES
from orderflow_assets.partitions import hour_key, hourly, series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, StoreBusyError, StoreUnavailableError
from orderflow_streaming.tables import Table

HEAVY = {"orderflow/heavy": "training", "dagster/max_runtime": "300"}
"""Run tags: as many such runs at a time as dagster.yaml says, and none longer than 300 seconds."""

forecast_and_score = define_asset_job(
    "forecast_and_score",
    selection=AssetSelection.assets(FORECASTS_KEY, SCORES_KEY),
    description="Forecasts of the hour for edges that have none yet, and errors of those whose outcome is known.",
)
drift_check = define_asset_job(
    "drift_check",
    selection=AssetSelection.assets(DRIFT_INPUTS_KEY, DRIFT_REFERENCES_KEY, DRIFT_KEY)
    | AssetSelection.checks(DRIFT_CHECK),
    description="Looks for drift in the errors and the inputs of every model that serves.",
)
leaderboard_refresh = define_asset_job(
    "leaderboard_refresh",
    selection=AssetSelection.assets(LEADERBOARD_KEY),
    description="Measures skill and speed of every model again.",
)
retrain = define_asset_job(
    RETRAIN_JOB,
    selection=AssetSelection.assets(FRAMES_KEY, VERSIONS_KEY, CHAMPIONS_KEY).without_checks()
    | AssetSelection.checks(*CHALLENGER_CHECKS.values()),
    tags=HEAVY,
    description="Trains the models of a series, judges them, and lets the winner serve.",
)


@schedule(
    job=forecast_and_score,
    cron_schedule="1-59/5 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every 300 seconds, a minute after the bars of five minutes have closed; not where all is done.",
)
def every_five_minutes(context: ScheduleEvaluationContext, store: StoreResource) -> list[RunRequest] | SkipReason:
    """The hours that the newest and the second newest edge belong to, by the market's clock and not the wall's."""
    try:
        with store.connect("read", embedded=False) as opened:
            newest = known_until(opened)
            issued, scored = _last(opened, FORECASTS, "issued_at"), _last(opened, SCORES, "target_ts")
    except (StoreUnavailableError, StoreBusyError) as error:
        return SkipReason(f"The store does not answer: {error}")
    if newest is None:
        return SkipReason("There are no bars yet.")
    if issued is not None and scored is not None and min(issued, scored) >= newest:
        return SkipReason(f"Forecasts and scores up to {newest} UTC are there, and there is no newer bar.")
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
    description="Every 600 seconds; not where nothing was scored since the last time.",
)
def every_ten_minutes(context: ScheduleEvaluationContext, store: StoreResource) -> RunRequest | SkipReason:
    return _on_new_scores(store, DRIFT, "checked_at", None)


@schedule(
    job=leaderboard_refresh,
    cron_schedule="50 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Every hour; not where nothing was trained or scored since the last time.",
)
def leaderboard_every_hour(context: ScheduleEvaluationContext, store: StoreResource) -> RunRequest | SkipReason:
    return _on_new_scores(store, LEADERBOARD, "refreshed_at", Registry(store.data_dir).last_event())


@schedule(
    job=retrain,
    cron_schedule="20 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Each series once a day, at an hour of its own, so that trainings do not come all at once.",
)
def in_turn(context: ScheduleEvaluationContext, store: StoreResource) -> Iterator[RunRequest]:
    registry, at = Registry(store.data_dir), context.scheduled_execution_time
    wanted = configured_series()
    for key in context.instance.get_dynamic_partitions(series.name or ""):
        last = registry.last_training(key)
        rested = last is None or utc_now() - last >= COOLDOWN
        if hour_of_day(key) == at.hour and rested and (not wanted or key in wanted):
            yield RunRequest(partition_key=key, run_key=f"daily|{at:%Y-%m-%d}|{key}")


def _on_new_scores(store: StoreResource, done: Table, column: str, other: datetime | None) -> RunRequest | SkipReason:
    """A run where something was scored, or ``other`` happened, after the newest row of ``done``."""
    try:
        with store.connect("read", embedded=False) as opened:
            news = max(filter(None, (_last(opened, SCORES, "scored_at"), other)), default=None)
            last = _last(opened, done, column)
    except (StoreUnavailableError, StoreBusyError) as error:
        return SkipReason(f"The store does not answer: {error}")
    if news is None:
        return SkipReason("Nothing has been scored yet.")
    if last is not None and last >= news:
        return SkipReason(f"Nothing is new since {last:%Y-%m-%d %H:%M} UTC.")
    return RunRequest()


def _last(opened: Store, table: Table, column: str) -> datetime | None:
    """The newest time in a table; None where it does not exist or is empty."""
    if not opened.exists(table):
        return None
    found: datetime | None = opened.query(f"SELECT max({column}) AS last FROM {table.qualified}")["last"][0].as_py()
    return found
