"""A folder or file per exchange; :func:`exchange` finds the protocol of a market and imports only that."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from orderflow_streaming import markets
from orderflow_streaming.exchanges.protocol import Exchange

PROTOCOLS: dict[str, str] = {
    "binance_futures": "binance.futures.BinanceFutures",
    "binance_spot": "binance.spot.BinanceSpot",
    "bybit_futures": "bybit.markets.BybitFutures",
    "bybit_spot": "bybit.markets.BybitSpot",
    "kucoin_spot": "kucoin.markets.KucoinSpot",
    "kucoin_futures": "kucoin.markets.KucoinFutures",
    "okx_futures": "okx.futures.OkxFutures",
    "gateio_futures": "gateio.futures.GateioFutures",
    "hyperliquid_futures": "hyperliquid.futures.HyperliquidFutures",
}
"""Market to module and class; one for every declared market."""


@cache
def exchange(market: str) -> Exchange:
    """The protocol of ``market``; raises :class:`~orderflow_streaming.markets.UnknownNameError` where there is none."""
    module, _, kind = PROTOCOLS[markets.market(market).name].rpartition(".")
    protocol: type[Exchange] = getattr(import_module(f"{__name__}.{module}"), kind)
    return protocol()
