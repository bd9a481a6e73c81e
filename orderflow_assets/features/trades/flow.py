"""Trade features that minute bars alone give. All results are (series, outputs), NaN where undefined."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import (
    Array,
    Grid,
    current,
    percent_rank,
    rolling_sum,
    windows,
    zscore,
)

DAY, QUARTER = 1440, 15
NEIGHBOURS, DAYS_BACK = 15, 20
FIVE = 5
AMIHUD_BARS = 288
LEAST_BARS = 60

COLUMNS = (
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote",
    "trade_count",
    "parent_count",
    "buy_parent_count",
    "sweep_count",
    "mid_close",
)


def bar_features(bars: Grid, outputs: int, minute_of_day: int) -> dict[str, Array]:
    """Volumes, signed flow and shares.

    ``minute_of_day`` is that of the first output bar's opening edge; the outputs lie within one UTC day.
    """
    known = {name: current(bars[name], outputs) for name in COLUMNS}
    volume, value, parents = known["volume"], known["quote_volume"], known["parent_count"]
    delta = 2 * bars["taker_buy_volume"] - bars["volume"]
    signed_value = 2 * bars["taker_buy_quote"] - bars["quote_volume"]
    quarter_volume = rolling_sum(bars["volume"], QUARTER, outputs)
    buys = _ratio(known["buy_parent_count"], parents)
    return {
        "n_obs": np.nan_to_num(known["trade_count"]),
        "cvd": _since_midnight(delta, outputs, minute_of_day),
        "cvd_delta": current(delta, outputs),
        "cvd_slope": _ratio(rolling_sum(delta, QUARTER, outputs), quarter_volume),
        "cvd_zscore": zscore(delta, DAY, outputs),
        "cvd_price_divergence": _divergence(signed_value, np.log(bars["mid_close"]), outputs),
        "aggressive_delta": current(signed_value, outputs),
        "aggressive_ratio": _ratio(known["taker_buy_quote"], value),
        "buy_pressure": buys,
        "sell_pressure": 1 - buys,
        "total_volume": volume,
        "buy_volume": known["taker_buy_volume"],
        "sell_volume": np.maximum(0.0, volume - known["taker_buy_volume"]),
        "avg_trade_size": _ratio(value, parents),
        "sweep_detected": np.where(np.isfinite(known["sweep_count"]), known["sweep_count"] > 0, np.nan),
        "vwap": _ratio(value, volume),
        "parent_count": parents,
    }


def intensity(counts: Array, history: Array) -> Array:
    """Percent rank of ``counts`` (series, outputs) among the same times of the days before.

    ``history`` is (series, days x 1440 + NEIGHBOURS + outputs): every minute from ``DAYS_BACK`` days and
    ``NEIGHBOURS`` minutes before the first output on.
    """
    outputs = counts.shape[1]
    near = np.arange(2 * NEIGHBOURS + 1)
    days = np.arange(DAYS_BACK) * DAY
    index = np.arange(outputs)[:, None, None] + days[None, :, None] + near[None, None, :]
    return percent_rank(counts, history[:, index.reshape(outputs, -1)])


def amihud(bars: Grid, outputs: int, minute: int) -> Array:
    """Mean |5 min log return| per USD mn over the 24 h of full 5 min bars before each output.

    ``minute`` is the minute of the hour at which the grid's first bar opens.
    """
    skipped = -minute % FIVE
    length = (bars.present.shape[1] - skipped) // FIVE * FIVE
    close, value = (
        bars[name][:, skipped : skipped + length].reshape(-1, length // FIVE, FIVE)
        for name in ("close", "quote_volume")
    )
    last = np.where(np.isfinite(close), np.arange(FIVE), -1).max(axis=-1)
    closing = np.where(last >= 0, np.take_along_axis(close, np.maximum(last, 0)[..., None], -1)[..., 0], np.nan)
    traded = np.nansum(value, axis=-1)[:, 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        illiquidity = np.abs(np.diff(np.log(closing), axis=1)) / np.where(traded > 0, traded / 1e6, np.nan)
    full = (bars.present.shape[1] - outputs + np.arange(outputs) + 1 - skipped) // FIVE - 1
    window = windows(illiquidity, AMIHUD_BARS, illiquidity.shape[1] - AMIHUD_BARS + 1)[:, full - AMIHUD_BARS]
    count = np.isfinite(window).sum(axis=-1)
    return np.where(count >= LEAST_BARS, np.nansum(window, axis=-1) / np.maximum(count, 1), np.nan)


def _since_midnight(delta: Array, outputs: int, minute_of_day: int) -> Array:
    first = delta.shape[1] - outputs - minute_of_day
    running = np.nancumsum(delta[:, first:], axis=1)
    return np.where(np.isfinite(current(delta, outputs)), current(running, outputs), np.nan)


def _divergence(signed_value: Array, log_mid: Array, outputs: int) -> Array:
    span = signed_value.shape[1] - QUARTER
    flow = rolling_sum(signed_value, QUARTER, span)
    moved = log_mid[:, QUARTER:] - log_mid[:, :-QUARTER]
    return zscore(flow, DAY, outputs) - zscore(moved[:, -span:], DAY, outputs)


def _ratio(part: Array, whole: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
