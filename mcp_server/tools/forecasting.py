"""Tools for forecasts, how good they were, and the models behind them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Cursor, Format, Limit, Market, Symbol, Time, one_of, span
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.forecasting.drift.tables import DRIFT
from orderflow_assets.forecasting.frame import Series
from orderflow_assets.forecasting.retraining import hour_of_day
from orderflow_assets.forecasting.router import PRIORITIES, RouteError, route
from orderflow_assets.forecasting.tables import EVENTS, FORECASTS, FRAMES, LEADERBOARD, SCORES, STATUSES, VERSIONS
from orderflow_streaming.markets import market as declared_market
from orderflow_streaming.tables import Column

Target = Literal["price", "volatility", "volume"]
Status = Annotated[str, one_of(STATUSES)]
Step = Annotated[int, Field(ge=1, description="bars of five minutes ahead")]
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


TOOLSET = "forecasting"
Priority = Annotated[str, one_of(PRIORITIES)]
_ROUTED = (
    Column("choice", "VARCHAR", "chosen, fallback or rejected"),
    Column("model", "VARCHAR"),
    Column("version", "INTEGER", "stored version to load; NULL: it is trained first; 0: naive"),
    Column("expected_ms", "DOUBLE", "measured time until the answer; NULL: unknown", "ms"),
    Column("expected_rmae", "DOUBLE", "errors over naive's to expect; below 1 beats naive", "ratio"),
    Column("reason", "VARCHAR"),
)


@tool(toolset=TOOLSET)
def model_route(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target = "price",
    priority: Priority = "balanced",
    step: Step | None = None,
    budget_ms: Annotated[float, Field(gt=0)] | None = None,
    response_format: Format = "concise",
) -> Answer:
    """Which model to ask for a forecast of one symbol: what can answer within the deadline of priority (realtime 100
    ms, fast 500, balanced 1000, accurate 2000, research none) and has erred least where it was measured, with reasons
    and what to fall back on. step counts bars of five minutes (default: the farthest). Latency and skill are measured;
    what was not is called unknown. detailed lists every rejected model."""
    series = _series_key(symbol, market)
    try:
        found = route(context, series, target, priority, step=step, budget_ms=budget_ms)
    except RouteError as error:
        raise ToolError("argument", f"{str(error).partition(';')[0]}.", f"{str(error).partition('; ')[2]}.") from None
    meta = {"series": series, "deadline_ms": found.deadline_ms, "device": found.device, "reasons": found.reasons}
    if not found.known:
        reason = f"No model of {series} was measured yet; until then naive (the last value) is all there is."
        answer = windows.empty(LEADERBOARD, _ROUTED, reason)
        answer.meta = meta
        return answer
    rejected = found.rejected if response_format == "detailed" else found.close
    rows = [
        ("chosen", found.model, found.version, found.expected_ms, found.expected_rmae, found.reasons[-1]),
        *(("fallback", name, None, None, None, "asked where the one before fails") for name in found.fallback),
        *(("rejected", name, None, None, None, reason) for name, reason in rejected.items()),
    ]
    return Answer.rows(_ROUTED, rows, source=LEADERBOARD.qualified, hoisted=False, meta=meta)


@tool(toolset=TOOLSET)
def leaderboard_get(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    step: Step | None = None,
    limit: Limit = DEFAULT_ROWS,
    response_format: Format = "concise",
) -> Answer:
    """Measured skill and speed of every model, best first within each series, target and step: errors over naive's
    (rmae below 1 beats naive; shrunk_rmae allows for few origins), how many forecasts that rests on, interval coverage,
    seconds to train, load and ask. Evidence: held-out bars, backtests and forecasts in service, no stretch twice. Use
    model_route to be given a choice."""
    equals = windows.series(symbol, market)
    equals |= {name: value for name, value in (("target", target), ("step", step)) if value is not None}
    names = ("series", "target", "step", "rank", "model", "shrunk_rmae", "rmae", "origins", "coverage_95", "predict_s")
    columns = LEADERBOARD.names if response_format == "detailed" else (*names, "version", "refreshed_at")
    where, values = windows.conditions(LEADERBOARD, equals, None, None)
    limit = context.rows(limit)
    listed = ", ".join(f'"{name}"' for name in columns)
    sql = (
        f"SELECT {listed} FROM {LEADERBOARD.qualified} WHERE {where} "
        f"ORDER BY series, target, step, rank LIMIT {limit + 1}"
    )
    shown = [LEADERBOARD.column(name) for name in columns]
    return windows.aggregated(context, LEADERBOARD, shown, sql, values, equals=equals, limit=limit, time="refreshed_at")


@tool(toolset=TOOLSET)
def registry_history(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """What happened to model versions, newest first: trained, registered, validated, deployed, retired, and every time
    the alias champion or challenger was set or dropped, by which run or person and why. Events are never changed or
    removed. Use it to see why a model serves or stopped serving; models_list has the versions themselves. Times are
    clock time, UTC."""
    columns = ("happened_at", "series", "target", "model", "version", "event", "by", "reason")
    equals = windows.series(symbol, market) | ({"target": target} if target else {})
    return windows.newest(context, EVENTS, equals=equals, columns=columns, limit=limit, cursor=cursor)


_TRAINING = (
    Column("series", "VARCHAR"),
    Column("target", "VARCHAR"),
    Column("serves", "VARCHAR", "model that serves; naive without a champion"),
    Column("version", "INTEGER", "its version; 0 for naive"),
    Column("challenger", "VARCHAR", "model that stands against it"),
    Column("last_trained_at", "TIMESTAMP", "start of the newest training of any model", "UTC"),
    Column("tried", "BIGINT", "models ever trained", "count"),
    Column("stored", "BIGINT", "versions that can be loaded", "count"),
    Column("frame_to", "TIMESTAMP", "last bar of the newest training frame", "UTC"),
    Column("frame_bars", "BIGINT", "bars in it", "bars"),
    Column("reason", "VARCHAR", "why the newest version has its status"),
)
_NEXT_HOUR = Column("daily_at", "BIGINT", "hour of the day at which it is trained", "UTC hour")


@tool(toolset=TOOLSET)
def training_status(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Where training of each series and target stands: what serves and what challenges it, when it was last trained and
    at which hour (UTC) it is trained every day, how many models were tried and are stored, up to where the newest
    training frame goes, and the verdict on the newest version. Drift may ask for a training in between. For runs that
    wait or run now use assets_status."""
    equals = windows.series(symbol, market) | ({"target": target} if target else {})
    where, values = windows.conditions(VERSIONS, equals, None, None)
    limit = context.rows(limit)
    frame = (
        f"(SELECT max(data_to) FROM {FRAMES.qualified} f WHERE f.series = v.series)",
        f"(SELECT arg_max(bars, built_at) FROM {FRAMES.qualified} f WHERE f.series = v.series)",
    )
    if windows.missing(context, FRAMES):
        frame = ("NULL::TIMESTAMP", "NULL")
    sql = f"""
        SELECT series, target, coalesce(any_value(model) FILTER (alias = 'champion'), 'naive') AS serves,
               coalesce(any_value(version) FILTER (alias = 'champion'), 0) AS version,
               any_value(model) FILTER (alias = 'challenger') AS challenger, max(trained_at) AS last_trained_at,
               count(DISTINCT model) AS tried, count(artefact_sha256) AS stored,
               {frame[0]} AS frame_to, {frame[1]} AS frame_bars, arg_max(reason, version) AS reason
        FROM {VERSIONS.qualified} v WHERE {where}
        GROUP BY series, target ORDER BY series, target LIMIT {limit + 1}"""
    answer = windows.aggregated(
        context, VERSIONS, _TRAINING, sql, values, equals=equals, limit=limit, time="last_trained_at"
    )
    keys = answer.values[[column.name for column in answer.columns].index("series")]
    answer.columns = [*answer.columns, _NEXT_HOUR]
    answer.values.append([hour_of_day(key) for key in keys])
    return answer


def _series_key(symbol: str, market: str) -> str:
    venue = declared_market(market)
    return Series(symbol, venue.exchange, venue.market_type).key
