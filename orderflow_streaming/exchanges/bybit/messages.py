"""What Bybit sends on its public sockets, and the rows it becomes; linear contracts and spot alike.

Source: bybit-exchange.github.io/docs/v5, "WebSocket Stream", "Public". Channels are named after the first part of the
topic. Sizes are base coin, times epoch milliseconds. The key order of frames differs between markets.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

_SYMBOL_OF_TOPIC = "regexp_extract($/topic, '[^.]+$')"
_FRAME_TIME = milliseconds("$/ts")
_BOOK_TIME = f"coalesce({milliseconds('$/cts')}, {_FRAME_TIME})"
"""Of the matching engine where it is told, which old frames do not; else of the frame."""

INTERVALS = {"1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h"}
INTERVALS |= {"360": "6h", "720": "12h", "D": "1d", "W": "1w", "M": "1M"}


def interval(expression: str) -> str:
    """SQL of the name of a candle's length; NULL for one the venue does not have."""
    cases = " ".join(f"WHEN '{theirs}' THEN '{ours}'" for theirs, ours in INTERVALS.items())
    return f"CASE {expression} {cases} END"


def taker_sold(side: str) -> str:
    """SQL: the taker's side as whether the buyer was the maker."""
    return f"CASE {side} WHEN 'Sell' THEN true WHEN 'Buy' THEN false END"


CLOSED_POSITION = "CASE $S WHEN 'Buy' THEN 'long' WHEN 'Sell' THEN 'short' END"
"""The venue tells the side of the position, not that of the order."""

_BOOK_VALUES = values(BIGINT="/ts /cts u seq", VARCHAR="/type s", LEVELS="b a")


def _book(name: str, prefix: str = "") -> Channel:
    fields = {"timestamp": _BOOK_TIME, "last_update_id": "$u", "sequence": "$seq", "bids": "$b", "asks": "$a"}
    required = ("timestamp", "last_update_id", "bids", "asks")
    return Channel(
        name,
        _BOOK_VALUES,
        (
            Rows(f"{prefix}book_snapshot", fields, where="$/type = 'snapshot'", required=required),
            Rows(f"{prefix}book_delta", fields, where="$/type = 'delta'", required=required),
        ),
    )


_QUOTE = {
    "timestamp": _BOOK_TIME,
    "bid_price": "$b[0][0]",
    "ask_price": "$a[0][0]",
    "raw_bid_qty": "$b[0][1]",
    "raw_ask_qty": "$a[0][1]",
    "source_seq": "$u",
}
_HAS_BOTH_SIDES = "$b[0][0] IS NOT NULL AND $a[0][0] IS NOT NULL"

_TRADE = {
    "timestamp": milliseconds("$T"),
    "trade_id": "$i",
    "price": "$p",
    "raw_quantity": "$v",
    "is_buyer_maker": taker_sold("$S"),
    "source_seq": "$seq",
}
_IS_BLOCK_TRADE = "coalesce($BT, false)"
"""Block trades are agreed away from the book, at any price."""

STREAM_CHANNELS = (
    Channel(
        "orderbook.1",
        values(BIGINT="/ts /cts u", VARCHAR="/type s", DOUBLE="b[0][0] b[0][1] a[0][0] a[0][1]"),
        (
            Rows("prices", _QUOTE, where=f"$/type = 'snapshot' AND {_HAS_BOTH_SIDES}"),
            Rows("one_sided_quote", _QUOTE, where=f"$/type = 'snapshot' AND NOT ({_HAS_BOTH_SIDES})"),
            Rows("quote_change", _QUOTE, where="$/type = 'delta'"),
        ),
    ),
    _book("orderbook"),
    _book("orderbook.full", "full_"),
    _book("orderbook.rpi", "rpi_"),
    Channel(
        "publicTrade",
        values(BIGINT="T seq", VARCHAR="s S i", DOUBLE="p v", BOOLEAN="BT"),
        (
            Rows("trades", _TRADE, where=f"NOT {_IS_BLOCK_TRADE}"),
            Rows("block_trade", _TRADE, where=_IS_BLOCK_TRADE),
        ),
        item="data[*]",
    ),
    Channel(
        "kline",
        values(
            BIGINT="start end",
            VARCHAR="/topic interval",
            DOUBLE="open high low close volume turnover",
            BOOLEAN="confirm",
        ),
        (
            Rows(
                "candles",
                {
                    "open_time": milliseconds("$start"),
                    "close_time": milliseconds("$end"),
                    "interval": interval("$interval"),
                    "open": "$open",
                    "high": "$high",
                    "low": "$low",
                    "close": "$close",
                    "raw_volume": "$volume",
                    "quote_volume": "$turnover",
                    "is_closed": "$confirm",
                },
            ),
        ),
        symbol=_SYMBOL_OF_TOPIC,
        item="data[*]",
    ),
    Channel(
        "allLiquidation",
        values(BIGINT="T", VARCHAR="s S", DOUBLE="p v"),
        (
            Rows(
                "liquidations",
                {"timestamp": milliseconds("$T"), "side": CLOSED_POSITION, "price": "$p", "raw_quantity": "$v"},
            ),
        ),
        item="data[*]",
    ),
    Channel(
        "liquidation",
        values(BIGINT="updatedTime", VARCHAR="symbol side", DOUBLE="price size"),
        (
            Rows(
                "liquidations",
                {
                    "timestamp": milliseconds("$updatedTime"),
                    "side": CLOSED_POSITION.replace("$S", "$side"),
                    "price": "$price",
                    "raw_quantity": "$size",
                },
            ),
        ),
        symbol="$symbol",
    ),
    Channel(
        "priceLimit",
        values(BIGINT="/ts", VARCHAR="symbol", DOUBLE="buyLmt sellLmt"),
        (
            Rows(
                "price_limit",
                {"timestamp": _FRAME_TIME, "highest_bid": "$buyLmt", "lowest_ask": "$sellLmt"},
                required=("timestamp",),
            ),
        ),
        symbol="$symbol",
    ),
)

_TICKER_VALUES = values(
    VARCHAR="symbol",
    DOUBLE="lastPrice highPrice24h lowPrice24h prevPrice24h volume24h turnover24h price24hPcnt",
)


def _ticker(time: str) -> dict[str, str]:
    return {
        "timestamp": time,
        "last_price": "$lastPrice",
        "high_24h": "$highPrice24h",
        "low_24h": "$lowPrice24h",
        "open_24h": "$prevPrice24h",
        "raw_volume_24h": "$volume24h",
        "quote_volume_24h": "$turnover24h",
        "price_change_pct": "$price24hPcnt * 100",
    }


SPOT_TICKER = Channel(
    "tickers",
    _TICKER_VALUES | values(BIGINT="/ts /cs"),
    (Rows("ticker_24h", _ticker(_FRAME_TIME) | {"source_seq": "$/cs"}),),
    symbol="$symbol",
)
"""On spot each message is whole."""

_PERPETUAL_VALUES = _TICKER_VALUES | values(
    BIGINT="nextFundingTime", DOUBLE="markPrice indexPrice fundingRate openInterest openInterestValue"
)

LINEAR_TICKER_CHANGE = Channel(
    "tickers",
    values(BIGINT="/ts", VARCHAR="/type symbol"),
    (Rows("ticker_change", {"timestamp": _FRAME_TIME, "type": "$/type"}, required=("timestamp",)),),
    symbol="$symbol",
)
"""A field that a message leaves out has not changed; :data:`LINEAR_TICKER` has the rows."""


def perpetual_rows(time: str) -> dict[str, Rows]:
    """The streams that one whole ticker of a perpetual fills, by name; contracts that are delivered have no funding."""
    return {
        "ticker_24h": Rows("ticker_24h", _ticker(time), where="$lastPrice IS NOT NULL"),
        "mark_prices": Rows(
            "mark_prices",
            {
                "timestamp": time,
                "mark_price": "$markPrice",
                "index_price": "$indexPrice",
                "funding_rate": "$fundingRate",
            },
            where="$markPrice IS NOT NULL",
        ),
        "funding_rates": Rows(
            "funding_rates",
            {
                "timestamp": time,
                "funding_rate": "$fundingRate",
                "next_funding_time": milliseconds("$nextFundingTime"),
            },
            where="$fundingRate IS NOT NULL",
        ),
        "open_interest": Rows(
            "open_interest",
            {"timestamp": time, "raw_quantity": "$openInterest", "open_interest_usd": "$openInterestValue"},
            where="$openInterest IS NOT NULL",
        ),
        "index_prices": Rows(
            "index_prices", {"timestamp": time, "index_price": "$indexPrice"}, where="$indexPrice IS NOT NULL"
        ),
    }


NEWS = {
    "ticker_24h": ("lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h", "turnover24h"),
    "mark_prices": ("markPrice", "indexPrice"),
    "funding_rates": ("fundingRate", "nextFundingTime"),
    "open_interest": ("openInterest",),
    "index_prices": ("indexPrice",),
}
"""A message makes a row of a stream where it changed one of these; the value of the open interest alone also moves
with the mark price."""


def _fresh(names: tuple[str, ...]) -> str:
    return " OR ".join(f"contains($/fresh, ',{name},')" for name in names)


def _linear_ticker() -> Channel:
    rows = perpetual_rows(milliseconds("$/E"))
    news = {name: f"({_fresh(NEWS[name])}) AND {taken.where}" for name, taken in rows.items()}
    nothing = " AND ".join(f"({condition}) IS NOT TRUE" for condition in news.values())
    return Channel(
        "ticker",
        _PERPETUAL_VALUES | values(BIGINT="/E", VARCHAR="/fresh"),
        (
            *(Rows(name, taken.fields, where=news[name]) for name, taken in rows.items()),
            Rows("ticker_change", {"changed": "$/fresh"}, where=nothing),
        ),
        symbol="$symbol",
    )


LINEAR_TICKER = _linear_ticker()
"""The frames that a :class:`~orderflow_streaming.exchanges.merging.FieldMerger` makes of linear tickers."""

TICKER_FIELDS = frozenset(path for path in _PERPETUAL_VALUES if not path.startswith("/"))
PERPETUAL_VALUES = _PERPETUAL_VALUES
