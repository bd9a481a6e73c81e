"""Whether drift may start a training, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa

from orderflow_assets.forecasting.frame import utc_now
from orderflow_assets.forecasting.tables import ALERTS
from orderflow_streaming.store import Store

COOLDOWN = timedelta(hours=1)
"""Time between two trainings of a series that drift asks for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a series is retrained, and why (not)."""

    retrain: bool
    reason: str


def decide(now: datetime, last_training: datetime | None, running: bool) -> Decision:
    """One training of a series at a time, and none within the cooldown of the last."""
    if running:
        return Decision(False, "a training of this series is running")
    if last_training is not None and now - last_training < COOLDOWN:
        again = last_training + COOLDOWN
        return Decision(False, f"last trained at {last_training:%H:%M} UTC; not again before {again:%H:%M} UTC")
    return Decision(True, "no training is running and the cooldown is over")


def alert(store: Store, level: str, series: str, event: str, message: str, details: dict[str, Any]) -> None:
    """Write one row of ``models.alerts``; ``event`` is started, finished, failed or refused."""
    row = {
        "timestamp": utc_now(),
        "level": level,
        "source": f"retrain_{series}",
        "series": series,
        "event": event,
        "message": message,
        "details": msgspec.json.encode(details).decode(),
        "acknowledged": False,
    }
    store.write(ALERTS, pa.Table.from_pylist([row], ALERTS.arrow_schema))
