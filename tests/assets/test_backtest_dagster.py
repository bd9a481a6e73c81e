"""Backtests of trained models: no look into the future, and the job with its tables, report and checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckSeverity, AssetKey, DagsterInstance, Definitions, ExecuteInProcessResult

from orderflow_assets.defs.forecasting.backtests import backtest_job, backtests
from orderflow_assets.forecasting.backtest.engine import Plan, walk
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.server import StoreServer
from tests.assets.forecast_bars import BTC, ETH, frame_of, momentum, plant, random_walk

BARS = 1_240
RESULTS, CURVE = AssetKey(["forecasts", "backtests"]), AssetKey(["forecasts", "backtest_curve"])
FEW_TREES = {"lightgbm": {"n_estimators": 5}}


def shuffled_after(frame: Frame, stop: int) -> Frame:
    """The same bars up to ``stop`` and those after it in another order."""
    order = np.concatenate((np.arange(stop), stop + np.random.default_rng(1).permutation(len(frame) - stop)))
    return replace(
        frame,
        price=frame.price[order],
        returns=frame.returns[order],
        sigma=frame.sigma[order],
        covariates={name: values[order] for name, values in frame.covariates.items()},
    )


@pytest.mark.parametrize(("model", "target"), [("lightgbm", "price"), ("har", "volatility")])
def test_what_comes_later_changes_no_earlier_forecast(model: str, target: str) -> None:
    frame, plan = frame_of(momentum(700, seed=3)), Plan(0.5, 100, parameters=FEW_TREES)
    forecasts = walk(SPECS[model], TARGETS[target], frame, plan).deviations
    for stop in (400, 517):
        other = walk(SPECS[model], TARGETS[target], shuffled_after(frame, stop), plan).deviations
        assert np.array_equal(other[: stop - 350], forecasts[: stop - 350])
        assert not np.array_equal(other[stop - 350 :], forecasts[stop - 350 :])


@dataclass(frozen=True)
class Place:
    store: Store
    instance: DagsterInstance
    defs: Definitions
    folder: Path

    def run(self, key: str, **config: Any) -> ExecuteInProcessResult:
        job = self.defs.resolve_job_def("backtest")
        ops = {"ops": {"backtests": {"config": config}}}
        return job.execute_in_process(instance=self.instance, partition_key=key, run_config=ops, raise_on_error=False)


@pytest.fixture
def place(served: StoreServer, tmp_path: Path) -> Iterator[Place]:
    home = tmp_path / "instance"
    home.mkdir()
    with connect(tmp_path, scope="write") as store, DagsterInstance.local_temp(str(home)) as instance:
        plant(store, BTC, momentum(BARS, seed=1))
        instance.add_dynamic_partitions("series", [BTC.key, ETH.key])
        resources = {"store": StoreResource(data_dir=str(tmp_path))}
        yield Place(store, instance, Definitions([backtests], jobs=[backtest_job], resources=resources), tmp_path)


def metadata(result: ExecuteInProcessResult, key: AssetKey) -> dict[str, Any]:
    (event,) = (event for event in result.get_asset_materialization_events() if event.asset_key == key)
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_predictable_series_earns_a_grade_and_its_report(place: Place) -> None:
    result = place.run(BTC.key, hurdle=0.1, models=["lightgbm", "har"], parameters={"lightgbm": {"n_estimators": 20}})
    assert result.success
    rows = place.store.query("SELECT * FROM forecasts.backtests ORDER BY target, model, step").to_pylist()
    first = next(row for row in rows if (row["target"], row["model"], row["step"]) == ("price", "lightgbm", 1))
    assert first["rmae"] < 0.99
    assert first["dm_p"] < 0.01
    assert first["direction_p"] < 0.01
    assert first["grade"] in ("S", "A", "B")
    assert first["fits"] == 3
    assert first["gross_bps"] > 0
    assert 0 <= first["deflated_sharpe"] <= 1
    assert {row["grade"] for row in rows if row["model"] == "naive"} == {"C"}

    figures = metadata(result, RESULTS)
    report = Path(figures["report"])
    assert report.is_relative_to(place.folder / "reports" / "backtests")
    assert figures["report_bytes"] == report.stat().st_size > 50_000
    for title in ("equity", "errors by step", "reliability"):
        assert figures[title].startswith(f"![{title}](data:image/png;base64,")
        assert len(figures[title]) < 50_100
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["grade"].passed
    assert checks["grade"].description == "what serves passes at every step"
    # The planted volume never changes, so that every interval holds it.
    assert checks["coverage"].severity == AssetCheckSeverity.WARN
    assert "volume, naive, step 12: 100.0% inside the 80 % interval" in checks["coverage"].description

    again = place.run(BTC.key, models=["naive"])
    assert metadata(again, CURVE)["strategies"] == 0
    runs = place.store.query("SELECT DISTINCT run_at FROM forecasts.backtests").num_rows
    assert runs == 2
    assert place.store.query("SELECT * FROM forecasts.backtest_curve").num_rows == 0


def test_a_series_without_bars_says_so(place: Place) -> None:
    result = place.run(ETH.key)
    assert result.success
    assert "no bars" in metadata(result, RESULTS)["reason"]
    assert not any(check.passed for check in result.get_asset_check_evaluations())


def test_too_few_bars_are_not_graded_and_unknown_models_are_named(place: Place) -> None:
    plant(place.store, ETH, random_walk(300, seed=2))
    result = place.run(ETH.key, models=["naive"], lookback_days=5)
    assert result.success
    grades = place.store.query("SELECT DISTINCT grade, reason FROM forecasts.backtests WHERE step = 12").to_pylist()
    assert grades[0]["grade"] == "ungraded"
    assert "500 and 30 are needed" in grades[0]["reason"]
    failed = place.run(ETH.key, models=["lightgmb"])
    assert not failed.success
    (event,) = (event for event in failed.all_events if event.is_step_failure)
    assert "lightgbm" in str(event.event_specific_data.error)
