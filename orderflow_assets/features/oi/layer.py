"""``features.oi``: from minutes and five-minute steps of open interest to the declared features."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.bars.series import MINUTE, SERIES, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, current, windows
from orderflow_assets.features.oi import baselines, liquidation_map
from orderflow_assets.features.oi.assumptions import LEAST_COVERED, LONG_SHARE, MAINTENANCE_RATE
from orderflow_assets.features.oi.declarations import INTENTS, OI
from orderflow_assets.features.oi.depth import DEPTH_1M
from orderflow_assets.features.oi.lineage import FEATURES
from orderflow_assets.features.oi.minutes import OI_1M, RATIO_KIND
from orderflow_assets.features.oi.steps import AT_EDGE, OI_5M, STEP
from orderflow_assets.layer import Layer
from orderflow_streaming.store import Store, Window

_HOUR, _QUARTER, _FIVE = 60, 15, 5
_DAY_STEPS = timedelta(days=1) // STEP
_MONTH, _WEEK, _QUARTER_STEPS = 30 * _DAY_STEPS, 7 * _DAY_STEPS, 3
_PAIRS, _LEAST_PAIRS = 48, 30
_MINUTES_BACK = timedelta(minutes=_FIVE * _PAIRS)
_LOOKBACK = (_MONTH + 1) * STEP
_BAND = 0.5
_FULL_SCORE = 4.0

_MINUTE_COLUMNS = ("samples", "oi", "mark", "volume_24h_quote", "long_short_ratio")
_STEP_COLUMNS = (*AT_EDGE, "mark_low", "mark_high")
_DEPTH_COLUMNS = ("sigma_1h", "bid_depth", "ask_depth", "bid_covered", "ask_covered")


@dataclass(frozen=True, slots=True)
class Past:
    """Five-minute steps (series, steps), and for each bar the last step before it closed: ``ends[of[bar]]``."""

    columns: dict[str, Array]
    ends: list[int]
    of: npt.NDArray[np.int64]

    def zscore(self, now: Array, values: Array, length: int) -> Array:
        return baselines.zscore(now, values, self.ends, self.of, length)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(OI_1M, OI_5M, DEPTH_1M, OI.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = round((end - start) / MINUTE)
    minutes = Grid.read(store, OI_1M, _MINUTE_COLUMNS, start + MINUTE - _MINUTES_BACK, end, MINUTE)
    if not minutes.present[:, minutes.present.shape[1] - outputs :].any():
        return store.write(OI.table, OI.table.arrow_schema.empty_table(), Window(start, end))
    past = _past(store, minutes, start, end)
    depth = Grid.read(store, DEPTH_1M, _DEPTH_COLUMNS, start + MINUTE, end, MINUTE, minutes.series)
    values: dict[str, npt.NDArray[Any]] = {
        **_levels(minutes, outputs),
        **_with_price(minutes, past, outputs),
        **_leverage(minutes, past, outputs),
        **_positioning(minutes, past, outputs),
        **_liquidations(minutes, past, depth, outputs),
        **_concentration(minutes, outputs),
    }
    return store.write(OI.table, minutes.table(OI.table, values, outputs), Window(start, end))


_STEPS_SQL = f"""
SELECT {SERIES}, timestamp, {", ".join(_STEP_COLUMNS)}
FROM bars.oi_5m
WHERE timestamp >= ? AND timestamp <= ?
"""


def _past(store: Store, minutes: Grid, start: datetime, end: datetime) -> Past:
    first, last = _step_before(start + MINUTE) - _MONTH * STEP, _step_before(end)
    steps = Grid.of(
        store.query(_STEPS_SQL, [first, last], timeout_s=600), first, last, STEP, minutes.series, "timestamp"
    )
    closing = [start + (bar + 1) * MINUTE for bar in range(round((end - start) / MINUTE))]
    place = np.array([(_step_before(time) - first) // STEP for time in closing], dtype=np.int64)
    ends, of = np.unique(place, return_inverse=True)
    return Past(steps.columns, ends.tolist(), of)


def _step_before(time: datetime) -> datetime:
    """The last multiple of five minutes before ``time``, a full minute."""
    earlier = time - MINUTE
    return earlier - timedelta(minutes=earlier.minute % _FIVE)


def _levels(minutes: Grid, outputs: int) -> dict[str, Array]:
    oi, logged = minutes["oi"], _log(minutes["oi"])
    hourly = _change(logged, _HOUR)
    momentum = current(hourly, outputs)
    return {
        "n_obs": np.nan_to_num(current(minutes["samples"], outputs)),
        "oi": current(oi, outputs),
        "oi_value": current(oi * minutes["mark"], outputs),
        "oi_delta": current(np.diff(oi, axis=1), outputs),
        "oi_delta_pct": 100 * momentum,
        "oi_delta_pct_5m": 100 * current(_change(logged, _FIVE), outputs),
        "oi_momentum": momentum,
        "oi_acceleration": momentum - hourly[:, -outputs - _HOUR : -_HOUR],
    }


def _with_price(minutes: Grid, past: Past, outputs: int) -> dict[str, npt.NDArray[Any]]:
    moved = {name: _log(minutes[name]) for name in ("oi", "mark")}
    usual = {name: _log(past.columns[name]) for name in ("oi", "mark")}
    held, priced = (
        past.zscore(current(_change(moved[name], _QUARTER), outputs), _change(usual[name], _QUARTER_STEPS, True), _WEEK)
        for name in ("oi", "mark")
    )
    intent, score = intents(held, priced)
    together = _correlation(_change(moved["oi"], _FIVE), _change(moved["mark"], _FIVE), outputs)
    return {
        "oi_zscore": past.zscore(current(moved["oi"], outputs), usual["oi"], _MONTH),
        "oi_price_delta_product": held * priced,
        "oi_price_divergence": -together,
        "oi_price_correlation": together,
        "position_intent": intent,
        "position_intent_score": score,
    }


def intents(held: Array, priced: Array) -> tuple[npt.NDArray[np.object_], Array]:
    """Label and score of z-scores of the changes of open interest and price; None and NaN where one is missing."""
    up, down = held > _BAND, held < -_BAND
    rising, falling = priced > _BAND, priced < -_BAND
    conditions = [up & rising, up & falling, down & falling, down & rising]
    number = np.select(conditions, range(len(conditions)), len(conditions))
    known = np.isfinite(held) & np.isfinite(priced)
    labels = np.array([*INTENTS, None], dtype=object)[np.where(known, number, len(INTENTS))]
    strength = np.minimum(1.0, (np.abs(held) + np.abs(priced)) / _FULL_SCORE)
    return labels, np.where(known, np.array([*INTENTS.values()])[number] * strength, np.nan)


def _correlation(left: Array, right: Array, outputs: int) -> Array:
    """Correlation of 48 steps of 5 min that end with each bar; NaN under 30 pairs and where one side does not vary."""
    span = _FIVE * (_PAIRS - 1) + 1
    x, y = (windows(values, span, outputs)[..., ::_FIVE] for values in (left, right))
    known = np.isfinite(x) & np.isfinite(y)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (
            np.where(known, part - (np.where(known, part, 0.0).sum(axis=-1) / count)[..., None], 0.0) for part in (x, y)
        )
        spread = (x**2).sum(axis=-1) * (y**2).sum(axis=-1)
        found = (x * y).sum(axis=-1) / np.sqrt(spread)
    return np.where((count >= _LEAST_PAIRS) & (spread > 0), np.clip(found, -1, 1), np.nan)


def _leverage(minutes: Grid, past: Past, outputs: int) -> dict[str, Array]:
    now, before = (_turnover(columns) for columns in (minutes.columns, past.columns))
    index = current(now, outputs)
    return {
        "leverage_index": index,
        "leverage_zscore": past.zscore(_log(index), _log(before), _MONTH),
    }


def _turnover(columns: dict[str, Array]) -> Array:
    """Value of the open interest over the value traded in 24 h."""
    volume = columns["volume_24h_quote"]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(volume > 0, columns["oi"] * columns["mark"] / volume, np.nan)


def _positioning(minutes: Grid, past: Past, outputs: int) -> dict[str, npt.NDArray[Any]]:
    ratio = current(minutes["long_short_ratio"], outputs)
    logged, usual = _log(ratio), _log(past.columns["long_short_ratio"])
    rank = baselines.rank(logged, usual, past.ends, past.of, _MONTH)
    return {
        "long_short_ratio": ratio,
        "long_short_kind": np.array([None, RATIO_KIND], dtype=object)[np.isfinite(ratio).astype(int)],
        "position_crowding_score": 2 * np.abs(rank - 0.5),
        "crowded_side": np.sign(logged - baselines.median(usual, past.ends, past.of, _MONTH)),
    }


_MAP_COLUMNS = ("long_liquidation_notional", "short_liquidation_notional", "long_trigger_pct", "short_trigger_pct")


def _liquidations(minutes: Grid, past: Past, depth: Grid, outputs: int) -> dict[str, Array]:
    mark = current(minutes["mark"], outputs)
    near, sigma = _log(mark), depth["sigma_1h"]
    found = {name: np.full(mark.shape, np.nan) for name in (*_MAP_COLUMNS, "liquidation_map_share")}
    columns = (past.columns[name] for name in ("oi", "mark", "mark_low", "mark_high"))
    for row, steps in enumerate(zip(*columns, strict=True)):
        for number, levels in enumerate(liquidation_map.maps(liquidation_map.Steps(*steps), past.ends, _MONTH)):
            bars = np.flatnonzero((past.of == number) & np.isfinite(mark[row]))
            if levels is None or not len(bars):
                continue
            price, log_price, reach = mark[row, bars], near[row, bars], sigma[row, bars]
            with np.errstate(invalid="ignore", divide="ignore"):
                lower = levels.long.between(-log_price, -log_price - np.log1p(-reach))
                upper = levels.short.between(log_price, log_price + np.log1p(reach))
            moving = reach > 0
            found["long_liquidation_notional"][row, bars] = np.where(moving, price * lower, np.nan)
            found["short_liquidation_notional"][row, bars] = np.where(moving, price * upper, np.nan)
            found["long_trigger_pct"][row, bars] = -100 * np.expm1(-log_price - levels.long.trigger(-log_price))
            found["short_trigger_pct"][row, bars] = 100 * np.expm1(levels.short.trigger(log_price) - log_price)
            found["liquidation_map_share"][row, bars] = levels.share
    return found | {
        "liquidation_cascade_risk": _risk(found, depth),
        "sigma_1h": sigma,
        "bid_depth_sigma": depth["bid_depth"],
        "ask_depth_sigma": depth["ask_depth"],
        "bid_depth_covered": depth["bid_covered"],
        "ask_depth_covered": depth["ask_covered"],
        "assumed_long_share": np.where(np.isfinite(found["liquidation_map_share"]), LONG_SHARE, np.nan),
        "assumed_maintenance_rate": np.where(np.isfinite(found["liquidation_map_share"]), MAINTENANCE_RATE, np.nan),
    }


def _risk(found: dict[str, Array], depth: Grid) -> Array:
    """x / (1 + x), x the larger of the liquidations over the depth they meet; NaN where a side's book is too short."""
    sides = []
    for side, book in (("long", "bid"), ("short", "ask")):
        size = np.where(depth[f"{book}_covered"] >= LEAST_COVERED, depth[f"{book}_depth"], np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            sides.append(np.where(size > 0, found[f"{side}_liquidation_notional"] / size, np.nan))
    worst = np.maximum(*sides)
    return worst / (1 + worst)


def _concentration(minutes: Grid, outputs: int) -> dict[str, Array]:
    """Herfindahl index of the venues' shares of the value held in a symbol, the same on each of its rows."""
    value = current(minutes["oi"] * minutes["mark"], outputs)
    symbols, of = np.unique([symbol for symbol, _, _ in minutes.series], return_inverse=True)
    member = (of == np.arange(len(symbols))[:, None]).astype(float)
    venues = member @ np.isfinite(value)
    total, square = (member @ np.nan_to_num(part) for part in (value, value**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (square / total**2 - 1 / venues) / (1 - 1 / venues)
    found = np.where((venues >= 2) & (total > 0), np.clip(index, 0, 1), np.nan)
    return {"oi_concentration": found[of], "oi_venues": venues[of]}


def _log(values: Array) -> Array:
    return np.log(np.where(values > 0, values, np.nan))


def _change(values: Array, bars: int, keep: bool = False) -> Array:
    """Change over ``bars``; with ``keep`` as long as ``values``, NaN where there is nothing before."""
    moved = values[:, bars:] - values[:, :-bars]
    return np.pad(moved, ((0, 0), (bars, 0)), constant_values=np.nan) if keep else moved


LAYER = Layer(
    OI.table,
    _compute,
    (OI_1M.qualified, OI_5M.qualified, DEPTH_1M.qualified),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={OI_1M.qualified: _MINUTES_BACK, DEPTH_1M.qualified: timedelta(0)},
    lineage=FEATURES,
)
