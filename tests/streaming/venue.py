"""A small venue on loopback that speaks Binance's subscription protocol and misbehaves on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from orderflow_streaming.exchanges.binance.futures import BinanceFutures
from orderflow_streaming.exchanges.protocol import Endpoints, Limits, Socket


class QuickBinance(BinanceFutures):
    """Binance with its waiting times divided, so that tests of silence and renewal take no minutes."""

    limits = Limits(
        messages_per_s=2_000,
        topics_per_request=4,
        topics_per_socket=1024,
        connection_lifetime_h=24,
        rest_weight_per_min=2400,
    )
    _topics: ClassVar[Mapping] = {
        "public": (("bookTicker", ("prices",), 0.4), ("depth20@100ms", ("orderbooks",), None))
    }


def quote(symbol: str, update: int) -> bytes:
    """A best bid and ask as Binance sends it."""
    time_ms = 1_700_000_000_000 + update
    return (
        f'{{"stream":"{symbol.lower()}@bookTicker","data":{{"e":"bookTicker","u":{update},"s":"{symbol}",'
        f'"b":"100.1","B":"2","a":"100.2","A":"3","T":{time_ms},"E":{time_ms}}}}}'
    ).encode()


class Venue:
    """Answers requests and sends what tests tell it to. ``port`` is known once it serves."""

    def __init__(self) -> None:
        self.port = 0
        self.open: list[ServerConnection] = []
        self.requests: list[dict] = []
        self.connections = 0
        self.refuse: set[str] = set()
        self.answers = True
        self.subscribed = asyncio.Event()
        self.on_subscribe: Callable[[ServerConnection, list[str]], object] = lambda connection, topics: None
        self._server: Server | None = None

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints({"public": f"ws://127.0.0.1:{self.port}/public/stream"}, f"http://127.0.0.1:{self.port}")

    def socket(self, symbols: Sequence[str], streams: Sequence[str] = ("prices",)) -> Socket:
        return QuickBinance().sockets(symbols, streams, self.endpoints)[0]

    async def send(self, *frames: bytes) -> None:
        """Send to every open connection."""
        for connection in list(self.open):
            for frame in frames:
                try:
                    await connection.send(frame.decode("latin-1"))
                except ConnectionClosed:
                    break

    async def drop(self) -> None:
        """Cut every connection without a closing handshake."""
        for connection in list(self.open):
            connection.transport.abort()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Venue]:
        async with serve(self._serve, "127.0.0.1", self.port) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections += 1
        self.open.append(connection)
        try:
            async for message in connection:
                request = json.loads(message)
                self.requests.append(request)
                if not self.answers:
                    continue
                if self.refuse & set(request["params"]):
                    await connection.send(json.dumps({"error": {"code": 2, "msg": "no such"}, "id": request["id"]}))
                    continue
                await connection.send(json.dumps({"result": None, "id": request["id"]}))
                if request["method"] == "SUBSCRIBE":
                    self.subscribed.set()
                    result = self.on_subscribe(connection, request["params"])
                    if asyncio.iscoroutine(result):
                        await result
        except ConnectionClosed:
            pass
        finally:
            self.open.remove(connection)


async def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait until ``condition()`` is true; fail where it does not become so in time."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("the condition did not become true in time")
        await asyncio.sleep(0.005)
