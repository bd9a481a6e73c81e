"""The SQL that turns the frames of one channel into rows, composed from its declaration.

``incoming_frames`` (frame, received_at, raw) is what comes in. ``incoming_items`` has a row per item with the
declared values (``v0``, ``v1``, …), the instrument, and ``reason``: why no row can be made of it, else NULL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from orderflow_streaming.derive import DERIVATIONS, LARGEST, SMALLEST
from orderflow_streaming.exchanges.protocol import Channel, Exchange, Rows
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column

_TRACE = (
    Column("frame", "BIGINT", "number of the frame since the staging tables were cleared"),
    Column("item", "INTEGER", "position in a frame that carries a list, from 0"),
)
_REFERENCE = re.compile(r"\$(/?(?:[A-Za-z_]\w*|\[\d+\])(?:\.[A-Za-z_]\w*|\[\d+\])*)")
_FRAME_LEVEL = "$/"


@dataclass(frozen=True, slots=True)
class Plan:
    """Statements for one channel, in the order they run."""

    parse: str
    stage: tuple[tuple[str, str], ...]
    """Stream and statement that appends to its staging table."""
    unstored: tuple[tuple[str, str], ...]
    """Kind and statement that counts its items, or selects them when inspecting."""
    rejected: str


def staged(stream: str) -> str:
    """Name of a stream's staging table."""
    return f"staged_{stream}"


def staged_columns(stream: str) -> tuple[Column, ...]:
    """Columns of a staging table: the trace, then those of the stored table without ``id``."""
    return (*_TRACE, *(column for column in STREAMS[stream].table.columns if column.name != "id"))


@cache
def plan(exchange: Exchange, channel: str, instruments: str, inspect: bool) -> Plan:
    """The statements for ``channel``; raises ValueError for a channel the exchange does not declare."""
    if channel not in exchange.channels:
        raise ValueError(f"{exchange.market.name} has no channel {channel!r}. It has: {', '.join(exchange.channels)}.")
    return _Composer(exchange, exchange.channels[channel], instruments, inspect).plan()


class _Composer:
    def __init__(self, exchange: Exchange, channel: Channel, instruments: str, inspect: bool) -> None:
        self.exchange = exchange
        self.channel = channel
        self.instruments = instruments
        self.inspect = inspect
        self.names = {path: f"v{number}" for number, path in enumerate(channel.values)}

    def plan(self) -> Plan:
        stage, unstored = [], []
        for rows in self.channel.rows:
            if rows.kind in STREAMS:
                stage.append((rows.kind, self._stage(rows)))
            else:
                unstored.append((rows.kind, self._unstored(rows)))
        rejected = "SELECT frame, item, reason FROM incoming_items WHERE reason IS NOT NULL"
        return Plan(self._parse(), tuple(stage), tuple(unstored), rejected)

    def sql(self, expression: str) -> str:
        """``expression`` with each ``$path`` replaced by the column that holds its value."""
        return _REFERENCE.sub(lambda found: self.names[found[1]], expression)

    # -- from frames to items --------------------------------------------------------------------------

    def _parse(self) -> str:
        market = self.exchange.market
        size = "1.0::DOUBLE" if self.exchange.counts_base else "contract_size"
        values = ", ".join(self.names.values())
        return (
            "CREATE OR REPLACE TEMP TABLE incoming_items AS "
            f"SELECT frame, item, received_at, symbol, size, funding_interval_hours, {values}, "
            f"coalesce(problem, {self._reason()}) AS reason FROM ("
            f"SELECT *, coalesce(known_symbol, {self.exchange.neutral_symbol}) AS symbol, {size} AS size FROM ("
            f"SELECT *, {self.sql(self.channel.symbol)} AS venue_symbol FROM ({self._values()})) LEFT JOIN ("
            "SELECT venue_symbol AS known_as, symbol AS known_symbol, contract_size, funding_interval_hours "
            f"FROM {self.instruments} WHERE exchange = '{market.exchange}' AND market_type = '{market.market_type}'"
            ") ON known_as = venue_symbol)"
        )

    def _values(self) -> str:
        """Typed values of each item, and the first value that is present and not of its type."""
        inside = [path for path in self.channel.values if not path.startswith("/")]
        outside = [path for path in self.channel.values if path.startswith("/")]
        text = {path: f"x[{number}]" for number, path in enumerate(inside, 1)}
        text |= {path: f"y[{number}]" for number, path in enumerate(outside, 1)}
        typed = ", ".join(
            f"{_typed(text[path], kind)} AS {self.names[path]}" for path, kind in self.channel.values.items()
        )
        checks = " ".join(
            f"WHEN {_is_malformed(text[path], self.names[path], kind)} "
            f"THEN '{path.removeprefix('/')}: ' || left({text[path]}, 40) || ' is not {_KINDS[kind]}'"
            for path, kind in self.channel.values.items()
        )
        return (
            f"SELECT * EXCLUDE (x, y, trouble), CASE WHEN x IS NULL THEN coalesce(trouble, 'not JSON') {checks} END "
            f"AS problem FROM (SELECT frame, item, received_at, trouble, x, y, {typed} "
            f"FROM ({self._items(inside, outside)}))"
        )

    def _items(self, inside: list[str], outside: list[str]) -> str:
        """Text of the values of each item (``x``) and of its frame (``y``); ``x`` is NULL where nothing is."""
        of_frame = _texts("raw", [f"$.{path.removeprefix('/')}" for path in outside])
        if not self.channel.item.endswith("[*]"):
            of_item = _texts("raw", [_join(f"$.{self.channel.item}", path) for path in inside])
            return (
                f"SELECT frame, 0 AS item, received_at, {of_item} AS x, {of_frame} AS y, NULL::VARCHAR AS trouble "
                "FROM incoming_frames"
            )
        path = self.channel.item.removesuffix("[*]")
        is_list = f"json_type(raw, '$.{path}') = 'ARRAY'"
        return (
            f"SELECT frame, item, received_at, {_texts('d', [_join('$', path) for path in inside])} AS x, y, trouble "
            "FROM (SELECT frame, received_at, y, trouble, unnest(list) AS d, generate_subscripts(list, 1) - 1 AS item "
            "FROM (SELECT frame, received_at, y, "
            "CASE WHEN len(found) > 0 THEN found WHEN is_list THEN []::JSON[] ELSE [NULL]::JSON[] END AS list, "
            f"CASE WHEN is_list IS FALSE THEN 'no list at {path}' END AS trouble "
            f"FROM (SELECT frame, received_at, {of_frame} AS y, found, "
            f"CASE WHEN len(found) > 0 THEN true WHEN found IS NOT NULL THEN coalesce({is_list}, false) END AS is_list "
            f"FROM (SELECT *, TRY(json_extract(raw, '$.{path}[*]')) AS found FROM incoming_frames))))"
        )

    def _reason(self) -> str:
        """SQL that is NULL for an item that makes a row, else what is wrong with it."""
        checks = [] if self.inspect else ["WHEN symbol IS NULL THEN 'the symbol is missing'"]
        if not self.exchange.counts_base and any(_scales(rows) for rows in self.channel.rows):
            checks.append("WHEN size IS NULL THEN 'no contract size is known for ' || venue_symbol")
        for rows in self.channel.rows:
            checks += self._missing(rows)
        taken = " OR ".join(f"({self.sql(rows.where)})" for rows in self.channel.rows)
        checks.append(f"WHEN ({taken}) IS NOT TRUE THEN 'no row is declared for such a message'")
        return f"CASE {' '.join(checks)} END"

    def _missing(self, rows: Rows) -> Iterator[str]:
        derivation = DERIVATIONS.get(rows.kind)
        required = rows.required + (derivation.required if derivation else ())
        taken = f"coalesce({self.sql(rows.where)}, true) AND"
        for name in required:
            expression = rows.fields[name]
            told_outside = _FRAME_LEVEL in expression or "received_at" in expression
            if not (self.inspect and told_outside):
                yield f"WHEN {taken} ({self.sql(expression)}) IS NULL THEN '{name} is missing'"
        for name in derivation.positive if derivation else ():
            yield f"WHEN {taken} ({self.sql(rows.fields[name])}) < {SMALLEST} THEN '{name} is not above zero'"

    # -- from items to rows ----------------------------------------------------------------------------

    def _stage(self, rows: Rows) -> str:
        market = self.exchange.market
        derivation = DERIVATIONS[rows.kind]
        unknown = set(rows.fields) - set(derivation.fields)
        if unknown:
            raise ValueError(f"channel {self.channel.name!r}: {rows.kind} has no base fields {sorted(unknown)}")
        scale = "" if self.exchange.counts_base else " * size"
        given = {name: self.sql(expression) for name, expression in rows.fields.items()}
        types = {column.name: column.type for column in staged_columns(rows.kind)} | {
            "bids": "DOUBLE[][]",
            "asks": "DOUBLE[][]",
        }
        base = [f'({given.get(name, "NULL")})::{types.get(name, "DOUBLE")} AS "{name}"' for name in derivation.fields]
        source = {"exchange": f"'{market.exchange}'", "market_type": f"'{market.market_type}'"}
        source |= {name: expression.replace("{size}", scale) for name, expression in derivation.columns.items()}
        carried = {*derivation.fields, "frame", "item", "symbol", "received_at"}
        selected = [
            source.get(column.name, f'"{column.name}"' if column.name in carried else "NULL")
            for column in staged_columns(rows.kind)
        ]
        return (
            f"INSERT INTO {staged(rows.kind)} SELECT {', '.join(selected)} FROM ("
            f"SELECT frame, item, received_at, symbol, size, funding_interval_hours, {', '.join(base)} "
            f"FROM incoming_items WHERE reason IS NULL AND ({self.sql(rows.where)}))"
        )

    def _unstored(self, rows: Rows) -> str:
        source = f"FROM incoming_items WHERE reason IS NULL AND ({self.sql(rows.where)})"
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
    "LEVELS": "a list of [price, quantity]",
    "JSON": "JSON",
}


def _typed(text: str, kind: str) -> str:
    if kind == "LEVELS":
        return f"TRY(from_json({text}, '[[\"DOUBLE\"]]'))"
    if kind == "VARCHAR":
        return f"nullif({text}, '')"
    return text if kind == "JSON" else f"TRY_CAST({text} AS {kind})"


def _is_malformed(text: str, value: str, kind: str) -> str:
    """SQL: a value is there (neither absent, null nor empty) and not of its type. Never true for ``JSON``."""
    match kind:
        case "JSON":
            return "false"
        case "VARCHAR":
            return f"{text}[1] IN ('{{', '[')"
        case "DOUBLE":
            return f"{text} <> '' AND ({value} BETWEEN -{LARGEST} AND {LARGEST}) IS NOT TRUE"
        case "LEVELS":
            numbers = f"flatten({value})"
            return (
                f"{text} IS NOT NULL AND (len({numbers}) >= 2 * len({value}) AND list_count({numbers}) = len({numbers})"
                f" AND coalesce(list_sum({numbers}), 0) BETWEEN -{LARGEST} AND {LARGEST}) IS NOT TRUE"
            )
        case _:
            return f"{text} <> '' AND {value} IS NULL"


def _texts(source: str, paths: list[str]) -> str:
    if not paths:
        return "NULL::VARCHAR[]"
    return f"TRY(json_extract_string({source}, [{', '.join(repr(path) for path in paths)}]))"


def _join(start: str, path: str) -> str:
    return start + path if path.startswith("[") else f"{start}.{path}"


def _scales(rows: Rows) -> bool:
    derivation = DERIVATIONS.get(rows.kind)
    return derivation is not None and any("{size}" in expression for expression in derivation.columns.values())
