"""Alerts raised by what computes: events, so nothing clears them; a person acknowledges them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from orderflow_streaming.store import Store
from orderflow_streaming.watching.alerts import ALERTS, Alert


def raise_alert(store: Store, level: str, source: str, message: str, details: Mapping[str, Any]) -> None:
    """Store one alert. Raises ValueError for an unknown level (:data:`~orderflow_streaming.watching.alerts.LEVELS`)."""
    alert = Alert(datetime.now(UTC).replace(tzinfo=None), level, source, message, details)
    store.write(ALERTS, pa.Table.from_pylist([alert.row()], schema=ALERTS.arrow_schema))
