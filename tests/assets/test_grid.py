"""The windows that slide over the minute grid, against pandas and scipy."""

from __future__ import annotations

from datetime import datetime, timedelta

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from scipy import stats

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features import grid
from orderflow_assets.features.grid import Grid

FIRST = datetime(2025, 3, 1, 0, 1)  # noqa: DTZ001
MINUTE = timedelta(minutes=1)
LENGTH, OUTPUTS = 90, 40


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = np.round(rng.normal(5, 2, (3, 200)), 1)
    drawn[rng.random(drawn.shape) < 0.1] = np.nan
    drawn[1, :120] = np.nan
    return drawn


def _before(series: pd.Series) -> pd.api.typing.Rolling:
    return series.shift(1).rolling(LENGTH, min_periods=grid.MIN_BASELINE)


def test_zscore_is_that_of_the_bars_before(values: np.ndarray) -> None:
    frame = pd.DataFrame(values.T)
    expected = (frame - frame.apply(lambda x: _before(x).mean())) / frame.apply(lambda x: _before(x).std())
    np.testing.assert_allclose(grid.zscore(values, LENGTH, OUTPUTS), expected.to_numpy().T[:, -OUTPUTS:], rtol=1e-9)


def test_median_is_that_of_the_bars_before(values: np.ndarray) -> None:
    expected = pd.DataFrame(values.T).apply(lambda x: _before(x).median())
    np.testing.assert_allclose(grid.median(values, LENGTH, OUTPUTS), expected.to_numpy().T[:, -OUTPUTS:])


def test_percent_rank_counts_ties_half(values: np.ndarray) -> None:
    found = grid.percent_rank(grid.current(values, OUTPUTS), grid.before(values, LENGTH, OUTPUTS))
    np.testing.assert_array_equal(grid.rank_before(values, LENGTH, OUTPUTS), found)
    for series, row in enumerate(values):
        for output in range(OUTPUTS):
            at = len(row) - OUTPUTS + output
            past = row[at - LENGTH : at]
            past = past[np.isfinite(past)]
            if len(past) < grid.MIN_BASELINE or np.isnan(row[at]):
                assert np.isnan(found[series, output])
            else:
                rank = stats.percentileofscore(past, row[at], kind="mean") / 100
                assert found[series, output] == pytest.approx(rank, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(61, 90), st.integers(1, 100), st.floats(0, 0.5), st.integers(0, 5))
def test_windows_may_be_longer_or_shorter_than_what_is_asked_for(
    length: int, outputs: int, missing: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    drawn = np.round(rng.normal(0, 3, (2, length + outputs + 3)), 1)
    drawn[rng.random(drawn.shape) < missing] = np.nan
    rolling = pd.DataFrame(drawn.T).shift(1).rolling(length, min_periods=grid.MIN_BASELINE)
    expected = {
        "median": rolling.median(),
        "zscore": (pd.DataFrame(drawn.T) - rolling.mean()) / rolling.std(),
        "rolling_sum": pd.DataFrame(drawn.T).rolling(length, min_periods=1).sum(),
    }
    for name, frame in expected.items():
        found = getattr(grid, name)(drawn, length, outputs)
        np.testing.assert_allclose(found, frame.to_numpy().T[:, -outputs:], rtol=1e-9, atol=1e-9, err_msg=name)
    ranked = grid.percent_rank(grid.current(drawn, outputs), grid.before(drawn, length, outputs))
    np.testing.assert_array_equal(grid.rank_before(drawn, length, outputs), ranked)


def test_nothing_lasts_of_what_has_left_the_window() -> None:
    values = np.concatenate([[1e16], np.tile([1.0, 2.0], 100)])[None]
    assert grid.rolling_sum(values, 60, 3).tolist() == [[90.0] * 3]


def test_a_constant_baseline_has_no_zscore() -> None:
    level = np.full((1, 120), 0.1 + 0.2)
    level[0, -1] = 5.0
    assert np.isnan(grid.zscore(level, LENGTH, 1)).all()


def test_slope_is_least_squares() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 60))
    values[0, ::3] = np.nan
    values[1, 5:] = np.nan
    found = grid.slope(values, 30)
    for row, got in zip(values, found, strict=True):
        known = np.flatnonzero(np.isfinite(row))
        expected = stats.linregress(known, row[known]).slope if len(known) >= 30 else np.nan
        np.testing.assert_allclose(got, expected, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    kept=st.sets(st.tuples(st.sampled_from(["AAA", "BBB"]), st.integers(0, 9)), max_size=20),
    last=st.integers(1, 10),
)
def test_what_goes_on_the_grid_comes_back(kept: set[tuple[str, int]], last: int) -> None:
    rows = sorted(kept)
    table = pa.table(
        {
            "symbol": pa.array([symbol for symbol, _ in rows], pa.string()),
            "exchange": pa.array(["x"] * len(rows), pa.string()),
            "market_type": pa.array(["spot"] * len(rows), pa.string()),
            "bar_ts": pa.array([FIRST + bar * MINUTE for _, bar in rows], pa.timestamp("us")),
            "close": pa.array([float(bar) for _, bar in rows], pa.float64()),
        }
    )
    placed = Grid.of(table, FIRST, FIRST + 9 * MINUTE, MINUTE)
    back = placed.table(BARS_1M, {"close": grid.current(placed["close"], last)}, last).to_pylist()
    assert {(row["symbol"], row["bar_ts"], row["close"]) for row in back} == {
        (symbol, FIRST + bar * MINUTE, float(bar)) for symbol, bar in rows if bar >= 10 - last
    }


def test_a_row_off_the_grid_is_refused() -> None:
    table = pa.table(
        {
            "symbol": ["AAA"],
            "exchange": ["x"],
            "market_type": ["spot"],
            "bar_ts": pa.array([FIRST + timedelta(seconds=1)], pa.timestamp("us")),
        }
    )
    with pytest.raises(ValueError, match="off the grid"):
        Grid.of(table, FIRST, FIRST + MINUTE, MINUTE)
