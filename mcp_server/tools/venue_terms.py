"""Tools that ask a venue itself for the terms of its contracts: position tiers, insurance funds, indices, sums."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcp_server.arguments import DEFAULT_ROWS, Exchange, Instrument, Limit, Section
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from mcp_server.tools.venue_prices import TOOLSET
from mcp_server.venues import conditions
from mcp_server.venues.client import Client
from mcp_server.venues.reading import Cells, answered, named
from orderflow_streaming.tables import Column

_AT = Column("timestamp", "TIMESTAMP", "event time; NULL where the venue tells none", "UTC")
_TIERS = (
    Column("tier", "INTEGER", "1 is for the smallest positions", "tier"),
    Column("min_size", "DOUBLE", "from this position on", "size_in"),
    Column("max_size", "DOUBLE", "up to this", "size_in"),
    Column("size_in", "VARCHAR", "currency, or contracts"),
    Column("maintenance_margin", "DOUBLE", "below it a position is closed", "fraction of position"),
    Column("max_leverage", "DOUBLE", "largest leverage", "times"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_risk_limits(
    context: Context, exchange: Exchange, symbol: Instrument = "BTCUSDT", market: Section = "futures"
) -> Answer:
    """Ask a venue now for the position tiers of one contract: from and up to which size which maintenance margin and
    leverage hold, smallest first. Binance tells them only to accounts. For contract size, tick and smallest order use
    venue_instruments."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        said = named(instrument)
        return conditions.tiers(client, instrument, context.left_s), said

    return answered(context, exchange, market, _TIERS, read)


_FUND = (
    _AT,
    Column("coin", "VARCHAR", "of the balance"),
    Column("balance", "DOUBLE", "what is in it", "coin"),
    Column("balance_usd", "DOUBLE", "its value where told", "usd"),
    Column("covers", "INTEGER", "contracts it is for, where told", "contracts"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_insurance_fund(
    context: Context,
    exchange: Exchange,
    symbol: Instrument = "BTCUSDT",
    market: Section = "futures",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for the insurance fund that covers one contract: balances by coin, newest first; OKX and Gate.io
    also tell past ones. A falling balance means that liquidations cost more than margins held. Binance, Bybit, OKX and
    Gate.io publish it."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        return conditions.insurance(client, instrument, context.left_s), {"instrument": instrument["id"]}

    return answered(context, exchange, market, _FUND, read, time="timestamp", limit=limit)


_INDEX = (
    Column("index", "VARCHAR", "the venue's name of it"),
    _AT,
    Column("index_price", "DOUBLE", "index price", "quote"),
    Column("open_24h", "DOUBLE", "24 hours ago", "quote"),
    Column("high_24h", "DOUBLE", "highest of 24 hours", "quote"),
    Column("low_24h", "DOUBLE", "lowest of 24 hours", "quote"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_index_price(
    context: Context, exchange: Exchange, symbol: Instrument = "BTCUSDT", market: Section = "futures"
) -> Answer:
    """Ask a venue now for the index that a contract follows, an average of spot prices elsewhere; OKX also tells its
    last 24 hours. With market options symbol is the underlying, such as BTC_USDT. For mark price and basis use
    venue_mark_price, for stored indices index_price_get."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        return conditions.index(client, symbol, context.left_s), {}

    return answered(context, exchange, market, _INDEX, read, time="timestamp")


CoinPeriod = Annotated[Literal["5m", "1h", "1d"], BeforeValidator(lambda value: str(value).lower())]
_COIN = (
    _AT,
    Column("open_interest_usd", "DOUBLE", "of all contracts of the coin", "usd"),
    Column("volume_usd", "DOUBLE", "traded in the period", "usd"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_coin_interest(
    context: Context,
    exchange: Exchange,
    coin: Annotated[str, Field(min_length=1, max_length=20)] = "BTC",
    period: CoinPeriod = "1h",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for open interest and traded volume over all contracts of one coin together, perpetual and dated,
    in USD per period, newest first. Only OKX publishes such sums. For one contract use
    venue_open_interest_history."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        return conditions.coin(client, coin, period, context.left_s), {"coin": coin.upper(), "period": period}

    return answered(context, exchange, "futures", _COIN, read, time="timestamp", limit=limit)
