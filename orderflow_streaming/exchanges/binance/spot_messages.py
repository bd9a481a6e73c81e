"""What Binance spot sends and answers, and the rows it becomes, as far as it differs from futures.

Source: developers.binance.com, Spot, "Websocket Market Streams" and "Market Data Endpoints". Quotes and partial books
tell no time, so that theirs is the receive time, and partial books name no symbol but that of their topic.
"""

from __future__ import annotations

from dataclasses import replace

from orderflow_streaming.exchanges.binance.answers import ANSWER_CHANNELS, SYMBOL_OF_URL, answer, filter_column
from orderflow_streaming.exchanges.binance.streams import EVENT_TIME, EVENTS, STREAM_CHANNELS, TRADE
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

_SAME_STREAMS = ("bookTicker", "depth", "aggTrade", "miniTicker", "ticker", "kline")
_SAME_ANSWERS = ("klines", "aggTrades", "trades", "depth", "ticker/24hr", "ticker/bookTicker", "ticker/price")

_WINDOW = {
    "last_price": "$c",
    "open": "$o",
    "high": "$h",
    "low": "$l",
    "volume": "$v",
    "quote_volume": "$q",
}

SPOT_STREAM_CHANNELS = (
    *(channel for channel in STREAM_CHANNELS if channel.name in _SAME_STREAMS),
    Channel(
        "trade",
        values(BIGINT="t T", VARCHAR="s", DOUBLE="p q", BOOLEAN="m"),
        (Rows("trades", TRADE),),
        consecutive="trade_id",
    ),
    Channel(
        "partialDepth",
        values(BIGINT="lastUpdateId", VARCHAR="/stream", LEVELS="bids asks"),
        (
            Rows(
                "orderbooks",
                {"timestamp": "received_at", "bids": "$bids", "asks": "$asks", "source_seq": "$lastUpdateId"},
            ),
        ),
        symbol="upper(split_part($/stream, '@', 1))",
    ),
    Channel(
        "windowTicker",
        values(BIGINT="E", VARCHAR="e s", DOUBLE="c o h l v q"),
        (
            Rows(
                "window_ticker",
                {"timestamp": EVENT_TIME, "window": "replace($e, 'Ticker', '')", **_WINDOW},
                required=("timestamp", "last_price"),
            ),
        ),
    ),
    Channel(
        "avgPrice",
        values(BIGINT="E T", VARCHAR="s i", DOUBLE="w"),
        (
            Rows(
                "average_price",
                {"timestamp": EVENT_TIME, "interval": "$i", "average_price": "$w"},
                required=("timestamp", "average_price"),
            ),
        ),
    ),
)

SPOT_ANSWER_CHANNELS = (
    *(channel for channel in ANSWER_CHANNELS if channel.name.removeprefix("rest/") in _SAME_ANSWERS),
    answer(
        "historicalTrades",
        values(BIGINT="id time a T", VARCHAR="/rest", DOUBLE="price qty p q", BOOLEAN="isBuyerMaker"),
        Rows(
            "trades",
            {
                "timestamp": milliseconds("$time"),
                "trade_id": "$id",
                "price": "$price",
                "raw_quantity": "$qty",
                "is_buyer_maker": "$isBuyerMaker",
                "source_seq": "$id",
            },
            where="$a IS NULL",
        ),
        Rows(
            "aggregated_trade",
            {"timestamp": milliseconds("$T"), "aggregated_id": "$a", "price": "$p", "quantity": "$q"},
            where="$a IS NOT NULL",
        ),
        symbol=SYMBOL_OF_URL,
    ),
    answer(
        "ticker",
        values(
            BIGINT="openTime closeTime",
            VARCHAR="symbol",
            DOUBLE="lastPrice openPrice highPrice lowPrice volume quoteVolume",
        ),
        Rows(
            "window_ticker",
            {
                "timestamp": milliseconds("$closeTime"),
                "window_start": milliseconds("$openTime"),
                "last_price": "$lastPrice",
                "open": "$openPrice",
                "high": "$highPrice",
                "low": "$lowPrice",
                "volume": "$volume",
                "quote_volume": "$quoteVolume",
            },
            required=("timestamp", "last_price"),
        ),
    ),
    replace(
        answer(
            "exchangeInfo",
            values(BIGINT="/data.serverTime", VARCHAR="symbol status baseAsset quoteAsset", JSON="filters"),
            Rows(
                "instrument",
                {
                    "timestamp": milliseconds("$/data.serverTime"),
                    "status": "$status",
                    "base_asset": "$baseAsset",
                    "quote_asset": "$quoteAsset",
                    "contract_size": "1.0::DOUBLE",
                    "tick_size": filter_column("PRICE_FILTER", "tickSize"),
                    "lot_size": filter_column("LOT_SIZE", "stepSize"),
                },
                required=("status",),
            ),
        ),
        item="data.symbols[*]",
    ),
)
"""Of the two kinds of trades in ``historicalTrades``, the aggregated ones tell only which single trade comes first."""

SPOT_EVENTS = {
    **{event: channel for event, channel in EVENTS.items() if channel in (*_SAME_STREAMS, "trade")},
    "1hTicker": "windowTicker",
    "4hTicker": "windowTicker",
    "1dTicker": "windowTicker",
    "avgPrice": "avgPrice",
}

SPOT_SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), channel)
    for keys, channel in (
        ("s b B a A u", "bookTicker"),
        ("symbol priceChangePercent lastPrice prevClosePrice", "rest/ticker/24hr"),
        ("symbol priceChangePercent lastPrice", "rest/ticker"),
        ("symbol bidPrice askPrice", "rest/ticker/bookTicker"),
        ("lastUpdateId bids asks", "rest/depth"),
        ("price qty isBuyerMaker", "rest/trades"),
        ("a p q T m", "rest/aggTrades"),
        ("symbols exchangeFilters", "rest/exchangeInfo"),
        ("symbol price", "rest/ticker/price"),
    )
)

SPOT_CANDLE_REQUESTS = frozenset({"klines"})
