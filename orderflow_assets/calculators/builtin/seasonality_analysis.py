"""Whether a series has cycles, and how much of it trend and seasons explain."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, strength
from orderflow_assets.calculators.reading import Interval
from orderflow_assets.calculators.result import SignalType
from orderflow_assets.calculators.subjects import DataType, about, subject_series
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.seasonality import decompose, seasonality


@calculator(category="seasonality", version="1", every="day", reads={"bars.bars_1m": "hours"})
def seasonality_analysis(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    data_type: Annotated[DataType, Field(description="what is looked at")] = "prices",
    hours: Annotated[int, Field(ge=24, le=2160, description="hours to look back")] = 336,
    interval: Annotated[Interval, Field(description="step of the series")] = "1h",
    decomposition_period: Annotated[int, Field(ge=2, le=1000, description="length of a season in steps")] = 24,
    top_frequencies: Annotated[int, Field(ge=1, le=20, description="cycles to report")] = 5,
) -> Result:
    """Cycles in the logarithm of a series that noise of the same colour would not show (Fisher's g-test), and its
    parts by STL: strength of trend and season, direction, share of the rest."""
    try:
        series = subject_series(store, data_type, symbol, exchange, interval, end, hours)
        values = np.log(np.where(series.values > 0, series.values, np.nan))
        cycles = seasonality(values, step_seconds=series.step_seconds, top=top_frequencies)
        parts = decompose(values, decomposition_period)
    except ValueError as error:
        return Result.nothing(str(error))
    season = parts.seasonal_strength[decomposition_period]
    rest = _share(parts.residual, values)
    change = float(parts.trend[np.isfinite(parts.trend)][-1] - parts.trend[np.isfinite(parts.trend)][0])
    data: dict[str, Any] = {
        "data_type": data_type,
        "dominant": asdict(cycles.dominant) if cycles.dominant else None,
        "cycles": [asdict(cycle) for cycle in cycles.cycles],
        "candidates": {name: asdict(cycle) for name, cycle in cycles.candidates.items()},
        "noise_persistence": cycles.persistence,
        "decomposition": {
            "period": decomposition_period,
            "trend_strength": parts.trend_strength,
            "seasonal_strength": season,
            "trend_change": change,
            "direction": "up" if change > 0 else "down" if change < 0 else "flat",
            "residual_share": rest,
        },
    }
    return Result(data, _signals(data, change, rest), about(series, data_type))


def _share(part: Array, whole: Array) -> float | None:
    total = float(np.nanvar(whole))
    return float(np.nanvar(part)) / total if total > 0 else None


def _signals(data: dict[str, Any], change: float, rest: float | None) -> list[CalculatorSignal]:
    signals = []
    dominant, trend = data["dominant"], data["decomposition"]["trend_strength"]
    if dominant:
        text = f"a cycle of {dominant['period_seconds'] / 3600:.3g} h, p {dominant['p_value']:.2g}"
        signals.append(CalculatorSignal("INFO", strength(dominant["share"]), text))
    if trend > 0.6:
        kind: SignalType = "BULLISH" if change > 0 else "BEARISH"
        kind = kind if data["data_type"] == "prices" else "INFO"
        signals.append(CalculatorSignal(kind, strength(trend), f"trend of strength {trend:.2f}, {change:+.1%}"))
    if rest is not None and rest > 0.5:
        signals.append(CalculatorSignal("INFO", strength(rest), f"{rest:.0%} of the variance is neither"))
    return signals
