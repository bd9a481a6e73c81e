"""Files of rows in the export folder: made there under a name without a path, never replaced, read by address."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
from pyarrow import csv, parquet

from mcp_server.errors import ToolError
from mcp_server.results import Link

FileFormat = Literal["csv", "parquet"]
MIME: dict[str, str] = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
ADDRESS = "flow://export/"
MOST_FILES = 200
MOST_READ = 8_000_000
"""Bytes of a file that is read by address; larger ones are taken from the folder."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def save(folder: Path, rows: pa.Table, stem: str, format: FileFormat, name: str | None = None) -> Link:
    """Write ``rows`` to a new file of ``folder``; without a ``name`` it is ``stem`` and the time.

    Raises :class:`ToolError` for a name with a path, one that is taken, and a folder that is full.
    """
    file = _checked(name, format) if name else f"{stem}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.{format}"
    _folder(folder)
    path = folder / file
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise ToolError("exists", f"There is a file {file!r} already.", "Choose another file_name.") from None
    try:
        with os.fdopen(descriptor, "wb") as sink:
            _write(rows, sink, format)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Link(f"{ADDRESS}{file}", file, MIME[format], path.stat().st_size)


def read(folder: Path, uri: str) -> tuple[bytes, str]:
    """Content and MIME type of the file at ``uri``. Raises :class:`ToolError` where there is none."""
    name = uri.removeprefix(ADDRESS)
    kind = MIME.get(name.rpartition(".")[2])
    path = folder / name
    if not _NAME.fullmatch(name) or kind is None or path.is_symlink() or not path.is_file():
        raise ToolError("unknown_resource", f"There is no file {name[:80]!r}.", "Read an address that an export gave.")
    if path.stat().st_size > MOST_READ:
        raise ToolError(
            "too_large", f"{name} is larger than {MOST_READ:,} bytes.", "Take it from the exports folder of the data."
        )
    return path.read_bytes(), kind


def _checked(name: str, format: FileFormat) -> str:
    file = name if name.endswith(f".{format}") else f"{name}.{format}"
    if not _NAME.fullmatch(file):
        raise ToolError(
            "argument",
            f"file_name: {name[:80]!r} is not a plain file name.",
            "Letters, digits, '.', '_' and '-' only, without a path: files go to the exports folder of the data.",
        )
    return file


def _folder(folder: Path) -> None:
    if folder.is_symlink():
        raise ToolError("export_folder", "The exports folder is a link.", "Make it a folder of the data folder.")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        held = sum(1 for _ in folder.iterdir())
    except OSError:
        raise ToolError(
            "export_folder", "The exports folder cannot be made.", "Start the server where the data folder is writable."
        ) from None
    if held >= MOST_FILES:
        raise ToolError("full", f"The exports folder holds {held} files.", f"Remove some: at most {MOST_FILES}.")


def _write(rows: pa.Table, sink: BinaryIO, format: FileFormat) -> None:
    if format == "csv":
        csv.write_csv(rows, sink)
    else:
        parquet.write_table(rows, sink)
