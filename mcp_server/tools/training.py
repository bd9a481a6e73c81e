"""Tools that start long work on models as Dagster runs: training, tuning, backtests. They need writes to be allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from mcp_server import dagster
from mcp_server.arguments import DEFAULT_MARKET, NamedMarket, Symbol
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer
from mcp_server.tools.dagster import consent, started
from orderflow_assets.forecasting.frame import Series
from orderflow_assets.forecasting.models import ModelError, resolve
from orderflow_streaming.markets import market as declared_market

TOOLSET = "forecasting"
Names = Annotated[list[str], Field(max_length=12, description="model names; none: those of the schedule")]
Agreed = Annotated[str, Field(max_length=80, description="SYMBOL|market again: the user agreed")]
Days = Annotated[float, Field(gt=0, le=365, description="days of bars to look at")]


@tool(toolset=TOOLSET, writes=True, open_world=True)
def model_train(
    context: Context,
    symbol: Symbol,
    confirm: Agreed,
    market: NamedMarket = DEFAULT_MARKET,
    models: Names | None = None,
    tuning_trials: Annotated[int, Field(ge=0, le=200)] = 0,
    days: Days = 14,
) -> Answer:
    """Train models of one series in a Dagster run (job retrain) and answer at once with its id: each is judged on the
    newest 30 % of the bars, which it never saw, and the best serves where it beats naive and what served.
    tuning_trials tunes each first. confirm repeats SYMBOL|market once the user has agreed. Follow it with runs_list;
    results: models_list, leaderboard_get."""
    training = {"models": _resolved(models), "tuning_trials": tuning_trials}
    ops = {"models__frames": {"lookback_days": days}, "models__versions": training}
    return _start(context, symbol, market, confirm, "models.versions", "retrain", ops)


@tool(toolset=TOOLSET, writes=True, open_world=True)
def backtest_start(
    context: Context,
    symbol: Symbol,
    confirm: Agreed,
    market: NamedMarket = DEFAULT_MARKET,
    models: Names | None = None,
    days: Days = 30,
    test_share: Annotated[float, Field(gt=0, lt=1, description="newest share to forecast")] = 0.5,
    retrain_every: Annotated[int, Field(ge=1, description="bars of five minutes")] = 288,
) -> Answer:
    """Walk models of one series forward over its stored past in a Dagster run (job backtest) and answer at once with
    its id. Each is trained again every retrain_every bars and forecasts the newest test_share of the days. confirm
    repeats SYMBOL|market once the user has agreed. Follow it with runs_list; results with grades and P&L after costs:
    backtest_results, backtest_curve."""
    config = {
        "models": _resolved(models),
        "lookback_days": days,
        "test_share": test_share,
        "retrain_every": retrain_every,
    }
    return _start(context, symbol, market, confirm, "models.backtests", "backtest", {"backtests": config})


def _resolved(models: list[str] | None) -> list[str]:
    try:
        return [resolve(name).name for name in models or ()]
    except ModelError as error:
        raise ToolError("argument", str(error).partition(" All are")[0], "forecast_models_list lists all.") from None


def _start(
    context: Context, symbol: str, market: str, confirm: str, asset: str, job: str, ops: Mapping[str, Any]
) -> Answer:
    """Start ``job`` for one series, with the configuration of its steps."""
    venue = declared_market(market)
    key = Series(symbol, venue.exchange, venue.market_type).key
    consent(confirm, key)
    found = dagster.node(context, asset)
    if key not in found["partitionKeys"]:
        raise ToolError("argument", f"Dagster knows no series {key} yet.", "It is added once the series has bars.")
    config = {"ops": {name: {"config": given} for name, given in ops.items()}}
    run = dagster.launch(context, found, job, key, config=config)
    return started(run, key, {"series": key, "asked": dict(ops)})
