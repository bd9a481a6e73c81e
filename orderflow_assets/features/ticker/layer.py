"""``features.ticker``: from candles and 24 h statistics to the declared features."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import HOUR, MINUTE, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, before, current, percent_rank, windows
from orderflow_assets.features.ticker import measures
from orderflow_assets.features.ticker.candles import CANDLES_1H, CANDLES_5M, FIVE, PRICE_STANDS
from orderflow_assets.features.ticker.declarations import TICKER
from orderflow_assets.features.ticker.levels import TICKER_1M
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_PER_DAY, _LEAST_OF_DAY = 288, 260
_PER_HOUR, _LEAST_OF_HOUR = 12, 10
_HOURS_OF_DAY = 24
_MONTH = 30 * _HOURS_OF_DAY
_LEAST_RETURNS = 20 * _PER_DAY
_FULL_HOUR, _FULL_FIVE = 57, 5
_BEFORE, _LEAST_BEFORE = 20, 15
_LEAST_PROFILE = 60

_HOUR_OUTPUTS = 2
"""The hour that was closed when the window's hour began, and that hour itself for its last minute."""
_FIVE_OUTPUTS = 13
_HOURS_READ = _MONTH + _HOURS_OF_DAY + _HOUR_OUTPUTS
_STANDING = PRICE_STANDS // FIVE
_FIVES_READ = _PER_DAY + _STANDING - 1 + _FIVE_OUTPUTS
_LOOKBACK = _HOURS_READ * HOUR

_HOURLY = ("high", "low", "close", "volume", "quote_volume", "trade_count", "minutes", "squares", "returns")
_FIVE_MINUTELY = ("high", "low", "close", "volume", "quote_volume", "minutes", "log_return")
_LEVELS = ("high_24h", "low_24h", "quote_volume_24h")


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, CANDLES_5M, CANDLES_1H, TICKER_1M, TICKER.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    bars = Grid.read(store, BARS_1M, (), start + MINUTE, end, MINUTE)
    if not bars.series:
        return store.write(TICKER.table, TICKER.table.arrow_schema.empty_table(), Window(start, end))
    hour, outputs = start.replace(minute=0), round((end - start) / MINUTE)
    closing = np.arange(outputs) + round((start + MINUTE - hour) / MINUTE)
    hourly = Grid.read(
        store, CANDLES_1H, _HOURLY, hour - (_HOURS_READ - _HOUR_OUTPUTS) * HOUR, hour + HOUR, HOUR, bars.series
    )
    fives = Grid.read(
        store, CANDLES_5M, _FIVE_MINUTELY, hour - (_FIVES_READ - _FIVE_OUTPUTS) * FIVE, hour + HOUR, FIVE, bars.series
    )
    levels = Grid.read(store, TICKER_1M, _LEVELS, start + MINUTE, end, MINUTE, bars.series)
    of_hours = {name: values[:, closing // 60] for name, values in _of_hours(hourly).items()}
    of_fives = {name: values[:, closing // 5] for name, values in _of_fives(fives).items()}
    variance = of_hours.pop("daily_variance")
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(variance > 0, of_fives["price_change_pct"] / 100 / np.sqrt(variance), np.nan)
    values = of_hours | of_fives | _of_levels(levels) | {"price_change_zscore": score}
    return store.write(TICKER.table, bars.table(TICKER.table, values, outputs), Window(start, end))


def _of_hours(read: Grid) -> dict[str, Array]:
    """Hourly features, (series, 2), and the mean daily variance of the 30 days before the last 24 hours."""
    full = read["minutes"] >= _FULL_HOUR
    high, low, close, volume, value, trades = (np.where(full, read[name], np.nan) for name in _HOURLY[:6])
    ranges = measures.true_range(high, low, close)
    now = current(ranges, _HOUR_OUTPUTS)
    usual = measures.mean_over(ranges[:, :-1], _BEFORE, _HOUR_OUTPUTS, _LEAST_BEFORE)
    average = measures.average_true_range(ranges, _HOUR_OUTPUTS)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(trades > 0, value / trades, np.nan)
        logged = np.log(np.where(value > 0, value, np.nan))
    acceleration = logged[:, 2:] - 2 * logged[:, 1:-1] + logged[:, :-2]
    return {
        "volume_acceleration": current(acceleration, _HOUR_OUTPUTS),
        "relative_volume_percentile": measures.same_hour_rank(value, _HOUR_OUTPUTS),
        "range_expansion_ratio": _ratio(now, usual),
        "range_vs_atr": _ratio(now, average),
        "trade_count_percentile": measures.same_hour_rank(trades, _HOUR_OUTPUTS),
        "institutional_interest_idx": percent_rank(current(size, _HOUR_OUTPUTS), before(size, _MONTH, _HOUR_OUTPUTS)),
        "market_strength": measures.money_flow((high + low + close) / 3, volume, _HOUR_OUTPUTS),
        "daily_variance": _daily_variance(read["squares"][:, :-_HOURS_OF_DAY], read["returns"][:, :-_HOURS_OF_DAY]),
    }


def _daily_variance(squares: Array, returns: Array) -> Array:
    total, count = (np.nansum(windows(part, _MONTH, _HOUR_OUTPUTS), axis=-1) for part in (squares, returns))
    return np.where(count >= _LEAST_RETURNS, _PER_DAY * total / np.maximum(count, 1), np.nan)


def _of_fives(read: Grid) -> dict[str, Array]:
    """Five-minute features, (series, 13)."""
    full = read["minutes"] >= _FULL_FIVE
    price = np.where(full[:, _STANDING - 1 :], measures.standing(read["close"], _STANDING), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(read["volume"] > 0, np.log(read["high"] / read["low"]), 0.0)
        mean_price = np.where(full, read["quote_volume"] / read["volume"], np.nan)
        moved = 100 * np.log(price[:, _PER_DAY:] / price[:, :-_PER_DAY])
    spread = np.where(full, spread, np.nan)
    hour = measures.parkinson(spread, _PER_HOUR, _FIVE_OUTPUTS, _LEAST_OF_HOUR)
    day = measures.parkinson(spread, _PER_DAY, _FIVE_OUTPUTS, _LEAST_OF_DAY)
    variance = _PER_DAY * measures.mean_over(read["log_return"] ** 2, _PER_DAY, _FIVE_OUTPUTS, _LEAST_OF_DAY)
    smooth = measures.bipower(read["log_return"], _PER_DAY, _FIVE_OUTPUTS, _LEAST_OF_DAY)
    return {
        "n_obs": windows(full.astype(float), _PER_DAY, _FIVE_OUTPUTS).sum(axis=-1),
        "volume_profile_skew": measures.skewness(mean_price, read["volume"], _PER_DAY, _FIVE_OUTPUTS, _LEAST_PROFILE),
        "volatility_compression_idx": np.maximum(0, 1 - _ratio(hour, day)),
        "volatility_expansion_idx": np.maximum(0, _ratio(hour, day) - 1),
        "realized_volatility": np.sqrt(365 * variance),
        "price_change_pct": moved,
        "bipower_variation": smooth,
        "jump_share": np.maximum(0, 1 - _ratio(smooth, variance)),
        "parkinson_1h": hour,
        "parkinson_24h": day,
    }


def _of_levels(read: Grid) -> dict[str, Array]:
    high, low = (np.where(read[name] > 0, read[name], np.nan) for name in ("high_24h", "low_24h"))
    return {
        "high_low_range": high - low,
        "high_low_range_pct": 100 * np.log(high / low),
        "volume_24h_quote": read["quote_volume_24h"],
    }


def _ratio(part: Array, whole: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


LAYER = Layer(
    TICKER.table,
    _compute,
    tuple(table.qualified for table in (BARS_1M, CANDLES_5M, CANDLES_1H, TICKER_1M)),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={
        BARS_1M.qualified: timedelta(0),
        TICKER_1M.qualified: timedelta(0),
        CANDLES_5M.qualified: _FIVES_READ * FIVE + HOUR,
    },
    lineage=TICKER.lineage | {"n_obs": columns_of(CANDLES_5M.qualified, "minutes")},
)
