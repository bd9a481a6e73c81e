"""Every declared table by its qualified name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from orderflow_assets.forecasting.tables import TABLES as FORECASTING
from orderflow_streaming.schema import OPERATIONS, STREAMS
from orderflow_streaming.tables import Table
from orderflow_streaming.writing.series import SERIES


@cache
def hourly_tables() -> Mapping[str, Table]:
    """Ticks and what is computed from them by the hour."""
    from orderflow_assets.layers import LAYERS  # which imports what asks here

    return _named(*(stream.table for stream in STREAMS.values()), *(layer.table for layer in LAYERS))


@cache
def declared_tables() -> Mapping[str, Table]:
    """Ticks, computed tables, forecasting, records of operation."""
    return {**hourly_tables(), **_named(*FORECASTING, *OPERATIONS, SERIES)}


def _named(*tables: Table) -> dict[str, Table]:
    return {table.qualified: table for table in tables}
