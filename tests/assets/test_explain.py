"""Explanations of models: they add up, name what was planted, and say where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetMaterialization, AssetSelection, DagsterInstance, evaluate_automation_conditions

from orderflow_assets.definitions import build_defs
from orderflow_assets.defs.forecasting.names import CHAMPIONS_KEY
from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.explain import attention, champion, permutation
from orderflow_assets.forecasting.explain.outputs import UNITS, AffineMap
from orderflow_assets.forecasting.explain.profile import profile
from orderflow_assets.forecasting.explain.shapley import HISTORY, Input, NotExplainableError, explain, inputs_of
from orderflow_assets.forecasting.explain.tables import ERRORS, EXPLANATIONS, PROFILES
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import Frame, as_naive
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.predict import Server
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.metadata import asset_key
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import connect
from tests.assets.forecast_bars import BTC, ETH, frame_of, momentum, plant, random_walk

ADDITIVE = ("lightgbm", "ridge", "har", "xgboost", "catboost", "random_forest", "ensemble_mean")
TRAINED = 1_000


@pytest.fixture(scope="module")
def frame() -> Frame:
    return frame_of(momentum(1_600, seed=1))


@pytest.fixture(scope="module")
def fitted(frame: Frame) -> Callable[[str, str], Fitted]:
    known: dict[tuple[str, str], Fitted] = {}

    def fit(name: str, target: str) -> Fitted:
        if (name, target) not in known:
            known[name, target] = fitting.fit(SPECS[name], TARGETS[target], frame.until(TRAINED))
        return known[name, target]

    return fit


def test_outputs_and_deviations_are_one_another_of_every_target(frame: Frame) -> None:
    assert UNITS.keys() == TARGETS.keys()
    draws = np.random.default_rng(2)
    for target in TARGETS.values():
        outputs = draws.standard_normal((1, target.width))
        at = AffineMap.at(target, frame, 1_200)
        deviations = target.deviate(frame, slice(1_200, 1_201), outputs)[0]
        np.testing.assert_allclose(at.matrix @ outputs[0] + at.offset, deviations, rtol=1e-9)
        np.testing.assert_allclose(at.outputs(deviations), outputs[0], rtol=1e-9)
    np.testing.assert_array_equal(AffineMap.at(TARGETS["price"], frame, 1_200).naive, np.zeros(12))
    volatility = np.log(np.sqrt((frame.returns[1_189:1_201] ** 2).sum()))
    assert AffineMap.at(TARGETS["volatility"], frame, 1_200).naive == pytest.approx(volatility)


@pytest.mark.parametrize(
    ("name", "target"), [(name, target) for name in ADDITIVE for target in TARGETS if target in SPECS[name].targets]
)
def test_base_and_contributions_make_what_was_forecast(
    frame: Frame, fitted: Callable[[str, str], Fitted], name: str, target: str
) -> None:
    model = fitted(name, target)
    found = explain(model, frame, slice(1_500, 1_600, 20))
    assert found.values.shape == (5, TARGETS[target].width, len(found.inputs))
    assert found.discrepancy < 1e-6
    for place, origin in enumerate(found.origins.tolist()):
        at = AffineMap.at(TARGETS[target], frame, origin)
        made = at.matrix @ (found.base + found.values[place].sum(axis=1)) + at.offset
        # XGBoost computes in single precision, so what is left depends on the size of its outputs.
        slack = 1e-6 * max(1, np.abs(found.outputs[place]).max())
        np.testing.assert_allclose(made, model.deviations(frame, slice(origin, origin + 1))[0], atol=slack, rtol=0)


def test_a_linear_model_is_explained_by_its_coefficients(frame: Frame, fitted: Callable[[str, str], Fitted]) -> None:
    model: Any = fitted("har", "volatility")
    found = explain(model, frame, slice(1_599, 1_600))
    columns = [frame.covariates[name] for name, _ in found.inputs if name != HISTORY]
    learn = TARGETS["volatility"].learn(frame)
    table = np.column_stack([learn, *columns])
    assert found.inputs[0] == Input(HISTORY, 0)
    background = table[np.isfinite(table).all(axis=1)]
    expected = model.model.model.coef_.ravel() * (table[-1] - background.mean(axis=0))
    np.testing.assert_allclose(found.values[0, 0], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.given[0], table[-1])


def test_the_planted_cause_moves_forecasts_most(frame: Frame, fitted: Callable[[str, str], Fitted]) -> None:
    found = explain(fitted("lightgbm", "price"), frame, slice(1_200, 1_600))
    sizes = np.abs(found.values[:, 0]).mean(axis=0)
    assert found.inputs[int(sizes.argmax())] == Input(HISTORY, 0)
    place = found.inputs.index(Input(HISTORY, 0))
    # A bar that rose makes the next one look higher.
    assert np.corrcoef(found.given[:, place], found.values[:, 0, place])[0, 1] > 0.8


def test_inputs_are_named_as_the_model_names_them() -> None:
    names = ("0_target_lag-2", "1_pastcov_lag-1", "range_pastcov_lag-3")
    assert inputs_of(names, ("day_sin", "range")) == (Input(HISTORY, 1), Input("range", 0), Input("range", 2))
    with pytest.raises(NotExplainableError, match="'0_statcov'"):
        inputs_of(("0_statcov",), ())


@pytest.mark.parametrize(
    ("name", "why"), [("theta", "neither made of trees nor linear"), ("ensemble_median", "takes a median")]
)
def test_what_has_no_contributions_says_why(
    frame: Frame, fitted: Callable[[str, str], Fitted], name: str, why: str
) -> None:
    with pytest.raises(NotExplainableError, match=why):
        explain(fitted(name, "price"), frame, slice(1_590, 1_600))


def test_shuffled_blocks_stay_whole_and_the_unknown_stays_where_it_was() -> None:
    values = np.arange(20.0)
    values[[3, 11]] = np.nan
    out = permutation.shuffled(values, slice(2, 18), 4, np.random.default_rng(0))
    assert np.isnan(out[[3, 11]]).all()
    np.testing.assert_array_equal(out[[0, 1, 18, 19]], values[[0, 1, 18, 19]])
    inside = out[2:18][~np.isnan(out[2:18])]
    assert sorted(inside) == sorted(values[2:18][~np.isnan(values[2:18])])
    whole = {(2.0, 4.0, 5.0, 6.0), (7.0, 8.0, 9.0, 10.0), (12.0, 13.0, 14.0, 15.0), (16.0, 17.0)}
    starts = [place for place, value in enumerate(inside) if value in {block[0] for block in whole}]
    assert {tuple(part) for part in np.split(inside, starts[1:])} == whole


def test_a_model_of_momentum_cannot_do_without_the_past(frame: Frame, fitted: Callable[[str, str], Fitted]) -> None:
    model = fitted("lightgbm", "price")
    ranking = permutation.rank(model, frame, slice(TRAINED, 1_600), repeats=3)
    first, *others = ranking.importances
    assert ranking.rmae < 1
    assert first.feature == HISTORY
    assert 0 < first.low < first.rmae < first.high
    assert first.rmae > 3 * others[0].rmae
    assert {item.feature for item in others} == set(model.columns)
    assert permutation.rank(model, frame, slice(TRAINED, 1_600), repeats=3) == ranking


def test_members_that_do_not_see_an_input_need_not_be_asked_again(
    frame: Frame, fitted: Callable[[str, str], Fitted], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, origins = fitted("ensemble_mean", "price"), slice(TRAINED, 1_600, 12)
    ranking = permutation.rank(model, frame, origins, repeats=1)
    assert ranking.importances[0].feature == HISTORY
    monkeypatch.setattr(permutation, "_seeing", lambda ensemble, answers, feature: ensemble)
    assert permutation.rank(model, frame, origins, repeats=1) == ranking


def test_what_cannot_be_ranked_says_why(frame: Frame, fitted: Callable[[str, str], Fitted]) -> None:
    with pytest.raises(NotExplainableError, match="past alone"):
        permutation.rank(fitted("theta", "price"), frame, slice(1_590, 1_600))
    with pytest.raises(NotExplainableError, match=r"28 forecasts .* fewer than 8 blocks of 48 bars"):
        permutation.rank(fitted("lightgbm", "price"), frame, slice(1_560, 1_600))


def test_a_profile_measures_what_was_planted() -> None:
    noise, moving = (
        profile(frame_of(returns), TARGETS["price"]) for returns in (random_walk(800, 3), momentum(800, 3))
    )
    assert noise["acf_lag1"] == pytest.approx(0, abs=0.1)
    assert moving["acf_lag1"] == pytest.approx(0.6, abs=0.1)
    assert noise["hurst_exponent"] == pytest.approx(0.5, abs=0.15)
    assert set(noise) == set(PROFILES.names) - {"series", "symbol", "exchange", "market_type", "target"} - {
        "profiled_at",
        "data_from",
        "data_to",
        "reason",
    }
    with pytest.raises(ValueError, match="values"):
        profile(frame_of(random_walk(20, 3)), TARGETS["price"])


def test_the_asset_explains_what_serves_and_says_where_naive_does(
    tmp_path: Path, fitted: Callable[[str, str], Fitted], monkeypatch: pytest.MonkeyPatch
) -> None:
    serves = {"price": fitted("lightgbm", "price"), "volatility": fitted("theta", "volatility")}
    last = as_naive(frame_of(momentum(TRAINED, seed=1)).times[-1])

    def serving(registry: object, series: str, target: str) -> Server:
        found = serves.get(target)
        return Server(3, found, last, None) if found else Server(0, None, None, "naive serves: nothing better")

    monkeypatch.setattr(champion, "serving", serving)
    with connect(tmp_path, scope="write") as store:
        end = plant(store, BTC, momentum(1_400, seed=1))
    defs = build_defs({"store": StoreResource(data_dir=str(tmp_path))})
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("series", [BTC.key])
        job = defs.resolve_job_def("explain")
        result = job.execute_in_process(instance=instance, partition_key=BTC.key)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("shap_adds_up", True)
    assert check.metadata["price_discrepancy"].value < 1e-6
    (event,) = result.get_asset_materialization_events()
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert figures["price_serves"] == "lightgbm version 3"
    assert figures["price_most_needed"].startswith(HISTORY)
    assert "neither made of trees nor linear" in figures["volatility_shap"]
    assert figures["volume_reason"] == "naive serves: nothing better"
    assert figures["plot"].startswith("![explanations](data:image/png;base64,")
    with connect(tmp_path, scope="read") as store:
        sums = store.query(
            f"SELECT step, any_value(base) + sum(value) AS made, any_value(output) AS output, "
            f"any_value(last_issued_at) AS at, count(*) AS inputs, count(DISTINCT (feature, lag)) AS names "
            f"FROM {EXPLANATIONS.qualified} WHERE method = 'shap' AND target = 'price' GROUP BY step ORDER BY step"
        ).to_pylist()
        reasons = store.query(
            f"SELECT method, reason FROM {EXPLANATIONS.qualified} WHERE target = 'volatility'"
        ).to_pylist()
        profiles = store.query(f"SELECT target, acf_lag1, reason FROM {PROFILES.qualified}").to_pylist()
    assert [row["step"] for row in sums] == list(range(1, 13))
    for row in sums:
        assert row["made"] == pytest.approx(row["output"], abs=1e-6)
        assert row["at"] == end
        assert row["inputs"] == row["names"]
    assert {row["method"] for row in reasons} == {"shap", "mean_abs_shap", "permutation"}
    assert all(row["reason"] for row in reasons)
    assert {row["target"] for row in profiles} == set(TARGETS)


@pytest.mark.slow
def test_the_fusion_transformer_says_what_it_selected_and_attended_to(frame: Frame) -> None:
    spec = replace(SPECS["tft"], parameters={**SPECS["tft"].parameters, "n_epochs": 1})
    model = fitting.fit(spec, TARGETS["price"], frame.until(400))
    seen = attention.read(model, frame, 1_500)
    assert set(seen.selection) == {HISTORY, "add_relative_index", *model.columns}
    assert sum(seen.selection.values()) == pytest.approx(1, abs=1e-5)
    assert seen.bars.shape == (spec.lags + 1,)
    assert seen.bars.sum() + seen.ahead == pytest.approx(1, abs=1e-5)
    assert min(seen.selection.values()) >= 0
    served = champion.explain_target(frame, TARGETS["price"], Server(2, model, as_naive(frame.times[399]), None))
    methods = {row["method"]: row.get("reason") for row in served.rows}
    assert methods.keys() == {"shap", "mean_abs_shap", "permutation", "attention", "variable_selection"}
    assert "neither made of trees nor linear" in methods["shap"]
    assert methods["permutation"] is None
    with pytest.raises(NotExplainableError, match="has no attention"):
        attention.read(fitting.fit(SPECS["ridge"], TARGETS["price"], frame.until(400)), frame, 1_500)


def test_it_is_asked_for_when_a_model_begins_to_serve_and_every_four_hours() -> None:
    explained, errors = asset_key(EXPLANATIONS.qualified), asset_key(ERRORS.qualified)
    defs, now = build_defs(), datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("series", [BTC.key, ETH.key])
        cursor, asked = None, []
        for minutes, event in ((0, CHAMPIONS_KEY), (1, explained), (11, None), (12, None), (140, None)):
            result = evaluate_automation_conditions(
                defs,
                instance,
                asset_selection=AssetSelection.groups("explanations"),
                cursor=cursor,
                evaluation_time=now + timedelta(minutes=minutes),
            )
            cursor = result.cursor
            asked.append((result.get_requested_partitions(explained), result.get_requested_partitions(errors)))
            if event:
                instance.report_runless_asset_event(AssetMaterialization(event, partition=BTC.key))
    # At 18:31 a champion is new, at 18:41 the hour of the errors is due, at 20:50 both.
    assert asked == [(set(), set()), ({BTC.key}, set()), (set(), {None}), (set(), set()), ({BTC.key}, {None})]
