"""Whether a signal was right: the declared event of each, judged on what followed. Pure functions of arrays.

1 where the event came, 0 where not, NaN where it cannot be told: no direction was named, or data are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array, Mask

DAY = 1440
RETRACED, RUN_BARS, HOUR, FOUR_HOURS = 0.8, 3, 60, 240
COVERED = 0.9
"""Share of minutes a realized variance needs."""


@dataclass(frozen=True, slots=True)
class Path:
    """Prices of all series minute by minute, (series, minutes), and liquidations by quarters, (series, quarters).

    ``row`` and ``at`` name the series and the minute each signal spoke in; ``quarter`` is that minute among the
    quarters. ``forced`` holds the values liquidated in the quarter that ends there, by side, NaN where the feed was
    not whole.
    """

    logged: Array
    high: Array
    low: Array
    close: Array
    forced: Mapping[str, Array]
    row: np.ndarray
    at: np.ndarray
    quarter: np.ndarray


@dataclass(frozen=True, slots=True)
class Said:
    """What the signal said at each of these moments, and what it says ``later``, when the outcome is known."""

    vote: Array
    side: np.ndarray
    fields: list[dict[str, Any]]
    later: list[dict[str, Any] | None]


def move(path: Path, minutes: int) -> Array:
    """Log return of the mid from each moment over the next ``minutes``."""
    return path.logged[path.row, path.at + minutes] - path.logged[path.row, path.at]


def sigma(path: Path, minutes: int) -> Array:
    """Standard deviation over ``minutes`` from the 1 min returns of the 24 h before each moment."""
    squares = np.diff(path.logged, axis=1) ** 2
    total, count = (_running(part) for part in (np.nan_to_num(squares), np.isfinite(squares)))
    low = np.maximum(path.at - DAY, 0)
    summed, known = (part[path.row, path.at] - part[path.row, low] for part in (total, count))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((known >= MIN_BASELINE) & (summed > 0), np.sqrt(minutes * summed / known), np.nan)


def large(path: Path, said: Said, sigmas: float) -> Array:
    """A move of an hour beyond ``sigmas`` standard deviations, either way."""
    return _judged(np.abs(move(path, HOUR)) - sigmas * sigma(path, HOUR))


def voted(path: Path, said: Said, minutes: int) -> Array:
    """The mid moved the way the signal voted."""
    return _towards(np.where(said.vote == 0, np.nan, said.vote), move(path, minutes))


def continued(path: Path, said: Said) -> Array:
    direction = np.array([_number(fields.get("direction")) for fields in said.fields])
    return _towards(direction, move(path, HOUR))


def squeezed(path: Path, said: Said) -> Array:
    heading = np.select([said.side == "up", said.side == "down"], [1.0, -1.0], np.nan)
    reach = _reach(path, heading, FOUR_HOURS) - 3 * sigma(path, FOUR_HOURS)
    longs, shorts = (_tail(path, path.forced[side], FOUR_HOURS // 15, 0.95) for side in ("long", "short"))
    forced = np.where(heading > 0, shorts, longs)
    return np.where(np.isfinite(reach) & np.isfinite(forced), (reach >= 0) & (forced > 0), np.nan)


def retraced(path: Path, said: Said) -> Array:
    """The run's way from the close before it to its far end was taken back by 80 % within 10 min."""
    longs = said.side == "longs"
    ran = longs | (said.side == "shorts")
    before = np.log(path.close[path.row, np.maximum(path.at - RUN_BARS, 0)])
    bars = np.maximum(path.at[:, None] - np.arange(RUN_BARS), 0)
    low, high = path.low[path.row[:, None], bars].min(axis=1), path.high[path.row[:, None], bars].max(axis=1)
    far = np.log(np.where(longs, low, high))
    wanted = far + RETRACED * (before - far)
    heading = np.where(longs, 1.0, -1.0)
    reach = _reach(path, heading, 10) - heading * (wanted - path.logged[path.row, path.at])
    return np.where(ran & np.isfinite(reach) & (heading * (before - far) > 0), reach >= 0, np.nan)


def cascaded(path: Path, said: Said) -> Array:
    return _tail(path, path.forced["long"] + path.forced["short"], HOUR // 15, 0.99)


def expanded(path: Path, said: Said) -> Array:
    """Realized variance of the next 4 h against twice that of the last."""
    squares = np.diff(path.logged, axis=1) ** 2
    total, count = (_running(part) for part in (np.nan_to_num(squares), np.isfinite(squares)))
    ends = (np.maximum(path.at - FOUR_HOURS, 0), path.at, path.at + FOUR_HOURS)
    (before, seen), (after, seen_after) = (
        (total[path.row, high] - total[path.row, low], count[path.row, high] - count[path.row, low])
        for low, high in ((ends[0], ends[1]), (ends[1], ends[2]))
    )
    known = (np.minimum(seen, seen_after) >= COVERED * FOUR_HOURS) & (before > 0)
    return np.where(known, after >= 2 * before, np.nan)


def reversed_trend(path: Path, said: Said) -> Array:
    trend = np.select([said.side == "bullish", said.side == "bearish"], [1.0, -1.0], np.nan)
    return _judged(-trend * move(path, FOUR_HOURS) - sigma(path, FOUR_HOURS))


def still_open(path: Path, said: Said) -> Array:
    return np.array(
        [float(later) if now and later is not None else np.nan for now, later in _pairs(said, "opportunity")]
    )


def another_regime(path: Path, said: Said) -> Array:
    return np.array([float(now != later) if now and later else np.nan for now, later in _pairs(said, "current_regime")])


def cost_held(path: Path, said: Said) -> Array:
    costs = [(_number(now), _number(later)) for now, later in _pairs(said, "slippage_estimate_bps")]
    return _judged(np.array([1.1 * now - later for now, later in costs]))


Outcome = Callable[[Path, Said], Array]

OUTCOMES: Mapping[str, Outcome] = {
    "smart_money_index": lambda path, said: large(path, said, 1),
    "squeeze_probability": squeezed,
    "stop_hunt_probability": retraced,
    "momentum_quality": continued,
    "composite_risk": lambda path, said: large(path, said, 2),
    "market_maker_activity": lambda path, said: large(path, said, 1),
    "liquidation_cascade_risk": cascaded,
    "institutional_phase": lambda path, said: voted(path, said, FOUR_HOURS),
    "volatility_breakout": expanded,
    "mean_reversion_signal": lambda path, said: voted(path, said, HOUR),
    "momentum_exhaustion": reversed_trend,
    "smart_money_flow": lambda path, said: voted(path, said, HOUR),
    "arbitrage_opportunity": still_open,
    "regime_transition": another_regime,
    "execution_quality": cost_held,
}
"""How the declared event of each signal is judged."""


def _pairs(said: Said, name: str) -> list[tuple[Any, Any]]:
    """A field of the signal then and later."""
    return [(now.get(name), (later or {}).get(name)) for now, later in zip(said.fields, said.later, strict=True)]


def _towards(heading: Array, moved: Array) -> Array:
    return np.where(np.isfinite(heading) & np.isfinite(moved), heading * moved > 0, np.nan)


def _judged(excess: Array) -> Array:
    return np.where(np.isfinite(excess), excess >= 0, np.nan)


def _reach(path: Path, heading: Array, minutes: int) -> Array:
    """Farthest the mid went in direction ``heading`` over the next ``minutes``; NaN where less than 90 % is known."""
    later = path.logged[path.row[:, None], path.at[:, None] + np.arange(1, minutes + 1)]
    gone = heading[:, None] * (later - path.logged[path.row, path.at][:, None])
    known = np.isfinite(gone)
    farthest = np.where(known, gone, -np.inf).max(axis=1)
    return np.where(known.mean(axis=1) >= COVERED, farthest, np.nan)


def _tail(path: Path, values: Array, quarters: int, quantile: float) -> Array:
    """Whether the sum of the next ``quarters`` exceeds that quantile of such sums over all quarters before.

    0 where nothing followed, NaN with less than 60 sums to compare with.
    """
    sums = np.full(values.shape, np.nan)
    if values.shape[1] < quarters:
        return np.full(len(path.row), np.nan)
    sums[:, quarters - 1 :] = np.lib.stride_tricks.sliding_window_view(values, quarters, axis=1).sum(axis=-1)
    place = np.arange(values.shape[1])
    result = np.full(len(path.row), np.nan)
    for quarter in np.unique(path.quarter):
        past = np.where((place <= quarter) & (place > quarter - 2880), sums, np.nan)
        known = np.isfinite(past).sum(axis=1)
        ordered = np.sort(past, axis=1)
        rank = np.ceil(quantile * known).astype(np.int64) - 1
        limit = np.take_along_axis(ordered, np.maximum(rank, 0)[:, None], axis=1)[:, 0]
        here = path.quarter == quarter
        rows = path.row[here]
        followed = sums[rows, quarter + quarters]
        usable = (known[rows] >= MIN_BASELINE) & np.isfinite(followed)
        result[here] = np.where(usable, (followed > limit[rows]) & (followed > 0), np.nan)
    return result


def _running(values: Array | Mask) -> Array:
    """Sum up to each minute, with a leading zero: entry m is the sum over the steps into minutes 1 to m."""
    total = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])
    return total


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
