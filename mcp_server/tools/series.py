"""Questions about one stored column of one series: forecasts, outliers, changes, cycles, regimes, trend, likeness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mcp_server.analysis import Asked, analysed
from mcp_server.arguments import DEFAULT_MARKET, NamedMarket, Symbol, Time
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.calculators.reading import INTERVALS, Fold, Interval
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.series import Series
from orderflow_streaming.tables import Column

TOOLSET = "series"
TIMEOUT_S = 60.0
NEWEST = 100
JUDGED = 20
"""Newest values that a model of regimes does not learn from."""

StoredColumn = Annotated[str, Field(max_length=80, description="bars.close, features.prices.microprice, …")]
Hours = Annotated[float, Field(gt=0, le=2160, description="how far back")]
Scale = Literal["levels", "log_returns"]
_TIME = Column("time", "TIMESTAMP", "closing edge", "UTC")


_FORECAST = (_TIME, *(Column(name, "DOUBLE", unit="base") for name in ("forecast", "lower", "upper")))


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_forecast(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "1h",
    hours: Hours = 168,
    end: Time | None = None,
    fold: Fold = "last",
    steps: Annotated[int, Field(ge=1, le=200)] = 12,
    model: Literal["auto", "naive", "seasonal_naive", "theta", "ets", "arima"] = "auto",
    season: Annotated[int, Field(ge=2, le=500, description="cycle in steps")] | None = None,
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95,
) -> Answer:
    """Forecast the next steps of one stored column with the model's own interval. auto takes the model with the least
    error over past origins, naive (last value) among them; meta has every model's mase, skill against naive
    and coverage: skill at or below 0 is no better. fold says what stands for an interval."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.forecasting import forecast

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        made = forecast(values, steps, model=model, season=season, confidence=confidence)
        last, width = series.times[np.isfinite(values)][-1].item(), INTERVALS[interval]
        times = [last + step * width for step in range(1, steps + 1)]
        rows = zip(times, made.forecast.tolist(), made.lower.tolist(), made.upper.tolist(), strict=True)
        return rows, {"model": made.model, "confidence": made.confidence, **made.metrics}

    return analysed(context, asked, _FORECAST, analysis)


_ANOMALIES = (_TIME, *(Column(name, "DOUBLE", unit="base") for name in ("value", "scaled", "score")))


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_anomalies(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "5m",
    hours: Hours = 24,
    end: Time | None = None,
    fold: Fold = "last",
    scale: Scale = "log_returns",
    method: Literal["zscore", "mad", "iqr", "isolation_forest", "ecod", "cusum", "ensemble"] = "ensemble",
    threshold: Annotated[float, Field(gt=0, le=100)] | None = None,
    baseline: Annotated[int, Field(ge=20, le=1440, description="values before each")] = 60,
) -> Answer:
    """Values of one stored column that do not fit the ones before them, newest first. Each value is judged by its past
    alone; ensemble flags what two of six methods flag; score counts them. Prices need log_returns, steady columns
    levels. threshold defaults to the method's own, in meta."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.anomalies import anomalies

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        found = anomalies(values, method=method, threshold=threshold, window=baseline)
        judged = int(np.isfinite(found.scores).sum())
        places = found.indices[::-1][: context.rows(NEWEST)]
        parts = (series.times[places], series.values[places], values[places], found.scores[places])
        rows = zip(*(part.tolist() for part in parts), strict=True)
        return rows, {"method": method, "threshold": found.threshold, "judged": judged, "found": len(found.indices)}

    return analysed(context, asked, _ANOMALIES, analysis, scale)


_CHANGES = (
    _TIME,
    Column("confidence", "DOUBLE", "weight of two segments against one", "fraction"),
    *(Column(name, "DOUBLE", unit="base") for name in ("mean_before", "mean_after", "sd_before", "sd_after")),
    Column("length_after", "INTEGER", "values up to the next point", "steps"),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_change_points(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "1h",
    hours: Hours = 168,
    end: Time | None = None,
    fold: Fold = "last",
    scale: Scale = "log_returns",
    method: Literal["both", "pelt", "binseg", "kernel", "cusum"] = "both",
    min_size: Annotated[int, Field(ge=2, le=500, description="values of a segment")] = 10,
) -> Answer:
    """Where one stored column began to behave differently in mean or variance, newest first, with the segments on
    both sides. time is the closing edge of the first value that is different. Looks at the whole stretch, so later data
    may move a point. Prices need log_returns. No point means no change was found beyond chance."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.changes import change_points

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        begin = int(np.isnan(values[0])) if len(values) else 0
        found = change_points(values[begin:], method=method, min_size=min_size)
        sides = zip(found.points.tolist(), found.confidence.tolist(), found.segments, found.segments[1:], strict=False)
        rows = [
            (series.times[at + begin].item(), sure, left.mean, right.mean, left.sd, right.sd, right.length)
            for at, sure, left, right in sides
        ]
        return rows[::-1][: context.rows(NEWEST)], {"method": found.method, "segments": len(found.segments)}

    return analysed(context, asked, _CHANGES, analysis, scale)


_FEATURES = (
    *(Column(name, "VARCHAR") for name in ("feature", "group")),
    Column("value", "DOUBLE"),
    Column("definition", "VARCHAR"),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_features(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "5m",
    hours: Hours = 24,
    end: Time | None = None,
    fold: Fold = "last",
) -> Answer:
    """Describe a stretch of one stored column by fifty numbers: moments, quantiles, trend, autocorrelation, unit-root
    tests, volatility, entropy, Hurst exponent, spectrum. value is null where one is undefined, for instance returns of
    a series that is not positive. The first call takes some seconds while a library compiles."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.features import FEATURES, extract

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        found = extract(values, step_seconds=INTERVALS[interval].total_seconds())
        return [(item.name, item.group, found[item.name], item.definition) for item in FEATURES], {}

    return analysed(context, asked, _FEATURES, analysis)


_CYCLES = (
    Column("period_hours", "DOUBLE", "length of the cycle", "h"),
    Column("period_steps", "DOUBLE", "length of the cycle", "steps"),
    Column("share", "DOUBLE", "of the variance about the trend", "fraction"),
    Column("p_value", "DOUBLE", "of so strong a cycle in noise of the same colour", "probability"),
    Column("candidate", "VARCHAR", "a period named beforehand"),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_seasonality(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "1h",
    hours: Hours = 336,
    end: Time | None = None,
    fold: Fold = "last",
    scale: Scale = "levels",
    season: Annotated[int, Field(ge=2, le=1000, description="cycle to take out, in steps")] = 24,
    top: Annotated[int, Field(ge=1, le=20)] = 5,
) -> Answer:
    """Cycles of one stored column, strongest first, then the periods markets live by (8 h, 24 h, 168 h), each tested
    against noise of the same colour; meta has the strength of trend and of the given season by STL. A cycle counts
    where p_value is below 0.01; at least three must fit into the stretch."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.seasonality import decompose, seasonality

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        found = seasonality(values, step_seconds=INTERVALS[interval].total_seconds(), top=top)
        parts = decompose(values, season)
        named: list[tuple[Any, str | None]] = [(cycle, None) for cycle in found.cycles]
        named += [(cycle, name) for name, cycle in found.candidates.items()]
        rows = [
            (cycle.period_seconds / 3600, cycle.period_steps, cycle.share, cycle.p_value, name) for cycle, name in named
        ]
        strength = {"trend_strength": parts.trend_strength, "seasonal_strength": parts.seasonal_strength[season]}
        return rows, {"season": season, "noise_persistence": found.persistence, **strength}

    return analysed(context, asked, _CYCLES, analysis, scale)


_REGIMES = (
    _TIME,
    Column("regime", "VARCHAR", "most probable state"),
    Column("probability", "DOUBLE", "of that state, from values up to time", "fraction"),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_regimes(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "15m",
    hours: Hours = 168,
    end: Time | None = None,
    fold: Fold = "last",
    scale: Scale = "log_returns",
    states: Annotated[int, Field(ge=2, le=4)] = 2,
) -> Answer:
    """States of one stored column by a Gaussian hidden Markov model, newest first. Learned on all values but the
    newest 20, then read forward: a state rests on values up to its time. States go by mean, BEAR lowest, BULL highest;
    meta has transition matrix, expected stay, and mean_t: under 2 the name says little about direction."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.regimes import filter as filtered
    from orderflow_assets.timeseries.regimes import fit

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        model = fit(values[:-JUDGED], states=states)
        found = filtered(model, values)
        sure = found.probabilities.max(axis=1)
        rows = list(zip(series.times.tolist(), found.history, sure.tolist(), strict=True))[::-1]
        meta = {
            "transition_matrix": dict(zip(found.labels, found.transition_matrix.tolist(), strict=True)),
            "expected_steps": dict(found.durations),
            "mean_t": dict(zip(found.labels, model.mean_t.tolist(), strict=True)),
            "learned_from": model.n,
        }
        return rows[: context.rows(NEWEST)], meta

    return analysed(context, asked, _REGIMES, analysis, scale)


_TREND = (
    Column("trend", "VARCHAR", "increasing, decreasing or none"),
    Column("p_value", "DOUBLE", "of no trend", "probability"),
    Column("tau", "DOUBLE", "Kendall's", "correlation"),
    *(Column(name, "DOUBLE", "Sen's slope per step", "base") for name in ("slope", "slope_low", "slope_high")),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_trend(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "1h",
    hours: Hours = 168,
    end: Time | None = None,
    fold: Fold = "last",
    method: Literal["hamed_rao", "original", "seasonal"] = "hamed_rao",
    season: Annotated[int, Field(ge=2, le=500, description="cycle in steps, for seasonal")] | None = None,
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05,
) -> Answer:
    """Whether one stored column rises or falls: Mann-Kendall test and Sen's slope with its interval, per step of
    interval. hamed_rao allows for autocorrelation, which stored series have; original takes values for independent;
    seasonal compares like places of a cycle. trend is none where p_value is at least alpha."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.trends import mann_kendall

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        found = mann_kendall(values, method=method, season=season, alpha=alpha)
        row = (found.trend, found.p_value, found.tau, found.slope, found.slope_low, found.slope_high)
        return [row], {"method": found.method, "alpha": found.alpha}

    return analysed(context, asked, _TREND, analysis)


_SIMILAR = (
    *(Column(name, "TIMESTAMP", f"{name} of the stretch", "UTC") for name in ("start", "end")),
    Column("distance", "DOUBLE", "between the normalised shapes"),
    Column("correlation", "DOUBLE", "with the newest stretch"),
    Column("change_after", "DOUBLE", "over as many values again, relative", "fraction"),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def series_similar(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    column: StoredColumn = "bars.close",
    interval: Interval = "15m",
    hours: Hours = 336,
    end: Time | None = None,
    fold: Fold = "last",
    length: Annotated[int, Field(ge=4, le=1000, description="values of the shape")] = 48,
    top: Annotated[int, Field(ge=1, le=20)] = 5,
) -> Answer:
    """Earlier stretches of one stored column shaped like its newest length values, nearest first, by the distance of
    normalised shapes, and what the column did over as many values afterwards. A few likenesses prove nothing: compare
    their changes with those of any other stretch. Needs a column without gaps in the stretch."""
    asked = Asked(symbol, market, column, interval, hours, end, fold)
    from orderflow_assets.timeseries.similarity import find_similar

    def analysis(series: Series, values: Array) -> tuple[Iterable[Sequence[Any]], dict[str, Any]]:
        if len(values) < 3 * length:
            raise ValueError(f"{len(values)} values hold no {length} to compare with, take a longer stretch")
        found = find_similar(values[:-length], values[-length:], top=top)
        rows = []
        for match in found:
            last = match.start + length - 1
            after = values[last + length] / values[last] - 1 if last + length < len(values) and values[last] else None
            times = series.times[match.start].item(), series.times[last].item()
            rows.append((*times, match.distance, match.correlation, after))
        return rows, {"length": length, "newest_from": series.times[-length].item().isoformat()}

    return analysed(context, asked, _SIMILAR, analysis)
