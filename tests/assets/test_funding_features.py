"""Funding features and the arbitrage tables, by hand on few settlements and against numpy on many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.arbitrage import basis, episodes
from orderflow_assets.features.arbitrage import funding as funding_arbitrage
from orderflow_assets.features.arbitrage.declarations import BASIS_ARBITRAGE, FUNDING_ARBITRAGE
from orderflow_assets.features.arbitrage.spreads import PREMIUM_SPREADS_1M
from orderflow_assets.features.funding import layer as funding
from orderflow_assets.features.funding.declarations import FUNDING
from orderflow_assets.features.funding.live import FUNDING_1M
from orderflow_assets.features.funding.peers import robust_z
from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.features.funding.terms import TERMS
from orderflow_assets.features.mark_prices.declarations import MARK_PRICES
from orderflow_assets.layer import Layer
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets.perpetual_tape import Series, named, put

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOON = datetime(2025, 6, 2, 16)  # noqa: DTZ001
"""The last settlement of all intervals."""
BINANCE, OKX, GATE, HYPERLIQUID, KUCOIN = (
    ("AAAUSDT", exchange, "futures") for exchange in ("binance", "okx", "gateio", "hyperliquid", "kucoin")
)


def settled(series: Series, hours: float, rates: list[float], last: datetime = NOON) -> list[dict[str, Any]]:
    """Settlements ``hours`` apart up to ``last``, oldest first."""
    return [
        named(series, settled_at=last - (len(rates) - 1 - place) * hours * HOUR, rate=rate, interval_hours=hours,
              source="venue")
        for place, rate in enumerate(rates)
    ]  # fmt: skip


def bar(series: Series, close: datetime, **columns: Any) -> dict[str, Any]:
    return named(series, open_time=close - MINUTE, bar_ts=close, **columns)


def live(series: Series, close: datetime, rate: float | None, hours: float, age_s: float = 0) -> dict[str, Any]:
    return bar(series, close, live_rate=rate, next_funding_time=NOON + hours * HOUR, interval_hours=hours,
               rated_at=close - HOUR, heard_at=close - timedelta(seconds=age_s))  # fmt: skip


def computed(
    folder: Path,
    settlements: list[dict[str, Any]],
    closes: dict[Series, datetime],
    estimates: list[dict[str, Any]] | None = None,
    pressures: list[dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The funding features of the bars that close then, by exchange (and symbol, where it is not AAA)."""
    with connect(folder, scope="write") as store:
        put(store, SETTLEMENTS, settlements)
        put(store, FUNDING_1M, estimates or [])
        put(store, MARK_PRICES.table, [{"n_obs": 1} | row for row in pressures or []])
        put(store, BARS_1M, [bar(series, close, quote_count=1, quoted_s=1.0) for series, close in closes.items()])
        funding.LAYER.compute(store, min(closes.values()) - MINUTE, max(closes.values()))
        rows = store.query("SELECT * FROM features.funding").to_pylist()
    assert len(rows) == len(closes)
    return {row["exchange"] if row["symbol"] == "AAAUSDT" else row["symbol"]: row for row in rows}


def test_the_last_settlement_is_carried_for_its_interval(tmp_path: Path) -> None:
    rates = [1e-4 + 1e-6 * k for k in range(3)]
    for folder, (minutes, rate) in enumerate({0: rates[1], 1: rates[2], 480: rates[2], 481: None}.items()):
        close = NOON + minutes * MINUTE
        row = computed(tmp_path / str(folder), settled(BINANCE, 8.0, rates), {BINANCE: close})["binance"]
        assert row["funding_rate"] == rate, minutes
        assert row["funding_f8"] == rate
        assert row["funding_age_s"] == (None if rate is None else 60 * minutes or 8 * 3600)
        assert row["funding_source"] == (None if rate is None else "venue")


def test_mixed_intervals_are_made_comparable(tmp_path: Path) -> None:
    rows = computed(
        tmp_path,
        settled(BINANCE, 8.0, [2e-4]) + settled(OKX, 4.0, [2e-4]) + settled(HYPERLIQUID, 1.0, [2e-5]),
        dict.fromkeys((BINANCE, OKX, HYPERLIQUID), NOON + 10 * MINUTE),
        [live(HYPERLIQUID, NOON + 10 * MINUTE, 1e-5, 1.0, age_s=30)],
    )
    assert {name: row["funding_f8"] for name, row in rows.items()} == pytest.approx(
        {"binance": 2e-4, "okx": 4e-4, "hyperliquid": 1.6e-4}
    )
    assert {name: row["funding_carry_yield"] for name, row in rows.items()} == pytest.approx(
        {"binance": 2e-4 * 1095, "okx": 2e-4 * 2190, "hyperliquid": 2e-5 * 8760}
    )
    for row in rows.values():  # the live 0.8 bp of Hyperliquid goes before its settled 1.6 bps
        assert row["funding_cross_exchange_spread"] == pytest.approx(4e-4 - 0.8e-4)
        assert (row["funding_high_exchange"], row["funding_low_exchange"]) == ("okx", "hyperliquid")
        assert row["funding_venues"] == 3
        assert row["funding_carry_zscore"] is None
    assert rows["hyperliquid"]["funding_live_age_s"] == 30
    assert rows["binance"]["funding_f8_live"] is None


def test_one_venue_has_no_spread(tmp_path: Path) -> None:
    rows = computed(
        tmp_path, settled(BINANCE, 8.0, [1e-4]) + settled(OKX, 4.0, [1e-4], NOON - 5 * HOUR), {BINANCE: NOON + MINUTE}
    )
    row = rows["binance"]
    assert row["funding_venues"] == 1  # the settlement of OKX is older than its interval
    assert [row[name] for name in ("funding_cross_exchange_spread", "funding_high_exchange")] == [None, None]


def test_a_venue_without_bars_is_a_venue_all_the_same(tmp_path: Path) -> None:
    rows = computed(tmp_path, settled(BINANCE, 8.0, [1e-4]) + settled(OKX, 8.0, [3e-4]), {BINANCE: NOON + MINUTE})
    assert rows["binance"]["funding_cross_exchange_spread"] == pytest.approx(2e-4)


@pytest.mark.parametrize("count", [21, 22, 60, 91, 130])
def test_baselines_are_the_ninety_settlements_before_the_last(count: int, tmp_path: Path) -> None:
    rates = np.random.default_rng(count).normal(1e-4, 5e-5, count).round(6)
    row = computed(tmp_path, settled(BINANCE, 8.0, rates.tolist()), {BINANCE: NOON + MINUTE})["binance"]
    past, now = rates[:-1][-90:], rates[-1]
    assert row["n_obs"] == len(past)
    if count < 22:
        assert [row[name] for name in ("funding_zscore", "funding_percentile")] == [None, None]
    else:
        assert row["funding_zscore"] == pytest.approx((now - past.mean()) / past.std(ddof=1))
        assert row["funding_percentile"] == pytest.approx(((past < now).sum() + (past == now).sum() / 2) / len(past))
    assert row["funding_volatility"] == pytest.approx(rates[-90:].std(ddof=1))


def test_twenty_settlements_have_no_volatility(tmp_path: Path) -> None:
    row = computed(tmp_path, settled(BINANCE, 8.0, [1e-4, 2e-4] * 10), {BINANCE: NOON + MINUTE})["binance"]
    assert row["funding_volatility"] is None


def test_a_rate_that_never_changed_has_no_z_and_no_spread(tmp_path: Path) -> None:
    row = computed(tmp_path, settled(BINANCE, 8.0, [1e-4] * 50), {BINANCE: NOON + MINUTE})["binance"]
    assert row["funding_zscore"] is None
    assert (row["funding_percentile"], row["funding_volatility"], row["funding_momentum"]) == (0.5, 0, 0)


@pytest.mark.parametrize(("hours", "per_day"), [(8.0, 3), (4.0, 6), (1.0, 24)])
def test_trend_by_hand(hours: float, per_day: int, tmp_path: Path) -> None:
    """f8 of 1, 2, 4, 4, 5, 7, 7, 8, 12 bps: a slope of 71/60 bps per settlement; m1 = 9, m2 = 16/3, m3 = 7/3."""
    f8 = [1e-4 * value for value in (1, 2, 4, 4, 5, 7, 7, 8, 12)]
    rates = [value * hours / 8 for value in f8]
    row = computed(tmp_path / "nine", settled(BINANCE, hours, rates), {BINANCE: NOON + MINUTE})["binance"]
    assert row["funding_momentum"] == pytest.approx(per_day * 71 / 60 * 1e-4)
    assert row["funding_acceleration"] == pytest.approx((9 - 2 * 16 / 3 + 7 / 3) * 1e-4)
    eight = computed(tmp_path / "eight", settled(BINANCE, hours, rates[1:]), {BINANCE: NOON + MINUTE})["binance"]
    assert [eight[name] for name in ("funding_momentum", "funding_acceleration")] == [None, None]


def test_a_trend_over_a_missed_settlement_goes_by_time(tmp_path: Path) -> None:
    steady = settled(BINANCE, 8.0, [1e-5 * k for k in range(11)])
    row = computed(tmp_path, steady[:5] + steady[6:], {BINANCE: NOON + MINUTE})["binance"]
    assert row["funding_momentum"] == pytest.approx(3e-5)


@pytest.mark.parametrize(
    ("excess", "label", "score"),
    [
        (0.41, "positive_extreme", 2),
        (0.39, "positive", 1),
        (0.11, "positive", 1),
        (0.09, "neutral", 0),
        (-0.09, "neutral", 0),
        (-0.11, "negative", -1),
        (-0.41, "negative_extreme", -2),
    ],
)
def test_regimes_go_by_the_excess_over_the_interest_leg(excess: float, label: str, score: int, tmp_path: Path) -> None:
    f8 = 1e-4 + excess / 1095
    rows = computed(
        tmp_path,
        settled(BINANCE, 8.0, [f8]) + settled(HYPERLIQUID, 1.0, [f8 / 8]),
        dict.fromkeys((BINANCE, HYPERLIQUID), NOON + MINUTE),
    )
    assert {(row["funding_regime"], row["funding_regime_score"]) for row in rows.values()} == {(label, score)}


def test_prediction_is_the_venues_else_that_of_the_premium(tmp_path: Path) -> None:
    close = NOON + 5 * MINUTE
    rows = computed(
        tmp_path,
        settled(BINANCE, 8.0, [1e-4]) + settled(OKX, 4.0, [1e-4]) + settled(GATE, 8.0, [1e-4]),
        dict.fromkeys((BINANCE, OKX, GATE), close),
        [live(BINANCE, close, 3e-4, 8.0), live(OKX, close, None, 4.0)],
        [bar(series, close, funding_pressure=2e-4) for series in (BINANCE, OKX)],
    )
    found = {name: (row["predicted_funding_rate"], row["predicted_source"], row["funding_skew_index"])
             for name, row in rows.items()}  # fmt: skip
    assert found == {
        "binance": (3e-4, "venue", pytest.approx(2e-4)),
        "okx": (2e-4, "premium", pytest.approx(4e-4 - 2e-4)),
        "gateio": (None, None, None),
    }


def test_carry_among_venues_else_among_symbols(tmp_path: Path) -> None:
    """AAA is known on four venues; the other symbols on Binance alone, where with AAA they are four."""
    others = [(symbol, "binance", "futures") for symbol in ("BBBUSDT", "CCCUSDT", "DDDUSDT")]
    series = [BINANCE, OKX, GATE, KUCOIN, *others]
    rates = dict(zip(series, [1e-4, 2e-4, 3e-4, 9e-4, 2e-4, 4e-4, 6e-4], strict=True))
    rows = computed(
        tmp_path,
        [row for one, rate in rates.items() for row in settled(one, 8.0, [rate])],
        dict.fromkeys(series, NOON + MINUTE),
    )
    z = {name: row["funding_carry_zscore"] for name, row in rows.items()}
    # among 1, 2, 3, 9: median 2.5, distances 1.5, .5, .5, 6.5, MAD 1; among 1, 2, 4, 6: median 3, MAD 1.5
    assert z == pytest.approx({
        "binance": -1.5 / 1.4826, "okx": -0.5 / 1.4826, "gateio": 0.5 / 1.4826, "kucoin": 6.5 / 1.4826,
        "BBBUSDT": -1 / 1.5 / 1.4826, "CCCUSDT": 1 / 1.5 / 1.4826, "DDDUSDT": 3 / 1.5 / 1.4826,
    })  # fmt: skip


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_robust_z_is_that_of_numpy(table: list[list[int | None]]) -> None:
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in table], dtype=float)
    found = robust_z(values)
    for column in range(3):
        known = values[np.isfinite(values[:, column]), column]
        if not len(known):
            assert np.isnan(found[:, column]).all()
            continue
        middle = np.median(known)
        mad = np.median(np.abs(known - middle))
        expected = (values[:, column] - middle) / (1.4826 * mad) if mad > 0 else np.full(len(values), np.nan)
        np.testing.assert_allclose(found[:, column], expected, equal_nan=True)


def test_every_feature_says_something(tmp_path: Path) -> None:
    close = NOON + 3 * MINUTE
    rates = [1e-4 + 1e-6 * (k % 7) for k in range(40)]
    series = (BINANCE, OKX, GATE, KUCOIN)
    rows = computed(
        tmp_path,
        [row for place, one in enumerate(series) for row in settled(one, 8.0, [rate + 1e-5 * place for rate in rates])],
        dict.fromkeys(series, close),
        [live(one, close, 1e-4, 8.0) for one in series[:2]],
    )
    assert [feature.name for feature in FUNDING.columns if rows["okx"][feature.name] is None] == []


def test_terms_are_declared_for_every_perpetual() -> None:
    assert {market.exchange for market in MARKETS.values() if market.market_type == "futures"} == set(TERMS)
    assert all(terms.source and terms.interest == 0.0001 for terms in TERMS.values())


# -- arbitrage ----------------------------------------------------------------------------------------------

CLOSE = NOON + 20 * MINUTE
ALL = ("AAAUSDT", "all", "futures")


def spine(spreads: dict[Series, float | None]) -> list[dict[str, Any]]:
    return [bar(series, CLOSE, quote_count=1, quoted_s=60.0, spread_bps=spread) for series, spread in spreads.items()]


def arbitrage(store: Store, layer: Layer) -> dict[str, Any]:
    layer.compute(store, CLOSE - MINUTE, CLOSE)
    rows = store.query(f"SELECT * FROM {layer.table.qualified}").to_pylist()
    assert [(row["symbol"], row["exchange"], row["market_type"]) for row in rows] == [ALL]
    return rows[0]


def pull(series: Series, premium: float, mean: float | None, kappa: float | None, phi: float | None) -> dict[str, Any]:
    return bar(series, CLOSE, n_obs=1, premium_bps=premium, basis_ou_mean_bps=mean, basis_mean_reversion_speed=kappa,
               basis_ou_phi=phi)  # fmt: skip


def crossing(spread: float) -> list[dict[str, Any]]:
    return [
        bar(series, CLOSE, n_obs=0, funding_cross_exchange_spread=spread, funding_low_exchange="hyperliquid",
            funding_high_exchange="binance", funding_venues=2.0)
        for series in (BINANCE, HYPERLIQUID)
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def test_funding_arbitrage_by_hand(store: Store) -> None:
    """Collect 12 bps per 8 h for a day: 36. Pay taker fees of 2 x 5 and 2 x 4.5, and 1.5 + 0.5 of spread.

    Binance, sold, stands at 10 bps and goes to 4 at 0.1 an hour; Hyperliquid, bought, is a random walk.
    """
    put(store, BARS_1M, spine({BINANCE: 1.5, HYPERLIQUID: 0.5}))
    put(store, FUNDING.table, crossing(12e-4))
    put(store, MARK_PRICES.table, [pull(BINANCE, 10.0, 4.0, 0.1, 0.99), pull(HYPERLIQUID, -3.0, None, None, 1.01)])
    row = arbitrage(store, funding_arbitrage.LAYER)
    change = (4 - 10) * (1 - math.exp(-2.4))
    assert row["arbitrage_spread"] == 12e-4
    assert (row["long_exchange"], row["short_exchange"], row["n_obs"]) == ("hyperliquid", "binance", 2)
    assert (row["funding_collected_bps"], row["fees_bps"], row["spreads_bps"]) == pytest.approx((36, 19, 2))
    assert row["basis_change_bps"] == pytest.approx(change)
    assert row["expected_profit_bps"] == pytest.approx(36 - 19 - 2 - change)
    assert row["expected_profit_per_year"] == pytest.approx((15 - change) / 1e4 * 365)
    assert row["arbitrage_opportunity"] is True


@pytest.mark.parametrize("unknown", ["quotes of a leg", "fit of a leg"])
def test_a_profit_with_an_unknown_cost_is_none(unknown: str, store: Store) -> None:
    put(store, BARS_1M, spine({BINANCE: 1.5, HYPERLIQUID: None if unknown == "quotes of a leg" else 1.0}))
    put(store, FUNDING.table, crossing(1e-2))
    legs = [pull(BINANCE, 10.0, 4.0, 0.1, 0.99), pull(HYPERLIQUID, -3.0, None, None, 1.01)]
    put(store, MARK_PRICES.table, legs[: 1 if unknown == "fit of a leg" else 2])
    row = arbitrage(store, funding_arbitrage.LAYER)
    assert row["arbitrage_spread"] == 1e-2
    assert [row[name] for name in ("expected_profit_bps", "arbitrage_opportunity")] == [None, None]


def test_a_differential_below_its_costs_is_no_opportunity(store: Store) -> None:
    put(store, BARS_1M, spine({BINANCE: 1.0, HYPERLIQUID: 1.0}))
    put(store, FUNDING.table, crossing(1e-4))
    put(store, MARK_PRICES.table, [pull(series, 0.0, None, None, 1.0) for series in (BINANCE, HYPERLIQUID)])
    row = arbitrage(store, funding_arbitrage.LAYER)
    assert row["expected_profit_bps"] == pytest.approx(3 - 19 - 2)
    assert row["arbitrage_opportunity"] is False


def apart(values: np.ndarray) -> list[dict[str, Any]]:
    """A minute each, the last of them the one that closes at CLOSE."""
    return [
        bar(ALL, CLOSE - (len(values) - 1 - place) * MINUTE, venues=2, high_exchange="okx", low_exchange="binance",
            basis_spread=None if np.isnan(value) else float(value))
        for place, value in enumerate(values)
    ]  # fmt: skip


def test_basis_arbitrage_by_hand_and_regression(store: Store) -> None:
    from scipy.stats import linregress

    rng = np.random.default_rng(4)
    values = np.zeros(12_000)
    for place in range(1, len(values)):
        values[place] = abs(0.95 * values[place - 1] + rng.normal(0, 5e-4))
    values[-1] = 1.5e-3
    put(store, PREMIUM_SPREADS_1M, apart(values))
    put(store, BARS_1M, spine({BINANCE: 1.5, OKX: 2.0}))
    row = arbitrage(store, basis.LAYER)
    day = values[: len(values) - CLOSE.minute % 15][-1440:]
    kappa = -60 * math.log(1 + linregress(day[:-1], np.diff(day)).slope)
    assert row["spread_reversion_speed"] == pytest.approx(kappa)
    assert (row["fees_bps"], row["spreads_bps"]) == (20, 3.5)
    assert row["expected_profit_bps"] == pytest.approx(15 * (1 - math.exp(-8 * kappa)) - 23.5)
    assert row["arbitrage_opportunity"] is False
    assert (row["long_basis_exchange"], row["short_basis_exchange"]) == ("okx", "binance")
    expected = _episodes(values, 30 * 1440, 480)
    assert row["convergence_episodes"] == len(expected) >= 20
    assert row["convergence_probability"] == pytest.approx(np.mean(expected))


def _episodes(values: np.ndarray, memory: int, holding: int) -> list[bool]:
    """Whether each episode at the level of the last value that is over by it halved in time."""
    last, level = len(values) - 1, values[-1]
    found = []
    for start in range(max(1, last - memory), last - holding + 1):
        after = values[start + 1 : start + 1 + holding]
        if values[start - 1] < level <= values[start] and np.isfinite(after).sum() >= holding / 2:
            found.append(bool(np.nanmin(after) <= values[start] / 2))
    return found


@given(st.lists(st.one_of(st.none(), st.integers(0, 8)), min_size=45, max_size=60), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_episodes_are_those_of_a_plain_loop(spreads: list[int | None], outputs: int) -> None:
    values = np.array([np.nan if value is None else value for value in spreads], dtype=float)
    memory, holding = 40, 7
    share, count = episodes.convergence(values, memory, holding, outputs, 2)
    for back in range(outputs):
        past = values[: len(values) - (outputs - 1 - back)]
        if np.isnan(past[-1]):
            assert np.isnan([share[back], count[back]]).all()
            continue
        expected = _episodes(past, memory, holding)
        assert count[back] == len(expected)
        assert share[back] == pytest.approx(np.mean(expected)) if len(expected) >= 2 else np.isnan(share[back])


def test_few_episodes_have_no_probability(store: Store) -> None:
    values = np.full(3_000, 1e-4)
    values[100:2_000:200] = 1e-3
    values[-1] = 1e-3
    put(store, PREMIUM_SPREADS_1M, apart(values))
    put(store, BARS_1M, spine({BINANCE: 1.5, OKX: 2.0}))
    row = arbitrage(store, basis.LAYER)
    assert (row["convergence_episodes"], row["convergence_probability"]) == (10, None)


@pytest.mark.parametrize("table", [FUNDING_ARBITRAGE.table, BASIS_ARBITRAGE.table], ids=lambda table: table.name)
def test_arbitrage_tables_have_their_names(table: Table) -> None:
    wanted = {
        "funding_arbitrage": {"arbitrage_spread", "arbitrage_opportunity", "long_exchange", "short_exchange",
                              "expected_profit_bps"},
        "basis_arbitrage": {"basis_spread", "arbitrage_opportunity", "long_basis_exchange", "short_basis_exchange",
                            "expected_profit_bps", "convergence_probability"},
    }  # fmt: skip
    assert wanted[table.name] <= set(table.names)
