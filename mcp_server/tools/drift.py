"""Tools for drift: what was found, what became of it, and how the models of a series are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from mcp_server import windows
from mcp_server.arguments import DEFAULT_ROWS, Format, Limit, Market, Symbol, Time, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.forecasting.drift.health import HEALTH, HEALTH_SQL, LOOKED_BACK
from orderflow_assets.forecasting.drift.tables import DRIFT, INPUTS, RETRAININGS
from orderflow_assets.forecasting.drift.thresholds import THRESHOLDS
from orderflow_assets.forecasting.targets import TARGETS

TOOLSET = "forecasting"
Target = Annotated[str, one_of(TARGETS)]

_VERDICT = ("series", "target", "model", "version", "checked_at", "severity", "type", "confidence")
_REPORT = (*_VERDICT, "reason", "recommendation", "began_at", "details")
_INPUT = ("series", "target", "model", "version", "checked_at", "input", "severity", "ks_statistic", "ks_p", "psi")
_HISTORY = (*_VERDICT, "error_ratio", "coverage_95", "reason")
_RETRAINING = ("series", "recorded_at", "step", "severity", "run_id", "reason")


@tool(toolset=TOOLSET)
def drift_report(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    view: Literal["verdict", "inputs"] = "verdict",
    response_format: Format = "concise",
) -> Answer:
    """The newest drift report of each model that serves. verdict: severity, type (data: inputs left what was learned;
    performance: loses to naive; concept, sudden, gradual: errors grew), confidence (1 - p of the test of that type),
    since when, what to do, and in details each statistic beside its threshold. inputs: each input and the forecasts
    against the reference frozen at deployment. No row means nothing was checked."""
    equals = windows.series(symbol, market) | ({"target": target} if target else {})
    if view == "inputs":
        names = INPUTS.names if response_format == "detailed" else (*_INPUT, "reason")
        return windows.latest(context, INPUTS, names, equals, ("series", "target", "input"))
    names = DRIFT.names if response_format == "detailed" else _REPORT
    answer = windows.latest(context, DRIFT, names, equals, ("series", "target"))
    answer.meta["thresholds"] = {name: f"{one.sense} {one.value:g}" for name, one in THRESHOLDS.items()}
    return answer


@tool(toolset=TOOLSET)
def drift_history(
    context: Context,
    symbol: Symbol | None = None,
    market: Market | None = None,
    target: Target | None = None,
    view: Literal["checks", "retrainings"] = "checks",
    start: Time = "24h",
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Drift over time, newest first, of the last 24 hours by default. checks: every check with severity, type,
    confidence and recent errors over those of the reference. retrainings: what drift led to, step by step (detected,
    asked, refused, finished, failed) with the reason; these are of a series, so target does not restrict them. Times
    are clock times, UTC."""
    equals = windows.series(symbol, market)
    if view == "checks" and target:
        equals |= {"target": target}
    table, names, order = (
        (DRIFT, _HISTORY, "series, target") if view == "checks" else (RETRAININGS, _RETRAINING, "series")
    )
    return windows.measured(
        context, table, equals, names, start=start, end=end, limit=limit, order=order, time=table.time
    )


@tool(toolset=TOOLSET)
def model_health(context: Context, symbol: Symbol | None = None, market: Market | None = None) -> Answer:
    """Health of the models of each series by the drift checks of the last 24 hours: critical with any critical finding,
    degraded with more than two high ones, warning with any, ok without, unknown where too few outcomes were known to
    say. A finding that lasts counts once. Ask drift_report for the reasons."""
    equals = windows.series(symbol, market)
    since = datetime.now(UTC).replace(tzinfo=None) - LOOKED_BACK
    where, values = windows.conditions(DRIFT, equals, None, None)
    sql = HEALTH_SQL.format(where=where)
    return windows.aggregated(
        context, DRIFT, HEALTH, sql, [since, *values], equals=equals, edges=(since, None), time="checked_at"
    )
