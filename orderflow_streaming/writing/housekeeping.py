"""Keeps what only grows within limits."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import duckdb

from orderflow_streaming.schema import QUARANTINE
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import StoreError

log = logging.getLogger(__name__)

EVERY_S = 3600.0


def limit_quarantine(engine: Engine, *, keep_days: float, max_rows: int) -> int:
    """Delete frames in quarantine that are too old, and the oldest beyond ``max_rows``; returns how many."""
    engine.ensure(QUARANTINE)
    oldest = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=keep_days)
    with engine.transaction() as cursor:
        ((deleted,),) = cursor.execute(
            "DELETE FROM ops.quarantine WHERE received_at < ? OR rowid IN "
            "(SELECT rowid FROM ops.quarantine ORDER BY received_at DESC OFFSET ?)",
            [oldest, max_rows],
        ).fetchall()
        return int(deleted)


async def keep_house(settings: Settings, engine: Engine) -> None:
    """Do it now and every hour until cancelled."""
    days, rows = settings.quarantine_keep_days, settings.quarantine_max_rows
    while True:
        try:
            deleted = await asyncio.to_thread(limit_quarantine, engine, keep_days=days, max_rows=rows)
        except (duckdb.Error, StoreError) as error:
            log.warning("the quarantine could not be limited, it is tried again: %s", error)
        else:
            if deleted:
                log.info("%d frames left the quarantine, being old or too many", deleted)
        await asyncio.sleep(EVERY_S)
