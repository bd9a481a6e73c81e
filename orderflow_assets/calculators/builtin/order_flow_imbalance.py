"""Who pays the spread, bucket by bucket and venue by venue."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, scope, strength
from orderflow_assets.calculators.result import SignalType, tried
from orderflow_assets.features.prices.randomness import hurst

RECENT = 4
"""Buckets that count as now."""
LEAST_PAST = 8
"""Earlier sums of that many buckets without which there is no z."""
MOST_RATIO = 100.0
Array = npt.NDArray[np.float64]


@calculator(category="order_flow", version="1", reads={"bars.bars_1m": "hours"})
def order_flow_imbalance(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    hours: Annotated[int, Field(ge=1, le=720, description="hours to look back")] = 24,
    bucket_minutes: Annotated[int, Field(ge=1, le=240, description="minutes of a bucket")] = 15,
) -> Result:
    """Taker buying against selling per market in buckets that end at `end`: how unusual the last four are, anomalies,
    shifts, trend and persistence of the net flow, and whether the markets agree.

    A bucket with a minute of unknown volume has no flow (null). Values are in quote currency, net is bought - sold.
    """
    rows = _buckets(store, symbol, exchange, end, hours, bucket_minutes)
    if not rows:
        return Result.nothing(f"bars.bars_1m holds no rows of {symbol} in the {hours} h before {end}.")
    errors: list[str] = []
    signals: list[CalculatorSignal] = []
    persistence = _persistence(store, symbol, exchange, end, hours)
    markets = {}
    for name, found in rows.items():
        market = _market(name, found, end, bucket_minutes, errors)
        market["timeseries"]["persistence"] = persistence.get(name)
        signals += _signals(name, market["recent"], market["timeseries"], end)
        markets[name] = market
    return Result(
        {**markets, "cross_exchange": _consensus(markets)}, signals, {"bucket_minutes": bucket_minutes}, errors
    )


def _buckets(
    store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int, minutes: int
) -> dict[str, list[dict[str, Any]]]:
    """Complete buckets by market, oldest first; ``age`` counts them back from ``end``."""
    where, values = scope(symbol, exchange)
    count = hours * 60 // minutes
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market,
               (epoch_us($end::TIMESTAMP) - epoch_us(bar_ts)) // {minutes * 60_000_000} AS age,
               CASE WHEN count(quote_volume) = count(*) THEN sum(taker_buy_quote) END AS buy,
               CASE WHEN count(quote_volume) = count(*) THEN sum(quote_volume - taker_buy_quote) END AS sell,
               CASE WHEN count(trade_count) = count(*) THEN sum(trade_count)::BIGINT END AS count,
               sum(quote_volume) / nullif(sum(volume), 0) AS mean_price
        FROM bars.bars_1m
        WHERE {where} AND bar_ts <= $end::TIMESTAMP AND bar_ts > $end::TIMESTAMP - INTERVAL {count * minutes} MINUTE
        GROUP BY market, age ORDER BY market, age DESC""",
        {**values, "end": end},
    )
    markets: dict[str, list[dict[str, Any]]] = {}
    for row in found.to_pylist():
        markets.setdefault(row.pop("market"), []).append(row)
    return markets


def _market(
    name: str,
    rows: list[dict[str, Any]],
    end: datetime,
    minutes: int,
    errors: list[str],
) -> dict[str, Any]:
    buy, sell = (_column(rows, side) for side in ("buy", "sell"))
    net = buy - sell
    edges = np.datetime64(end, "us") - np.arange(rows[0]["age"], -1, -1) * np.timedelta64(minutes, "m")
    # A bucket that is not stored is a hole on the grid of buckets, so that sums do not reach across it.
    grid = np.full(rows[0]["age"] + 1, np.nan)
    places = [rows[0]["age"] - row["age"] for row in rows]
    grid[places] = net
    recent = _recent(grid)
    analysis = _analysis(name, grid, edges, errors)
    bought, sold = float(np.nansum(buy)), float(np.nansum(sell))
    return {
        "summary": {
            "buy": bought,
            "sell": sold,
            "net": bought - sold,
            "ratio": _ratio(bought, sold),
            "mean_bucket_net": float(np.nanmean(net)) if np.isfinite(net).any() else None,
            "buckets": int(np.isfinite(net).sum()),
        },
        "recent": recent,
        "timeseries": analysis,
        "buckets": {
            "time": edges[places].tolist(),
            "buy": buy,
            "sell": sell,
            "net": net,
            "ratio": [_ratio(*pair) for pair in zip(buy, sell, strict=True)],
            "count": [row["count"] for row in rows],
            "mean_price": [row["mean_price"] for row in rows],
        },
    }


def _column(rows: list[dict[str, Any]], name: str) -> Array:
    return np.array([math.nan if row[name] is None else row[name] for row in rows])


def _ratio(buy: float, sell: float) -> float | None:
    """Bought over sold, at most 100; None where nothing is known or traded."""
    if not buy + sell > 0:
        return None
    return min(MOST_RATIO, buy / sell) if sell > 0 else MOST_RATIO


def _recent(grid: Array) -> dict[str, Any]:
    """The newest four buckets against all earlier sums of four neighbours that do not share a bucket with them."""
    if len(grid) < RECENT:
        return {"net": None, "z": None, "percentile": None, "historical_sums": 0}
    sums = np.lib.stride_tricks.sliding_window_view(grid, RECENT).sum(axis=1)
    now, past = float(sums[-1]), sums[:-RECENT]
    past = past[np.isfinite(past)]
    known = len(past) >= LEAST_PAST and math.isfinite(now)
    mean, spread = (float(past.mean()), float(past.std(ddof=1))) if known else (math.nan, math.nan)
    z = (now - mean) / spread if known and spread > 0 else math.nan
    return {
        "net": now,
        "historical_mean": mean,
        "historical_sd": spread,
        "historical_sums": len(past),
        "z": z,
        "percentile": 50 * math.erfc(-z / math.sqrt(2)) if math.isfinite(z) else None,
    }


def _analysis(name: str, grid: Array, times: npt.NDArray[np.datetime64], errors: list[str]) -> dict[str, Any]:
    from orderflow_assets.timeseries.anomalies import LEAST_WINDOW, anomalies
    from orderflow_assets.timeseries.changes import change_points
    from orderflow_assets.timeseries.trends import mann_kendall

    odd = tried(errors, f"{name} anomalies", lambda: anomalies(grid, method="mad", window=LEAST_WINDOW))
    shifts = tried(errors, f"{name} change points", lambda: change_points(grid))
    slope = tried(errors, f"{name} trend", lambda: mann_kendall(grid, method="hamed_rao"))
    return {
        "anomalies": times[odd.indices].tolist() if odd else None,
        "change_points": times[shifts.points].tolist() if shifts else None,
        "trend": {"direction": slope.trend, "p_value": slope.p_value, "slope": slope.slope} if slope else None,
        "lag1": _lag1(grid),
    }


def _lag1(grid: Array) -> float | None:
    """Correlation of neighbouring buckets."""
    before, after = grid[:-1], grid[1:]
    known = np.isfinite(before) & np.isfinite(after)
    if known.sum() < LEAST_PAST or not before[known].std() > 0 or not after[known].std() > 0:
        return None
    return float(np.corrcoef(before[known], after[known])[0, 1])


def _persistence(
    store: Rows, symbol: str, exchange: str | None, end: datetime, hours: int
) -> dict[str, dict[str, float]]:
    """Fluctuation exponent of the net flow per minute and its standard error, by market; NaN for too few minutes."""
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market, list(2 * taker_buy_quote - quote_volume ORDER BY bar_ts) AS net
        FROM bars.bars_1m
        WHERE {where} AND quote_volume IS NOT NULL
          AND bar_ts <= $end::TIMESTAMP AND bar_ts > $end::TIMESTAMP - INTERVAL {hours} HOUR
        GROUP BY market""",
        {**values, "end": end},
    )
    exponents = {row["market"]: hurst(np.array(row["net"])) for row in found.to_pylist()}
    return {name: {"hurst": value, "standard_error": error} for name, (value, error) in exponents.items()}


def _signals(name: str, recent: dict[str, Any], analysis: dict[str, Any], end: datetime) -> list[CalculatorSignal]:
    found = []
    z = recent["z"]
    if z is not None and abs(z) > 2:
        side: SignalType = "BULLISH" if z > 0 else "BEARISH"
        text = f"{name}: net taker flow of the last {RECENT} buckets lies {z:.1f} sd from its past"
        found.append(CalculatorSignal(side, strength(abs(z) / 3), text, metadata={"market": name, "z": z}))
    if analysis["anomalies"] and analysis["anomalies"][-1] == end:
        text = f"{name}: the net flow of the newest bucket does not fit the ones before it"
        found.append(CalculatorSignal("WARNING", 0.75, text, metadata={"market": name}))
    exponent = (analysis["persistence"] or {}).get("hurst", math.nan)
    if exponent > 0.65:
        text = f"{name}: flow persists, Hurst exponent {exponent:.2f}"
        found.append(CalculatorSignal("INFO", strength(exponent), text, metadata={"market": name}))
    return found


def _consensus(markets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean sign of the net flow of the markets that have any."""
    signs = [math.copysign(1, found["summary"]["net"]) for found in markets.values() if found["summary"]["net"]]
    mean = sum(signs) / len(signs) if signs else None
    return {
        "mean_sign": mean,
        "consensus": None if mean is None else "STRONG" if abs(mean) > 0.8 else "WEAK",
        "markets": len(signs),
    }
