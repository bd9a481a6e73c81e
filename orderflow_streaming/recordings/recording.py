"""Recorded exchange messages, read back one by one with where they stood.

Forms: ``.json`` is one message, possibly over many lines; ``.jsonl`` one message a line; ``.tsv`` one event a line,
``receive_time_ns <TAB> kind <TAB> raw`` with kind ``ws`` (from the server), ``tx`` (sent by the client),
``rest <url>`` (a REST answer) or ``open <url>`` (a connection opened). Each may be compressed (``.gz``). Anything
else, standard input above all, is told by its first line.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

STANDARD_INPUT = "-"
_EVENT = re.compile(rb"(-?\d+)\t(ws|tx|rest|open)(?: ([^\t]*))?\t")


class RecordingError(Exception):
    """A file that cannot be read, or not to its end; the message names it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the server sent it, or ``problem`` with the line that holds none."""

    line: int
    raw: bytes
    url: str = ""
    """Where a REST answer came from."""
    received_at: int | None = None
    """Receive time in microseconds since the epoch, UTC; None where the recording does not tell."""
    problem: str = ""


def messages(name: str) -> Iterator[Message]:
    """The server's messages of a file, in order; ``-`` is standard input. Raises :class:`RecordingError`."""
    suffixes = [suffix for suffix in Path(name).suffixes if suffix != ".gz"]
    try:
        with _opened(name) as file:
            first = file.readline()
            match suffixes[-1:] if name != STANDARD_INPUT else []:
                case [".tsv"]:
                    events = True
                case [".json"]:
                    yield Message(1, first + file.read())
                    return
                case [".jsonl"]:
                    events = False
                case _:
                    events = _EVENT.match(first) is not None
                    if not events and not _is_json(first):
                        yield Message(1, first + file.read())
                        return
            for number, line in enumerate(_lines(first, file), 1):
                text = line.rstrip(b"\r\n")
                if text.strip():
                    yield from _event(number, text) if events else (Message(number, text),)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RecordingError(f"{name} cannot be read: {reason}") from error


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
    elif name.endswith(".gz"):
        with gzip.open(name, "rb") as file:
            yield io.BufferedReader(file)
    else:
        with open(name, "rb") as plain:
            yield plain


def _lines(first: bytes, file: IO[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from file


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _event(number: int, line: bytes) -> Iterator[Message]:
    """The message of one line of an event file, if the server sent one."""
    found = _EVENT.match(line)
    if found is None:
        problem = "not a line of receive time in ns, kind (ws, tx, rest or open) and message, parted by tabs"
        yield Message(number, line, problem=problem)
        return
    time, kind, url = found.groups()
    if kind in (b"ws", b"rest"):
        yield Message(number, line[found.end() :], (url or b"").decode("utf-8", "replace"), int(time) // 1000)
