"""How it is declared what a column is made of: names like ``schema.table.column``, of the tables its layer reads."""

from __future__ import annotations

from collections.abc import Iterable

from orderflow_streaming.schema import LEVELS

Sources = tuple[str, ...]


def columns_of(table: str, *names: str) -> Sources:
    """``names`` of ``table``, as columns others are made of."""
    return tuple(f"{table}.{name}" for name in names)


def alike(table: str, names: Iterable[str]) -> dict[str, Sources]:
    """Columns that are made of the column of ``table`` they are named after."""
    return {name: columns_of(table, name) for name in names}


def book_levels(count: int = LEVELS, sides: Iterable[str] = ("bid", "ask"), tail: bool = False) -> Sources:
    """Prices and sizes of the best ``count`` levels of a snapshot and, with ``tail``, of all that lie deeper."""
    return columns_of(
        "main.orderbooks",
        *(
            name
            for side in sides
            for name in (
                *(f"{side}_{level}_{what}" for level in range(1, count + 1) for what in ("price", "qty")),
                *((f"{side}_tail",) if tail else ()),
            )
        ),
    )
