"""cryptofeed's own handling of a message: its feed's ``message_handler``, with callbacks that take typed objects."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any

from cryptofeed import defines, exchanges
from cryptofeed.symbols import Symbols
from serving import Frames, serve

FEEDS = {
    "binance_futures": exchanges.BinanceFutures,
    "binance_spot": exchanges.Binance,
    "bybit_futures": exchanges.Bybit,
    "bybit_spot": exchanges.Bybit,
    "okx_futures": exchanges.OKX,
    "gateio_futures": exchanges.GateioFutures,
    "kucoin_spot": exchanges.KuCoin,
}
TOKEN = {"data": {"token": "", "instanceServers": [{"endpoint": "", "pingInterval": 18_000}]}}
"""What KuCoin's feed asks for before it connects."""
TAKEN = (
    *(defines.TRADES, defines.TICKER, defines.L2_BOOK, defines.FUNDING, defines.INDEX),
    *(defines.OPEN_INTEREST, defines.CANDLES, defines.LIQUIDATIONS),
)


class Snapshots:
    """In the place of the feed's HTTP connection: the recorded answer for the symbol in the address."""

    def __init__(self, answers: dict[str, str]) -> None:
        self._answers = answers
        self.asked = 0

    async def read(self, address: str, **_: Any) -> str:
        self.asked += 1
        return next(answer for symbol, answer in self._answers.items() if f"={symbol}&" in f"{address}&")


def handle(job: dict[str, Any], frames: Frames) -> dict[str, Any]:
    if job["market"] not in FEEDS:
        return {"error": "the library has no such market"}
    kind = FEEDS[job["market"]]
    spelled = kind.convert_to_spot_name if job["market"] == "bybit_spot" else lambda _, symbol: symbol
    names = {spelled(kind, symbol): symbol for symbol in job["symbols"]}
    names = {name: name for name in names if name}
    kind.http_sync = SimpleNamespace(write=lambda *_, **__: TOKEN)
    details = {"instrument_type": dict.fromkeys(names, ""), "tick_size": dict.fromkeys(names, "0.1")}
    Symbols.set(kind.id, names, details)
    taken = 0

    async def take(typed: object, received: float) -> None:
        nonlocal taken
        taken += 1

    async def run() -> float:
        connection = SimpleNamespace(address=job["url"], uuid="bench", subscription={})
        spent = 0.0
        for start in range(0, len(frames), job["restart_every"]):
            feed = kind(candle_closed_only=False, checksum_validation=True, callbacks=dict.fromkeys(TAKEN, take))
            if hasattr(feed, "_reset"):
                feed._reset()
            feed.http_conn = Snapshots(job["snapshots"])
            part = frames[start : start + job["restart_every"]]
            began = time.process_time()
            for received, frame in part:
                await feed.message_handler(frame, connection, received)
            spent += time.process_time() - began
        return spent

    return {"cpu_s": asyncio.run(run()), "taken": taken}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve(handle)
