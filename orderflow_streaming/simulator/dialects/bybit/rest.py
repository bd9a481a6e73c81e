"""REST of Bybit (``/v5/market``), answered from the simulated past.

Limits and error bodies follow bybit-exchange.github.io/docs/v5 (market, error codes, rate limit rules).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from orderflow_streaming.simulator.candles import DAY_MINUTES, MINUTES
from orderflow_streaming.simulator.dialects.bybit.frames import sequence, trade_ids
from orderflow_streaming.simulator.dialects.bybit.tickers import (
    contract_fields,
    linear_fields,
    spot_fields,
    touch_fields,
)
from orderflow_streaming.simulator.dialects.dialect import RestAnswer, RestCall
from orderflow_streaming.simulator.history import INTEREST_PERIODS, History, Interest
from orderflow_streaming.simulator.text import decimal, decimals
from orderflow_streaming.simulator.venue import Listing

ROOT = "/v5/market/"
_PARAMETER = 10001
_TOO_OFTEN = 10018
_DEPTH = 20
_MOST_RECENT = {"linear": 1_000, "spot": 60}


class RefusedError(Exception):
    """A request the exchange answers with a code."""


class Request:
    """One request and what may be asked of it."""

    def __init__(self, category: str, listings: Mapping[str, Listing], call: RestCall) -> None:
        self.category, self.query, self.now_us = category, call.query, call.now_us
        self._history = {
            listings[symbol].venue_symbol: (listings[symbol], past) for symbol, past in call.history.items()
        }

    @property
    def spot(self) -> bool:
        return self.category == "spot"

    @property
    def asked(self) -> list[tuple[Listing, History]]:
        """The symbol asked for, or all."""
        if "symbol" not in self.query:
            return list(self._history.values())
        found = self._history.get(self.query["symbol"])
        return [found] if found else []

    def one(self) -> tuple[Listing, History]:
        try:
            return self._history[self.query.get("symbol", "")]
        except KeyError:
            raise RefusedError("params error: symbol invalid") from None

    def number(self, name: str, default: int) -> int:
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isdigit():
            raise RefusedError(f"params error: {name} invalid")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        return max(1, min(most, self.number("limit", default)))

    def rows(self, rows: list[Any]) -> dict[str, Any]:
        return {"category": self.category, "list": rows}


def answer(category: str, listings: Mapping[str, Listing], call: RestCall) -> RestAnswer:
    """Body and status for a path such as ``/v5/market/time``."""
    endpoint = _ENDPOINTS.get(call.path.removeprefix(ROOT)) if call.path.startswith(ROOT) else None
    if endpoint is None or call.method != "GET":
        return RestAnswer(404, b"<html><body><h2>404 Not found</h2></body></html>")
    asked = call.query.get("category", category)
    if asked != category:
        return _body(call.now_us, {}, _PARAMETER, f"params error: category {asked} is not simulated here")
    try:
        return _body(call.now_us, endpoint(Request(category, listings, call)))
    except RefusedError as refused:
        return _body(call.now_us, {}, _PARAMETER, str(refused))


def rate_limited(now_us: int) -> RestAnswer:
    """The refusal of an address that asks too much."""
    return _body(now_us, {}, _TOO_OFTEN, "access too frequent", status=403)


def _body(now_us: int, result: Any, code: int = 0, text: str = "OK", status: int = 200) -> RestAnswer:
    body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": now_us // 1_000}
    return RestAnswer(status, msgspec.json.encode(body))


def _time(request: Request) -> Any:
    return {"timeSecond": str(request.now_us // 1_000_000), "timeNano": str(request.now_us * 1_000)}


def _instruments(request: Request) -> Any:
    make = _pair if request.spot else _contract
    return {**request.rows([make(listing) for listing, _ in request.asked]), "nextPageCursor": ""}


def _contract(listing: Listing) -> dict[str, Any]:
    tick, lot = decimal(listing.tick_units, listing.price_places), decimal(1, listing.lot_places)
    return {
        "symbol": listing.venue_symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": listing.venue_symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(listing.price_places),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
        "lotSizeFilter": {"maxOrderQty": "1190.000", "minOrderQty": lot, "qtyStep": lot, "minNotionalValue": "5"},
        "unifiedMarginTrade": True,
        "fundingInterval": listing.funding_hours * 60,
        "settleCoin": "USDT",
        "copyTrading": "both",
        "upperFundingRate": "0.02",
        "lowerFundingRate": "-0.02",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "displayName": "",
        "symbolType": "",
    }


def _pair(listing: Listing) -> dict[str, Any]:
    tick, lot = decimal(listing.tick_units, listing.price_places), decimal(1, listing.lot_places)
    return {
        "symbol": listing.venue_symbol,
        "baseCoin": listing.venue_symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {"basePrecision": lot, "quotePrecision": "0.0000001", "minOrderQty": lot, "minOrderAmt": "5"},
        "priceFilter": {"tickSize": tick},
        "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
        "symbolType": "",
    }


def _orderbook(request: Request) -> Any:
    listing, history = request.one()
    books = history.minute(request.now_us).books
    row = max(0, int(np.searchsorted(books.push_us, request.now_us)) - 1)
    depth = request.limit(1 if request.spot else 25, _DEPTH)

    def side(ticks: Any, lots: Any) -> list[tuple[str, str]]:
        prices = decimals(ticks[row, :depth] * listing.tick_units, listing.price_places)
        return list(zip(prices, decimals(lots[row, :depth], listing.lot_places), strict=True))

    last_us = int(books.last_us[row])
    return {
        "s": listing.venue_symbol,
        "b": side(books.bid, books.bid_lots),
        "a": side(books.ask, books.ask_lots),
        "ts": request.now_us // 1_000,
        "u": int(books.number[row]),
        "seq": sequence(last_us),
        "cts": last_us // 1_000,
    }


_INTERVALS = {str(minutes): minutes for minutes in MINUTES.values() if minutes < DAY_MINUTES} | {"D": DAY_MINUTES}


def _kline(request: Request) -> Any:
    listing, history = request.one()
    minutes = _INTERVALS.get(request.query.get("interval", ""))
    if minutes is None:
        raise RefusedError("Invalid period!")
    start, end = request.number("start", 0), request.number("end", 2**62)
    found = [past for past in history.candles(request.now_us, minutes) if start <= past.start_us // 1_000 <= end]
    places, units, lots = listing.price_places, listing.tick_units, listing.lot_places
    rows = [
        [
            str(past.start_us // 1_000),
            *(decimal(tick * units, places) for tick in (past.open, past.high, past.low, past.close)),
            decimal(past.lots, lots),
            decimal(past.value * units, places + lots),
        ]
        for past in reversed(found[-request.limit(200, 1_000) :])
    ]
    return {"category": request.category, "symbol": listing.venue_symbol, "list": rows}


def _recent_trades(request: Request) -> Any:
    listing, history = request.one()
    trades = history.trades(request.now_us)
    most = _MOST_RECENT[request.category]
    part = slice(max(0, len(trades) - request.limit(60 if request.spot else 500, most)), None)
    columns = zip(
        trade_ids(listing, trades.order_id[part], spot=request.spot),
        decimals(trades.tick[part] * listing.tick_units, listing.price_places),
        decimals(trades.lots[part], listing.lot_places),
        trades.buy[part].tolist(),
        trades.when_us[part].tolist(),
        strict=True,
    )
    rows = [
        {
            "execId": identity,
            "symbol": listing.venue_symbol,
            "price": price,
            "size": size,
            "side": "Buy" if buy else "Sell",
            "time": str(when // 1_000),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(sequence(when)),
        }
        for identity, price, size, buy, when in columns
    ]
    return request.rows(rows[::-1])


def _funding_history(request: Request) -> Any:
    listing, history = request.one()
    start, end = request.number("startTime", 0), request.number("endTime", 2**62)
    rows = [
        {
            "symbol": listing.venue_symbol,
            "fundingRate": f"{paid.rate:.8f}",
            "fundingRateTimestamp": str(paid.when_us // 1_000),
        }
        for paid in reversed(history.settlements(request.now_us))
        if start <= paid.when_us // 1_000 <= end
    ]
    return request.rows(rows[: request.limit(200, 200)])


_PERIODS = {
    f"{name}in" if name.endswith("m") else name: INTEREST_PERIODS[name]
    for name in ("5m", "15m", "30m", "1h", "4h", "1d")
}


def _statistics(request: Request, period: str, most: int, row: Callable[[Listing, Interest], dict[str, str]]) -> Any:
    """A row for each period, newest first; ``period`` is the name of the parameter that asks for them."""
    listing, history = request.one()
    minutes = _PERIODS.get(request.query.get(period, ""))
    if minutes is None:
        raise RefusedError(f"params error: {period} invalid")
    start, end = request.number("startTime", 0), request.number("endTime", 2**62)
    rows = [
        row(listing, past) | {"timestamp": str(past.when_us // 1_000)}
        for past in reversed(history.interests(request.now_us, minutes))
        if start <= past.when_us // 1_000 <= end
    ]
    return request.rows(rows[: request.limit(50, most)]) | {"nextPageCursor": ""}


def _open_interest(request: Request) -> Any:
    listing, _ = request.one()
    answer = _statistics(request, "intervalTime", 200, _interest)
    return answer | {"symbol": listing.venue_symbol}


def _interest(listing: Listing, past: Interest) -> dict[str, str]:
    return {"openInterest": decimal(past.lots, listing.lot_places)}


def _account_ratio(request: Request) -> Any:
    return _statistics(request, "period", 500, _long_short)


def _long_short(listing: Listing, past: Interest) -> dict[str, str]:
    share = past.positioning.accounts / (1 + past.positioning.accounts)
    return {"symbol": listing.venue_symbol, "buyRatio": f"{share:.4f}", "sellRatio": f"{1 - share:.4f}"}


def _tickers(request: Request) -> Any:
    rows = []
    for listing, history in request.asked:
        minute, now_us = history.minute(request.now_us), request.now_us
        if request.spot:
            fields = spot_fields(minute, now_us) | touch_fields(minute, now_us)
        else:
            fields = linear_fields(minute, now_us, None) | contract_fields(listing, history.second(now_us))
        rows.append({"symbol": listing.venue_symbol, **fields})
    return request.rows(rows)


_ENDPOINTS: dict[str, Callable[[Request], Any]] = {
    "time": _time,
    "instruments-info": _instruments,
    "orderbook": _orderbook,
    "kline": _kline,
    "recent-trade": _recent_trades,
    "funding/history": _funding_history,
    "open-interest": _open_interest,
    "account-ratio": _account_ratio,
    "tickers": _tickers,
}
