"""Liquidations: who was closed, in which runs, how hard and what the price did then; against a slow computation."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.features.liquidations import clusters, feeds, layer, measures, minutes
from orderflow_assets.features.liquidations.clusters import CLUSTERS, RETRACEMENTS
from orderflow_assets.features.liquidations.declarations import LIQUIDATIONS
from orderflow_assets.features.liquidations.minutes import LIQUIDATIONS_1M, LIQUIDATIONS_5M
from orderflow_assets.features.oi.minutes import OI_1M
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import GAPS, STREAMS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets import reference_liquidations as slow
from tests.assets.computing import differences, same, stored
from tests.assets.reference_liquidations import FIVE, MINUTE, SECOND, Event, Market

RAW = STREAMS["liquidations"].table
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
OPENING = datetime(2025, 3, 9, 22)  # noqa: DTZ001
MINUTES = 240
A, B = ("AAAUSDT", "binance", "futures"), ("BBBUSDT", "binance", "futures")
K, S = ("AAAUSDT", "kucoin", "futures"), ("AAAUSDT", "binance", "spot")
LAYERS = (
    minutes.MINUTE_LAYER,
    minutes.MID_LAYER,
    minutes.FIVE_LAYER,
    clusters.CLUSTERS_LAYER,
    clusters.RETRACEMENTS_LAYER,
    layer.LAYER,
)


def us(time: datetime) -> int:
    return round((time - EPOCH) / timedelta(microseconds=1))


def at(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


FIRST = us(OPENING)
LAST = FIRST + MINUTES * MINUTE


def named(identity: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("symbol", "exchange", "market_type"), identity, strict=True))


def put(store: Store, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    store.ensure(table)
    if rows:
        store.write(table, pa.Table.from_pylist(list(rows), table.arrow_schema))


def put_events(store: Store, identity: tuple[str, str, str], events: Sequence[Event]) -> None:
    put(
        store,
        RAW,
        [
            {**named(identity), "id": number, "timestamp": at(event.us), "received_at": at(event.us), "price": 10.0,
             "side": event.side, "quantity": event.value / 10, "value_usd": event.value}
            for number, event in enumerate(events)
        ],
    )  # fmt: skip


def put_bars(store: Store, identity: tuple[str, str, str], edges: Sequence[int]) -> None:
    put(
        store,
        BARS_1M,
        [
            {**named(identity), "open_time": at(edge - MINUTE), "bar_ts": at(edge), "quote_count": 1, "quoted_s": 60.0}
            for edge in edges
        ],
    )


def put_quotes(store: Store, identity: tuple[str, str, str], quotes: dict[int, tuple[float, float]]) -> None:
    put(
        store,
        QUOTES_1S,
        [
            {**named(identity), "open_time": at(second - SECOND), "bar_ts": at(second), "bid_price": mid - spread / 2,
             "ask_price": mid + spread / 2, "quotes": 1, "quoted_s": 1.0, "sized_s": 1.0}
            for second, (mid, spread) in quotes.items()
        ],
    )  # fmt: skip


def put_gap(store: Store, identity: tuple[str, str, str], start: int, end: int, **more: Any) -> None:
    row = {**named(identity), "detected_at": at(end), "stream": "liquidations", "started_at": at(start),
           "ended_at": at(end), "reason": "disconnection"}  # fmt: skip
    put(store, GAPS, [row | more])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def run(store: Store, start: int, end: int, step: int = 60 * MINUTE) -> None:
    while start < end:
        for each in LAYERS:
            each.compute(store, at(start), at(min(start + step, end)))
        start += step


# -- what a venue shows -------------------------------------------------------------------------------------


def test_every_futures_market_says_what_its_feed_shows() -> None:
    futures = {name: market for name, market in MARKETS.items() if market.market_type == "futures"}
    assert set(feeds.FEEDS) == set(futures)
    for name, market in futures.items():
        assert (feeds.FEEDS[name].completeness == "none") == ("liquidations" not in market.streams)


def test_a_feed_was_a_sample_before_it_was_whole() -> None:
    changed = datetime(2026, 8, 20)  # noqa: DTZ001
    assert feeds.completeness("gateio", "futures", changed) == "every"
    assert feeds.completeness("gateio", "futures", changed - timedelta(minutes=1)) == "sampled"
    assert feeds.completeness("okx", "futures", changed) == "sampled"
    assert feeds.completeness("kucoin", "futures", changed) == "none"
    assert feeds.completeness("binance", "spot", changed) is None


# -- when a feed lives --------------------------------------------------------------------------------------


def counted(store: Store, identity: tuple[str, str, str]) -> dict[int, int]:
    """Events by minute of the tape, of the minutes that have a row."""
    return {
        (us(row["open_time"]) - FIRST) // MINUTE: row["long_count"] + row["short_count"]
        for row in stored(store, LIQUIDATIONS_1M).values()
        if (row["symbol"], row["exchange"], row["market_type"]) == identity
    }


def test_nothing_is_zero_only_while_the_feed_lives(store: Store) -> None:
    """No row before the first event of the market, in a hole that stays open, and without any other data."""
    for identity in (A, B, K, S):
        put_bars(store, identity, [FIRST + k * MINUTE for k in range(1, 11) if k != 9])
    put_events(store, A, [Event(FIRST + 2 * MINUTE, "long", 5.0)])
    put_gap(store, B, FIRST + 4 * MINUTE + SECOND, FIRST + 5 * MINUTE + SECOND)
    put_gap(store, A, FIRST + 4 * MINUTE, FIRST + 6 * MINUTE, filled_at=at(LAST))
    put_gap(store, A, FIRST + 4 * MINUTE, FIRST + 6 * MINUTE, stream="trades", detected_at=at(LAST))
    minutes.MINUTE_LAYER.compute(store, OPENING, at(FIRST + 10 * MINUTE))
    assert counted(store, A) == {2: 1, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 9: 0}
    assert counted(store, B) == {2: 0, 3: 0, 6: 0, 7: 0, 9: 0}
    assert counted(store, K) == counted(store, S) == {}


def test_a_feed_that_tells_nothing_for_a_day_is_taken_for_dead(store: Store) -> None:
    put_bars(store, B, [FIRST + k * MINUTE for k in range(1439, 1443)])
    put_events(store, A, [Event(FIRST + SECOND, "short", 5.0)])
    minutes.MINUTE_LAYER.compute(store, OPENING, at(FIRST + 1443 * MINUTE))
    assert sorted(counted(store, B)) == [1438, 1439, 1440]


def test_features_of_a_market_without_a_feed_are_null_and_spot_has_no_rows(store: Store) -> None:
    for identity in (A, K, S):
        put_bars(store, identity, [FIRST + k * MINUTE for k in range(1, 8)])
    put_events(store, A, [Event(FIRST + SECOND, "long", 5.0)])
    run(store, FIRST, FIRST + 7 * MINUTE)
    rows = stored(store, LIQUIDATIONS.table)
    assert {key[1:3] for key in rows} == {("binance", "futures"), ("kucoin", "futures")}
    for (_, exchange, _, _), row in rows.items():
        assert row["feed_completeness"] == ("sampled" if exchange == "binance" else "none")
        if exchange == "kucoin":
            assert {row[item.name] for item in LIQUIDATIONS.columns if item.name != "feed_completeness"} == {None}
            assert row["n_obs"] == 0


# -- clusters -----------------------------------------------------------------------------------------------


def found_clusters(store: Store) -> list[tuple[str, float, float, int, float]]:
    return sorted(
        (row["side"], (us(row["started_at"]) - FIRST) / SECOND, (us(row["ended_at"]) - FIRST) / SECOND, row["events"],
         row["value"])
        for row in stored(store, CLUSTERS).values()
    )  # fmt: skip


def test_a_run_goes_on_over_exactly_five_seconds_and_the_other_side(store: Store) -> None:
    events = [(0.0, "long", 1.0), (5.0, "long", 2.0), (6.0, "short", 4.0), (10.0, "long", 8.0),
              (15.000001, "long", 16.0), (15.000001, "long", 32.0)]  # fmt: skip
    put_events(store, A, [Event(FIRST + round(t * SECOND), side, value) for t, side, value in events])
    clusters.CLUSTERS_LAYER.compute(store, OPENING, at(FIRST + MINUTE))
    assert found_clusters(store) == [
        ("long", 0.0, 10.0, 3, 11.0),
        ("long", 15.000001, 15.000001, 2, 48.0),
        ("short", 6.0, 6.0, 1, 4.0),
    ]


def test_a_run_is_known_closed_five_seconds_after_its_end(store: Store) -> None:
    put_events(store, A, [Event(FIRST + 54_999_999, "long", 1.0), Event(FIRST + 2 * MINUTE - 5 * SECOND, "long", 1.0)])
    clusters.CLUSTERS_LAYER.compute(store, OPENING, at(FIRST + MINUTE))
    assert len(stored(store, CLUSTERS)) == 1
    clusters.CLUSTERS_LAYER.compute(store, OPENING, at(FIRST + 2 * MINUTE))
    assert len(stored(store, CLUSTERS)) == 1
    clusters.CLUSTERS_LAYER.compute(store, OPENING, at(FIRST + 3 * MINUTE))
    assert len(stored(store, CLUSTERS)) == 2


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 180), st.sampled_from(["long", "short"]), st.integers(1, 9)), max_size=40),
    st.integers(1, 3),
)
def test_runs_are_those_of_walking_through_the_events(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, str, int]], step: int
) -> None:
    events = sorted(Event(FIRST + second * SECOND, side, float(value)) for second, side, value in drawn)
    with connect(tmp_path_factory.mktemp("runs"), scope="write") as opened:
        put_events(opened, A, events)
        for start in range(0, 5, step):
            clusters.CLUSTERS_LAYER.compute(
                opened, at(FIRST + start * MINUTE), at(FIRST + min(start + step, 5) * MINUTE)
            )
        walked = slow.Market(list(events), set(), [], [], {}, {}).runs(LAST)
        assert sorted(
            (us(row["started_at"]), us(row["ended_at"]), row["events"], row["value"])
            for row in stored(opened, CLUSTERS).values()
        ) == sorted(walked)


def test_the_price_comes_back_by_hand(store: Store) -> None:
    """Longs closed from 10.5 s to 20.2 s: from 100 at 10 s to 98 at 21 s, and 99.5 a minute later: three quarters."""
    put_bars(store, A, [FIRST + k * MINUTE for k in range(1, 65)])
    put_events(store, A, [Event(FIRST + 10_500_000 + k * 3_233_333, "long", 1.0) for k in range(4)])
    mids = {10: 100.0, 11: 99.0, 20: 98.5, 21: 98.0, 81: 99.5}
    put_quotes(store, A, {FIRST + second * SECOND: (mid, 0.5) for second, mid in mids.items()})
    run(store, FIRST, FIRST + 64 * MINUTE, 64 * MINUTE)
    (cluster,) = stored(store, RETRACEMENTS).values()
    assert cluster["known_at"] == at(FIRST + 81 * SECOND)
    assert cluster["retracement"] == pytest.approx(0.75)
    found = [row["absorption_after_liq"] for row in stored(store, LIQUIDATIONS.table).values()]
    assert found == [None, *[pytest.approx(0.75)] * 60, None, None, None]


def test_a_move_within_the_spread_is_none(store: Store) -> None:
    put_events(store, A, [Event(FIRST + 10 * SECOND, "long", 1.0)])
    put_quotes(store, A, {FIRST + 10 * SECOND: (100.0, 0.5), FIRST + 70 * SECOND: (101.0, 0.5)})
    run(store, FIRST, FIRST + 2 * MINUTE)
    (cluster,) = stored(store, RETRACEMENTS).values()
    assert (cluster["mid_before"], cluster["mid_end"], cluster["mid_after"]) == (100.0, 100.0, 101.0)
    assert cluster["retracement"] is None


# -- mathematics --------------------------------------------------------------------------------------------


def test_branching_recovers_the_share_of_triggered_events() -> None:
    """A Hawkes process of ratio 0.6 whose excitation decays in 5 s reads 0.55 by the minute; Poisson reads 0."""
    rng = np.random.default_rng(11)
    ratios, poisson = [], []
    for _ in range(40):
        times = list(rng.uniform(0, 10_800, rng.poisson(0.05 * 10_800)))
        for time in times:
            times.extend(time + rng.exponential(5.0, rng.poisson(0.6)))
        counts = np.histogram(times, bins=180, range=(0, 10_800))[0].astype(float)
        ratios.append(measures.branching(counts[None, :], 1)[0, 0])
        poisson.append(measures.branching(rng.poisson(7.5, 180).astype(float)[None, :], 1)[0, 0])
    assert np.mean(ratios) == pytest.approx(0.55, abs=0.05)
    assert np.mean(poisson) < 0.06


def test_branching_needs_thirty_events_and_an_hour() -> None:
    counts = np.zeros((3, 180))
    counts[0, :29] = 1
    counts[1, ::6] = 1
    counts[2, :] = np.nan
    counts[2, -59:] = 3
    assert np.isnan(measures.branching(counts, 1)[:, 0]).tolist() == [True, False, True]


def test_severity_bands() -> None:
    rank = np.array([[0.0, 0.8999, 0.9, 0.97, 0.9949, 0.995, 0.995, 0.995, np.nan]])
    probability = np.array([[0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.4999, np.nan, 0.9]])
    assert measures.severity(rank, probability).tolist() == [
        ["none", "none", "mild", "moderate", "moderate", "severe", "moderate", "moderate", None]
    ]


def test_a_zscore_by_running_sums_is_that_of_the_window() -> None:
    rng = np.random.default_rng(5)
    values = np.log1p(rng.poisson(0.02, (2, 5000)) / 5)
    values[0, rng.random(5000) < 0.1] = np.nan
    values[1, :4000] = 0.0
    found = measures.long_zscore(values, 2000, 600)
    for row, bar in ((0, 0), (0, 599), (1, 400), (1, 599)):
        past = values[row, 4400 + bar - 2000 : 4400 + bar]
        now = values[row, 4400 + bar]
        expected = (now - np.nanmean(past)) / np.nanstd(past, ddof=1)
        assert found[row, bar] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    after_events = np.concatenate([np.log1p(rng.poisson(1.0, (1, 3000))), np.zeros((1, 2100))], axis=1)
    assert np.isnan(measures.long_zscore(after_events, 2000, 50)).all()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 1.0),
        ({"rank": 0.98}, 0.0),
        ({"rank": np.nan}, np.nan),
        ({"last_count": 6.0}, 0.0),
        ({"last_count": 5.0}, 1.0),
        ({"last_low": 89.0}, 0.0),
        ({"last_low": 90.0}, 1.0),
        ({"last_low": np.nan}, np.nan),
        ({"last_low": np.nan, "last_count": 6.0}, 0.0),
        ({"short": 200.0}, 1.0),
        ({"short": 200.0, "last_high": 111.0}, 0.0),
        ({"short": 100.0}, np.nan),
    ],
)
def test_exhaustion_is_a_climax_that_died_down_and_holds(changed: dict[str, float], expected: float) -> None:
    """Longs of 100 closed at a climax five minutes ago, 20 events in its minute; the price fell to 90 then."""
    flat = np.full((1, 15), 0.5)
    rank, counts, long, short = flat.copy(), flat * 4, flat * 0, flat * 0
    low, high = flat * 0 + 100, flat * 0 + 110
    rank[0, 10], counts[0, 10], long[0, 10], low[0, 10] = changed.get("rank", 0.99), 20.0, 100.0, 90.0
    short[0, 9] = changed.get("short", 0.0)
    counts[0, -1] = changed.get("last_count", 2.0)
    low[0, -1], high[0, -2] = changed.get("last_low", 95.0), changed.get("last_high", 110.0)
    assert measures.exhaustion(rank, counts, long, short, low, high, 1)[0, 0] == pytest.approx(expected, nan_ok=True)


# -- everything against the slow computation ----------------------------------------------------------------


@dataclass
class Planted:
    """Events, quotes and open interest of four hours across midnight, and weeks of minutes and steps before them."""

    markets: dict[tuple[str, str, str], Market]

    def until(self, moment: int) -> Planted:
        kept = {
            identity: replace(
                market,
                events=[event for event in market.events if event.us <= moment],
                bars={edge for edge in market.bars if edge <= moment},
                quotes={second: quote for second, quote in market.quotes.items() if second <= moment},
                interest={edge: worth for edge, worth in market.interest.items() if edge <= moment},
            )
            for identity, market in self.markets.items()
        }
        return Planted(kept)

    def load(self, store: Store) -> None:
        for identity, market in self.markets.items():
            put_events(store, identity, market.events)
            put_bars(store, identity, sorted(market.bars))
            put_quotes(store, identity, market.quotes)
            put(
                store,
                OI_1M,
                [
                    {**named(identity), "open_time": at(edge - MINUTE), "bar_ts": at(edge), "samples": 1,
                     "oi": worth / 10, "mark": 10.0}
                    for edge, worth in market.interest.items()
                ],
            )  # fmt: skip
            for start, end in market.gaps:
                put_gap(store, identity, start, end)
            put(
                store,
                LIQUIDATIONS_1M,
                [
                    {**named(identity), "open_time": at(edge - MINUTE), "bar_ts": at(edge), "long_count": count,
                     "short_count": 0, "long_value": 0.0, "short_value": 0.0, "late_value": 0.0, "cluster_size": 0,
                     "cluster_value": 0.0, "cluster_duration_s": 0.0}
                    for edge, count in market.past_counts.items()
                ],
            )  # fmt: skip
            put(
                store,
                LIQUIDATIONS_5M,
                [
                    {**named(identity), "open_time": at(edge - FIVE), "bar_ts": at(edge),
                     "last_minute": at(edge - MINUTE), "value": value, "share": share}
                    for edge, (value, share) in market.past_steps.items()
                ],
            )  # fmt: skip
            put(
                store,
                CLUSTERS,
                [
                    {**named(identity), "side": "long", "started_at": at(closed - 5 * SECOND),
                     "ended_at": at(closed - 5 * SECOND), "closed_at": at(closed), "events": 1, "value": value}
                    for closed, value in market.past_clusters
                ],
            )  # fmt: skip


def _burst(rng: random.Random, start: float, seconds: float, count: int, side: str, size: float) -> list[Event]:
    times = sorted(start + seconds * rng.random() for _ in range(count))
    return [Event(FIRST + round(time * 1000) * 1000, side, round(size * rng.lognormvariate(0, 1), 2)) for time in times]


def planted() -> Planted:
    rng = random.Random(23)
    events = [
        Event(FIRST + round(rng.random() * MINUTES * 60_000) * 1000, rng.choice(["long", "short"]), 1000.0)
        for _ in range(130)
    ]
    events += _burst(rng, 60 * 60 - 25, 50, 60, "long", 20_000)  # across an hour
    events += _burst(rng, 62 * 60, 120, 9, "long", 900)
    events += [Event(FIRST + (118 * 60 + 4 * k) * SECOND, "short", 500.0 + k) for k in range(90)]  # across midnight
    events += _burst(rng, 150 * 60, 20, 12, "short", 4000)
    events += _burst(rng, 200 * 60, 90, 45, "short", 25_000)
    events += [Event(FIRST + 30 * MINUTE, "long", 7000.0)] * 1 + [Event(FIRST + 30 * MINUTE, "short", 7000.0)]
    thin = _burst(rng, 20 * 60, 3 * 3600, 25, "long", 2000) + _burst(rng, 170 * 60, 8, 5, "short", 9000)
    found = {}
    for identity, own, base in ((A, sorted(events), 1), (B, sorted(thin), 2)):
        draw = random.Random(base)
        heard = sorted({event.us // MINUTE * MINUTE + MINUTE for event in [*events, *thin]})
        mid, quotes = 100.0 * base, {}
        for second in range(FIRST - 60 * MINUTE, LAST + SECOND, SECOND):
            minute = (second - FIRST) / MINUTE
            forced = -0.03 if 59.5 < minute < 61.5 else 0.02 if 61.5 <= minute < 70 or 200 < minute < 203 else 0.0
            mid += forced + draw.gauss(0, 0.004)
            if draw.random() < 0.99:
                quotes[second] = (round(mid, 4), 0.02)
        past = {FIRST - k * MINUTE: draw.choice([0] * 9 + [1, 2]) for k in range(10_200) if draw.random() < 0.99}
        steps = {
            FIRST - k * FIVE: (value := draw.choice([0.0] * 3 + [draw.lognormvariate(9, 1.8)]), value / 1e9)
            for k in range(8700)
            if draw.random() < 0.95
        }
        edges = range(FIRST + MINUTE, LAST + 1, MINUTE)
        found[identity] = Market(
            own,
            {edge for edge in edges if base == 1 or draw.random() < 0.99},
            [(FIRST + 70 * MINUTE + SECOND, FIRST + 72 * MINUTE)] if base == 2 else [],
            heard,
            quotes,
            {edge: 1e9 * (1 + 0.1 * draw.random()) for edge in edges if draw.random() < 0.97},
            past,
            steps,
            [(FIRST - k * 20 * MINUTE - SECOND, draw.lognormvariate(7, 1)) for k in range(80 if base == 1 else 20)],
        )
    return Planted(found)


@pytest.fixture(scope="module")
def tape() -> Planted:
    return planted()


@pytest.fixture(scope="module")
def by_the_hour(tape: Planted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("liquidations"), scope="write") as opened:
        tape.load(opened)
        run(opened, FIRST, LAST)
        yield opened


JUDGED = sorted(
    {*range(1, 241, 9), *range(58, 78), 120, 121, 125, *range(150, 154), *range(172, 175), *range(200, 216)}
)
"""Minutes that are computed slowly too: some of all, and all of the busy ones."""


def test_every_feature_is_the_defined_one(tape: Planted, by_the_hour: Store) -> None:
    rows = stored(by_the_hour, LIQUIDATIONS.table)
    known: dict[str, set[Any]] = {item.name: set() for item in LIQUIDATIONS.columns}
    for identity, market in tape.markets.items():
        for minute in JUDGED:
            edge = FIRST + minute * MINUTE
            if edge not in market.bars:
                assert (*identity, at(edge)) not in rows
                continue
            computed, expected = rows[(*identity, at(edge))], slow.row(market, edge)
            wrong = {name: (computed[name], v) for name, v in expected.items() if not same(computed[name], v, 1e-8)}
            assert not wrong, (identity, minute, wrong)
            for name in known:
                known[name].add(computed[name])
            assert set(known) - set(expected) == {"feed_completeness"}
    assert not [name for name, values in known.items() if values == {None}]
    assert known["cascade_severity"] == {None, "none", "mild", "moderate", "severe"}
    for flag in ("liquidation_cluster_detected", "exhaustion_signal"):
        assert known[flag] == {None, True, False}, flag


def test_values_stay_in_their_range(by_the_hour: Store) -> None:
    for item in LIQUIDATIONS.columns:
        if item.violation:
            outside = by_the_hour.query(
                f'SELECT bar_ts, "{item.name}" FROM features.liquidations WHERE {item.violation}'
            )
            assert outside.to_pylist() == [], item.name


@pytest.mark.parametrize("step", [20, MINUTES], ids=str)
def test_the_window_does_not_matter(step: int, tape: Planted, by_the_hour: Store, store: Store) -> None:
    tape.load(store)
    run(store, FIRST, LAST, step * MINUTE)
    for each in LAYERS:
        assert not differences(stored(by_the_hour, each.table), stored(store, each.table), 1e-9), each.table.qualified


@pytest.mark.parametrize("minute", [60, 121, 203])
def test_no_row_looks_ahead(minute: int, tape: Planted, by_the_hour: Store, store: Store) -> None:
    """Cut in the middle of runs."""
    moment = FIRST + minute * MINUTE
    tape.until(moment).load(store)
    run(store, FIRST, moment)
    for each in LAYERS:
        time = "bar_ts <=" if "bar_ts" in each.table.names else f"{each.table.time} <"
        known = stored(by_the_hour, each.table, f"{time} TIMESTAMP '{at(moment)}'")
        assert not differences(known, stored(store, each.table), 1e-9), each.table.qualified
    assert max(row["bar_ts"] for row in stored(store, LIQUIDATIONS.table).values()) == at(moment)
