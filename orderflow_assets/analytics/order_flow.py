"""``analytics.order_flow``: liquidity, aggression and trading cost of a symbol over all its venues, every minute."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

import numpy as np

from orderflow_assets.analytics.inputs import QUARTER, WEEK, features, week_before
from orderflow_assets.analytics.order_flow_declarations import ORDER_FLOW
from orderflow_assets.analytics.symbols import Venues, imbalance, minutes_between, ratio, rows
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, HOUR, MINUTE, closed_window, hours, midnight
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Array, Grid, current, percent_rank, rolling_sum
from orderflow_assets.layer import EVERY_ROW, Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_HOUR, _QUARTER, _FIVE = 60, 15, 5
_READ = {
    "orderbook": (
        "bid_depth_25bps",
        "ask_depth_25bps",
        "bid_depth_5",
        "ask_depth_5",
        "bid_depth_10",
        "ask_depth_10",
        "liquidity_persistence_score",
    ),
    "trades": ("whale_volume_ratio", "market_impact_per_volume", "amihud_illiq", "effective_spread_bps"),
    "prices": ("realized_variance_1h",),
}
_COSTS = {
    "whale_share": "trades.whale_volume_ratio",
    "kyle_lambda": "trades.market_impact_per_volume",
    "amihud_illiq": "trades.amihud_illiq",
    "effective_spread_bps": "trades.effective_spread_bps",
    "realized_variance_1h": "prices.realized_variance_1h",
}
_DEPTH_SQL = {"depth": "bid_depth_25bps + ask_depth_25bps"}
_DECLARED = ORDER_FLOW.table


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, *(GROUPS[group].table for group in _READ), _DECLARED)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = minutes_between(start, end)
    day = midnight(start)
    since = min(day, start - HOUR)
    bars = Grid.read(store, BARS_1M, ("quote_volume", "taker_buy_quote"), since + MINUTE, end, MINUTE)
    venues = Venues(bars.series)
    present = venues.count(bars.present[:, -outputs:])
    if not present.any():
        return store.write(_DECLARED, _DECLARED.arrow_schema.empty_table(), Window(start, end))
    read = features(store, _READ, bars.series, start + MINUTE - _FIVE * MINUTE, end)
    depths = week_before(store, GROUPS["orderbook"].table, _DEPTH_SQL, start, end, bars.series)["depth"]
    value = rolling_sum(bars["quote_volume"], _HOUR, outputs)
    values = (
        _liquidity(venues, read, depths, outputs)
        | _aggression(venues, bars, outputs, minutes_between(day, start))
        | {name: venues.mean(current(read[column], outputs), value) for name, column in _COSTS.items()}
    )
    known = np.mean([np.isfinite(values[feature.name]) for feature in ORDER_FLOW.features], axis=0)
    data = rows(_DECLARED, venues.symbols, start, present > 0, values | {"n_obs": present, "confidence": known})
    return store.write(_DECLARED, data, Window(start, end))


def _liquidity(venues: Venues, read: dict[str, Array], depths: Array, outputs: int) -> dict[str, Array]:
    """Balance and thinness of the books; ``depths`` is each venue's week before."""
    sums = {
        place: [venues.total(read[f"orderbook.{side}_depth_{place}"]) for side in ("bid", "ask")]
        for place in ("25bps", "5", "10")
    }
    balance = imbalance(*sums["25bps"])
    own = current(read["orderbook.bid_depth_25bps"] + read["orderbook.ask_depth_25bps"], outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = np.nansum(depths, axis=-1) / np.isfinite(depths).sum(axis=-1)
    return {
        "liquidity_imbalance": current(balance, outputs),
        "liquidity_imbalance_5": current(imbalance(*sums["5"]), outputs),
        "liquidity_imbalance_10": current(imbalance(*sums["10"]), outputs),
        "liquidity_imbalance_velocity": (balance[:, _FIVE:] - balance[:, :-_FIVE]) / _FIVE,
        "depth": venues.total(own),
        "liquidity_vacuum": venues.mean(1 - percent_rank(own, depths), usual),
        "book_persistence": venues.mean(current(read["orderbook.liquidity_persistence_score"], outputs), own),
    }


def _aggression(venues: Venues, bars: Grid, outputs: int, since_midnight: int) -> dict[str, Array]:
    """Who takes, per bar and over stretches of bars; ``since_midnight`` minutes of the day lie before the first bar."""
    buy = venues.total(bars["taker_buy_quote"])
    whole = venues.total(bars["quote_volume"])
    delta = 2 * buy - whole
    ten = rolling_sum(whole, 2 * _FIVE, outputs)
    five = rolling_sum(delta, _FIVE, outputs + _FIVE)
    today = np.where(np.isfinite(delta), delta, 0.0)[:, delta.shape[1] - outputs - since_midnight :]
    return {
        "buy_value": current(buy, outputs),
        "sell_value": np.maximum(0.0, current(whole - buy, outputs)),
        "aggression": ratio(current(delta, outputs), current(whole, outputs)),
        "aggression_15m": ratio(rolling_sum(delta, _QUARTER, outputs), rolling_sum(whole, _QUARTER, outputs)),
        "flow_acceleration": ratio(five[:, _FIVE:] - five[:, :-_FIVE], ten),
        "cvd_value": np.where(np.isfinite(current(delta, outputs)), current(np.cumsum(today, axis=1), outputs), np.nan),
    }


LAYER = Layer(
    _DECLARED,
    _compute,
    (BARS_1M.qualified, *(GROUPS[group].table.qualified for group in _READ)),
    max(WEEK, DAY),
    "analytics",
    ("duckdb", "python"),
    backs={
        BARS_1M.qualified: DAY,
        **{GROUPS[group].table.qualified: _FIVE * MINUTE for group in ("trades", "prices")},
    },
    marks={GROUPS["orderbook"].table.qualified: {EVERY_ROW: _FIVE * MINUTE, QUARTER: WEEK}},
    lineage={
        **ORDER_FLOW.lineage,
        "n_obs": columns_of(BARS_1M.qualified, "bar_ts"),
        "confidence": tuple(dict.fromkeys(chain(*ORDER_FLOW.lineage.values()))),
    },
)
