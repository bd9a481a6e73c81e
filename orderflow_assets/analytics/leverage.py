"""``analytics.leverage``: open interest, forced closures, funding and basis of a symbol over its futures venues."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

import numpy as np

from orderflow_assets.analytics.inputs import features
from orderflow_assets.analytics.leverage_declarations import CONTANGO_BPS, LEVERAGE
from orderflow_assets.analytics.symbols import Venues, imbalance, minutes_between, ratio, rows
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import HOUR, MINUTE, closed_window, hours
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Array, Grid, current, enough, rolling_sum, windows
from orderflow_assets.features.words import Words, worded
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_HOUR, _FIVE = 60, 5
_LEAST_MINUTES = 30
_PCT_TO_BPS = 100.0
_READ = {
    "oi": (
        "oi_value",
        "oi_delta_pct",
        "position_intent_score",
        "leverage_index",
        "leverage_zscore",
        "long_liquidation_notional",
        "short_liquidation_notional",
        "liquidation_cascade_risk",
    ),
    "liquidations": ("long_liquidation_value", "short_liquidation_value"),
    "funding": ("funding_carry_yield", "funding_zscore"),
    "mark_prices": ("mark_spot_basis_pct", "basis_zscore"),
}
_WEIGHTED = {
    "oi_change_1h_pct": "oi.oi_delta_pct",
    "oi_intent": "oi.position_intent_score",
    "leverage_zscore": "oi.leverage_zscore",
    "cascade_risk": "oi.liquidation_cascade_risk",
    "funding_carry": "funding.funding_carry_yield",
    "funding_stress": "funding.funding_zscore",
    "basis_zscore": "mark_prices.basis_zscore",
}
_DECLARED = LEVERAGE.table


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, *(GROUPS[group].table for group in _READ), _DECLARED)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = minutes_between(start, end)
    bars = Grid.read(store, BARS_1M, (), start + MINUTE, end, MINUTE)
    bars = bars.reordered([identity for identity in bars.series if identity[2] == "futures"])
    if not bars.present.any():
        return store.write(_DECLARED, _DECLARED.arrow_schema.empty_table(), Window(start, end))
    venues = Venues(bars.series)
    read = features(store, _READ, bars.series, start + MINUTE - HOUR, end)
    now = {name: current(array, outputs) for name, array in read.items()}
    weight = now["oi.oi_value"]
    values = (
        {name: venues.mean(now[column], weight) for name, column in _WEIGHTED.items()}
        | _interest(venues, now)
        | _liquidations(venues, read, outputs)
        | _basis(venues, read, outputs)
    )
    numbers = [values[feature.name] for feature in LEVERAGE.features if feature.dtype == "float"]
    known = np.mean([np.isfinite(array) for array in numbers], axis=0)
    regime = _regime(values.pop("basis_1h"))
    present = venues.count(bars.present)
    data = rows(
        _DECLARED,
        venues.symbols,
        start,
        present > 0,
        values | {"basis_regime": regime, "confidence": known, "n_obs": present},
    )
    return store.write(_DECLARED, data, Window(start, end))


def _interest(venues: Venues, now: dict[str, Array]) -> dict[str, Array]:
    value = now["oi.oi_value"]
    traded = ratio(value, now["oi.leverage_index"])
    told = np.where(np.isfinite(traded), value, np.nan)
    longs, shorts = (venues.total(now[f"oi.{side}_liquidation_notional"]) for side in ("long", "short"))
    return {
        "oi_value": venues.total(value),
        "leverage_index": ratio(venues.total(told), venues.total(traded)),
        "long_liquidation_notional": longs,
        "short_liquidation_notional": shorts,
        "liquidation_pressure": imbalance(longs, shorts),
    }


def _liquidations(venues: Venues, read: dict[str, Array], outputs: int) -> dict[str, Array]:
    longs, shorts = (
        rolling_sum(venues.total(read[f"liquidations.{side}_liquidation_value"]), _FIVE, outputs)
        for side in ("long", "short")
    )
    return {"liquidated_value_5m": longs + shorts, "liquidation_imbalance": imbalance(longs, shorts)}


def _basis(venues: Venues, read: dict[str, Array], outputs: int) -> dict[str, Array]:
    basis = _PCT_TO_BPS * read["mark_prices.mark_spot_basis_pct"]
    whole = venues.mean(basis, read["oi.oi_value"])
    hour = windows(whole, _HOUR, outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(hour, axis=-1) / np.isfinite(hour).sum(axis=-1)
    now = current(basis, outputs)
    several = venues.count(np.isfinite(now)) > 1
    high, low = np.full((2, *several.shape), np.nan)
    for place, symbol in enumerate(venues.symbols):
        own = now[venues.of(symbol)]
        high[place] = np.where(np.isfinite(own), own, -np.inf).max(axis=0)
        low[place] = np.where(np.isfinite(own), own, np.inf).min(axis=0)
    return {
        "basis_bps": current(whole, outputs),
        "basis_dispersion_bps": np.where(several, high - low, np.nan),
        "basis_1h": np.where(enough(hour, _LEAST_MINUTES), mean, np.nan),
    }


def _regime(basis: Array) -> Words:
    return worded(
        (basis > CONTANGO_BPS, "contango"), (basis < -CONTANGO_BPS, "backwardation"), (np.isfinite(basis), "neutral")
    )


LAYER = Layer(
    _DECLARED,
    _compute,
    (BARS_1M.qualified, *(GROUPS[group].table.qualified for group in _READ)),
    HOUR,
    "analytics",
    ("duckdb", "python"),
    lineage={
        **LEVERAGE.lineage,
        "n_obs": columns_of(BARS_1M.qualified, "bar_ts"),
        "confidence": tuple(dict.fromkeys(chain(*LEVERAGE.lineage.values()))),
    },
)
