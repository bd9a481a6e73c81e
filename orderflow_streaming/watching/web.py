"""``/health`` and ``/metrics`` of the daemon over HTTP, for supervisors and Prometheus. Figures only, no control."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from orderflow_streaming.store.server import PortInUseError
from orderflow_streaming.watching.metrics import exposition

Status = Callable[[], dict[str, Any]]


def listening(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises :class:`PortInUseError`."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise PortInUseError(
            f"http_port {port} on {host} cannot be listened on: {error.strerror or error}. "
            "Stop what uses it, choose another with ORDERFLOW_HTTP_PORT, or turn it off with ORDERFLOW_HTTP_PORT=off."
        ) from error


@asynccontextmanager
async def serving(listener: socket.socket, status: Status) -> AsyncIterator[None]:
    """Serve on ``listener`` meanwhile; ``status`` is asked in a thread."""

    async def health(request: web.Request) -> web.Response:
        """200 while the daemon can be relied on, 503 when it is CRITICAL or stopping."""
        now = await asyncio.to_thread(status)
        failing = now["status"] == "CRITICAL" or now["state"] == "STOPPING"
        body = {name: now[name] for name in ("status", "state", "issues", "uptime_seconds", "markets")}
        return web.Response(
            status=503 if failing else 200, text=json.dumps(body, indent=2) + "\n", content_type="application/json"
        )

    async def metrics(request: web.Request) -> web.Response:
        now = await asyncio.to_thread(status)
        body, content_type = exposition(now, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    application = web.Application()
    application.add_routes([web.get("/health", health), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
