"""``analytics.information_share``: each venue's share in making a symbol's price, daily, of the day before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa

from orderflow_assets.analytics.lead_lag import SECOND
from orderflow_assets.analytics.price_discovery import LAGS_S, LEAST_SECONDS, shares
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import DAY, SERIES, at, midnights_due
from orderflow_assets.features.grid import Grid
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table

INFORMATION_SHARE = Table(
    "analytics",
    "information_share",
    (
        *IDENTITY,
        Column("valid_from", "TIMESTAMP", "midnight that ends the day it was estimated on", "UTC", False),
        Column(
            "information_share",
            "DOUBLE",
            "middle of the two bounds; the venue's share in the variance of the permanent price innovation. NULL where "
            f"fewer than two venues quote, under {LEAST_SECONDS} seconds are complete or two venues' mids are one. "
            "Source: Hasbrouck 1995",
            "fraction",
        ),
        Column("information_share_low", "DOUBLE", "bound with the venue ordered last", "fraction"),
        Column("information_share_high", "DOUBLE", "bound with the venue ordered first", "fraction"),
        Column(
            "component_share",
            "DOUBLE",
            "the venue's weight in the permanent component; adds up to one over the venues, may be negative. "
            "Source: Gonzalo & Granger 1995",
            "fraction",
        ),
        Column("venues", "BIGINT", "venues in the model", "count", False),
        Column("seconds", "BIGINT", f"seconds with all mids and {LAGS_S} lagged differences", "count"),
    ),
    (*(column.name for column in IDENTITY), "valid_from"),
    "valid_from",
    "Price discovery among the venues of a symbol, from an error-correction model of one-second log mids.",
)

_MID_SQL = f"""
SELECT {SERIES}, bar_ts, ln((bid_price + ask_price) / 2) AS log_mid
FROM bars.quotes_1s
WHERE symbol = ? AND open_time >= ? AND open_time < ? AND bid_price IS NOT NULL
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(QUOTES_1S, INFORMATION_SHARE)
    return sum(_day(store, midnight) for midnight in midnights_due(store, INFORMATION_SHARE, start, end))


def _day(store: Store, midnight: datetime) -> int:
    data = pa.Table.from_pylist(list(_estimated(store, midnight)), INFORMATION_SHARE.arrow_schema)
    return store.write(INFORMATION_SHARE, data, at(midnight))


def _estimated(store: Store, midnight: datetime) -> Iterator[dict[str, Any]]:
    day = [midnight - DAY, midnight]
    symbols = store.query(
        "SELECT DISTINCT symbol FROM bars.quotes_1s WHERE open_time >= ? AND open_time < ? ORDER BY symbol", day
    )
    for symbol in symbols["symbol"].to_pylist():
        mids = store.query(_MID_SQL, [symbol, *day], timeout_s=600)
        grid = Grid.of(mids, midnight - DAY + SECOND, midnight, SECOND)
        found = shares(grid["log_mid"]) if len(grid.series) > 1 else None
        for place, (_, exchange, market_type) in enumerate(grid.series):
            row = {
                "symbol": symbol,
                "exchange": exchange,
                "market_type": market_type,
                "valid_from": midnight,
                "venues": len(grid.series),
            }
            if found is not None:
                low, high = float(found.low[place]), float(found.high[place])
                row |= {
                    "information_share": (low + high) / 2,
                    "information_share_low": low,
                    "information_share_high": high,
                    "component_share": float(found.component[place]),
                    "seconds": found.seconds,
                }
            yield row


LAYER = Layer(
    INFORMATION_SHARE,
    _compute,
    (QUOTES_1S.qualified,),
    DAY,
    "analytics",
    ("duckdb", "python"),
    every=DAY,
    lineage=dict.fromkeys(
        (name for name in INFORMATION_SHARE.names if name not in INFORMATION_SHARE.key),
        columns_of(QUOTES_1S.qualified, "bid_price", "ask_price"),
    ),
)
