"""The past of Gate.io USDT futures over REST.

Source: gate.com/docs/developers/apiv4, "Futures", read 2026-11: candlesticks, trades, funding_rate, contract_stats.
Times are whole seconds, both ends of a span included.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.paging import HOUR_US, MINUTE_US, spans
from orderflow_streaming.exchanges.protocol import History, Pages, Request

ROOT = "/api/v4/futures/usdt"
_SECOND_US = 1_000_000
_CANDLES = 2000
_CANDLE_REACH_S = 9_900 * 60.0
"""The venue says "Maximum 10000 points recently are allowed" of what is older (ccxt issue 27861, 2026-02-06)."""
_TRADES = 1000
_TRADES_SPAN_US = 30 * MINUTE_US
"""Keeps offsets, which are counted from the end of a span, far from any limit."""
_SETTLEMENTS = 1000
_SHORTEST_SETTLEMENT_US = HOUR_US
_STATISTICS = 100
_STATISTICS_PERIOD_US = 5 * MINUTE_US


def contract(symbol: str) -> str:
    """``BTC_USDT`` for ``BTCUSDT``."""
    return f"{symbol.removesuffix('USDT')}_USDT"


def candles(symbol: str, start_us: int, end_us: int) -> Pages:
    """One-minute bars that open within the span."""
    for begin, end in spans(start_us, end_us, _CANDLES * MINUTE_US):
        yield Request(f"{ROOT}/candlesticks?contract={contract(symbol)}&interval=1m&{_between(begin, end)}")


def trades(symbol: str, start_us: int, end_us: int) -> Pages:
    """Trades of the span and of the seconds it begins and ends in, page by page."""
    for begin, end in spans(start_us, end_us, _TRADES_SPAN_US):
        within = f"contract={contract(symbol)}&from={begin // _SECOND_US}&to={-(-end // _SECOND_US)}"
        offset, more = 0, True
        while more:
            page = yield Request(f"{ROOT}/trades?{within}&limit={_TRADES}&offset={offset}")
            offset, more = offset + len(page), len(page) == _TRADES


def funding_rates(symbol: str, start_us: int, end_us: int) -> Pages:
    """Rates as they were settled."""
    for begin, end in spans(start_us, end_us, _SETTLEMENTS * _SHORTEST_SETTLEMENT_US):
        query = f"contract={contract(symbol)}&{_between(begin, end)}&limit={_SETTLEMENTS}"
        yield Request(f"{ROOT}/funding_rate?{query}")


def open_interest(symbol: str, start_us: int, end_us: int) -> Pages:
    """Every five minutes."""
    for begin, end in spans(start_us, end_us, _STATISTICS * _STATISTICS_PERIOD_US):
        limit = min(_STATISTICS, (end - begin) // _STATISTICS_PERIOD_US + 1)
        query = f"contract={contract(symbol)}&interval=5m&from={-(-begin // _SECOND_US)}&limit={limit}"
        yield Request(f"{ROOT}/contract_stats?{query}")


def _between(start_us: int, end_us: int) -> str:
    return f"from={-(-start_us // _SECOND_US)}&to={-(-end_us // _SECOND_US) - 1}"


HISTORIES = {
    "trades": History("rest/trades", trades),
    "candles": History("rest/candlesticks", candles, reach_s=_CANDLE_REACH_S),
    "funding_rates": History("rest/funding_rate", funding_rates),
    "open_interest": History("rest/contract_stats", open_interest),
}
