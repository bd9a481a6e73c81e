"""``features.liquidations``: from minutes, steps and clusters of liquidations to the declared features."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, MINUTE, SERIES, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, current, epoch_us, split_series
from orderflow_assets.features.liquidations import feeds, measures
from orderflow_assets.features.liquidations.clusters import CLUSTERS, RETRACEMENTS
from orderflow_assets.features.liquidations.declarations import LIQUIDATIONS
from orderflow_assets.features.liquidations.minutes import FIVE, LIQUIDATIONS_1M, LIQUIDATIONS_5M, MID_RANGE_1M
from orderflow_assets.features.oi.minutes import OI_1M
from orderflow_assets.features.trades.sizes import trailing_quantile
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_WEEK, _MONTH = 7 * DAY // MINUTE, 30 * DAY // FIVE
_QUARTER = measures.QUARTER
_HALF_MINUTE_S = 30
_LARGE_CLUSTER = 0.9
_REMEMBERED = timedelta(hours=1)
"""How long after it became known the retracement of a cluster stands when no other cluster follows."""
_LOOKBACK = 30 * DAY + timedelta(minutes=30)

_COUNTS = ("long_count", "short_count")
_RECENT = (
    "long_value",
    "short_value",
    "late_value",
    "cluster_size",
    "cluster_value",
    "cluster_duration_s",
    "dense_value",
)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    inputs = (BARS_1M, LIQUIDATIONS_1M, LIQUIDATIONS_5M, MID_RANGE_1M, OI_1M, CLUSTERS, RETRACEMENTS)
    store.ensure(*inputs, LIQUIDATIONS.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    bars = _futures(store, start, end)
    if not bars.series:
        return store.write(LIQUIDATIONS.table, LIQUIDATIONS.table.arrow_schema.empty_table(), Window(start, end))
    outputs = round((end - start) / MINUTE)
    recent = start + MINUTE - (_QUARTER + measures.FIVE) * MINUTE
    week = start + MINUTE - (_WEEK + measures.FIVE) * MINUTE
    counts = Grid.read(store, LIQUIDATIONS_1M, _COUNTS, week, end, MINUTE, bars.series)
    values = Grid.read(store, LIQUIDATIONS_1M, _RECENT, recent, end, MINUTE, bars.series)
    total = counts["long_count"] + counts["short_count"]
    found: dict[str, npt.NDArray[Any]] = _events(counts, values, total, outputs)
    found |= _cascades(store, values, total, start, end)
    found["liquidation_cluster_detected"] = _detected(store, values, start, end)
    alive = np.isfinite(current(total, outputs))
    found["absorption_after_liq"] = np.where(alive, _retracements(store, bars, start, end), np.nan)
    found["feed_completeness"] = _completeness(bars, outputs)
    return store.write(LIQUIDATIONS.table, bars.table(LIQUIDATIONS.table, found, outputs), Window(start, end))


def _futures(store: Store, start: datetime, end: datetime) -> Grid:
    rows = store.query(
        f"SELECT {SERIES}, bar_ts FROM bars.bars_1m WHERE market_type = 'futures' AND open_time >= ? AND open_time < ?",
        [start, end],
        timeout_s=600,
    )
    return Grid.of(rows, start + MINUTE, end, MINUTE)


def _events(counts: Grid, values: Grid, total: Array, outputs: int) -> dict[str, Array]:
    long, short, late = (values[name] for name in ("long_value", "short_value", "late_value"))
    longs, shorts = (measures.summed(side, measures.FIVE, outputs) for side in (long, short))
    rate = measures.summed(total, measures.FIVE, _WEEK + outputs) / measures.FIVE
    both = current(long + short, outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        imbalance = np.where(longs + shorts > 0, (longs - shorts) / (longs + shorts), np.nan)
    return {
        "n_obs": np.nan_to_num(current(total, outputs)),
        "long_liquidation_count": current(counts["long_count"], outputs),
        "short_liquidation_count": current(counts["short_count"], outputs),
        "total_liquidation_count": current(total, outputs),
        "long_liquidation_value": current(long, outputs),
        "short_liquidation_value": current(short, outputs),
        "total_liquidation_value": both,
        "liquidation_imbalance": imbalance,
        "liquidation_rate": current(rate, outputs),
        "liquidation_rate_zscore": measures.long_zscore(np.log1p(rate), _WEEK, outputs),
        "cluster_size": current(values["cluster_size"], outputs),
        "cluster_value": current(values["cluster_value"], outputs),
        "cluster_duration_seconds": current(values["cluster_duration_s"], outputs),
        "cascade_acceleration": (2 * current(late, outputs) - both) / _HALF_MINUTE_S**2,
        "cascade_probability": measures.branching(total, outputs),
        "long_liquidation_value_5m": longs,
        "short_liquidation_value_5m": shorts,
    }


def _cascades(store: Store, values: Grid, total: Array, start: datetime, end: datetime) -> dict[str, npt.NDArray[Any]]:
    """Value and share of the open interest against the disjoint steps that had ended five minutes before each bar."""
    outputs = round((end - start) / MINUTE)
    judged = outputs + _QUARTER - 1
    first = _floor(start + MINUTE - (_QUARTER - 1) * MINUTE - FIVE) - (_MONTH - 1) * FIVE
    steps = Grid.read(store, LIQUIDATIONS_5M, ("value", "share"), first, _floor(end), FIVE, values.series)
    closing = [start + MINUTE * bar for bar in range(2 - _QUARTER, outputs + 1)]
    last = np.array([(_floor(time - FIVE) - first) // FIVE for time in closing], dtype=np.int64)
    recent = start + MINUTE - (_QUARTER - 1) * MINUTE
    held = Grid.read(store, MID_RANGE_1M, ("mid_low", "mid_high"), recent, end, MINUTE, values.series)
    interest = Grid.read(store, OI_1M, ("oi", "mark"), start + MINUTE, end, MINUTE, values.series)
    long, short = values["long_value"], values["short_value"]
    value = measures.summed(long + short, measures.FIVE, judged)
    worth = interest["oi"] * interest["mark"]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(worth > 0, current(value, outputs) / worth, np.nan)
    rank = measures.rank_in_steps(share, steps["share"], last[-outputs:], _MONTH)
    climax = measures.rank_in_steps(value, steps["value"], last, _MONTH)
    return {
        "cascade_severity": measures.severity(rank, measures.branching(total, outputs)),
        "exhaustion_signal": measures.exhaustion(
            climax, total, long, short, held["mid_low"], held["mid_high"], outputs
        ),
        "liquidated_share": share,
        "liquidated_share_rank": rank,
    }


_CLUSTERS_SQL = f"""
SELECT {SERIES}, (epoch_us(closed_at) - epoch_us($since::TIMESTAMP)) // 60000000 AS bar, value
FROM bars.liquidation_clusters
WHERE closed_at >= $since::TIMESTAMP AND closed_at < $end::TIMESTAMP
ORDER BY {SERIES}, closed_at, side
"""


def _detected(store: Store, values: Grid, start: datetime, end: datetime) -> Array:
    """Whether a dense cluster that touches the bar is as large as few that were closed in the week before the bar."""
    outputs = round((end - start) / MINUTE)
    dense, size = (current(values[name], outputs) for name in ("dense_value", "cluster_size"))
    found = np.where(np.isfinite(size) & ~np.isfinite(dense), 0.0, np.nan)
    place = {identity: index for index, identity in enumerate(values.series)}
    rows = store.query(_CLUSTERS_SQL, {"since": start - 7 * DAY, "end": end}, timeout_s=600)
    for identity, part in split_series(rows):
        row = place.get(identity)
        if row is None:
            continue
        bars = np.flatnonzero(np.isfinite(dense[row]))
        limit = trailing_quantile(part["bar"].to_numpy(), part["value"].to_numpy(), _WEEK, bars + _WEEK, _LARGE_CLUSTER)
        found[row, bars] = np.where(np.isfinite(limit), dense[row, bars] >= limit, np.nan)
    return found


_RETRACEMENTS_SQL = f"""
WITH known AS (
    SELECT {SERIES}, known_at, arg_max(struct_pack(way := retracement), struct_pack(t := ended_at, v := value)) AS last
    FROM bars.liquidation_retracements
    WHERE known_at >= $start::TIMESTAMP - INTERVAL {round(_REMEMBERED.total_seconds())} SECOND
      AND known_at < $end::TIMESTAMP
    GROUP BY ALL
), bar AS (
    SELECT {SERIES}, bar_ts
    FROM bars.bars_1m
    WHERE market_type = 'futures' AND open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
)
SELECT {", ".join(f"b.{name}" for name in SERIES_NAMES)}, b.bar_ts, k.last.way AS retracement
FROM bar b ASOF JOIN known k
  ON {" AND ".join(f"b.{name} = k.{name}" for name in SERIES_NAMES)} AND b.bar_ts > k.known_at
WHERE b.bar_ts - k.known_at <= INTERVAL {round(_REMEMBERED.total_seconds())} SECOND
"""


def _retracements(store: Store, bars: Grid, start: datetime, end: datetime) -> Array:
    rows = store.query(_RETRACEMENTS_SQL, {"start": start, "end": end}, timeout_s=600)
    return Grid.of(rows, start + MINUTE, end, MINUTE, bars.series)["retracement"]


def _completeness(bars: Grid, outputs: int) -> npt.NDArray[np.object_]:
    closing = [bars.first + MINUTE * bar for bar in range(outputs)]
    rows = [
        [feeds.completeness(exchange, market_type, time - MINUTE) for time in closing]
        for _, exchange, market_type in bars.series
    ]
    return np.array(rows, dtype=object).reshape(len(bars.series), outputs)


def _floor(time: datetime) -> datetime:
    """The last full five minutes at or before ``time``."""
    return time - timedelta(microseconds=epoch_us(time) % round(FIVE / timedelta(microseconds=1)))


LAYER = Layer(
    LIQUIDATIONS.table,
    _compute,
    tuple(
        table.qualified
        for table in (BARS_1M, LIQUIDATIONS_1M, LIQUIDATIONS_5M, MID_RANGE_1M, OI_1M, CLUSTERS, RETRACEMENTS)
    ),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={
        BARS_1M.qualified: timedelta(0),
        OI_1M.qualified: timedelta(0),
        MID_RANGE_1M.qualified: _QUARTER * MINUTE,
        LIQUIDATIONS_1M.qualified: 7 * DAY + measures.FIVE * MINUTE,
        CLUSTERS.qualified: 7 * DAY,
        RETRACEMENTS.qualified: _REMEMBERED,
    },
    lineage=LIQUIDATIONS.lineage | {"n_obs": columns_of(LIQUIDATIONS_1M.qualified, "long_count", "short_count")},
)
