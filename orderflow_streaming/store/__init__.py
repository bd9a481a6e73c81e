"""The store: one process owns the DuckDB file and everyone else asks it over Arrow Flight.

``Store.connect`` finds the owner; where none runs it opens the file itself, with the same interface.
"""

from orderflow_streaming.store.client import Store, connect
from orderflow_streaming.store.errors import (
    ArchiveError,
    InvalidActionError,
    InvalidQueryError,
    InvalidWriteError,
    QueryMemoryError,
    QueryTimeoutError,
    StoreAuthError,
    StoreBusyError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from orderflow_streaming.store.window import Window

__all__ = [
    "ArchiveError",
    "InvalidActionError",
    "InvalidQueryError",
    "InvalidWriteError",
    "QueryMemoryError",
    "QueryTimeoutError",
    "Store",
    "StoreAuthError",
    "StoreBusyError",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "Window",
    "connect",
]
