"""Fields of Bybit's tickers, on the socket and over REST."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import candle
from orderflow_streaming.simulator.history import History, SecondState, rolling
from orderflow_streaming.simulator.perpetual import CAP
from orderflow_streaming.simulator.records import Candle, Minute, Trades
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing

TICKER_US = 500_000


_ORDER = [
    "symbol",
    "tickDirection",
    "price24hPcnt",
    "lastPrice",
    "prevPrice24h",
    "highPrice24h",
    "lowPrice24h",
    "prevPrice1h",
    "markPrice",
    "indexPrice",
    "openInterest",
    "openInterestValue",
    "turnover24h",
    "volume24h",
    "fundingIntervalHour",
    "fundingCap",
    "singleOpenInterest",
    "singleOpenInterestValue",
    "nextFundingTime",
    "fundingRate",
    "bid1Price",
    "bid1Size",
    "ask1Price",
    "ask1Size",
    "preOpenPrice",
    "preQty",
    "curPreListingPhase",
]
"""Of the fields of a linear ticker."""
_HOUR = 60


def written(fields: Mapping[str, str]) -> str:
    """A JSON object of a linear ticker's fields, in the venue's order."""
    return msgspec.json.encode({name: fields[name] for name in _ORDER if name in fields}).decode()


def directions(trades: Trades, before: int) -> list[str]:
    """How each price compares with the one before it, and where that is the same, with the last that was not."""
    moves = np.sign(np.diff(trades.tick, prepend=before))
    last = np.maximum.accumulate(np.where(moves != 0, np.arange(moves.size), 0))
    carried = moves[last] if moves.size else moves
    return [
        f"{'' if move else 'Zero'}{'Minus' if trend < 0 else 'Plus'}Tick"
        for move, trend in zip(moves.tolist(), carried.tolist(), strict=True)
    ]


def sums_of(minute: Minute, when_us: int) -> Candle:
    """The 24 hours up to ``when_us``, which lies in ``minute`` or at its end."""
    count = int(np.searchsorted(minute.trades.when_us, when_us, side="right"))
    return rolling(minute, candle(minute.start_us, minute.day.close, minute.trades, 0, count))


def _sums(listing: Listing, sums: Candle) -> dict[str, str]:
    places, units, lots = listing.price_places, listing.tick_units, listing.lot_places
    last, before, high, low = (decimal(tick * units, places) for tick in (sums.close, sums.open, sums.high, sums.low))
    return {
        "price24hPcnt": f"{(sums.close - sums.open) / sums.open:.6f}",
        "lastPrice": last,
        "prevPrice24h": before,
        "highPrice24h": high,
        "lowPrice24h": low,
        "turnover24h": decimal(sums.value * units, places + lots),
        "volume24h": decimal(sums.lots, lots),
    }


def spot_fields(minute: Minute, when_us: int) -> dict[str, str]:
    """All fields of a spot ticker; the venue leaves the USD index empty where it has none."""
    sums = _sums(minute.listing, sums_of(minute, when_us))
    names = ("lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h", "turnover24h", "price24hPcnt")
    return {name: sums[name] for name in names} | {"usdIndexPrice": ""}


def linear_fields(minute: Minute, when_us: int, state: SecondState | None) -> dict[str, str]:
    """Fields of a linear ticker that move, without those of the contract where its ``state`` is not known."""
    listing, trades = minute.listing, minute.trades
    fields = _sums(listing, sums_of(minute, when_us)) | touch_fields(minute, when_us)
    count = int(np.searchsorted(trades.when_us, when_us, side="right"))
    if count:
        fields["tickDirection"] = directions(trades, minute.day.close)[count - 1]
    if state is not None:
        fields |= contract_fields(listing, state)
    return fields


def lasting_fields(minute: Minute, history: History, now_us: int) -> dict[str, str]:
    """Fields that seldom change or are known from earlier minutes; the price an hour ago, or the first."""
    listing, trades = minute.listing, history.trades(minute.start_us)
    ago = history.candles(now_us)[-_HOUR - 1 :][0].open
    return {
        "tickDirection": directions(trades, int(trades.tick[0]))[-1] if len(trades) else "ZeroPlusTick",
        "prevPrice1h": decimal(ago * listing.tick_units, listing.price_places),
        "fundingIntervalHour": str(listing.funding_hours),
        "fundingCap": f"{CAP:g}",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def touch_fields(minute: Minute, when_us: int) -> dict[str, str]:
    """Best bid and ask."""
    listing, touch = minute.listing, minute.touch(when_us)
    places, units, lots = listing.price_places, listing.tick_units, listing.lot_places
    return {
        "bid1Price": decimal(touch.bid * units, places),
        "bid1Size": decimal(touch.bid_lots, lots),
        "ask1Price": decimal(touch.ask * units, places),
        "ask1Size": decimal(touch.ask_lots, lots),
    }


def contract_fields(listing: Listing, state: SecondState) -> dict[str, str]:
    """Mark, index, funding and open interest of a perpetual; of the latter also the one side alone."""
    places, lots = listing.price_places, listing.lot_places
    amount = state.open_interest / 10**lots
    return {
        "markPrice": f"{state.mark:.{places}f}",
        "indexPrice": f"{state.index:.{places}f}",
        "openInterest": decimal(state.open_interest, lots),
        "openInterestValue": f"{amount * state.mark:.2f}",
        "singleOpenInterest": f"{amount / 2:.{max(3, lots)}f}",
        "singleOpenInterestValue": f"{amount * state.mark / 2:.2f}",
        "nextFundingTime": str(state.next_us // 1_000),
        "fundingRate": f"{state.rate:.8f}",
    }
