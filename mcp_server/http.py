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
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from orderflow_streaming.exit_codes import CONFIGURATION, CommandError

Right = Literal["read", "write"]

SHORTEST_TOKEN = 16
STOP_S = 1
"""How long open streams may last after a signal."""


def tokens(read: str | None, write: str | None, file: Path | None) -> dict[str, Right]:
    """The tokens by what they open, those of the lines of ``file`` too: ``read TOKEN`` or ``write TOKEN``.

    Short tokens, tokens given twice and an unreadable file end the command.
    """
    flags: list[tuple[str, str | None]] = [("read", read), ("write", write)]
    given = [(right, token) for right, token in flags if token is not None] + (_lines(file) if file else [])
    known: dict[str, Right] = {}
    for right, token in given:
        if len(token) < SHORTEST_TOKEN or not token.isascii():
            raise CommandError(
                f"a token has at least {SHORTEST_TOKEN} ASCII characters. Make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                CONFIGURATION,
            )
        if token in known:
            raise CommandError("a token is given twice. Use another one for each right and client.", CONFIGURATION)
        known[token] = "write" if right == "write" else "read"
    return known


def _lines(file: Path) -> list[tuple[str, str]]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise CommandError(f"the token file {file} cannot be read: {reason}.", CONFIGURATION) from None
    found = [tuple(line.split()) for line in lines if line.strip()]
    pairs = [("read", *words) if len(words) == 1 else words for words in found]
    if not pairs or any(len(words) != 2 or words[0] not in ("read", "write") for words in pairs):
        raise CommandError(
            f"the token file {file} must hold lines `read TOKEN` or `write TOKEN`; a lone TOKEN reads.", CONFIGURATION
        )
    return [(right, token) for right, token in pairs]


def require_guard(host: str, known: Mapping[str, Right], named_hosts: tuple[str, ...], *, writing: bool) -> None:
    """Ends the command where strangers could reach the server, or anyone could write."""
    if not is_loopback(host) and not known:
        raise CommandError(f"{host} is beyond loopback: give --token, or serve on 127.0.0.1.", CONFIGURATION)
    if host in ("0.0.0.0", "::") and not named_hosts:
        raise CommandError(
            f"on {host} say by which names clients reach the server: --allowed-host NAME, once for each.", CONFIGURATION
        )
    if writing and "write" not in known.values():
        raise CommandError("--allow-write over HTTP needs --write-token.", CONFIGURATION)


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; a taken port ends the command with one line."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, place = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        text = f"{host}:{port} cannot be listened on: {error.strerror}. Choose another with --host and --port."
        raise CommandError(text, CONFIGURATION) from None
    return listener


def address(listener: socket.socket) -> str:
    """``host:port`` as it stands in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, named: tuple[str, ...]) -> list[str]:
    """Host headers that are answered, with any port and without one."""
    bracketed = f"[{host}]" if ":" in host else host
    names = {*named, *(("127.0.0.1", "localhost", "[::1]") if is_loopback(host) else (bracketed,))}
    return [pattern for name in sorted(names) for pattern in (name, f"{name}:*")]


def allowed_origins(hosts: list[str]) -> list[str]:
    return [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]


class Guarded:
    """Lets requests with a known bearer token through, and says in the scope what the token may do.

    Without tokens every request may read.
    """

    def __init__(self, app: ASGIApp, known: Mapping[str, Right]) -> None:
        self._app, self._known = app, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = Request(scope).headers.get("authorization")
        right = self._right(header) if self._known else "read"
        if right is None:
            await _unauthorized(refused=header is not None)(scope, receive, send)
            return
        await self._app({**scope, "orderflow_scope": right}, receive, send)

    def _right(self, header: str | None) -> Right | None:
        kind, _, offered = (header or "").partition(" ")
        found: Right | None = None
        for token, right in self._known.items():
            if secrets.compare_digest(offered.strip().encode(), token.encode()) and kind.lower() == "bearer":
                found = right
        return found


def _unauthorized(*, refused: bool) -> JSONResponse:
    """401 as RFC 6750 has it: an error code only where a credential was sent."""
    challenge = 'Bearer realm="orderflow"' + (', error="invalid_token"' if refused else "")
    fact = "invalid_token" if refused else "unauthorized"
    body = {"error": fact, "error_description": "Send the header Authorization: Bearer TOKEN."}
    return JSONResponse(body, 401, {"WWW-Authenticate": challenge})


def application(sessions: Any, known: Mapping[str, Right]) -> Starlette:
    """``/mcp`` for the protocol, ``/health`` for supervisors."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            yield

    routes = [
        Route("/health", health, methods=["GET"]),
        Route("/mcp", Guarded(sessions.handle_request, known)),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until a signal; streams that are still open then are cut after :data:`STOP_S`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=STOP_S, ws="none")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
