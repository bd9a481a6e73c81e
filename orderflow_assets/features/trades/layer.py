"""``features.trades``: from bars, parent trades, buckets and executions to the declared trade features."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import DAY, HOUR, MINUTE, SERIES, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, current, epoch_us, rolling_sum, split_series
from orderflow_assets.features.trades import flow, impact, sizes
from orderflow_assets.features.trades.buckets import PER_DAY, VOLUME_BUCKETS
from orderflow_assets.features.trades.costs import COSTS, SPREADS_1M
from orderflow_assets.features.trades.declarations import TRADES, WHALE_FLOOR
from orderflow_assets.features.trades.executions import EXECUTIONS_1M
from orderflow_assets.features.trades.sizes import Parents
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_DAY, _HOUR, _QUARTER = 1440, 60, 15
_WEEK = 7 * DAY
_LOOKBACK = flow.DAYS_BACK * DAY + HOUR
_UNSEEN = 0.2
_ICEBERG_QUANTILE = 0.95
_LARGE = 0.97
"""Quantile of the values of the last hour from which a parent of the day before is read; whales lie far above."""
_BPS, _MILLION = 1e4, 1e6
_TEN_S = timedelta(seconds=10)
_INPUTS = (BARS_1M, PARENT_TRADES, QUOTES_1S, VOLUME_BUCKETS, EXECUTIONS_1M, SPREADS_1M)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*_INPUTS, TRADES.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = round((end - start) / MINUTE)
    first = start - DAY - HOUR
    bars = Grid.read(store, BARS_1M, flow.COLUMNS, first + MINUTE, end, MINUTE)
    if not bars.series:
        return store.write(TRADES.table, TRADES.table.arrow_schema.empty_table(), Window(start, end))
    values = flow.bar_features(bars, outputs, start.hour * _HOUR + start.minute)
    values["amihud_illiq"] = flow.amihud(bars, outputs, first.minute)
    values["flow_intensity"] = flow.intensity(values["parent_count"], _same_times(store, bars, start, end))
    values["flow_toxicity"] = _toxicity(store, bars, start, end)
    values |= _sizes(store, bars, start, end)
    alive = np.isfinite(values["total_volume"])
    values["whale_trade_detected"] = np.where(alive, values["whale_trade_detected"], np.nan)
    values |= _ten_seconds(store, bars, start, end)
    values |= _icebergs(store, bars, start, end)
    values |= Grid.read(store, SPREADS_1M, COSTS, start + MINUTE, end, MINUTE, bars.series).columns
    return store.write(TRADES.table, bars.table(TRADES.table, values, outputs), Window(start, end))


def _same_times(store: Store, bars: Grid, start: datetime, end: datetime) -> Array:
    """Parents per minute of the previous days near the times of [start, end), laid out for ``flow.intensity``."""
    edge = flow.NEIGHBOURS * MINUTE
    since = start - flow.DAYS_BACK * DAY - edge
    rows = store.query(
        f"SELECT {SERIES}, bar_ts, parent_count FROM bars.bars_1m WHERE open_time >= $since AND open_time < $until "
        "AND (epoch_us(open_time) - epoch_us($since::TIMESTAMP)) % 86400000000 < epoch_us($span::TIMESTAMP)",
        {"since": since, "until": end, "span": datetime(1970, 1, 1) + (end - start) + 2 * edge},  # noqa: DTZ001
        timeout_s=600,
    )
    return Grid.of(rows, since + MINUTE, end, MINUTE, bars.series)["parent_count"]


_BUCKETS_SQL = f"""
SELECT {SERIES}, epoch_us(filled_at) AS us, abs(2 * bought - size) / size AS imbalance
FROM bars.volume_buckets
WHERE filled_at >= ? AND filled_at < ?
ORDER BY {SERIES}, filled_at, bucket
"""


def _toxicity(store: Store, bars: Grid, start: datetime, end: datetime) -> Array:
    """Mean imbalance of the last 50 buckets that filled in the week before each bar's closing edge."""
    closing = _edges(start, end, MINUTE)
    week = round(_WEEK / timedelta(microseconds=1))
    place = {identity: index for index, identity in enumerate(bars.series)}
    values = np.full((len(bars.series), len(closing)), np.nan)
    for identity, rows in split_series(store.query(_BUCKETS_SQL, [start - _WEEK, end], timeout_s=600)):
        if identity not in place:
            continue
        filled, imbalance = rows["us"].to_numpy(), rows["imbalance"].to_numpy()
        until = np.searchsorted(filled, closing)
        usable = until - np.searchsorted(filled, closing - week) >= PER_DAY
        means = [imbalance[last - PER_DAY : last].mean() for last in until[usable]]
        values[place[identity], usable] = means
    return values


_BAR = "(epoch_us(timestamp) - epoch_us($since::TIMESTAMP)) // 60000000 AS bar"

_PARENTS_SQL = f"""
SELECT {SERIES}, {_BAR}, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS sign, notional, last_price
FROM bars.parent_trades
WHERE timestamp >= $since AND timestamp < $end
ORDER BY {SERIES}, timestamp, first_id
"""

# Whales are few: of the day before, only what is large beside the last hour is read, and all of it where that is not
# enough.
_LARGE_SQL = f"""
WITH usual AS (
    SELECT {SERIES}, quantile_cont(notional, {_LARGE}) AS large
    FROM bars.parent_trades
    WHERE timestamp >= $recent AND timestamp < $end
    GROUP BY {SERIES}
)
SELECT {SERIES}, {_BAR}, notional
FROM bars.parent_trades JOIN usual USING ({SERIES})
WHERE timestamp >= $since AND timestamp < $end AND notional >= large
ORDER BY {SERIES}
"""
_ALL_SQL = f"""
SELECT {_BAR}, notional
FROM bars.parent_trades
WHERE {" AND ".join(f"{name} = ${name}" for name in SERIES_NAMES)} AND timestamp >= $since AND timestamp < $end
"""


def _sizes(store: Store, bars: Grid, start: datetime, end: datetime) -> dict[str, Array]:
    judged = round((end - start) / MINUTE) + _QUARTER - 1
    recent = end - judged * MINUTE
    parents = {
        identity: Parents(*(rows[name].to_numpy() for name in rows.column_names[len(SERIES_NAMES) :]))
        for identity, rows in split_series(store.query(_PARENTS_SQL, {"since": recent, "end": end}, timeout_s=600))
    }
    thresholds = _whale_thresholds(store, bars, recent, end)
    measured = [
        sizes.size_features(parents.get(identity, sizes.NOBODY), threshold)
        for identity, threshold in zip(bars.series, thresholds, strict=True)
    ]
    return {name: np.stack([series[name] for series in measured]) for name in measured[0]}


def _whale_thresholds(store: Store, bars: Grid, recent: datetime, end: datetime) -> list[Array]:
    """Value from which a parent is a whale, per series and bar from ``recent`` on."""
    window = {"since": recent - DAY, "end": end}
    judged = np.arange(_DAY, round((end - recent + DAY) / MINUTE))
    counts = np.nan_to_num(bars["parent_count"][:, -judged[-1] - 1 :]).astype(np.int64)
    large = dict(split_series(store.query(_LARGE_SQL, window | {"recent": recent}, timeout_s=600)))
    thresholds = []
    none = pa.schema([("bar", pa.int64()), ("notional", pa.float64())]).empty_table()
    for identity, count in zip(bars.series, counts, strict=True):
        try:
            quantile = _whales(large.get(identity, none), judged, count)
        except sizes.OutOfReachError:
            rows = store.query(_ALL_SQL, window | dict(zip(SERIES_NAMES, identity, strict=True)), timeout_s=600)
            quantile = _whales(rows, judged, None)
        thresholds.append(np.maximum(quantile, WHALE_FLOOR))
    return thresholds


def _whales(rows: pa.Table, judged: np.ndarray, counts: np.ndarray | None) -> Array:
    bar, value = rows["bar"].to_numpy(), rows["notional"].to_numpy()
    return sizes.trailing_quantile(bar, value, _DAY, judged, sizes.WHALE_QUANTILE, counts)


_TEN_SECONDS_SQL = f"""
SELECT {SERIES}, make_timestamp((epoch_us(timestamp) // 10000000 + 1) * 10000000) AS bar_ts,
       count(*) AS parents, sum(CASE side WHEN 'buy' THEN notional ELSE -notional END) AS signed
FROM bars.parent_trades
WHERE timestamp >= ? AND timestamp < ?
GROUP BY ALL
"""
_MID_SQL = f"""
SELECT {SERIES}, bar_ts, (bid_price + ask_price) / 2 AS mid
FROM bars.quotes_1s
WHERE open_time >= ?::TIMESTAMP - INTERVAL 1 SECOND AND open_time < ? AND epoch_us(bar_ts) % 10000000 = 0
"""


def _ten_seconds(store: Store, bars: Grid, start: datetime, end: datetime) -> dict[str, Array]:
    outputs = round((end - start) / MINUTE)
    since = start - HOUR
    traded = Grid.of(
        store.query(_TEN_SECONDS_SQL, [since, end], timeout_s=600), since + _TEN_S, end, _TEN_S, bars.series
    )
    mids = Grid.of(store.query(_MID_SQL, [since, end], timeout_s=600), since, end, _TEN_S, bars.series)
    alive = np.repeat(np.isfinite(current(bars["volume"], outputs + _HOUR)), impact.PER_MINUTE, axis=1)
    counts = np.where(traded.present, traded["parents"], np.where(alive, 0.0, np.nan))
    returns = _BPS * np.diff(np.log(mids["mid"]), axis=1)
    return {
        **impact.kyle(traded["signed"] / _MILLION, returns, outputs),
        "trade_clustering_index": impact.clustering(counts, outputs),
    }


def _icebergs(store: Store, bars: Grid, start: datetime, end: datetime) -> dict[str, Array]:
    outputs = round((end - start) / MINUTE)
    week = _WEEK // MINUTE
    names = ("parents", "unseen_parents", "executed", "hidden")
    executions = Grid.read(
        store, EXECUTIONS_1M, names, start + MINUTE - _WEEK - _QUARTER * MINUTE, end, MINUTE, bars.series
    )
    parents, unseen, executed, hidden = (rolling_sum(executions[name], _QUARTER, week + outputs) for name in names)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where((unseen / parents <= _UNSEEN) & (executed > 0), hidden / executed, np.nan)
    judged = np.arange(week, week + outputs)
    limits = []
    for row in share:
        known = np.flatnonzero(np.isfinite(row))
        limits.append(sizes.trailing_quantile(known, row[known], week, judged, _ICEBERG_QUANTILE))
    now, limit = current(share, outputs), np.array(limits)
    usual = np.isfinite(now) & np.isfinite(limit)
    return {
        "iceberg_probability": now,
        "iceberg_detected": np.where(usual, (now >= limit) & (now > 0), np.nan),
    }


def _edges(start: datetime, end: datetime, step: timedelta) -> np.ndarray:
    """Closing edges of the bars of [start, end), microseconds since 1970."""
    length = round(step / timedelta(microseconds=1))
    return np.arange(epoch_us(start) + length, epoch_us(end) + 1, length)


LAYER = Layer(
    TRADES.table,
    _compute,
    tuple(table.qualified for table in _INPUTS),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={
        PARENT_TRADES.qualified: DAY + _QUARTER * MINUTE,
        QUOTES_1S.qualified: HOUR + timedelta(seconds=1),
        VOLUME_BUCKETS.qualified: _WEEK,
        EXECUTIONS_1M.qualified: _WEEK + _QUARTER * MINUTE,
        SPREADS_1M.qualified: timedelta(0),
    },
    lineage=TRADES.lineage | {"n_obs": columns_of(BARS_1M.qualified, "trade_count")},
)
