"""What Bybit answers over REST, and the rows it becomes; linear contracts and spot alike.

Source: bybit-exchange.github.io/docs/v5, "Market". Channels are named after the path below ``/v5/market``. Lists come
newest first; an answer tells its own time.
"""

from __future__ import annotations

from typing import Any

from orderflow_streaming.exchanges.bybit.messages import PERPETUAL_VALUES, interval, perpetual_rows, taker_sold
from orderflow_streaming.exchanges.expressions import query
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

ROOT = "/v5/market/"
_LIST = "data.result.list[*]"
_ANSWER_TIME = milliseconds("$/data.time")
_ASKED_INTERVAL = query("interval")
_END_MS = f"$[0] + TRY_CAST({_ASKED_INTERVAL} AS BIGINT) * 60000 - 1"
"""Last millisecond of a bar of minutes; NULL for days, weeks and months."""

# [start, open, high, low, close, volume, turnover]; mark, index and premium candles end with the close.
_KLINE = {
    "open_time": milliseconds("$[0]"),
    "close_time": milliseconds(f"({_END_MS})"),
    "interval": interval(_ASKED_INTERVAL),
    "open": "$[1]",
    "high": "$[2]",
    "low": "$[3]",
    "close": "$[4]",
    "raw_volume": "$[5]",
    "quote_volume": "$[6]",
    "is_closed": f"({_END_MS}) < $/data.time",
}
_PRICE_KLINE = {name: _KLINE[name] for name in ("open_time", "close_time", "interval", "open", "high", "low", "close")}

_TRADE = {
    "timestamp": milliseconds("$time"),
    "trade_id": "$execId",
    "price": "$price",
    "raw_quantity": "$size",
    "is_buyer_maker": taker_sold("$side"),
    "source_seq": "$seq",
}

ANSWER_CHANNELS = (
    Channel(
        "rest/kline",
        values(BIGINT="[0] /data.time", DOUBLE="[1] [2] [3] [4] [5] [6]", VARCHAR="/rest /data.result.symbol"),
        (
            Rows("candles", _KLINE, where="$[5] IS NOT NULL"),
            Rows("price_candle", _PRICE_KLINE, where="$[5] IS NULL", required=("open_time", "close")),
        ),
        symbol="$/data.result.symbol",
        item=_LIST,
    ),
    Channel(
        "rest/recent-trade",
        values(BIGINT="time seq", VARCHAR="symbol side execId", DOUBLE="price size", BOOLEAN="isBlockTrade"),
        (
            Rows("trades", _TRADE, where="NOT coalesce($isBlockTrade, false)"),
            Rows("block_trade", _TRADE, where="coalesce($isBlockTrade, false)"),
        ),
        symbol="$symbol",
        item=_LIST,
    ),
    Channel(
        "rest/funding/history",
        values(BIGINT="fundingRateTimestamp", VARCHAR="symbol", DOUBLE="fundingRate"),
        (
            Rows(
                "funding_rates",
                {"timestamp": milliseconds("$fundingRateTimestamp"), "funding_rate": "$fundingRate"},
            ),
        ),
        symbol="$symbol",
        item=_LIST,
    ),
    Channel(
        "rest/open-interest",
        values(BIGINT="timestamp", VARCHAR="/data.result.symbol", DOUBLE="openInterest"),
        (Rows("open_interest", {"timestamp": milliseconds("$timestamp"), "raw_quantity": "$openInterest"}),),
        symbol="$/data.result.symbol",
        item=_LIST,
    ),
    Channel(
        "rest/account-ratio",
        values(BIGINT="timestamp", VARCHAR="symbol", DOUBLE="buyRatio sellRatio"),
        (
            Rows(
                "positioning",
                {
                    "timestamp": milliseconds("$timestamp"),
                    "kind": "'accounts'",
                    "long_short_ratio": "$buyRatio / nullif($sellRatio, 0)",
                },
            ),
        ),
        symbol="$symbol",
        item=_LIST,
    ),
    Channel(
        "rest/tickers",
        PERPETUAL_VALUES | values(BIGINT="/data.time", DOUBLE="bid1Price bid1Size ask1Price ask1Size"),
        (
            *perpetual_rows(_ANSWER_TIME).values(),
            Rows(
                "prices",
                {
                    "timestamp": _ANSWER_TIME,
                    "bid_price": "$bid1Price",
                    "ask_price": "$ask1Price",
                    "raw_bid_qty": "$bid1Size",
                    "raw_ask_qty": "$ask1Size",
                    "last_price": "$lastPrice",
                },
                where="coalesce($bid1Price > 0 AND $ask1Price > 0, false)",
            ),
        ),
        symbol="$symbol",
        item=_LIST,
    ),
    Channel(
        "rest/orderbook",
        values(BIGINT="ts cts u seq", VARCHAR="s", LEVELS="b a"),
        (
            Rows(
                "book_snapshot",
                {
                    "timestamp": f"coalesce({milliseconds('$cts')}, {milliseconds('$ts')})",
                    "last_update_id": "$u",
                    "sequence": "$seq",
                    "bids": "$b",
                    "asks": "$a",
                },
                required=("timestamp", "last_update_id", "bids", "asks"),
            ),
        ),
        item="data.result",
    ),
    Channel(
        "rest/instruments-info",
        values(
            BIGINT="/data.time launchTime",
            VARCHAR="symbol contractType status baseCoin quoteCoin",
            DOUBLE="fundingInterval priceFilter.tickSize lotSizeFilter.qtyStep lotSizeFilter.basePrecision",
        ),
        (
            Rows(
                "instrument",
                {
                    "timestamp": _ANSWER_TIME,
                    "contract_type": "$contractType",
                    "status": "$status",
                    "base_asset": "$baseCoin",
                    "quote_asset": "$quoteCoin",
                    "contract_size": "1.0::DOUBLE",
                    "tick_size": "$priceFilter.tickSize",
                    "lot_size": "coalesce($lotSizeFilter.qtyStep, $lotSizeFilter.basePrecision)",
                    "funding_interval_hours": "$fundingInterval / 60",
                    "launch_time": milliseconds("$launchTime"),
                },
                required=("status",),
            ),
        ),
        symbol="$symbol",
        item=_LIST,
    ),
)

_SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), channel)
    for keys, channel in (
        ("execId price", "rest/recent-trade"),
        ("fundingRateTimestamp", "rest/funding/history"),
        ("openInterest timestamp", "rest/open-interest"),
        ("buyRatio sellRatio", "rest/account-ratio"),
        ("lotSizeFilter", "rest/instruments-info"),
        ("lastPrice", "rest/tickers"),
    )
)


def channel_of(result: Any) -> str | None:
    """Channel of the ``result`` of an answer; None where it holds nothing. Raises ValueError for what is unknown."""
    if not isinstance(result, dict):
        raise ValueError(f"a result is an object, not {result!r:.40}")
    if {"b", "a", "u"} <= result.keys():
        return "rest/orderbook"
    rows = result.get("list", [])
    if not rows or "timeSecond" in result:
        return None
    if not isinstance(rows, list):
        raise ValueError(f"a result has a list, not {rows!r:.40}")
    if isinstance(rows[0], list):
        return "rest/kline"
    keys = rows[0].keys() if isinstance(rows[0], dict) else set()
    for signature, channel in _SIGNATURES:
        if signature <= keys:
            return channel
    raise ValueError(f"no known result lists the keys {', '.join(sorted(keys)) or 'none'}"[:200])
