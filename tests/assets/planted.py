"""Small stand-ins for tests of the orchestration: two computed tables over the ticks, and faults on demand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
from dagster import AssetSpec, Definitions, in_process_executor

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY
from orderflow_assets.layer import Layer
from orderflow_assets.layer_assets import layer_assets
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.store.window import naive_utc
from orderflow_streaming.tables import Column, Table

HOUR = timedelta(hours=1)
TRADES = asset_key("main.trades")
LOWER = asset_key("bars.lower")
UPPER = asset_key("features.upper")


def table(schema: str, name: str) -> Table:
    columns = (*BAR_COLUMNS, Column("value", "DOUBLE", "trades in the minute", "count"))
    return Table(schema, name, columns, BAR_KEY, "open_time", "A table of the tests.")


@dataclass
class Faults:
    """Hours in which ``bars.lower`` repeats its rows, and whether ``features.upper`` raises."""

    repeated: set[datetime] = field(default_factory=set)
    upper_raises: bool = False


def planted_layers(faults: Faults) -> tuple[Layer, Layer]:
    lower, upper = table("bars", "lower"), table("features", "upper")

    def count_trades(store: Store, start: datetime, end: datetime) -> int:
        store.ensure(STREAMS["trades"].table, lower)
        times = ", ".join(f"TIMESTAMP '{hour}'" for hour in faults.repeated) or "NULL"
        return store.insert_select(
            lower,
            f"""
            WITH minutes AS (
                SELECT symbol, exchange, market_type, date_trunc('minute', timestamp) AS open_time, count(*) AS value
                FROM main.trades WHERE timestamp >= $start::TIMESTAMP AND timestamp < $end::TIMESTAMP GROUP BY ALL
            ), repeated AS (
                SELECT * FROM minutes
                UNION ALL BY NAME
                SELECT * FROM minutes WHERE date_trunc('hour', open_time) IN ({times})
            )
            SELECT *, open_time + INTERVAL 1 MINUTE AS bar_ts FROM repeated
            """,
            {"start": start, "end": end},
            Window(start, end),
        )

    def copy_lower(store: Store, start: datetime, end: datetime) -> int:
        if faults.upper_raises:
            raise RuntimeError("planted failure")
        store.ensure(lower, upper)
        return store.insert_select(
            upper,
            "SELECT * FROM bars.lower WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP",
            {"start": start, "end": end},
            Window(start, end),
        )

    return (
        Layer(lower, count_trades, ("main.trades", "ops.gaps"), timedelta(0), "bars"),
        Layer(upper, copy_lower, ("bars.lower",), timedelta(0), "features"),
    )


def planted_defs(faults: Faults, data_dir: Path) -> Definitions:
    layers = planted_layers(faults)
    return Definitions(
        assets=[AssetSpec(TRADES, partitions_def=hourly), layer_assets(layers)],
        resources={"store": StoreResource(data_dir=str(data_dir))},
        executor=in_process_executor,
    )


def plant_trades(
    store: Store,
    times: Iterable[datetime],
    symbol: str = "BTCUSDT",
    first_id: int = 1,
    stream: Table = STREAMS["trades"].table,
) -> int:
    """One trade at each time; returns the last id."""
    rows = [
        {
            "id": first_id + index,
            "symbol": symbol,
            "exchange": "binance",
            "market_type": "futures",
            "timestamp": naive_utc(at),
            "trade_id": str(first_id + index),
            "price": 100.0 + index % 7,
            "quantity": 0.5,
            "quote_value": (100.0 + index % 7) * 0.5,
            "side": "buy" if index % 2 else "sell",
            "is_buyer_maker": not index % 2,
            "received_at": naive_utc(at) + timedelta(milliseconds=80),
            "source_seq": None,
            "raw_quantity": 0.5,
        }
        for index, at in enumerate(times)
    ]
    store.write(stream, pa.Table.from_pylist(rows, schema=stream.arrow_schema))
    return first_id + len(rows) - 1


def minutes(start: datetime, hours: float) -> list[datetime]:
    """A time in the middle of each minute of ``hours`` hours from ``start``."""
    return [start + timedelta(minutes=index, seconds=30) for index in range(int(hours * 60))]


def partition(hour: datetime) -> str:
    return hour.strftime(hourly.fmt)


def hours_of(start: datetime, end: datetime) -> list[str]:
    """The partitions that ``[start, end)`` touches."""
    first = start.replace(minute=0, second=0, microsecond=0)
    return [partition(first + index * HOUR) for index in range(math.ceil((end - first) / HOUR))]
