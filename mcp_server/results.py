"""The one shape of an answer: columns and rows, equal columns hoisted, what they are and where they come from.

Numbers keep what they mean: ten significant digits for prices, quantities and values, six for everything else;
whole numbers are exact. Times are ISO 8601 in UTC with a ``Z``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from orderflow_streaming.tables import Column

MOST_CHARACTERS = 40_000
_SAID = {"quote": "quote ccy", "base": "base coin"}
EXACT_DIGITS = 10
_ROOM_FOR_THE_REST = 2_500
_EXACT_UNITS = ("quote", "base", "contracts", "usd")

Cell = Any


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is sent beside the figures it shows."""

    data: bytes
    mime: str = "image/png"


@dataclass(frozen=True, slots=True)
class Link:
    """A file that holds more than an answer may; ``uri`` is where it is read, such as ``flow://export/{file}``."""

    uri: str
    name: str
    mime: str
    size: int


@dataclass(slots=True)
class Answer:
    """``values`` is one list per column. ``time`` names the column that says how recent the rows are.

    ``cursor`` makes, from the index of the last row that is sent, the place where the next page begins.
    """

    columns: Sequence[Column]
    values: list[list[Cell]]
    source: str
    time: str | None = None
    truncated: bool = False
    cursor: Callable[[int], str] | None = None
    hint: str | None = None
    moment: datetime | None = None
    """The time of the rows where no column says it."""
    dated: bool = True
    """Whether the age of the newest row says how fresh the source is; not so where the caller chose the end."""
    hoisted: bool = True
    """Whether columns equal in all rows are said once."""
    meta: dict[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @classmethod
    def of(cls, rows: pa.Table, declared: Mapping[str, Column] | None = None, *, source: str, **rest: Any) -> Answer:
        """The rows of a query; ``declared`` gives the units, a column it lacks has none."""
        known = declared or {}
        columns = [known.get(name) or undeclared(name) for name in rows.column_names]
        return cls(columns, [column.to_pylist() for column in rows.columns], source, **rest)

    @classmethod
    def rows(cls, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, source: str, **rest: Any) -> Answer:
        values: list[list[Cell]] = [[] for _ in columns]
        for row in rows:
            for column, cell in zip(values, row, strict=True):
                column.append(cell)
        return cls(columns, values, source, **rest)

    def __len__(self) -> int:
        return len(self.values[0]) if self.values else 0


def undeclared(name: str) -> Column:
    """A column that is no stored one: full digits, no unit."""
    return Column(name, "VARCHAR", unit="base")


def payload(answer: Answer, started: float, response_format: str) -> dict[str, Any]:
    """The answer as plain JSON values, within the limit of characters. ``started`` is a monotonic time."""
    cells = [_column(column, values) for column, values in zip(answer.columns, answer.values, strict=True)]
    rows = [list(row) for row in zip(*cells, strict=True)]
    constants = _constants(answer.columns, cells) if answer.hoisted and len(rows) > 1 else {}
    kept = [index for index, column in enumerate(answer.columns) if column.name not in constants]
    rows = [[row[index] for index in kept] for row in rows] if constants else rows
    fitting = _fitting(rows)
    truncated = answer.truncated or fitting < len(rows)
    newest = answer.moment or _newest(answer)
    meta = {
        "source": answer.source,
        "as_of": _text(newest) if newest else None,
        "staleness_s": round((datetime.now(UTC).replace(tzinfo=None) - newest).total_seconds(), 1)
        if newest and answer.dated
        else None,
        "rows": fitting,
        "truncated": truncated,
        "next_cursor": answer.cursor(fitting - 1) if truncated and answer.cursor and fitting else None,
        "elapsed_ms": round((time.monotonic() - started) * 1_000, 1),
        "response_format": response_format,
        **answer.meta,
    }
    units = {
        column.name: _SAID.get(column.unit, column.unit)
        for column in answer.columns
        if column.unit and column.doc and column.unit != "UTC"
    }
    result: dict[str, Any] = {"columns": [answer.columns[index].name for index in kept], "rows": rows[:fitting]}
    if constants:
        result["constants"] = constants
    if units:
        result["units"] = units
    if answer.links:
        result["links"] = [asdict(link) for link in answer.links]
    result["meta"] = meta
    hint = answer.hint or (_page_hint(meta) if truncated else None)
    return result | ({"hint": hint} if hint else {})


def encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _page_hint(meta: dict[str, Any]) -> str:
    more = "Call again with cursor=next_cursor" if meta["next_cursor"] else "Ask for a narrower window or fewer columns"
    return f"More rows exist than were sent. {more}, or aggregate with sql_query."


def _constants(columns: Sequence[Column], cells: list[list[Cell]]) -> dict[str, Cell]:
    return {
        column.name: values[0]
        for column, values in zip(columns, cells, strict=True)
        if all(value == values[0] for value in values)
    }


def _fitting(rows: list[list[Cell]]) -> int:
    """How many of the rows fit into the characters an answer may have."""
    left = MOST_CHARACTERS - _ROOM_FOR_THE_REST
    for index, row in enumerate(rows):
        left -= len(msgspec.json.encode(row)) + 1
        if left < 0:
            return index
    return len(rows)


def _newest(answer: Answer) -> datetime | None:
    for column, values in zip(answer.columns, answer.values, strict=True):
        if column.name == answer.time:
            return max((value for value in values if value is not None), default=None)
    return None


def _column(column: Column, values: list[Cell]) -> list[Cell]:
    digits = EXACT_DIGITS if column.unit.startswith(_EXACT_UNITS) else 6
    if column.type == "JSON":
        return [msgspec.json.decode(value) if isinstance(value, str) else value for value in values]
    return [_plain(value, digits) for value in values]


def rounded(value: float | None, digits: int = EXACT_DIGITS) -> float | None:
    """``value`` with so many significant digits."""
    return None if value is None else float(f"{value:.{digits}g}")


def _plain(value: Cell, digits: int) -> Cell:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return rounded(value, digits) if math.isfinite(value) else str(value)
        case datetime():
            return _text(value)
        case Decimal():
            return _plain(float(value), digits)
        case bytes():
            return value.decode(errors="replace")[:1_000]
        case list() | tuple():
            return [_plain(item, digits) for item in value]
        case dict():
            return {str(key): _plain(item, digits) for key, item in value.items()}
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _text(value: datetime) -> str:
    plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    text = plain.isoformat()
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}Z"
