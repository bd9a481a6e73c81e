"""The past of Binance USDⓈ-M futures over REST.

Source: developers.binance.com, USDⓈ-M Futures, "Market Data Endpoints": Kline/Candlestick Data, Compressed/Aggregate
Trades List, Get Funding Rate History, Open Interest Statistics; times in milliseconds, both ends of a span included.
"""

from __future__ import annotations

from typing import Any

from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, Pages, Request

_CANDLES = 1500
_CANDLE_WEIGHTS = ((99, 1), (499, 2), (1000, 5), (_CANDLES, 10))
"""Highest limit and the weight it costs."""
_TRADES = 1000
_TRADE_WEIGHT = 20
_SETTLEMENTS = 1000
_SHORTEST_SETTLEMENT_US = HOUR_US
_INTERESTS = 500
_INTEREST_PERIOD_US = 5 * MINUTE_US
_INTEREST_REACH_S = 30 * 24 * 3600.0


def candles(symbol: str, start_us: int, end_us: int) -> Pages:
    """One-minute bars that open within the span."""
    for begin, end in spans(start_us, end_us, _CANDLES * MINUTE_US):
        limit = min(_CANDLES, (end - begin) // MINUTE_US + 1)
        weight = next(weight for most, weight in _CANDLE_WEIGHTS if limit <= most)
        query = f"symbol={symbol}&interval=1m&{_between(begin, end)}&limit={limit}"
        yield Request(f"/fapi/v1/klines?{query}", weight=weight)


def trades(symbol: str, start_us: int, end_us: int) -> Pages:
    """Aggregated trades: the first of the span by time (an hour at most), the others by their ids."""
    for begin, end in spans(start_us, end_us, HOUR_US):
        path = f"/fapi/v1/aggTrades?symbol={symbol}&{_between(begin, end)}&limit={_TRADES}"
        page = yield Request(path, weight=_TRADE_WEIGHT)
        while len(page) == _TRADES and page[-1]["T"] * 1000 < end:
            page = yield _from_id(symbol, page[-1]["a"] + 1, _TRADES)


def numbered_trades(symbol: str, first: int, last: int) -> Pages:
    """Aggregated trades by their ids."""
    while first <= last:
        page: list[dict[str, Any]] = yield _from_id(symbol, first, min(_TRADES, last - first + 1))
        if not page:
            return
        first = page[-1]["a"] + 1


def _from_id(symbol: str, first: int, limit: int) -> Request:
    return Request(f"/fapi/v1/aggTrades?symbol={symbol}&fromId={first}&limit={limit}", weight=_TRADE_WEIGHT)


def funding_rates(symbol: str, start_us: int, end_us: int) -> Pages:
    """Rates as they were settled."""
    for begin, end in spans(start_us, end_us, _SETTLEMENTS * _SHORTEST_SETTLEMENT_US):
        yield Request(f"/fapi/v1/fundingRate?symbol={symbol}&{_between(begin, end)}&limit={_SETTLEMENTS}")


def open_interest(symbol: str, start_us: int, end_us: int) -> Pages:
    """Every five minutes."""
    for begin, end in spans(start_us, end_us, _INTERESTS * _INTEREST_PERIOD_US):
        query = f"symbol={symbol}&period=5m&{_between(begin, end)}&limit={_INTERESTS}"
        yield Request(f"/futures/data/openInterestHist?{query}")


def _between(start_us: int, end_us: int) -> str:
    return f"startTime={-(-start_us // 1000)}&endTime={-(-end_us // 1000) - 1}"


HISTORIES = {
    "trades": History("rest/aggTrades[]", trades, numbered_trades),
    "candles": History("rest/klines[]", candles),
    "funding_rates": History("rest/fundingRate[]", funding_rates),
    "open_interest": History("rest/openInterestHist[]", open_interest, reach_s=_INTEREST_REACH_S),
}
