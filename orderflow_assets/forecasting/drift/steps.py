"""What drift leads to, step by step; each step is a row of ``models.retrainings`` and an alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from orderflow_assets.alerts import raise_alert
from orderflow_assets.forecasting.drift.tables import RETRAININGS
from orderflow_assets.forecasting.frame import Series, utc_now
from orderflow_streaming.store import Store

_LEVELS = {"asked": "MEDIUM", "refused": "LOW", "finished": "INFO", "failed": "HIGH"}
_SAID = {"asked": "started", "refused": "refused", "finished": "finished", "failed": "failed"}


def detected(store: Store, key: str, severity: str, reason: str, details: Mapping[str, Any]) -> None:
    """A check found drift of ``severity``, more than the check before."""
    _record(store, key, "detected", severity, None, reason)
    raise_alert(store, severity, f"drift_{key}", f"drift of {key}: {reason}", details)


def followed(
    store: Store,
    key: str,
    step: str,
    reason: str,
    details: Mapping[str, Any],
    *,
    severity: str | None = None,
    run_id: str | None = None,
) -> None:
    """A retraining was asked for, refused, finished or failed."""
    _record(store, key, step, severity, run_id, reason)
    message = f"retraining of {key} {_SAID[step]}: {reason}"
    raise_alert(store, _LEVELS[step], f"retrain_{key}", message, {"step": step, "run_id": run_id, **details})


def _record(store: Store, key: str, step: str, severity: str | None, run_id: str | None, reason: str) -> None:
    series = Series.parse(key)
    row = {
        "series": key,
        "symbol": series.symbol,
        "exchange": series.exchange,
        "market_type": series.market_type,
        "recorded_at": utc_now(),
        "step": step,
        "severity": severity,
        "run_id": run_id,
        "reason": reason,
    }
    store.write(RETRAININGS, pa.Table.from_pylist([row], RETRAININGS.arrow_schema))
