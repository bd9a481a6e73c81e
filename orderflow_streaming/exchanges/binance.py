"""Binance USDⓈ-M futures: routed combined streams, aggregated trades, twenty-level books, REST open interest.

Sources: developers.binance.com, USDⓈ-M Futures, "Websocket Market Streams" and "Market Data Endpoints". Channels
have the venue's names, REST answers the last part of their path. Sizes are base coin, times epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from orderflow_streaming import markets
from orderflow_streaming.exchanges.protocol import (
    Channel,
    Control,
    ControlKind,
    Endpoints,
    Exchange,
    Heartbeat,
    Instrument,
    Limits,
    Poll,
    Rows,
    Socket,
    Topic,
    decoded,
    milliseconds,
    rest_frame,
    values,
)

DEFAULT_FUNDING_INTERVAL_HOURS = 8.0
"""Of contracts that ``GET /fapi/v1/fundingInfo`` leaves out: it lists only those whose interval, cap or floor was
adjusted (developers.binance.com, USDⓈ-M Futures, "Get Funding Rate Info")."""

_EVENT_TIME = milliseconds("$E")
_EVENT_OR_TRANSACTION_TIME = f"coalesce({milliseconds('$E')}, {milliseconds('$T')})"


def _query(parameter: str) -> str:
    """SQL of a parameter of the URL a REST answer came from; NULL without one."""
    return f"nullif(regexp_extract($/rest, '[?&]{parameter}=([^&]+)', 1), '')"


_SYMBOL_OF_URL = f"upper({_query('symbol')})"


def _quotes(fields: Mapping[str, str]) -> tuple[Rows, ...]:
    """Best bid and ask; the venue sends a price of zero for a side without orders."""
    empty = f"({fields['bid_price']} = 0 OR {fields['ask_price']} = 0)"
    return Rows("prices", fields, where=f"NOT {empty}"), Rows("one_sided_quote", fields, where=empty)


_DEPTH = values(BIGINT="E T U u pu", VARCHAR="s", LEVELS="b a")
_DEPTH_DELTA = {
    "timestamp": _EVENT_OR_TRANSACTION_TIME,
    "first_update_id": "$U",
    "last_update_id": "$u",
    "previous_update_id": "$pu",
    "bids": "$b",
    "asks": "$a",
}
_DEPTH_DELTA_REQUIRED = ("timestamp", "last_update_id", "bids", "asks")

_AGGREGATED_TRADE = {
    "timestamp": milliseconds("$T"),
    "trade_id": "$a",
    "price": "$p",
    "raw_quantity": "$q",
    "is_buyer_maker": "$m",
    "source_seq": "$l",
}

# Orders of the insurance fund and of auto-deleveraging are matched away from the book, often far from the market.
_IS_MARKET_TRADE = "coalesce($X, 'MARKET') = 'MARKET'"
_TRADE = _AGGREGATED_TRADE | {"trade_id": "$t", "source_seq": "$t"}

_MARK = {"timestamp": _EVENT_TIME, "mark_price": "$p", "index_price": "nullif($i, 0)", "funding_rate": "$r"}


def _mark(fields: Mapping[str, str], next_funding: str) -> tuple[Rows, ...]:
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

# [open time, open, high, low, close, volume, close time, quote volume, trades, taker buy volume, taker buy quote, …]
_REST_KLINE = {
    "open_time": milliseconds("$[0]"),
    "close_time": milliseconds("$[6]"),
    "interval": _query("interval"),
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

_TICKER = {
    "timestamp": _EVENT_TIME,
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


def _filter_value(kind: str, name: str) -> str:
    """SQL of a number in an instrument's list of filters."""
    found = f"list_filter(from_json($filters, '[\"JSON\"]'), lambda f: f->>'filterType' = '{kind}')[1]"
    return f"TRY_CAST({found}->>'{name}' AS DOUBLE)"


_SOCKET_CHANNELS = (
    Channel(
        "bookTicker",
        values(BIGINT="u E T", VARCHAR="s", DOUBLE="b B a A"),
        _quotes(
            {
                "timestamp": f"coalesce({_EVENT_OR_TRANSACTION_TIME}, received_at)",
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
                {"timestamp": _EVENT_OR_TRANSACTION_TIME, "bids": "$b", "asks": "$a", "source_seq": "$u"},
            ),
        ),
    ),
    Channel("depth", _DEPTH, (Rows("book_delta", _DEPTH_DELTA, required=_DEPTH_DELTA_REQUIRED),)),
    Channel("rpiDepth", _DEPTH, (Rows("rpi_book_delta", _DEPTH_DELTA, required=_DEPTH_DELTA_REQUIRED),)),
    Channel(
        "aggTrade",
        values(BIGINT="a l T", VARCHAR="s", DOUBLE="p q", BOOLEAN="m"),
        (Rows("trades", _AGGREGATED_TRADE),),
        consecutive="trade_id",
    ),
    Channel(
        "trade",
        values(BIGINT="t T", VARCHAR="s X", DOUBLE="p q", BOOLEAN="m"),
        (
            Rows("trades", _TRADE, where=_IS_MARKET_TRADE),
            Rows("off_market_trade", _TRADE | {"order_type": "$X"}, where=f"NOT ({_IS_MARKET_TRADE})"),
        ),
    ),
    Channel("markPrice", values(BIGINT="E T", VARCHAR="s", DOUBLE="p i r"), _mark(_MARK, "$T")),
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
                    "timestamp": _EVENT_TIME,
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
                {"timestamp": _EVENT_TIME, "index_price": "$i", "bid_price": "$B", "ask_price": "$A"},
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
                {"timestamp": _EVENT_TIME, "index_price": "$p"},
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
                    "timestamp": _EVENT_TIME,
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


def _rest(name: str, paths: Mapping[str, str], *rows: Rows, symbol: str = "$symbol") -> Channel:
    return Channel(f"rest/{name}", paths, rows, symbol=symbol)


_REST_CHANNELS = (
    _rest(
        "openInterest",
        values(BIGINT="time", VARCHAR="symbol", DOUBLE="openInterest"),
        Rows("open_interest", {"timestamp": milliseconds("$time"), "raw_quantity": "$openInterest"}),
    ),
    _rest(
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
    _rest("klines", _REST_KLINE_VALUES, Rows("candles", _REST_KLINE), symbol=_SYMBOL_OF_URL),
    _rest(
        "continuousKlines",
        _REST_KLINE_VALUES,
        Rows("candles", _REST_KLINE, where=f"{_query('contractType')} = 'PERPETUAL'"),
        Rows("continuous_candle", _REST_KLINE, where=f"{_query('contractType')} <> 'PERPETUAL'"),
        symbol=f"upper({_query('pair')})",
    ),
    *(
        _rest(name, _REST_KLINE_VALUES, Rows(kind, _PRICE_KLINE, required=("open_time", "close")), symbol=symbol)
        for name, kind, symbol in (
            ("markPriceKlines", "mark_price_candle", _SYMBOL_OF_URL),
            ("indexPriceKlines", "index_price_candle", f"upper({_query('pair')})"),
            ("premiumIndexKlines", "premium_index_candle", _SYMBOL_OF_URL),
        )
    ),
    _rest(
        "fundingRate",
        values(BIGINT="fundingTime", VARCHAR="symbol", DOUBLE="fundingRate"),
        Rows("funding_rates", {"timestamp": milliseconds("$fundingTime"), "funding_rate": "$fundingRate"}),
    ),
    _rest(
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
    _rest(
        "premiumIndex",
        values(BIGINT="time nextFundingTime", VARCHAR="symbol", DOUBLE="markPrice indexPrice lastFundingRate"),
        *_mark(
            {
                "timestamp": milliseconds("$time"),
                "mark_price": "$markPrice",
                "index_price": "nullif($indexPrice, 0)",
                "funding_rate": "$lastFundingRate",
            },
            "$nextFundingTime",
        ),
    ),
    _rest(
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
    _rest(
        "ticker/bookTicker",
        values(BIGINT="time lastUpdateId", VARCHAR="symbol", DOUBLE="bidPrice bidQty askPrice askQty"),
        *_quotes(
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
    _rest(
        "ticker/price",
        values(BIGINT="time", VARCHAR="symbol", DOUBLE="price"),
        Rows("last_price", {"timestamp": milliseconds("$time"), "last_price": "$price"}, required=("last_price",)),
    ),
    _rest(
        "depth",
        values(BIGINT="lastUpdateId E T", VARCHAR="/rest /stream", LEVELS="bids asks"),
        Rows(
            "book_snapshot",
            {
                "timestamp": _EVENT_OR_TRANSACTION_TIME,
                "last_update_id": "$lastUpdateId",
                "bids": "$bids",
                "asks": "$asks",
            },
            required=("last_update_id", "bids", "asks"),
        ),
        symbol=f"coalesce({_SYMBOL_OF_URL}, upper(split_part($/stream, '@', 1)))",
    ),
    _rest(
        "aggTrades",
        values(BIGINT="a l T", VARCHAR="/rest", DOUBLE="p q", BOOLEAN="m"),
        Rows("trades", _AGGREGATED_TRADE),
        symbol=_SYMBOL_OF_URL,
    ),
    _rest(
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
        symbol=_SYMBOL_OF_URL,
    ),
    _rest(
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
        _rest(
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
                    "contract_size": "1.0",
                    "tick_size": _filter_value("PRICE_FILTER", "tickSize"),
                    "lot_size": _filter_value("LOT_SIZE", "stepSize"),
                    "onboard_time": milliseconds("$onboardDate"),
                    "delivery_time": milliseconds("$deliveryDate"),
                },
                required=("status",),
            ),
        ),
        item="data.symbols[*]",
    ),
)

_EVENTS = {
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

_SIGNATURES: tuple[tuple[frozenset[str], str], ...] = tuple(
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

_REQUESTS = {"klines", "continuousKlines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines"}


@lru_cache(maxsize=4096)
def _topic_channel(topic: str) -> str | None:
    """Channel of ``btcusdt@depth20@100ms``, ``btcusdt@kline_1m``, ``!markPrice@arr@1s``; None for what is unknown."""
    if topic.startswith("!"):
        name, *rest = topic[1:].split("@")
        listed = "arr" in rest and name != "forceOrder"
        return f"{name}[]" if listed and f"{name}[]" in CHANNELS else name if name in CHANNELS else None
    name = topic.partition("@")[2].partition("@")[0].partition("_")[0]
    if name in ("depth5", "depth10", "depth20"):
        return "partialDepth"
    if name in ("depthSnapshot", "openInterest"):
        return "rest/depth" if name == "depthSnapshot" else "rest/openInterest"
    return name if name in CHANNELS else None


CHANNELS: dict[str, Channel] = {
    channel.name: channel for single in (*_SOCKET_CHANNELS, *_REST_CHANNELS) for channel in (single, single.listed())
}


class _Error(msgspec.Struct):
    code: int
    msg: str = ""


class _ControlMessage(msgspec.Struct):
    id: int | None = None
    result: list[str] | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str = ""
    e: str = ""
    stream: str = ""


_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_TOPIC_START = b'{"stream":"'
_REST_START = b'{"rest":"'
_TOO_MANY_REQUESTS = -1003


def _slice(frame: bytes, start: bytes) -> str | None:
    """The text between ``start``, which the frame begins with, and the next quotation mark."""
    if not frame.startswith(start):
        return None
    end = frame.find(b'"', len(start))
    return frame[len(start) : end].decode("ascii", "replace") if end > 0 else None


class BinanceFutures(Exchange):
    """Binance USDⓈ-M perpetual futures."""

    market = markets.MARKETS["binance_futures"]
    endpoints = Endpoints(
        sockets={
            "public": "wss://fstream.binance.com/public/stream",
            "market": "wss://fstream.binance.com/market/stream",
        },
        rest="https://fapi.binance.com",
    )
    heartbeat = Heartbeat(interval_s=20.0, payload=None, silent_after_s=60.0)
    limits = Limits(
        messages_per_s=10,
        topics_per_request=100,
        topics_per_socket=1024,
        connection_lifetime_h=24,
        rest_weight_per_min=2400,
    )
    channels = CHANNELS
    counts_base = True

    _topics: ClassVar[Mapping[str, tuple[tuple[str, tuple[str, ...], float | None], ...]]] = {
        "public": (
            ("bookTicker", ("prices",), 10.0),
            ("depth20@100ms", ("orderbooks",), 10.0),
        ),
        "market": (
            ("aggTrade", ("trades",), None),
            ("markPrice@1s", ("mark_prices", "funding_rates", "index_prices"), 30.0),
            ("ticker", ("ticker_24h",), 30.0),
            ("kline_1m", ("candles",), 130.0),
            ("forceOrder", ("liquidations",), None),
        ),
    }
    """By route: what follows ``btcusdt@``, the streams it feeds, seconds of silence that mean it is dead."""

    def simulated(self, base_url: str) -> Endpoints:
        root = f"{base_url.rstrip('/')}/{self.market.name}"
        sockets = {route: f"{root.replace('http', 'ws', 1)}/{route}/stream" for route in self.endpoints.sockets}
        return Endpoints(sockets=sockets, rest=root)

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        wanted = set(streams)
        found = []
        for route, kinds in self._topics.items():
            topics = tuple(
                Topic(name, _topic_channel(name) or "", symbol, feeds, stale_after_s)
                for suffix, feeds, stale_after_s in kinds
                if wanted & set(feeds)
                for symbol in symbols
                for name in (f"{symbol.lower()}@{suffix}",)
            )
            if topics:
                found.append(Socket(route, endpoints.sockets[route], topics))
        return tuple(found)

    def polls(self, symbols: Sequence[str], streams: Sequence[str]) -> tuple[Poll, ...]:
        if "open_interest" not in streams:
            return ()
        return tuple(
            Poll("rest/openInterest", symbol, f"/fapi/v1/openInterest?symbol={symbol}", interval_s=15.0)
            for symbol in symbols
        )

    def subscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(topics), "id": request})

    def unsubscribe(self, topics: Sequence[str], request: int) -> bytes:
        return msgspec.json.encode({"method": "UNSUBSCRIBE", "params": list(topics), "id": request})

    def topic(self, frame: bytes) -> str | None:
        return _slice(frame, _TOPIC_START)

    def route(self, frame: bytes) -> str | None:
        topic = _slice(frame, _TOPIC_START)
        if topic is not None:
            return _topic_channel(topic)
        path = _slice(frame, _REST_START)
        return "rest/openInterest" if path and path.startswith("/fapi/v1/openInterest?") else None

    def control(self, frame: bytes) -> Control:
        try:
            message = _decode_control(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Control(ControlKind.UNKNOWN, reason=str(error))
        if message.e == "serverShutdown" or message.stream == "!serverShutdown":
            return Control(ControlKind.SHUTDOWN, reason="the server announced that it stops")
        if message.error is not None:
            return Control(ControlKind.REFUSED, message.id, reason=f"{message.error.code}: {message.error.msg}")
        if message.code is not None:
            kind = ControlKind.RATE_LIMITED if message.code == _TOO_MANY_REQUESTS else ControlKind.ERROR
            return Control(kind, message.id, reason=f"{message.code}: {message.msg}")
        if message.id is not None:
            return Control(ControlKind.ACK, message.id, topics=tuple(message.result or ()))
        return Control(ControlKind.UNKNOWN, reason="neither data nor an answer to a request")

    def classify(self, frame: bytes, url: str = "") -> list[tuple[str, bytes]]:
        message = decoded(frame)
        if isinstance(message, dict) and "data" in message and ("stream" in message or "rest" in message):
            channel = self._wrapped(message)
            return [(channel, frame)] if channel else []
        if _is_control(message):
            return []
        channel = _bare(message, url)
        return [(channel, rest_frame(url, frame))]

    def _wrapped(self, message: dict[str, Any]) -> str | None:
        """Channel of ``{"stream": …, "data": …}``; None for a control message."""
        topic = str(message.get("stream", ""))
        if topic == "!serverShutdown" or _is_control(message["data"]):
            return None
        by_topic = _topic_channel(topic)
        if by_topic is None:
            return _bare(message["data"], str(message.get("rest", "")))
        listed = isinstance(message["data"], list)
        return f"{by_topic.removesuffix('[]')}[]" if listed else by_topic.removesuffix("[]")

    def instrument_paths(self) -> tuple[str, ...]:
        return "/fapi/v1/exchangeInfo", "/fapi/v1/fundingInfo"

    def instruments(self, answers: Sequence[Any]) -> list[Instrument]:
        information, adjusted = answers
        hours = {row["symbol"]: float(row["fundingIntervalHours"]) for row in adjusted}
        return [
            Instrument(
                symbol=row["symbol"],
                venue_symbol=row["symbol"],
                status=row["status"],
                contract_size=1.0,
                tick_size=_filter(row, "PRICE_FILTER", "tickSize"),
                lot_size=_filter(row, "LOT_SIZE", "stepSize"),
                funding_interval_hours=hours.get(row["symbol"], DEFAULT_FUNDING_INTERVAL_HOURS),
            )
            for row in information["symbols"]
            if row["symbol"] in markets.SYMBOLS and row["contractType"] == "PERPETUAL"
        ]


def _filter(row: Mapping[str, Any], kind: str, name: str) -> float | None:
    return next((float(entry[name]) for entry in row["filters"] if entry["filterType"] == kind), None)


def _is_control(message: Any) -> bool:
    """Answers, errors, requests of the client and answers without data (an empty list, ``ping``, ``time``)."""
    if not isinstance(message, dict):
        return message == []
    keys = message.keys()
    return (
        not keys
        or message.get("e") == "serverShutdown"
        or keys == {"serverTime"}
        or "method" in keys
        or ("id" in keys and bool(keys & {"result", "error", "status"}))
        or {"code", "msg"} <= keys
        or "error" in keys
    )


def _bare(message: Any, url: str) -> str:
    """Channel of a message without its topic; raises ValueError naming what was not recognized."""
    if isinstance(message, list):
        if isinstance(message[0], list):
            request = url.partition("?")[0].rpartition("/")[2]
            return f"rest/{request if request in _REQUESTS else 'klines'}[]"
        return f"{_bare(message[0], url)}[]"
    if not isinstance(message, dict):
        raise ValueError(f"a message is an object or a list, not {message!r:.40}")
    if "e" in message:
        channel = _EVENTS.get(str(message["e"]))
        if channel is None:
            raise ValueError(f"unknown event e={message['e']!r:.40}")
        return channel
    for keys, name in _SIGNATURES:
        if keys <= message.keys():
            return name
    raise ValueError(f"no known message has the keys {', '.join(sorted(message)) or 'none'}"[:200])
