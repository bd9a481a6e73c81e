"""Tools for why a model forecasts what it forecasts, what it needs, and where forecasts erred.

They read what the assets stored; no model is loaded here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, DEFAULT_ROWS, Limit, Market, Symbol, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.forecasting.explain.tables import ERRORS, EXPLANATIONS, GROUPINGS
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.tables import Column

TOOLSET = "explanations"
Target = Annotated[str, one_of(TARGETS)]
Grouping = Annotated[str, one_of(GROUPINGS)]
Step = Annotated[int, Field(ge=1, description="bars of five minutes ahead")]

_NOW = "Explain it now with the Dagster job explain, or see models_list for what serves."
_SERVING_SQL = f"""
SELECT model, version, issued_at, reason FROM {FORECASTS.qualified}
WHERE symbol = ? AND exchange = ? AND market_type = ? AND target = ? ORDER BY issued_at DESC, step LIMIT 1
"""
_INPUTS = (
    "model",
    "version",
    "last_issued_at",
    "step",
    "feature",
    "lag",
    "input",
    "value",
    "effect",
    "base",
    "output",
    "unit",
    "reason",
)


@tool(toolset=TOOLSET)
def forecast_explain(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target = "price",
    step: Step | None = None,
    limit: Limit = 20,
) -> Answer:
    """Why the model that serves forecasts what it forecasts: each input (lag 0 is the newest bar), its value, and its
    Shapley value; base plus all values is the output, effect moves the forecast in log units. step: the first, unless
    given. Of the newest forecast explained (last_issued_at, UTC); meta.newest_forecast says what serves now, with the
    reason where that is naive. Strongest first."""
    equals = windows.series(symbol, market) | {"target": target}
    limit = context.rows(limit)
    where, values = windows.conditions(EXPLANATIONS, equals, None, None)
    listed = ", ".join(_INPUTS)
    sql = f"""
        SELECT {listed} FROM {EXPLANATIONS.qualified} WHERE {where} AND method = 'shap'
        QUALIFY step = coalesce(?, min(step) OVER ())
        ORDER BY abs(value) DESC NULLS LAST, feature, lag LIMIT {limit + 1}"""
    columns = [EXPLANATIONS.column(name) for name in _INPUTS]
    answer = windows.aggregated(
        context, EXPLANATIONS, columns, sql, [*values, step], equals=equals, time="last_issued_at", limit=limit
    )
    serves = windows.fetched(context, FORECASTS, _SERVING_SQL, list(equals.values()))
    newest = serves.to_pylist()[0] if serves is not None and serves.num_rows else None
    if newest:
        answer.meta["newest_forecast"] = newest | {"issued_at": windows.said(newest["issued_at"])}
    if not len(answer):
        answer.hint = f"{_why(newest) or answer.hint} {_NOW}"
    return answer


def _why(newest: dict[str, object] | None) -> str | None:
    """Why there is no explanation, where what serves says it."""
    if newest is None or newest["model"] != "naive":
        return None
    return (
        f"Naive serves, which forecasts the last value: there is nothing to explain. {newest['reason'] or ''}".strip()
    )


_IMPORTANCES = (
    "target",
    "model",
    "version",
    "method",
    "feature",
    "lag",
    "value",
    "low",
    "high",
    "unit",
    "origins",
    "first_issued_at",
    "last_issued_at",
    "reason",
)


@tool(toolset=TOOLSET)
def feature_importance(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target | None = None,
    method: Literal["permutation", "mean_abs_shap", "variable_selection", "attention"] | None = None,
    limit: Limit = 40,
) -> Answer:
    """What the model that serves cannot do without, on bars it was not trained on. permutation: rmae lost when an input
    is put out of order, with its 95 % interval; one that spans 0 shows nothing. mean_abs_shap: mean size of its
    contributions. attention, variable_selection: shares of a fusion transformer. reason says why a method has no value.
    Times UTC."""
    equals = windows.series(symbol, market)
    equals |= {name: value for name, value in (("target", target), ("method", method)) if value}
    where, values = windows.conditions(EXPLANATIONS, equals, None, None)
    limit = context.rows(limit)
    sql = f"""
        SELECT {", ".join(_IMPORTANCES)} FROM {EXPLANATIONS.qualified} WHERE {where} AND method <> 'shap'
        ORDER BY target, method = 'permutation' DESC, method, value DESC NULLS LAST, feature, lag LIMIT {limit + 1}"""
    columns = [EXPLANATIONS.column(name) for name in _IMPORTANCES]
    answer = windows.aggregated(
        context, EXPLANATIONS, columns, sql, values, equals=equals, time="last_issued_at", limit=limit
    )
    if not len(answer):
        answer.hint = f"{answer.hint} Where naive serves there is no model to rank inputs of. {_NOW}"
    return answer


_CELLS = (
    Column("target", "VARCHAR"),
    *(ERRORS.column(name) for name in ERRORS.names[ERRORS.names.index("model") :]),
)


@tool(toolset=TOOLSET)
def error_analysis(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    target: Target | None = None,
    grouping: Grouping | None = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Where scored forecasts of the last 30 days erred: rmae (below 1 beats naive) and coverage, with 95 % intervals by
    blocks of two hours, by UTC hour of issue, volatility (low, middle, high among the week before) and regime, as known
    at issue. A cell without forecasts has scores 0 and says so. A whole interval above 1: naive was better there."""
    equals = windows.series(symbol, market)
    equals |= {name: value for name, value in (("target", target), ("grouping", grouping)) if value}
    where, values = windows.conditions(ERRORS, equals, None, None)
    limit = context.rows(limit)
    sql = f"""
        SELECT {", ".join(column.name for column in _CELLS)} FROM {ERRORS.qualified} WHERE {where}
        ORDER BY target, model, step, grouping, cell LIMIT {limit + 1}"""
    return windows.aggregated(context, ERRORS, _CELLS, sql, values, equals=equals, time="last_issued_at", limit=limit)
