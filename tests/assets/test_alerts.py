"""Alerts of failed runs, from a real failing run to a stored row."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from dagster import DagsterInstance, build_run_status_sensor_context

from orderflow_assets.alerts import raise_alert
from orderflow_assets.defs.operations.sensors import alert_on_run_failure
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, connect
from orderflow_streaming.watching.alerts import ALERTS
from tests.assets.planted import LOWER, UPPER, Faults, minutes, partition, plant_trades, planted_defs

START = datetime.fromisoformat("2025-06-03T08:00")


@pytest.mark.parametrize("running", [True, False])
def test_a_failed_run_leaves_an_alert(running: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Through the owner where one runs, else in the file itself."""
    if running:
        request.getfixturevalue("served")
    with connect(tmp_path, scope="write") as store:
        plant_trades(store, minutes(START, 1))
    job = planted_defs(Faults(upper_raises=True), tmp_path).resolve_implicit_global_asset_job_def()
    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[LOWER, UPPER], partition_key=partition(START), raise_on_error=False
        )
        event = next(event for event in result.all_events if event.is_failure and not event.is_step_failure)
        context = build_run_status_sensor_context(
            sensor_name=alert_on_run_failure.name,
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            resources={"store": StoreResource(data_dir=str(tmp_path))},
        ).for_run_failure()
        alert_on_run_failure(context)
    with connect(tmp_path) as store:
        (alert,) = store.query(f"SELECT * FROM {ALERTS.qualified}").to_pylist()
    assert (alert["level"], alert["source"], alert["acknowledged"]) == ("HIGH", "dagster", False)
    assert alert["message"] == f"run {result.run_id[:8]} failed: tables"
    details = json.loads(alert["details"])
    assert details["run_id"] == result.run_id
    assert "features.upper: RuntimeError: planted failure" in details["errors"]["tables"]
    assert details["tags"]["dagster/partition"] == partition(START)


def test_an_unknown_level_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="Allowed: INFO, LOW, MEDIUM, HIGH, CRITICAL"):
        raise_alert(store, "SEVERE", "tests", "no such level", {})
    assert not store.exists(ALERTS)
