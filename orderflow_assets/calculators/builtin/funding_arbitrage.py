"""What different funding of the same perpetual is worth, net of what it costs to take both sides."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import combinations
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from orderflow_assets.analytics.fees import FEES
from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, scope, strength
from orderflow_assets.calculators.result import tried
from orderflow_assets.timeseries.arrays import Array

HOURS_PER_YEAR = 24 * 365
BPS = 1e4
POINTS = 24
FORECAST_HOURS = 3
LEAST_ANNUAL_PCT = 10.0
_RATE = "bps per 8 h"


@calculator(category="arbitrage", version="1", reads={"bars.funding_1m": "hours", "bars.funding_settlements": "hours"})
def funding_arbitrage(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=2, le=720, description="hours to look back")] = 72,
    min_spread_bps: Annotated[float, Field(ge=0, le=100, description="smallest spread shown, bps per 8 h")] = 5.0,
    holding_hours: Annotated[
        int, Field(ge=1, le=720, description="hours a pair is held, over which costs spread")
    ] = 72,
) -> Result:
    """Funding per perpetual in bps per 8 h whatever its interval, hour by hour, and pairs: long where funding is low,
    short where it is high, net of base-tier taker fees for opening and closing both legs.

    The rate of an hour is the venue's live estimate at its end, null where it was silent; `paid_bps` adds up what was
    settled. Slippage, borrowing and a change of the spread while a pair is held are not part of `net`.
    """
    rates = _rates(store, symbol, exchange, end, hours)
    if not rates:
        return Result.nothing(f"bars.funding_1m holds no rows of {symbol} in the {hours} h before {end}.")
    errors: list[str] = []
    paid = _paid(store, symbol, exchange, end, hours)
    times = [end - back * timedelta(hours=1) for back in range(hours - 1, -1, -1)]
    venues = {name: _venue(name, values, paid.get(name), times, errors) for name, values in rates.items()}
    pairs = [_pair(low, high, rates, holding_hours) for low, high in _ordered(rates)]
    shown = sorted(
        (pair for pair in pairs if pair["spread_bps"] >= min_spread_bps), key=lambda pair: -pair["net_annual_pct"]
    )
    data = {"venues": venues, "pairs": shown, "best_pair": shown[0] if shown else None}
    about = {"rates": _RATE, "fees": "taker, base tier, four trades", "holding_hours": holding_hours}
    return Result(data, _signals(shown), about, errors)


def _rates(store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int) -> dict[str, Array]:
    """Live rate at the end of each hour, oldest first, in bps per 8 h, by market."""
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market,
               (epoch_us($end::TIMESTAMP) - epoch_us(bar_ts)) // 3_600_000_000 AS age,
               arg_max(live_rate / nullif(interval_hours, 0), bar_ts) * {8 * BPS} AS rate
        FROM bars.funding_1m
        WHERE {where} AND bar_ts <= $end::TIMESTAMP AND bar_ts > $end::TIMESTAMP - INTERVAL {hours} HOUR
        GROUP BY market, age""",
        {**values, "end": end},
    )
    rates: dict[str, Array] = {}
    for row in found.to_pylist():
        if row["rate"] is not None:
            rates.setdefault(row["market"], np.full(hours, np.nan))[hours - 1 - row["age"]] = row["rate"]
    return dict(sorted(rates.items()))


def _paid(store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int) -> dict[str, dict[str, Any]]:
    """What one unit long paid in the stretch, in bps, by market."""
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market, sum(rate) * {BPS} AS bps, count(*) AS settlements
        FROM bars.funding_settlements
        WHERE {where} AND settled_at <= $end::TIMESTAMP AND settled_at > $end::TIMESTAMP - INTERVAL {hours} HOUR
        GROUP BY market""",
        {**values, "end": end},
    )
    return {row["market"]: row for row in found.to_pylist()}


def _venue(
    name: str, rates: Array, paid: dict[str, Any] | None, times: list[datetime], errors: list[str]
) -> dict[str, Any]:
    from orderflow_assets.timeseries.forecasting import forecast
    from orderflow_assets.timeseries.seasonality import seasonality

    known = rates[np.isfinite(rates)]
    mean, spread = float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else None
    ahead = tried(errors, f"{name} forecast", lambda: forecast(rates, FORECAST_HOURS, model="theta"))
    cycles = tried(errors, f"{name} seasonality", lambda: seasonality(rates, step_seconds=3600))
    return {
        "current": rates[-1],
        "mean": mean,
        "min": known.min(),
        "max": known.max(),
        "sd": spread,
        "hours": len(known),
        "annual_pct": mean / BPS * HOURS_PER_YEAR / 8 * 100,
        "paid_bps": paid["bps"] if paid else None,
        "settlements": paid["settlements"] if paid else 0,
        "persistent": "positive" if mean > 1 else "negative" if mean < -1 else None,
        "volatile": None if spread is None else spread > 2,
        "last": {"time": times[-POINTS:], "rate": rates[-POINTS:]},
        "forecast": {"rate": ahead.forecast, "skill": ahead.metrics["skill"]} if ahead else None,
        "cycle_hours": cycles.dominant.period_seconds / 3600 if cycles and cycles.dominant else None,
    }


def _ordered(rates: dict[str, Array]) -> list[tuple[str, str]]:
    """Pairs of the markets whose rate is known now, the lower one first."""
    known = [name for name, values in rates.items() if np.isfinite(values[-1])]
    return [
        (first, second) if rates[first][-1] <= rates[second][-1] else (second, first)
        for first, second in combinations(known, 2)
    ]


def _pair(low: str, high: str, rates: dict[str, Array], holding: int) -> dict[str, Any]:
    history = rates[high] - rates[low]
    spread, past = float(history[-1]), history[np.isfinite(history)]
    cost = 2 * (FEES[low].taker_bps + FEES[high].taker_bps)
    net = spread * holding / 8 - cost
    return {
        "long": low,
        "short": high,
        "spread_bps": spread,
        "gross_annual_pct": spread / BPS * HOURS_PER_YEAR / 8 * 100,
        "cost_bps": cost,
        "net_bps": net,
        "net_annual_pct": net / BPS * HOURS_PER_YEAR / holding * 100,
        "break_even_hours": cost / spread * 8 if spread > 0 else None,
        "historical_mean_bps": past.mean(),
        "historical_sd_bps": past.std(ddof=1) if len(past) > 1 else None,
        "confidence": (past > 0).mean(),
        "hours": len(past),
    }


def _signals(pairs: list[dict[str, Any]]) -> list[CalculatorSignal]:
    return [
        CalculatorSignal(
            "INFO",
            strength(pair["net_annual_pct"] / 50),
            f"long {pair['long']}, short {pair['short']}: {pair['net_annual_pct']:.1f} % a year net of fees",
            metadata={name: pair[name] for name in ("long", "short", "spread_bps", "net_bps", "confidence")},
        )
        for pair in pairs
        if pair["net_annual_pct"] > LEAST_ANNUAL_PCT
    ]
