"""Models: what is learnt, what is not, and that the better one serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from orderflow_assets.forecasting import fitting, skill, tuning
from orderflow_assets.forecasting.held_out import hold_out
from orderflow_assets.forecasting.models import SPECS, candidates
from orderflow_assets.forecasting.predict import forecast, serving
from orderflow_assets.forecasting.registry import Registry, Timings
from orderflow_assets.forecasting.skill import Rule
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.train import Plan, settle, train_series, train_target
from tests.assets.forecast_bars import BTC, frame_of, momentum, random_walk, recorded

PAIRS = [(name, spec) for name in TARGETS for spec in candidates(name)]
REAL = ("freqtrade_ETH_BTC_5m", "freqtrade_LTC_BTC_5m", "freqtrade_XLM_BTC_5m")


def trained(registry: Registry, frame, target: str = "price"):
    return train_target(registry, frame, TARGETS[target], candidates(target)[:1], Plan(), "test")[0]


def test_naive_is_the_last_value_and_needs_no_training(tmp_path: Path) -> None:
    frame = frame_of(random_walk(300, seed=1))
    rows = forecast(frame, TARGETS["price"], serving(Registry(tmp_path), BTC.key, "price"), [299]).to_pylist()
    assert [row["step"] for row in rows] == list(range(1, 13))
    for row in rows:
        assert row["point"] == row["naive"] == row["last_value"] == pytest.approx(frame.price[299])
        assert row["lower_95"] < row["lower_80"] < row["point"] < row["upper_80"] < row["upper_95"]
        assert (row["model"], row["version"]) == ("naive", 0)
        assert row["reason"] == "naive serves: no trained model has beaten it"
    assert rows[11]["upper_95"] > rows[0]["upper_95"]


@pytest.mark.parametrize(("target", "spec"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_every_model_comes_back_from_the_disk_the_same(tmp_path: Path, target: str, spec) -> None:
    frame = frame_of(random_walk(500, seed=2))
    fitted = fitting.fit(spec, TARGETS[target], frame.until(400))
    before = fitted.deviations(frame, slice(400, 500))
    assert np.isfinite(before).all()
    fitted.save(tmp_path)
    after = fitting.load(tmp_path)
    assert after.columns == fitted.columns
    np.testing.assert_allclose(after.deviations(frame, slice(400, 500)), before, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("target", "spec"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_a_forecast_is_the_same_without_what_came_later(target: str, spec) -> None:
    returns = random_walk(600, seed=3)
    returns[520] = np.nan
    frame = frame_of(returns)
    fitted = fitting.fit(spec, TARGETS[target], frame.until(400))
    whole = fitted.deviations(frame, slice(400, 600))
    for origin in (400, 519, 560, 599):
        alone = fitted.deviations(frame_of(returns[: origin + 1]), slice(origin, origin + 1))
        np.testing.assert_allclose(alone[0], whole[origin - 400], rtol=1e-9)


def test_no_model_answers_across_a_gap() -> None:
    returns = random_walk(600, seed=4)
    returns[520] = np.nan
    frame, spec = frame_of(returns), SPECS["lightgbm"]
    fitted = fitting.fit(spec, TARGETS["price"], frame.until(400))
    answered = np.isfinite(fitted.deviations(frame, slice(500, 600))).all(axis=1)
    # The bar is missing and the return after it too; the first lags returns after that are looked back on.
    assert np.flatnonzero(~answered).tolist() == list(range(20, 22 + spec.lags))


def test_rows_made_together_are_the_rows_made_one_by_one(tmp_path: Path) -> None:
    registry, returns = Registry(tmp_path), momentum(1_500, seed=5)
    frame = frame_of(returns)
    trained(registry, frame)
    settle(registry, BTC.key, "price", "test")
    server = serving(registry, BTC.key, "price")
    assert server.model == "lightgbm"
    together = forecast(frame, TARGETS["price"], server, [1_400, 1_450, 1_499]).drop(["made_at"]).to_pylist()
    for place, origin in enumerate((1_400, 1_450, 1_499)):
        early = frame_of(returns[: origin + 1])
        alone = forecast(early, TARGETS["price"], server, [origin]).drop(["made_at"]).to_pylist()
        for row, expected in zip(alone, together[12 * place : 12 * place + 12], strict=True):
            assert row.keys() == expected.keys()
            for name, value in expected.items():
                assert row[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


def test_a_walk_nobody_can_predict_leaves_naive_serving(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    result = trained(registry, frame_of(random_walk(2_500, seed=6)))
    assert result.judgement is not None
    assert result.judgement.verdict == "keep"
    assert result.judgement.origins > 700
    assert settle(registry, BTC.key, "price", "test")[:2] == ("naive", 0)
    assert registry.champion(BTC.key, "price") is None


def test_momentum_is_learnt_and_its_model_serves(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    frame = frame_of(momentum(1_500, seed=7))
    result = trained(registry, frame)
    assert result.judgement is not None
    assert result.judgement.against_naive is not None
    assert result.judgement.against_naive.first_step < 0.93
    assert settle(registry, BTC.key, "price", "test")[:2] == ("lightgbm", 1)
    again = trained(registry, frame)
    assert again.judgement is not None
    assert again.judgement.against_champion is not None
    assert again.judgement.against_champion.ratio == pytest.approx(1)
    assert again.judgement.verdict == "keep"
    assert settle(registry, BTC.key, "price", "test")[:2] == ("lightgbm", 1)


def test_a_champion_that_loses_to_naive_stops_serving(tmp_path: Path) -> None:
    registry, rising = Registry(tmp_path), momentum(2_000, seed=8)
    trained(registry, frame_of(rising))
    assert settle(registry, BTC.key, "price", "test")[0] == "lightgbm"
    turned = np.concatenate((rising, momentum(1_500, seed=9, strength=-0.6)))
    result = trained(registry, frame_of(turned))
    assert result.judgement is not None
    assert result.judgement.champion_against_naive is not None
    assert result.judgement.champion_against_naive.ratio > 1.005
    model, version, _ = settle(registry, BTC.key, "price", "test")
    assert (model, version) in {("naive", 0), ("lightgbm", 2)}
    assert registry.versions(BTC.key)[0].status == "retired"


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    short = frame_of(random_walk(80, seed=10))
    assert trained(registry, short).reason == "80 bars, 100 are needed to train"
    assert registry.versions() == []
    rows = forecast(short, TARGETS["price"], serving(registry, BTC.key, "price"), [79]).to_pylist()
    assert {row["point"] for row in rows} == {None}
    assert {row["reason"] for row in rows} == {"80 bars known, 100 are needed"}
    torn = random_walk(400, seed=11)
    torn[5::9] = np.nan
    result = trained(registry, frame_of(torn))
    assert result.version is None
    assert "in stretches without a gap" in result.reason
    assert registry.versions()[0].status == "retired"


def test_a_missing_bar_is_no_forecast_and_the_next_one_is_naives(tmp_path: Path) -> None:
    registry, returns = Registry(tmp_path), momentum(1_500, seed=12)
    returns[1_480] = np.nan
    frame = frame_of(returns)
    trained(registry, frame)
    settle(registry, BTC.key, "price", "test")
    rows = forecast(frame, TARGETS["price"], serving(registry, BTC.key, "price"), [1_479, 1_480, 1_481, 1_499])
    first = [row for row in rows.to_pylist() if row["step"] == 1]
    assert [row["model"] for row in first] == ["lightgbm", "naive", "naive", "lightgbm"]
    assert first[1]["point"] is None
    assert "nothing was traded in the last bar" in first[1]["reason"]
    assert first[2]["point"] == first[2]["last_value"]
    assert "without a gap" in first[2]["reason"]
    assert first[3]["reason"] is None


def test_a_champion_does_not_forecast_what_it_was_trained_on(tmp_path: Path) -> None:
    registry, frame = Registry(tmp_path), frame_of(momentum(1_500, seed=13))
    trained(registry, frame)
    settle(registry, BTC.key, "price", "test")
    row = forecast(frame, TARGETS["price"], serving(registry, BTC.key, "price"), [900]).to_pylist()[0]
    assert row["model"] == "naive"
    assert "was trained on bars up to" in row["reason"]


def test_a_tampered_champion_does_not_serve(tmp_path: Path) -> None:
    registry, frame = Registry(tmp_path), frame_of(momentum(1_500, seed=14))
    trained(registry, frame)
    settle(registry, BTC.key, "price", "test")
    champion = registry.champion(BTC.key, "price")
    assert champion is not None
    (registry.artefact(champion) / "model.pkl").write_bytes(b"something else")
    server = serving(registry, BTC.key, "price")
    assert server.model == "naive"
    assert server.note is not None
    assert "was changed after it was registered" in server.note


def test_diebold_mariano_by_hand() -> None:
    difference = np.array([-1.0, -2.0, 0.0, -1.0, -3.0, 1.0, -1.0, -2.0, -1.0, 0.0])
    statistic, p = skill.diebold_mariano(difference, 1)
    # Mean -1, variance 1.2, ten origins: -1 / sqrt(0.12), times sqrt(9 / 10).
    assert statistic == pytest.approx(-1 / np.sqrt(0.12) * np.sqrt(0.9))
    assert p == pytest.approx(0.0117, abs=0.0003)
    assert np.isnan(skill.diebold_mariano(difference[:5], 1)[0])


def test_too_few_origins_judge_nothing() -> None:
    few = np.full((skill.MIN_ORIGINS - 1, 1), 0.5)
    judgement = skill.judge(few, few * 2, None, 1, Rule())
    assert judgement.verdict == "keep"
    assert judgement.reason == "59 held-out origins, 60 are needed to judge"


def test_volatility_of_real_candles_is_forecast_better_than_naive(market_data: Path) -> None:
    ratios = []
    for name in REAL:
        frame = recorded(market_data, name)
        split = int(0.7 * len(frame))
        fitted = fitting.fit(SPECS["har"], TARGETS["volatility"], frame.until(split))
        held = hold_out(fitted, frame, slice(split, len(frame)))
        known = ~np.isnan(held.errors[:, 0])
        assert known.sum() > 1_500
        compared = skill.compare(held.errors[known], held.naive_errors[known], 12)
        assert compared.p_better < 0.01
        ratios.append(compared.ratio)
    assert max(ratios) <= 0.85


def test_price_of_real_candles_is_never_significantly_worse_than_naive(market_data: Path) -> None:
    compared = []
    for name in REAL:
        frame = recorded(market_data, name)
        split = int(0.7 * len(frame))
        fitted = fitting.fit(SPECS["lightgbm"], TARGETS["price"], frame.until(split))
        held = hold_out(fitted, frame, slice(split, len(frame)))
        known = ~np.isnan(held.errors).any(axis=1)
        compared.append(skill.compare(held.errors[known], held.naive_errors[known], 12))
    assert np.mean([one.ratio for one in compared]) <= 0.995
    assert min(one.p_worse for one in compared) > 0.05


def test_a_model_is_tuned_on_the_bars_it_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def tune(spec, target, frame, data_dir, search):
        seen.append((spec.name, len(frame), data_dir, search.trials))
        return SimpleNamespace(parameters={"n_estimators": 5, "num_leaves": 3})

    monkeypatch.setattr(tuning, "tune", tune)
    registry, frame = Registry(tmp_path), frame_of(random_walk(400, seed=16))
    plan = Plan(tuning_trials=3, parameters={"lightgbm": {"num_leaves": 2}})
    (result,) = train_target(registry, frame, TARGETS["price"], [SPECS["lightgbm"]], plan, "test")
    assert seen == [("lightgbm", 280, tmp_path, 3)]
    assert result.version is not None
    parameters = registry.version(BTC.key, "price", result.version).parameters
    assert (parameters["n_estimators"], parameters["num_leaves"]) == (5, 2)


def test_a_model_that_would_not_end_in_time_is_not_begun(tmp_path: Path) -> None:
    registry, frame = Registry(tmp_path), frame_of(random_walk(400, seed=17))
    specs = [SPECS["lightgbm"]]
    (spent,) = train_target(registry, frame, TARGETS["price"], specs, Plan(), "test", deadline=0.0)
    assert spent.reason == "not tried: the 240 s for this series were used up"
    (first,) = train_target(registry, frame, TARGETS["price"], specs, Plan(), "test")
    assert first.version is not None
    registry.record_timings(BTC.key, "price", first.version, Timings(1_000.0, 0.0, 0.0, "cpu"))
    (slow,) = train_target(registry, frame, TARGETS["price"], specs, Plan(), "test")
    assert "training takes about 1e+03 s" in slow.reason
    assert [version.version for version in registry.versions()] == [first.version]


def test_train_series_covers_every_target(tmp_path: Path) -> None:
    results = list(train_series(Registry(tmp_path), frame_of(random_walk(600, seed=15)), Plan(), "test"))
    assert [(result.target, result.model) for result in results] == [(target, spec.name) for target, spec in PAIRS]
    for result in results:
        assert result.version
        assert result.sha256
        assert 0.7 <= (result.coverage["95_h12"] or 0) <= 1


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, orderflow_assets.forecasting.train, orderflow_assets.forecasting.issue, "
        "orderflow_assets.forecasting.monitor, orderflow_assets.defs.forecasting.assets;"
        "heavy = {'darts', 'torch', 'lightgbm', 'sklearn', 'pandas', 'scipy', 'matplotlib', 'river'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
