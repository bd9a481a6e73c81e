"""Tools for numbers that the caller gives: nothing stored is read."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.calculators.result import absent
from orderflow_streaming.tables import Column

TOOLSET = "analytics"
GIVEN = "numbers of the caller"
YEAR_HOURS = 24 * 365
Finite = Annotated[float, Field(allow_inf_nan=False)]
Values = Annotated[list[Finite], Field(min_length=4, max_length=10_000, description="in order of time")]

_ANOMALIES = (
    Column("index", "BIGINT", "place in values, from 0"),
    Column("value", "DOUBLE", unit="base"),
    Column("score", "DOUBLE", "what is compared with the threshold"),
)


@tool(toolset=TOOLSET, timeout_s=60)
def values_anomalies(
    context: Context,
    values: Values,
    method: Literal["zscore", "mad", "iqr", "isolation_forest", "ecod", "cusum", "ensemble"] = "zscore",
    threshold: Annotated[float, Field(gt=0, le=100)] | None = None,
    baseline: Annotated[int, Field(ge=20, le=1_440, description="values before each")] = 60,
) -> Answer:
    """Which of the numbers given do not fit those before them, in order: each is judged by the baseline of values
    before it alone, so the first ones cannot be. Send changes of prices rather than prices. threshold defaults to the
    method's own (meta). For stored columns use series_anomalies, which reads them itself. No row: nothing stood out."""
    try:
        from orderflow_assets.timeseries.anomalies import anomalies

        found = anomalies(values, method=method, threshold=threshold, window=baseline)
    except (ValueError, ImportError) as error:
        raise _cannot(error) from None
    rows = [(int(place), values[place], float(found.scores[place])) for place in found.indices]
    judged = sum(math.isfinite(score) for score in found.scores)
    meta = {"method": method, "threshold": found.threshold, "judged": judged, "found": len(rows)}
    hint = None if rows else "Nothing stood out."
    limit = context.rows(context.max_rows)
    return Answer.rows(_ANOMALIES, rows[:limit], source=GIVEN, truncated=len(rows) > limit, meta=meta, hint=hint)


_CHANGES = (
    Column("index", "BIGINT", "place of the first value that is different, from 0"),
    Column("confidence", "DOUBLE", "weight of two segments against one", "fraction"),
    *(Column(name, "DOUBLE", unit="base") for name in ("mean_before", "mean_after", "sd_before", "sd_after")),
)


@tool(toolset=TOOLSET, timeout_s=60)
def values_change_points(
    context: Context,
    values: Values,
    method: Literal["pelt", "binseg", "kernel", "cusum", "both"] = "pelt",
    min_size: Annotated[int, Field(ge=2, le=500, description="values of a segment")] = 10,
) -> Answer:
    """Where the numbers given began to behave differently in mean or variance, in order, with the segments on both
    sides. Looks at all of them, so later values may move a point; cusum goes from the first to the last and looks at
    means only. Send changes of prices rather than prices. For stored columns use series_change_points. No row means no
    change beyond chance."""
    try:
        from orderflow_assets.timeseries.changes import change_points

        found = change_points(values, method=method, min_size=min_size)
    except (ValueError, ImportError) as error:
        raise _cannot(error) from None
    sides = zip(found.points.tolist(), found.confidence.tolist(), found.segments, found.segments[1:], strict=False)
    rows = [(at, sure, left.mean, right.mean, left.sd, right.sd) for at, sure, left, right in sides]
    hint = None if rows else "No change was found beyond chance."
    return Answer.rows(_CHANGES, rows, source=GIVEN, hint=hint, meta={"method": method, "segments": len(rows) + 1})


def _cannot(error: Exception) -> ToolError:
    if isinstance(error, ImportError):
        return ToolError("missing_library", "This analysis cannot run here.", f"{absent(error)}.".capitalize())
    return ToolError("argument", f"values: {error}.", "Send more values or a smaller baseline or min_size.")


_INTENTS = {
    (1, 1): ("long_build", "longs open: price and open interest rise"),
    (-1, 1): ("short_build", "shorts open: price falls while open interest rises"),
    (-1, -1): ("long_unwind", "longs close: price and open interest fall"),
    (1, -1): ("short_cover", "shorts close: price rises while open interest falls"),
}
_INTENT = (Column("position_intent", "VARCHAR"), Column("reading", "VARCHAR"))


@tool(toolset=TOOLSET)
def position_intent_of(
    context: Context,
    price_change_pct: Annotated[Finite, Field(description="percent, up positive")],
    oi_change_pct: Annotated[Finite, Field(description="percent, more positive")],
) -> Answer:
    """In which of the four quadrants a change of price and one of open interest lie: long_build, short_build,
    long_unwind, short_cover, or neutral where either is 0. A reading of two signs, not an observation of who traded,
    and without a sense of size: the stored position_intent of features_get (group oi) asks for changes beyond half a
    sigma of the week."""
    signs = tuple((value > 0) - (value < 0) for value in (price_change_pct, oi_change_pct))
    row = _INTENTS.get((signs[0], signs[1]), ("neutral", "one of the two did not move"))
    meta = {"price_change_pct": price_change_pct, "oi_change_pct": oi_change_pct}
    return Answer.rows(_INTENT, [row], source=GIVEN, meta=meta)


_FUNDING = (
    Column("annualized_pct", "DOUBLE", "rate x settlements of 365 days x 100, not compounded", "percent"),
    Column("paid_by", "VARCHAR", "side that pays"),
    Column("zscore", "DOUBLE", "(rate - mean of history) / its standard deviation", "sigma"),
    Column("percentile", "DOUBLE", "share of history at or below the rate", "fraction"),
)


@tool(toolset=TOOLSET)
def funding_annualize(
    context: Context,
    funding_rate: Annotated[Finite, Field(description="fraction per interval: 0.0001 is 0.01 %")],
    interval_hours: Annotated[float, Field(gt=0, le=24)] = 8,
    history: Annotated[list[Finite], Field(max_length=10_000, description="earlier rates, same interval")]
    | None = None,
) -> Answer:
    """A funding rate per year: rate x 8760 / interval_hours x 100 percent, not compounded; longs pay when positive.
    With a history of at least two different rates also its z-score and its percentile among them; NULL without. How
    strained funding is against its own stored past: leverage_get (funding_stress) or features_get with group funding;
    rates now: mark_funding_get."""
    yearly = funding_rate * YEAR_HOURS / interval_hours * 100
    payer = "nobody" if funding_rate == 0 else "longs" if funding_rate > 0 else "shorts"
    row = (yearly, payer, _zscore(funding_rate, history or []), _percentile(funding_rate, history or []))
    meta = {"funding_rate": funding_rate, "interval_hours": interval_hours, "history": len(history or [])}
    return Answer.rows(_FUNDING, [row], source=GIVEN, meta=meta)


def _zscore(value: float, past: list[float]) -> float | None:
    if len(past) < 2:
        return None
    mean = math.fsum(past) / len(past)
    variance = math.fsum((one - mean) ** 2 for one in past) / (len(past) - 1)
    return (value - mean) / math.sqrt(variance) if variance > 0 else None


def _percentile(value: float, past: list[float]) -> float | None:
    return sum(one <= value for one in past) / len(past) if past else None
