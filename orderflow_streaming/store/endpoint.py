"""Where a running store is found, and the tokens that open it.

Inside the data folder: ``store/endpoint.json`` names host, port and process while a store serves;
``store/read.token`` and ``store/write.token`` are made at the first start with mode 0600.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec

from orderflow_streaming.store.errors import StoreAuthError

Scope = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int
    pid: int

    @property
    def uri(self) -> str:
        return f"grpc://{self.host}:{self.port}"


def database_path(data_dir: Path) -> Path:
    return data_dir / "orderflow.duckdb"


def _folder(data_dir: Path) -> Path:
    return data_dir / "store"


def publish(data_dir: Path, endpoint: Endpoint) -> None:
    path = _folder(data_dir) / "endpoint.json"
    staged = path.with_suffix(".tmp")
    staged.write_bytes(msgspec.json.encode(asdict(endpoint)))
    staged.replace(path)


def withdraw(data_dir: Path) -> None:
    (_folder(data_dir) / "endpoint.json").unlink(missing_ok=True)


def find(data_dir: Path) -> Endpoint | None:
    """The endpoint of a store whose process lives, else None."""
    try:
        endpoint = msgspec.json.decode((_folder(data_dir) / "endpoint.json").read_bytes(), type=Endpoint)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return endpoint if _alive(endpoint.pid) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def make_tokens(data_dir: Path) -> dict[Scope, str]:
    """Both tokens, made where they do not exist yet."""
    folder = _folder(data_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tokens: dict[Scope, str] = {}
    for scope in ("read", "write"):
        path = folder / f"{scope}.token"
        if not path.exists():
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32))
        tokens[scope] = path.read_text().strip()
    return tokens


def read_token(data_dir: Path, scope: Scope) -> str:
    path = _folder(data_dir) / f"{scope}.token"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise StoreAuthError(f"the {scope} token cannot be read: {error.strerror or error} ({path.name})") from error
