"""Binance messages with chosen values, for tests that check what is stored of them. ``at`` is epoch milliseconds."""

from __future__ import annotations

import json
from typing import Any

START_MS = 1_760_000_000_000
"""2025-10-09 08:53:20 UTC."""


def _topic(symbol: str, suffix: str, event: str, data: dict[str, Any]) -> bytes:
    body = {"e": event, "s": symbol, **data}
    return json.dumps({"stream": f"{symbol.lower()}@{suffix}", "data": body}, separators=(",", ":")).encode()


def quote(at: int, update: int, bid: str = "100.0", ask: str = "100.1", symbol: str = "BTCUSDT") -> bytes:
    prices = {"b": bid, "B": "2.0", "a": ask, "A": "3.0"}
    return _topic(symbol, "bookTicker", "bookTicker", {"u": update, **prices, "T": at, "E": at})


def trade(at: int, identity: int, price: str = "100.0", quantity: str = "1.5", symbol: str = "BTCUSDT") -> bytes:
    values = {"a": identity, "p": price, "q": quantity, "f": identity, "l": identity}
    return _topic(symbol, "aggTrade", "aggTrade", {"E": at, **values, "T": at, "m": False})


def book(at: int, update: int, symbol: str = "BTCUSDT") -> bytes:
    bids = [[f"{100 - level / 10:.1f}", "1.0"] for level in range(20)]
    asks = [[f"{100.1 + level / 10:.1f}", "2.0"] for level in range(20)]
    ids = {"U": update, "u": update, "pu": update - 1}
    return _topic(symbol, "depth20@100ms", "depthUpdate", {"E": at, "T": at, **ids, "b": bids, "a": asks})


def mark(
    at: int, price: str = "100.0", rate: str = "0.0001", settles: int = 1_760_025_600_000, symbol: str = "BTCUSDT"
) -> bytes:
    values = {"p": price, "i": price, "P": price, "r": rate, "T": settles}
    return _topic(symbol, "markPrice@1s", "markPriceUpdate", {"E": at, **values})


def candle(opens: int, close: str = "100.0", count: int = 1, closed: bool = False, symbol: str = "BTCUSDT") -> bytes:
    span = {"t": opens, "T": opens + 59_999, "s": symbol, "i": "1m", "f": 1, "L": count}
    prices = {"o": "100.0", "c": close, "h": "200.0", "l": "50.0"}
    sums = {"v": f"{count}.0", "n": count, "x": closed, "q": "100.0", "V": "0.5", "Q": "50.0", "B": "0"}
    return _topic(symbol, "kline_1m", "kline", {"E": opens + count, "k": {**span, **prices, **sums}})


def interest(at: int, quantity: str = "1000.0", symbol: str = "BTCUSDT") -> bytes:
    body = {"openInterest": quantity, "symbol": symbol, "time": at}
    return json.dumps({"rest": f"/fapi/v1/openInterest?symbol={symbol}", "data": body}, separators=(",", ":")).encode()
