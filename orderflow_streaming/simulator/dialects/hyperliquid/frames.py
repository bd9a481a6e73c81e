"""Socket frames of Hyperliquid, written from what the simulated minute holds.

The key sets follow the newest frames seen of each kind. Numbers are text, without zeros at the end but for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import MINUTES, candle
from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.history import rolling, state_at
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Candle, Ints, Minute, Trades
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing

_BLOCK_US = 100_000
_BOOK_US = 5_400_000
"""Between two books on a subscription that does not ask for fast ones, as seen since June 2026."""
_CONTEXT_US = 1_000_000
_BAR_US = 500_000
_TRADE_IDS = 2**50
_TRADE_STEP = 0x2545F4914F6CDD
"""Odd, so that no two trades share an id."""

Renderer = Callable[[str, Minute], Frames]


def plain(text: str) -> str:
    """``84143.0`` for ``84143.00``."""
    if "." not in text:
        return f"{text}.0"
    short = text.rstrip("0")
    return f"{short}0" if short.endswith(".") else short


def price(listing: Listing, ticks: int) -> str:
    return plain(decimal(ticks * listing.tick_units, listing.price_places))


def size(listing: Listing, lots: int) -> str:
    return plain(decimal(lots, listing.lot_places))


def trade_id(number: int) -> int:
    """Ids are numbers of 50 bits in no order."""
    return number * _TRADE_STEP % _TRADE_IDS


def trade_number(identity: int) -> int:
    """What :func:`trade_id` was made of."""
    return identity * pow(_TRADE_STEP, -1, _TRADE_IDS) % _TRADE_IDS


def pushed(channel: str, data: Any) -> bytes:
    """A message of the socket."""
    return msgspec.json.encode({"channel": channel, "data": data})


def levels(listing: Listing, ticks: Sequence[int], lots: Sequence[int]) -> list[dict[str, Any]]:
    """Levels of a book; the simulated one does not know how many orders make a level and says one."""
    return [
        {"px": price(listing, tick), "sz": size(listing, held), "n": 1} for tick, held in zip(ticks, lots, strict=True)
    ]


def book(minute: Minute, now_us: int) -> dict[str, Any]:
    """Twenty levels a side at the latest snapshot."""
    books, listing = minute.books, minute.listing
    row = int(np.searchsorted(books.push_us, now_us, side="right")) - 1
    bids = levels(listing, books.bid[row].tolist(), books.bid_lots[row].tolist())
    asks = levels(listing, books.ask[row].tolist(), books.ask_lots[row].tolist())
    return {"coin": listing.venue_symbol, "time": now_us // 1_000, "levels": [bids, asks]}


def _every(minute: Minute, step_us: int, last_us: int) -> list[int]:
    """The multiples of a step after the start of a minute and up to an instant."""
    first = minute.start_us // step_us * step_us + step_us
    return list(range(first, last_us + 1, step_us))


def _l2_book(name: str, minute: Minute) -> Frames:
    when = _every(minute, _BOOK_US, minute.start_us + MINUTE_US)
    return Frames(when, [pushed("l2Book", book(minute, now)) for now in when], [now // 1_000 for now in when])


def _bbo(name: str, minute: Minute) -> Frames:
    """Once a block in which the best bid or ask changed."""
    touches, listing = minute.touches, minute.listing
    block = touches.when_us // _BLOCK_US
    rows = np.flatnonzero(np.append(block[1:] > block[:-1], True)) if block.size else np.empty(0, np.int64)
    when: list[int] = ((block[rows] + 1) * _BLOCK_US).tolist()
    columns = zip(
        when,
        *(column[rows].tolist() for column in (touches.bid, touches.bid_lots, touches.ask, touches.ask_lots)),
        strict=True,
    )
    frames = [
        pushed(
            "bbo",
            {
                "coin": name,
                "time": now // 1_000,
                "bbo": [*levels(listing, [bid], [bid_lots]), *levels(listing, [ask], [ask_lots])],
            },
        )
        for now, bid, bid_lots, ask, ask_lots in columns
    ]
    return Frames(when, frames, [now // 1_000 for now in when])


def fills(listing: Listing, trades: Trades, part: slice) -> list[dict[str, Any]]:
    """Trades as the socket and REST tell them."""
    columns = zip(
        trades.when_us[part].tolist(),
        trades.tick[part].tolist(),
        trades.lots[part].tolist(),
        trades.buy[part].tolist(),
        trades.order_id[part].tolist(),
        strict=True,
    )
    return [
        {
            "coin": listing.venue_symbol,
            "side": "B" if buy else "A",
            "px": price(listing, tick),
            "sz": size(listing, lots),
            "time": when // 1_000,
            "hash": f"0x{trade_id(number):064x}",
            "tid": trade_id(number),
            "users": [f"0x{number:040x}", f"0x{trade_id(number):040x}"],
        }
        for when, tick, lots, buy, number in columns
    ]


def _trades(name: str, minute: Minute) -> Frames:
    made = fills(minute.listing, minute.trades, slice(None))
    frames = [pushed("trades", [trade]) for trade in made]
    return Frames(minute.trades.when_us.tolist(), frames, [trade["tid"] for trade in made])


def context(minute: Minute, sums: Candle, now_us: int) -> dict[str, Any]:
    """What is known of a coin beside its book."""
    assert minute.seconds is not None
    listing, touch, state = minute.listing, minute.touch(now_us), state_at(minute.seconds, now_us)
    middle = plain(decimal((touch.bid + touch.ask) * listing.tick_units * 5, listing.price_places + 1))
    bid, ask = price(listing, touch.bid), price(listing, touch.ask)
    premium = max(0.0, touch.bid * listing.tick - state.index) - max(0.0, state.index - touch.ask * listing.tick)
    return {
        "funding": f"{state.rate:.10f}",
        "openInterest": size(listing, state.open_interest),
        "prevDayPx": price(listing, sums.open),
        "dayNtlVlm": f"{sums.value * listing.tick * listing.lot:.10f}",
        "premium": f"{premium / state.index:.10f}",
        "oraclePx": plain(f"{state.index:.{listing.price_places}f}"),
        "markPx": plain(f"{state.mark:.{listing.price_places}f}"),
        "midPx": middle,
        "impactPxs": [bid, ask],
        "dayBaseVlm": size(listing, sums.lots),
    }


def _active_asset_ctx(name: str, minute: Minute) -> Frames:
    when = _every(minute, _CONTEXT_US, minute.start_us + MINUTE_US)
    upto = np.searchsorted(minute.trades.when_us, when).tolist()
    frames = []
    for now, count in zip(when, upto, strict=True):
        sums = rolling(minute, candle(minute.start_us, minute.day.close, minute.trades, 0, count))
        frames.append(pushed("activeAssetCtx", {"coin": name, "ctx": context(minute, sums, now)}))
    return Frames(when, frames, [now // 1_000 for now in when])


def bar(listing: Listing, past: Candle, interval: str = "1m") -> dict[str, Any]:
    """A candle as the socket and REST tell it."""
    return {
        "t": past.start_us // 1_000,
        "T": past.start_us // 1_000 + MINUTES[interval] * 60_000 - 1,
        "s": listing.venue_symbol,
        "i": interval,
        "o": price(listing, past.open),
        "c": price(listing, past.close),
        "h": price(listing, past.high),
        "l": price(listing, past.low),
        "v": size(listing, past.lots),
        "n": past.count,
    }


def _candle(name: str, minute: Minute) -> Frames:
    """Twice a second when there was a trade, and at the end of the minute; no word tells that it is the last."""
    trades = minute.trades
    grid: Ints = minute.start_us + np.arange(_BAR_US, MINUTE_US + 1, _BAR_US)
    upto = np.searchsorted(trades.when_us, grid)
    fresh = np.diff(upto, prepend=0) > 0
    fresh[-1] = True
    made = [candle(minute.start_us, minute.day.close, trades, 0, count) for count in upto[fresh].tolist()]
    frames = [pushed("candle", bar(minute.listing, sums)) for sums in made]
    return Frames(grid[fresh].tolist(), frames, [sums.last_id for sums in made])


RENDERERS: dict[str, Renderer] = {
    "activeAssetCtx": _active_asset_ctx,
    "bbo": _bbo,
    "candle": _candle,
    "l2Book": _l2_book,
    "trades": _trades,
}
