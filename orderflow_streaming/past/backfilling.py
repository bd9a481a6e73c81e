"""A backfill inside the daemon: begun, looked at and stopped by actions of its store. One runs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from orderflow_streaming.actions import Actions, only
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.past.backfill import Backfill
from orderflow_streaming.past.backfill_order import BackfillError, Order
from orderflow_streaming.reading.collector import Collector
from orderflow_streaming.store.errors import InvalidActionError, StoreBusyError
from orderflow_streaming.store.server import StoreServer

Body = Mapping[str, Any]


class Backfilling:
    """The handlers, and the backfill begun last."""

    def __init__(self, server: StoreServer, actions: Actions) -> None:
        self._actions = actions
        self._job: Backfill | None = None
        self._task: asyncio.Task[None] | None = None
        server.register("backfill", self._begin, "write")
        server.register("backfill_status", self._status, "read")
        server.register("backfill_stop", self._stop, "write")

    def _begin(self, body: Body) -> dict[str, Any]:
        only(body, "from", "to", "markets", "symbols", "streams", "again")
        collector = self._actions.running()
        try:
            order = Order.parse(body, collector.settings)
        except (BackfillError, UnknownNameError) as error:
            raise InvalidActionError(str(error)) from error
        for stream in order.streams:
            if collector.settings.stream_types and stream not in collector.settings.stream_types:
                raise InvalidActionError(f"this daemon does not store {stream}. Add it to stream_types.")
        self._actions.on_loop(self._start(collector, order))
        return self._status({})

    async def _start(self, collector: Collector, order: Order) -> None:
        if self._task is not None and not self._task.done():
            raise StoreBusyError(
                "a backfill runs already. Wait for it, or end it with: orderflow-stream backfill --stop"
            )
        self._job, self._task = collector.backfill(order)

    def _status(self, body: Body) -> dict[str, Any]:
        only(body)
        if self._job is None:
            raise InvalidActionError("no backfill was begun since the daemon started.")
        return self._job.progress()

    def _stop(self, body: Body) -> dict[str, Any]:
        only(body)
        self._actions.on_loop(self._cancel())
        return self._status({})

    async def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
