"""Stream frames of Bybit, written from what the simulated minute holds; linear contracts and spot alike.

The key sets and their order follow the newest frames seen of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from uuid import UUID

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import candle
from orderflow_streaming.simulator.depth import changes, pushed, tops
from orderflow_streaming.simulator.dialects.bybit.tickers import (
    TICKER_US,
    directions,
    lasting_fields,
    linear_fields,
    spot_fields,
    written,
)
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.history import History, SecondState, state_at
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Books, Ints, Minute, Touch
from orderflow_streaming.simulator.symbols import CHARACTERS
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

_ORIGIN_US = 1_600_000_000_000_000
_PUSH_LATENCY_US = 2_000
_REPEAT_US = 3_000_000
"""A best bid and ask that does not change is sent again after so long."""
_KLINE_US = 1_000_000
_LIQUIDATION_US = 500_000
_SPOT_ID = 2_290_000_000_000_000_000
_SYMBOLS = tuple(CHARACTERS)


def sequence(when_us: int) -> int:
    """Sequences are those of the whole market and rise with time."""
    return when_us - _ORIGIN_US


def trade_ids(listing: Listing, ids: Ints, *, spot: bool) -> list[str]:
    """Numbers on spot, UUIDs of linear contracts."""
    if spot:
        return [str(_SPOT_ID + identity) for identity in ids.tolist()]
    high = _SYMBOLS.index(listing.symbol) + 1 << 96
    return [str(UUID(int=high | identity)) for identity in ids.tolist()]


def _head(topic: str, kind: str, *, spot: bool) -> tuple[str, str]:
    """What stands before and after the time of a frame."""
    if spot:
        return f'{{"topic":"{topic}","ts":', f',"type":"{kind}",'
    return f'{{"topic":"{topic}","type":"{kind}","ts":', ","


# -- books ---------------------------------------------------------------------------------------------------


def _quotes(topic: str, minute: Minute, *, spot: bool) -> Frames:
    touches, listing = minute.touches, minute.listing
    again = np.diff(touches.when_us, append=minute.start_us + MINUTE_US) // _REPEAT_US + 1
    row = np.repeat(np.arange(len(again)), again)
    nth = np.arange(row.size) - np.repeat(np.cumsum(again) - again, again)
    sent = touches.when_us[row] + nth * _REPEAT_US + _PUSH_LATENCY_US
    columns = zip(
        (sent // 1_000).tolist(),
        decimals(touches.bid[row] * listing.tick_units, listing.price_places),
        decimals(touches.bid_lots[row], listing.lot_places),
        decimals(touches.ask[row] * listing.tick_units, listing.price_places),
        decimals(touches.ask_lots[row], listing.lot_places),
        touches.when_us[row].tolist(),
        strict=True,
    )
    frames = [
        _quote(topic, listing, ts, bid, bids, ask, asks, when, spot) for ts, bid, bids, ask, asks, when in columns
    ]
    return Frames(sent.tolist(), frames, [sequence(when) for when in touches.when_us[row].tolist()])


def _quote(
    topic: str, listing: Listing, ts: int, bid: str, bid_size: str, ask: str, ask_size: str, when_us: int, spot: bool
) -> bytes:
    before, after = _head(topic, "snapshot", spot=spot)
    number = sequence(when_us)
    return (
        f'{before}{ts}{after}"data":{{"s":"{listing.venue_symbol}","b":[["{bid}","{bid_size}"]],'
        f'"a":[["{ask}","{ask_size}"]],"u":{number},"seq":{number}}},"cts":{when_us // 1_000}}}'
    ).encode()


def quote(topic: str, listing: Listing, touch: Touch, now_us: int, *, spot: bool) -> bytes:
    """What a new subscriber of the best bid and ask gets."""
    places, units, lots = listing.price_places, listing.tick_units, listing.lot_places
    bid, ask = (decimal(tick * units, places) for tick in (touch.bid, touch.ask))
    bids, asks = (decimal(size, lots) for size in (touch.bid_lots, touch.ask_lots))
    return _quote(topic, listing, now_us // 1_000, bid, bids, ask, asks, touch.when_us, spot)


def _book(topic: str, minute: Minute, *, spot: bool) -> Frames:
    books, listing = minute.books, minute.listing
    rows, base, _ = pushed(books, 1)
    bids = [changes(books.bid, books.bid_lots, old, new, listing, -1) for old, new in zip(base, rows, strict=True)]
    asks = [changes(books.ask, books.ask_lots, old, new, listing, 1) for old, new in zip(base, rows, strict=True)]
    frames = [
        _levels(topic, "delta", books, listing, row, b, a, spot)
        for row, b, a in zip(rows.tolist(), bids, asks, strict=True)
    ]
    return Frames(books.push_us[rows].tolist(), frames, books.number[rows].tolist())


def snapshot(topic: str, minute: Minute, now_us: int, *, spot: bool) -> bytes:
    """What a new subscriber of the book gets; the changes sent from ``now_us`` on follow it."""
    books, listing = minute.books, minute.listing
    row = max(0, int(np.searchsorted(books.push_us, now_us)) - 1)
    (bids,), (asks,) = tops(books, np.array([row]), listing, books.bid.shape[1])
    return _levels(topic, "snapshot", books, listing, row, bids, asks, spot)


def _levels(topic: str, kind: str, books: Books, listing: Listing, row: int, bids: str, asks: str, spot: bool) -> bytes:
    before, after = _head(topic, kind, spot=spot)
    last_us = int(books.last_us[row])
    return (
        f'{before}{int(books.push_us[row]) // 1_000}{after}"data":{{"s":"{listing.venue_symbol}","b":[{bids}],'
        f'"a":[{asks}],"u":{int(books.number[row])},"seq":{sequence(last_us)}}},"cts":{last_us // 1_000}}}'
    ).encode()


# -- trades --------------------------------------------------------------------------------------------------


def _trades(topic: str, minute: Minute, *, spot: bool) -> Frames:
    trades, listing = minute.trades, minute.listing
    sent = trades.when_us + _PUSH_LATENCY_US
    before, after = _head(topic, "snapshot", spot=spot)
    columns = zip(
        (sent // 1_000).tolist(),
        (trades.when_us // 1_000).tolist(),
        ["Buy" if buy else "Sell" for buy in trades.buy.tolist()],
        decimals(trades.lots, listing.lot_places),
        decimals(trades.tick * listing.tick_units, listing.price_places),
        directions(trades, minute.day.close),
        trade_ids(listing, trades.order_id, spot=spot),
        [sequence(when) for when in trades.when_us.tolist()],
        strict=True,
    )
    name = listing.venue_symbol
    if spot:
        items = (
            (ts, f'"i":"{i}","T":{t},"p":"{p}","v":"{v}","S":"{side}","seq":{seq},"s":"{name}","BT":false,"RPI":false')
            for ts, t, side, v, p, _, i, seq in columns
        )
    else:
        items = (
            (
                ts,
                f'"T":{t},"s":"{name}","S":"{side}","v":"{v}","p":"{p}","L":"{direction}","i":"{i}",'
                f'"BT":false,"RPI":false,"seq":{seq}',
            )
            for ts, t, side, v, p, direction, i, seq in columns
        )
    frames = [f'{before}{ts}{after}"data":[{{{item}}}]}}'.encode() for ts, item in items]
    return Frames(sent.tolist(), frames, trades.order_id.tolist())


def _liquidations(topic: str, minute: Minute, *, spot: bool) -> Frames:
    listing = minute.listing
    before, after = _head(topic, "snapshot", spot=spot)
    sent, frames = [], []
    filled = [closed for closed in minute.liquidations if closed.filled]
    for part, closures in groupby(filled, key=lambda closed: closed.when_us // _LIQUIDATION_US):
        when = minute.start_us + (part + 1) * _LIQUIDATION_US
        items = ",".join(
            f'{{"T":{(minute.start_us + closed.when_us) // 1_000},"s":"{listing.venue_symbol}",'
            f'"S":"{"Sell" if closed.buy else "Buy"}","v":"{decimal(closed.filled, listing.lot_places)}",'
            f'"p":"{decimal(closed.order_tick * listing.tick_units, listing.price_places)}"}}'
            for closed in closures
        )
        sent.append(when)
        frames.append(f'{before}{when // 1_000}{after}"data":[{items}]}}'.encode())
    return Frames(sent, frames, [when // 1_000 for when in sent])


# -- candles -------------------------------------------------------------------------------------------------


def _kline(topic: str, minute: Minute, *, spot: bool) -> Frames:
    """Every second in which there was a trade, and once more when the minute is over."""
    trades, end_us = minute.trades, minute.start_us + MINUTE_US
    pushes = list(range(minute.start_us + _KLINE_US, end_us, _KLINE_US))
    upto = np.searchsorted(trades.when_us, pushes).tolist()
    fresh = [(when, count) for when, count, old in zip(pushes, upto, [0, *upto], strict=False) if count > old]
    sent = [*fresh, (end_us + _PUSH_LATENCY_US, len(trades))]
    frames = [_bar(topic, minute, when, count, closed=when > end_us) for when, count in sent]
    return Frames([when for when, _ in sent], frames, [when // 1_000 for when, _ in sent])


def _bar(topic: str, minute: Minute, when_us: int, count: int, *, closed: bool) -> bytes:
    listing = minute.listing
    places, units, start_ms = listing.price_places, listing.tick_units, minute.start_us // 1_000
    bar = candle(minute.start_us, minute.day.close, minute.trades, 0, count)
    opening, close, high, low = (decimal(tick * units, places) for tick in (bar.open, bar.close, bar.high, bar.low))
    return (
        f'{{"topic":"{topic}","data":[{{"start":{start_ms},"end":{start_ms + 59_999},"interval":"1",'
        f'"open":"{opening}","close":"{close}","high":"{high}","low":"{low}",'
        f'"volume":"{decimal(bar.lots, listing.lot_places)}",'
        f'"turnover":"{decimal(bar.value * units, places + listing.lot_places)}",'
        f'"confirm":{"true" if closed else "false"},"timestamp":{when_us // 1_000 - 1}}}],'
        f'"ts":{when_us // 1_000},"type":"snapshot"}}'
    ).encode()


# -- tickers -------------------------------------------------------------------------------------------------


def _ticks(minute: Minute) -> Iterator[int]:
    yield from range(minute.start_us + TICKER_US, minute.start_us + MINUTE_US + 1, TICKER_US)


def _tickers(topic: str, minute: Minute, *, spot: bool) -> Frames:
    sent, frames, known = [], [], dict[str, str]()
    for when in _ticks(minute):
        if spot:
            frames.append(_ticker(topic, "snapshot", minute.listing, spot_fields(minute, when), when, spot=True))
        else:
            fields = linear_fields(minute, when, _state(minute, when))
            changed = {name: value for name, value in fields.items() if known.get(name) != value}
            known = fields
            if not changed:
                continue
            frames.append(_ticker(topic, "delta", minute.listing, changed, when, spot=False))
        sent.append(when)
    return Frames(sent, frames, [sequence(when) for when in sent])


def _state(minute: Minute, when_us: int) -> SecondState | None:
    """What is known of the contract; nothing in the first second of the minute."""
    seconds = minute.seconds
    return state_at(seconds, when_us) if seconds is not None and seconds.when_us[0] <= when_us else None


def ticker(topic: str, history: History, now_us: int, *, spot: bool) -> bytes:
    """What a new subscriber of the ticker gets: the state of the last push, which those from ``now_us`` on change."""
    minute = history.minute(now_us)
    pushed_us = minute.start_us + max(0, now_us - 1 - minute.start_us) // TICKER_US * TICKER_US
    if spot:
        fields = spot_fields(minute, pushed_us)
    else:
        fields = lasting_fields(minute, history, now_us) | linear_fields(minute, pushed_us, history.second(pushed_us))
    return _ticker(topic, "snapshot", minute.listing, fields, now_us, spot=spot)


def _ticker(topic: str, kind: str, listing: Listing, fields: dict[str, str], when_us: int, *, spot: bool) -> bytes:
    named = {"symbol": listing.venue_symbol, **fields}
    times = f'"ts":{when_us // 1_000}', f'"cs":{sequence(when_us)}'
    if spot:
        data = msgspec.json.encode(named).decode()
        return f'{{"topic":"{topic}",{times[0]},"type":"{kind}",{times[1]},"data":{data}}}'.encode()
    return f'{{"topic":"{topic}","type":"{kind}","data":{written(named)},{times[1]},{times[0]}}}'.encode()


Renderer = Callable[..., Frames]
"""Called with the topic, the minute and whether it is ``spot``."""

RENDERERS: dict[str, Renderer] = {
    "orderbook.1": _quotes,
    "orderbook.50": _book,
    "publicTrade": _trades,
    "tickers": _tickers,
    "kline.1": _kline,
    "allLiquidation": _liquidations,
}
