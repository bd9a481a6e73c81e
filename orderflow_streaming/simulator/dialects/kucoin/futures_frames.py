"""Messages of KuCoin futures, written from what the simulated minute holds; key sets as in the newest recorded ones."""

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
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

HOUR_MS = 3_600_000
_SNAPSHOT_US = 5_000_000
_MARK_PLACES = 2
"""Decimals of mark and index prices beyond those of the price."""
_RATE_GRANULARITY_MS = 60_000


def price(listing: Listing, ticks: Ints) -> list[str]:
    return decimals(ticks * listing.tick_units, listing.price_places)


def mark(listing: Listing, value: float) -> str:
    return f"{value:.{listing.price_places + _MARK_PLACES}f}"


def _ticker(topic: str, minute: Minute) -> Frames:
    touches, listing = minute.touches, minute.listing
    rows, sent = pushed_touches(touches)
    when = touches.when_us[rows]
    numbers = [sequence(at) for at in when.tolist()]
    columns = zip(
        numbers,
        touches.bid_lots[rows].tolist(),
        price(listing, touches.bid[rows]),
        price(listing, touches.ask[rows]),
        touches.ask_lots[rows].tolist(),
        (when // 1_000).tolist(),
        strict=True,
    )
    start = head(topic, "tickerV2")
    name = f'"data":{{"symbol":"{listing.venue_symbol}"'
    frames = [
        f'{start},"sn":{n},{name},"sequence":{n},"bestBidSize":{bq},"bestBidPrice":"{b}","bestAskPrice":"{a}",'
        f'"bestAskSize":{aq},"ts":{t}000000}}}}'.encode()
        for n, bq, b, a, aq, t in columns
    ]
    return Frames(sent.tolist(), frames, numbers)


def _depth(topic: str, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing
    rows, _ = changed_books(books)
    bids = _levels(listing, books.bid[rows], books.bid_lots[rows])
    asks = _levels(listing, books.ask[rows], books.ask_lots[rows])
    when = books.push_us[rows]
    numbers = [sequence(at) for at in books.last_us[rows].tolist()]
    start = head(topic, "level2")
    frames = [
        f'{start},"sn":{t},"data":{{"sequence":{n},"asks":[{a}],"bids":[{b}],"timestamp":{t},"ts":{t}}}}}'.encode()
        for n, a, b, t in zip(numbers, asks, bids, (when // 1_000).tolist(), strict=True)
    ]
    return Frames(when.tolist(), frames, numbers)


def _levels(listing: Listing, ticks: Ints, lots: Ints) -> list[str]:
    """One side of each book, ``["2749.69",44],…``."""
    prices = np.array(price(listing, ticks.ravel()), dtype=object).reshape(ticks.shape).tolist()
    return [
        ",".join(f'["{at}",{size}]' for at, size in zip(row, sizes, strict=True))
        for row, sizes in zip(prices, lots.tolist(), strict=True)
    ]


def _execution(topic: str, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    numbers = (trades.order_id * TRADE_STEP).tolist()
    columns = zip(
        numbers,
        ["buy" if buy else "sell" for buy in trades.buy.tolist()],
        trades.lots.tolist(),
        price(listing, trades.tick),
        trades.first_id.tolist(),
        (trades.when_us * 1_000).tolist(),
        strict=True,
    )
    start = head(topic, "match")
    name = f'"data":{{"symbol":"{listing.venue_symbol}"'
    frames = [
        f'{start},"sn":{n},{name},"sequence":{n},"side":"{side}","size":{q},"price":"{p}","takerOrderId":"{n}",'
        f'"makerOrderId":"{maker}","tradeId":"{n}","ts":{t}}}}}'.encode()
        for n, side, q, p, maker, t in columns
    ]
    return Frames(trades.when_us.tolist(), frames, numbers)


def _instrument(topic: str, minute: Minute) -> Frames:
    """The running funding rate at the start of the minute, mark and index every second, and a settlement at its end."""
    seconds, listing = minute.seconds, minute.listing
    if seconds is None:
        return Frames((), (), ())
    start_ms = minute.start_us // 1_000
    rates, marks = head(topic, "funding.rate"), head(topic, "mark.index.price")
    sent = [minute.start_us, *seconds.when_us.tolist()]
    frames = [
        f'{rates},"data":{{"period":1,"granularity":{_RATE_GRANULARITY_MS},"fundingRate":{rate(seconds.rate)},'
        f'"timestamp":{start_ms}}}}}'.encode()
    ]
    frames += [
        f'{marks},"data":{{"markPrice":{mark(listing, at)},"indexPrice":{mark(listing, index)},"granularity":1000,'
        f'"timestamp":{when // 1_000}}}}}'.encode()
        for when, at, index in zip(seconds.when_us.tolist(), seconds.mark.tolist(), seconds.index.tolist(), strict=True)
    ]
    if seconds.settlement is not None:
        settled = seconds.settlement
        sent.append(settled.when_us)
        frames.append(
            f'{rates},"data":{{"granularity":{listing.funding_hours * HOUR_MS},"fundingRate":{rate(settled.rate)},'
            f'"timestamp":{settled.when_us // 1_000}}}}}'.encode()
        )
    return Frames(sent, frames, [when // 1_000 for when in sent])


def rate(value: float) -> str:
    return f"{value:.6f}"


def _snapshot(topic: str, minute: Minute) -> Frames:
    """Every five seconds, from the first trade of the market on."""
    listing, trades = minute.listing, minute.trades
    pushes = minute.start_us + np.arange(_SNAPSHOT_US, MINUTE_US + 1, _SNAPSHOT_US)
    upto = np.searchsorted(trades.when_us, pushes).tolist()
    start = head(topic, "snapshot.24h")
    sent, frames = [], []
    for when, count in zip(pushes.tolist(), upto, strict=True):
        sums = rolling(minute, candle(minute.start_us, minute.day.close, trades, 0, count))
        if not sums.count:
            continue
        known = statistics(listing, sums)
        opening = decimal(sums.open * listing.tick_units, listing.price_places)
        frames.append(
            f'{start},"id":"{when:024x}","data":{{"highPrice":{known["highPrice"]},"lastPrice":{known["lastTradePrice"]},'
            f'"lowPrice":{known["lowPrice"]},"price24HoursBefore":{opening},'
            f'"priceChg":{known["priceChg"]},"priceChgPct":{known["priceChgPct"]},"symbol":"{listing.venue_symbol}",'
            f'"ts":{when}000,"turnover":{known["turnoverOf24h"]},"volume":{known["volumeOf24h"]}}}}}'.encode()
        )
        sent.append(when)
    return Frames(sent, frames, [when // 1_000 for when in sent])


def statistics(listing: Listing, sums: Candle) -> dict[str, str]:
    """The last 24 hours, as numbers written in decimals: volume in base coin, turnover in quote coin."""
    places, units = listing.price_places, listing.tick_units
    prices = {
        "highPrice": sums.high,
        "lastTradePrice": sums.close,
        "lowPrice": sums.low,
        "priceChg": sums.close - sums.open,
    }
    return {
        **{name: decimal(ticks * units, places) for name, ticks in prices.items()},
        "priceChgPct": f"{(sums.close - sums.open) / sums.open:.4f}",
        "turnoverOf24h": f"{sums.value * listing.tick * listing.contract_size:.10f}",
        "volumeOf24h": f"{sums.lots * listing.contract_size:.10f}",
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
        np.cumsum(trades.lots)[last].tolist(),
        strict=True,
    )
    opening = decimal(int(trades.tick[0]) * listing.tick_units, listing.price_places)
    begin, name = minute.start_us // 1_000_000, listing.venue_symbol
    frames = [
        f'{{"topic":"{topic}","type":"message","data":{{"symbol":"{name}","candles":["{begin}","{opening}","{c}","{h}",'
        f'"{low}","{v}.0","{v}"],"time":{t // 1_000}}},"subject":"candle.stick"}}'.encode()
        for t, c, h, low, v in columns
    ]
    return Frames(sent, frames, (trades.order_id[last] * TRADE_STEP).tolist())


RENDERERS: dict[str, Renderer] = {
    "/contractMarket/tickerV2:{}": _ticker,
    "/contractMarket/level2Depth50:{}": _depth,
    "/contractMarket/execution:{}": _execution,
    "/contract/instrument:{}": _instrument,
    "/contractMarket/snapshot:{}": _snapshot,
    "/contractMarket/limitCandle:{}_1min": _candles,
}
