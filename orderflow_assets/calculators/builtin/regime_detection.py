"""Which of a few states the market is in, learned from the past and read forward."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, sampled, strength
from orderflow_assets.calculators.reading import INTERVALS, Interval
from orderflow_assets.calculators.result import SignalType
from orderflow_assets.calculators.subjects import about, subject_series
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.regimes import RegimeModel, RegimeResult, fit
from orderflow_assets.timeseries.regimes import filter as filtered
from orderflow_assets.timeseries.series import Series

DAY = timedelta(days=1)
CLEAR = 2.0
"""Standard errors the mean return of a state must lie from the overall one to have a direction."""
LASTING = 3.0
"""Bars a state must be expected to last for that: without memory the states only tell up from down."""
NEWEST = 10
UNSETTLED = 4
LEAST_MINUTES = 0.5


@calculator(category="regimes", version="1", reads={"bars.bars_1m": "hours"})
def regime_detection(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=24, le=2160, description="hours to look back")] = 168,
    lookback: Annotated[int, Field(ge=1, le=500, description="newest bars that are judged and not learned from")] = 20,
    interval: Annotated[Interval, Field(description="length of a bar")] = "1h",
    states: Annotated[int, Field(ge=2, le=4, description="regimes to tell apart")] = 2,
    volatility_threshold: Annotated[
        float, Field(gt=0, le=1, description="daily volatility that counts as high")
    ] = 0.02,
) -> Result:
    """Hidden Markov regimes of (log return, log realized variance of its minutes) per bar. Learned on all bars but
    the newest `lookback`, then read forward: the state of a bar rests on bars up to it."""
    try:
        series = subject_series(store, "prices", symbol, exchange, interval, end, hours)
        returns, log_rv = _columns(store, series, symbol, end)
        rows = np.column_stack([returns, log_rv])
        model = fit(rows[:-lookback], states=states)
        result = filtered(model, rows)
    except ValueError as error:
        return Result.nothing(str(error))
    history = result.history
    changes = sum(before != after for before, after in pairwise(history))
    streaks = [(name, len(list(run))) for name, run in groupby(history)]
    longest, bars = max(streaks, key=lambda streak: streak[1])
    regimes = _regimes(model, result, returns, log_rv, interval, volatility_threshold)
    counted = Counter(history)
    data: dict[str, Any] = {
        "current_regime": result.current,
        "confidence": result.confidence,
        "history": {"time": series.times.tolist(), "regime": list(history)},
        "transition_matrix": {
            start: dict(zip(result.labels, row, strict=True))
            for start, row in zip(result.labels, result.transition_matrix.tolist(), strict=True)
        },
        "distribution": {name: counted[name] / len(history) for name in result.labels},
        "dominant": counted.most_common(1)[0][0],
        "longest_streak": {"regime": longest, "bars": bars},
        "stability": 1 - changes / (len(history) - 1),
        "regimes": regimes,
    }
    learned = {"learned_from": model.n, "read_forward": lookback}
    return Result(data, _signals(result, regimes), {**about(series, "prices"), **learned})


def _columns(store: Rows, series: Series, symbol: str, end: datetime) -> tuple[Array, Array]:
    """Log return of each bar and the logarithm of the sum of its squared minute returns, NaN where either is not known
    for at least half of the minutes."""
    width = INTERVALS[series.metadata["interval"]]
    minutes = round(width / timedelta(minutes=1))
    last = series.times[-1].item()
    start = last - len(series) * width
    one = sampled(store, "bars.close", symbol, series.metadata["market"], "1m", start, last)
    steps = np.diff(np.log(one.values), prepend=np.nan).reshape(len(series), minutes)
    known = np.isfinite(steps).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.nansum(steps**2, axis=1) * minutes / known
        log_rv = np.where((known >= LEAST_MINUTES * minutes) & (variance > 0), np.log(variance), np.nan)
    return np.diff(np.log(series.values), prepend=np.nan), log_rv


def _regimes(
    model: RegimeModel, result: RegimeResult, returns: Array, log_rv: Array, interval: str, threshold: float
) -> dict[str, dict[str, Any]]:
    """What the bars read as each regime were like; a direction only where its mean return is clear."""
    history = np.array(result.history)
    bars = DAY / INTERVALS[interval]
    found: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(result.labels):
        inside = history == name
        clear = abs(model.mean_t[place]) >= CLEAR and result.durations[name] >= LASTING
        volatility = _mean(np.sqrt(np.exp(log_rv[inside]) * bars))
        found[name] = {
            "bars": int(inside.sum()),
            "mean_return": _mean(returns[inside]),
            "daily_volatility": volatility,
            "high_volatility": None if volatility is None else volatility > threshold,
            "expected_bars": result.durations[name],
            "direction": (1 if model.mean_t[place] > 0 else -1) if clear else 0,
            "mean_return_t": model.mean_t[place],
        }
    return found


def _mean(values: Array) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _signals(result: RegimeResult, regimes: dict[str, dict[str, Any]]) -> list[CalculatorSignal]:
    direction = regimes[result.current]["direction"]
    kinds: dict[int, SignalType] = {1: "BULLISH", -1: "BEARISH", 0: "NEUTRAL"}
    text = f"regime {result.current} at {result.confidence:.0%}" + ("" if direction else ", without a clear direction")
    signals = [CalculatorSignal(kinds[direction], strength(result.confidence), text)]
    changes = sum(before != after for before, after in pairwise(result.history[-NEWEST:]))
    if changes >= UNSETTLED:
        signals.append(CalculatorSignal("WARNING", 0.7, f"{changes} changes of regime in the last {NEWEST} bars"))
    return signals
