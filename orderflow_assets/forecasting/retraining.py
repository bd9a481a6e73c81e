"""Whether drift may start a training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

COOLDOWN = timedelta(hours=1)
"""Time between two trainings of a series before drift may ask for another."""


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
