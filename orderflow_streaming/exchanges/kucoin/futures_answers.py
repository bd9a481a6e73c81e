"""What KuCoin futures answers over REST, and the rows it becomes.

Source: www.kucoin.com/docs-new, "Futures Trading", market data and funding fees. Sizes are lots.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.expressions import bar_end, query
from orderflow_streaming.exchanges.kucoin.futures import FUTURES_STREAMS, QUOTE, QUOTE_VALUES, TRADE, TRADE_VALUES
from orderflow_streaming.exchanges.kucoin.unified import BOTH_MARKETS, FUTURES_ONLY
from orderflow_streaming.exchanges.kucoin.values import (
    answered,
    minutes_interval,
    quote_rows,
    stamp,
)
from orderflow_streaming.exchanges.protocol import Rows, milliseconds, values

_ASKED_FOR = query("symbol")
_LIST = "data.data[*]"

# [start ms, open, high, low, close, volume in lots]
_GRANULARITY = query("granularity")
_BAR_END = bar_end(milliseconds("$[0]"), f"({_GRANULARITY} || ' minutes')")
_BAR = {
    "open_time": milliseconds("$[0]"),
    "close_time": _BAR_END,
    "interval": minutes_interval(f"TRY_CAST({_GRANULARITY} AS INTEGER)"),
    "open": "$[1]",
    "high": "$[2]",
    "low": "$[3]",
    "close": "$[4]",
    "raw_volume": "$[5]",
    "is_closed": f"({_BAR_END}) < received_at",
}

# Older answers tell only the time left until the settlement; settlements are on whole minutes.
_COUNTDOWN_END = (
    "CASE WHEN $nextFundingRateTime BETWEEN 0 AND 31536000000 "
    "THEN time_bucket(INTERVAL 1 MINUTE, received_at + to_milliseconds($nextFundingRateTime + 30000)) END"
)

_QUOTES = quote_rows(QUOTE | {"last_price": "$price"})
_QUOTE_VALUES = QUOTE_VALUES | values(DOUBLE="price")

_ANSWERS = (
    # The answer tells no time of its own, so that its rows have that of its arrival.
    answered(
        "contracts",
        values(
            BIGINT="nextFundingRateTime nextFundingRateDateTime",
            VARCHAR="symbol",
            DOUBLE="openInterest multiplier markPrice fundingFeeRate",
        ),
        Rows(
            "open_interest",
            {
                "timestamp": "received_at",
                "raw_quantity": "$openInterest",
                "open_interest_usd": "$openInterest * $multiplier * $markPrice",
            },
        ),
        Rows(
            "funding_rates",
            {
                "timestamp": "received_at",
                "funding_rate": "$fundingFeeRate",
                "next_funding_time": f"coalesce({milliseconds('$nextFundingRateDateTime')}, {_COUNTDOWN_END})",
            },
            where="$fundingFeeRate IS NOT NULL",
        ),
        symbol="$symbol",
    ),
    answered(
        "contracts/active",
        values(
            BIGINT="fundingRateGranularity",
            VARCHAR="symbol type status baseCurrency quoteCurrency",
            DOUBLE="multiplier tickSize lotSize",
        ),
        Rows(
            "instrument",
            {
                "venue_symbol": "$symbol",
                "contract_type": "$type",
                "status": "$status",
                "base_asset": "$baseCurrency",
                "quote_asset": "$quoteCurrency",
                "contract_size": "$multiplier",
                "tick_size": "$tickSize",
                "lot_size": "$lotSize",
                "funding_interval_hours": "$fundingRateGranularity / 3600000",
            },
            required=("status", "contract_size"),
        ),
        symbol="$symbol",
        item=_LIST,
    ),
    answered("ticker", _QUOTE_VALUES, *_QUOTES, symbol="$symbol"),
    answered("allTickers", _QUOTE_VALUES, *_QUOTES, symbol="$symbol", item=_LIST),
    answered(
        "level2",
        values(BIGINT="ts sequence", VARCHAR="symbol tradeType", LEVELS="bids asks"),
        Rows(
            "book_snapshot",
            {
                "timestamp": stamp("$ts"),
                "trade_type": "$tradeType",
                "last_update_id": "$sequence",
                "bids": "$bids",
                "asks": "$asks",
            },
            required=("last_update_id", "bids", "asks"),
        ),
        symbol="$symbol",
    ),
    answered(
        "kline/query",
        values(BIGINT="[0]", VARCHAR="/rest", DOUBLE="[1] [2] [3] [4] [5]"),
        Rows("candles", _BAR),
        symbol=_ASKED_FOR,
        item=_LIST,
    ),
    answered(
        "trade/history",
        TRADE_VALUES | values(VARCHAR="/rest"),
        Rows("trades", TRADE),
        symbol=_ASKED_FOR,
        item=_LIST,
    ),
    answered(
        "funding-rates",
        values(BIGINT="timepoint", VARCHAR="symbol", DOUBLE="fundingRate"),
        Rows("funding_rates", {"timestamp": milliseconds("$timepoint"), "funding_rate": "$fundingRate"}),
        symbol="$symbol",
        item=_LIST,
    ),
    answered(
        "mark-price",
        values(BIGINT="timePoint", VARCHAR="symbol", DOUBLE="value indexPrice"),
        Rows(
            "mark_prices",
            {"timestamp": milliseconds("$timePoint"), "mark_price": "$value", "index_price": "$indexPrice"},
        ),
        Rows("index_prices", {"timestamp": milliseconds("$timePoint"), "index_price": "$indexPrice"}),
        symbol="$symbol",
    ),
    answered(
        "open-interest",
        values(BIGINT="ts", VARCHAR="/rest symbol", DOUBLE="openInterest"),
        Rows("open_interest", {"timestamp": milliseconds("$ts"), "raw_quantity": "$openInterest"}),
        symbol=f"coalesce($symbol, {_ASKED_FOR})",
        item=_LIST,
    ),
)

FUTURES_CHANNELS = {channel.name: channel for channel in (*FUTURES_STREAMS, *_ANSWERS, *BOTH_MARKETS, *FUTURES_ONLY)}

FUTURES_SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), f"rest/{channel}")
    for keys, channel in (
        ("symbol multiplier", "contracts"),
        ("symbol bestBidPrice bestAskPrice", "ticker"),
        ("sequence bids asks", "level2"),
        ("fundingRate timepoint", "funding-rates"),
        ("value indexPrice timePoint", "mark-price"),
        ("openInterest ts", "open-interest"),
        ("sequence tradeId price size side", "trade/history"),
    )
)
"""Channel by the keys of an answer, or of the first item of a list; the first that fits."""

FUTURES_LISTS = {"rest/contracts": "rest/contracts/active", "rest/ticker": "rest/allTickers"}
"""Channel of a list of what another channel has a single one of."""
