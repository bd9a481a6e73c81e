"""Stream frames of Binance spot, as far as they differ from those of futures.

Ids of updates are those of one symbol alone, without holes; partial books tell neither symbol nor time.
"""

from __future__ import annotations

from orderflow_streaming.simulator.depth import changes, pushed, tops
from orderflow_streaming.simulator.dialects.binance.frames import (
    Renderer,
    Topic,
    aggregated,
    kline,
    sent_aggregated,
    touched,
    update_ids,
    windows,
)
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.simulator.text import decimal, decimals

_TRADE_LATENCY_US = 1_000
_TICKER_US = 1_000_000


def _trade(topic: str, parsed: Topic, minute: Minute) -> Frames:
    trades, listing = minute.trades.singly(), minute.listing
    sent = trades.when_us + _TRADE_LATENCY_US
    ids = trades.order_id.tolist()
    columns = zip(
        (sent // 1_000).tolist(),
        ids,
        decimals(trades.tick * listing.tick_units, listing.price_places),
        decimals(trades.lots, listing.lot_places),
        (trades.when_us // 1_000).tolist(),
        ["false" if buy else "true" for buy in trades.buy.tolist()],
        strict=True,
    )
    head = f'{{"stream":"{topic}","data":{{"e":"trade","E":'
    name = f',"s":"{listing.venue_symbol}","t":'
    frames = [
        f'{head}{e}{name}{t},"p":"{p}","q":"{q}","T":{when},"m":{m},"M":true}}}}'.encode()
        for e, t, p, q, when, m in columns
    ]
    return Frames(sent.tolist(), frames, ids)


def _agg_trade(topic: str, parsed: Topic, minute: Minute) -> Frames:
    trades, listing = minute.trades, minute.listing
    sent = sent_aggregated(trades)
    head = f'{{"stream":"{topic}","data":{{"e":"aggTrade","E":'
    name = f',"s":"{listing.venue_symbol}","a":'
    frames = [
        f'{head}{e}{name}{a},"p":"{p}","q":"{q}","f":{f},"l":{last},"T":{t},"m":{m},"M":true}}}}'.encode()
        for e, a, p, q, f, last, t, m in aggregated(trades, listing, sent)
    ]
    return Frames(sent.tolist(), frames, trades.order_id.tolist())


def _book_ticker(topic: str, parsed: Topic, minute: Minute) -> Frames:
    touches, listing = minute.touches, minute.listing
    ids = update_ids(touches.when_us)
    head = f'{{"stream":"{topic}","data":{{"u":'
    name = f',"s":"{listing.venue_symbol}","b":"'
    frames = [
        f'{head}{u}{name}{b}","B":"{bq}","a":"{a}","A":"{aq}"}}}}'.encode()
        for u, (b, bq, a, aq) in zip(ids, touched(touches, listing), strict=True)
    ]
    return Frames(touches.when_us.tolist(), frames, ids)


def _depth(topic: str, parsed: Topic, minute: Minute) -> Frames:
    books, listing = minute.books, minute.listing
    rows, base, _ = pushed(books, parsed.every_us)
    sent, ids = books.push_us[rows], update_ids(books.last_us[rows])
    if parsed.levels:
        columns = zip(ids, *tops(books, rows, listing, parsed.levels), strict=True)
        head = f'{{"stream":"{topic}","data":{{"lastUpdateId":'
        frames = [f'{head}{u},"bids":[{b}],"asks":[{a}]}}}}'.encode() for u, b, a in columns]
        return Frames(sent.tolist(), frames, ids)
    bids = [changes(books.bid, books.bid_lots, old, new, listing, -1) for old, new in zip(base, rows, strict=True)]
    asks = [changes(books.ask, books.ask_lots, old, new, listing, 1) for old, new in zip(base, rows, strict=True)]
    before = update_ids(books.last_us[base])
    head = f'{{"stream":"{topic}","data":{{"e":"depthUpdate","E":'
    name = f',"s":"{listing.venue_symbol}","U":'
    frames = [
        f'{head}{e}{name}{last + 1},"u":{u},"b":[{b}],"a":[{a}]}}}}'.encode()
        for e, last, u, b, a in zip((sent // 1_000).tolist(), before, ids, bids, asks, strict=True)
    ]
    return Frames(sent.tolist(), frames, ids)


def _ticker(topic: str, parsed: Topic, minute: Minute) -> Frames:
    listing = minute.listing
    places, units, lots = listing.price_places, listing.tick_units, listing.lot_places
    sent, frames, keys = [], [], []
    for when, sums in windows(minute, _TICKER_US):
        touch, quote = minute.touch(when), sums.value * units
        opening = decimal(sums.open * units, places)
        body = (
            f'{{"stream":"{topic}","data":{{"e":"24hrTicker","E":{when // 1_000},"s":"{listing.venue_symbol}",'
            f'"p":"{decimal((sums.close - sums.open) * units, places)}",'
            f'"P":"{100 * (sums.close - sums.open) / sums.open:.3f}",'
            f'"w":"{decimal(round(quote / sums.lots), places)}","x":"{opening}",'
            f'"c":"{decimal(sums.close * units, places)}","Q":"{decimal(sums.last_lots, lots)}",'
            f'"b":"{decimal(touch.bid * units, places)}","B":"{decimal(touch.bid_lots, lots)}",'
            f'"a":"{decimal(touch.ask * units, places)}","A":"{decimal(touch.ask_lots, lots)}",'
            f'"o":"{opening}","h":"{decimal(sums.high * units, places)}","l":"{decimal(sums.low * units, places)}",'
            f'"v":"{decimal(sums.lots, lots)}","q":"{decimal(quote, places + lots)}",'
            f'"O":{sums.start_us // 1_000},"C":{when // 1_000},'
            f'"F":{sums.first_id},"L":{sums.last_id},"n":{sums.count}}}}}'
        )
        sent.append(when)
        frames.append(body.encode())
        keys.append(sums.last_id)
    return Frames(sent, frames, keys)


SPOT_RENDERERS: dict[str, Renderer] = {
    "trade": _trade,
    "aggTrade": _agg_trade,
    "bookTicker": _book_ticker,
    "depth": _depth,
    "kline": kline,
    "ticker": _ticker,
}
