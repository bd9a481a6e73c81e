"""What OKX answers over REST, and the rows it becomes.

Source: www.okx.com/docs-v5, "Order Book Trading > Market Data", "Public Data" and "Trading Statistics". An answer is
``{"code": "0", "msg": "", "data": [...]}``. Channels are named after the last part of the path; what an answer does not
name is taken from what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from orderflow_streaming.exchanges.expressions import query
from orderflow_streaming.exchanges.okx import streams as streams
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

INTEREST_PERIOD_MS = 5 * 60_000


def _rest(name: str, paths: Mapping[str, str], *rows: Rows, symbol: str = "$instId") -> Channel:
    return Channel(f"rest/{name}", paths, rows, symbol, item="data.data[*]")


_URL = values(VARCHAR="/rest")
_ASKED_SYMBOL = query("instId")
_CANDLE = streams.candle_fields(query("bar"))
_PRICE_CANDLE = {
    name: _CANDLE[name] for name in ("open_time", "close_time", "interval", "open", "high", "low", "close")
}
_END_OF_PERIOD = milliseconds(f"($[0] + {INTEREST_PERIOD_MS})")
_PRICE_CANDLE_VALUES = values(BIGINT="[0]", DOUBLE="[1] [2] [3] [4]")

POSITIONING = {
    "long-short-account-ratio-contract": "accounts",
    "long-short-account-ratio-contract-top-trader": "top_accounts",
    "long-short-position-ratio-contract-top-trader": "top_positions",
}
"""Last part of the path of each statistic of who is long, and its kind."""

ANSWER_CHANNELS = (
    *(
        _rest(name, streams.CANDLE_VALUES | _URL, Rows("candles", _CANDLE), symbol=_ASKED_SYMBOL)
        for name in ("candles", "history-candles")
    ),
    *(
        _rest(
            name, _PRICE_CANDLE_VALUES | _URL, Rows(kind, _PRICE_CANDLE, required=("open_time", "close")), symbol=symbol
        )
        for name, kind, symbol in (
            ("mark-price-candles", "mark_price_candle", _ASKED_SYMBOL),
            ("index-candles", "index_price_candle", f"{_ASKED_SYMBOL} || '-SWAP'"),
        )
    ),
    *(_rest(name, streams.TRADE_VALUES, streams.TRADE) for name in ("trades", "history-trades")),
    _rest(
        "books",
        values(BIGINT="ts seqId", LEVELS="bids asks") | _URL,
        Rows(
            "book_snapshot",
            {
                "timestamp": milliseconds("$ts"),
                "last_update_id": "$seqId",
                "bids": "$bids",
                "asks": "$asks",
            },
            required=("timestamp", "bids", "asks"),
        ),
        symbol=_ASKED_SYMBOL,
    ),
    _rest("funding-rate", streams.FUNDING_VALUES, *streams.FUNDING),
    _rest(
        "funding-rate-history",
        values(BIGINT="fundingTime", VARCHAR="instId", DOUBLE="fundingRate realizedRate"),
        Rows(
            "funding_rates",
            {
                "timestamp": milliseconds("$fundingTime"),
                "funding_rate": "coalesce($realizedRate, $fundingRate)",
            },
        ),
    ),
    _rest("open-interest", streams.OPEN_INTEREST_VALUES, streams.OPEN_INTEREST),
    _rest(
        "open-interest-history",
        values(BIGINT="[0]", DOUBLE="[1] [3]") | _URL,
        Rows(
            "open_interest",
            {
                "timestamp": f"CASE {query('period')} WHEN '5m' THEN {_END_OF_PERIOD} END",
                "raw_quantity": "$[1]",
                "open_interest_usd": "$[3]",
            },
        ),
        symbol=_ASKED_SYMBOL,
    ),
    *(
        _rest(
            name,
            values(BIGINT="[0]", DOUBLE="[1]") | _URL,
            Rows(
                "positioning",
                {"timestamp": milliseconds("$[0]"), "kind": f"'{kind}'", "long_short_ratio": "$[1]"},
            ),
            symbol=_ASKED_SYMBOL,
        )
        for name, kind in POSITIONING.items()
    ),
    _rest("mark-price", streams.MARK_VALUES, streams.MARK),
    _rest("index-tickers", streams.INDEX_VALUES, streams.INDEX, symbol=streams.SWAP_OF_INDEX),
    *(_rest(name, streams.TICKER_VALUES, streams.TICKER) for name in ("ticker", "tickers")),
    _rest("instruments", streams.INSTRUMENT_VALUES, streams.INSTRUMENT),
)
"""A row of ``open-interest-history`` names the beginning of its period, and is known when that is over."""

SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), f"rest/{channel}")
    for keys, channel in (
        ("asks bids ts", "books"),
        ("instId realizedRate fundingTime", "funding-rate-history"),
        ("instId fundingTime", "funding-rate"),
        ("instId oi oiCcy", "open-interest"),
        ("instId markPx", "mark-price"),
        ("instId idxPx", "index-tickers"),
        ("instId vol24h last", "ticker"),
        ("instId tradeId px", "trades"),
        ("instId instType ctVal", "instruments"),
    )
)
"""Channel of an answer by the keys of its items, where its path is not known; the first that fits."""

LIST_SIGNATURES = {4: "rest/open-interest-history", 9: "rest/candles"}
"""The same by the length of items that are lists."""
