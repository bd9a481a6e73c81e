"""REST of Binance spot (``/api/v3``), answered from the simulated past.

Weights and limits follow developers.binance.com (spot market data endpoints).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from orderflow_streaming.simulator.dialects.binance.request import Request
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
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

_DEPTH_WEIGHTS = {5: 5, 10: 5, 20: 5, 50: 5, 100: 5, 500: 25, 1_000: 50, 5_000: 250}


def _exchange_info(request: Request) -> tuple[Any, int]:
    body = {
        "timezone": "UTC",
        "serverTime": request.now_us // 1_000,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6_000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
        ],
        "exchangeFilters": [],
        "symbols": [_pair(listing) for listing in request.asked()],
    }
    return body, 20


def _pair(listing: Listing) -> dict[str, Any]:
    tick = decimal(listing.tick_units, listing.price_places)
    lot = decimal(1, listing.lot_places)
    return {
        "symbol": listing.venue_symbol,
        "status": "TRADING",
        "baseAsset": listing.venue_symbol.removesuffix("USDT"),
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000.00000000", "stepSize": lot},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _depth(request: Request) -> tuple[Any, int]:
    body, _, weight = book(request, _DEPTH_WEIGHTS)
    return body, weight


def _single_trades(request: Request) -> tuple[Any, int]:
    """From an id; otherwise the latest."""
    listing = request.listing()
    trades = request.history(listing).trades(request.now_us).singly()
    limit, from_id = request.limit(500, 1_000), request.number("fromId")
    first = len(trades) - limit if from_id is None else int(np.searchsorted(trades.order_id, from_id))
    part = slice(max(0, first), max(0, first) + limit)
    tick, lots = trades.tick[part] * listing.tick_units, trades.lots[part]
    columns = zip(
        trades.order_id[part].tolist(),
        decimals(tick, listing.price_places),
        decimals(lots, listing.lot_places),
        decimals(tick * lots, listing.price_places + listing.lot_places),
        (trades.when_us[part] // 1_000).tolist(),
        trades.buy[part].tolist(),
        strict=True,
    )
    return [
        {"id": i, "price": p, "qty": q, "quoteQty": v, "time": t, "isBuyerMaker": not buy, "isBestMatch": True}
        for i, p, q, v, t, buy in columns
    ], 25


def _ticker(request: Request) -> tuple[Any, int]:
    rows = []
    for listing in request.asked():
        sums = day(request, listing)
        touch = request.history(listing).minute(request.now_us).touch(request.now_us)
        rows.append({**sums, "prevClosePrice": sums["openPrice"], **best(touch, listing)})
    return one_or_all(request, rows, 2, 80)


def _book_ticker(request: Request) -> tuple[Any, int]:
    rows = [
        best(request.history(listing).minute(request.now_us).touch(request.now_us), listing)
        for listing in request.asked()
    ]
    return one_or_all(request, rows, 2, 4)


_MARKET_DATA: dict[str, Endpoint] = {
    "ping": ping,
    "time": server_time,
    "exchangeInfo": _exchange_info,
    "depth": _depth,
    "klines": partial(klines, weights=((1_000, 2),)),
    "aggTrades": partial(aggregated_trades, weight=4),
    "trades": _single_trades,
    "historicalTrades": _single_trades,
    "ticker/24hr": _ticker,
    "ticker/bookTicker": _book_ticker,
}
SPOT_ENDPOINTS: dict[str, Endpoint] = {f"/api/v3/{name}": endpoint for name, endpoint in _MARKET_DATA.items()}
