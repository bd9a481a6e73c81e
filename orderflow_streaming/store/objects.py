"""An object store as a place for sealed files. Sealed files do not change, so what is known of them is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec import AbstractFileSystem

from orderflow_streaming.store.place import Place


class ObjectStore(Place):
    """A prefix of a bucket, through fsspec: ``s3://``, ``gs://``, ``abfs://``, ``memory://`` and so on."""

    def __init__(self, url: str) -> None:
        self._files, self._prefix = fsspec.core.url_to_fs(url)
        self.root = url.rstrip("/")
        self.filesystem = Unchanging(self._files, self._prefix)

    @property
    def prefixes(self) -> list[str]:
        return sorted({f"{self.root}/", f"{self.filesystem.unstrip_protocol(self._prefix)}/"})

    def publish(self, staged: Path, path: str) -> None:
        target = self._at(path)
        with _reached():
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(staged), target)
        staged.unlink()
        self.filesystem.forget(target)

    def write(self, path: str, content: bytes) -> None:
        target = self._at(path)
        with _reached():
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(target, content)

    def open(self, path: str) -> BinaryIO:
        with _reached():
            self._files.invalidate_cache()
            return self._files.open(self._at(path), "rb")

    def names(self, folder: str) -> dict[str, Any]:
        with suppress(FileNotFoundError), _reached():
            self._files.invalidate_cache()
            entries = self._files.ls(self._at(folder), detail=True)
            return {
                entry["name"].rpartition("/")[2]: (entry["size"], self._files.ukey(entry["name"]))
                for entry in entries
                if entry["type"] == "file"
            }
        return {}

    def delete(self, path: str) -> None:
        target = self._at(path)
        with suppress(FileNotFoundError), _reached():
            self._files.rm_file(target)
        self.filesystem.forget(target)

    def _at(self, path: str) -> str:
        return f"{self._prefix}/{path}"


@contextmanager
def _reached() -> Iterator[None]:
    """Every library has errors of its own for a store that does not answer; here they are OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


class Unchanging(AbstractFileSystem):
    """What DuckDB reads sealed files through: it asks for each file's facts once, and leaves the prefix to nobody.

    Without it every query would ask the object store about files it does not read.
    """

    cachable = False

    def __init__(self, files: AbstractFileSystem, prefix: str) -> None:
        super().__init__()
        self.protocol = files.protocol
        self._files, self._prefix = files, prefix
        self._facts: dict[str, dict[str, Any]] = {}

    def _strip_protocol(self, path: str) -> str:
        return self._files._strip_protocol(path)

    def unstrip_protocol(self, name: str) -> str:
        return self._files.unstrip_protocol(name)

    def forget(self, path: str) -> None:
        self._facts.pop(path, None)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._own(path)
        if path not in self._facts:
            self._facts[path] = self._files.info(path)
        return self._facts[path]

    def exists(self, path: str, **_: Any) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        return self.exists(path) and self.info(path)["type"] == "file"

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: sealed files are named one by one."""
        return [self._own(path)] if self.exists(path) else []

    def modified(self, path: str) -> Any:
        return self._files.modified(self._own(path))

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise PermissionError("sealed files are only read")
        return self._files.open(self._own(path), mode, **options)

    def _own(self, path: str) -> str:
        stripped = self._strip_protocol(path)
        if not stripped.startswith(f"{self._prefix}/") or ".." in stripped.split("/"):
            raise PermissionError(f"{path} is not in the archive")
        return stripped
