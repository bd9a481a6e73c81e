"""A market on which something known happens: a quiet walk of some hours with planted events, second by second.

One symbol on Binance futures with quotes, books, trades, liquidations and funding. Bybit quotes the same mid two
seconds later, OKX one of its own. Before the tape a history of settlements and of livelier candles is stored, as
computed, for the baselines of weeks and days. ``python -m tests.assets.events`` prints the confusion table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.features.ticker.candles import CANDLES_5M
from orderflow_assets.layers import LAYERS
from orderflow_streaming.schema import INSTRUMENTS, STREAMS
from orderflow_streaming.store import Store, Window, connect
from orderflow_streaming.tables import Table

START = datetime(2025, 3, 4, 3)  # noqa: DTZ001
END = datetime(2025, 3, 4, 8, 40)  # noqa: DTZ001
SECONDS = round((END - START).total_seconds())
TICK, FIRST_TICK, DEPTH = 0.1, 10_000, 10
DELAY_S = 2
WALL_S = 20
SYMBOL = "EVTUSDT"
LEADER, FOLLOWER, STRANGER = ((SYMBOL, exchange, "futures") for exchange in ("binance", "bybit", "okx"))
SETTLED = datetime(2025, 3, 4, 8)  # noqa: DTZ001
QUIET_RATE, CROWDED_RATE = 1e-4, 4e-3

SWEEPS = ("05:07:20", "05:41:35", "06:33:05", "07:48:50")
WALLS = ("05:12:05", "05:50:10", "06:48:20", "07:20:40")
HUNTS = ("06:05:00", "07:33:00")
CASCADES = ("06:20:00", "07:05:00")
ICEBERGS = (("05:20:00", "05:30:00"), ("06:50:00", "07:00:00"))


def second(clock: str) -> int:
    hour, minute, rest = (int(part) for part in clock.split(":"))
    return round((START.replace(hour=hour, minute=minute, second=rest) - START).total_seconds())


@dataclass
class Market:
    """Best bid in ticks at each second, sizes that rest there, and what trades or is liquidated."""

    rng: np.random.Generator
    bid: np.ndarray
    walls: list[tuple[int, int, int]] = field(default_factory=list)
    trades: list[tuple[float, float, float, str]] = field(default_factory=list)
    liquidations: list[tuple[float, str, float, float]] = field(default_factory=list)

    def price(self, tick: int) -> float:
        return round(tick * TICK, 8)

    def size(self, tick: int) -> float:
        """What usually rests at a price: the same whenever it is visited."""
        return 1 + (int(tick) * 2654435761 % 1000) / 500


def market() -> Market:
    """The planted market; deterministic."""
    rng = np.random.default_rng(5)
    steps = rng.choice([-1, 0, 1], SECONDS, p=[0.15, 0.7, 0.15])
    bid = np.empty(SECONDS, dtype=np.int64)
    level = 0.0
    for now in range(SECONDS):
        calm = now >= second("07:35:00") and steps[now] and rng.random() < 0.9
        level = level * 0.9995 + (0 if calm else steps[now])
        bid[now] = FIRST_TICK + round(level)
    found = Market(rng, bid)
    for begin, end in ICEBERGS:
        bid[second(begin) : second(end)] = bid[second(begin)]
    for clock in WALLS:
        bid[second(clock) : second(clock) + WALL_S + 2] = bid[second(clock)]
    for clock in CASCADES:
        _cascade(found, second(clock))
    for clock in HUNTS:
        _hunt(found, second(clock))
    _background(found)
    for clock in SWEEPS:
        _sweep(found, second(clock), "buy")
    for clock in WALLS:
        found.walls.append((second(clock), second(clock) + WALL_S, -4))
    for begin, end in ICEBERGS:
        for now in range(second(begin), second(end), 4):
            tick = int(found.bid[now]) + 1
            found.trades.append((now + 0.2, found.price(tick), 4 * found.size(tick), "buy"))
    return found


def _background(found: Market) -> None:
    for now in range(SECONDS):
        if found.rng.random() < 0.4:
            side = "buy" if found.rng.random() < 0.5 else "sell"
            tick = int(found.bid[now]) + (side == "buy")
            found.trades.append((now + 0.15, found.price(tick), 0.3 * found.rng.random() + 0.01, side))
    for now in range(97, SECONDS, 211):
        side = "long" if found.rng.random() < 0.5 else "short"
        found.liquidations.append((now + 0.5, side, found.price(found.bid[now]), 0.5 + 2 * found.rng.random()))


def _sweep(found: Market, now: int, side: str) -> None:
    """One order that takes five levels at once."""
    best, step = (int(found.bid[now]) + 1, 1) if side == "buy" else (int(found.bid[now]), -1)
    for level in range(5):
        found.trades.append((now + 0.3, found.price(best + step * level), found.size(best + step * level), side))


def _cascade(found: Market, now: int) -> None:
    """Two minutes in which longs are closed ever faster and the price falls by forty ticks."""
    fall = np.concatenate([np.linspace(0, 40, 120), np.full(60, 40), np.linspace(40, 0, 600)]).round().astype(int)
    found.bid[now : now + len(fall)] -= fall
    moment = 0.0
    for event in range(60):
        moment += 3.5 * (1 - event / 70)
        at = now + round(moment)
        found.liquidations.append((at + 0.4, "long", found.price(found.bid[at]), 20 + 2 * event))


def _hunt(found: Market, now: int) -> None:
    """A run two ticks below the low of the hour, sold into and liquidated, and back within the minute after."""
    low = int(found.bid[now - 3600 : now].min()) - 2
    here = int(found.bid[now])
    down, up = np.linspace(here, low, 25).round().astype(int), np.linspace(low, here, 60).round().astype(int)
    found.bid[now + 10 : now + 10 + 85] = np.concatenate([down, up])
    for after in (14, 18):
        _sweep(found, now + after, "sell")
    found.trades.append((now + 34.9, found.price(low), 3.0, "sell"))
    for after in (20, 27, 36, 45, 52):
        found.liquidations.append((now + after + 0.6, "long", found.price(low), 60.0))


def load(store: Store, found: Market) -> None:
    """Store the tape as the daemon would have, and the history before it."""
    store.ensure(*(stream.table for stream in STREAMS.values()), INSTRUMENTS)
    now = np.arange(SECONDS)
    stranger = FIRST_TICK + np.cumsum(np.random.default_rng(6).choice([-1, 0, 1], SECONDS, p=[0.15, 0.7, 0.15]))
    _put(store, "prices", LEADER, now + 0.05, _quotes(found.bid))
    _put(store, "prices", FOLLOWER, now + 0.05, _quotes(np.roll(found.bid, DELAY_S)))
    _put(store, "prices", STRANGER, now + 0.05, _quotes(stranger))
    _put(store, "orderbooks", LEADER, now + 0.1, _books(found))
    trades = sorted(found.trades, key=lambda trade: trade[0])
    when, price, quantity, side = (np.array(column) for column in zip(*trades, strict=True))
    numbers = [str(number) for number in range(len(trades))]
    columns = {"trade_id": numbers, "price": price, "quantity": quantity, "quote_value": price * quantity, "side": side}
    _put(store, "trades", LEADER, when, columns)
    when, side, price, quantity = (np.array(column) for column in zip(*sorted(found.liquidations), strict=True))
    _put(
        store,
        "liquidations",
        LEADER,
        when,
        {"side": side, "price": price, "quantity": quantity, "value_usd": price * quantity},
    )
    rate = np.where(now[::30] < second("07:30:00"), QUIET_RATE, CROWDED_RATE)
    due = [
        SETTLED if START + timedelta(seconds=int(at)) < SETTLED else SETTLED + timedelta(hours=8) for at in now[::30]
    ]
    _put(
        store,
        "funding_rates",
        LEADER,
        now[::30] + 0.01,
        {"funding_rate": rate, "next_funding_time": due, "funding_interval_hours": np.full(len(rate), 8.0)},
    )
    instruments = [
        {**_named(series), "venue_symbol": SYMBOL, "contract_size": 1.0, "tick_size": TICK, "as_of": START,
         "funding_interval_hours": 8.0}
        for series in (LEADER, FOLLOWER, STRANGER)
    ]  # fmt: skip
    store.write(INSTRUMENTS, pa.Table.from_pylist(instruments, INSTRUMENTS.arrow_schema))
    _history(store)


def _history(store: Store) -> None:
    """Thirty settlements around the usual rate, and a day of candles ten times as wide as the tape's."""
    rng = np.random.default_rng(7)
    settled = [
        {**_named(LEADER), "settled_at": SETTLED - timedelta(hours=8 * back), "interval_hours": 8.0, "source": "venue",
         "rate": QUIET_RATE + 2e-5 * rng.standard_normal()}
        for back in range(1, 31)
    ]  # fmt: skip
    store.write(SETTLEMENTS, pa.Table.from_pylist(settled, SETTLEMENTS.arrow_schema))
    five = timedelta(minutes=5)
    candles = [
        {**_named(LEADER), "open_time": START - five * back, "bar_ts": START - five * (back - 1),
         "last_minute": START - five * (back - 1) - timedelta(minutes=1), "minutes": 5, "open": 1000.0, "high": 1004.0,
         "low": 996.0, "close": 1000.0, "volume": 10.0, "quote_volume": 1e4, "trade_count": 100, "log_return": 1e-3}
        for back in range(1, 289)
    ]  # fmt: skip
    store.write(CANDLES_5M, pa.Table.from_pylist(candles, CANDLES_5M.arrow_schema))


def _named(series: tuple[str, str, str]) -> dict[str, Any]:
    return dict(zip(("symbol", "exchange", "market_type"), series, strict=True))


def _quotes(bid: np.ndarray) -> dict[str, Sequence[Any]]:
    low, high = bid * TICK, (bid + 1) * TICK
    ones = np.ones(len(bid))
    return {
        "mid_price": (low + high) / 2,
        "bid_price": low,
        "ask_price": high,
        "bid_qty": 2 * ones,
        "ask_qty": 2 * ones,
    }


def _books(found: Market) -> dict[str, Sequence[Any]]:
    size = np.vectorize(found.size)
    columns: dict[str, Sequence[Any]] = {}
    for level in range(1, DEPTH + 1):
        for side, tick in (("bid", found.bid - (level - 1)), ("ask", found.bid + level)):
            columns[f"{side}_{level}_price"], columns[f"{side}_{level}_qty"] = np.round(tick * TICK, 8), size(tick)
    for begin, end, offset in found.walls:
        tick = found.bid[begin] + offset
        for now in range(begin, end):
            level = int(found.bid[now] - tick) + 1
            if 1 <= level <= DEPTH:
                columns[f"bid_{level}_qty"][now] = 80.0  # type: ignore[index]
    return columns


def _put(
    store: Store, stream: str, series: tuple[str, str, str], when: np.ndarray, columns: dict[str, Sequence[Any]]
) -> None:
    table, count = STREAMS[stream].table, len(when)
    origin = np.datetime64(START, "us")
    stamp = origin + np.round(when * 1e6).astype("timedelta64[us]")
    first = {"binance": 0, "bybit": 10**7, "okx": 2 * 10**7}[series[1]]
    data: dict[str, Any] = {
        **{name: [value] * count for name, value in _named(series).items()},
        "id": np.arange(first, first + count),
        "timestamp": stamp,
        "received_at": stamp + np.timedelta64(50_000, "us"),
        **columns,
    }
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in table.arrow_schema]
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


def compute(store: Store, until: datetime = END) -> None:
    """Every layer hour by hour."""
    at = START
    while at < until:
        for layer in LAYERS:
            layer.compute(store, at, min(at + timedelta(hours=1), until))
        at += timedelta(hours=1)


def forget_after(store: Store, moment: datetime) -> None:
    """Delete what happened after ``moment``, in all streams."""
    future = Window(moment + timedelta(microseconds=1), datetime(9999, 1, 1))  # noqa: DTZ001
    for stream in STREAMS.values():
        store.write(stream.table, stream.table.arrow_schema.empty_table(), future)


@dataclass(frozen=True)
class Detector:
    """What claims to see an event: the bars that fire, and the stretches of seconds in which it should."""

    event: str
    name: str
    fired: Callable[[Store], list[datetime]]
    planted: tuple[tuple[int, int], ...]


def _bars(table: Table | str, condition: str) -> Callable[[Store], list[datetime]]:
    def fired(store: Store) -> list[datetime]:
        rows = store.query(
            f"SELECT bar_ts FROM {table} WHERE exchange = 'binance' AND symbol = ? AND bar_ts > ? AND {condition} "
            "ORDER BY bar_ts",
            [SYMBOL, START + timedelta(hours=2)],
        )
        return rows["bar_ts"].to_pylist()

    return fired


def _signal(name: str, condition: str) -> Callable[[Store], list[datetime]]:
    return _bars("signals.signals", f"signal = '{name}' AND {condition}")


def _around(clocks: Sequence[str], before: int, after: int) -> tuple[tuple[int, int], ...]:
    return tuple((second(clock) - before, second(clock) + after) for clock in clocks)


_RUNS = (*SWEEPS, *HUNTS)

DETECTORS: tuple[Detector, ...] = (
    Detector("sweep", "trades.sweep_detected", _bars("features.trades", "sweep_detected"), _around(_RUNS, 0, 60)),
    Detector(
        "spoofed wall, pulled",
        "orderbook.pull_wall_detected",
        _bars("features.orderbook", "pull_wall_detected"),
        _around(WALLS, 0, 80),
    ),
    Detector(
        "iceberg",
        "trades.iceberg_probability >= 0.3",
        _bars("features.trades", "iceberg_probability >= 0.3"),
        tuple((second(begin), second(end) + 900) for begin, end in ICEBERGS),
    ),
    Detector(
        "squeeze",
        "squeeze_probability >= 0.7",
        _signal("squeeze_probability", "value >= 0.7"),
        ((second("08:00:00"), SECONDS),),
    ),
    Detector(
        "liquidation cascade",
        "liquidations.liquidation_cluster_detected",
        _bars("features.liquidations", "liquidation_cluster_detected"),
        _around(CASCADES, 0, 240),
    ),
    Detector(
        "liquidation cascade",
        "liquidation_cascade_risk >= 0.3",
        _signal("liquidation_cascade_risk", "value >= 0.3"),
        _around(CASCADES, 0, 900),
    ),
    Detector(
        "stop hunt",
        "stop_hunt_probability >= 0.5",
        _signal("stop_hunt_probability", "value >= 0.5"),
        _around(HUNTS, 0, 300),
    ),
)


@dataclass(frozen=True)
class Confusion:
    """Of the planted events how many were seen, and the bars that fired at other times, of all such bars."""

    event: str
    detector: str
    planted: int
    hits: int
    false_alarms: int
    quiet_bars: int

    @property
    def misses(self) -> int:
        return self.planted - self.hits


def confusion(store: Store) -> list[Confusion]:
    """The confusion table of all detectors, lead and lag included."""
    minutes = [START + timedelta(hours=2, minutes=count + 1) for count in range((SECONDS - 7200) // 60)]
    found = []
    for detector in DETECTORS:
        fired = {round((bar - START).total_seconds()) for bar in detector.fired(store)}
        inside = {bar for bar in fired if any(_covers(stretch, bar) for stretch in detector.planted)}
        hits = sum(any(_covers(stretch, bar) for bar in fired) for stretch in detector.planted)
        edges = [round((bar - START).total_seconds()) for bar in minutes]
        quiet = sum(not any(_covers(stretch, bar) for stretch in detector.planted) for bar in edges)
        found.append(Confusion(detector.event, detector.name, len(detector.planted), hits, len(fired - inside), quiet))
    return [*found, _leads(store)]


def _covers(stretch: tuple[int, int], bar: int) -> bool:
    return stretch[0] < bar <= stretch[1] + 59


def _leads(store: Store) -> Confusion:
    """Hours in which the follower is seen two seconds behind; a lead of or over the stranger is a false alarm."""
    rows = store.query(
        "SELECT second_exchange, first_exchange, lead_lag_seconds AS lag FROM analytics.lead_lag WHERE symbol = ?",
        [SYMBOL],
    ).to_pylist()
    mine = [row for row in rows if {row["first_exchange"], row["second_exchange"]} == {"binance", "bybit"}]
    others = [row for row in rows if row not in mine]
    seen = sum(row["lag"] == DELAY_S for row in mine)
    false = sum(row["lag"] is not None for row in others)
    return Confusion("Bybit two seconds late", "lead_lag_seconds = 2", len(mine), seen, false, len(others))


def table(rows: Sequence[Confusion]) -> str:
    """The confusion table as Markdown."""
    lines = [
        "| event | detector | planted | hits | misses | false alarms | of quiet bars |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.event} | {row.detector} | {row.planted} | {row.hits} | {row.misses} | {row.false_alarms} "
        f"| {row.quiet_bars} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    with TemporaryDirectory() as folder, connect(Path(folder), scope="write") as store:
        load(store, market())
        compute(store)
        sys.stdout.write(table(confusion(store)) + "\n")


if __name__ == "__main__":
    main()
