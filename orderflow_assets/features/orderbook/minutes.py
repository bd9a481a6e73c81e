"""One-minute book statistics: everything about the book that needs no more than the last seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow.compute as pc

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, MINUTE, NUMBER, SERIES, STALE, closed_window, hours
from orderflow_assets.features.grid import Grid, epoch_us
from orderflow_assets.features.orderbook.changes import Traded
from orderflow_assets.features.orderbook.declarations import ORDERBOOK
from orderflow_assets.features.orderbook.flow import MLOFI, touch_minutes
from orderflow_assets.features.orderbook.measures import LEAD_IN_S, minutes_of
from orderflow_assets.features.orderbook.seconds import read_books
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import Sources, book_levels, columns_of
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

AS_STORED: tuple[str, ...] = (
    "depth_imbalance_5",
    "depth_imbalance_10",
    "cumulative_depth_imbalance",
    "liquidity_gradient",
    "liquidity_concentration_idx",
    "vwap_depth",
    "bid_depth_5",
    "ask_depth_5",
    "bid_depth_10",
    "ask_depth_10",
    "queue_position_drift",
    "add_cancel_ratio",
    "liquidity_persistence_score",
    "liquidity_migration_velocity",
    "pull_wall_detected",
    "push_wall_detected",
    "coverage_bps",
    "vwap_depth_bps",
    "ofi_cks",
    "bid_depth_25bps",
    "ask_depth_25bps",
    "bid_wall_detected",
    "ask_wall_detected",
    *MLOFI,
)
"""Features that are final here and pass on unchanged."""

_DECLARED = {feature.name: feature for feature in ORDERBOOK.columns}
_LN = "ln(size within 10 bps)"

BOOKS_1M = Table(
    "bars",
    "books_1m",
    (
        *BAR_COLUMNS,
        Column("n_obs", "BIGINT", ORDERBOOK.observations, "count", False),
        *(_DECLARED[name].column for name in AS_STORED),
        Column("log_depth_count", "BIGINT", f"seconds with {_LN}", "count"),
        Column("log_depth_sum", "DOUBLE", f"sum of {_LN}", "log points"),
        Column("log_depth_square", "DOUBLE", f"sum of its squares, {_LN}", "log points^2"),
        Column("log_depth_pairs", "BIGINT", "seconds that have it, as has the second before", "count"),
        Column("log_depth_pair_sum", "DOUBLE", "sum over these of the two values", "log points"),
        Column("log_depth_product", "DOUBLE", "sum over these of their product", "log points^2"),
    ),
    BAR_KEY,
    "open_time",
    "One row per series and minute that had book snapshots.",
)

_SINCE = f"timestamp > $start::TIMESTAMP - INTERVAL {STALE.seconds} SECOND AND timestamp < $end::TIMESTAMP"

_SERIES_SQL = f"SELECT DISTINCT {SERIES}, {NUMBER} AS series FROM main.orderbooks WHERE {_SINCE} ORDER BY series"

_TOUCH_SQL = f"""
SELECT {NUMBER} AS series, epoch_us(timestamp) AS us, bid_1_price, bid_1_qty, ask_1_price, ask_1_qty
FROM main.orderbooks
WHERE {_SINCE}
ORDER BY series, timestamp, id
"""

_TRADES_SQL = f"""
SELECT {NUMBER} AS series, side = 'sell' AS sold, (epoch_us(timestamp) + 999999) // 1000000 AS second, price,
       quantity AS qty
FROM main.trades
WHERE timestamp > $start::TIMESTAMP AND timestamp <= $end::TIMESTAMP
ORDER BY series
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(STREAMS["orderbooks"].table, STREAMS["trades"].table, BOOKS_1M)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    bars = round((end - start) / MINUTE)
    named, touch, trades = (
        store.query(sql, {"start": start, "end": end}, timeout_s=600) for sql in (_SERIES_SQL, _TOUCH_SQL, _TRADES_SQL)
    )
    if not named.num_rows:
        return store.write(BOOKS_1M, BOOKS_1M.arrow_schema.empty_table(), Window(start, end))
    *names, numbers = (column.to_pylist() for column in named.columns)
    values = touch_minutes(touch, np.array(numbers), epoch_us(start), bars)
    sold, bought = (trades.filter(pc.equal(trades["sold"], side)) for side in (True, False))
    first = start - timedelta(seconds=LEAD_IN_S)
    for books in read_books(store, np.array(numbers), first, end):
        from_bids, from_asks = (Traded.of(part, books.series, epoch_us(first) // 1_000_000) for part in (sold, bought))
        places = np.searchsorted(numbers, books.series)
        for name, measured in minutes_of(books, from_bids, from_asks, bars).items():
            values.setdefault(name, np.full((len(numbers), bars), np.nan))[places] = measured
    grid = Grid(tuple(zip(*names, strict=True)), start + MINUTE, MINUTE, values["n_obs"] > 0, values)
    return store.write(BOOKS_1M, grid.table(BOOKS_1M, values, bars), Window(start, end))


_OF_TEN_LEVELS = (
    "depth_imbalance_10",
    "liquidity_concentration_idx",
    "vwap_depth",
    "vwap_depth_bps",
    "liquidity_migration_velocity",
    "push_wall_detected",
)
_OF_ALL_LEVELS = (
    "cumulative_depth_imbalance",
    "liquidity_gradient",
    "coverage_bps",
    "liquidity_persistence_score",
    *(name for name in BOOKS_1M.names if name.startswith("log_depth")),
)
_TRADED = columns_of(STREAMS["trades"].table.qualified, "price", "quantity", "side")


def _one_side(side: str, count: int | None = None) -> Sources:
    """Levels of a side, all without a count, and what tells that the book is not crossed."""
    levels = book_levels(count or LEVELS, (side,), tail=count is None)
    return tuple(dict.fromkeys((*levels, *columns_of("main.orderbooks", "bid_1_price", "ask_1_price"))))


LAYER = Layer(
    BOOKS_1M,
    _compute,
    (STREAMS["orderbooks"].table.qualified, STREAMS["trades"].table.qualified),
    timedelta(seconds=LEAD_IN_S + 1) + STALE,
    "bars",
    ("duckdb", "python"),
    lineage={
        "n_obs": columns_of(STREAMS["orderbooks"].table.qualified, "timestamp"),
        **dict.fromkeys(("ofi_cks", "queue_position_drift"), book_levels(1)),
        "depth_imbalance_5": book_levels(5),
        **{f"{side}_depth_{count}": _one_side(side, count) for side in ("bid", "ask") for count in (5, 10)},
        **{f"{side}_{what}": _one_side(side) for side in ("bid", "ask") for what in ("depth_25bps", "wall_detected")},
        **dict.fromkeys((*_OF_TEN_LEVELS, *MLOFI), book_levels()),
        **dict.fromkeys(_OF_ALL_LEVELS, book_levels(tail=True)),
        **dict.fromkeys(("add_cancel_ratio", "pull_wall_detected"), (*book_levels(), *_TRADED)),
    },
)
