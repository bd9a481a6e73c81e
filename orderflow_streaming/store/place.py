"""Where sealed files lie: a folder of this machine, or an object store reached through fsspec.

Paths are relative to the root and use ``/``. A file appears under its name at once and whole, and is not changed
afterwards; only the lists of the nodes are replaced.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from orderflow_streaming.store.errors import StoreUnavailableError

_CHUNK = 1 << 20
_PATTERN = frozenset("*?[]|'\"")


class Place(ABC):
    """The root of an archive. Every method raises OSError where the place cannot be reached."""

    root: str
    """Absolute path or URL, without a slash at the end."""
    filesystem: Any = None
    """What DuckDB reads through, where it is not its own file system."""

    @property
    @abstractmethod
    def prefixes(self) -> list[str]:
        """What DuckDB is allowed to open, and nothing else."""

    @abstractmethod
    def publish(self, staged: Path, path: str) -> None:
        """Move a complete local file to ``path``."""

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Write a small file, or replace it."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Raises FileNotFoundError."""

    @abstractmethod
    def names(self, folder: str) -> dict[str, Any]:
        """Files of a folder, each with a mark that changes when it is replaced; empty without the folder."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where it is not there."""

    def full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def read(self, path: str) -> bytes:
        with self.open(path) as file:
            return file.read()

    def digest(self, path: str) -> tuple[str, int]:
        """SHA-256 and size of a file as it can be read now."""
        with self.open(path) as file:
            return digest(file)


class Folder(Place):
    """A folder of this machine or of a file share."""

    def __init__(self, root: Path) -> None:
        self._path = root.resolve()
        self.root = str(self._path)

    @property
    def prefixes(self) -> list[str]:
        return [f"{self.root}/"]

    def publish(self, staged: Path, path: str) -> None:
        target = self._path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if staged.stat().st_dev != target.parent.stat().st_dev:
            beside = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(staged, beside)
            staged.unlink()
            staged = beside
        _sync(staged)
        staged.replace(target)
        _sync(target.parent)

    def write(self, path: str, content: bytes) -> None:
        target = self._path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{target.name}.tmp")
        staged.write_bytes(content)
        self.publish(staged, path)

    def open(self, path: str) -> BinaryIO:
        return (self._path / path).open("rb")

    def names(self, folder: str) -> dict[str, Any]:
        with suppress(FileNotFoundError), os.scandir(self._path / folder) as entries:
            stats = {entry.name: entry.stat() for entry in entries if not entry.name.startswith(".")}
            return {name: (stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats.items()}
        return {}

    def delete(self, path: str) -> None:
        (self._path / path).unlink(missing_ok=True)


def address(value: str) -> str:
    """``value`` where it can be the root of an archive; raises ValueError."""
    if not value.strip("/") or _PATTERN & set(value):
        raise ValueError(f"{value!r} cannot be the root of an archive. Use a path or a URL without * ? [ ] | ' \"")
    return value.rstrip("/")


def place(root: str | Path) -> Place:
    """The place of a path or a URL such as ``s3://bucket/orderflow``; credentials come from the environment.

    Raises ValueError for what cannot be a root and StoreUnavailableError where a package is missing.
    """
    text = address(str(root))
    if "://" not in text:
        return Folder(Path(text).expanduser())
    try:
        from orderflow_streaming.store.objects import ObjectStore

        return ObjectStore(text)
    except ImportError as error:
        raise StoreUnavailableError(
            f"the archive {text} needs a package that is not installed: {error}. Install fsspec and the one named."
        ) from error


def digest(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 and size of what is left of an open file."""
    found, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        found.update(chunk)
        size += len(chunk)
    return found.hexdigest(), size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
