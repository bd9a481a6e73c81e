"""The past of Hyperliquid over REST.

Source: hyperliquid.gitbook.io/hyperliquid-docs, "Info endpoint" and "Rate limits and user limits", read 2026-11.
Requests are posted to ``/info`` and weigh 20, more where the answer is long; times in milliseconds, both ends included.
"""

from __future__ import annotations

from typing import Any

import msgspec

from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, OutOfReachError, Pages, Request

_WEIGHT = 20
_CANDLES = 1200
_CANDLES_A_WEIGHT = 60
_CANDLE_REACH_S = 5_000 * 60.0
"""Only the latest 5,000 bars are kept."""
_SETTLEMENTS = 500
_ROWS_A_WEIGHT = 20


def coin(symbol: str) -> str:
    """``BTC`` for ``BTCUSDT``; settled in USDC."""
    return symbol.removesuffix("USDT")


def info(kind: str, rows: int = 0, rows_a_weight: int = _ROWS_A_WEIGHT, **arguments: Any) -> Request:
    """The request for information of a kind, whose answer has at most so many rows."""
    body = msgspec.json.encode({"type": kind, **arguments})
    return Request("/info", body, _WEIGHT + -(-rows // rows_a_weight))


def candles(symbol: str, start_us: int, end_us: int) -> Pages:
    """One-minute bars that open within the span."""
    for begin, end in spans(start_us, end_us, _CANDLES * MINUTE_US):
        rows = (end - begin) // MINUTE_US + 1
        asked = {"coin": coin(symbol), "interval": "1m", **_between(begin, end)}
        yield info("candleSnapshot", rows, _CANDLES_A_WEIGHT, req=asked)


def funding_rates(symbol: str, start_us: int, end_us: int) -> Pages:
    """Rates as they were settled, every hour."""
    for begin, end in spans(start_us, end_us, _SETTLEMENTS * HOUR_US):
        rows = (end - begin) // HOUR_US + 1
        yield info("fundingHistory", rows, coin=coin(symbol), **_between(begin, end))


def trades(symbol: str, start_us: int, end_us: int) -> Pages:
    """The latest trades, about ten, which is all the venue gives again."""
    latest = yield info("recentTrades", _ROWS_A_WEIGHT, coin=coin(symbol))
    if not latest or min(trade["time"] for trade in latest) * 1000 > start_us:
        raise OutOfReachError(f"the venue gives the latest {len(latest)} trades only")


def _between(start_us: int, end_us: int) -> dict[str, int]:
    return {"startTime": -(-start_us // 1000), "endTime": -(-end_us // 1000) - 1}


HISTORIES = {
    "trades": History("rest/recentTrades", trades),
    "candles": History("rest/candleSnapshot", candles, reach_s=_CANDLE_REACH_S),
    "funding_rates": History("rest/fundingHistory", funding_rates),
}
