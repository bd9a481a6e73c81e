"""What Gate.io USDT futures answers over REST, and the rows it becomes.

Source: gate.com/docs/developers/apiv4, "Futures", read 2026-11. Channels are named after the last word of the path.
Most answers name no contract; then it is the one that was asked for.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.expressions import bar_end, instant, query
from orderflow_streaming.exchanges.gateio.streams import (
    POSITIONING,
    POSITIONING_VALUES,
    STATISTICS,
    STATISTICS_VALUES,
    TICKER_VALUES,
    ticker_rows,
)
from orderflow_streaming.exchanges.protocol import Channel, Rows, values

_CONTRACT_OF_URL = query("contract")


def _rest(
    name: str, paths: dict[str, str], *rows: Rows, symbol: str = _CONTRACT_OF_URL, item: str = "data[*]"
) -> Channel:
    return Channel(f"rest/{name}", paths | values(VARCHAR="/rest"), rows, symbol=symbol, item=item)


_SNAPSHOT_VALUES = values(DOUBLE="update current", BIGINT="id")
_SNAPSHOT = {
    "timestamp": instant("coalesce($update, $current)"),
    "last_update_id": "$id",
    "bids": "$bids",
    "asks": "$asks",
}
_SNAPSHOT_REQUIRED = ("timestamp", "bids", "asks")

_OPENED = instant("$t")
_BAR_END = bar_end(_OPENED, query("interval"))
# Perpetual bars are contracts and their value; the documentation calls the latter ``sum``.
_BAR = {
    "open_time": _OPENED,
    "close_time": _BAR_END,
    "interval": query("interval"),
    "open": "$o",
    "high": "$h",
    "low": "$l",
    "close": "$c",
    "raw_volume": "$v",
    "quote_volume": "$sum",
    "is_closed": f"{_BAR_END} < received_at",
}

_TRADE = {
    # Seconds with decimals here, under either name.
    "timestamp": instant("coalesce($create_time_ms, $create_time)"),
    "trade_id": "$id",
    "price": "$price",
    "raw_quantity": "abs($size)",
    "is_buyer_maker": "$size < 0",
    "source_seq": "$id",
}
_IS_INTERNAL = "coalesce($is_internal, false)"

ANSWER_CHANNELS = (
    _rest(
        "order_book",
        _SNAPSHOT_VALUES | {"bids": "LEVELS p s", "asks": "LEVELS p s"},
        Rows("book_snapshot", _SNAPSHOT, required=_SNAPSHOT_REQUIRED),
        item="data",
    ),
    _rest(
        "spot/order_book",
        _SNAPSHOT_VALUES | values(LEVELS="bids asks"),
        Rows("spot_book_snapshot", _SNAPSHOT, required=_SNAPSHOT_REQUIRED),
        symbol=query("currency_pair"),
        item="data",
    ),
    _rest("candlesticks", values(DOUBLE="t o h l c v sum"), Rows("candles", _BAR)),
    _rest(
        "trades",
        values(DOUBLE="create_time_ms create_time price size", BIGINT="id", VARCHAR="contract", BOOLEAN="is_internal"),
        Rows("trades", _TRADE, where=f"NOT {_IS_INTERNAL}"),
        Rows("off_market_trade", _TRADE, where=_IS_INTERNAL),
        symbol=f"coalesce($contract, {_CONTRACT_OF_URL})",
    ),
    _rest(
        "funding_rate",
        values(DOUBLE="t r"),
        Rows("funding_rates", {"timestamp": instant("$t"), "funding_rate": "$r"}),
    ),
    _rest("contract_stats", STATISTICS_VALUES, STATISTICS),
    _rest("contract_stats/positioning", POSITIONING_VALUES, *POSITIONING),
    _rest("tickers", TICKER_VALUES, *ticker_rows("received_at"), symbol="$contract"),
    _rest(
        "liq_orders",
        values(DOUBLE="time size fill_price order_price", VARCHAR="contract"),
        Rows(
            "liquidations",
            {
                "timestamp": instant("$time"),
                # Here the size is the position's (see the pushes, which have the sign of the order).
                "side": "CASE WHEN $size > 0 THEN 'long' WHEN $size < 0 THEN 'short' END",
                "price": "coalesce(nullif($fill_price, 0), $order_price)",
                "raw_quantity": "abs($size)",
            },
        ),
        symbol="$contract",
    ),
    _rest(
        "contracts",
        values(
            DOUBLE="quanto_multiplier order_price_round order_size_min funding_interval funding_next_apply",
            BOOLEAN="in_delisting",
            VARCHAR="name status type",
        ),
        Rows(
            "instrument",
            {
                "venue_symbol": "$name",
                "status": "CASE WHEN $in_delisting THEN 'delisting' ELSE coalesce($status, 'trading') END",
                "contract_type": "$type",
                "contract_size": "nullif($quanto_multiplier, 0)",
                "tick_size": "$order_price_round",
                "lot_size": "nullif($order_size_min, 0)",
                "funding_interval_hours": "$funding_interval / 3600",
                "next_funding_time": instant("$funding_next_apply"),
            },
            required=("venue_symbol",),
        ),
        symbol="$name",
    ),
)

SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys.split()), channel)
    for keys, channel in (
        ("name quanto_multiplier", "rest/contracts"),
        ("asks bids current", "rest/order_book"),
        ("lsr_taker open_interest", "rest/contract_stats"),
        ("contract last total_size", "rest/tickers"),
        ("contract order_price fill_price", "rest/liq_orders"),
        ("t o h l c", "rest/candlesticks"),
        ("t r", "rest/funding_rate"),
        ("id size price contract", "rest/trades"),
    )
)
"""Channel by the keys of an answer, or of the first of a list; the first that fits."""
