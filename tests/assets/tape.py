"""A small planted market, with everything that goes wrong on real ones.

Four series over nearly three hours across midnight: AAA busy, BBB thin with holes, one-sided and crossed quotes and
ten-level books, CCC with trades only, DDD with quotes that carry no sizes. Prices are whole ticks. Walls come, stay
and are pulled or traded away; some orders sweep, some hit hidden size; times repeat and fall on full minutes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from orderflow_streaming.schema import INSTRUMENTS, LEVELS, STREAMS
from orderflow_streaming.store import Store

START = datetime(2025, 3, 1, 22, 30)  # noqa: DTZ001
END = datetime(2025, 3, 2, 1, 15)  # noqa: DTZ001
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
SECOND = 1_000_000
EXCHANGE, MARKET_TYPE = "binance", "futures"


def us(time: datetime) -> int:
    return int((time - EPOCH).total_seconds()) * SECOND


def at(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True)
class Quote:
    us: int
    bid: float | None
    ask: float | None
    bid_qty: float | None
    ask_qty: float | None


@dataclass(frozen=True)
class Snapshot:
    us: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


@dataclass(frozen=True)
class Print:
    us: int
    price: float
    qty: float
    side: str


@dataclass
class Tape:
    """Records of one series, each stream in the order it was stored."""

    symbol: str
    tick: float
    quotes: list[Quote] = field(default_factory=list)
    books: list[Snapshot] = field(default_factory=list)
    trades: list[Print] = field(default_factory=list)

    def until(self, moment: datetime) -> Tape:
        """The records with event time at or before ``moment``."""
        last = us(moment)
        kept = ([row for row in rows if row.us <= last] for rows in (self.quotes, self.books, self.trades))
        return Tape(self.symbol, self.tick, *kept)


class _Market:
    """Sizes rest at absolute ticks, so that a price keeps its size while the mid moves."""

    def __init__(self, seed: int, tick: float, mid_tick: int) -> None:
        self.rng = random.Random(seed)
        self.tick, self.bid = tick, mid_tick
        self.spread = 1
        self.size: dict[tuple[str, int], float] = {}

    def qty(self, side: str, level: int) -> float:
        key = (side, level)
        if key not in self.size:
            self.size[key] = round(self.rng.lognormvariate(0.5, 0.4), 3) + 0.001
        return self.size[key]

    def price(self, level: int) -> float:
        return round(level * self.tick, 8)

    def levels(self, side: str, depth: int) -> list[tuple[float, float]]:
        best = self.bid if side == "bid" else self.bid + self.spread
        step = -1 if side == "bid" else 1
        ticks = [best + step * k for k in range(depth)]
        return [(self.price(level), self.qty(side, level)) for level in ticks]

    def move(self, drift: float) -> None:
        draw = self.rng.random()
        if draw < 0.12 + drift:
            self.bid += 1
        elif draw < 0.24:
            self.bid -= 1
        if self.rng.random() < 0.15:
            self.spread = self.rng.choice([1, 1, 1, 2, 3])
        for _ in range(3):
            side = "bid" if self.rng.random() < 0.5 else "ask"
            self.size.pop((side, self.bid + self.rng.randint(-8, 8)), None)


def _tape(
    symbol: str, seed: int, tick: float, mid_tick: int, rates: dict[str, float], depth: int, end: datetime
) -> Tape:
    market, tape = _Market(seed, tick, mid_tick), Tape(symbol, tick)
    rng = random.Random(seed + 1000)
    walls: dict[int, list[tuple[str, int, bool]]] = defaultdict(list)
    begin, finish = us(START), us(end)
    for now in range(begin, finish, 250_000):
        second, phase = divmod(now - begin, SECOND)
        if phase == 0:
            market.move(0.03 if (second // 900) % 2 else -0.02)
            for side, level, traded in walls.pop(second, []):
                lost = market.size.pop((side, level), 0.0)
                if traded and lost:
                    tape.trades.append(Print(now, market.price(level), lost, "sell" if side == "bid" else "buy"))
            if second % 97 == 40:
                side = "bid" if (second // 97) % 2 else "ask"
                edge = market.bid if side == "bid" else market.bid + market.spread
                level = edge + (-1 if side == "bid" else 1) * (second // 97 % 5 + 1)
                market.size[(side, level)] = 60.0 + second % 7
                walls[second + 9 + second % 5].append((side, level, second % 3 == 0))
        early, jitter, late = (1000 * value for value in sorted(int(250 * rng.random()) for _ in range(3)))
        if rng.random() < 0.03:
            early = jitter = late = 0
        if rng.random() < rates["books"] / 4:
            tape.books.append(Snapshot(now + early, market.levels("bid", depth), market.levels("ask", depth)))
        if rng.random() < rates["quotes"] / 4:
            bid, ask = market.levels("bid", 1)[0], market.levels("ask", 1)[0]
            tape.quotes.append(Quote(now + jitter, bid[0], ask[0], bid[1], ask[1]))
            if rng.random() < 0.05:
                tape.quotes.append(Quote(now + jitter, bid[0], ask[0], round(bid[1] + 0.5, 3), ask[1]))
        if rng.random() < rates["trades"] / 4:
            _trade(tape, market, rng, now + late, (second // 600) % 3)
    return tape


def _trade(tape: Tape, market: _Market, rng: random.Random, when: int, regime: int) -> None:
    side = "buy" if rng.random() < (0.35, 0.5, 0.65)[regime] else "sell"
    best = market.bid + market.spread if side == "buy" else market.bid
    step = 1 if side == "buy" else -1
    kind = rng.random()
    size = round(rng.lognormvariate(-1, 1.2), 3) + 0.001
    if kind < 0.04:
        for k in range(3):
            tape.trades.append(Print(when, market.price(best + step * k), round(size + 0.1 * k, 3), side))
    elif kind < 0.06:
        for k in (0, 2, 1):
            tape.trades.append(Print(when, market.price(best + step * k), size, side))
    elif kind < 0.12:
        tape.trades.append(Print(when, market.price(best), round(size + 4.0, 3), side))
        tape.trades.append(Print(when, market.price(best), 0.25, side))
    elif kind < 0.13:
        tape.trades.append(Print(when, market.price(best), round(40 * (1 + size), 3), side))
    else:
        tape.trades.append(Print(when, market.price(best), size, side))


def planted() -> dict[str, Tape]:
    """The four series; deterministic."""
    busy = _tape("AAAUSDT", 1, 0.5, 20_000, {"books": 4.0, "quotes": 3.0, "trades": 1.5}, 20, END)
    thin = _tape("BBBUSDT", 2, 0.01, 5_000, {"books": 0.5, "quotes": 0.4, "trades": 0.15}, 10, END)
    bare = _tape("CCCUSDT", 3, 0.001, 900, {"books": 0.0, "quotes": 0.0, "trades": 0.1}, 10, END)
    sizeless = _tape("DDDUSDT", 4, 0.1, 3_000, {"books": 1.0, "quotes": 0.7, "trades": 0.4}, 10, END)
    hole = (us(START) + 3_000 * SECOND, us(START) + 3_420 * SECOND)
    thin.quotes = [
        _spoilt(number, quote) for number, quote in enumerate(thin.quotes) if not hole[0] <= quote.us < hole[1]
    ]
    thin.books = [
        Snapshot(book.us, book.asks, book.bids) if number % 41 == 0 else book
        for number, book in enumerate(thin.books)
        if not hole[0] <= book.us < hole[1]
    ]
    thin.trades = [trade for trade in thin.trades if not hole[0] <= trade.us < hole[1]]
    bare.trades = [trade for trade in bare.trades if not hole[0] + 600 * SECOND <= trade.us < hole[1] + 900 * SECOND]
    sizeless.quotes = [Quote(quote.us, quote.bid, quote.ask, None, None) for quote in sizeless.quotes]
    return {tape.symbol: tape for tape in (busy, thin, bare, sizeless)}


def _spoilt(number: int, quote: Quote) -> Quote:
    if number % 37 == 5:
        return Quote(quote.us, quote.bid, None, quote.bid_qty, None)
    if number % 53 == 7:
        return Quote(quote.us, quote.ask, quote.bid, quote.bid_qty, quote.ask_qty)
    return quote


def load(store: Store, tapes: dict[str, Tape]) -> None:
    """Store the tapes as the daemon would have."""
    store.ensure(*(stream.table for stream in STREAMS.values()), INSTRUMENTS)
    ids: dict[str, int] = defaultdict(int)
    for tape in tapes.values():
        _put(store, "prices", tape, tape.quotes, ids, _quote)
        _put(store, "orderbooks", tape, tape.books, ids, _snapshot)
        _put(store, "trades", tape, tape.trades, ids, _print)
    store.write(
        INSTRUMENTS,
        pa.Table.from_pylist(
            [
                {
                    "symbol": tape.symbol,
                    "exchange": EXCHANGE,
                    "market_type": MARKET_TYPE,
                    "venue_symbol": tape.symbol,
                    "status": "TRADING",
                    "contract_size": 1.0,
                    "tick_size": tape.tick,
                    "lot_size": 0.001,
                    "funding_interval_hours": 8.0,
                    "as_of": START,
                }
                for tape in tapes.values()
            ],
            INSTRUMENTS.arrow_schema,
        ),
    )


def _put(
    store: Store,
    stream: str,
    tape: Tape,
    records: Sequence[Any],
    ids: dict[str, int],
    columns: Callable[[Any], dict[str, object]],
) -> None:
    if not records:
        return
    table, count, first = STREAMS[stream].table, len(records), ids[stream] + 1
    ids[stream] += count
    rows = [columns(record) for record in records]
    data: dict[str, Sequence[object]] = {name: [row[name] for row in rows] for name in rows[0]}
    data |= {
        "id": range(first, first + count),
        "symbol": [tape.symbol] * count,
        "exchange": [EXCHANGE] * count,
        "market_type": [MARKET_TYPE] * count,
        "timestamp": [record.us for record in records],
        "received_at": [record.us + 50_000 for record in records],
    }
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in table.arrow_schema]
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


def _quote(quote: Quote) -> dict[str, object]:
    sides = [price for price in (quote.bid, quote.ask) if price is not None]
    return {
        "mid_price": sum(sides) / len(sides),
        "bid_price": quote.bid,
        "ask_price": quote.ask,
        "bid_qty": quote.bid_qty,
        "ask_qty": quote.ask_qty,
    }


def _snapshot(book: Snapshot) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, levels in (("bid", book.bids), ("ask", book.asks)):
        for number, (price, qty) in enumerate(levels[:LEVELS], start=1):
            row[f"{name}_{number}_price"], row[f"{name}_{number}_qty"] = price, qty
        row[f"{name}_tail"] = [list(level) for level in levels[LEVELS:]] or None
    return row


def _print(trade: Print) -> dict[str, object]:
    return {
        "trade_id": f"{trade.us}-{trade.qty}",
        "price": trade.price,
        "quantity": trade.qty,
        "quote_value": trade.price * trade.qty,
        "side": trade.side,
        "is_buyer_maker": trade.side == "sell",
    }
