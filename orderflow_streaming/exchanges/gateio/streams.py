"""What Gate.io USDT futures sends on its socket, and the rows it becomes.

Source: gate.com/docs/developers/futures/ws (v4), read 2026-11. Channels have the venue's names. Sizes are contracts,
signed where they have a direction; numbers, or decimal text on a connection with ``X-Gate-Size-Decimal: 1``. Times are
epoch seconds or milliseconds, so their magnitude decides.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.expressions import bar_end, instant
from orderflow_streaming.exchanges.protocol import Channel, Rows, values

ORDER_BOOK_CHANGES = "futures.order_book/update"
"""Changes that ``futures.order_book`` sent beside its snapshots until about 2021."""

_ENVELOPE = values(DOUBLE="/time_ms /time")
_SENT_AT = "coalesce(nullif($/time_ms, 0), $/time)"
"""The envelope's clock, for what had none of its own once; its milliseconds were zero in 2023."""
_OWN_OR_SENT_AT = instant(f"coalesce(nullif($t, 0), {_SENT_AT})")


def _pushed(name: str, paths: dict[str, str], *rows: Rows, symbol: str = "$contract", item: str = "result") -> Channel:
    return Channel(name, paths, rows, symbol=symbol, item=item)


# A book without any order (a contract that is delisted or not begun) is nothing to store.
_NO_ORDERS = "len($bids) + len($asks) = 0"
_BOOK = {"timestamp": _OWN_OR_SENT_AT, "bids": "$bids", "asks": "$asks", "source_seq": "nullif($id, 0)"}
_BOOK_ROWS = (
    Rows("orderbooks", _BOOK, where=f"NOT ({_NO_ORDERS})"),
    Rows("empty_book", _BOOK, where=_NO_ORDERS),
)

# Best bid and ask. A side without orders has an empty price.
_QUOTE = {
    "timestamp": instant("$t"),
    "bid_price": "$b",
    "ask_price": "$a",
    "raw_bid_qty": "$B",
    "raw_ask_qty": "$A",
    "source_seq": "$u",
}
_TWO_SIDED = "coalesce($b > 0 AND $a > 0, false)"

_DELTA = {
    "timestamp": instant("$t"),
    "first_update_id": "$U",
    "last_update_id": "$u",
    "bids": "$b",
    "asks": "$a",
}
_DELTA_ROWS = (
    Rows("book_delta", _DELTA, where="NOT coalesce($full, false)", required=("timestamp", "last_update_id")),
    Rows(
        "book_snapshot",
        _DELTA,
        where="coalesce($full, false)",
        required=("timestamp", "last_update_id", "bids", "asks"),
    ),
)

_TRADE = {
    "timestamp": instant("coalesce($create_time_ms, $create_time)"),
    "trade_id": "$id",
    "price": "$price",
    "raw_quantity": "abs($size)",
    "is_buyer_maker": "$size < 0",
    "source_seq": "$id",
}
"""The taker sold where the size is negative."""
# Takeovers by the insurance fund and auto-deleveraging pass by the book, at prices of their own, and are in no candle.
_IS_INTERNAL = "coalesce($is_internal, false)"

_TICKER_AT = _OWN_OR_SENT_AT
# 2026-09 and 2026-10: recorded pushes carry ``funding_next_apply``, which older ones lack and which therefore had to be
# asked for over REST. The rate applies at that time.
_TICKER_ROWS = (
    Rows(
        "mark_prices",
        {
            "timestamp": _TICKER_AT,
            "mark_price": "$mark_price",
            "index_price": "nullif($index_price, 0)",
            "funding_rate": "$funding_rate",
        },
    ),
    Rows(
        "funding_rates",
        {
            "timestamp": _TICKER_AT,
            "funding_rate": "$funding_rate",
            "next_funding_time": instant("$funding_next_apply"),
        },
        where="$funding_rate IS NOT NULL",
    ),
    Rows(
        "open_interest",
        {"timestamp": _TICKER_AT, "raw_quantity": "$total_size"},
        where="$total_size IS NOT NULL",
    ),
    Rows(
        "ticker_24h",
        {
            "timestamp": _TICKER_AT,
            "raw_volume_24h": "$volume_24h",
            "quote_volume_24h": "$volume_24h_quote",
            "high_24h": "$high_24h",
            "low_24h": "$low_24h",
            "last_price": "$last",
            "price_change": "CASE WHEN $change_from = '24h' THEN $change_price END",
            "price_change_pct": "CASE WHEN coalesce($change_from, '24h') = '24h' THEN $change_percentage END",
        },
    ),
    Rows(
        "index_prices",
        {"timestamp": _TICKER_AT, "index_price": "nullif($index_price, 0)"},
        where="nullif($index_price, 0) IS NOT NULL",
    ),
)
TICKER_VALUES = values(
    VARCHAR="contract change_from",
    DOUBLE="t last mark_price index_price funding_rate funding_next_apply total_size volume_24h volume_24h_quote "
    "high_24h low_24h change_price change_percentage",
)


def ticker_rows(timestamp: str) -> tuple[Rows, ...]:
    """The five streams of a ticker, at ``timestamp``."""
    return tuple(Rows(rows.kind, dict(rows.fields) | {"timestamp": timestamp}, rows.where) for rows in _TICKER_ROWS)


_INTERVAL = "split_part($n, '_', 1)"
_OPENED = instant("$t")
_BAR = {
    "open_time": _OPENED,
    "close_time": bar_end(_OPENED, _INTERVAL),
    "interval": _INTERVAL,
    "open": "$o",
    "high": "$h",
    "low": "$l",
    "close": "$c",
    "raw_volume": "$v",
    "quote_volume": "$a",
    "is_closed": "$w",
}
_NO_BAR = "coalesce($t, $o, $h, $l, $c, $v) IS NULL"

# The side of a liquidation. The documentation gives the size without a word about its sign. Measured 2026-08-11 by a
# public collector (a report in its repository, "LIQ 9B"): of six pushes, each found again in GET …/liq_orders, all six
# had the opposite sign of the record there, which is the position (its order_size is -size; 104 of 114 records above
# zero fell into falling minutes). So the push has the sign of the closing order: below zero the venue sold, and a long
# was closed. A public SDK that re-read the documentation 2026-10-08 reads it the same way. The price of the push was
# the order's in all six, not what it was filled at. Since 2026-08-20 the pushes of a second come in one list, with
# ``time`` in milliseconds; before, one object a second and contract (gateio/WebSocket-API issue 132, 2026-08-10).
_LIQUIDATION = {
    "timestamp": instant("coalesce($time_ms, $time)"),
    "side": "CASE WHEN $size < 0 THEN 'long' WHEN $size > 0 THEN 'short' END",
    "price": "$price",
    "raw_quantity": "abs($size)",
}

STATISTICS_VALUES = values(DOUBLE="time open_interest open_interest_usd", VARCHAR="contract")
STATISTICS = Rows(
    "open_interest",
    {"timestamp": instant("$time"), "raw_quantity": "$open_interest", "open_interest_usd": "$open_interest_usd"},
)

POSITIONING_VALUES = values(DOUBLE="time lsr_account top_lsr_account top_lsr_size lsr_taker")
POSITIONING = tuple(
    Rows(
        "positioning",
        {"timestamp": instant("$time"), "kind": f"'{kind}'", "long_short_ratio": f"${name}"},
        where=f"coalesce(${name} > 0, false)",
    )
    for name, kind in (
        ("lsr_account", "accounts"),
        ("top_lsr_account", "top_accounts"),
        ("top_lsr_size", "top_positions"),
        ("lsr_taker", "taker_volume"),
    )
)
"""Of the answer that also tells the open interest, which tickers bring sooner."""

STREAM_CHANNELS = (
    _pushed(
        "futures.book_ticker",
        values(DOUBLE="t b B a A", BIGINT="u", VARCHAR="s"),
        Rows("prices", _QUOTE, where=_TWO_SIDED),
        Rows("one_sided_quote", _QUOTE, where=f"NOT {_TWO_SIDED}"),
        symbol="$s",
    ),
    _pushed(
        "futures.order_book",
        values(DOUBLE="t", BIGINT="id", VARCHAR="contract") | {"bids": "LEVELS p s", "asks": "LEVELS p s"} | _ENVELOPE,
        *_BOOK_ROWS,
    ),
    _pushed(
        ORDER_BOOK_CHANGES,
        values(DOUBLE="p s", BIGINT="id", VARCHAR="c") | _ENVELOPE,
        Rows(
            "book_change",
            {
                "timestamp": instant(_SENT_AT),
                "side": "CASE WHEN $s > 0 THEN 'bid' WHEN $s < 0 THEN 'ask' END",
                "price": "$p",
                "raw_quantity": "abs($s)",
                "last_update_id": "$id",
            },
            required=("timestamp", "price", "raw_quantity"),
        ),
        symbol="$c",
        item="result[*]",
    ),
    _pushed(
        "futures.order_book_update",
        values(DOUBLE="t", BIGINT="U u", VARCHAR="s", BOOLEAN="full") | {"b": "LEVELS p s", "a": "LEVELS p s"},
        *_DELTA_ROWS,
        symbol="$s",
    ),
    _pushed(
        "futures.obu",
        values(DOUBLE="t", BIGINT="U u", VARCHAR="s", BOOLEAN="full", LEVELS="b a"),
        *_DELTA_ROWS,
        symbol="nullif(split_part($s, '.', 2), '')",
    ),
    _pushed(
        "futures.trades",
        values(DOUBLE="create_time_ms create_time price size", BIGINT="id", VARCHAR="contract", BOOLEAN="is_internal"),
        Rows("trades", _TRADE, where=f"NOT {_IS_INTERNAL}"),
        Rows("off_market_trade", _TRADE, where=_IS_INTERNAL),
        item="result[*]",
    ),
    _pushed("futures.tickers", TICKER_VALUES | _ENVELOPE, *_TICKER_ROWS, item="result[*]"),
    _pushed(
        "futures.candlesticks",
        values(DOUBLE="t o h l c v a", VARCHAR="n", BOOLEAN="w"),
        Rows("candles", _BAR, where=f"NOT ({_NO_BAR})"),
        Rows("empty_candle", {"interval": _INTERVAL}, where=_NO_BAR),
        symbol="nullif(substr($n, strpos($n, '_') + 1), '')",
        item="result[*]",
    ),
    _pushed(
        "futures.public_liquidates",
        values(DOUBLE="time_ms time price size", VARCHAR="contract"),
        Rows("liquidations", _LIQUIDATION),
        item="result[*]",
    ),
    _pushed("futures.contract_stats", STATISTICS_VALUES, STATISTICS, item="result[*]"),
)
