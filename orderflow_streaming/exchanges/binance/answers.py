"""What Binance USDⓈ-M futures answers over REST, and the rows it becomes; much of it is the same on spot.

Source: developers.binance.com, USDⓈ-M Futures, "Market Data Endpoints". Channels are named after the last part of the
path. Some answers name no symbol; then it is the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orderflow_streaming.exchanges.binance.streams import (
    AGGREGATED_TRADE,
    EVENT_OR_TRANSACTION_TIME,
    mark_rows,
    quote_rows,
)
from orderflow_streaming.exchanges.expressions import query
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

SYMBOL_OF_URL = f"upper({query('symbol')})"


# [open time, open, high, low, close, volume, close time, quote volume, trades, taker buy volume, taker buy quote, …]
_REST_KLINE = {
    "open_time": milliseconds("$[0]"),
    "close_time": milliseconds("$[6]"),
    "interval": query("interval"),
    "open": "$[1]",
    "high": "$[2]",
    "low": "$[3]",
    "close": "$[4]",
    "raw_volume": "$[5]",
    "quote_volume": "$[7]",
    "trade_count": "$[8]",
    "raw_taker_buy_volume": "$[9]",
    "taker_buy_quote": "$[10]",
    "is_closed": f"{milliseconds('$[6]')} < received_at",
}
_REST_KLINE_VALUES = values(BIGINT="[0] [6]", INTEGER="[8]", DOUBLE="[1] [2] [3] [4] [5] [7] [9] [10]", VARCHAR="/rest")
_PRICE_KLINE = {
    name: _REST_KLINE[name] for name in ("open_time", "close_time", "interval", "open", "high", "low", "close")
}


def filter_column(kind: str, name: str) -> str:
    """SQL of a number in an instrument's list of filters."""
    found = f"list_filter(from_json($filters, '[\"JSON\"]'), lambda f: f->>'filterType' = '{kind}')[1]"
    return f"TRY_CAST({found}->>'{name}' AS DOUBLE)"


def answer(name: str, paths: Mapping[str, str], *rows: Rows, symbol: str = "$symbol") -> Channel:
    """Channel of the answers to a path that ends with ``name``."""
    return Channel(f"rest/{name}", paths, rows, symbol=symbol)


POSITIONING = {
    "globalLongShortAccountRatio": "accounts",
    "topLongShortAccountRatio": "top_accounts",
    "topLongShortPositionRatio": "top_positions",
    "takerlongshortRatio": "taker_volume",
}
"""Last part of the path of each statistic of who is long, and its kind. Three of the answers look alike."""

ANSWER_CHANNELS = (
    *(
        answer(
            name,
            values(BIGINT="timestamp", VARCHAR="/rest", DOUBLE="longShortRatio buySellRatio"),
            Rows(
                "positioning",
                {
                    "timestamp": milliseconds("$timestamp"),
                    "kind": f"'{kind}'",
                    "long_short_ratio": "coalesce($longShortRatio, $buySellRatio)",
                },
            ),
            symbol=SYMBOL_OF_URL,
        )
        for name, kind in POSITIONING.items()
    ),
    answer(
        "openInterest",
        values(BIGINT="time", VARCHAR="symbol", DOUBLE="openInterest"),
        Rows("open_interest", {"timestamp": milliseconds("$time"), "raw_quantity": "$openInterest"}),
    ),
    answer(
        "openInterestHist",
        values(BIGINT="timestamp", VARCHAR="symbol", DOUBLE="sumOpenInterest sumOpenInterestValue"),
        Rows(
            "open_interest",
            {
                "timestamp": milliseconds("$timestamp"),
                "raw_quantity": "$sumOpenInterest",
                "open_interest_usd": "$sumOpenInterestValue",
            },
        ),
    ),
    answer("klines", _REST_KLINE_VALUES, Rows("candles", _REST_KLINE), symbol=SYMBOL_OF_URL),
    answer(
        "continuousKlines",
        _REST_KLINE_VALUES,
        Rows("candles", _REST_KLINE, where=f"{query('contractType')} = 'PERPETUAL'"),
        Rows("continuous_candle", _REST_KLINE, where=f"{query('contractType')} <> 'PERPETUAL'"),
        symbol=f"upper({query('pair')})",
    ),
    *(
        answer(name, _REST_KLINE_VALUES, Rows(kind, _PRICE_KLINE, required=("open_time", "close")), symbol=symbol)
        for name, kind, symbol in (
            ("markPriceKlines", "mark_price_candle", SYMBOL_OF_URL),
            ("indexPriceKlines", "index_price_candle", f"upper({query('pair')})"),
            ("premiumIndexKlines", "premium_index_candle", SYMBOL_OF_URL),
        )
    ),
    answer(
        "fundingRate",
        values(BIGINT="fundingTime", VARCHAR="symbol", DOUBLE="fundingRate"),
        Rows("funding_rates", {"timestamp": milliseconds("$fundingTime"), "funding_rate": "$fundingRate"}),
    ),
    answer(
        "fundingInfo",
        values(VARCHAR="symbol", DOUBLE="fundingIntervalHours adjustedFundingRateCap adjustedFundingRateFloor"),
        Rows(
            "funding_info",
            {
                "funding_interval_hours": "$fundingIntervalHours",
                "funding_rate_cap": "$adjustedFundingRateCap",
                "funding_rate_floor": "$adjustedFundingRateFloor",
            },
            required=("funding_interval_hours",),
        ),
    ),
    answer(
        "premiumIndex",
        values(BIGINT="time nextFundingTime", VARCHAR="symbol", DOUBLE="markPrice indexPrice lastFundingRate"),
        *mark_rows(
            {
                "timestamp": milliseconds("$time"),
                "mark_price": "$markPrice",
                "index_price": "nullif($indexPrice, 0)",
                "funding_rate": "$lastFundingRate",
            },
            "$nextFundingTime",
        ),
    ),
    answer(
        "ticker/24hr",
        values(
            BIGINT="closeTime lastId",
            INTEGER="count",
            VARCHAR="symbol",
            DOUBLE="volume quoteVolume highPrice lowPrice openPrice lastPrice priceChange priceChangePercent "
            "weightedAvgPrice",
        ),
        Rows(
            "ticker_24h",
            {
                "timestamp": milliseconds("$closeTime"),
                "raw_volume_24h": "$volume",
                "quote_volume_24h": "$quoteVolume",
                "trade_count_24h": "$count",
                "high_24h": "$highPrice",
                "low_24h": "$lowPrice",
                "open_24h": "$openPrice",
                "last_price": "$lastPrice",
                "price_change": "$priceChange",
                "price_change_pct": "$priceChangePercent",
                "vwap_24h": "$weightedAvgPrice",
                "source_seq": "nullif($lastId, -1)",
            },
        ),
    ),
    answer(
        "ticker/bookTicker",
        values(BIGINT="time lastUpdateId", VARCHAR="symbol", DOUBLE="bidPrice bidQty askPrice askQty"),
        *quote_rows(
            {
                "timestamp": f"coalesce({milliseconds('$time')}, received_at)",
                "bid_price": "$bidPrice",
                "ask_price": "$askPrice",
                "raw_bid_qty": "$bidQty",
                "raw_ask_qty": "$askQty",
                "source_seq": "$lastUpdateId",
            }
        ),
    ),
    answer(
        "ticker/price",
        values(BIGINT="time", VARCHAR="symbol", DOUBLE="price"),
        Rows("last_price", {"timestamp": milliseconds("$time"), "last_price": "$price"}, required=("last_price",)),
    ),
    *(
        answer(
            name,
            values(BIGINT="lastUpdateId E T", VARCHAR="/rest /stream", LEVELS="bids asks"),
            Rows(
                kind,
                {
                    "timestamp": EVENT_OR_TRANSACTION_TIME,
                    "last_update_id": "$lastUpdateId",
                    "bids": "$bids",
                    "asks": "$asks",
                },
                required=("last_update_id", "bids", "asks"),
            ),
            symbol=f"coalesce({SYMBOL_OF_URL}, upper(split_part($/stream, '@', 1)))",
        )
        for name, kind in (("depth", "book_snapshot"), ("rpiDepth", "rpi_book_snapshot"))
    ),
    answer(
        "aggTrades",
        values(BIGINT="a l T", VARCHAR="/rest", DOUBLE="p q", BOOLEAN="m"),
        Rows("trades", AGGREGATED_TRADE),
        symbol=SYMBOL_OF_URL,
    ),
    answer(
        "trades",
        values(BIGINT="id time", VARCHAR="/rest", DOUBLE="price qty", BOOLEAN="isBuyerMaker"),
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
        ),
        symbol=SYMBOL_OF_URL,
    ),
    answer(
        "forceOrders",
        values(BIGINT="time", VARCHAR="symbol side status", DOUBLE="price averagePrice executedQty"),
        Rows(
            "liquidations",
            {
                "timestamp": milliseconds("$time"),
                "side": "CASE $side WHEN 'SELL' THEN 'long' WHEN 'BUY' THEN 'short' END",
                "price": "coalesce(nullif($averagePrice, 0), $price)",
                "raw_quantity": "$executedQty",
            },
            where="$executedQty > 0",
        ),
        Rows(
            "unfilled_liquidation", {"timestamp": milliseconds("$time"), "status": "$status"}, where="$executedQty = 0"
        ),
    ),
    replace(
        answer(
            "exchangeInfo",
            values(
                BIGINT="/data.serverTime onboardDate deliveryDate",
                VARCHAR="symbol pair contractType status baseAsset quoteAsset",
                JSON="filters",
            ),
            Rows(
                "instrument",
                {
                    "timestamp": milliseconds("$/data.serverTime"),
                    "pair": "$pair",
                    "contract_type": "$contractType",
                    "status": "$status",
                    "base_asset": "$baseAsset",
                    "quote_asset": "$quoteAsset",
                    "contract_size": "1.0::DOUBLE",
                    "tick_size": filter_column("PRICE_FILTER", "tickSize"),
                    "lot_size": filter_column("LOT_SIZE", "stepSize"),
                    "onboard_time": milliseconds("$onboardDate"),
                    "delivery_time": milliseconds("$deliveryDate"),
                },
                required=("status",),
            ),
        ),
        item="data.symbols[*]",
    ),
)

SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), channel)
    for keys, channel in (
        ("s b B a A u", "bookTicker"),
        ("symbol openInterest", "rest/openInterest"),
        ("sumOpenInterest sumOpenInterestValue", "rest/openInterestHist"),
        ("fundingRate fundingTime", "rest/fundingRate"),
        ("symbol fundingIntervalHours", "rest/fundingInfo"),
        ("symbol lastFundingRate markPrice", "rest/premiumIndex"),
        ("symbol priceChangePercent lastPrice", "rest/ticker/24hr"),
        ("symbol bidPrice askPrice", "rest/ticker/bookTicker"),
        ("lastUpdateId bids asks", "rest/depth"),
        ("price qty isBuyerMaker", "rest/trades"),
        ("a p q T m", "rest/aggTrades"),
        ("symbol averagePrice executedQty side", "rest/forceOrders"),
        ("symbols exchangeFilters", "rest/exchangeInfo"),
        ("symbol price", "rest/ticker/price"),
    )
)
"""Channel by the keys of a message without ``e``; the first that fits."""

CANDLE_REQUESTS = frozenset({"klines", "continuousKlines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines"})
