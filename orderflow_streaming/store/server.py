"""Serves an :class:`~orderflow_streaming.store.engine.Engine` over Arrow Flight on loopback.

``do_get`` runs one reading statement, ``do_put`` writes rows of a declared table, ``do_action`` runs a named
action. A read token opens reading and the actions registered for it; a write token opens everything.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from orderflow_streaming.store import endpoint as endpoints
from orderflow_streaming.store import wire
from orderflow_streaming.store.endpoint import Endpoint, Scope
from orderflow_streaming.store.engine import DEFAULT_TIMEOUT_S, Engine
from orderflow_streaming.store.errors import InvalidWriteError, StoreAuthError, StoreError
from orderflow_streaming.store.window import Window
from orderflow_streaming.tables import Table

Action = Callable[[dict[str, Any]], dict[str, Any]]

MAX_TIMEOUT_S = 3600.0


class PortInUseError(Exception):
    """The address the store should listen on is taken."""


class _Authorization(flight.ServerMiddleware):
    def __init__(self, scope: Scope) -> None:
        self.scope = scope


class _CheckToken(flight.ServerMiddlewareFactory):
    def __init__(self, tokens: dict[Scope, str]) -> None:
        self._tokens = tokens

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> _Authorization:
        offered = next(iter(headers.get("authorization", [])), "").removeprefix("Bearer ").encode()
        scope: Scope | None = None
        for name, token in self._tokens.items():
            if secrets.compare_digest(offered, token.encode()):
                scope = name
        if scope is None:
            raise flight.FlightUnauthenticatedError(
                "[auth] the token is missing or wrong; read it from the data folder."
            )
        return _Authorization(scope)


class _Flight(flight.FlightServerBase):
    def __init__(self, location: str, store: StoreServer, tokens: dict[Scope, str]) -> None:
        super().__init__(location, middleware={"authorization": _CheckToken(tokens)})
        self._store = store

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        request = wire.decode(ticket.ticket)
        try:
            schema, batches = self._store.engine.read(
                request["sql"],
                wire.unpack_parameters(request.get("parameters")),
                max_rows=request.get("max_rows"),
                timeout_s=min(float(request.get("timeout_s") or DEFAULT_TIMEOUT_S), MAX_TIMEOUT_S),
            )
        except StoreError as error:
            raise wire.to_flight(error) from error
        return flight.GeneratorStream(schema, _translated(batches))

    def do_put(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor, reader: Any, writer: Any
    ) -> None:
        try:
            _require_write(context)
            request = wire.decode(descriptor.command)
            window = Window.from_dict(request["window"]) if request.get("window") else None
            rows = self._store.engine.write(Table.from_dict(request["table"]), reader.read_all(), window)
        except StoreError as error:
            raise wire.to_flight(error) from error
        writer.write(pa.py_buffer(wire.encode({"rows": rows})))

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> list[flight.Result]:
        try:
            handler, scope = self._store.action(action.type)
            if scope == "write":
                _require_write(context)
            body = action.body.to_pybytes()
            answer = handler(wire.decode(body) if body else {})
        except StoreError as error:
            raise wire.to_flight(error) from error
        return [flight.Result(pa.py_buffer(wire.encode(answer)))]

    def list_actions(self, context: flight.ServerCallContext) -> list[tuple[str, str]]:
        return [(name, f"needs the {scope} token") for name, (_, scope) in sorted(self._store.actions.items())]


class StoreServer:
    """Runs the Flight server in a thread of its own and publishes where it is."""

    def __init__(self, engine: Engine, data_dir: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        _require_loopback(host)
        _require_free(host, port)
        self.engine = engine
        self.actions: dict[str, tuple[Action, Scope]] = {}
        self._data_dir = data_dir
        tokens = endpoints.make_tokens(data_dir)
        self._flight = _Flight(f"grpc://{host}:{port}", self, tokens)
        self.endpoint = Endpoint(host, self._flight.port, os.getpid())
        self._thread = threading.Thread(target=self._flight.serve, name="store", daemon=True)
        self.register("ping", lambda _: {"pid": os.getpid()}, "read")
        self.register("checkpoint", self._checkpoint, "write")
        self.register("ensure", self._ensure, "write")
        self.register("insert_select", self._insert_select, "write")

    def register(self, name: str, handler: Action, scope: Scope) -> None:
        """Offer an action; ``handler`` takes and returns plain JSON values."""
        self.actions[name] = (handler, scope)

    def action(self, name: str) -> tuple[Action, Scope]:
        if name not in self.actions:
            raise StoreError(f"the store has no action {name!r}. It has: {', '.join(sorted(self.actions))}.")
        return self.actions[name]

    def start(self) -> None:
        self._thread.start()
        endpoints.publish(self._data_dir, self.endpoint)

    def stop(self) -> None:
        endpoints.withdraw(self._data_dir)
        self._flight.shutdown()
        self._thread.join(timeout=10)

    def _checkpoint(self, _: dict[str, Any]) -> dict[str, Any]:
        self.engine.checkpoint()
        return {}

    def _ensure(self, body: dict[str, Any]) -> dict[str, Any]:
        self.engine.ensure(*(Table.from_dict(table) for table in body["tables"]))
        return {}

    def _insert_select(self, body: dict[str, Any]) -> dict[str, Any]:
        window = Window.from_dict(body["window"]) if body.get("window") else None
        parameters = wire.unpack_parameters(body.get("parameters"))
        return {"rows": self.engine.insert_select(Table.from_dict(body["table"]), body["sql"], parameters, window)}


def _translated(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except StoreError as error:
        raise wire.to_flight(error) from error


def _require_write(context: flight.ServerCallContext) -> None:
    if context.get_middleware("authorization").scope != "write":
        raise StoreAuthError("this token only reads. Connect with scope='write' to change anything.")


def _require_loopback(host: str) -> None:
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InvalidWriteError(f"the store serves on loopback only, not on {host!r}. Use 127.0.0.1.")


def _require_free(host: str, port: int) -> None:
    """Flight would share a taken port silently (SO_REUSEPORT), so it is tried without that first."""
    if port == 0:
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUseError(
                f"port {port} on {host} is taken. Stop what uses it or choose another with --port."
            ) from error
