"""One file per exchange; :func:`exchange` finds the protocol of a market and imports only its file."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from orderflow_streaming import markets
from orderflow_streaming.exchanges.protocol import Exchange

PROTOCOLS: dict[str, str] = {
    "binance_futures": "binance.BinanceFutures",
    "binance_spot": "binance_spot.BinanceSpot",
    "bybit_futures": "bybit.BybitFutures",
    "bybit_spot": "bybit.BybitSpot",
    "kucoin_spot": "kucoin.KucoinSpot",
    "kucoin_futures": "kucoin.KucoinFutures",
    "okx_futures": "okx.OkxFutures",
    "gateio_futures": "gateio.GateioFutures",
    "hyperliquid_futures": "hyperliquid.HyperliquidFutures",
}
"""Market to module and class; one for every declared market."""


@cache
def exchange(market: str) -> Exchange:
    """The protocol of ``market``; raises :class:`~orderflow_streaming.markets.UnknownNameError` where there is none."""
    module, kind = PROTOCOLS[markets.market(market).name].split(".")
    protocol: type[Exchange] = getattr(import_module(f"{__name__}.{module}"), kind)
    return protocol()
