"""A stretch of a series in some fifty numbers."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, strength
from orderflow_assets.calculators.reading import Interval
from orderflow_assets.calculators.subjects import DataType, about, subject_series
from orderflow_assets.timeseries.features import FEATURES, extract

ADVANCED = ("complexity", "spectral", "stationarity")
"""Groups left out without ``include_advanced``."""


@calculator(category="features", version="1", reads={"bars.bars_1m": "hours"})
def feature_extraction(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    data_type: Annotated[DataType, Field(description="what is described")] = "prices",
    hours: Annotated[int, Field(ge=1, le=2160, description="hours to look back")] = 24,
    interval: Annotated[Interval, Field(description="step of the series")] = "5m",
    include_advanced: Annotated[bool, Field(description="also complexity, spectrum and unit-root tests")] = True,
) -> Result:
    """Moments, trend, dependence, volatility, distribution, complexity and spectrum of a stretch, by group, each
    null where it is undefined."""
    try:
        series = subject_series(store, data_type, symbol, exchange, interval, end, hours)
        found = extract(series.values, step_seconds=series.step_seconds, include_spectral=include_advanced)
    except ValueError as error:
        return Result.nothing(str(error))
    kept = [item for item in FEATURES if item.name in found and (include_advanced or item.group not in ADVANCED)]
    groups: dict[str, dict[str, float | None]] = {}
    for item in kept:
        groups.setdefault(item.group, {})[item.name] = found[item.name]
    steps = len(series)
    spread = found["return_std"]
    stretch = spread * math.sqrt(steps) if spread is not None else None
    data = {"data_type": data_type, "count": len(kept), **groups, "window_volatility": stretch}
    return Result(data, _signals(found, stretch), about(series, data_type))


def _signals(found: dict[str, float | None], stretch: float | None) -> list[CalculatorSignal]:
    def value(name: str) -> float:
        known = found.get(name)
        return math.nan if known is None else known

    rules: list[tuple[bool, Any, float, str]] = [
        (
            stretch is not None and stretch > 0.05,
            "WARNING",
            (stretch or 0) / 0.1,
            f"volatility of {stretch or 0:.1%} over the stretch",
        ),
        (
            value("trend_r_squared") > 0.7,
            "BULLISH" if value("trend_slope") > 0 else "BEARISH",
            value("trend_r_squared"),
            f"a straight trend explains {value('trend_r_squared'):.0%}",
        ),
        (
            value("return_acf1") < -0.3,
            "INFO",
            -value("return_acf1"),
            f"steps reverse: lag-1 autocorrelation {value('return_acf1'):.2f}",
        ),
        (
            value("hurst_exponent") > 0.65,
            "INFO",
            value("hurst_exponent"),
            f"moves persist: Hurst exponent {value('hurst_exponent'):.2f}",
        ),
        (
            value("hurst_exponent") < 0.35,
            "INFO",
            1 - value("hurst_exponent"),
            f"moves revert: Hurst exponent {value('hurst_exponent'):.2f}",
        ),
        (
            abs(value("return_skew")) > 1,
            "INFO",
            abs(value("return_skew")) / 3,
            f"steps are skewed: {value('return_skew'):.2f}",
        ),
    ]
    return [CalculatorSignal(kind, strength(level), text) for holds, kind, level, text in rules if holds]
