"""Tuning: spaces that hold what is declared, studies that survive being killed, and bars that take no part."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FixedTrial

from orderflow_assets.forecasting import fitting, spaces, tuning, validation
from orderflow_assets.forecasting.fitting import ModelError
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.spaces import SPACES, Cases, Choice, Real, Space, Whole
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.tuning import Search, tune
from tests.assets.forecast_bars import frame_of, momentum

PRICE, RIDGE = TARGETS["price"], SPECS["ridge"]
QUICK = Search(trials=6, stride=4, sampler="random", pruner="none")


def test_every_space_is_of_a_model_and_holds_what_it_declares() -> None:
    for name, space in SPACES.items():
        spec = SPECS[name]
        if isinstance(lags := space.get("lags"), Whole):
            assert lags.low <= spec.lags <= lags.high
        for parameter, dimension in space.items():
            outer, _, inner = parameter.partition(".")
            declared: Any = spec.parameters.get(outer)
            declared = declared[inner] if inner and declared else declared
            if declared is None:
                continue
            if isinstance(dimension, Choice):
                assert declared in dimension.options, (name, parameter)
            elif isinstance(dimension, Whole | Real):
                assert dimension.low <= declared <= dimension.high, (name, parameter)
            if isinstance(dimension, Whole):
                assert (declared - dimension.low) % dimension.step == 0, (name, parameter)


def test_heads_divide_what_they_attend_to() -> None:
    for name, width, heads in (("tft", "hidden_size", "num_attention_heads"), ("transformer", "d_model", "nhead")):
        whole, choice = SPACES[name][width], SPACES[name][heads]
        assert isinstance(whole, Whole)
        assert isinstance(choice, Choice)
        assert all(
            size % int(head or 0) == 0
            for size in range(whole.low, whole.high + 1, whole.step)
            for head in choice.options
        )


def test_a_choice_becomes_parameters() -> None:
    space: Space = {
        "lags": Whole(1, 9),
        "optimizer_kwargs.lr": Real(1e-5, 1e-2, log=True),
        "trend": Cases({"none": {"trend": None}, "damped": {"trend": "additive", "damped": True}}),
    }
    trial = FixedTrial({"lags": 3, "optimizer_kwargs.lr": 0.001, "trend": "damped"})
    assert spaces.choose(space, trial) == {
        "lags": 3,
        "optimizer_kwargs": {"lr": 0.001},
        "trend": "additive",
        "damped": True,
    }
    assert Whole(8, 128, step=8).grid() == [8, 64, 128]
    assert Real(0.1, 10.0, log=True).grid() == pytest.approx([0.1, 1.0, 10.0])


def test_a_search_finds_the_lags_it_needs_and_takes_no_newer_bars(tmp_path: Path) -> None:
    returns = 0.001 * np.random.default_rng(1).standard_normal(2_000)
    for index in range(40, 2_000):
        returns[index] += 0.6 * returns[index - 40]
    found = tune(RIDGE, PRICE, frame_of(returns), tmp_path / "one", QUICK)
    assert (found.trials, found.pruned, found.failed) == (6, 0, {})
    assert found.score == min(found.running_best) < found.declared_score
    assert list(found.running_best) == sorted(found.running_best, reverse=True)
    assert set(found.parameters) == {"lags", "alpha"}
    assert found.parameters["lags"] >= 40
    assert found.held_out_score < found.held_out_declared
    frame = frame_of(returns)
    fitted = fitting.fit(RIDGE, PRICE, frame.until(1_600), found.parameters)
    held = validation.hold_out(fitted, frame, slice(1_600, 2_000, 4))
    assert found.held_out_score == validation.score([held])
    returns[1_600:] = np.random.default_rng(2).standard_normal(400) * 0.01
    other = tune(RIDGE, PRICE, frame_of(returns), tmp_path / "two", QUICK)
    assert (other.study, other.parameters, other.score) == (found.study, found.parameters, found.score)
    assert other.held_out_score != found.held_out_score


_KILLED = """
import os, sys
from pathlib import Path
from orderflow_assets.forecasting import tuning, validation
from tests.assets.test_tuning import PRICE, QUICK, RIDGE, frame_of, momentum

scored, asked = validation.score, []
def kill_in_the_third_trial(parts, metric="rmae"):
    asked.append(parts)
    if len(asked) == 3 + 2 * 3 + 2:
        os.kill(os.getpid(), 9)
    return scored(parts, metric)
validation.score = kill_in_the_third_trial
tuning.tune(RIDGE, PRICE, frame_of(momentum(1_500, seed=3)), Path(sys.argv[1]), QUICK)
"""


def test_a_killed_search_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of(momentum(1_500, seed=3))
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    journal = next((tmp_path / "studies").glob("*.journal"))
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"half of a li')
    Path(f"{journal}.lock").symlink_to(journal)

    asked: list[Any] = []
    scored = validation.score

    def counted(parts: Any) -> float:
        asked.append(parts)
        return scored(parts)

    monkeypatch.setattr(validation, "score", counted)
    found = tune(RIDGE, PRICE, frame, tmp_path, QUICK)
    # Four of six trials are left, of three folds each; then the held-out bars, twice unless the declared serve best.
    assert len(asked) == 4 * 3 + 1 + bool(found.parameters)
    assert (found.trials, len(found.running_best)) == (6, 6)
    again = tune(RIDGE, PRICE, frame, tmp_path, QUICK)
    assert (again.parameters, again.score, again.trials) == (found.parameters, found.score, 6)


def test_more_bars_make_another_study_that_begins_with_the_last_best(tmp_path: Path) -> None:
    returns = momentum(1_600, seed=4)
    before = tune(RIDGE, PRICE, frame_of(returns[:1_500]), tmp_path, QUICK)
    after = tune(RIDGE, PRICE, frame_of(returns), tmp_path, replace(QUICK, trials=1))
    assert after.study != before.study
    assert after.trials == 1
    if after.parameters:
        assert after.parameters == before.parameters


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_other_samplers_and_pruning(tmp_path: Path, sampler: str) -> None:
    frame = frame_of(momentum(1_500, seed=5))
    found = tune(RIDGE, PRICE, frame, tmp_path, replace(QUICK, sampler=sampler, pruner="median", trials=9))
    # Nine is the whole grid of three values each.
    assert found.trials == 9
    assert len(found.running_best) + found.pruned == 9


def test_a_trial_that_cannot_be_trained_is_named_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, forecasts = frame_of(momentum(1_500, seed=6)), validation.forecasts

    def refuses_many_lags(*arguments: Any) -> Any:
        if arguments[4].get("lags", 0) > 60:
            raise ModelError("too many lags")
        return forecasts(*arguments)

    monkeypatch.setattr(validation, "forecasts", refuses_many_lags)
    found = tune(RIDGE, PRICE, frame, tmp_path, QUICK)
    assert found.failed
    assert set(found.failed.values()) == {"too many lags"}
    assert found.trials == 6 == len(found.failed) + len(found.running_best)


def test_a_search_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none of 0 trials was finished: the time was over"):
        tune(RIDGE, PRICE, frame_of(momentum(1_500, seed=7)), tmp_path, replace(QUICK, seconds=1e-6))


def test_what_cannot_be_searched_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of(momentum(300, seed=8))
    with pytest.raises(ModelError, match="no hyper-parameters of naive are declared; there are some for arima"):
        tune(SPECS["naive"], PRICE, frame, tmp_path)
    with pytest.raises(ModelError, match="ridge cannot be tuned: 240 bars are too few"):
        tune(RIDGE, PRICE, frame, tmp_path)
    with pytest.raises(ModelError, match="sampler 'bayes' is none of tpe"):
        Search(sampler="bayes")
    with pytest.raises(ModelError, match="pruner 'half' is none of median"):
        Search(pruner="half")
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install cmaes"):
        Search(sampler="cmaes")
    journal = tmp_path / "studies" / "BTCUSDT@binance_futures.price.ridge.journal"
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process tunes"):
            tune(RIDGE, PRICE, frame_of(momentum(1_500, seed=8)), tmp_path, QUICK)
