"""A REST request to Binance and its parameters, refused in the words of the exchange."""

from __future__ import annotations

from collections.abc import Mapping

from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.venue import Listing, Venue


class RefusedError(Exception):
    """A request the exchange answers with status 400."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.body = {"code": code, "msg": text}


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
        if not name:
            raise RefusedError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        for listing in self.listed:
            if listing.venue_symbol == name.upper():
                return listing
        raise RefusedError(-1121, "Invalid symbol.")

    def asked(self) -> list[Listing]:
        """The one symbol asked for, or all."""
        return [self.listing()] if self.query.get("symbol") else self.listed

    def history(self, listing: Listing) -> History:
        return self._history[listing.symbol]

    def number(self, name: str) -> int | None:
        text = self.query.get(name)
        if text is None:
            return None
        if not text.lstrip("-").isdigit():
            raise RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        limit = self.number("limit")
        if limit is not None and limit <= 0:
            raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(most, limit or default)

    def period(self) -> tuple[int, int]:
        """``startTime`` and ``endTime`` in milliseconds, both included; open ends are far away."""
        start, end = self.number("startTime"), self.number("endTime")
        if start is not None and end is not None and start > end:
            raise RefusedError(-1023, "Start time is greater than end time.")
        return (0 if start is None else start), (2**62 if end is None else end)
