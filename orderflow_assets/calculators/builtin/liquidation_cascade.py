"""Runs of forced closures, and how likely they are to go on."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, scope, strength
from orderflow_assets.calculators.reading import exists
from orderflow_assets.calculators.result import tried
from orderflow_assets.timeseries.arrays import Array
from orderflow_streaming.schema import GAPS

LEAST_EVENTS = 3
ACTIVE = timedelta(minutes=30)
LEAST_FOR_BRANCHING = 30
BRANCHING_MINUTES = 180
LEVELS = (("EXTREME", 0.8), ("HIGH", 0.6), ("ELEVATED", 0.4), ("MODERATE", 0.2))
BUCKET_MINUTES = 5
BUCKET = timedelta(minutes=BUCKET_MINUTES)


@calculator(category="risk", version="1", reads={"main.liquidations": "hours", "bars.bars_1m": "hours"})
def liquidation_cascade(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=1, le=720, description="hours to look back")] = 24,
    cascade_window_minutes: Annotated[
        int, Field(ge=1, le=60, description="longest pause inside a cascade, minutes")
    ] = 5,
    min_liquidation_value: Annotated[float, Field(ge=0, description="smallest value counted, quote currency")] = 10_000,
) -> Result:
    """Liquidations per market: totals by side, cascades (three or more with short pauses between), a risk score, the
    share that earlier ones triggered, and outliers and shifts of their value.

    Most venues publish a sample of their liquidations: figures compare a market with itself. Only futures markets
    that publish them appear; rates are per hour of stored minutes.
    """
    spans = _spans(store, symbol, exchange, end, hours)
    if not spans:
        return Result.nothing(f"bars.bars_1m holds no futures rows of {symbol} in the {hours} h before {end}.")
    events = _events(store, symbol, exchange, end, hours, cascade_window_minutes, min_liquidation_value)
    if not events:
        return Result.nothing(
            f"main.liquidations holds no rows of {symbol} of {min_liquidation_value:g} or more in the {hours} h "
            f"before {end}."
        )
    errors: list[str] = []
    signals: list[CalculatorSignal] = []
    silent = _silences(store, symbol, exchange, end, hours)
    data = {}
    for name, found in events.items():
        values = _value_per_bucket(found, silent.get(name, []), end, hours)
        data[name], told = _market(name, found, spans.get(name), values, end, errors)
        signals += told
    return Result(data, signals, {"min_liquidation_value": min_liquidation_value}, errors)


def _spans(store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int) -> dict[str, float]:
    """Hours of stored minutes by futures market: what a rate is divided by."""
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market, count(*) / 60.0 AS hours FROM bars.bars_1m
        WHERE {where} AND market_type = 'futures' AND bar_ts <= $end::TIMESTAMP
          AND bar_ts > $end::TIMESTAMP - INTERVAL {hours} HOUR
        GROUP BY market""",
        {**values, "end": end},
    )
    return dict(zip(found["market"].to_pylist(), map(float, found["hours"].to_pylist()), strict=True))


def _events(
    store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int, pause: int, least: float
) -> dict[str, list[dict[str, Any]]]:
    """Liquidations by market in time order, each with the number of the run it belongs to (gaps and islands)."""
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        WITH counted AS (
            SELECT exchange || '_' || market_type AS market, timestamp, id, side, price, value_usd
            FROM main.liquidations
            WHERE {where} AND timestamp <= $end::TIMESTAMP AND timestamp > $end::TIMESTAMP - INTERVAL {hours} HOUR
              AND value_usd >= $least
        ), broken AS (
            SELECT *, coalesce(timestamp - lag(timestamp) OVER one > INTERVAL {pause} MINUTE, true) AS begins
            FROM counted WINDOW one AS (PARTITION BY market ORDER BY timestamp, id)
        )
        SELECT market, timestamp, side, price, value_usd AS value, sum(begins::INTEGER) OVER one AS run
        FROM broken WINDOW one AS (PARTITION BY market ORDER BY timestamp, id)
        ORDER BY market, timestamp, id""",
        {**values, "end": end, "least": least},
    )
    markets: dict[str, list[dict[str, Any]]] = {}
    for row in found.to_pylist():
        markets.setdefault(row.pop("market"), []).append(row)
    return markets


def _market(
    name: str,
    events: list[dict[str, Any]],
    span: float | None,
    values: Array,
    end: datetime,
    errors: list[str],
) -> tuple[dict[str, Any], list[CalculatorSignal]]:
    cascades = _cascades(events, end)
    summary = _summary(events, span)
    risk = _risk(summary, cascades)
    analysis = _analysis(name, values, end, errors)
    data = {
        "summary": summary,
        "cascades": cascades,
        "risk": {**risk, "branching_ratio": _branching(events, end)},
        "timeseries": analysis,
    }
    return data, _signals(name, cascades, risk, analysis, end)


def _summary(events: list[dict[str, Any]], span: float | None) -> dict[str, Any]:
    total = {side: sum(event["value"] for event in events if event["side"] == side) for side in ("long", "short")}
    count = {side: sum(event["side"] == side for event in events) for side in ("long", "short")}
    value = total["long"] + total["short"]
    return {
        "count": len(events),
        "long_count": count["long"],
        "short_count": count["short"],
        "long_value": total["long"],
        "short_value": total["short"],
        "mean_value": value / len(events),
        "dominant_side": "long" if total["long"] > total["short"] else "short" if value > 2 * total["long"] else None,
        "hours": span,
        "per_hour": len(events) / span if span else None,
    }


def _cascades(events: list[dict[str, Any]], end: datetime) -> list[dict[str, Any]]:
    runs: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        runs.setdefault(event["run"], []).append(event)
    return [_cascade(run, end) for run in runs.values() if len(run) >= LEAST_EVENTS]


def _cascade(run: list[dict[str, Any]], end: datetime) -> dict[str, Any]:
    seconds = (run[-1]["timestamp"] - run[0]["timestamp"]).total_seconds()
    prices = [event["price"] for event in run]
    value = {side: sum(event["value"] for event in run if event["side"] == side) for side in ("long", "short")}
    return {
        "start": run[0]["timestamp"],
        "end": run[-1]["timestamp"],
        "seconds": seconds,
        "count": len(run),
        "long_value": value["long"],
        "short_value": value["short"],
        "lowest_price": min(prices),
        "highest_price": max(prices),
        "value_per_second": sum(value.values()) / seconds if seconds else None,
        "recent": end - run[-1]["timestamp"] <= ACTIVE,
    }


def _risk(summary: dict[str, Any], cascades: list[dict[str, Any]]) -> dict[str, Any]:
    active = any(found["recent"] for found in cascades)
    rate = summary["per_hour"]
    parts = {
        "cascades": 0.4 if active else 0.1 * min(len(cascades) / 5, 1),
        "rate": None if rate is None else 0.3 * min(rate / 20, 1),
        "imbalance": 0.3 * abs(summary["long_count"] - summary["short_count"]) / summary["count"],
    }
    score = None if rate is None else sum(part for part in parts.values() if part is not None)
    level = None if score is None else next((name for name, least in LEVELS if score >= least), "LOW")
    return {"score": score, "level": level, "parts": parts, "active_cascade": active}


def _branching(events: list[dict[str, Any]], end: datetime) -> float | None:
    """Share of the liquidations of the last 3 h that earlier ones triggered: 1 - sqrt(mean / variance) of the counts
    per minute (Hardiman & Bouchaud 2014); None under 30."""
    ages = [(end - event["timestamp"]).total_seconds() // 60 for event in events]
    counts = np.bincount([int(age) for age in ages if age < BRANCHING_MINUTES], minlength=BRANCHING_MINUTES)
    if counts.sum() < LEAST_FOR_BRANCHING or counts.var() == 0:
        return None
    return float(np.clip(1 - math.sqrt(counts.mean() / counts.var()), 0, 1))


def _silences(
    store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int
) -> dict[str, list[tuple[datetime, datetime]]]:
    """Recorded gaps of the liquidations by market: what happened then is not known."""
    if not exists(store, GAPS.qualified):
        return {}
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market, coalesce(started_at, detected_at) AS first,
               coalesce(ended_at, detected_at) AS last
        FROM ops.gaps
        WHERE {where} AND stream = 'liquidations' AND filled_at IS NULL AND first < $end::TIMESTAMP
          AND last > $end::TIMESTAMP - INTERVAL {hours} HOUR""",
        {**values, "end": end},
    )
    gaps: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in found.to_pylist():
        gaps.setdefault(row["market"], []).append((row["first"], row["last"]))
    return gaps


def _value_per_bucket(
    events: list[dict[str, Any]], silent: list[tuple[datetime, datetime]], end: datetime, hours: int
) -> Array:
    """Value liquidated in each five minutes up to ``end``, oldest first; NaN where a gap reaches into them."""
    values = np.zeros(hours * 60 // BUCKET_MINUTES)
    for event in events:
        values[-1 - int((end - event["timestamp"]) / BUCKET)] += event["value"]
    for first, last in silent:
        oldest, newest = math.floor((end - first) / BUCKET), max(0, math.floor((end - last) / BUCKET))
        values[max(0, len(values) - 1 - oldest) : len(values) - newest] = np.nan
    return values


def _analysis(name: str, values: Array, end: datetime, errors: list[str]) -> dict[str, Any]:
    """The value per five minutes: which are outliers, and when its level shifted.

    Outliers by their tail (ECOD): to an isolation forest a value beyond all it has seen is like the largest of them.
    """
    from orderflow_assets.timeseries.anomalies import anomalies

    spike = tried(errors, f"{name} spikes", lambda: anomalies(np.log1p(values), method="ecod"))
    shift = tried(errors, f"{name} shifts", lambda: anomalies(np.log1p(values), method="cusum"))
    return {
        "bucket_minutes": BUCKET_MINUTES,
        "spikes": [end - (len(values) - 1 - int(place)) * BUCKET for place in spike.indices] if spike else None,
        "shifts": [end - (len(values) - 1 - int(place)) * BUCKET for place in shift.indices] if shift else None,
    }


def _signals(
    name: str, cascades: list[dict[str, Any]], risk: dict[str, Any], analysis: dict[str, Any], end: datetime
) -> list[CalculatorSignal]:
    found, about = [], {"market": name}
    if risk["score"] is not None and risk["score"] > 0.7:
        text = f"{name}: liquidation risk {risk['level']}, score {risk['score']:.2f}"
        found.append(CalculatorSignal("WARNING", strength(risk["score"]), text, metadata=about))
    active = [cascade for cascade in cascades if cascade["recent"]]
    if active:
        newest = active[-1]
        longs = newest["long_value"] > newest["short_value"]
        text = f"{name}: a cascade of {newest['count']} liquidations, mostly {'longs' if longs else 'shorts'}"
        found.append(CalculatorSignal("BEARISH" if longs else "BULLISH", 0.9, text, newest["end"], about))
    for what, level, text in (("spikes", 0.85, "liquidated value spikes"), ("shifts", 0.9, "liquidated value shifts")):
        if analysis[what] and end - analysis[what][-1] <= ACTIVE:
            found.append(CalculatorSignal("WARNING", level, f"{name}: {text}", analysis[what][-1], about))
    return found
