"""Stream frames of Binance USD-M futures, written from what the simulated minute holds; some are the same on spot.

The key sets follow the newest frames seen of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from orderflow_streaming.simulator.candles import candle
from orderflow_streaming.simulator.depth import changes, pushed, tops
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.history import rolling
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Candle, Ints, Minute, Touches, Trades
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

_UPDATE_ID_ORIGIN_US = 1_567_900_800_000_000
_AGGREGATION_US = 100_000
_AGGREGATION_LATENCY_US = 50_000
_LIQUIDATION_LATENCY_US = 5_000
_KLINE_US = 250_000
_KLINE_CLOSE_US = 60_000
_TICKER_US = 2_000_000


class Topic(NamedTuple):
    """A stream name, taken apart."""

    symbol: str
    kind: str
    levels: int
    """0 for the difference stream."""
    every_us: int


def update_id(when_us: int) -> int:
    """Ids are shared by all symbols and rise with time."""
    return when_us - _UPDATE_ID_ORIGIN_US


def sent_aggregated(trades: Trades) -> Ints:
    """When aggregated trades are pushed."""
    return (trades.when_us // _AGGREGATION_US + 1) * _AGGREGATION_US + _AGGREGATION_LATENCY_US


def aggregated(trades: Trades, listing: Listing, sent: Ints) -> Iterator[tuple[Any, ...]]:
    """Of each trade: when it is pushed, id, price, size, first and last id, when it was made, whether the maker bought.

    Times in milliseconds."""
    return zip(
        (sent // 1_000).tolist(),
        trades.order_id.tolist(),
        decimals(trades.tick * listing.tick_units, listing.price_places),
        decimals(trades.lots, listing.lot_places),
        trades.first_id.tolist(),
        trades.last_id.tolist(),
        (trades.when_us // 1_000).tolist(),
        ["false" if buy else "true" for buy in trades.buy.tolist()],
        strict=True,
    )


def touched(touches: Touches, listing: Listing) -> Iterator[tuple[str, ...]]:
    """Of each touch: bid and its size, ask and its size."""
    return zip(
        decimals(touches.bid * listing.tick_units, listing.price_places),
        decimals(touches.bid_lots, listing.lot_places),
        decimals(touches.ask * listing.tick_units, listing.price_places),
        decimals(touches.ask_lots, listing.lot_places),
        strict=True,
    )


def _agg_trade(topic: str, parsed: Topic, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    sent = sent_aggregated(trades)
    head = f'{{"stream":"{topic}","data":{{"e":"aggTrade","E":'
    name = f',"s":"{listing.venue_symbol}","p":"'
    frames = [
        f'{head}{e},"a":{a}{name}{p}","q":"{q}","nq":"{q}","f":{f},"l":{last},"T":{t},"m":{m},"st":1}}}}'.encode()
        for e, a, p, q, f, last, t, m in aggregated(trades, listing, sent)
    ]
    return Frames(sent.tolist(), frames, trades.order_id.tolist())


def _book_ticker(topic: str, parsed: Topic, minute: Minute) -> Frames:
    touches, listing = minute.touches, minute.listing
    ids = update_ids(touches.when_us)
    head = f'{{"stream":"{topic}","data":{{"e":"bookTicker","u":'
    name = f',"s":"{listing.venue_symbol}","ps":"{listing.venue_symbol}","b":"'
    frames = [
        f'{head}{u}{name}{b}","B":"{bq}","a":"{a}","A":"{aq}","T":{t},"E":{t},"st":1}}}}'.encode()
        for u, (b, bq, a, aq), t in zip(
            ids, touched(touches, listing), (touches.when_us // 1_000).tolist(), strict=True
        )
    ]
    return Frames(touches.when_us.tolist(), frames, ids)


def update_ids(when_us: Ints) -> list[int]:
    """:func:`update_id` of each."""
    ids: list[int] = (when_us - _UPDATE_ID_ORIGIN_US).tolist()
    return ids


def _depth(topic: str, parsed: Topic, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing
    rows, base, first_us = pushed(books, parsed.every_us)
    if parsed.levels:
        bids, asks = tops(books, rows, listing, parsed.levels)
    else:
        bids = [changes(books.bid, books.bid_lots, old, new, listing, -1) for old, new in zip(base, rows, strict=True)]
        asks = [changes(books.ask, books.ask_lots, old, new, listing, 1) for old, new in zip(base, rows, strict=True)]
    last = books.last_us[rows]
    columns = zip(
        (books.push_us[rows] // 1_000).tolist(),
        (last // 1_000).tolist(),
        update_ids(first_us),
        update_ids(last),
        update_ids(books.last_us[base]),
        bids,
        asks,
        strict=True,
    )
    head = f'{{"stream":"{topic}","data":{{"e":"depthUpdate","E":'
    name = f',"s":"{listing.venue_symbol}","ps":"{listing.venue_symbol}","U":'
    frames = [
        f'{head}{e},"T":{t}{name}{u1},"u":{u},"pu":{pu},"b":[{b}],"a":[{a}],"st":1}}}}'.encode()
        for e, t, u1, u, pu, b, a in columns
    ]
    return Frames(books.push_us[rows].tolist(), frames, update_ids(last))


def _mark_price(topic: str, parsed: Topic, minute: Minute) -> Frames:
    seconds = minute.seconds
    if seconds is None:
        return Frames((), (), ())
    step = parsed.every_us // 1_000_000
    rows = slice(step - 1, None, step)
    when = seconds.when_us[rows].tolist()
    head = f'{{"stream":"{topic}","data":{{"e":"markPriceUpdate","E":'
    name = f',"s":"{minute.listing.venue_symbol}","p":"'
    rate, following = f"{seconds.rate:.8f}", seconds.next_us // 1_000
    columns = zip(
        when, seconds.mark[rows].tolist(), seconds.settle[rows].tolist(), seconds.index[rows].tolist(), strict=True
    )
    frames = [
        f'{head}{t // 1_000}{name}{p:.8f}","ap":"{p:.8f}","P":"{s:.8f}","i":"{i:.8f}","r":"{rate}",'
        f'"T":{following},"st":1}}}}'.encode()
        for t, p, s, i in columns
    ]
    return Frames(when, frames, when)


def kline(topic: str, parsed: Topic, minute: Minute) -> Frames:
    """A frame every 250 ms in which there was a trade, and a closing one when the minute is over."""
    trades, listing = minute.trades, minute.listing
    grid = minute.start_us + np.arange(_KLINE_US, MINUTE_US, _KLINE_US)
    upto = np.searchsorted(trades.when_us, grid)
    fresh = np.diff(upto, prepend=0) > 0
    last = np.append(upto[fresh], len(trades)) - 1
    sent = [*grid[fresh].tolist(), minute.start_us + MINUTE_US + _KLINE_CLOSE_US]
    start_ms = minute.start_us // 1_000
    name = listing.venue_symbol
    head = f'{{"stream":"{topic}","data":{{"e":"kline","E":'
    fixed = f',"s":"{name}","k":{{"t":{start_ms},"T":{start_ms + 59_999},"s":"{name}","i":"1m","f":'
    if not len(trades):
        flat = decimal(minute.candle.close * listing.tick_units, listing.price_places)
        nothing, nil = decimal(0, listing.lot_places), decimal(0, listing.price_places + listing.lot_places)
        body = (
            f'{head}{sent[0] // 1_000}{fixed}-1,"L":-1,"o":"{flat}","c":"{flat}","h":"{flat}","l":"{flat}",'
            f'"v":"{nothing}","n":0,"x":true,"q":"{nil}","V":"{nothing}","Q":"{nil}","B":"0"}}}}}}'
        )
        return Frames(sent, [body.encode()], [-1])
    value, lots = trades.tick * trades.lots, trades.lots
    bought = trades.buy.astype(np.int64)
    units, places, value_places = listing.tick_units, listing.price_places, listing.price_places + listing.lot_places
    columns = zip(
        sent,
        trades.last_id[last].tolist(),
        decimals(trades.tick[last] * units, places),
        decimals(np.maximum.accumulate(trades.tick)[last] * units, places),
        decimals(np.minimum.accumulate(trades.tick)[last] * units, places),
        decimals(np.cumsum(lots)[last], listing.lot_places),
        decimals(np.cumsum(value)[last] * units, value_places),
        decimals(np.cumsum(lots * bought)[last], listing.lot_places),
        decimals(np.cumsum(value * bought)[last] * units, value_places),
        strict=True,
    )
    first_id = int(trades.first_id[0])
    opening = decimal(int(trades.tick[0]) * units, places)
    final = sent[-1]
    frames = [
        f'{head}{t // 1_000}{fixed}{first_id},"L":{i},"o":"{opening}","c":"{c}","h":"{h}","l":"{low}","v":"{v}",'
        f'"n":{i - first_id + 1},"x":{"true" if t == final else "false"},"q":"{q}","V":"{bv}","Q":"{bq}",'
        f'"B":"0"}}}}}}'.encode()
        for t, i, c, h, low, v, q, bv, bq in columns
    ]
    return Frames(sent, frames, trades.last_id[last].tolist())


def windows(minute: Minute, every_us: int) -> Iterator[tuple[int, Candle]]:
    """Times of pushes and the sums of 24 hours then, from the first trade of the market on."""
    pushes = minute.start_us + np.arange(every_us, MINUTE_US + 1, every_us)
    upto = np.searchsorted(minute.trades.when_us, pushes).tolist()
    for when, count in zip(pushes.tolist(), upto, strict=True):
        sums = rolling(minute, candle(minute.start_us, minute.day.close, minute.trades, 0, count))
        if sums.count:
            yield when, sums


def _ticker(topic: str, parsed: Topic, minute: Minute) -> Frames:
    listing = minute.listing
    places, units = listing.price_places, listing.tick_units
    sent, frames, keys = [], [], []
    for when, sums in windows(minute, _TICKER_US):
        price = {
            key: decimal(tick * units, places)
            for key, tick in (("p", sums.close - sums.open), ("c", sums.close), ("o", sums.open), ("h", sums.high))
        }
        quote = sums.value * units
        body = (
            f'{{"stream":"{topic}","data":{{"e":"24hrTicker","E":{when // 1_000},"s":"{listing.venue_symbol}",'
            f'"p":"{price["p"]}","P":"{100 * (sums.close - sums.open) / sums.open:.3f}",'
            f'"w":"{decimal(round(quote / sums.lots), places)}","c":"{price["c"]}",'
            f'"Q":"{decimal(sums.last_lots, listing.lot_places)}","o":"{price["o"]}","h":"{price["h"]}",'
            f'"l":"{decimal(sums.low * units, places)}","v":"{decimal(sums.lots, listing.lot_places)}",'
            f'"q":"{decimal(quote // 10**listing.lot_places, places)}","O":{sums.start_us // 1_000},'
            f'"C":{when // 1_000},"F":{sums.first_id},"L":{sums.last_id},"n":{sums.count},"st":1}}}}'
        )
        sent.append(when)
        frames.append(body.encode())
        keys.append(sums.last_id)
    return Frames(sent, frames, keys)


def _force_order(topic: str, parsed: Topic, minute: Minute) -> Frames:
    listing = minute.listing
    places, units = listing.price_places, listing.tick_units
    sent, frames, keys = [], [], []
    for closed in minute.liquidations:
        when = minute.start_us + closed.when_us
        average = round(closed.value * units / closed.filled)
        filled, ordered = decimal(closed.filled, listing.lot_places), decimal(closed.lots, listing.lot_places)
        body = (
            f'{{"stream":"{topic}","data":{{"e":"forceOrder","E":{(when + _LIQUIDATION_LATENCY_US) // 1_000},'
            f'"o":{{"s":"{listing.venue_symbol}","S":"{"BUY" if closed.buy else "SELL"}","o":"LIMIT","f":"IOC",'
            f'"q":"{ordered}","p":"{decimal(closed.order_tick * units, places)}","ap":"{decimal(average, places)}",'
            f'"X":"{"FILLED" if closed.filled == closed.lots else "PARTIALLY_FILLED"}",'
            f'"l":"{decimal(closed.last, listing.lot_places)}","z":"{filled}","T":{when // 1_000}}}}}}}'
        )
        sent.append(when + _LIQUIDATION_LATENCY_US)
        frames.append(body.encode())
        keys.append(when // 1_000)
    return Frames(sent, frames, keys)


Renderer = Callable[[str, Topic, Minute], Frames]

FUTURES_RENDERERS: dict[str, Renderer] = {
    "aggTrade": _agg_trade,
    "bookTicker": _book_ticker,
    "depth": _depth,
    "markPrice": _mark_price,
    "kline": kline,
    "ticker": _ticker,
    "forceOrder": _force_order,
}
