"""The lists by which the nodes of an archive tell each other which files count.

Each node keeps one list, ``nodes/<node>.parquet``: its rows of ``ops.archive``. A file that no list names is not
there for readers, so that a file can be written, verified and then shown. Lists are replaced as a whole.
"""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orderflow_streaming.archive import layout, manifest
from orderflow_streaming.archive.manifest import Sealed
from orderflow_streaming.schema import ARCHIVE, STREAMS
from orderflow_streaming.store.errors import ArchiveError
from orderflow_streaming.store.place import Place

log = logging.getLogger(__name__)

_IDENTITY = b"orderflow_identity"


def publish(place: Place, node: str, identity: str, entries: list[Sealed]) -> None:
    """Replace the list of ``node``."""
    table = manifest.as_table(entries).replace_schema_metadata({_IDENTITY: identity.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    place.write(layout.node_path(node), buffer.getvalue())


def identity_of(place: Place, node: str) -> str | None:
    """Which database publishes as ``node``; None where none does yet."""
    try:
        content = place.read(layout.node_path(node))
    except FileNotFoundError:
        return None
    return _table(node, content).schema.metadata.get(_IDENTITY, b"").decode()


def entries_of(place: Place, node: str) -> list[Sealed]:
    """The list of ``node``. What it says of paths is not taken over: they follow from the rest."""
    table = _table(node, place.read(layout.node_path(node)))
    entries = [Sealed(**row) for row in table.select(list(ARCHIVE.names)).to_pylist() if row["stream"] in STREAMS]
    return [
        replace(entry, node=node, path=layout.file_path(entry.stream, entry.hour, node, entry.version))
        for entry in entries
    ]


class Others:
    """The lists of the other nodes, read again when they change."""

    def __init__(self, place: Place, own: str | None) -> None:
        self._place, self._own = place, own
        self._marks: dict[str, Any] = {}

    def changed(self) -> dict[str, list[Sealed]]:
        """Entries of each node whose list is new or other than before. A list that is gone changes nothing."""
        marks = {
            name.removesuffix(".parquet"): mark
            for name, mark in self._place.names(layout.NODES).items()
            if name.endswith(".parquet")
        }
        marks.pop(self._own or "", None)
        found: dict[str, list[Sealed]] = {}
        for node, mark in marks.items():
            if self._marks.get(node) != mark:
                try:
                    found[layout.node_name(node)] = entries_of(self._place, node)
                except (ArchiveError, ValueError, FileNotFoundError) as error:
                    log.warning("the list of node %s in the archive is left out: %s", node, error)
        self._marks = marks
        return found

    def forget(self) -> None:
        """Read every list again at the next look."""
        self._marks = {}


def take_over(cursor: duckdb.DuckDBPyConnection, found: dict[str, list[Sealed]]) -> set[str]:
    """Put what other nodes sealed into ``ops.archive``; the streams whose files changed."""
    streams = set()
    for node, entries in found.items():
        known = manifest.sealed(cursor, "node = ?", node)
        if known != entries:
            streams |= {entry.stream for entry in {*known} ^ {*entries}}
            manifest.put_node(cursor, node, manifest.as_table(entries))
    return streams


def _table(node: str, content: bytes) -> pa.Table:
    try:
        table = pq.read_table(pa.BufferReader(content))
        return table.select(list(ARCHIVE.names)).cast(
            ARCHIVE.arrow_schema.with_metadata(table.schema.metadata), safe=True
        )
    except (pa.ArrowException, KeyError) as error:
        raise ArchiveError(f"the list of node {node!r} in the archive cannot be read: {error}") from error
