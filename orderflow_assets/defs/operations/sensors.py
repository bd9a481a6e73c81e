"""What looks after the rest: the automation itself, and alerts when a run fails."""

from __future__ import annotations

from dagster import (
    AssetSelection,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    RunFailureSensorContext,
    run_failure_sensor,
)
from dagster._utils.error import SerializableErrorInfo

from orderflow_assets.alerts import raise_alert
from orderflow_assets.partitions import IN_ORDER
from orderflow_assets.resources import StoreResource

analytics = AutomationConditionSensorDefinition(
    "analytics",
    target=AssetSelection.all() - AssetSelection.groups("calculators", "explanations"),
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    run_tags={"dagster/priority": "5", **IN_ORDER},
    description="Computes hours of bars, features, signals and forecasts as their inputs arrive, ahead of backfills.",
)


@run_failure_sensor(default_status=DefaultSensorStatus.RUNNING, minimum_interval_seconds=30)
def alert_on_run_failure(context: RunFailureSensorContext, store: StoreResource) -> None:
    """Stores an alert for every run that fails, with the steps that failed and why."""
    run = context.dagster_run
    errors = {
        event.step_key or "": _cause(event.step_failure_data.error) for event in context.get_step_failure_events()
    }
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    with store.connect() as opened:
        raise_alert(
            opened,
            "HIGH",
            "dagster",
            f"run {run.run_id[:8]} failed: {', '.join(errors) or context.failure_event.message}",
            {"run_id": run.run_id, "job": run.job_name, "assets": assets, "errors": errors, "tags": dict(run.tags)},
        )


def _cause(error: SerializableErrorInfo | None) -> str:
    """The message at the bottom of a chain of errors."""
    while error and error.cause:
        error = error.cause
    return error.message.strip() if error else ""
