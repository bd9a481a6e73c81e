"""KuCoin spot and futures: tokens, subscriptions, routing, control messages, instruments, the past."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orderflow_streaming import markets
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import (
    ControlKind,
    Exchange,
    OutOfReachError,
    Request,
    UnsupportedFrameError,
    rest_frame,
)

SPOT, FUTURES = exchange("kucoin_spot"), exchange("kucoin_futures")
BOTH = pytest.mark.parametrize("venue", [SPOT, FUTURES], ids=["spot", "futures"])


def token(endpoint: str = "wss://ws.example/", token: Any = "a+b=", interval: Any = 18000) -> dict[str, Any]:
    server = {"endpoint": endpoint, "encrypt": True, "protocol": "websocket", "pingInterval": interval}
    return {"code": "200000", "data": {"token": token, "instanceServers": [server]}}


@BOTH
def test_topics_cover_the_streams_and_route_to_the_channel_they_declare(venue: Exchange) -> None:
    (socket,) = venue.sockets(venue.market.symbols, venue.market.streams, venue.endpoints)
    fed = {stream for topic in socket.topics for stream in topic.streams}
    polled = {
        rows.kind
        for poll in venue.polls(["BTCUSDT"], venue.market.streams)
        for rows in venue.channels[poll.channel].rows
    }
    assert fed | polled == set(venue.market.streams)
    assert len(socket.topics) < venue.limits.topics_per_socket
    assert len({topic.name for topic in socket.topics}) == len(socket.topics)
    for topic in socket.topics:
        for frame in (
            b'{"topic":"%s","type":"message","data":{}}' % topic.name.encode(),
            b'{"type":"message","topic":"%s","data":{}}' % topic.name.encode(),
            b'{"data":{"asks":[["1","2"]],"symbol":"X"},"subject":"x","topic":"%s","type":"message"}'
            % topic.name.encode(),
        ):
            assert (venue.topic(frame), venue.route(frame)) == (topic.name, topic.channel)
        assert set(topic.streams) <= {rows.kind for rows in venue.channels[topic.channel].rows}
    for poll in venue.polls(["BTCUSDT"], venue.market.streams):
        assert venue.route(rest_frame(poll.request, b"{}")) == poll.channel


def test_symbols_are_spelled_as_the_venue_does() -> None:
    def names(venue: Exchange, stream: str) -> list[str]:
        (socket,) = venue.sockets(["BTCUSDT", "PNUTUSDT"], [stream], venue.endpoints)
        return [topic.name for topic in socket.topics]

    assert names(SPOT, "candles") == ["/market/candles:BTC-USDT_1min", "/market/candles:PNUT-USDT_1min"]
    assert names(FUTURES, "orderbooks") == [
        "/contractMarket/level2Depth50:XBTUSDTM",
        "/contractMarket/level2Depth50:PNUTUSDTM",
    ]
    polls = FUTURES.polls(["BTCUSDT"], ["open_interest"])
    assert [poll.path for poll in polls] == ["/api/v1/contracts/XBTUSDTM"]
    assert SPOT.polls(["BTCUSDT"], SPOT.market.streams) == ()
    assert SPOT.sockets(["BTCUSDT"], ["funding_rates"], SPOT.endpoints) == ()


@BOTH
def test_each_connection_has_a_token_and_a_number_of_its_own(venue: Exchange) -> None:
    (socket,) = venue.sockets(["BTCUSDT"], ["trades"], venue.endpoints)
    request = venue.ticket()
    assert request is not None
    assert (request.path, request.body) == ("/api/v1/bullet-public", b"{}")
    first, second = venue.address(socket, token()), venue.address(socket, token(interval=50000))
    assert first.url.startswith("wss://ws.example/?token=a%2Bb%3D&connectId=")
    assert first.url != second.url
    assert (first.ping_interval_s, second.ping_interval_s) == (18.0, 50.0)


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        [],
        {"code": "400000", "msg": "no"},
        token(token=None),
        token(endpoint="https://x/"),
        token(interval=0),
        token(interval="soon"),
        token(interval=1e9),
        {"data": {"token": "x", "instanceServers": []}},
    ],
)
def test_an_answer_without_a_usable_token_says_so(venue: Exchange, answer: Any) -> None:
    (socket,) = venue.sockets(["BTCUSDT"], ["trades"], venue.endpoints)
    with pytest.raises(ValueError, match=r"no token|names no server|no server to connect to"):
        venue.address(socket, answer)


@BOTH
def test_one_message_subscribes_up_to_a_hundred_symbols_of_a_topic(venue: Exchange) -> None:
    (socket,) = venue.sockets(venue.market.symbols, venue.market.streams, venue.endpoints)
    names = [topic.name for topic in socket.topics]
    parts = venue.batches(names)
    assert [name for part in parts for name in part] == names
    assert len(parts) == len({name.partition(":")[0] for name in names})
    many = [f"/market/match:S{number}-USDT" for number in range(230)]
    assert [len(part) for part in venue.batches(many)] == [100, 100, 30]
    for message, kind in ((venue.subscribe, "subscribe"), (venue.unsubscribe, "unsubscribe")):
        sent = msgspec.json.decode(message(["/market/candles:BTC-USDT_1min", "/market/candles:AR-USDT_1min"], 7))
        topic = "/market/candles:BTC-USDT_1min,AR-USDT_1min"
        assert sent == {"id": "7", "type": kind, "topic": topic, "privateChannel": False, "response": True}


@BOTH
def test_the_client_pings_with_an_id(venue: Exchange) -> None:
    assert venue.heartbeat.payload is not None
    sent = msgspec.json.decode(venue.heartbeat.payload())
    assert sent["type"] == "ping"
    assert sent["id"].isdigit()


@BOTH
@pytest.mark.parametrize(
    ("frame", "kind", "request_id", "reason"),
    [
        (b'{"id":"hQvf8jkno","type":"welcome"}', ControlKind.WELCOME, None, ""),
        (b'{"id":"3","type":"ack"}', ControlKind.ACK, 3, ""),
        (b'{"id":3,"type":"ack"}', ControlKind.ACK, 3, ""),
        (b'{"id":"1760000000000","type":"pong","timestamp":1760000000000000}', ControlKind.PONG, None, ""),
        (b'{"id":"4","type":"error","code":404,"data":"topic does not exist"}', ControlKind.REFUSED, 4,
         "404: topic does not exist"),
        (b'{"id":"5","type":"error","code":509,"data":"exceed max subscription count"}', ControlKind.REFUSED, 5,
         "509: exceed max subscription count"),
        (b'{"type":"error","code":400,"data":"ping timeout"}', ControlKind.ERROR, None, "400: ping timeout"),
        (b'{"id":"1","type":"error","code":429,"data":"too many"}', ControlKind.RATE_LIMITED, 1, "429: too many"),
        (b'{"id":"1","type":"notice"}', ControlKind.UNKNOWN, 1, ""),
    ],
)  # fmt: skip
def test_control_messages(
    venue: Exchange, frame: bytes, kind: ControlKind, request_id: int | None, reason: str
) -> None:
    control = venue.control(frame)
    assert control.kind is kind
    if kind is not ControlKind.UNKNOWN:
        assert (control.request, control.reason) == (request_id, reason)


@BOTH
@pytest.mark.parametrize("frame", [b"", b"{", b"\xff", b"[1]", b'"x"', b'{"id":1}', b'{"type":[]}'])
def test_a_damaged_control_message_is_unknown(venue: Exchange, frame: bytes) -> None:
    assert venue.control(frame).kind is ControlKind.UNKNOWN


@pytest.mark.parametrize(
    ("venue", "frame", "url", "channel"),
    [
        (SPOT, b'{"type":"message","topic":"/market/ticker:all","subject":"A-B","data":{}}', "", "ticker"),
        (SPOT, b'{"data":{},"topic":"/spotMarket/level2Depth5:A-B"}', "", "level2Depth5"),
        (SPOT, b'{"T":"trade.SPOT","P":1,"d":{}}', "", "uta/trade"),
        (SPOT, b'{"code":"200000","data":[["1","2","3","4","5","6","7"]]}', "/x?symbol=A-B&type=1min", "rest/candles"),
        (SPOT, b'[{"symbol":"A-B","baseCurrency":"A","enableTrading":true}]', "", "rest/symbols"),
        (SPOT, b'{"code":"200000","data":{"sequence":"1","bids":[],"asks":[]}}', "", "rest/level2"),
        (FUTURES, b'{"T":"mark-price","P":1,"d":{}}', "", "uta/mark-price"),
        (FUTURES, b'{"T":"obu.FUTURES","t":"delta","P":1,"d":{}}', "", "uta/obu"),
        (FUTURES, b'{"code":"200000","data":[[1,2,3,4,5,6]]}', "/x?granularity=1", "rest/kline/query"),
        (FUTURES, b'{"code":"200000","data":{"symbol":"X","multiplier":1}}', "", "rest/contracts"),
        (FUTURES, b'{"code":"200000","data":[{"symbol":"X","multiplier":1}]}', "", "rest/contracts/active"),
        (FUTURES, b'{"rest":"/api/v1/contracts/X","data":{"code":"200000","data":{"symbol":"X","multiplier":1}}}', "",
         "rest/contracts"),
    ],
)  # fmt: skip
def test_messages_are_told_apart(venue: Exchange, frame: bytes, url: str, channel: str) -> None:
    ((found, enveloped),) = venue.classify(frame, url)
    assert found == channel
    assert channel in venue.channels
    assert msgspec.json.decode(enveloped)


@BOTH
@pytest.mark.parametrize(
    "frame",
    [b'{"id":"1","type":"ack"}', b'{"code":"429000","msg":"Too Many Requests"}', b"{}", b'{"code":"200000","data":[]}',
     b'{"id":"p","action":"SUBSCRIBE","channel":"obu"}', b'{"id":"p1","result":true}', b'{"code":"200000","data":7}',
     b'{"sessionId":"e","message":"welcome","pingInterval":18000}', b'{"id":"1","type":"subscribe","topic":"/x:y"}',
     b'{"code":"200000","data":{"token":"x","instanceServers":[]}}'],
)  # fmt: skip
def test_control_messages_carry_no_data(venue: Exchange, frame: bytes) -> None:
    assert venue.classify(frame) == []


@BOTH
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"topic":"/market/unheardOf:X","data":{}}', "no message is known of topic '/market/unheardOf:X'"),
        (b'{"a":1,"b":2}', "no known answer has the keys a, b"),
        (b"[5]", "an answer is an object or a list of them, not 5"),
    ],
)
def test_what_is_unknown_is_named(venue: Exchange, frame: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        venue.classify(frame)


def test_unified_messages_of_another_market_are_not_read() -> None:
    with pytest.raises(UnsupportedFrameError, match=r"trade\.FUTURES"):
        SPOT.classify(b'{"T":"trade.FUTURES","d":{}}')
    with pytest.raises(UnsupportedFrameError, match=r"kline\.FUTURES"):
        FUTURES.classify(b'{"T":"kline.FUTURES","d":{}}')


def test_a_refusal_with_status_200_is_told() -> None:
    assert SPOT.refusal({"code": "200000", "data": []}) == ""
    assert SPOT.refusal({"code": "400100", "msg": "symbol not exists"}) == "400100: symbol not exists"
    assert FUTURES.refusal([]) != ""


def test_instruments_are_those_of_our_symbols_with_their_contract_size() -> None:
    contract = {"status": "Open", "multiplier": 0.001, "tickSize": 0.1, "lotSize": 1}
    listed = [
        {"symbol": "XBTUSDTM", **contract, "fundingRateGranularity": 14_400_000},
        {"symbol": "XBTUSDM", **contract, "multiplier": -1.0, "fundingRateGranularity": 28_800_000},
        {"symbol": "ETHUSDTM", **contract},
    ]
    bitcoin, ether = FUTURES.instruments([{"code": "200000", "data": listed}])
    assert (bitcoin.symbol, bitcoin.venue_symbol, bitcoin.status) == ("BTCUSDT", "XBTUSDTM", "Open")
    assert (bitcoin.contract_size, bitcoin.tick_size, bitcoin.funding_interval_hours) == (0.001, 0.1, 4.0)
    assert ether.funding_interval_hours is None
    pairs = [
        {"symbol": name, "enableTrading": trades, "priceIncrement": "0.1", "baseIncrement": "0.00000001"}
        for name, trades in (("BTC-USDT", True), ("BTC-USDC", True), ("WIF-USDT", False))
    ]
    found = SPOT.instruments([{"code": "200000", "data": pairs}])
    assert [(one.symbol, one.status, one.lot_size) for one in found] == [("BTCUSDT", "trading", 1e-8)]
    assert {one for venue in (SPOT, FUTURES) for one in venue.market.symbols} == set(markets.SYMBOLS)


def asked(venue: Exchange, stream: str, start_us: int, end_us: int, answer: Any = None) -> list[Request]:
    """Every request of a history, each answered alike."""
    pages = venue.histories[stream].pages("BTCUSDT", start_us, end_us)
    requests = [next(pages)]
    while True:
        try:
            requests.append(pages.send(answer))
        except StopIteration:
            return requests


MINUTE_US = 60_000_000
START_US = 1_760_000_040_000_000


def test_the_past_is_asked_for_in_pages_the_venue_answers_whole() -> None:
    spot = asked(SPOT, "candles", START_US, START_US + 1501 * MINUTE_US)
    assert [one.path for one in spot] == [
        "/api/v1/market/candles?symbol=BTC-USDT&type=1min&startAt=1760000040&endAt=1760090040",
        "/api/v1/market/candles?symbol=BTC-USDT&type=1min&startAt=1760090040&endAt=1760090100",
    ]
    futures = asked(FUTURES, "candles", START_US, START_US + 201 * MINUTE_US)
    assert [one.path for one in futures] == [
        "/api/v1/kline/query?symbol=XBTUSDTM&granularity=1&from=1760000040000&to=1760012039999",
        "/api/v1/kline/query?symbol=XBTUSDTM&granularity=1&from=1760012040000&to=1760012099999",
    ]
    assert len(asked(FUTURES, "funding_rates", START_US, START_US + 101 * 60 * MINUTE_US)) == 2


@pytest.mark.parametrize(("venue", "time"), [(SPOT, "time"), (FUTURES, "ts")], ids=["spot", "futures"])
def test_trades_beyond_the_latest_hundred_are_out_of_reach(venue: Exchange, time: str) -> None:
    answer = {"code": "200000", "data": [{time: (START_US + 5) * 1000}, {time: START_US * 1000}]}
    assert len(asked(venue, "trades", START_US, START_US + MINUTE_US, answer)) == 1
    with pytest.raises(OutOfReachError, match="latest hundred trades: those since 08:54:00"):
        asked(venue, "trades", START_US - 1, START_US + MINUTE_US, answer)
    with pytest.raises(OutOfReachError, match="none"):
        asked(venue, "trades", START_US, START_US + MINUTE_US, {"code": "200000", "data": []})
