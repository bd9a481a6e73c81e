"""How volatile the market is now against its own past."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from itertools import groupby, pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, strength
from orderflow_assets.calculators.subjects import about, subject_series
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.series import Series

MINUTES_PER_YEAR = 365 * 24 * 60
BANDS = (("EXTREME", 95.0), ("HIGH", 75.0), ("NORMAL", 25.0), ("LOW", 0.0))
LEAST_PAST = 24
"""Earlier points without which there is no percentile."""
LEAST_KNOWN = 0.5
POINTS = 48


@calculator(category="volatility", version="1", reads={"bars.bars_1m": "hours"})
def volatility_regime(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=2, le=2160, description="hours to look back")] = 168,
    short_window: Annotated[int, Field(ge=5, le=1440, description="minutes of the volatility that is judged")] = 60,
    long_window: Annotated[
        int, Field(ge=10, le=10_080, description="minutes of the volatility it is set against")
    ] = 1440,
) -> Result:
    """Realized volatility of minute closes of the leading market, a year of minutes as unit: now, against a longer
    window, and as percentile of the points before it, one each `short_window`. Regimes follow from the percentile."""
    if short_window >= long_window:
        return Result.nothing(f"short_window is {short_window}, which is not shorter than long_window {long_window}.")
    try:
        series = subject_series(store, "prices", symbol, exchange, "1m", end, hours)
    except ValueError as error:
        return Result.nothing(str(error))
    squares = np.square(np.diff(np.log(series.values), prepend=np.nan))
    short, long = _volatility(squares, short_window), _volatility(squares, long_window)
    # Points a window apart share no minute; the newest one ends the grid.
    points = np.arange(len(squares) - 1, -1, -short_window)[::-1]
    points = points[np.isfinite(short[points])]
    if not len(points) or points[-1] != len(squares) - 1:
        return Result.nothing(f"less than half of the last {short_window} minutes of {symbol} have a known return yet.")
    percentiles = [_percentile(short[points[:place]], short[point]) for place, point in enumerate(points)]
    regimes = [_regime(percentile) for percentile in percentiles]
    ratio = float(short[-1] / long[-1]) if math.isfinite(long[-1]) and long[-1] > 0 else None
    current = {
        "short_volatility": short[-1],
        "long_volatility": long[-1],
        "ratio": ratio,
        "percentile": percentiles[-1],
        "regime": regimes[-1],
    }
    judged = [regime for regime in regimes if regime]
    data: dict[str, Any] = {
        "current": current,
        "distribution": {name: judged.count(name) / len(judged) for name, _ in BANDS} if judged else None,
        "transitions": _transitions(judged, short_window),
        "series": _series(series, points, short, long, regimes),
    }
    return Result(data, _signals(current), {**about(series, "prices"), "minutes_per_year": MINUTES_PER_YEAR})


def _volatility(squares: Array, window: int) -> Array:
    """Annualised root mean square of the ``window`` returns up to each minute; NaN where under half are known."""
    found = np.full(len(squares), np.nan)
    known = np.isfinite(squares)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, squares, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    if len(squares) >= window:
        number = count[window:] - count[:-window]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.maximum(0, total[window:] - total[:-window]) / number
        found[window - 1 :] = np.where(number >= LEAST_KNOWN * window, np.sqrt(mean * MINUTES_PER_YEAR), np.nan)
    return found


def _percentile(past: Array, now: float) -> float | None:
    """Share of earlier points below, ties by half, in percent; None under 24 of them."""
    if len(past) < LEAST_PAST:
        return None
    return 100 * float((past < now).mean() + (past == now).mean() / 2)


def _regime(percentile: float | None) -> str | None:
    return None if percentile is None else next(name for name, least in BANDS if percentile >= least)


def _transitions(regimes: list[str], minutes: int) -> dict[str, Any]:
    runs = [(name, len(list(run))) for name, run in groupby(regimes)]
    lengths: dict[str, list[int]] = {}
    for name, length in runs:
        lengths.setdefault(name, []).append(length)
    changed = Counter((before, after) for (before, _), (after, _) in pairwise(runs))
    return {
        "count": len(runs) - 1 if runs else 0,
        "by_pair": {f"{before} to {after}": number for (before, after), number in sorted(changed.items())},
        "mean_minutes": {name: minutes * sum(found) / len(found) for name, found in lengths.items()},
    }


def _series(series: Series, points: np.ndarray, short: Array, long: Array, regimes: list[str | None]) -> dict[str, Any]:
    newest = points[-POINTS:]
    return {
        "time": series.times[newest].tolist(),
        "short_volatility": short[newest],
        "long_volatility": long[newest],
        "regime": regimes[-POINTS:],
    }


def _signals(current: dict[str, Any]) -> list[CalculatorSignal]:
    signals = []
    if current["regime"] == "EXTREME":
        text = f"volatility {current['short_volatility']:.0%} a year, percentile {current['percentile']:.0f}"
        signals.append(CalculatorSignal("WARNING", 0.9, text))
    ratio = current["ratio"]
    if ratio is not None and ratio > 1.5:
        signals.append(CalculatorSignal("WARNING", strength(ratio / 3), f"volatility expands: {ratio:.2f} x the long"))
    if ratio is not None and ratio < 0.7:
        signals.append(CalculatorSignal("INFO", strength(1 - ratio), f"volatility shrinks: {ratio:.2f} x the long"))
    return signals
