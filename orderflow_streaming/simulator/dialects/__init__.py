"""One file per venue; adding one is that file and its entry here."""

from __future__ import annotations

from orderflow_streaming.simulator.dialects.binance_futures import BinanceFutures
from orderflow_streaming.simulator.dialects.binance_spot import BinanceSpot
from orderflow_streaming.simulator.dialects.bybit import BybitFutures, BybitSpot
from orderflow_streaming.simulator.dialects.dialect import Dialect
from orderflow_streaming.simulator.dialects.gateio_futures import GateioFutures
from orderflow_streaming.simulator.dialects.hyperliquid_futures import HyperliquidFutures
from orderflow_streaming.simulator.dialects.kucoin_futures import KucoinFutures
from orderflow_streaming.simulator.dialects.kucoin_spot import KucoinSpot
from orderflow_streaming.simulator.dialects.okx_futures import OkxFutures

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
