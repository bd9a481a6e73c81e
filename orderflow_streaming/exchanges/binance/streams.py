"""What Binance USDⓈ-M futures sends on its sockets, and the rows it becomes; much of it is the same on spot.

Source: developers.binance.com, USDⓈ-M Futures, "Websocket Market Streams". Channels have the venue's names. Sizes are
base coin, times epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

EVENT_TIME = milliseconds("$E")
EVENT_OR_TRANSACTION_TIME = f"coalesce({milliseconds('$E')}, {milliseconds('$T')})"


def quote_rows(fields: Mapping[str, str]) -> tuple[Rows, ...]:
    """Best bid and ask; the venue sends a price of zero for a side without orders."""
    empty = f"({fields['bid_price']} = 0 OR {fields['ask_price']} = 0)"
    return Rows("prices", fields, where=f"NOT {empty}"), Rows("one_sided_quote", fields, where=empty)


_DEPTH = values(BIGINT="E T U u pu", VARCHAR="s", LEVELS="b a")
_DEPTH_DELTA = {
    "timestamp": EVENT_OR_TRANSACTION_TIME,
    "first_update_id": "$U",
    "last_update_id": "$u",
    "previous_update_id": "$pu",
    "bids": "$b",
    "asks": "$a",
}
_DEPTH_DELTA_REQUIRED = ("timestamp", "last_update_id", "bids", "asks")

AGGREGATED_TRADE = {
    "timestamp": milliseconds("$T"),
    "trade_id": "$a",
    "price": "$p",
    "raw_quantity": "$q",
    "is_buyer_maker": "$m",
    "source_seq": "$l",
}

# Orders of the insurance fund and of auto-deleveraging are matched away from the book, often far from the market.
_IS_MARKET_TRADE = "coalesce($X, 'MARKET') = 'MARKET'"
TRADE = AGGREGATED_TRADE | {"trade_id": "$t", "source_seq": "$t"}

_MARK = {"timestamp": EVENT_TIME, "mark_price": "$p", "index_price": "nullif($i, 0)", "funding_rate": "$r"}


def mark_rows(fields: Mapping[str, str], next_funding: str) -> tuple[Rows, ...]:
    """Three streams of one message; contracts with a delivery date have no funding, old messages no index."""
    timestamp, rate, index = (fields[name] for name in ("timestamp", "funding_rate", "index_price"))
    funding = {"timestamp": timestamp, "funding_rate": rate, "next_funding_time": milliseconds(next_funding)}
    return (
        Rows("mark_prices", fields),
        Rows("funding_rates", funding, where=f"{rate} IS NOT NULL"),
        Rows("index_prices", {"timestamp": timestamp, "index_price": index}, where=f"{index} IS NOT NULL"),
    )


_KLINE = {
    "open_time": milliseconds("$k.t"),
    "close_time": milliseconds("$k.T"),
    "interval": "$k.i",
    "open": "$k.o",
    "high": "$k.h",
    "low": "$k.l",
    "close": "$k.c",
    "raw_volume": "$k.v",
    "quote_volume": "$k.q",
    "trade_count": "$k.n",
    "raw_taker_buy_volume": "$k.V",
    "taker_buy_quote": "$k.Q",
    "is_closed": "$k.x",
    "source_seq": "nullif($k.L, -1)",
}
_KLINE_VALUES = values(
    BIGINT="k.t k.T k.L",
    INTEGER="k.n",
    VARCHAR="k.i",
    DOUBLE="k.o k.h k.l k.c k.v k.q k.V k.Q",
    BOOLEAN="k.x",
)
_IS_PERPETUAL = "$ct = 'PERPETUAL'"

_TICKER = {
    "timestamp": EVENT_TIME,
    "raw_volume_24h": "$v",
    "quote_volume_24h": "$q",
    "trade_count_24h": "$n",
    "high_24h": "$h",
    "low_24h": "$l",
    "open_24h": "$o",
    "last_price": "$c",
    "price_change": "$p",
    "price_change_pct": "$P",
    "vwap_24h": "$w",
    "source_seq": "nullif($L, -1)",
}

# Side of the forced order: SELL closes a long position. ``z`` is the quantity filled so far.
_LIQUIDATION = {
    "timestamp": milliseconds("$o.T"),
    "side": "CASE $o.S WHEN 'SELL' THEN 'long' WHEN 'BUY' THEN 'short' END",
    "price": "coalesce(nullif($o.ap, 0), $o.p)",
    "raw_quantity": "$o.z",
}


STREAM_CHANNELS = (
    Channel(
        "bookTicker",
        values(BIGINT="u E T", VARCHAR="s", DOUBLE="b B a A"),
        quote_rows(
            {
                "timestamp": f"coalesce({EVENT_OR_TRANSACTION_TIME}, received_at)",
                "bid_price": "$b",
                "ask_price": "$a",
                "raw_bid_qty": "$B",
                "raw_ask_qty": "$A",
                "source_seq": "$u",
            }
        ),
    ),
    Channel(
        "partialDepth",
        values(BIGINT="E T u", VARCHAR="s", LEVELS="b a"),
        (
            Rows(
                "orderbooks",
                {"timestamp": EVENT_OR_TRANSACTION_TIME, "bids": "$b", "asks": "$a", "source_seq": "$u"},
            ),
        ),
    ),
    Channel("depth", _DEPTH, (Rows("book_delta", _DEPTH_DELTA, required=_DEPTH_DELTA_REQUIRED),)),
    Channel("rpiDepth", _DEPTH, (Rows("rpi_book_delta", _DEPTH_DELTA, required=_DEPTH_DELTA_REQUIRED),)),
    Channel(
        "aggTrade",
        values(BIGINT="a l T", VARCHAR="s", DOUBLE="p q", BOOLEAN="m"),
        (Rows("trades", AGGREGATED_TRADE),),
        consecutive="trade_id",
    ),
    Channel(
        "trade",
        values(BIGINT="t T", VARCHAR="s X", DOUBLE="p q", BOOLEAN="m"),
        (
            Rows("trades", TRADE, where=_IS_MARKET_TRADE),
            Rows("off_market_trade", TRADE | {"order_type": "$X"}, where=f"NOT ({_IS_MARKET_TRADE})"),
        ),
    ),
    Channel("markPrice", values(BIGINT="E T", VARCHAR="s", DOUBLE="p i r"), mark_rows(_MARK, "$T")),
    Channel(
        "ticker",
        values(BIGINT="E L", INTEGER="n", VARCHAR="s", DOUBLE="v q h l o c p P w"),
        (Rows("ticker_24h", _TICKER),),
    ),
    Channel(
        "miniTicker",
        values(BIGINT="E", VARCHAR="s", DOUBLE="v q h l o c"),
        (
            Rows(
                "mini_ticker",
                {
                    "timestamp": EVENT_TIME,
                    "last_price": "$c",
                    "open_24h": "$o",
                    "high_24h": "$h",
                    "low_24h": "$l",
                    "volume_24h": "$v",
                    "quote_volume_24h": "$q",
                },
                required=("timestamp", "last_price"),
            ),
        ),
    ),
    Channel("kline", _KLINE_VALUES | values(VARCHAR="s"), (Rows("candles", _KLINE),)),
    Channel(
        "continuousKline",
        _KLINE_VALUES | values(VARCHAR="ps ct"),
        (
            Rows("candles", _KLINE, where=_IS_PERPETUAL),
            Rows("continuous_candle", _KLINE | {"contract_type": "$ct"}, where=f"NOT ({_IS_PERPETUAL})"),
        ),
        symbol="$ps",
    ),
    Channel(
        "forceOrder",
        values(BIGINT="o.T", VARCHAR="o.s o.S o.X", DOUBLE="o.p o.ap o.z"),
        (
            Rows("liquidations", _LIQUIDATION, where="$o.z > 0"),
            Rows("unfilled_liquidation", _LIQUIDATION | {"status": "$o.X"}, where="$o.z = 0"),
        ),
        symbol="$o.s",
    ),
    Channel(
        "assetIndex",
        values(BIGINT="E", VARCHAR="s", DOUBLE="i b a B A"),
        (
            Rows(
                "asset_index",
                {"timestamp": EVENT_TIME, "index_price": "$i", "bid_price": "$B", "ask_price": "$A"},
                required=("timestamp", "index_price"),
            ),
        ),
    ),
    Channel(
        "compositeIndex",
        values(BIGINT="E", VARCHAR="s", DOUBLE="p"),
        (
            Rows(
                "composite_index",
                {"timestamp": EVENT_TIME, "index_price": "$p"},
                required=("timestamp", "index_price"),
            ),
        ),
    ),
    Channel(
        "contractInfo",
        values(BIGINT="E ot dt", VARCHAR="s ps ct cs"),
        (
            Rows(
                "contract_info",
                {
                    "timestamp": EVENT_TIME,
                    "status": "$cs",
                    "contract_type": "$ct",
                    "onboard_time": milliseconds("$ot"),
                    "delivery_time": milliseconds("$dt"),
                },
                required=("timestamp",),
            ),
        ),
    ),
)


EVENTS = {
    "24hrTicker": "ticker",
    "24hrMiniTicker": "miniTicker",
    "aggTrade": "aggTrade",
    "assetIndexUpdate": "assetIndex",
    "bookTicker": "bookTicker",
    "compositeIndex": "compositeIndex",
    "continuous_kline": "continuousKline",
    "contractInfo": "contractInfo",
    "depthUpdate": "depth",
    "forceOrder": "forceOrder",
    "kline": "kline",
    "markPriceUpdate": "markPrice",
    "trade": "trade",
}
"""Channel by the ``e`` of a message."""
