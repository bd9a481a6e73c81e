"""Where the price goes by a kept statistical model, measured against the last value."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, strength
from orderflow_assets.calculators.reading import INTERVALS, Interval
from orderflow_assets.calculators.subjects import about, subject_series
from orderflow_assets.timeseries.forecasting import ForecastResult, forecast
from orderflow_assets.timeseries.series import Series

Model = Literal["auto", "naive", "theta", "ets", "arima"]
MOVE = 0.02
ROUNDING = 1e-9


@calculator(category="forecasting", version="1", every="day", reads={"bars.bars_1m": "hours"})
def price_forecast(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=24, le=2160, description="hours to learn from")] = 168,
    forecast_steps: Annotated[int, Field(ge=1, le=200, description="bars to forecast")] = 24,
    model: Annotated[Model, Field(description="auto takes the best over past origins")] = "auto",
    interval: Annotated[Interval, Field(description="length of a bar")] = "1h",
    confidence: Annotated[float, Field(ge=0.5, lt=1, description="share the interval is to hold")] = 0.95,
) -> Result:
    """Path of the closing price of the leading market with the model's own interval, forecast on its logarithm.
    `skill` says how much smaller its past errors were than those of the last value; at or below 0 it is no better."""
    try:
        series = subject_series(store, "prices", symbol, exchange, interval, end, hours)
        made = forecast(np.log(series.values), forecast_steps, model=model, confidence=confidence)
    except ValueError as error:
        return Result.nothing(str(error))
    data = _told(made, series, interval)
    return Result(data, _signals(data, made), about(series, "prices"))


def _told(made: ForecastResult, series: Series, interval: str) -> dict[str, Any]:
    known = np.flatnonzero(np.isfinite(series.values))
    current, last = float(series.values[known[-1]]), series.times[known[-1]].item()
    path = {
        name: np.exp(part) for name, part in (("point", made.forecast), ("lower", made.lower), ("upper", made.upper))
    }
    change = float(path["point"][-1]) / current - 1
    return {
        "current_price": current,
        "final_price": path["point"][-1],
        "change_pct": 100 * change,
        "direction": "flat" if abs(change) < ROUNDING else "up" if change > 0 else "down",
        "model": made.model,
        "confidence": made.confidence,
        "skill": made.metrics["skill"],
        "mase": made.metrics["mase"],
        "origins": made.metrics["origins"],
        "compared": made.metrics["scores"],
        "path": {
            "time": [last + step * INTERVALS[interval] for step in range(1, len(made.forecast) + 1)],
            **path,
        },
    }


def _signals(data: dict[str, Any], made: ForecastResult) -> list[CalculatorSignal]:
    change = data["change_pct"]
    if abs(change) <= 100 * MOVE:
        return []
    text = f"{made.model} sees {change:+.1f} % in {len(made.forecast)} bars"
    about_it = {"skill": data["skill"], "model": made.model}
    return [
        CalculatorSignal("BULLISH" if change > 0 else "BEARISH", strength(abs(change) / 10), text, metadata=about_it)
    ]
