"""The stream tables as readers use them, and the moving of rows between the database and its archive."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orderflow_streaming import markets
from orderflow_streaming.archive import layout, manifest
from orderflow_streaming.schema import ARCHIVE, STREAMS, Stream
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import StoreUnavailableError


def prepare(engine: Engine) -> None:
    """Have the hot tables and the views over them; stream tables of an older database are moved over.

    Raises StoreUnavailableError where rows lie in an archive that the engine was not opened with.
    """
    if not engine.empty.exists():
        engine.empty.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pq.write_table(pa.table({"nothing": pa.array([], pa.bool_())}), engine.empty)
    engine.ensure(*(stream.hot for stream in STREAMS.values()), ARCHIVE, manifest.SITE, manifest.REPLACED)
    for stream in STREAMS.values():
        if _is_table(engine, stream):
            engine.ensure(stream.table)
        with engine.transaction() as cursor:
            _move_over(cursor, stream)
            show(engine, cursor, stream.name)


def show(engine: Engine, cursor: duckdb.DuckDBPyConnection, stream: str) -> None:
    """Let readers see what ``ops.archive`` says now, from the commit of the cursor's transaction on."""
    files = manifest.seen(cursor, stream)
    if files and engine.archive is None:
        raise StoreUnavailableError(
            f"{len(files)} hours of {stream} lie in an archive. Set archive to the path or URL where it is now."
        )
    root = engine.archive.root if engine.archive else ""
    cursor.execute(layout.continuous_view(STREAMS[stream], root, str(engine.empty), files))


def recall(engine: Engine, cursor: duckdb.DuckDBPyConnection, stream: str, hours: Collection[datetime]) -> None:
    """Bring the rows of dropped hours back into the database, in the cursor's transaction, because they change."""
    assert engine.archive is not None
    table = STREAMS[stream].hot
    for hour in hours:
        entry = manifest.own(cursor, stream, hour)
        if entry is None or entry.dropped_at is None:
            continue
        source = layout.read_files(table, [engine.archive.full(entry.path)])
        cursor.execute(f'INSERT INTO "{table.schema}"."{table.name}" BY NAME SELECT * FROM {source}')
        cursor.execute(
            "UPDATE ops.archive SET dropped_at = NULL WHERE stream = ? AND node = ? AND hour = ?",
            [stream, entry.node, hour],
        )
    show(engine, cursor, stream)


def create_views(engine: Engine) -> None:
    """The isolated name of every declared symbol, market and stream, over the stream tables."""
    with engine.transaction() as cursor:
        for market in markets.MARKETS.values():
            for symbol in market.symbols:
                for stream in market.streams:
                    cursor.execute(STREAMS[stream].view_ddl(symbol, market))


def _is_table(engine: Engine, stream: Stream) -> bool:
    cursor = engine.cursor()
    try:
        return bool(_base_table(cursor, stream))
    finally:
        cursor.close()


def _base_table(cursor: duckdb.DuckDBPyConnection, stream: Stream) -> list:
    return cursor.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = ?", [stream.name]
    ).fetchall()


def _move_over(cursor: duckdb.DuckDBPyConnection, stream: Stream) -> None:
    if _base_table(cursor, stream):
        cursor.execute(f'INSERT INTO hot."{stream.name}" BY NAME SELECT * FROM main."{stream.name}"')
        cursor.execute(f'DROP TABLE main."{stream.name}"')
