"""Cross-validation: what may be trained on, that a leak shows without it, and scores by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.forecasting import validation
from orderflow_assets.forecasting.fitting import ModelError
from orderflow_assets.forecasting.held_out import HeldOut
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.validation import STRATEGIES, Fold, ValidationError, cross_validate, score, split
from tests.assets.forecast_bars import frame_of, momentum, random_walk

SHAPES: dict[str, dict[str, Any]] = {"walk_forward": {"train": 60, "test": 20}}


def folds_of(strategy: str, bars: int, gap: int) -> list[Fold]:
    return split(strategy, bars, gap, **SHAPES.get(strategy, {}))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(STRATEGIES)), st.integers(400, 900), st.integers(0, 25))
def test_no_example_is_trained_on_near_one_that_is_forecast(strategy: str, bars: int, gap: int) -> None:
    for fold in folds_of(strategy, bars, gap):
        for indices in (fold.train, fold.test):
            assert (np.diff(indices) > 0).all()
            assert indices[0] >= 0
            assert indices[-1] < bars
        after = np.searchsorted(fold.test, fold.train)
        to_next = np.where(after < len(fold.test), fold.test[np.minimum(after, len(fold.test) - 1)] - fold.train, bars)
        to_last = np.where(after > 0, fold.train - fold.test[np.maximum(after - 1, 0)], bars)
        assert np.minimum(to_next, to_last).min() > gap


@settings(max_examples=30, deadline=None)
@given(st.integers(400, 900), st.integers(0, 25))
def test_what_each_strategy_trains_on_and_forecasts(bars: int, gap: int) -> None:
    folds = {strategy: folds_of(strategy, bars, gap) for strategy in STRATEGIES}
    for strategy in ("expanding", "sliding", "walk_forward", "blocked"):
        assert all(fold.train[-1] < fold.test[0] for fold in folds[strategy])
        assert all(first.test[-1] < second.test[0] for first, second in pairwise(folds[strategy]))
    assert {fold.train[0] for fold in folds["expanding"]} == {0}
    assert (
        len({len(fold.train) for fold in folds["sliding"]}) == len({len(fold.test) for fold in folds["sliding"]}) == 1
    )
    assert {(len(fold.train), len(fold.test)) for fold in folds["walk_forward"]} == {(60, 20)}
    assert all(first.test[-1] < second.train[0] for first, second in pairwise(folds["blocked"]))
    tested = np.concatenate([fold.test for fold in folds["purged_kfold"]])
    assert tested.tolist() == list(range(bars))
    times = np.bincount(np.concatenate([fold.test for fold in folds["combinatorial_purged"]]), minlength=bars)
    assert (len(folds["combinatorial_purged"]), set(times.tolist())) == (15, {5})
    inner = folds["purged_kfold"][2]
    assert {*range(bars)} - {*inner.train, *inner.test} == {
        *range(inner.test[0] - gap, inner.test[0]),
        *range(inner.test[-1] + 1, inner.test[-1] + 1 + gap),
    }


def test_a_leak_through_overlapping_labels_is_rewarded_without_the_purge_only() -> None:
    horizon, bars = 12, 3_000
    noise = np.random.default_rng(1).standard_normal(bars + horizon)
    labels = np.convolve(noise, np.ones(horizon), mode="valid")[1:]

    def skill(gap: int) -> float:
        """Share of the variance told by repeating the label of the nearest example that was trained on."""
        told, missed = 0.0, 0.0
        for fold in split("purged_kfold", len(labels), gap, folds=300):
            nearest = fold.train[np.abs(fold.train - fold.test[:, None]).argmin(axis=1)]
            told += float((labels[fold.test] ** 2).sum())
            missed += float(((labels[fold.test] - labels[nearest]) ** 2).sum())
        return 1 - missed / told

    assert skill(gap=0) > 0.15
    assert skill(gap=horizon) < -0.5


def test_bars_that_are_not_trained_on_are_hidden_from_training() -> None:
    frame = frame_of(random_walk(300, seed=2))
    fold = split("purged_kfold", 300, 10)[2]
    part = validation.training_frame(frame, fold.train)
    hidden = np.ones(300, dtype=bool)
    hidden[fold.train] = False
    for name in ("price", "returns", "sigma"):
        assert np.isnan(getattr(part, name)[hidden]).all()
        np.testing.assert_array_equal(getattr(part, name)[fold.train], getattr(frame, name)[fold.train])
    assert len(validation.training_frame(frame, np.arange(50, 120))) == 70


def test_the_purge_is_the_horizon_and_the_longest_window() -> None:
    assert validation.purge(SPECS["lightgbm"], TARGETS["price"]) == 12 + 144
    assert validation.purge(SPECS["naive"], TARGETS["price"]) == 12 + 1


def test_scores_by_hand() -> None:
    anchor, outcomes = np.log([100.0, 200.0]), np.log([[110.0], [190.0]])
    part = HeldOut(slice(0, 2), np.log([[1.05], [1.0]]), outcomes, anchor, np.ones((2, 1)))
    errors = np.array([5.0, 10.0])
    assert score([part], "mae") == pytest.approx(errors.mean())
    assert score([part], "rmse") == pytest.approx(np.sqrt((errors**2).mean()))
    assert score([part], "mape") == pytest.approx(100 * (errors / [110, 190]).mean())
    assert score([part], "smape") == pytest.approx(100 * (2 * errors / [215, 390]).mean())
    logs = np.log([110 / 105, 200 / 190]).sum() / np.log([110 / 100, 200 / 190]).sum()
    assert score([part]) == pytest.approx(logs)
    unknown = HeldOut(slice(0, 2), np.full((2, 1), np.nan), outcomes, anchor, np.ones((2, 1)))
    assert score([part, unknown]) == pytest.approx(logs)
    with pytest.raises(ModelError, match="answers at none"):
        score([unknown])


def test_stability_in_words() -> None:
    def words(*scores: float) -> str:
        return validation.Validation("naive", "expanding", "mae", 0, scores, ()).stability

    assert [words(1.0, 1.1), words(1.0, 1.5), words(1.0, 3.0), words(1.0)] == ["high", "medium", "low", "low"]


@pytest.mark.parametrize("strategy", ["expanding", "purged_kfold"])
def test_momentum_is_told_from_a_walk_nobody_can_predict(strategy: str) -> None:
    target, spec = TARGETS["price"], SPECS["lightgbm"]
    learnt = cross_validate(spec, target, frame_of(momentum(2_500, seed=3)), strategy, folds=3)
    guessed = cross_validate(spec, target, frame_of(random_walk(2_500, seed=4)), strategy, folds=3)
    assert learnt.folds == 3
    assert learnt.gap == 12 + 144 + 25
    assert learnt.mean < 0.985 < guessed.mean
    assert learnt.stability == "high"
    assert learnt.sizes[0][1] == len(split(strategy, 2_500, learnt.gap, folds=3)[0].test)


def test_naive_scores_one_against_itself_in_every_strategy() -> None:
    frame = frame_of(random_walk(900, seed=5))
    for strategy in STRATEGIES:
        found = cross_validate(SPECS["naive"], TARGETS["price"], frame, strategy, **SHAPES.get(strategy, {}))
        assert found.scores == (1.0,) * found.folds
        assert found.sd == 0


def test_what_cannot_be_divided_says_why() -> None:
    frame, target = frame_of(random_walk(300, seed=6)), TARGETS["price"]
    with pytest.raises(ValidationError, match="'kfold' is none of expanding"):
        cross_validate(SPECS["naive"], target, frame, "kfold")
    with pytest.raises(ValidationError, match="300 bars are too few for expanding with 159 bars between"):
        cross_validate(SPECS["lightgbm"], target, frame)
    with pytest.raises(ValidationError, match="folds is a whole number from 2 up, not 1"):
        cross_validate(SPECS["naive"], target, frame, folds=1)
    with pytest.raises(ValidationError, match="expanding does not take that"):
        cross_validate(SPECS["naive"], target, frame, groups=3)
    with pytest.raises(ValidationError, match="metric 'mase'"):
        cross_validate(SPECS["naive"], target, frame, metric="mase")
    with pytest.raises(ValidationError, match="embargo"):
        cross_validate(SPECS["naive"], target, frame, embargo=1)
