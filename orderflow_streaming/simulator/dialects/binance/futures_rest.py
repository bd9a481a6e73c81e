"""REST of Binance USD-M futures (``/fapi/v1``, ``/futures/data``), answered from the simulated past.

Weights and limits follow developers.binance.com (USD-M futures market data).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from orderflow_streaming.simulator.dialects.binance.frames import update_id
from orderflow_streaming.simulator.dialects.binance.request import RefusedError, Request
from orderflow_streaming.simulator.dialects.binance.rest import (
    Endpoint,
    aggregated_trades,
    best,
    book,
    day,
    klines,
    one_or_all,
    ping,
    server_time,
)
from orderflow_streaming.simulator.history import INTEREST_PERIODS, Interest
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing

_STATISTICS_REACH_MS = 30 * 24 * 3_600_000
_DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1_000: 20}
_KLINE_WEIGHTS = ((99, 1), (499, 2), (1_000, 5), (1_500, 10))
_INTEREST = "0.00010000"


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
    body, last_us, weight = book(request, _DEPTH_WEIGHTS)
    return {**body, "E": request.now_us // 1_000, "T": last_us // 1_000}, weight


def _open_interest(request: Request) -> tuple[Any, int]:
    listing = request.listing()
    state = request.history(listing).second(request.now_us)
    amount = decimal(state.open_interest, listing.lot_places)
    return {"symbol": listing.venue_symbol, "openInterest": amount, "time": state.when_us // 1_000}, 1


def _statistics(request: Request, row: Callable[[Listing, Interest], dict[str, Any]]) -> tuple[Any, int]:
    """A row for each period, oldest first."""
    listing = request.listing()
    minutes = INTEREST_PERIODS.get(request.query.get("period", ""))
    if minutes is None:
        raise RefusedError(-1130, "parameter 'period' is invalid.")
    start, end = request.period()
    if request.query.get("startTime") and start < request.now_us // 1_000 - _STATISTICS_REACH_MS:
        raise RefusedError(-1130, "parameter 'startTime' is invalid.")
    rows = [
        row(listing, past) | {"timestamp": past.when_us // 1_000}
        for past in request.history(listing).interests(request.now_us, minutes)
        if start <= past.when_us // 1_000 <= end
    ]
    return rows[-request.limit(30, 500) :], 0


def _interest(listing: Listing, past: Interest) -> dict[str, Any]:
    return {
        "symbol": listing.venue_symbol,
        "sumOpenInterest": decimal(past.lots, listing.lot_places),
        "sumOpenInterestValue": f"{past.lots / 10**listing.lot_places * past.mark:.8f}",
    }


def _long_short(listing: Listing, past: Interest, *, of: str) -> dict[str, Any]:
    ratio = getattr(past.positioning, of)
    return {
        "symbol": listing.venue_symbol,
        "longAccount": f"{ratio / (1 + ratio):.4f}",
        "longShortRatio": f"{ratio:.4f}",
        "shortAccount": f"{1 / (1 + ratio):.4f}",
    }


def _taker_volume(listing: Listing, past: Interest) -> dict[str, Any]:
    return {
        "buySellRatio": f"{past.positioning.taker:.4f}",
        "sellVol": decimal(past.positioning.sold, listing.lot_places),
        "buyVol": decimal(past.positioning.bought, listing.lot_places),
    }


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
    return one_or_all(request, rows, 1, 10)


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
    return one_or_all(request, [day(request, listing) for listing in request.asked()], 1, 40)


def _book_ticker(request: Request) -> tuple[Any, int]:
    rows = []
    for listing in request.asked():
        touch = request.history(listing).minute(request.now_us).touch(request.now_us)
        rows.append({"lastUpdateId": update_id(touch.when_us), **best(touch, listing), "time": touch.when_us // 1_000})
    return one_or_all(request, rows, 2, 5)


_MARKET_DATA: dict[str, Endpoint] = {
    "ping": ping,
    "time": server_time,
    "exchangeInfo": _exchange_info,
    "fundingInfo": _funding_info,
    "depth": _depth,
    "openInterest": _open_interest,
    "premiumIndex": _premium_index,
    "klines": partial(klines, weights=_KLINE_WEIGHTS),
    "aggTrades": partial(aggregated_trades, weight=20),
    "fundingRate": _funding_rate,
    "ticker/24hr": _ticker,
    "ticker/bookTicker": _book_ticker,
}
FUTURES_ENDPOINTS: dict[str, Endpoint] = {
    **{f"/fapi/v1/{name}": endpoint for name, endpoint in _MARKET_DATA.items()},
    "/futures/data/openInterestHist": partial(_statistics, row=_interest),
    "/futures/data/globalLongShortAccountRatio": partial(_statistics, row=partial(_long_short, of="accounts")),
    "/futures/data/topLongShortAccountRatio": partial(_statistics, row=partial(_long_short, of="top_accounts")),
    "/futures/data/topLongShortPositionRatio": partial(_statistics, row=partial(_long_short, of="top_positions")),
    "/futures/data/takerlongshortRatio": partial(_statistics, row=_taker_volume),
}
