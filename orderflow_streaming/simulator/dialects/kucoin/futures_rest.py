"""REST of KuCoin futures, answered from the simulated past. Source: www.kucoin.com/docs-new, "Futures Trading", market
data and funding fees."""

from __future__ import annotations

from typing import Any

import msgspec

from orderflow_streaming.simulator.candles import MINUTES
from orderflow_streaming.simulator.dialects.kucoin.frames import TRADE_STEP, sequence
from orderflow_streaming.simulator.dialects.kucoin.futures_frames import HOUR_MS, mark, price, rate, statistics
from orderflow_streaming.simulator.dialects.kucoin.request import Endpoint, RefusedError, Request
from orderflow_streaming.simulator.records import Ints
from orderflow_streaming.simulator.text import decimal
from orderflow_streaming.simulator.venue import Listing

_PAGE = 200
_SETTLEMENTS = 100


def _number(text: str) -> msgspec.Raw:
    """A number as it is written, into JSON."""
    return msgspec.Raw(text.encode())


def _timestamp(request: Request) -> int:
    return request.now_us // 1_000


def _contract(request: Request, listing: Listing) -> dict[str, Any]:
    history = request.history(listing)
    state, sums = history.second(request.now_us), history.window(request.now_us)
    base = listing.venue_symbol.removesuffix("USDTM")
    tick = _number(decimal(listing.tick_units, listing.price_places))
    numbers = statistics(listing, sums) if sums.count else {}
    known = {name: _number(text) for name, text in numbers.items()}
    names = ("turnoverOf24h", "volumeOf24h", "lastTradePrice", "lowPrice", "highPrice", "priceChgPct", "priceChg")
    return {
        "symbol": listing.venue_symbol,
        "rootSymbol": "USDT",
        "type": "FFWCSX",
        "firstOpenDate": 1_585_555_200_000,
        "expireDate": None,
        "settleDate": None,
        "baseCurrency": base,
        "quoteCurrency": "USDT",
        "settleCurrency": "USDT",
        "maxOrderQty": 1_000_000,
        "maxPrice": 1_000_000.0,
        "lotSize": 1,
        "tickSize": tick,
        "indexPriceTickSize": tick,
        "multiplier": listing.contract_size,
        "makerFeeRate": 2e-4,
        "takerFeeRate": 6e-4,
        "isDeleverage": True,
        "isQuanto": False,
        "isInverse": False,
        "markMethod": "FairPrice",
        "fairMethod": "FundingRate",
        "fundingRateSymbol": f".{base}USDTMFPI8H",
        "indexSymbol": f".K{base}USDT",
        "settlementSymbol": "",
        "status": "Open",
        "fundingFeeRate": _number(rate(state.rate)),
        "predictedFundingFeeRate": None,
        "fundingRateGranularity": listing.funding_hours * HOUR_MS,
        "openInterest": str(state.open_interest),
        "markPrice": _number(mark(listing, state.mark)),
        "indexPrice": _number(mark(listing, state.index)),
        **{name: known.get(name) for name in names},
        "nextFundingRateTime": max(0, state.next_us - request.now_us) // 1_000,
        "nextFundingRateDateTime": state.next_us // 1_000,
        "maxLeverage": 125,
        "supportCross": True,
    }


def _one_contract(request: Request) -> dict[str, Any]:
    return _contract(request, request.listing())


def _active(request: Request) -> list[dict[str, Any]]:
    return [_contract(request, listing) for listing in request.listed]


_GRANULARITIES = {str(minutes): minutes for minutes in MINUTES.values()}


def _klines(request: Request) -> list[list[Any]]:
    """Oldest first, at most two hundred."""
    listing = request.listing()
    minutes = _GRANULARITIES.get(request.query.get("granularity", ""))
    if minutes is None:
        raise RefusedError("400100", "granularity is invalid")
    start, end = request.period("from", "to")
    found = [past for past in request.candles(listing, minutes) if start <= past.start_us // 1_000 <= end]
    return [
        [
            past.start_us // 1_000,
            *(
                _number(decimal(tick * listing.tick_units, listing.price_places))
                for tick in (past.open, past.high, past.low, past.close)
            ),
            past.lots,
        ]
        for past in found[:_PAGE]
    ]


def _trade_history(request: Request) -> list[dict[str, Any]]:
    listing = request.listing()
    return [
        {
            "sequence": number * TRADE_STEP,
            "contractId": 1,
            "tradeId": str(number * TRADE_STEP),
            "makerOrderId": str(number * TRADE_STEP - 1),
            "takerOrderId": str(number * TRADE_STEP),
            "ts": when_us * 1_000,
            "size": lots,
            "price": decimal(tick * listing.tick_units, listing.price_places),
            "side": "buy" if buy else "sell",
        }
        for when_us, tick, lots, buy, number in request.latest_trades(listing)
    ]


def _funding_rates(request: Request) -> list[dict[str, Any]]:
    """Newest first, at most a hundred."""
    listing = request.listing()
    start, end = request.period("from", "to")
    found = [
        {"symbol": listing.venue_symbol, "fundingRate": _number(rate(paid.rate)), "timepoint": paid.when_us // 1_000}
        for paid in request.history(listing).settlements(request.now_us)
        if start <= paid.when_us // 1_000 <= end
    ]
    return found[: -_SETTLEMENTS - 1 : -1]


def _current_rate(request: Request) -> dict[str, Any]:
    """The rate in force and when it is paid."""
    listing = request.listing()
    state, interval_ms = request.history(listing).second(request.now_us), listing.funding_hours * HOUR_MS
    return {
        "symbol": f".{listing.venue_symbol}FPI{listing.funding_hours}H",
        "granularity": interval_ms,
        "timePoint": state.next_us // 1_000 - interval_ms,
        "value": _number(rate(state.rate)),
        "dailyInterestRate": 3e-4,
        "fundingRateCap": 0.003,
        "fundingRateFloor": -0.003,
        "period": 1,
        "fundingTime": state.next_us // 1_000,
    }


def _ticker(request: Request) -> dict[str, Any]:
    """The last trade and the best quotes."""
    listing = request.listing()
    touch = request.history(listing).minute(request.now_us).touch(request.now_us)
    last = request.latest_trades(listing)[0]
    when_us, tick, lots, buy, number = last
    return {
        "sequence": sequence(touch.when_us),
        "symbol": listing.venue_symbol,
        "side": "buy" if buy else "sell",
        "size": lots,
        "tradeId": str(number * TRADE_STEP),
        "price": decimal(tick * listing.tick_units, listing.price_places),
        "bestBidPrice": decimal(touch.bid * listing.tick_units, listing.price_places),
        "bestBidSize": touch.bid_lots,
        "bestAskPrice": decimal(touch.ask * listing.tick_units, listing.price_places),
        "bestAskSize": touch.ask_lots,
        "ts": when_us * 1_000,
    }


def _book(request: Request) -> dict[str, Any]:
    listing = request.listing()
    books, row = request.book(listing)

    def side(ticks: Ints, lots: Ints) -> list[tuple[str, int]]:
        return list(zip(price(listing, ticks[row]), lots[row].tolist(), strict=True))

    return {
        "sequence": sequence(int(books.last_us[row])),
        "symbol": listing.venue_symbol,
        "bids": side(books.bid, books.bid_lots),
        "asks": side(books.ask, books.ask_lots),
        "ts": request.now_us * 1_000,
    }


ENDPOINTS: dict[str, tuple[Endpoint, int]] = {
    "/api/v1/timestamp": (_timestamp, 2),
    "/api/v1/contracts/active": (_active, 3),
    "/api/v1/contracts/{}": (_one_contract, 3),
    "/api/v1/kline/query": (_klines, 3),
    "/api/v1/trade/history": (_trade_history, 5),
    "/api/v1/contract/funding-rates": (_funding_rates, 5),
    "/api/v1/funding-rate/{}/current": (_current_rate, 2),
    "/api/v1/ticker": (_ticker, 2),
    "/api/v1/level2/snapshot": (_book, 3),
    "/api/v1/level2/depth20": (_book, 5),
}
"""By path, with ``{}`` for a symbol: what answers, and its weight."""
