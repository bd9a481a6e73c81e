"""Forecasting in a real Dagster instance: train, serve, forecast, score, drift, retrain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
    build_run_status_sensor_context,
    build_schedule_context,
    build_sensor_context,
)

from orderflow_assets.definitions import build_defs
from orderflow_assets.defs.forecasting import drift, schedules, sensors
from orderflow_assets.defs.forecasting.names import CAUSE, CAUSED_BY_DRIFT, CHAMPIONS_KEY, VERSIONS_KEY
from orderflow_assets.forecasting.drift import inputs
from orderflow_assets.forecasting.frame import Series
from orderflow_assets.forecasting.registry import Registry, Training
from orderflow_assets.forecasting.tables import FORECASTS, SCORES
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.partitions import hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.server import StoreServer
from tests.assets.forecast_bars import BTC, ETH, START, momentum, plant, random_walk

BARS = 900


@dataclass(frozen=True)
class Place:
    """A served store with two planted series, an instance, and the definitions that work on both."""

    store: Store
    resource: StoreResource
    registry: Registry
    instance: DagsterInstance
    defs: Definitions
    end: datetime

    @property
    def hour(self) -> str:
        """Partition of the last planted hour."""
        return (self.end - timedelta(hours=1)).strftime(hourly.fmt)

    def run(self, job: str, **how: Any) -> ExecuteInProcessResult:
        found = self.defs.resolve_job_def(job)
        return found.execute_in_process(instance=self.instance, raise_on_error=False, **how)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.store.query(sql).to_pylist()


@pytest.fixture
def place(served: StoreServer, tmp_path: Path) -> Iterator[Place]:
    resource = StoreResource(data_dir=str(tmp_path))
    home = tmp_path / "instance"
    home.mkdir()
    with connect(tmp_path, scope="write") as store, DagsterInstance.local_temp(str(home)) as instance:
        plant(store, ETH, random_walk(BARS, seed=2))
        end = plant(store, BTC, momentum(BARS, seed=1))
        instance.add_dynamic_partitions("series", [BTC.key, ETH.key])
        yield Place(store, resource, Registry(tmp_path), instance, build_defs({"store": resource}), end)


def training_of(series: Series) -> Training:
    return Training(series.key, "price", "lightgbm", START, START, 1, "", "", {})


def metadata(result: ExecuteInProcessResult, key: AssetKey) -> dict[str, Any]:
    events = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return {name: value.value for name, value in events[-1].materialization.metadata.items()}


def verdicts(result: ExecuteInProcessResult) -> dict[tuple[str, str | None], AssetCheckEvaluation]:
    return {(found.check_name, found.partition): found for found in result.get_asset_check_evaluations()}


def test_the_predictable_series_gets_a_model_and_the_other_keeps_naive(place: Place) -> None:
    result = place.run("retrain", partition_key=BTC.key)
    assert result.success
    figures = metadata(result, VERSIONS_KEY)
    stored = [version for version in place.registry.versions(BTC.key) if version.artefact_sha256]
    assert figures["trained"] == len(stored) >= 2
    assert figures["price_rmae"] < 0.99
    assert figures["price_dm_p"] < 0.05
    assert 0.85 < figures["price_coverage_95_h1"] <= 1
    assert len(figures["price_sha256"]) == 64
    assert figures["plot"].startswith("![held-out forecasts](data:image/png;base64,")
    assert len(figures["plot"]) < 50_100
    check = verdicts(result)["price_challenger", BTC.key]
    assert check.passed
    assert check.blocking
    assert check.metadata["origins"].value == figures["price_origins"]

    other = place.run("retrain", partition_key=ETH.key)
    assert other.success
    lost = verdicts(other)["price_challenger", ETH.key]
    assert not lost.passed
    assert lost.severity == AssetCheckSeverity.WARN
    assert metadata(other, CHAMPIONS_KEY)["price_serves"] == "naive version 0"

    stored = place.rows("SELECT series, target, model, status, alias FROM models.versions ORDER BY series, target")
    assert [(row["series"][:3], row["target"], row["status"], row["alias"]) for row in stored][:1] == [
        ("BTC", "price", "deployed", "champion")
    ]
    assert ("ETH", "registered", "challenger") in {(r["series"][:3], r["status"], r["alias"]) for r in stored}

    issued = place.run("forecast_and_score", partition_key=place.hour)
    assert issued.success
    served = place.rows(
        "SELECT DISTINCT series, target, model, version, reason FROM forecasts.forecasts WHERE target = 'price'"
    )
    assert {(row["series"][:3], row["model"], row["version"]) for row in served} == {
        ("BTC", "lightgbm", 1),
        ("ETH", "naive", 0),
    }
    assert metadata(issued, AssetKey(["forecasts", "forecasts"]))["dagster/partition_row_count"] == 2 * 12 * sum(
        len(target.steps) for target in TARGETS.values()
    )


def test_a_changed_artefact_stops_the_run_before_it_serves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    challenge = Registry.challenge

    def challenge_and_change(self: Registry, series: str, target: str, version: int, *rest: Any) -> None:
        challenge(self, series, target, version, *rest)
        (self.artefact(self.version(series, target, version)) / "card.json").write_bytes(b"changed")

    monkeypatch.setattr(Registry, "challenge", challenge_and_change)
    result = place.run("retrain", partition_key=BTC.key)
    assert not result.success
    assert verdicts(result)["price_challenger", BTC.key].severity == AssetCheckSeverity.ERROR
    assert CHAMPIONS_KEY not in {event.asset_key for event in result.get_asset_materialization_events()}
    assert place.registry.champion(BTC.key, "price") is None


def test_forecasts_are_issued_once_and_scored_when_the_outcome_is_there(place: Place) -> None:
    first = place.run("forecast_and_score", partition_key=place.hour)
    assert first.success
    before = place.rows(f"SELECT * FROM {FORECASTS.qualified} ORDER BY ALL")
    assert {row["issued_at"] for row in before} == {place.end - timedelta(minutes=5 * back) for back in range(12)}
    scored = place.rows(
        f"SELECT series, step, count(*) AS n FROM {SCORES.qualified} WHERE target = 'price' GROUP BY ALL"
    )
    assert {(row["series"], row["step"]): row["n"] for row in scored} == {
        (series.key, step): 12 - step for series in (BTC, ETH) for step in range(1, 12)
    }
    place.run("retrain", partition_key=BTC.key)
    again = place.run("forecast_and_score", partition_key=place.hour)
    assert metadata(again, AssetKey(["forecasts", "forecasts"]))["forecasts_written"] == 0
    assert metadata(again, AssetKey(["forecasts", "scores"]))["scored_now"] == 0
    assert place.rows(f"SELECT * FROM {FORECASTS.qualified} ORDER BY ALL") == before


def test_scores_are_the_differences_they_say(place: Place) -> None:
    place.run("forecast_and_score", partition_key=place.hour)
    rows = place.rows(
        f"SELECT s.*, f.point, f.naive, f.scale, f.lower_95, f.upper_95, b.close "
        f"FROM {SCORES.qualified} s JOIN {FORECASTS.qualified} f USING (series, target, issued_at, step) "
        "JOIN bars.bars_1m b ON b.bar_ts = s.target_ts AND b.symbol = s.symbol WHERE s.target = 'price'"
    )
    assert len(rows) == 2 * sum(range(1, 12))
    for row in rows:
        assert row["actual"] == pytest.approx(row["close"], rel=1e-12)
        assert row["error"] == pytest.approx(row["close"] - row["point"])
        assert row["scaled_error"] == pytest.approx(np.log(row["close"] / row["point"]) / row["scale"])
        assert row["inside_95"] == (row["lower_95"] <= row["close"] <= row["upper_95"])


def planted_scores(place: Place, growth: float) -> None:
    """A day of earlier errors and a day of errors that are ``growth`` times as large, of naive on ETH and BTC."""
    draws = np.random.default_rng(5)
    rows = []
    for series in (BTC, ETH):
        scaled = draws.standard_t(4, 600)
        scaled[300:] *= growth if series is ETH else 1.0
        for index, error in enumerate(scaled.tolist()):
            target_ts = place.end - timedelta(minutes=5 * (600 - index))
            rows.append(
                {
                    "series": series.key,
                    "symbol": series.symbol,
                    "exchange": series.exchange,
                    "market_type": series.market_type,
                    "target": "price",
                    "model": "naive",
                    "version": 0,
                    "issued_at": target_ts - timedelta(minutes=5),
                    "target_ts": target_ts,
                    "step": 1,
                    "actual": 100.0,
                    "error": error,
                    "naive_error": error,
                    "scaled_error": error,
                    "scaled_naive_error": error,
                    "inside_80": abs(error) < 1.5,
                    "inside_95": abs(error) < 2.8,
                    "scored_at": target_ts,
                }
            )
    place.store.write(SCORES, pa.Table.from_pylist(rows, SCORES.arrow_schema))


def alerts(place: Place) -> list[tuple[str, str]]:
    return [(row["level"], row["message"]) for row in place.rows("SELECT * FROM ops.alerts ORDER BY timestamp")]


def tick(place: Place, cursor: str | None) -> tuple[list[RunRequest], str]:
    context = build_sensor_context(instance=place.instance, cursor=cursor, resources={"store": place.resource})
    result = drift.retrain_on_drift(context)
    return list(result.run_requests or []), result.cursor


def test_drift_is_found_and_retrains_its_series_once_within_the_cooldown(place: Place) -> None:
    planted_scores(place, growth=2.0)
    checked = place.run("drift_check")
    assert checked.success
    found = verdicts(checked)
    assert found["drift", BTC.key].passed
    failed = found["drift", ETH.key]
    assert not failed.passed
    assert failed.metadata["severity"].value in {"HIGH", "CRITICAL"}
    assert failed.metadata["price_ks_p"].value < 0.01
    assert failed.metadata["price_error_ratio"].value > 1.5
    assert failed.metadata["type"].value == "sudden"
    assert failed.metadata["health"].value in {"warning", "critical"}
    assert failed.metadata["plot"].value.startswith("![errors over time](data:image/png;base64,")
    stored = place.rows("SELECT * FROM models.drift ORDER BY series")
    assert [row["detected"] for row in stored] == [False, True]
    assert abs(stored[1]["began_at"] - (place.end - timedelta(minutes=5 * 300))) < timedelta(hours=3)
    assert stored[1]["confidence"] > 0.99
    assert json.loads(stored[1]["details"])["ks_distance"]["speaks"]

    requests, cursor = tick(place, None)
    assert [(request.partition_key, request.tags[CAUSE]) for request in requests] == [(ETH.key, CAUSED_BY_DRIFT)]
    assert alerts(place)[0] == (stored[1]["severity"], f"drift of {ETH.key}: price, sudden: {stored[1]['reason']}")
    assert alerts(place)[1:] == [("MEDIUM", f"retraining of {ETH.key} started: its drift check failed")]
    assert tick(place, cursor)[0] == []

    trained = place.run("retrain", partition_key=ETH.key, tags=requests[0].tags)
    assert trained.success
    assert alerts(place)[-1][0] == "INFO"
    assert f"retraining of {ETH.key} finished" in alerts(place)[-1][1]

    for _ in range(2):
        place.run("drift_check")
        requests, cursor = tick(place, cursor)
        assert requests == []
    refused = [message for level, message in alerts(place) if level == "LOW"]
    assert len(refused) == 1
    assert "refused: last trained at" in refused[0]
    steps = place.rows("SELECT * FROM models.retrainings ORDER BY recorded_at")
    assert [row["step"] for row in steps] == ["detected", "asked", "finished", "refused"]
    assert {row["series"] for row in steps} == {ETH.key}
    assert [row["severity"] for row in steps[:2]] == [stored[1]["severity"]] * 2
    assert steps[2]["run_id"] == trained.run_id
    assert steps[3]["reason"].startswith("last trained at")


def test_a_training_for_drift_that_fails_is_recorded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Registry, "begin", full)
    failed = place.run("retrain", partition_key=BTC.key, tags={CAUSE: CAUSED_BY_DRIFT})
    other = place.run("retrain", partition_key=BTC.key)
    for run in (failed, other):
        assert not run.success
        event = run.get_run_failure_event()
        context = build_run_status_sensor_context(
            "retraining_failed", event, place.instance, place.instance.get_run_by_id(run.run_id)
        ).for_run_failure()
        drift.retraining_failed(context, store=place.resource)
    (step,) = place.rows("SELECT * FROM models.retrainings")
    assert (step["step"], step["run_id"]) == ("failed", failed.run_id)
    assert alerts(place)[-1][0] == "HIGH"


def test_inputs_that_leave_what_was_learned_are_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "EVERY", timedelta())
    assert place.run("retrain", partition_key=BTC.key).success
    champion = place.registry.champion(BTC.key, "price")
    assert champion is not None
    assert place.run("drift_check").success
    frozen = place.rows("SELECT * FROM models.drift_references WHERE target = 'price' ORDER BY input")
    assert {"learned series", "prediction", "volume_surprise"} <= {row["input"] for row in frozen}
    assert {row["data_to"] for row in frozen if row["target"] == "price"} == {place.end}
    compared = place.rows("SELECT * FROM models.drift_inputs WHERE target = 'price'")
    assert {row["severity"] for row in compared if row["input"] == "learned series"} == {"NONE"}

    rising = 0.002 + 0.0005 * np.random.default_rng(3).standard_normal(288)
    plant(place.store, BTC, rising, start=place.end)
    assert place.run("drift_check").success
    after = {row["input"]: row for row in place.rows("SELECT * FROM models.drift_inputs WHERE target = 'price'")}
    assert after["learned series"]["severity"] == "MEDIUM"
    assert after["learned series"]["recent_median"] > after["learned series"]["reference_median"]
    assert after["prediction"]["reason"] == "0 recent values, 60 are needed"
    again = place.rows("SELECT * FROM models.drift_references WHERE target = 'price' ORDER BY input")
    assert again == frozen


def test_a_training_that_waits_is_not_asked_for_twice(place: Place) -> None:
    planted_scores(place, growth=2.0)
    place.run("drift_check")
    place.instance.create_run_for_job(
        place.defs.resolve_job_def("retrain"), status=DagsterRunStatus.NOT_STARTED, tags={"dagster/partition": ETH.key}
    )
    assert tick(place, None)[0] == []
    assert alerts(place)[1:] == [("LOW", f"retraining of {ETH.key} refused: a training of this series waits or runs")]


def test_the_severity_that_fails_the_check_is_configured(place: Place) -> None:
    planted_scores(place, growth=1.0)
    assert verdicts(place.run("drift_check"))["drift", BTC.key].passed
    config = {"ops": {"check_drift": {"config": {"min_severity": "NONE"}}}}
    assert not verdicts(place.run("drift_check", run_config=config))["drift", BTC.key].passed


def test_new_series_become_partitions_and_are_trained_when_there_is_enough(place: Place) -> None:
    place.instance.delete_dynamic_partition("series", ETH.key)
    context = build_sensor_context(instance=place.instance, resources={"store": place.resource})
    result = sensors.series_with_bars(context)
    (added,) = result.dynamic_partitions_requests or ()
    assert added.partition_keys == [ETH.key]
    assert {request.run_key for request in result.run_requests or ()} == {f"first|{BTC.key}", f"first|{ETH.key}"}
    place.instance.add_dynamic_partitions("series", [ETH.key])
    for series in (BTC, ETH):
        place.run("retrain", partition_key=series.key)
    assert sensors.series_with_bars(context).run_requests in (None, [])


def test_the_schedules_ask_for_the_newest_hour_and_for_every_series(place: Place) -> None:
    context = build_schedule_context(instance=place.instance, resources={"store": place.resource})
    requests = schedules.every_five_minutes(context)
    assert [request.partition_key for request in requests] == [place.hour]
    plant(place.store, BTC, momentum(1, seed=9), start=place.end)
    after = [place.end.strftime(hourly.fmt), place.hour]
    assert [request.partition_key for request in schedules.every_five_minutes(context)] == after
    place.run("forecast_and_score", partition_key=after[0])
    place.run("forecast_and_score", partition_key=after[1])
    assert "there is no newer bar" in (schedules.every_five_minutes(context).skip_message or "")


def turns(place: Place) -> list[tuple[int, str]]:
    """Hours of a day at which series are trained, with the series."""
    found = []
    for hour in range(24):
        at = datetime.fromisoformat(f"2026-03-06T{hour:02}:20+00:00")
        context = build_schedule_context(
            instance=place.instance, scheduled_execution_time=at, resources={"store": place.resource}
        )
        found += [(hour, request.partition_key or "") for request in schedules.in_turn(context)]
    return found


def test_each_series_is_trained_once_a_day_at_an_hour_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    both = turns(place)
    assert {key for _, key in both} == {BTC.key, ETH.key}
    assert len({hour for hour, _ in both}) == len(both) == 2
    Registry(place.resource.data_dir).begin(training_of(ETH), "a moment ago")
    assert [key for _, key in turns(place)] == [BTC.key]
    monkeypatch.setenv("ORDERFLOW_FORECAST_SERIES", ETH.key)
    assert turns(place) == []


def test_drift_and_leaderboard_are_looked_at_when_something_was_scored(place: Place) -> None:
    context = build_schedule_context(instance=place.instance, resources={"store": place.resource})
    looks = {"drift_check": schedules.every_ten_minutes, "leaderboard_refresh": schedules.leaderboard_every_hour}
    for look in looks.values():
        assert look(context).skip_message == "Nothing has been scored yet."
    place.run("forecast_and_score", partition_key=place.hour)
    for job, look in looks.items():
        assert isinstance(look(context), RunRequest)
        assert place.run(job).success
        assert "Nothing is new since" in (look(context).skip_message or "")


def test_without_bars_everything_says_so(served: StoreServer, tmp_path: Path) -> None:
    resource = StoreResource(data_dir=str(tmp_path))
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("series", [BTC.key])
        defs = build_defs({"store": resource})
        context = build_schedule_context(instance=instance, resources={"store": resource})
        assert schedules.every_five_minutes(context).skip_message == "There are no bars yet."
        trained = defs.resolve_job_def("retrain").execute_in_process(instance=instance, partition_key=BTC.key)
        assert metadata(trained, VERSIONS_KEY)["reason"] == "there are no bars yet"
        found = verdicts(trained)["price_challenger", BTC.key]
        assert not found.passed
        assert found.description == "no model of this target has been judged, so naive serves"
        hour = defs.resolve_job_def("forecast_and_score").execute_in_process(
            instance=instance, partition_key="2026-03-02-00:00"
        )
        assert metadata(hour, AssetKey(["forecasts", "forecasts"]))["forecasts_written"] == 0
        assert defs.resolve_job_def("drift_check").execute_in_process(instance=instance).success


def test_parameters_can_be_overridden_for_one_run(place: Place) -> None:
    config = {"ops": {"models__versions": {"config": {"parameters": {"lightgbm": {"n_estimators": 5}}}}}}
    assert place.run("retrain", partition_key=BTC.key, run_config=config).success
    row = place.rows("SELECT parameters FROM models.versions WHERE target = 'price'")[0]
    assert json.loads(row["parameters"])["n_estimators"] == 5
