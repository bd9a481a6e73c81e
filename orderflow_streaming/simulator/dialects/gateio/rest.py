"""REST of Gate.io USDT futures (``/api/v4/futures/usdt``), answered from the simulated past.

Limits and error labels follow gate.com/docs/developers/apiv4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import MINUTES
from orderflow_streaming.simulator.dialects.dialect import RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.gateio.frames import bar, book_id, price, sides, ticker, value
from orderflow_streaming.simulator.history import INTEREST_PERIODS, History
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing, Venue

ROOT = "/api/v4/futures/usdt/"
_CANDLES_KEPT = 10_000
_OTHER_CANDLES = ("mark_", "index_")
"""What candles of mark and index prices are asked for by; they are not simulated."""


class RefusedError(Exception):
    """A request the exchange answers with status 400."""

    def __init__(self, label: str, text: str) -> None:
        super().__init__(text)
        self.body = {"label": label, "message": text}


class Request:
    """One request and what may be asked of it."""

    def __init__(self, venue: Venue, call: RestCall) -> None:
        self.venue, self.query, self.now_us = venue, call.query, call.now_us
        self._history: Mapping[str, History] = call.history

    @property
    def listed(self) -> list[Listing]:
        return [self.venue.listings[symbol] for symbol in self._history]

    def listing(self, name: str | None = None) -> Listing:
        asked = self.query.get("contract", "") if name is None else name
        for listing in self.listed:
            if listing.venue_symbol == asked:
                return listing
        if not asked:
            raise RefusedError("MISSING_REQUIRED_PARAM", "Missing required parameter: contract")
        raise RefusedError("CONTRACT_NOT_FOUND", f"contract {asked} not found")

    def history(self, listing: Listing) -> History:
        return self._history[listing.symbol]

    def number(self, name: str, default: int) -> int:
        text = self.query.get(name, str(default))
        if not text.isdigit():
            raise RefusedError("INVALID_PARAM_VALUE", f"Invalid request parameter `{name}` value: {text}")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        limit = self.number("limit", default)
        if not 1 <= limit <= most:
            raise RefusedError("INVALID_PARAM_VALUE", f"Invalid request parameter `limit` value: {limit}")
        return limit

    def period(self) -> tuple[int, int]:
        """``from`` and ``to`` in seconds, both included; open ends are far away."""
        return self.number("from", 0), self.number("to", 2**40)

    def within(self, when_us: int) -> bool:
        start, end = self.period()
        return start * 1_000_000 <= when_us <= end * 1_000_000


def answer(venue: Venue, call: RestCall) -> RestAnswer:
    """Body and status for a path such as ``/api/v4/futures/usdt/contracts``."""
    name, _, inside = call.path.removeprefix(ROOT).partition("/")
    endpoint = _ENDPOINTS.get(name) if call.path.startswith(ROOT) else None
    unknown = call.query.get("contract", "").startswith(_OTHER_CANDLES)
    if endpoint is None or unknown or (inside and name != "contracts"):
        return RestAnswer(404, _json({"label": "NOT_FOUND", "message": "url not found"}))
    if call.method != "GET":
        return RestAnswer(405, _json({"label": "METHOD_NOT_ALLOWED", "message": "Not allowed HTTP request method"}))
    request = Request(venue, call)
    try:
        return RestAnswer(200, _json(_contract(request, request.listing(inside)) if inside else endpoint(request)))
    except RefusedError as refused:
        return RestAnswer(400, _json(refused.body))


def rate_limited(retry_after: int) -> RestAnswer:
    body = {"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded (311)"}
    return RestAnswer(429, _json(body), headers={"Retry-After": str(retry_after)})


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)


def _contracts(request: Request) -> list[dict[str, Any]]:
    return [_contract(request, listing) for listing in request.listed]


def _contract(request: Request, listing: Listing) -> dict[str, Any]:
    history = request.history(listing)
    state, sums = history.second(request.now_us), history.window(request.now_us)
    fractions = listing.lot_places > 0
    return {
        "name": listing.venue_symbol,
        "type": "direct",
        "status": "trading",
        "quanto_multiplier": f"{listing.contract_size:g}",
        "mark_type": "index",
        "last_price": price(listing, sums.close),
        "mark_price": f"{state.mark:.8f}",
        "index_price": f"{state.index:.8f}",
        "funding_rate": f"{state.rate:.6f}",
        "funding_rate_indicative": f"{state.rate:.6f}",
        "funding_interval": listing.funding_hours * 3_600,
        "funding_offset": 0,
        "funding_next_apply": state.next_us // 1_000_000,
        "order_price_round": decimal(listing.tick_units, listing.price_places),
        "mark_price_round": decimal(1, listing.price_places),
        "order_size_min": "0" if fractions else "1",
        "order_size_max": "1000000",
        "enable_decimal": fractions,
        "position_size": decimal(state.open_interest, listing.lot_places),
        "in_delisting": False,
        "is_pre_market": False,
        "leverage_min": "1",
        "leverage_max": "100",
        "maker_fee_rate": "-0.0001",
        "taker_fee_rate": "0.00075",
    }


def _order_book(request: Request) -> dict[str, Any]:
    listing = request.listing()
    books = request.history(listing).minute(request.now_us).books
    row = int(np.searchsorted(books.push_us, request.now_us, side="right")) - 1
    bids, asks = sides(listing, books, row, request.limit(10, 300))
    last_us = int(books.last_us[row])
    body: dict[str, Any] = {"id": book_id(last_us)} if request.query.get("with_id") == "true" else {}
    return body | {"current": request.now_us / 1e6, "update": last_us / 1e6, "asks": asks, "bids": bids}


def _candlesticks(request: Request) -> list[dict[str, Any]]:
    listing = request.listing()
    minutes = MINUTES.get(request.query.get("interval", "5m"))
    if minutes is None:
        raise RefusedError("INVALID_PARAM_VALUE", "Invalid request parameter `interval` value")
    if "limit" in request.query and request.query.keys() & {"from", "to"}:
        raise RefusedError("INVALID_PARAM_VALUE", "Invalid request parameter `limit` value")
    start, _ = request.period()
    if "from" in request.query and start < request.now_us // 1_000_000 - _CANDLES_KEPT * minutes * 60:
        text = f"Candlestick too long ago. Maximum {_CANDLES_KEPT} points recently are allowed"
        raise RefusedError("INVALID_PARAM_VALUE", text)
    found = [
        past for past in request.history(listing).candles(request.now_us, minutes) if request.within(past.start_us)
    ]
    rows = [bar(listing, past) | {"sum": value(listing, past.value)} for past in found]
    return rows[:2_000] if "from" in request.query else rows[-request.limit(100, 2_000) :]


def _trades(request: Request) -> list[dict[str, Any]]:
    """Newest first; times are seconds under either name, as on the exchange."""
    listing = request.listing()
    trades = request.history(listing).trades(request.now_us)
    start, end = request.period()
    first, last = np.searchsorted(trades.when_us, [start * 1_000_000, min(end, 2**42) * 1_000_000 + 1])
    last = max(int(first), int(last) - request.number("offset", 0))
    part = slice(max(int(first), last - request.limit(100, 1_000)), last)
    columns = zip(
        trades.order_id[part].tolist(),
        trades.when_us[part].tolist(),
        decimals(np.where(trades.buy, trades.lots, -trades.lots)[part], listing.lot_places),
        decimals(trades.tick[part] * listing.tick_units, listing.price_places),
        strict=True,
    )
    rows = [
        {
            "id": number,
            "create_time": when // 1_000 / 1_000,
            "create_time_ms": when // 1_000 / 1_000,
            "contract": listing.venue_symbol,
            "size": size,
            "price": paid,
        }
        for number, when, size, paid in columns
    ]
    return rows[::-1]


def _funding_rate(request: Request) -> list[dict[str, Any]]:
    """Newest first."""
    paid = request.history(request.listing()).settlements(request.now_us)
    rows = [{"t": past.when_us // 1_000_000, "r": f"{past.rate:.6f}"} for past in paid if request.within(past.when_us)]
    return rows[::-1][: request.limit(100, 1_000)]


def _contract_stats(request: Request) -> list[dict[str, Any]]:
    listing = request.listing()
    minutes = INTEREST_PERIODS.get(request.query.get("interval", "5m"))
    if minutes is None:
        raise RefusedError("INVALID_PARAM_VALUE", "Invalid request parameter `interval` value")
    rows = [
        {
            "time": past.when_us // 1_000_000,
            "mark_price": past.mark,
            "open_interest": decimal(past.lots, listing.lot_places),
            "open_interest_usd": past.lots * listing.lot * listing.contract_size * past.mark,
            "lsr_account": past.positioning.accounts,
            "lsr_taker": past.positioning.taker,
            "top_lsr_account": past.positioning.top_accounts,
            "top_lsr_size": past.positioning.top_positions,
        }
        for past in request.history(listing).interests(request.now_us, minutes)
        if request.within(past.when_us)
    ]
    limit = request.limit(30, 100)
    return rows[:limit] if "from" in request.query else rows[-limit:]


def _tickers(request: Request) -> list[dict[str, Any]]:
    asked = [request.listing()] if request.query.get("contract") else request.listed
    found = []
    for listing in asked:
        history = request.history(listing)
        minute = history.minute(request.now_us)
        touch = minute.touch(request.now_us)
        best = {"highest_bid": price(listing, touch.bid), "lowest_ask": price(listing, touch.ask)}
        found.append(ticker(listing, minute, history.window(request.now_us), request.now_us) | best)
    return found


_ENDPOINTS: dict[str, Callable[[Request], Any]] = {
    "candlesticks": _candlesticks,
    "contract_stats": _contract_stats,
    "contracts": _contracts,
    "funding_rate": _funding_rate,
    "order_book": _order_book,
    "tickers": _tickers,
    "trades": _trades,
}
