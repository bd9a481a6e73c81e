"""``orderflow-stream normalize``: what the rows of recorded messages would be."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import click
import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import INTERVAL_US
from orderflow_streaming.exchanges.protocol import Exchange, UnsupportedFrameError
from orderflow_streaming.exit_codes import CONFIGURATION, FAILED, CommandError
from orderflow_streaming.markets import UnknownNameError, table_name
from orderflow_streaming.recordings import told
from orderflow_streaming.recordings.recording import Message, RecordingError, messages
from orderflow_streaming.recordings.states import Missed, States
from orderflow_streaming.recordings.told import ToldInstruments
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged

CHUNK_MESSAGES = 20_000
CHUNK_BYTES = 32 << 20
_PROGRESS_AFTER_S = 2.0


@click.command("normalize")
@click.option("--market", required=True, metavar="MARKET", help="The market the messages come from.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def command(market: str, files: tuple[str, ...]) -> None:
    """Print the rows that recorded messages make, one JSON object a line.

    FILE is .json (one message), .jsonl (one a line), .tsv (receive time in ns, kind, message), any of them .gz, or
    - for standard input. A message that cannot be parsed costs one line on stderr and exit code 1 at the end;
    acknowledgements and the like print nothing. Changes of a book or a ticker are merged, from its snapshot on; where
    one does not follow the one before, a line of kind "gap" says so. Quantities in base coin are known from the
    instruments on, where a file has them.
    """
    try:
        protocol = exchange(market)
    except UnknownNameError as error:
        raise CommandError(str(error), CONFIGURATION) from error
    for name in files:
        _require_readable(name)
    printer = _Printer(protocol, sys.stdout.buffer)
    with _Progress() as progress:
        for name in files:
            try:
                printer.begin()
                for chunk in _chunks(name):
                    printer.print(name, chunk)
                    progress.advance(name, len(chunk))
                printer.end(name)
            except RecordingError as error:
                raise CommandError(str(error), CONFIGURATION) from error
    if printer.rejected:
        sys.exit(FAILED)


def _require_readable(name: str) -> None:
    try:
        next(messages(name), None) if name != "-" else None
    except RecordingError as error:
        raise CommandError(str(error), CONFIGURATION) from error


def _chunks(name: str) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    size = 0
    for message in messages(name):
        chunk.append(message)
        size += len(message.raw)
        if len(chunk) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


_Line = tuple[int, int, bytes]
"""Position of the message in its chunk, item, what is printed."""


@dataclass(slots=True)
class _Pending:
    """Frames of one channel and, for each, the position of its message in the chunk."""

    frames: list[bytes] = field(default_factory=list)
    received_at: list[int | None] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def add(self, frame: bytes, received_at: int | None, position: int) -> None:
        self.frames.append(frame)
        self.received_at.append(received_at)
        self.positions.append(position)


class _Printer:
    """Normalizes chunks of messages and prints rows in the order of the messages."""

    def __init__(self, protocol: Exchange, output: BinaryIO) -> None:
        self.rejected = 0
        self._protocol = protocol
        self._output = output
        self._connection = duckdb.connect(config={"threads": 1})
        self._told = ToldInstruments(self._connection, protocol)
        self._normalizer = Normalizer(self._connection, told.TABLE, inspect=True)
        self._states = States(protocol)

    def begin(self) -> None:
        """What comes next is another recording."""
        self._states = States(self._protocol)

    def end(self, name: str) -> None:
        """Print the states that were held back."""
        held = [Message(0, b"")]
        pending: dict[str, _Pending] = {}
        for channel, received_us, frame in self._states.overdue():
            pending.setdefault(channel, _Pending()).add(frame, received_us, 0)
        self._print(name, held, pending, [], [])

    def print(self, name: str, chunk: list[Message]) -> None:
        problems: list[tuple[int, str]] = []
        lines: list[_Line] = []
        self._print(name, chunk, self._pending(name, chunk, problems, lines), problems, lines)

    def _print(
        self,
        name: str,
        chunk: list[Message],
        found: dict[str, _Pending],
        problems: list[tuple[int, str]],
        lines: list[_Line],
    ) -> None:
        self._normalizer.clear()
        owners: list[int] = []
        for channel in sorted(found, key=lambda name: told.tells_instruments(self._protocol, name), reverse=True):
            pending = found[channel]
            outcome = self._normalizer.normalize(self._protocol, channel, pending.frames, pending.received_at)
            owners += pending.positions
            in_list = self._protocol.channels[channel].item.endswith("[*]")
            for rejected in outcome.rejected:
                place = f"item {rejected.item}: " if in_list else ""
                problems.append((pending.positions[rejected.frame], place + rejected.reason))
            for unstored in outcome.unstored:
                self._told.learn(unstored)
                lines += _known(unstored.kind, unstored.rows, owners)
        for stream in STREAMS:
            lines += self._stored(stream, owners)
        lines.sort(key=lambda line: line[:2])
        self._output.write(b"".join(line for *_, line in lines))
        for position, reason in sorted(problems):
            self.rejected += 1
            click.echo(f"{name}:{chunk[position].line}: {reason}", err=True)

    def _pending(
        self, name: str, chunk: list[Message], problems: list[tuple[int, str]], lines: list[_Line]
    ) -> dict[str, _Pending]:
        found: dict[str, _Pending] = {}
        for position, message in enumerate(chunk):
            if message.problem:
                problems.append((position, message.problem))
                continue
            try:
                classified = self._protocol.classify(message.raw, message.url)
            except UnsupportedFrameError as error:
                click.echo(f"{name}:{message.line}: not read: {error}", err=True)
                continue
            except ValueError as error:
                problems.append((position, str(error)))
                continue
            for channel, frame in classified:
                found.setdefault(channel, _Pending()).add(frame, message.received_at, position)
                received_us = position * INTERVAL_US if message.received_at is None else message.received_at
                match self._states.absorb(channel, frame, received_us):
                    case Missed(topic=topic, reason=reason):
                        row = {"channel": channel, "topic": topic, "reason": reason}
                        lines.append((position, -1, _line(None, "gap", row)))
                    case (merged, state):
                        found.setdefault(merged, _Pending()).add(state, message.received_at, position)
        return found

    def _stored(self, stream: str, owners: list[int]) -> Iterator[_Line]:
        shown = [column.name for column in STREAMS[stream].columns if column.name != "id"]
        names = ", ".join(f'"{name}"' for name in ("frame", "item", "symbol", *shown))
        rows = self._connection.sql(f"SELECT {names} FROM {staged(stream)}").to_arrow_table()
        for row in _plain(rows):
            frame, item, symbol = row.pop("frame"), row.pop("item"), row.pop("symbol")
            table = table_name(symbol, self._protocol.market.name, stream) if symbol else None
            yield owners[frame], item, _line(table, stream, row)


def _known(kind: str, rows: pa.Table, owners: list[int]) -> Iterator[_Line]:
    for row in _plain(rows):
        frame, item = row.pop("frame"), row.pop("item")
        yield owners[frame], item, _line(None, kind, row)


def _plain(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON values; times as ISO 8601 in UTC with microseconds."""
    for index, column in enumerate(rows.schema):
        if pa.types.is_timestamp(column.type):
            text = pc.strftime(rows.column(index), format="%Y-%m-%dT%H:%M:%SZ")
            rows = rows.set_column(index, column.name, text)
    return rows.to_pylist()


def _line(table: str | None, kind: str, row: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"table": table, "kind": kind, "row": row}) + b"\n"


class _Progress:
    """A line on stderr for long inputs, where a person is watching."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._done = 0
        self._status: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def advance(self, name: str, count: int) -> None:
        self._done += count
        if not sys.stderr.isatty() or time.monotonic() - self._started < _PROGRESS_AFTER_S:
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status("")
            self._status.start()
        rate = self._done / (time.monotonic() - self._started)
        self._status.update(f"{name}: {self._done:,} messages, {rate:,.0f} a second")
