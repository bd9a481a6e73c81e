"""Volume buckets for VPIN (Easley, Lopez de Prado & O'Hara 2012, Review of Financial Studies 25:5).

A bucket holds a fiftieth of the usual volume of a day, as ``bars.daily_sizes`` has it for its UTC day. Buckets start
afresh at 00:00 UTC; what the last one of a day lacks is dropped. A parent trade that crosses the border is split.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.daily_sizes import DAILY_SIZES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.series import DAY, SERIES, SERIES_NAMES, closed_window, hours, midnight
from orderflow_assets.features.grid import Array, Identity, split_series
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

PER_DAY = 50

ROUNDING = 1e-9
"""Share of a bucket that may be missing for it to be full: sums of volumes are rounded."""

VOLUME_BUCKETS = Table(
    "bars",
    "volume_buckets",
    (
        *IDENTITY,
        Column("filled_at", "TIMESTAMP", "time of the trade that filled it", "UTC", False),
        Column("bucket", "BIGINT", "number within the UTC day, from 0", "", False),
        Column("size", "DOUBLE", "volume it holds", "base", False),
        Column("bought", "DOUBLE", "of it, bought by takers", "base", False),
    ),
    (*SERIES_NAMES, "filled_at", "bucket"),
    "filled_at",
    "Equal shares of traded volume, in the order they filled.",
)

# The open bucket began in the first minute whose closing volume lies beyond the last border before the window.
_PARENTS_SQL = f"""
WITH sizes AS (
    SELECT {SERIES}, daily_volume / {PER_DAY} AS size FROM bars.daily_sizes WHERE valid_from = $day
), minutes AS (
    SELECT {SERIES}, open_time, size,
           sum(volume) OVER (PARTITION BY {SERIES} ORDER BY open_time) AS volume_after,
           volume_after - volume AS volume_before
    FROM bars.bars_1m JOIN sizes USING ({SERIES})
    WHERE open_time >= $day::TIMESTAMP AND open_time < $start::TIMESTAMP AND volume > 0
), borders AS (
    SELECT {SERIES}, (floor(max(volume_after) / any_value(size) + {ROUNDING}) + {ROUNDING}) * any_value(size) AS border
    FROM minutes
    GROUP BY {SERIES}
), opened AS (
    SELECT {SERIES}, min(open_time) AS since, arg_min(volume_before, open_time) AS volume_before
    FROM minutes JOIN borders USING ({SERIES})
    WHERE volume_after > border
    GROUP BY {SERIES}
), carried AS (
    SELECT {SERIES}, max(volume_after) AS volume FROM minutes GROUP BY {SERIES}
)
SELECT {SERIES}, epoch_us(timestamp) AS us, side = 'buy' AS bought, quantity, size,
       coalesce(opened.volume_before, carried.volume, 0) AS volume_before
FROM bars.parent_trades
JOIN sizes USING ({SERIES})
LEFT JOIN opened USING ({SERIES})
LEFT JOIN carried USING ({SERIES})
WHERE timestamp >= coalesce(opened.since, $start::TIMESTAMP) AND timestamp < $end::TIMESTAMP
  AND timestamp >= $day::TIMESTAMP
ORDER BY {SERIES}, timestamp, first_id
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, PARENT_TRADES, DAILY_SIZES, VOLUME_BUCKETS)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    rows = store.query(_PARENTS_SQL, {"day": midnight(start), "start": start, "end": end}, timeout_s=600)
    tables = [_filled(identity, part, start) for identity, part in split_series(rows)]
    data = pa.concat_tables(tables) if tables else VOLUME_BUCKETS.arrow_schema.empty_table()
    return store.write(VOLUME_BUCKETS, data, Window(start, end))


def fill(size: float, before: float, quantity: Array, bought: np.ndarray) -> tuple[np.ndarray, np.ndarray, Array]:
    """Buckets that trades fill: their numbers, the index of the trade that filled each, and what they hold bought.

    ``before`` is the volume of the day before the first trade. The first bucket is right only if the trades reach
    back to its beginning; it is left out otherwise.
    """
    after = before + np.cumsum(quantity)
    bought_after = np.cumsum(np.where(bought, quantity, 0.0))
    first, last = int(np.ceil(before / size - ROUNDING)), int(np.floor(after[-1] / size + ROUNDING))
    borders = np.arange(first, last + 1) * size
    if len(borders) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    bought_at = np.interp(borders, np.concatenate([[before], after]), np.concatenate([[0.0], bought_after]))
    filler = np.minimum(np.searchsorted(after, borders[1:] - ROUNDING * size), len(after) - 1)
    return np.arange(first, last), filler, np.diff(bought_at)


def _filled(identity: Identity, rows: pa.Table, start: datetime) -> pa.Table:
    us, bought, quantity, sizes, before = (rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names[3:])
    number, filler, held = fill(sizes[0], before[0], quantity, bought)
    filled_at = us[filler].astype("datetime64[us]")
    kept = filled_at >= np.datetime64(start)
    count = int(kept.sum())
    columns = {
        **{name: pa.array([part] * count, pa.string()) for name, part in zip(SERIES_NAMES, identity, strict=True)},
        "filled_at": pa.array(filled_at[kept]),
        "bucket": pa.array(number[kept]),
        "size": pa.array(np.full(count, sizes[0])),
        "bought": pa.array(held[kept]),
    }
    return pa.table(columns)


LAYER = Layer(
    VOLUME_BUCKETS,
    _compute,
    (BARS_1M.qualified, PARENT_TRADES.qualified, DAILY_SIZES.qualified),
    DAY,
    "bars",
    ("duckdb", "python"),
    lineage={
        "size": columns_of(DAILY_SIZES.qualified, "daily_volume"),
        "bought": (
            *columns_of(PARENT_TRADES.qualified, "quantity", "side", "first_id"),
            *columns_of(BARS_1M.qualified, "volume"),
            *columns_of(DAILY_SIZES.qualified, "daily_volume"),
        ),
    },
)
