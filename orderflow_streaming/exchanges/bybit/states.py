"""What Bybit sends as a snapshot and changes: books and the tickers of linear contracts.

Source: bybit-exchange.github.io/docs/v5, "Orderbook" and "Ticker". A snapshot may come at any time and replaces
everything; so does update 1, with which the venue begins after a restart. Updates rose by one in all recordings.
"""

from __future__ import annotations

from typing import Any

import msgspec

from orderflow_streaming.exchanges.books import BookFeed, Change, Sequencing
from orderflow_streaming.exchanges.bybit.messages import TICKER_FIELDS
from orderflow_streaming.exchanges.merging import Fields


class _Book(msgspec.Struct):
    s: str
    b: list[tuple[str, ...]]
    a: list[tuple[str, ...]]
    u: int


class _BookMessage(msgspec.Struct):
    type: str
    ts: int
    data: _Book
    cts: int = 0


class _TickerMessage(msgspec.Struct):
    type: str
    ts: int
    data: dict[str, Any]


_decode_book = msgspec.json.Decoder(_BookMessage).decode
_decode_ticker = msgspec.json.Decoder(_TickerMessage).decode
_FIRST_UPDATE = 1


def book(frame: bytes) -> Change:
    """A message of an order book; raises msgspec's errors."""
    message = _decode_book(frame)
    data = message.data
    begins = message.type == "snapshot" or data.u == _FIRST_UPDATE
    return Change(data.s, message.cts or message.ts, data.u, data.b, data.a, is_snapshot=begins)


def retail_book(frame: bytes) -> Change:
    """The same with the orders for retail improvement, ``[price, size, size for retail]``, as ``[price, sum]``."""
    change = book(frame)
    bids, asks = (
        [(price, float(size) + float(retail)) for price, size, retail in side] for side in (change.bids, change.asks)
    )
    return change._replace(bids=bids, asks=asks)


def ticker(frame: bytes) -> Fields:
    """A message of a linear ticker, as far as rows are made of it; raises msgspec's errors."""
    message = _decode_ticker(frame)
    fields = {name: value for name, value in message.data.items() if name in TICKER_FIELDS}
    return Fields(message.type == "snapshot", message.ts, fields)


_BY_ONE = Sequencing(follows=lambda last, change: change.last == last + 1)

BOOKS = {"orderbook": BookFeed(book, _BY_ONE), "orderbook.rpi": BookFeed(retail_book, _BY_ONE)}
"""Depth 1 is sent whole each time, and the full depth, since July 2026, in changes whose joining to a REST snapshot
no recording shows."""
