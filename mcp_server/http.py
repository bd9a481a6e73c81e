"""Streamable HTTP: loopback without a token, everywhere else with one; Host and Origin are checked."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from orderflow_streaming.exit_codes import CONFIGURATION, CommandError

Right = Literal["read", "write"]

STOP_S = 1
"""How long open streams may last after a signal."""


def read_tokens(file: Path) -> dict[str, Right]:
    """Tokens with their right: a line ``read TOKEN`` or ``write TOKEN`` each; a lone TOKEN reads."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise CommandError(f"the token file {file} cannot be read: {reason}.", CONFIGURATION) from None
    tokens: dict[str, Right] = {}
    for line in lines:
        match line.split():
            case []:
                continue
            case ["read" | "write" as right, token]:
                tokens[token] = right  # type: ignore[assignment]
            case [token]:
                tokens[token] = "read"
            case _:
                raise CommandError(f"the token file {file}: write a line 'read TOKEN' or 'write TOKEN'.", CONFIGURATION)
    if not tokens:
        raise CommandError(f"the token file {file} holds no token.", CONFIGURATION)
    return tokens


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; a taken port ends the command with one line."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        text = f"{host}:{port} cannot be listened on: {error.strerror}. Choose another with --host and --port."
        raise CommandError(text, CONFIGURATION) from None
    return listener


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, named: tuple[str, ...]) -> list[str]:
    """Host headers that are answered, with any port and without one."""
    names = {*named, *(("127.0.0.1", "localhost", "[::1]") if is_loopback(host) else (host,))}
    return [pattern for name in sorted(names) for pattern in (name, f"{name}:*")]


def allowed_origins(hosts: list[str]) -> list[str]:
    return [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]


class Guarded:
    """Lets requests with a known bearer token through, and says in the scope what the token may do."""

    def __init__(self, app: ASGIApp, tokens: Mapping[str, Right]) -> None:
        self._app, self._tokens = app, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        right = self._right(Request(scope).headers.get("authorization", "")) if self._tokens else "write"
        if right is None:
            body = {"error": "unauthorized", "remedy": "Send the header Authorization: Bearer TOKEN."}
            response = JSONResponse(body, 401, {"WWW-Authenticate": 'Bearer realm="orderflow"'})
            await response(scope, receive, send)
            return
        await self._app({**scope, "orderflow_scope": right}, receive, send)

    def _right(self, header: str) -> Right | None:
        kind, _, offered = header.partition(" ")
        found: Right | None = None
        for token, right in self._tokens.items():
            if secrets.compare_digest(offered.strip().encode(), token.encode()) and kind.lower() == "bearer":
                found = right
        return found


def application(sessions: Any, tokens: Mapping[str, Right]) -> Starlette:
    """``/mcp`` for the protocol, ``/health`` for supervisors."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            yield

    guarded = Guarded(sessions.handle_request, tokens)
    routes = [Route("/health", health, methods=["GET"]), Route("/mcp", guarded), Mount("/mcp", guarded)]
    return Starlette(routes=routes, lifespan=lifespan)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until a signal; streams that are still open then are cut after :data:`STOP_S`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=STOP_S, ws="none")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
