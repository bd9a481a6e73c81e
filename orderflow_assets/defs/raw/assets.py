"""The ticks the daemon writes, one external asset per stream: Dagster watches them and computes what follows."""

from __future__ import annotations

from dagster import AssetSpec

from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import hourly
from orderflow_streaming.schema import STREAMS

streams = [
    AssetSpec(
        key=asset_key(stream.table.qualified),
        description=stream.doc,
        group_name="raw",
        kinds={"duckdb", "websocket"},
        owners=OWNERS,
        partitions_def=hourly,
        code_version=table_version(stream.table),
        metadata=table_metadata(stream.table),
    )
    for stream in STREAMS.values()
]
