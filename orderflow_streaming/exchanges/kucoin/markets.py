"""KuCoin spot and futures: best quotes, fifty-level books, single trades; open interest and settlements over REST.

Their messages are declared in :mod:`spot`, :mod:`futures` and :mod:`futures_answers`, those of the
unified interface, which are only found in recordings, in :mod:`unified`. Source: www.kucoin.com/docs-new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from orderflow_streaming import markets
from orderflow_streaming.exchanges.kucoin.books import FUTURES_BOOK, SPOT_BOOK, UNIFIED_BOOK
from orderflow_streaming.exchanges.kucoin.futures_answers import FUTURES_CHANNELS, FUTURES_LISTS, FUTURES_SIGNATURES
from orderflow_streaming.exchanges.kucoin.histories import futures_histories, spot_histories
from orderflow_streaming.exchanges.kucoin.protocol import POLLED, KuCoin
from orderflow_streaming.exchanges.kucoin.spot import SPOT_CHANNELS, SPOT_SIGNATURES
from orderflow_streaming.exchanges.protocol import Endpoints, Instrument, Limits, Poll

LIMITS = Limits(
    messages_per_s=10,
    topics_per_request=100,
    topics_per_socket=400,
    connection_lifetime_h=24,
    rest_weight_per_min=4000,
)


class KucoinSpot(KuCoin):
    """KuCoin spot."""

    market = markets.MARKETS["kucoin_spot"]
    endpoints = Endpoints(sockets={"public": "wss://ws-api-spot.kucoin.com/"}, rest="https://api.kucoin.com")
    limits = LIMITS
    channels = SPOT_CHANNELS
    books: ClassVar = {"level2": SPOT_BOOK, "uta/obu": UNIFIED_BOOK}
    counts_base = True
    neutral_symbol = "replace(upper(venue_symbol), '-', '')"

    _topics = (
        ("/market/ticker:{}", ("prices",), 60.0),
        ("/spotMarket/level2Depth50:{}", ("orderbooks",), 60.0),
        ("/market/match:{}", ("trades",), None),
        ("/market/snapshot:{}", ("ticker_24h",), 60.0),
        ("/market/candles:{}_1min", ("candles",), None),
    )
    _signatures = SPOT_SIGNATURES
    _bars = "rest/candles"
    _trade_type = "SPOT"

    @staticmethod
    def spelled(symbol: str) -> str:
        return f"{symbol.removesuffix('USDT')}-USDT"

    histories = spot_histories(spelled)

    def instrument_paths(self) -> tuple[str, ...]:
        return ("/api/v2/symbols",)

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        symbols = {self.spelled(symbol): symbol for symbol in markets.SYMBOLS}
        return [
            Instrument(
                symbol=symbols[row["symbol"]],
                venue_symbol=row["symbol"],
                status="trading",
                contract_size=1.0,
                tick_size=float(row["priceIncrement"]),
                lot_size=float(row["baseIncrement"]),
            )
            for row in answers[0]["data"]
            if row["symbol"] in symbols and row["enableTrading"]
        ]


class KucoinFutures(KuCoin):
    """KuCoin perpetual futures that settle in USDT."""

    market = markets.MARKETS["kucoin_futures"]
    endpoints = Endpoints(sockets={"public": "wss://ws-api-futures.kucoin.com/"}, rest="https://api-futures.kucoin.com")
    limits = replace(LIMITS, topics_per_socket=300)
    channels = FUTURES_CHANNELS
    books: ClassVar = {"level2": FUTURES_BOOK, "uta/obu": UNIFIED_BOOK}
    counts_base = False
    neutral_symbol = "regexp_replace(regexp_replace(upper(venue_symbol), '^XBT', 'BTC'), '(USD[TC]?)M$', '\\1')"

    _topics = (
        ("/contractMarket/tickerV2:{}", ("prices",), 60.0),
        ("/contractMarket/level2Depth50:{}", ("orderbooks",), 60.0),
        ("/contractMarket/execution:{}", ("trades",), None),
        ("/contract/instrument:{}", ("mark_prices", "index_prices", "funding_rates"), 30.0),
        ("/contractMarket/snapshot:{}", ("ticker_24h",), 60.0),
        ("/contractMarket/limitCandle:{}_1min", ("candles",), None),
    )
    _signatures = FUTURES_SIGNATURES
    _bars = "rest/kline/query"
    _lists = FUTURES_LISTS
    _trade_type = "FUTURES"

    @staticmethod
    def spelled(symbol: str) -> str:
        base = symbol.removesuffix("USDT")
        return f"{'XBT' if base == 'BTC' else base}USDTM"

    histories = futures_histories(spelled)

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        """Open interest, and when the next funding is settled, which no topic tells."""
        if not {"open_interest", "funding_rates"} & set(streams):
            return ()
        return tuple(
            Poll(POLLED, symbol, f"/api/v1/contracts/{self.spelled(symbol)}", interval_s=15.0, weight=3)
            for symbol in symbols
        )

    def instrument_paths(self) -> tuple[str, ...]:
        return ("/api/v1/contracts/active",)

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        symbols = {self.spelled(symbol): symbol for symbol in markets.SYMBOLS}
        return [
            Instrument(
                symbol=symbols[row["symbol"]],
                venue_symbol=row["symbol"],
                status=row["status"],
                contract_size=float(row["multiplier"]),
                tick_size=float(row["tickSize"]),
                lot_size=float(row["lotSize"]),
                funding_interval_hours=_hours(row.get("fundingRateGranularity")),
            )
            for row in answers[0]["data"]
            if row["symbol"] in symbols
        ]


def _hours(granularity_ms: float | None) -> float | None:
    return granularity_ms / 3_600_000 if granularity_ms else None
