"""Intervals: what they may know, that they are a quantile, and that they cover on real candles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.forecasting import conformal
from orderflow_assets.forecasting.targets import TARGETS
from tests.assets.forecast_bars import recorded

STEPS = (1, 3)
scores = st.integers(0, 2**32 - 1).map(
    lambda seed: np.abs(np.random.default_rng(seed).standard_t(4, (160, len(STEPS)))) * (1 + seed % 3)
)


@settings(max_examples=40, deadline=None)
@given(scores, st.integers(50, 150))
def test_a_width_uses_known_outcomes_only(values: np.ndarray, origin: int) -> None:
    widths = conformal.half_widths(values, STEPS)
    changed = values.copy()
    for column, step in enumerate(STEPS):
        changed[origin - step + 1 :, column] *= 17.0
    np.testing.assert_array_equal(conformal.half_widths(changed, STEPS)[: origin + 1], widths[: origin + 1])


@settings(max_examples=40, deadline=None)
@given(scores)
def test_widths_are_nested_scores_that_scale_with_them(values: np.ndarray) -> None:
    widths = conformal.half_widths(values, STEPS)
    stated = widths[~np.isnan(widths).any(axis=(1, 2))]
    assert (stated[..., 0] <= stated[..., 1]).all()
    assert np.isin(stated, values).all()
    np.testing.assert_allclose(conformal.half_widths(4 * values, STEPS), 4 * widths)


def test_no_interval_before_enough_outcomes_are_known() -> None:
    widths = conformal.half_widths(np.ones((60, 1)), (3,))
    first = conformal.MIN_SCORES - 1 + 3
    assert np.isnan(widths[:first]).all()
    assert (widths[first:] == 1).all()


def test_the_first_width_is_the_conformal_quantile() -> None:
    values = np.random.default_rng(5).permutation(np.arange(1.0, 42.0))[:, None]
    known = np.sort(values[: conformal.MIN_SCORES, 0])
    width = conformal.half_widths(values, (1,))[conformal.MIN_SCORES, 0]
    # 40 scores: the 33rd of (40 + 1) x 0.80 = 32.8 rounded up, and the 39th of 38.95.
    assert width.tolist() == [known[32], known[38]]


def test_missing_scores_are_passed_over() -> None:
    values = np.abs(np.random.default_rng(6).standard_normal((200, 1)))
    gappy = np.insert(values, range(0, 200, 2), np.nan, axis=0)
    np.testing.assert_array_equal(conformal.half_widths(gappy, (1,))[-1], conformal.half_widths(values, (1,))[-1])


def test_the_level_adapts_when_errors_double() -> None:
    draws = np.abs(np.random.default_rng(7).standard_normal((3_000, 1)))
    draws[1_500:] *= 2
    widths = conformal.half_widths(draws, (1,))
    inside = draws[1_600:] <= widths[1_600:, :, 1]
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("name", ["freqtrade_ETH_BTC_5m", "freqtrade_LTC_BTC_5m", "freqtrade_XLM_BTC_5m"])
def test_real_candles_are_covered(market_data: Path, name: str) -> None:
    frame, target = recorded(market_data, name), TARGETS["price"]
    errors = np.abs(target.outcomes(frame) - target.anchor(frame)[:, None]) / target.scales(frame)
    errors = errors[-2_600:, [0, 11]]
    widths = conformal.half_widths(errors, (1, 12))
    for column, allowed in ((0, 0.005), (1, 0.010)):
        known = ~np.isnan(errors[:, column])
        known[:1_000] = False
        assert known.sum() > 1_500
        covered = (errors[known, column, None] <= widths[known, column]).mean(axis=0)
        assert covered == pytest.approx([0.80, 0.95], abs=allowed), (name, column)
