"""Records of one symbol on several venues, and a way to store them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.layer import Layer
from orderflow_streaming.schema import GAPS, INSTRUMENTS, LEVELS, STREAMS
from orderflow_streaming.store import Store

OPENING = datetime(2025, 3, 3, 22)  # noqa: DTZ001
SECOND = timedelta(seconds=1)


@dataclass
class Venue:
    """Records of one symbol on one venue: quotes ``(time, bid, ask)``, books ``(time, bids, asks)`` with levels
    ``(price, qty)``, trades ``(time, price, qty, side)``."""

    exchange: str
    market_type: str = "futures"
    symbol: str = "BTCUSDT"
    quotes: list[tuple[datetime, float | None, float | None]] = field(default_factory=list)
    books: list[tuple[datetime, list[tuple[float, float]], list[tuple[float, float]]]] = field(default_factory=list)
    trades: list[tuple[datetime, float, float, str]] = field(default_factory=list)


def load(store: Store, venues: Sequence[Venue]) -> None:
    """Store the records as the daemon would have."""
    store.ensure(*(stream.table for stream in STREAMS.values()), INSTRUMENTS, GAPS)
    rows: dict[str, list[dict[str, Any]]] = {"prices": [], "orderbooks": [], "trades": []}
    for venue in venues:
        identity = {"symbol": venue.symbol, "exchange": venue.exchange, "market_type": venue.market_type}
        for time, bid, ask in venue.quotes:
            mid = float(np.mean([price for price in (bid, ask) if price is not None]))
            rows["prices"].append(
                identity
                | {"timestamp": time, "bid_price": bid, "ask_price": ask, "mid_price": mid, "bid_qty": 1.0}
                | {"ask_qty": 1.0}
            )
        for time, bids, asks in venue.books:
            rows["orderbooks"].append(identity | {"timestamp": time} | _levels("bid", bids) | _levels("ask", asks))
        for number, (time, price, qty, side) in enumerate(venue.trades):
            rows["trades"].append(
                identity
                | {"timestamp": time, "price": price, "quantity": qty, "quote_value": price * qty, "side": side}
                | {"trade_id": f"{venue.exchange}-{venue.market_type}-{number}"}
            )
    for name, records in rows.items():
        table = STREAMS[name].table
        numbered = [row | {"id": number, "received_at": row["timestamp"]} for number, row in enumerate(records, 1)]
        store.write(table, pa.Table.from_pylist(numbered, table.arrow_schema))


def _levels(side: str, levels: list[tuple[float, float]]) -> dict[str, float]:
    named: dict[str, float] = {}
    for number, (price, qty) in enumerate(levels[:LEVELS], 1):
        named |= {f"{side}_{number}_price": price, f"{side}_{number}_qty": qty}
    return named


def every_second(
    venue: Venue, mids: Sequence[float], half_spread: float, start: datetime = OPENING, after: float = 0.4
) -> None:
    """Quotes around ``mids``, one a second, ``after`` seconds into each."""
    for number, mid in enumerate(mids):
        time = start + timedelta(seconds=number + after)
        venue.quotes.append((time, mid - half_spread, mid + half_spread))


def compute(store: Store, layers: Sequence[Layer], start: datetime, end: datetime, step: timedelta) -> None:
    while start < end:
        for layer in layers:
            layer.compute(store, start, min(start + step, end))
        start += step
