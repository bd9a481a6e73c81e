"""``features.funding``: from settlements and live estimates to the declared funding features."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, MINUTE, SERIES, closed_window, hours
from orderflow_assets.features.funding.declarations import BASELINE, EXTREME, FUNDING, NOTABLE, REGIMES
from orderflow_assets.features.funding.history import Settlements
from orderflow_assets.features.funding.live import FUNDING_1M, LONGEST_INTERVAL
from orderflow_assets.features.funding.peers import cross_sectional_z, differential
from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.features.funding.terms import TERMS, YEAR_8H
from orderflow_assets.features.grid import Array, Grid, Identity, epoch_us, split_series
from orderflow_assets.features.mark_prices.declarations import MARK_PRICES
from orderflow_assets.features.words import Words, worded
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_HISTORY = (BASELINE + 1) * LONGEST_INTERVAL + 5 * DAY
"""Settlements are looked for this far back: 91 of the longest interval, and a few days in which some were missed."""

_YEAR_H, _MINUTE_US = 8760, 60_000_000


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, FUNDING_1M, SETTLEMENTS, MARK_PRICES.table, FUNDING.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    spine = Grid.read(store, BARS_1M, (), start + MINUTE, end, MINUTE)
    live = Grid.of(store.query(_LIVE_SQL, [start, end], timeout_s=600), start + MINUTE, end, MINUTE)
    history = _history(store, start, end)
    wanted = {identity for identity in spine.series if identity[2] == "futures"}
    spine = spine.reordered(sorted(wanted | set(live.series) | set(history)))
    if not spine.series:
        return store.write(FUNDING.table, FUNDING.table.arrow_schema.empty_table(), Window(start, end))
    closing = epoch_us(start) + _MINUTE_US * np.arange(1, spine.present.shape[1] + 1)
    settled, source = _settled(spine, history, closing)
    pressure = Grid.read(store, MARK_PRICES.table, ("funding_pressure",), start + MINUTE, end, MINUTE, spine.series)
    values = {name: array for name, array in settled.items() if name in FUNDING.table.names}
    values |= _carry(spine.series, settled)
    live = live.reordered(spine.series)
    values |= _predicted(settled, live, pressure["funding_pressure"], closing)
    spread, high, low = differential(spine.series, values["funding_f8_live"], values["funding_f8"])
    labels = {
        "funding_source": source,
        "funding_regime": worded(*((values["funding_regime_score"] == score, name) for name, score in REGIMES.items())),
        "predicted_source": worded(
            (np.isfinite(live["live_rate"]), "venue"),
            (np.isfinite(values["predicted_funding_rate"]), "premium"),
        ),
        "funding_high_exchange": high,
        "funding_low_exchange": low,
    }
    rows = spine.table(FUNDING.table, values | spread | labels, len(closing))
    return store.write(FUNDING.table, rows, Window(start, end))


_SETTLED_SQL = f"""
SELECT {SERIES}, epoch_us(settled_at) AS settled_us, rate, interval_hours, source
FROM bars.funding_settlements
WHERE settled_at >= ? AND settled_at < ? AND interval_hours > 0
ORDER BY {SERIES}, settled_at
"""
_LIVE_SQL = f"""
SELECT {SERIES}, bar_ts, live_rate, interval_hours, epoch_us(heard_at) AS heard_us
FROM bars.funding_1m WHERE open_time >= ? AND open_time < ?
"""
_JUDGED = ("funding_zscore", "funding_percentile", "funding_volatility", "funding_momentum", "funding_acceleration")


def _history(store: Store, start: datetime, end: datetime) -> dict[Identity, Settlements]:
    rows = store.query(_SETTLED_SQL, [start - _HISTORY, end], timeout_s=600)
    return {
        identity: Settlements(*(part[name].to_numpy(zero_copy_only=False) for name in part.column_names[3:]))
        for identity, part in split_series(rows)
    }


def _settled(
    spine: Grid, history: dict[Identity, Settlements], closing: npt.NDArray[np.int64]
) -> tuple[dict[str, Array], Words]:
    """What the settlement in force at each bar says, its interval as ``hours``; and how it is known."""
    names = ("n_obs", "funding_rate", "hours", "funding_age_s", "funding_f8", *_JUDGED)
    values = {name: np.full(spine.present.shape, np.nan) for name in names}
    values["n_obs"][:] = 0
    source = np.full(spine.present.shape, None, dtype=object)
    for row, identity in enumerate(spine.series):
        if (found := history.get(identity)) is None:
            continue
        last = found.last(closing)
        for index in np.unique(last[last >= 0]).tolist():
            bars = last == index
            now = found.judged(index) | {
                "funding_rate": found.rate[index],
                "hours": found.interval_hours[index],
                "funding_f8": found.f8[index],
            }
            for name, value in now.items():
                values[name][row, bars] = value
            values["funding_age_s"][row, bars] = (closing[bars] - found.settled_us[index]) / 1e6
            source[row, bars] = found.source[index]
    return values, source


def _carry(series: tuple[Identity, ...], settled: dict[str, Array]) -> dict[str, Array]:
    f8 = settled["funding_f8"]
    interest = np.array([[TERMS[identity[1]].interest if identity[1] in TERMS else np.nan] for identity in series])
    excess = YEAR_8H * (f8 - interest)
    conditions = [excess > EXTREME, excess > NOTABLE, excess < -EXTREME, excess < -NOTABLE, np.isfinite(excess)]
    carry = settled["funding_rate"] * _YEAR_H / settled["hours"]
    return {
        "funding_regime_score": np.select(conditions, [2.0, 1.0, -2.0, -1.0, 0.0], np.nan),
        "funding_carry_yield": carry,
        "funding_carry_zscore": cross_sectional_z(series, carry),
    }


def _predicted(
    settled: dict[str, Array], live: Grid, pressure: Array, closing: npt.NDArray[np.int64]
) -> dict[str, Array]:
    interval = np.where(np.isfinite(live["interval_hours"]), live["interval_hours"], settled["hours"])
    told = np.isfinite(live["live_rate"])
    rate = np.where(told, live["live_rate"], pressure)
    return {
        "predicted_funding_rate": rate,
        "funding_skew_index": 8 * rate / interval - settled["funding_f8"],
        "funding_interval_hours": interval,
        "funding_f8_live": 8 * live["live_rate"] / interval,
        "funding_live_age_s": np.where(told, (closing - live["heard_us"]) / 1e6, np.nan),
    }


LAYER = Layer(
    FUNDING.table,
    _compute,
    tuple(table.qualified for table in (BARS_1M, FUNDING_1M, SETTLEMENTS, MARK_PRICES.table)),
    _HISTORY + timedelta(minutes=1),
    "features",
    ("duckdb", "python"),
    backs={table.qualified: timedelta(0) for table in (BARS_1M, FUNDING_1M, MARK_PRICES.table)},
    across=tuple(table.qualified for table in (FUNDING_1M, SETTLEMENTS)),
    lineage=FUNDING.lineage | {"n_obs": columns_of(SETTLEMENTS.qualified, "settled_at", "interval_hours")},
)
