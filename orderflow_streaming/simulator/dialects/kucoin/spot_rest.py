"""REST of KuCoin spot, answered from the simulated past. Source: www.kucoin.com/docs-new, Spot Trading, market data."""

from __future__ import annotations

from typing import Any

from orderflow_streaming.simulator.candles import MINUTES
from orderflow_streaming.simulator.dialects.kucoin.frames import TRADE_STEP, sequence
from orderflow_streaming.simulator.dialects.kucoin.request import Endpoint, RefusedError, Request
from orderflow_streaming.simulator.dialects.kucoin.spot_frames import FEE_RATE, price, size, statistics
from orderflow_streaming.simulator.records import Ints
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing


def _timestamp(request: Request) -> int:
    return request.now_us // 1_000


def _symbols(request: Request) -> list[dict[str, Any]]:
    return [
        {
            "symbol": listing.venue_symbol,
            "name": listing.venue_symbol,
            "baseCurrency": listing.venue_symbol.removesuffix("-USDT"),
            "quoteCurrency": "USDT",
            "feeCurrency": "USDT",
            "market": "USDS",
            "baseMinSize": decimal(1, listing.lot_places),
            "quoteMinSize": "0.1",
            "baseMaxSize": "10000000000",
            "quoteMaxSize": "99999999",
            "baseIncrement": decimal(1, listing.lot_places),
            "quoteIncrement": "0.000001",
            "priceIncrement": decimal(listing.tick_units, listing.price_places),
            "priceLimitRate": "0.1",
            "minFunds": "0.1",
            "isMarginEnabled": True,
            "enableTrading": True,
            "feeCategory": 1,
            "makerFeeCoefficient": "1.00",
            "takerFeeCoefficient": "1.00",
            "st": False,
            "callauctionIsEnabled": False,
            "tradingStartTime": None,
        }
        for listing in request.listed
    ]


_WORDS = {"m": "min", "h": "hour", "d": "day"}
_TYPES = {f"{name[:-1]}{_WORDS[name[-1]]}": minutes for name, minutes in MINUTES.items()}


def _klines(request: Request) -> list[list[str]]:
    """Newest first, at most 1,500."""
    listing = request.listing()
    minutes = _TYPES.get(request.query.get("type", ""))
    if minutes is None:
        raise RefusedError("400100", "type is invalid")
    start, end = request.period("startAt", "endAt")
    places, units = listing.price_places, listing.tick_units
    found = [past for past in request.candles(listing, minutes) if start <= past.start_us // 1_000_000 < end]
    return [
        [
            str(past.start_us // 1_000_000),
            *(decimal(tick * units, places) for tick in (past.open, past.close, past.high, past.low)),
            decimal(past.lots, listing.lot_places),
            decimal(past.value * units, places + listing.lot_places),
        ]
        for past in found[:-1501:-1]
    ]


def _histories(request: Request) -> list[dict[str, Any]]:
    listing = request.listing()
    return [
        {
            "sequence": str(number * TRADE_STEP),
            "price": decimal(tick * listing.tick_units, listing.price_places),
            "size": decimal(lots, listing.lot_places),
            "side": "buy" if buy else "sell",
            "time": when_us * 1_000,
        }
        for when_us, tick, lots, buy, number in request.latest_trades(listing)
    ]


def _orderbook(request: Request) -> dict[str, Any]:
    listing = request.listing()
    books, row = request.book(listing)

    def side(ticks: Ints, lots: Ints) -> list[tuple[str, str]]:
        return list(zip(price(listing, ticks[row]), size(listing, lots[row]), strict=True))

    return {
        "time": request.now_us // 1_000,
        "sequence": str(sequence(int(books.last_us[row]))),
        "bids": side(books.bid, books.bid_lots),
        "asks": side(books.ask, books.ask_lots),
    }


def _ticker(request: Request, listing: Listing) -> dict[str, Any]:
    sums = request.history(listing).window(request.now_us)
    touch = request.history(listing).minute(request.now_us).touch(request.now_us)
    known = statistics(listing, sums) if sums.count else {}
    names = ("changeRate", "changePrice", "high", "low", "vol", "volValue", "averagePrice")
    return {
        "symbol": listing.venue_symbol,
        "buy": decimal(touch.bid * listing.tick_units, listing.price_places),
        "sell": decimal(touch.ask * listing.tick_units, listing.price_places),
        **{name: known.get(name) for name in names},
        "last": known.get("close"),
        "takerFeeRate": FEE_RATE,
        "makerFeeRate": FEE_RATE,
        "takerCoefficient": "1",
        "makerCoefficient": "1",
    }


def _stats(request: Request) -> dict[str, Any]:
    return {"time": request.now_us // 1_000, **_ticker(request, request.listing())}


def _all_tickers(request: Request) -> dict[str, Any]:
    rows = []
    for listing in request.listed:
        touch = request.history(listing).minute(request.now_us).touch(request.now_us)
        sizes = {
            "bestBidSize": decimal(touch.bid_lots, listing.lot_places),
            "bestAskSize": decimal(touch.ask_lots, listing.lot_places),
        }
        rows.append({**_ticker(request, listing), "symbolName": listing.venue_symbol, **sizes})
    return {"time": request.now_us // 1_000, "ticker": rows}


ENDPOINTS: dict[str, tuple[Endpoint, int]] = {
    "/api/v1/timestamp": (_timestamp, 3),
    "/api/v2/symbols": (_symbols, 4),
    "/api/v1/market/candles": (_klines, 3),
    "/api/v1/market/histories": (_histories, 3),
    "/api/v1/market/orderbook/level2_20": (_orderbook, 2),
    "/api/v1/market/orderbook/level2_100": (_orderbook, 4),
    "/api/v1/market/stats": (_stats, 15),
    "/api/v1/market/allTickers": (_all_tickers, 15),
}
"""By path: what answers, and its weight."""
