"""What the built-in calculators say of a planted tape: against sums by hand, slow references and planted events."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.calculators.builtin.liquidation_cascade import _value_per_bucket
from orderflow_assets.calculators.discovery import built_in
from orderflow_assets.calculators.reading import leading_market, sampled
from orderflow_assets.calculators.result import Result
from orderflow_assets.tables import hourly_tables
from orderflow_streaming.store import Store, Window, connect
from tests.assets.calculator_tape import (
    BTC,
    END,
    FUNDING,
    LIQUIDATIONS,
    MARKETS,
    MINUTE,
    bars,
    identity,
    plant,
    prices,
    table_of,
)

HOUR = timedelta(hours=1)
BEFORE = END - 6 * HOUR
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("calculators"), scope="write") as opened:
        plant(opened)
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    return lambda name, exchange=None, end=None, **given: calculate(store, name, exchange, end, **given)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def calculate(
    store: Store, name: str, exchange: str | None = None, end: datetime | None = None, **given: Any
) -> Result:
    return built_in().calculators[name].run(store, BTC, exchange, end, **given)[1]


def kinds(result: Result) -> dict[str, list[str]]:
    """Descriptions of the signals by type."""
    found: dict[str, list[str]] = {}
    for item in result.signals:
        found.setdefault(item.type, []).append(item.description)
    return found


# -- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", built_in().calculators)
def test_it_answers_with_its_defaults(run: Run, name: str) -> None:
    result = run(name, **({"model": "theta"} if name == "funding_forecast" else {}))
    assert result.data
    assert result.errors == ()
    assert all(0 <= item.strength <= 1 and item.timestamp <= END for item in result.signals)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The same tape, changed beyond recognition after :data:`BEFORE`."""
    with connect(tmp_path_factory.mktemp("spoiled"), scope="write") as opened:
        plant(opened)
        for table in {table for item in built_in().calculators.values() for table in item.reads}:
            _spoil(opened, table, BEFORE)
        yield opened


@pytest.mark.parametrize("name", built_in().calculators)
def test_it_says_the_same_whatever_came_later(store: Store, spoiled: Store, name: str) -> None:
    item = built_in().calculators[name]
    given = {"model": "theta"} if "model" in item.schema else {}
    (_, then), (_, later) = (item.run(rows, BTC, None, BEFORE, **given) for rows in (store, spoiled))
    assert then.data
    assert (later.data, later.metadata, later.errors) == (then.data, then.metadata, then.errors)
    assert later.signals == then.signals
    assert item.run(spoiled, BTC, None, END, **given)[1].data != item.run(store, BTC, None, END, **given)[1].data


def _spoil(store: Store, qualified: str, end: datetime) -> None:
    table = hourly_tables()[qualified]
    known_at = "bar_ts" if "bar_ts" in table.names else table.time
    rows = store.query(f"SELECT * FROM {qualified} WHERE {known_at} > ?", [end])
    for place, column in enumerate(table.columns):
        if column.type == "DOUBLE" and rows.num_rows:
            shifted = [None if value is None else 7 * value + 1 for value in rows[column.name].to_pylist()]
            rows = rows.set_column(place, rows.field(place), pa.array(shifted, pa.float64()))
    first = end - MINUTE + timedelta(microseconds=1) if known_at == "bar_ts" else end + timedelta(microseconds=1)
    store.write(table, rows, Window(first, datetime(9999, 1, 1)))  # noqa: DTZ001


@pytest.mark.parametrize("name", built_in().calculators)
def test_far_from_what_is_stored_it_says_that_there_is_nothing(run: Run, name: str) -> None:
    result = run(name, end=END + timedelta(days=400))
    assert result.data == {}
    assert "rows of BTCUSDT" in result.errors[0]


# -- reading -----------------------------------------------------------------------------------------------------


def test_the_leading_market_has_the_largest_value(store: Store) -> None:
    day = END - timedelta(days=1)
    assert leading_market(store, BTC, None, day, END) == "binance_futures"
    assert leading_market(store, BTC, "bybit", day, END) == "bybit_futures"
    assert leading_market(store, BTC, None, day, END, "spot") == "binance_spot"
    assert leading_market(store, BTC, "okx", day, END) is None


def test_a_column_is_sampled_on_complete_intervals_only(small: Store) -> None:
    close = np.arange(1.0, 181)
    close[20:40] = np.nan
    small.write(BARS_1M, bars("binance_futures", close=close, volume=np.ones(180)))
    end = END - 10 * MINUTE
    last = sampled(small, "bars.close", BTC, "binance_futures", "1h", END - 3 * HOUR - MINUTE, end)
    assert last.times.tolist() == [END - 2 * HOUR, END - HOUR]
    assert last.values.tolist() == [60, 120]
    five = sampled(small, "bars.close", BTC, "binance_futures", "5m", END - 3 * HOUR, end)
    assert len(five) == 34
    assert np.isnan(five.values[4:8]).all()
    total = sampled(small, "bars.volume", BTC, "binance_futures", "1h", END - 3 * HOUR, END, "sum")
    assert total.values.tolist() == [60, 60, 60]
    assert total.metadata["missing"] == 0
    unknown = sampled(small, "bars.quote_volume", BTC, "binance_futures", "1h", END - 3 * HOUR, END, "sum")
    assert np.isnan(unknown.values).all()


# -- flow --------------------------------------------------------------------------------------------------------


def test_flow_is_bucketed_and_judged_by_its_own_past(small: Store) -> None:
    rng = np.random.default_rng(5)
    net = rng.normal(0, 10, 24 * 60).round(3)
    net[-45:] += 30
    value = np.full(1440, 1000.0)
    close = np.full(1440, 50.0)
    flow = {"quote_volume": value, "volume": value / 50, "taker_buy_quote": (value + net) / 2}
    small.write(BARS_1M, bars("binance_futures", close=close, **flow))
    result = calculate(small, "order_flow_imbalance", hours=24, bucket_minutes=15)
    market = result.data["binance_futures"]
    sums = [math.fsum(net[place : place + 15]) for place in range(0, 1440, 15)]
    assert market["buckets"]["net"] == pytest.approx(sums, abs=1e-6)
    assert market["buckets"]["time"][-1] == f"{END.isoformat()}Z"
    assert market["buckets"]["mean_price"] == [50.0] * 96
    assert market["summary"]["net"] == pytest.approx(math.fsum(net))
    assert market["summary"]["mean_bucket_net"] == pytest.approx(statistics.mean(sums))
    fours = [sum(sums[place : place + 4]) for place in range(93)]
    past = fours[:-4]
    z = (fours[-1] - statistics.mean(past)) / statistics.stdev(past)
    assert market["recent"]["z"] == pytest.approx(z)
    assert market["recent"]["percentile"] == pytest.approx(100 * statistics.NormalDist().cdf(z))
    assert z > 2
    assert kinds(result)["BULLISH"][0].startswith("binance_futures")
    assert result.data["cross_exchange"] == {"mean_sign": 1.0, "consensus": "STRONG", "markets": 1}


def test_flow_of_unknown_volume_is_unknown_and_one_sided_flow_is_capped(small: Store) -> None:
    value = np.full(60, 100.0)
    value[3] = np.nan
    flow = {"quote_volume": value, "volume": value, "taker_buy_quote": value}
    small.write(BARS_1M, bars("okx_futures", close=np.ones(60), **flow))
    market = calculate(small, "order_flow_imbalance", hours=1).data["okx_futures"]
    assert market["buckets"]["net"] == [None, 1500.0, 1500.0, 1500.0]
    assert market["buckets"]["ratio"] == [None, 100.0, 100.0, 100.0]
    assert market["recent"]["z"] is None
    assert market["summary"]["buckets"] == 3


def test_the_planted_buying_is_seen_on_every_market(run: Run) -> None:
    result = run("order_flow_imbalance")
    assert result.data.keys() == {*MARKETS, "cross_exchange"}
    assert result.data["cross_exchange"]["consensus"] == "STRONG"
    assert len([text for text in kinds(result)["BULLISH"] if "net taker flow" in text]) == 3
    assert run("order_flow_imbalance", "bybit").data.keys() == {"bybit_futures", "cross_exchange"}


# -- liquidations ------------------------------------------------------------------------------------------------


def liquidations(store: Store, events: list[tuple[float, str, float, float]]) -> None:
    """``events`` are minutes before the end, side, price and value."""
    times = [END - minutes * MINUTE for minutes, *_ in events]
    columns = {
        "id": list(range(len(events))),
        "timestamp": times,
        "received_at": times,
        "side": [side for _, side, _, _ in events],
        "price": [price for _, _, price, _ in events],
        "quantity": [value / price for _, _, price, value in events],
        "value_usd": [value for *_, value in events],
    }
    store.write(LIQUIDATIONS, table_of(LIQUIDATIONS, identity("bybit_futures") | columns))


def test_cascades_are_runs_without_a_pause(small: Store) -> None:
    small.write(BARS_1M, bars("bybit_futures", close=np.ones(120)))
    liquidations(
        small,
        [
            (100, "long", 10.0, 20_000.0),
            (95, "long", 9.0, 30_000.0),
            (90, "short", 9.5, 10_000.0),
            (84.9, "short", 9.5, 10_000.0),  # a pause of over five minutes
            (80, "short", 9.5, 10_000.0),
            (79, "short", 9.5, 9_999.0),  # too small
        ],
    )
    result = calculate(small, "liquidation_cascade")
    market = result.data["bybit_futures"]
    assert market["summary"] == {
        "count": 5,
        "long_count": 2,
        "short_count": 3,
        "long_value": 50_000.0,
        "short_value": 30_000.0,
        "mean_value": 16_000.0,
        "dominant_side": "long",
        "hours": 2.0,
        "per_hour": 2.5,
    }
    (cascade,) = market["cascades"]
    assert (cascade["count"], cascade["seconds"], cascade["recent"]) == (3, 600.0, False)
    assert (cascade["lowest_price"], cascade["highest_price"]) == (9.0, 10.0)
    assert cascade["value_per_second"] == 100.0
    score = 0.1 * 1 / 5 + 0.3 * 2.5 / 20 + 0.3 * 1 / 5
    assert market["risk"]["score"] == pytest.approx(score)
    assert market["risk"]["level"] == "LOW"
    assert market["risk"]["branching_ratio"] is None
    assert result.signals == ()


def test_an_outage_is_unknown_and_not_quiet() -> None:
    events = [{"timestamp": END - minutes * MINUTE, "value": 5.0} for minutes in (0, 4.9, 5, 59.9)]
    values = _value_per_bucket(events, [(END - 22 * MINUTE, END - 18 * MINUTE)], END, 1)
    assert np.isnan(values).nonzero()[0].tolist() == [7, 8]
    assert values[[0, 10, 11]].tolist() == [5, 5, 10]
    everything = _value_per_bucket(events, [(END - 300 * MINUTE, END + 10 * MINUTE)], END, 1)
    assert np.isnan(everything).all()


def test_the_planted_cascade_is_active(run: Run) -> None:
    result = run("liquidation_cascade")
    market = result.data["binance_futures"]
    assert market["risk"]["active_cascade"] is True
    assert market["cascades"][-1]["count"] == 20
    assert "cascade of 20 liquidations, mostly longs" in kinds(result)["BEARISH"][0]
    assert any("spikes" in text for text in kinds(result)["WARNING"])
    assert set(result.data) == {"binance_futures"}


# -- funding -----------------------------------------------------------------------------------------------------


def test_a_pair_is_worth_its_spread_less_four_fees(run: Run) -> None:
    data = run("funding_arbitrage").data
    assert {name: venue["current"] for name, venue in data["venues"].items()} == pytest.approx(
        {name: 8e4 * rate / interval for name, (rate, interval) in FUNDING.items()}
    )
    assert data["venues"]["binance_futures"]["annual_pct"] == pytest.approx(1e-4 * 3 * 365 * 100)
    assert data["venues"]["hyperliquid_futures"]["settlements"] == 72
    assert data["venues"]["bybit_futures"]["cycle_hours"] == pytest.approx(24)
    pair = next(pair for pair in data["pairs"] if pair["long"] == "binance_futures")
    assert pair["short"] == "bybit_futures"
    assert pair["spread_bps"] == pytest.approx(8)
    assert pair["cost_bps"] == pytest.approx(2 * (5 + 5.5))
    assert pair["net_bps"] == pytest.approx(8 * 72 / 8 - 21)
    assert pair["net_annual_pct"] == pytest.approx(51 / 1e4 * 100 * 8760 / 72)
    assert pair["break_even_hours"] == pytest.approx(21)
    assert pair["confidence"] == 1.0
    assert data["best_pair"]["long"] == "hyperliquid_futures"
    assert all(pair["spread_bps"] >= 5 for pair in data["pairs"])
    held_briefly = run("funding_arbitrage", holding_hours=8)
    assert held_briefly.data["best_pair"]["net_bps"] < 0
    assert held_briefly.signals == ()


def test_funding_is_forecast_on_its_settlements(run: Run) -> None:
    result = run("funding_forecast", model="theta")
    data = result.data
    assert result.metadata["market"] == "binance_futures"
    assert result.metadata["settlements"] == 90
    assert data["forecast"]["time"][:2] == [f"{(END + 8 * hours * HOUR).isoformat()}Z" for hours in (1, 2)]
    assert len(data["forecast"]["point"]) == 8
    assert data["annual_pct"] == pytest.approx(1095 * 100 * float(np.mean(data["forecast"]["point"])))
    assert 0.5 < data["mean_bps_8h"] < 1.5
    assert data["against_the_last_value"]["origins"] == 10
    assert data["against_the_last_value"]["error_ratio"] < 1
    assert "no futures rows" in run("funding_forecast", "binance_spot").errors[0]


# -- volatility, anomalies, changes ------------------------------------------------------------------------------


def test_volatility_of_equal_steps_is_known_by_hand(small: Store) -> None:
    close = 100 * np.exp(0.001 * (np.arange(3000) % 2))
    small.write(BARS_1M, bars("okx_futures", close=close))
    result = calculate(small, "volatility_regime", hours=50, short_window=60, long_window=600)
    current = result.data["current"]
    assert current["short_volatility"] == pytest.approx(0.001 * math.sqrt(365 * 1440))
    assert current["ratio"] == pytest.approx(1)
    assert current["regime"] == "NORMAL"
    assert current["percentile"] == pytest.approx(50, abs=45)
    assert len(result.data["series"]["time"]) == 48


def test_the_planted_storm_is_extreme(run: Run) -> None:
    result = run("volatility_regime")
    assert result.data["current"]["regime"] == "EXTREME"
    assert result.data["current"]["percentile"] == 100
    assert result.data["current"]["ratio"] > 1.5
    returns = np.diff(np.log(prices()))[-60:]
    assert result.data["current"]["short_volatility"] == pytest.approx(math.sqrt(np.mean(returns**2) * 365 * 1440))
    assert len(kinds(result)["WARNING"]) == 2
    calm = run("volatility_regime", end=END - 3 * HOUR)
    assert "WARNING" not in kinds(calm)
    assert sum(calm.data["distribution"].values()) == pytest.approx(1)
    assert "not shorter" in run("volatility_regime", short_window=60, long_window=60).errors[0]


def test_the_planted_jump_is_an_anomaly_by_agreement(run: Run) -> None:
    result = run("anomaly_detection")
    ensemble = result.data["ensemble"]
    assert ensemble["times"][-1] == f"{END.isoformat()}Z"
    assert ensemble["votes"][-1] >= 3
    assert ensemble["values"][-1] == pytest.approx(0.02)
    assert ensemble["consensus"] == "HIGH"
    assert "outliers" in kinds(result)["WARNING"][0]
    single = run("anomaly_detection", method="mad", data_type="volume", interval="5m", hours=48)
    assert single.data.keys() == {"data_type", "methods"}
    assert single.metadata["column"] == "bars.quote_volume"
    assert "main.open_interest does not exist yet" in run("anomaly_detection", data_type="open_interest").errors[0]


def test_the_planted_storm_is_a_change_point(run: Run) -> None:
    result = run("change_point_detection", interval="1m", hours=24, method="pelt")
    starts = [datetime.fromisoformat(point["time"]).replace(tzinfo=None) for point in result.data["change_points"]]
    assert any(abs(start - (END - 120 * MINUTE)) <= 3 * MINUTE for start in starts)
    storm = max(result.data["change_points"], key=lambda point: point["sd_ratio"])
    assert storm["sd_ratio"] == pytest.approx(4, rel=0.3)
    lengths = [part["length"] for part in result.data["segments"]]
    assert sum(lengths) == result.metadata["values"] - 1
    assert run("change_point_detection", end=END - 3 * HOUR).signals == ()


# -- features, regimes, seasons, forecasts -----------------------------------------------------------------------


def test_features_describe_the_stretch(run: Run) -> None:
    result = run("feature_extraction", hours=48)
    close = prices()[-48 * 60 :].reshape(-1, 5)[:, -1]
    data = result.data
    assert data["count"] >= 40
    assert data["statistical"]["mean"] == pytest.approx(close.mean(), rel=1e-4)
    assert data["volatility"]["return_std"] == pytest.approx(np.diff(np.log(close)).std(ddof=1), rel=1e-6)
    assert data["window_volatility"] == pytest.approx(data["volatility"]["return_std"] * math.sqrt(len(close)))
    plain = run("feature_extraction", hours=48, include_advanced=False).data
    assert not plain.keys() & {"complexity", "spectral", "stationarity"}


def test_two_planted_regimes_are_told_apart(small: Store) -> None:
    rng = np.random.default_rng(7)
    wild = np.repeat((np.arange(240) // 40) % 2, 60)
    steps = rng.normal(0, 1, len(wild)) * np.where(wild, 0.002, 0.0004)
    small.write(BARS_1M, bars("okx_futures", close=100 * np.exp(np.cumsum(steps))))
    result = calculate(small, "regime_detection", hours=240)
    data = result.data
    truth = wild.reshape(-1, 60)[:, 0]
    told = np.array(data["history"]["regime"])
    first, second = data["regimes"]
    agreement = max(float(np.mean((told == name) == truth)) for name in (first, second))
    assert agreement > 0.95
    volatilities = sorted(item["daily_volatility"] for item in data["regimes"].values())
    assert volatilities == pytest.approx([0.0004 * math.sqrt(1440), 0.002 * math.sqrt(1440)], rel=0.15)
    assert [item["high_volatility"] for item in data["regimes"].values()].count(True) == 1
    assert data["stability"] == pytest.approx(1 - 5 / 239, abs=0.05)
    for row in data["transition_matrix"].values():
        assert sum(row.values()) == pytest.approx(1)
    assert result.metadata["learned_from"] == 219


def test_the_planted_day_is_the_dominant_season_of_volume(run: Run) -> None:
    data = run("seasonality_analysis", data_type="volume").data
    assert data["dominant"]["period_steps"] == pytest.approx(24, rel=0.02)
    assert data["dominant"]["p_value"] < 0.01
    assert data["candidates"]["24h"]["p_value"] < 0.01
    assert data["decomposition"]["seasonal_strength"] > 0.9
    assert run("seasonality_analysis").data["dominant"] is None


def test_a_price_that_never_moves_is_forecast_to_stay(small: Store) -> None:
    small.write(BARS_1M, bars("okx_futures", close=np.full(48 * 60, 42.0)))
    data = calculate(small, "price_forecast", hours=48, forecast_steps=3, model="naive").data
    assert data["path"]["point"] == pytest.approx([42.0] * 3)
    assert data["direction"] == "flat"
    assert data["path"]["time"] == [f"{(END + step * HOUR).isoformat()}Z" for step in (1, 2, 3)]


def test_the_path_of_the_price_goes_on_from_the_last_close(run: Run) -> None:
    result = run("price_forecast", model="theta")
    data = result.data
    assert data["current_price"] == pytest.approx(prices()[-1])
    assert len(data["path"]["point"]) == 24
    assert all(
        low <= point <= high
        for low, point, high in zip(data["path"]["lower"], data["path"]["point"], data["path"]["upper"], strict=True)
    )
    assert data["change_pct"] == pytest.approx(100 * (data["path"]["point"][-1] / data["current_price"] - 1))
    assert {row["model"] for row in data["compared"]} == {"naive", "theta"}
    short = run("price_forecast", end=END - timedelta(days=14, hours=20))
    assert short.data == {}
    assert "needs at least" in short.errors[0]
