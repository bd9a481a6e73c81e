"""REST of OKX (``/api/v5``), answered from the simulated past.

Answers have status 200 and a ``code``; it is not "0" where a request is refused. Limits, orders of rows and codes
follow www.okx.com/docs-v5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import DAY_MINUTES, MINUTES
from orderflow_streaming.simulator.dialects.dialect import RestAnswer, RestCall
from orderflow_streaming.simulator.dialects.okx import frames as okx_frames
from orderflow_streaming.simulator.dialects.okx import states as okx_states
from orderflow_streaming.simulator.history import INTEREST_PERIODS, History, Interest
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing, Venue

ROOT = "/api/v5/"
_LISTED_MS = 1_573_557_408_000
_FAR_MS = 2**62
_PERIODS = {name if name.endswith("m") else name.upper(): minutes for name, minutes in INTEREST_PERIODS.items()}


class RefusedError(Exception):
    """A request the exchange refuses, with the code it gives."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Request:
    """One request and what may be asked of it."""

    def __init__(self, venue: Venue, call: RestCall) -> None:
        self.query, self.now_us = call.query, call.now_us
        self._history = call.history
        self.listed = [venue.listings[symbol] for symbol in call.history]

    def listing(self, name: Callable[[Listing], str] = lambda listing: listing.venue_symbol) -> Listing:
        wanted = self.query.get("instId", "")
        if not wanted:
            raise RefusedError("50014", "Parameter instId can not be empty.")
        for listing in self.listed:
            if name(listing) == wanted:
                return listing
        raise RefusedError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")

    def asked(self) -> list[Listing]:
        """The one instrument asked for, or all."""
        return [self.listing()] if self.query.get("instId", "ANY") != "ANY" else self.listed

    def swaps(self) -> None:
        if self.query.get("instType") != "SWAP":
            raise RefusedError("51000", "Parameter instType error")

    def history(self, listing: Listing) -> History:
        return self._history[listing.symbol]

    def number(self, name: str, default: int) -> int:
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isdecimal():
            raise RefusedError("51000", f"Parameter {name} error")
        return int(text)

    def interests(self, listing: Listing) -> list[tuple[int, Interest]]:
        """By the start of the period that was asked for."""
        minutes = _PERIODS.get(self.query.get("period", "5m"))
        if minutes is None:
            raise RefusedError("51000", "Parameter period error")
        past = self.history(listing).interests(self.now_us, minutes)
        return [((one.when_us - minutes * MINUTE_US) // 1_000, one) for one in past]

    def page(self, rows: Iterable[tuple[int, Any]], most: int, *, inclusive: bool = False) -> list[Any]:
        """Rows between ``before`` and ``after`` (or ``begin`` and ``end``, both included), newest first."""
        older, newer = ("end", "begin") if inclusive else ("after", "before")
        first, last = self.number(newer, 0), self.number(older, _FAR_MS)
        if not inclusive:
            first, last = first + 1, last - 1
        found = [row for key, row in rows if first <= key <= last]
        limit = min(most, self.number("limit", 100))
        return found[::-1][:limit]


def answer(venue: Venue, call: RestCall) -> RestAnswer:
    """Body and status for a path such as ``/api/v5/public/time``."""
    endpoint = _ENDPOINTS.get(call.path.removeprefix(ROOT)) if call.path.startswith(ROOT) else None
    if endpoint is None or call.method != "GET":
        return RestAnswer(404, _json({"code": "404", "data": [], "msg": "Not Found"}))
    made, weight = endpoint
    try:
        return RestAnswer(200, _json({"code": "0", "data": made(Request(venue, call)), "msg": ""}), weight)
    except RefusedError as refused:
        status = 400 if refused.code == "50014" else 200
        return RestAnswer(status, _json({"code": refused.code, "data": [], "msg": str(refused)}), weight)


def rate_limited(status: int) -> RestAnswer:
    return RestAnswer(status, _json({"msg": "Too Many Requests", "code": "50011"}))


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)


def _time(request: Request) -> Sequence[Any]:
    return [{"ts": str(request.now_us // 1_000)}]


def _instruments(request: Request) -> Sequence[Any]:
    request.swaps()
    return [_instrument(listing) for listing in request.listed]


def _instrument(listing: Listing) -> Mapping[str, Any]:
    family = okx_states.index_name(listing)
    lot = decimal(1, listing.lot_places)
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": "",
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1",
        "ctType": "linear",
        "ctVal": f"{listing.contract_size:g}",
        "ctValCcy": family.partition("-")[0],
        "expTime": "",
        "futureSettlement": False,
        "instFamily": family,
        "instId": listing.venue_symbol,
        "instType": "SWAP",
        "lever": "50",
        "listTime": str(_LISTED_MS),
        "lotSz": lot,
        "maxIcebergSz": "100000000.0000000000000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "",
        "maxMktSz": "30000",
        "maxStopSz": "30000",
        "maxTriggerSz": "100000000.0000000000000000",
        "maxTwapSz": "100000000.0000000000000000",
        "minSz": lot,
        "openType": "",
        "optType": "",
        "quoteCcy": "",
        "ruleType": "normal",
        "settleCcy": "USDT",
        "state": "live",
        "stk": "",
        "tickSz": decimal(listing.tick_units, listing.price_places),
        "uly": family,
    }


def _state(channel: str) -> Callable[[Request], Sequence[Any]]:
    """What the channel of the same name pushes, now."""

    def answered(request: Request) -> Sequence[Any]:
        rows = []
        for listing in request.asked():
            history = request.history(listing)
            state = history.second(request.now_us)
            rows.append(okx_states.STATES[channel](listing, history.minute(request.now_us), state))
        return rows

    return answered


def _index_tickers(request: Request) -> Sequence[Any]:
    """That of the index asked for, or those quoted in a currency."""
    by_quote = "quoteCcy" in request.query and "instId" not in request.query
    listings = request.listed if by_quote else [request.listing(okx_states.index_name)]
    rows = []
    for listing in listings:
        history = request.history(listing)
        rows.append(okx_states.index_ticker(listing, history.minute(request.now_us), history.second(request.now_us)))
    return [row for row in rows if row["instId"].endswith(f"-{request.query['quoteCcy']}")] if by_quote else rows


def _tickers(request: Request) -> Sequence[Any]:
    rows = []
    for listing in request.asked():
        history = request.history(listing)
        minute, sums = history.minute(request.now_us), history.window(request.now_us)
        rows.append(okx_states.ticker(listing, minute, sums, request.now_us))
    return rows


def _books(request: Request) -> Sequence[Any]:
    listing = request.listing()
    books = request.history(listing).minute(request.now_us).books
    row = int(np.searchsorted(books.push_us, request.now_us, side="right")) - 1
    asks, bids = okx_frames.sides(listing, books, row, min(400, request.number("sz", 1)))
    when_ms, last = int(books.push_us[row]) // 1_000, okx_frames.sequence(int(books.last_us[row]))
    return [msgspec.Raw(f'{{"asks":[{asks}],"bids":[{bids}],"ts":"{when_ms}","seqId":{last}}}'.encode())]


_BARS = {name if name.endswith("m") else name.upper(): minutes for name, minutes in MINUTES.items() if name != "1d"}
_BARS["1Dutc"] = DAY_MINUTES


def _candles(request: Request) -> Sequence[Any]:
    listing = request.listing()
    minutes = _BARS.get(request.query.get("bar", "1m"))
    if minutes is None:
        raise RefusedError("51000", "Parameter bar error")
    width_us = minutes * MINUTE_US
    rows = (
        (past.start_us // 1_000, okx_states.bar(past, listing, closed=past.start_us + width_us <= request.now_us))
        for past in request.history(listing).candles(request.now_us, minutes)
    )
    return request.page(rows, 300)


def _trades(request: Request) -> Sequence[Any]:
    """The latest fills."""
    return _fills(request, slice(-min(500, request.number("limit", 100)), None))[::-1]


def _history_trades(request: Request) -> Sequence[Any]:
    """Fills before an id, or before a time where ``type`` is 2."""
    trades = request.history(request.listing()).trades(request.now_us)
    by_time = request.query.get("type") == "2"
    keys = trades.when_us // 1_000 if by_time else trades.order_id
    last = int(np.searchsorted(keys, request.number("after", _FAR_MS)))
    first = 0 if by_time else int(np.searchsorted(keys, request.number("before", 0), side="right"))
    return _fills(request, slice(max(first, last - min(100, request.number("limit", 100))), last))[::-1]


def _fills(request: Request, part: slice) -> list[Any]:
    listing = request.listing()
    trades = request.history(listing).trades(request.now_us)
    return [
        {
            "instId": listing.venue_symbol,
            "side": "buy" if buy else "sell",
            "sz": decimal(lots, listing.lot_places),
            "source": "0",
            "px": decimal(tick * listing.tick_units, listing.price_places),
            "tradeId": str(identity),
            "ts": str(when // 1_000),
        }
        for identity, tick, lots, buy, when in zip(
            trades.order_id[part].tolist(),
            trades.tick[part].tolist(),
            trades.lots[part].tolist(),
            trades.buy[part].tolist(),
            trades.when_us[part].tolist(),
            strict=True,
        )
    ]


def _funding_history(request: Request) -> Sequence[Any]:
    listing = request.listing()
    rows = (
        (
            past.when_us // 1_000,
            {
                "formulaType": "withRate",
                "fundingRate": f"{past.rate:.16f}",
                "fundingTime": str(past.when_us // 1_000),
                "instId": listing.venue_symbol,
                "instType": "SWAP",
                "method": "current_period",
                "realizedRate": f"{past.rate:.16f}",
            },
        )
        for past in request.history(listing).settlements(request.now_us)
    )
    return request.page(rows, 100)


def _interest_history(request: Request) -> Sequence[Any]:
    listing = request.listing()
    rows = []
    for begin_ms, past in request.interests(listing):
        base = past.lots * listing.lot * listing.contract_size
        amounts = [
            decimal(past.lots, listing.lot_places),
            okx_states.coins(past.lots, listing),
            f"{base * past.mark:.8f}",
        ]
        rows.append((begin_ms, [str(begin_ms), *amounts]))
    return request.page(rows, 100, inclusive=True)


def _long_short(of: str) -> Callable[[Request], Sequence[Any]]:
    def answered(request: Request) -> Sequence[Any]:
        rows = (
            (begin_ms, [str(begin_ms), f"{getattr(past.positioning, of):.4f}"])
            for begin_ms, past in request.interests(request.listing())
        )
        return request.page(rows, 100, inclusive=True)

    return answered


def _taker_volume(request: Request) -> Sequence[Any]:
    """What takers sold and bought: in contracts, or in coins where ``unit`` is 0."""
    listing = request.listing()
    unit = request.query.get("unit", "1")
    if unit not in ("0", "1"):
        raise RefusedError("51000", "Parameter unit error")

    def amount(lots: int) -> str:
        return decimal(lots, listing.lot_places) if unit == "1" else okx_states.coins(lots, listing)

    rows = (
        (begin_ms, [str(begin_ms), amount(past.positioning.sold), amount(past.positioning.bought)])
        for begin_ms, past in request.interests(listing)
    )
    return request.page(rows, 100, inclusive=True)


_ENDPOINTS: dict[str, tuple[Callable[[Request], Sequence[Any]], int]] = {
    "public/time": (_time, 1),
    "public/instruments": (_instruments, 1),
    "public/funding-rate": (_state("funding-rate"), 2),
    "public/funding-rate-history": (_funding_history, 2),
    "public/open-interest": (_state("open-interest"), 1),
    "public/mark-price": (_state("mark-price"), 2),
    "market/index-tickers": (_index_tickers, 1),
    "market/ticker": (_tickers, 1),
    "market/tickers": (_tickers, 1),
    "market/books": (_books, 1),
    "market/candles": (_candles, 1),
    "market/history-candles": (_candles, 1),
    "market/trades": (_trades, 1),
    "market/history-trades": (_history_trades, 1),
    "rubik/stat/taker-volume-contract": (_taker_volume, 4),
    "rubik/stat/contracts/open-interest-history": (_interest_history, 4),
    "rubik/stat/contracts/long-short-account-ratio-contract": (_long_short("accounts"), 4),
    "rubik/stat/contracts/long-short-account-ratio-contract-top-trader": (_long_short("top_accounts"), 4),
    "rubik/stat/contracts/long-short-position-ratio-contract-top-trader": (_long_short("top_positions"), 4),
}
"""What answers a path, and the requests of the usual kind that it counts as."""
