"""What a tool works with during one call: the store, the limits and the catalogue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mcp_server.errors import ToolError, from_store
from mcp_server.venues.client import Venues
from orderflow_assets.calculators.discovery import Found, built_in
from orderflow_streaming.store import Store, StoreAuthError, StoreError, StoreUnavailableError, connect
from orderflow_streaming.store.engine import Parameters

if TYPE_CHECKING:
    from mcp_server.registry import Tool

DEFAULT_DAGSTER_URL = "http://127.0.0.1:3000"
SOON_S = 1.0
"""A store that is gone is noticed within this time."""


class Reader:
    """The read side of the running store, found at the first query and again after it went away.

    Never opens the database file itself: that would keep the daemon from starting.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._lock = Lock()
        self._store: Store | None = None

    def query(self, sql: str, parameters: Parameters, max_rows: int | None, timeout_s: float) -> pa.Table:
        return self._ask(lambda store: store.query(sql, parameters, max_rows=max_rows, timeout_s=timeout_s))

    def action(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._ask(lambda store: store.action(name, body))

    def change(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to an action that needs the write token, which is read for this one."""
        with connect(self.data_dir, scope="write", embedded=False) as store:
            return store.action(name, body)

    def close(self) -> None:
        with self._lock:
            if self._store:
                self._store.close()
            self._store = None

    def _ask(self, question: Any) -> Any:
        """Asks again where the store turned out to be another process by now, not where it was slow to answer."""
        store = self._connected()
        started = time.monotonic()
        try:
            return question(store)
        except (StoreUnavailableError, StoreAuthError):
            self._forget(store)
            if time.monotonic() - started > SOON_S:
                raise
            return question(self._connected())

    def _connected(self) -> Store:
        with self._lock:
            if self._store is None:
                self._store = connect(self.data_dir, scope="read", embedded=False)
            return self._store

    def _forget(self, store: Store) -> None:
        """Leaves the old connection open: another thread may be reading from it."""
        with self._lock:
            if self._store is store:
                self._store = None


@dataclass(frozen=True, slots=True)
class Context:
    """``deadline`` is a monotonic time; ``tools`` are those the catalogue may show and run."""

    reader: Reader
    tools: Mapping[str, Tool]
    max_rows: int
    deadline: float
    dagster_url: str = DEFAULT_DAGSTER_URL
    calculators: Found = field(default_factory=built_in)
    venues: Venues = field(default_factory=Venues)

    @property
    def exports(self) -> Path:
        """The only folder that files of rows are written to."""
        return self.reader.data_dir / "exports"

    @property
    def left_s(self) -> float:
        """Seconds left to this call; raises :class:`ToolError` when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ToolError("timeout", "The call ran past its time limit.", "Narrow the time range or name a symbol.")
        return left

    def within(self, seconds: float) -> Context:
        """The same with at most ``seconds`` left."""
        return replace(self, deadline=min(self.deadline, time.monotonic() + seconds))

    def rows(self, limit: int) -> int:
        """The rows that may be sent of the ``limit`` asked for."""
        return min(limit, self.max_rows)

    def query(self, sql: str, parameters: Parameters = None, max_rows: int | None = None) -> pa.Table:
        """Rows of one reading statement, within the time left. Raises :class:`ToolError`."""
        try:
            return self.reader.query(sql, parameters, max_rows, self.left_s)
        except StoreError as error:
            raise from_store(error) from None

    def action(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            return self.reader.action(name, body)
        except StoreError as error:
            raise from_store(error) from None

    def change(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Have the daemon change something; only for tools that are declared to write. Raises :class:`ToolError`."""
        try:
            return self.reader.change(name, body)
        except StoreError as error:
            raise from_store(error) from None
