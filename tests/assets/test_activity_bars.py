"""Volume, dollar and imbalance bars against a walk over the trades one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets.bars import activity, daily_sizes
from orderflow_assets.bars.activity import ACTIVITY_BARS, CONSOLIDATED_ACTIVITY_BARS, RULES
from orderflow_assets.bars.daily_sizes import DAILY_SIZES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_streaming.store import Store, Window, connect
from orderflow_streaming.tables import Table
from tests.assets.computing import differences, same, stored

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime(2025, 3, 10)  # noqa: DTZ001
END = MIDNIGHT + 3 * HOUR


@dataclass(frozen=True)
class Parent:
    """One market order: milliseconds after midnight, venue, side, size, first and last price."""

    ms: int
    venue: str
    side: str
    quantity: float
    first: float
    last: float

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def value(self) -> float:
        return self.quantity * (self.first + self.last) / 2


def put(store: Store, table: Table, rows: list[dict[str, Any]]) -> None:
    store.write(table, pa.Table.from_pylist(rows, table.arrow_schema))


def load(store: Store, parents: list[Parent]) -> None:
    rows = [
        {
            "symbol": "AAAUSDT",
            "exchange": parent.venue,
            "market_type": "futures",
            "timestamp": MIDNIGHT + timedelta(milliseconds=parent.ms),
            "side": parent.side,
            "prints": 1 + number % 3,
            "quantity": parent.quantity,
            "notional": parent.value,
            "first_price": parent.first,
            "last_price": parent.last,
            "low": min(parent.first, parent.last),
            "high": max(parent.first, parent.last),
            "sweep": False,
            "first_id": number,
            "last_id": number,
        }
        for number, parent in enumerate(parents)
    ]
    put(store, PARENT_TRADES, rows)


def load_history(store: Store, venues: dict[str, float], minutes: int = 1440) -> None:
    """A day before midnight in which each minute trades so much on each venue, with imbalances that change."""
    rows = []
    for venue, volume in venues.items():
        for k in range(minutes):
            opening = MIDNIGHT - (minutes - k) * MINUTE
            bought = 0.5 + 0.4 * np.sin(k / 3)
            rows.append(
                {
                    "symbol": "AAAUSDT",
                    "exchange": venue,
                    "market_type": "futures",
                    "open_time": opening,
                    "bar_ts": opening + MINUTE,
                    "volume": volume,
                    "quote_volume": volume * 100,
                    "taker_buy_volume": volume * bought,
                    "taker_buy_quote": volume * bought * 100,
                    "trade_count": 8,
                    "parent_count": 4,
                    "buy_parent_count": 1 + k % 4,
                    "quote_count": 0,
                    "quoted_s": 0.0,
                }
            )
    put(store, BARS_1M, rows)


def tape(venues: list[str], seed: int = 5) -> list[Parent]:
    """Three hours with a one-sided stretch, a huge order, a silent half hour and moments shared by several orders."""
    rng = np.random.default_rng(seed)
    when = np.sort(rng.integers(0, 3 * 3_600_000, 2_000)) // 20 * 20
    parents = []
    price = 100.0
    for number, ms in enumerate(when):
        if 4_000_000 < ms < 5_800_000:
            continue
        lean = 0.9 if 2_000_000 < ms < 3_000_000 else 0.5
        first = price
        price = max(50.0, price + rng.choice([-0.5, 0, 0.5]))
        quantity = 40.0 if number == 300 else float(np.round(rng.lognormal(-1, 1), 3) + 0.001)
        side = "buy" if rng.random() < lean else "sell"
        parents.append(Parent(int(ms), venues[int(rng.integers(len(venues)))], side, quantity, first, price))
    return parents


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def compute(store: Store, step: timedelta = HOUR, start: datetime = MIDNIGHT, end: datetime = END) -> None:
    while start < end:
        for layer in (daily_sizes.LAYER, *activity.LAYERS):
            layer.compute(store, start, min(start + step, end))
        start += step


def sizes_of(store: Store, exchange: str) -> dict[str, Any]:
    (row,) = store.query(f"SELECT * FROM {DAILY_SIZES.qualified} WHERE exchange = ?", [exchange]).to_pylist()
    return row


def by_hand(parents: list[Parent], rule: str, sizes: dict[str, Any]) -> list[dict[str, Any]]:
    """The bars of one rule, moment by moment."""
    measure = {"volume": "volume", "dollar": "value", "tick_imbalance": "tick", "volume_imbalance": "volume"}
    kind = measure.get(rule, "value")
    amounts = {"volume": lambda p: p.quantity, "value": lambda p: p.value, "tick": lambda p: 1.0}[kind]
    ticks, flow = sizes["parents"], sizes[f"{kind}_flow"]
    found, held = [], []
    for _, moment in groupby(sorted(parents, key=lambda p: p.ms), key=lambda p: p.ms):
        held += sorted(moment, key=lambda p: p.venue)
        imbalance = sum(p.sign * amounts(p) for p in held)
        if rule in ("volume", "dollar"):
            threshold, reached = sizes[f"daily_{kind}"] / 288, sum(map(amounts, held))
            expected = None, None
        else:
            usual = sizes[f"{kind}_imbalance"]
            threshold, reached = min(max(ticks * abs(flow), usual / 2), usual * 2), abs(imbalance)
            expected = ticks, flow
        if reached < threshold * (1 - 1e-9):
            continue
        found.append(
            {
                "opened_at": MIDNIGHT + timedelta(milliseconds=held[0].ms),
                "closed_at": MIDNIGHT + timedelta(milliseconds=held[-1].ms),
                "open": held[0].first,
                "high": max(max(p.first, p.last) for p in held),
                "low": min(min(p.first, p.last) for p in held),
                "close": held[-1].last,
                "volume": sum(p.quantity for p in held),
                "quote_volume": sum(p.value for p in held),
                "taker_buy_volume": sum(p.quantity for p in held if p.side == "buy"),
                "taker_buy_quote": sum(p.value for p in held if p.side == "buy"),
                "parent_count": len(held),
                "imbalance": imbalance,
                "threshold": threshold,
                "expected_parents": expected[0],
                "expected_flow": expected[1],
                "venues": len({p.venue for p in held}),
            }
        )
        ticks, flow = ticks + 2 / 21 * (len(held) - ticks), flow + 2 / 21 * (imbalance / len(held) - flow)
        held = []
    return found


def test_the_usual_day_is_that_of_the_minutes_before(store: Store) -> None:
    load_history(store, {"binance": 2.0, "okx": 1.0}, minutes=100)
    daily_sizes.LAYER.compute(store, MIDNIGHT - HOUR, MIDNIGHT + HOUR)
    one, every = sizes_of(store, "binance"), sizes_of(store, "all")
    assert (one["valid_from"], one["minutes"]) == (MIDNIGHT, 100)
    assert (one["daily_volume"], one["daily_value"], one["parents"]) == pytest.approx((2880, 288_000, 20))
    assert (every["daily_volume"], every["parents"]) == pytest.approx((4320, 40))
    bought = [2.0 * (2 * (0.5 + 0.4 * np.sin(k / 3)) - 1) for k in range(100)]
    fives = [abs(sum(bought[k : k + 5])) for k in range(0, 100, 5)]
    assert one["volume_imbalance"] == pytest.approx(np.mean(fives))
    assert one["volume_flow"] == pytest.approx(sum(bought) / 400)
    ticks = [2 * (1 + k % 4) - 4 for k in range(100)]
    assert one["tick_imbalance"] == pytest.approx(np.mean([abs(sum(ticks[k : k + 5])) for k in range(0, 100, 5)]))


def test_too_little_history_has_no_size_and_no_bars(store: Store) -> None:
    load_history(store, {"binance": 2.0}, minutes=59)
    load(store, tape(["binance"]))
    compute(store)
    assert stored(store, DAILY_SIZES) == stored(store, ACTIVITY_BARS) == {}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
@pytest.mark.parametrize("venues", [["binance"], ["binance", "okx", "bybit"]], ids=["one venue", "three"])
def test_bars_are_those_of_a_walk_over_the_trades(rule: str, venues: list[str], store: Store) -> None:
    parents = tape(venues)
    load_history(store, {venue: 1.3 / len(venues) for venue in venues})
    load(store, parents)
    compute(store)
    for table, exchange, mine in (
        (ACTIVITY_BARS, "binance", [parent for parent in parents if parent.venue == "binance"]),
        (CONSOLIDATED_ACTIVITY_BARS, "all", parents),
    ):
        expected = by_hand(mine, rule, sizes_of(store, exchange))
        rows = store.query(
            f"SELECT * FROM {table.qualified} WHERE exchange = ? AND rule = ? ORDER BY closed_at", [exchange, rule]
        ).to_pylist()
        assert len(rows) == len(expected) > 5
        for row, bar in zip(rows, expected, strict=True):
            known = [name for name in bar if name in row]
            assert not [(name, row[name], bar[name]) for name in known if not same(row[name], bar[name], 1e-9)]
            assert row["vwap"] == pytest.approx(bar["quote_volume"] / bar["volume"])


def test_a_rule_closes_about_as_many_bars_as_a_day_has_five_minutes(store: Store) -> None:
    rng = np.random.default_rng(3)
    load_history(store, {"binance": 60.0})
    sides = rng.choice(["buy", "sell"], 6_000)
    load(store, [Parent(1_800 * k, "binance", str(side), 1.8, 100.0, 100.0) for k, side in enumerate(sides)])
    compute(store)
    rows = store.query(f"SELECT rule, count(*) AS n FROM {ACTIVITY_BARS.qualified} GROUP BY rule").to_pylist()
    counts = {row["rule"]: row["n"] for row in rows}
    assert counts["volume"] == counts["dollar"] == 3 * 12 * 300 // 301


@pytest.mark.parametrize("minutes", [7, 20, 180])
def test_the_window_does_not_matter(minutes: int, store: Store, tmp_path: Path) -> None:
    venues = ["binance", "okx"]
    load_history(store, dict.fromkeys(venues, 0.7))
    load(store, tape(venues))
    compute(store)
    by_hours = {table: stored(store, table) for table in (ACTIVITY_BARS, CONSOLIDATED_ACTIVITY_BARS)}
    everything = Window(MIDNIGHT, END)
    for table in by_hours:
        store.write(table, table.arrow_schema.empty_table(), everything)
    compute(store, minutes * MINUTE)
    for table, rows in by_hours.items():
        assert rows
        assert not differences(rows, stored(store, table), 1e-9)


def test_a_window_alone_starts_from_midnight(store: Store) -> None:
    load_history(store, {"binance": 0.7})
    load(store, tape(["binance"]))
    compute(store)
    rows = stored(store, ACTIVITY_BARS, f"closed_at >= TIMESTAMP '{MIDNIGHT + 2 * HOUR}'")
    store.write(ACTIVITY_BARS, ACTIVITY_BARS.arrow_schema.empty_table(), Window(MIDNIGHT, END))
    activity.LAYERS[0].compute(store, MIDNIGHT + 2 * HOUR, END)
    assert rows
    assert not differences(rows, stored(store, ACTIVITY_BARS), 1e-9)


def test_no_bar_looks_ahead(store: Store) -> None:
    parents = tape(["binance"])
    moment = MIDNIGHT + 70 * MINUTE
    load_history(store, {"binance": 0.7})
    load(store, parents)
    compute(store)
    known = stored(store, ACTIVITY_BARS, f"closed_at < TIMESTAMP '{moment}'")
    everything = Window(MIDNIGHT, END)
    for table in (PARENT_TRADES, ACTIVITY_BARS):
        store.write(table, table.arrow_schema.empty_table(), everything)
    load(store, [parent for parent in parents if parent.ms < 70 * 60_000])
    compute(store, end=moment)
    assert known
    assert not differences(known, stored(store, ACTIVITY_BARS), 1e-9)


def test_bars_start_afresh_at_midnight(store: Store) -> None:
    load_history(store, {"binance": 1.0})
    late = [Parent(-1_000, "binance", "buy", 4.9, 100.0, 100.0), Parent(1_000, "binance", "buy", 4.9, 100.0, 100.0)]
    load(store, [*late, Parent(2_000, "binance", "sell", 0.1, 101.0, 101.0)])
    daily_sizes.LAYER.compute(store, MIDNIGHT, MIDNIGHT + HOUR)
    activity.LAYERS[0].compute(store, MIDNIGHT, MIDNIGHT + HOUR)
    (bar,) = store.query("SELECT * FROM bars.activity_bars WHERE rule = 'volume'").to_pylist()
    assert (bar["opened_at"], bar["closed_at"]) == (MIDNIGHT + timedelta(seconds=1), MIDNIGHT + timedelta(seconds=2))
    assert (bar["threshold"], bar["volume"], bar["imbalance"]) == pytest.approx((5.0, 5.0, 4.8))
