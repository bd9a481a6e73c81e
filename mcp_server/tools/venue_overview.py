"""Tools that ask a venue itself for all it tells of one instrument, and for quotes of many."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from mcp_server.arguments import DEFAULT_ROWS, Exchange, Instrument, Limit, Section
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, rounded
from mcp_server.tools.venue_prices import TOOLSET
from mcp_server.venues import parts, perpetuals, quotes
from mcp_server.venues.client import Client
from mcp_server.venues.comparisons import COMPARISONS, time_of
from mcp_server.venues.parts import portrait
from mcp_server.venues.reading import Cells, answered, named
from orderflow_streaming.tables import Column

OVERVIEW_S = 30.0

_TOLD = (
    Column("part", "VARCHAR", "what was asked"),
    Column("figure", "VARCHAR", "what it is"),
    Column("value", "DOUBLE", "the figure", "quote or as unit says"),
    Column("unit", "VARCHAR", "of value"),
    Column("timestamp", "TIMESTAMP", "the venue's; NULL where it tells none", "UTC"),
)


@tool(toolset=TOOLSET, open_world=True, timeout_s=OVERVIEW_S)
def venue_snapshot(
    context: Context, exchange: Exchange, symbol: Instrument = "BTCUSDT", market: Section = "futures"
) -> Answer:
    """Ask a venue now for all of one instrument at once: ticker, best quotes and imbalance of 20 book levels, taker
    share of the latest trades, funding, open interest, its spot pair, volatility. Each part has its own time;
    meta.missing says what the venue does not offer. For ratios use venue_analysis, for stored data price_latest."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        seen = portrait(context, client, symbol)
        rows = [
            {"part": name, "figure": figure, "value": value, "unit": parts.UNITS[figure], "timestamp": part.time}
            for name, part in seen.parts.items()
            for figure, value in part.figures.items()
            if value is not None
        ]
        return rows, seen.about

    return answered(context, exchange, market, _TOLD, read, time="timestamp")


_COMPARED = (
    Column("comparison", "VARCHAR", "what is compared"),
    Column("value", "DOUBLE", "as unit says; NULL where the venue does not tell what it takes"),
    Column("unit", "VARCHAR", "of value"),
    Column("formula", "VARCHAR", "how it is made"),
    Column("timestamp", "TIMESTAMP", "oldest of what it is made of; NULL where the venue tells none", "UTC"),
)


@tool(toolset=TOOLSET, open_world=True, timeout_s=OVERVIEW_S)
def venue_analysis(
    context: Context, exchange: Exchange, symbol: Instrument = "BTCUSDT", market: Section = "futures"
) -> Answer:
    """Ask a venue now and compare what it tells of one instrument: place in the 24-hour range, spread, book imbalance,
    taker share, mark over index, mid over the venue's own spot pair, funding and basis per year, open interest over
    volume. Each with its formula; no score, no advice. For the figures themselves use venue_snapshot."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        seen = portrait(context, client, symbol)
        rows = [
            {
                "comparison": name,
                "value": comparison.of(seen),
                "unit": comparison.unit,
                "formula": comparison.formula,
                "timestamp": time_of(comparison, seen),
            }
            for name, comparison in COMPARISONS.items()
        ]
        return rows, seen.about

    return answered(context, exchange, market, _COMPARED, read, time="timestamp")


_QUOTES = (
    Column("instrument", "VARCHAR", "the venue's own name"),
    Column("timestamp", "TIMESTAMP", "event time; NULL where the venue tells none", "UTC"),
    Column("bid_price", "DOUBLE", "best bid", "quote"),
    Column("bid_qty", "DOUBLE", "at the best bid", "base"),
    Column("ask_price", "DOUBLE", "best ask", "quote"),
    Column("ask_qty", "DOUBLE", "at the best ask", "base"),
    Column("mid_price", "DOUBLE", "middle", "quote"),
    Column("spread_bps", "DOUBLE", "ask over bid", "bps"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_quotes(
    context: Context,
    exchange: Exchange,
    market: Section = "futures",
    symbol: Annotated[str | None, Field(max_length=40, description="only this one; left out: all")] = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for best bid, ask and mid of all its instruments or of one, by name; Hyperliquid tells mids only.
    For one with its depth use venue_orderbook, for the day of each venue_tickers, for stored quotes price_latest."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        chosen = perpetuals.chosen(client, symbol, context.left_s)
        rows = quotes.best(client, chosen, context.left_s)
        return sorted(rows, key=lambda row: row["instrument"]), {"listed": len(rows)}

    return answered(context, exchange, market, _QUOTES, read, time="timestamp", limit=limit)


_SPREADS = (
    Column("timestamp", "TIMESTAMP", "of the change", "UTC"),
    Column("bid_price", "DOUBLE", "best bid", "quote"),
    Column("ask_price", "DOUBLE", "best ask", "quote"),
    Column("spread_bps", "DOUBLE", "ask over bid", "bps"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_spread_history(
    context: Context,
    exchange: Exchange = "kraken",
    symbol: Instrument = "BTCUSD",
    market: Section = "spot",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask Kraken now for the latest changes of the best bid and ask of a pair, newest first, with the mean, smallest
    and largest spread of them in meta, in 1/10,000. Only Kraken publishes it. For spreads of collected markets use
    features_get with group prices."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        rows = quotes.spreads(client, instrument, context.left_s)[: context.rows(limit)]
        said = named(instrument)
        spreads = [row["spread_bps"] for row in rows if row["spread_bps"] is not None]
        if spreads:
            mean = sum(spreads) / len(spreads)
            told = {"mean_bps": mean, "min_bps": min(spreads), "max_bps": max(spreads)}
            said |= {name: rounded(value, 6) for name, value in told.items()}
        return rows, said

    return answered(context, exchange, market, _SPREADS, read, time="timestamp", limit=limit)


_WINDOW = (
    Column("open_time", "TIMESTAMP", "start of the window", "UTC"),
    Column("close_time", "TIMESTAMP", "its end", "UTC"),
    Column("open", "DOUBLE", "first price", "quote"),
    Column("high", "DOUBLE", "highest", "quote"),
    Column("low", "DOUBLE", "lowest", "quote"),
    Column("last", "DOUBLE", "last trade", "quote"),
    Column("change_pct", "DOUBLE", "last over open", "%"),
    Column("volume_base", "DOUBLE", "traded", "base"),
    Column("volume_quote", "DOUBLE", "traded", "quote"),
    Column("vwap", "DOUBLE", "value over volume", "quote"),
    Column("trades", "BIGINT", "trades", "count"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_window_ticker(
    context: Context,
    exchange: Exchange = "binance",
    symbol: Instrument = "BTCUSDT",
    window: Annotated[str, Field(pattern="^([1-9]|[1-5][0-9])m$|^([1-9]|1[0-9]|2[0-3])h$|^[1-7]d$")] = "1d",
) -> Answer:
    """Ask Binance now for what a spot pair did over a window of 1m to 59m, 1h to 23h or 1d to 7d that ends now: open,
    high, low, last, change, volumes, VWAP and trades. Only Binance spot has it. For 24 hours anywhere use venue_ticker,
    for periods with fixed edges venue_klines."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        instrument = client.instrument(symbol, context.left_s)
        said = named(instrument) | {"window": window}
        return [quotes.window(client, instrument, window, context.left_s)], said

    return answered(context, exchange, "spot", _WINDOW, read, time="close_time")


_TRADES = (
    Column("timestamp", "TIMESTAMP", "of the trade", "UTC"),
    Column("instrument", "VARCHAR", "the venue's own name"),
    Column("price", "DOUBLE", "price", "quote, options settle ccy"),
    Column("quantity", "DOUBLE", "size; dollars at the price", "base"),
    Column("side", "VARCHAR", "taker's"),
    Column("index_price", "DOUBLE", "at the trade", "quote"),
    Column("iv", "DOUBLE", "implied by it, options only", "% a year"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_coin_trades(
    context: Context,
    exchange: Exchange = "deribit",
    coin: Annotated[str, Field(min_length=1, max_length=20)] = "BTC",
    market: Section = "futures",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask Deribit now for the latest trades in all futures or all options on a coin, newest first, with the number of
    trades by instrument in meta. Only Deribit tells them together. For trades of one instrument use venue_trades, for
    stored ones trades_recent."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        rows = quotes.coin_trades(client, coin, context.rows(limit), context.left_s)
        counted = Counter(row["instrument"] for row in rows)
        return rows, {"coin": coin, "by_instrument": dict(counted.most_common(20))}

    return answered(context, exchange, market, _TRADES, read, time="timestamp", limit=limit)
