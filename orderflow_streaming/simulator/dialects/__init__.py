"""One file per venue; adding one is that file and its entry here."""

from __future__ import annotations

from orderflow_streaming.simulator.dialects.binance.futures import BinanceFutures
from orderflow_streaming.simulator.dialects.binance.spot import BinanceSpot
from orderflow_streaming.simulator.dialects.bybit.markets import BybitFutures, BybitSpot
from orderflow_streaming.simulator.dialects.dialect import Dialect
from orderflow_streaming.simulator.dialects.gateio.futures import GateioFutures
from orderflow_streaming.simulator.dialects.hyperliquid.futures import HyperliquidFutures
from orderflow_streaming.simulator.dialects.kucoin.futures import KucoinFutures
from orderflow_streaming.simulator.dialects.kucoin.spot import KucoinSpot
from orderflow_streaming.simulator.dialects.okx.futures import OkxFutures

DIALECTS: dict[str, Dialect] = {
    dialect.venue.name: dialect
    for dialect in (
        BinanceFutures(),
        BinanceSpot(),
        BybitFutures(),
        BybitSpot(),
        KucoinSpot(),
        KucoinFutures(),
        OkxFutures(),
        GateioFutures(),
        HyperliquidFutures(),
    )
}
