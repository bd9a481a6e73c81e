"""Tools for what the signals say together, how likely it is, and whether they were right."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, Cursor, Format, Limit, Market, Symbol, Time, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.signals.aggregate_layer import AGGREGATE
from orderflow_assets.signals.calibration import CALIBRATED, CALIBRATION
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.probabilities import PROBABILITIES
from orderflow_assets.signals.worth import LEVEL, MEASURES, WORTH

TOOLSET = "signals"
Signal = Annotated[str, one_of(SIGNALS)]
Calibrated = Annotated[str, one_of(CALIBRATED)]

_SERIES = ("symbol", "exchange", "market_type", "open_time")
_ALL = [name for name in AGGREGATE.names if name not in _SERIES]
_DETAILS = ("bullish_weight", "bearish_weight", "neutral_weight", "resolution_confidence", "scores", "category_scores")
_SIDES = ("bullish_signals", "bearish_signals", "supporting_signals")


@tool(toolset=TOOLSET)
def signals_aggregate_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 1,
    cursor: Cursor | None = None,
    response_format: Format = "concise",
) -> Answer:
    """What all signals of a series say together, newest first, by default the newest minute: ranking, direction,
    strength, conflict and who wins it, entry bias, risk, urgency, and why in a sentence. detailed adds both sides'
    signals, weights and scores. Chosen weights, no advice, no probability. bar_ts is the closing edge, UTC."""
    concise = [name for name in _ALL if name not in (*_DETAILS, *_SIDES)]
    return windows.newest(
        context,
        AGGREGATE,
        equals=windows.series(symbol, market),
        columns=_ALL if response_format == "detailed" else concise,
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
        time="bar_ts",
    )


@tool(toolset=TOOLSET)
def signal_worth_get(
    context: Context,
    signal: Signal | None = None,
    view: Literal["worth", "calibration"] = "worth",
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 200,
) -> Answer:
    """Whether signals were right, over the 30 days before. worth: information coefficient by horizon (its decay), hit
    rate against base rate, turnover; each with its interval and gain over the plain mean of the components, of all
    series together. calibration: how chances were fitted, Brier score against the base, reliability on held-out
    outcomes. Without start: the newest day. Times UTC."""
    equals = {"signal": signal} if signal else {}
    page: dict[str, Any] = {"start": start, "end": end, "limit": limit}
    if view == "calibration":
        names = [name for name in CALIBRATION.names if name != "curve"]
        return windows.measured(context, CALIBRATION, equals, names, **page, order="signal", time="valid_from")
    order = "signal, measure, horizon_minutes"
    answer = windows.measured(context, WORTH, equals, WORTH.names, **page, order=order, time="measured_at")
    answer.meta |= {"interval": LEVEL, "measures": MEASURES}
    return answer


@tool(toolset=TOOLSET)
def signal_probabilities_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    signal: Calibrated | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 100,
) -> Answer:
    """Calibrated chances of one symbol that what a signal warns of will follow: squeeze, retracement, cascade,
    expansion, reversal. NULL until a calibration is in force; signal_worth_get with view calibration says how good it
    was. Without start: the newest minute, else newest first. bar_ts is the closing edge, UTC."""
    equals = windows.series(symbol, market) | ({"signal": signal} if signal else {})
    names = [name for name in PROBABILITIES.names if name not in _SERIES]
    page: dict[str, Any] = {"start": start, "end": end, "limit": limit}
    return windows.measured(context, PROBABILITIES, equals, names, **page, order="signal", time="bar_ts")
