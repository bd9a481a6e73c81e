"""Tools that ask a venue itself for all it tells of one instrument."""

from __future__ import annotations

from typing import Any

from mcp_server.arguments import Exchange, Instrument, Section
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from mcp_server.tools.venue_prices import TOOLSET
from mcp_server.venues import parts
from mcp_server.venues.client import Client
from mcp_server.venues.comparisons import COMPARISONS, time_of
from mcp_server.venues.parts import portrait
from mcp_server.venues.reading import Cells, answered
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
