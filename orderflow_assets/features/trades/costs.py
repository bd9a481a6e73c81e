"""What takers paid: each parent against the mid before it and the mid a minute after it (Huang & Stoll 1996).

The mid before a parent is that of the last quote strictly before it, the mid after it that of the last quote 60 s
later at the latest; a quote stands for 5 s, a crossed or one-sided one for nothing. The price of a parent is its value
over its volume. What the minute after must show is stamped when that minute is over, never earlier.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, MINUTE, NUMBER, SERIES, STALE, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, epoch_us
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

AFTER = timedelta(seconds=60)
_AFTER_US, _STALE_US, _MINUTE_US = (round(span / timedelta(microseconds=1)) for span in (AFTER, STALE, MINUTE))

COSTS: tuple[str, ...] = ("effective_spread_bps", "realized_spread_bps_60s", "price_impact_bps_60s")

SPREADS_1M = Table(
    "bars",
    "spreads_1m",
    (
        *BAR_COLUMNS,
        Column("parents", "BIGINT", "parents of the bar with a mid before them", "count", False),
        Column("effective_spread_bps", "DOUBLE", "twice their distance from that mid, weighted by value", "bps"),
        Column("settled_parents", "BIGINT", "parents of a minute earlier with both mids", "count", False),
        Column("realized_spread_bps_60s", "DOUBLE", "twice their distance from the mid 60 s later", "bps"),
        Column("price_impact_bps_60s", "DOUBLE", "twice what the mid moved their way in 60 s", "bps"),
    ),
    BAR_KEY,
    "open_time",
    "One row per series and minute in which parents could be compared with the mid.",
)

_QUOTES_SQL = f"""
SELECT {NUMBER} AS series, epoch_us(timestamp) AS us,
       CASE WHEN bid_price > 0 AND ask_price > bid_price THEN (bid_price + ask_price) / 2 ELSE 'NaN' END AS mid
FROM main.prices
WHERE timestamp >= ? AND timestamp < ?
ORDER BY series, timestamp, id
"""

_PARENTS_SQL = f"""
SELECT {NUMBER} AS series, epoch_us(timestamp) AS us, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS sign, notional,
       notional / quantity AS price
FROM bars.parent_trades
WHERE timestamp >= ? AND timestamp < ? AND quantity > 0
ORDER BY series, timestamp
"""

_SERIES_SQL = f"""
SELECT DISTINCT {SERIES}, {NUMBER} AS series FROM bars.parent_trades WHERE timestamp >= ? AND timestamp < ?
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(STREAMS["prices"].table, PARENT_TRADES, SPREADS_1M)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    since = start - AFTER
    quotes, parents, named = (
        store.query(sql, [first, end], timeout_s=600)
        for sql, first in ((_QUOTES_SQL, since - STALE), (_PARENTS_SQL, since), (_SERIES_SQL, since))
    )
    series = {row.pop("series"): tuple(row.values()) for row in named.to_pylist()}
    if not series:
        return store.write(SPREADS_1M, SPREADS_1M.arrow_schema.empty_table(), Window(start, end))
    bars = round((end - start) / MINUTE)
    first, beyond = epoch_us(start), epoch_us(end)
    number, *known = (quotes[name].to_numpy() for name in quotes.column_names)
    owner, *traded = (parents[name].to_numpy() for name in parents.column_names)
    measured = []
    for one in series:
        us, mid = (values[slice(*np.searchsorted(number, [one, one + 1]))] for values in known)
        when, sign, notional, price = (values[slice(*np.searchsorted(owner, [one, one + 1]))] for values in traded)
        before = _standing(us, mid, when, "left")
        later = np.where(when + _AFTER_US < beyond, _standing(us, mid, when + _AFTER_US, "right"), np.nan)
        with np.errstate(invalid="ignore"):
            effective, realized = (2e4 * sign * (price - reference) / before for reference in (before, later))
        now = (when - first) // _MINUTE_US
        measured.append(
            (
                *_means(now, notional, effective, bars),
                *_means(now + 1, notional, realized, bars),
                _means(now + 1, notional, effective - realized, bars)[1],
            )
        )
    values = dict(zip(SPREADS_1M.names[len(BAR_COLUMNS) :], map(np.stack, zip(*measured, strict=True)), strict=True))
    present = (values["parents"] > 0) | (values["settled_parents"] > 0)
    grid = Grid(tuple(series.values()), start + MINUTE, MINUTE, present, values)
    return store.write(SPREADS_1M, grid.table(SPREADS_1M, values, bars), Window(start, end))


def _standing(us: np.ndarray, mid: Array, moments: np.ndarray, side: Literal["left", "right"]) -> Array:
    """The mid that stands at each of ``moments``, or just before it with side ``left``; NaN where none does."""
    last = np.searchsorted(us, moments, side=side) - 1
    fresh = (last >= 0) & (moments - us[np.maximum(last, 0)] <= _STALE_US) if len(us) else np.zeros(len(moments), bool)
    standing = np.full(len(moments), np.nan)
    standing[fresh] = mid[last[fresh]]
    return standing


def _means(bar: np.ndarray, weight: Array, value: Array, bars: int) -> tuple[Array, Array]:
    """How many values each of ``bars`` bars has, and their weighted mean, NaN without any."""
    kept = np.isfinite(value) & (bar >= 0) & (bar < bars)
    bar, weight, value = bar[kept], weight[kept], value[kept]
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bar, weight * value, bars) / np.bincount(bar, weight, bars)
    return np.bincount(bar, minlength=bars).astype(float), mean


_COMPARED = (
    *columns_of(PARENT_TRADES.qualified, "timestamp", "quantity"),
    *columns_of(STREAMS["prices"].table.qualified, "timestamp", "bid_price", "ask_price"),
)

LAYER = Layer(
    SPREADS_1M,
    _compute,
    (PARENT_TRADES.qualified, STREAMS["prices"].table.qualified),
    AFTER + STALE,
    "bars",
    ("duckdb", "python"),
    lineage={
        **dict.fromkeys(("parents", "settled_parents"), _COMPARED),
        **dict.fromkeys(COSTS, (*_COMPARED, *columns_of(PARENT_TRADES.qualified, "notional", "side"))),
    },
)
