"""ccxt.pro's own handling of a message: its client's ``handle_message``, up to the parsed structure in the cache."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ccxt.pro
from aiohttp import WSMessage, WSMsgType
from serving import Frames, serve

EXCHANGES = {
    "binance_futures": "binanceusdm",
    "binance_spot": "binance",
    "bybit_futures": "bybit",
    "bybit_spot": "bybit",
    "okx_futures": "okx",
    "gateio_futures": "gate",
    "hyperliquid_futures": "hyperliquid",
    "kucoin_spot": "kucoin",
    "kucoin_futures": "kucoinfutures",
}


QUOTES = {"hyperliquid_futures": "USDC"}
"""Where the library puts the name of an instrument together itself; elsewhere the venue's is looked up."""


def markets(exchange: Any, names: list[str], spot: bool, quote: str) -> list[dict[str, Any]]:
    """The library's description of instruments, as far as its parsing looks at it."""
    return [
        exchange.safe_market_structure(
            {
                "id": name,
                "symbol": f"{name}/{quote}" if spot else f"{name}/{quote}:{quote}",
                "base": name,
                "quote": quote,
                "settle": None if spot else quote,
                "baseId": name,
                "baseName": name,
                "quoteId": quote,
                "type": "spot" if spot else "swap",
                "spot": spot,
                "swap": not spot,
                "contract": not spot,
                "linear": None if spot else True,
                "inverse": None if spot else False,
                "contractSize": None if spot else 1.0,
                "active": True,
                "precision": {"amount": 0.001, "price": 0.01},
                "info": {},
            }
        )
        for name in names
    ]


def handle(job: dict[str, Any], frames: Frames) -> dict[str, Any]:
    messages = [WSMessage(WSMsgType.TEXT, frame, None) for _, frame in frames]
    return asyncio.run(run(job, messages))


async def run(job: dict[str, Any], messages: list[WSMessage]) -> dict[str, Any]:
    spot = job["market"].endswith("_spot")
    taken, spent = 0, 0.0
    for start in range(0, len(messages), job["restart_every"]):
        exchange = getattr(ccxt.pro, EXCHANGES[job["market"]])({"options": {"defaultType": "spot" if spot else "swap"}})
        exchange.set_markets(markets(exchange, job["symbols"], spot, QUOTES.get(job["market"], "X")))
        client = exchange.client(job["url"])
        for name in job["symbols"]:
            client.subscriptions[f"{job['channel']}:{exchange.safe_symbol(name)}"] = {}
        for name, snapshot in job["books"].items():
            symbol = exchange.safe_symbol(name)
            exchange.orderbooks[symbol] = exchange.order_book({**snapshot, "symbol": symbol})
        if job["count"]:
            resolve = client.resolve

            def counted(result: Any, message_hash: Any, resolve: Any = resolve) -> Any:
                nonlocal taken
                taken += 1
                return resolve(result, message_hash)

            client.resolve = counted
        part = messages[start : start + job["restart_every"]]
        began = time.process_time()
        for message in part:
            client.handle_message(message)
        spent += time.process_time() - began
        await exchange.close()
    return {"cpu_s": spent, "taken": taken}


if __name__ == "__main__":
    serve(handle)
