"""Messages of KuCoin spot, written from what the simulated minute holds.

Key sets follow the newest recorded ones; the 24-hour numbers leave out those of the last hour and of the last four.
"""

from __future__ import annotations

import numpy as np

from orderflow_streaming.simulator.candles import candle
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.dialects.kucoin.frames import (
    TRADE_STEP,
    Renderer,
    bars,
    changed_books,
    head,
    pushed_touches,
    sequence,
)
from orderflow_streaming.simulator.history import rolling
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Candle, Ints, Minute
from orderflow_streaming.simulator.text import decimal, decimals, levels
from orderflow_streaming.simulator.venue import Listing

_SNAPSHOT_US = 2_000_000
FEE_RATE = "0.001"


def price(listing: Listing, ticks: Ints) -> list[str]:
    return decimals(ticks * listing.tick_units, listing.price_places)


def size(listing: Listing, lots: Ints) -> list[str]:
    return decimals(lots, listing.lot_places)


def _ticker(topic: str, minute: Minute) -> Frames:
    touches, trades, listing = minute.touches, minute.trades, minute.listing
    rows, sent = pushed_touches(touches)
    when = touches.when_us[rows]
    trade = np.searchsorted(trades.when_us, when, side="right")
    last_tick = np.append(minute.day.close, trades.tick)[trade]
    last_lots = np.append(minute.day.last_lots, trades.lots)[trade]
    numbers = [sequence(at) for at in when.tolist()]
    columns = zip(
        price(listing, touches.ask[rows]),
        size(listing, touches.ask_lots[rows]),
        price(listing, touches.bid[rows]),
        size(listing, touches.bid_lots[rows]),
        price(listing, last_tick),
        numbers,
        size(listing, last_lots),
        (when // 1_000).tolist(),
        strict=True,
    )
    start = head(topic, "trade.ticker")
    frames = [
        f'{start},"data":{{"bestAsk":"{a}","bestAskSize":"{aq}","bestBid":"{b}","bestBidSize":"{bq}","price":"{p}",'
        f'"sequence":"{n}","size":"{q}","time":{t}}}}}'.encode()
        for a, aq, b, bq, p, n, q, t in columns
    ]
    return Frames(sent.tolist(), frames, numbers)


def _depth(topic: str, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing
    rows, _ = changed_books(books)
    prices = np.stack([books.ask[rows], books.bid[rows]]) * listing.tick_units
    sizes = np.stack([books.ask_lots[rows], books.bid_lots[rows]])
    asks, bids = (
        [",".join(row) for row in levels(ticks, listing.price_places, lots, listing.lot_places)]
        for ticks, lots in zip(prices, sizes, strict=True)
    )
    when = books.push_us[rows]
    start = head(topic, "level2")
    frames = [
        f'{start},"data":{{"asks":[{a}],"bids":[{b}],"timestamp":{t}}}}}'.encode()
        for a, b, t in zip(asks, bids, (when // 1_000).tolist(), strict=True)
    ]
    return Frames(when.tolist(), frames, (when // 1_000).tolist())


def _increments(topic: str, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing
    rows, base = changed_books(books)
    start = head(topic, "trade.l2update")
    frames, keys = [], []
    for old, new in zip(base.tolist(), rows.tolist(), strict=True):
        last = sequence(int(books.last_us[new]))
        asks = _changes(books.ask, books.ask_lots, old, new, listing, last)
        bids = _changes(books.bid, books.bid_lots, old, new, listing, last)
        frames.append(
            f'{start},"data":{{"changes":{{"asks":[{asks}],"bids":[{bids}]}},"sequenceEnd":{last},'
            f'"sequenceStart":{sequence(int(books.last_us[old])) + 1},"symbol":"{listing.venue_symbol}",'
            f'"time":{int(books.push_us[new]) // 1_000}}}}}'.encode()
        )
        keys.append(last)
    return Frames(books.push_us[rows].tolist(), frames, keys)


def _changes(ticks: Ints, lots: Ints, old: int, new: int, listing: Listing, last: int) -> str:
    """Levels of snapshot ``new`` that differ from ``old``; size 0 where a level is gone."""
    before = dict(zip(ticks[old].tolist(), lots[old].tolist(), strict=True))
    after = dict(zip(ticks[new].tolist(), lots[new].tolist(), strict=True))
    changed = {tick: size for tick, size in after.items() if before.get(tick) != size}
    changed |= {tick: 0 for tick in before if tick not in after}
    return ",".join(
        f'["{decimal(tick * listing.tick_units, listing.price_places)}","{decimal(size, listing.lot_places)}","{last}"]'
        for tick, size in changed.items()
    )


def _match(topic: str, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    numbers = (trades.order_id * TRADE_STEP).tolist()
    columns = zip(
        numbers,
        trades.first_id.tolist(),
        price(listing, trades.tick),
        ["buy" if buy else "sell" for buy in trades.buy.tolist()],
        size(listing, trades.lots),
        (trades.when_us * 1_000).tolist(),
        strict=True,
    )
    start = head(topic, "trade.l3match")
    frames = [
        f'{start},"data":{{"makerOrderId":"{maker:024x}","price":"{p}","sequence":"{n}","side":"{side}","size":"{q}",'
        f'"symbol":"{listing.venue_symbol}","takerOrderId":"{n:024x}","time":"{t}","tradeId":"{n}",'
        f'"type":"match"}}}}'.encode()
        for n, maker, p, side, q, t in columns
    ]
    return Frames(trades.when_us.tolist(), frames, numbers)


def _snapshot(topic: str, minute: Minute) -> Frames:
    """Every two seconds, from the first trade of the market on."""
    listing, trades, books = minute.listing, minute.trades, minute.books
    pushes = minute.start_us + np.arange(_SNAPSHOT_US, MINUTE_US + 1, _SNAPSHOT_US)
    upto = np.searchsorted(trades.when_us, pushes).tolist()
    book = (np.searchsorted(books.push_us, pushes, side="right") - 1).tolist()
    start = head(topic, "trade.snapshot")
    sent, frames = [], []
    for when, count, row in zip(pushes.tolist(), upto, book, strict=True):
        sums = rolling(minute, candle(minute.start_us, minute.day.close, trades, 0, count))
        if not sums.count:
            continue
        number = sequence(int(books.last_us[row]))
        body = statistics(listing, sums) | {
            "askSize": decimal(int(books.ask_lots[row, 0]), listing.lot_places),
            "bidSize": decimal(int(books.bid_lots[row, 0]), listing.lot_places),
            "buy": decimal(int(books.bid[row, 0]) * listing.tick_units, listing.price_places),
            "sell": decimal(int(books.ask[row, 0]) * listing.tick_units, listing.price_places),
        }
        base = listing.venue_symbol.removesuffix("-USDT")
        change = ",".join(
            f'"{key}":{body[key]}' for key in ("changePrice", "changeRate", "high", "low", "open", "vol", "volValue")
        )
        numbers = ",".join(f'"{key}":{value}' for key, value in body.items())
        frames.append(
            f'{start},"data":{{"sequence":"{number}","data":{{{numbers},"baseCurrency":"{base}","board":1,'
            f'"datetime":{when // 1_000},"makerCoefficient":1.000000,"makerFeeRate":{FEE_RATE},"marginTrade":true,'
            f'"mark":0,"market":"USDS","marketChange24h":{{{change}}},"markets":["USDS"],"quoteCurrency":"USDT",'
            f'"siteTypes":["global"],"sort":100,"symbol":"{listing.venue_symbol}",'
            f'"symbolCode":"{listing.venue_symbol}","takerCoefficient":1.000000,"takerFeeRate":{FEE_RATE},'
            f'"trading":true}}}}}}'.encode()
        )
        sent.append(when)
    return Frames(sent, frames, [when // 1_000 for when in sent])


def statistics(listing: Listing, sums: Candle) -> dict[str, str]:
    """The last 24 hours, as numbers written in decimals."""
    places, units = listing.price_places, listing.tick_units
    value_places = places + listing.lot_places
    prices = {
        "changePrice": sums.close - sums.open,
        "close": sums.close,
        "high": sums.high,
        "lastTradedPrice": sums.close,
        "low": sums.low,
        "open": sums.open,
    }
    return {
        "averagePrice": decimal(round(sums.value * units / sums.lots), places),
        "changeRate": f"{(sums.close - sums.open) / sums.open:.4f}",
        **{name: decimal(ticks * units, places) for name, ticks in prices.items()},
        "vol": decimal(sums.lots, listing.lot_places),
        "volValue": decimal(sums.value * units, value_places),
    }


def _candles(topic: str, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    sent, last = bars(minute)
    if not sent:
        return Frames((), (), ())
    columns = zip(
        sent,
        price(listing, trades.tick[last]),
        price(listing, np.maximum.accumulate(trades.tick)[last]),
        price(listing, np.minimum.accumulate(trades.tick)[last]),
        size(listing, np.cumsum(trades.lots)[last]),
        decimals(
            np.cumsum(trades.tick * trades.lots)[last] * listing.tick_units, listing.price_places + listing.lot_places
        ),
        strict=True,
    )
    opening = decimal(int(trades.tick[0]) * listing.tick_units, listing.price_places)
    begin, name = minute.start_us // 1_000_000, listing.venue_symbol
    frames = [
        f'{head(topic, f"trade.candles.{kind}")},"data":{{"symbol":"{name}","candles":["{begin}","{opening}","{c}",'
        f'"{h}","{low}","{v}","{q}"],"time":{t}000}}}}'.encode()
        for kind, (t, c, h, low, v, q) in zip(("add", *["update"] * (len(sent) - 1)), columns, strict=True)
    ]
    return Frames(sent, frames, (trades.order_id[last] * TRADE_STEP).tolist())


RENDERERS: dict[str, Renderer] = {
    "/market/ticker:{}": _ticker,
    "/spotMarket/level2Depth50:{}": _depth,
    "/market/level2:{}": _increments,
    "/market/match:{}": _match,
    "/market/snapshot:{}": _snapshot,
    "/market/candles:{}_1min": _candles,
}
