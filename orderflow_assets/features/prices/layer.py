"""``features.prices``: from minutes and seconds of quotes to the declared price features."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import DAY, HOUR, MINUTE, SERIES, closed_window, hours
from orderflow_assets.features.grid import (
    Array,
    Grid,
    Identity,
    before,
    current,
    epoch_us,
    rolling_sum,
    slope,
    windows,
    zscore,
)
from orderflow_assets.features.prices import microprice, randomness
from orderflow_assets.features.prices.declarations import PRICES
from orderflow_assets.features.prices.microprice import MICROPRICE
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.store import Store, Window

BPS = 1e4
_DAY, _HOUR, _MINUTES = 1440, 60, 60
_QUARTER_S, _TEN_S = 900, 10
_HURST_EVERY = 15
"""Minutes from one estimate to the next."""

_LOOKBACK = DAY + HOUR
_PINNED, _ONE_TICK = 0.9, 1 + 1e-6
_LEAST_SECONDS = 30

_MINUTE_COLUMNS = (
    "mid_close",
    "bid_price",
    "ask_price",
    "bid_qty",
    "ask_qty",
    "quote_count",
    "spread",
    "spread_bps",
    "bid_share",
    "log_size_ratio",
    "volume",
    "quote_volume",
)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, QUOTES_1S, MICROPRICE, INSTRUMENTS, PRICES.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    bars = Grid.read(store, BARS_1M, _MINUTE_COLUMNS, start + MINUTE - _LOOKBACK, end, MINUTE)
    if not bars.series:
        return store.write(PRICES.table, PRICES.table.arrow_schema.empty_table(), Window(start, end))
    quotes = Grid.read(
        store, QUOTES_1S, ("bid_price", "ask_price"), start - HOUR, end, timedelta(seconds=1), bars.series
    )
    outputs = round((end - start) / MINUTE)
    tick = _ticks(store, bars.series)
    values = (
        _levels(bars, outputs)
        | _microprice(bars, _shifts(store, bars, tick), tick, outputs)
        | _spread(bars, quotes, tick, outputs)
        | _walk(quotes, outputs)
        | _long_memory(bars, start, outputs)
    )
    return store.write(PRICES.table, bars.table(PRICES.table, values, outputs), Window(start, end))


def _levels(bars: Grid, outputs: int) -> dict[str, Array]:
    mid = current(bars["mid_close"], outputs)
    share = current(bars["bid_share"], outputs)
    value, volume = (rolling_sum(bars[name], _HOUR, outputs) for name in ("quote_volume", "volume"))
    with np.errstate(invalid="ignore", divide="ignore"):
        vwap = np.where(volume > 0, value / volume, np.nan)
    deviation = BPS * (mid / vwap - 1)
    return {
        "n_obs": current(bars["quote_count"], outputs),
        "mid_price": mid,
        "bid_price": current(bars["bid_price"], outputs),
        "ask_price": current(bars["ask_price"], outputs),
        "pressure_ratio": np.exp(current(bars["log_size_ratio"], outputs)),
        "bid_pressure": share,
        "ask_pressure": 1 - share,
        "vwap_1h": vwap,
        "price_vs_vwap": deviation,
        "vwap_deviation": deviation,
    }


def _microprice(bars: Grid, shift: Array, tick: Array, outputs: int) -> dict[str, Array]:
    mid, bid, ask, bid_qty, ask_qty = (
        bars[name] for name in ("mid_close", "bid_price", "ask_price", "bid_qty", "ask_qty")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        weighted = (ask * bid_qty + bid * ask_qty) / (bid_qty + ask_qty)
    price = mid + shift * tick
    deviation = BPS * (price - mid) / mid
    return {
        "microprice": current(price, outputs),
        "microprice_deviation": current(deviation, outputs),
        "microprice_zscore": zscore(deviation, _DAY, outputs),
        "weighted_mid": current(weighted, outputs),
    }


def _spread(bars: Grid, quotes: Grid, tick: Array, outputs: int) -> dict[str, Array]:
    logged = np.log(bars["spread_bps"])
    judged = zscore(logged, _DAY, outputs)
    baseline = before(bars["spread"], _DAY, outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        pinned = (baseline <= (tick * _ONE_TICK)[..., None]).sum(axis=-1) / np.isfinite(baseline).sum(axis=-1)
        seconds = np.log((quotes["ask_price"] - quotes["bid_price"]) / (quotes["ask_price"] + quotes["bid_price"]))
    judged = np.where(pinned > _PINNED, np.nan, judged)
    per_bar = current(seconds, outputs * _MINUTES).reshape(len(logged), outputs, _MINUTES)
    return {
        "spread": current(bars["spread"], outputs),
        "spread_bps": current(bars["spread_bps"], outputs),
        "spread_zscore": judged,
        "spread_expansion_spike": np.where(np.isfinite(judged), np.maximum(0, judged - 2), np.nan),
        "spread_compression_velocity": _MINUTES * slope(per_bar, _LEAST_SECONDS),
    }


def _walk(quotes: Grid, outputs: int) -> dict[str, Array]:
    mid = (quotes["bid_price"] + quotes["ask_price"]) / 2
    logged = np.log(mid)
    ratio, z = randomness.variance_ratio(logged, 10, _QUARTER_S, outputs, _MINUTES)
    signs = [randomness.sign_memory(row, _QUARTER_S, outputs, _MINUTES) for row in mid]
    reversal, entropy = np.array(signs).reshape(len(mid), 2, outputs).transpose(1, 0, 2)
    returns = np.diff(logged[:, ::_TEN_S], axis=1)
    squares = windows(returns**2, 360, (outputs - 1) * 6 + 1)[:, ::6]
    covered = np.isfinite(squares).mean(axis=-1) >= 0.9
    return {
        "price_efficiency": 1 - np.minimum(1, np.abs(ratio - 1)),
        "variance_ratio": ratio,
        "variance_ratio_z": z,
        "tick_reversal_rate": reversal,
        "mid_price_entropy": entropy,
        "realized_variance_1h": np.where(covered, np.nansum(squares, axis=-1), np.nan),
    }


def _long_memory(bars: Grid, start: datetime, outputs: int) -> dict[str, Array]:
    logged = np.log(bars["mid_close"])
    returns = np.diff(logged, axis=1)
    last = returns.shape[1] - outputs
    exponent, error = np.full((2, len(logged), outputs), np.nan)
    first_minute = start.minute
    marks: dict[int, list[int]] = {}
    for bar in range(outputs):
        since_mark = (first_minute + bar + 1) % _HURST_EVERY
        marks.setdefault(last + bar - since_mark, []).append(bar)
    for mark, standing in marks.items():
        found = randomness.hursts(returns[:, mark - _DAY + 1 : mark + 1])
        exponent[:, standing], error[:, standing] = (values[:, None] for values in found)
    return {
        "hurst_exponent": exponent,
        "hurst_stderr": error,
        "mid_zscore": zscore(logged, 4 * _HOUR, outputs),
    }


def _ticks(store: Store, series: tuple[Identity, ...]) -> Array:
    """Tick size of each series, (series, 1); NaN where the venue's instrument list has none."""
    rows = store.query(f"SELECT {SERIES}, tick_size FROM ops.instruments WHERE tick_size > 0").to_pylist()
    known = {(row["symbol"], row["exchange"], row["market_type"]): row["tick_size"] for row in rows}
    return np.array([[known.get(identity, np.nan)] for identity in series]).reshape(len(series), 1)


def _shifts(store: Store, bars: Grid, tick: Array) -> Array:
    """Micro-price shift in ticks of every bar, (series, bars): that of its state in the table of its own day."""
    day_us = round(DAY / timedelta(microseconds=1))
    opening = epoch_us(bars.first - MINUTE) + np.arange(bars.present.shape[1]) * (day_us // _DAY)
    day = opening // day_us
    days = day[-1] - day[0] + 1
    rows = store.query(
        f"SELECT {SERIES}, epoch_us(valid_from) // {day_us} AS day, imbalance_bucket, spread_ticks, shift_ticks "
        "FROM bars.microprice WHERE valid_from >= ? AND valid_from <= ?",
        [bars.first - DAY, bars.first + bars.present.shape[1] * MINUTE],
    )
    place = {identity: index for index, identity in enumerate(bars.series)}
    table = np.full((len(bars.series), days, microprice.STATES), np.nan)
    for symbol, exchange, market_type, when, bucket, spread, shift in zip(*rows.to_pydict().values(), strict=True):
        index = place.get((symbol, exchange, market_type))
        if index is not None and day[0] <= when <= day[-1]:
            table[index, when - day[0], bucket * microprice.SPREADS + spread - 1] = shift
    state = microprice.states(bars["bid_price"], bars["ask_price"], bars["bid_qty"], bars["ask_qty"], tick)
    known = np.isfinite(state)
    series, bar = np.nonzero(known)
    shifts = np.full(state.shape, np.nan)
    shifts[known] = table[series, (day - day[0])[bar], state[known].astype(np.int64)]
    return shifts


LAYER = Layer(
    PRICES.table,
    _compute,
    tuple(table.qualified for table in (BARS_1M, QUOTES_1S, MICROPRICE, INSTRUMENTS)),
    _LOOKBACK + DAY,
    "features",
    ("duckdb", "python"),
    backs={BARS_1M.qualified: _LOOKBACK, QUOTES_1S.qualified: HOUR + timedelta(seconds=1)},
    lineage=PRICES.lineage | {"n_obs": columns_of(BARS_1M.qualified, "quote_count")},
)
