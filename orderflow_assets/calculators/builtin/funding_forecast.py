"""What the next settlements of funding may be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, leading_market, scope, strength
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.forecasting import ForecastResult, backtest, forecast

HOURS_PER_YEAR = 24 * 365
BPS = 1e4
ORIGINS = 10
"""One-step forecasts of the past that are compared with the last value."""
NEWEST = 120
"""Settlements a model is fitted to at most."""
LONGEST_SEASON = 8
"""Settlements a day beyond which the daily cycle is left out: seasonal models of such length take minutes."""
Model = Literal["auto", "naive", "theta", "ets", "arima"]


@calculator(
    category="forecasting",
    version="1",
    every="day",
    reads={"bars.funding_settlements": "hours", "bars.bars_1m": "hours"},
)
def funding_forecast(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=24, le=8760, description="hours of settlements to learn from")] = 720,
    forecast_periods: Annotated[int, Field(ge=1, le=100, description="settlements to forecast")] = 8,
    model: Annotated[Model, Field(description="auto takes the best over past origins")] = "auto",
    confidence: Annotated[float, Field(ge=0.5, lt=1, description="share the interval is to hold")] = 0.95,
    include_seasonality: Annotated[bool, Field(description="allow for a daily cycle of up to 8")] = True,
) -> Result:
    """Settled funding of the leading perpetual, forecast settlement by settlement with the model's own interval, and
    compared with taking the last value (skill; Diebold-Mariano). Rates are fractions per interval, bps per 8 h."""
    start = end - timedelta(hours=hours)
    market = leading_market(store, symbol, exchange, start, end, "futures")
    if market is None:
        return Result.nothing(f"bars.bars_1m holds no futures rows of {symbol} in the {hours} h before {end}.")
    settled = _settled(store, symbol, market, start, end)
    if settled is None:
        return Result.nothing(
            f"bars.funding_settlements holds no rows of {symbol} on {market} in the {hours} h before {end}."
        )
    last, interval, rates = settled
    rates = rates[-NEWEST:]
    a_day = round(24 / interval)
    season = a_day if include_seasonality and 2 <= a_day <= LONGEST_SEASON else None
    try:
        made = forecast(rates, forecast_periods, model=model, season=season, confidence=confidence)
        against = _against_the_last_value(rates, made.model, season)
    except ValueError as error:
        return Result.nothing(f"{error} (settlements every {interval:g} h)")
    data = _told(made, rates, last, interval, against)
    known = int(np.isfinite(rates).sum())
    about = {"market": market, "interval_hours": interval, "settlements": known, "season": season, "last": last}
    return Result(data, _signals(data), about)


def _settled(
    store: Rows, symbol: str, market: str, start: datetime, end: datetime
) -> tuple[datetime, float, Array] | None:
    """Newest settlement, hours between settlements now, and the rates on that grid, NaN where none is stored.

    A rate for another interval is brought to the present one in proportion.
    """
    where, values = scope(symbol, market)
    found = store.query(
        f"""
        SELECT settled_at, rate, interval_hours FROM bars.funding_settlements
        WHERE {where} AND settled_at > $start::TIMESTAMP AND settled_at <= $end::TIMESTAMP AND interval_hours > 0
        ORDER BY settled_at""",
        {**values, "start": start, "end": end},
    ).to_pylist()
    if not found:
        return None
    last, interval = found[-1]["settled_at"], found[-1]["interval_hours"]
    places = [round((last - row["settled_at"]) / timedelta(hours=interval)) for row in found]
    rates = np.full(places[0] + 1, np.nan)
    for place, row in zip(places, found, strict=True):
        rates[places[0] - place] = row["rate"] * interval / row["interval_hours"]
    return last, interval, rates


def _against_the_last_value(rates: Array, model: str, season: int | None) -> dict[str, Any] | None:
    """One-step errors of the model against those of the last value; None where there is nothing to compare."""
    from orderflow_assets.forecasting.skill import diebold_mariano

    if model == "naive":
        return None
    tested = backtest(rates, 1, models=("naive", model), season=season, origins=ORIGINS)
    if not tested:
        return None
    naive, chosen = (np.abs(result.error[:, 0]) for result in tested)
    statistic, p_value = diebold_mariano(chosen - naive, 1)
    return {
        "origins": len(naive),
        "error_ratio": chosen.sum() / naive.sum() if naive.sum() > 0 else None,
        "diebold_mariano": statistic,
        "p_no_better": p_value,
    }


def _told(
    made: ForecastResult, rates: Array, last: datetime, interval: float, against: dict[str, Any] | None
) -> dict[str, Any]:
    known = rates[np.isfinite(rates)]
    current, final, mean = float(known[-1]), float(made.forecast[-1]), float(made.forecast.mean())
    per_8h = 8 / interval * BPS
    change = final - current
    return {
        "current": current,
        "forecast": {
            "time": [last + step * timedelta(hours=interval) for step in range(1, len(made.forecast) + 1)],
            "point": made.forecast,
            "lower": made.lower,
            "upper": made.upper,
        },
        "mean_bps_8h": mean * per_8h,
        "final_bps_8h": final * per_8h,
        "current_bps_8h": current * per_8h,
        "direction": "flat" if abs(change) * per_8h < 1e-6 else "up" if change > 0 else "down",
        "change_pct": 100 * change / abs(current) if current else None,
        "range": [made.forecast.min(), made.forecast.max()],
        "interval_width_bps_8h": float(np.max(made.upper - made.lower)) * per_8h,
        "annual_pct": mean * HOURS_PER_YEAR / interval * 100,
        "implication": "longs pay" if mean * per_8h > 3 else "shorts pay" if mean * per_8h < -3 else "neither",
        "past": {
            "last": current,
            "mean": known.mean(),
            "sd": known.std(ddof=1) if len(known) > 1 else None,
            "min": known.min(),
            "max": known.max(),
        },
        "model": made.model,
        "confidence": made.confidence,
        "skill": made.metrics["skill"],
        "compared": made.metrics["scores"],
        "against_the_last_value": against,
    }


def _signals(data: dict[str, Any]) -> list[CalculatorSignal]:
    mean, current, final = data["mean_bps_8h"], data["current_bps_8h"], data["final_bps_8h"]
    signals = []
    if abs(mean) > 10:
        text = f"funding of {mean:.1f} bps per 8 h ahead: {'longs' if mean > 0 else 'shorts'} are crowded"
        signals.append(CalculatorSignal("WARNING", strength(abs(mean) / 20), text))
    if current * final < 0:
        text = f"funding is seen to change its sign, from {current:.2f} to {final:.2f} bps per 8 h"
        signals.append(CalculatorSignal("INFO", 0.7, text))
    if abs(mean) > 2:
        side = "short" if mean > 0 else "long"
        text = f"carry: a {side} perpetual earns {abs(data['annual_pct']):.1f} % a year before costs"
        signals.append(CalculatorSignal("INFO", strength(abs(mean) / 10), text))
    if data["interval_width_bps_8h"] > 10:
        text = f"the forecast is vague: its interval is {data['interval_width_bps_8h']:.1f} bps per 8 h wide"
        signals.append(CalculatorSignal("WARNING", 0.5, text))
    return signals
