"""Binance USDⓈ-M futures: routed combined streams, aggregated trades, twenty-level books, REST open interest.

Its messages are declared in :mod:`streams` and :mod:`answers`. Source: developers.binance.com,
USDⓈ-M Futures, "Connect" and "Websocket Market Streams".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from orderflow_streaming import markets
from orderflow_streaming.exchanges.binance.answers import ANSWER_CHANNELS, CANDLE_REQUESTS, POSITIONING, SIGNATURES
from orderflow_streaming.exchanges.binance.books import FUTURES_BOOKS
from orderflow_streaming.exchanges.binance.histories import FUTURES_HISTORIES
from orderflow_streaming.exchanges.binance.protocol import Binance, Kinds, by_name, filter_value
from orderflow_streaming.exchanges.binance.streams import EVENTS, STREAM_CHANNELS
from orderflow_streaming.exchanges.protocol import STATISTICS_INTERVAL_S, Endpoints, Instrument, Limits, Poll

DEFAULT_FUNDING_INTERVAL_HOURS = 8.0
"""Of contracts that ``GET /fapi/v1/fundingInfo`` leaves out: it lists only those whose interval, cap or floor was
adjusted (developers.binance.com, USDⓈ-M Futures, "Get Funding Rate Info")."""

_POLL_START = b'{"rest":"/fapi/v1/openInterest?'
_USD_MARGINED = 1
"""``st`` of a message, where it has one."""


class BinanceFutures(Binance):
    """Binance USDⓈ-M perpetual futures."""

    market = markets.MARKETS["binance_futures"]
    endpoints = Endpoints(
        sockets={
            "public": "wss://fstream.binance.com/public/stream",
            "market": "wss://fstream.binance.com/market/stream",
        },
        rest="https://fapi.binance.com",
    )
    limits = Limits(
        messages_per_s=10,
        topics_per_request=100,
        topics_per_socket=1024,
        connection_lifetime_h=24,
        rest_weight_per_min=2400,
        used_weight_header="X-MBX-USED-WEIGHT-1M",
    )
    channels = by_name((*STREAM_CHANNELS, *ANSWER_CHANNELS))
    histories = FUTURES_HISTORIES
    books = FUTURES_BOOKS

    _topics: ClassVar[Mapping[str, Kinds]] = {
        "public": (
            ("bookTicker", ("prices",), 10.0),
            ("depth20@100ms", ("orderbooks",), 10.0),
        ),
        "market": (
            ("aggTrade", ("trades",), None),
            ("markPrice@1s", ("mark_prices", "funding_rates", "index_prices"), 30.0),
            ("ticker", ("ticker_24h",), 30.0),
            ("kline_1m", ("candles",), 130.0),
            ("forceOrder", ("liquidations",), None),
        ),
    }
    _events = EVENTS
    _signatures = SIGNATURES
    _candle_requests = CANDLE_REQUESTS
    _alike = frozenset(POSITIONING)

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        interest = [
            Poll("rest/openInterest", symbol, f"/fapi/v1/openInterest?symbol={symbol}", interval_s=15.0)
            for symbol in symbols
            if "open_interest" in streams
        ]
        statistics = [
            Poll(
                f"rest/{name}[]",
                symbol,
                f"/futures/data/{name}?symbol={symbol}&period=5m&limit=1",
                STATISTICS_INTERVAL_S,
            )
            for name in POSITIONING
            for symbol in symbols
            if "positioning" in streams
        ]
        return (*interest, *statistics)

    def route(self, frame: bytes) -> str | None:
        return "rest/openInterest" if frame.startswith(_POLL_START) else super().route(frame)

    def instrument_paths(self) -> tuple[str, ...]:
        return "/fapi/v1/exchangeInfo", "/fapi/v1/fundingInfo"

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        information, adjusted = answers
        hours = {row["symbol"]: float(row["fundingIntervalHours"]) for row in adjusted}
        return [
            Instrument(
                symbol=row["symbol"],
                venue_symbol=row["symbol"],
                status=row["status"],
                contract_size=1.0,
                tick_size=filter_value(row, "PRICE_FILTER", "tickSize"),
                lot_size=filter_value(row, "LOT_SIZE", "stepSize"),
                funding_interval_hours=hours.get(row["symbol"], DEFAULT_FUNDING_INTERVAL_HOURS),
            )
            for row in information["symbols"]
            if row["symbol"] in markets.SYMBOLS and row["contractType"] == "PERPETUAL"
        ]

    def _unread(self, data: Mapping[str, Any]) -> str:
        kind = data.get("st", _USD_MARGINED)
        return "" if kind == _USD_MARGINED else f"st={kind!r:.20} is not a USDⓈ-M contract"
