"""Stored rows for calculators: fifteen days of minutes of one symbol on three markets, with events near the end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.funding.live import FUNDING_1M
from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

END = datetime(2025, 6, 16, 12)  # noqa: DTZ001 (naive UTC, as stored)
MINUTES = 15 * 1440
MINUTE = timedelta(minutes=1)
BTC = "BTCUSDT"
MARKETS = {"binance_futures": 3.0, "bybit_futures": 1.0, "binance_spot": 0.5}
"""Markets and how much is traded there."""
FUNDING = {"binance_futures": (1e-4, 8.0), "bybit_futures": (9e-4, 8.0), "hyperliquid_futures": (5e-6, 1.0)}
"""Rate per interval and its hours; the live rate swings about it once a day and stands there at the end."""
LIQUIDATIONS = STREAMS["liquidations"].table


def identity(market: str, symbol: str = BTC) -> dict[str, str]:
    exchange, market_type = market.rsplit("_", 1)
    return {"symbol": symbol, "exchange": exchange, "market_type": market_type}


def table_of(table: Table, columns: dict[str, Any]) -> pa.Table:
    """The declared columns; a scalar stands in every row, what is not given is NULL."""
    length = max(len(values) for values in columns.values() if isinstance(values, np.ndarray | list))
    arrays = {}
    for name in table.names:
        given = columns.get(name)
        kind = table.arrow_schema.field(name).type
        values = list(given) if isinstance(given, np.ndarray | list) else [given] * length
        if pa.types.is_floating(kind):
            values = [None if value is None or value != value else float(value) for value in values]
        arrays[name] = pa.array(values, kind)
    return pa.table(arrays, schema=table.arrow_schema)


def bars(market: str, symbol: str = BTC, end: datetime = END, **columns: Any) -> pa.Table:
    """Minutes that end at ``end``; ``close`` and what else is given are arrays, oldest first."""
    count = len(columns["close"])
    opening = [end - (count - place) * MINUTE for place in range(count)]
    times = {"open_time": opening, "bar_ts": [time + MINUTE for time in opening]}
    known = {"quote_count": 1, "quoted_s": 60.0, "trade_count": 10} | identity(market, symbol)
    return table_of(BARS_1M, known | times | columns)


def prices() -> np.ndarray:
    """A walk whose last two hours are four times as volatile and whose last minute jumps by 2 %."""
    steps = np.random.default_rng(1).normal(0, 0.0005, MINUTES)
    steps[-120:] *= 4
    steps[-1] = 0.02
    return 60_000 * np.exp(np.cumsum(steps))


def plant(store: Store) -> None:
    rng = np.random.default_rng(2)
    hour = np.arange(MINUTES) / 60
    for place, (market, weight) in enumerate(MARKETS.items()):
        volume = weight * rng.lognormal(1, 0.2, MINUTES) * (1 + 0.8 * np.sin(2 * np.pi * hour / 24))
        share = np.clip(rng.normal(0.5, 0.03, MINUTES), 0, 1)
        share[-60:] = 0.9
        close = prices() * (1 + place * 1e-5)
        flow = {"volume": volume, "quote_volume": volume * close, "taker_buy_volume": volume * share}
        spread = rng.lognormal(0, 0.1, MINUTES)
        store.write(
            BARS_1M,
            bars(market, close=close, spread_bps=spread, taker_buy_quote=volume * share * close, **flow),
        )
    _plant_funding(store, rng)
    calm = [END - timedelta(minutes=60 * number + 30) for number in range(24)]
    burst = [END - timedelta(seconds=10 * number + 60) for number in range(20)]
    times = sorted([*calm, *burst])
    store.write(
        LIQUIDATIONS,
        table_of(
            LIQUIDATIONS,
            identity("binance_futures")
            | {
                "id": list(range(len(times))),
                "timestamp": times,
                "received_at": times,
                "side": ["long" if time > END - timedelta(minutes=6) else "short" for time in times],
                "price": 60_000.0,
                "quantity": 1.0,
                "value_usd": [60_000.0] * len(times),
            },
        ),
    )


def _plant_funding(store: Store, rng: np.random.Generator) -> None:
    for market, (rate, interval) in FUNDING.items():
        count = 72 * 60
        opening = [END - (count - place) * MINUTE for place in range(count)]
        store.write(
            FUNDING_1M,
            table_of(
                FUNDING_1M,
                identity(market)
                | {
                    "open_time": opening,
                    "bar_ts": [time + MINUTE for time in opening],
                    "live_rate": rate * (1 + 0.1 * np.sin(np.arange(count)[::-1] * 2 * np.pi / 1440)),
                    "interval_hours": interval,
                    "rated_at": opening,
                    "heard_at": opening,
                },
            ),
        )
        number = round(720 / interval)
        settled = [END - timedelta(hours=interval * (number - 1 - place)) for place in range(number)]
        rates = rate * (1 + 0.2 * rng.normal(size=number))
        store.write(
            SETTLEMENTS,
            table_of(
                SETTLEMENTS,
                identity(market)
                | {"settled_at": settled, "rate": rates, "interval_hours": interval, "source": "venue"},
            ),
        )
