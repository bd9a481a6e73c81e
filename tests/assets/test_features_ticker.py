"""Candles and their features: planted minutes and real candles against plain Python."""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.ticker import candles, layer, levels
from orderflow_assets.features.ticker.candles import CANDLES_1H, CANDLES_5M, COUNTED_BY_VENUE
from orderflow_assets.features.ticker.declarations import TICKER
from orderflow_assets.features.ticker.levels import TICKER_1M
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets import reference_ticker
from tests.assets.computing import differences, same, stored
from tests.assets.reference_ticker import Candle, Candles

MINUTE, FIVE, HOUR, DAY = timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
NOON = datetime(2025, 3, 10, 12)  # noqa: DTZ001
AAA = ("AAAUSDT", "binance", "futures")
KUC = ("AAAUSDT", "kucoin", "futures")
CANDLES, TICKERS = STREAMS["candles"].table, STREAMS["ticker_24h"].table
LAYERS = (candles.FIVE_LAYER, candles.HOUR_LAYER, levels.LAYER, layer.LAYER)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def put(store: Store, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    store.ensure(table)
    if rows:
        store.write(table, pa.Table.from_pylist(list(rows), table.arrow_schema))


def named(identity: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("symbol", "exchange", "market_type"), identity, strict=True))


def minute_of(time: datetime) -> int:
    return round((time - EPOCH) / MINUTE)


def at(minute: int) -> datetime:
    return EPOCH + minute * MINUTE


def venue_candle(identity: tuple[str, str, str], opening: datetime, **figures: Any) -> dict[str, Any]:
    price = figures.pop("price", 100.0)
    row = {"open": price, "high": price, "low": price, "close": price, "volume": 0.0, "is_closed": True}
    end = opening + MINUTE
    return {
        **named(identity), "id": minute_of(opening), "open_time": opening, "close_time": end, "interval": "1m",
        "received_at": end, **row, **figures,
    }  # fmt: skip


def own_bar(identity: tuple[str, str, str], opening: datetime, **figures: Any) -> dict[str, Any]:
    return {
        **named(identity), "open_time": opening, "bar_ts": opening + MINUTE, "quote_count": 1, "quoted_s": 1.0,
        **figures,
    }  # fmt: skip


# -- candles of five minutes and an hour --------------------------------------------------------------------


def test_a_minute_is_the_venues_else_our_own(store: Store) -> None:
    """Five minutes: venue's; venue's that still forms, so ours; ours alone; venue's without a trade; ours, quiet."""
    put(
        store,
        CANDLES,
        [
            venue_candle(AAA, NOON, open=10.0, high=12.0, low=9.0, close=11.0, volume=2.0, quote_volume=21.0,
                         trade_count=7),
            venue_candle(AAA, NOON + MINUTE, price=50.0, volume=1.0, quote_volume=50.0, trade_count=1, is_closed=False),
            venue_candle(AAA, NOON + 3 * MINUTE, price=13.0, quote_volume=0.0, trade_count=0),
            venue_candle(AAA, NOON, interval="5m", price=999.0, volume=1.0),
        ],
    )  # fmt: skip
    traded = {"open": 11.0, "high": 14.0, "low": 11.0, "close": 13.0, "volume": 1.0, "quote_volume": 12.0,
              "vwap": 12.0, "trade_count": 3}  # fmt: skip
    put(
        store,
        BARS_1M,
        [
            own_bar(AAA, NOON, **traded),
            own_bar(AAA, NOON + MINUTE, **traded),
            own_bar(AAA, NOON + 2 * MINUTE, **(traded | {"close": 12.5})),
            own_bar(AAA, NOON + 4 * MINUTE, volume=0.0, quote_volume=0.0, trade_count=0),
        ],
    )
    candles.FIVE_LAYER.compute(store, NOON, NOON + FIVE)
    (row,) = stored(store, CANDLES_5M).values()
    assert row == named(AAA) | {
        "open_time": NOON, "bar_ts": NOON + FIVE, "last_minute": NOON + 4 * MINUTE, "minutes": 5,
        "open": 10.0, "high": 14.0, "low": 9.0, "close": 12.5, "volume": 4.0, "quote_volume": 45.0,
        "trade_count": None, "log_return": None,
    }  # fmt: skip


def test_numbers_of_trades_of_two_kinds_are_not_mixed(store: Store) -> None:
    """KuCoin futures tell neither value nor trades: both come of what was recorded, at the venue's volume."""
    put(store, CANDLES, [venue_candle(KUC, NOON + k * MINUTE, volume=3.0) for k in range(5)])
    put(
        store,
        BARS_1M,
        [
            own_bar(KUC, NOON + k * MINUTE, open=1.0, high=1.0, low=1.0, close=1.0, volume=2.0, quote_volume=202.0,
                    vwap=101.0, trade_count=4)
            for k in range(5)
        ],
    )  # fmt: skip
    candles.FIVE_LAYER.compute(store, NOON, NOON + FIVE)
    (row,) = stored(store, CANDLES_5M).values()
    assert (row["volume"], row["quote_volume"], row["trade_count"], row["close"]) == (15.0, 15 * 101.0, 20, 100.0)


def test_exchanges_that_count_trades_are_those_whose_candles_carry_them() -> None:
    telling = set()
    for name, market in MARKETS.items():
        for channel in exchange(name).channels.values():
            for rows in channel.rows:
                if rows.kind == "candles" and "trade_count" in rows.fields:
                    telling.add(market.exchange)
    assert telling == set(COUNTED_BY_VENUE)


def test_a_price_stands_for_an_hour(store: Store) -> None:
    """Traded until 11:05, then quiet but alive: the return is 0 as long as a price of the last hour is known."""
    first = NOON - HOUR
    put(
        store,
        CANDLES,
        [venue_candle(AAA, first + k * MINUTE, price=100.0 + k, volume=1.0 if k < 5 else 0.0) for k in range(90)],
    )
    candles.FIVE_LAYER.compute(store, first, NOON + 30 * MINUTE)
    found = {row["bar_ts"]: row for row in stored(store, CANDLES_5M).values()}
    assert found[first + FIVE]["log_return"] is None
    for k in range(2, 14):
        assert found[first + k * FIVE]["log_return"] == 0.0
        assert found[first + k * FIVE]["close"] is None
    assert found[first + 14 * FIVE]["log_return"] is None


def test_a_missing_minute_leaves_no_return_and_is_counted(store: Store) -> None:
    rows = [venue_candle(AAA, NOON - HOUR + k * MINUTE, price=100.0 + k, volume=1.0) for k in range(60) if k != 31]
    put(store, CANDLES, rows)
    candles.FIVE_LAYER.compute(store, NOON - HOUR, NOON)
    candles.HOUR_LAYER.compute(store, NOON - HOUR, NOON)
    fives = {row["bar_ts"]: row for row in stored(store, CANDLES_5M).values()}
    assert fives[NOON - HOUR + 7 * FIVE]["minutes"] == 4
    assert fives[NOON - HOUR + 7 * FIVE]["log_return"] is None
    assert fives[NOON - HOUR + 8 * FIVE]["log_return"] == pytest.approx(math.log(139 / 134))
    (hour,) = stored(store, CANDLES_1H).values()
    returns = [math.log((104 + 5 * k) / (99 + 5 * k)) for k in range(1, 12) if k != 6]
    assert (hour["minutes"], hour["open"], hour["close"], hour["volume"], hour["returns"]) == (59, 100, 159, 59, 10)
    assert hour["squares"] == pytest.approx(sum(r * r for r in returns))
    assert hour["quote_volume"] is None


# -- the venue's own statistics -----------------------------------------------------------------------------


def test_levels_are_the_last_statistics_and_not_older_than_five_minutes(store: Store) -> None:
    def told(when: datetime, high: float, number: int = 1) -> dict[str, Any]:
        return {
            **named(AAA), "id": number, "timestamp": when, "received_at": when, "high_24h": high, "low_24h": 80.0,
            "quote_volume_24h": 7.0,
        }  # fmt: skip

    put(store, TICKERS, [told(NOON + MINUTE, 100.0), told(NOON + MINUTE, 120.0, 2),
                         told(NOON + timedelta(minutes=1, microseconds=1), 160.0)])  # fmt: skip
    put(store, BARS_1M, [own_bar(AAA, NOON + k * MINUTE) for k in range(9)])
    for step in (levels.LAYER, layer.LAYER):
        step.compute(store, NOON, NOON + 9 * MINUTE)
    found = [row["high_low_range"] for row in stored(store, TICKER.table).values()]
    assert found == [40.0, 80.0, 80.0, 80.0, 80.0, 80.0, None, None, None]
    row = next(iter(stored(store, TICKER.table).values()))
    assert row["high_low_range_pct"] == pytest.approx(100 * math.log(120 / 80))
    assert row["volume_24h_quote"] == 7.0


# -- features -----------------------------------------------------------------------------------------------


def put_candles(store: Store, table: Table, step: timedelta, found: Candles) -> None:
    put(
        store,
        table,
        [
            named(AAA)
            | {"open_time": at(edge) - step, "bar_ts": at(edge), "last_minute": at(edge) - MINUTE}
            | {name: candle.get(name) for name in table.names if name in candle}
            for edge, candle in found.items()
        ],
    )


def compare(store: Store, fives: Candles, hours: Candles, start: datetime, end: datetime) -> dict[str, int]:
    """Assert that every feature is the slow one; how often each is known."""
    put_candles(store, CANDLES_5M, FIVE, fives)
    put_candles(store, CANDLES_1H, HOUR, hours)
    minutes = round((end - start) / MINUTE)
    put(store, BARS_1M, [own_bar(AAA, start + k * MINUTE) for k in range(minutes)])
    layer.LAYER.compute(store, start, end)
    rows = {row["bar_ts"]: row for row in stored(store, TICKER.table).values()}
    assert len(rows) == minutes
    known: dict[str, int] = {}
    slow: dict[tuple[int, int], dict[str, float | None]] = {}
    for time, row in rows.items():
        key = (minute_of(time) // 5, minute_of(time) // 60)
        expected = slow.get(key) or slow.setdefault(key, reference_ticker.row(fives, hours, minute_of(time)))
        wrong = {name: (row[name], value) for name, value in expected.items() if not same(row[name], value, 1e-8)}
        assert not wrong, (time, wrong)
        for name, value in expected.items():
            known[name] = known.get(name, 0) + (value is not None)
    return known


def planted(first: datetime, last: datetime, step: timedelta, seed: int, spoilt: float = 0.03) -> Candles:
    """A walk of candles, of which a share each is missing, quiet, short or without a return; values repeat."""
    rng, price, found = random.Random(seed), 100.0, {}
    minutes = round(step / MINUTE)
    for edge in range(minute_of(first) + minutes, minute_of(last) + 1, minutes):
        opened, price = price, price * math.exp(rng.gauss(0, 0.002))
        if rng.random() < spoilt:
            continue
        quiet = rng.random() < spoilt
        volume = 0.0 if quiet else float(rng.randint(1, 40))
        found[edge] = {
            "minutes": minutes if rng.random() > spoilt else rng.randint(1, minutes - 1),
            "open": None if quiet else opened,
            "high": None if quiet else max(opened, price) * math.exp(rng.expovariate(900)),
            "low": None if quiet else min(opened, price) * math.exp(-rng.expovariate(900)),
            "close": None if quiet else price,
            "volume": volume,
            "quote_volume": volume * price,
            "trade_count": 0 if quiet else rng.randint(1, 50),
            "log_return": rng.gauss(0, 0.001) if rng.random() > spoilt else None,
            "squares": rng.expovariate(1e5),
            "returns": rng.choice([12, 12, 12, 11, 0]),
        }
    return found


def test_every_feature_is_the_defined_one(store: Store) -> None:
    start, end = NOON - 2 * HOUR, NOON + HOUR
    fives = planted(start - 28 * HOUR, end, FIVE, 1, 0.02)
    hours = planted(start - 33 * DAY, end, HOUR, 2, 0.01)
    known = compare(store, fives, hours, start, end)
    levels_alone = {"high_low_range", "high_low_range_pct", "volume_24h_quote"}
    assert set(known) | levels_alone | {"n_obs"} == {item.name for item in TICKER.columns} | {"n_obs"}
    assert all(known.values()), known


def test_features_are_made_of_columns_the_layer_reads() -> None:
    read = {table.qualified: set(table.names) for table in (CANDLES_5M, CANDLES_1H, TICKER_1M)}
    for item in TICKER.columns:
        assert item.inputs, item.name
        for table, column in (name.rsplit(".", 1) for name in item.inputs):
            assert column in read[table], item.name
            assert table in layer.LAYER.inputs


def test_a_young_market_knows_little(store: Store) -> None:
    """Nine hours of candles: no day, no month, no average; and the first minute of a day."""
    midnight = NOON - 12 * HOUR
    known = compare(
        store,
        planted(midnight - 9 * HOUR, midnight + HOUR, FIVE, 3),
        planted(midnight - 9 * HOUR, midnight + HOUR, HOUR, 4, 0.0),
        midnight,
        midnight + HOUR,
    )
    found = {name for name, count in known.items() if count}
    assert found == {"n_obs", "volume_acceleration", "parkinson_1h", "volume_profile_skew"}


def test_a_market_that_does_not_move_has_ranges_of_zero_and_no_ratios(store: Store) -> None:
    flat: Candle = {"open": 5.0, "high": 5.0, "low": 5.0, "close": 5.0, "volume": 1.0, "quote_volume": 5.0,
                    "trade_count": 1, "log_return": 0.0, "squares": 0.0, "returns": 12}  # fmt: skip
    fives: Candles = {minute_of(NOON) - 5 * k: flat | {"minutes": 5} for k in range(330)}
    hours: Candles = {minute_of(NOON) - 60 * k: flat | {"minutes": 60} for k in range(800)}
    compare(store, fives, hours, NOON - MINUTE, NOON)
    (row,) = stored(store, TICKER.table).values()
    assert (row["realized_volatility"], row["parkinson_24h"], row["price_change_pct"]) == (0, 0, 0)
    assert row["relative_volume_percentile"] == 0.5
    for name in ("range_expansion_ratio", "range_vs_atr", "volatility_compression_idx", "jump_share",
                 "price_change_zscore", "market_strength", "volume_profile_skew"):  # fmt: skip
        assert row[name] is None, name


def recorded(path: Path, minutes: int) -> Candles:
    """Real candles by closing edge; their returns where the one before is there."""
    found: Candles = {}
    with gzip.open(path, "rt") as lines:
        for line in csv.DictReader(lines):
            edge = int(line["ts_ms"]) // 60_000 + minutes
            close, last = float(line["close"]), found.get(edge - minutes, {}).get("close")
            prices: Candle = {name: float(line[name]) for name in ("open", "high", "low", "close", "volume")}
            found[edge] = prices | {
                "quote_volume": float(line["turnover"]), "trade_count": None, "minutes": minutes,
                "log_return": math.log(close / last) if last else None, "returns": 12,
                "squares": math.log(close / last) ** 2 if last else 0.0,
            }  # fmt: skip
    return found


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEUSDT"])
def test_real_candles_give_what_plain_python_does(symbol: str, market_data: Path, store: Store) -> None:
    fives = recorded(market_data / f"bybit_linear_{symbol}_5m.csv.gz", 5)
    hours = recorded(market_data / f"bybit_linear_{symbol}_1h.csv.gz", 60)
    last = at(min(max(fives), max(hours)) // 60 * 60)
    known = compare(store, fives, hours, last - 2 * HOUR, last)
    unknown = {name for name, count in known.items() if not count}
    assert unknown == {"trade_count_percentile", "institutional_interest_idx"}, "Bybit tells no number of trades"
    row = next(row for row in stored(store, TICKER.table).values() if row["bar_ts"] == last)
    assert 0.1 < row["realized_volatility"] < 3
    assert 0.5 < row["parkinson_24h"] * math.sqrt(288 * 365) / row["realized_volatility"] < 1.5
    assert row["jump_share"] < 0.6


# -- windows ------------------------------------------------------------------------------------------------

OPENING = NOON - 3 * HOUR


def load_minutes(store: Store, until: datetime | None = None) -> None:
    """Six hours of two venues' minutes with holes, statistics, and months of hours before them."""
    rng = random.Random(9)
    rows: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for identity, k in itertools.product((AAA, KUC), range(300)):
        opening = OPENING + k * MINUTE
        price, volume = 100 + rng.random(), rng.choice([0.0, 1.0, 2.5])
        figures = {"price": price, "volume": volume, "quote_volume": price * volume, "trade_count": int(2 * volume)}
        if rng.random() < 0.9:
            rows.append(venue_candle(identity, opening, **figures, is_closed=rng.random() < 0.95))
        own = dict.fromkeys(("open", "high", "low", "close", "vwap"), price + 0.1) if volume else {}
        bars.append(own_bar(identity, opening, **own, volume=volume, quote_volume=volume * price, trade_count=3))
        stamp = opening + rng.random() * MINUTE
        told.append(
            named(identity) | {"id": k, "timestamp": stamp, "received_at": stamp, "high_24h": 110 + price,
                               "low_24h": 90.0, "quote_volume_24h": 1e6 + k}
        )  # fmt: skip
    last = until or NOON + 9 * HOUR
    put(store, CANDLES, [row for row in rows if row["close_time"] <= last])
    put(store, BARS_1M, [row for row in bars if row["bar_ts"] <= last])
    put(store, TICKERS, [row for row in told if row["timestamp"] <= last])
    put_candles(store, CANDLES_1H, HOUR, planted(OPENING - 33 * DAY, OPENING, HOUR, 5))
    put_candles(store, CANDLES_5M, FIVE, planted(OPENING - 28 * HOUR, OPENING, FIVE, 6))


def run(store: Store, end: datetime, step: timedelta) -> None:
    start = OPENING
    while start < end:
        for each in LAYERS:
            each.compute(store, start, min(start + step, end))
        start += step


@pytest.fixture(scope="module")
def by_the_hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("ticker"), scope="write") as opened:
        load_minutes(opened)
        run(opened, OPENING + 5 * HOUR, HOUR)
        yield opened


@pytest.mark.parametrize("step", [7 * MINUTE, 5 * HOUR], ids=str)
def test_the_window_does_not_matter(step: timedelta, by_the_hour: Store, store: Store) -> None:
    load_minutes(store)
    run(store, OPENING + 5 * HOUR, step)
    for each in LAYERS:
        assert not differences(stored(by_the_hour, each.table), stored(store, each.table), 1e-9), each.table.qualified


@pytest.mark.parametrize("minutes", [61, 128, 240])
def test_no_row_looks_ahead(minutes: int, by_the_hour: Store, store: Store) -> None:
    moment = OPENING + minutes * MINUTE
    load_minutes(store, moment)
    run(store, moment, HOUR)
    for each in LAYERS:
        known = stored(by_the_hour, each.table, f"bar_ts <= TIMESTAMP '{moment}'")
        assert not differences(known, stored(store, each.table), 1e-9), each.table.qualified
    assert stored(store, TICKER_1M)
