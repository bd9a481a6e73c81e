"""What KuCoin futures sends, and the rows it becomes.

Source: www.kucoin.com/docs-new, "Futures Trading", public channels. Sizes are lots, except where the
24-hour volume is meant, which is base coin: in every recorded message turnover / volume is a price, though the
documentation (read 2026-09) leaves the unit open.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.expressions import bar_end
from orderflow_streaming.exchanges.kucoin.values import (
    TOPIC_INTERVAL,
    TOPIC_SYMBOL,
    interval,
    quote_rows,
    seconds,
    stamp,
)
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

QUOTE = {
    "timestamp": stamp("$ts"),
    "bid_price": "$bestBidPrice",
    "ask_price": "$bestAskPrice",
    "raw_bid_qty": "$bestBidSize",
    "raw_ask_qty": "$bestAskSize",
    "source_seq": "$sequence",
}
QUOTE_VALUES = values(
    BIGINT="sequence ts", VARCHAR="symbol", DOUBLE="bestBidPrice bestBidSize bestAskPrice bestAskSize"
)

_BOOK_TIME = f"coalesce({milliseconds('$timestamp')}, {stamp('$ts')})"
_BOOK = Rows("orderbooks", {"timestamp": _BOOK_TIME, "bids": "$bids", "asks": "$asks", "source_seq": "$sequence"})
_BOOK_VALUES = values(BIGINT="timestamp ts sequence", VARCHAR="/topic", LEVELS="bids asks")

TRADE = {
    "timestamp": stamp("$ts"),
    "trade_id": "$tradeId",
    "price": "$price",
    "raw_quantity": "$size",
    "is_buyer_maker": "CASE $side WHEN 'sell' THEN true WHEN 'buy' THEN false END",
    "source_seq": "$sequence",
}
TRADE_VALUES = values(BIGINT="ts sequence", VARCHAR="side tradeId", DOUBLE="price size")

_IS_MARK = "$/subject = 'mark.index.price'"
_IS_RATE = "$/subject = 'funding.rate'"
# With period 0 the rate is one that the running interval does not charge; older messages have no period.
_IS_RUNNING = "coalesce($period, 1) = 1"
_RATE = {"timestamp": milliseconds("$timestamp"), "funding_rate": "$fundingRate"}

# [start s, open, close, high, low, a number the venue warns of, volume in lots]
_BAR = {
    "open_time": seconds("$candles[0]"),
    "close_time": bar_end(seconds("$candles[0]"), TOPIC_INTERVAL),
    "interval": interval(TOPIC_INTERVAL),
    "open": "$candles[1]",
    "close": "$candles[2]",
    "high": "$candles[3]",
    "low": "$candles[4]",
    "raw_volume": "$candles[6]",
}
# The documented example of a daily bar has its start alone.
_BAR_IS_BARE = "$candles[1] IS NULL AND $candles[6] IS NULL"

FUTURES_STREAMS = (
    Channel("tickerV2", QUOTE_VALUES, quote_rows(QUOTE), symbol="$symbol"),
    Channel(
        "ticker",
        QUOTE_VALUES | values(DOUBLE="price"),
        quote_rows(QUOTE | {"last_price": "$price"}),
        symbol="$symbol",
    ),
    Channel("level2Depth5", _BOOK_VALUES, (_BOOK,), symbol=TOPIC_SYMBOL),
    Channel("level2Depth50", _BOOK_VALUES, (_BOOK,), symbol=TOPIC_SYMBOL),
    Channel(
        "level2",
        values(BIGINT="sequence timestamp", VARCHAR="/topic change"),
        (
            Rows(
                "book_delta",
                {
                    "timestamp": milliseconds("$timestamp"),
                    "first_update_id": "$sequence",
                    "last_update_id": "$sequence",
                    "side": "nullif(split_part($change, ',', 2), '')",
                    "price": "TRY_CAST(split_part($change, ',', 1) AS DOUBLE)",
                    "raw_quantity": "TRY_CAST(split_part($change, ',', 3) AS DOUBLE)",
                },
                required=("timestamp", "last_update_id", "side", "price", "raw_quantity"),
            ),
        ),
        symbol=TOPIC_SYMBOL,
    ),
    Channel("execution", TRADE_VALUES | values(VARCHAR="symbol"), (Rows("trades", TRADE),), symbol="$symbol"),
    Channel(
        "instrument",
        values(
            BIGINT="timestamp", INTEGER="period", VARCHAR="/topic /subject", DOUBLE="markPrice indexPrice fundingRate"
        ),
        (
            Rows(
                "mark_prices",
                {"timestamp": milliseconds("$timestamp"), "mark_price": "$markPrice", "index_price": "$indexPrice"},
                where=_IS_MARK,
            ),
            Rows(
                "index_prices",
                {"timestamp": milliseconds("$timestamp"), "index_price": "$indexPrice"},
                where=_IS_MARK,
            ),
            Rows("funding_rates", _RATE, where=f"{_IS_RATE} AND {_IS_RUNNING}"),
            Rows(
                "later_funding_rate",
                _RATE,
                where=f"{_IS_RATE} AND NOT ({_IS_RUNNING})",
                required=("timestamp", "funding_rate"),
            ),
        ),
        symbol=TOPIC_SYMBOL,
    ),
    Channel(
        "announcement",
        values(BIGINT="timestamp fundingTime", VARCHAR="symbol /subject", DOUBLE="fundingRate"),
        (
            Rows(
                "funding_settlement",
                _RATE | {"event": "$/subject", "funding_time": milliseconds("$fundingTime")},
                required=("timestamp", "event"),
            ),
        ),
        symbol="$symbol",
    ),
    Channel(
        "snapshot",
        values(
            BIGINT="ts",
            VARCHAR="symbol",
            DOUBLE="volume turnover lastPrice lowPrice highPrice price24HoursBefore priceChg priceChgPct",
        ),
        (
            Rows(
                "ticker_24h",
                {
                    "timestamp": stamp("$ts"),
                    "raw_volume_24h": "$volume / size",
                    "quote_volume_24h": "$turnover",
                    "high_24h": "$highPrice",
                    "low_24h": "$lowPrice",
                    "open_24h": "$price24HoursBefore",
                    "last_price": "$lastPrice",
                    "price_change": "$priceChg",
                    "price_change_pct": "$priceChgPct * 100",
                },
            ),
        ),
        symbol="$symbol",
    ),
    Channel(
        "limitCandle",
        values(
            BIGINT="candles[0]",
            VARCHAR="symbol /topic",
            DOUBLE="candles[1] candles[2] candles[3] candles[4] candles[6]",
        ),
        (
            Rows("candles", _BAR, where=f"NOT ({_BAR_IS_BARE})"),
            Rows("bare_candle", {"open_time": seconds("$candles[0]")}, where=_BAR_IS_BARE, required=("open_time",)),
        ),
        symbol="$symbol",
    ),
)
