"""Judges the figures again and again, tells what comes of it, and keeps the alerts in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from orderflow_streaming.markets import suggestion
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import InvalidActionError, StoreError
from orderflow_streaming.watching.alerts import ALERTS, KEPT, OPEN, Alert, AlertBook, Event, Notice
from orderflow_streaming.watching.channels import Channels, opened
from orderflow_streaming.watching.conditions import Condition, Level

log = logging.getLogger(__name__)


class AlertStore:
    """The stored alerts. Calls block; they belong into a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.ensure(ALERTS)
        with engine.transaction() as cursor:
            cursor.execute(
                "UPDATE ops.alerts SET id = substr(md5(concat(timestamp, source, message)), 1, 8) WHERE id IS NULL"
            )

    def of_conditions(self) -> list[Alert]:
        """Alerts that a condition raised, oldest first."""
        return [Alert.of_row(row) for row in self._rows("condition IS NOT NULL")]

    def save(self, alerts: Sequence[Alert]) -> None:
        """Write these alerts, and forget the oldest beyond :data:`~orderflow_streaming.watching.alerts.KEPT`."""
        rows = pa.Table.from_pylist([alert.row() for alert in alerts], schema=ALERTS.arrow_schema)
        with self._engine.transaction() as cursor:
            cursor.register("changed_alerts", rows)
            cursor.execute("DELETE FROM ops.alerts WHERE id IN (SELECT id FROM changed_alerts)")
            cursor.execute("INSERT INTO ops.alerts BY NAME SELECT * FROM changed_alerts")
            cursor.execute(
                f"DELETE FROM ops.alerts WHERE id NOT IN (SELECT id FROM ops.alerts "
                f"ORDER BY ({OPEN}) DESC, timestamp DESC LIMIT {KEPT})"
            )

    def acknowledge(self, alert_id: str, by: str, now: datetime) -> None:
        """Raises :class:`InvalidActionError` where there is no such alert."""
        with self._engine.transaction() as cursor:
            found = cursor.execute(
                "UPDATE ops.alerts SET acknowledged = true, acknowledged_by = ?, acknowledged_at = ? WHERE id = ? "
                "RETURNING id",
                [by, now, alert_id],
            ).fetchall()
            if not found:
                known = [row[0] for row in cursor.execute(f"SELECT id FROM ops.alerts WHERE {OPEN}").fetchall()]
                hint = suggestion(alert_id, known)
                raise InvalidActionError(f"no alert {alert_id!r}.{hint} See: orderflow-stream alerts")

    def _rows(self, where: str) -> list[dict[str, Any]]:
        cursor = self._engine.cursor()
        try:
            return cursor.sql(f"SELECT * FROM ops.alerts WHERE {where} ORDER BY timestamp").to_arrow_table().to_pylist()
        finally:
            cursor.close()


class Alerting:
    """Lives on the event loop."""

    def __init__(self, settings: Settings, engine: Engine, conditions: Callable[[], list[Condition]]) -> None:
        self._settings, self._conditions = settings, conditions
        self._store = AlertStore(engine)
        self._book = AlertBook(settings.alert_repeat_seconds, self._store.of_conditions())
        self._unsaved: dict[str, Alert] = {}
        self._channels: Channels | None = None

    def figures(self) -> dict[str, Any]:
        """Alerts that wait for a person, and what became of the notices by channel."""
        waiting = [alert for alert in self._book.alerts if alert.cleared_at is None and not alert.acknowledged]
        return {
            "pending": len(waiting),
            "channels": {
                channel.name: {
                    "sent": channel.tally.sent,
                    "failed": channel.tally.failed,
                    "waiting": channel.waiting,
                    "last_error": channel.tally.last_error,
                }
                for channel in (self._channels.queued if self._channels else ())
            },
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Judge every so often meanwhile, and once more at the end."""
        async with opened(self._settings) as self._channels:
            task = asyncio.create_task(self._run(self._channels), name="alerting")
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def acknowledge(self, alert_id: str, by: str) -> None:
        """A person has seen it; raises :class:`InvalidActionError`."""
        now = _now()
        if any(alert.id == alert_id for alert in self._book.alerts):
            alert = self._book.acknowledge(alert_id, by, now)
            self._unsaved[alert.id] = alert
            await self._save()
        else:
            await asyncio.to_thread(self._store.acknowledge, alert_id, by, now)

    async def check(self, channels: Channels) -> None:
        """Judge the figures now."""
        found = await asyncio.to_thread(self._conditions)
        notices, changed = self._book.judge(found, _now())
        self._unsaved |= {alert.id: alert for alert in changed}
        for notice in notices:
            channels.tell(notice)
        await self._save()

    async def _run(self, channels: Channels) -> None:
        while True:
            await asyncio.sleep(self._settings.health_check_interval_seconds)
            try:
                await self.check(channels)
            except Exception:
                log.exception("the health of the collection could not be judged; it is tried again")

    async def _save(self) -> None:
        """Store what changed; what cannot be stored now is stored with the next check."""
        saving, self._unsaved = self._unsaved, {}
        if not saving:
            return
        try:
            await asyncio.to_thread(self._store.save, list(saving.values()))
        except (StoreError, duckdb.Error) as error:
            self._unsaved = saving | self._unsaved
            log.warning("%d alerts could not be stored, it is tried again: %s", len(self._unsaved), error)


def announce(settings: Settings, source: str, message: str) -> None:
    """Tell by file and webhook that the daemon could not start or had to end. There may be no store to keep it in,
    and whoever calls this logs or prints it."""

    async def tell() -> None:
        async with opened(settings) as channels:
            channels.queue(Notice(Event.RAISED, Alert(_now(), Level.CRITICAL.name, source, message)))

    asyncio.run(tell())


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
