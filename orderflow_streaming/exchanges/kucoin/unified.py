"""Messages of KuCoin's unified interface, found in recordings: ``{"T": "trade.FUTURES", "P": …, "d": {…}}``.

Source: www.kucoin.com/docs-new, "Unified Trading Account", public channels; ``M`` (matching) and ``P`` (push) are
epoch nanoseconds. ``T`` names the kind of message and, where it matters, the market.
"""

from __future__ import annotations

from collections.abc import Mapping

from orderflow_streaming.exchanges.kucoin.values import interval, quote_rows, seconds, stamp
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

PREFIX = "uta/"
"""Of channel names."""


def _unified(name: str, paths: Mapping[str, str], *rows: Rows) -> Channel:
    return Channel(PREFIX + name, paths, rows, item="d")


_MATCHED = stamp("$M")

BOTH_MARKETS = (
    _unified(
        "ticker",
        values(BIGINT="M E", VARCHAR="s", DOUBLE="b B a A l"),
        *quote_rows(
            {
                "timestamp": _MATCHED,
                "bid_price": "$b",
                "ask_price": "$a",
                "raw_bid_qty": "$B",
                "raw_ask_qty": "$A",
                "last_price": "$l",
                "source_seq": "$E",
            }
        ),
    ),
    _unified(
        "trade",
        values(BIGINT="M E", VARCHAR="s S ti", DOUBLE="p q"),
        Rows(
            "trades",
            {
                "timestamp": _MATCHED,
                "trade_id": "$ti",
                "price": "$p",
                "raw_quantity": "$q",
                "is_buyer_maker": "CASE lower($S) WHEN 'sell' THEN true WHEN 'buy' THEN false END",
                "source_seq": "$E",
            },
        ),
    ),
    _unified(
        "obu",
        values(BIGINT="M O C", VARCHAR="s /t", LEVELS="b a"),
        Rows(
            "orderbooks",
            {"timestamp": _MATCHED, "bids": "$b", "asks": "$a", "source_seq": "$C"},
            where="$/t = 'snapshot'",
        ),
        Rows(
            "book_delta",
            {
                "timestamp": _MATCHED,
                "first_update_id": "$O",
                "last_update_id": "$C",
                "bids": "$b",
                "asks": "$a",
            },
            where="$/t = 'delta'",
            required=("timestamp", "last_update_id", "bids", "asks"),
        ),
    ),
)

SPOT_ONLY = (
    _unified(
        "kline",
        values(BIGINT="O C", VARCHAR="s i", DOUBLE="o c h l v a"),
        Rows(
            "candles",
            {
                "open_time": seconds("$O"),
                "close_time": f"{seconds('$C')} - INTERVAL 1 MILLISECOND",
                "interval": interval("$i"),
                "open": "$o",
                "high": "$h",
                "low": "$l",
                "close": "$c",
                "raw_volume": "$v",
                "quote_volume": "$a",
            },
        ),
    ),
)

FUTURES_ONLY = (
    _unified(
        "mark-price",
        values(BIGINT="ts", VARCHAR="s", DOUBLE="mp ip oi"),
        Rows("mark_prices", {"timestamp": milliseconds("$ts"), "mark_price": "$mp", "index_price": "$ip"}),
        Rows("index_prices", {"timestamp": milliseconds("$ts"), "index_price": "$ip"}),
        Rows("open_interest", {"timestamp": milliseconds("$ts"), "raw_quantity": "$oi"}),
    ),
    _unified(
        "funding-fee",
        values(BIGINT="nt /P", VARCHAR="s", DOUBLE="fr"),
        Rows(
            "funding_rates",
            {"timestamp": stamp("$/P"), "funding_rate": "$fr", "next_funding_time": milliseconds("$nt")},
        ),
    ),
)
