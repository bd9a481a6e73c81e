"""Ensembles: rules by hand, weights against an independent solver, and members that come back from the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from orderflow_assets.forecasting import ensembles, fitting, models, skill
from orderflow_assets.forecasting.adapters.ensemble import Ensemble
from orderflow_assets.forecasting.ensembles import LEARNT, PENALTY, PLAIN, skill_weights, stacking_weights, weighted
from orderflow_assets.forecasting.fitting import ModelError
from orderflow_assets.forecasting.held_out import hold_out
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.targets import TARGETS
from tests.assets.forecast_bars import frame_of, momentum, random_walk, recorded

PRICE = TARGETS["price"]
ENSEMBLES = [spec for spec in SPECS.values() if spec.family == "ensemble"]


def of_rule(rule: str, frame: Any, **parameters: Any) -> Ensemble:
    parameters = {"rule": rule, "members": ["ridge", "lightgbm"]} | parameters
    fitted = fitting.fit(SPECS["ensemble_mean"], PRICE, frame, parameters)
    assert isinstance(fitted, Ensemble)
    return fitted


def forecasts(*values: float) -> np.ndarray:
    return np.array(values)[:, None, None]


def test_rules_by_hand_with_naive_as_a_member() -> None:
    assert PLAIN["mean"](forecasts(1, 2, 6)).item() == 9 / 4
    assert PLAIN["median"](forecasts(1, 2, 6)).item() == 1.5
    assert PLAIN["median"](forecasts(-1, 3)).item() == 0
    assert PLAIN["trimmed"](forecasts(1, 2, 6)).item() == 1.5
    assert PLAIN["trimmed"](forecasts(*range(1, 20))).item() == np.mean(range(2, 18))
    assert PLAIN["trimmed"](forecasts(4)).item() == 2
    assert weighted(forecasts(1, 2, 6), (0.5, 0.25, 0.0)).item() == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(0, 11))
def test_no_rule_leaves_the_range_of_its_members_or_answers_for_one_that_has_none(values: list[float], at: int) -> None:
    silent = forecasts(*values)
    silent[at % len(values)] = np.nan
    for rule in PLAIN.values():
        assert min(*values, 0) - 1e-12 <= rule(forecasts(*values)).item() <= max(*values, 0) + 1e-12
        assert np.isnan(rule(silent)).all()
    assert np.isnan(weighted(silent, (0.0,) * len(values))).all()


def test_weights_by_skill_by_hand() -> None:
    moved = np.full((ensembles.PRIOR, 1), 1.0)
    deviations = np.stack([moved * 0.2, moved * -1.0, moved])
    # Errors are 0.8, 2 and 0 of naive's, the last taken as 0.5; inverse with naive's 1.25, 0.5, 2 and 1, of 4.75.
    # As many origins as the prior: half way to a quarter each.
    expected = [0.5 * inverse / 4.75 + 0.125 for inverse in (1.25, 0.5, 2)]
    assert skill_weights(moved, deviations) == pytest.approx(expected)
    few = skill_weights(moved[:1], deviations[:, :1])
    assert few == pytest.approx([0.25] * 3, abs=0.001)


def test_stacking_is_ridge_regression_with_weights_from_zero_up() -> None:
    draws = np.random.default_rng(1)
    deviations = draws.standard_normal((3, 400, 2))
    moved = 0.5 * deviations[0] - 0.3 * deviations[1] + 0.1 * deviations[2] + draws.standard_normal((400, 2))
    rows = deviations.reshape(3, -1).T
    penalty = PENALTY * (rows**2).sum(axis=0).mean()
    expected, _ = nnls(np.vstack([rows, np.sqrt(penalty) * np.eye(3)]), np.concatenate([moved.ravel(), np.zeros(3)]))
    found = stacking_weights(moved, deviations)
    assert found == pytest.approx(expected, abs=1e-3)
    assert found[1] == 0
    assert stacking_weights(moved, np.zeros((2, 400, 2))) == (0.0, 0.0)


@pytest.mark.parametrize("rule", [*PLAIN, *LEARNT])
def test_every_rule_learns_momentum_forgets_nothing_and_sees_no_future(tmp_path: Path, rule: str) -> None:
    returns = momentum(1_600, seed=2)
    frame = frame_of(returns)
    fitted = of_rule(rule, frame.until(1_200))
    whole = fitted.deviations(frame, slice(1_200, 1_600))
    held = hold_out(fitted, frame, slice(1_200, 1_588))
    assert skill.compare(held.errors, held.naive_errors, 12).first_step < 0.95
    fitted.save(tmp_path)
    loaded = fitting.load(tmp_path)
    assert isinstance(loaded, Ensemble)
    assert (loaded.weights, loaded.columns) == (fitted.weights, fitted.columns)
    np.testing.assert_allclose(loaded.deviations(frame, slice(1_200, 1_600)), whole, rtol=1e-12, atol=1e-15)
    early = fitted.deviations(frame_of(returns[:1_401]), slice(1_400, 1_401))
    np.testing.assert_allclose(early[0], whole[200], rtol=1e-9)


def test_the_mean_is_that_of_members_trained_on_all_bars() -> None:
    frame = frame_of(momentum(900, seed=3))
    alone = [
        fitting.fit(SPECS[name], PRICE, frame).deviations(frame, slice(800, 900)) for name in ("ridge", "lightgbm")
    ]
    # Each alone is half naive already; here naive is a third.
    expected = sum(alone) / 0.5 / 3
    np.testing.assert_allclose(of_rule("mean", frame).deviations(frame, slice(800, 900)), expected, rtol=1e-12)


def test_weights_come_from_bars_that_were_not_trained_on() -> None:
    # Least squares finds something in any bars, and nothing of it holds in the next ones of a random walk.
    remembers = replace(SPECS["ensemble_mean"], parameters={"rule": "stacking", "members": ["linear_regression"]})
    frame = frame_of(random_walk(700, seed=4))
    fitted = fitting.fit(remembers, PRICE, frame)
    assert isinstance(fitted, Ensemble)
    seen = hold_out(fitted.members[0], frame, slice(20, 680))
    moved = (seen.outcomes - seen.anchor[:, None]) / seen.scales
    known = ~np.isnan(seen.errors).any(axis=1)
    in_sample = stacking_weights(moved[known], 2 * (seen.deviations / seen.scales)[None, known])
    assert in_sample[0] > 0.7
    assert fitted.weights[0] < 0.4


def test_a_member_that_cannot_be_trained_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, absent = frame_of(momentum(500, seed=5)), "lightgbm"
    monkeypatch.setattr(fitting, "missing", lambda spec: "lightgbm is not installed" if spec.name == absent else None)
    fitted = of_rule("mean", frame)
    assert [member.spec.name for member in fitted.members] == ["ridge"]
    assert fitted.left_out == {"lightgbm": "lightgbm is not installed"}
    fitted.save(tmp_path)
    assert fitting.load(tmp_path).left_out == fitted.left_out  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="ensemble_mean has no member that can be trained: lightgbm is not installed"):
        of_rule("mean", frame, members=["lightgbm"])


def test_what_is_no_ensemble_says_why(tmp_path: Path) -> None:
    frame = frame_of(momentum(400, seed=6))
    with pytest.raises(ModelError, match="rule of an ensemble is one of mean, median, trimmed"):
        of_rule("best", frame)
    with pytest.raises(ModelError, match=r"no model 'rigde'\. Did you mean ridge"):
        of_rule("mean", frame, members=["rigde"])
    with pytest.raises(ModelError, match="naive cannot be a member"):
        of_rule("mean", frame, members=["ridge", "naive"])
    with pytest.raises(ModelError, match="no parameter shares"):
        of_rule("mean", frame, shares=[1])
    with pytest.raises(ModelError, match="cannot hold bars back to learn weights from"):
        of_rule("weighted", frame)
    of_rule("mean", frame).save(tmp_path)
    card = msgspec.json.decode((tmp_path / "card.json").read_bytes())
    card["state"]["members"] = ["../../elsewhere"]
    (tmp_path / "card.json").write_bytes(msgspec.json.encode(card))
    with pytest.raises(ModelError, match="elsewhere"):
        fitting.load(tmp_path)


def test_the_declared_ensembles_name_members_of_the_catalogue() -> None:
    assert {"ensemble_ml", "ensemble_dl", "ensemble_all", "ensemble_mean"} <= {spec.name for spec in ENSEMBLES}
    for spec in ENSEMBLES:
        members = [models.resolve(name) for name in spec.parameters["members"]]
        assert len(members) > 1
        assert spec.lags == max(member.lags for member in members)
        assert spec.parameters["rule"] in {**PLAIN, **LEARNT}


def test_the_mean_beats_naive_on_real_candles(market_data: Path) -> None:
    compared = []
    for name in ("freqtrade_ETH_BTC_5m", "freqtrade_LTC_BTC_5m", "freqtrade_XLM_BTC_5m"):
        frame = recorded(market_data, name)
        split = int(0.7 * len(frame))
        fitted = fitting.fit(SPECS["ensemble_mean"], PRICE, frame.until(split))
        held = hold_out(fitted, frame, slice(split, len(frame) - 12, 12))
        compared.append(skill.compare(held.errors, held.naive_errors, 1))
    assert np.mean([one.last_step for one in compared]) <= 0.99
    assert all(one.ratio < 1 for one in compared)
    assert min(one.p_worse for one in compared) > 0.05
