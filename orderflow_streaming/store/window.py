"""The part of a table that a write replaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orderflow_streaming.tables import Table


def naive_utc(value: datetime) -> datetime:
    """``value`` as a naive UTC time, the form stored; a naive input is taken as UTC already."""
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


@dataclass(frozen=True, slots=True)
class Window:
    """Rows with ``start <= table.time < end`` and every column of ``equals`` at its value.

    ``start`` and ``end`` may both be absent when ``equals`` alone names the rows.
    """

    start: datetime | None = None
    end: datetime | None = None
    equals: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.start is None) != (self.end is None):
            raise ValueError("a window has both a start and an end, or neither")
        if self.start is None and not self.equals:
            raise ValueError("a window names rows by time, by column values, or both")

    def predicate(self, table: Table) -> tuple[str, list[Any]]:
        """SQL condition and its parameters; raises ValueError for a column the table lacks."""
        conditions: list[str] = []
        values: list[Any] = []
        if self.start is not None and self.end is not None:
            conditions.append(f'"{table.time}" >= ? AND "{table.time}" < ?')
            values += [naive_utc(self.start), naive_utc(self.end)]
        for name, value in self.equals.items():
            if name not in table.names:
                raise ValueError(f"table {table.qualified} has no column {name!r}")
            conditions.append(f'"{name}" = ?')
            values.append(value)
        return " AND ".join(conditions), values

    def to_dict(self) -> dict[str, Any]:
        return {
            "start": naive_utc(self.start).isoformat() if self.start else None,
            "end": naive_utc(self.end).isoformat() if self.end else None,
            "equals": self.equals,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Window:
        start, end = value.get("start"), value.get("end")
        return cls(
            datetime.fromisoformat(start) if start else None,
            datetime.fromisoformat(end) if end else None,
            value.get("equals") or {},
        )
