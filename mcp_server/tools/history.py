"""Tools for what the stored streams hold of the past: their rows, sums in buckets of time and price, and the newest
price beside what came before it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcp_server import buckets, windows
from mcp_server.arguments import DEFAULT_ROWS, Cursor, Limit, Symbol, Time, named, one_of, span
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer, undeclared
from orderflow_assets.analytics.summary import summary
from orderflow_assets.calculators.reading import exchanges
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column, Table

TOOLSET = "history"
_SERIES = ("exchange", "market_type")
_SPELLED = {"gate": "gateio", "gate_futures": "gateio_futures"}
_HIDDEN = {"id", "received_at", "source_seq", "symbol", "raw_quantity", "bid_tail", "ask_tail"}
_SIDES = {"trades": ("buy", "sell"), "liquidations": ("long", "short")}
_VALUES = {"trades": "quote_value", "liquidations": "value_usd"}


def spelled(value: Any) -> Any:
    """An exchange or market by the name that other sources give it, as we call it."""
    return _SPELLED.get(value, value) if isinstance(value, str) else value


Venue = Annotated[
    str,
    named(exchanges(), "exchange or market: binance, okx_futures, …"),
    BeforeValidator(spelled),
]
MarketType = Literal["futures", "spot"]
Stream = Annotated[str, one_of(STREAMS)]


def series(symbol: str, exchange: str | None, market_type: str | None) -> dict[str, Any]:
    """Column values that name the series of an exchange (``binance``) or a market (``binance_futures``)."""
    if exchange in MARKETS:
        return windows.series(symbol, exchange)
    given = {"symbol": symbol, "exchange": exchange, "market_type": market_type}
    return {name: value for name, value in given.items() if value is not None}


@tool(toolset=TOOLSET)
def history_get(
    context: Context,
    symbol: Symbol,
    stream: Stream = "prices",
    exchange: Venue | None = None,
    market_type: MarketType | None = None,
    side: Literal["buy", "sell", "long", "short"] | None = None,
    min_value: Annotated[float, Field(ge=0)] | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = DEFAULT_ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Rows of one stored stream as published, newest first, of an exchange, market or all. trades and liquidations
    take side (the taker's; the position closed) and min_value in quote currency, and meta.totals sums the window. For
    the book's levels use book_latest. Times UTC."""
    table = STREAMS[stream].table
    if (side or min_value is not None) and stream not in _SIDES:
        raise ToolError("argument", f"{stream} has no side and no value.", "Only trades and liquidations have them.")
    if side and side not in _SIDES[stream]:
        raise ToolError("argument", f"side: {side!r} is none of {stream}.", f"Allowed: {', '.join(_SIDES[stream])}.")
    equals = series(symbol, exchange, market_type) | ({"side": side} if side else {})
    floor = {_VALUES[stream]: min_value} if min_value is not None else {}
    answer = windows.newest(
        context,
        table,
        equals=equals,
        columns=_shown(table),
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
        least=floor,
    )
    if floor and not len(answer) and "Stored:" in (answer.hint or ""):
        answer.hint = f"No row of a value of {min_value:g} or more in the window. {answer.hint}"
    if len(answer) and stream in _SIDES and cursor is None:
        answer.meta["totals"] = _totals(context, table, equals, floor, span(start, end))
    return answer


def _shown(table: Table) -> list[str]:
    names = [name for name in table.names if name not in _HIDDEN]
    return [name for name in names if not name.split("_")[-2:-1] or not name.split("_")[-2].isdigit()]


def _totals(
    context: Context,
    table: Table,
    equals: dict[str, Any],
    floor: dict[str, float],
    edges: tuple[datetime | None, datetime | None],
) -> list[dict[str, Any]]:
    """Sums per market and side over the whole window, whatever is sent of it."""
    where, values = windows.conditions(table, equals, *edges)
    value = _VALUES[table.name]
    floors = "".join(f" AND {name} >= ?" for name in floor)
    sql = f"""
        SELECT exchange || '_' || market_type AS market, side, count(*) AS rows, sum(quantity) AS quantity,
               sum({value}) AS value, sum({value}) / nullif(sum(quantity), 0) AS average_price
        FROM {table.qualified} WHERE {where}{floors} GROUP BY ALL ORDER BY market, side"""
    return context.query(sql, [*values, *floor.values()]).to_pylist()


@tool(toolset=TOOLSET)
def history_aggregate(
    context: Context,
    symbol: Symbol,
    view: Annotated[str, one_of(buckets.VIEWS)] = "price_ohlc",
    exchange: Venue | None = None,
    market_type: MarketType | None = None,
    interval: Annotated[str, one_of(buckets.WIDTHS)] = "1h",
    start: Time = "24h",
    end: Time | None = None,
    price_buckets: Annotated[int, Field(ge=1, le=200)] = 20,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Sums over stored rows per market and interval, newest first: candles of the trades, volatility of one-minute
    returns, funding at settlements with its running sum, forced closures against the median interval; volume_profile
    is by price over the window. meta.measured says how. bar_ts is the closing edge, UTC."""
    declared = buckets.VIEWS[view]
    equals = series(symbol, exchange, market_type)
    edges = span(start, end)
    where, values = windows.conditions(declared.table, equals, *edges)
    limit = context.rows(limit)
    sql = declared.sql(where, buckets.WIDTHS[interval], price_buckets)
    # Settlements that have not come yet are no part of a sum.
    values = [*values, edges[1] or datetime.now(UTC).replace(tzinfo=None)] if declared.until_now else values
    answer = windows.aggregated(
        context,
        declared.table,
        declared.columns,
        f"{sql} LIMIT {limit + 1}",
        values,
        equals=equals,
        edges=edges,
        limit=limit,
        time="data_to",
        meta={"view": view, "interval": interval if declared.timed else None, "measured": declared.note},
    )
    if not len(answer) and "Stored:" in (answer.hint or ""):
        answer.hint = f"Nothing to sum in the window ({declared.note}). {answer.hint}"
    return answer


@tool(toolset=TOOLSET)
def liquidation_map_get(
    context: Context,
    symbol: Symbol,
    exchange: Venue | None = None,
    start: Time = "24h",
    end: Time | None = None,
    price_buckets: Annotated[int, Field(ge=1, le=200)] = 20,
) -> Answer:
    """Where published liquidations of a symbol happened: their value by price in equal steps between the lowest and the
    highest, highest price first, longs and shorts apart, with the share of all and intensity = value over that of the
    largest step. Past closures, no forecast of where stops lie. Most venues publish a sample: lower bounds. Quote
    currency, UTC."""
    table = STREAMS["liquidations"].table
    equals = series(symbol, exchange, None)
    edges = span(start, end)
    where, values = windows.conditions(table, equals, *edges)
    return windows.aggregated(
        context,
        table,
        buckets.MAP,
        buckets.by_price(table.qualified, where, price_buckets, buckets.LIQUIDATED),
        values,
        equals=equals,
        edges=edges,
        time="data_to",
    )


_CONTEXT = (
    Column("exchange", "VARCHAR"),
    Column("market_type", "VARCHAR"),
    Column("timestamp", "TIMESTAMP", "of the newest stored quote", "UTC"),
    windows.AGE,
    Column("price", "DOUBLE", "newest mid", "quote"),
    Column("minutes", "BIGINT", "length of the window before it", "minutes"),
    Column("seconds", "BIGINT", "of the window with a quote", "count"),
    Column("first", "TIMESTAMP", "first quote of the window", "UTC"),
    *(Column(name, "DOUBLE", "mid", "quote") for name in ("open", "high", "low", "mean")),
    Column("sd", "DOUBLE", "of the seconds' mids", "quote"),
    *(Column(name, "DOUBLE", "quantile of the seconds' mids", "quote") for name in ("p5", "p25", "p50", "p75", "p95")),
    Column("rank", "DOUBLE", "share of seconds below the price, ties by half", "fraction"),
    Column("change_pct", "DOUBLE", "price over open - 1", "percent"),
    Column("deviation_pct", "DOUBLE", "price over mean - 1", "percent"),
    Column("z", "DOUBLE", "(price - mean) / sd", "sd"),
)
_WINDOWS = [60]


@tool(toolset=TOOLSET)
def price_context_get(
    context: Context,
    symbol: Symbol,
    exchange: Venue | None = None,
    market_type: MarketType | None = None,
    minutes: Annotated[
        list[Annotated[int, Field(ge=1, le=10_080)]], Field(min_length=1, max_length=8, description="windows")
    ] = _WINDOWS,
) -> Answer:
    """Where the newest stored mid price stands against the minutes before it: open, extremes, mean, quartiles, rank and
    z of its window, a row per market and window. Each second counts once, by its last quote. Prices wander, so a large
    z is ordinary in a trend and no probability. Look at age_s before calling it live. Quote currency, UTC."""
    table = STREAMS["prices"].table
    equals = series(symbol, exchange, market_type)
    columns = list(_CONTEXT)
    longest = max(minutes)
    ends = windows.latest(context, table, ("timestamp", *_SERIES), equals, _SERIES)
    if not len(ends):
        return windows.empty(table, columns, ends.hint or "")
    where, values = windows.conditions(table, equals, min(ends.values[0]) - timedelta(minutes=longest), None)
    sql = f"""
        WITH mine AS (SELECT exchange, market_type, timestamp, mid_price FROM {table.qualified} WHERE {where}),
        ends AS (SELECT exchange, market_type, max(timestamp) AS last FROM mine GROUP BY ALL),
        quotes AS (
            SELECT mine.*, last FROM mine JOIN ends USING (exchange, market_type)
            WHERE timestamp > last - INTERVAL {longest} MINUTE
        ),
        seconds AS (
            SELECT exchange, market_type, last, time_bucket(INTERVAL 1 SECOND, timestamp) AS second,
                   min(timestamp) AS first, max(mid_price) AS high, min(mid_price) AS low,
                   arg_min(mid_price, timestamp) AS open, arg_max(mid_price, timestamp) AS mid
            FROM quotes GROUP BY ALL
        ),
        newest AS (SELECT exchange, market_type, arg_max(mid, second) AS price FROM seconds GROUP BY ALL),
        asked AS (SELECT unnest({sorted(set(minutes))}::BIGINT[]) AS minutes)
        SELECT exchange, market_type, last AS timestamp, price, minutes, count(*) AS seconds, min(first) AS first,
               arg_min(open, second) AS open, max(high) AS high, min(low) AS low, avg(mid) AS mean,
               stddev_samp(mid) AS sd, quantile_cont(mid, [0.05, 0.25, 0.5, 0.75, 0.95]) AS quantiles,
               (count(*) FILTER (mid < price) + count(*) FILTER (mid = price) / 2) / count(*) AS rank
        FROM seconds JOIN newest USING (exchange, market_type)
             JOIN asked ON second > last - to_minutes(minutes)
        GROUP BY exchange, market_type, last, price, minutes ORDER BY exchange, market_type, minutes"""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [_placed(row, now) for row in context.query(sql, values).to_pylist()]
    return Answer.rows(columns, rows, source=table.qualified, time="timestamp", meta=windows.named(equals))


def _placed(row: dict[str, Any], now: datetime) -> list[Any]:
    """The cells of one market and window, as the columns go."""
    row |= dict(zip(("p5", "p25", "p50", "p75", "p95"), row.pop("quantiles"), strict=True))
    price, mean, sd = row["price"], row["mean"], row["sd"]
    row |= {
        "age_s": round((now - row["timestamp"]).total_seconds(), 1),
        "change_pct": 100 * (price / row["open"] - 1),
        "deviation_pct": 100 * (price / mean - 1),
        "z": (price - mean) / sd if sd else None,
    }
    return [row[column.name] for column in _CONTEXT]


_PART = (
    Column("market", "VARCHAR"),
    Column("part", "VARCHAR"),
    Column("time", "TIMESTAMP", "newest row it rests on", "UTC"),
    undeclared("values"),
)


@tool(toolset=TOOLSET, timeout_s=30)
def market_snapshot_get(
    context: Context,
    symbol: Symbol,
    minutes: Annotated[int, Field(ge=1, le=1_440, description="of history before now")] = 60,
    history: bool = True,
) -> Answer:
    """A symbol now and over the minutes before, per market, each part with the time of its newest row. Live: quote,
    mark and funding. History (unless false): where the price stands in the window, taker flow, liquidations. Market
    all: bias, condition, risk and warnings of the stored analytics, as scores. Values in quote currency, rates as
    fractions; times UTC."""
    parts = {
        "quote": _newest_quotes(context, symbol),
        "funding": _newest_marks(context, symbol),
    }
    if history:
        parts |= {
            "window_price": price_context_get.run(context, symbol, None, None, [minutes]),
            "window_flow": _flow(context, symbol, minutes),
            "window_liquidations": _closed(context, symbol, minutes),
        }
    rows = [row for name, answer in parts.items() for row in _rows(name, answer)]
    missing = {name: answer.hint for name, answer in parts.items() if not len(answer)}
    found = summary(context, symbol)
    if found["as_of"]:
        rows += [("all", name, found["as_of"], found[name]) for name in ("bias", "condition", "risk", "warnings")]
    else:
        missing["analytics"] = f"{', '.join(found['missing'])} hold no row of {symbol}."
    newest = max((row[2] for row in rows if row[2]), default=None)
    return Answer.rows(
        _PART,
        rows,
        source="main.* + analytics.*",
        moment=newest,
        hoisted=False,
        hint=None if rows else " ".join(filter(None, missing.values())),
        meta={"symbol": symbol, "minutes": minutes, "missing": missing},
    )


def _newest_quotes(context: Context, symbol: str) -> Answer:
    names = ("timestamp", *_SERIES, "bid_price", "ask_price", "mid_price", "spread_bps")
    return windows.latest(context, STREAMS["prices"].table, names, {"symbol": symbol}, _SERIES)


def _newest_marks(context: Context, symbol: str) -> Answer:
    names = ("timestamp", *_SERIES, "mark_price", "index_price", "basis_pct", "funding_rate", "annualized_rate")
    return windows.latest(context, STREAMS["mark_prices"].table, names, {"symbol": symbol}, _SERIES)


def _flow(context: Context, symbol: str, minutes: int) -> Answer:
    return _summed(context, "trades", symbol, minutes, buckets.FLOW)


def _closed(context: Context, symbol: str, minutes: int) -> Answer:
    return _summed(context, "liquidations", symbol, minutes, buckets.CLOSED)


def _summed(context: Context, stream: str, symbol: str, minutes: int, sums: str) -> Answer:
    """Sums per market over the minutes up to now."""
    table = STREAMS[stream].table
    begin = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=minutes)
    where, values = windows.conditions(table, {"symbol": symbol}, begin, None)
    sql = f"""SELECT exchange, market_type, {sums}
        FROM {table.qualified} WHERE {where} GROUP BY exchange, market_type ORDER BY exchange, market_type"""
    return windows.aggregated(context, table, (), sql, values, equals={"symbol": symbol}, edges=(begin, None))


def _rows(part: str, answer: Answer) -> list[tuple[str, str, datetime | None, Any]]:
    names = [column.name for column in answer.columns]
    rows = []
    for cells in zip(*answer.values, strict=True):
        row = dict(zip(names, cells, strict=True))
        market = f"{row.pop('exchange')}_{row.pop('market_type')}"
        rows.append((market, part, row.pop("timestamp", None) or row.pop("data_to"), row))
    return rows
