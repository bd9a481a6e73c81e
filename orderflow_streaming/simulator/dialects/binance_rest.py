"""REST of Binance USD-M futures (``/fapi/v1``, ``/futures/data``), answered from the simulated past.

Weights, limits and error bodies follow developers.binance.com (USD-M futures market data, general info, error
codes).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.dialects.binance_request import RefusedError, Request
from orderflow_streaming.simulator.dialects.dialect import RestAnswer, RestCall
from orderflow_streaming.simulator.records import Candle
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing, Venue

ROOT = "/fapi/v1/"
_STATISTICS_REACH_MS = 30 * 24 * 3_600_000
_DEPTH_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1_000: 20}
_INTEREST = "0.00010000"


def answer(venue: Venue, call: RestCall, update_id: Callable[[int], int]) -> RestAnswer:
    """Body and status for a path such as ``/fapi/v1/time``."""
    endpoint = _ENDPOINTS.get(call.path.removeprefix(ROOT))
    if endpoint is None:
        return RestAnswer(404, b"<html><body><h2>404 Not found</h2></body></html>")
    if call.method != "GET":
        return RestAnswer(405, _json({"code": -1000, "msg": f"Request method '{call.method}' not supported"}))
    try:
        body, weight = endpoint(Request(venue, call.query, call.history, call.now_us, update_id))
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


def _ping(request: Request) -> tuple[Any, int]:
    return {}, 1


def _time(request: Request) -> tuple[Any, int]:
    return {"serverTime": request.now_us // 1_000}, 1


def _exchange_info(request: Request) -> tuple[Any, int]:
    body = {
        "timezone": "UTC",
        "serverTime": request.now_us // 1_000,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2_400},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1_200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_contract(listing) for listing in request.listed],
    }
    return body, 1


def _contract(listing: Listing) -> dict[str, Any]:
    base = listing.venue_symbol.removesuffix("USDT")
    tick = decimal(listing.tick_units, listing.price_places)
    lot = decimal(1, listing.lot_places)
    return {
        "symbol": listing.venue_symbol,
        "pair": listing.venue_symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": listing.price_places,
        "quantityPrecision": listing.lot_places,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "10000000", "stepSize": lot},
            {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "1000000", "stepSize": lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def _funding_info(request: Request) -> tuple[Any, int]:
    """Only contracts whose interval is not the usual eight hours, as on the exchange."""
    body = [
        {
            "symbol": listing.venue_symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": listing.funding_hours,
            "disclaimer": False,
        }
        for listing in request.listed
        if listing.funding_hours != 8
    ]
    return body, 0


def _depth(request: Request) -> tuple[Any, int]:
    listing = request.listing()
    limit = request.number("limit") or 500
    if limit not in _DEPTH_LIMITS:
        raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    books = request.history(listing).minute(request.now_us).books
    row = int(np.searchsorted(books.push_us, request.now_us, side="right")) - 1

    def side(ticks: Any, lots: Any) -> list[tuple[str, str]]:
        prices = decimals(ticks[row, :limit] * listing.tick_units, listing.price_places)
        return list(zip(prices, decimals(lots[row, :limit], listing.lot_places), strict=True))

    last_us = int(books.last_us[row])
    body = {
        "lastUpdateId": request.update_id(last_us),
        "E": request.now_us // 1_000,
        "T": last_us // 1_000,
        "bids": side(books.bid, books.bid_lots),
        "asks": side(books.ask, books.ask_lots),
    }
    return body, _DEPTH_LIMITS[limit]


def _open_interest(request: Request) -> tuple[Any, int]:
    listing = request.listing()
    state = request.history(listing).second(request.now_us)
    amount = decimal(state.open_interest, listing.lot_places)
    return {"symbol": listing.venue_symbol, "openInterest": amount, "time": state.when_us // 1_000}, 1


def _open_interest_history(request: Request) -> tuple[Any, int]:
    listing = request.listing()
    if request.query.get("period") != "5m":
        raise RefusedError(-1130, "parameter 'period' is invalid.")
    start, end = request.period()
    if request.query.get("startTime") and start < request.now_us // 1_000 - _STATISTICS_REACH_MS:
        raise RefusedError(-1130, "parameter 'startTime' is invalid.")
    rows = [
        {
            "symbol": listing.venue_symbol,
            "sumOpenInterest": decimal(past.lots, listing.lot_places),
            "sumOpenInterestValue": f"{past.lots / 10**listing.lot_places * past.mark:.8f}",
            "timestamp": past.when_us // 1_000,
        }
        for past in request.history(listing).interests(request.now_us)
        if start <= past.when_us // 1_000 <= end
    ]
    return rows[-request.limit(30, 500) :], 0


def _premium_index(request: Request) -> tuple[Any, int]:
    rows = []
    for listing in request.asked():
        state = request.history(listing).second(request.now_us)
        rows.append(
            {
                "symbol": listing.venue_symbol,
                "markPrice": f"{state.mark:.8f}",
                "indexPrice": f"{state.index:.8f}",
                "estimatedSettlePrice": f"{state.settle:.8f}",
                "lastFundingRate": f"{state.rate:.8f}",
                "interestRate": _INTEREST,
                "nextFundingTime": state.next_us // 1_000,
                "time": state.when_us // 1_000,
            }
        )
    return (rows[0], 1) if request.query.get("symbol") else (rows, 10)


def _klines(request: Request) -> tuple[Any, int]:
    listing = request.listing()
    if request.query.get("interval") != "1m":
        raise RefusedError(-1120, "Invalid interval.")
    start, end = request.period()
    limit = request.limit(500, 1_500)
    found = [
        past for past in request.history(listing).candles(request.now_us) if start <= past.start_us // 1_000 <= end
    ]
    found = found[:limit] if request.query.get("startTime") else found[-limit:]
    weight = next(weight for most, weight in ((99, 1), (499, 2), (1_000, 5), (1_500, 10)) if limit <= most)
    return [_kline(past, listing) for past in found], weight


def _kline(past: Candle, listing: Listing) -> list[Any]:
    places, units = listing.price_places, listing.tick_units
    value_places = places + listing.lot_places
    return [
        past.start_us // 1_000,
        *(decimal(tick * units, places) for tick in (past.open, past.high, past.low, past.close)),
        decimal(past.lots, listing.lot_places),
        past.start_us // 1_000 + 59_999,
        decimal(past.value * units, value_places),
        past.count,
        decimal(past.buy_lots, listing.lot_places),
        decimal(past.buy_value * units, value_places),
        "0",
    ]


def _agg_trades(request: Request) -> tuple[Any, int]:
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
    ], 20


def _funding_rate(request: Request) -> tuple[Any, int]:
    start, end = request.period()
    rows: list[dict[str, Any]] = [
        {
            "symbol": listing.venue_symbol,
            "fundingTime": paid.when_us // 1_000,
            "fundingRate": f"{paid.rate:.8f}",
            "markPrice": f"{paid.mark:.8f}",
        }
        for listing in request.asked()
        for paid in request.history(listing).settlements(request.now_us)
        if start <= paid.when_us // 1_000 <= end
    ]
    rows.sort(key=lambda row: row["fundingTime"])
    limit = request.limit(100, 1_000)
    return (rows[:limit] if request.query.get("startTime") else rows[-limit:]), 0


def _ticker(request: Request) -> tuple[Any, int]:
    rows = []
    for listing in request.asked():
        sums = request.history(listing).window(request.now_us)
        places, units = listing.price_places, listing.tick_units
        quote = sums.value * units
        average = round(quote / sums.lots) if sums.lots else 0
        rows.append(
            {
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
        )
    return (rows[0], 1) if request.query.get("symbol") else (rows, 40)


def _book_ticker(request: Request) -> tuple[Any, int]:
    rows = []
    for listing in request.asked():
        minute = request.history(listing).minute(request.now_us)
        touches, books = minute.touches, minute.books
        row = bisect_left(touches.when_us, request.now_us + 1) - 1
        if row >= 0:
            bid, bid_lots = int(touches.bid[row]), int(touches.bid_lots[row])
            ask, ask_lots = int(touches.ask[row]), int(touches.ask_lots[row])
            when_us = int(touches.when_us[row])
        else:
            bid, bid_lots = int(books.bid[0, 0]), int(books.bid_lots[0, 0])
            ask, ask_lots = int(books.ask[0, 0]), int(books.ask_lots[0, 0])
            when_us = int(books.last_us[0])
        rows.append(
            {
                "lastUpdateId": request.update_id(when_us),
                "symbol": listing.venue_symbol,
                "bidPrice": decimal(bid * listing.tick_units, listing.price_places),
                "bidQty": decimal(bid_lots, listing.lot_places),
                "askPrice": decimal(ask * listing.tick_units, listing.price_places),
                "askQty": decimal(ask_lots, listing.lot_places),
                "time": when_us // 1_000,
            }
        )
    return (rows[0], 2) if request.query.get("symbol") else (rows, 5)


_ENDPOINTS: dict[str, Callable[[Request], tuple[Any, int]]] = {
    "ping": _ping,
    "time": _time,
    "exchangeInfo": _exchange_info,
    "fundingInfo": _funding_info,
    "depth": _depth,
    "openInterest": _open_interest,
    "/futures/data/openInterestHist": _open_interest_history,
    "premiumIndex": _premium_index,
    "klines": _klines,
    "aggTrades": _agg_trades,
    "fundingRate": _funding_rate,
    "ticker/24hr": _ticker,
    "ticker/bookTicker": _book_ticker,
}
