"""Alerts: conditions somebody should look at, each raised once, repeated while it lasts, told when it is over.

An alert is acknowledged by a person and by nobody else; being told, cleared or repeated does not acknowledge it.
:class:`AlertBook` is pure: it is given the conditions that hold and the time, and says what to tell. All times are
naive UTC.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from orderflow_streaming.tables import Column, Table
from orderflow_streaming.watching.conditions import Condition, Level

LEVELS = tuple(level.name for level in Level)
KEPT = 1_000
"""Alerts that are kept, at most: the open ones and then the newest."""

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
        Column("id", "VARCHAR", "what it is acknowledged by"),
        Column("condition", "VARCHAR", "condition that has to pass; NULL for an event, which nothing clears"),
        Column("last_raised", "TIMESTAMP", "when it was told last", "UTC"),
        Column("count", "BIGINT", "how often its condition was met anew or told again", "count"),
        Column("cleared_at", "TIMESTAMP", "when its condition had passed", "UTC"),
        Column("acknowledged_by", "VARCHAR", "who acknowledged it"),
        Column("acknowledged_at", "TIMESTAMP", "when it was acknowledged", "UTC"),
    ),
    ("timestamp", "source", "id"),
    "timestamp",
    "Conditions somebody should look at.",
)

OPEN = "cleared_at IS NULL AND NOT acknowledged"
"""SQL of the alerts that wait for a person."""


class UnknownAlertError(ValueError):
    """No alert has this id."""


def new_id() -> str:
    return secrets.token_hex(4)


@dataclass(slots=True)
class Alert:
    """A row of :data:`ALERTS`."""

    timestamp: datetime
    level: str
    source: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    acknowledged: bool = False
    id: str = field(default_factory=new_id)
    condition: str | None = None
    last_raised: datetime | None = None
    count: int = 1
    cleared_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"unknown alert level {self.level!r}. Allowed: {', '.join(LEVELS)}.")
        self.last_raised = self.last_raised or self.timestamp

    def row(self) -> dict[str, Any]:
        """As it is stored."""
        return {name: getattr(self, name) for name in ALERTS.names} | {"details": json.dumps(self.details, default=str)}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Alert:
        return cls(**{**row, "details": json.loads(row["details"] or "{}"), "count": row["count"] or 1})


class Event(StrEnum):
    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell about an alert."""

    event: Event
    alert: Alert

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``timestamp`` is when the alert was raised."""
        row = {name: getattr(self.alert, name) for name in ALERTS.names}
        return {"event": str(self.event)} | {
            name: f"{value.isoformat(timespec='milliseconds')}Z" if isinstance(value, datetime) else value
            for name, value in row.items()
        }


_Change = tuple[Alert, Event | None]
"""An alert that changed, and what to tell of it."""


class AlertBook:
    """The alerts of conditions. A condition that comes back within the repeat interval reopens its alert quietly, so
    that one which comes and goes is told once per interval."""

    def __init__(self, repeat_s: float, alerts: Iterable[Alert] = (), *, limit: int = KEPT) -> None:
        self._repeat = timedelta(seconds=repeat_s)
        self._limit = limit
        self._alerts = {alert.id: alert for alert in alerts}
        self._quiet: set[str] = set()
        """Ids of alerts whose present opening was not told."""

    @property
    def alerts(self) -> list[Alert]:
        return list(self._alerts.values())

    def judge(self, conditions: Sequence[Condition], now: datetime) -> tuple[list[Notice], list[Alert]]:
        """What to tell, and the alerts that changed."""
        latest = {(alert.condition, alert.level): alert for alert in self._alerts.values() if alert.condition}
        holding = {(condition.key, condition.level.name): condition for condition in conditions}
        changes = [self._passed(alert, now) for key, alert in latest.items() if key not in holding]
        changes += [self._held(latest.get(key), condition, now) for key, condition in holding.items()]
        changed = [change for change in changes if change is not None]
        self._limit_kept()
        notices = [Notice(event, replace(alert)) for alert, event in changed if event is not None]
        return notices, [alert for alert, _ in changed]

    def acknowledge(self, alert_id: str, by: str, now: datetime) -> Alert:
        """A person has seen it: it is not told again. Raises :class:`UnknownAlertError`."""
        if alert_id not in self._alerts:
            raise UnknownAlertError(f"no alert {alert_id!r}")
        alert = self._alerts[alert_id]
        alert.acknowledged, alert.acknowledged_by, alert.acknowledged_at = True, by, now
        return alert

    def _passed(self, alert: Alert, now: datetime) -> _Change | None:
        """The condition of ``alert`` does not hold."""
        if alert.cleared_at is not None:
            return None
        alert.cleared_at = now
        quiet = alert.id in self._quiet
        self._quiet.discard(alert.id)
        return alert, None if quiet else Event.CLEARED

    def _held(self, alert: Alert | None, condition: Condition, now: datetime) -> _Change | None:
        """A condition holds; ``alert`` is the latest of its kind."""
        if alert is None or alert.last_raised is None:
            return self._raised(condition, now)
        due = now - alert.last_raised >= self._repeat
        if alert.cleared_at is not None:
            if due or alert.acknowledged:
                return self._raised(condition, now)
            alert.cleared_at = None
            alert.count += 1
            self._quiet.add(alert.id)
            return alert, None
        if not due or alert.acknowledged:
            return None
        alert.message, alert.details, alert.last_raised = condition.message, condition.details, now
        alert.count += 1
        untold = alert.id in self._quiet
        self._quiet.discard(alert.id)
        return alert, Event.RAISED if untold else Event.REPEATED

    def _raised(self, condition: Condition, now: datetime) -> _Change:
        alert = Alert(
            timestamp=now,
            level=condition.level.name,
            source=condition.source,
            message=condition.message,
            details=condition.details,
            condition=condition.key,
        )
        self._alerts[alert.id] = alert
        return alert, Event.RAISED

    def _limit_kept(self) -> None:
        excess = len(self._alerts) - self._limit
        if excess > 0:
            oldest = sorted(self._alerts.values(), key=lambda alert: (alert.cleared_at is None, alert.timestamp))
            for alert in oldest[:excess]:
                del self._alerts[alert.id]
                self._quiet.discard(alert.id)
