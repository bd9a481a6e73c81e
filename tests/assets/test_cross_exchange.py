"""Lead, price discovery and executable spreads against planted truth, hand figures and slow references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.analytics import cross_exchange, information_share, lead_lag
from orderflow_assets.analytics.fees import taker_fee_bps
from orderflow_assets.analytics.hayashi_yoshida import LAGS, MAX_LAG_S, cross_correlation
from orderflow_assets.analytics.price_discovery import shares
from orderflow_assets.analytics.spreads import (
    best_pair,
    executable,
    mean_pairwise_correlation,
    run_lengths,
    walked_price,
)
from orderflow_assets.bars import minutes, parents, quotes
from orderflow_streaming.store import Store, connect
from tests.assets.computing import differences, stored
from tests.assets.venues_tape import OPENING, Venue, compute, every_second, load

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
BARS = (quotes.LAYER, parents.LAYER, minutes.LAYER)
LAYERS = (*BARS, cross_exchange.LAYER, lead_lag.LAYER, information_share.LAYER)


def walk(rng: np.random.Generator, seconds: int) -> np.ndarray:
    return 60_000 * np.exp(np.cumsum(rng.normal(size=seconds)) * 1e-4)


def seen_at_times(rng: np.random.Generator, path: np.ndarray, share: float) -> np.ndarray:
    """``path`` as a venue shows it that publishes in a ``share`` of the seconds."""
    published = rng.random(len(path)) < share
    published[0] = True
    return path[np.maximum.accumulate(np.where(published, np.arange(len(path)), 0))]


def naive(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[float, float]:
    """Covariance and its sd under independence, as the double sum over overlapping intervals defines them."""
    length = len(first)

    def increments(prices: np.ndarray) -> list[tuple[int, int, float]]:
        times = [0, *(t for t in range(1, length) if prices[t] != prices[t - 1])]
        return [(a, b, prices[b] - prices[a]) for a, b in itertools.pairwise(times)]

    left = [(a, b, d) for a, b, d in increments(first) if a >= MAX_LAG_S and b < length - MAX_LAG_S]
    right = [(a - lag, b - lag, d) for a, b, d in increments(second)]
    pairs = [(d, e) for a, b, d in left for c, f, e in right if max(a, c) < min(b, f)]
    return sum(d * e for d, e in pairs), sum((d * e) ** 2 for d, e in pairs) ** 0.5


@pytest.mark.parametrize("lag", [-5, -2, 0, 1, 4])
def test_a_planted_lag_is_found_though_the_venues_publish_at_different_times(lag: int) -> None:
    rng = np.random.default_rng(lag + 10)
    path = np.log(walk(rng, 3620))
    first, second = (seen_at_times(rng, path[10 - by : 3610 - by], share) for by, share in ((0, 0.4), (lag, 0.25)))
    found = cross_correlation(np.array([first, second]))
    assert LAGS[found.correlation[:, 0, 1].argmax()] == lag
    assert LAGS[found.correlation[:, 1, 0].argmax()] == -lag


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.floats(0.05, 0.9))
def test_the_fast_sum_is_the_double_sum_over_overlapping_intervals(seed: int, one: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    path = rng.normal(size=120).cumsum()
    prices = np.array([seen_at_times(rng, path, one), seen_at_times(rng, path, other)])
    found = cross_correlation(prices)
    for place, lag in enumerate(LAGS):
        covariance, deviation = naive(*prices, lag)
        if deviation > 0:
            assert found.z[place, 0, 1] == pytest.approx(covariance / deviation, abs=1e-9)


def test_independent_venues_seldom_seem_to_lead() -> None:
    rng = np.random.default_rng(5)
    largest = []
    for _ in range(200):
        prices = np.array([seen_at_times(rng, np.log(walk(rng, 1800)), 0.3) for _ in range(2)])
        largest.append(np.abs(cross_correlation(prices).z[:, 0, 1]).max())
    assert np.mean(np.array(largest) > lead_lag.CRITICAL_Z) < 0.04


def test_shares_of_price_discovery_are_those_of_statsmodels() -> None:
    from statsmodels.tsa.vector_ar.vecm import VECM

    rng = np.random.default_rng(3)
    path = np.cumsum(rng.normal(size=8003)) * 1e-4
    noise = rng.normal(size=(3, 8000)) * 3e-5
    log_mids = np.array([path[2 - late : 8002 - late] for late in (0, 1, 2)]) + noise
    found = shares(log_mids)
    assert found is not None
    fitted = VECM(log_mids.T * 1e4, k_ar_diff=10, coint_rank=2, deterministic="co").fit()
    common = np.linalg.svd(fitted.alpha)[0][:, -1]
    assert found.component == pytest.approx(common / common.sum(), abs=0.02)
    variance = common @ fitted.sigma_u @ common
    orders = []
    for order in map(list, itertools.permutations(range(3))):
        factor = np.linalg.cholesky(fitted.sigma_u[np.ix_(order, order)])
        share = np.empty(3)
        share[order] = (common[order] @ factor) ** 2 / variance
        orders.append(share)
    assert found.low == pytest.approx(np.min(orders, axis=0), abs=0.02)
    assert found.high == pytest.approx(np.max(orders, axis=0), abs=0.02)
    assert found.low[0] > 0.9 > 0.1 > found.high[2]


def test_an_outage_leaves_out_seconds_and_a_venue_that_never_moves_the_day() -> None:
    rng = np.random.default_rng(4)
    path = np.cumsum(rng.normal(size=8001)) * 1e-4
    log_mids = np.array([path[1:], path[:-1]]) + rng.normal(size=(2, 8000)) * 3e-5
    whole, holed = shares(log_mids), log_mids.copy()
    holed[1, 2000:2500] = np.nan
    rest = shares(holed)
    assert whole is not None
    assert rest is not None
    assert whole.seconds - rest.seconds == 500 + 11
    assert rest.component == pytest.approx(whole.component, abs=0.05)
    assert shares(np.array([path, np.zeros(8001)])) is None
    assert shares(np.array([path, path])) is None
    assert shares(log_mids[:, :1000]) is None


def test_the_best_pair_pays_both_fees_and_never_trades_with_itself() -> None:
    ask = np.array([[100.0, 100.0, np.nan], [101.0, 99.0, 50.0]])
    bid = np.array([[99.9, 99.9, 99.0], [100.9, 98.9, 49.0]])
    best = best_pair(ask, bid, np.array([5.0, 10.0]))
    assert best.buy.tolist() == [0, 1, 1]
    assert best.sell.tolist() == [1, 0, 0]
    assert best.net_bps[0] == pytest.approx(1e4 * (100.9 * 0.999 / (100 * 1.0005) - 1))
    assert best.gross_bps[1] == pytest.approx(1e4 * (99.9 / 99 - 1))
    alone = best_pair(ask[:1], bid[:1], np.array([5.0]))
    assert alone.buy.tolist() == [-1, -1, -1]
    assert np.isnan(alone.net_bps).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(0, 1000))
def test_a_trade_pays_exactly_when_the_best_pair_nets_more_than_zero(venues: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ask = 100 + rng.normal(size=(venues, 20)) * 0.2
    bid = ask - rng.random((venues, 20)) * 0.1
    fee = rng.random(venues) * 10
    unknown = rng.random(ask.shape) < 0.2
    ask[unknown], bid[unknown] = np.nan, np.nan
    assert (executable(ask, bid, fee) == (best_pair(ask, bid, fee).net_bps > 0)).all()


def test_a_size_walks_the_levels() -> None:
    price = np.array([[100.0, 101.0, np.nan], [100.0, 101.0, 102.0]])
    qty = np.array([[1.0, 1.0, np.nan], [10.0, 1.0, 1.0]])
    assert walked_price(price, qty, 150)[0] == pytest.approx(150 / (1 + 50 / 101))
    assert walked_price(price, qty, 150)[1] == 100
    assert np.isnan(walked_price(price, qty, 1000)[0])


def test_runs_end_where_they_are_broken() -> None:
    flags = np.array([True, True, False, True, True, True, False])
    assert run_lengths(flags).tolist() == [1, 2, 0, 1, 2, 3, 0]
    assert run_lengths(np.array([True, True])).tolist() == [1, 2]


def test_mean_pairwise_correlation_leaves_out_constant_and_short_venues() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 60))
    values[2] = 7.0
    values[3, :40] = np.nan
    correlation, pairs = mean_pairwise_correlation(values[:, None, :], 30)
    assert pairs.tolist() == [1]
    assert correlation[0] == pytest.approx(np.corrcoef(values[:2])[0, 1])
    none, pairs = mean_pairwise_correlation(values[2:3, None, :], 30)
    assert np.isnan(none).all()
    assert pairs.tolist() == [0]


def market() -> list[Venue]:
    """Three venues over two and a half hours across midnight: the second two seconds late, the third dear for ten
    minutes and then down; books of ten levels every ten seconds, the last bid always at 50,000."""
    rng = np.random.default_rng(7)
    path = np.round(walk(rng, 9010), 1)
    leader, late, dear = Venue("binance"), Venue("bybit"), Venue("okx")
    own = rng.normal(size=(3, 9000)).round(1)
    every_second(leader, path[10:] + own[0], 0.5)
    every_second(late, path[8:-2] + own[1], 0.5)
    every_second(dear, (path[10:] + own[2]) * np.where((np.arange(9000) // 600) == 3, 1.003, 1.0), 0.5)
    dear.quotes = dear.quotes[:6000]
    leader.quotes[100] = (leader.quotes[100][0], leader.quotes[100][1], None)
    for venue, size in ((leader, 1.0), (late, 0.05), (dear, 0.001)):
        for time, bid, ask in venue.quotes[7::10]:
            if bid is not None and ask is not None:
                bids, asks = ([(price + step * k, size) for k in range(10)] for price, step in ((bid, -1), (ask, 1)))
                bids[-1] = (50_000.0, size)
                venue.books.append((time, bids, asks))
        for number in range(0, len(venue.quotes), 7):
            time, price, _ = venue.quotes[number]
            side = "buy" if rng.random() < 0.3 + 0.4 * (number // 60 % 2) else "sell"
            venue.trades.append((time, float(price or path[10]), 0.01, side))
    return [leader, late, dear]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("venues"), scope="write") as store:
        load(store, market())
        compute(store, LAYERS, OPENING, OPENING + 3 * HOUR, HOUR)
        yield store


def minute(store: Store, number: int) -> dict[str, object]:
    found = store.query(
        "SELECT * FROM analytics.cross_exchange WHERE open_time = ?", [OPENING + number * MINUTE]
    ).to_pylist()
    assert len(found) == 1
    return found[0]


def test_a_dear_venue_is_sold_net_of_fees_while_it_is_dear(computed: Store) -> None:
    usual, dear = minute(computed, 20), minute(computed, 34)
    assert dear["sell_market"] == "okx_futures"
    assert dear["n_obs"] == dear["quoting_venues"] == 3
    quoted = computed.query(
        "SELECT exchange, bid_price, ask_price FROM bars.bars_1m WHERE open_time = ?", [OPENING + 34 * MINUTE]
    ).to_pylist()
    nets = {
        (buy["exchange"], sell["exchange"]): 1e4
        * (
            sell["bid_price"]
            * (1 - taker_fee_bps(sell["exchange"], "futures") / 1e4)
            / (buy["ask_price"] * (1 + taker_fee_bps(buy["exchange"], "futures") / 1e4))
            - 1
        )
        for buy, sell in itertools.permutations(quoted, 2)
    }
    buy, sell = max(nets, key=lambda pair: nets[pair])
    assert (dear["buy_market"], dear["sell_market"]) == (f"{buy}_futures", f"{sell}_futures")
    assert dear["net_spread_bps"] == pytest.approx(nets[buy, sell])
    assert dear["executable_s"] == 60
    assert dear["executable_window_s"] == pytest.approx(5 * 60, abs=2)
    assert usual["net_spread_bps"] < 0
    assert usual["executable_s"] == usual["executable_window_s"] == 0


def test_a_size_that_a_book_does_not_hold_leaves_the_venue_out(computed: Store) -> None:
    dear = minute(computed, 34)
    assert {dear["sized_buy_market"], dear["sized_sell_market"]} == {"binance_futures", "bybit_futures"}
    assert dear["sized_net_spread_bps"] < 0


def test_a_venue_that_is_down_drops_out(computed: Store) -> None:
    late = minute(computed, 105)
    assert late["n_obs"] == late["quoting_venues"] == 2
    assert late["flow_pairs"] == 3
    assert minute(computed, 140)["flow_pairs"] == 1


def test_flow_is_synchronized_as_the_mean_correlation_says(computed: Store) -> None:
    flows = computed.query(
        "SELECT exchange, list(2 * taker_buy_quote - quote_volume ORDER BY open_time) AS flow FROM bars.bars_1m "
        "WHERE open_time > ? AND open_time <= ? GROUP BY exchange ORDER BY exchange",
        [OPENING + 30 * MINUTE, OPENING + 90 * MINUTE],
    ).to_pylist()
    matrix = np.corrcoef([row["flow"] for row in flows])
    expected = np.mean([matrix[0, 1], matrix[0, 2], matrix[1, 2]])
    assert minute(computed, 90)["flow_synchronization"] == pytest.approx(expected)


def test_the_leading_venue_is_named_with_its_lead(computed: Store) -> None:
    rows = computed.query("SELECT * FROM analytics.lead_lag ORDER BY valid_from, second_exchange").to_pylist()
    assert {row["valid_from"].minute for row in rows} == {0, 15, 30, 45}
    leads = {
        (row["first_exchange"], row["second_exchange"]): row for row in rows if row["valid_from"] == OPENING + HOUR
    }
    assert leads["binance", "bybit"]["lead_lag_seconds"] == 2
    assert leads["binance", "bybit"]["lead_lag_ratio"] > 1
    assert leads["bybit", "okx"]["lead_lag_seconds"] == -2
    assert leads["binance", "okx"]["lead_lag_seconds"] == 0
    first = [row for row in rows if row["valid_from"] == OPENING + 15 * MINUTE]
    assert all(row["first_changes"] > 800 for row in first)


def test_nothing_is_said_of_a_venue_that_did_not_move(computed: Store) -> None:
    last = computed.query("SELECT * FROM analytics.lead_lag WHERE valid_from = ?", [OPENING + 165 * MINUTE]).to_pylist()
    assert {(row["first_exchange"], row["second_exchange"]) for row in last} == {("binance", "bybit")}


def test_the_price_is_made_on_the_leading_venue(computed: Store) -> None:
    rows = computed.query("SELECT * FROM analytics.information_share").to_pylist()
    assert {row["valid_from"] for row in rows} == {OPENING + 2 * HOUR}
    found = {row["exchange"]: row for row in rows}
    assert set(found) == {"binance", "bybit", "okx"}
    assert found["bybit"]["information_share_high"] < 0.1
    assert sum(row["component_share"] for row in rows) == pytest.approx(1)
    assert all(0 <= row["information_share_low"] <= row["information_share_high"] <= 1 + 1e-9 for row in rows)


@pytest.mark.parametrize("minutes_at_once", [20, 420])
def test_the_window_does_not_matter(
    computed: Store, tmp_path_factory: pytest.TempPathFactory, minutes_at_once: int
) -> None:
    with connect(tmp_path_factory.mktemp("otherwise"), scope="write") as store:
        load(store, market())
        compute(store, BARS, OPENING, OPENING + 3 * HOUR, HOUR)
        compute(store, LAYERS[len(BARS) :], OPENING, OPENING + 3 * HOUR, minutes_at_once * MINUTE)
        for layer in LAYERS:
            assert not differences(stored(computed, layer.table), stored(store, layer.table), 1e-9)


@pytest.mark.parametrize("number", [50, 121])
def test_no_row_knows_what_came_after_it(computed: Store, tmp_path: Path, number: int) -> None:
    moment = OPENING + number * MINUTE
    venues = market()
    for venue in venues:
        for records in (venue.quotes, venue.books, venue.trades):
            records[:] = [record for record in records if record[0] <= moment]
    with connect(tmp_path, scope="write") as store:
        load(store, venues)
        compute(store, LAYERS, OPENING, moment, HOUR)
        for layer in LAYERS[len(BARS) :]:
            known = "bar_ts <= " if "bar_ts" in layer.table.names else "valid_from < "
            now = stored(computed, layer.table, f"{known} TIMESTAMP '{moment}'")
            assert not differences(now, stored(store, layer.table), 1e-9)
