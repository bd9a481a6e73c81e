"""Binance USDⓈ-M futures: subscriptions, routing, control messages, instruments."""

from __future__ import annotations

import msgspec
import pytest

from orderflow_streaming import markets
from orderflow_streaming.exchanges import PROTOCOLS, exchange
from orderflow_streaming.exchanges.protocol import ControlKind, UnsupportedFrameError, rest_frame

BINANCE = exchange("binance_futures")


def test_every_declared_market_has_a_protocol_and_no_other() -> None:
    assert set(PROTOCOLS) == set(markets.MARKETS)
    with pytest.raises(markets.UnknownNameError, match="Did you mean 'binance_futures'"):
        exchange("binance_future")


@pytest.mark.parametrize("market", PROTOCOLS)
def test_protocols_belong_to_their_market(market: str) -> None:
    assert exchange(market).market is markets.MARKETS[market]


def test_sockets_cover_the_streams_that_no_poll_brings() -> None:
    sockets = BINANCE.sockets(["BTCUSDT", "ETHUSDT"], BINANCE.market.streams, BINANCE.endpoints)
    assert {socket.name: socket.url for socket in sockets} == {
        "public": "wss://fstream.binance.com/public/stream",
        "market": "wss://fstream.binance.com/market/stream",
    }
    public, market = ({topic.name for topic in socket.topics if topic.symbol == "BTCUSDT"} for socket in sockets)
    assert public == {"btcusdt@bookTicker", "btcusdt@depth20@100ms"}
    assert market == {f"btcusdt@{kind}" for kind in ("aggTrade", "markPrice@1s", "ticker", "kline_1m", "forceOrder")}
    fed = {stream for socket in sockets for topic in socket.topics for stream in topic.streams}
    assert fed | {"open_interest"} == set(BINANCE.market.streams)
    polls = BINANCE.polls(["BTCUSDT"], BINANCE.market.streams)
    assert [(poll.path, poll.interval_s) for poll in polls] == [("/fapi/v1/openInterest?symbol=BTCUSDT", 15.0)]


def test_only_what_is_asked_for_is_subscribed() -> None:
    (socket,) = BINANCE.sockets(["BTCUSDT"], ["prices"], BINANCE.endpoints)
    assert [topic.name for topic in socket.topics] == ["btcusdt@bookTicker"]
    assert BINANCE.polls(["BTCUSDT"], ["prices"]) == ()


def test_topics_route_to_the_channel_they_declare() -> None:
    for socket in BINANCE.sockets(markets.SYMBOLS, BINANCE.market.streams, BINANCE.endpoints):
        for topic in socket.topics:
            frame = b'{"stream":"' + topic.name.encode() + b'","data":{}}'
            assert BINANCE.route(frame) == topic.channel
            assert BINANCE.topic(frame) == topic.name
            assert topic.channel in BINANCE.channels
            streams = {rows.kind for rows in BINANCE.channels[topic.channel].rows}
            assert set(topic.streams) <= streams
    for poll in BINANCE.polls(["BTCUSDT"], BINANCE.market.streams):
        assert BINANCE.route(rest_frame(poll.path, b"{}")) == poll.channel


def test_simulated_endpoints_keep_the_routes() -> None:
    endpoints = BINANCE.simulated("http://127.0.0.1:8900/")
    assert endpoints.rest == "http://127.0.0.1:8900/binance_futures"
    assert endpoints.sockets == {
        route: f"ws://127.0.0.1:8900/binance_futures/{route}/stream" for route in ("public", "market")
    }


def test_subscribe_and_unsubscribe_carry_the_request() -> None:
    for message, method in ((BINANCE.subscribe, "SUBSCRIBE"), (BINANCE.unsubscribe, "UNSUBSCRIBE")):
        sent = msgspec.json.decode(message(["btcusdt@aggTrade"], 7))
        assert sent == {"method": method, "params": ["btcusdt@aggTrade"], "id": 7}


@pytest.mark.parametrize(
    ("frame", "kind", "request_id", "reason"),
    [
        (b'{"result":null,"id":3}', ControlKind.ACK, 3, ""),
        (b'{"result":["btcusdt@aggTrade"],"id":4}', ControlKind.ACK, 4, ""),
        (b'{"error":{"code":2,"msg":"bad"},"id":5}', ControlKind.REFUSED, 5, "2: bad"),
        (b'{"id":6,"error":{"code":2,"msg":"bad"}}', ControlKind.REFUSED, 6, "2: bad"),
        (b'{"code":2,"msg":"Invalid request"}', ControlKind.ERROR, None, "2: Invalid request"),
        (b'{"code":-1003,"msg":"Too many requests"}', ControlKind.RATE_LIMITED, None, "-1003: Too many requests"),
        (b'{"e":"serverShutdown","E":1}', ControlKind.SHUTDOWN, None, "the server announced that it stops"),
        (b'{"stream":"!serverShutdown","data":{}}', ControlKind.SHUTDOWN, None, "the server announced that it stops"),
        (b'{"what":1}', ControlKind.UNKNOWN, None, "neither data nor an answer to a request"),
    ],
)
def test_control_messages(frame: bytes, kind: ControlKind, request_id: int | None, reason: str) -> None:
    control = BINANCE.control(frame)
    assert (control.kind, control.request, control.reason) == (kind, request_id, reason)


@pytest.mark.parametrize("frame", [b"", b"{", b"\xff", b"[1]", b'"x"', b'{"id":"x"}'])
def test_a_damaged_control_message_is_unknown(frame: bytes) -> None:
    assert BINANCE.control(frame).kind is ControlKind.UNKNOWN


@pytest.mark.parametrize(
    ("frame", "url", "channel"),
    [
        (b'{"stream":"btcusdt@depth5@500ms","data":{"e":"depthUpdate"}}', "", "partialDepth"),
        (b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate"}}', "", "depth"),
        (b'{"stream":"btcusdt@rpiDepth@500ms","data":{"e":"depthUpdate"}}', "", "rpiDepth"),
        (b'{"e":"depthUpdate","s":"BTCUSDT"}', "", "depth"),
        (b'{"stream":"btcusdt@kline_1M","data":{"e":"kline"}}', "", "kline"),
        (b'{"stream":"btcusdt_perpetual@continuousKline_1m","data":{}}', "", "continuousKline"),
        (b'{"stream":"!markPrice@arr@1s","data":[{}]}', "", "markPrice[]"),
        (b'{"stream":"!ticker@arr","data":[{}]}', "", "ticker[]"),
        (b'{"stream":"!miniTicker@arr","data":[{}]}', "", "miniTicker[]"),
        (b'{"stream":"!forceOrder@arr","data":{"e":"forceOrder"}}', "", "forceOrder"),
        (b'{"stream":"!bookTicker","data":{"e":"bookTicker"}}', "", "bookTicker"),
        (b'{"stream":"!contractInfo","data":{"e":"contractInfo"}}', "", "contractInfo"),
        (b'{"data":{"e":"aggTrade"},"stream":"btcusdt@aggTrade"}', "", "aggTrade"),
        (b'[{"e":"24hrMiniTicker","s":"X"}]', "", "miniTicker[]"),
        (b'{"u":1,"s":"X","b":"1","B":"1","a":"1","A":"1"}', "", "bookTicker"),
        (b'{"symbol":"X","price":"1","time":1}', "", "rest/ticker/price"),
        (b'[{"a":1,"p":"1","q":"1","f":1,"l":1,"T":1,"m":true}]', "/fapi/v1/aggTrades?symbol=X", "rest/aggTrades[]"),
        (b'[{"id":1,"price":"1","qty":"1","quoteQty":"1","time":1,"isBuyerMaker":true}]', "", "rest/trades[]"),
        (b"[[1,2,3]]", "https://fapi.binance.com/fapi/v1/klines?symbol=X&interval=1m", "rest/klines[]"),
        (b"[[1,2,3]]", "https://fapi.binance.com/fapi/v1/markPriceKlines?symbol=X", "rest/markPriceKlines[]"),
        (b'{"rest":"/x?symbol=X","data":{"symbol":"X","openInterest":"1","time":1}}', "", "rest/openInterest"),
    ],
)  # fmt: skip
def test_messages_are_told_apart(frame: bytes, url: str, channel: str) -> None:
    ((found, enveloped),) = BINANCE.classify(frame, url)
    assert found == channel
    assert channel in BINANCE.channels
    assert b'"data"' in enveloped


@pytest.mark.parametrize(
    "frame",
    [b'{"result":null,"id":1}', b'{"code":-1121,"msg":"Invalid symbol."}', b'{"serverTime":1}', b"{}", b"[]",
     b'{"method":"SUBSCRIBE","params":[],"id":1}', b'{"error":{"code":2,"msg":"x"},"id":1}',
     b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}', b'{"id":"a","status":200,"result":{}}'],
)  # fmt: skip
def test_control_messages_carry_no_data(frame: bytes) -> None:
    assert BINANCE.classify(frame) == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"e":"ORDER_TRADE_UPDATE"}', "unknown event e='ORDER_TRADE_UPDATE'"),
        (b'{"stream":"btcusdt@unheardOf","data":{"e":"x"}}', "unknown event e='x'"),
        (b'{"a":1,"b":2}', "no known message has the keys a, b"),
        (b'{"stream":"btcusdt@x","data":{}}', "no known message has the keys none"),
        (b"5", "a message is an object or a list, not 5"),
    ],
)
def test_what_is_unknown_is_named(frame: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BINANCE.classify(frame)


def test_coin_margined_messages_are_not_read() -> None:
    with pytest.raises(UnsupportedFrameError, match="st=2"):
        BINANCE.classify(b'{"e":"aggTrade","s":"BTCUSD_PERP","st":2}')


def test_instruments_take_the_default_interval_only_where_none_is_listed() -> None:
    def contract(symbol: str, kind: str = "PERPETUAL") -> dict[str, object]:
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001"},
        ]
        return {"symbol": symbol, "status": "TRADING", "contractType": kind, "filters": filters}

    information = {
        "symbols": [
            contract("BTCUSDT"),
            contract("SOLUSDT"),
            contract("DOGEUSDT"),
            contract("BTCUSDT", "CURRENT_QUARTER"),
        ]
    }
    adjusted = [{"symbol": "SOLUSDT", "fundingIntervalHours": 4}]
    bitcoin, solana = BINANCE.instruments([information, adjusted])
    assert (bitcoin.symbol, bitcoin.funding_interval_hours) == ("BTCUSDT", 8.0)
    assert (solana.symbol, solana.funding_interval_hours) == ("SOLUSDT", 4.0)
    assert (bitcoin.contract_size, bitcoin.tick_size, bitcoin.lot_size) == (1.0, 0.1, 0.001)
