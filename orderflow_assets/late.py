"""Which stored hours a late change of the ticks of an hour reaches: that hour, and those that look back on it.

A row of a layer sees its inputs ``lookback`` back, and they see theirs; the sum along the longest way is how far the
layer *reaches*. The hour itself is recomputed as its inputs change; here are the later ones.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orderflow_assets.layer import Layer

HOUR = timedelta(hours=1)


def reaches(layers: Sequence[Layer]) -> dict[str, timedelta]:
    """How far back each layer sees into the ticks, by qualified table name."""
    found: dict[str, timedelta] = {}
    for layer in layers:
        found[layer.table.qualified] = max(
            (layer.back(name) + found.get(name, timedelta(0)) for name in layer.inputs), default=timedelta(0)
        )
    return found


@dataclass(frozen=True, slots=True)
class Task:
    """Tables to compute again over the hours from ``first`` to ``last``, both included."""

    tables: tuple[str, ...]
    first: datetime
    last: datetime


def tasks(
    layers: Sequence[Layer],
    changed: Collection[datetime],
    stored: Mapping[str, Collection[datetime]],
    most_hours: int,
) -> list[Task]:
    """What ``changed`` hours reach among the ``stored`` hours of each table, in the order it has to be computed.

    The changed hours themselves are left out unless another changed hour reaches them. A task holds at most
    ``most_hours`` neighbouring hours.
    """
    reach = reaches(layers)
    alike: dict[tuple[datetime, ...], list[str]] = {}
    for layer in layers:
        name = layer.table.qualified
        hours = tuple(
            sorted(
                hour
                for hour in stored.get(name, ())
                if any(start < hour < start + HOUR + reach[name] for start in changed)
            )
        )
        if hours:
            alike.setdefault(hours, []).append(name)
    # A table reaches as far as its inputs at least, so fewer hours come first.
    return [
        Task(tuple(names), stretch[0], stretch[-1])
        for hours, names in sorted(alike.items(), key=lambda item: len(item[0]))
        for stretch in stretches(hours, most_hours)
    ]


def stretches(hours: Sequence[datetime], most: int) -> list[list[datetime]]:
    """Neighbouring hours together, at most ``most`` of them; ``hours`` are in order."""
    found: list[list[datetime]] = []
    for hour in hours:
        if found and hour - found[-1][-1] == HOUR and len(found[-1]) < most:
            found[-1].append(hour)
        else:
            found.append([hour])
    return found


@dataclass(frozen=True, slots=True)
class Agenda:
    """What the sensor remembers: ``seen`` storage id, late hours not dealt with yet, tasks that wait, one that runs.

    ``changed`` maps a late hour to the storage id of the event that told of it, ``told_s`` is the time of the last
    such event, in seconds since 1970.
    """

    seen: int = 0
    told_s: float = 0.0
    changed: dict[datetime, int] = field(default_factory=dict)
    waiting: tuple[Task, ...] = ()
    running: str | None = None

    def to_json(self) -> str:
        return json.dumps(
            {
                "seen": self.seen,
                "told_s": self.told_s,
                "changed": {hour.isoformat(): number for hour, number in self.changed.items()},
                "waiting": [[task.tables, task.first.isoformat(), task.last.isoformat()] for task in self.waiting],
                "running": self.running,
            }
        )

    @classmethod
    def from_json(cls, text: str | None) -> Agenda:
        if not text:
            return cls()
        value = json.loads(text)
        return cls(
            value["seen"],
            value["told_s"],
            {datetime.fromisoformat(hour): number for hour, number in value["changed"].items()},
            tuple(
                Task(tuple(tables), datetime.fromisoformat(first), datetime.fromisoformat(last))
                for tables, first, last in value["waiting"]
            ),
            value["running"],
        )
