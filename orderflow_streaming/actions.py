"""What may be asked of the running daemon, as actions of its store: looking with the read token, changing with the
write token. Bodies and answers are plain JSON values.

Changes of symbols, markets, streams and the recording hold at once and are kept for the next start
(:func:`~orderflow_streaming.settings.keep_changes`); a reconnect, a flush and a stop of the daemon are done with when
they are done.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from orderflow_streaming import settings as configuration
from orderflow_streaming.markets import UnknownNameError, market, suggestion
from orderflow_streaming.reading.collector import Collector
from orderflow_streaming.settings import Settings, SettingsError
from orderflow_streaming.store.errors import InvalidActionError, StoreUnavailableError
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.watching.alerting import Alerting

log = logging.getLogger(__name__)

T = TypeVar("T")
Body = Mapping[str, Any]

CHANGE_TIMEOUT_S = 90.0
KEPT = "kept for the next start, unless a flag or an ORDERFLOW_ variable says otherwise"


class Actions:
    """The handlers; they run on the server's threads and reach the collector through its loop."""

    def __init__(self, server: StoreServer, pending: Callable[[], int], place: Mapping[str, Any]) -> None:
        """``pending`` tells the frames that are not stored, ``place`` is added to every status."""
        self._pending, self._place = pending, place
        self._collector: Collector | None = None
        self._alerting: Alerting | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changing = threading.Lock()
        server.register("status", lambda body: self.status(), "read")
        for name, handler in {
            "flush": self._flush,
            "start": self._start,
            "stop": self._stop,
            "configure": self._configure,
            "reconnect": self._reconnect,
            "acknowledge": self._acknowledge,
        }.items():
            server.register(name, handler, "write")

    def attach(self, collector: Collector, alerting: Alerting, loop: asyncio.AbstractEventLoop) -> None:
        """The daemon reads from now on."""
        self._alerting, self._loop = alerting, loop
        self._collector = collector

    def end(self) -> None:
        """Have the daemon stop; may be called from a signal handler."""
        if self._collector is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._collector.stopped.set)

    def running(self) -> Collector:
        """The collector; raises :class:`StoreUnavailableError` while the daemon starts or stops."""
        collector = self._started()
        if collector.health.stopping:
            raise StoreUnavailableError("the daemon is stopping, and stores everything before it ends.")
        return collector

    def status(self) -> dict[str, Any]:
        """Everything there is to say, as plain JSON values; may be asked from any thread."""
        collector = self._started()
        assert self._alerting is not None
        alerts = self._alerting.figures()
        status = collector.health.status() | {"pending_alerts": alerts["pending"], "alerts": alerts}
        return status | dict(self._place)

    def _started(self) -> Collector:
        if self._collector is None:
            raise StoreUnavailableError("the daemon is starting. Try again in a moment.")
        return self._collector

    def on_loop(self, work: Coroutine[Any, Any, T], timeout_s: float = CHANGE_TIMEOUT_S) -> T:
        """Run ``work`` on the collector's loop and wait for it; raises TimeoutError."""
        assert self._loop is not None
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)
        except CancelledError as error:
            raise StoreUnavailableError("the daemon is stopping; it did not come to that.") from error

    # -- changing --------------------------------------------------------------------------------------

    def _flush(self, body: Body) -> dict[str, Any]:
        only(body)
        try:
            stored = self.on_loop(self.running().flush(), 60.0)
        except TimeoutError:
            stored = False
        return {"stored": stored, "pending": self._pending()}

    def _start(self, body: Body) -> dict[str, Any]:
        name = known_market(body)
        return self._change(lambda now: {"markets": (*now.markets, name)})

    def _stop(self, body: Body) -> dict[str, Any]:
        only(body, "market")
        if "market" not in body:
            self.end()
            return {"stopping": True}
        name = known_market(body)
        self._collected(name)
        return self._change(lambda now: {"markets": tuple(other for other in now.markets if other != name)})

    def _configure(self, body: Body) -> dict[str, Any]:
        only(body, *configuration.CHANGEABLE, "reset")
        if body.get("reset"):
            configuration.forget_changes(self.running().settings.data_dir)
            return {"reset": True, "kept": "the next start goes by the configuration alone; this run goes on as it is"}
        return self._change(lambda now: dict(body))

    def _reconnect(self, body: Body) -> dict[str, Any]:
        only(body, "market", "socket")
        collector = self.running()
        wanted = [self._collected(known_market(body, "socket"))] if "market" in body else list(collector.readers)
        sockets = [connection.socket.name for name in wanted for connection in collector.readers[name].connections]
        socket = body.get("socket")
        if socket is not None and socket not in sockets:
            hint = suggestion(str(socket), sockets)
            raise InvalidActionError(f"no socket {socket!r}.{hint} Sockets: {', '.join(dict.fromkeys(sockets))}.")

        async def renew() -> list[str]:
            return [f"{name} {one}" for name in wanted for one in collector.readers[name].renew(socket)]

        return {"reconnecting": self.on_loop(renew())}

    def _acknowledge(self, body: Body) -> dict[str, Any]:
        only(body, "id", "by")
        alert_id, by = str(body.get("id") or ""), str(body.get("by") or "").strip()
        if not by:
            raise InvalidActionError("an alert is acknowledged by a person: say who with 'by'.")
        self.running()
        assert self._alerting is not None
        self.on_loop(self._alerting.acknowledge(alert_id, by))
        return {"acknowledged": alert_id, "by": by}

    def _collected(self, name: str) -> str:
        readers = self.running().readers
        if name not in readers:
            raise InvalidActionError(f"{name} is not collected. Collected: {', '.join(readers) or 'none'}.")
        return name

    def _change(self, changes: Callable[[Settings], dict[str, Any]]) -> dict[str, Any]:
        """Change what is collected, and keep that for the next start."""
        with self._changing:
            collector = self.running()
            try:
                before = collector.settings
                settings = before.changed(changes(before))
                self.on_loop(collector.change(settings))
            except (SettingsError, UnknownNameError) as error:
                raise InvalidActionError(str(error)) from error
            except TimeoutError as error:
                raise StoreUnavailableError("the change was not done in time and goes on. See the status.") from error
            now = {key: value for key, value in settings.model_dump().items() if key in configuration.CHANGEABLE}
            changed = {key: value for key, value in now.items() if value != getattr(before, key)}
            log.info("changed: %s", ", ".join(f"{key}={value}" for key, value in changed.items()) or "nothing")
            return {**now, "changed": sorted(changed), "kept": keep(settings, changed)}


def keep(settings: Settings, changes: Mapping[str, Any]) -> str:
    """Keep the changes for the next start; says whether that worked."""
    try:
        configuration.keep_changes(settings.data_dir, changes)
    except (OSError, SettingsError) as error:
        log.error("the change could not be kept for the next start: %s", error)
        return f"not kept for the next start: {error}"
    return KEPT


def only(body: Body, *allowed: str) -> None:
    """Refuse keys that an action does not know."""
    for key in body:
        if key not in allowed:
            hint = suggestion(key, allowed)
            raise InvalidActionError(f"unknown key {key!r}.{hint} Allowed: {', '.join(allowed) or 'none'}.")


def known_market(body: Body, *beside: str) -> str:
    """The market a body names."""
    only(body, "market", *beside)
    try:
        return market(str(body.get("market", ""))).name
    except UnknownNameError as error:
        raise InvalidActionError(str(error)) from error
