"""Bars of five minutes to a day, and bars over all venues, against their minutes taken one by one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orderflow_assets.bars import coarser, consolidated
from orderflow_assets.bars.coarser import TIMEFRAMES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.layer import Layer
from orderflow_streaming.store import Store, connect
from tests.assets.computing import same

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime(2025, 3, 10)  # noqa: DTZ001
AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote", "trade_count")
PRICES = ("open", "high", "low", "close")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def minute(exchange: str, number: int, price: float, volume: float | None, market_type: str = "futures") -> dict:
    """The minute ``number`` after midnight; a volume of None is a feed that is down, 0 a quiet one."""
    opening = MIDNIGHT + number * MINUTE
    traded = bool(volume)
    return {
        "symbol": "AAAUSDT",
        "exchange": exchange,
        "market_type": market_type,
        "open_time": opening,
        "bar_ts": opening + MINUTE,
        "open": price if traded else None,
        "high": price + 3 if traded else None,
        "low": price - 2 if traded else None,
        "close": price + 1 if traded else None,
        "volume": volume,
        "quote_volume": None if volume is None else volume * (price + 0.5),
        "taker_buy_volume": None if volume is None else volume * 0.75,
        "taker_buy_quote": None if volume is None else volume * 0.75 * price,
        "trade_count": None if volume is None else int(volume * 2),
        "mid_close": price + 1.25,
        "quote_count": 1,
        "quoted_s": 60.0,
    }


def put(store: Store, rows: list[dict[str, Any]]) -> None:
    store.write(BARS_1M, pa.Table.from_pylist(rows, BARS_1M.arrow_schema))


def layer(name: str) -> Layer:
    return next(one for one in (*coarser.LAYERS, *consolidated.LAYERS) if one.table.name == name)


def computed(store: Store, name: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
    one = layer(name)
    one.compute(store, start, end)
    return store.query(f"SELECT * FROM {one.table.qualified} ORDER BY exchange, bar_ts").to_pylist()


def test_five_minutes_by_hand(store: Store) -> None:
    volumes = [0.0, 2.0, None, 0.0, 4.0]
    put(store, [minute("binance", k, 100 + 10 * k, volume) for k, volume in enumerate(volumes)])
    (bar,) = computed(store, "bars_5m", MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    assert (bar["open_time"], bar["bar_ts"]) == (MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    assert bar["last_minute"] == MIDNIGHT + 4 * MINUTE
    assert [bar[name] for name in PRICES] == [110, 143, 108, 141]
    assert [bar[name] for name in AMOUNTS] == [6, 2 * 110.5 + 4 * 140.5, 4.5, 1.5 * 110 + 3 * 140, 12]
    assert bar["vwap"] == (2 * 110.5 + 4 * 140.5) / 6
    assert bar["mid_close"] == 141.25
    assert bar["minutes_covered"] == 4


def test_a_bar_is_written_when_it_is_closed_and_not_before(store: Store) -> None:
    put(store, [minute("binance", k, 100 + k, 1.0) for k in range(70)])
    assert computed(store, "bars_1h", MIDNIGHT, MIDNIGHT + 59 * MINUTE) == []
    (bar,) = computed(store, "bars_1h", MIDNIGHT + 59 * MINUTE, MIDNIGHT + 65 * MINUTE)
    assert (bar["bar_ts"], bar["minutes_covered"], bar["volume"]) == (MIDNIGHT + HOUR, 60, 60)


def test_nothing_traded_and_nothing_heard_are_told_apart(store: Store) -> None:
    put(store, [minute("binance", k, 100, 0.0) for k in range(5)] + [minute("bybit", k, 100, None) for k in range(5)])
    quiet, down = computed(store, "bars_5m", MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    assert ([quiet[name] for name in AMOUNTS], quiet["minutes_covered"]) == ([0] * 5, 5)
    assert ([down[name] for name in AMOUNTS], down["minutes_covered"]) == ([None] * 5, 0)
    for bar in (quiet, down):
        assert [bar[name] for name in (*PRICES, "vwap")] == [None] * 5
        assert bar["mid_close"] == 101.25


def test_the_mid_is_that_of_the_closing_edge_or_none(store: Store) -> None:
    put(store, [minute("binance", k, 100, 1.0) for k in range(4)])
    (bar,) = computed(store, "bars_5m", MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    assert (bar["close"], bar["mid_close"], bar["minutes_covered"]) == (101, None, 4)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_length_is_that_of_its_minutes(timeframe: str, store: Store) -> None:
    count = 2 * 1440
    rows = [minute("okx", k, 100 + (k * 37) % 41, float(k % 3)) for k in range(count)]
    put(store, rows)
    length = TIMEFRAMES[timeframe]
    bars = computed(store, f"bars_{timeframe}", MIDNIGHT, MIDNIGHT + 2 * DAY)
    assert [bar["bar_ts"] for bar in bars] == [MIDNIGHT + (k + 1) * length for k in range(2 * DAY // length)]
    for bar in bars:
        mine = [row for row in rows if bar["open_time"] <= row["open_time"] < bar["bar_ts"]]
        traded = [row for row in mine if row["volume"]]
        assert (bar["open"], bar["close"]) == (traded[0]["open"], traded[-1]["close"])
        assert (bar["high"], bar["low"]) == (max(row["high"] for row in traded), min(row["low"] for row in traded))
        assert [bar[name] for name in AMOUNTS] == pytest.approx([sum(row[name] for row in mine) for name in AMOUNTS])
        assert bar["minutes_covered"] == len(mine)


@pytest.mark.parametrize("name", ["bars_15m", "bars_1h", "consolidated_15m", "consolidated_4h"])
def test_windows_do_not_matter(name: str, store: Store) -> None:
    put(store, [minute(venue, k, 100 + k % 7, 1.0 + k % 5) for venue in ("okx", "bybit") for k in range(600)])
    consolidated.MINUTES.compute(store, MIDNIGHT, MIDNIGHT + 10 * HOUR)
    at_once = computed(store, name, MIDNIGHT, MIDNIGHT + 10 * HOUR)
    for step in (7, 20, 90):
        for start in range(0, 600, step):
            layer(name).compute(store, MIDNIGHT + start * MINUTE, MIDNIGHT + min(start + step, 600) * MINUTE)
        rows = store.query(f"SELECT * FROM bars.{name} ORDER BY exchange, bar_ts").to_pylist()
        assert all(same(row[key], other[key], 1e-12) for row, other in zip(rows, at_once, strict=True) for key in row)


def test_venues_count_by_their_volume(store: Store) -> None:
    put(
        store,
        [
            minute("binance", 0, 100, 3.0),
            minute("bybit", 0, 104, 1.0),
            minute("okx", 0, 500, 0.0),
            minute("kraken", 0, 900, None),
            minute("binance", 0, 90, 2.0, "spot"),
        ],
    )
    futures, spot = computed(store, "consolidated_1m", MIDNIGHT, MIDNIGHT + MINUTE)
    assert (futures["exchange"], futures["market_type"], spot["market_type"]) == ("all", "futures", "spot")
    assert [futures[name] for name in PRICES] == [101, 104, 99, 102]
    assert futures["volume"] == 4
    assert futures["vwap"] == (3 * 100.5 + 104.5) / 4
    assert futures["trade_count"] == 8
    assert futures["mid_close"] == statistics.median([101.25, 105.25, 501.25, 901.25])
    assert futures["venues"] == 3
    assert [spot[name] for name in PRICES] == [90, 93, 88, 91]


def test_a_venue_that_falls_silent_leaves_no_old_price(store: Store) -> None:
    rows = [minute("binance", k, 100, 1.0) for k in range(5)]
    rows += [minute("bybit", k, 200, 9.0 if k < 2 else None) for k in range(5)]
    put(store, rows)
    consolidated.MINUTES.compute(store, MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    (bar,) = computed(store, "consolidated_5m", MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    assert (bar["open"], bar["close"]) == (190, 101)
    assert (bar["volume"], bar["venues"], bar["minutes_covered"]) == (23, 1, 5)
    assert bar["vwap"] == pytest.approx((5 * 100.5 + 18 * 200.5) / 23)


def test_a_minute_in_which_nobody_traded_has_a_mid_and_no_price(store: Store) -> None:
    put(store, [minute("binance", 0, 100, 0.0), minute("bybit", 0, 102, 0.0), minute("okx", 0, 109, None)])
    (bar,) = computed(store, "consolidated_1m", MIDNIGHT, MIDNIGHT + MINUTE)
    assert [bar[name] for name in PRICES] == [None] * 4
    assert (bar["volume"], bar["mid_close"], bar["venues"]) == (0, 103.25, 2)
