"""The tool for the state each series is in: regime, volatility, strain."""

from __future__ import annotations

from typing import Literal

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, Cursor, Limit, Market, Symbol, Time
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.analytics.event_risk import EVENT_RISK
from orderflow_assets.analytics.regimes import LEARNING, REGIMES
from orderflow_assets.analytics.volatility import VOLATILITY_STATES
from orderflow_streaming.tables import Table

_TABLES: dict[str, Table] = {"state": REGIMES, "volatility": VOLATILITY_STATES, "event_risk": EVENT_RISK}
_HIDDEN = ("symbol", "exchange", "market_type", "open_time", "last_minute", "step")


@tool(toolset="analytics")
def regime_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    view: Literal["state", "volatility", "event_risk"] = "state",
    step: Literal["1h", "5m"] = "1h",
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 24,
    cursor: Cursor | None = None,
) -> Answer:
    """Regime of a series, newest first. state: BEAR, RANGING, BULL by a hidden Markov model refitted at midnight, with
    filtered probabilities and the chance to leave within 24 h; step 5m where history is under 20 days. volatility: each
    hour in its month, clustering, forecast. event_risk: strain in [0, 100], every 5 min. NULL: too little history."""
    table = _TABLES[view]
    equals = windows.series(symbol, market) | ({"step": step} if view == "state" else {})
    answer = windows.newest(
        context,
        table,
        equals=equals,
        columns=[name for name in table.names if name not in _HIDDEN],
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
        time="bar_ts",
    )
    if view == "state":
        learning = LEARNING[step]
        answer.meta["learned_on"] = f"up to {learning.history.days} days, at least {learning.least_rows} bars"
    return answer
