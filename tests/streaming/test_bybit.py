"""Bybit: subscriptions, control messages, merged books and tickers, instruments, its past, input of any kind."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_streaming import markets
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import ControlKind, Exchange, OutOfReachError, rest_frame
from orderflow_streaming.writing.normalize import Normalizer, Outcome
from tests.streaming.test_normalize import RECEIVED, rows
from tests.streaming.test_normalize_any_input import _anything

LINEAR, SPOT = exchange("bybit_futures"), exchange("bybit_spot")
TS = 1_700_000_000_000
_ONE = duckdb.connect(config={"threads": 1})
_SHARED = Normalizer(_ONE)


def message(topic: str, data: Any, kind: str = "snapshot", **more: Any) -> bytes:
    return msgspec.json.encode({"topic": topic, "type": kind, "ts": TS, "data": data, **more})


def run(protocol: Exchange, channel: str, *frames: bytes) -> Outcome:
    _SHARED.clear()
    return _SHARED.normalize(protocol, channel, frames, [RECEIVED] * len(frames))


# -- subscriptions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "path", "extra"),
    [(LINEAR, "linear", {"allLiquidation.BTCUSDT"}), (SPOT, "spot", set())],
    ids=["linear", "spot"],
)
def test_one_socket_covers_every_stream(protocol: Exchange, path: str, extra: set[str]) -> None:
    (socket,) = protocol.sockets(["BTCUSDT"], protocol.market.streams, protocol.endpoints)
    assert socket.url == f"wss://stream.bybit.com/v5/public/{path}"
    kinds = ("orderbook.1", "orderbook.50", "publicTrade", "tickers", "kline.1")
    assert {topic.name for topic in socket.topics} == {f"{kind}.BTCUSDT" for kind in kinds} | extra
    assert {stream for topic in socket.topics for stream in topic.streams} == set(protocol.market.streams)
    assert protocol.polls(["BTCUSDT"], protocol.market.streams) == ()
    root = f"127.0.0.1:8900/{protocol.market.name}"
    simulated = protocol.simulated("http://127.0.0.1:8900/")
    assert (simulated.sockets["public"], simulated.rest) == (f"ws://{root}/v5/public/{path}", f"http://{root}")


@pytest.mark.parametrize("protocol", [LINEAR, SPOT], ids=["linear", "spot"])
def test_topics_route_to_the_channel_they_declare_in_any_order_of_keys(protocol: Exchange) -> None:
    for socket in protocol.sockets(markets.SYMBOLS, protocol.market.streams, protocol.endpoints):
        for topic in socket.topics:
            for sent in (message(topic.name, {}), msgspec.json.encode({"ts": 1, "data": [], "topic": topic.name})):
                assert (protocol.topic(sent), protocol.route(sent)) == (topic.name, topic.channel)
            fed = topic.merged or topic.channel
            assert set(topic.streams) <= {taken.kind for taken in protocol.channels[fed].rows}
            assert (protocol.merger(topic.channel, topic.name) is not None) == bool(topic.merged)


def test_requests_are_batched_by_ten_and_carry_their_number() -> None:
    topics = [f"publicTrade.X{number}" for number in range(25)]
    assert [len(part) for part in SPOT.batches(topics)] == [10, 10, 5]
    sent = msgspec.json.decode(LINEAR.subscribe(topics[:2], 7))
    assert sent == {"req_id": "7", "op": "subscribe", "args": topics[:2]}
    assert msgspec.json.decode(LINEAR.unsubscribe(topics[:1], 8))["op"] == "unsubscribe"
    assert LINEAR.heartbeat.payload is not None
    assert LINEAR.heartbeat.payload() == b'{"op":"ping"}'


@pytest.mark.parametrize(
    ("sent", "kind", "request_id", "topics"),
    [
        ({"success": True, "ret_msg": "", "req_id": "3", "op": "subscribe"}, ControlKind.ACK, 3, ()),
        ({"success": True, "ret_msg": "subscribe", "op": "subscribe"}, ControlKind.ACK, None, ()),
        ({"success": True, "ret_msg": "pong", "req_id": "p", "op": "ping"}, ControlKind.PONG, None, ()),
        ({"op": "pong", "args": ["1690884539181"]}, ControlKind.PONG, None, ()),
        ({"success": False, "ret_msg": "error:handler not found,topic:a.B", "req_id": "4", "op": "subscribe"},
         ControlKind.REFUSED, 4, ()),
        ({"success": False, "ret_msg": "error:handler not found,topic:a.B", "req_id": "", "op": "subscribe"},
         ControlKind.REFUSED, None, ("a.B",)),
        ({"success": False, "ret_msg": "Invalid symbol :[a.B,c.D]", "op": "subscribe"},
         ControlKind.REFUSED, None, ("a.B", "c.D")),
        ({"success": False, "ret_msg": "Params Error", "op": ""}, ControlKind.ERROR, None, ()),
        ({"what": 1}, ControlKind.UNKNOWN, None, ()),
    ],
)  # fmt: skip
def test_control_messages(sent: dict[str, Any], kind: ControlKind, request_id: int | None, topics: Any) -> None:
    control = LINEAR.control(msgspec.json.encode(sent))
    assert (control.kind, control.request, control.topics) == (kind, request_id, topics)


def test_a_refusal_over_rest_comes_with_status_200() -> None:
    assert LINEAR.refusal({"retCode": 0, "retMsg": "OK"}) == ""
    assert LINEAR.refusal({"retCode": 10006, "retMsg": "Too many visits."}) == "10006: Too many visits."
    assert LINEAR.refusal([])


# -- books and tickers -----------------------------------------------------------------------------------------


def book(update: int, bids: Any, asks: Any, kind: str = "delta") -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": 1}
    return message("orderbook.50.BTCUSDT", data, kind, cts=TS - 5)


def test_books_begin_with_any_snapshot_and_after_a_restart_with_update_one() -> None:
    merger = LINEAR.merger("orderbook", "orderbook.50.BTCUSDT")
    assert merger is not None
    assert merger.absorb(book(9, [["1", "1"]], []), 1) is None
    first = merger.absorb(book(10, [["99", "1"], ["98", "2"]], [["101", "3"]], "snapshot"), 1)
    assert msgspec.json.decode(first or b"")["data"] == {
        "s": "BTCUSDT", "E": TS - 5, "u": 10, "b": [["99", "1"], ["98", "2"]], "a": [["101", "3"]]
    }  # fmt: skip
    assert merger.absorb(book(10, [["1", "1"]], []), 2) is None
    later = merger.absorb(book(11, [["99", "0"]], [["100.5", "4"]]), 1_000_000)
    assert msgspec.json.decode(later or b"")["data"]["b"] == [["98", "2"]]
    restarted = merger.absorb(book(1, [["50", "1"]], [["51", "1"]]), 2_000_000)
    assert msgspec.json.decode(restarted or b"")["data"]["a"] == [["51", "1"]]
    with pytest.raises(OutOfSequenceError, match="the book is at 1, 3 does not follow"):
        merger.absorb(book(3, [], []), 3_000_000)
    assert merger.waiting


def test_levels_of_a_retail_book_are_the_sum_of_both_sizes() -> None:
    feed = LINEAR.books["orderbook.rpi"]
    data = {"s": "X", "b": [["2", "0", "0.5"], ["1", "0", "0"]], "a": [["3", "1", "0.25"]], "u": 4, "seq": 1}
    change = feed.decode(message("orderbook.rpi.X", data, "delta"))
    assert (change.bids, change.asks) == ([("2", 0.5), ("1", 0.0)], [("3", 1.25)])


FIELDS = {
    "symbol": "BTCUSDT", "lastPrice": "100", "prevPrice24h": "80", "price24hPcnt": "0.25", "highPrice24h": "110",
    "lowPrice24h": "70", "markPrice": "101", "indexPrice": "102", "openInterest": "5", "openInterestValue": "505",
    "turnover24h": "900", "volume24h": "10", "nextFundingTime": "1700003600000", "fundingRate": "0.0001",
    "bid1Price": "99", "ask1Price": "100",
}  # fmt: skip


def test_a_ticker_makes_rows_of_what_changed_with_what_stayed() -> None:
    merger = LINEAR.merger("tickers", "tickers.BTCUSDT")
    assert merger is not None
    sent = [
        merger.absorb(message("tickers.BTCUSDT", FIELDS), 1),
        merger.absorb(message("tickers.BTCUSDT", {"symbol": "BTCUSDT", "bid1Price": "98"}, "delta"), 1),
        merger.absorb(message("tickers.BTCUSDT", {"symbol": "BTCUSDT", "markPrice": "103"}, "delta"), 1),
        merger.absorb(message("tickers.BTCUSDT", {"openInterest": "6", "openInterestValue": "618"}, "delta"), 1),
        merger.absorb(message("tickers.BTCUSDT", {"openInterestValue": "619"}, "delta"), 1),
    ]
    assert sent[1] is None
    outcome = run(LINEAR, "ticker", *(frame for frame in sent if frame))
    assert outcome.staged == {
        "ticker_24h": 1, "mark_prices": 2, "funding_rates": 1, "open_interest": 2, "index_prices": 1
    }  # fmt: skip
    assert (outcome.known, outcome.rejected) == ({"ticker_change": 1}, [])
    assert [(row["mark_price"], row["index_price"]) for row in rows(_ONE, "mark_prices")] == [(101, 102), (103, 102)]
    assert [row["open_interest_usd"] for row in rows(_ONE, "open_interest")] == [505, 618]
    (day,), (funding,) = rows(_ONE, "ticker_24h"), rows(_ONE, "funding_rates")
    assert (day["price_change_pct"], day["price_change"], day["vwap_24h"]) == (25, 20, 90)
    assert day["trade_count_24h"] is None
    assert funding["next_funding_time"] == datetime.fromisoformat("2023-11-14T23:13:20")


def test_spot_tickers_are_whole_and_bring_no_quote() -> None:
    data = {name: value for name, value in FIELDS.items() if name[:3] not in ("bid", "ask")}
    outcome = run(SPOT, "tickers", message("tickers.BTCUSDT", data, cs=77))
    assert (outcome.staged, outcome.rejected) == ({"ticker_24h": 1}, [])
    assert rows(_ONE, "ticker_24h")[0]["source_seq"] == "77"


# -- rows ------------------------------------------------------------------------------------------------------


def trade(identity: str = "i", **changes: Any) -> dict[str, Any]:
    return {"T": TS - 2, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "100", "i": identity, "BT": False} | changes


def test_trades_have_the_takers_side_and_block_trades_are_kept_apart() -> None:
    frame = message("publicTrade.BTCUSDT", [trade("a", seq=9), trade("b", S="Sell"), trade("c", BT=True)])
    outcome = run(LINEAR, "publicTrade", frame)
    assert (outcome.staged, outcome.known) == ({"trades": 2}, {"block_trade": 1})
    bought, sold = rows(_ONE, "trades")
    assert (bought["trade_id"], bought["side"], bought["is_buyer_maker"], bought["source_seq"]) == (
        "a",
        "buy",
        False,
        "9",
    )
    assert (sold["side"], sold["is_buyer_maker"], sold["source_seq"], sold["quote_value"]) == ("sell", True, None, 50)


def test_the_side_of_a_liquidation_is_that_of_the_position() -> None:
    closed = [{"T": TS, "s": "BTCUSDT", "S": side, "v": "2", "p": "10"} for side in ("Buy", "Sell")]
    assert run(LINEAR, "allLiquidation", message("allLiquidation.BTCUSDT", closed)).staged == {"liquidations": 2}
    assert [row["side"] for row in rows(_ONE, "liquidations")] == ["long", "short"]
    assert rows(_ONE, "liquidations")[0]["value_usd"] == 20


def test_a_quote_without_both_sides_is_known_and_not_stored() -> None:
    sides: list[tuple[Any, Any]] = [([["99", "1"]], [["100", "2"]]), ([], [["100", "2"]]), ([["99", "1"]], [])]
    frames = [
        message("orderbook.1.BTCUSDT", {"s": "BTCUSDT", "b": bids, "a": asks, "u": 5, "seq": 6}, cts=TS - 1)
        for bids, asks in sides
    ]
    outcome = run(SPOT, "orderbook.1", *frames)
    assert (outcome.staged, outcome.known["one_sided_quote"], outcome.rejected) == ({"prices": 1}, 2, [])
    (row,) = rows(_ONE, "prices")
    assert (row["bid_price"], row["ask_qty"], row["source_seq"]) == (99, 2, "5")
    assert row["timestamp"] == datetime.fromisoformat("2023-11-14T22:13:19.999")


def test_candles_name_their_length_as_others_do() -> None:
    bar = {"start": TS - TS % 60_000, "end": TS - TS % 60_000 + 59_999, "open": "1", "close": "2", "high": "3"}
    bar |= {"low": "1", "volume": "4", "turnover": "6", "confirm": True, "timestamp": TS}
    frames = [message(f"kline.{kind}.BTCUSDT", [bar | {"interval": kind}]) for kind in ("1", "60", "D", "7")]
    outcome = run(SPOT, "kline", *frames)
    assert [row["interval"] for row in rows(_ONE, "candles")] == ["1m", "1h", "1d"]
    assert [(rejected.frame, rejected.reason) for rejected in outcome.rejected] == [(3, "interval is missing")]
    assert rows(_ONE, "candles")[0]["is_closed"] is True


# -- instruments and the past ----------------------------------------------------------------------------------


def test_instruments_tell_hours_between_settlements() -> None:
    row = {"symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "fundingInterval": 240}
    row |= {"priceFilter": {"tickSize": "0.10"}, "lotSizeFilter": {"qtyStep": "0.001"}}
    listed = {"retCode": 0, "result": {"list": [row]}}
    delivered = {"retCode": 0, "result": {"list": [row | {"contractType": "LinearFutures"}]}}
    unknown = {"retCode": 10001, "retMsg": "params error: symbol invalid", "result": {}}
    (bitcoin,) = LINEAR.instruments([listed, delivered, unknown])
    assert (bitcoin.funding_interval_hours, bitcoin.tick_size, bitcoin.lot_size) == (4.0, 0.1, 0.001)
    with pytest.raises(ValueError, match="10006: Too many"):
        LINEAR.instruments([{"retCode": 10006, "retMsg": "Too many visits!", "result": {}}])


def test_past_candles_are_asked_for_in_thousands() -> None:
    asked = list(LINEAR.histories["candles"].pages("BTCUSDT", 0, 90_000_000_000))
    assert [request.path.split("interval=1&")[1] for request in asked] == [
        "start=0&end=59999999&limit=1000",
        "start=60000000&end=89999999&limit=1000",
    ]


def test_only_the_last_trades_are_offered_again() -> None:
    pages = SPOT.histories["trades"].pages("BTCUSDT", 5_000_000, 9_000_000)
    assert next(pages).path == "/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60"
    with pytest.raises(OutOfReachError, match="last 60 trades"):
        pages.send({"result": {"list": [{"time": str(6_000 + number)} for number in range(60)]}})
    reaching = SPOT.histories["trades"].pages("BTCUSDT", 5_000_000, 9_000_000)
    next(reaching)
    with pytest.raises(StopIteration):
        reaching.send({"result": {"list": [{"time": str(4_000 + number)} for number in range(60)]}})


def test_answers_become_rows() -> None:
    answer = {"retCode": 0, "result": {"symbol": "BTCUSDT", "list": [[str(TS), "1", "3", "1", "2", "4", "6"]]}}
    frame = rest_frame("/v5/market/kline?interval=1", msgspec.json.encode(answer | {"time": TS + 59_999}))
    assert run(LINEAR, "rest/kline", frame).staged == {"candles": 1}
    (bar,) = rows(_ONE, "candles")
    assert (bar["interval"], bar["is_closed"], bar["volume"], bar["quote_volume"]) == ("1m", False, 4, 6)
    assert bar["close_time"] == datetime.fromisoformat("2023-11-14T22:14:19.999")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"x", "not JSON"),
        (b"[]", "an object, not"),
        (b'{"topic":"adl.BTCUSDT","data":{}}', "unknown topic 'adl.BTCUSDT'"),
        (b'{"a":1,"b":2}', "no known message has the keys a, b"),
        (b'{"retCode":0,"result":{"list":[{"x":1}]}}', "no known result lists the keys x"),
        (b'{"retCode":0,"result":7}', "a result is an object"),
    ],
)
def test_what_is_unknown_is_named(sent: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LINEAR.classify(sent)


# -- input of any kind -----------------------------------------------------------------------------------------

_SAMPLES: dict[str, dict[str, Any]] = {
    "publicTrade": msgspec.json.decode(message("publicTrade.BTCUSDT", [trade()])),
    "orderbook": msgspec.json.decode(book(10, [["1", "1"]], [["2", "1"]], "snapshot")),
    "tickers": msgspec.json.decode(message("tickers.BTCUSDT", FIELDS)),
}


@given(st.sampled_from(sorted(_SAMPLES)), st.data())
@settings(max_examples=60)
def test_damaged_messages_cost_only_themselves(channel: str, data: st.DataObject) -> None:
    damaged = msgspec.json.decode(msgspec.json.encode(_SAMPLES[channel]))
    target = damaged["data"][0] if isinstance(damaged["data"], list) else damaged["data"]
    for key in data.draw(st.lists(st.sampled_from(sorted(target)), max_size=3, unique=True)):
        target[key] = data.draw(_anything)
    for key in data.draw(st.lists(st.sampled_from(("ts", "type", "topic", "data")), max_size=1)):
        damaged[key] = data.draw(_anything)
    body = json.dumps(damaged).encode()
    cut = data.draw(st.integers(0, len(body)))
    sent = data.draw(st.sampled_from([body, body[:cut], body[:cut] + b"\xff\x00", b""]))
    for look in (LINEAR.topic, LINEAR.route, LINEAR.control):
        look(sent)
    with suppress(ValueError):
        LINEAR.classify(sent)
    sound = msgspec.json.encode(_SAMPLES[channel])
    if (merger := LINEAR.merger(channel, "t")) is not None:
        assert merger.absorb(sound, 1)
        with suppress(ValueError, OutOfSequenceError, msgspec.MsgspecError):
            merger.absorb(sent, 2)
        assert merger.absorb(sound, 2_000_000)
    outcome = run(SPOT, channel, sound, sent, sound)
    assert {rejected.frame for rejected in outcome.rejected} <= {1}
