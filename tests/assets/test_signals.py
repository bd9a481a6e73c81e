"""Signals one by one: the two ways to combine, and each declared formula worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

from orderflow_assets.analytics.regimes import REGIMES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.orderbook.declarations import ORDERBOOK
from orderflow_assets.features.trades.declarations import TRADES
from orderflow_assets.signals import moves
from orderflow_assets.signals.breakout import hours_to_move, like_before
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.execution import slippage_bps
from orderflow_assets.signals.fills import free_size, mean_cost
from orderflow_assets.signals.inputs import NOW, Inputs, View
from orderflow_assets.signals.institutional_phase import PERSISTS, lasting
from orderflow_assets.signals.layer import LAYER, SIGNALS_TABLE
from orderflow_assets.signals.mean_reversion import gate
from orderflow_assets.signals.outcomes import OUTCOMES
from orderflow_assets.signals.reading import SOURCES, read_inputs
from orderflow_assets.signals.roles import CORRELATED, ROLES
from orderflow_assets.signals.signal import Combine, Component, Evaluation, Event, Signal
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets.signal_inputs import SERIES, inputs_of

MINUTE = timedelta(minutes=1)
START = datetime(2025, 3, 10, 12)  # noqa: DTZ001


def halves(combine: Combine, *weights: float) -> Signal:
    parts = tuple(
        Component(f"c{k}", weight, "itself", lambda inputs, k=k: inputs.now[f"g.c{k}"])
        for k, weight in enumerate(weights)
    )
    reads = {f"g.c{k}": NOW for k in range(len(weights))}
    return Signal("s", "S", "test", "none", "[0, 1]", reads, parts, Event(60, "nothing"), combine)


@pytest.mark.parametrize(
    ("values", "renormalised", "fixed", "confidence"),
    [
        ([0.2, 0.4, 0.9], 0.40, 0.40, 1.0),
        ([None, 0.4, 0.9], 0.60, 0.30, 0.5),
        ([None, 0.4, None], None, None, 0.3),
        ([0.0, None, None], 0.0, 0.0, 0.5),
        ([None, None, None], None, None, 0.0),
    ],
)
def test_what_is_missing_is_shared_out_or_adds_nothing(
    values: list[float | None], renormalised: float | None, fixed: float | None, confidence: float
) -> None:
    for combine, value in (("renormalised", renormalised), ("fixed", fixed)):
        signal = halves(combine, 0.5, 0.3, 0.2)  # type: ignore[arg-type]
        found = signal.evaluate(inputs_of(signal, {f"g.c{k}": x for k, x in enumerate(values)}))
        assert found.confidence[0, 0] == pytest.approx(confidence)
        assert found.value[0, 0] == pytest.approx(np.nan if value is None else value, nan_ok=True)


def said(name: str, now: Mapping[str, float], **past: Mapping[str, np.ndarray]) -> Evaluation:
    with np.errstate(invalid="ignore", divide="ignore"):
        return SIGNALS[name].evaluate(inputs_of(SIGNALS[name], now, **past))


def told(found: Evaluation) -> dict[str, Any]:
    """Value, confidence, vote and fields of the one bar; None where unknown."""
    cells = {"value": found.value, "confidence": found.confidence, "vote": found.vote, **found.fields}
    plain = {name: cell[0, 0] for name, cell in cells.items()}
    return {name: None if isinstance(cell, float) and np.isnan(cell) else cell for name, cell in plain.items()}


def test_fifteen_signals_with_weights_roles_and_outcomes() -> None:
    assert len(SIGNALS) == 15
    assert set(SIGNALS) == set(ROLES) == set(OUTCOMES)
    assert {name for group in CORRELATED.values() for name in group} <= set(SIGNALS)
    seen: set[str] = set()
    for item in SIGNALS.values():
        total = sum(component.weight for component in item.components)
        assert total == pytest.approx(0 if item.combine == "own" else 1), item.name
        assert set(item.after) <= seen, item.name
        seen.add(item.name)
        fields = {declared.name for declared in item.fields}
        assert not item.label or item.label in fields
        described = json.loads(json.dumps(item.describe()))
        assert described["label"]["event"]


@pytest.mark.parametrize("name", SIGNALS)
def test_nothing_known_says_nothing(name: str) -> None:
    inputs = inputs_of(SIGNALS[name], {})
    blank = Evaluation(*(np.full((1, 1), np.nan) for _ in range(3)), np.full((1, 1), None, dtype=object), {})
    inputs.evaluated.update(dict.fromkeys(SIGNALS[name].after, blank))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = SIGNALS[name].evaluate(inputs)
    plain = told(found)
    assert plain.pop("confidence") == 0
    assert set(plain.values()) == {None}, plain
    assert set(found.fields) == {declared.name for declared in SIGNALS[name].fields}


@pytest.mark.parametrize(
    ("divergence", "side"), [(1.5, "sell"), (-1.5, "buy"), (0.5, "none"), (1.0, "none"), (np.nan, None)]
)
def test_the_side_is_who_absorbed(divergence: float, side: str | None) -> None:
    assert said("smart_money_index", {"trades.cvd_price_divergence": divergence}).side[0, 0] == side


def test_squeeze_goes_against_the_crowded_side() -> None:
    now = {"funding.funding_zscore": 2.4, "funding.funding_regime_score": 2.0, "oi.leverage_zscore": -1.0,
           "oi.position_crowding_score": 0.6, "ticker.volatility_compression_idx": 0.5}  # fmt: skip
    found = told(said("squeeze_probability", now))
    assert found["value"] == pytest.approx(0.3 * 0.8 + 0.25 * 0 + 0.25 * 0.6 + 0.2 * 0.5)
    assert (found["squeeze_side"], found["vote"]) == ("down", 0)
    strong = now | {"funding.funding_zscore": 4.0, "oi.leverage_zscore": 3.0, "funding.funding_regime_score": 0.0,
                    "oi.long_short_ratio": 0.5}  # fmt: skip
    found = told(said("squeeze_probability", strong))
    assert (found["squeeze_side"], found["vote"]) == ("up", 1)


def test_squeeze_needs_funding_and_one_other() -> None:
    others = {"oi.leverage_zscore": 2.0, "oi.position_crowding_score": 0.6, "ticker.volatility_compression_idx": 0.5}
    assert told(said("squeeze_probability", others))["value"] is None
    assert told(said("squeeze_probability", {"funding.funding_zscore": 3.0}))["value"] is None


def run_of_bars(pierce: float, back: float) -> dict[str, np.ndarray]:
    """An hour between 99 and 101 with bars of one, then one bar ``pierce`` below its low, closing at ``back``."""
    high, low, close = np.full(90, 100.5), np.full(90, 99.5), np.full(90, 100.0)
    low[20:40], high[40:60] = 99.0, 101.0
    high, low, close = (np.append(part, value) for part, value in ((high, 100.2), (low, 99.0 - pierce), (close, back)))
    return {"bars.high": high, "bars.low": low, "bars.close": close}


@pytest.mark.parametrize(
    ("pierce", "back", "pattern", "side"),
    [(0.3, 99.8, 1, "longs"), (0.8, 99.8, 0, "none"), (0.3, 98.9, 0, "none"), (-0.1, 99.8, 0, "none")],
)
def test_a_stop_hunt_runs_through_the_low_and_comes_back(pierce: float, back: float, pattern: float, side: str) -> None:
    day = run_of_bars(pierce, back)
    day["liquidations.total_liquidation_value"] = np.append(np.arange(100.0), [0, 0, 500.0])
    now = {"trades.sweep_detected": 1.0, "orderbook.pull_wall_detected": 1.0, "orderbook.push_wall_detected": 0.0,
           "orderbook.add_cancel_ratio": 0.4, "prices.price_efficiency": 0.9}  # fmt: skip
    found = told(said("stop_hunt_probability", now, day=day))
    rest = 0.15 * 1.0 + 0.15 * 1 + 0.15 * 0.6 + 0.1 * 0.2 + 0.05 * 0.1
    assert found["value"] == pytest.approx(0.4 * pattern + rest)
    assert found["hunted_side"] == side


def test_no_liquidation_is_no_evidence_of_a_stop_hunt() -> None:
    day = run_of_bars(0.3, 99.8) | {"liquidations.total_liquidation_value": np.zeros(200)}
    assert said("stop_hunt_probability", {}, day=day).components["forced_flow"][0, 0] == 0


def trending(total: float, bars: int) -> np.ndarray:
    """Mids that alternate by 0.1 % for a day and then rise by ``total`` over the last ``bars``."""
    logged = np.where(np.arange(1501) % 2, 0.001, 0.0)
    logged[-bars:] += np.linspace(total / bars, total, bars)
    return 100 * np.exp(logged)


def test_momentum_quality_is_agreement_with_the_move() -> None:
    now = {"trades.cvd_slope": -0.4, "oi.position_intent_score": -0.5, "orderbook.depth_imbalance_5": 0.2,
           "prices.variance_ratio": 1.4}  # fmt: skip
    falling = told(said("momentum_quality", now, day={"bars.mid_close": trending(-0.02, 60)}))
    assert falling["value"] == pytest.approx(0.35 * 0.7 + 0.25 * 0.75 + 0.2 * 0.4 + 0.2 * 0.7)
    assert (falling["direction"], falling["vote"]) == (-1, -1)
    still = told(said("momentum_quality", now, day={"bars.mid_close": trending(0.001, 60)}))
    assert still["value"] is None


def test_composite_risk_reads_the_signals_before_it() -> None:
    signal = SIGNALS["composite_risk"]
    inputs = inputs_of(
        signal,
        {"oi.liquidation_cascade_risk": 0.8, "ticker.realized_volatility": 0.5},
        month={"ticker.realized_volatility": np.linspace(0, 1, 720)},
    )
    for name, value in (("squeeze_probability", 0.6), ("stop_hunt_probability", np.nan)):
        one = np.full((1, 1), value)
        inputs.evaluated[name] = Evaluation(one, one, one, np.full((1, 1), None, dtype=object), {})
    found = told(signal.evaluate(inputs))
    assert found["confidence"] == pytest.approx(0.85)
    assert found["value"] == pytest.approx((0.35 * 0.8 + 0.3 * 0.5 + 0.2 * 0.6) / 0.85)


def test_market_makers_are_seen_by_walls_spread_churn_and_skew() -> None:
    now = {"orderbook.pull_wall_detected": 1.0, "orderbook.push_wall_detected": 0.0,
           "orderbook.bid_wall_detected": 0.0, "orderbook.ask_wall_detected": 0.0, "prices.spread_zscore": 1.0,
           "prices.spread_compression_velocity": -2.0, "orderbook.add_cancel_ratio": 0.6,
           "orderbook.depth_imbalance_5": 0.3, "orderbook.depth_imbalance_10": 0.1}  # fmt: skip
    speeds = {"prices.spread_compression_velocity": np.append(np.linspace(-1, 1, 100), -2.0)}
    found = told(said("market_maker_activity", now, day=speeds))
    assert found["value"] == pytest.approx(0.3 * 0.4 / 0.7 + 0.25 * (0.3 + 0.5) + 0.2 * 0.4)
    assert (found["activity_type"], found["inventory_bias"]) == ("passive", "long")


def test_longs_liquidated_is_bearish() -> None:
    now = {"liquidations.cascade_probability": 0.9, "liquidations.liquidation_cluster_detected": 1.0,
           "liquidations.cascade_acceleration": 50.0, "liquidations.liquidation_imbalance": 0.8,
           "oi.liquidation_cascade_risk": 0.7, "oi.leverage_zscore": 3.0, "orderbook.support_strength": 0.3,
           "orderbook.resistance_strength": 1.2, "funding.funding_zscore": -3.0, "oi.long_trigger_pct": 1.5,
           "oi.short_trigger_pct": 0.5}  # fmt: skip
    past = {"liquidations.cascade_acceleration": np.append(np.zeros(100), 50.0)}
    found = told(said("liquidation_cascade_risk", now, day=past))
    assert found["value"] == pytest.approx(0.35 * (0.54 + 0.4) + 0.3 * 0.85 + 0.2 * 0.7 + 0.15)
    assert (found["severity"], found["direction"], found["price_direction"]) == ("CRITICAL", "long", "down")
    assert (found["vote"], found["estimated_trigger_move_pct"]) == (-1, 1.5)


def test_a_phase_must_last() -> None:
    day = np.zeros(96)
    day[40 : 40 + PERSISTS] = 1
    assert lasting(day) == 0  # the quiet marks after it last longer
    day[-PERSISTS:] = 1
    assert lasting(day) == 1
    day[-1] = -1
    assert lasting(day) == 0
    assert lasting(np.full(96, np.nan)) == 0


def test_institutional_phase_weighs_signed_evidence() -> None:
    now = {"trades.signed_whale_ratio": 0.3, "trades.aggressive_delta": -5.0, "orderbook.absorption_ratio": 0.8,
           "oi.position_intent_score": 0.5, "oi.oi_delta_pct": 2.5, "prices.price_vs_vwap": -10.0,
           "prices.realized_variance_1h": (20e-4) ** 2}  # fmt: skip
    week = {name: np.full(40, value) for name, value in now.items()}
    found = told(said("institutional_phase", now, week=week))
    evidence = 0.35 * 0.6 + 0.25 * 0.8 + 0.25 * 0.25 + 0.15 * 0.25
    assert found["value"] == found["intensity"] == pytest.approx(evidence)
    assert (found["phase"], found["price_target_direction"], found["vote"]) == ("ACCUMULATION", "higher", 1)


def test_breakout_expects_what_followed_like_values() -> None:
    rng = np.random.default_rng(4)
    past, outcome = rng.random((1, 700)), rng.random((1, 700))
    ordered = outcome[0, np.argsort(past[0])]
    value = np.array([[np.quantile(past, 0.35)]])
    assert like_before(value, past, outcome)[0, 0] == pytest.approx(np.median(ordered[210:280]))
    assert np.isnan(like_before(value, past[:, :150], outcome[:, :150])[0, 0])


def test_hours_to_a_move_are_counted_from_each_hour() -> None:
    steps = np.where(np.arange(80) % 2, 0.01, -0.01)
    logged = np.concatenate([[0], np.cumsum(steps)])
    logged[60:] += 0.05
    hours = hours_to_move(logged[None])[0]
    assert np.isinf(hours[30])  # nothing within 24 h is two deviations away
    assert hours[50] == 10
    assert np.isnan(hours[70])  # its 24 h are not over


def test_breakout_value_and_lean() -> None:
    now = {"ticker.volatility_compression_idx": 0.8, "ticker.range_vs_atr": 0.4, "orderbook.support_strength": 0.5,
           "orderbook.resistance_strength": 1.0, "funding.funding_zscore": -1.5,
           "trades.trade_clustering_index": 0.5, "trades.cvd_slope": 0.9}  # fmt: skip
    found = told(said("volatility_breakout", now))
    assert found["value"] == pytest.approx(0.4 * (0.56 + 0.18) + 0.25 * 0.5 + 0.15 * 0.5 + 0.2 * 0.5)
    assert found["lean"] == pytest.approx(0.6 * 0.9 - 0.2 * np.log(2) + 0.2 * 0.5)
    assert (found["direction"], found["vote"]) == ("UP", 1)


def test_reversion_is_traded_only_where_the_market_reverts() -> None:
    now = {"prices.mid_zscore": 2.4, "funding.funding_percentile": 0.9, "mark_prices.basis_zscore": 3.0,
           "trades.cvd_price_divergence": -1.5}  # fmt: skip
    stretch = 0.4 * 0.8 + 0.2 * 0.8 + 0.2 + 0.2 * 0.5
    for hurst, share in ((0.4, 1.0), (0.5, 0.5), (0.6, 0.0)):
        found = told(said("mean_reversion_signal", now | {"prices.hurst_exponent": hurst}))
        assert found["value"] == pytest.approx(stretch * share)
        assert found["signal"] == ("OVERBOUGHT" if stretch * share > 0.3 else "NEUTRAL")
    assert told(said("mean_reversion_signal", now))["value"] is None
    assert np.isnan(gate(np.array([np.nan]))[0])


def test_reversion_speed_of_an_autoregression() -> None:
    rng = np.random.default_rng(2)
    level = np.zeros(4001)
    for k in range(4000):
        level[k + 1] = 0.9 * level[k] + rng.normal()
    fitted = np.polyfit(level[:-1], np.diff(level), 1)[0]
    assert moves.reversion(level[None], 4001, 1)[0, 0] == pytest.approx(-np.log(1 + fitted))
    walk = np.cumsum(rng.normal(size=241))
    assert moves.reversion(walk[None], 240, 1)[0, 0] == 0
    assert np.isnan(moves.reversion(np.ones((1, 241)), 240, 1)[0, 0])


def test_exhaustion_of_an_uptrend_is_bearish() -> None:
    now = {"liquidations.exhaustion_signal": 1.0, "liquidations.liquidation_imbalance": -0.9,
           "funding.funding_zscore": 2.5, "funding.funding_momentum": -1e-5, "oi.oi_momentum": -0.02}  # fmt: skip
    slope = np.full(61, 0.8)
    slope[-1] = 0.2
    day = {"bars.mid_close": trending(0.05, 240), "trades.cvd_slope": slope}
    week = {"oi.oi_momentum": np.tile([0.01, -0.01], 300)}
    found = told(said("momentum_exhaustion", now | {"trades.cvd_slope": 0.2}, day=day, week=week))
    unwind = 0.02 / (3 * np.std(week["oi.oi_momentum"], ddof=1))
    assert found["value"] == pytest.approx(0.35 * 0.6 + 0.25 * unwind + 0.25 + 0.15)
    assert (found["trend_direction"], found["exhaustion"], found["vote"]) == ("bullish", 1, -1)


def test_smart_money_flow_has_a_sign() -> None:
    now = {"trades.signed_whale_ratio": -0.3, "trades.aggressive_ratio": 0.2, "trades.cvd_slope": -0.5,
           "orderbook.depth_imbalance_5": 0.1, "orderbook.depth_imbalance_10": 0.3,
           "trades.whale_volume_ratio": 0.4}  # fmt: skip
    found = told(said("smart_money_flow", now, day={"bars.quote_volume": np.full(15, 1000.0)}))
    value = (0.4 * -0.6 + 0.3 * (-0.3 - 0.25) + 0.15 * 0.2) / 0.85
    assert found["value"] == pytest.approx(value)
    assert (found["direction"], found["strength"], found["vote"]) == ("SELLING", pytest.approx(-value), -1)
    assert found["volume_estimate_quote"] == pytest.approx(6000)
    balanced = {"trades.aggressive_ratio": 0.5, "trades.cvd_slope": 0.0, "trades.signed_whale_ratio": 0.0}
    assert told(said("smart_money_flow", balanced))["direction"] == "NEUTRAL"


def test_orders_pay_level_after_level() -> None:
    distance, size = np.array([[1.0, 2.0, 4.0]]), np.array([[100.0, 100.0, 100.0]])
    assert mean_cost(distance, size, 150.0)[0] == pytest.approx((100 + 50 * 2) / 150)
    assert mean_cost(distance, size, 1000.0)[0] == pytest.approx(7 / 3)
    assert free_size(distance, size, np.array([1.5]))[0] == pytest.approx(200)
    assert free_size(distance, size, np.array([0.5]))[0] == 0
    assert free_size(distance, size, np.array([9.0]))[0] == 300


@given(
    some.lists(some.tuples(some.floats(0.1, 50), some.floats(1, 1e6)), min_size=1, max_size=20),
    some.floats(0.05, 60),
)
def test_the_free_size_is_the_largest_that_costs_no_more(levels: list[tuple[float, float]], limit: float) -> None:
    distance, size = (np.array([column]) for column in zip(*sorted(levels), strict=True))
    free = free_size(distance, size, np.array([limit]))[0]
    if free > 0:
        assert mean_cost(distance, size, free)[0] <= limit * (1 + 1e-9)
    if free < size.sum() * (1 - 1e-9):
        assert mean_cost(distance, size, free * 1.01 + 1e-6)[0] > limit * (1 - 1e-9)


def test_what_exceeds_the_book_pays_impact() -> None:
    signal = SIGNALS["execution_quality"]
    book = {f"fills.{side}_{what}": value for side in ("buy", "sell")
            for what, value in (("visible", 60_000.0), ("bps", 2.0), ("deepest_bps", 5.0))}  # fmt: skip
    known = inputs_of(signal, book | {"trades.market_impact_per_volume": 30.0})
    assert slippage_bps(known.now)[0, 0] == pytest.approx(0.6 * 2 + 0.4 * (5 + 30 * 0.04))
    for impact in (np.nan, -3.0):
        unknown = inputs_of(signal, book | {"trades.market_impact_per_volume": impact})
        assert np.isnan(slippage_bps(unknown.now)[0, 0])


def put(store: Store, table: Table, opening: list[datetime], **columns: list[float | None]) -> None:
    count = len(opening)
    data: dict[str, object] = {
        "symbol": [SERIES[0]] * count,
        "exchange": [SERIES[1]] * count,
        "market_type": [SERIES[2]] * count,
        "open_time": opening,
        "bar_ts": [time + MINUTE for time in opening],
        "n_obs": [1] * count,
        "quote_count": [1] * count,
        "quoted_s": [60.0] * count,
        **columns,
    }
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in table.arrow_schema]
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


def test_smart_money_ranks_against_its_own_past(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    count = 8 * 1440
    opening = [START + (k - count + 30) * MINUTE for k in range(count)]
    whales, toxicity, divergence, absorption = (np.round(rng.random(count) * scale, 2) for scale in (1, 1, 6, 1))
    missing = rng.random(count) < 0.5
    with connect(tmp_path, scope="write") as store:
        put(store, BARS_1M, opening)
        put(
            store,
            TRADES.table,
            opening,
            whale_volume_ratio=list(whales),
            flow_toxicity=list(toxicity),
            cvd_price_divergence=list(divergence - 3),
        )
        put(
            store,
            ORDERBOOK.table,
            opening,
            absorption_ratio=[None if gone else float(x) for x, gone in zip(absorption, missing, strict=True)],
        )
        assert LAYER.compute(store, START, START + 30 * MINUTE) == 30 * len(SIGNALS)
        rows = store.query(
            f"SELECT * FROM {SIGNALS_TABLE.qualified} WHERE signal = 'smart_money_index' ORDER BY bar_ts"
        ).to_pylist()
    for row, at in zip(rows, range(count - 30, count), strict=True):
        closing = opening[at] + MINUTE
        marks = [k for k in range(at - 10080, at) if (opening[k] + MINUTE).minute % 15 == 0]
        assert len(marks) == 672
        assert opening[marks[-1]] + MINUTE < closing
        rank = [
            stats.percentileofscore(past, now, kind="mean") / 100
            for past, now in ((whales[at - 1440 : at], whales[at]), (toxicity[marks], toxicity[at]))
        ]
        parts = {
            "absorption": None if missing[at] else absorption[at],
            "whales": rank[0],
            "toxicity": rank[1],
            "divergence": min(1, abs(divergence[at] - 3) / 3),
        }
        weights = {"absorption": 0.25, "whales": 0.3, "toxicity": 0.2, "divergence": 0.25}
        known = {name: value for name, value in parts.items() if value is not None}
        weight = sum(weights[name] for name in known)
        assert json.loads(row["components"]) == pytest.approx(parts)
        assert row["confidence"] == pytest.approx(weight)
        assert row["value"] == pytest.approx(sum(weights[name] * value for name, value in known.items()) / weight)
        assert json.loads(row["fields"])["side"] == row["side"]


def of_symbol(carry: Mapping[tuple[str, str], float], outputs: int = 1) -> Inputs:
    """Markets of one symbol, all alike but for their funding a year; spot has none."""
    signal = SIGNALS["arbitrage_opportunity"]
    series = tuple(("AAAUSDT", *market) for market in carry)
    rates = np.array(list(carry.values()))[:, None]
    alike = {"funding.funding_interval_hours": 8.0, "mark_prices.basis_zscore": 1.0,
             "trades.effective_spread_bps": 2.0, "prices.spread_bps": 9.0, "orderbook.bid_depth_25bps": 5e4,
             "orderbook.ask_depth_25bps": 8e4}  # fmt: skip
    now = {name: np.full((len(series), outputs), value) for name, value in alike.items()}
    now["funding.funding_carry_yield"] = rates
    known = rates[np.isfinite(rates)]
    now["funding.funding_cross_exchange_spread"] = np.full(rates.shape, (known.max() - known.min()) / 1095)
    day = View({"funding.funding_carry_yield": np.repeat(rates, 1501, axis=1)}, (len(series), 1501))
    assert set(now) == set(signal.inputs)
    nothing = View({}, (len(series), 0))
    return Inputs(series, outputs, View(now, rates.shape), day, nothing, nothing, {})


def test_a_carry_is_net_of_both_round_trips() -> None:
    inputs = of_symbol({("binance", "futures"): 0.9, ("binance", "spot"): np.nan, ("okx", "futures"): 0.2})
    with np.errstate(invalid="ignore"):
        found = SIGNALS["arbitrage_opportunity"].evaluate(inputs)
    against_spot = 0.9 - (2 * 5 + 2 + 2 * 10 + 2) / 1e4 * 365 / 7
    across = 0.7 - (2 * 5 + 2 + 2 * 5 + 2) / 1e4 * 365 / 7
    assert across < against_spot
    assert found.fields["expected_return_pct_annual"][0, 0] == pytest.approx(100 * against_spot)
    assert found.fields["expected_return_pct_annual"][2, 0] == pytest.approx(100 * across)
    assert [found.fields["type"][row, 0] for row in (0, 2)] == ["funding", "cross_venue"]
    assert found.fields["opportunity"][0, 0] == 1
    assert found.value[0, 0] == pytest.approx(0.5)  # the whole edge, on half the full size
    assert found.fields["risk_level"][0, 0] == "LOW"


def test_negative_funding_pays_for_borrowing_and_a_fresh_sign_is_no_opportunity() -> None:
    inputs = of_symbol({("binance", "futures"): -0.5, ("binance", "spot"): np.nan})
    cost = (2 * 5 + 2 + 2 * 10 + 2) / 1e4 * 365 / 7 + 0.10
    with np.errstate(invalid="ignore"):
        found = SIGNALS["arbitrage_opportunity"].evaluate(inputs)
        assert found.fields["expected_return_pct_annual"][0, 0] == pytest.approx(100 * (0.5 - cost))
        assert found.fields["opportunity"][0, 0] == 1
        inputs.day["funding.funding_carry_yield"][0, : 1500 - 600] = 0.5  # two settlements ago longs paid
        assert SIGNALS["arbitrage_opportunity"].evaluate(inputs).fields["opportunity"][0, 0] == 0


HOURLY = {"state": 1.0, "confidence": 0.8, "transition_probability": 0.6, "expected_remaining_h": 12.5}


@pytest.mark.parametrize(
    ("changed", "vote", "later", "hours"),
    [
        ({"predicted_state": 2.0}, 1.0, "BULL", 12.5),
        ({"predicted_state": 0.0}, -1.0, "BEAR", 12.5),
        ({"predicted_state": 1.0}, None, "RANGING", 12.5),
        ({"predicted_state": 2.0, "transition_probability": 0.5}, None, "BULL", 12.5),
        ({"predicted_state": 2.0, "expected_remaining_h": 9000.0}, 1.0, "BULL", None),
        ({"predicted_state": 2.0, "expected_remaining_h": None}, 1.0, "BULL", None),
    ],
)
def test_a_regime_votes_for_where_it_goes(
    changed: dict[str, float | None], vote: float | None, later: str, hours: float | None
) -> None:
    signal = SIGNALS["regime_transition"]
    row = HOURLY | changed
    found = told(signal.evaluate(inputs_of(signal, {f"regimes.{name}": value for name, value in row.items()})))
    assert (found["current_regime"], found["predicted_regime"]) == ("RANGING", later)
    assert found["value"] == found["transition_probability"] == row["transition_probability"]
    assert found["confidence"] == 0.8
    assert found["vote"] == vote
    assert found["timeframe_hours"] == hours


def test_without_an_hourly_model_a_regime_is_unknown() -> None:
    signal = SIGNALS["regime_transition"]
    found = told(signal.evaluate(inputs_of(signal, {})))
    assert found["value"] is found["current_regime"] is found["predicted_regime"] is found["timeframe_hours"] is None
    assert found["confidence"] == 0


def test_the_regime_of_the_last_full_hour_stands_until_the_next(tmp_path: Path) -> None:
    """Hourly rows close at 11:00 and 12:00, one of five minutes at 12:20: what 11:58 to 12:30 see of them."""
    noon = START
    rows = [
        dict(zip(("symbol", "exchange", "market_type"), SERIES, strict=True))
        | {"step": step, "open_time": closing - length, "bar_ts": closing, "last_minute": closing - MINUTE}
        | {"state": state, "predicted_state": "RANGING", "transition_probability": chance, "confidence": 0.9}
        for step, length, closing, state, chance in (
            ("1h", 60 * MINUTE, noon - 60 * MINUTE, "BEAR", 0.3),
            ("1h", 60 * MINUTE, noon, "BULL", 0.4),
            ("5m", 5 * MINUTE, noon + 20 * MINUTE, "RANGING", 0.9),
        )
    ]
    with connect(tmp_path, scope="write") as store:
        store.ensure(*SOURCES.values())
        store.write(REGIMES, pa.Table.from_pylist(rows, REGIMES.arrow_schema))
        inputs = read_inputs(store, SIGNALS.values(), noon - 3 * MINUTE, noon + 63 * MINUTE).inputs
    assert inputs.series == (SERIES,)
    chances = inputs.now["regimes.transition_probability"][0]
    np.testing.assert_array_equal(chances, [0.3] * 2 + [0.4] * 60 + [np.nan] * 4)
    np.testing.assert_array_equal(inputs.now["regimes.state"][0], [0.0] * 2 + [2.0] * 60 + [np.nan] * 4)
