"""Binance spot: one combined stream, single trades, twenty-level books.

What differs from futures is declared in :mod:`spot_messages`. Source: developers.binance.com, Spot, "Websocket
Market Streams" and "General API Information".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from orderflow_streaming import markets
from orderflow_streaming.exchanges.binance.books import SPOT_BOOKS
from orderflow_streaming.exchanges.binance.histories import SPOT_HISTORIES
from orderflow_streaming.exchanges.binance.protocol import Binance, Kinds, by_name, filter_value
from orderflow_streaming.exchanges.binance.spot_messages import (
    SPOT_ANSWER_CHANNELS,
    SPOT_CANDLE_REQUESTS,
    SPOT_EVENTS,
    SPOT_SIGNATURES,
    SPOT_STREAM_CHANNELS,
)
from orderflow_streaming.exchanges.protocol import Endpoints, Instrument, Limits


class BinanceSpot(Binance):
    """Binance spot markets."""

    market = markets.MARKETS["binance_spot"]
    endpoints = Endpoints(
        sockets={"main": "wss://stream.binance.com:9443/stream"},
        rest="https://api.binance.com",
    )
    limits = Limits(
        messages_per_s=5,
        topics_per_request=100,
        topics_per_socket=1024,
        connection_lifetime_h=24,
        rest_weight_per_min=6000,
        used_weight_header="X-MBX-USED-WEIGHT-1M",
    )
    channels = by_name((*SPOT_STREAM_CHANNELS, *SPOT_ANSWER_CHANNELS))
    histories = SPOT_HISTORIES
    books = SPOT_BOOKS

    _topics: ClassVar[Mapping[str, Kinds]] = {
        "main": (
            ("bookTicker", ("prices",), 60.0),
            ("depth20@100ms", ("orderbooks",), 60.0),
            ("trade", ("trades",), None),
            ("ticker", ("ticker_24h",), 60.0),
            ("kline_1m", ("candles",), 300.0),
        ),
    }
    _events = SPOT_EVENTS
    _signatures = SPOT_SIGNATURES
    _candle_requests = SPOT_CANDLE_REQUESTS

    def instrument_paths(self) -> tuple[str, ...]:
        return ("/api/v3/exchangeInfo?showPermissionSets=false",)

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        (information,) = answers
        return [
            Instrument(
                symbol=row["symbol"],
                venue_symbol=row["symbol"],
                status=row["status"],
                contract_size=1.0,
                tick_size=filter_value(row, "PRICE_FILTER", "tickSize"),
                lot_size=filter_value(row, "LOT_SIZE", "stepSize"),
            )
            for row in information["symbols"]
            if row["symbol"] in markets.SYMBOLS
        ]
