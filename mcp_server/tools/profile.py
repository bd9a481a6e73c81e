"""The tool for how much traded at which price."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import DEFAULT_MARKET, Market, Symbol, Time, span
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column

TRADES = STREAMS["trades"].table
_PROFILE = (
    *(Column(name, "DOUBLE", f"{name[6:]} of the band", "quote") for name in ("price_from", "price_to")),
    Column("volume", "DOUBLE", "traded in the band", "base"),
    Column("buy_volume", "DOUBLE", "of it taken by buyers", "base"),
    Column("sell_volume", "DOUBLE", "of it taken by sellers", "base"),
    Column("share", "DOUBLE", "of all volume", "fraction"),
    Column("trades", "BIGINT", "in the band", "count"),
)


@tool(toolset="analytics")
def volume_profile_get(
    context: Context,
    symbol: Symbol,
    market: Market = DEFAULT_MARKET,
    start: Time = "1h",
    end: Time | None = None,
    bands: Annotated[int, Field(ge=2, le=200, description="of equal width, lowest to highest trade")] = 24,
) -> Answer:
    """How much of a series traded at which price: base volume of the stored trades in bands of equal width from the
    lowest to the highest price, highest band first, taker buying and selling apart, and each band's share. Default: the
    last hour. meta.most_traded is the band with the most volume. For volume over time use bars_get or trade_flow_get.
    Prices in quote currency; times UTC."""
    equals = windows.series(symbol, market)
    first, last = span(start, end)
    where, values = windows.conditions(TRADES, equals, first, last)
    sql = f"""
        WITH traded AS (SELECT price, quantity, side FROM {TRADES.qualified} WHERE {where}),
        ends AS (SELECT min(price) AS low, (max(price) - min(price)) / {bands} AS width FROM traded),
        placed AS (
            SELECT *, CASE WHEN width > 0 THEN least(floor((price - low) / width), {bands - 1}) ELSE 0 END AS band
            FROM traded, ends
        )
        SELECT any_value(low + band * width) AS price_from, any_value(low + (band + 1) * width) AS price_to,
               sum(quantity) AS volume, coalesce(sum(quantity) FILTER (side = 'buy'), 0) AS buy_volume,
               coalesce(sum(quantity) FILTER (side = 'sell'), 0) AS sell_volume,
               sum(quantity) / sum(sum(quantity)) OVER () AS share, count(*) AS trades
        FROM placed GROUP BY band ORDER BY band DESC"""
    answer = windows.aggregated(context, TRADES, _PROFILE, sql, values, equals=equals, edges=(first, last))
    if len(answer):
        low, high, volumes = answer.values[:3]
        most = max(range(len(answer)), key=lambda place: volumes[place])
        answer.meta["most_traded"] = {"price_from": low[most], "price_to": high[most]}
    return answer
