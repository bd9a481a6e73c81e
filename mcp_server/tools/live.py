"""The newest minutes of a computed table, computed on the spot."""

from __future__ import annotations

from typing import Annotated

import pyarrow.compute as pc
from pydantic import Field

from mcp_server import catalog, windows
from mcp_server.arguments import Market, Symbol, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.live import MAX_MINUTES, live


@tool(toolset="features", timeout_s=45)
def features_live(
    context: Context,
    group: Annotated[str, one_of(GROUPS)],
    symbol: Symbol,
    market: Market | None = None,
    features: Annotated[list[str], Field(max_length=40)] | None = None,
    minutes: Annotated[int, Field(ge=1, le=MAX_MINUTES)] = 3,
) -> Answer:
    """Minute features computed now from the ticks in the store, newest first: the same function and the same numbers
    as the stored rows of features_get, minutes before those are written. Takes seconds; use it for the last minutes
    only. Without a market, all markets of the symbol. bar_ts is the closing edge, UTC."""
    declared = GROUPS[group]
    known = {item.name for item in declared.columns}
    shown = [name.removeprefix(f"{group}.") for name in features or []] or [item.name for item in declared.features]
    for name in shown:
        if name not in known:
            raise catalog.unknown(f"feature of {group}", name, sorted(known))
    if windows.missing(context, declared.table):
        columns = [declared.table.column(name) for name in shown]
        return windows.empty(declared.table, columns, windows.no_table(declared.table))
    rows = live(context, declared.table.qualified, symbol, minutes)
    for name, value in windows.series(symbol, market).items():
        rows = rows.filter(pc.equal(rows[name], value))
    names = ["exchange", "market_type", "bar_ts", "n_obs", *dict.fromkeys(shown)]
    rows = rows.select(names).sort_by([("bar_ts", "descending"), ("exchange", "ascending")])
    hint = (
        None if rows.num_rows else f"no rows of {symbol}: no quotes and no trades in the last {minutes} full minutes."
    )
    return Answer.of(
        rows,
        {column.name: column for column in declared.table.columns},
        source=declared.table.qualified,
        time="bar_ts",
        hint=hint,
        meta={"computed": "now, not stored", **windows.NEWEST_FIRST},
    )
