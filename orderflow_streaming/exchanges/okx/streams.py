"""What OKX sends on its sockets, and the rows it becomes.

Source: www.okx.com/docs-v5, "Public Channel", "Order Book Trading > Market Data" and "Trading Statistics". Channels
have the venue's names. Sizes of swaps and futures are contracts, those of spot pairs base coin; times are epoch
milliseconds, sent as text like all numbers but sequence ids.
"""

from __future__ import annotations

from orderflow_streaming.exchanges.merged import MERGED_BOOK
from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

_TIME = milliseconds("$ts")
_EVENT_OR_RECEIVED = f"coalesce({_TIME}, received_at)"
_MINUTE_MS = 60_000

_QUOTE = {
    "timestamp": _TIME,
    "bid_price": "$bids[0][0]",
    "ask_price": "$asks[0][0]",
    "raw_bid_qty": "$bids[0][1]",
    "raw_ask_qty": "$asks[0][1]",
    "source_seq": "$seqId",
}
_ONE_SIDED = "$bids[0][0] IS NULL OR $asks[0][0] IS NULL"

_BOOK_VALUES = values(BIGINT="ts seqId prevSeqId checksum", VARCHAR="/arg.instId /action", LEVELS="bids asks")
_BOOK_CHANGE = {
    "timestamp": _TIME,
    "last_update_id": "$seqId",
    "previous_update_id": "$prevSeqId",
    "checksum": "$checksum",
    "bids": "$bids",
    "asks": "$asks",
}
_IS_SNAPSHOT = "$/action IS NOT DISTINCT FROM 'snapshot' OR $prevSeqId IS NOT DISTINCT FROM -1"

TRADE_VALUES = values(BIGINT="ts seqId", VARCHAR="instId tradeId side", DOUBLE="px sz")
TRADE = Rows(
    "trades",
    {
        "timestamp": _TIME,
        "trade_id": "$tradeId",
        "price": "$px",
        "raw_quantity": "$sz",
        "is_buyer_maker": "CASE $side WHEN 'sell' THEN true WHEN 'buy' THEN false END",
        "source_seq": "$seqId",
    },
)
MARK_VALUES = values(BIGINT="ts", VARCHAR="instId", DOUBLE="markPx")
MARK = Rows("mark_prices", {"timestamp": _TIME, "mark_price": "$markPx"})
INDEX_VALUES = values(BIGINT="ts", VARCHAR="instId", DOUBLE="idxPx")
INDEX = Rows("index_prices", {"timestamp": _TIME, "index_price": "$idxPx"})
SWAP_OF_INDEX = "$instId || '-SWAP'"
"""An index is named after its pair, ``BTC-USDT``."""
OPEN_INTEREST_VALUES = values(BIGINT="ts", VARCHAR="instId", DOUBLE="oi oiUsd")
OPEN_INTEREST = Rows("open_interest", {"timestamp": _TIME, "raw_quantity": "$oi", "open_interest_usd": "$oiUsd"})
TICKER_VALUES = values(BIGINT="ts", VARCHAR="instId", DOUBLE="last vol24h high24h low24h open24h")
TICKER = Rows(
    "ticker_24h",
    {
        "timestamp": _TIME,
        "raw_volume_24h": "$vol24h",
        "high_24h": "$high24h",
        "low_24h": "$low24h",
        "open_24h": "$open24h",
        "last_price": "$last",
    },
)

# The next settlement is at ``fundingTime``; ``nextFundingTime`` is the one after it. Messages of before 2023 carry no
# ``ts``, and those of a new contract no rate.
FUNDING_VALUES = values(BIGINT="ts fundingTime", VARCHAR="instId", DOUBLE="fundingRate nextFundingRate")
FUNDING = (
    Rows(
        "funding_rates",
        {
            "timestamp": _EVENT_OR_RECEIVED,
            "funding_rate": "$fundingRate",
            "next_funding_time": milliseconds("$fundingTime"),
        },
        where="$fundingRate IS NOT NULL",
    ),
    Rows(
        "funding_forecast",
        {"timestamp": _EVENT_OR_RECEIVED, "next_funding_rate": "$nextFundingRate"},
        where="$fundingRate IS NULL",
        required=("timestamp", "next_funding_rate"),
    ),
)

# [ts, open, high, low, close, volume, volume in coins, volume in quote, confirm]; the last two are absent before 2023.
CANDLE_VALUES = values(BIGINT="[0]", DOUBLE="[1] [2] [3] [4] [5] [7]", VARCHAR="[8]")


def candle_fields(interval: str) -> dict[str, str]:
    """A bar whose length is the SQL ``interval``; the end is told of minutes only, as other bars may end by UTC+8."""
    return {
        "open_time": milliseconds("$[0]"),
        "close_time": f"CASE {interval} WHEN '1m' THEN {milliseconds(f'($[0] + {_MINUTE_MS - 1})')} END",
        "interval": interval,
        "open": "$[1]",
        "high": "$[2]",
        "low": "$[3]",
        "close": "$[4]",
        "raw_volume": "$[5]",
        "quote_volume": "$[7]",
        "is_closed": "CASE $[8] WHEN '1' THEN true WHEN '0' THEN false END",
    }


# ``posSide`` is the position in hedge mode; in net mode it is ``net``, and the closing order tells.
_LIQUIDATION = {
    "timestamp": _TIME,
    "side": "CASE WHEN $posSide IN ('long', 'short') THEN $posSide "
    "WHEN $side = 'sell' THEN 'long' WHEN $side = 'buy' THEN 'short' END",
    "price": "$bkPx",
    "raw_quantity": "$sz",
}

INSTRUMENT_VALUES = values(
    BIGINT="listTime expTime",
    VARCHAR="instId instType ctType ctValCcy settleCcy state",
    DOUBLE="ctVal ctMult tickSz lotSz",
)
# A contract of a linear swap is a number of coins; one of an inverse swap is a number of USD.
INSTRUMENT = Rows(
    "instrument",
    {
        "venue_symbol": "$instId",
        "instrument_type": "$instType",
        "contract_type": "$ctType",
        "status": "$state",
        "contract_size": "CASE $ctType WHEN 'linear' THEN $ctVal * coalesce($ctMult, 1) END",
        "contract_value": "$ctVal",
        "contract_currency": "$ctValCcy",
        "settle_currency": "$settleCcy",
        "tick_size": "$tickSz",
        "lot_size": "$lotSz",
        "onboard_time": milliseconds("$listTime"),
        "delivery_time": milliseconds("$expTime"),
    },
    required=("venue_symbol", "status"),
)


def _listed(name: str, paths: dict[str, str], *rows: Rows, symbol: str = "$instId", consecutive: str = "") -> Channel:
    return Channel(name, paths, rows, symbol, item="data[*]", consecutive=consecutive)


STREAM_CHANNELS = (
    MERGED_BOOK,
    _listed(
        "bbo-tbt",
        values(
            BIGINT="ts seqId",
            VARCHAR="/arg.instId",
            DOUBLE="bids[0][0] bids[0][1] asks[0][0] asks[0][1]",
            JSON="bids asks",
        ),
        Rows("prices", _QUOTE, where=f"NOT ({_ONE_SIDED})"),
        Rows(
            "one_sided_quote",
            {"timestamp": _TIME, "bids": "$bids", "asks": "$asks"},
            where=_ONE_SIDED,
            required=("timestamp", "bids", "asks"),
        ),
        symbol="$/arg.instId",
    ),
    *(
        _listed(
            name,
            _BOOK_VALUES,
            Rows("book_snapshot", _BOOK_CHANGE, where=_IS_SNAPSHOT, required=("timestamp", "bids", "asks")),
            Rows("book_delta", _BOOK_CHANGE, where=f"NOT ({_IS_SNAPSHOT})", required=("timestamp", "bids", "asks")),
            symbol="$/arg.instId",
        )
        for name in ("books", "books-l2-tbt", "books50-l2-tbt")
    ),
    _listed(
        "books5",
        values(BIGINT="ts seqId", VARCHAR="/arg.instId", LEVELS="bids asks"),
        Rows("orderbooks", {"timestamp": _TIME, "bids": "$bids", "asks": "$asks", "source_seq": "$seqId"}),
        symbol="$/arg.instId",
    ),
    _listed("trades", TRADE_VALUES, TRADE),
    _listed("trades-all", TRADE_VALUES, TRADE, consecutive="trade_id"),
    _listed("mark-price", MARK_VALUES, MARK),
    _listed("index-tickers", INDEX_VALUES, INDEX, symbol=SWAP_OF_INDEX),
    _listed("funding-rate", FUNDING_VALUES, *FUNDING),
    _listed("open-interest", OPEN_INTEREST_VALUES, OPEN_INTEREST),
    _listed("tickers", TICKER_VALUES, TICKER),
    _listed(
        "candle",
        CANDLE_VALUES | values(VARCHAR="/arg.channel /arg.instId"),
        Rows("candles", candle_fields("substr($/arg.channel, 7)")),
        symbol="$/arg.instId",
    ),
    Channel(
        "liquidation-orders",
        values(BIGINT="ts", VARCHAR="instId side posSide", DOUBLE="bkPx sz"),
        (
            Rows("liquidations", _LIQUIDATION, where="listed"),
            Rows("unlisted_liquidation", _LIQUIDATION, where="NOT listed", required=("timestamp", "side", "price")),
        ),
        symbol="$instId",
        item="data[*].details[*]",
    ),
    _listed("instruments", INSTRUMENT_VALUES, INSTRUMENT),
)
"""``trades`` sums up the fills of a taker order at a price under the id of the last; ``trades-all`` has each."""
