"""Hyperliquid perpetuals: subscriptions, routing, control messages, instruments, the past."""

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
from orderflow_streaming.exchanges.hyperliquid.histories import HISTORIES
from orderflow_streaming.exchanges.protocol import ControlKind, OutOfReachError, Request, rest_frame
from orderflow_streaming.writing.normalize import Normalizer

HYPERLIQUID = exchange("hyperliquid_futures")
START_US = 1_790_232_236_546_000
MINUTE_US = 60_000_000


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        "CREATE TABLE instruments AS SELECT 'BTCUSDT' AS symbol, 'hyperliquid' AS exchange, 'futures' AS market_type, "
        "'BTC' AS venue_symbol, 1.0::DOUBLE AS contract_size, 1.0::DOUBLE AS funding_interval_hours"
    )
    return connection


def pushed(channel: str, data: Any) -> bytes:
    return json.dumps({"channel": channel, "data": data}, separators=(",", ":")).encode()


def rows(connection: duckdb.DuckDBPyConnection, stream: str, *frames: bytes) -> list[dict[str, Any]]:
    """What frames of one channel, received at START_US, make of one stream; nothing may be rejected."""
    normalizer = Normalizer(connection, "instruments")
    (channel,) = {HYPERLIQUID.classify(frame)[0][0] for frame in frames}
    outcome = normalizer.normalize(HYPERLIQUID, channel, frames, [START_US] * len(frames))
    assert outcome.rejected == []
    return connection.sql(f"SELECT * FROM staged_{stream} ORDER BY frame, item").to_arrow_table().to_pylist()


def epoch(when: datetime) -> float:
    return when.replace(tzinfo=UTC).timestamp()


# -- subscriptions ------------------------------------------------------------------------------------------


def test_one_socket_covers_every_stream() -> None:
    (socket,) = HYPERLIQUID.sockets(["BTCUSDT"], HYPERLIQUID.market.streams, HYPERLIQUID.endpoints)
    assert socket.url == "wss://api.hyperliquid.xyz/ws"
    assert [topic.name for topic in socket.topics] == [
        "bbo.BTC", "l2Book.BTC", "trades.BTC", "activeAssetCtx.BTC", "candle.BTC.1m"
    ]  # fmt: skip
    assert {stream for topic in socket.topics for stream in topic.streams} == set(HYPERLIQUID.market.streams)
    assert HYPERLIQUID.polls(["BTCUSDT"], HYPERLIQUID.market.streams) == ()
    assert HYPERLIQUID.closes_on_refusal


def test_only_what_is_asked_for_is_subscribed() -> None:
    (socket,) = HYPERLIQUID.sockets(["BTCUSDT"], ["funding_rates"], HYPERLIQUID.endpoints)
    assert [topic.name for topic in socket.topics] == ["activeAssetCtx.BTC"]
    assert HYPERLIQUID.sockets([], HYPERLIQUID.market.streams, HYPERLIQUID.endpoints) == ()


def test_topics_route_to_the_channel_they_declare() -> None:
    (socket,) = HYPERLIQUID.sockets(markets.SYMBOLS, HYPERLIQUID.market.streams, HYPERLIQUID.endpoints)
    for topic in socket.topics:
        coin = topic.name.split(".")[1]
        data = {"s": coin, "i": "1m"} if topic.channel == "candle" else {"coin": coin, "time": 1}
        frame = pushed(topic.channel, [data] if topic.channel == "trades" else data)
        assert HYPERLIQUID.topic(frame) == topic.name
        assert HYPERLIQUID.route(frame) == topic.channel
        assert set(topic.streams) <= {rows.kind for rows in HYPERLIQUID.channels[topic.channel].rows}


def test_a_message_holds_one_subscription() -> None:
    (socket,) = HYPERLIQUID.sockets(["BTCUSDT"], HYPERLIQUID.market.streams, HYPERLIQUID.endpoints)
    parts = HYPERLIQUID.batches([topic.name for topic in socket.topics])
    sent = [msgspec.json.decode(HYPERLIQUID.subscribe(part, 7)) for part in parts]
    assert [message["subscription"] for message in sent] == [
        {"type": "bbo", "coin": "BTC"},
        {"type": "l2Book", "coin": "BTC"},
        {"type": "trades", "coin": "BTC"},
        {"type": "activeAssetCtx", "coin": "BTC"},
        {"type": "candle", "coin": "BTC", "interval": "1m"},
    ]
    assert {message["method"] for message in sent} == {"subscribe"}
    assert msgspec.json.decode(HYPERLIQUID.unsubscribe(["bbo.BTC"], 8))["method"] == "unsubscribe"


def test_simulated_endpoints_keep_the_path() -> None:
    endpoints = HYPERLIQUID.simulated("http://127.0.0.1:8900/")
    assert endpoints.sockets == {"main": "ws://127.0.0.1:8900/hyperliquid_futures/ws"}
    assert endpoints.rest == "http://127.0.0.1:8900/hyperliquid_futures"


def test_the_client_pings() -> None:
    assert HYPERLIQUID.heartbeat.payload is not None
    assert HYPERLIQUID.heartbeat.payload() == b'{"method":"ping"}'


# -- control messages ---------------------------------------------------------------------------------------

BOOK = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}
BARS = {"type": "candle", "interval": "1m", "coin": "BTC"}


def answer(method: str, subscription: dict[str, Any]) -> bytes:
    return pushed("subscriptionResponse", {"method": method, "subscription": subscription})


@pytest.mark.parametrize(
    ("frame", "kind", "topics"),
    [
        (answer("subscribe", BOOK), ControlKind.ACK, ("l2Book.BTC",)),
        (answer("subscribe", BARS), ControlKind.ACK, ("candle.BTC.1m",)),
        (answer("unsubscribe", BOOK), ControlKind.ACK, ()),
        (answer("subscribe", {"type": "allMids"}), ControlKind.ACK, ()),
        (b'{"channel":"pong"}', ControlKind.PONG, ()),
        (pushed("error", f"Already subscribed: {json.dumps(BOOK)}"), ControlKind.ACK, ("l2Book.BTC",)),
        (pushed("error", f"Invalid subscription {json.dumps(BARS)}"), ControlKind.REFUSED, ("candle.BTC.1m",)),
        (pushed("error", 'Error: {"method":"subscribe","subscription":{"type":"bbo","coin":"X"}}'), ControlKind.REFUSED,
         ("bbo.X",)),
        (pushed("error", "Something else"), ControlKind.ERROR, ()),
        (pushed("error", "Broken {"), ControlKind.ERROR, ()),
        (pushed("error", None), ControlKind.ERROR, ()),
        (pushed("subscriptionResponse", None), ControlKind.UNKNOWN, ()),
        (b'{"what":1}', ControlKind.UNKNOWN, ()),
    ],
)  # fmt: skip
def test_control_messages(frame: bytes, kind: ControlKind, topics: tuple[str, ...]) -> None:
    control = HYPERLIQUID.control(frame)
    assert (control.kind, control.topics) == (kind, topics)
    assert HYPERLIQUID.topic(frame) is None
    assert HYPERLIQUID.route(frame) is None


@pytest.mark.parametrize("frame", [b"", b"{", b"\xff", b"[1]", b'"x"', b'{"channel":5}'])
def test_a_damaged_control_message_is_unknown(frame: bytes) -> None:
    assert HYPERLIQUID.control(frame).kind is ControlKind.UNKNOWN


# -- recordings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "channel"),
    [
        (pushed("allMids", {"mids": {"BTC": "1"}}), "allMids"),
        (pushed("allDexsAssetCtxs", {"ctxs": [["", [{"markPx": "1"}]]]}), "allDexsAssetCtxs"),
        (b'[{"universe":[{"name":"BTC"}]},[{"markPx":"1"}]]', "rest/metaAndAssetCtxs"),
        (b'{"universe":[]}', "rest/meta"),
        (b'{"coin":"BTC","levels":[[],[]]}', "rest/l2Book"),
        (b'[{"coin":"BTC","side":"A","px":"1","sz":"1","tid":1}]', "rest/recentTrades"),
        (b'[{"t":1,"T":2,"s":"BTC","i":"1m"}]', "rest/candleSnapshot"),
        (b'[{"coin":"BTC","fundingRate":"1","time":1}]', "rest/fundingHistory"),
        (b'{"rest":"/info","request":{"type":"meta"},"data":{"universe":[]}}', "rest/meta"),
    ],
)
def test_messages_are_told_apart(frame: bytes, channel: str) -> None:
    ((found, enveloped),) = HYPERLIQUID.classify(frame, "https://api.hyperliquid.xyz/info")
    assert found == channel
    assert channel in HYPERLIQUID.channels
    assert b'"data"' in enveloped


@pytest.mark.parametrize("frame", [b"null", b"[]", b'{"method":"ping"}', b'{"channel":"pong"}', pushed("post", {})])
def test_control_messages_carry_no_data(frame: bytes) -> None:
    assert HYPERLIQUID.classify(frame) == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"channel":"unheard","data":1}', "unknown channel 'unheard'"),
        (b'{"channel":"rest/meta","data":1}', "unknown channel 'rest/meta'"),
        (b'{"channel":"allMids","data":[]}', "no pairs at mids"),
        (b'{"channel":"allDexsAssetCtxs","data":{"ctxs":[[1]]}}', "no pairs at ctxs"),
        (b'[{"universe":[]},[{}]]', "1 contexts without as many coins"),
        (b"[5,[]]", "0 contexts without as many coins"),
        (b'{"a":1,"b":2}', "no known message has the keys a, b"),
        (b"5", "an answer is an object or a list of them, not 5"),
    ],
)
def test_what_is_unknown_is_named(frame: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        HYPERLIQUID.classify(frame)


# -- rows ---------------------------------------------------------------------------------------------------

CONTEXT = {
    "funding": "0.0000125", "openInterest": "36295.80812", "prevDayPx": "77759.0", "dayNtlVlm": "4490636699.32",
    "premium": "-0.0005540084", "oraclePx": "80684.7", "markPx": "80640.0", "midPx": "80639.5",
    "impactPxs": ["80637.2", "80640.0"], "dayBaseVlm": "56265.69068",
}  # fmt: skip


def test_a_context_fills_five_streams_at_the_receive_time(connection: duckdb.DuckDBPyConnection) -> None:
    frame = pushed("activeAssetCtx", {"coin": "BTC", "ctx": CONTEXT})
    (mark,) = rows(connection, "mark_prices", frame)
    (funding,) = rows(connection, "funding_rates", frame)
    (interest,) = rows(connection, "open_interest", frame)
    (day,) = rows(connection, "ticker_24h", frame)
    (index,) = rows(connection, "index_prices", frame)
    assert {epoch(row["timestamp"]) for row in (mark, funding, interest, day, index)} == {START_US / 1e6}
    assert (mark["mark_price"], mark["index_price"], index["index_price"]) == (80640.0, 80684.7, 80684.7)
    assert funding["annualized_pct"] == pytest.approx(0.0000125 * 24 * 365 * 100)
    assert interest["open_interest_usd"] == pytest.approx(36295.80812 * 80640.0)
    assert (day["last_price"], day["open_24h"], day["price_change"]) == (80639.5, 77759.0, pytest.approx(2880.5))
    assert (day["high_24h"], day["trade_count_24h"]) == (None, None)


def test_funding_is_settled_at_the_next_full_hour(connection: duckdb.DuckDBPyConnection) -> None:
    (row,) = rows(connection, "funding_rates", pushed("activeAssetCtx", {"coin": "BTC", "ctx": CONTEXT}))
    settled = epoch(row["next_funding_time"])
    assert settled % 3600 == 0
    assert 0 < settled - START_US / 1e6 <= 3600
    assert row["countdown_secs"] == int(settled - START_US / 1e6)


def test_a_context_without_a_mid_has_no_day(connection: duckdb.DuckDBPyConnection) -> None:
    frame = pushed("activeAssetCtx", {"coin": "BTC", "ctx": CONTEXT | {"midPx": None}})
    assert rows(connection, "ticker_24h", frame) == []
    assert len(rows(connection, "mark_prices", frame)) == 1


@pytest.mark.parametrize(("side", "taker"), [("A", "sell"), ("B", "buy")])
def test_the_side_of_a_trade_is_the_takers(connection: duckdb.DuckDBPyConnection, side: str, taker: str) -> None:
    trade = {"coin": "BTC", "side": side, "px": "84143.0", "sz": "0.5", "time": 1790232216193, "tid": 1045359869404765}
    (row,) = rows(connection, "trades", pushed("trades", [trade]))
    assert (row["side"], row["trade_id"], row["quantity"]) == (taker, "1045359869404765", 0.5)
    assert epoch(row["timestamp"]) == 1790232216.193


def test_books_are_read_whatever_the_order_of_keys(connection: duckdb.DuckDBPyConnection) -> None:
    old = {
        "coin": "BTC",
        "levels": [[{"n": 5, "px": "99.0", "sz": "3"}], [{"n": 1, "px": "101.0", "sz": "2"}]],
        "time": 5,
    }
    new = {
        "coin": "BTC",
        "time": 5,
        "levels": [[{"px": "99.0", "sz": "3", "n": 5}], [{"px": "101.0", "sz": "2", "n": 1}]],
    }
    first, second = rows(connection, "orderbooks", pushed("l2Book", old), pushed("l2Book", new))
    assert first["bid_1_price"] == second["bid_1_price"] == 99.0
    assert first["ask_1_qty"] == second["ask_1_qty"] == 2.0


@pytest.mark.parametrize("levels", [[[], []], [[{"px": "1", "sz": "2", "n": 1}], []]], ids=["delisted", "one side"])
def test_an_empty_book_is_known_and_half_a_book_is_stored(
    connection: duckdb.DuckDBPyConnection, levels: list[Any]
) -> None:
    found = rows(connection, "orderbooks", pushed("l2Book", {"coin": "BTC", "time": 5, "levels": levels}))
    assert [(row["bid_1_price"], row["ask_1_price"], row["mid_price"]) for row in found] == (
        [(1.0, None, None)] if levels[0] else []
    )


def test_a_missing_side_makes_no_quote(connection: duckdb.DuckDBPyConnection) -> None:
    side = {"px": "1", "sz": "2", "n": 1}
    frames = [
        pushed("bbo", {"coin": "BTC", "time": 5, "bbo": bbo}) for bbo in ([None, None], [side, None], [None, side])
    ]
    assert rows(connection, "prices", *frames) == []


def test_a_bar_of_the_socket_does_not_say_whether_it_is_closed(connection: duckdb.DuckDBPyConnection) -> None:
    open_ms = START_US // MINUTE_US * 60_000
    bar = {"t": open_ms, "T": open_ms + 59_999, "s": "BTC", "i": "1m", "o": "1", "c": "2", "h": "3", "l": "0.5",
           "v": "4.5", "n": 7}  # fmt: skip
    (forming,) = rows(connection, "candles", pushed("candle", bar))
    assert (forming["is_closed"], forming["trade_count"], forming["quote_volume"]) == (None, 7, None)
    past = bar | {"t": open_ms - 60_000, "T": open_ms - 1}
    found = rows(connection, "candles", rest_frame(Request("/info", b"{}"), json.dumps([past, bar]).encode()))
    assert [row["is_closed"] for row in found] == [True, False]


# -- instruments and the past -------------------------------------------------------------------------------


def test_instruments_are_those_of_our_symbols_that_are_traded() -> None:
    (request,) = HYPERLIQUID.instrument_paths()
    assert isinstance(request, Request)
    assert (request.path, request.body) == ("/info", b'{"type":"meta"}')
    universe = [
        {"name": "BTC", "szDecimals": 5},
        {"name": "POPCAT", "szDecimals": 0, "isDelisted": True},
        {"name": "DOGE", "szDecimals": 0},
        {"name": "xyz:TSLA", "szDecimals": 3},
    ]
    (bitcoin,) = HYPERLIQUID.instruments([{"universe": universe}])
    assert (bitcoin.symbol, bitcoin.venue_symbol, bitcoin.contract_size) == ("BTCUSDT", "BTC", 1.0)
    assert (bitcoin.lot_size, bitcoin.tick_size) == (pytest.approx(1e-5), None)
    assert bitcoin.funding_interval_hours == 1.0


def asked(stream: str, start_us: int, end_us: int, answers: Callable[[Any], Any] = lambda body: []) -> list[Request]:
    pages, requests = HISTORIES[stream].pages("BTCUSDT", start_us, end_us), []
    request = next(pages, None)
    while request is not None:
        requests.append(request)
        try:
            request = pages.send(answers(json.loads(request.body or b"")))
        except StopIteration:
            break
    return requests


def test_bars_are_asked_for_in_parts_and_weighed() -> None:
    first, second = asked("candles", START_US, START_US + 1_201 * MINUTE_US)
    assert first.path == "/info"
    bodies = [json.loads(request.body or b"") for request in (first, second)]
    assert {body["type"] for body in bodies} == {"candleSnapshot"}
    assert bodies[0]["req"] == {
        "coin": "BTC", "interval": "1m", "startTime": START_US // 1000, "endTime": START_US // 1000 + 1_200 * 60_000 - 1
    }  # fmt: skip
    assert bodies[1]["req"]["startTime"] == START_US // 1000 + 1_200 * 60_000
    assert (first.weight, second.weight) == (41, 21)


def test_settlements_are_asked_for_by_the_hour() -> None:
    (request,) = asked("funding_rates", START_US, START_US + 60 * MINUTE_US)
    body = json.loads(request.body or b"")
    assert (body["type"], body["coin"]) == ("fundingHistory", "BTC")
    assert body["endTime"] - body["startTime"] == 3_600_000 - 1


@pytest.mark.parametrize("times", [[], [START_US // 1000 + 5, START_US // 1000 + 1]])
def test_trades_before_the_latest_few_are_out_of_reach(times: list[int]) -> None:
    with pytest.raises(OutOfReachError, match=f"the latest {len(times)} trades only"):
        asked("trades", START_US, START_US + MINUTE_US, lambda body: [{"time": time} for time in times])


def test_a_short_hole_is_within_the_latest_trades() -> None:
    found = asked("trades", START_US, START_US + MINUTE_US, lambda body: [{"time": START_US // 1000 - 1}])
    assert [json.loads(request.body or b"") for request in found] == [{"type": "recentTrades", "coin": "BTC"}]
