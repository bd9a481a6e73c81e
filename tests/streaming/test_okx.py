"""OKX swaps: subscriptions, routing, control messages, instruments, books, the past."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any
from zlib import crc32

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_streaming import markets
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import LocalBook
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.okx.books import BOOKS, checksum
from orderflow_streaming.exchanges.protocol import ControlKind, Pages
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged

OKX = exchange("okx_futures")
MINUTE_US = 60_000_000
START_US = 1_760_000_040_000_000


def pushed(channel: str, row: Any, instrument: str = "BTC-USDT-SWAP", **beside: Any) -> bytes:
    """A message as OKX sends it."""
    of = "instType" if channel == "liquidation-orders" else "instId"
    return json.dumps({"arg": {"channel": channel, of: instrument}, **beside, "data": [row]}).encode()


def normalizer(connection: duckdb.DuckDBPyConnection, **sizes: float) -> Normalizer:
    """Knows contract sizes and an interval of eight hours."""
    columns = ", ".join(f'"{column.name}" {column.type}' for column in INSTRUMENTS.columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE known ({columns})")
    for symbol, size in sizes.items():
        connection.execute(
            "INSERT INTO known VALUES (?, 'okx', 'futures', ?, 'live', ?, 0.1, 1, 8, now())",
            [symbol, f"{symbol.removesuffix('USDT')}-USDT-SWAP", size],
        )
    return Normalizer(connection, "known")


def rows(connection: duckdb.DuckDBPyConnection, stream: str) -> list[dict[str, Any]]:
    return connection.sql(f"FROM {staged(stream)} ORDER BY frame, item").to_arrow_table().to_pylist()


# -- topics ----------------------------------------------------------------------------------------------


def test_sockets_cover_every_stream() -> None:
    public, business = OKX.sockets(["BTCUSDT", "ETHUSDT"], OKX.market.streams, OKX.endpoints)
    assert (public.name, public.url) == ("public", "wss://ws.okx.com:8443/ws/v5/public")
    assert (business.name, business.url) == ("business", "wss://ws.okx.com:8443/ws/v5/business")
    of_swap = ("bbo-tbt", "books", "mark-price", "funding-rate", "open-interest", "tickers")
    assert {topic.name for topic in public.topics if topic.symbol == "BTCUSDT"} == {
        *(f"{channel}:BTC-USDT-SWAP" for channel in of_swap),
        "index-tickers:BTC-USDT",
        "liquidation-orders:SWAP",
    }
    assert {topic.name for topic in business.topics if topic.symbol == "ETHUSDT"} == {
        "trades-all:ETH-USDT-SWAP",
        "candle1m:ETH-USDT-SWAP",
    }
    fed = {stream for socket in (public, business) for topic in socket.topics for stream in topic.streams}
    assert fed == set(OKX.market.streams)
    assert OKX.polls(["BTCUSDT"], OKX.market.streams) == ()


def test_liquidations_are_asked_for_once_and_bring_all_symbols() -> None:
    (socket,) = OKX.sockets(["BTCUSDT", "ETHUSDT"], ["liquidations"], OKX.endpoints)
    (topic,) = socket.topics
    assert (topic.name, topic.symbols) == ("liquidation-orders:SWAP", ("BTCUSDT", "ETHUSDT"))


def test_only_what_is_asked_for_is_subscribed() -> None:
    (socket,) = OKX.sockets(["BTCUSDT"], ["candles"], OKX.endpoints)
    assert [topic.name for topic in socket.topics] == ["candle1m:BTC-USDT-SWAP"]
    assert OKX.sockets([], OKX.market.streams, OKX.endpoints) == ()


def test_topics_route_to_the_channel_they_declare() -> None:
    for socket in OKX.sockets(markets.SYMBOLS, OKX.market.streams, OKX.endpoints):
        for topic in socket.topics:
            (argument,) = msgspec.json.decode(OKX.subscribe([topic.name], 1))["args"]
            for frame in (
                json.dumps({"arg": argument, "data": [{}]}),
                json.dumps({"arg": argument, "action": "update", "data": [{}]}, separators=(",", ":")),
                json.dumps({"action": "update", "arg": argument, "data": [{}]}, separators=(",", ":")),
            ):
                compact = frame.replace(": ", ":").encode()
                assert OKX.route(compact) == topic.channel
                assert OKX.topic(compact) == topic.name
            streams = {rows.kind for rows in OKX.channels[topic.merged or topic.channel].rows}
            assert set(topic.streams) <= streams
            assert (OKX.merger(topic.channel, topic.name) is not None) == bool(topic.merged)


@pytest.mark.parametrize(
    "frame",
    [b"pong", b"", b"{", b'{"arg":{', b'{"arg":{"channel":"books"', b'{"arg":{"channel":5},"data":[]}',
     b'{"id":"1","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"a"}',
     b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"event":"subscribe"}'],
)  # fmt: skip
def test_what_is_no_data_has_no_topic(frame: bytes) -> None:
    assert (OKX.topic(frame), OKX.route(frame)) == (None, None)


def test_messages_nobody_knows_have_a_topic_and_no_channel() -> None:
    frame = b'{"arg":{"channel":"price-limit","instId":"BTC-USDT-SWAP"},"data":[{}]}'
    assert OKX.topic(frame) == "price-limit:BTC-USDT-SWAP"
    assert OKX.route(frame) is None


def test_simulated_endpoints_keep_both_sockets() -> None:
    endpoints = OKX.simulated("http://127.0.0.1:8900/")
    assert endpoints.rest == "http://127.0.0.1:8900/okx_futures"
    assert endpoints.sockets == {
        name: f"ws://127.0.0.1:8900/okx_futures/ws/v5/{name}" for name in ("public", "business")
    }


def test_subscribe_and_unsubscribe_carry_the_request() -> None:
    topics = ["books:BTC-USDT-SWAP", "liquidation-orders:SWAP"]
    for message, operation in ((OKX.subscribe, "subscribe"), (OKX.unsubscribe, "unsubscribe")):
        assert msgspec.json.decode(message(topics, 7)) == {
            "id": "7",
            "op": operation,
            "args": [
                {"channel": "books", "instId": "BTC-USDT-SWAP"},
                {"channel": "liquidation-orders", "instType": "SWAP"},
            ],
        }


def test_the_heartbeat_is_a_text() -> None:
    assert OKX.heartbeat.payload is not None
    assert OKX.heartbeat.payload() == b"ping"
    assert OKX.heartbeat.interval_s < 30, "a socket without traffic is closed after 30 s"


_NO_SUCH = "Wrong URL or channel:books,instId:X-USDT-SWAP doesn't exist. Please use the correct URL"


@pytest.mark.parametrize(
    ("message", "kind", "request_id", "topics"),
    [
        ({"id": "3", "event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}, "connId": "a"},
         ControlKind.ACK, 3, ("books:BTC-USDT-SWAP",)),
        ({"event": "subscribe", "arg": {"channel": "liquidation-orders", "instType": "SWAP"}},
         ControlKind.ACK, None, ("liquidation-orders:SWAP",)),
        ({"id": "4", "event": "unsubscribe", "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}},
         ControlKind.ACK, 4, ()),
        ({"id": "5", "event": "error", "code": "60018", "msg": _NO_SUCH, "connId": "a"},
         ControlKind.REFUSED, 5, ("books:X-USDT-SWAP",)),
        ({"event": "error", "code": "60018", "msg": _NO_SUCH}, ControlKind.REFUSED, None, ("books:X-USDT-SWAP",)),
        ({"event": "error", "code": "60018", "msg": "channel:index-tickers, instId:A-B doesn't exist"},
         ControlKind.REFUSED, None, ("index-tickers:A-B",)),
        ({"id": "6", "event": "error", "code": "64003", "msg": "Your trading fee tier doesn't suffice"},
         ControlKind.REFUSED, 6, ()),
        ({"event": "error", "code": "60012", "msg": "Invalid request: x"}, ControlKind.ERROR, None, ()),
        ({"event": "error", "code": "60014", "msg": "Requests too frequent"}, ControlKind.RATE_LIMITED, None, ()),
        ({"event": "notice", "code": "64008", "msg": "The connection will soon be closed for a service upgrade."},
         ControlKind.SHUTDOWN, None, ()),
        ({"event": "channel-conn-count", "channel": "books", "connCount": "1", "connId": "a"},
         ControlKind.ACK, None, ()),
        ({"event": "channel-conn-count-error", "channel": "books", "connCount": "30"}, ControlKind.ERROR, None, ()),
        ({"what": 1}, ControlKind.UNKNOWN, None, ()),
    ],
)  # fmt: skip
def test_control_messages(
    message: dict[str, Any], kind: ControlKind, request_id: int | None, topics: tuple[str, ...]
) -> None:
    control = OKX.control(json.dumps(message).encode())
    assert (control.kind, control.request, control.topics) == (kind, request_id, topics)
    if "msg" in message:
        assert control.reason == f"{message['code']}: {message['msg']}"


def test_pong_is_a_control_message() -> None:
    assert OKX.control(b"pong").kind is ControlKind.PONG


@pytest.mark.parametrize(
    "frame", [b"", b"{", b"\xff", b"[1]", b'"x"', b'{"id":5}', b'{"event":"error","code":60018}', b"PONG"]
)
def test_a_damaged_control_message_is_unknown(frame: bytes) -> None:
    assert OKX.control(frame).kind is ControlKind.UNKNOWN


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"arg":{"channel":"price-limit","instId":"X"},"data":[{}]}', "unknown channel 'price-limit'"),
        (b'{"arg":{"channel":"book","instId":"X"},"data":[{}]}', "unknown channel 'book'"),
        (b'{"code":"0","data":[{"a":1}]}', "neither a message nor an answer of OKX"),
        (b"5", "neither a message nor an answer of OKX"),
    ],
)
def test_what_is_unknown_is_named(frame: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OKX.classify(frame)


def test_refusals_over_rest_are_told_by_their_code() -> None:
    assert OKX.refusal({"code": "0", "msg": "", "data": []}) == ""
    assert OKX.refusal({"code": "51001", "msg": "no such instrument", "data": []}) == "51001: no such instrument"
    assert OKX.refusal([]) == "it is not an answer of OKX"


def test_instruments_are_linear_swaps_of_usdt_with_their_size_and_interval() -> None:
    def contract(name: str, kind: str = "linear", size: str = "0.01", multiplier: str = "1") -> dict[str, str]:
        sizes = {"ctVal": size, "ctMult": multiplier, "tickSz": "0.1", "lotSz": "0.01"}
        return {"instId": name, "state": "live", "ctType": kind, **sizes}

    def funding(name: str, following: str) -> dict[str, str]:
        return {"instId": name, "fundingTime": "1760025600000", "nextFundingTime": following}

    listed = [
        contract("BTC-USDT-SWAP"),
        contract("XRP-USDT-SWAP", size="10", multiplier="10"),
        contract("PNUT-USDT-SWAP"),
        contract("BTC-USD-SWAP", "inverse", "100"),
        contract("DOGE-USDT-SWAP"),
    ]
    rates = [
        funding("BTC-USDT-SWAP", "1760054400000"),
        funding("XRP-USDT-SWAP", "1760040000000"),
        funding("PNUT-USDT-SWAP", ""),
    ]
    bitcoin, ripple, peanut = OKX.instruments([{"code": "0", "data": listed}, {"code": "0", "data": rates}])
    assert (bitcoin.symbol, bitcoin.venue_symbol, bitcoin.contract_size) == ("BTCUSDT", "BTC-USDT-SWAP", 0.01)
    assert (bitcoin.tick_size, bitcoin.lot_size, bitcoin.funding_interval_hours) == (0.1, 0.01, 8)
    assert (ripple.contract_size, ripple.funding_interval_hours) == (100, 4)
    assert peanut.funding_interval_hours is None, "an interval the venue does not tell is not made up"
    with pytest.raises(ValueError, match="50011: Too Many Requests"):
        OKX.instruments([{"code": "50011", "msg": "Too Many Requests"}, {"code": "0", "data": []}])


# -- rows ------------------------------------------------------------------------------------------------


def test_liquidations_of_others_are_neither_stored_nor_rejected() -> None:
    def order(price: str, **side: str) -> dict[str, str]:
        return {"bkPx": price, "sz": "3", "ts": "1760000000000", **side}

    def of(instrument: str, *details: dict[str, str]) -> dict[str, Any]:
        return {"instId": instrument, "instType": "SWAP", "details": list(details)}

    frame = json.dumps(
        {
            "arg": {"channel": "liquidation-orders", "instType": "SWAP"},
            "data": [
                of("MINA-USDT-SWAP", order("0.1", posSide="short", side="buy")),
                of(
                    "BTC-USDT-SWAP",
                    order("100", posSide="long", side="sell"),
                    order("101", posSide="net", side="buy"),
                    order("", posSide="net", side="buy"),
                ),
                of("BTC-USDT-SWAP", order("102", posSide="short", side="buy")),
                {"instId": "BTC-USDT-SWAP"},
            ],
        }
    ).encode()
    connection = duckdb.connect()
    outcome = normalizer(connection, BTCUSDT=0.01).normalize(OKX, "liquidation-orders", [frame], [START_US])
    assert outcome.known == {"unlisted_liquidation": 1}
    assert [(item.item, item.reason) for item in outcome.rejected] == [
        (3, "price is missing"),
        (5, "timestamp is missing"),
    ]
    found = [
        (row["side"], row["price"], row["raw_quantity"], row["quantity"]) for row in rows(connection, "liquidations")
    ]
    assert found == [("long", 100, 3, 0.03), ("short", 101, 3, 0.03), ("short", 102, 3, 0.03)]


def test_a_swap_of_unknown_size_makes_no_row() -> None:
    trade = {"instId": "BTC-USDT-SWAP", "tradeId": "1", "px": "100", "sz": "3", "side": "buy", "ts": "1760000000000"}
    outcome = normalizer(duckdb.connect()).normalize(OKX, "trades-all", [pushed("trades-all", trade)], [START_US])
    assert [item.reason for item in outcome.rejected] == ["no contract size is known for BTC-USDT-SWAP"]


def test_quotes_without_both_sides_are_known_and_not_stored() -> None:
    connection = duckdb.connect()
    frames = [
        pushed("bbo-tbt", {"asks": asks, "bids": bids, "ts": "1760000000000", "seqId": 1})
        for asks, bids in (
            ([["101", "2", "0", "1"]], [["100", "3", "0", "1"]]),
            ([], [["100", "3", "0", "1"]]),
            ([], []),
        )
    ]
    frames.append(pushed("bbo-tbt", {"ts": "1760000000000", "seqId": 1}))
    outcome = normalizer(connection, BTCUSDT=0.01).normalize(OKX, "bbo-tbt", frames, [START_US] * 4)
    assert (outcome.staged, outcome.known) == ({"prices": 1}, {"one_sided_quote": 2})
    assert [item.frame for item in outcome.rejected] == [3]


def test_a_mark_price_has_no_index() -> None:
    connection = duckdb.connect()
    normal = normalizer(connection, BTCUSDT=0.01)
    mark = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "markPx": "100.5", "ts": "1760000000000"}
    index = {"instId": "BTC-USDT", "idxPx": "100", "ts": "1760000000000"}
    normal.normalize(OKX, "mark-price", [pushed("mark-price", mark)], [START_US])
    normal.normalize(OKX, "index-tickers", [pushed("index-tickers", index, "BTC-USDT")], [START_US])
    (row,) = rows(connection, "mark_prices")
    assert (row["symbol"], row["mark_price"], row["index_price"], row["basis"]) == ("BTCUSDT", 100.5, None, None)
    (row,) = rows(connection, "index_prices")
    assert (row["symbol"], row["index_price"]) == ("BTCUSDT", 100)


def test_the_next_settlement_is_the_funding_time() -> None:
    connection = duckdb.connect()
    rate = {
        "instId": "BTC-USDT-SWAP",
        "fundingRate": "0.0001",
        "fundingTime": "1760025600000",
        "nextFundingTime": "1760054400000",
        "nextFundingRate": "",
        "ts": "1760000000000",
    }
    normalizer(connection, BTCUSDT=0.01).normalize(OKX, "funding-rate", [pushed("funding-rate", rate)], [START_US])
    (row,) = rows(connection, "funding_rates")
    assert row["next_funding_time"].replace(tzinfo=UTC).timestamp() == 1_760_025_600
    assert (row["countdown_secs"], row["funding_interval_hours"]) == (25_600, 8)
    assert row["annualized_pct"] == pytest.approx(0.0001 * 3 * 365 * 100)


def test_the_neutral_symbol_keeps_products_apart() -> None:
    expected = {
        "BTC-USDT-SWAP": "BTCUSDT",
        "BTC-USD-SWAP": "BTCUSD",
        "BTC-USDT": "BTCUSDTSPOT",
        "BTC-USD-220527": "BTCUSD220527",
    }
    query = f"SELECT venue_symbol, {OKX.neutral_symbol} FROM (SELECT unnest(?) AS venue_symbol)"
    assert dict(duckdb.execute(query, [list(expected)]).fetchall()) == expected


_decimals = st.decimals("0.00000001", "9999999", allow_nan=False, allow_infinity=False, places=8)
_one = duckdb.connect(config={"threads": 1})
_normalizer = normalizer(_one, BTCUSDT=0.01, XRPUSDT=100.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([("BTCUSDT", 0.01), ("XRPUSDT", 100.0)]),
            st.integers(1, 2**53),
            _decimals,
            _decimals,
            st.sampled_from(["buy", "sell"]),
            st.integers(1, 10**13),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=40)
def test_valid_trades_come_out_as_sent(sent: list[tuple[Any, ...]]) -> None:
    _normalizer.clear()
    frames = [
        pushed(
            "trades-all",
            {
                "instId": f"{symbol.removesuffix('USDT')}-USDT-SWAP",
                "tradeId": str(identity),
                "px": str(price),
                "sz": str(size),
                "side": side,
                "ts": str(when),
            },
        )
        for (symbol, _), identity, price, size, side, when in sent
    ]
    outcome = _normalizer.normalize(OKX, "trades-all", frames, [START_US] * len(frames))
    assert outcome.staged == {"trades": len(sent)}
    for row, ((symbol, contract), identity, price, size, side, when) in zip(rows(_one, "trades"), sent, strict=True):
        assert (row["symbol"], row["trade_id"], row["side"]) == (symbol, str(identity), side)
        assert (row["price"], row["raw_quantity"]) == (float(price), float(size))
        assert row["quantity"] == pytest.approx(float(size) * contract)
        assert row["quote_value"] == pytest.approx(float(price) * float(size) * contract)
        assert row["timestamp"].replace(tzinfo=UTC).timestamp() == pytest.approx(when / 1000, abs=1e-6)
        assert row["is_buyer_maker"] == (side == "sell")


# -- books -----------------------------------------------------------------------------------------------

Levels = list[list[str]]


def book(action: str, previous: int, last: int, bids: Levels, asks: Levels, checks: int = 0) -> bytes:
    row = {"asks": asks, "bids": bids, "ts": "1760000000000", "checksum": checks, "seqId": last, "prevSeqId": previous}
    return pushed("books", row, action=action)


SNAPSHOT = book("snapshot", -1, 10, [["100", "1", "0", "1"]], [["101", "2", "0", "1"]])


def local(*frames: bytes) -> LocalBook:
    feed = BOOKS["books"]
    made = LocalBook(feed.sequencing)
    for frame in frames:
        made.apply(feed.decode(frame))
    return made


def test_changes_follow_by_the_previous_id() -> None:
    made = local(SNAPSHOT, book("update", 10, 17, [["100", "0", "0", "0"], ["99.5", "4", "0", "2"]], []))
    assert made.last == 17
    assert made.top(5) == ([["99.5", "4", "0", "2"]], [["101", "2", "0", "1"]])


def test_an_idle_market_repeats_its_id_and_maintenance_begins_anew() -> None:
    made = local(SNAPSHOT, book("update", 10, 10, [], []), book("update", 10, 3, [["100", "5", "0", "1"]], []))
    made.apply(BOOKS["books"].decode(book("update", 3, 9, [], [["102", "1", "0", "1"]])))
    assert made.last == 9
    assert made.bids[100.0][1] == "5"


def test_a_message_that_comes_twice_changes_nothing() -> None:
    change = book("update", 10, 17, [["100", "7", "0", "1"]], [])
    assert local(SNAPSHOT, change, change).last == 17


@pytest.mark.parametrize(("previous", "last"), [(11, 17), (9, 12), (17, 3), (3, 5)])
def test_a_missing_change_is_found(previous: int, last: int) -> None:
    """Also where the one that began anew was missed, so that the ids are lower than before."""
    with pytest.raises(OutOfSequenceError, match="does not follow"):
        local(SNAPSHOT, book("update", previous, last, [["100", "7", "0", "1"]], []))


def test_the_checksum_is_that_of_the_documentation() -> None:
    """www.okx.com/docs-v5, "Checksum", with its levels: bid and ask by turns, then the side that is deeper."""
    bids, asks = [["3366.1", "7", "0", "3"]], [["3366.8", "9", "10", "3"], ["3368", "8", "3", "4"]]
    made = local(book("snapshot", -1, 1, bids, asks))
    expected = crc32(b"3366.1:7:3366.8:9:3368:8")
    assert checksum(made) == (expected - 2**32 if expected >= 2**31 else expected)


def test_a_wrong_checksum_gives_the_book_up() -> None:
    with pytest.raises(OutOfSequenceError, match="checksum"):
        local(book("snapshot", -1, 10, [["100", "1", "0", "1"]], [["101", "2", "0", "1"]], checks=5))


# -- the past --------------------------------------------------------------------------------------------


def asked(pages: Pages, answers: Sequence[list[Any]]) -> list[str]:
    """Paths of the requests, answered by ``answers`` and then by nothing."""
    paths, left = [], list(answers)
    try:
        request = next(pages)
        while True:
            paths.append(request.path)
            request = pages.send({"code": "0", "data": left.pop(0) if left else []})
    except StopIteration:
        return paths


def test_candles_are_asked_for_where_they_are() -> None:
    pages = OKX.histories["candles"].pages("BTCUSDT", START_US, START_US + 150 * MINUTE_US)
    start_ms = START_US // 1_000
    first = f"instId=BTC-USDT-SWAP&bar=1m&before={start_ms - 1}&after={start_ms + 6_000_000}&limit=100"
    second = f"instId=BTC-USDT-SWAP&bar=1m&before={start_ms + 5_999_999}&after={start_ms + 9_000_000}&limit=100"
    assert asked(pages, [[["row"]] * 100]) == [
        f"/api/v5/market/history-candles?{first}",
        f"/api/v5/market/history-candles?{second}",
        f"/api/v5/market/candles?{second}",
    ]


def test_trades_are_asked_for_by_time_and_then_by_id() -> None:
    start_ms = START_US // 1_000
    pages = OKX.histories["trades"].pages("BTCUSDT", START_US, START_US + MINUTE_US)
    page = [{"tradeId": "77", "ts": str(start_ms + 500)}, {"tradeId": "76", "ts": str(start_ms)}]
    older = [{"tradeId": "75", "ts": str(start_ms - 1)}]
    root = "/api/v5/market/history-trades?instId=BTC-USDT-SWAP"
    assert asked(pages, [page, older]) == [
        f"{root}&type=2&after={start_ms + 60_000}&limit=100",
        f"{root}&type=1&after=76&limit=100",
    ]


def test_trades_are_asked_for_by_their_ids() -> None:
    by_id = OKX.histories["trades"].by_id
    assert by_id is not None
    root = "/api/v5/market/history-trades?instId=BTC-USDT-SWAP&type=1"
    page = [{"tradeId": str(number)} for number in range(250, 150, -1)]
    assert asked(by_id("BTCUSDT", 120, 250), [page, [{"tradeId": "120"}]]) == [
        f"{root}&after=251&limit=100",
        f"{root}&after=151&limit=31",
    ]


def test_an_open_interest_is_of_the_end_of_its_period() -> None:
    pages = OKX.histories["open_interest"].pages("BTCUSDT", START_US, START_US + 10 * MINUTE_US)
    begin_ms = START_US // 1_000 - 300_000
    (path,) = asked(pages, [])
    assert path.endswith(f"instId=BTC-USDT-SWAP&period=5m&begin={begin_ms}&end={begin_ms + 599_999}&limit=100")
    frame = b'{"rest":"' + path.encode() + b'","data":{"code":"0","data":[["1760000100000","50","0.5","48000"]]}}'
    connection = duckdb.connect()
    normalizer(connection, BTCUSDT=0.01).normalize(OKX, OKX.histories["open_interest"].channel, [frame], [START_US])
    (row,) = rows(connection, "open_interest")
    assert row["timestamp"].replace(tzinfo=UTC).timestamp() == 1_760_000_400
    assert (row["raw_quantity"], row["open_interest"], row["open_interest_usd"]) == (50, 0.5, 48_000)


def test_settled_rates_are_the_realized_ones() -> None:
    row = {"instId": "BTC-USDT-SWAP", "fundingRate": "0.0002", "realizedRate": "0.0001", "fundingTime": "1760025600000"}
    frame = json.dumps({"rest": "/api/v5/public/funding-rate-history", "data": {"code": "0", "data": [row]}}).encode()
    connection = duckdb.connect()
    normalizer(connection, BTCUSDT=0.01).normalize(OKX, OKX.histories["funding_rates"].channel, [frame], [START_US])
    (found,) = rows(connection, "funding_rates")
    assert (found["funding_rate"], found["next_funding_time"]) == (0.0001, None)
    assert found["timestamp"].replace(tzinfo=UTC).timestamp() == 1_760_025_600
