"""Tools for forecasts, how good they were, and the models behind them."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Cursor, Format, Limit, Market, Symbol, Time, one_of, span
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.forecasting.drift.tables import DRIFT
from orderflow_assets.forecasting.tables import FORECASTS, SCORES, STATUSES, VERSIONS
from orderflow_streaming.tables import Column

Target = Literal["price", "volatility", "volume"]
Status = Annotated[str, one_of(STATUSES)]
_BAND = ("lower_80", "upper_80", "lower_95", "upper_95")


@tool(always_load=True)
def forecasts_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    response_format: Format = "concise",
) -> Answer:
    """Forecasts of one symbol with 80 and 95 % intervals, the model that served and the naive forecast beside it.
    Without start and end: only the newest issue. price is in quote currency, volatility a fraction, volume in base
    units (next hour); issued_at and target_ts are bar closes, UTC. reason says why a forecast, interval or trained
    model is absent. Check forecast_skill_get before trusting it."""
    equals = windows.series(symbol, market) | ({"target": target} if target else {})
    first, last = span(start, end)
    where, values = windows.conditions(FORECASTS, equals, first, last)
    names = ("target", "issued_at", "target_ts", "step", "last_value", "point", "naive", *_BAND, "model", "version")
    columns = FORECASTS.names if response_format == "detailed" else (*names, "reason")
    newest = "" if start or end else "QUALIFY issued_at = max(issued_at) OVER (PARTITION BY series, target)"
    limit = context.rows(limit)
    listed = ", ".join(f'"{name}"' for name in columns)
    sql = (
        f"SELECT {listed} FROM forecasts.forecasts WHERE {where} {newest} "
        f"ORDER BY issued_at DESC, target, step LIMIT {limit + 1}"
    )
    return windows.aggregated(
        context,
        FORECASTS,
        [FORECASTS.column(name) for name in columns],
        sql,
        values,
        equals=equals,
        edges=(first, last),
        limit=limit,
        time="issued_at",
    )


_SKILL = (
    Column("target", "VARCHAR"),
    Column("model", "VARCHAR"),
    Column("version", "INTEGER"),
    Column("scored", "BIGINT", "forecasts with a known outcome", "forecasts"),
    Column("first_target_ts", "TIMESTAMP", "first outcome", "UTC"),
    Column("last_target_ts", "TIMESTAMP", "last outcome", "UTC"),
    Column("mae", "DOUBLE", "mean absolute error", "quote or fraction"),
    Column("naive_mae", "DOUBLE", "the same of the naive forecast", "quote or fraction"),
    Column("skill", "DOUBLE", "1 - scaled error / scaled naive error", "fraction"),
    Column("bias", "DOUBLE", "mean of actual - point", "quote or fraction"),
    Column("coverage_80", "DOUBLE", "share inside the 80 % interval", "fraction"),
    Column("coverage_95", "DOUBLE", "share inside the 95 % interval", "fraction"),
)


@tool()
def forecast_skill_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target | None = None,
    start: Time = "7d",
    end: Time | None = None,
    by_step: bool = False,
) -> Answer:
    """How good the forecasts of one symbol were, by target and model version: mean absolute error beside that of the
    naive forecast, skill (above 0 beats naive, 0 or below does not), bias, and the share of outcomes inside the 80 and
    95 % intervals. Default: outcomes of the last 7 days, UTC. by_step splits by horizon. Few scored forecasts prove
    little."""
    equals = windows.series(symbol, market) | ({"target": target} if target else {})
    first, last = span(start, end)
    where, values = windows.conditions(SCORES, equals, first, last)
    step = "step, " if by_step else ""
    sql = f"""
        SELECT target, model, version, {step}count(*) AS scored,
               min(target_ts) AS first_target_ts, max(target_ts) AS last_target_ts,
               avg(abs(error)) AS mae, avg(abs(naive_error)) AS naive_mae,
               1 - avg(abs(scaled_error)) / nullif(avg(abs(scaled_naive_error)), 0) AS skill,
               avg(error) AS bias, avg(inside_80::INTEGER) AS coverage_80, avg(inside_95::INTEGER) AS coverage_95
        FROM forecasts.scores WHERE {where}
        GROUP BY target, model, {step}version ORDER BY target, last_target_ts DESC, version DESC, {step}model"""
    columns = (*_SKILL, SCORES.column("step"))
    return windows.aggregated(
        context, SCORES, columns, sql, values, equals=equals, edges=(first, last), time="last_target_ts"
    )


@tool()
def models_list(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    status: Status | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
    response_format: Format = "concise",
) -> Answer:
    """Trained model versions, newest first: series, target, status, alias (champion serves), what they were trained on
    and the held-out comparison with naive in metrics. status says where a version stands; reason why. Use it to see
    which model serves; for errors in service use forecast_skill_get. trained_at is clock time, UTC."""
    columns = ("series", "target", "model", "version", "status", "alias", "trained_at", "rows", "metrics", "reason")
    equals = windows.series(symbol, market)
    equals |= {name: value for name, value in (("target", target), ("status", status)) if value}
    return windows.newest(
        context,
        VERSIONS,
        equals=equals,
        columns=VERSIONS.names if response_format == "detailed" else columns,
        limit=limit,
        cursor=cursor,
        tie="version",
    )


@tool()
def drift_status(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    response_format: Format = "concise",
) -> Answer:
    """The newest drift check of each series and target: severity NONE to CRITICAL, whether drift was detected, recent
    errors over reference errors, coverage of the 95 % interval, and the reason in words. No row means nothing was
    checked, not that all is well. detailed adds every detector's figures. checked_at is clock time, UTC."""
    columns = ("series", "target", "model", "version", "checked_at", "severity", "detected", "scores", "error_ratio")
    names = DRIFT.names if response_format == "detailed" else (*columns, "coverage_95", "reason")
    equals = windows.series(symbol, market) | ({"target": target} if target else {})
    return windows.latest(context, DRIFT, names, equals, ("series", "target"))
