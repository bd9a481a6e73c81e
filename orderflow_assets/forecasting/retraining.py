"""When a series is trained again: once a day at an hour of its own, and when drift may ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

COOLDOWN = timedelta(hours=1)
"""Time between two trainings of a series before another may be asked for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a series is retrained, and why (not)."""

    retrain: bool
    reason: str


def decide(now: datetime, last_training: datetime | None, *, running: bool) -> Decision:
    """One training of a series at a time, and none within the cooldown of the last."""
    if running:
        return Decision(False, "a training of this series waits or runs")
    if last_training is not None and now - last_training < COOLDOWN:
        again = last_training + COOLDOWN
        return Decision(False, f"last trained at {last_training:%H:%M} UTC, not again before {again:%H:%M} UTC")
    return Decision(True, "no training is running and the cooldown is over")


def hour_of_day(series: str) -> int:
    """The UTC hour at which a series is trained every day; it spreads series evenly and never changes."""
    return crc32(series.encode()) % 24
