"""REST of Hyperliquid (POST ``/info``), answered from the simulated past.

Weights and the extent of answers follow hyperliquid.gitbook.io/hyperliquid-docs, "Info endpoint" and "Rate limits".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import MINUTES
from orderflow_streaming.simulator.dialects.dialect import RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.hyperliquid.frames import bar, book, context, fills
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.venue import Listing, Venue

_WEIGHT = 20
_LIGHT = {"l2Book": 2, "allMids": 2}
_CANDLES_KEPT = 5_000
_SETTLEMENTS = 500
_RECENT = 10


class RefusedError(Exception):
    """A request the exchange answers with status 422."""


class Request:
    """One request and what may be asked of it."""

    def __init__(self, venue: Venue, call: RestCall, body: dict[str, Any]) -> None:
        self.venue, self.now_us, self.body = venue, call.now_us, body
        self._history = call.history

    @property
    def listed(self) -> list[tuple[Listing, History]]:
        return [(self.venue.listings[symbol], history) for symbol, history in self._history.items()]

    def coin(self, asked: dict[str, Any]) -> tuple[Listing, History]:
        for listing, history in self.listed:
            if listing.venue_symbol == asked.get("coin"):
                return listing, history
        raise RefusedError("Failed to deserialize the JSON body into the target type")

    def within(self, asked: dict[str, Any], when_us: int) -> bool:
        start, end = asked.get("startTime", 0), asked.get("endTime") or 2**62
        if not isinstance(start, int) or not isinstance(end, int):
            raise RefusedError("Failed to deserialize the JSON body into the target type")
        return start <= when_us // 1_000 <= end


def answer(venue: Venue, call: RestCall) -> RestAnswer:
    """Body and status; everything is asked for at one path."""
    if call.path != "/info":
        return RestAnswer(404, b"")
    if call.method != "POST":
        return RestAnswer(405, b"")
    try:
        body = msgspec.json.decode(call.body)
        kind = body["type"]
        rows = _ENDPOINTS[kind](Request(venue, call, body))
    except (msgspec.MsgspecError, KeyError, TypeError, RefusedError):
        return RestAnswer(422, b"Failed to deserialize the JSON body into the target type")
    return RestAnswer(200, msgspec.json.encode(rows), _weight(kind, rows))


def _weight(kind: str, rows: Any) -> int:
    if kind in _LIGHT:
        return _LIGHT[kind]
    per = {"candleSnapshot": 60, "fundingHistory": 20, "recentTrades": 20}.get(kind)
    return _WEIGHT + (len(rows) // per if per else 0)


def rate_limited(retry_after: int) -> RestAnswer:
    return RestAnswer(429, b"null", headers={"Retry-After": str(retry_after)})


def _meta(request: Request) -> dict[str, Any]:
    universe = [
        {"szDecimals": listing.lot_places, "name": listing.venue_symbol, "maxLeverage": 20, "marginTableId": 20}
        for listing, _ in request.listed
    ]
    return {"universe": universe, "marginTables": [], "collateralToken": 0}


def _contexts(request: Request) -> list[Any]:
    now_us = request.now_us
    found = [context(history.minute(now_us), history.window(now_us), now_us) for _, history in request.listed]
    return [_meta(request), found]


def _book(request: Request) -> dict[str, Any]:
    _, history = request.coin(request.body)
    return book(history.minute(request.now_us), request.now_us)


def _mids(request: Request) -> dict[str, str]:
    _, contexts = _contexts(request)
    return {listing.venue_symbol: found["midPx"] for (listing, _), found in zip(request.listed, contexts, strict=True)}


def _candles(request: Request) -> list[dict[str, Any]]:
    """Oldest first, of the latest 5,000."""
    asked = request.body["req"]
    listing, history = request.coin(asked)
    name = asked.get("interval")
    if name not in MINUTES:
        raise RefusedError("Failed to deserialize the JSON body into the target type")
    kept = history.candles(request.now_us, MINUTES[name])[-_CANDLES_KEPT:]
    return [bar(listing, past, name) for past in kept if request.within(asked, past.start_us)]


def _settlements(request: Request) -> list[dict[str, Any]]:
    """Oldest first."""
    listing, history = request.coin(request.body)
    rows = [
        {
            "coin": listing.venue_symbol,
            "fundingRate": f"{paid.rate:.10f}",
            "time": paid.when_us // 1_000,
        }
        for paid in history.settlements(request.now_us)
        if request.within(request.body, paid.when_us)
    ]
    return rows[:_SETTLEMENTS]


def _recent(request: Request) -> list[dict[str, Any]]:
    """Newest first."""
    listing, history = request.coin(request.body)
    trades = history.trades(request.now_us)
    return fills(listing, trades, slice(max(0, len(trades) - _RECENT), None))[::-1]


def backlog(listing: Listing, history: History, now_us: int, count: int) -> list[dict[str, Any]]:
    """The trades that a new subscriber is sent first, oldest first."""
    trades = history.trades(now_us)
    until = int(np.searchsorted(trades.when_us, now_us))
    return fills(listing, trades, slice(max(0, until - count), until))


_ENDPOINTS: dict[str, Callable[[Request], Any]] = {
    "allMids": _mids,
    "candleSnapshot": _candles,
    "fundingHistory": _settlements,
    "l2Book": _book,
    "meta": _meta,
    "metaAndAssetCtxs": _contexts,
    "recentTrades": _recent,
}
