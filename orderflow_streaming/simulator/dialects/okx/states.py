"""What OKX says of a swap at an instant: prices, funding, open interest, the day so far, a bar.

The same on its sockets and over REST. The key sets follow the newest messages seen of each kind.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orderflow_streaming.simulator.history import SecondState
from orderflow_streaming.simulator.records import Candle, Minute
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing

_HOUR_MS = 3_600_000

State = Callable[[Listing, Minute, SecondState], dict[str, str]]


def index_name(listing: Listing) -> str:
    """``BTC-USDT`` for ``BTC-USDT-SWAP``."""
    return listing.venue_symbol.removesuffix("-SWAP")


def coins(lots: int, listing: Listing) -> str:
    """A number of lots in base coin."""
    return f"{lots * listing.lot * listing.contract_size:.10f}".rstrip("0").rstrip(".")


def mark_price(listing: Listing, minute: Minute, state: SecondState) -> dict[str, str]:
    return {
        "instId": listing.venue_symbol,
        "instType": "SWAP",
        "markPx": f"{state.mark:.{listing.price_places}f}",
        "ts": _ms(state),
    }


def index_ticker(listing: Listing, minute: Minute, state: SecondState) -> dict[str, str]:
    """The day's extremes are those of the contract, widened to the index; opening prices at midnight are unknown."""
    day, places = minute.day, listing.price_places
    return {
        "instId": index_name(listing),
        "idxPx": f"{state.index:.{places}f}",
        "open24h": f"{day.open * listing.tick:.{places}f}",
        "high24h": f"{max(day.high * listing.tick, state.index):.{places}f}",
        "low24h": f"{min(day.low * listing.tick, state.index):.{places}f}",
        "sodUtc0": "",
        "sodUtc8": "",
        "ts": _ms(state),
    }


def open_interest(listing: Listing, minute: Minute, state: SecondState) -> dict[str, str]:
    base = state.open_interest * listing.lot * listing.contract_size
    return {
        "instId": listing.venue_symbol,
        "instType": "SWAP",
        "oi": decimal(state.open_interest, listing.lot_places),
        "oiCcy": coins(state.open_interest, listing),
        "oiUsd": f"{base * state.mark:.8f}",
        "ts": _ms(state),
    }


def funding_rate(listing: Listing, minute: Minute, state: SecondState) -> dict[str, str]:
    """The rate of the running interval; the last settled one is not remembered."""
    next_ms, interval_ms = state.next_us // 1_000, listing.funding_hours * _HOUR_MS
    return {
        "formulaType": "withRate",
        "fundingRate": f"{state.rate:.16f}",
        "fundingTime": str(next_ms),
        "impactValue": "20000.0000000000000000",
        "instId": listing.venue_symbol,
        "instType": "SWAP",
        "interestRate": "0.0001000000000000",
        "maxFundingRate": "0.02",
        "method": "current_period",
        "minFundingRate": "-0.02",
        "nextFundingRate": "",
        "nextFundingTime": str(next_ms + interval_ms),
        "premium": f"{state.mark / state.index - 1:.16f}",
        "prevFundingTime": str(next_ms - interval_ms),
        "settFundingRate": "",
        "settState": "settled",
        "ts": _ms(state),
    }


def _ms(state: SecondState) -> str:
    return str(state.when_us // 1_000)


def ticker(listing: Listing, minute: Minute, sums: Candle, when_us: int) -> dict[str, str]:
    """The day so far; opening prices at midnight are unknown."""
    books = minute.books
    row = max(0, int(np.searchsorted(books.push_us, when_us, side="right")) - 1)
    price = {
        name: decimal(tick * listing.tick_units, listing.price_places)
        for name, tick in (
            ("last", sums.close),
            ("askPx", int(books.ask[row, 0])),
            ("bidPx", int(books.bid[row, 0])),
            ("open24h", sums.open),
            ("high24h", sums.high),
            ("low24h", sums.low),
        )
    }
    size = {
        name: decimal(lots, listing.lot_places)
        for name, lots in (
            ("lastSz", sums.last_lots),
            ("askSz", int(books.ask_lots[row, 0])),
            ("bidSz", int(books.bid_lots[row, 0])),
            ("vol24h", sums.lots),
        )
    }
    return {
        "instType": "SWAP",
        "instId": listing.venue_symbol,
        "last": price["last"],
        "lastSz": size["lastSz"],
        "askPx": price["askPx"],
        "askSz": size["askSz"],
        "bidPx": price["bidPx"],
        "bidSz": size["bidSz"],
        "open24h": price["open24h"],
        "high24h": price["high24h"],
        "low24h": price["low24h"],
        "sodUtc0": "",
        "sodUtc8": "",
        "volCcy24h": coins(sums.lots, listing),
        "vol24h": size["vol24h"],
        "ts": str(when_us // 1_000),
    }


def bar(sums: Candle, listing: Listing, *, closed: bool) -> list[str]:
    """``[ts, open, high, low, close, contracts, coins, value, confirm]``."""
    prices = (
        decimal(tick * listing.tick_units, listing.price_places)
        for tick in (sums.open, sums.high, sums.low, sums.close)
    )
    value = sums.value * listing.tick * listing.lot * listing.contract_size
    return [
        str(sums.start_us // 1_000),
        *prices,
        decimal(sums.lots, listing.lot_places),
        coins(sums.lots, listing),
        f"{value:.10f}",
        "1" if closed else "0",
    ]


STATES: dict[str, State] = {
    "mark-price": mark_price,
    "index-tickers": index_ticker,
    "open-interest": open_interest,
    "funding-rate": funding_rate,
}
"""Channels whose present state a new subscriber gets at once."""
