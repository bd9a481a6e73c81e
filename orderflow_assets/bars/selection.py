"""A layer that is one SELECT, run inside the store hour by hour: no rows travel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from orderflow_assets.bars.series import closed_window, hours
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import Sources
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Table


def selected(
    table: Table,
    sql: str,
    inputs: tuple[Table, ...],
    lookback: timedelta,
    group: str = "bars",
    across: tuple[str, ...] = (),
    lineage: Mapping[str, Sources] | None = None,
) -> Layer:
    """The layer of ``sql``, which takes ``$start`` and ``$end`` and names its columns as ``table`` does."""

    def compute(store: Store, start: datetime, end: datetime) -> int:
        store.ensure(*inputs, table)
        start, end = closed_window(start, end)
        return sum(
            store.insert_select(table, sql, {"start": opening, "end": closing}, Window(opening, closing))
            for opening, closing in hours(start, end)
        )

    named = tuple(source.qualified for source in inputs)
    return Layer(table, compute, named, lookback, group, across=across, lineage=lineage or {})
