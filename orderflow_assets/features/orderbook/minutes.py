"""One-minute book statistics: everything about the book that needs no more than the last seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, MINUTE, SERIES, STALE, closed_window, hours
from orderflow_assets.features.grid import Grid, Identity, epoch_us, split_series
from orderflow_assets.features.orderbook.changes import Traded
from orderflow_assets.features.orderbook.declarations import ORDERBOOK
from orderflow_assets.features.orderbook.flow import MLOFI
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

_FLOW_SQL = f"""
WITH touch AS (
    SELECT {SERIES}, timestamp, bid_1_price AS b, bid_1_qty AS qb, ask_1_price AS a, ask_1_qty AS qa,
           coalesce(b < a AND qb IS NOT NULL AND qa IS NOT NULL, false) AS valid,
           lag(struct_pack(t := timestamp, b := b, qb := qb, a := a, qa := qa, valid := valid)) OVER (
               PARTITION BY {SERIES} ORDER BY timestamp, id
           ) AS was
    FROM main.orderbooks
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {STALE.seconds} SECOND AND timestamp < $end::TIMESTAMP
), flow AS (
    SELECT *, CASE WHEN valid AND was.valid AND timestamp - was.t <= INTERVAL {STALE.seconds} SECOND THEN
        CASE WHEN b >= was.b THEN qb ELSE 0 END - CASE WHEN b <= was.b THEN was.qb ELSE 0 END
        - CASE WHEN a <= was.a THEN qa ELSE 0 END + CASE WHEN a >= was.a THEN was.qa ELSE 0 END END AS e
    FROM touch
    WHERE timestamp >= $start::TIMESTAMP
)
SELECT {SERIES}, date_trunc('minute', timestamp) + INTERVAL 1 MINUTE AS bar_ts,
       count(*) AS n_obs,
       sum(e) AS ofi_cks,
       sum(e) / nullif(avg((qb + qa) / 2) FILTER (valid), 0) AS queue_position_drift
FROM flow
GROUP BY ALL
"""

_NOTHING = Traded(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

_TRADED_SQL = f"""
SELECT {SERIES}, side, price, (epoch_us(timestamp) + 999999) // 1000000 AS second, sum(quantity) AS qty
FROM main.trades
WHERE timestamp > $start::TIMESTAMP AND timestamp <= $end::TIMESTAMP
GROUP BY ALL
ORDER BY {SERIES}, second
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(STREAMS["orderbooks"].table, STREAMS["trades"].table, BOOKS_1M)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    bars = round((end - start) / MINUTE)
    flow = store.query(_FLOW_SQL, {"start": start, "end": end}, timeout_s=600)
    if not flow.num_rows:
        return store.write(BOOKS_1M, BOOKS_1M.arrow_schema.empty_table(), Window(start, end))
    trades = _traded(store, start, end)
    measured = {
        identity: minutes_of(book, *trades.get(identity, (_NOTHING, _NOTHING)), bars)
        for identity, book in read_books(store, start - timedelta(seconds=LEAD_IN_S), end)
    }
    grid = Grid.of(flow, start + MINUTE, end, MINUTE)
    names = measured[grid.series[0]]
    values = {name: np.stack([measured[series][name] for series in grid.series]) for name in names}
    return store.write(BOOKS_1M, grid.table(BOOKS_1M, grid.columns | values, bars), Window(start, end))


def _traded(store: Store, start: datetime, end: datetime) -> dict[Identity, tuple[Traded, Traded]]:
    """What traded from the bids (takers sold) and from the asks (takers bought), per series."""
    rows = store.query(_TRADED_SQL, {"start": start, "end": end}, timeout_s=600)
    first = epoch_us(start) // 1_000_000 - LEAD_IN_S
    taken = {}
    for identity, table in split_series(rows):
        side = table["side"].to_numpy(zero_copy_only=False)
        row, price, qty = table["second"].to_numpy() - first, table["price"].to_numpy(), table["qty"].to_numpy()
        sold = side == "sell"
        taken[identity] = (Traded(row[sold], price[sold], qty[sold]), Traded(row[~sold], price[~sold], qty[~sold]))
    return taken


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
