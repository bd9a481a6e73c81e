"""The past of OKX swaps over REST.

Source: www.okx.com/docs-v5: Get candlesticks history, Get trades history, Get funding rate history, Get contract open
interest history. Times in milliseconds; ``after`` asks for what is older and ``before`` for what is newer, both ends
excluded, and answers come newest first.
"""

from __future__ import annotations

from collections.abc import Iterator

from orderflow_streaming.exchanges.okx.answers import INTEREST_PERIOD_MS
from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, Pages, Request

STATISTICS = "/api/v5/rubik/stat/contracts/"
_PAGE = 100
_FUNDING_WEIGHT = 2
STATISTICS_WEIGHT = 4
"""Requests of the usual kind that one of these stands for: 20, 10 and 5 are allowed in two seconds."""
_SHORTEST_SETTLEMENT_US = HOUR_US
_INTEREST_PERIOD_US = INTEREST_PERIOD_MS * 1000
_QUARTER_S = 90 * 24 * 3600.0
_INTEREST_REACH_S = 1_440 * INTEREST_PERIOD_MS / 1000


def swap(symbol: str) -> str:
    """``BTC-USDT-SWAP`` for ``BTCUSDT``."""
    return f"{symbol.removesuffix('USDT')}-USDT-SWAP"


def candles(symbol: str, start_us: int, end_us: int) -> Pages:
    """One-minute bars that open within the span. The last day may be only where the running bars are."""
    for begin, end, between in _pages(start_us, end_us, MINUTE_US):
        query = f"instId={swap(symbol)}&bar=1m&{between}&limit={_PAGE}"
        page = yield Request(f"/api/v5/market/history-candles?{query}")
        if len(page["data"]) < (end - begin) // MINUTE_US:
            yield Request(f"/api/v5/market/candles?{query}")


def trades(symbol: str, start_us: int, end_us: int) -> Pages:
    """Single fills, newest first: the first page by time, the others by their ids."""
    start_ms = start_us / 1000
    page = yield _trades_before(symbol, f"type=2&after={-(-end_us // 1000)}")
    while page["data"] and int(page["data"][-1]["ts"]) >= start_ms:
        page = yield _trades_before(symbol, f"type=1&after={page['data'][-1]['tradeId']}")


def numbered_trades(symbol: str, first: int, last: int) -> Pages:
    """Single fills by their ids, newest first."""
    while first <= last:
        page = yield _trades_before(symbol, f"type=1&after={last + 1}", min(_PAGE, last - first + 1))
        if not page["data"]:
            return
        last = int(page["data"][-1]["tradeId"]) - 1


def _trades_before(symbol: str, cursor: str, limit: int = _PAGE) -> Request:
    return Request(f"/api/v5/market/history-trades?instId={swap(symbol)}&{cursor}&limit={limit}")


def funding_rates(symbol: str, start_us: int, end_us: int) -> Pages:
    """Rates as they were settled."""
    for _, _, between in _pages(start_us, end_us, _SHORTEST_SETTLEMENT_US):
        query = f"instId={swap(symbol)}&{between}&limit={_PAGE}"
        yield Request(f"/api/v5/public/funding-rate-history?{query}", weight=_FUNDING_WEIGHT)


def open_interest(symbol: str, start_us: int, end_us: int) -> Pages:
    """Every five minutes; a row is of the end of its period and named after the beginning."""
    for begin, end in spans(start_us - _INTEREST_PERIOD_US, end_us - _INTEREST_PERIOD_US, _PAGE * _INTEREST_PERIOD_US):
        between = f"begin={-(-begin // 1000)}&end={-(-end // 1000) - 1}"
        query = f"instId={swap(symbol)}&period=5m&{between}&limit={_PAGE}"
        yield Request(f"{STATISTICS}open-interest-history?{query}", weight=STATISTICS_WEIGHT)


def _pages(start_us: int, end_us: int, period_us: int) -> Iterator[tuple[int, int, str]]:
    """Spans that a page holds all rows of, with the query of what lies in them."""
    for begin, end in spans(start_us, end_us, _PAGE * period_us):
        yield begin, end, f"before={-(-begin // 1000) - 1}&after={-(-end // 1000)}"


HISTORIES = {
    "trades": History("rest/history-trades", trades, numbered_trades, reach_s=_QUARTER_S),
    "candles": History("rest/history-candles", candles),
    "funding_rates": History("rest/funding-rate-history", funding_rates, reach_s=_QUARTER_S),
    "open_interest": History("rest/open-interest-history", open_interest, reach_s=_INTEREST_REACH_S),
}
