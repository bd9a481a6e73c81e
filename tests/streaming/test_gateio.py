"""Gate.io USDT futures: subscriptions, routing, control messages, rows, instruments."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import duckdb
import msgspec
import pytest

from orderflow_streaming import markets
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import ControlKind, rest_frame
from orderflow_streaming.writing.normalize import Normalizer

GATE = exchange("gateio_futures")
START_US = 1_790_000_000_000_000


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    """With contracts of a ten-thousandth of a bitcoin, settled every eight hours."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        "CREATE TABLE instruments AS SELECT 'BTCUSDT' AS symbol, 'gateio' AS exchange, 'futures' AS market_type, "
        "'BTC_USDT' AS venue_symbol, 0.0001::DOUBLE AS contract_size, 8.0::DOUBLE AS funding_interval_hours"
    )
    return connection


def pushed(channel: str, result: Any, *, event: str = "update", **envelope: Any) -> bytes:
    head = {"time": 1_791_009_974, "time_ms": 1_791_009_974_834, "channel": channel, "event": event}
    return json.dumps({**head, **envelope, "result": result}, separators=(",", ":")).encode()


def epoch(when: datetime) -> float:
    return when.replace(tzinfo=UTC).timestamp()


def rows(connection: duckdb.DuckDBPyConnection, stream: str, *frames: bytes) -> list[dict[str, Any]]:
    """What frames of one channel make of one stream; nothing may be rejected."""
    normalizer = Normalizer(connection, "instruments")
    (channel,) = {GATE.classify(frame)[0][0] for frame in frames}
    outcome = normalizer.normalize(GATE, channel, frames, [START_US] * len(frames))
    assert outcome.rejected == []
    return connection.sql(f"SELECT * FROM staged_{stream} ORDER BY frame, item").to_arrow_table().to_pylist()


# -- subscriptions ------------------------------------------------------------------------------------------


def test_one_socket_covers_every_stream() -> None:
    (socket,) = GATE.sockets(["BTCUSDT"], GATE.market.streams, GATE.endpoints)
    assert (socket.url, socket.headers) == ("wss://fx-ws.gateio.ws/v4/ws/usdt", {"X-Gate-Size-Decimal": "1"})
    assert {topic.name for topic in socket.topics} == {
        "futures.book_ticker.BTC_USDT",
        "futures.order_book.BTC_USDT",
        "futures.trades.BTC_USDT",
        "futures.tickers.BTC_USDT",
        "futures.candlesticks.1m_BTC_USDT",
        "futures.public_liquidates.BTC_USDT",
    }
    assert {stream for topic in socket.topics for stream in topic.streams} == set(GATE.market.streams)
    assert GATE.polls(["BTCUSDT"], GATE.market.streams) == ()
    assert GATE.rest_headers == socket.headers


def test_only_what_is_asked_for_is_subscribed() -> None:
    (socket,) = GATE.sockets(["BTCUSDT"], ["prices"], GATE.endpoints)
    assert [topic.name for topic in socket.topics] == ["futures.book_ticker.BTC_USDT"]
    assert GATE.sockets([], GATE.market.streams, GATE.endpoints) == ()


def test_topics_route_to_the_channel_they_declare() -> None:
    (socket,) = GATE.sockets(markets.SYMBOLS, GATE.market.streams, GATE.endpoints)
    assert len(socket.topics) == 54 <= GATE.limits.topics_per_socket
    for topic in socket.topics:
        name = topic.name.split(".", 2)[2]
        key = {"futures.book_ticker": "s", "futures.candlesticks": "n"}.get(topic.channel, "contract")
        event = "all" if topic.channel == "futures.order_book" else "update"
        for result in ({key: name}, [{key: name}]):
            frame = pushed(topic.channel, result, event=event)
            assert GATE.topic(frame) == topic.name
            assert GATE.route(frame) == topic.channel
        assert set(topic.streams) <= {rows.kind for rows in GATE.channels[topic.channel].rows}


def test_a_message_holds_topics_of_one_channel_and_one_where_it_has_parameters() -> None:
    (socket,) = GATE.sockets(["BTCUSDT", "ETHUSDT"], GATE.market.streams, GATE.endpoints)
    parts = GATE.batches([topic.name for topic in socket.topics])
    assert sorted(name for part in parts for name in part) == sorted(topic.name for topic in socket.topics)
    sent = [msgspec.json.decode(GATE.subscribe(part, 7)) for part in parts]
    assert all(message["id"] == 7 and message["event"] == "subscribe" for message in sent)
    assert sorted((message["channel"], message["payload"]) for message in sent) == [
        ("futures.book_ticker", ["BTC_USDT", "ETH_USDT"]),
        ("futures.candlesticks", ["1m", "BTC_USDT"]),
        ("futures.candlesticks", ["1m", "ETH_USDT"]),
        ("futures.order_book", ["BTC_USDT", "20", "0"]),
        ("futures.order_book", ["ETH_USDT", "20", "0"]),
        ("futures.public_liquidates", ["BTC_USDT", "ETH_USDT"]),
        ("futures.tickers", ["BTC_USDT", "ETH_USDT"]),
        ("futures.trades", ["BTC_USDT", "ETH_USDT"]),
    ]
    ended = msgspec.json.decode(GATE.unsubscribe(["futures.order_book_update.BTC_USDT"], 8))
    assert (ended["event"], ended["payload"]) == ("unsubscribe", ["BTC_USDT", "100ms", "20"])
    assert msgspec.json.decode(GATE.subscribe(["futures.obu.ob.BTC_USDT.50"], 9))["payload"] == ["ob.BTC_USDT.50"]


def test_simulated_endpoints_keep_the_path() -> None:
    endpoints = GATE.simulated("http://127.0.0.1:8900/")
    assert endpoints.sockets == {"main": "ws://127.0.0.1:8900/gateio_futures/v4/ws/usdt"}
    assert endpoints.rest == "http://127.0.0.1:8900/gateio_futures"


def test_the_client_pings_with_the_time() -> None:
    assert GATE.heartbeat.payload is not None
    assert msgspec.json.decode(GATE.heartbeat.payload()).keys() == {"time", "channel"}


# -- control messages ---------------------------------------------------------------------------------------


def answer(channel: str, *, event: str = "subscribe", **more: Any) -> bytes:
    return json.dumps({"time": 1, "channel": channel, "event": event, **more}).encode()


FAILED = {"code": 2, "message": "unknown currency pair NOPE_USDT"}
REPEATED = {"code": 2, "message": "Alert sub ob.BTC_USDT.50"}


@pytest.mark.parametrize(
    ("frame", "kind", "request_id", "topics"),
    [
        (answer("futures.trades", id=3, result={"status": "success"}), ControlKind.ACK, 3, ()),
        (answer("futures.trades", id=3, error=FAILED, result={"status": "fail"}), ControlKind.REFUSED, 3, ()),
        (answer("futures.trades", error=None, result={}), ControlKind.ACK, None, ()),
        (answer("futures.trades", payload=["A_USDT", "B_USDT"]), ControlKind.ACK, None,
         ("futures.trades.A_USDT", "futures.trades.B_USDT")),
        (answer("futures.candlesticks", payload=["1m", "A_USDT"]), ControlKind.ACK, None,
         ("futures.candlesticks.1m_A_USDT",)),
        (answer("futures.order_book", payload=["A_USDT", "20", "0"]), ControlKind.ACK, None,
         ("futures.order_book.A_USDT",)),
        (answer("futures.obu", id=4, payload=["ob.BTC_USDT.50"], error=REPEATED), ControlKind.ACK, 4, ()),
        (answer("futures.obu", payload=["ob.NO_USDT.50"], error=FAILED), ControlKind.REFUSED, None,
         ("futures.obu.ob.NO_USDT.50",)),
        (answer("futures.trades", event="unsubscribe", id=9, payload=["A_USDT"]), ControlKind.ACK, 9, ()),
        (answer("futures.trades", event="unsubscribe", payload=["A_USDT"]), ControlKind.ACK, None, ()),
        (answer("futures.trades", event="unsubscribe", id=9, error=FAILED), ControlKind.ERROR, 9, ()),
        (answer("futures.pong", event="", result=None), ControlKind.PONG, None, ()),
        (answer("futures.system", event="update", result={"type": "upgrade"}), ControlKind.SHUTDOWN, None, ()),
        (answer("futures.trades", event="update"), ControlKind.UNKNOWN, None, ()),
        (b'{"what":1}', ControlKind.UNKNOWN, None, ()),
    ],
)  # fmt: skip
def test_control_messages(frame: bytes, kind: ControlKind, request_id: int | None, topics: tuple[str, ...]) -> None:
    control = GATE.control(frame)
    assert (control.kind, control.request, control.topics) == (kind, request_id, topics)
    assert GATE.topic(frame) is None
    assert GATE.route(frame) is None


def test_a_refusal_says_why() -> None:
    control = GATE.control(answer("futures.trades", id=3, error=FAILED))
    assert control.reason == "2: unknown currency pair NOPE_USDT"


@pytest.mark.parametrize(
    "frame", [b"", b"{", b"\xff", b"[1]", b'"x"', b'{"channel":5}', b'{"event":"subscribe","id":"x"}']
)
def test_a_damaged_control_message_is_unknown(frame: bytes) -> None:
    assert GATE.control(frame).kind is ControlKind.UNKNOWN


# -- recordings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "url", "channel"),
    [
        (b'{"channel":"futures.order_book","event":"all","result":{}}', "", "futures.order_book"),
        (b'{"channel":"futures.order_book","event":"update","result":[]}', "", "futures.order_book/update"),
        (b'{"id":1,"asks":[],"bids":[],"current":1}', "", "rest/order_book"),
        (b'{"asks":[{"p":"1","s":2}],"bids":[]}', "/api/v4/futures/usdt/order_book?contract=A", "rest/order_book"),
        (b'{"asks":[["1","2"]],"bids":[]}', "/api/v4/futures/usdt/order_book?contract=A", "rest/spot/order_book"),
        (b'[{"t":1,"r":"0.1"}]', "/api/v4/futures/usdt/funding_rate?contract=A", "rest/funding_rate"),
        (b'[{"t":1,"r":"0.1"}]', "", "rest/funding_rate"),
        (b'{"asks":5,"bids":{}}', "", "rest/order_book"),
        (b'{"name":"A_USDT","quanto_multiplier":"1"}', "/api/v4/futures/usdt/contracts/A_USDT", "rest/contracts"),
        (b'[{"id":1,"size":1,"price":"1","contract":"A"}]', "", "rest/trades"),
        (b'{"rest":"/api/v4/futures/usdt/trades?contract=A","data":[{"id":1}]}', "", "rest/trades"),
    ],
)
def test_messages_are_told_apart(frame: bytes, url: str, channel: str) -> None:
    ((found, _),) = GATE.classify(frame, url)
    assert found == channel
    assert channel in GATE.channels


@pytest.mark.parametrize(
    "frame",
    [b"[]", b'{"label":"TOO_MANY_REQUESTS","message":"x"}', b'{"time":1,"channel":"futures.ping"}',
     answer("futures.trades", payload=["A"]), answer("futures.pong", event="")],
)  # fmt: skip
def test_control_messages_carry_no_data(frame: bytes) -> None:
    assert GATE.classify(frame) == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"channel":"futures.unheard","event":"update","result":[]}', "unknown channel 'futures.unheard'"),
        (b'{"a":1,"b":2}', "no known message has the keys a, b"),
        (b"5", "an answer is an object or a list of them, not 5"),
        (b"[5]", "an answer is an object or a list of them"),
    ],
)
def test_what_is_unknown_is_named(frame: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GATE.classify(frame)


# -- rows ---------------------------------------------------------------------------------------------------


def test_sizes_are_signed_contracts_as_numbers_or_as_text(connection: duckdb.DuckDBPyConnection) -> None:
    def trade(size: Any) -> dict[str, Any]:
        return {"id": 5, "size": size, "create_time_ms": 1_791_009_974_834, "price": "80000", "contract": "BTC_USDT"}

    found = rows(connection, "trades", *(pushed("futures.trades", [trade(size)]) for size in (-108, "-108.5", 3)))
    assert [row["raw_quantity"] for row in found] == [108.0, 108.5, 3.0]
    assert [row["quantity"] for row in found] == pytest.approx([0.0108, 0.01085, 0.0003])
    assert [row["quote_value"] for row in found] == pytest.approx([864.0, 868.0, 24.0])
    assert [(row["side"], row["is_buyer_maker"]) for row in found] == [("sell", True), ("sell", True), ("buy", False)]
    assert {row["symbol"] for row in found} == {"BTCUSDT"}


def test_internal_trades_are_known_and_not_stored(connection: duckdb.DuckDBPyConnection) -> None:
    trade = {
        "id": 5,
        "size": 1,
        "create_time": 1_791_009_974,
        "price": "1",
        "contract": "BTC_USDT",
        "is_internal": True,
    }
    assert rows(connection, "trades", pushed("futures.trades", [trade])) == []


LIQUIDATED_AT_MS = 1_786_327_033_531


@pytest.mark.parametrize(
    "time",
    [{"time": LIQUIDATED_AT_MS}, {"time_ms": LIQUIDATED_AT_MS}, {"time_ms": LIQUIDATED_AT_MS, "time": 1_786_327_033}],
)
@pytest.mark.parametrize("wrapped", [lambda item: item, lambda item: [item]], ids=["object", "list"])
def test_a_forced_sale_closes_a_long(
    connection: duckdb.DuckDBPyConnection, time: dict[str, int], wrapped: Callable[[Any], Any]
) -> None:
    item = {"contract": "BTC_USDT", "price": "63525.5", "size": -77} | time
    (row,) = rows(connection, "liquidations", pushed("futures.public_liquidates", wrapped(item)))
    assert (row["side"], row["price"], row["raw_quantity"]) == ("long", 63525.5, 77.0)
    assert row["quantity"] == pytest.approx(0.0077)
    assert epoch(row["timestamp"]) * 1000 == pytest.approx(LIQUIDATED_AT_MS)


def test_liquidations_of_a_second_come_in_one_list_and_in_seconds_before(connection: duckdb.DuckDBPyConnection) -> None:
    items = [{"contract": "BTC_USDT", "price": "1", "size": size, "time": 1_786_327_033} for size in ("-1", "2.5", 3)]
    found = rows(connection, "liquidations", pushed("futures.public_liquidates", items))
    assert [(row["side"], row["raw_quantity"]) for row in found] == [("long", 1.0), ("short", 2.5), ("short", 3.0)]
    assert {epoch(row["timestamp"]) for row in found} == {1_786_327_033.0}


def test_a_liquidation_over_rest_has_the_sign_of_the_position(connection: duckdb.DuckDBPyConnection) -> None:
    item = {"time": 1548654951, "contract": "BTC_USDT", "size": "600", "order_size": "-600", "fill_price": "3424",
            "order_price": "3405", "left": "0"}  # fmt: skip
    frame = rest_frame("/api/v4/futures/usdt/liq_orders?contract=BTC_USDT", json.dumps([item]).encode())
    (row,) = rows(connection, "liquidations", frame)
    assert (row["side"], row["price"], row["raw_quantity"]) == ("long", 3424.0, 600.0)


def test_a_ticker_fills_five_streams(connection: duckdb.DuckDBPyConnection) -> None:
    ticker = {
        "contract": "BTC_USDT", "last": "84588.2", "change_percentage": "-1.5475", "total_size": "503655852",
        "volume_24h": "752493909", "volume_24h_quote": "6365210534", "mark_price": "84588.1",
        "funding_rate": "-0.000011", "funding_next_apply": 1791014400, "index_price": "84634.7", "low_24h": "83840.0",
        "high_24h": "87222.0", "change_from": "24h", "change_price": "-1329.6", "t": 1791009972577,
    }  # fmt: skip
    frame = pushed("futures.tickers", [ticker])
    (mark,) = rows(connection, "mark_prices", frame)
    (funding,) = rows(connection, "funding_rates", frame)
    (interest,) = rows(connection, "open_interest", frame)
    (day,) = rows(connection, "ticker_24h", frame)
    (index,) = rows(connection, "index_prices", frame)
    assert (mark["mark_price"], mark["index_price"]) == (84588.1, 84634.7) == (mark["mark_price"], index["index_price"])
    assert {epoch(row["timestamp"]) for row in (mark, funding, interest, day, index)} == {1791009972.577}
    assert epoch(funding["next_funding_time"]) == 1791014400
    assert funding["annualized_pct"] == pytest.approx(-0.000011 * 3 * 365 * 100)
    assert interest["open_interest"] == pytest.approx(50365.5852)
    assert (day["volume_24h"], day["price_change"]) == (pytest.approx(75249.3909), -1329.6)
    assert (day["open_24h"], day["trade_count_24h"]) == (None, None)


def test_a_ticker_of_another_day_has_no_change_over_24_hours(connection: duckdb.DuckDBPyConnection) -> None:
    ticker = {"contract": "BTC_USDT", "last": "2", "mark_price": "2", "change_from": "utc8", "change_price": "1",
              "change_percentage": "100"}  # fmt: skip
    (day,) = rows(connection, "ticker_24h", pushed("futures.tickers", [ticker]))
    assert (day["price_change"], day["price_change_pct"]) == (None, None)


def test_a_bar_tells_when_it_is_closed(connection: duckdb.DuckDBPyConnection) -> None:
    bar = {"t": 1_791_009_960, "v": "20", "c": "2", "h": "3", "l": "1", "o": "1.5", "n": "1m_BTC_USDT", "a": "4"}
    frames = [pushed("futures.candlesticks", [bar | closed]) for closed in ({}, {"w": False}, {"w": True})]
    found = rows(connection, "candles", *frames)
    assert [row["is_closed"] for row in found] == [None, False, True]
    assert [(row["volume"], row["quote_volume"]) for row in found] == [(pytest.approx(0.002), 4.0)] * 3
    assert (found[0]["close_time"] - found[0]["open_time"]).total_seconds() == 59.999


def test_a_side_without_orders_makes_no_quote(connection: duckdb.DuckDBPyConnection) -> None:
    quote = {"t": 1_791_009_974_834, "u": 5, "s": "BTC_USDT", "b": "", "B": "0", "a": "77179.1", "A": "5808"}
    assert rows(connection, "prices", pushed("futures.book_ticker", quote)) == []


def test_a_contract_of_unknown_size_makes_no_row(connection: duckdb.DuckDBPyConnection) -> None:
    trade = {"id": 5, "size": 1, "create_time": 1_791_009_974, "price": "1", "contract": "NEW_USDT"}
    outcome = Normalizer(connection, "instruments").normalize(
        GATE, "futures.trades", [pushed("futures.trades", [trade])], [START_US]
    )
    assert [rejected.reason for rejected in outcome.rejected] == ["no contract size is known for NEW_USDT"]


# -- instruments --------------------------------------------------------------------------------------------


def test_instruments_are_those_of_our_symbols_with_size_and_interval() -> None:
    def contract(name: str, **more: Any) -> dict[str, Any]:
        usual = {"quanto_multiplier": "0.0001", "order_price_round": "0.1", "order_size_min": 1, "in_delisting": False}
        return {"name": name, "funding_interval": 28800, **usual, **more}

    answer = [
        contract("BTC_USDT"),
        contract("ETH_USDT", quanto_multiplier="0.01", order_size_min="0", status="trading", funding_interval=14400),
        contract("WIF_USDT", in_delisting=True),
        contract("DOGE_USDT"),
        contract("BTC_USD", quanto_multiplier="0"),
    ]
    bitcoin, ether, hat = GATE.instruments([answer])
    assert (bitcoin.symbol, bitcoin.venue_symbol, bitcoin.contract_size) == ("BTCUSDT", "BTC_USDT", 0.0001)
    assert (bitcoin.tick_size, bitcoin.lot_size, bitcoin.funding_interval_hours) == (0.1, 1.0, 8.0)
    assert (ether.lot_size, ether.funding_interval_hours, ether.status) == (None, 4.0, "trading")
    assert hat.status == "delisting"
