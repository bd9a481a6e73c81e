"""A market made of arrays: ticks of all series straight into the stream tables, as fast as the store takes them.

Prices of a symbol wander on one second grid that all its venues share; quotes, trades and books hang on it in whole
ticks. A resting size belongs to its price for a few seconds, so that books persist, and a few are large enough to be
walls. Rows lie in the order of their event times, as a daemon stores them.

Rates are per minute and series, as the simulator sends them at the activity of the real markets; ``rate`` scales
quotes, trades and books. What venues send by the clock (marks, indexes, open interest, tickers, candles) keeps its
pace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orderflow_streaming.markets import MARKETS, Market
from orderflow_streaming.schema import BACKFILLS, GAPS, INSTRUMENTS, LEVELS, STREAMS
from orderflow_streaming.store import Store

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SECOND_US = 1_000_000
CHUNK = timedelta(minutes=10)
"""Rows are sorted and written in such stretches."""


@dataclass(frozen=True, slots=True)
class Coin:
    """Price, tick and lot; quotes and trades per minute on the busiest market."""

    price: float
    tick: float
    lot: float
    quotes: float
    trades: float


COINS: dict[str, Coin] = {
    "BTCUSDT": Coin(68_000.0, 0.1, 0.05, 2_700, 530),
    "ETHUSDT": Coin(3_400.0, 0.01, 0.8, 10_400, 2_100),
    "SOLUSDT": Coin(160.0, 0.01, 8.0, 3_000, 610),
    "XRPUSDT": Coin(0.52, 0.0001, 2_000.0, 920, 180),
    "ARUSDT": Coin(20.0, 0.001, 30.0, 410, 60),
    "BRETTUSDT": Coin(0.09, 0.00001, 9_000.0, 640, 90),
    "POPCATUSDT": Coin(1.1, 0.0001, 700.0, 180, 50),
    "WIFUSDT": Coin(2.2, 0.0001, 400.0, 680, 160),
    "PNUTUSDT": Coin(0.7, 0.0001, 900.0, 300, 30),
}
QUOTES: dict[str, float] = {
    "binance_futures": 1.0,
    "binance_spot": 0.72,
    "bybit_futures": 0.8,
    "bybit_spot": 0.41,
    "okx_futures": 0.7,
    "gateio_futures": 0.52,
    "hyperliquid_futures": 0.2,
    "kucoin_spot": 0.19,
    "kucoin_futures": 0.19,
}
"""Share of the busiest market's quotes."""
TRADES: dict[str, float] = {
    "binance_futures": 1.0,
    "binance_spot": 1.17,
    "bybit_futures": 0.8,
    "bybit_spot": 0.4,
    "okx_futures": 0.7,
    "gateio_futures": 0.47,
    "hyperliquid_futures": 0.53,
    "kucoin_spot": 0.36,
    "kucoin_futures": 0.4,
}
MOST_QUOTES = {"hyperliquid_futures": 600.0, "kucoin_futures": 600.0, "kucoin_spot": 600.0}
MOST_BOOKS, QUOTES_PER_BOOK = 600.0, 400.0
"""A venue sends the book every 100 ms if it has changed: the busier the quotes, the surer it has."""
SLOW_BOOKS = {"hyperliquid_futures": 11.0}
PRINTS = 1.6
"""Prints per parent trade."""
_WALK = 6e-5
"""Standard deviation of the log price from one second to the next."""
_SIZES = np.exp(np.random.default_rng(5).normal(0, 0.8, 4096)) * np.where(np.arange(4096) % 97 == 0, 25.0, 1.0)
_HOLD_US = 8 * SECOND_US
"""How long a size stays at its price."""


@dataclass(frozen=True, slots=True)
class Series:
    symbol: str
    market: Market
    number: int

    @property
    def coin(self) -> Coin:
        return COINS[self.symbol]

    @property
    def quotes(self) -> float:
        """Per minute at a rate of 1."""
        name = self.market.name
        return min(self.coin.quotes * QUOTES[name], MOST_QUOTES.get(name, np.inf))

    @property
    def books(self) -> float:
        busy = MOST_BOOKS * (1 - float(np.exp(-self.quotes / QUOTES_PER_BOOK)))
        return SLOW_BOOKS.get(self.market.name, busy)

    @property
    def trades(self) -> float:
        return self.coin.trades * TRADES[self.market.name]


SERIES: tuple[Series, ...] = tuple(
    Series(symbol, market, number)
    for number, (market, symbol) in enumerate(
        (market, symbol) for market in MARKETS.values() for symbol in market.symbols
    )
)


@dataclass
class World:
    """Ticks of ``[first, last)``; every stretch of it comes out the same whenever it is asked for."""

    first: datetime
    last: datetime
    rate: float
    paths: dict[str, Floats] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        seconds = int((self.last - self.first).total_seconds()) + 2
        for place, (symbol, coin) in enumerate(COINS.items()):
            steps = np.random.default_rng([place, 7]).normal(0, _WALK, seconds)
            self.paths[symbol] = coin.price * np.exp(np.cumsum(steps))

    def store_into(self, store: Store, start: datetime, end: datetime) -> dict[str, int]:
        """Store the ticks of ``[start, end)``; rows by stream."""
        store.ensure(*(stream.table for stream in STREAMS.values()), INSTRUMENTS, GAPS, BACKFILLS)
        if not self.stored:
            store.write(INSTRUMENTS, pa.Table.from_pylist(self._instruments(), INSTRUMENTS.arrow_schema))
        before = dict(self.stored)
        while start < end:
            until = min(start + CHUNK, end)
            for name in STREAMS:
                self._put(store, name, start, until)
            start = until
        return {name: count - before.get(name, 0) for name, count in self.stored.items()}

    def _put(self, store: Store, name: str, start: datetime, end: datetime) -> None:
        table = STREAMS[name].table
        parts = []
        for series in SERIES:
            if name not in series.market.collected:
                continue
            rng = np.random.default_rng([series.number, list(STREAMS).index(name), _us(start) // SECOND_US])
            columns = _MAKERS[name](self, series, rng, _us(start), _us(end))
            parts.append(_columns(series, columns, table.time))
        rows = pa.concat_tables(parts)
        rows = rows.sort_by([(table.time, "ascending")])
        first, count = self.stored[name], rows.num_rows
        rows = rows.append_column("id", pa.array(np.arange(first + 1, first + count + 1)))
        absent = [column for column in table.arrow_schema if column.name not in rows.column_names]
        for column in absent:
            rows = rows.append_column(column, pa.nulls(count, column.type))
        store.write(table, rows.select(table.names))
        self.stored[name] = first + count

    def _instruments(self) -> list[dict[str, object]]:
        return [
            {
                "symbol": series.symbol,
                "exchange": series.market.exchange,
                "market_type": series.market.market_type,
                "venue_symbol": series.symbol,
                "status": "TRADING",
                "contract_size": 1.0,
                "tick_size": series.coin.tick,
                "lot_size": series.coin.lot / 1_000,
                "funding_interval_hours": funding_hours(series) if series.market.market_type == "futures" else None,
                "as_of": self.first,
            }
            for series in SERIES
        ]

    def ticks_at(self, series: Series, us: Integers) -> Integers:
        """The best bid in ticks at each time; a venue lags or leads the others by a tick or so."""
        place = (us - _us(self.first)) / SECOND_US
        path = self.paths[series.symbol]
        mid = np.interp(place, np.arange(len(path)), path) / series.coin.tick
        return np.floor(mid + 0.4 * np.sin(place / (20 + series.number % 7))).astype(np.int64)

    def mid_at(self, series: Series, us: Integers) -> Floats:
        return np.multiply(self.ticks_at(series, us) + 0.5, series.coin.tick, dtype=np.float64)


def funding_hours(series: Series) -> float:
    return 1.0 if series.market.exchange == "hyperliquid" else 8.0


def _us(time: datetime) -> int:
    return round((time - datetime(1970, 1, 1)) / timedelta(microseconds=1))  # noqa: DTZ001


def _columns(series: Series, columns: dict[str, Any], time: str) -> pa.Table:
    """One series' rows with its identity; times come as microseconds."""
    count = len(columns[time])
    stamp = pa.timestamp("us")
    arrays = {
        name: pa.array(values).cast(stamp) if name.endswith(("time", "stamp")) else pa.array(values)
        for name, values in columns.items()
    }
    received = columns.get("close_time", columns[time]) + 50_000
    arrays["received_at"] = pa.array(received).cast(stamp)
    market = series.market
    identity = {"symbol": series.symbol, "exchange": market.exchange, "market_type": market.market_type}
    return pa.table(arrays | {name: pa.repeat(part, count) for name, part in identity.items()})


def _poisson(rng: np.random.Generator, per_minute: float, start: int, end: int, grid: int = 1_000) -> Integers:
    """Sorted distinct times, multiples of ``grid`` microseconds."""
    count = rng.poisson(per_minute * (end - start) / 60e6)
    return np.unique(rng.integers(start // grid, end // grid, count)) * grid


def _clock(series: Series, every_us: int, start: int, end: int) -> Integers:
    """Every ``every_us``, each series at a moment of its own."""
    shift = 1_000 * (37 * series.number % (every_us // 1_000))
    times = np.arange(start // every_us, end // every_us + 1) * every_us + shift
    return times[(times >= start) & (times < end)]


def _resting(series: Series, ticks: Integers, us: Integers) -> Floats:
    """The size that rests at a price at a time, broadcast."""
    mixed = (ticks * 2_654_435_761 + (us // _HOLD_US + ticks) * 40_503 + series.number * 977) >> 7
    return series.coin.lot * _SIZES[mixed & 4095]


def _spread(series: Series, us: Integers) -> Integers:
    """In ticks: mostly one, wider now and then."""
    return 1 + (_resting(series, us // (3 * SECOND_US), us) > 2.5 * series.coin.lot).astype(np.int64)


def _quotes(world: World, series: Series, rng: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _poisson(rng, series.quotes * world.rate, start, end)
    bid_ticks = world.ticks_at(series, us)
    ask_ticks = bid_ticks + _spread(series, us)
    bid, ask = bid_ticks * series.coin.tick, ask_ticks * series.coin.tick
    jitter = rng.uniform(0.3, 1.0, (2, len(us)))
    mid = (bid + ask) / 2
    return {
        "timestamp": us,
        "mid_price": mid,
        "bid_price": bid,
        "ask_price": ask,
        "spread": ask - bid,
        "spread_bps": 1e4 * (ask - bid) / mid,
        "source_seq": pa.array(us).cast(pa.string()),
        "bid_qty": _resting(series, bid_ticks, us) * jitter[0],
        "ask_qty": _resting(series, ask_ticks, us) * jitter[1],
    }


def _books(world: World, series: Series, rng: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _poisson(rng, series.books * world.rate, start, end, 100_000)
    best_bid = world.ticks_at(series, us)
    best = {"bid": best_bid, "ask": best_bid + _spread(series, us)}
    columns: dict[str, Any] = {"timestamp": us, "source_seq": pa.array(us).cast(pa.string())}
    depth = 2 * LEVELS
    offsets = pa.array(np.arange(len(us) + 1, dtype=np.int32) * (depth - LEVELS))
    for side, sign in (("bid", -1), ("ask", 1)):
        ticks = best[side][:, None] + sign * np.arange(depth)
        price, qty = ticks * series.coin.tick, _resting(series, ticks, us[:, None])
        for level in range(LEVELS):
            columns[f"{side}_{level + 1}_price"], columns[f"{side}_{level + 1}_qty"] = price[:, level], qty[:, level]
        pairs = np.stack([price[:, LEVELS:], qty[:, LEVELS:]], axis=-1).ravel()
        inner = pa.ListArray.from_arrays(pa.array(np.arange(0, len(pairs) + 1, 2, dtype=np.int32)), pa.array(pairs))
        columns[f"{side}_tail"] = pa.ListArray.from_arrays(offsets, inner)
        columns[f"total_{side}_depth"] = qty[:, :LEVELS].sum(axis=1)
    bid, ask = columns["bid_1_price"], columns["ask_1_price"]
    columns |= {"mid_price": (bid + ask) / 2, "spread": ask - bid, "spread_pct": 200 * (ask - bid) / (ask + bid)}
    columns["bid_ask_ratio"] = columns["total_bid_depth"] / columns["total_ask_depth"]
    return columns


def _trades(world: World, series: Series, rng: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    when = _poisson(rng, series.trades * world.rate / PRINTS, start, end)
    prints = rng.geometric(1 / PRINTS, len(when))
    us, order = np.repeat(when, prints), np.arange(prints.sum())
    within = order - np.repeat(np.cumsum(prints) - prints, prints)
    buys = np.repeat(rng.random(len(when)) < 0.5 + 0.2 * np.sin(when / 9e7), prints)
    best_bid = world.ticks_at(series, us)
    ticks = np.where(buys, best_bid + _spread(series, us) + within // 2, best_bid - within // 2)
    price = ticks * series.coin.tick
    quantity = series.coin.lot * np.exp(rng.normal(-2.0, 1.4, len(us)))
    return {
        "timestamp": us,
        "trade_id": pa.array(start + order).cast(pa.string()),
        "price": price,
        "quantity": quantity,
        "quote_value": price * quantity,
        "side": np.where(buys, "buy", "sell"),
        "is_buyer_maker": ~buys,
    }


def _premium(series: Series, us: Integers) -> Floats:
    """Mark over index less 1."""
    return 3e-4 * np.sin(us / 4.1e9 + series.number) + 5e-5 * np.sin(us / 7e7)


def _rate(series: Series, us: Integers) -> Floats:
    return np.round(1e-4 + 5e-5 * np.sin(us // 60_000_000 / 300 + series.number), 8)


def _marks(world: World, series: Series, _: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _clock(series, SECOND_US, start, end)
    index = world.mid_at(series, us)
    mark = index * (1 + _premium(series, us))
    return {
        "timestamp": us,
        "mark_price": mark,
        "index_price": index,
        "basis": mark - index,
        "basis_pct": 100 * (mark / index - 1),
        "funding_rate": _rate(series, us),
    }


def _indexes(world: World, series: Series, _: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _clock(series, SECOND_US, start, end)
    return {"timestamp": us, "index_price": world.mid_at(series, us)}


def _funding(_: World, series: Series, __: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _clock(series, 60 * SECOND_US, start, end)
    interval = round(funding_hours(series) * 3_600 * SECOND_US)
    return {
        "timestamp": us,
        "funding_rate": _rate(series, us),
        "next_funding_time": (us // interval + 1) * interval,
        "funding_interval_hours": np.full(len(us), funding_hours(series)),
    }


def _open_interest(world: World, series: Series, _: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _clock(series, 3 * SECOND_US, start, end)
    held = 40_000 * series.coin.lot * (1 + 0.05 * np.sin(us / 2.3e9 + series.number) + 0.002 * np.sin(us / 1.7e7))
    return {"timestamp": us, "open_interest": held, "open_interest_usd": held * world.mid_at(series, us)}


def _ticker(world: World, series: Series, _: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _clock(series, 2 * SECOND_US, start, end)
    last = world.mid_at(series, us)
    volume = series.trades * 1_440 * series.coin.lot * 0.36 * (1 + 0.1 * np.sin(us / 1e10))
    return {
        "timestamp": us,
        "volume_24h": volume,
        "quote_volume_24h": volume * last,
        "high_24h": last * 1.03,
        "low_24h": last * 0.98,
        "open_24h": np.full(len(us), series.coin.price),
        "last_price": last,
    }


def _candles(world: World, series: Series, rng: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    minute = 60 * SECOND_US
    us = np.arange(-(-start // minute), -(-end // minute)) * minute
    open_, close = world.mid_at(series, us), world.mid_at(series, us + minute - SECOND_US)
    volume = series.trades * series.coin.lot * 0.36 * rng.gamma(2.0, 0.5, len(us))
    share = rng.uniform(0.3, 0.7, len(us))
    return {
        "open_time": us,
        "close_time": us + minute - 1_000,
        "interval": ["1m"] * len(us),
        "open": open_,
        "high": np.maximum(open_, close) * (1 + 1e-4 * rng.random(len(us))),
        "low": np.minimum(open_, close) * (1 - 1e-4 * rng.random(len(us))),
        "close": close,
        "volume": volume,
        "quote_volume": volume * (open_ + close) / 2,
        "trade_count": (1 + series.trades * rng.gamma(2.0, 0.5, len(us))).astype(np.int32),
        "taker_buy_volume": volume * share,
        "taker_buy_quote": volume * share * (open_ + close) / 2,
        "is_closed": np.ones(len(us), dtype=bool),
    }


def _liquidations(world: World, series: Series, rng: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = _poisson(rng, 0.02 * np.sqrt(series.trades), start, end)
    price = world.mid_at(series, us)
    quantity = series.coin.lot * np.exp(rng.normal(0.5, 1.5, len(us)))
    return {
        "timestamp": us,
        "side": np.where(rng.random(len(us)) < 0.5, "long", "short").astype(str),
        "price": price,
        "quantity": quantity,
        "value_usd": price * quantity,
    }


_KINDS = ("accounts", "top_accounts", "top_positions", "taker_volume")


def _positioning(_: World, series: Series, __: np.random.Generator, start: int, end: int) -> dict[str, Any]:
    us = np.tile(_clock(series, 300 * SECOND_US, start, end), len(_KINDS))
    ratio = 1.2 + 0.3 * np.sin(us / 8e9 + series.number)
    return {
        "timestamp": us,
        "kind": np.repeat(_KINDS, len(us) // len(_KINDS)),
        "long_short_ratio": ratio,
        "long_share": ratio / (1 + ratio),
    }


_MAKERS = {
    "prices": _quotes,
    "orderbooks": _books,
    "trades": _trades,
    "mark_prices": _marks,
    "funding_rates": _funding,
    "open_interest": _open_interest,
    "ticker_24h": _ticker,
    "candles": _candles,
    "liquidations": _liquidations,
    "index_prices": _indexes,
    "positioning": _positioning,
}


def windows(start: datetime, end: datetime, step: timedelta) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        yield start, min(start + step, end)
        start += step
