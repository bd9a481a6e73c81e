"""The reading side of a store, for functions that need no more of it."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from orderflow_streaming.store.engine import Parameters


class Reader(Protocol):
    """What rows are read from: a store, or whatever puts limits around one."""

    def query(self, sql: str, parameters: Parameters = None) -> pa.Table:
        """Rows of one reading statement; parameters are ``$name`` or ``?``."""


def exists(reader: Reader, qualified: str) -> bool:
    """Whether the table ``schema.name`` has been created in the store."""
    found = reader.query(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", qualified.split(".")
    )
    return found.num_rows > 0
