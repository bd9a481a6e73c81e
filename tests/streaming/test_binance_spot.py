"""Binance spot: subscriptions, routing, bare messages, instruments, its past, and input of any kind."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_streaming import markets
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import ControlKind, Request, rest_frame
from orderflow_streaming.writing.normalize import Normalizer
from tests.streaming.test_normalize import RECEIVED, frame, rows, run
from tests.streaming.test_normalize_any_input import _anything

SPOT = exchange("binance_spot")
_ONE = duckdb.connect(config={"threads": 1})
_SHARED = Normalizer(_ONE)


def trade(number: int = 1, **changes: Any) -> bytes:
    data = {"e": "trade", "E": 1_700_000_000_001, "s": "BTCUSDT", "t": number, "p": "60000.10", "q": "0.5"}
    return frame("btcusdt@trade", **(data | {"T": 1_700_000_000_000, "m": True, "M": True} | changes))


def test_one_socket_covers_every_stream() -> None:
    (socket,) = SPOT.sockets(["BTCUSDT"], SPOT.market.streams, SPOT.endpoints)
    assert (socket.name, socket.url) == ("main", "wss://stream.binance.com:9443/stream")
    kinds = ("bookTicker", "depth20@100ms", "trade", "ticker", "kline_1m")
    assert {topic.name for topic in socket.topics} == {f"btcusdt@{kind}" for kind in kinds}
    assert {stream for topic in socket.topics for stream in topic.streams} == set(SPOT.market.streams)
    assert SPOT.polls(["BTCUSDT"], SPOT.market.streams) == ()
    assert SPOT.sockets(["BTCUSDT"], ["liquidations"], SPOT.endpoints) == ()


def test_topics_route_to_the_channel_they_declare() -> None:
    for socket in SPOT.sockets(markets.SYMBOLS, SPOT.market.streams, SPOT.endpoints):
        for topic in socket.topics:
            sent = b'{"stream":"' + topic.name.encode() + b'","data":{}}'
            assert (SPOT.topic(sent), SPOT.route(sent)) == (topic.name, topic.channel)
            assert set(topic.streams) <= {taken.kind for taken in SPOT.channels[topic.channel].rows}


def test_simulated_endpoints_keep_the_path() -> None:
    endpoints = SPOT.simulated("http://127.0.0.1:8900")
    assert endpoints.sockets == {"main": "ws://127.0.0.1:8900/binance_spot/stream"}
    assert endpoints.rest == "http://127.0.0.1:8900/binance_spot"


def test_a_shutdown_is_announced_and_a_refusal_names_its_request() -> None:
    assert SPOT.control(b'{"stream":"!serverShutdown","data":{}}').kind is ControlKind.SHUTDOWN
    refused = SPOT.control(b'{"error":{"code":2,"msg":"bad"},"id":5}')
    assert (refused.kind, refused.request, refused.reason) == (ControlKind.REFUSED, 5, "2: bad")


@pytest.mark.parametrize(
    ("sent", "url", "channel"),
    [
        (b'{"stream":"btcusdt@depth20","data":{"lastUpdateId":1,"bids":[],"asks":[]}}', "", "partialDepth"),
        (b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate"}}', "", "depth"),
        (b'{"stream":"btcusdt@ticker_4h","data":{"e":"4hTicker"}}', "", "windowTicker"),
        (b'{"stream":"btcusdt@avgPrice","data":{"e":"avgPrice"}}', "", "avgPrice"),
        (b'{"stream":"!ticker@arr","data":[{}]}', "", "ticker[]"),
        (b'{"stream":"!bookTicker","data":{"u":1}}', "", "bookTicker"),
        (b'{"u":1,"s":"X","b":"1","B":"1","a":"1","A":"1"}', "", "bookTicker"),
        (b'{"lastUpdateId":1,"bids":[],"asks":[]}', "", "rest/depth"),
        (b"[[1,2,3]]", "https://api.binance.com/api/v3/klines?symbol=X&interval=1m", "rest/klines[]"),
        (b'[{"id":1,"price":"1","qty":"1","quoteQty":"1","time":1,"isBuyerMaker":true}]', "", "rest/trades[]"),
    ],
)  # fmt: skip
def test_messages_are_told_apart(sent: bytes, url: str, channel: str) -> None:
    ((found, enveloped),) = SPOT.classify(sent, url)
    assert found == channel
    assert channel in SPOT.channels
    assert b'"data"' in enveloped


def test_events_of_futures_are_unknown() -> None:
    with pytest.raises(ValueError, match="unknown event e='markPriceUpdate'"):
        SPOT.classify(b'{"e":"markPriceUpdate","s":"BTCUSDT"}')


def test_what_tells_no_time_gets_the_receive_time() -> None:
    _SHARED.clear()
    book = frame("btcusdt@depth20@100ms", lastUpdateId=5, bids=[["99.5", "2"]], asks=[["100.5", "3"], ["101", "1"]])
    assert run(_SHARED, "partialDepth", book, protocol=SPOT).staged == {"orderbooks": 1}
    quote = frame("btcusdt@bookTicker", u=7, s="BTCUSDT", b="99.5", B="2", a="100.5", A="3")
    assert run(_SHARED, "bookTicker", quote, protocol=SPOT).staged == {"prices": 1}
    (stored,), (best,) = rows(_ONE, "orderbooks"), rows(_ONE, "prices")
    assert stored["timestamp"] == stored["received_at"] == best["timestamp"]
    assert (stored["symbol"], stored["source_seq"], stored["ask_2_price"], stored["bid_2_price"]) == (
        "BTCUSDT",
        "5",
        101.0,
        None,
    )
    assert (best["mid_price"], best["source_seq"]) == (100.0, "7")


def test_instruments_tell_steps_and_no_funding() -> None:
    filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.00001"}]
    listed = {
        "symbols": [{"symbol": name, "status": "TRADING", "filters": filters} for name in ("BTCUSDT", "DOGEUSDT")]
    }
    (bitcoin,) = SPOT.instruments([listed])
    assert (bitcoin.symbol, bitcoin.contract_size, bitcoin.tick_size, bitcoin.lot_size) == ("BTCUSDT", 1.0, 0.01, 1e-5)
    assert bitcoin.funding_interval_hours is None


def test_trades_of_a_span_are_found_by_the_first_aggregated_one() -> None:
    pages = SPOT.histories["trades"].pages("BTCUSDT", 1_000_000_000, 2_000_000_000)
    asked = next(pages)
    assert asked == Request("/api/v3/aggTrades?symbol=BTCUSDT&startTime=1000000&endTime=1999999&limit=1", weight=4)
    full = [{"id": number, "time": 1_500_000} for number in range(40, 1040)]
    first = pages.send([{"a": 9, "f": 40, "l": 41, "T": 1_000_500}])
    assert first == Request("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=40&limit=1000", weight=25)
    assert pages.send(full).path.endswith("fromId=1040&limit=1000")
    with pytest.raises(StopIteration):
        pages.send([{"id": number, "time": 2_000_500} for number in range(1040, 2040)])


def test_a_span_without_trades_asks_for_none() -> None:
    pages = SPOT.histories["trades"].pages("BTCUSDT", 0, 3_600_000_000)
    next(pages)
    with pytest.raises(StopIteration):
        pages.send([])


def test_trades_of_the_past_become_rows_and_what_located_them_does_not() -> None:
    _SHARED.clear()
    located = rest_frame(
        "/api/v3/aggTrades?symbol=BTCUSDT&limit=1", b'[{"a":1,"p":"1","q":"2","f":3,"l":3,"T":5,"m":true}]'
    )
    single = b'[{"id":3,"price":"7","qty":"2","quoteQty":"14","time":1700000000000,"isBuyerMaker":false}]'
    past = rest_frame("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=3", single)
    outcome = run(_SHARED, "rest/historicalTrades[]", located, past, protocol=SPOT)
    assert (outcome.staged, outcome.known, outcome.rejected) == ({"trades": 1}, {"aggregated_trade": 1}, [])
    (row,) = rows(_ONE, "trades")
    assert (row["symbol"], row["trade_id"], row["side"], row["quote_value"]) == ("BTCUSDT", "3", "buy", 14.0)


# -- input of any kind -----------------------------------------------------------------------------------------

_decimals = st.decimals("0.00000001", "9999999", allow_nan=False, allow_infinity=False, places=8)


@given(st.lists(st.tuples(st.integers(1, 2**62), _decimals, _decimals, st.booleans()), min_size=1, max_size=20))
@settings(max_examples=25)
def test_valid_trades_come_out_as_sent(sent: list[tuple[Any, ...]]) -> None:
    _SHARED.clear()
    frames = [trade(number, p=str(price), q=str(size), m=sold) for number, price, size, sold in sent]
    assert run(_SHARED, "trade", *frames, protocol=SPOT).staged == {"trades": len(sent)}
    for row, (number, price, size, sold) in zip(rows(_ONE, "trades"), sent, strict=True):
        assert (row["trade_id"], row["price"], row["quantity"]) == (str(number), float(price), float(size))
        assert row["side"] == ("sell" if sold else "buy")


_SAMPLES = {
    "trade": msgspec.json.decode(trade()),
    "partialDepth": {"stream": "x@depth20", "data": {"lastUpdateId": 1, "bids": [["1", "2"]], "asks": [["2", "1"]]}},
    "bookTicker": {"stream": "x@bookTicker", "data": {"u": 1, "s": "X", "b": "1", "B": "1", "a": "2", "A": "1"}},
    "depth": {"stream": "x@depth", "data": {"e": "depthUpdate", "E": 1, "s": "X", "U": 1, "u": 2, "b": [], "a": []}},
}


@given(st.sampled_from(sorted(_SAMPLES)), st.data())
@settings(max_examples=60)
def test_damaged_messages_cost_only_themselves(channel: str, data: st.DataObject) -> None:
    message = msgspec.json.decode(msgspec.json.encode(_SAMPLES[channel]))
    for key in data.draw(st.lists(st.sampled_from(sorted(message["data"])), max_size=3, unique=True)):
        message["data"][key] = data.draw(_anything)
    body = json.dumps(message).encode()
    cut = data.draw(st.integers(0, len(body)))
    damaged = data.draw(st.sampled_from([body, body[:cut], body[:cut] + b"\xff\x00", b""]))
    for look in (SPOT.topic, SPOT.route, SPOT.control):
        look(damaged)
    with suppress(ValueError):
        SPOT.classify(damaged)
    sound = json.dumps(_SAMPLES[channel]).encode()
    _SHARED.clear()
    outcome = _SHARED.normalize(SPOT, channel, [sound, damaged, sound], [RECEIVED] * 3)
    assert {rejected.frame for rejected in outcome.rejected} <= {1}
    assert sum(outcome.staged.values()) + sum(outcome.known.values()) + len(outcome.rejected) == 3
    if channel in SPOT.books:
        merger = SPOT.merger(channel, "x@depth")
        assert merger is not None
        try:
            merger.absorb(damaged, RECEIVED)
        except ValueError:
            assert merger.waiting
