"""The past of Bybit over REST.

Source: bybit-exchange.github.io/docs/v5, "Market": Get Kline, Get Recent Public Trades, Get Funding Rate History, Get
Open Interest; times in milliseconds, both ends of a span included, newest first.
"""

from __future__ import annotations

from functools import partial

from orderflow_streaming.exchanges.bybit.answers import ROOT
from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, OutOfReachError, Pages, Request

_CANDLES = 1000
_SETTLEMENTS = 200
_INTERESTS = 200
_INTEREST_PERIOD_US = 5 * MINUTE_US
_RECENT_TRADES = {"linear": 1000, "spot": 60}


def candles(category: str, symbol: str, start_us: int, end_us: int) -> Pages:
    """One-minute bars that open within the span."""
    for begin, end in spans(start_us, end_us, _CANDLES * MINUTE_US):
        query = f"category={category}&symbol={symbol}&interval=1&{_between(begin, end, 'start', 'end')}"
        yield Request(f"{ROOT}kline?{query}&limit={_CANDLES}")


def trades(category: str, symbol: str, start_us: int, end_us: int) -> Pages:
    """The latest trades; no older ones can be asked for."""
    most = _RECENT_TRADES[category]
    answer = yield Request(f"{ROOT}recent-trade?category={category}&symbol={symbol}&limit={most}")
    rows = answer["result"]["list"]
    if len(rows) == most and min(int(row["time"]) for row in rows) * 1000 >= start_us:
        raise OutOfReachError(f"the venue gives again only the last {most} trades")


def funding_rates(category: str, symbol: str, start_us: int, end_us: int) -> Pages:
    """Rates as they were settled, once an hour at most."""
    for begin, end in spans(start_us, end_us, _SETTLEMENTS * HOUR_US):
        query = f"category={category}&symbol={symbol}&{_between(begin, end, 'startTime', 'endTime')}"
        yield Request(f"{ROOT}funding/history?{query}&limit={_SETTLEMENTS}")


def open_interest(category: str, symbol: str, start_us: int, end_us: int) -> Pages:
    """Every five minutes."""
    for begin, end in spans(start_us, end_us, _INTERESTS * _INTEREST_PERIOD_US):
        query = f"category={category}&symbol={symbol}&intervalTime=5min&{_between(begin, end, 'startTime', 'endTime')}"
        yield Request(f"{ROOT}open-interest?{query}&limit={_INTERESTS}")


def _between(start_us: int, end_us: int, first: str, last: str) -> str:
    return f"{first}={-(-start_us // 1000)}&{last}={-(-end_us // 1000) - 1}"


SPOT_HISTORIES = {
    "trades": History("rest/recent-trade", partial(trades, "spot")),
    "candles": History("rest/kline", partial(candles, "spot")),
}
LINEAR_HISTORIES = {
    "trades": History("rest/recent-trade", partial(trades, "linear")),
    "candles": History("rest/kline", partial(candles, "linear")),
    "funding_rates": History("rest/funding/history", partial(funding_rates, "linear")),
    "open_interest": History("rest/open-interest", partial(open_interest, "linear")),
}
