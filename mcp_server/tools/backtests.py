"""Tools for backtests: how models did on bars they had not seen, which is best, and what trading would have brought."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Format, Limit, Market, Symbol, Time, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.forecasting.backtest.tables import BACKTEST_CURVE, BACKTESTS, GRADES
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.tables import Column

TOOLSET = "backtests"
Target = Annotated[str, one_of(TARGETS)]
Model = Annotated[str, Field(max_length=64, description="name in the model catalogue")]
Step = Annotated[int, Field(ge=1, description="bars of five minutes ahead")]

_CONCISE = (
    "run_at",
    "target",
    "model",
    "step",
    "grade",
    "origins",
    "rmae",
    "dm_p",
    "crps_ratio",
    "coverage_80",
    "coverage_95",
    "direction_hit",
    "direction_p",
    "trades",
    "net_bps",
    "sharpe",
    "deflated_sharpe",
    "reason",
)


@tool(toolset=TOOLSET)
def backtest_results(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target | None = None,
    model: Model | None = None,
    step: Step | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    response_format: Format = "concise",
) -> Answer:
    """Walk-forward backtests of one symbol by model and step, those of the newest run unless start is given: grade,
    errors over naive's (rmae below 1 beats naive, dm_p says how surely), interval coverage, direction, and P&L after
    fees, spread and funding. detailed adds every figure, dates and costs. Percentage errors (mape) grade the horizon,
    not the model. run_at is clock time, UTC."""
    equals = windows.series(symbol, market)
    asked = (("target", target), ("model", model), ("step", step))
    return windows.measured(
        context,
        BACKTESTS,
        equals | {name: value for name, value in asked if value is not None},
        BACKTESTS.names if response_format == "detailed" else _CONCISE,
        start=start,
        end=end,
        limit=limit,
        order="target, step, rmae, model",
        time="run_at",
    )


_LEADERBOARD = (
    BACKTESTS.column("target"),
    BACKTESTS.column("model"),
    BACKTESTS.column("step"),
    Column("series", "BIGINT", "series backtested", "count"),
    Column("origins", "BIGINT", "origins of all series", "count"),
    Column("rmae", "DOUBLE", "mean over the series of the error over naive's", "ratio"),
    Column("better", "BIGINT", "series on which naive was beaten", "count"),
    Column("surely_better", "BIGINT", "of these, with a Diebold-Mariano p below 5 %", "count"),
    Column("surely_worse", "BIGINT", "series on which it lost to naive with a p below 5 %", "count"),
    Column("crps_ratio", "DOUBLE", "mean quantile score over naive's", "ratio"),
    Column("coverage_error_95", "DOUBLE", "mean distance of the coverage from 95 %", "fraction"),
    Column("direction_hit", "DOUBLE", "mean share of right signs", "fraction"),
    Column("net_bps", "DOUBLE", "mean P&L after costs", "bps"),
    Column("worst_grade", "VARCHAR", f"of {', '.join(GRADES)}"),
    Column("fit_seconds", "DOUBLE", "mean CPU time of a training", "s"),
    Column("last_run_at", "TIMESTAMP", "newest run", "UTC"),
)


@tool(toolset=TOOLSET)
def backtest_leaderboard(
    context: Context,
    target: Target = "price",
    step: Step = 12,
    symbol: Symbol | None = None,
    market: Market | None = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Models ranked by their errors over naive's in the newest backtest of every series: on how many series they beat
    naive and how surely, quantile score, coverage, direction, P&L after costs, worst grade. target price, volatility or
    volume; step is how many bars of five minutes ahead. Only naive near 1.000 means nothing beats the last value.
    Models tested on different series are not compared on the same data: see series and origins."""
    equals = windows.series(symbol, market) | {"target": target, "step": step}
    where, values = windows.conditions(BACKTESTS, equals, None, None)
    limit = context.rows(limit)
    grades = ", ".join(f"'{letter}'" for letter in GRADES)
    sql = f"""
        WITH newest AS (
            SELECT * FROM {BACKTESTS.qualified} WHERE {where}
            QUALIFY row_number() OVER (PARTITION BY series, model ORDER BY run_at DESC) = 1
        )
        SELECT target, model, step, count(*) AS series, sum(origins)::BIGINT AS origins, avg(rmae) AS rmae,
               count(*) FILTER (rmae < 1) AS better, count(*) FILTER (rmae < 1 AND dm_p < 0.05) AS surely_better,
               count(*) FILTER (rmae > 1 AND dm_p > 0.95) AS surely_worse, avg(crps_ratio) AS crps_ratio,
               avg(abs(coverage_95 - 0.95)) AS coverage_error_95, avg(direction_hit) AS direction_hit,
               avg(net_bps) AS net_bps, arg_max(grade, list_position([{grades}], grade)) AS worst_grade,
               avg(fit_seconds / nullif(fits, 0)) AS fit_seconds, max(run_at) AS last_run_at
        FROM newest GROUP BY target, model, step ORDER BY rmae, model LIMIT {limit + 1}"""
    return windows.aggregated(
        context, BACKTESTS, _LEADERBOARD, sql, values, equals=equals, time="last_run_at", limit=limit
    )


_CURVE = (
    BACKTEST_CURVE.column("bar_ts"),
    Column("position", "DOUBLE", "mean position of the bars: 1 long, 0 out, -1 short", "fraction"),
    *(BACKTEST_CURVE.column(name) for name in ("gross_bps", "cost_bps", "funding_bps", "equity_bps")),
)


@tool(toolset=TOOLSET)
def backtest_curve(
    context: Context,
    symbol: Symbol,
    model: Model,
    market: Market = DEFAULT_MARKET,
    step: Step = 1,
    points: Limit = DEFAULT_ROWS,
) -> Answer:
    """What trading on the price forecasts of one model would have brought over the newest backtest, after costs: the
    cumulated P&L in basis points of the value at stake, oldest first, in about as many points as asked; position is
    the mean of the bars of a point, gross, cost and funding are their sums. Past P&L of a strategy picked among many
    is luck to a large part: read deflated_sharpe of backtest_results beside it."""
    equals = windows.series(symbol, market) | {"model": model, "step": step}
    where, values = windows.conditions(BACKTEST_CURVE, equals, None, None)
    points = context.rows(points)
    sql = f"""
        WITH bars AS (
            SELECT *, (row_number() OVER (ORDER BY bar_ts) - 1) * {points} // count(*) OVER () AS point
            FROM {BACKTEST_CURVE.qualified} WHERE {where}
        )
        SELECT max(bar_ts) AS bar_ts, avg(position) AS position, sum(gross_bps) AS gross_bps, sum(cost_bps) AS cost_bps,
               sum(funding_bps) AS funding_bps, arg_max(equity_bps, bar_ts) AS equity_bps
        FROM bars GROUP BY point ORDER BY bar_ts"""
    return windows.aggregated(
        context,
        BACKTEST_CURVE,
        _CURVE,
        sql,
        values,
        equals=equals,
        time="bar_ts",
        limit=points,
        meta={"order": "oldest first"},
    )
