"""Tools for the features of several groups together: rows, distributions, correlations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mcp_server import correlations, frames, windows
from mcp_server.arguments import DEFAULT_MARKET, Cursor, Limit, NamedMarket, Symbol, Time, span
from mcp_server.context import Context
from mcp_server.frames import Frame, Groups, Names
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_streaming.tables import Column

TOOLSET = "features"
MOST_MINUTES = 10_080
"""Minutes of a week: the longest stretch that is described or correlated at once."""
Edges = tuple[datetime | None, datetime | None]


def answered(frame: Frame, context: Context, equals: dict[str, Any], edges: Edges, rest: Answer) -> Answer:
    """``rest`` with what all answers about a frame say: series, window, groups without a table, why it is empty."""
    rest.meta = {
        **windows.named(equals),
        "window": {"start": windows.said(edges[0], "first stored"), "end": windows.said(edges[1], "now")},
        **({"missing": frame.missing} if frame.missing else {}),
        **rest.meta,
    }
    rest.dated = edges[1] is None
    if frame.rows is None:
        rest.hint = windows.no_table(frame.table)
    elif not frame.rows.num_rows:
        rest.hint = windows.why_empty(context, frame.table, equals, *edges, "bar_ts")
    else:
        rest.moment = frame.rows["bar_ts"][0].as_py()
    return rest


@tool(toolset=TOOLSET)
def features_query(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    groups: Groups = ["prices"],  # noqa: B006
    features: Names | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 30,
    cursor: Cursor | None = None,
) -> Answer:
    """Minute rows of several groups of features side by side, newest first, group composite being the values of the
    composite signals. Name features of those groups, else all. NULL means undefined, or no row of that group in that
    minute. For one group features_get is shorter. catalog_describe gives definitions. bar_ts is the closing edge,
    UTC."""
    equals = windows.series(symbol, market)
    first, last = span(start, end)
    page = windows.cursor_time(cursor)
    until = min((edge for edge in (last, page) if edge), default=None)
    frame = frames.read(context, equals, groups, features, (first, until), context.rows(limit))
    columns = [frames.TIME, *frame.columns.values()]
    if frame.rows is None or not frame.rows.num_rows:
        return answered(frame, context, equals, (first, until), windows.empty(frame.table, columns, ""))
    times = frame.rows["bar_ts"]
    answer = Answer(
        columns,
        [column.to_pylist() for column in frame.rows.columns],
        " + ".join(dict.fromkeys(name.partition(".")[0] for name in frame.columns)),
        time="bar_ts",
        truncated=frame.truncated,
        cursor=lambda index: times[index].as_py().isoformat(),
        meta=dict(windows.NEWEST_FIRST),
    )
    return answered(frame, context, equals, (first, last), answer)


_STATISTICS = (
    Column("feature", "VARCHAR"),
    Column("unit", "VARCHAR"),
    Column("minutes", "BIGINT", "with a value", "count"),
    Column("missing", "BIGINT", "stored minutes without one", "count"),
    *(Column(name, "DOUBLE") for name in ("newest", "mean", "sd", "min", "p25", "median", "p75", "max")),
    Column("newest_rank", "DOUBLE", "share of values below the newest one, ties by half", "fraction"),
    Column("skew", "DOUBLE", "third standardised moment"),
)


@tool(toolset=TOOLSET)
def feature_statistics_get(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    groups: Groups = ["prices"],  # noqa: B006
    features: Names | None = None,
    start: Time = "60m",
    end: Time | None = None,
) -> Answer:
    """How each feature of one or more groups was distributed over a window of stored minutes: mean, sample standard
    deviation, quartiles, extremes, skew, and where the newest value stands among them. Default: the last 60 minutes,
    at most the newest 10,080. NULL where no minute has a value. Neighbouring minutes are alike, so these are no
    independent draws. Times UTC."""
    equals = windows.series(symbol, market)
    edges = span(start, end)
    frame = frames.read(context, equals, groups, features, edges, MOST_MINUTES)
    names, values = frame.numbers()
    rows = [(name, frame.columns[name].unit, *_described(column)) for name, column in zip(names, values.T, strict=True)]
    answer = Answer.rows(_STATISTICS, rows if len(values) else [], source=frame.table.schema + ".*")
    answer.meta = {"minutes": len(values), "truncated_window": frame.truncated}
    return answered(frame, context, equals, edges, answer)


def _described(values: np.ndarray) -> tuple[Any, ...]:
    """The statistics of one feature, newest value first."""
    known = values[np.isfinite(values)]
    count = len(known)
    if not count:
        return (0, len(values), *[None] * 10)
    low, p25, median, p75, high = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist()
    mean = float(known.mean())
    sd = float(known.std(ddof=1)) if count > 1 else None
    spread = float(known.std())
    skew = float((((known - mean) / spread) ** 3).mean()) if spread > 0 else None
    rank = float((known < known[0]).mean() + (known == known[0]).mean() / 2)
    return (count, len(values) - count, float(known[0]), mean, sd, low, p25, median, p75, high, rank, skew)


_PAIRS = (
    Column("feature", "VARCHAR"),
    Column("other", "VARCHAR"),
    Column("correlation", "DOUBLE", "of minutes in which both have a value", "correlation"),
    Column("minutes", "BIGINT", "in which both have a value", "count"),
)
_CLUSTERS = (
    Column("cluster", "BIGINT"),
    Column("size", "BIGINT", "features", "count"),
    Column("weakest_link", "DOUBLE", "smallest |correlation| that joins it", "correlation"),
    Column("features", "VARCHAR"),
)


@tool(toolset=TOOLSET)
def feature_correlations_get(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    groups: Groups = ["prices", "orderbook", "trades", "funding", "oi"],  # noqa: B006
    features: Names | None = None,
    start: Time = "60m",
    end: Time | None = None,
    view: Literal["pairs", "clusters"] = "pairs",
    method: Literal["spearman", "pearson"] = "spearman",
    across: bool = False,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7,
    limit: Limit = 40,
) -> Answer:
    """Which features moved together over stored minutes. pairs: strongest first, across keeps those of different
    groups; clusters: joined by |correlation| of at least threshold. A pair needs 30 minutes in which both have a value.
    In an hour many do by chance."""
    equals = windows.series(symbol, market)
    edges = span(start, end)
    frame = frames.read(context, equals, groups, features, edges, MOST_MINUTES)
    names, values = frame.numbers()
    found = correlations.between(names, values, method)
    meta: dict[str, Any] = {
        "method": method,
        "minutes": len(values),
        "features": len(names),
        "least_minutes": correlations.LEAST,
    }
    if view == "clusters":
        clusters = correlations.clusters(found, threshold)
        rows: list[tuple[Any, ...]] = [
            (number, len(members), weakest, members) for number, (members, weakest) in enumerate(clusters, 1)
        ]
        meta |= {"threshold": threshold}
        answer = Answer.rows(_CLUSTERS, rows, source=frame.table.schema + ".*")
    else:
        rows = correlations.strongest(found, across)
        count = context.rows(limit)
        answer = Answer.rows(_PAIRS, rows[:count], source=frame.table.schema + ".*", truncated=len(rows) > count)
        meta |= {"pairs": len(rows)}
    answer.meta = meta
    if len(values) and not rows:
        answer.hint = f"No pair has {correlations.LEAST} minutes in which both are known and change. Widen the window."
    return answered(frame, context, equals, edges, answer)
