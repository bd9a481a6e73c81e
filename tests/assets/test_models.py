"""The catalogue of models: every one of them is trained, asked, stored and asked again, and refuses what it must."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.frame import Frame, FrameError, build_frame
from orderflow_assets.forecasting.models import SPECS, ModelError, ModelSpec, candidates, describe, missing, resolve
from orderflow_assets.forecasting.models.weights import FOLDER_SETTING
from orderflow_assets.forecasting.targets import TARGETS, Target
from tests.assets.forecast_bars import BTC, START, frame_of, random_walk
from tests.assets.tiny_chronos import write_checkpoint

FIELD_NAMES = """
ARIMA AutoARIMA ExponentialSmoothing Theta FourTheta FFT Prophet BATS TBATS Croston StatsForecastAutoARIMA
StatsForecastAutoETS StatsForecastAutoCES StatsForecastAutoTheta NBEATS NHiTS TCN Transformer TFT DLinear NLinear TiDE
TSMixer RNN LSTM GRU BlockRNN XGBoost LightGBM CatBoost RandomForest LinearRegression RegressionModel Naive NaiveMean
NaiveSeasonal NaiveDrift NaiveMovingAverage Chronos2Model VARIMA KalmanForecaster AutoETS AutoCES AutoTheta AutoTBATS
AutoMFLES GlobalNaiveAggregate GlobalNaiveDrift GlobalNaiveSeasonal ensemble_ml ensemble_dl ensemble_all chronos2
"""
BY_ADAPTER = ("naive", "local", "regression", "deep", "zero_shot")
ASKED = slice(320, 340, 9)
NETWORKS = ("nlinear", "rnn", "chronos2")
TYPICAL = ("naive", "naive_drift", "theta", "varima", "croston", "fft", "ridge", "xgboost", *NETWORKS)


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny checkpoint in the configured folder, for all tests but those that take the setting away."""
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder / "chronos2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_SETTING, str(folder))
        yield folder


@pytest.fixture(scope="module")
def frame() -> Frame:
    return frame_of(random_walk(340, seed=3))


def usable(adapter: str) -> list[ModelSpec]:
    return [spec for spec in SPECS.values() if spec.adapter == adapter and missing(spec) is None]


def comes_back(spec: ModelSpec, target: Target, frame: Frame, folder: Path) -> np.ndarray:
    """Train, ask, store, load, ask again; what the model said."""
    fitted = fitting.fit(spec, target, frame.until(332))
    said = fitted.deviations(frame, ASKED)
    assert said.shape == (3, len(target.steps)), spec.name
    assert np.isfinite(said).all(), spec.name
    folder.mkdir()
    fitted.save(folder)
    loaded = fitting.load(folder)
    assert (loaded.spec, loaded.columns) == (fitted.spec, fitted.columns), spec.name
    np.testing.assert_allclose(loaded.deviations(frame, ASKED), said, rtol=1e-6, atol=1e-9, err_msg=spec.name)
    return said


@pytest.mark.parametrize("adapter", BY_ADAPTER)
def test_every_model_is_trained_asked_stored_and_asked_again(tmp_path: Path, frame: Frame, adapter: str) -> None:
    specs = usable(adapter)
    assert specs
    for spec in specs:
        target = TARGETS["price" if "price" in spec.targets else "volatility"]
        said = comes_back(spec, target, frame, tmp_path / spec.name)
        assert target.name != "price" or np.abs(said).max() < 0.2, spec.name
        stored = sorted(file.name for file in (tmp_path / spec.name).iterdir())
        assert stored == {
            "regression": ["card.json", "model.pkl"],
            "deep": ["card.json", "model.pt", "model.pt.ckpt"],
        }.get(adapter, ["card.json"])


@pytest.mark.parametrize("target", ["volatility", "volume"])
def test_hourly_targets_are_forecast_by_models_of_every_kind(tmp_path: Path, frame: Frame, target: str) -> None:
    for name in TYPICAL:
        comes_back(SPECS[name], TARGETS[target], frame, tmp_path / name)


def test_with_all_extras_only_models_without_weights_are_not_offered() -> None:
    refused = [spec for spec in SPECS.values() if missing(spec)]
    assert {spec.family for spec in refused} == {"foundation"}
    assert len(SPECS) - len(refused) >= 45


@pytest.mark.parametrize("name", ["theta", "kalman", "nlinear", "rnn", "global_naive_drift", "chronos2"])
def test_a_forecast_is_the_same_without_what_came_later(name: str) -> None:
    returns = random_walk(420, seed=4)
    whole, target = frame_of(returns), TARGETS["price"]
    fitted = fitting.fit(SPECS[name], target, whole.until(310))
    together = fitted.deviations(whole, slice(330, 420, 30))
    for row, origin in zip(together, range(330, 420, 30), strict=True):
        alone = fitted.deviations(frame_of(returns[: origin + 1]), slice(origin, origin + 1))[0]
        np.testing.assert_allclose(alone, row, rtol=1e-4, atol=1e-8)


def test_naive_models_by_hand(frame: Frame) -> None:
    log_price, origin, steps = np.log(frame.price), 310, np.arange(1, 13)
    day = log_price[origin - 287 : origin + 1]
    expected = {
        "naive": np.zeros(12),
        "naive_mean": np.full(12, day.mean() - day[-1]),
        "naive_seasonal": log_price[origin - 288 + steps] - day[-1],
        "naive_drift": steps * (day[-1] - day[0]) / 287,
        "global_naive_aggregate": np.full(12, day[-12:].mean() - day[-1]),
        "global_naive_drift": steps * (day[-1] - day[-12]) / 11,
    }
    for name, by_hand in expected.items():
        said = fitting.fit(SPECS[name], TARGETS["price"], frame).deviations(frame, slice(origin, origin + 1))[0]
        np.testing.assert_allclose(said, by_hand, rtol=1e-4, atol=1e-7, err_msg=name)


def test_a_model_of_statsforecast_says_what_statsforecast_says(frame: Frame) -> None:
    from statsforecast.models import AutoETS

    window = np.log(frame.price[52:340])
    expected = AutoETS(season_length=1, model="AZN").forecast(window, h=12)["mean"] - window[-1]
    said = fitting.fit(SPECS["auto_ets"], TARGETS["price"], frame).deviations(frame, slice(339, 340))[0]
    np.testing.assert_allclose(said, expected, rtol=1e-9, atol=1e-12)


def test_least_squares_are_those_of_numpy() -> None:
    frame = frame_of(random_walk(400, seed=6))
    spec = replace(SPECS["linear_regression"], covariates=(), lags=2, weight=1.0)
    fitted = fitting.fit(spec, TARGETS["price"], frame)
    learnt = TARGETS["price"].learn(frame)
    learnt = learnt[~np.isnan(learnt)]
    rows = np.arange(2, len(learnt) - 11)
    design = np.column_stack([np.ones(len(rows)), learnt[rows - 1], learnt[rows - 2]])
    first = np.linalg.lstsq(design, learnt[rows], rcond=None)[0]
    expected = frame.sigma[399] * (first @ [1, learnt[-1], learnt[-2]])
    assert fitted.deviations(frame, slice(399, 400))[0, 0] == pytest.approx(expected, rel=1e-6)


def test_what_is_declared_is_what_the_class_can(weights: Path) -> None:
    from orderflow_assets.forecasting.adapters.construct import construct

    abilities = ("past_covariates", "future_covariates", "static_covariates", "multivariate")
    for spec in SPECS.values():
        if not spec.path or missing(spec):
            continue
        bare = replace(spec, parameters={}) if spec.hub else spec
        given = {"input_chunk_length": spec.lags + 1, "output_chunk_length": 12, "local_dir": weights / "chronos2"}
        lags = {"lags": spec.lags, "lags_past_covariates": [-1], "lags_future_covariates": [0]}
        model = construct(bare, **given, **lags)
        can = {ability: getattr(model, f"supports_{ability}") for ability in abilities}
        assert {ability: describe(spec)[ability] for ability in abilities} == can, spec.name
        if spec.adapter != "regression":
            assert spec.probabilistic == model.supports_probabilistic_prediction, spec.name


def test_every_name_of_the_field_is_known() -> None:
    for name in FIELD_NAMES.split():
        assert resolve(name).name in SPECS
    assert resolve("StatsForecastAutoETS").name == "auto_ets"
    assert resolve("Naive").name == "naive_mean"
    assert resolve("BATS").name == "tbats"
    assert resolve("chronos2_base").name == "chronos2"
    for size in ("mini", "large"):
        assert "has been published" in (missing(resolve(f"chronos2_{size}")) or "")
    names = [*SPECS, *(alias for spec in SPECS.values() for alias in spec.aliases)]
    assert len(set(names)) == len(names)


def test_scheduled_training_stays_small() -> None:
    for target in TARGETS:
        assert 1 <= len(candidates(target)) <= 2


def test_an_unknown_model_is_met_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"there is no model 'lightgmb'. Did you mean lightgbm"):
        resolve("lightgmb")
    with pytest.raises(ModelError, match=r"there is no model 'qqqq'. All are listed by"):
        resolve("qqqq")


def test_an_extra_that_is_not_installed_is_named(frame: Frame) -> None:
    absent = replace(SPECS["xgboost"], needs=("darts", "xgboost_that_is_not_there"))
    with pytest.raises(ModelError, match=r"needs xgboost_that_is_not_there. .*pip install 'orderflow\[boosting\]'"):
        fitting.fit(absent, TARGETS["price"], frame)
    row = describe(absent)
    assert (row["available"], row["extra"]) == (False, "boosting")
    assert "orderflow[boosting]" in row["reason"]


@pytest.mark.parametrize("name", ["theta", "auto_ets", "lightgbm", "ridge", "xgboost", "nlinear", "tft", "chronos2"])
def test_an_unknown_parameter_is_met_with_the_known(frame: Frame, name: str) -> None:
    with pytest.raises(ModelError, match=rf"{name} has no parameter nonsense; it takes .*lags"):
        fitting.fit(SPECS[name], TARGETS["price"], frame, {"nonsense": 1})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("arima", {"p": -1}),
        ("exponential_smoothing", {"seasonal": "sometimes"}),
        ("lightgbm", {"num_leaves": -5}),
        ("random_forest", {"n_estimators": 0}),
        ("xgboost", {"max_depth": -7}),
        ("catboost", {"depth": 99}),
        ("transformer", {"d_model": 7, "nhead": 2}),
        ("ridge", {"lags": -1}),
        ("ridge", {"lags": 2.5}),
        ("nlinear", {"output_chunk_length": 3}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(frame: Frame, name: str, parameters: dict) -> None:
    with pytest.raises(ModelError, match=name):
        fitting.fit(SPECS[name], TARGETS["price"], frame, parameters)


def test_parameters_reach_the_model_and_its_card(tmp_path: Path, frame: Frame) -> None:
    fitted = fitting.fit(SPECS["ridge"], TARGETS["price"], frame, {"alpha": 2.0, "lags": 5})
    assert fitted.spec.lags == 5
    fitted.save(tmp_path)
    loaded = fitting.load(tmp_path)
    assert (loaded.spec.parameters["alpha"], loaded.spec.lags) == (2.0, 5)
    assert SPECS["ridge"].parameters["alpha"] == 30.0


@pytest.mark.parametrize("name", ["theta", "ridge", "nlinear", "global_naive_drift", "chronos2"])
def test_too_short_torn_and_still_series_are_refused(name: str) -> None:
    spec, target = SPECS[name], TARGETS["price"]
    with pytest.raises(ModelError, match=rf"{name} needs \d+ bars in stretches without a gap, there are"):
        fitting.fit(spec, target, frame_of(random_walk(11, seed=1)))
    torn = random_walk(400, seed=2)
    torn[5::9] = np.nan
    with pytest.raises(ModelError, match="bars in stretches without a gap, there are 0"):
        fitting.fit(spec, target, frame_of(torn))
    with pytest.raises(ModelError, match="has nothing to learn: the series stands still"):
        fitting.fit(spec, target, frame_of(np.zeros(400)))


@pytest.mark.parametrize("name", ["theta", "nlinear", "chronos2"])
def test_no_model_answers_across_a_gap(name: str) -> None:
    returns = random_walk(700, seed=5)
    returns[360] = np.nan
    frame, spec = frame_of(returns), SPECS[name]
    fitted = fitting.fit(spec, TARGETS["price"], frame.until(355))
    first = 362 + spec.lags if spec.feed == "learned" else 361 + spec.lags
    for origin, answers in ((358, True), (361, False), (first + 80, True)):
        said = fitted.deviations(frame, slice(origin, origin + 1))
        assert np.isfinite(said).all() == answers, origin
    early = fitted.deviations(frame, slice(0, 3))
    assert np.isnan(early).all()


def test_a_target_that_a_model_does_not_forecast_is_refused(frame: Frame) -> None:
    with pytest.raises(ModelError, match="har forecasts volatility, not price"):
        fitting.fit(SPECS["har"], TARGETS["price"], frame)


def test_a_horizon_starts_at_one() -> None:
    with pytest.raises(ValueError, match="steps of price count bars ahead, from 1 up"):
        replace(TARGETS["price"], steps=(0,))


def test_bars_that_cannot_be_a_series_are_refused() -> None:
    import pyarrow as pa

    edges = np.datetime64(START, "us") + np.arange(1, 5) * np.timedelta64(5, "m")

    def built(times: np.ndarray, close: list[float]) -> Frame:
        return build_frame(BTC, pa.table({"bar_ts": times, "close": close}), times[-1].item())

    assert len(built(edges, [1.0, 2.0, 3.0, 4.0])) == 4
    for times, close, reason in (
        (edges[[0, 1, 1, 2]], [1.0, 2.0, 2.0, 3.0], "each once; 2026-03-02T00:10:00.000000 is not"),
        (edges[[0, 2, 1, 3]], [1.0, 2.0, 2.0, 3.0], "in order of time"),
        (edges + np.array([0, 0, 1, 0]) * np.timedelta64(1, "m"), [1.0, 2.0, 2.0, 3.0], "multiple of it apart"),
        (edges, [1.0, 0.0, 2.0, 3.0], "a price is a number above zero"),
        (edges, [1.0, np.inf, 2.0, 3.0], "a price is a number above zero"),
        (edges, [np.nan] * 4, "nothing was traded in any of the bars"),
    ):
        with pytest.raises(FrameError, match=reason):
            built(times, close)


def test_networks_say_where_they_ran(
    tmp_path: Path, frame: Frame, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    caplog.set_level(logging.INFO)
    fitting.fit(SPECS["nlinear"], TARGETS["price"], frame, {"n_epochs": 1}).save(tmp_path)
    assert "there is no GPU: networks run on the CPU" in caplog.text
    assert json.loads((tmp_path / "card.json").read_text())["state"]["device"] == "cpu"


def test_a_network_that_runs_code_is_not_loaded(tmp_path: Path, frame: Frame) -> None:
    fitting.fit(SPECS["nlinear"], TARGETS["price"], frame, {"n_epochs": 1}).save(tmp_path)
    marker = tmp_path / "ran"
    payload = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    for file in ("model.pt", "model.pt.ckpt"):
        whole = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(payload)
        with pytest.raises(ModelError, match="cannot be loaded"):
            fitting.load(tmp_path)
        (tmp_path / file).write_bytes(whole)
    assert not marker.exists()
    fitting.load(tmp_path)


def test_weights_are_found_in_a_local_folder_and_pinned(tmp_path: Path, frame: Frame, weights: Path) -> None:
    own = write_checkpoint(tmp_path / "own", seed=8)
    configured = fitting.fit(SPECS["chronos2"], TARGETS["price"], frame)
    fitted = fitting.fit(SPECS["chronos2"], TARGETS["price"], frame, {"local_dir": str(own)})
    said = fitted.deviations(frame, ASKED)
    assert not np.allclose(said, configured.deviations(frame, ASKED))
    stored = tmp_path / "stored"
    stored.mkdir()
    fitted.save(stored)
    np.testing.assert_allclose(fitting.load(stored).deviations(frame, ASKED), said, rtol=1e-6)
    write_checkpoint(own, seed=9)
    with pytest.raises(ModelError, match="are not those it was stored with"):
        fitting.load(stored)
    (own / "model.safetensors").write_bytes((own / "model.safetensors").read_bytes()[:1_000])
    with pytest.raises(ModelError, match="chronos2"):
        fitting.fit(SPECS["chronos2"], TARGETS["price"], frame, {"local_dir": str(own)})


def test_without_weights_it_is_said_how_to_get_them(
    frame: Frame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    asked = []

    def unreachable(*arguments: object, **named: object) -> None:
        asked.append(arguments)
        raise ConnectionError("no route to the hub")

    monkeypatch.setenv(FOLDER_SETTING, str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ways = r"config.json and model.safetensors of huggingface.co/amazon/chronos-2 .*ORDERFLOW_WEIGHTS.*HF_HUB_OFFLINE=0"
    with pytest.raises(ModelError, match=ways):
        fitting.fit(SPECS["chronos2"], TARGETS["price"], frame)
    assert describe(SPECS["chronos2"])["available"] is False
    assert not asked
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(ModelError, match="the hub was asked: no route to the hub"):
        fitting.fit(SPECS["chronos2"], TARGETS["price"], frame)
    with pytest.raises(ModelError, match=f"{tmp_path} does not hold config.json and model.safetensors"):
        fitting.fit(SPECS["chronos2"], TARGETS["price"], frame, {"local_dir": str(tmp_path)})
    assert len(asked) == 1
