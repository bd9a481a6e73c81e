"""Stream frames of OKX swaps, written from what the simulated minute holds.

The key sets follow the newest frames seen of each kind. A size is a number of contracts, and one row of the simulated
tape a fill with an id of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import candle
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.dialects.okx.states import (
    STATES,
    State,
    bar,
    funding_rate,
    index_name,
    index_ticker,
    mark_price,
    open_interest,
    ticker,
)
from orderflow_streaming.simulator.history import History, rolling, state_at
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Books, Ints, Minute
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

_SECOND_US = 1_000_000
_SEQUENCE_ORIGIN_US = 1_567_900_800_000_000
_TICKER_US = 2 * _SECOND_US
_CANDLE_US = _SECOND_US
_CANDLE_CLOSE_US = 60_000
_INTEREST_SECONDS = 3
_FUNDING_SECOND = 30
_LATENCY_US = 5_000
_SNAPSHOT = -1


def sequence(when_us: int) -> int:
    """Ids of one instrument's book, best prices and fills rise with time."""
    return when_us - _SEQUENCE_ORIGIN_US


def _head(channel: str, listing: Listing) -> str:
    of = index_name(listing) if channel == "index-tickers" else listing.venue_symbol
    return f'{{"arg":{{"channel":"{channel}","instId":"{of}"}},'


def _pushed(channel: str, listing: Listing, row: Any) -> bytes:
    return _head(channel, listing).encode() + b'"data":[' + msgspec.json.encode(row) + b"]}"


# -- fills ---------------------------------------------------------------------------------------------------


def _fills(channel: str, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    head = f'{_head(channel, listing)}"data":[{{"instId":"{listing.venue_symbol}","tradeId":"'
    summed = '","count":"1' if channel == "trades" else ""
    columns = zip(
        trades.order_id.tolist(),
        decimals(trades.tick * listing.tick_units, listing.price_places),
        decimals(trades.lots, listing.lot_places),
        ["buy" if buy else "sell" for buy in trades.buy.tolist()],
        (trades.when_us // 1_000).tolist(),
        (trades.when_us - _SEQUENCE_ORIGIN_US).tolist(),
        strict=True,
    )
    frames = [
        f'{head}{i}","px":"{p}","sz":"{q}","side":"{side}","ts":"{t}{summed}","source":"0","seqId":{seq}}}]}}'.encode()
        for i, p, q, side, t, seq in columns
    ]
    return Frames(trades.when_us.tolist(), frames, trades.order_id.tolist())


# -- books ---------------------------------------------------------------------------------------------------


def _best(channel: str, minute: Minute) -> Frames:
    touches, listing = minute.touches, minute.listing
    head = f'{_head(channel, listing)}"data":[{{"asks":[["'
    columns = zip(
        decimals(touches.ask * listing.tick_units, listing.price_places),
        decimals(touches.ask_lots, listing.lot_places),
        decimals(touches.bid * listing.tick_units, listing.price_places),
        decimals(touches.bid_lots, listing.lot_places),
        (touches.when_us // 1_000).tolist(),
        ids := (touches.when_us - _SEQUENCE_ORIGIN_US).tolist(),
        strict=True,
    )
    frames = [
        f'{head}{a}","{aq}","0","1"]],"bids":[["{b}","{bq}","0","1"]],"ts":"{t}","seqId":{u}}}]}}'.encode()
        for a, aq, b, bq, t, u in columns
    ]
    return Frames(touches.when_us.tolist(), frames, ids)


def _changes(channel: str, minute: Minute) -> Frames:
    """Every 100 ms in which something happened."""
    books, listing = minute.books, minute.listing
    rows = np.flatnonzero(books.last_us[1:] > books.last_us[:-1]) + 1
    frames = [
        _book(
            listing,
            "update",
            _changed(books.ask, books.ask_lots, row, listing, 1),
            _changed(books.bid, books.bid_lots, row, listing, -1),
            books,
            row,
            sequence(int(books.last_us[row - 1])),
        )
        for row in rows.tolist()
    ]
    return Frames(books.push_us[rows].tolist(), frames, (books.last_us[rows] - _SEQUENCE_ORIGIN_US).tolist())


def snapshot(listing: Listing, history: History, now_us: int) -> bytes:
    """The whole book that changes sent from ``now_us`` on follow."""
    try:
        books = history.minute(now_us - 1).books
    except LookupError:
        books = history.minute(now_us).books
    row = max(0, int(np.searchsorted(books.push_us, now_us)) - 1)
    return _book(listing, "snapshot", *sides(listing, books, row), books, row, _SNAPSHOT)


def sides(listing: Listing, books: Books, row: int, depth: int | None = None) -> tuple[str, str]:
    """Asks and bids, best first."""
    asks, bids = (
        _levels(zip(ticks[row, :depth].tolist(), lots[row, :depth].tolist(), strict=True), listing)
        for ticks, lots in ((books.ask, books.ask_lots), (books.bid, books.bid_lots))
    )
    return asks, bids


def _changed(ticks: Ints, lots: Ints, row: int, listing: Listing, order: int) -> str:
    """Levels that are not as in the row before; size 0 where one is gone."""
    before, after = (dict(zip(ticks[at].tolist(), lots[at].tolist(), strict=True)) for at in (row - 1, row))
    changed = dict.fromkeys(before.keys() - after.keys(), 0)
    changed |= {tick: size for tick, size in after.items() if before.get(tick) != size}
    return _levels(sorted(changed.items(), key=lambda level: order * level[0]), listing)


def _levels(levels: Any, listing: Listing) -> str:
    return ",".join(
        f'["{decimal(tick * listing.tick_units, listing.price_places)}","{decimal(size, listing.lot_places)}","0",'
        f'"{1 if size else 0}"]'
        for tick, size in levels
    )


def _book(listing: Listing, action: str, asks: str, bids: str, books: Books, row: int, previous: int) -> bytes:
    when_ms, last = int(books.push_us[row]) // 1_000, sequence(int(books.last_us[row]))
    return (
        f'{_head("books", listing)}"action":"{action}","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"{when_ms}",'
        f'"checksum":0,"seqId":{last},"prevSeqId":{previous}}}]}}'
    ).encode()


# -- states --------------------------------------------------------------------------------------------------


Renderer = Callable[[str, Minute], Frames]


def _each_second(every: int, first: int, state: State) -> Renderer:
    """A frame every so many seconds of the minute."""

    def render(channel: str, minute: Minute) -> Frames:
        seconds = minute.seconds
        if seconds is None:
            return Frames((), (), ())
        when = seconds.when_us[first - 1 :: every].tolist()
        frames = [_pushed(channel, minute.listing, state(minute.listing, minute, state_at(seconds, at))) for at in when]
        return Frames(when, frames, when)

    return render


# -- sums ----------------------------------------------------------------------------------------------------


def _tickers(channel: str, minute: Minute) -> Frames:
    """Every two seconds, from the first fill of the market on."""
    listing, trades = minute.listing, minute.trades
    pushes = minute.start_us + np.arange(_TICKER_US, MINUTE_US + 1, _TICKER_US)
    upto = np.searchsorted(trades.when_us, pushes).tolist()
    sent, frames = [], []
    for when, until in zip(pushes.tolist(), upto, strict=True):
        sums = rolling(minute, candle(minute.start_us, minute.day.close, trades, 0, until))
        if sums.count:
            sent.append(when)
            frames.append(_pushed(channel, listing, ticker(listing, minute, sums, when)))
    return Frames(sent, frames, sent)


def _candles(channel: str, minute: Minute) -> Frames:
    """A frame for every second in which there was a fill, and a closing one when the minute is over."""
    trades = minute.trades
    grid = minute.start_us + np.arange(_CANDLE_US, MINUTE_US, _CANDLE_US)
    upto = np.searchsorted(trades.when_us, grid)
    fresh = np.diff(upto, prepend=0) > 0
    states = [
        (when, bar(candle(minute.start_us, minute.day.close, trades, 0, until), minute.listing, closed=False))
        for when, until in zip(grid[fresh].tolist(), upto[fresh].tolist(), strict=True)
    ]
    closing = minute.start_us + MINUTE_US + _CANDLE_CLOSE_US
    states.append((closing, bar(minute.candle, minute.listing, closed=True)))
    sent = [when for when, _ in states]
    return Frames(sent, [_pushed(channel, minute.listing, row) for _, row in states], sent)


# -- liquidations --------------------------------------------------------------------------------------------


def _liquidations(channel: str, minute: Minute) -> Frames:
    when = [minute.start_us + closed.when_us for closed in minute.liquidations]
    frames = [_closures(minute, [place]) for place in range(len(when))]
    return Frames([at + _LATENCY_US for at in when], frames, [at // 1_000 for at in when])


def recent_liquidations(minute: Minute, now_us: int) -> list[bytes]:
    """What a new subscriber is told again: one frame, where there is something to tell."""
    places = [
        place
        for place, closed in enumerate(minute.liquidations)
        if minute.start_us + closed.when_us + _LATENCY_US < now_us
    ]
    return [_closures(minute, places)] if places else []


def _closures(minute: Minute, places: Sequence[int]) -> bytes:
    """A buying order closes a short position; the price is the one the position is taken over at."""
    listing = minute.listing
    details = [
        {
            "bkLoss": "0",
            "bkPx": decimal(closed.order_tick * listing.tick_units, listing.price_places),
            "ccy": "",
            "posSide": "short" if closed.buy else "long",
            "side": "buy" if closed.buy else "sell",
            "sz": decimal(closed.filled, listing.lot_places),
            "ts": str((minute.start_us + closed.when_us) // 1_000),
        }
        for closed in (minute.liquidations[place] for place in places)
    ]
    family = index_name(listing)
    row = {
        "details": details,
        "instFamily": family,
        "instId": listing.venue_symbol,
        "instType": "SWAP",
        "uly": family,
    }
    return b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[' + msgspec.json.encode(row) + b"]}"


RENDERERS: dict[str, Renderer] = {
    "trades": _fills,
    "trades-all": _fills,
    "bbo-tbt": _best,
    "books": _changes,
    "mark-price": _each_second(1, 1, mark_price),
    "index-tickers": _each_second(1, 1, index_ticker),
    "open-interest": _each_second(_INTEREST_SECONDS, _INTEREST_SECONDS, open_interest),
    "funding-rate": _each_second(60, _FUNDING_SECOND, funding_rate),
    "tickers": _tickers,
    "candle1m": _candles,
    "liquidation-orders": _liquidations,
}


def present(channel: str, listing: Listing, history: History, now_us: int) -> bytes:
    """The state of one of :data:`STATES`, as pushed to a new subscriber."""
    return _pushed(channel, listing, STATES[channel](listing, history.minute(now_us), history.second(now_us)))
