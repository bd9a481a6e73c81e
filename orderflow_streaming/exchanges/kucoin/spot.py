"""What KuCoin spot sends and answers, and the rows it becomes.

Source: www.kucoin.com/docs-new, "Spot Trading", market data and public channels. Sizes are base coin. Some messages
and answers name no symbol; then it is that of the topic or the one that was asked for.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.expressions import bar_end, query
from orderflow_streaming.exchanges.kucoin.unified import BOTH_MARKETS, SPOT_ONLY
from orderflow_streaming.exchanges.kucoin.values import (
    TOPIC_INTERVAL,
    TOPIC_SYMBOL,
    answered,
    interval,
    quote_rows,
    seconds,
    stamp,
)
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

_ASKED_FOR = query("symbol")

# ``Time`` is in the documented example (docs-new, read 2026-09) where all recorded messages have ``time``.
_QUOTE_TIME = milliseconds("coalesce($time, $Time)")
_QUOTE = {
    "timestamp": _QUOTE_TIME,
    "bid_price": "$bestBid",
    "ask_price": "$bestAsk",
    "raw_bid_qty": "$bestBidSize",
    "raw_ask_qty": "$bestAskSize",
    "last_price": "$price",
    "source_seq": "$sequence",
}
_QUOTE_VALUES = values(BIGINT="sequence time Time", DOUBLE="bestBid bestBidSize bestAsk bestAskSize price")

_BOOK = Rows("orderbooks", {"timestamp": milliseconds("$timestamp"), "bids": "$bids", "asks": "$asks"})
_BOOK_VALUES = values(BIGINT="timestamp", VARCHAR="/topic", LEVELS="bids asks")

_WHOLE_BOOK = Rows(
    "book_snapshot",
    {"timestamp": milliseconds("$time"), "last_update_id": "$sequence", "bids": "$bids", "asks": "$asks"},
    required=("last_update_id", "bids", "asks"),
)

# [start s, open, close, high, low, volume, turnover]
_BAR = {
    "open_time": seconds("$candles[0]"),
    "close_time": bar_end(seconds("$candles[0]"), TOPIC_INTERVAL),
    "interval": interval(TOPIC_INTERVAL),
    "open": "$candles[1]",
    "close": "$candles[2]",
    "high": "$candles[3]",
    "low": "$candles[4]",
    "raw_volume": "$candles[5]",
    "quote_volume": "$candles[6]",
}
_PAST_BAR_END = bar_end(seconds("$[0]"), query("type"))
_PAST_BAR = {name: expression.replace("$candles", "$") for name, expression in _BAR.items()} | {
    "close_time": _PAST_BAR_END,
    "interval": interval(query("type")),
    "is_closed": f"({_PAST_BAR_END}) < received_at",
}


def _taker(side: str) -> str:
    """SQL: whether the buyer was the maker; the venue names the side of the taker."""
    return f"CASE {side} WHEN 'sell' THEN true WHEN 'buy' THEN false END"


def _indicator(name: str, kind: str) -> Channel:
    """Index and mark prices of the pairs that are lent for margin, in their quote coin."""
    return Channel(
        name,
        values(BIGINT="timestamp", VARCHAR="symbol", DOUBLE="value"),
        (Rows(kind, {"timestamp": milliseconds("$timestamp"), "price": "$value"}, required=("timestamp", "price")),),
        symbol="$symbol",
    )


_STREAMS = (
    Channel(
        "ticker",
        _QUOTE_VALUES | values(VARCHAR="/topic /subject"),
        quote_rows(_QUOTE),
        symbol=f"CASE WHEN $/topic = '/market/ticker:all' THEN $/subject ELSE {TOPIC_SYMBOL} END",
    ),
    Channel(
        "level1",
        values(BIGINT="timestamp", VARCHAR="/topic", DOUBLE="bids[0] bids[1] asks[0] asks[1]"),
        quote_rows(
            {
                "timestamp": milliseconds("$timestamp"),
                "bid_price": "$bids[0]",
                "ask_price": "$asks[0]",
                "raw_bid_qty": "$bids[1]",
                "raw_ask_qty": "$asks[1]",
            }
        ),
        symbol=TOPIC_SYMBOL,
    ),
    Channel("level2Depth5", _BOOK_VALUES, (_BOOK,), symbol=TOPIC_SYMBOL),
    Channel("level2Depth50", _BOOK_VALUES, (_BOOK,), symbol=TOPIC_SYMBOL),
    Channel(
        "level2",
        values(BIGINT="sequenceStart sequenceEnd time", VARCHAR="symbol", LEVELS="changes.bids changes.asks"),
        (
            Rows(
                "book_delta",
                {
                    "timestamp": f"coalesce({milliseconds('$time')}, received_at)",
                    "first_update_id": "$sequenceStart",
                    "last_update_id": "$sequenceEnd",
                    "bids": "$changes.bids",
                    "asks": "$changes.asks",
                },
                required=("first_update_id", "last_update_id", "bids", "asks"),
            ),
        ),
        symbol="$symbol",
    ),
    Channel(
        "level2Snapshot",
        values(BIGINT="time sequence", VARCHAR="/topic", LEVELS="bids asks"),
        (_WHOLE_BOOK,),
        symbol=TOPIC_SYMBOL,
    ),
    Channel(
        "match",
        values(BIGINT="time sequence", VARCHAR="symbol side tradeId", DOUBLE="price size"),
        (
            Rows(
                "trades",
                {
                    "timestamp": stamp("$time"),
                    "trade_id": "$tradeId",
                    "price": "$price",
                    "raw_quantity": "$size",
                    "is_buyer_maker": _taker("$side"),
                    "source_seq": "$sequence",
                },
            ),
        ),
        symbol="$symbol",
    ),
    Channel(
        "snapshot",
        values(
            BIGINT="datetime /data.sequence",
            VARCHAR="symbol",
            DOUBLE="vol volValue high low open lastTradedPrice changePrice changeRate",
        ),
        (
            Rows(
                "ticker_24h",
                {
                    "timestamp": milliseconds("$datetime"),
                    "raw_volume_24h": "$vol",
                    "quote_volume_24h": "$volValue",
                    "high_24h": "$high",
                    "low_24h": "$low",
                    "open_24h": "$open",
                    "last_price": "$lastTradedPrice",
                    "price_change": "$changePrice",
                    "price_change_pct": "$changeRate * 100",
                    "source_seq": "$/data.sequence",
                },
            ),
        ),
        symbol="$symbol",
        item="data.data",
    ),
    Channel(
        "candles",
        values(
            BIGINT="candles[0]",
            VARCHAR="symbol /topic",
            DOUBLE="candles[1] candles[2] candles[3] candles[4] candles[5] candles[6]",
        ),
        (Rows("candles", _BAR),),
        symbol="$symbol",
    ),
    _indicator("markPrice", "margin_mark_price"),
    _indicator("index", "margin_index_price"),
)

_STATISTICS = {
    "raw_volume_24h": "$vol",
    "quote_volume_24h": "$volValue",
    "high_24h": "$high",
    "low_24h": "$low",
    "last_price": "$last",
    "price_change": "$changePrice",
    "price_change_pct": "$changeRate * 100",
}
_STATISTICS_VALUES = values(VARCHAR="symbol", DOUBLE="vol volValue high low last changePrice changeRate")

_ANSWERS = (
    answered("level1", _QUOTE_VALUES | values(VARCHAR="/rest"), *quote_rows(_QUOTE), symbol=_ASKED_FOR),
    answered(
        "stats",
        _STATISTICS_VALUES | values(BIGINT="time"),
        Rows("ticker_24h", _STATISTICS | {"timestamp": milliseconds("$time")}),
        symbol="$symbol",
    ),
    answered(
        "allTickers",
        _STATISTICS_VALUES | values(BIGINT="/data.data.time"),
        Rows("ticker_24h", _STATISTICS | {"timestamp": milliseconds("$/data.data.time")}),
        symbol="$symbol",
        item="data.data.ticker[*]",
    ),
    # The first API, until 2019.
    answered(
        "tick",
        values(BIGINT="datetime", VARCHAR="symbol", DOUBLE="vol volValue high low lastDealPrice change changeRate"),
        Rows(
            "ticker_24h",
            {
                "timestamp": milliseconds("$datetime"),
                "raw_volume_24h": "$vol",
                "quote_volume_24h": "$volValue",
                "high_24h": "$high",
                "low_24h": "$low",
                "last_price": "$lastDealPrice",
                "price_change": "$change",
                "price_change_pct": "$changeRate * 100",
            },
        ),
        symbol="$symbol",
    ),
    answered(
        "level2",
        values(BIGINT="time sequence", VARCHAR="/rest symbol", LEVELS="bids asks"),
        _WHOLE_BOOK,
        symbol=f"coalesce($symbol, {_ASKED_FOR})",
    ),
    answered(
        "candles",
        values(BIGINT="[0]", VARCHAR="/rest", DOUBLE="[1] [2] [3] [4] [5] [6]"),
        Rows("candles", _PAST_BAR),
        symbol=_ASKED_FOR,
        item="data.data[*]",
    ),
    # Trades are answered without ``tradeId``. It is the same number as ``sequence``: so in all messages of
    # /market/match seen since May 2023, in those of 2022 and before not yet (looked up 2026-09).
    answered(
        "histories",
        values(BIGINT="time sequence", VARCHAR="/rest side", DOUBLE="price size"),
        Rows(
            "trades",
            {
                "timestamp": stamp("$time"),
                "trade_id": "$sequence",
                "price": "$price",
                "raw_quantity": "$size",
                "is_buyer_maker": _taker("$side"),
                "source_seq": "$sequence",
            },
        ),
        symbol=_ASKED_FOR,
        item="data.data[*]",
    ),
    answered(
        "symbols",
        values(
            VARCHAR="symbol baseCurrency quoteCurrency", BOOLEAN="enableTrading", DOUBLE="priceIncrement baseIncrement"
        ),
        Rows(
            "instrument",
            {
                "venue_symbol": "$symbol",
                "is_trading": "$enableTrading",
                "base_asset": "$baseCurrency",
                "quote_asset": "$quoteCurrency",
                "contract_size": "1.0::DOUBLE",
                "tick_size": "$priceIncrement",
                "lot_size": "$baseIncrement",
            },
            required=("is_trading",),
        ),
        symbol="$symbol",
        item="data.data[*]",
    ),
)

SPOT_CHANNELS = {channel.name: channel for channel in (*_STREAMS, *_ANSWERS, *BOTH_MARKETS, *SPOT_ONLY)}

SPOT_SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), f"rest/{channel}")
    for keys, channel in (
        ("bestBid bestAsk", "level1"),
        ("symbol averagePrice last", "stats"),
        ("ticker time", "allTickers"),
        ("coinType lastDealPrice", "tick"),
        ("sequence bids asks", "level2"),
        ("sequence price size side time", "histories"),
        ("symbol baseCurrency enableTrading", "symbols"),
    )
)
"""Channel by the keys of an answer, or of the first item of a list; the first that fits."""
