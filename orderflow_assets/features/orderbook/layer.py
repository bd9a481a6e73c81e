"""``features.orderbook``: book minutes against their own past and against what traded."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, HOUR, MINUTE, SERIES, closed_window, hours, midnight
from orderflow_assets.features.grid import MIN_BASELINE, Array, Grid, Identity, current, median, rolling_sum
from orderflow_assets.features.orderbook.declarations import ORDERBOOK
from orderflow_assets.features.orderbook.flow import LEVELS, MLOFI
from orderflow_assets.features.orderbook.loadings import OFI_LOADINGS
from orderflow_assets.features.orderbook.minutes import AS_STORED, BOOKS_1M
from orderflow_assets.features.trades.declarations import TRADES
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_DAY, _HOUR = 1440, 60
_LOOKBACK = DAY + HOUR
_RHO_LOW, _RHO_HIGH = 0.001, 0.9999
_BPS, _MILLION = 1e4, 1e6

_LOG_DEPTH = tuple(name for name in BOOKS_1M.names if name.startswith("log_depth"))


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BOOKS_1M, BARS_1M, OFI_LOADINGS, TRADES.table, ORDERBOOK.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = round((end - start) / MINUTE)
    grid = (start + MINUTE - _LOOKBACK, end, MINUTE)
    books = Grid.read(store, BOOKS_1M, ("n_obs", *AS_STORED, *_LOG_DEPTH), *grid)
    if not books.series:
        return store.write(ORDERBOOK.table, ORDERBOOK.table.arrow_schema.empty_table(), Window(start, end))
    bars = Grid.read(store, BARS_1M, ("mid_close", "quote_volume", "taker_buy_quote"), *grid, books.series)
    trades = Grid.read(store, TRADES.table, ("market_impact_per_volume",), start, end, MINUTE, books.series)
    values = {name: current(books[name], outputs) for name in ("n_obs", *AS_STORED)}
    values["mlofi"] = _integrated(values, _loadings(store, books.series, start))
    values |= _strength(books, outputs) | _resiliency(books, outputs) | _absorption(bars, trades, outputs)
    return store.write(ORDERBOOK.table, books.table(ORDERBOOK.table, values, outputs), Window(start, end))


def _loadings(store: Store, series: tuple[Identity, ...], start: datetime) -> Array:
    """Weights of the levels for the day of ``start``, (series, levels); NaN where there are none."""
    rows = store.query(
        f"SELECT {SERIES}, level, loading FROM {OFI_LOADINGS.qualified} WHERE valid_from = ?",
        [midnight(start)],
    )
    place = {identity: index for index, identity in enumerate(series)}
    weights = np.full((len(series), LEVELS), np.nan)
    for symbol, exchange, market_type, level, loading in zip(*rows.to_pydict().values(), strict=True):
        if (symbol, exchange, market_type) in place:
            weights[place[symbol, exchange, market_type], level - 1] = loading
    return weights


def _integrated(values: dict[str, Array], weights: Array) -> Array:
    """Flow of all levels in one number, (series, outputs); NaN where a level or its weight is unknown."""
    return (np.stack([values[name] for name in MLOFI], axis=1) * weights[:, :, None]).sum(axis=1)


def _strength(books: Grid, outputs: int) -> dict[str, Array]:
    strength = {}
    for name, column in (("support_strength", "bid_depth_25bps"), ("resistance_strength", "ask_depth_25bps")):
        usual = median(books[column], _DAY, outputs)
        with np.errstate(invalid="ignore", divide="ignore"):
            strength[name] = np.where(usual > 0, current(books[column], outputs) / usual, np.nan)
    return strength


def _resiliency(books: Grid, outputs: int) -> dict[str, Array]:
    """Mean reversion of the log depth of the last hour, from its sums minute by minute."""
    count, total, square, pairs, pair_sum, product = (
        rolling_sum(books[name], _HOUR, outputs)
        for name in (
            "log_depth_count",
            "log_depth_sum",
            "log_depth_square",
            "log_depth_pairs",
            "log_depth_pair_sum",
            "log_depth_product",
        )
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = square / count - mean**2
        covariance = product / pairs - mean * pair_sum / pairs + mean**2
        usable = (pairs >= MIN_BASELINE) & (variance > 1e-12 * mean**2)
        rho = np.clip(covariance / variance, _RHO_LOW, _RHO_HIGH)
        speed = np.where(usable, -np.log(rho), np.nan)
    return {"replenishment_speed": speed, "replenishment_half_life": np.log(2) / speed}


def _absorption(bars: Grid, trades: Grid, outputs: int) -> dict[str, Array]:
    """How much of the usual impact of the bar's signed flow did not come, and which side took it."""
    flow = (2 * bars["taker_buy_quote"] - bars["quote_volume"]) / _MILLION
    moved = _BPS * np.abs(np.diff(np.log(bars["mid_close"]), axis=1))[:, -outputs:]
    usual = median(np.abs(flow), _DAY, outputs)
    impact = trades["market_impact_per_volume"][:, -outputs - 1 : -1]
    now = current(flow, outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        judged = (np.abs(now) >= usual) & (impact > 0) & (now != 0)
        absorbed = np.where(judged, 1 - np.minimum(1, moved / (impact * np.abs(now))), np.nan)
    return {
        "absorption_ratio": absorbed,
        "absorbing_side": np.where(np.isfinite(absorbed), -np.sign(now), np.nan),
    }


LAYER = Layer(
    ORDERBOOK.table,
    _compute,
    (BOOKS_1M.qualified, BARS_1M.qualified, TRADES.table.qualified, OFI_LOADINGS.qualified),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={TRADES.table.qualified: MINUTE, OFI_LOADINGS.qualified: DAY},
    lineage=ORDERBOOK.lineage | {"n_obs": columns_of(BOOKS_1M.qualified, "n_obs")},
)
