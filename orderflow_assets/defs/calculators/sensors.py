"""The automation of calculators, on its own, so that their runs never hold up the hours of what they read."""

from __future__ import annotations

from dagster import AssetSelection, AutomationConditionSensorDefinition, DefaultSensorStatus

from orderflow_assets.calculator_assets import GROUP

calculators = AutomationConditionSensorDefinition(
    "calculators",
    target=AssetSelection.groups(GROUP),
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    run_tags={"dagster/priority": "-1", "dagster/max_runtime": "1800"},
    description="Runs calculators once the hour or the day they are about is over.",
)
