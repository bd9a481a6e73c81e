"""Open interest and positioning against a slow reference, and numbers worked out by hand."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.oi import baselines, depth, layer, liquidation_map, minutes, steps
from orderflow_assets.features.oi.assumptions import LEVERAGE, MAINTENANCE_RATE
from orderflow_assets.features.oi.declarations import OI
from orderflow_assets.features.oi.liquidation_map import Steps
from orderflow_assets.live import live
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.store import Store, Window, connect
from orderflow_streaming.tables import Table
from tests.assets.computing import differences, same, stored
from tests.assets.reference_oi import FIVE, MINUTE, SECOND, Reference, Venue
from tests.assets.tape import at, us

OI_LAYERS = (minutes.LAYER, steps.LAYER, depth.LAYER, layer.LAYER)
START = datetime(2025, 3, 1, 20)  # noqa: DTZ001
END = datetime(2025, 3, 2, 4)  # noqa: DTZ001
JUDGED = datetime(2025, 3, 2, 2)  # noqa: DTZ001
"""From here on baselines of five-minute steps have their 60."""
ALL_AT_ONCE = END - START


def _walk(rng: random.Random, value: float, sd: float) -> Iterator[float]:
    while True:
        value *= math.exp(rng.gauss(0, sd))
        yield value


def _book(
    rng: random.Random, price: float, reach: float
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Twelve levels a side, the deepest ``reach`` away from the price."""
    away = [reach * (k + 0.5) / 11.5 for k in range(12)]
    return (
        [(price * (1 - d), round(rng.uniform(1, 9), 2)) for d in away],
        [(price * (1 + d), round(rng.uniform(1, 9), 2)) for d in away],
    )


def _venue(symbol: str, exchange: str, seed: int, paces: Sequence[int], reach: float) -> Venue:
    """Open interest that comes every ``paces`` seconds at random, marks every 10 s, books every 7 s."""
    rng = random.Random(seed)
    begin, finish = us(START), us(END)
    venue = Venue(symbol, exchange, list(range(begin + MINUTE, finish + 1, MINUTE)))
    prices, held = _walk(rng, 50.0, 4e-4), _walk(rng, 10_000.0, 2e-3)
    venue.marks = [(time, next(prices)) for time in range(begin, finish, 10 * SECOND)]
    time = begin
    while time < finish:
        venue.oi.append((time, next(held)))
        time += rng.choice(paces) * SECOND
    venue.volumes = [(time, 4e5 + 1e4 * rng.random()) for time in range(begin, finish, 60 * SECOND)]
    marks = dict(venue.marks)
    for time in range(begin, finish, 7 * SECOND):
        bids, asks = _book(rng, marks[time - (time - begin) % (10 * SECOND)], reach)
        venue.books.append((time, bids, asks))
    return venue


def _planted() -> dict[str, list[Venue]]:
    polled = _venue("AAAUSDT", "binance", 1, [15], 0.02)
    pushed = _venue("AAAUSDT", "bybit", 2, [1, 5, 40, 200, 700], 0.003)
    paced = _venue("AAAUSDT", "okx", 3, [60], 0.02)
    constant = _venue("BBBUSDT", "binance", 4, [15], 0.02)
    single = _venue("CCCUSDT", "gateio", 5, [100_000], 0.02)
    silent = (us(datetime(2025, 3, 2, 2, 31)), us(datetime(2025, 3, 2, 2, 52)))  # noqa: DTZ001
    polled.oi = [row for row in polled.oi if not silent[0] <= row[0] < silent[1]]
    paced.marks = [row for row in paced.marks if not silent[0] <= row[0] < silent[1]]
    pushed.volumes = [row for row in pushed.volumes if not silent[0] <= row[0] < silent[1]]
    paced.books = [row for row in paced.books if not silent[0] <= row[0] < silent[1]]
    paced.books[-200:] = [(time, asks, bids) for time, bids, asks in paced.books[-200:]]
    pushed.bars = [edge for edge in pushed.bars if not silent[0] < edge <= silent[0] + 4 * MINUTE]
    constant.oi = [(time, 500.0) for time, _ in constant.oi]
    constant.marks = [(time, 20.0) for time, _ in constant.marks]
    rng = random.Random(6)
    for time in range(us(START), us(END), FIVE):
        polled.ratios.append((time, time + rng.randint(1, 280) * SECOND, rng.lognormvariate(0.2, 0.3)))
        constant.ratios.append((time, time + 40 * SECOND, 1.5))
    polled.ratios = [row for row in polled.ratios if not silent[0] <= row[0] < silent[1]]
    return {"AAAUSDT": [polled, pushed, paced], "BBBUSDT": [constant], "CCCUSDT": [single]}


def _write(store: Store, table: Table, venue: Venue, columns: dict[str, Sequence[Any]]) -> None:
    count = len(next(iter(columns.values())))
    data = {
        "id": range(1, count + 1),
        "symbol": [venue.symbol] * count,
        "exchange": [venue.exchange] * count,
        "market_type": ["futures"] * count,
        "received_at": columns.get("timestamp", [None] * count),
    } | columns
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in table.arrow_schema]
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


def _load(store: Store, venue: Venue) -> None:
    _bars(store, venue, "futures")
    quotes = {"timestamp": [edge - 30 * SECOND for edge in venue.bars]}
    quotes |= {
        name: [price] * len(venue.bars) for name, price in (("bid_price", 49), ("ask_price", 51), ("mid_price", 50))
    }
    _write(store, STREAMS["prices"].table, venue, quotes)
    for name, column, records in (
        ("open_interest", "open_interest", venue.oi),
        ("mark_prices", "mark_price", venue.marks),
    ):
        times, values = zip(*records, strict=True)
        _write(store, STREAMS[name].table, venue, {"timestamp": times, column: values})
    times, values = zip(*venue.volumes, strict=True)
    in_value = venue.exchange != "okx"
    told = {"quote_volume_24h": values} if in_value else {"volume_24h": [v / 50 for v in values]}
    _write(store, STREAMS["ticker_24h"].table, venue, {"timestamp": times, "last_price": [50.0] * len(times)} | told)
    if venue.ratios:
        times, came, ratios = zip(*venue.ratios, strict=True)
        for kind, factor in (("accounts", 1.0), ("top_positions", 3.0)):
            told = {"long_short_ratio": [factor * ratio for ratio in ratios], "kind": [kind] * len(times)}
            _write(store, STREAMS["positioning"].table, venue, {"timestamp": times, "received_at": came} | told)
    columns: dict[str, list[Any]] = {"timestamp": [], "mid_price": [], "bid_tail": [], "ask_tail": []}
    for time, bids, asks in venue.books:
        columns["timestamp"].append(time)
        columns["mid_price"].append((bids[0][0] + asks[0][0]) / 2)
        for name, levels in (("bid", bids), ("ask", asks)):
            for number, (price, qty) in enumerate(levels[:LEVELS], start=1):
                columns.setdefault(f"{name}_{number}_price", []).append(price)
                columns.setdefault(f"{name}_{number}_qty", []).append(qty)
            columns[f"{name}_tail"].append([list(level) for level in levels[LEVELS:]])
    _write(store, STREAMS["orderbooks"].table, venue, columns)


def _bars(store: Store, venue: Venue, market_type: str) -> None:
    count = len(venue.bars)
    columns = {
        "market_type": [market_type] * count,
        "open_time": [edge - MINUTE for edge in venue.bars],
        "bar_ts": venue.bars,
        "quote_count": [1] * count,
        "quoted_s": [60.0] * count,
    }
    _write(store, BARS_1M, venue, columns)


def _compute(store: Store, start: datetime, end: datetime, step: timedelta) -> None:
    while start < end:
        for each in OI_LAYERS:
            each.compute(store, start, min(start + step, end))
        start += step


@pytest.fixture(scope="module")
def planted() -> dict[str, list[Venue]]:
    return _planted()


@pytest.fixture(scope="module")
def raw(planted: dict[str, list[Venue]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw_oi")
    with connect(folder, scope="write") as store:
        store.ensure(BARS_1M, *(stream.table for stream in STREAMS.values()))
        for venues in planted.values():
            for venue in venues:
                _load(store, venue)
        _bars(store, planted["AAAUSDT"][0], "spot")
        store.action("checkpoint")
    return folder


@pytest.fixture(scope="module")
def computed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with _copied(raw, tmp_path_factory.mktemp("oi")) as store:
        _compute(store, START, END, timedelta(hours=1))
        yield store


def _copied(raw: Path, folder: Path) -> Store:
    shutil.copytree(raw, folder, dirs_exist_ok=True)
    return connect(folder, scope="write")


@pytest.fixture(scope="module")
def judged(planted: dict[str, list[Venue]], computed: Store) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Computed and expected rows of minutes before, at and after everything that happens."""
    rows = stored(computed, OI.table)
    edges = [us(START) + k * MINUTE for k in (1, 2, 61, 130)]
    edges += [us(JUDGED) + k * MINUTE for k in (*range(28, 58), 59, 60, 61, 90, 115, 120)]
    found = []
    for symbol, venues in planted.items():
        reference = Reference(venues)
        for venue in venues:
            for edge in edges:
                row = rows.get((symbol, venue.exchange, "futures", at(edge)))
                assert (row is not None) == (edge in venue.bars)
                if row is not None:
                    found.append((f"{symbol} {venue.exchange} {at(edge)}", row, reference.row(venue, edge)))
    return found


@pytest.mark.parametrize("name", ["n_obs", *(feature.name for feature in OI.columns)])
def test_every_value_is_the_defined_one(name: str, judged: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    wrong = [(where, row[name], wanted[name]) for where, row, wanted in judged if not same(row[name], wanted[name])]
    assert not wrong, f"{len(wrong)} of {len(judged)} differ, such as {wrong[:3]}"
    assert any(row[name] is not None for _, row, _ in judged), "the tape never reaches this feature"
    assert name in ("n_obs", "oi_venues") or any(row[name] is None for _, row, _ in judged), "it is never undefined"


def test_rows_are_the_minutes_of_futures(planted: dict[str, list[Venue]], computed: Store) -> None:
    wanted = {
        (venue.symbol, venue.exchange, "futures", at(edge))
        for venues in planted.values()
        for venue in venues
        for edge in venue.bars
    }
    assert set(stored(computed, OI.table)) == wanted


@pytest.mark.parametrize("minutes_at_once", [20, 13])
def test_the_window_does_not_matter(minutes_at_once: int, raw: Path, computed: Store, tmp_path: Path) -> None:
    with _copied(raw, tmp_path) as store:
        _compute(store, START, JUDGED, ALL_AT_ONCE)
        _compute(store, JUDGED, END - timedelta(minutes=50), timedelta(minutes=minutes_at_once))
        for each in OI_LAYERS:
            until = f"{each.table.time} < TIMESTAMP '{END - timedelta(minutes=50)}'"
            assert not differences(stored(computed, each.table, until), stored(store, each.table), 1e-9)


@pytest.mark.parametrize("minutes_on", [37, 90])
def test_no_bar_looks_ahead(minutes_on: int, raw: Path, computed: Store, tmp_path: Path) -> None:
    moment = JUDGED + timedelta(minutes=minutes_on)
    later = Window(moment + timedelta(microseconds=1), datetime(9999, 1, 1))  # noqa: DTZ001
    with _copied(raw, tmp_path) as store:
        for stream in STREAMS.values():
            store.write(stream.table, stream.table.arrow_schema.empty_table(), later)
        store.write(BARS_1M, BARS_1M.arrow_schema.empty_table(), Window(moment, later.end))
        _compute(store, START, moment, ALL_AT_ONCE)
        for each in OI_LAYERS:
            until = f"{each.table.time} < TIMESTAMP '{moment}'"
            assert not differences(stored(computed, each.table, until), stored(store, each.table), 1e-9)


def test_live_rows_are_the_stored_ones(computed: Store) -> None:
    end = JUDGED + timedelta(minutes=47)
    within = f"symbol = 'AAAUSDT' AND bar_ts > TIMESTAMP '{end - timedelta(minutes=7)}' AND bar_ts <= TIMESTAMP '{end}'"
    rows = live(computed, OI.table.qualified, "AAAUSDT", 7, end).to_pylist()
    found = {tuple(row[name] for name in OI.table.key): row for row in rows}
    assert len(found) == 21
    assert not differences(stored(computed, OI.table, within), found, 1e-9)


def test_baselines_hold_thirty_and_seven_days(tmp_path: Path) -> None:
    count, outputs = 31 * 288, 12
    rng = np.random.default_rng(8)
    venue = Venue("AAAUSDT", "binance", [us(JUDGED) + (k + 1) * MINUTE for k in range(-240, outputs)])
    edges = [us(JUDGED) + FIVE * k for k in range(-count, 3)]
    oi, mark, volume, ratio = (np.exp(rng.normal(0, 1e-3, len(edges)).cumsum()) for _ in range(4))
    with connect(tmp_path, scope="write") as store:
        store.ensure(*(each.table for each in OI_LAYERS))
        told = {"oi": oi, "mark": mark, "volume_24h_quote": volume, "long_short_ratio": ratio}
        _write(store, steps.OI_5M, venue, {"timestamp": edges, "mark_low": mark, "mark_high": mark} | told)
        minute = {name: np.interp(venue.bars, edges, values) for name, values in told.items()}
        opened = {"open_time": [edge - MINUTE for edge in venue.bars], "bar_ts": venue.bars}
        _write(store, minutes.OI_1M, venue, opened | minute | {"samples": [4] * len(venue.bars)})
        layer.LAYER.compute(store, JUDGED, JUDGED + timedelta(minutes=outputs))
        rows = stored(store, OI.table)
    for number in (0, 3, 4, 5, 11):
        edge = us(JUDGED) + (number + 1) * MINUTE
        row, bar = rows[("AAAUSDT", "binance", "futures", at(edge))], venue.bars.index(edge)
        seen = np.array(edges) < edge
        month = {name: np.log(values[seen][-8640:]) for name, values in told.items()}
        now = {name: math.log(values[bar]) for name, values in minute.items()}
        quarter = {name: now[name] - math.log(minute[name][bar - 15]) for name in ("oi", "mark")}
        usual = {name: month[name][-2016:] - month[name][-2019:-3] for name in ("oi", "mark")}
        turnover = [part["oi"] + part["mark"] - part["volume_24h_quote"] for part in (now, month)]
        product = [(quarter[name] - usual[name].mean()) / usual[name].std(ddof=1) for name in ("oi", "mark")]
        rank = stats.percentileofscore(month["long_short_ratio"], now["long_short_ratio"], "mean") / 100
        assert row["oi_zscore"] == pytest.approx((now["oi"] - month["oi"].mean()) / month["oi"].std(ddof=1))
        assert row["leverage_zscore"] == pytest.approx((turnover[0] - turnover[1].mean()) / turnover[1].std(ddof=1))
        assert row["oi_price_delta_product"] == pytest.approx(product[0] * product[1])
        assert row["position_crowding_score"] == pytest.approx(2 * abs(rank - 0.5))
        assert row["crowded_side"] == np.sign(now["long_short_ratio"] - np.median(month["long_short_ratio"]))


def _constant(count: int, oi: float = 100.0, mark: float = 100.0) -> Steps:
    return Steps(*(np.full(count, value) for value in (oi, mark, mark, mark)))


def test_a_rise_lies_at_its_liquidation_prices() -> None:
    made = _constant(100)
    made.oi[50:] = 110.0
    (levels,) = liquidation_map.maps(made, [99], 99)
    assert levels is not None
    assert levels.share == pytest.approx(10 / 110)
    near = np.array([-math.log(100.0)])
    nearest = 100 * 0.99 / 0.995
    assert levels.long.trigger(near)[0] == pytest.approx(-math.log(100 * 0.98 / 0.995)), "100x holds only 5 %"
    assert levels.long.between(near, np.array([-math.log(nearest - 0.01)]))[0] == pytest.approx(10 * 0.5 * 0.05)
    assert levels.long.between(near, np.array([-math.log(nearest + 0.01)]))[0] == 0
    assert levels.short.between(-near, np.array([math.log(100 * 1.2 / 1.005 + 0.01)]))[0] == pytest.approx(5.0)


def test_a_fall_unwinds_in_proportion_and_a_reached_level_is_gone() -> None:
    made = _constant(100)
    made.oi[50:] = 110.0
    made.oi[60:] = 55.0
    made.low[70] = 99.0
    (levels,) = liquidation_map.maps(made, [99], 99)
    assert levels is not None
    assert levels.share == pytest.approx(5 / 55)
    everything = np.array([np.inf])
    near = np.array([-np.inf])
    assert levels.long.between(near, everything)[0] == pytest.approx(2.5 * 0.95), "100x longs were liquidated at 99.497"
    assert levels.short.between(near, everything)[0] == pytest.approx(2.5)


def test_a_rise_over_a_gap_opens_nothing_and_a_fall_over_it_counts() -> None:
    made = _constant(100)
    made.oi[50:] = 110.0
    made.oi[70:75] = np.nan
    made.oi[75:] = 55.0
    made.oi[80] = np.nan
    made.oi[81:] = 99.0
    (levels,) = liquidation_map.maps(made, [99], 99)
    assert levels is not None
    assert levels.share == pytest.approx(5 / 99)


def test_what_was_opened_before_the_window_is_not_mapped() -> None:
    made = _constant(200)
    made.oi[50:] = 110.0
    early, late = liquidation_map.maps(made, [149, 150], 100)
    assert early is not None
    assert late is not None
    assert early.share == pytest.approx(10 / 110)
    assert late.share == 0
    assert math.isnan(late.long.trigger(np.array([-math.log(100.0)]))[0])


def test_a_short_history_has_no_map() -> None:
    assert liquidation_map.maps(_constant(60), [59], 99) == [None]
    assert liquidation_map.maps(_constant(61), [60], 99) != [None]


def test_the_shares_of_leverage_add_up() -> None:
    assert sum(share for _, share in LEVERAGE) == pytest.approx(1)
    assert all(1 / leverage > MAINTENANCE_RATE for leverage, _ in LEVERAGE)


@pytest.mark.parametrize("end", [25, 150, 260])
def test_a_baseline_is_the_steps_up_to_its_end_and_no_more(end: int) -> None:
    rng = np.random.default_rng(end)
    values = rng.normal(2.0, 0.5, (3, 300))
    values[0, rng.random(300) < 0.4] = np.nan
    values[2] = 7.0
    now, of, length = rng.normal(2.0, 0.5, (3, 4)), np.zeros(4, dtype=np.int64), 144
    z, rank, middle = (
        baselines.zscore(now, values, [end], of, length),
        baselines.rank(now, values, [end], of, length),
        baselines.median(values, [end], of, length),
    )
    for row in range(3):
        window = values[row, max(0, end + 1 - length) : end + 1]
        window = window[np.isfinite(window)]
        if len(window) < 60:
            assert np.isnan([z[row], rank[row], middle[row]]).all()
            continue
        assert middle[row] == pytest.approx(np.median(window))
        assert rank[row] == pytest.approx([stats.percentileofscore(window, value, "mean") / 100 for value in now[row]])
        if row == 2:
            assert np.isnan(z[row]).all(), "constant steps have no sigma"
        else:
            assert z[row] == pytest.approx((now[row] - window.mean()) / window.std(ddof=1))


def test_every_column_says_what_it_is_made_of() -> None:
    known = {stream.table.qualified: stream.table for stream in STREAMS.values()}
    known |= {each.table.qualified: each.table for each in OI_LAYERS}
    for each in OI_LAYERS:
        own = set(each.table.names) - {"symbol", "exchange", "market_type", "open_time", "bar_ts", "timestamp"}
        assert set(each.lineage) == own
        for source in {name for sources in each.lineage.values() for name in sources}:
            qualified, _, column = source.rpartition(".")
            assert qualified in each.inputs
            assert column in known[qualified].names
