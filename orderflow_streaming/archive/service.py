"""The archive of a running daemon: what clients may ask of it, and the watch over what other nodes seal."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

import duckdb

from orderflow_streaming import schema
from orderflow_streaming.archive import continuous, manifest, nodes
from orderflow_streaming.archive.sealing import Outcome, Sealer
from orderflow_streaming.archive.site import settle
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import ArchiveError, InvalidActionError
from orderflow_streaming.store.place import Place
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.store.window import naive_utc

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""How often the lists of the other nodes are looked at."""


class Archive:
    """Sealing on request, and the hours of other nodes in the tables of this one.

    Built without an archive it only says so.
    """

    def __init__(
        self, engine: Engine, place: Place | None, *, node: str | None = None, retention_hours: float = 0.0
    ) -> None:
        """``place`` is what the engine was opened with; raises ArchiveError where this database cannot use it."""
        self._engine = engine
        self._sealer: Sealer | None = None
        self._others: nodes.Others | None = None
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._look_on, name="archive", daemon=True)
        if place is None:
            return
        retention = timedelta(hours=retention_hours) if retention_hours else None
        try:
            site = settle(engine, place, node)
            self._sealer = Sealer(engine, place, site, retention)
            self._others = nodes.Others(place, site.node)
        except OSError as error:
            raise ArchiveError(f"the archive {place.root} cannot be reached: {error}") from error

    def register(self, server: StoreServer) -> None:
        server.register("archive_status", self._status, "read")
        server.register("archive_check", self._check, "read")
        server.register("seal", self._seal, "write")
        server.register("drop", self._drop, "write")

    def start(self) -> None:
        """Look at the other nodes now and from time to time."""
        if self._others:
            self.look()
            self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Show what other nodes sealed since the last look. A place that cannot be reached is for the next one."""
        if self._others is None or self._sealer is None:
            return
        with self._looking:
            try:
                self._sealer.tell()
                found = self._others.changed()
                if found:
                    with self._engine.transaction() as cursor:
                        for stream in sorted(nodes.take_over(cursor, found)):
                            continuous.show(self._engine, cursor, stream)
            except (OSError, duckdb.TransactionException) as error:
                self._others.forget()
                log.warning("the archive could not be looked at: %s", error)

    def _look_on(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.look()

    # -- actions ---------------------------------------------------------------------------------------

    def _seal(self, body: dict[str, Any]) -> dict[str, Any]:
        """Seal ``hour`` of ``stream``, or of all streams."""
        sealer, hour = self._ready(), _hour(body)
        return _told([sealer.seal(stream, hour) for stream in _streams(body)])

    def _drop(self, _: dict[str, Any]) -> dict[str, Any]:
        self.look()
        outcomes, unsealed = self._ready().drop()
        waiting = [{"stream": stream, "hour": hour.isoformat()} for stream, hour in unsealed]
        return _told(outcomes) | {"unsealed": waiting}

    def _check(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"files": self._ready().check(_hour(body))}

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        """Whether there is an archive, what it holds by node and stream, and which hours wait to be sealed."""
        if self._sealer is None:
            return {"configured": False}
        retention = self._sealer.retention
        with self._engine.transaction() as cursor:
            entries = manifest.sealed(cursor)
        return {
            "configured": True,
            "archive": self._sealer.place.root,
            "node": self._sealer.site.node,
            "retention_hours": retention / timedelta(hours=1) if retention else 0,
            "sealed": _totals(entries),
            "waiting": [hour.isoformat() for hour in self._sealer.waiting()],
        }

    def _ready(self) -> Sealer:
        if self._sealer is None:
            raise ArchiveError("no archive is configured. Set archive, or retention_hours, and start the daemon again.")
        return self._sealer


def _totals(entries: list[manifest.Sealed]) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        total = totals.setdefault(
            (entry.node, entry.stream),
            {"node": entry.node, "stream": entry.stream, "hours": 0, "rows": 0, "bytes": 0, "dropped": 0},
        )
        total["hours"] += 1
        total["rows"] += entry.rows
        total["bytes"] += entry.bytes
        total["dropped"] += entry.dropped_at is not None
    return [totals[key] for key in sorted(totals)]


def _told(outcomes: list[Outcome]) -> dict[str, Any]:
    return {"hours": [outcome.to_dict() for outcome in outcomes]}


def _hour(body: dict[str, Any]) -> datetime:
    text = str(body.get("hour", ""))
    try:
        hour = naive_utc(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidActionError(f"{text!r} is not an hour. Give hour as 2026-11-24T11:00, UTC.") from None
    if hour != hour.replace(minute=0, second=0, microsecond=0):
        raise InvalidActionError(f"{text} is not the start of an hour. Give hour as 2026-11-24T11:00, UTC.")
    return hour


def _streams(body: dict[str, Any]) -> list[str]:
    if body.get("stream") is None:
        return list(schema.STREAMS)
    try:
        return [schema.stream(str(body["stream"])).name]
    except UnknownNameError as error:
        raise InvalidActionError(str(error)) from error
