"""The SQL that turns the frames of one channel into rows, composed from its declaration.

``incoming_frames`` (frame, received_at, raw) is what comes in, ``known_instruments`` what is known of instruments
(exchange, market_type, venue_symbol, symbol, contract_size, funding_interval_hours). A plan's items have a row per
item with the declared values (``v0``, ``v1``, …), the instrument, and ``reason``: why no row can be made of it, else
NULL. No statement reads a table, so that each is planned once (:mod:`orderflow_streaming.writing.prepared`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from orderflow_streaming.exchanges.protocol import Channel, Exchange, Rows
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column
from orderflow_streaming.writing.derive import DERIVATIONS, LARGEST, SMALLEST

_TRACE = (
    Column("frame", "BIGINT", "number of the frame since the staging tables were cleared"),
    Column("item", "INTEGER", "position in a frame that carries a list, from 0"),
)
_REFERENCE = re.compile(r"\$(/?(?:[A-Za-z_]\w*|\[\d+\])(?:\.[A-Za-z_]\w*|\[\d+\])*)")
_FRAME_LEVEL = "$/"

FRAMES = "incoming_frames"
KNOWN_INSTRUMENTS = "known_instruments"


@dataclass(frozen=True, slots=True)
class Plan:
    """Statements for one channel."""

    direct: tuple[str, str] | None
    """Stream and statement that appends one row per item, for channels whose items make at most one row of one
    stream. ``item`` is NULL in the row of an item that has anything amiss; then the other statements take over."""
    examine: str
    """Selects the items, with the reason of each that is none."""
    items: str
    """The name they are expected under by the statements that follow."""
    stage: tuple[tuple[str, str], ...]
    """Stream and statement that appends to its staging table."""
    unstored: tuple[tuple[str, str], ...]
    """Kind and statement that counts its items, or selects them when inspecting."""


def staged(stream: str) -> str:
    """Name of a stream's staging table."""
    return f"staged_{stream}"


def staged_columns(stream: str) -> tuple[Column, ...]:
    """Columns of a staging table: the trace, then those of the stored table without ``id``."""
    return (*_TRACE, *(column for column in STREAMS[stream].table.columns if column.name != "id"))


@cache
def plan(exchange: Exchange, channel: str, inspect: bool) -> Plan:
    """The statements for ``channel``; raises ValueError for a channel the exchange does not declare."""
    if channel not in exchange.channels:
        raise ValueError(f"{exchange.market.name} has no channel {channel!r}. It has: {', '.join(exchange.channels)}.")
    return _Composer(exchange, exchange.channels[channel], inspect).plan()


class _Composer:
    def __init__(self, exchange: Exchange, channel: Channel, inspect: bool) -> None:
        self.exchange = exchange
        self.channel = channel
        self.inspect = inspect
        self.items = f"items_of_{exchange.market.name}_{re.sub(r'[^a-zA-Z0-9]', '_', channel.name)}"
        self.names = {path: f"v{number}" for number, path in enumerate(channel.values)}
        self.inside = [path for path in channel.values if not path.startswith("/")]
        self.outside = [path for path in channel.values if path.startswith("/")]
        self.text = {path: f"x[{number}]" for number, path in enumerate(self.inside, 1)}
        self.text |= {path: f"y[{number}]" for number, path in enumerate(self.outside, 1)}

    def plan(self) -> Plan:
        stored = [rows for rows in self.channel.rows if rows.kind in STREAMS]
        unstored = [rows for rows in self.channel.rows if rows.kind not in STREAMS]
        return Plan(
            direct=(stored[0].kind, self._stage(stored[0], self._clean(stored[0]))) if len(stored) == 1 else None,
            examine=self._examined(),
            items=self.items,
            stage=tuple((rows.kind, self._stage(rows, self._taken(rows))) for rows in stored),
            unstored=tuple((rows.kind, self._unstored(rows, self._taken(rows))) for rows in unstored),
        )

    def sql(self, expression: str) -> str:
        """``expression`` with each ``$path`` replaced by the column that holds its value."""
        return _REFERENCE.sub(lambda found: self.names[found[1]], expression)

    # -- from frames to items --------------------------------------------------------------------------

    def _examined(self) -> str:
        """The items with ``reason``: NULL for an item that makes a row, else what is wrong with it."""
        values = ", ".join(self.names.values())
        checks = " ".join(
            f"WHEN {_is_there(self.text[path], kind)} AND ({_is_usable(self.names[path], kind)}) IS NOT TRUE "
            f"THEN '{path.removeprefix('/')}: ' || left({self.text[path]}, 40) || ' is not {_described(kind)}'"
            for path, kind in self.channel.values.items()
        )
        problem = f"CASE WHEN x IS NULL THEN coalesce(trouble, 'not JSON') {checks} END"
        items = f"SELECT * EXCLUDE (x, y, trouble), {problem} AS problem FROM ({self._values('x', 'y', 'trouble')})"
        return (
            f"SELECT frame, item, received_at, symbol, listed, size, funding_interval_hours, {values}, "
            f"coalesce(problem, {self._reason()}) AS reason FROM ({self._identified(items)})"
        )

    def _clean(self, rows: Rows) -> str:
        """All items, with ``item`` NULL where anything needed is absent or malformed, without a word about what.

        No filter: the engine would push it down and take the values out of the frame once per condition.
        """
        checks = [
            f"({_is_usable(self.names[path], kind)} OR ({_is_there(self.text[path], kind)}) IS NOT TRUE)"
            for path, kind in self.channel.values.items()
        ]
        checks += ["symbol IS NOT NULL", "size IS NOT NULL"]
        checks += [f"({self.sql(rows.fields[name])}) IS NOT NULL" for name in _required(rows)]
        checks += [f"({self.sql(rows.fields[name])}) >= {SMALLEST}" for name in _positive(rows)]
        checks += [] if rows.where == "true" else [f"({self.sql(rows.where)})"]
        item = f"CASE WHEN {' AND '.join(checks)} THEN item END AS item"
        return f"(SELECT * REPLACE ({item}) FROM ({self._identified(self._values('x', 'y'))}))"

    def _taken(self, rows: Rows) -> str:
        """The examined items that ``rows`` takes."""
        return f"{self.items} WHERE reason IS NULL AND ({self.sql(rows.where)})"

    def _identified(self, items: str) -> str:
        """``items`` with what is known of their instrument: symbol, size and funding interval."""
        market = self.exchange.market
        size = "1.0::DOUBLE" if self.exchange.counts_base else "contract_size"
        listed = "true" if self.inspect else "known_symbol IS NOT NULL"
        return (
            f"SELECT *, coalesce(known_symbol, {self.exchange.neutral_symbol}) AS symbol, {size} AS size, "
            f"{listed} AS listed "
            f"FROM (SELECT *, {self.sql(self.channel.symbol)} AS venue_symbol FROM ({items})) LEFT JOIN ("
            "SELECT venue_symbol AS known_as, symbol AS known_symbol, contract_size, funding_interval_hours "
            f"FROM {KNOWN_INSTRUMENTS} WHERE exchange = '{market.exchange}' AND market_type = '{market.market_type}'"
            ") ON known_as = venue_symbol"
        )

    def _values(self, *carried: str) -> str:
        """Typed values of each item, NULL where a value is absent or not of its type."""
        typed = ", ".join(
            f"{_typed(self.text[path], kind)} AS {self.names[path]}" for path, kind in self.channel.values.items()
        )
        return f"SELECT {', '.join(('frame', 'item', 'received_at', *carried))}, {typed} FROM ({self._items()})"

    def _items(self) -> str:
        """Text of the values of each item (``x``) and of its frame (``y``); ``x`` is NULL where nothing is."""
        of_frame = _texts("raw", [f"$.{path.removeprefix('/')}" for path in self.outside])
        if not self.channel.item.endswith("[*]"):
            of_item = _texts("raw", [_join(f"$.{self.channel.item}", path) for path in self.inside])
            return (
                f"SELECT frame, 0 AS item, received_at, {of_item} AS x, {of_frame} AS y, NULL::VARCHAR AS trouble "
                f"FROM {FRAMES}"
            )
        path, _, inner = self.channel.item.removesuffix("[*]").partition("[*].")
        of_item = _texts("d", [_join("$", path) for path in self.inside])
        is_list = f"json_type(raw, '$.{path}') = 'ARRAY'"
        found = f"json_extract(raw, '$.{path}[*]')"
        alone = f"TRY(CASE WHEN json_type(raw, '$.{path}') = 'OBJECT' THEN json_extract(raw, '$.{path}') END)"
        return (
            f"SELECT frame, item, received_at, {of_item} AS x, y, trouble "
            "FROM (SELECT frame, received_at, y, trouble, unnest(list) AS d, generate_subscripts(list, 1) - 1 AS item "
            "FROM (SELECT frame, received_at, y, "
            "CASE WHEN len(found) > 0 THEN found WHEN is_list THEN []::JSON[] ELSE [alone]::JSON[] END AS list, "
            f"CASE WHEN is_list IS FALSE AND alone IS NULL THEN 'no list at {path}' END AS trouble "
            f"FROM (SELECT frame, received_at, {of_frame} AS y, found, "
            f"CASE WHEN len(found) = 0 THEN {alone} END AS alone, "
            f"CASE WHEN len(found) > 0 THEN true WHEN found IS NOT NULL THEN coalesce({is_list}, false) END AS is_list "
            f"FROM (SELECT *, TRY({_inside(found, inner) if inner else found}) AS found FROM {FRAMES}))))"
        )

    def _reason(self) -> str:
        told_by_url = _FRAME_LEVEL in self.channel.symbol
        checks = [] if self.inspect and told_by_url else ["WHEN symbol IS NULL THEN 'the symbol is missing'"]
        for rows in self.channel.rows:
            if _scales(rows) and not (self.exchange.counts_base or self.inspect):
                taken = self._taken_by(rows)
                checks.append(f"WHEN {taken}size IS NULL THEN 'no contract size is known for ' || venue_symbol")
        for rows in self.channel.rows:
            checks += self._missing(rows)
        taken = " OR ".join(f"({self.sql(rows.where)})" for rows in self.channel.rows)
        checks.append(f"WHEN ({taken}) IS NOT TRUE THEN 'no row is declared for such a message'")
        return f"CASE {' '.join(checks)} END"

    def _missing(self, rows: Rows) -> Iterator[str]:
        taken = self._taken_by(rows)
        for name in _required(rows):
            expression = rows.fields[name]
            told_outside = _FRAME_LEVEL in expression or "received_at" in expression
            if not (self.inspect and told_outside):
                yield f"WHEN {taken}({self.sql(expression)}) IS NULL THEN '{name} is missing'"
        for name in _positive(rows):
            yield f"WHEN {taken}({self.sql(rows.fields[name])}) < {SMALLEST} THEN '{name} is not above zero'"

    def _taken_by(self, rows: Rows) -> str:
        """The start of a condition on the items that ``rows`` takes."""
        return "" if rows.where == "true" else f"coalesce({self.sql(rows.where)}, true) AND "

    # -- from items to rows ----------------------------------------------------------------------------

    def _stage(self, rows: Rows, items: str) -> str:
        """Append the rows of ``items``, what follows a FROM."""
        market = self.exchange.market
        derivation = DERIVATIONS[rows.kind]
        unknown = set(rows.fields) - set(derivation.fields)
        if unknown:
            raise ValueError(f"channel {self.channel.name!r}: {rows.kind} has no base fields {sorted(unknown)}")
        scale, unscale = ("", "") if self.exchange.counts_base else (" * size", " / size")
        given = {name: self.sql(expression) for name, expression in rows.fields.items()}
        types = {column.name: column.type for column in staged_columns(rows.kind)} | {
            "bids": "DOUBLE[][]",
            "asks": "DOUBLE[][]",
        }
        base = [f'({given.get(name, "NULL")})::{types.get(name, "DOUBLE")} AS "{name}"' for name in derivation.fields]
        source = (
            f"SELECT frame, item, received_at, symbol, size, funding_interval_hours, {', '.join(base)} FROM {items}"
        )
        made = {*derivation.fields, "frame", "item", "symbol", "received_at"}
        for layer in derivation.layers:
            columns = {name: sql.replace("{size}", scale).replace("{per_size}", unscale) for name, sql in layer.items()}
            source = _with_columns(source, columns, made)
            made |= columns.keys()
        fixed = {"exchange": f"'{market.exchange}'", "market_type": f"'{market.market_type}'"}
        selected = [
            fixed.get(column.name, f'"{column.name}"' if column.name in made else "NULL")
            for column in staged_columns(rows.kind)
        ]
        return f"INSERT INTO {staged(rows.kind)} SELECT {', '.join(selected)} FROM ({source})"

    def _unstored(self, rows: Rows, items: str) -> str:
        source = f"FROM {items}"
        if not self.inspect:
            return f"SELECT count(*) {source}"
        fields = ", ".join(f'{self.sql(expression)} AS "{name}"' for name, expression in rows.fields.items())
        return f"SELECT frame, item, symbol, {fields} {source}"


_KINDS = {
    "BIGINT": "an integer",
    "INTEGER": "an integer of 32 bits",
    "DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "VARCHAR": "text",
    "LEVELS": "a list of levels with price and quantity",
    "JSON": "JSON",
}


def _described(kind: str) -> str:
    return _KINDS[kind.partition(" ")[0]]


def _typed(text: str, kind: str) -> str:
    if kind.startswith("LEVELS"):
        return _levels(text, kind.split()[1:])
    if kind == "VARCHAR":
        return f"nullif({text}, '')"
    return text if kind == "JSON" else f"TRY_CAST({text} AS {kind})"


def _levels(text: str, keys: list[str]) -> str:
    """SQL of a side of a book as lists of numbers; ``keys`` name price and quantity where a level is an object."""
    if not keys:
        return f"TRY(from_json({text}, '[[\"DOUBLE\"]]'))"
    form = ", ".join(f'"{key}": "DOUBLE"' for key in keys)
    level = ", ".join(f'l."{key}"' for key in keys)
    return f"TRY(list_transform(from_json({text}, '[{{{form}}}]'), lambda l: [{level}]))"


def _is_usable(value: str, kind: str) -> str:
    """SQL: a value is there, of its type and of a magnitude that can be computed with."""
    match kind.partition(" ")[0]:
        case "DOUBLE":
            return f"{value} BETWEEN -{LARGEST} AND {LARGEST}"
        case "LEVELS":
            numbers = f"flatten({value})"
            return (
                f"len({numbers}) >= 2 * len({value}) AND list_count({numbers}) = len({numbers}) "
                f"AND coalesce(list_sum({numbers}), 0) BETWEEN -{LARGEST} AND {LARGEST}"
            )
        case "VARCHAR":
            return f"NOT (starts_with({value}, '{{') OR starts_with({value}, '['))"
        case _:
            return f"{value} IS NOT NULL"


def _is_there(text: str, kind: str) -> str:
    """SQL: a value was sent; an empty text is none, except for levels."""
    return f"{text} IS NOT NULL" if kind.startswith("LEVELS") else f"{text} <> ''"


def _texts(source: str, paths: list[str]) -> str:
    if not paths:
        return "NULL::VARCHAR[]"
    return f"TRY(json_extract_string({source}, [{', '.join(repr(path) for path in paths)}]))"


def _inside(outer: str, path: str) -> str:
    """The items of the lists at ``path`` inside a list of objects, each with what the object says beside them; an
    object without a list stands for itself."""
    inner = f"CASE WHEN json_type(o, '$.{path}') = 'ARRAY' THEN json_extract(o, '$.{path}[*]') ELSE ['{{}}'::JSON] END"
    return f"flatten(list_transform({outer}, lambda o: list_transform({inner}, lambda i: json_merge_patch(o, i))))"


def _join(start: str, path: str) -> str:
    return start + path if path.startswith("[") else f"{start}.{path}"


def _with_columns(source: str, columns: Mapping[str, str], present: set[str]) -> str:
    """``source`` with ``columns`` added, or put in the place of those that are ``present`` already."""
    added = "".join(f', {sql} AS "{name}"' for name, sql in columns.items() if name not in present)
    replaced = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items() if name in present)
    kept = f"* REPLACE ({replaced})" if replaced else "*"
    return f"SELECT {kept}{added} FROM ({source})"


def _required(rows: Rows) -> tuple[str, ...]:
    derivation = DERIVATIONS.get(rows.kind)
    return rows.required + (derivation.required if derivation else ())


def _positive(rows: Rows) -> tuple[str, ...]:
    derivation = DERIVATIONS.get(rows.kind)
    return derivation.positive if derivation else ()


def _scales(rows: Rows) -> bool:
    derivation = DERIVATIONS.get(rows.kind)
    return derivation is not None and any("{size}" in sql for layer in derivation.layers for sql in layer.values())
