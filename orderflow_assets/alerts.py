"""Alerts that wait for a person: one row each, acknowledged by that person only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table

LEVELS = ("INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL")

ALERTS = Table(
    "ops",
    "alerts",
    (
        Column("timestamp", "TIMESTAMP", "when it was raised", "UTC", False),
        Column("level", "VARCHAR", " or ".join(LEVELS), nullable=False),
        Column("source", "VARCHAR", "what raised it", nullable=False),
        Column("message", "VARCHAR", "one line for a person", nullable=False),
        Column("details", "JSON", "what it rests on"),
        Column("acknowledged", "BOOLEAN", "set by a person only", nullable=False),
    ),
    ("timestamp", "source"),
    "timestamp",
    "Conditions somebody should look at.",
)


def raise_alert(store: Store, level: str, source: str, message: str, details: Mapping[str, Any]) -> None:
    """Store one alert. Raises ValueError for a level that is not one of :data:`LEVELS`."""
    if level not in LEVELS:
        raise ValueError(f"unknown alert level {level!r}. Allowed: {', '.join(LEVELS)}.")
    row = {
        "timestamp": datetime.now(UTC).replace(tzinfo=None),
        "level": level,
        "source": source,
        "message": message,
        "details": json.dumps(details, default=str),
        "acknowledged": False,
    }
    store.write(ALERTS, pa.Table.from_pylist([row], schema=ALERTS.arrow_schema))
