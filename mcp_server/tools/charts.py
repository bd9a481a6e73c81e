"""Tools that draw: a picture as image content, and the rows it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mcp_server import correlations, frames, pictures, windows
from mcp_server.arguments import DEFAULT_MARKET, NamedMarket, Symbol, Time, moment, span
from mcp_server.buckets import WIDTHS
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.frames import COMPOSITE, Groups
from mcp_server.registry import tool
from mcp_server.results import Answer
from mcp_server.tools.bars import bars_get
from mcp_server.tools.queries import MOST_MINUTES
from mcp_server.tools.regimes import regime_get
from mcp_server.tools.signals import signals_aggregate_get
from orderflow_assets.features.catalog import feature as declared_feature
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.tables import Column

TOOLSET = "charts"
TIMEOUT_S = 40.0
_MOST_PANELS = 6
_BOOKS = STREAMS["orderbooks"].table


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def chart_candles(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    interval: Literal["1m", "5m", "15m", "1h", "4h"] = "5m",
    bars: Annotated[int, Field(ge=2, le=200)] = 50,
    overlays: Annotated[
        list[str], Field(max_length=_MOST_PANELS, description="features or signals: microprice, trades.cvd")
    ] = [],  # noqa: B006
    end: Time | None = None,
) -> Answer:
    """Picture of stored bars with features or signals over them, and the rows: a bar each, newest first, with the last
    value of each overlay known by its closing edge; null where none is stored in the bar. Overlays in the range of the
    price are drawn with it, others below. Rows alone: bars_get, features_get. Prices in quote currency, bar_ts the
    closing edge, UTC."""
    names = list(dict.fromkeys(_overlay(name) for name in overlays))
    answer = bars_get.run(context, symbol, market, interval, None, end, bars, None)
    answer.truncated, answer.cursor = False, None
    if not len(answer):
        return answer
    cells = dict(zip((column.name for column in answer.columns), answer.values, strict=True))
    kept = ("bar_ts", "open", "high", "low", "close", "volume", "data_to")
    columns = [column for column in answer.columns if column.name in kept]
    times: list[datetime] = cells["bar_ts"]
    width = timedelta(minutes=WIDTHS[interval])
    values, declared, missing = _over(context, windows.series(symbol, market), names, times, width)
    answer.columns = [*columns, *declared]
    answer.values = [*(cells[column.name] for column in columns), *values.values()]
    if missing:
        answer.meta["missing"] = missing
    oldest_first = {name: line[::-1] for name, line in values.items()}
    low, high = _extremes(cells["low"], min), _extremes(cells["high"], max)
    beside = {name: line for name, line in oldest_first.items() if _within(line, low, high)}
    below = {
        name: line
        for name, line in oldest_first.items()
        if name not in beside and any(isinstance(value, int | float) for value in line)
    }
    drawn = {name: cells[name][::-1] for name in ("open", "high", "low", "close", "volume")}
    title = f"{symbol} {market}, {interval} bars to {times[0]:%Y-%m-%d %H:%M} UTC"
    return pictures.shown(answer, lambda: pictures.candles(title, times[::-1], drawn, beside, below))


def _overlay(name: str) -> str:
    """The overlay with its group; a signal where no feature has the name."""
    short = name.removeprefix(f"{COMPOSITE}.")
    if short in SIGNALS and (short != name or not _is_feature(name)):
        return f"{COMPOSITE}.{short}"
    try:
        group, found = declared_feature(name)
    except UnknownNameError as error:
        raise ToolError("unknown_name", f"overlays: {error}", "catalog_search finds features and signals.") from None
    return f"{group.name}.{found.name}"


def _is_feature(name: str) -> bool:
    try:
        declared_feature(name)
    except UnknownNameError:
        return False
    return True


def _over(
    context: Context, equals: dict[str, Any], names: Sequence[str], times: Sequence[datetime], width: timedelta
) -> tuple[dict[str, list[float | None]], list[Column], list[str]]:
    """The last value of each overlay in each bar, newest first, the columns, and groups without a table."""
    values: dict[str, list[float | None]] = {name: [None] * len(times) for name in names}
    if not names:
        return values, [], []
    groups = list(dict.fromkeys(name.partition(".")[0] for name in names))
    # A minute is known at its closing edge, so a bar has those that close within it.
    edges = (times[-1] - width + timedelta(microseconds=1), times[0] + timedelta(microseconds=1))
    frame = frames.read(context, equals, groups, names, edges, len(times) * round(width.total_seconds() / 60))
    places = {time: place for place, time in enumerate(times)}
    for row in frame.rows.to_pylist() if frame.rows is not None else ():
        place = places.get(times[0] - (times[0] - row["bar_ts"]) // width * width)
        if place is None:
            continue
        for name in frame.columns:
            if values[name][place] is None:
                values[name][place] = row[name]
    return values, [frame.columns.get(name) or Column(name, "DOUBLE") for name in names], frame.missing


def _extremes(values: Sequence[float | None], pick: Any) -> float | None:
    return pick((value for value in values if value is not None), default=None)


def _within(line: Sequence[Any], low: float | None, high: float | None) -> bool:
    """Whether a line lies at the height of the price."""
    known = [value for value in line if isinstance(value, int | float)]
    return (
        bool(known) and low is not None and high is not None and 0.95 * low <= min(known) <= max(known) <= 1.05 * high
    )


_LEVELS = (
    Column("side", "VARCHAR", "bid or ask"),
    Column("level", "BIGINT", "1 is the best"),
    Column("price", "DOUBLE", "of the level", "quote"),
    Column("size", "DOUBLE", "resting", "base"),
    Column("value", "DOUBLE", "price x size", "quote"),
    Column("share", "DOUBLE", "of the shown size of its side", "fraction"),
    Column("wall", "BOOLEAN", "at least three times the median size of its side"),
)
_WALL = 3
_COLUMNS = 90


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def chart_liquidity(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    levels: Annotated[int, Field(ge=1, le=50, description="a side")] = 20,
    walls: bool = True,
    minutes: Annotated[int, Field(ge=1, le=240, description="before the newest book")] = 15,
) -> Answer:
    """Picture of the resting value of the stored order books by price over the last minutes, with the mid, and the
    levels of the newest book: size, value, share of its side, walls (three times the median size; false shows no such
    mark). Ten levels a side are stored, more where the venue sends more. Prices in quote currency, sizes in base coin;
    times UTC."""
    equals = windows.series(symbol, market)
    last = windows.newest(context, _BOOKS, equals=equals, columns=("timestamp",), limit=1)
    if not len(last):
        return windows.empty(_BOOKS, _LEVELS, last.hint or "")
    until: datetime = last.values[0][0]
    where, values = windows.conditions(_BOOKS, equals, until - timedelta(minutes=minutes), None)
    sql = f"""
        SELECT timestamp, mid_price, {_levels("bid")} AS bid, {_levels("ask")} AS ask FROM main.orderbooks
        WHERE {where} AND timestamp <= ?::TIMESTAMP
        QUALIFY row_number() OVER (
            PARTITION BY floor(epoch(?::TIMESTAMP - timestamp) * {_COLUMNS} / {60 * minutes})
            ORDER BY timestamp DESC, id DESC) = 1
        ORDER BY timestamp"""
    found = context.query(sql, [*values, until, until])
    books = found.to_pylist()
    newest = books[-1]
    rows = [row for side in ("bid", "ask") for row in _side(side, newest[side][:levels], walls)]
    columns = _LEVELS if walls else _LEVELS[:-1]
    answer = Answer.rows(columns, rows, source=_BOOKS.qualified, hoisted=False)
    answer.moment = newest["timestamp"]
    sizes = {side: sum(row[3] for row in rows if row[0] == side) for side in ("bid", "ask")}
    both = sizes["bid"] + sizes["ask"]
    answer.meta = {
        **windows.named(equals),
        "mid_price": newest["mid_price"],
        "imbalance": (sizes["bid"] - sizes["ask"]) / both if both else None,
        "books": len(books),
        "from": windows.said(books[0]["timestamp"]),
    }
    drawn = [[(price, size) for price, size in (*book["bid"][:levels], *book["ask"][:levels])] for book in books]
    title = f"{symbol} {market}, resting value to {newest['timestamp']:%Y-%m-%d %H:%M:%S} UTC"
    times, mids = [book["timestamp"] for book in books], [book["mid_price"] for book in books]
    return pictures.shown(answer, lambda: pictures.liquidity(title, times, drawn, mids))


def _levels(side: str) -> str:
    """All stored levels of a side as pairs of price and size, best first."""
    pairs = ", ".join(f"[{side}_{level}_price, {side}_{level}_qty]" for level in range(1, LEVELS + 1))
    return f"list_filter([{pairs}] || coalesce({side}_tail, []), lambda pair: pair[1] IS NOT NULL AND pair[2] > 0)"


def _side(side: str, levels: Sequence[Sequence[float]], walls: bool) -> list[tuple[Any, ...]]:
    sizes = [size for _, size in levels]
    ordinary, total = (median(sizes), sum(sizes)) if sizes else (0.0, 0.0)
    return [
        (side, place, price, size, price * size, size / total, *([size >= _WALL * ordinary] if walls else []))
        for place, (price, size) in enumerate(levels, 1)
    ]


_SIGNALS = ("signal", "value", "vote", "side", "confidence", "bar_ts")


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def chart_signals(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    minutes: Annotated[int, Field(ge=2, le=1_440)] = 180,
    alerts: bool = True,
    end: Time | None = None,
) -> Answer:
    """Picture of all composite signals of a series over the last minutes, and the newest value of each: value (in
    [0, 1], smart_money_flow in [-1, 1]), vote (1 up, -1 down), side, confidence. meta.together has what they say
    together; alerts lists those that vote. Scores, no probabilities; NULL where under half of the weight is known.
    bar_ts is the closing edge, UTC."""
    equals = windows.series(symbol, market)
    until = moment("end", end)
    columns = [SIGNALS_TABLE.column(name) for name in _SIGNALS]
    last = windows.newest(
        context, SIGNALS_TABLE, equals=equals, columns=("bar_ts",), limit=1, end=end, time="bar_ts", tie="bar_ts"
    )
    if not len(last):
        return windows.empty(SIGNALS_TABLE, columns, last.hint or "")
    begin = last.values[0][0] - timedelta(minutes=minutes)
    where, values = windows.conditions(SIGNALS_TABLE, equals, begin, until, "bar_ts")
    sql = f"SELECT {', '.join(_SIGNALS)} FROM signals.signals WHERE {where} AND bar_ts > ?::TIMESTAMP ORDER BY bar_ts"
    found = context.query(sql, [*values, begin])
    rows = found.to_pylist()
    newest = {row["signal"]: row for row in rows}
    shown = [[newest[name][column] for column in _SIGNALS] for name in SIGNALS if name in newest]
    answer = Answer.rows(columns, shown, source=SIGNALS_TABLE.qualified, time="bar_ts", dated=until is None)
    answer.meta = windows.named(equals)
    together = signals_aggregate_get.run(context, symbol, market, None, end, 1)
    if len(together):
        names = [column.name for column in together.columns]
        answer.meta["together"] = _said(dict(zip(names, (line[0] for line in together.values), strict=True)))
    if alerts:
        speaking = [row for row in newest.values() if row["vote"]]
        speaking.sort(key=lambda row: -(row["confidence"] or 0))
        answer.meta["alerts"] = [{name: row[name] for name in ("signal", "value", "vote", "side")} for row in speaking]
    times = sorted({row["bar_ts"] for row in rows})
    places = {time: place for place, time in enumerate(times)}
    lines: dict[str, list[float | None]] = {name: [None] * len(times) for name in SIGNALS if name in newest}
    for row in rows:
        if row["signal"] in lines:
            lines[row["signal"]][places[row["bar_ts"]]] = row["value"]
    title = f"{symbol} {market}, composite signals to {times[-1]:%Y-%m-%d %H:%M} UTC"
    return pictures.shown(answer, lambda: pictures.grid(title, times, lines))


def _said(row: dict[str, Any]) -> dict[str, Any]:
    return {name: windows.said(value) if isinstance(value, datetime) else value for name, value in row.items()}


_STATES = {"BEAR": "p_bear", "RANGING": "p_ranging", "BULL": "p_bull"}


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def chart_regimes(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    step: Literal["1h", "5m"] = "1h",
    bars: Annotated[int, Field(ge=2, le=1_000, description="steps shown")] = 168,
    history: bool = True,
    transitions: bool = True,
    end: Time | None = None,
) -> Answer:
    """Picture of the stored regime of a series over time: filtered probabilities of BEAR, RANGING, BULL and the most
    probable state, and the rows, newest first (history false: the newest alone). meta.transitions counts changes
    between neighbouring rows of the stretch shown: what was, no forecast. regime_get has volatility and event risk.
    bar_ts is the closing edge, UTC."""
    answer = regime_get.run(context, symbol, market, "state", step, None, end, bars, None)
    answer.truncated, answer.cursor = False, None
    if not len(answer):
        return answer
    cells = {column.name: values[::-1] for column, values in zip(answer.columns, answer.values, strict=True)}
    states: list[str | None] = cells["state"]
    times: list[datetime] = cells["bar_ts"]
    if transitions:
        answer.meta["transitions"] = _counted(states)
    if not history:
        answer.values = [values[:1] for values in answer.values]
    chances = {state: cells[column] for state, column in _STATES.items()}
    title = f"{symbol} {market}, regime by steps of {step} to {times[-1]:%Y-%m-%d %H:%M} UTC"
    return pictures.shown(answer, lambda: pictures.regimes(title, times, states, chances))


def _counted(states: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """How often each state followed each, where both are known."""
    pairs = Counter((before, after) for before, after in pairwise(states) if before and after)
    found: dict[str, dict[str, int]] = {}
    for (before, after), count in sorted(pairs.items()):
        found.setdefault(str(before), {})[str(after)] = count
    return found


_MOST_FEATURES = 60
_NAMED = 5


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def chart_correlations(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    groups: Groups = ["prices", "orderbook", "trades", "funding", "oi"],  # noqa: B006
    start: Time = "60m",
    end: Time | None = None,
    method: Literal["spearman", "pearson"] = "spearman",
    clusters: bool = True,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7,
) -> Answer:
    """Picture of how features moved together over stored minutes, and the matrix: a row per feature, correlations in
    the order of the rows, null under 30 shared minutes; meta has the strongest pairs of either sign and, with clusters,
    features joined by |correlation| of at least threshold. At most 60 features, those of the strongest correlations.
    Trends correlate by chance. Times UTC."""
    equals = windows.series(symbol, market)
    edges = span(start, end)
    frame = frames.read(context, equals, groups, None, edges, MOST_MINUTES)
    columns = (Column("feature", "VARCHAR"), Column("correlations", "JSON"))
    if frame.rows is None:
        return windows.empty(frame.table, columns, windows.no_table(frame.table))
    if not frame.rows.num_rows:
        return windows.empty(frame.table, columns, windows.why_empty(context, frame.table, equals, *edges, "bar_ts"))
    names, values = frame.numbers()
    found = correlations.between(names, values, method)
    pairs = correlations.strongest(found, across=False)
    best = dict.fromkeys(names, 0.0)
    for one, other, value, _ in reversed(pairs):
        best[one] = max(best[one], abs(value))
        best[other] = max(best[other], abs(value))
    related = sorted((name for name in names if best[name] > 0), key=lambda name: -best[name])[:_MOST_FEATURES]
    joined = correlations.clusters(found, threshold)
    order = [name for members, _ in joined for name in members if name in related]
    order += [name for name in related if name not in order]
    places = [names.index(name) for name in order]
    shown = found.values[np.ix_(places, places)]
    cells = [[round(float(value), 2) if np.isfinite(value) else None for value in row] for row in shown]
    answer = Answer.rows(columns, list(zip(order, cells, strict=True)), source="features.*", dated=edges[1] is None)
    answer.moment = frame.rows["bar_ts"][0].as_py()
    answer.meta = {
        **windows.named(equals),
        "method": method,
        "minutes": len(values),
        "left_out": len(names) - len(order),
        "strongest": {
            sign: [[one, other, round(value, 4)] for one, other, value, _ in pairs if value * factor > 0][:_NAMED]
            for sign, factor in (("positive", 1), ("negative", -1))
        },
        **({"missing": frame.missing} if frame.missing else {}),
    }
    if clusters:
        answer.meta |= {"threshold": threshold, "clusters": [members for members, _ in joined]}
    if not order:
        answer.hint = f"No pair has {correlations.LEAST} minutes in which both are known and change. Widen the window."
    title = f"{symbol} {market}, {method} correlation of {len(values)} minutes"
    return pictures.shown(answer, lambda: pictures.matrix(title, order, shown))
