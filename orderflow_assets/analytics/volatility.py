"""``analytics.volatility_states``: how wild each hour was by its own month, and how wild the next one will be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.analytics.moves import LAST_MINUTE, TABLES, with_last_minute
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, DAY, HOUR, MINUTE, closed_window, hours
from orderflow_assets.features.grid import MIN_BASELINE, Array, Grid, before, current, percent_rank, windows
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.timeseries.features import arch_lm
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

STATES: tuple[tuple[float, str], ...] = (
    (0.95, "EXTREME"),
    (0.90, "HIGH"),
    (0.75, "ELEVATED"),
    (0.25, "NORMAL"),
    (0.0, "LOW"),
)
"""Percentile of realised variance from which a state holds, highest first."""

BASELINE_H, DAY_H, WEEK_H = 720, 24, 168
LEAST_TARGETS = 240
"""Hours a forecast is fitted on at least."""
LEAST_SHARE = 0.75
"""Share of the hours of a day or a week that must be known for their mean to be."""

ARCH_BARS, ARCH_LEAST, ARCH_LAGS = 288, 200, 5
_LOOKBACK = (BASELINE_H + WEEK_H + 1) * HOUR
_YEAR_H = 24 * 365
_FIVE = 5 * MINUTE

VOLATILITY_STATES = Table(
    "analytics",
    "volatility_states",
    (
        *BAR_COLUMNS,
        LAST_MINUTE,
        Column("realized_variance", "DOUBLE", "of the hour, from one-minute mid returns", "squared log points"),
        Column("realized_volatility", "DOUBLE", "its root, annualised over 365 days", "fraction per year"),
        Column(
            "rv_percentile",
            "DOUBLE",
            f"percent rank of realized_variance in the {BASELINE_H} hours before, at least {MIN_BASELINE}",
            "fraction",
        ),
        Column(
            "state",
            "VARCHAR",
            ", ".join(f"{name} from {edge:.0%}" for edge, name in STATES) + " of rv_percentile",
        ),
        Column(
            "arch_lm_p",
            "DOUBLE",
            f"p-value of constant variance of the five-minute returns of 24 h, {ARCH_LAGS} lags, at least {ARCH_LEAST} "
            "returns; small: volatility clusters. Source: Engle 1982",
            "probability",
        ),
        Column(
            "har_forecast",
            "DOUBLE",
            "realised variance expected of the next hour: least squares of its logarithm on those of the last hour and "
            f"of the means of 24 h and 168 h, fitted on the {BASELINE_H} hours before, at least {LEAST_TARGETS}, with "
            "half the residual variance added. Source: Corsi 2009",
            "squared log points",
        ),
        Column("har_r_squared", "DOUBLE", "share of the variance of that logarithm the fit explains", "fraction"),
        Column("expected_change", "DOUBLE", "ln(har_forecast / realized_variance)", "log points"),
    ),
    BAR_KEY,
    LAST_MINUTE.name,
    "State of volatility of every series and hour, with a forecast for the next.",
)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*TABLES.values(), VOLATILITY_STATES)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    """The row of the hour that [start, end) closes, if it does."""
    opening = start.replace(minute=0)
    empty = VOLATILITY_STATES.arrow_schema.empty_table()
    if end != opening + HOUR:
        return store.write(VOLATILITY_STATES, empty, Window(start, end))
    moves = Grid.read(store, TABLES["1h"], ("realized_variance",), end - _LOOKBACK, end, HOUR)
    if not moves.series:
        return store.write(VOLATILITY_STATES, empty, Window(start, end))
    variance = np.where(moves["realized_variance"] > 0, moves["realized_variance"], np.nan)
    recent = Grid.read(store, TABLES["5m"], ("log_return",), end - DAY + _FIVE, end, _FIVE, moves.series)
    now = current(moves["realized_variance"], 1)
    rank = percent_rank(now, before(moves["realized_variance"], BASELINE_H, 1))
    forecast, explained = har(variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.log(forecast[:, None] / current(variance, 1))
    values: dict[str, npt.NDArray[Any]] = {
        "realized_variance": now,
        "realized_volatility": np.sqrt(now * _YEAR_H),
        "rv_percentile": rank,
        "state": named(rank),
        "arch_lm_p": np.array([clustering(returns) for returns in recent["log_return"]])[:, None],
        "har_forecast": forecast[:, None],
        "har_r_squared": explained[:, None],
        "expected_change": change,
    }
    rows = moves.table(VOLATILITY_STATES, values, 1)
    return store.write(VOLATILITY_STATES, with_last_minute(rows), Window(start, end))


def named(rank: Array) -> npt.NDArray[Any]:
    """State of each percentile, None where it is unknown."""
    names = np.full(rank.shape, None, dtype=object)
    for edge, name in reversed(STATES):
        names[rank >= edge] = name
    return names


def clustering(returns: Array) -> float:
    """p-value of :func:`~orderflow_assets.timeseries.features.arch_lm`; NaN under 200 known returns."""
    known = returns[np.isfinite(returns)]
    return arch_lm(known, ARCH_LAGS) if len(known) >= ARCH_LEAST else np.nan


def har(variance: Array) -> tuple[Array, Array]:
    """Forecast of the hour after the last and R squared of its fit, (series,) each.

    ``variance`` is (series, hours), NaN where unknown or zero; the last 720 hours at most are targets.
    """
    hours_before = variance.shape[1] - WEEK_H + 1
    targets = min(hours_before - 1, BASELINE_H)
    regressors = np.stack(
        [
            np.ones((len(variance), targets + 1)),
            np.log(current(variance, targets + 1)),
            np.log(_mean(windows(variance, DAY_H, targets + 1))),
            np.log(_mean(windows(variance, WEEK_H, targets + 1))),
        ],
        axis=-1,
    )
    x, y = regressors[:, :-1], np.log(current(variance, targets))
    known = np.isfinite(x).all(axis=-1) & np.isfinite(y)
    count = known.sum(axis=1)
    x, y = np.where(known[..., None], x, 0.0), np.where(known, y, 0.0)
    usable = count >= LEAST_TARGETS
    forecast, explained = np.full((2, len(variance)), np.nan)
    if not usable.any():
        return forecast, explained
    x, y, known, count, latest = x[usable], y[usable], known[usable], count[usable], regressors[usable, -1]
    weights = (np.linalg.pinv(np.swapaxes(x, 1, 2) @ x) @ (np.swapaxes(x, 1, 2) @ y[..., None]))[..., 0]
    residual = ((y - np.einsum("stk,sk->st", x, weights)) ** 2).sum(axis=1)
    mean = y.sum(axis=1) / count
    total = (np.where(known, y - mean[:, None], 0.0) ** 2).sum(axis=1)
    forecast[usable] = np.exp(np.einsum("sk,sk->s", latest, weights) + residual / (count - 4) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        explained[usable] = np.where(total > 0, 1 - residual / total, np.nan)
    return forecast, explained


def _mean(stretches: Array) -> Array:
    """Mean of the known values along the last axis; NaN under three quarters of them."""
    count = np.isfinite(stretches).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.where(count >= LEAST_SHARE * stretches.shape[-1], np.nansum(stretches, axis=-1) / count, np.nan)


LAYER = Layer(
    VOLATILITY_STATES,
    _compute,
    tuple(table.qualified for table in TABLES.values()),
    timedelta(hours=BASELINE_H + WEEK_H + 2),
    "analytics",
    ("duckdb", "python"),
    backs={TABLES["5m"].qualified: DAY + HOUR},
    lineage={
        **dict.fromkeys(
            (
                *("realized_variance", "realized_volatility", "rv_percentile", "state"),
                *("har_forecast", "har_r_squared", "expected_change"),
            ),
            columns_of(TABLES["1h"].qualified, "realized_variance"),
        ),
        "arch_lm_p": columns_of(TABLES["5m"].qualified, "log_return"),
    },
)
