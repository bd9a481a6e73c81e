"""The past of KuCoin's markets over REST.

Source: www.kucoin.com/docs-new, "Get Klines", "Get Trade History" of both markets, "Get Public Funding History".
Trades go back only as far as the latest hundred. Times of spot candles are seconds, all others milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, OutOfReachError, Pages, Request

Spelling = Callable[[str], str]
"""The venue's symbol for a neutral one."""

_SPOT_CANDLES = 1500
_SPOT_CANDLES_WEIGHT = 3
_SPOT_TRADES_WEIGHT = 3
_FUTURES_CANDLES = 200
_FUTURES_CANDLES_WEIGHT = 3
_FUTURES_TRADES_WEIGHT = 5
_SETTLEMENTS_US = 100 * HOUR_US
"""Longest span that is answered whole where a contract settles every hour."""
_SETTLEMENTS_WEIGHT = 5


def spot_histories(spelled: Spelling) -> dict[str, History]:
    def candles(symbol: str, start_us: int, end_us: int) -> Pages:
        """One-minute bars that open within the span."""
        for begin, end in spans(start_us, end_us, _SPOT_CANDLES * MINUTE_US):
            between = f"startAt={_up(begin, 1_000_000)}&endAt={_up(end, 1_000_000)}"
            path = f"/api/v1/market/candles?symbol={spelled(symbol)}&type=1min&{between}"
            yield Request(path, weight=_SPOT_CANDLES_WEIGHT)

    def trades(symbol: str, start_us: int, end_us: int) -> Pages:
        request = Request(f"/api/v1/market/histories?symbol={spelled(symbol)}", weight=_SPOT_TRADES_WEIGHT)
        return _latest_trades(request, "time", start_us)

    return {"trades": History("rest/histories", trades), "candles": History("rest/candles", candles)}


def futures_histories(spelled: Spelling) -> dict[str, History]:
    def candles(symbol: str, start_us: int, end_us: int) -> Pages:
        """One-minute bars that open within the span."""
        for begin, end in spans(start_us, end_us, _FUTURES_CANDLES * MINUTE_US):
            path = f"/api/v1/kline/query?symbol={spelled(symbol)}&granularity=1&{_between(begin, end)}"
            yield Request(path, weight=_FUTURES_CANDLES_WEIGHT)

    def trades(symbol: str, start_us: int, end_us: int) -> Pages:
        request = Request(f"/api/v1/trade/history?symbol={spelled(symbol)}", weight=_FUTURES_TRADES_WEIGHT)
        return _latest_trades(request, "ts", start_us)

    def funding_rates(symbol: str, start_us: int, end_us: int) -> Pages:
        """Rates as they were settled."""
        for begin, end in spans(start_us, end_us, _SETTLEMENTS_US):
            path = f"/api/v1/contract/funding-rates?symbol={spelled(symbol)}&{_between(begin, end)}"
            yield Request(path, weight=_SETTLEMENTS_WEIGHT)

    return {
        "trades": History("rest/trade/history", trades),
        "candles": History("rest/kline/query", candles),
        "funding_rates": History("rest/funding-rates", funding_rates),
    }


def _latest_trades(request: Request, time: str, start_us: int) -> Pages:
    """The latest hundred; raises OutOfReachError where the span begins before them."""
    answer = yield request
    oldest_us = min((int(row[time]) // 1000 for row in answer["data"]), default=None)
    if oldest_us is None or oldest_us > start_us:
        since = "none" if oldest_us is None else f"those since {datetime.fromtimestamp(oldest_us / 1e6, UTC):%H:%M:%S}"
        raise OutOfReachError(f"the venue offers the latest hundred trades: {since}")


def _between(start_us: int, end_us: int) -> str:
    return f"from={_up(start_us, 1000)}&to={_up(end_us, 1000) - 1}"


def _up(microseconds: int, unit: int) -> int:
    """In a larger unit, rounded up."""
    return -(-microseconds // unit)
