"""The past of Binance over REST.

Source: developers.binance.com, "Market Data Endpoints" of USDⓈ-M futures and of spot; times in milliseconds, both ends
of a span included.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, Pages, Request

_TRADES = 1000
_SETTLEMENTS = 1000
_SHORTEST_SETTLEMENT_US = HOUR_US
_INTERESTS = 500
_INTEREST_PERIOD_US = 5 * MINUTE_US
_INTEREST_REACH_S = 30 * 24 * 3600.0


def candles(path: str, weights: Sequence[tuple[int, int]], symbol: str, start_us: int, end_us: int) -> Pages:
    """One-minute bars that open within the span; ``weights`` are limits, the last the highest, and what each costs."""
    most = weights[-1][0]
    for begin, end in spans(start_us, end_us, most * MINUTE_US):
        limit = min(most, (end - begin) // MINUTE_US + 1)
        weight = next(weight for allowed, weight in weights if limit <= allowed)
        query = f"symbol={symbol}&interval=1m&{_between(begin, end)}&limit={limit}"
        yield Request(f"{path}?{query}", weight=weight)


def aggregated_trades(path: str, weight: int, symbol: str, start_us: int, end_us: int) -> Pages:
    """The first trades of the span by time (an hour at most), the others by their ids."""
    for begin, end in spans(start_us, end_us, HOUR_US):
        page = yield Request(f"{path}?symbol={symbol}&{_between(begin, end)}&limit={_TRADES}", weight=weight)
        while len(page) == _TRADES and page[-1]["T"] * 1000 < end:
            page = yield _from_id(path, weight, symbol, page[-1]["a"] + 1, _TRADES)


def single_trades(
    path: str, weight: int, aggregated: str, aggregated_weight: int, symbol: str, start_us: int, end_us: int
) -> Pages:
    """Single trades can be asked for by id only; the first id of an hour is in its first aggregated trade."""
    for begin, end in spans(start_us, end_us, HOUR_US):
        found = yield Request(f"{aggregated}?symbol={symbol}&{_between(begin, end)}&limit=1", weight=aggregated_weight)
        first = found[0]["f"] if found else None
        while first is not None:
            page = yield _from_id(path, weight, symbol, first, _TRADES)
            more = len(page) == _TRADES and page[-1]["time"] * 1000 < end
            first = page[-1]["id"] + 1 if more else None


def numbered(path: str, weight: int, key: str, symbol: str, first: int, last: int) -> Pages:
    """Trades by their ids, which are called ``key``."""
    while first <= last:
        page: list[dict[str, Any]] = yield _from_id(path, weight, symbol, first, min(_TRADES, last - first + 1))
        if not page:
            return
        first = page[-1][key] + 1


def _from_id(path: str, weight: int, symbol: str, first: int, limit: int) -> Request:
    return Request(f"{path}?symbol={symbol}&fromId={first}&limit={limit}", weight=weight)


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


_FUTURES_TRADES = "/fapi/v1/aggTrades", 20
_SPOT_AGGREGATED = "/api/v3/aggTrades", 4
_SPOT_TRADES = "/api/v3/historicalTrades", 25

FUTURES_HISTORIES = {
    "trades": History(
        "rest/aggTrades[]", partial(aggregated_trades, *_FUTURES_TRADES), partial(numbered, *_FUTURES_TRADES, "a")
    ),
    "candles": History(
        "rest/klines[]", partial(candles, "/fapi/v1/klines", ((99, 1), (499, 2), (1000, 5), (1500, 10)))
    ),
    "funding_rates": History("rest/fundingRate[]", funding_rates),
    "open_interest": History("rest/openInterestHist[]", open_interest, reach_s=_INTEREST_REACH_S),
}

SPOT_HISTORIES = {
    "trades": History(
        "rest/historicalTrades[]",
        partial(single_trades, *_SPOT_TRADES, *_SPOT_AGGREGATED),
        partial(numbered, *_SPOT_TRADES, "id"),
    ),
    "candles": History("rest/klines[]", partial(candles, "/api/v3/klines", ((1000, 2),))),
}
