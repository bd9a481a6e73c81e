"""What Hyperliquid sends on its socket and answers over REST, and the rows it becomes.

Source: hyperliquid.gitbook.io/hyperliquid-docs, "Websocket: Subscriptions" and "Info endpoint", read 2026-11. Channels
of the socket have the venue's names, answers are named after the type of request. Sizes are base coin, numbers are
text, times epoch milliseconds. There is no public feed of liquidations.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

_TIME = milliseconds("$time")
_BIDS_AND_ASKS = {"levels[0]": "LEVELS px sz", "levels[1]": "LEVELS px sz"}
_BOOK = {"timestamp": _TIME, "bids": "$levels[0]", "asks": "$levels[1]"}
_EMPTY = "len($levels[0]) + len($levels[1]) = 0"

_QUOTE = {
    "timestamp": _TIME,
    "bid_price": "$bbo[0].px",
    "ask_price": "$bbo[1].px",
    "raw_bid_qty": "$bbo[0].sz",
    "raw_ask_qty": "$bbo[1].sz",
}
_TWO_SIDED = "$bbo[0].px IS NOT NULL AND $bbo[1].px IS NOT NULL"

_TRADE = {
    "timestamp": _TIME,
    "trade_id": "$tid",
    "price": "$px",
    "raw_quantity": "$sz",
    # ``A`` hit the bids, ``B`` lifted the asks.
    "is_buyer_maker": "CASE $side WHEN 'A' THEN true WHEN 'B' THEN false END",
}
_TRADE_VALUES = values(BIGINT="time tid", VARCHAR="coin side", DOUBLE="px sz")

_BAR = {
    "open_time": milliseconds("$t"),
    "close_time": milliseconds("$T"),
    "interval": "$i",
    "open": "$o",
    "high": "$h",
    "low": "$l",
    "close": "$c",
    "raw_volume": "$v",
    "trade_count": "$n",
}
_BAR_VALUES = values(BIGINT="t T", INTEGER="n", VARCHAR="s i", DOUBLE="o h l c v")
_NO_BAR = "coalesce($o, $h, $l, $c, $v, $n) IS NULL"

_CONTEXT_VALUES = values(
    VARCHAR="coin",
    DOUBLE="ctx.funding ctx.openInterest ctx.prevDayPx ctx.dayNtlVlm ctx.dayBaseVlm ctx.oraclePx ctx.markPx ctx.midPx",
)
_CONTEXT_ROWS = (
    # A context has no time of its own.
    Rows(
        "mark_prices",
        {
            "timestamp": "received_at",
            "mark_price": "$ctx.markPx",
            "index_price": "nullif($ctx.oraclePx, 0)",
            "funding_rate": "$ctx.funding",
        },
    ),
    # Funding is paid at every full hour.
    Rows(
        "funding_rates",
        {
            "timestamp": "received_at",
            "funding_rate": "$ctx.funding",
            "next_funding_time": "date_trunc('hour', received_at) + INTERVAL 1 HOUR",
        },
        where="$ctx.funding IS NOT NULL",
    ),
    Rows(
        "open_interest",
        {
            "timestamp": "received_at",
            "raw_quantity": "$ctx.openInterest",
            "open_interest_usd": "$ctx.openInterest * $ctx.markPx",
        },
        where="$ctx.openInterest IS NOT NULL",
    ),
    # The venue tells no last price. Its day is measured at the mid, which is NULL where a side is empty.
    Rows(
        "ticker_24h",
        {
            "timestamp": "received_at",
            "last_price": "$ctx.midPx",
            "open_24h": "$ctx.prevDayPx",
            "raw_volume_24h": "$ctx.dayBaseVlm",
            "quote_volume_24h": "$ctx.dayNtlVlm",
        },
        where="$ctx.midPx IS NOT NULL",
    ),
    Rows(
        "index_prices",
        {"timestamp": "received_at", "index_price": "nullif($ctx.oraclePx, 0)"},
        where="nullif($ctx.oraclePx, 0) IS NOT NULL",
    ),
)

MESSAGE_CHANNELS = (
    Channel(
        "bbo",
        values(BIGINT="time", VARCHAR="coin", DOUBLE="bbo[0].px bbo[0].sz bbo[1].px bbo[1].sz"),
        (Rows("prices", _QUOTE, where=_TWO_SIDED), Rows("one_sided_quote", _QUOTE, where=f"NOT ({_TWO_SIDED})")),
        symbol="$coin",
    ),
    Channel(
        "l2Book",
        values(BIGINT="time", VARCHAR="coin") | _BIDS_AND_ASKS,
        # A delisted coin has an empty book.
        (Rows("orderbooks", _BOOK, where=f"NOT ({_EMPTY})"), Rows("empty_book", _BOOK, where=_EMPTY)),
        symbol="$coin",
    ),
    Channel("trades", _TRADE_VALUES, (Rows("trades", _TRADE),), symbol="$coin", item="data[*]"),
    Channel("activeAssetCtx", _CONTEXT_VALUES, _CONTEXT_ROWS, symbol="$coin"),
    # Without a word about whether the bar is closed: it is once the next one comes.
    Channel(
        "candle",
        _BAR_VALUES,
        (Rows("candles", _BAR, where=f"NOT ({_NO_BAR})"), Rows("empty_candle", {"interval": "$i"}, where=_NO_BAR)),
    ),
    # Known, and not collected.
    Channel(
        "activeSpotAssetCtx",
        values(VARCHAR="coin", DOUBLE="ctx.markPx ctx.midPx"),
        (Rows("spot_context", {"mark_price": "$ctx.markPx", "mid_price": "$ctx.midPx"}),),
        symbol="$coin",
    ),
    Channel(
        "allMids",
        values(VARCHAR="coin", DOUBLE="px"),
        (Rows("mid_price", {"mid_price": "$px"}, required=("mid_price",)),),
        symbol="$coin",
        item="data[*]",
    ),
    Channel(
        "allDexsAssetCtxs",
        values(VARCHAR="dex", INTEGER="position", DOUBLE="ctx.markPx ctx.openInterest"),
        (
            Rows(
                "context_by_position",
                {
                    "dex": "$dex",
                    "position": "$position",
                    "mark_price": "$ctx.markPx",
                    "open_interest": "$ctx.openInterest",
                },
                required=("position",),
            ),
        ),
        symbol="coalesce($dex, '') || '#' || $position",
        item="data[*]",
    ),
    Channel(
        "rest/l2Book",
        values(BIGINT="time", VARCHAR="coin") | _BIDS_AND_ASKS,
        (Rows("book_snapshot", _BOOK, required=("bids", "asks")),),
        symbol="$coin",
    ),
    Channel("rest/recentTrades", _TRADE_VALUES, (Rows("trades", _TRADE),), symbol="$coin", item="data[*]"),
    Channel(
        "rest/candleSnapshot",
        _BAR_VALUES,
        (Rows("candles", _BAR | {"is_closed": f"{milliseconds('$T')} < received_at"}),),
        item="data[*]",
    ),
    Channel(
        "rest/fundingHistory",
        values(BIGINT="time", VARCHAR="coin", DOUBLE="fundingRate"),
        (Rows("funding_rates", {"timestamp": _TIME, "funding_rate": "$fundingRate"}),),
        symbol="$coin",
        item="data[*]",
    ),
    Channel("rest/metaAndAssetCtxs", _CONTEXT_VALUES, _CONTEXT_ROWS, symbol="$coin", item="data[*]"),
    Channel(
        "rest/meta",
        values(VARCHAR="name", INTEGER="szDecimals", BOOLEAN="isDelisted"),
        (
            Rows(
                "instrument",
                {
                    "venue_symbol": "$name",
                    "status": "CASE WHEN $isDelisted THEN 'delisted' ELSE 'listed' END",
                    "contract_size": "1.0::DOUBLE",
                    "lot_size": "pow(10, -$szDecimals)",
                    "funding_interval_hours": "1.0::DOUBLE",
                },
                required=("venue_symbol",),
            ),
        ),
        symbol="$name",
        item="data.universe[*]",
    ),
)

SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), channel)
    for keys, channel in (
        ("universe", "rest/meta"),
        ("coin levels", "rest/l2Book"),
        ("coin side px sz tid", "rest/recentTrades"),
        ("t T s i", "rest/candleSnapshot"),
        ("coin fundingRate", "rest/fundingHistory"),
    )
)
"""Channel by the keys of an answer, or of the first of a list; the first that fits."""
