"""What travels between a client and the store: requests as JSON, data as Arrow, errors as ``[code] text``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import pyarrow.flight as flight

from orderflow_streaming.store.errors import BY_CODE, StoreAuthError, StoreError, StoreUnavailableError
from orderflow_streaming.store.window import naive_utc

_TIME = "$timestamp"
_CODED = re.compile(r"\[(\w+)\] (.*?)(?:\. Detail: |\. gRPC client debug context: |$)", re.DOTALL)


def encode(request: dict[str, Any]) -> bytes:
    return msgspec.json.encode(request)


def decode(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def pack_parameters(parameters: Mapping[str, Any] | Sequence[Any] | None) -> Any:
    """JSON form of query parameters; times are tagged so that they arrive as times."""
    if parameters is None:
        return None
    if isinstance(parameters, Mapping):
        return {name: _pack(value) for name, value in parameters.items()}
    return [_pack(value) for value in parameters]


def unpack_parameters(packed: Any) -> Any:
    if packed is None:
        return None
    if isinstance(packed, dict):
        return {name: _unpack(value) for name, value in packed.items()}
    return [_unpack(value) for value in packed]


def _pack(value: Any) -> Any:
    if isinstance(value, datetime):
        return {_TIME: naive_utc(value).isoformat()}
    return [_pack(item) for item in value] if isinstance(value, list | tuple) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {_TIME}:
        return datetime.fromisoformat(value[_TIME])
    return [_unpack(item) for item in value] if isinstance(value, list) else value


def to_flight(error: StoreError) -> flight.FlightError:
    """The Flight error that carries ``error`` to the client."""
    text = f"[{error.code}] {error}"
    if isinstance(error, StoreAuthError):
        return flight.FlightUnauthorizedError(text)
    return flight.FlightServerError(text)


def from_flight(error: Exception, address: str) -> StoreError:
    """The store error behind what Flight raised at the client."""
    text = str(error)
    coded = _CODED.search(text)
    if coded and coded[1] in BY_CODE:
        return BY_CODE[coded[1]](coded[2].strip())
    if isinstance(error, flight.FlightUnauthenticatedError | flight.FlightUnauthorizedError):
        return StoreAuthError(f"the store at {address} refused the token.")
    if isinstance(error, flight.FlightUnavailableError | flight.FlightTimedOutError | flight.FlightCancelledError):
        return StoreUnavailableError(f"no store answers at {address}. Start it with: orderflow-stream run")
    return StoreError(f"the store at {address} failed: {text.splitlines()[0] if text else type(error).__name__}")
