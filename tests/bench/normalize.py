"""Records per CPU second from wire bytes to rows, decode included, on one core.

The baseline is the plain way to do the same: a typed ``msgspec`` decoder per message and one Python list per column.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.writing.normalize import Normalizer

ROUNDS = 5
START_US = 1_793_836_800_000_000  # 2026-11-05 00:00 UTC
MARKET = "binance_futures"


class _Trade(msgspec.Struct):
    T: int
    s: str
    a: int
    p: str
    q: str
    m: bool


class _Quote(msgspec.Struct):
    E: int
    s: str
    u: int
    b: str
    B: str
    a: str
    A: str


class _Book(msgspec.Struct):
    E: int
    s: str
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _TradeFrame(msgspec.Struct):
    data: _Trade


class _QuoteFrame(msgspec.Struct):
    data: _Quote


class _BookFrame(msgspec.Struct):
    data: _Book


def recorded(minutes: int = 8) -> dict[str, list[bytes]]:
    """Frames of all nine symbols by channel, made by the simulator."""
    by_channel: dict[str, list[bytes]] = defaultdict(list)
    route = exchange(MARKET).route
    for _, _, frame in frames(1, START_US, START_US + minutes * 60_000_000):
        by_channel[str(route(frame))].append(frame)
    return by_channel


def loop_trades(batch: Sequence[bytes]) -> pa.Table:
    decoder = msgspec.json.Decoder(_TradeFrame)
    columns: list[list[Any]] = [[] for _ in range(8)]
    for frame in batch:
        trade = decoder.decode(frame).data
        price, quantity = float(trade.p), float(trade.q)
        row = (trade.T, trade.s, trade.a, price, quantity, price * quantity, "sell" if trade.m else "buy", trade.m)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return pa.table(columns, [str(number) for number in range(8)])


def loop_quotes(batch: Sequence[bytes]) -> pa.Table:
    decoder = msgspec.json.Decoder(_QuoteFrame)
    columns: list[list[Any]] = [[] for _ in range(10)]
    for frame in batch:
        quote = decoder.decode(frame).data
        bid, ask = float(quote.b), float(quote.a)
        middle = (bid + ask) / 2
        sizes = (float(quote.B), float(quote.A))
        row = (quote.E, quote.s, quote.u, bid, ask, middle, ask - bid, (ask - bid) / middle * 1e4, *sizes)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return pa.table(columns, [str(number) for number in range(10)])


def loop_books(batch: Sequence[bytes]) -> pa.Table:
    decoder = msgspec.json.Decoder(_BookFrame)
    columns: list[list[Any]] = [[] for _ in range(49)]
    for frame in batch:
        book = decoder.decode(frame).data
        row: list[Any] = [book.E, book.s, book.u]
        depth = []
        for side in (book.b[:10], book.a[:10]):
            levels = [float(value) for level in side for value in level]
            row += levels
            depth.append(sum(levels[1::2]))
        bid, ask = row[3], row[23]
        middle = (bid + ask) / 2
        row += [*depth, depth[0] / depth[1], ask - bid, (ask - bid) / middle * 100, middle]
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return pa.table(columns, [str(number) for number in range(49)])


LOOPS: dict[str, Callable[[Sequence[bytes]], pa.Table]] = {
    "aggTrade": loop_trades,
    "bookTicker": loop_quotes,
    "partialDepth": loop_books,
}


def measure() -> list[dict[str, Any]]:
    """One row per channel: records per CPU second, and the ratio to the loop where there is one."""
    by_channel = recorded()
    protocol = exchange(MARKET)
    connection = duckdb.connect()
    connection.execute("SET threads=1")
    normalizer = Normalizer(connection)
    results = []
    for channel, batch in sorted(by_channel.items()):
        if len(batch) < 1_000:
            continue
        loop = LOOPS.get(channel)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            started = time.process_time()
            normalizer.normalize(protocol, channel, batch, [START_US] * len(batch))
            ours.append(len(batch) / (time.process_time() - started))
            normalizer.clear()
            if loop:
                started = time.process_time()
                loop(batch)
                theirs.append(len(batch) / (time.process_time() - started))
        result = {"case": f"normalize {channel}", "frames": len(batch), "per_cpu_s": round(median(ours))}
        if loop:
            result["loop_per_cpu_s"] = round(median(theirs))
            result["ratio"] = round(median(ours) / median(theirs), 2)
        results.append(result)
    connection.close()
    return results
