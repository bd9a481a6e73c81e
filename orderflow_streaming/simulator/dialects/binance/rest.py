"""What Binance's markets answer alike over REST, from the simulated past.

Limits, weights and error bodies follow developers.binance.com (market data, general info, error codes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import MINUTES
from orderflow_streaming.simulator.dialects.binance.frames import update_id
from orderflow_streaming.simulator.dialects.binance.request import RefusedError, Request
from orderflow_streaming.simulator.dialects.dialect import RestAnswer, RestCall
from orderflow_streaming.simulator.records import Candle, Touch
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing, Venue

Endpoint = Callable[[Request], tuple[Any, int]]
"""Makes the body of an answer, and tells its weight."""


def answer(endpoints: Mapping[str, Endpoint], venue: Venue, call: RestCall) -> RestAnswer:
    """Body and status for a path such as ``/fapi/v1/time``."""
    endpoint = endpoints.get(call.path)
    if endpoint is None:
        return RestAnswer(404, b"<html><body><h2>404 Not found</h2></body></html>")
    if call.method != "GET":
        return RestAnswer(405, _json({"code": -1000, "msg": f"Request method '{call.method}' not supported"}))
    try:
        body, weight = endpoint(Request(venue, call.query, call.history, call.now_us))
    except RefusedError as refused:
        return RestAnswer(400, _json(refused.body))
    return RestAnswer(200, _json(body), weight)


def rate_limited(limit: int, status: int, retry_after: int, until_us: int) -> RestAnswer:
    if status == 418:
        text = (
            f"Way too many requests; IP(127.0.0.1) banned until {until_us // 1_000}. "
            "Please use the websocket for live updates to avoid bans."
        )
    else:
        text = (
            f"Too many requests; current limit of IP(127.0.0.1) is {limit} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
    return RestAnswer(status, _json({"code": -1003, "msg": text}), headers={"Retry-After": str(retry_after)})


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)


def ping(request: Request) -> tuple[Any, int]:
    """Nothing."""
    return {}, 1


def server_time(request: Request) -> tuple[Any, int]:
    """Milliseconds."""
    return {"serverTime": request.now_us // 1_000}, 1


def book(request: Request, weights: Mapping[int, int]) -> tuple[dict[str, Any], int, int]:
    """The book without its times, the time of its last change, and the weight; ``weights`` are by limit."""
    listing = request.listing()
    limit = request.number("limit") or 500
    if limit not in weights:
        raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    books = request.history(listing).minute(request.now_us).books
    row = int(np.searchsorted(books.push_us, request.now_us, side="right")) - 1

    def side(ticks: Any, lots: Any) -> list[tuple[str, str]]:
        prices = decimals(ticks[row, :limit] * listing.tick_units, listing.price_places)
        return list(zip(prices, decimals(lots[row, :limit], listing.lot_places), strict=True))

    last_us = int(books.last_us[row])
    body = {
        "lastUpdateId": update_id(last_us),
        "bids": side(books.bid, books.bid_lots),
        "asks": side(books.ask, books.ask_lots),
    }
    return body, last_us, weights[limit]


def klines(request: Request, weights: Sequence[tuple[int, int]]) -> tuple[Any, int]:
    """Candles; ``weights`` are limits, the last the highest, and what each costs."""
    listing = request.listing()
    minutes = MINUTES.get(request.query.get("interval", ""))
    if minutes is None:
        raise RefusedError(-1120, "Invalid interval.")
    start, end = request.period()
    limit = request.limit(500, weights[-1][0])
    candles = request.history(listing).candles(request.now_us, minutes)
    found = [past for past in candles if start <= past.start_us // 1_000 <= end]
    found = found[:limit] if request.query.get("startTime") else found[-limit:]
    weight = next(weight for most, weight in weights if limit <= most)
    return [_kline(past, listing, minutes) for past in found], weight


def _kline(past: Candle, listing: Listing, minutes: int) -> list[Any]:
    places, units = listing.price_places, listing.tick_units
    value_places = places + listing.lot_places
    return [
        past.start_us // 1_000,
        *(decimal(tick * units, places) for tick in (past.open, past.high, past.low, past.close)),
        decimal(past.lots, listing.lot_places),
        past.start_us // 1_000 + minutes * 60_000 - 1,
        decimal(past.value * units, value_places),
        past.count,
        decimal(past.buy_lots, listing.lot_places),
        decimal(past.buy_value * units, value_places),
        "0",
    ]


def aggregated_trades(request: Request, weight: int) -> tuple[Any, int]:
    """From an id, or from a time; otherwise the latest."""
    listing = request.listing()
    trades = request.history(listing).trades(request.now_us)
    start, end = request.period()
    limit, from_id = request.limit(500, 1_000), request.number("fromId")
    ids, when_ms = trades.order_id, trades.when_us // 1_000
    first = int(np.searchsorted(ids, from_id)) if from_id is not None else int(np.searchsorted(when_ms, start))
    last = int(np.searchsorted(when_ms, end, side="right"))
    if from_id is None and request.query.get("startTime") is None:
        first = max(first, last - limit)
    part = slice(first, min(last, first + limit))
    columns = zip(
        ids[part].tolist(),
        decimals(trades.tick[part] * listing.tick_units, listing.price_places),
        decimals(trades.lots[part], listing.lot_places),
        trades.first_id[part].tolist(),
        trades.last_id[part].tolist(),
        when_ms[part].tolist(),
        trades.buy[part].tolist(),
        strict=True,
    )
    return [
        {"a": a, "p": p, "q": q, "f": f, "l": last_id, "T": t, "m": not buy} for a, p, q, f, last_id, t, buy in columns
    ], weight


def day(request: Request, listing: Listing) -> dict[str, Any]:
    """Sums of 24 hours, as far as all markets tell them."""
    sums = request.history(listing).window(request.now_us)
    places, units = listing.price_places, listing.tick_units
    quote = sums.value * units
    average = round(quote / sums.lots) if sums.lots else 0
    return {
        "symbol": listing.venue_symbol,
        "priceChange": decimal((sums.close - sums.open) * units, places),
        "priceChangePercent": f"{100 * (sums.close - sums.open) / sums.open:.3f}",
        "weightedAvgPrice": decimal(average, places),
        "lastPrice": decimal(sums.close * units, places),
        "lastQty": decimal(sums.last_lots, listing.lot_places),
        "openPrice": decimal(sums.open * units, places),
        "highPrice": decimal(sums.high * units, places),
        "lowPrice": decimal(sums.low * units, places),
        "volume": decimal(sums.lots, listing.lot_places),
        "quoteVolume": decimal(quote // 10**listing.lot_places, places),
        "openTime": sums.start_us // 1_000,
        "closeTime": request.now_us // 1_000,
        "firstId": sums.first_id,
        "lastId": sums.last_id,
        "count": sums.count,
    }


def best(touch: Touch, listing: Listing) -> dict[str, Any]:
    """Best bid and ask."""
    return {
        "symbol": listing.venue_symbol,
        "bidPrice": decimal(touch.bid * listing.tick_units, listing.price_places),
        "bidQty": decimal(touch.bid_lots, listing.lot_places),
        "askPrice": decimal(touch.ask * listing.tick_units, listing.price_places),
        "askQty": decimal(touch.ask_lots, listing.lot_places),
    }


def one_or_all(request: Request, rows: list[dict[str, Any]], one: int, every: int) -> tuple[Any, int]:
    """A row where a symbol was asked for, else the list; with their weights."""
    return (rows[0], one) if request.query.get("symbol") else (rows, every)
