"""Intervals: what they may know, that they are a quantile, and that they cover on real candles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.forecasting import conformal
from orderflow_assets.forecasting.frame import HALF_LIFE, SIGMA_FLOOR, ewma_volatility

STEPS = (1, 3)
FAR = (1, 12, 24)
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


def test_the_level_is_moved_by_hand() -> None:
    rate, widest = conformal.GAMMA, conformal.WIDEST * 0.05
    values = np.concatenate((np.arange(1.0, 41.0), [99.0] * 12, [0.0] * 3))[:, None]
    widths = conformal.half_widths(values, (1,))[:, 0, 1]
    alpha, seen, expected = 0.05, list(values[:40, 0]), []
    for score in values[40:, 0]:
        ordered = np.sort(seen)
        rank = int(np.ceil((len(ordered) + 1) * (1 - alpha)))
        expected.append(ordered[min(rank, len(ordered)) - 1])
        alpha = max(alpha + rate * (0.05 - (score > expected[-1])), widest)
        seen.append(score)
    np.testing.assert_array_equal(widths[40:], expected)


@pytest.mark.parametrize("jump", [3.0, 1 / 3])
def test_intervals_of_every_step_hold_through_a_change_of_volatility(jump: float) -> None:
    draws = np.random.default_rng(8)
    returns = 0.001 * draws.standard_t(5, 5_000)
    returns[2_500:] *= jump
    covered = _coverage(np.cumsum(returns), slice(2_500, 4_500))
    assert covered[:, 0] == pytest.approx(0.80, abs=0.03)
    assert covered[:, 1] == pytest.approx(0.95, abs=0.012)


def _standard(log_price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scaled absolute errors of naive and their scales, ``(bars, FAR)``."""
    returns = np.diff(log_price, prepend=np.nan)
    scales = np.maximum(ewma_volatility(returns, HALF_LIFE), SIGMA_FLOOR)[:, None] * np.sqrt(FAR)
    errors = np.full_like(scales, np.nan)
    for column, step in enumerate(FAR):
        errors[:-step, column] = np.abs(log_price[step:] - log_price[:-step])
    return errors / scales, scales


def _coverage(log_price: np.ndarray, judged: slice) -> np.ndarray:
    errors, _ = _standard(log_price)
    widths = conformal.half_widths(errors, FAR)
    assert not np.isnan(errors[judged]).any()
    return (errors[judged, :, None] <= widths[judged]).mean(axis=0)


def _closes(market_data: Path, name: str, minutes: int = 1) -> np.ndarray:
    """Log closes of every ``minutes``-th candle."""
    candles = csv.read_csv(market_data / f"{name}.csv.gz")
    last = (candles["ts_ms"].to_numpy() // 60_000 + 1) % minutes == 0
    return np.log(candles["close"].to_numpy()[last])


@pytest.mark.parametrize("interval", ["5m", "1h"])
def test_real_candles_are_covered(market_data: Path, interval: str) -> None:
    if interval == "5m":
        prices = [_closes(market_data, f"freqtrade_{coin}_BTC_5m") for coin in ("ETH", "LTC", "XLM")]
        prices.append(_closes(market_data, "nautilus_BTC_perp_1m_202201", minutes=5))
    else:
        coins = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE")
        prices = [_closes(market_data, f"binance_spot_{coin}USDT_1h")[-5_000:] for coin in coins]
    judged = slice(-1_724, -24)
    off = np.abs(np.array([_coverage(price, judged) for price in prices]) - (0.80, 0.95))
    # Mean over pairs and worst pair, of 80 and 95 %, at one bar, twelve and twenty-four.
    assert (off.mean(axis=0) <= [[0.005, 0.005], [0.010, 0.010], [0.020, 0.020]]).all(), off.mean(axis=0)
    assert off[:, :2, 1].max() <= 0.02


def test_intervals_on_real_candles_are_sharper_than_those_of_constant_volatility(market_data: Path) -> None:
    ratios = []
    for coin in ("ETH", "LTC", "XLM"):
        price = _closes(market_data, f"freqtrade_{coin}_BTC_5m")
        (errors, scales), split = _standard(price), int(0.7 * len(price))
        judged = slice(split, len(price) - max(FAR))
        widths = conformal.half_widths(errors, FAR)[judged, :, 1] * scales[judged]
        constant = 1.96 * np.diff(price[:split]).std() * np.sqrt(FAR)
        sizes = (errors * scales)[judged]
        winkler = [(2 * half + 40 * np.maximum(sizes - half, 0)).mean(axis=0) for half in (widths, constant)]
        ratios.append(winkler[0] / winkler[1])
    mean = np.mean(ratios, axis=0)
    assert mean[0] <= 0.80
    assert mean[1] <= 0.60
