"""Order flow, leverage and alpha on planted features: sums, means and ranks by hand and by a slow reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets import quality
from orderflow_assets.analytics import alpha, leverage, order_flow
from orderflow_assets.analytics.alpha import bias
from orderflow_assets.analytics.alpha_declarations import BIAS, PRESSURE_WEIGHTS, SQUEEZE_WEIGHTS
from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_assets.analytics.inputs import QUARTERS
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.catalog import GROUPS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets.computing import differences, stored
from tests.assets.venues_tape import compute

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2025, 4, 9, 23)  # noqa: DTZ001
END = START + 2 * HOUR
FIRST = START - 30 * HOUR
VENUES = (("binance", "futures"), ("bybit", "futures"), ("binance", "spot"))
LAYERS = (order_flow.LAYER, leverage.LAYER, alpha.LAYER)
GROUPED = ("orderbook", "trades", "prices", "oi", "funding", "mark_prices", "liquidations")
DOWN = ("bybit", START + 30 * MINUTE)
"""From then on this venue has bars without values."""


def planted() -> dict[str, list[dict[str, Any]]]:
    """Bars and features of one symbol on three venues: thirty hours of past at every minute, then two hours."""
    rng = np.random.default_rng(11)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("bars", *GROUPED)}
    for number, (exchange, market_type) in enumerate(VENUES):
        for minute in range(int((END - FIRST) / MINUTE)):
            opening = FIRST + minute * MINUTE
            row = {"symbol": "BTCUSDT", "exchange": exchange, "market_type": market_type, "n_obs": 1}
            row |= {"open_time": opening, "bar_ts": opening + MINUTE}
            down = exchange == DOWN[0] and opening >= DOWN[1]
            value, bought = rng.lognormal(10), rng.random()
            bar = {"quote_volume": value, "taker_buy_quote": value * bought, "quote_count": 1, "quoted_s": 60.0}
            rows["bars"].append(row | ({} if down else bar) | {"quote_count": 1, "quoted_s": 60.0})
            if down:
                continue
            depth = rng.lognormal(12, 0.3, 6) * (number + 1)
            rows["orderbook"].append(
                row
                | dict(zip(order_flow._READ["orderbook"], [*map(float, depth), rng.random()], strict=True))
                | {"absorption_ratio": rng.random() if minute % 3 else None}
                | {"absorbing_side": float(rng.choice([-1.0, 1.0])) if minute % 3 else None}
            )
            rows["trades"].append(
                row
                | {"whale_volume_ratio": rng.random(), "market_impact_per_volume": rng.normal() + 3}
                | {"amihud_illiq": rng.random(), "effective_spread_bps": rng.random()}
            )
            rows["prices"].append(row | {"realized_variance_1h": rng.random() / 1e4})
            if market_type == "spot":
                continue
            rows["oi"].append(
                row
                | {"oi_value": 1e8 * (number + 1), "oi_delta_pct": rng.normal(), "position_intent_score": rng.random()}
                | {"leverage_index": 0.5 + rng.random(), "leverage_zscore": rng.normal()}
                | {"long_liquidation_notional": rng.random(), "short_liquidation_notional": rng.random()}
                | {"liquidation_cascade_risk": rng.random()}
            )
            rows["funding"].append(row | {"funding_carry_yield": rng.normal() / 10, "funding_zscore": rng.normal()})
            premium = 0.2 if opening >= START + HOUR else -0.2
            rows["mark_prices"].append(
                row | {"mark_spot_basis_pct": premium + number / 100, "basis_zscore": rng.normal()}
            )
            closed = rng.random(2) * 1e4 if minute % 10 == 0 else np.zeros(2)
            rows["liquidations"].append(
                row | {"long_liquidation_value": float(closed[0]), "short_liquidation_value": float(closed[1])}
            )
    return rows


def write(store: Store, rows: dict[str, list[dict[str, Any]]], until: datetime = END) -> None:
    for name, records in rows.items():
        table: Table = BARS_1M if name == "bars" else GROUPS[name].table
        kept = [row for row in records if row["bar_ts"] <= until]
        columns = {
            column.name: pa.array([row.get(column.name) for row in kept], column.arrow.type) for column in table.columns
        }
        store.ensure(table)
        store.write(table, pa.table(columns, schema=table.arrow_schema))


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    return planted()


@pytest.fixture(scope="module")
def computed(rows: dict[str, list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The planted rows with the analytics of a day before, coarsely, and of the two hours."""
    with connect(tmp_path_factory.mktemp("analytics"), scope="write") as store:
        write(store, rows)
        write_cross_exchange(store)
        compute(store, LAYERS, FIRST.replace(minute=0) + HOUR, END, 8 * HOUR)
        yield store


def write_cross_exchange(store: Store) -> None:
    """Common flow that swings, and nothing else about prices across venues."""
    table = ANALYTICS["cross_exchange"].table
    given = {"n_obs": "3", "flow_synchronization": "sin(epoch(open_time) / 700)"}
    names = ", ".join(f"{given.get(name, 'NULL')} AS {name}" for name in table.names[3:])
    store.ensure(table)
    store.insert_select(table, f"SELECT DISTINCT symbol, open_time, bar_ts, {names} FROM bars.bars_1m")


def at(records: list[dict[str, Any]], moment: datetime) -> list[dict[str, Any]]:
    return [row for row in records if row["bar_ts"] == moment]


def one(store: Store, name: str, moment: datetime) -> dict[str, Any]:
    (row,) = store.query(f"SELECT * FROM analytics.{name} WHERE bar_ts = ?", [moment]).to_pylist()
    return row


MOMENTS = [START + 20 * MINUTE, START + 50 * MINUTE, START + HOUR, START + 61 * MINUTE, END]


@pytest.mark.parametrize("moment", MOMENTS)
def test_liquidity_adds_up_over_the_venues(
    computed: Store, rows: dict[str, list[dict[str, Any]]], moment: datetime
) -> None:
    found, books = one(computed, "order_flow", moment), at(rows["orderbook"], moment)
    for column, place in (("", "25bps"), ("_5", "5"), ("_10", "10")):
        bid, ask = (sum(row[f"{side}_depth_{place}"] for row in books) for side in ("bid", "ask"))
        assert found[f"liquidity_imbalance{column}"] == pytest.approx((bid - ask) / (bid + ask))
    own = [row["bid_depth_25bps"] + row["ask_depth_25bps"] for row in books]
    assert found["depth"] == pytest.approx(sum(own))
    assert found["n_obs"] == 3
    survived = sum(row["liquidity_persistence_score"] * depth for row, depth in zip(books, own, strict=True))
    assert found["book_persistence"] == pytest.approx(survived / sum(own))
    before = one(computed, "order_flow", moment - 5 * MINUTE)["liquidity_imbalance"]
    assert found["liquidity_imbalance_velocity"] == pytest.approx((found["liquidity_imbalance"] - before) / 5)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_vacuum_is_a_rank_among_the_venues_own_quarter_hours(
    computed: Store, rows: dict[str, list[dict[str, Any]]], moment: datetime
) -> None:
    ranks, weights = [], []
    for book in at(rows["orderbook"], moment):
        past = [
            row["bid_depth_25bps"] + row["ask_depth_25bps"]
            for row in rows["orderbook"]
            if (row["exchange"], row["market_type"]) == (book["exchange"], book["market_type"])
            and moment - 7 * DAY <= row["bar_ts"] < moment
            and row["bar_ts"].minute % 15 == 0
        ]
        own = book["bid_depth_25bps"] + book["ask_depth_25bps"]
        assert len(past) >= 60
        ranks.append(1 - sum(value < own for value in past) / len(past))
        weights.append(np.mean(past))
    assert one(computed, "order_flow", moment)["liquidity_vacuum"] == pytest.approx(np.average(ranks, weights=weights))


@pytest.mark.parametrize("moment", MOMENTS)
def test_aggression_is_signed_flow_over_flow(
    computed: Store, rows: dict[str, list[dict[str, Any]]], moment: datetime
) -> None:
    def flow(minutes: int, until: datetime = moment) -> tuple[float, float]:
        window = [
            row for row in rows["bars"] if until - minutes * MINUTE < row["bar_ts"] <= until and "quote_volume" in row
        ]
        whole = sum(row["quote_volume"] for row in window)
        return 2 * sum(row["taker_buy_quote"] for row in window) - whole, whole

    found = one(computed, "order_flow", moment)
    delta, whole = flow(1)
    assert found["aggression"] == pytest.approx(delta / whole)
    assert found["buy_value"] - found["sell_value"] == pytest.approx(delta)
    assert found["buy_value"] + found["sell_value"] == pytest.approx(whole)
    quarter = flow(15)
    assert found["aggression_15m"] == pytest.approx(quarter[0] / quarter[1])
    assert found["flow_acceleration"] == pytest.approx((flow(5)[0] - flow(5, moment - 5 * MINUTE)[0]) / flow(10)[1])
    midnight = (moment - MINUTE).replace(hour=0, minute=0)
    assert found["cvd_value"] == pytest.approx(flow(int((moment - midnight) / MINUTE))[0])


def test_costs_are_weighted_by_the_value_of_the_last_hour(
    computed: Store, rows: dict[str, list[dict[str, Any]]]
) -> None:
    moment = START + 70 * MINUTE
    weight = {
        venue: sum(
            row.get("quote_volume", 0.0)
            for row in rows["bars"]
            if (row["exchange"], row["market_type"]) == venue and moment - HOUR < row["bar_ts"] <= moment
        )
        for venue in VENUES
    }
    trades = at(rows["trades"], moment)
    weights = [weight[row["exchange"], row["market_type"]] for row in trades]
    found = one(computed, "order_flow", moment)
    assert len(trades) == 2
    expected = np.average([row["market_impact_per_volume"] for row in trades], weights=weights)
    assert found["kyle_lambda"] == pytest.approx(expected)
    assert found["confidence"] == 1


def test_leverage_weighs_the_venues_by_their_open_interest(
    computed: Store, rows: dict[str, list[dict[str, Any]]]
) -> None:
    moment = START + 25 * MINUTE
    found, interest = one(computed, "leverage", moment), at(rows["oi"], moment)
    weights = [row["oi_value"] for row in interest]
    assert found["n_obs"] == len(interest) == 2
    assert found["oi_value"] == sum(weights)
    intent = np.average([row["position_intent_score"] for row in interest], weights=weights)
    assert found["oi_intent"] == pytest.approx(intent)
    traded = sum(row["oi_value"] / row["leverage_index"] for row in interest)
    assert found["leverage_index"] == pytest.approx(sum(weights) / traded)
    longs, shorts = (sum(row[f"{side}_liquidation_notional"] for row in interest) for side in ("long", "short"))
    assert found["liquidation_pressure"] == pytest.approx((longs - shorts) / (longs + shorts))
    stress = np.average([row["funding_zscore"] for row in at(rows["funding"], moment)], weights=weights)
    assert found["funding_stress"] == pytest.approx(stress)
    assert found["basis_bps"] == pytest.approx(100 * np.average([-0.2, -0.19], weights=weights))
    assert found["basis_dispersion_bps"] == pytest.approx(1)
    assert found["basis_regime"] == "backwardation"


def test_a_regime_turns_when_the_mean_of_an_hour_does(computed: Store) -> None:
    assert one(computed, "leverage", START + 80 * MINUTE)["basis_regime"] == "backwardation"
    assert one(computed, "leverage", START + 90 * MINUTE)["basis_regime"] == "neutral"
    assert one(computed, "leverage", END)["basis_regime"] == "contango"
    assert one(computed, "leverage", END)["basis_dispersion_bps"] is None


def test_liquidations_of_five_minutes_add_up(computed: Store, rows: dict[str, list[dict[str, Any]]]) -> None:
    empty, full = START + 8 * MINUTE, START + 13 * MINUTE
    closed = [row for row in rows["liquidations"] if full - 5 * MINUTE < row["bar_ts"] <= full]
    longs, shorts = (sum(row[f"{side}_liquidation_value"] for row in closed) for side in ("long", "short"))
    assert one(computed, "leverage", full)["liquidated_value_5m"] == pytest.approx(longs + shorts)
    assert one(computed, "leverage", full)["liquidation_imbalance"] == pytest.approx(
        (longs - shorts) / (longs + shorts)
    )
    assert one(computed, "leverage", empty)["liquidated_value_5m"] == 0
    assert one(computed, "leverage", empty)["liquidation_imbalance"] is None


def rank(store: Store, table: str, sql: str, moment: datetime) -> float:
    values = store.query(
        f"SELECT bar_ts, {sql} AS v FROM {table} WHERE bar_ts <= ? AND bar_ts >= ? ORDER BY bar_ts",
        [moment, moment - 7 * DAY],
    ).to_pylist()
    past = [row["v"] for row in values[:-1] if row["bar_ts"].minute % 15 == 0 and row["v"] is not None]
    now = values[-1]["v"]
    return (sum(value < now for value in past) + sum(value == now for value in past) / 2) / len(past)


@pytest.mark.parametrize("moment", [START + 40 * MINUTE, START + 75 * MINUTE])
def test_pressure_is_the_weighted_mean_of_ranks(computed: Store, moment: datetime) -> None:
    found = one(computed, "alpha", moment)
    joined = (
        "(SELECT bar_ts, flow_synchronization * sign(aggression_15m) AS sync FROM analytics.order_flow "
        "JOIN analytics.cross_exchange USING (symbol, bar_ts))"
    )
    parts = {
        "pressure_book": rank(computed, "analytics.order_flow", "liquidity_imbalance", moment),
        "pressure_flow": rank(computed, "analytics.order_flow", "aggression_15m", moment),
        "pressure_intent": rank(computed, "analytics.leverage", "oi_intent", moment),
        "pressure_funding": 1 - rank(computed, "analytics.leverage", "funding_stress", moment),
        "pressure_basis": rank(computed, "analytics.leverage", "basis_bps", moment),
        "pressure_sync": rank(computed, joined, "sync", moment),
    }
    signed = {name: 2 * value - 1 for name, value in parts.items()}
    for name, value in signed.items():
        assert found[name] == pytest.approx(value), name
    pressure = sum(PRESSURE_WEIGHTS[name] * value for name, value in signed.items())
    assert found["institutional_pressure"] == pytest.approx(100 * pressure)
    assert found["confidence"] == pytest.approx(1)
    its_way = sum(value * math.copysign(1, pressure) > 0.1 for value in signed.values())
    assert found["agreement"] == pytest.approx(its_way / len(signed))
    earlier = one(computed, "alpha", moment - 15 * MINUTE)["institutional_pressure"]
    assert found["pressure_trend"] == pytest.approx(found["institutional_pressure"] - earlier)
    squeeze = {
        "squeeze_leverage": rank(computed, "analytics.leverage", "leverage_index", moment),
        "squeeze_crowding": abs(signed["pressure_funding"]),
        "squeeze_vacuum": one(computed, "order_flow", moment)["liquidity_vacuum"],
    }
    assert found["squeeze"] == pytest.approx(sum(SQUEEZE_WEIGHTS[name] * value for name, value in squeeze.items()))
    assert found["squeeze_side"] == ("up" if signed["pressure_funding"] > 0 else "down")


def test_the_side_that_absorbs_is_named(computed: Store, rows: dict[str, list[dict[str, Any]]]) -> None:
    moment = START + 20 * MINUTE
    weight = {
        venue: sum(
            row.get("quote_volume", 0.0)
            for row in rows["bars"]
            if (row["exchange"], row["market_type"]) == venue and moment - HOUR < row["bar_ts"] <= moment
        )
        for venue in VENUES
    }
    books = [row for row in at(rows["orderbook"], moment) if row["absorption_ratio"] is not None]
    assert books
    weights = [weight[row["exchange"], row["market_type"]] for row in books]
    signed = sum(w * row["absorption_ratio"] * row["absorbing_side"] for w, row in zip(weights, books, strict=True))
    found = one(computed, "alpha", moment)
    assert found["absorption"] == pytest.approx(np.average([row["absorption_ratio"] for row in books], weights=weights))
    assert found["absorbing_side"] == ("buy" if signed > 0 else "sell")
    signs = {"up": 1, "down": -1, "none": 0, "buy": 1, "sell": -1}
    parts = [
        found["institutional_pressure"] / 100,
        found["squeeze"] * signs[found["squeeze_side"]],
        found["absorption"] * signs[found["absorbing_side"]],
    ]
    assert found["composite"] == pytest.approx(100 * np.mean(parts))


def test_bias_is_named_by_the_size_of_the_score() -> None:
    scores = np.array([60.0, 50, 30, 10, 9, 0, -10, -26, -100, np.nan])
    assert bias(scores).tolist() == [
        "strong_buy", "strong_buy", "moderate_buy", "weak_buy", "neutral", "neutral",
        "weak_sell", "moderate_sell", "strong_sell", None,
    ]  # fmt: skip
    assert set(bias(np.linspace(-100, 100, 401))) == set(BIAS)


def test_without_a_past_there_is_no_rank(rows: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        write(store, {name: [row for row in part if row["open_time"] >= START] for name, part in rows.items()})
        compute(store, LAYERS, START, END, HOUR)
        found = one(store, "alpha", END)
        assert found["institutional_pressure"] is None
        assert found["squeeze"] is None
        assert found["bias"] is None
        assert found["confidence"] == 0
        assert one(store, "order_flow", END)["liquidity_vacuum"] is None
        assert one(store, "order_flow", END)["confidence"] < 1


def test_futures_features_that_are_not_there_are_null(rows: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        write(store, {name: rows[name] for name in ("bars", "orderbook", "trades", "prices")})
        compute(store, LAYERS, START, END, HOUR)
        found = one(store, "leverage", END)
        assert {name for name, value in found.items() if value is not None} == {
            "symbol", "open_time", "bar_ts", "n_obs", "confidence",
        }  # fmt: skip
        assert found["confidence"] == 0


@pytest.mark.parametrize("name", ANALYTICS)
def test_values_lie_in_their_ranges(computed: Store, name: str) -> None:
    table = ANALYTICS[name].table
    rules = quality.rules(table)
    assert rules.keys() >= {feature.name for feature in ANALYTICS[name].features}
    for column, violation in rules.items():
        outside = computed.query(f"SELECT bar_ts FROM {table.qualified} WHERE {violation}")
        assert outside.num_rows == 0, column


def test_a_checked_hour_counts_symbols(computed: Store) -> None:
    table = ANALYTICS["alpha"].table
    hour = quality.measure(computed, table, START, START + HOUR)[START]
    assert hour.rows == 60
    assert dict(hour.covered) == {"BTCUSDT": 60}
    assert hour.duplicates == 0


def test_the_window_does_not_matter(computed: Store, rows: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        write(store, rows)
        write_cross_exchange(store)
        compute(store, LAYERS, FIRST.replace(minute=0) + HOUR, START, 30 * HOUR)
        compute(store, LAYERS, START, END, 20 * MINUTE)
        for layer in LAYERS:
            assert not differences(stored(computed, layer.table), stored(store, layer.table), 1e-9)


def test_no_row_knows_what_came_after_it(
    computed: Store, rows: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    moment = START + 77 * MINUTE
    with connect(tmp_path, scope="write") as store:
        write(store, rows, until=moment)
        write_cross_exchange(store)
        compute(store, LAYERS, FIRST.replace(minute=0) + HOUR, moment, 8 * HOUR)
        for layer in LAYERS:
            known = stored(computed, layer.table, f"bar_ts <= TIMESTAMP '{moment}'")
            assert not differences(known, stored(store, layer.table), 1e-9)


def test_a_week_of_quarter_hours_is_what_ranks_look_back_on() -> None:
    assert QUARTERS == 672
    assert order_flow.LAYER.lookback == 7 * DAY
    assert alpha.LAYER.lookback > 7 * DAY
