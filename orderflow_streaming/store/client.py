"""What everyone but the daemon uses to read and write the store.

``connect(data_dir)`` finds the running owner; without one it opens the file itself, for tests, notebooks and
one-off materializations. Arrow in, Arrow out: use ``.to_pandas()`` at the edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.flight as flight

from orderflow_streaming.store import endpoint as endpoints
from orderflow_streaming.store import wire
from orderflow_streaming.store.endpoint import Endpoint, Scope
from orderflow_streaming.store.engine import DEFAULT_TIMEOUT_S, Engine, Parameters
from orderflow_streaming.store.errors import StoreAuthError, StoreError, StoreUnavailableError
from orderflow_streaming.store.place import place
from orderflow_streaming.store.reader import exists
from orderflow_streaming.store.window import Window
from orderflow_streaming.tables import Table

_GRACE_S = 10.0


class Store(ABC):
    """The store as a client sees it. Closed with ``close()`` or at the end of a ``with`` block."""

    @abstractmethod
    def query(
        self,
        sql: str,
        parameters: Parameters = None,
        *,
        max_rows: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> pa.Table:
        """Rows of one reading statement, at most ``max_rows``. Parameters are ``?`` or ``$name``."""

    @abstractmethod
    def write(self, table: Table, data: pa.Table, window: Window | None = None) -> int:
        """Insert ``data``; with a window, replace the rows in it, in one transaction. Returns rows inserted."""

    @abstractmethod
    def insert_select(self, table: Table, sql: str, parameters: Parameters = None, window: Window | None = None) -> int:
        """Like :meth:`write` with the rows of a SELECT that runs inside the owner: no rows travel."""

    @abstractmethod
    def ensure(self, *tables: Table) -> None:
        """Create the declared tables that do not exist yet."""

    @abstractmethod
    def action(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run a named action of the owner (``ping``, ``status``, ``flush``, ``checkpoint``, …)."""

    @abstractmethod
    def close(self) -> None: ...

    def exists(self, table: Table) -> bool:
        """Whether the table has been created in the store."""
        return exists(self, table.qualified)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RemoteStore(Store):
    """A store served by another process."""

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self.address = f"{endpoint.host}:{endpoint.port}"
        self._client = flight.FlightClient(endpoint.uri)
        self._headers = [(b"authorization", f"Bearer {token}".encode())]

    def query(
        self,
        sql: str,
        parameters: Parameters = None,
        *,
        max_rows: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> pa.Table:
        ticket = flight.Ticket(
            wire.encode(
                {
                    "sql": sql,
                    "parameters": wire.pack_parameters(parameters),
                    "max_rows": max_rows,
                    "timeout_s": timeout_s,
                }
            )
        )
        try:
            return self._client.do_get(ticket, self._options(timeout_s + _GRACE_S)).read_all()
        except (flight.FlightError, pa.ArrowException) as error:
            raise wire.from_flight(error, self.address) from error

    def write(self, table: Table, data: pa.Table, window: Window | None = None) -> int:
        request = {"table": table.to_dict(), "window": window.to_dict() if window else None}
        descriptor = flight.FlightDescriptor.for_command(wire.encode(request))
        try:
            writer, reader = self._client.do_put(descriptor, data.schema, self._options())
            with writer:
                writer.write_table(data)
                writer.done_writing()
                answer = reader.read()
        except (flight.FlightError, pa.ArrowException) as error:
            raise wire.from_flight(error, self.address) from error
        if answer is None:
            raise StoreError(f"the store at {self.address} did not confirm the write of {table.qualified}.")
        return int(wire.decode(answer.to_pybytes())["rows"])

    def insert_select(self, table: Table, sql: str, parameters: Parameters = None, window: Window | None = None) -> int:
        body = {
            "table": table.to_dict(),
            "sql": sql,
            "parameters": wire.pack_parameters(parameters),
            "window": window.to_dict() if window else None,
        }
        return int(self.action("insert_select", body)["rows"])

    def ensure(self, *tables: Table) -> None:
        self.action("ensure", {"tables": [table.to_dict() for table in tables]})

    def action(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = flight.Action(name, wire.encode(body or {}))
        try:
            results = list(self._client.do_action(request, self._options()))
        except (flight.FlightError, pa.ArrowException) as error:
            raise wire.from_flight(error, self.address) from error
        return wire.decode(results[0].body.to_pybytes()) if results else {}

    def close(self) -> None:
        self._client.close()

    def _options(self, timeout_s: float | None = None) -> flight.FlightCallOptions:
        return flight.FlightCallOptions(timeout=timeout_s, headers=self._headers)


class LocalStore(Store):
    """A store this process opened itself. Closes the engine it was given."""

    def __init__(self, engine: Engine, scope: Scope = "write") -> None:
        self.engine = engine
        self._scope = scope

    def query(
        self,
        sql: str,
        parameters: Parameters = None,
        *,
        max_rows: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> pa.Table:
        schema, batches = self.engine.read(sql, parameters, max_rows=max_rows, timeout_s=timeout_s)
        return pa.Table.from_batches(list(batches), schema)

    def write(self, table: Table, data: pa.Table, window: Window | None = None) -> int:
        self._require_write()
        return self.engine.write(table, data, window)

    def insert_select(self, table: Table, sql: str, parameters: Parameters = None, window: Window | None = None) -> int:
        self._require_write()
        return self.engine.insert_select(table, sql, parameters, window)

    def ensure(self, *tables: Table) -> None:
        self._require_write()
        self.engine.ensure(*tables)

    def action(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if name == "checkpoint":
            self._require_write()
            self.engine.checkpoint()
            return {}
        raise StoreUnavailableError(f"action {name!r} needs the running daemon. Start it with: orderflow-stream run")

    def close(self) -> None:
        self.engine.close()

    def _require_write(self) -> None:
        if self._scope != "write":
            raise StoreAuthError("this store was opened for reading. Connect with scope='write' to change anything.")


def connect(data_dir: Path | str = "data", *, scope: Scope = "read", embedded: bool = True) -> Store:
    """The store of ``data_dir``: the running owner, else the file itself where ``embedded`` allows it.

    For reading, ``data_dir`` may also be the path or URL of an archive: its files as of now, of all nodes.

    Raises :class:`StoreUnavailableError` when neither is there, :class:`StoreAuthError` when the token cannot be read
    and :class:`StoreLockedError` when the file is held by a process that does not serve it.
    """
    if "://" in str(data_dir):
        return _over_archive(str(data_dir), scope)
    folder = Path(data_dir)
    endpoint = endpoints.find(folder)
    if endpoint:
        return RemoteStore(endpoint, endpoints.read_token(folder, scope))
    path = endpoints.database_path(folder)
    if embedded and not path.exists() and (folder / "nodes").is_dir():
        return _over_archive(str(folder), scope)
    if not embedded or (scope == "read" and not path.exists()):
        raise StoreUnavailableError(f"no store runs for {folder}. Start it with: orderflow-stream run")
    return LocalStore(Engine(path, read_only=scope == "read"), scope)


def _over_archive(root: str, scope: Scope) -> Store:
    from orderflow_streaming.archive.alone import engine_over

    if scope != "read":
        raise StoreAuthError(f"the archive {root} is only read here. Its daemons write to it: orderflow-stream run")
    return LocalStore(engine_over(place(root)), scope)
