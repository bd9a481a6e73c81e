"""What is not as it should be, derived from the figures of the collection. Pure: figures in, conditions out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

GRACE_S = 120.0
"""A daemon younger than this may have few rows yet."""
FEWEST_ROWS_PER_MINUTE = 10
OLD_FLUSH_S, VERY_OLD_FLUSH_S = 60.0, 120.0
MANY_PENDING, VERY_MANY_PENDING = 4, 20
"""Frames that wait for a flush, in batches."""
LITTLE_DISK_BYTES, VERY_LITTLE_DISK_BYTES = 1 << 30, 1 << 28
CONSECUTIVE_FAILURES = 10
MANY_ERRORS = 100
"""In a minute."""


class Level(IntEnum):
    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now. ``key`` and ``level`` tell whether it is the one that held before."""

    key: str
    level: Level
    source: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


Figures = Mapping[str, Any]
"""What :meth:`~orderflow_streaming.watching.health.Health.figures` returns."""


def conditions(figures: Figures) -> list[Condition]:
    """All that hold, worst first."""
    found = [
        *_store(figures["writer"], figures["config"]["batch_size"]),
        *_disk(figures["disk"]),
        *_reading(figures),
        *(condition for socket in figures["sockets"] for condition in _socket(socket)),
        *(condition for market in figures["markets"] for condition in _market(market)),
        *(condition for stream in figures["streams"] for condition in _stream(stream)),
        *_unavailable(figures["unavailable"]),
    ]
    return sorted(found, key=lambda condition: -condition.level)


def verdict(found: Sequence[Condition]) -> str:
    """CRITICAL, DEGRADED or HEALTHY, by the worst condition; LOW ones are worth a word and no more."""
    worst = max((condition.level for condition in found), default=Level.INFO)
    if worst is Level.CRITICAL:
        return "CRITICAL"
    return "DEGRADED" if worst >= Level.MEDIUM else "HEALTHY"


def _store(writer: Figures, batch_size: int) -> Iterator[Condition]:
    if writer["broken"]:
        yield Condition("store broken", Level.CRITICAL, "store", f"the store is broken: {writer['broken']}")
    age, pending = writer["flush_age_seconds"], writer["pending_records"]
    late = f"nothing was stored for {age:.0f} s, {pending:,} frames wait"
    if pending and (age > VERY_OLD_FLUSH_S or pending > VERY_MANY_PENDING * batch_size):
        yield Condition("flush late", Level.CRITICAL, "store", late)
    elif pending and (age > OLD_FLUSH_S or pending > MANY_PENDING * batch_size):
        yield Condition("flush late", Level.MEDIUM, "store", late)
    if writer["last_error"]:
        yield Condition("flush failing", Level.HIGH, "store", f"the last flush failed: {writer['last_error']}")


def _disk(disk: Figures) -> Iterator[Condition]:
    free = disk["free_bytes"]
    level = Level.CRITICAL if free < VERY_LITTLE_DISK_BYTES else Level.HIGH
    if free < LITTLE_DISK_BYTES:
        yield Condition("disk space", level, "disk", f"{free / 1e6:,.0f} MB left on the disk of {disk['path']}")


def _reading(figures: Figures) -> Iterator[Condition]:
    """What concerns all markets."""
    journal, health = figures["journal"], figures["health"]
    if journal["error"]:
        yield Condition("journal failing", Level.HIGH, "journal", f"the journal cannot be written: {journal['error']}")
    if journal["waiting"]:
        yield Condition("reading waits", Level.HIGH, "journal", "reading waits for the disk")
    if health["errors_per_minute"] > MANY_ERRORS:
        message = f"{health['errors_per_minute']:.0f} errors in the last minute"
        yield Condition("errors", Level.HIGH, "health_monitor", message)
    if not figures["markets"] or figures["uptime_seconds"] <= GRACE_S:
        return
    if not figures["active_connections"]:
        yield Condition("nothing connected", Level.CRITICAL, "health_monitor", "no socket of any market is connected")
    if health["records_per_minute"] < FEWEST_ROWS_PER_MINUTE:
        message = f"only {health['records_per_minute']:.0f} rows in the last minute"
        yield Condition("few rows", Level.MEDIUM, "health_monitor", message)


def _socket(socket: Figures) -> Iterator[Condition]:
    """A socket that is opened for the first time is none yet."""
    if not socket["connected"] and (socket["connections"] or socket["last_error"]):
        level = Level.HIGH if socket["failures"] >= CONSECUTIVE_FAILURES else Level.MEDIUM
        name = f"{socket['market']} {socket['socket']}"
        message = f"{name}: not connected ({socket['last_error'] or 'opening again'})"
        yield Condition(f"socket down {name}", level, socket["market"], message)


def _market(market: Figures) -> Iterator[Condition]:
    name = market["market"]
    if market["failure"]:
        message = f"{name}: not read, tried again: {market['failure']}"
        yield Condition(f"market failed {name}", Level.CRITICAL, name, message)
    if market["rejected_per_min"]:
        message = f"{name}: {market['rejected_per_min']:.0f} frames a minute are rejected, see ops.quarantine"
        yield Condition(f"rejected {name}", Level.MEDIUM, name, message)
    if market["dropped_per_min"]:
        message = f"{name}: {market['dropped_per_min']:.0f} frames a minute are dropped, the disk is too slow"
        yield Condition(f"dropped {name}", Level.HIGH, name, message)


def _stream(stream: Figures) -> Iterator[Condition]:
    name = f"{stream['market']} {stream['stream']}"
    if stream["gaps_per_min"]:
        message = f"{name}: gaps in the last minute, see ops.gaps"
        yield Condition(f"gaps {name}", Level.LOW, stream["market"], message, {"gaps": stream["gaps"]})
    if stream["resyncs_per_min"]:
        message = f"{name}: lost its sequence in the last minute and asked for a new snapshot"
        yield Condition(f"resyncs {name}", Level.LOW, stream["market"], message, {"resyncs": stream["resyncs"]})


def _unavailable(entries: Sequence[Figures]) -> Iterator[Condition]:
    """One condition for all topics of a market and state that feed the same streams."""
    groups: dict[tuple[str, str, str], list[Figures]] = {}
    for entry in entries:
        if entry["state"] != "unlisted":
            groups.setdefault((entry["market"], ", ".join(entry["streams"]), entry["state"]), []).append(entry)
    for (market, streams, state), group in groups.items():
        symbols = ", ".join(dict.fromkeys(entry["symbol"] for entry in group if entry["symbol"])) or group[0]["topic"]
        failures = max(entry["failures"] for entry in group)
        level = Level.HIGH if failures >= CONSECUTIVE_FAILURES else Level.MEDIUM
        message = f"{market} {streams}: {state} for {symbols} ({group[0]['reason']})"
        details = {"topics": [entry["topic"] for entry in group]}
        yield Condition(f"{state} {market} {streams}", level, market, message, details)
