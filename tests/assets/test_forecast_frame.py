"""The frame of a series: what is known at each edge, and nothing later."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.forecasting.frame import (
    FrameError,
    Series,
    count_bars,
    ewma_volatility,
    floor_step,
    known_until,
    read_frame,
)
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table
from tests.assets.forecast_bars import BTC, ETH, START, frame_of, momentum, plant, random_walk


def test_a_series_key_is_read_back() -> None:
    assert Series.parse(BTC.key) == BTC
    with pytest.raises(ValueError, match="not of the form"):
        Series.parse("BTCUSDT")


def test_floor_step_is_the_edge_at_or_before() -> None:
    assert floor_step(START + timedelta(minutes=7, seconds=3)) == START + timedelta(minutes=5)
    assert floor_step(START) == START


def test_minutes_become_five_minute_bars_with_the_last_close(store: Store) -> None:
    returns = momentum(20, seed=1)
    until = plant(store, BTC, returns)
    frame = read_frame(store, BTC, until)
    assert len(frame) == 20
    assert frame.times[0] == np.datetime64(START + timedelta(minutes=5))
    assert frame.price == pytest.approx(100 * np.exp(np.cumsum(returns)), rel=1e-12)
    assert frame.returns[1:] == pytest.approx(returns[1:], rel=1e-9)
    # The test's bars buy half of the volume in the last minute's price, so the signed share is zero throughout.
    assert frame.covariates["flow_share"] == pytest.approx(0)
    assert known_until(store) == until
    assert count_bars(store) == {BTC: 20}


def test_nothing_is_carried_into_a_bar_that_was_not_recorded(store: Store) -> None:
    returns = momentum(30, seed=2)
    returns[10] = np.nan
    frame = read_frame(store, BTC, plant(store, BTC, returns))
    assert frame.missing == 1
    assert np.isnan(frame.price[10])
    assert np.isnan(frame.returns[[10, 11]]).all()
    assert np.isfinite(frame.returns[12])


def test_a_bar_cut_short_has_no_price_and_a_quiet_one_keeps_it(store: Store) -> None:
    plant(store, BTC, momentum(3, seed=3))
    start = START + timedelta(minutes=15)
    quiet = [_minute(start, minute, volume=0.0, close=None) for minute in range(5)]
    cut = [_minute(start, minute, volume=1.0, close=101.0) for minute in range(5, 8)]
    store.write(BARS_1M, pa.Table.from_pylist(quiet + cut, BARS_1M.arrow_schema))
    frame = read_frame(store, BTC, start + timedelta(minutes=10))
    assert frame.price[3] == frame.price[2]
    assert np.isnan(frame.price[4])


def _minute(start, minute: int, volume: float, close: float | None) -> dict:
    open_time = start + timedelta(minutes=minute)
    return {
        "symbol": "BTCUSDT",
        "exchange": "binance",
        "market_type": "futures",
        "open_time": open_time,
        "bar_ts": open_time + timedelta(minutes=1),
        "close": close,
        "volume": volume,
        "quote_volume": volume,
        "taker_buy_volume": 0.0,
        "quote_count": 1,
        "quoted_s": 60.0,
    }


def test_a_series_without_bars_says_so(store: Store) -> None:
    until = plant(store, BTC, momentum(5, seed=4))
    with pytest.raises(FrameError, match="no bars in the 14 days before"):
        read_frame(store, ETH, until)


def test_an_empty_store_has_no_bars(store: Store) -> None:
    assert known_until(store) is None
    assert count_bars(store) == {}


def test_the_grid_runs_to_the_end_when_a_series_falls_silent(store: Store) -> None:
    plant(store, BTC, momentum(10, seed=5))
    until = plant(store, ETH, momentum(14, seed=6))
    frame = read_frame(store, BTC, until)
    assert len(frame) == 14
    assert np.isnan(frame.price[-4:]).all()


def test_features_are_joined_at_their_own_edge(store: Store) -> None:
    until = plant(store, BTC, momentum(6, seed=7))
    table = Table(
        "features",
        "prices",
        (*BARS_1M.columns[:5], Column("spread_zscore", "DOUBLE")),
        BARS_1M.key,
        "open_time",
    )
    rows = [_minute(START, minute, 1.0, 1.0) | {"spread_zscore": float(minute)} for minute in range(30) if minute != 14]
    data = pa.Table.from_pylist([{name: row[name] for name in table.names} for row in rows], table.arrow_schema)
    store.write(table, data)
    known = read_frame(store, BTC, until).covariates["spread_zscore"]
    assert np.isnan(known[2])
    assert known[[0, 1, 3, 4, 5]].tolist() == [4.0, 9.0, 19.0, 24.0, 29.0]


def test_volatility_weighs_squared_returns_by_age() -> None:
    returns = np.concatenate((np.zeros(11), [0.01, np.nan, 0.02]))
    sigma = ewma_volatility(returns, half_life=2)
    decay = 0.5**0.5
    weights = decay ** np.arange(13)[::-1]
    known = np.delete(returns, 12)
    assert np.isnan(sigma[:11]).all()
    assert sigma[12] == sigma[11]
    assert sigma[13] == pytest.approx(np.sqrt((weights * known**2).sum() / weights.sum()), rel=1e-12)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_and_covariates_know_nothing_of_later_bars(name: str) -> None:
    returns = random_walk(400, seed=8)
    returns[200] = np.nan
    whole, target = frame_of(returns), TARGETS[name]
    for stop in (150, 205, 333):
        early = frame_of(returns[:stop])
        assert early.covariates.keys() == whole.covariates.keys()
        for column, values in early.covariates.items():
            np.testing.assert_array_equal(values, whole.covariates[column][:stop], err_msg=column)
        for known, later in (
            (target.learn, target.learn),
            (target.anchor, target.anchor),
            (target.scales, target.scales),
        ):
            np.testing.assert_array_equal(known(early), later(whole)[:stop])


def test_outcomes_are_the_anchor_later_on() -> None:
    frame = frame_of(momentum(40, seed=9))
    outcomes = TARGETS["price"].outcomes(frame)
    assert outcomes[5, 0] == np.log(frame.price[6])
    assert outcomes[5, 11] == np.log(frame.price[17])
    assert np.isnan(outcomes[-1]).all()
    volatility = TARGETS["volatility"]
    expected = np.log(np.sqrt((frame.returns[9:21] ** 2).sum()))
    assert volatility.outcomes(frame)[8, 0] == pytest.approx(expected, rel=1e-12)


def test_the_digest_changes_with_any_price() -> None:
    returns = momentum(50, seed=10)
    changed = returns.copy()
    changed[20] += 1e-9
    assert frame_of(returns).digest() == frame_of(returns).digest()
    assert frame_of(returns).digest() != frame_of(changed).digest()


def test_volume_is_learnt_as_its_change_over_the_hour_before() -> None:
    frame, target = frame_of(momentum(60, seed=11)), TARGETS["volume"]
    hours = np.array([frame.price[index - 11 : index + 1].sum() for index in (23, 35, 47)])
    np.testing.assert_allclose(np.exp(target.anchor(frame)[[23, 35, 47]]), hours, rtol=1e-12)
    np.testing.assert_allclose(target.learn(frame)[[35, 47]], np.diff(np.log(hours)), atol=1e-12)
    # A change put out for the hour to come is its deviation from the hour that was.
    outcome = target.outcomes(frame)[35, 0] - target.anchor(frame)[35]
    said = target.deviate(frame, slice(35, 36), target.learn(frame)[[47]][:, None])
    assert said[0, 0] == pytest.approx(outcome, rel=1e-12)
