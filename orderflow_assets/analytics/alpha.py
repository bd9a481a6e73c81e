"""``analytics.alpha``: institutional pressure, squeeze, absorption and their composite, every minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.analytics.alpha_declarations import ALPHA, BANDS, LEAST_KNOWN, PRESSURE_WEIGHTS, SQUEEZE_WEIGHTS
from orderflow_assets.analytics.cross_declarations import CROSS_EXCHANGE
from orderflow_assets.analytics.inputs import QUARTER, WEEK, features, signed_rank, week_before
from orderflow_assets.analytics.leverage_declarations import LEVERAGE
from orderflow_assets.analytics.order_flow_declarations import ORDER_FLOW
from orderflow_assets.analytics.symbols import Venues, minutes_between, rows
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import HOUR, MINUTE, closed_window, hours
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Array, Grid, Identity, current, percent_rank, rolling_sum
from orderflow_assets.features.words import Words, worded
from orderflow_assets.layer import EVERY_ROW, Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_HOUR, _TREND = 60, 15
_POINTS_ITS_WAY = 0.1
_READ = {
    ORDER_FLOW.table: ("liquidity_imbalance", "aggression_15m", "liquidity_vacuum"),
    LEVERAGE.table: ("oi_intent", "leverage_index", "funding_stress", "basis_bps"),
    CROSS_EXCHANGE.table: ("flow_synchronization",),
}
_BOOK = {"orderbook": ("absorption_ratio", "absorbing_side")}
_DECLARED = ALPHA.table


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, GROUPS["orderbook"].table, *_READ, _DECLARED)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = minutes_between(start, end)
    bars = Grid.read(store, BARS_1M, ("quote_volume",), start + MINUTE - HOUR, end, MINUTE)
    venues = Venues(bars.series)
    present = venues.count(bars.present[:, -outputs:])
    if not present.any():
        return store.write(_DECLARED, _DECLARED.arrow_schema.empty_table(), Window(start, end))
    book = features(store, _BOOK, bars.series, start + MINUTE, end)
    ranked = _ranked(store, venues.symbols, start - _TREND * MINUTE, end)
    pressure, known = _weighted(ranked, PRESSURE_WEIGHTS)
    squeeze, squeeze_known = _weighted(ranked, SQUEEZE_WEIGHTS)
    absorption, absorbing = _absorption(venues, book, rolling_sum(bars["quote_volume"], _HOUR, outputs))
    now = {name: current(array, outputs) for name, array in ranked.items()}
    squeezing = -np.sign(now.pop("funding_rank"))
    score = 100 * current(pressure, outputs)
    composite = _composite(score, current(squeeze, outputs) * squeezing, absorption * absorbing)
    values = now | {
        "institutional_pressure": score,
        "pressure_trend": score - 100 * pressure[:, :outputs],
        "squeeze": current(squeeze, outputs),
        "squeeze_side": _sides(squeezing, "up", "down"),
        "absorption": absorption,
        "absorbing_side": _sides(absorbing, "buy", "sell"),
        "composite": composite,
        "bias": bias(composite),
        "agreement": _agreement([now[name] for name in PRESSURE_WEIGHTS], score),
        "confidence": current(known, outputs),
        "squeeze_confidence": current(squeeze_known, outputs),
    }
    data = rows(_DECLARED, venues.symbols, start, present > 0, values | {"n_obs": present})
    return store.write(_DECLARED, data, Window(start, end))


def _ranked(store: Store, symbols: tuple[str, ...], start: datetime, end: datetime) -> dict[str, Array]:
    """The parts of the scores at the minutes of ``[start, end)``, which may lie over more than one hour."""
    series: list[Identity] = [(symbol, "", "") for symbol in symbols]
    now: dict[str, Array] = {}
    past: dict[str, Array] = {}
    for table, names in _READ.items():
        read = store.query(
            f"SELECT symbol, '' AS exchange, '' AS market_type, bar_ts, {', '.join(names)} FROM {table.qualified} "
            "WHERE open_time >= ? AND open_time < ?",
            [start, end],
            timeout_s=600,
        )
        grid = Grid.of(read, start + MINUTE, end, MINUTE, series)
        now |= {name: grid[name] for name in names}
        past |= week_before(store, table, {name: name for name in names}, start, end, series)
    for values in (now, past):
        values["sync"] = values["flow_synchronization"] * np.sign(values["aggression_15m"])
    stress = signed_rank(now["funding_stress"], past["funding_stress"])
    return {
        "pressure_book": signed_rank(now["liquidity_imbalance"], past["liquidity_imbalance"]),
        "pressure_flow": signed_rank(now["aggression_15m"], past["aggression_15m"]),
        "pressure_intent": signed_rank(now["oi_intent"], past["oi_intent"]),
        "pressure_funding": -stress,
        "pressure_basis": signed_rank(now["basis_bps"], past["basis_bps"]),
        "pressure_sync": signed_rank(now["sync"], past["sync"]),
        "squeeze_leverage": percent_rank(now["leverage_index"], past["leverage_index"]),
        "squeeze_crowding": np.abs(stress),
        "squeeze_vacuum": now["liquidity_vacuum"],
        "funding_rank": stress,
    }


def _weighted(parts: Mapping[str, Array], weights: Mapping[str, float]) -> tuple[Array, Array]:
    """Mean of the known parts and the share of the weight that they are; NaN under :data:`LEAST_KNOWN`."""
    stacked = np.stack([parts[name] for name in weights])
    weight = np.array(list(weights.values()))[:, None, None]
    there = np.where(np.isfinite(stacked), weight, 0.0).sum(axis=0)
    known = there / weight.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(stacked * weight, axis=0) / there
    return np.where(known >= LEAST_KNOWN, mean, np.nan), known


def _absorption(venues: Venues, book: dict[str, Array], value: Array) -> tuple[Array, Array]:
    """Mean absorption over the venues, and its side: 1 where buyers absorb, -1 where sellers do."""
    ratio, side = book["orderbook.absorption_ratio"], book["orderbook.absorbing_side"]
    return venues.mean(ratio, value), np.sign(venues.total(value * ratio * side))


def _composite(score: Array, squeeze: Array, absorption: Array) -> Array:
    parts = np.stack([score / 100, squeeze, absorption])
    known = np.isfinite(parts).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known > 1, 100 * np.nansum(parts, axis=0) / known, np.nan)


def _agreement(parts: list[Array], score: Array) -> Array:
    stacked = np.stack(parts)
    known = np.isfinite(stacked).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        its_way = (stacked * np.sign(score) > _POINTS_ITS_WAY).sum(axis=0)
        return np.where(np.isfinite(score), its_way / known, np.nan)


def bias(score: Array) -> Words:
    """The words for scores in [-100, 100], None where unknown."""
    sided = (
        (sign * score >= edge, f"{word}_{side}") for edge, word in BANDS for sign, side in ((1, "buy"), (-1, "sell"))
    )
    return worded(*sided, (np.isfinite(score), "neutral"))


def _sides(sign: Array, up: str, down: str) -> Words:
    return worded((sign > 0, up), (sign < 0, down), (sign == 0, "none"))


LAYER = Layer(
    _DECLARED,
    _compute,
    (BARS_1M.qualified, GROUPS["orderbook"].table.qualified, *(table.qualified for table in _READ)),
    WEEK + timedelta(minutes=_TREND),
    "analytics",
    ("duckdb", "python"),
    backs={BARS_1M.qualified: HOUR, GROUPS["orderbook"].table.qualified: timedelta(0)},
    marks={table.qualified: {EVERY_ROW: _TREND * MINUTE, QUARTER: WEEK + _TREND * MINUTE} for table in _READ},
    lineage=ALPHA.lineage | {"n_obs": columns_of(BARS_1M.qualified, "bar_ts")},
)
