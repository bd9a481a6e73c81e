"""Tools for what the venues of a symbol say together: flow, leverage, prices, scores, the last seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import Cursor, Format, Limit, Symbol, Time, moment, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, rounded
from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_assets.analytics.cross_declarations import SIZE_QUOTE
from orderflow_assets.analytics.fees import taker_fee_bps
from orderflow_assets.analytics.information_share import INFORMATION_SHARE
from orderflow_assets.analytics.lead_lag import LEAD_LAG
from orderflow_assets.analytics.spreads import BPS
from orderflow_assets.analytics.streaming import LONGEST, SHORTEST, analyze
from orderflow_assets.analytics.summary import summary
from orderflow_assets.analytics.zones import LIQUIDITY_ZONES
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.tables import Column, Table

TOOLSET = "analytics"
_ROWS = 15
_DIGITS = 6
Exchange = Annotated[str, one_of(dict.fromkeys(market.exchange for market in MARKETS.values()))]
Seconds = Annotated[int, Field(ge=int(SHORTEST.total_seconds()), le=int(LONGEST.total_seconds()))]
FEES = {"fees": "published base-tier taker fees of both venues; no transfer", "size_quote": SIZE_QUOTE}


def _minutes(
    context: Context, name: str, symbol: str, page: Mapping[str, Any], response_format: str = "detailed"
) -> Answer:
    group = ANALYTICS[name]
    shown = group.columns if response_format == "detailed" else group.features
    confidence = ("confidence",) if response_format == "concise" and "confidence" in group.table.names else ()
    return windows.newest(
        context,
        group.table,
        equals={"symbol": symbol},
        columns=("bar_ts", "n_obs", *(feature.name for feature in shown), *confidence),
        time="bar_ts",
        **page,
    )


@tool(toolset=TOOLSET)
def order_flow_get(
    context: Context,
    symbol: Symbol,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = _ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Order flow of a symbol over all its venues per minute, newest first: imbalance and thinness of the books
    (liquidity_vacuum 1 = thinnest of the week), who takes (aggression, positive = buyers), CVD in quote currency and
    the cost of trading. NULL means unknown. bar_ts is the closing edge, UTC."""
    return _minutes(context, "order_flow", symbol, {"start": start, "end": end, "limit": limit, "cursor": cursor})


@tool(toolset=TOOLSET)
def leverage_get(
    context: Context,
    symbol: Symbol,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = _ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Leverage of a symbol over its futures venues per minute, newest first: open interest and what its changes mean,
    OI over volume, mapped and published liquidations, funding against its own past in sigma, basis and its dispersion.
    Maps are models, published liquidations lower bounds. bar_ts is the closing edge, UTC."""
    return _minutes(context, "leverage", symbol, {"start": start, "end": end, "limit": limit, "cursor": cursor})


@tool(toolset=TOOLSET)
def alpha_get(
    context: Context,
    symbol: Symbol,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = _ROWS,
    cursor: Cursor | None = None,
    response_format: Format = "concise",
) -> Answer:
    """Directional scores of a symbol over all venues per minute, newest first: institutional pressure and composite in
    [-100, 100] (positive = up), squeeze and absorption in [0, 1] with their sides. detailed adds every part. Scores of
    percent ranks with prior weights, no probabilities; NULL where under half of the weight is known. Times UTC."""
    page = {"start": start, "end": end, "limit": limit, "cursor": cursor}
    return _minutes(context, "alpha", symbol, page, response_format)


@tool(toolset=TOOLSET)
def cross_exchange_spreads_get(
    context: Context,
    symbol: Symbol,
    view: Literal["best", "matrix"] = "best",
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = _ROWS,
    cursor: Cursor | None = None,
) -> Answer:
    """Executable spreads between the venues of a symbol, net of base-tier taker fees. best: per minute, newest first,
    the best pair at the touch and for a stated size, how long it paid, dispersion, common flow. matrix: every pair of
    venues at the newest minute before end, best first. net_spread_bps above 0 pays; both legs prefunded. Times UTC."""
    if view == "matrix":
        return _matrix(context, symbol, end, limit)
    answer = _minutes(context, "cross_exchange", symbol, {"start": start, "end": end, "limit": limit, "cursor": cursor})
    answer.meta |= FEES
    return answer


PAIR = (
    Column("buy_market", "VARCHAR", "market to buy on"),
    Column("sell_market", "VARCHAR", "market to sell on"),
    Column("ask_price", "DOUBLE", "best ask where we buy", "quote"),
    Column("bid_price", "DOUBLE", "best bid where we sell", "quote"),
    Column("mid_difference_bps", "DOUBLE", "mid where we sell over mid where we buy - 1", "bps"),
    Column("gross_spread_bps", "DOUBLE", "bid over ask - 1", "bps"),
    Column("net_spread_bps", "DOUBLE", "the same after both taker fees", "bps"),
)


def _matrix(context: Context, symbol: str, end: str | None, limit: int) -> Answer:
    """Every ordered pair of venues at the newest minute in which any of them has a quote."""
    last = moment("end", end)
    where, values = windows.conditions(BARS_1M, {"symbol": symbol}, None, last, "bar_ts")
    sql = f"""
        SELECT exchange, market_type, bid_price, ask_price, bar_ts FROM bars.bars_1m
        WHERE {where} AND mid_close IS NOT NULL
        QUALIFY bar_ts = max(bar_ts) OVER () ORDER BY exchange, market_type"""
    found = windows.fetched(context, BARS_1M, sql, values)
    if found is None:
        return windows.empty(BARS_1M, PAIR, windows.no_table(BARS_1M))
    if not found.num_rows:
        return windows.empty(
            BARS_1M, PAIR, windows.why_empty(context, BARS_1M, {"symbol": symbol}, None, last, "bar_ts")
        )
    quotes = found.to_pylist()
    pairs = [pair(buy, sell) for buy in quotes for sell in quotes if buy is not sell]
    pairs.sort(key=lambda row: -row[-1])
    limit = context.rows(limit)
    at = quotes[0]["bar_ts"]
    meta = {"symbol": symbol, "bar_ts": windows.said(at), "venues": len(quotes), **FEES}
    hint = "Only one venue has a quote: there is no pair." if not pairs else None
    return Answer.rows(
        PAIR,
        pairs[:limit],
        source=BARS_1M.qualified,
        truncated=len(pairs) > limit,
        moment=at,
        dated=last is None,
        meta=meta,
        hint=hint,
    )


def pair(buy: Mapping[str, Any], sell: Mapping[str, Any]) -> tuple[str, str, float, float, float, float, float]:
    """What buying at one quote and selling at the other brings, as :data:`PAIR`."""
    fees = [taker_fee_bps(side["exchange"], side["market_type"]) / BPS for side in (buy, sell)]
    mids = [(side["bid_price"] + side["ask_price"]) / 2 for side in (buy, sell)]
    ask, bid = buy["ask_price"], sell["bid_price"]
    names = ("_".join((side["exchange"], side["market_type"])) for side in (buy, sell))
    net = bid * (1 - fees[1]) / (ask * (1 + fees[0])) - 1
    return (*names, ask, bid, BPS * (mids[1] / mids[0] - 1), BPS * (bid / ask - 1), BPS * net)


@tool(toolset=TOOLSET)
def lead_lag_get(
    context: Context, symbol: Symbol, start: Time | None = None, end: Time | None = None, limit: Limit = 40
) -> Answer:
    """Which venue of a symbol moves first, per pair of venues, measured every 15 minutes on the last hour of mids by
    Hayashi-Yoshida correlation: lead_lag_seconds, positive = the first venue leads, steps of 1 s; NULL where chance
    explains it or a venue hardly moves. Without start: the newest measurement. valid_from UTC."""
    return _measured(context, LEAD_LAG, symbol, start, end, limit, "z DESC NULLS LAST", "valid_from")


@tool(toolset=TOOLSET)
def information_share_get(
    context: Context, symbol: Symbol, start: Time | None = None, end: Time | None = None, limit: Limit = 40
) -> Answer:
    """On which venue the price of a symbol is made: Hasbrouck's information share with its bounds and the component
    share of Gonzalo and Granger per venue, estimated daily on the seconds of the day before. NULL where it cannot be
    told. Without start: the newest day. Shares are fractions; valid_from is the midnight after that day, UTC."""
    order = "information_share DESC NULLS LAST"
    return _measured(context, INFORMATION_SHARE, symbol, start, end, limit, order, "valid_from")


def _measured(
    context: Context, table: Table, symbol: str, start: str | None, end: str | None, limit: int, order: str, time: str
) -> Answer:
    names = [name for name in table.names if name not in ("symbol", "open_time")]
    return windows.measured(
        context, table, {"symbol": symbol}, names, start=start, end=end, limit=limit, order=order, time=time
    )


@tool(toolset=TOOLSET)
def liquidity_zones_get(
    context: Context, symbol: Symbol, start: Time | None = None, end: Time | None = None, limit: Limit = 40
) -> Answer:
    """Prices at which the books of all venues keep standing: zones of 1 bp that hold resting orders now and did in at
    least half of the last ten minutes, as support (bids) and resistance (asks), rank 1 the strongest. Values in quote
    currency, presence and reliability fractions. Without start: the newest minute. bar_ts is the closing edge, UTC."""
    return _measured(context, LIQUIDITY_ZONES, symbol, start, end, limit, "side, rank", "bar_ts")


_SECTION = (Column("market", "VARCHAR"), Column("section", "VARCHAR"), Column("values", "JSON"))
_SECTIONS = ("price", "flow", "depth", "funding", "liquidations")


@tool(toolset=TOOLSET, timeout_s=30)
def market_analyze(
    context: Context,
    symbol: Symbol,
    seconds: Seconds = 60,
    exchange: Exchange | None = None,
    end: Time | None = None,
) -> Answer:
    """The market of the last seconds computed now from the ticks, per venue and together (market all): price, spread,
    flow, top-decile orders, depth, funding, liquidations; then bias and regime as percent ranks against the 24 hours
    before, no probabilities. Values in quote currency, funding_annual_pct and basis_pct percent. meta.missing says why
    a section is absent."""
    found = analyze(context, symbol, exchange, timedelta(seconds=seconds), moment("end", end))
    rows: list[Sequence[Any]] = [
        (venue["market"], section, _plain(venue[section]))
        for venue in found["venues"]
        for section in _SECTIONS
        if section in venue
    ]
    if rows:
        rows += [("all", name, _plain(part)) for name, part in found["aggregate"].items() if name != "venues"]
        rows += [("all", name, _plain(found[name])) for name in ("bias", "regime")]
    window = {"start": windows.said(found["start"]), "end": windows.said(found["end"])}
    return Answer.rows(
        _SECTION,
        rows,
        source="main.*",
        moment=found["as_of"],
        dated=end is None,
        hoisted=False,
        hint=None if rows else _nothing(context, found["missing"], symbol),
        meta={"window": window, "missing": found["missing"], "computed": "now, not stored"},
    )


def _nothing(context: Context, missing: Mapping[str, str], symbol: str) -> str:
    """Why there is no row, with what is stored of the symbol's minutes."""
    if windows.missing(context, BARS_1M):
        return f"{'; '.join(missing.values())}. {windows.no_table(BARS_1M)}"
    return f"{missing['venues']}. {windows.why_empty(context, BARS_1M, {'symbol': symbol}, None, None, 'bar_ts')}"


@tool(toolset=TOOLSET)
def market_summary_get(context: Context, symbol: Symbol, end: Time | None = None) -> Answer:
    """The stored analytics of a symbol in short: bias (label, score, confidence), condition, risk in [0, 1], the parts
    that speak loudest, pairs of venues whose spread pays after fees, and warnings, with the time they hold for. From
    the newest rows before end; no probabilities. Details: alpha_get, order_flow_get, leverage_get."""
    found = summary(context, symbol, moment("end", end))
    parts = ("bias", "condition", "risk", "key_signals", "opportunities", "warnings")
    rows = [(name, _plain(found[name])) for name in parts] if found["as_of"] else []
    alpha = ANALYTICS["alpha"].table
    return Answer.rows(
        (Column("part", "VARCHAR"), Column("value", "JSON")),
        rows,
        source="analytics.*",
        moment=found["as_of"],
        dated=end is None,
        hoisted=False,
        hint=None if rows else _no_analytics(context, alpha, symbol),
        meta={"symbol": symbol, "missing": found["missing"]},
    )


def _no_analytics(context: Context, table: Table, symbol: str) -> str:
    if windows.missing(context, table):
        return windows.no_table(table)
    return windows.why_empty(context, table, {"symbol": symbol}, None, None)


def _plain(value: Any) -> Any:
    """Numbers with six significant digits, all the way down."""
    match value:
        case float():
            return rounded(value, _DIGITS) if math.isfinite(value) else None
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
