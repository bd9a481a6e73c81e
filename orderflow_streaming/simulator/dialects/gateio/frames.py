"""Socket frames of Gate.io USDT futures, written from what the simulated minute holds.

The key sets follow the newest frames seen of each kind; sizes are decimal text, as on a connection that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import candle
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.history import rolling, state_at
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Books, Candle, Ints, Minute
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

_ID_ORIGIN_US = 1_567_900_800_000_000
_TICKER_US = 1_000_000
_BAR_US = 500_000
_BAR_CLOSE_US = 60_000
_LIQUIDATIONS_US = 1_000_000
_LATENCY_US = 5_000

Renderer = Callable[[str, Minute], Frames]
Level = dict[str, str]


def book_id(when_us: int) -> int:
    """Ids of a book rise with the time of its changes; the ranges of consecutive changes touch."""
    return when_us - _ID_ORIGIN_US


def pushed(channel: str, sent_us: int, result: Any, event: str = "update") -> bytes:
    """A message of the socket."""
    envelope = {"time": sent_us // 1_000_000, "time_ms": sent_us // 1_000, "channel": f"futures.{channel}"}
    return msgspec.json.encode({**envelope, "event": event, "result": result})


def price(listing: Listing, ticks: int) -> str:
    return decimal(ticks * listing.tick_units, listing.price_places)


def value(listing: Listing, ticks_times_lots: int) -> str:
    """Quote currency."""
    return f"{ticks_times_lots * listing.tick * listing.lot * listing.contract_size:.4f}"


def sides(listing: Listing, books: Books, row: int, depth: int | None = None) -> tuple[list[Level], list[Level]]:
    """Bids and asks of a snapshot, best first."""
    bids, asks = (
        _levels(listing, ticks[row, :depth], lots[row, :depth])
        for ticks, lots in ((books.bid, books.bid_lots), (books.ask, books.ask_lots))
    )
    return bids, asks


def _levels(listing: Listing, ticks: Ints, lots: Ints) -> list[Level]:
    prices = decimals(ticks * listing.tick_units, listing.price_places)
    return [{"p": p, "s": s} for p, s in zip(prices, decimals(lots, listing.lot_places), strict=True)]


def _changed_rows(books: Books) -> list[int]:
    """Snapshots that differ from the one before."""
    rows: list[int] = (np.flatnonzero(books.last_us[1:] > books.last_us[:-1]) + 1).tolist()
    return rows


def _changes(listing: Listing, ticks: Ints, lots: Ints, row: int) -> list[Level]:
    """Levels of a snapshot that differ from the one before; size 0 where a level is gone."""
    before = dict(zip(ticks[row - 1].tolist(), lots[row - 1].tolist(), strict=True))
    after = dict(zip(ticks[row].tolist(), lots[row].tolist(), strict=True))
    changed = {tick: size for tick, size in after.items() if before.get(tick) != size}
    changed |= {tick: 0 for tick in before if tick not in after}
    return [{"p": price(listing, tick), "s": decimal(size, listing.lot_places)} for tick, size in changed.items()]


def _frames(made: Iterable[tuple[int, bytes, int]]) -> Frames:
    """Time, frame and key of each."""
    sent = list(made)
    return Frames([when for when, _, _ in sent], [frame for _, frame, _ in sent], [key for _, _, key in sent])


def _book_ticker(contract: str, minute: Minute) -> Frames:
    touches, listing = minute.touches, minute.listing
    columns = zip(
        touches.when_us.tolist(),
        decimals(touches.bid * listing.tick_units, listing.price_places),
        decimals(touches.bid_lots, listing.lot_places),
        decimals(touches.ask * listing.tick_units, listing.price_places),
        decimals(touches.ask_lots, listing.lot_places),
        strict=True,
    )
    return _frames(
        (
            when,
            pushed(
                "book_ticker",
                when,
                {"t": when // 1_000, "u": book_id(when), "s": contract, "b": b, "B": bq, "a": a, "A": aq},
            ),
            book_id(when),
        )
        for when, b, bq, a, aq in columns
    )


def _order_book(contract: str, minute: Minute) -> Frames:
    books = minute.books

    def snapshot(row: int) -> dict[str, Any]:
        bids, asks = sides(minute.listing, books, row, 20)
        at = {"t": int(books.last_us[row]) // 1_000, "id": book_id(int(books.last_us[row])), "contract": contract}
        return {**at, "asks": asks, "bids": bids, "l": "20"}

    return _frames(
        (
            int(books.push_us[row]),
            pushed("order_book", int(books.push_us[row]), snapshot(row), "all"),
            book_id(int(books.last_us[row])),
        )
        for row in _changed_rows(books)
    )


def _range(books: Books, row: int) -> dict[str, int]:
    """Time and ids of the changes up to a snapshot since the one before."""
    before, last = int(books.last_us[row - 1]), int(books.last_us[row])
    return {"t": last // 1_000, "U": book_id(before) + 1, "u": book_id(last)}


def _order_book_update(contract: str, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing

    def delta(row: int) -> dict[str, Any]:
        asks = _changes(listing, books.ask, books.ask_lots, row)
        bids = _changes(listing, books.bid, books.bid_lots, row)
        return {**_range(books, row), "s": contract, "a": asks, "b": bids, "l": "20"}

    return _frames(
        (
            int(books.push_us[row]),
            pushed("order_book_update", int(books.push_us[row]), delta(row)),
            book_id(int(books.last_us[row])),
        )
        for row in _changed_rows(books)
    )


def _pairs(levels: list[Level]) -> list[tuple[str, str]]:
    return [(level["p"], level["s"]) for level in levels]


def _obu(name: str, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing

    def delta(row: int) -> dict[str, Any]:
        at = _range(books, row)
        changed = {
            "b": _pairs(_changes(listing, books.bid, books.bid_lots, row)),
            "a": _pairs(_changes(listing, books.ask, books.ask_lots, row)),
        }
        return {"t": at.pop("t"), "s": name, **at, **{side: levels for side, levels in changed.items() if levels}}

    return _frames(
        (
            int(books.push_us[row]),
            pushed("obu", int(books.push_us[row]), delta(row)),
            book_id(int(books.last_us[row])),
        )
        for row in _changed_rows(books)
    )


def obu_snapshot(name: str, minute: Minute, now_us: int) -> bytes:
    """What a new subscriber of ``ob.BTC_USDT.50`` is sent first."""
    books = minute.books
    row = int(np.searchsorted(books.push_us, now_us, side="right")) - 1
    bids, asks = sides(minute.listing, books, row)
    last = int(books.last_us[row])
    at = {"t": last // 1_000, "full": True, "s": name, "u": book_id(last)}
    return pushed("obu", now_us, {**at, "b": _pairs(bids), "a": _pairs(asks)})


def _trades(contract: str, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    columns = zip(
        trades.when_us.tolist(),
        trades.order_id.tolist(),
        decimals(np.where(trades.buy, trades.lots, -trades.lots), listing.lot_places),
        decimals(trades.tick * listing.tick_units, listing.price_places),
        strict=True,
    )
    return _frames(
        (
            when,
            pushed(
                "trades",
                when,
                [
                    {
                        "id": number,
                        "size": size,
                        "create_time": when // 1_000_000,
                        "create_time_ms": when // 1_000,
                        "price": paid,
                        "contract": contract,
                    }
                ],
            ),
            number,
        )
        for when, number, size, paid in columns
    )


def ticker(listing: Listing, minute: Minute, sums: Candle, when_us: int) -> dict[str, Any]:
    """What a push of the ticker says, apart from its time."""
    assert minute.seconds is not None
    state, rate = state_at(minute.seconds, when_us), f"{minute.seconds.rate:.6f}"
    volume, turnover = decimal(sums.lots, listing.lot_places), value(listing, sums.value)
    return {
        "contract": listing.venue_symbol,
        "last": price(listing, sums.close),
        "change_percentage": f"{100 * (sums.close - sums.open) / sums.open:.4f}",
        "total_size": decimal(state.open_interest, listing.lot_places),
        "volume_24h": volume,
        "volume_24h_base": f"{sums.lots * listing.lot * listing.contract_size:.8f}",
        "volume_24h_quote": turnover,
        "volume_24h_settle": turnover,
        "mark_price": f"{state.mark:.8f}",
        "funding_rate": rate,
        "funding_rate_indicative": rate,
        "funding_interval": listing.funding_hours * 3_600,
        "funding_offset": 0,
        "funding_next_apply": state.next_us // 1_000_000,
        "index_price": f"{state.index:.8f}",
        "quanto_base_rate": "",
        "low_24h": price(listing, sums.low),
        "high_24h": price(listing, sums.high),
        "price_type": "last",
        "change_from": "24h",
        "change_price": price(listing, sums.close - sums.open),
    }


def _tickers(contract: str, minute: Minute) -> Frames:
    """Every second, from the first trade of the market on."""
    pushes = minute.start_us + np.arange(_TICKER_US, MINUTE_US + 1, _TICKER_US)
    upto = np.searchsorted(minute.trades.when_us, pushes).tolist()
    made = []
    for when, count in zip(pushes.tolist(), upto, strict=True):
        sums = rolling(minute, candle(minute.start_us, minute.day.close, minute.trades, 0, count))
        if sums.count:
            result = ticker(minute.listing, minute, sums, when) | {"t": when // 1_000}
            made.append((when, pushed("tickers", when, [result]), when // 1_000))
    return _frames(made)


def bar(listing: Listing, past: Candle) -> dict[str, Any]:
    """A candle as both the socket and REST tell it."""
    prices = {"c": past.close, "h": past.high, "l": past.low, "o": past.open}
    volume = {"t": past.start_us // 1_000_000, "v": decimal(past.lots, listing.lot_places)}
    return volume | {key: price(listing, ticks) for key, ticks in prices.items()}


def _candlesticks(name: str, minute: Minute) -> Frames:
    """Twice a second when there was a trade, and once more when the minute is over."""
    listing, trades = minute.listing, minute.trades
    grid = minute.start_us + np.arange(_BAR_US, MINUTE_US, _BAR_US)
    upto = np.searchsorted(trades.when_us, grid)
    fresh = np.diff(upto, prepend=0) > 0
    pushes = [*zip(grid[fresh].tolist(), upto[fresh].tolist(), [False] * int(fresh.sum()), strict=True)]
    pushes.append((minute.start_us + MINUTE_US + _BAR_CLOSE_US, len(trades), True))
    made = []
    for when, count, closed in pushes:
        sums = candle(minute.start_us, minute.day.close, trades, 0, count)
        result = bar(listing, sums) | {"n": name, "a": value(listing, sums.value), "w": closed}
        made.append((when, pushed("candlesticks", when, [result]), sums.last_id))
    return _frames(made)


def _public_liquidates(contract: str, minute: Minute) -> Frames:
    """Those of a second in one list; a forced sale is below zero."""
    listing = minute.listing
    made = []
    for second, found in groupby(minute.liquidations, lambda closed: closed.when_us // _LIQUIDATIONS_US):
        closures = list(found)
        sent = minute.start_us + (second + 1) * _LIQUIDATIONS_US + _LATENCY_US
        result = [
            {
                "contract": contract,
                "price": price(listing, closed.order_tick),
                "size": decimal(closed.lots if closed.buy else -closed.lots, listing.lot_places),
                "time": (minute.start_us + closed.when_us) // 1_000,
            }
            for closed in closures
        ]
        key = (minute.start_us + closures[-1].when_us) // 1_000
        made.append((sent, pushed("public_liquidates", sent, result), key))
    return _frames(made)


RENDERERS: dict[str, Renderer] = {
    "book_ticker": _book_ticker,
    "candlesticks": _candlesticks,
    "obu": _obu,
    "order_book": _order_book,
    "order_book_update": _order_book_update,
    "public_liquidates": _public_liquidates,
    "tickers": _tickers,
    "trades": _trades,
}
