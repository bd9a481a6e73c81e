"""Tools that ask a venue itself, right now, for what only contracts have: funding, mark price, open interest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcp_server.arguments import DEFAULT_ROWS, Exchange, Instrument, Limit, Section
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, rounded
from mcp_server.tools.venue_prices import TOOLSET
from mcp_server.venues import perpetuals, statistics
from mcp_server.venues.client import Client
from mcp_server.venues.reading import Cells, answered, moment, named
from orderflow_streaming.tables import Column


def _period(value: Any) -> Any:
    return str(value).strip().lower().removesuffix("in")


Period = Annotated[
    Literal["5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"],
    BeforeValidator(_period),
]
OneOrAll = Annotated[str | None, Field(max_length=40, description="only this instrument; left out: all")]
Periods = Annotated[int, Field(ge=1, le=500, description="how many, newest first")]

_INSTRUMENT = Column("instrument", "VARCHAR", "the venue's own name")
_AT = Column("timestamp", "TIMESTAMP", "event time; NULL where the venue tells none", "UTC")
_MARK = Column("mark_price", "DOUBLE", "mark price", "quote")
_INDEX = Column("index_price", "DOUBLE", "index price", "quote")
_BASIS = (
    Column("basis", "DOUBLE", "mark minus index", "quote"),
    Column("basis_bps", "DOUBLE", "mark over index", "bps"),
)
_INTEREST = (
    Column("open_interest", "DOUBLE", "open contracts", "base"),
    Column("open_interest_usd", "DOUBLE", "their value", "usd"),
)
_FUNDING = (
    _INSTRUMENT,
    _AT,
    Column("funding_rate", "DOUBLE", "in force; longs pay when positive", "fraction per interval"),
    Column("interval_h", "DOUBLE", "of funding; NULL where the venue tells none", "hours"),
    Column("annualized_pct", "DOUBLE", "rate times intervals a year", "%"),
    Column("next_funding_at", "TIMESTAMP", "when it is paid next", "UTC"),
    _MARK,
    _INDEX,
)


def _now(
    context: Context,
    exchange: str,
    market: Section,
    symbol: str | None,
    columns: tuple[Column, ...],
    read: Callable[[Client, list[Any], float], list[Cells]],
    limit: int,
) -> Answer:
    """Rows of one instrument or of all."""

    def rows(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        found = read(client, perpetuals.chosen(client, symbol, context.left_s), context.left_s)
        return found, {} if symbol else {"instruments": len(found)}

    return answered(context, exchange, market, columns, rows, time="timestamp", limit=limit)


def _past(
    context: Context,
    exchange: str,
    market: Section,
    symbol: str,
    columns: tuple[Column, ...],
    read: statistics.Reader,
    limit: int,
    period: str,
) -> Answer:
    """Periods of one instrument, newest first."""

    def rows(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        said = named(instrument) | {"period": period}
        return read(client, instrument, period, limit, context.left_s), said

    return answered(context, exchange, market, columns, rows, time="timestamp", limit=limit)


@tool(toolset=TOOLSET, open_world=True)
def venue_funding(
    context: Context,
    exchange: Exchange,
    symbol: OneOrAll = None,
    market: Section = "futures",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for the funding rate in force and when it is paid next, of one perpetual or of all, largest rate
    first in either direction. funding_rate is a fraction per interval, longs pay when positive. For past rates use
    venue_funding_history, for stored ones mark_funding_get."""

    def read(client: Client, instruments: list[Any], left_s: float) -> list[Cells]:
        rows = perpetuals.funding(client, instruments, left_s)
        return sorted(rows, key=lambda row: -abs(row["funding_rate"] or 0.0))

    return _now(context, exchange, market, symbol, _FUNDING, read, limit)


_PAID = (_AT, Column("funding_rate", "DOUBLE", "paid; longs pay when positive", "fraction per interval"))


@tool(toolset=TOOLSET, open_world=True)
def venue_funding_history(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    limit: Periods = 100,
) -> Answer:
    """Ask a venue now for the funding rates that one perpetual paid, newest first, with mean_rate and positive_share of
    them in meta. funding_rate is a fraction per interval, longs pay when positive. For the rate in force use
    venue_funding, for what was collected funding_history_get."""

    def rows(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        told = client.ask("fetchFundingRateHistory", instrument["symbol"], None, limit, left_s=context.left_s)
        paid = [(moment(row["timestamp"]), float(row["fundingRate"])) for row in reversed(told[-limit:])]
        said: dict[str, Any] = named(instrument)
        if paid:
            mean, positive = sum(rate for _, rate in paid) / len(paid), sum(rate > 0 for _, rate in paid) / len(paid)
            said |= {"mean_rate": rounded(mean, 6), "positive_share": round(positive, 4)}
        return [{"timestamp": at, "funding_rate": rate} for at, rate in paid], said

    return answered(context, exchange, market, _PAID, rows, time="timestamp", limit=limit)


@tool(toolset=TOOLSET, open_world=True)
def venue_mark_price(
    context: Context,
    exchange: Exchange,
    symbol: OneOrAll = None,
    market: Section = "futures",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for mark and index price of one contract or of all, and the basis between them: mark minus index,
    and in 1/10,000 of the index; positive where contracts cost more. For its course use venue_basis, for the index with
    its day venue_index_price, for stored prices mark_funding_get."""
    return _now(context, exchange, market, symbol, (_INSTRUMENT, _AT, _MARK, _INDEX, *_BASIS), perpetuals.marks, limit)


@tool(toolset=TOOLSET, open_world=True)
def venue_basis(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    period: Period = "5m",
    limit: Periods = 100,
) -> Answer:
    """Ask a venue now how the basis of one contract went: closes of its candles of mark and of index price, mark minus
    index, and in 1/10,000 of the index, newest first. timestamp is the opening edge of a period. For the basis now use
    venue_mark_price."""
    return _past(context, exchange, market, symbol, (_AT, _MARK, _INDEX, *_BASIS), statistics.basis, limit, period)


@tool(toolset=TOOLSET, open_world=True)
def venue_open_interest(
    context: Context,
    exchange: Exchange,
    symbol: OneOrAll = None,
    market: Section = "futures",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for open interest of one contract or of all, largest first, in base coin and USD; where the venue
    tells no value, open interest times mark price. Binance is asked for its ten most traded. For its course
    use venue_open_interest_history, for stored rows open_interest_get."""
    return _now(context, exchange, market, symbol, (_INSTRUMENT, _AT, *_INTEREST), perpetuals.interest, limit)


@tool(toolset=TOOLSET, open_world=True)
def venue_open_interest_history(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    period: Period = "5m",
    limit: Periods = 100,
) -> Answer:
    """Ask a venue now how open interest of one contract went, newest first, in base coin and, where told, USD. Venues
    differ in the periods that they keep. For the value now use venue_open_interest, for stored rows
    open_interest_get."""
    return _past(context, exchange, market, symbol, (_AT, *_INTEREST), statistics.interest, limit, period)


_RATIOS = (
    Column("accounts", "DOUBLE", "long over short accounts, all", "ratio"),
    Column("top_accounts", "DOUBLE", "the same of the largest traders", "ratio"),
    Column("top_positions", "DOUBLE", "long over short positions of the largest traders", "ratio"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_long_short_ratio(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    period: Period = "5m",
    limit: Periods = 100,
) -> Answer:
    """Ask a venue now who is long: long over short by number of all accounts, by accounts and by positions of the
    largest traders, per period, newest first; above 1 more are long, NULL where the venue tells none. Binance, Bybit
    (all accounts only), OKX and Gate.io publish it. What takers did is venue_taker_volume."""
    return _past(context, exchange, market, symbol, (_AT, *_RATIOS), statistics.ratios, limit, period)


_TAKERS = (
    _AT,
    Column("buy_qty", "DOUBLE", "bought by takers", "base"),
    Column("sell_qty", "DOUBLE", "sold by takers", "base"),
    Column("net_qty", "DOUBLE", "bought minus sold", "base"),
    Column("buy_sell_ratio", "DOUBLE", "bought over sold", "ratio"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_taker_volume(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    period: Period = "5m",
    limit: Periods = 100,
) -> Answer:
    """Ask a venue now what takers bought and sold of one contract per period, newest first, in base coin, with the net
    and the ratio; positive net and a ratio above 1 mean buying. Binance and OKX publish it, Gate.io only the ratio. For
    stored trades of all venues use trade_flow_get."""
    return _past(context, exchange, market, symbol, _TAKERS, statistics.takers, limit, period)


_STATS = (
    _AT,
    _MARK,
    *_INTEREST,
    *_RATIOS,
    Column("takers", "DOUBLE", "bought over sold by takers", "ratio"),
    Column("long_liquidated_usd", "DOUBLE", "longs closed by force", "usd"),
    Column("short_liquidated_usd", "DOUBLE", "shorts closed by force", "usd"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_contract_stats(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    period: Period = "1h",
    limit: Annotated[int, Field(ge=1, le=100)] = 24,
) -> Answer:
    """Ask Gate.io now for its statistics of one contract per period, newest first: open interest, long over short of
    accounts and of the largest traders, takers bought over sold, longs and shorts liquidated. Other venues tell parts
    of it: venue_open_interest_history, venue_long_short_ratio, venue_taker_volume."""
    return _past(context, exchange, market, symbol, _STATS, statistics.stats, limit, period)


_LIQUIDATIONS = (
    _AT,
    _INSTRUMENT,
    Column("side", "VARCHAR", "position closed: long or short"),
    Column("price", "DOUBLE", "average fill", "quote"),
    Column("quantity", "DOUBLE", "size", "base"),
    Column("value", "DOUBLE", "price times size", "quote"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_liquidations(
    context: Context,
    exchange: Exchange,
    symbol: OneOrAll = None,
    market: Section = "futures",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for the latest forced closures of one contract or of all, newest first. side is the position that
    was closed: long liquidations sell. Only Gate.io publishes them over REST; what all venues stream is stored, so for
    others and for sums use liquidations_get."""

    def read(client: Client, instruments: list[Any], left_s: float) -> list[Cells]:
        return statistics.liquidations(client, instruments, limit, left_s)

    return _now(context, exchange, market, symbol, _LIQUIDATIONS, read, limit)
