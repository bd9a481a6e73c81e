"""A REST request to KuCoin and its parameters, refused in the words of the exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.records import Books, Candle
from orderflow_streaming.simulator.venue import Listing, Venue

_PAGE = 100


class RefusedError(Exception):
    """A request the exchange answers with a code that is none of success."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Request:
    """One request and what may be asked of it."""

    def __init__(self, venue: Venue, query: Mapping[str, str], history: Mapping[str, History], now_us: int) -> None:
        self.venue, self.query, self.now_us = venue, query, now_us
        self._history = history

    @property
    def listed(self) -> list[Listing]:
        return [self.venue.listings[symbol] for symbol in self._history]

    def listing(self) -> Listing:
        name = self.query.get("symbol", "")
        for listing in self.listed:
            if listing.venue_symbol == name:
                return listing
        raise RefusedError("400100", "symbol not exists" if name else "symbol is required")

    def history(self, listing: Listing) -> History:
        return self._history[listing.symbol]

    def period(self, start: str, end: str) -> tuple[int, int]:
        """Both parameters, in the unit of the venue; open ends are far away."""
        return self._number(start, 0), self._number(end, 2**62)

    def _number(self, name: str, default: int) -> int:
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isdigit():
            raise RefusedError("400100", f"{name} is invalid")
        return int(text)

    def candles(self, listing: Listing, minutes: int) -> list[Candle]:
        """Oldest first; a stretch without a trade has none."""
        return [past for past in self.history(listing).candles(self.now_us, minutes) if past.count]

    def book(self, listing: Listing) -> tuple[Books, int]:
        """The books of the minute and the row of the latest."""
        books = self.history(listing).minute(self.now_us).books
        return books, int(np.searchsorted(books.push_us, self.now_us, side="right")) - 1

    def latest_trades(self, listing: Listing) -> list[tuple[int, int, int, bool, int]]:
        """Time, ticks, lots, whether the taker bought, and id of the latest hundred, newest first."""
        trades = self.history(listing).trades(self.now_us)
        columns = (trades.when_us, trades.tick, trades.lots, trades.buy, trades.order_id)
        return list(zip(*(column[-_PAGE:][::-1].tolist() for column in columns), strict=True))


Endpoint = Callable[[Request], Any]
