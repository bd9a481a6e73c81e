"""``analytics.liquidity_zones``: prices at which books over all venues keep standing, every minute.

Sixty pictures of the books, one every ten seconds of the last ten minutes, are put together over the venues of a symbol
in zones of one basis point. A zone is of one kind of resting order: bids support, asks resist.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orderflow_assets.analytics.symbols import SYMBOL_COLUMNS
from orderflow_assets.bars.series import MINUTE, SERIES, STALE, closed_window, hours
from orderflow_assets.features.grid import Array, epoch_us
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import book_levels
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

SNAPSHOTS, STEP_S = 60, 10
SPAN = timedelta(seconds=SNAPSHOTS * STEP_S)
WIDTH = 1e-4
LEAST_SNAPSHOTS, LEAST_PRESENCE, TOP = 30, 0.5, 5
_PER_MINUTE = 60 // STEP_S
_STEP_US = STEP_S * 1_000_000
_STALE_US = round(STALE / timedelta(microseconds=1))
_SIDES = {"bid": "support", "ask": "resistance"}

LIQUIDITY_ZONES = Table(
    "analytics",
    "liquidity_zones",
    (
        *SYMBOL_COLUMNS,
        Column("side", "VARCHAR", "support (bids) or resistance (asks)", nullable=False),
        Column("rank", "BIGINT", f"1 has the largest reliability x mean_value of its side; at most {TOP}", "", False),
        Column("price", "DOUBLE", "mean price of the orders in the zone at bar_ts, weighted by value", "quote", False),
        Column("value", "DOUBLE", "value resting in the zone at bar_ts, summed over the venues", "quote", False),
        Column("mean_value", "DOUBLE", "mean of that value over the snapshots that show the zone", "quote", False),
        Column(
            "presence",
            "DOUBLE",
            f"share of the snapshots of the last {SNAPSHOTS * STEP_S} s in which a venue shows an order in the zone; "
            f"at least {LEAST_PRESENCE:g}, or the zone is not listed; range [0, 1]",
            "fraction",
            False,
        ),
        Column(
            "reliability",
            "DOUBLE",
            "presence x max(0, 1 - sd / mean of the value over the snapshots that show it); range [0, 1]",
            "fraction",
            False,
        ),
        Column("snapshots", "BIGINT", "snapshots with a book of the symbol", "count", False),
    ),
    ("symbol", "bar_ts", "side", "rank"),
    "open_time",
    f"Zones of {1e4 * WIDTH:g} bp that hold resting orders now and held them in most of the last ten minutes.",
)


def _side_sql(side: str) -> str:
    """One row per level of a side: ten columns and the tail as lists, unnested."""
    prices, sizes = (
        f"[{', '.join(f'{side}_{level}_{what}' for level in range(1, LEVELS + 1))}]" for what in ("price", "qty")
    )
    return f"""
SELECT symbol, edge, '{side}' AS side,
       unnest(list_concat({prices}, coalesce(list_transform({side}_tail, lambda l: l[1]), []))) AS price,
       unnest(list_concat({sizes}, coalesce(list_transform({side}_tail, lambda l: l[2]), []))) AS qty
FROM snapshots"""


_SQL = f"""
WITH snapshots AS (
    SELECT *, (epoch_us(timestamp) + {_STEP_US - 1}) // {_STEP_US} AS edge
    FROM main.orderbooks
    WHERE timestamp > $since::TIMESTAMP AND timestamp <= $until::TIMESTAMP
      AND edge * {_STEP_US} - epoch_us(timestamp) <= {_STALE_US} AND bid_1_price < ask_1_price
    QUALIFY row_number() OVER (PARTITION BY {SERIES}, edge ORDER BY timestamp DESC, id DESC) = 1
), levels AS ({_side_sql("bid")} UNION ALL {_side_sql("ask")})
SELECT symbol, side, edge, floor(ln(price) / {WIDTH})::BIGINT AS zone,
       sum(price * qty) AS value, sum(price * price * qty) / sum(price * qty) AS price
FROM levels WHERE price > 0 AND qty > 0
GROUP BY ALL ORDER BY symbol, side, edge, zone
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(STREAMS["orderbooks"].table, LIQUIDITY_ZONES)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    since = start + MINUTE - SPAN
    levels = store.query(_SQL, {"since": since, "until": end}, timeout_s=600)
    first = epoch_us(since) // _STEP_US + 1
    last = epoch_us(end) // _STEP_US
    symbol, side = (levels[name].to_numpy(zero_copy_only=False) for name in ("symbol", "side"))
    edge, zone, value, price = (levels[name].to_numpy() for name in ("edge", "zone", "value", "price"))
    found: list[dict[str, Any]] = []
    for name in sorted(set(symbol)):
        own = symbol == name
        pictured = np.zeros(last - first + 1, dtype=bool)
        pictured[edge[own] - first] = True
        for key, kind in _SIDES.items():
            chosen = own & (side == key)
            zones, place = np.unique(zone[chosen], return_inverse=True)
            values, prices = np.zeros((2, len(zones), len(pictured)))
            values[place, edge[chosen] - first] = value[chosen]
            prices[place, edge[chosen] - first] = price[chosen]
            for minute, standing in enumerate(standing_zones(values, pictured, _PER_MINUTE)):
                opening = start + minute * MINUTE
                row = {"symbol": name, "side": kind, "open_time": opening, "bar_ts": opening + MINUTE}
                at = SNAPSHOTS - 1 + minute * _PER_MINUTE
                found += [row | {"price": prices[number, at], **about} for number, about in standing]
    return store.write(LIQUIDITY_ZONES, pa.Table.from_pylist(found, LIQUIDITY_ZONES.arrow_schema), Window(start, end))


def standing_zones(
    values: Array, pictured: npt.NDArray[np.bool_], every: int
) -> list[list[tuple[int, dict[str, float]]]]:
    """The best zones of each window of :data:`SNAPSHOTS` that ends ``every`` snapshots later than the one before.

    ``values`` are (zones, snapshots), 0 where a zone is empty; ``pictured`` marks the snapshots with any book. A zone
    comes as its place with its measures, the best first.
    """
    seen = np.lib.stride_tricks.sliding_window_view(pictured, SNAPSHOTS)[::every].sum(axis=-1)
    shown = np.lib.stride_tricks.sliding_window_view(values, SNAPSHOTS, axis=1)[:, ::every]
    count = (shown > 0).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        presence = count / seen
        mean = shown.sum(axis=-1) / count
        spread = np.sqrt((np.where(shown > 0, shown - mean[..., None], 0.0) ** 2).sum(axis=-1) / count)
        reliability = presence * np.maximum(0.0, 1 - spread / mean)
    listed = (seen >= LEAST_SNAPSHOTS) & (presence >= LEAST_PRESENCE) & (shown[..., -1] > 0)
    strength = np.where(listed, reliability * mean, -1.0)
    best = np.argsort(-strength, axis=0, kind="stable")[:TOP]
    return [
        [
            (
                int(number),
                {
                    "rank": rank,
                    "value": float(shown[number, window, -1]),
                    "mean_value": float(mean[number, window]),
                    "presence": float(presence[number, window]),
                    "reliability": float(reliability[number, window]),
                    "snapshots": int(seen[window]),
                },
            )
            for rank, number in enumerate(best[:, window], 1)
            if listed[number, window]
        ]
        for window in range(len(seen))
    ]


LAYER = Layer(
    LIQUIDITY_ZONES,
    _compute,
    (STREAMS["orderbooks"].table.qualified,),
    SPAN,
    "analytics",
    ("duckdb", "python"),
    lineage=dict.fromkeys(
        ("price", "value", "mean_value", "presence", "reliability", "snapshots"), book_levels(tail=True)
    ),
)
