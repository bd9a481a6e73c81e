"""What an order of the reference size would pay: the stored book walked level by level at each closing edge."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, MINUTE, SERIES, SERIES_NAMES, STALE, closed_window, hours
from orderflow_assets.features.grid import Array
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import book_levels, columns_of
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

REFERENCE_QUOTE = 100_000.0
"""Value of the order whose cost is judged, quote currency."""

TOLERATED_BPS = 1.0
"""What an order may pay beyond half the spread and still count as without impact."""

BPS = 1e4

_SIDES = {"buy": "ask", "sell": "bid"}

FILLS_1M = Table(
    "bars",
    "fills_1m",
    (
        *BAR_COLUMNS,
        Column("half_spread_bps", "DOUBLE", "half the spread of the book over its mid", "bps"),
        *(
            column
            for side, shown in _SIDES.items()
            for column in (
                Column(f"{side}_visible", "DOUBLE", f"value the stored {shown}s hold, at the mid", "quote"),
                Column(
                    f"{side}_bps",
                    "DOUBLE",
                    f"mean price, against the mid, that a {side} order of {REFERENCE_QUOTE:,.0f} pays, or of "
                    f"{side}_visible where the book shows less",
                    "bps",
                ),
                Column(f"{side}_deepest_bps", "DOUBLE", f"distance of the deepest stored {shown} from the mid", "bps"),
                Column(
                    f"{side}_free",
                    "DOUBLE",
                    f"largest {side} order whose mean price stays within half the spread and {TOLERATED_BPS:g} bp, "
                    "of what is stored",
                    "quote",
                ),
            )
        ),
    ),
    BAR_KEY,
    "open_time",
    "The book at each closing edge, walked: what buying and selling would cost. One row per series and minute with a "
    "book not older than 5 s.",
)

_LEVELS = ", ".join(
    f"b.{side}_{level}_{what}" for side in ("bid", "ask") for what in ("price", "qty") for level in range(1, LEVELS + 1)
)
_STALE_US = round(STALE.total_seconds() * 1e6)

_SQL = f"""
WITH last AS (
    SELECT {SERIES}, (epoch_us(timestamp) + 59999999) // 60000000 AS minute,
           max(struct_pack(t := timestamp, i := id)) AS row
    FROM main.orderbooks
    WHERE timestamp > $start::TIMESTAMP AND timestamp <= $end::TIMESTAMP
      AND (60000000 - epoch_us(timestamp) % 60000000) % 60000000 <= {_STALE_US}
    GROUP BY ALL
)
SELECT {", ".join(f"b.{name}" for name in SERIES_NAMES)}, make_timestamp((l.minute - 1) * 60000000) AS open_time,
       make_timestamp(l.minute * 60000000) AS bar_ts, {_LEVELS}, b.bid_tail, b.ask_tail
FROM last l JOIN main.orderbooks b
  ON b.id = l.row.i AND b.timestamp = l.row.t
 AND {" AND ".join(f"b.{name} = l.{name}" for name in SERIES_NAMES)}
WHERE b.timestamp > $start::TIMESTAMP AND b.timestamp <= $end::TIMESTAMP AND b.bid_1_price < b.ask_1_price
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(STREAMS["orderbooks"].table, FILLS_1M)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    rows = store.query(_SQL, {"start": start, "end": end}, timeout_s=600)
    if not rows.num_rows:
        return store.write(FILLS_1M, FILLS_1M.arrow_schema.empty_table(), Window(start, end))
    bid, ask = (_ladder(rows, side) for side in ("bid", "ask"))
    mid = (bid[0][:, 0] + ask[0][:, 0]) / 2
    half = BPS * (ask[0][:, 0] - bid[0][:, 0]) / (2 * mid)
    columns = {name: rows[name] for name in (*SERIES_NAMES, "open_time", "bar_ts")}
    columns["half_spread_bps"] = _cells(half)
    for side, (price, qty) in (("buy", ask), ("sell", bid)):
        distance = BPS * np.abs(price - mid[:, None]) / mid[:, None]
        size = np.nan_to_num(qty) * mid[:, None]
        columns[f"{side}_visible"] = _cells(size.sum(axis=1))
        columns[f"{side}_bps"] = _cells(mean_cost(distance, size, REFERENCE_QUOTE))
        columns[f"{side}_deepest_bps"] = _cells(np.nanmax(distance, axis=1))
        columns[f"{side}_free"] = _cells(free_size(distance, size, half + TOLERATED_BPS))
    return store.write(FILLS_1M, pa.table(columns), Window(start, end))


def mean_cost(distance: Array, size: Array, order: float) -> Array:
    """Mean distance in bps that an order of value ``order`` pays, or all that is shown where that is less.

    ``distance`` (bps from the mid, best first) and ``size`` (value) are (rows, levels); absent levels have size 0.
    """
    taken = np.clip(order - (np.cumsum(size, axis=1) - size), 0, size)
    total = taken.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (taken * np.nan_to_num(distance)).sum(axis=1) / total, np.nan)


def free_size(distance: Array, size: Array, limit: Array) -> Array:
    """Largest order (value) whose mean distance stays within ``limit`` (rows,), of what is shown.

    Level by level the excess paid adds up as size x (distance - limit); the order ends where the sum turns positive.
    """
    excess = np.nan_to_num(distance) - limit[:, None]
    paid = np.cumsum(size * excess, axis=1)
    before = paid - size * excess
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(excess > 0, np.clip(-before / excess, 0, size), size)
    return np.where(before <= 0, part, 0).sum(axis=1)


def _ladder(rows: pa.Table, side: str) -> tuple[Array, Array]:
    """Prices and sizes of the stored levels, (rows, levels), NaN where there is none."""
    price, qty = (
        np.column_stack([rows[f"{side}_{level}_{what}"].to_numpy().astype(float) for level in range(1, LEVELS + 1)])
        for what in ("price", "qty")
    )
    tails = rows[f"{side}_tail"].to_pylist()
    deepest = max((len(tail) for tail in tails if tail), default=0)
    if not deepest:
        return price, qty
    tail = np.full((len(tails), deepest, 2), np.nan)
    for row, levels in enumerate(tails):
        if levels:
            tail[row, : len(levels)] = levels
    return np.hstack([price, tail[..., 0]]), np.hstack([qty, tail[..., 1]])


def _cells(values: Array) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


_TOUCH = columns_of(STREAMS["orderbooks"].table.qualified, "bid_1_price", "ask_1_price")

LAYER = Layer(
    FILLS_1M,
    _compute,
    (STREAMS["orderbooks"].table.qualified,),
    MINUTE,
    "bars",
    ("duckdb", "python"),
    lineage={
        "half_spread_bps": _TOUCH,
        **{
            f"{side}_{what}": tuple(dict.fromkeys((*_TOUCH, *book_levels(sides=(shown,), tail=True))))
            for side, shown in _SIDES.items()
            for what in ("visible", "bps", "deepest_bps", "free")
        },
    },
)
