"""A symbol on two venues for an hour, with rows in every stream and layer that history and charts read."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

from orderflow_assets.analytics.regimes import REGIMES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.signals.aggregate_layer import AGGREGATE
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table
from tests.mcp.planted import now, rows_of

MINUTES = 60
PRICE = 2_000.0
BINANCE = {"symbol": "ETHUSDT", "exchange": "binance", "market_type": "futures"}
BYBIT = {"symbol": "ETHUSDT", "exchange": "bybit", "market_type": "futures"}
PREMIUM = 1.01
"""What Bybit's quotes are of Binance's in the last :data:`PAID_S` seconds; before, they are equal."""
PAID_S = 60
STATES = ("BULL", "BULL", "RANGING", "BEAR")


def price(minute: int) -> float:
    """Rises by one in a minute."""
    return PRICE + minute


def plant(store: Store) -> datetime:
    """Fill the store; returns the closing edge of the newest minute."""
    end = now()
    start = end - timedelta(minutes=MINUTES)
    for table, rows in (*_streams(start, end), *_layers(start, end)):
        store.write(table, rows_of(table, rows))
    return end


def _streams(start: datetime, end: datetime) -> list[tuple[Table, list[dict[str, Any]]]]:
    moments = [start + timedelta(seconds=10 * number) for number in range(6 * MINUTES)]
    last = moments[-1]
    quotes, trades = [], []
    for venue in (BINANCE, BYBIT):
        for number, at in enumerate(moments):
            level = price(number // 6)
            dearer = PREMIUM if venue is BYBIT and at > last - timedelta(seconds=PAID_S) else 1.0
            row = venue | {"id": len(quotes), "timestamp": at, "received_at": at, "source_seq": str(number)}
            bid, ask = (level - 0.5) * dearer, (level + 0.5) * dearer
            quotes.append(row | {"bid_price": bid, "ask_price": ask, "mid_price": (bid + ask) / 2, "spread": ask - bid})
            side = "buy" if number % 3 else "sell"
            trades.append(
                row
                | {"trade_id": str(number), "price": level, "quantity": 0.5, "quote_value": level / 2, "side": side}
                | {"is_buyer_maker": side == "sell"}
            )
    settled = [start + timedelta(minutes=minutes) for minutes in (10, 30)]
    funding = [
        BINANCE
        | {"id": number, "timestamp": at - timedelta(seconds=5), "received_at": at, "funding_rate": rate}
        | {"next_funding_time": at, "funding_interval_hours": 8.0}
        for number, (at, rate) in enumerate(
            [(settled[0], 0.0001), (settled[1], -0.0003), (end + timedelta(hours=8), 0.0005)]
        )
    ]
    closed = [
        BINANCE
        | {"id": number, "timestamp": end - timedelta(minutes=after), "received_at": end, "side": side}
        | {"price": level, "quantity": 10.0, "value_usd": 10 * level, "is_large": False}
        for number, (after, side, level) in enumerate(
            [(50, "long", 2_000.0), (20, "long", 2_010.0), (10, "short", 2_100.0)]
        )
    ]
    books = []
    for number, at in enumerate(moments[-30:]):
        level = price(MINUTES - 5 + number // 6)
        book = BINANCE | {
            "id": number,
            "timestamp": at,
            "received_at": at,
            "mid_price": level,
            "source_seq": str(number),
        }
        for step in range(1, 11):
            book |= {f"bid_{step}_price": level - step, f"ask_{step}_price": level + step}
            book |= {f"bid_{step}_qty": 1.0, f"ask_{step}_qty": 8.0 if step == 4 else 2.0}
        books.append(book | {"bid_tail": [[level - 11, 1.0]], "ask_tail": []})
    return [
        (STREAMS["prices"].table, quotes),
        (STREAMS["trades"].table, trades),
        (STREAMS["funding_rates"].table, funding),
        (STREAMS["liquidations"].table, closed),
        (STREAMS["orderbooks"].table, books),
    ]


def _layers(start: datetime, end: datetime) -> list[tuple[Table, list[dict[str, Any]]]]:
    minutes = [
        BINANCE | {"open_time": start + timedelta(minutes=number), "bar_ts": start + timedelta(minutes=number + 1)}
        for number in range(MINUTES)
    ]
    bars = [
        row
        | {"open": price(number), "high": price(number) + 2, "low": price(number) - 1, "close": price(number) + 1}
        | {"volume": 3.0, "quote_volume": 3 * price(number), "taker_buy_volume": 2.0, "trade_count": 6}
        | {"quote_count": 6, "quoted_s": 60.0}
        for number, row in enumerate(minutes)
    ]
    waves = [math.sin(number / 3) for number in range(MINUTES)]
    prices = [
        row | {"n_obs": 6, "microprice": price(number), "spread_bps": waves[number], "mid_price": 1.0}
        for number, row in enumerate(minutes)
    ]
    trades = [
        row | {"n_obs": 6, "cvd": -2 * waves[number], "vwap": None if number < 40 else price(number)}
        for number, row in enumerate(minutes)
    ]
    signals = [
        row
        | {"signal": name, "value": value, "confidence": 0.8, "vote": vote, "side": None}
        | {"components": "{}", "fields": "{}"}
        for row in minutes
        for name, value, vote in (("smart_money_index", 0.25, 0), ("smart_money_flow", -0.5, -1))
    ]
    lists = {column.name: "[]" for column in AGGREGATE.columns if column.type == "JSON"}
    scores = {"scores": json.dumps({}), "category_scores": json.dumps({})}
    hours = [
        BINANCE
        | {"open_time": end - timedelta(hours=back + 1), "bar_ts": end - timedelta(hours=back), "step": "1h"}
        | {"last_minute": end - timedelta(hours=back)}
        | {"state": state, "p_bear": 0.1, "p_ranging": 0.2, "p_bull": 0.7, "confidence": 0.7}
        for back, state in enumerate(reversed(STATES))
    ]
    return [
        (BARS_1M, bars),
        (GROUPS["prices"].table, prices),
        (GROUPS["trades"].table, trades),
        (SIGNALS_TABLE, signals),
        (AGGREGATE, [minutes[-1] | lists | scores | {"direction": "BEARISH", "confidence": 0.4}]),
        (REGIMES, hours),
    ]
