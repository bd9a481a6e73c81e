"""The simulated KuCoin: the shape of real messages, consistent with one another, and its side of the protocol."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import BookMerger
from orderflow_streaming.exchanges.protocol import Request, rest_frame
from orderflow_streaming.markets import MARKETS, SYMBOLS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.dialects.kucoin import token as kucoin_token
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged
from tests.streaming.test_simulator_frames import shape

SPOT, FUTURES = "kucoin_spot", "kucoin_futures"
BOTH = pytest.mark.parametrize("market", [SPOT, FUTURES])
START_US = 1_760_000_040_000_000
MINUTE_US = 60_000_000
MINUTES = 4
END_US = START_US + MINUTES * MINUTE_US


@cache
def sent(market: str) -> dict[str, list[tuple[int, bytes]]]:
    """By topic: when each message was sent, and the message."""
    by_topic = defaultdict(list)
    for when_us, topic, frame in frames(4, START_US, END_US, market=market):
        assert exchange(market).topic(frame) == topic
        by_topic[topic].append((when_us, frame))
    return dict(by_topic)


@cache
def feed(market: str) -> Feed:
    """The past of the same minutes, for REST."""
    dialect = DIALECTS[market]
    made = Feed(dialect)
    world = Market(4, START_US, [dialect.venue])
    for _ in range(MINUTES):
        made.add(Batch(world.minute()))
    return made


def payloads(market: str, topic: str) -> list[dict[str, Any]]:
    return [json.loads(frame)["data"] for _, frame in sent(market)[topic]]


def answer(market: str, request: Request | str, now_us: int = END_US - 1, status: int = 200) -> Any:
    asked = Request(request) if isinstance(request, str) else request
    url = urlsplit(asked.path)
    method = "GET" if asked.body is None else "POST"
    base = f"http://127.0.0.1:1/{market}"
    call = RestCall(method, url.path, dict(parse_qsl(url.query)), feed(market).history, now_us, b"", base)
    found = DIALECTS[market].rest(call)
    assert found.status == status, found.body
    return json.loads(found.body)


NEWEST = [
    (SPOT, "/spotMarket/level2Depth50:BTC-USDT", "book_snapshot/003_level2Depth50_BTC-USDT.json"),
    (SPOT, "/market/candles:BTC-USDT_1min", "candles/002_candles_BTC-USDT-1hour.json"),
    (SPOT, "/market/match:BTC-USDT", "trades/002_match_XRP-USDT.json"),
    (SPOT, "/market/snapshot:BTC-USDT", "ticker_24h/005_snapshot_BTC-USDT.json"),
    (SPOT, "/market/ticker:BTC-USDT", "book_ticker/001_ticker_all.json"),
    (FUTURES, "/contractMarket/tickerV2:XBTUSDTM", "book_ticker/004_tickerV2_XBTUSDTM.json"),
    (FUTURES, "/contractMarket/level2Depth50:XBTUSDTM", "book_snapshot/003_level2Depth50_ETHUSDTM_trimmed.json"),
    (FUTURES, "/contractMarket/execution:XBTUSDTM", "trades/001_execution_XBTUSDTM.json"),
    (FUTURES, "/contractMarket/snapshot:XBTUSDTM", "ticker_24h/003_snapshot_XBTUSDTM.json"),
    (FUTURES, "/contractMarket/limitCandle:XBTUSDTM_1min", "candles/001_limitCandle_XBTUSDTM.json"),
]
LEFT_OUT = {"marketChange1h", "marketChange4h"}
"""The simulator keeps no sums of the last hour and of the last four."""


@pytest.mark.wire
@pytest.mark.parametrize(("market", "topic", "file"), NEWEST, ids=[topic for _, topic, _ in NEWEST])
def test_messages_have_the_keys_and_types_of_the_newest_real_one(
    wire: Path, market: str, topic: str, file: str
) -> None:
    newest = json.loads((wire / market / file).read_text())
    if isinstance(newest["data"].get("data"), dict):
        newest["data"]["data"] = {key: one for key, one in newest["data"]["data"].items() if key not in LEFT_OUT}
    for _, frame in sent(market)[topic][:50]:
        assert shape(json.loads(frame)) == shape(newest)


@pytest.mark.wire
def test_marks_and_rates_have_the_keys_of_the_newest_real_ones(wire: Path) -> None:
    newest = {
        message["subject"]: message
        for name in ("mark_price/003_instrument_XBTUSDTM.json", "funding/004_instrument_XBTUSDCM.json")
        for message in [json.loads((wire / FUTURES / name).read_text())]
    }
    found = [json.loads(frame) for _, frame in sent(FUTURES)["/contract/instrument:XBTUSDTM"]]
    assert {message["subject"] for message in found} == set(newest)
    for message in found:
        assert shape(message) == shape(newest[message["subject"]])


@BOTH
def test_messages_fill_every_stream_of_every_symbol_and_none_is_rejected(market: str) -> None:
    venue, dialect = exchange(market), DIALECTS[market]
    connection = duckdb.connect(config={"threads": 1})
    listed = venue.instruments([answer(market, path) for path in venue.instrument_paths()])
    assert {one.symbol: one.contract_size for one in listed} == {
        one.symbol: one.contract_size for one in dialect.venue.listings.values()
    }
    values = ", ".join(
        f"('{one.venue_symbol}', '{one.symbol}', {one.contract_size}::DOUBLE, {one.funding_interval_hours or 'NULL'}"
        "::DOUBLE)"
        for one in listed
    )
    connection.execute(
        f"CREATE TABLE instruments AS SELECT 'kucoin' AS exchange, '{venue.market.market_type}' AS market_type, * "
        f"FROM (VALUES {values}) AS t(venue_symbol, symbol, contract_size, funding_interval_hours)"
    )
    normalizer = Normalizer(connection, "instruments")
    incoming: dict[str, list[bytes]] = defaultdict(list)
    for topic, messages in sent(market).items():
        channel = venue.route(messages[0][1])
        assert channel is not None, topic
        incoming[channel] += [frame for _, frame in messages]
    for poll in venue.polls(venue.market.symbols, venue.market.streams):
        incoming[poll.channel].append(rest_frame(poll.request, json.dumps(answer(market, poll.request)).encode()))
    for channel, messages in incoming.items():
        outcome = normalizer.normalize(venue, channel, messages, [END_US] * len(messages))
        assert outcome.rejected == []
        assert not any(outcome.known.values()), outcome.known
    for stream in MARKETS[market].streams:
        symbols = connection.execute(f"SELECT DISTINCT symbol FROM {staged(stream)}").fetchall()
        assert {row[0] for row in symbols} == set(SYMBOLS), stream
    if market == FUTURES:
        found = connection.execute(
            f"SELECT symbol, funding_rate, next_funding_time, countdown_secs FROM {staged('funding_rates')} "
            "WHERE next_funding_time IS NOT NULL"
        ).fetchall()
        assert len(found) == len(SYMBOLS)
        assert all(0 <= countdown <= 8 * 3600 and at.minute == at.second == 0 for _, _, at, countdown in found)
        usd = connection.execute(
            f"SELECT open_interest_usd / open_interest FROM {staged('open_interest')} WHERE symbol = 'BTCUSDT'"
        ).fetchone()
        assert usd is not None
        marks = payloads(FUTURES, "/contract/instrument:XBTUSDTM")
        assert usd[0] == pytest.approx([one["markPrice"] for one in marks if "markPrice" in one][-1], rel=1e-3)


@pytest.mark.parametrize("symbol", ["BTC-USDT", "PNUT-USDT"])
def test_increments_merged_with_a_rest_snapshot_are_the_simulated_book(symbol: str) -> None:
    books = exchange(SPOT).books["level2"]
    topic = f"/market/level2:{symbol}"
    increments = [
        (when, frame) for when, name, frame in frames(4, START_US, END_US, market=SPOT, topics=[topic]) if name == topic
    ]
    asked_us = END_US - MINUTE_US + 20_050_000
    path = f"/api/v1/market/orderbook/level2_100?symbol={symbol}"
    assert books.decode_snapshot is not None
    snapshot = books.decode_snapshot(rest_frame(path, json.dumps(answer(SPOT, path, asked_us)).encode()))
    whole = {
        book["timestamp"]: (book["bids"], book["asks"])
        for book in payloads(SPOT, f"/spotMarket/level2Depth50:{symbol}")
    }
    merger = BookMerger("book", books.decode, books.sequencing)
    compared = 0
    for when, frame in increments:
        if when > asked_us and merger.waiting:
            merger.join(snapshot, when)
        merger.absorb(frame, when)
        if not merger.waiting:
            bids, asks = whole[when // 1000]
            found = [[list(level[:2]) for level in side] for side in merger.book.top(20)]
            assert found == [bids, asks]
            assert len(merger.book.bids) == len(merger.book.asks) == 20
            compared += 1
    assert compared > 30


@BOTH
def test_trades_add_up_to_the_bars_on_the_socket_and_over_rest(market: str) -> None:
    symbol = DIALECTS[market].venue.listings["BTCUSDT"].venue_symbol
    topics = ("match", "candles") if market == SPOT else ("execution", "limitCandle")
    root = "/market" if market == SPOT else "/contractMarket"
    trades = payloads(market, f"{root}/{topics[0]}:{symbol}")
    bars = {}
    for one in payloads(market, f"{root}/{topics[1]}:{symbol}_1min"):
        bars[int(one["candles"][0])] = one["candles"]
    if market == SPOT:
        path = f"/api/v1/market/candles?symbol={symbol}&type=1min&startAt=0&endAt={END_US // 1_000_000}"
        past = {int(row[0]): row for row in answer(market, path)["data"]}
        assert list(past) == sorted(past, reverse=True)
    else:
        path = f"/api/v1/kline/query?symbol={symbol}&granularity=1&from=0&to={END_US // 1000}"
        rows = answer(market, path)["data"]
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        past = {row[0] // 1000: [row[0], row[1], row[4], row[2], row[3], None, row[5]] for row in rows}
    for minute in range(MINUTES - 1):
        begin = START_US // 1_000_000 + 60 * minute
        inside = [one for one in trades if begin <= int(one.get("time", one.get("ts"))) // 10**9 < begin + 60]
        prices, sizes = [float(one["price"]) for one in inside], [float(one["size"]) for one in inside]
        expected = [prices[0], prices[-1], max(prices), min(prices)]
        volume = 5 if market == SPOT else 6
        for bar in (bars[begin], past[begin]):
            assert [float(value) for value in bar[1:5]] == expected
            assert float(bar[volume]) == pytest.approx(sum(sizes))
        if market == SPOT:
            turnover = sum(price * size for price, size in zip(prices, sizes, strict=True))
            assert float(bars[begin][6]) == pytest.approx(turnover)
            assert bars[begin] == past[begin]


@BOTH
def test_numbers_of_trades_and_books_rise(market: str) -> None:
    for topic in sent(market):
        numbers = [int(one["sequence"]) for one in payloads(market, topic) if "sequence" in one]
        if "snapshot" not in topic:
            assert all(later > earlier for earlier, later in pairwise(numbers)), topic


@BOTH
def test_the_latest_trades_over_rest_are_those_on_the_socket(market: str) -> None:
    symbol = DIALECTS[market].venue.listings["ETHUSDT"].venue_symbol
    path, topic = (
        (f"/api/v1/market/histories?symbol={symbol}", f"/market/match:{symbol}")
        if market == SPOT
        else (f"/api/v1/trade/history?symbol={symbol}", f"/contractMarket/execution:{symbol}")
    )
    answered = answer(market, path)["data"]
    live = payloads(market, topic)[-100:][::-1]
    assert len(answered) == 100
    for one, other in zip(answered, live, strict=True):
        for key in ("sequence", "price", "size", "side"):
            assert one[key] == other[key]


def test_funding_over_rest_is_that_of_the_socket() -> None:
    rate = next(one for one in payloads(FUTURES, "/contract/instrument:ETHUSDTM")[::-1] if "fundingRate" in one)
    contract = answer(FUTURES, "/api/v1/contracts/ETHUSDTM")["data"]
    assert contract["fundingFeeRate"] == rate["fundingRate"]
    left_ms = contract["nextFundingRateDateTime"] - (END_US - 1) // 1000
    assert abs(left_ms - contract["nextFundingRateTime"]) <= 1
    assert answer(FUTURES, "/api/v1/contract/funding-rates?symbol=ETHUSDTM&from=0&to=1")["data"] == []


def test_a_settlement_is_pushed_and_answered_with_the_rate_that_ran_until_then() -> None:
    start = START_US - START_US % (4 * 3600 * 1_000_000) + 4 * 3600 * 1_000_000 - 2 * MINUTE_US
    topic = "/contract/instrument:WIFUSDTM"
    made = [
        json.loads(frame)["data"]
        for _, _, frame in frames(4, start, start + 3 * MINUTE_US, ["WIFUSDT"], market=FUTURES, topics=[topic])
    ]
    rates = [one for one in made if "fundingRate" in one]
    (settled,) = [one for one in rates if one["granularity"] == 4 * 3_600_000]
    running = [one for one in rates if one["granularity"] == 60_000]
    assert settled["timestamp"] * 1000 == start + 2 * MINUTE_US
    assert settled["fundingRate"] == running[1]["fundingRate"]


# -- protocol ----------------------------------------------------------------------------------------------


@BOTH
def test_a_token_opens_sockets_of_its_market_for_a_day(market: str) -> None:
    venue, dialect = exchange(market), DIALECTS[market]
    request = venue.ticket()
    assert request is not None
    (socket,) = venue.sockets(["BTCUSDT"], ["trades"], venue.endpoints)
    address = venue.address(socket, answer(market, request))
    url = urlsplit(address.url)
    assert (url.scheme, url.netloc, url.path) == ("ws", "127.0.0.1:1", f"/{market}/endpoint")
    assert address.ping_interval_s == 18.0
    query = dict(parse_qsl(url.query))
    day_us = kucoin_token.VALID_US
    assert dialect.refuses(query, END_US) == ""
    assert dialect.refuses(query, END_US - 1 + day_us) == ""
    assert dialect.refuses(query, END_US + 1 + day_us) == "token is expired"
    assert dialect.refuses({}, END_US) == "token is invalid"
    for damaged in (query["token"][:-1], "9" + query["token"], "x.y", "\xe9.1"):
        assert dialect.refuses({"token": damaged}, END_US) == "token is invalid"
    other = DIALECTS[FUTURES if market == SPOT else SPOT]
    assert other.refuses(query, END_US) == "token is invalid"
    assert json.loads(dialect.greeting(query)) == {"id": query["connectId"], "type": "welcome"}
    answer(market, "/api/v1/bullet-public", status=405)


@BOTH
def test_requests_are_answered_as_the_exchange_does(market: str) -> None:
    venue, dialect = exchange(market), DIALECTS[market]
    (socket,) = venue.sockets(venue.market.symbols, venue.market.streams, venue.endpoints)
    names = [topic.name for topic in socket.topics]
    assert sorted(dialect.topics(venue.market.symbols)) == sorted(names)
    for name in names:
        assert (dialect.route(name), dialect.symbol(name) in SYMBOLS) == ("public", True)
    for number, part in enumerate(venue.batches(names)):
        done = dialect.answer(venue.subscribe(part, number), (), ())
        assert json.loads(done.body) == {"id": str(number), "type": "ack"}
        assert list(done.add) == list(part)
        gone = dialect.answer(venue.unsubscribe(part, number), part, ())
        assert list(gone.remove) == list(part)
    assert venue.heartbeat.payload is not None
    pong = json.loads(dialect.answer(venue.heartbeat.payload(), (), ()).body)
    assert pong["type"] == "pong"


@BOTH
def test_errors_are_those_of_the_exchange(market: str) -> None:
    venue, dialect = exchange(market), DIALECTS[market]
    known = dialect.topics(["BTCUSDT"])[0]

    def said(message: bytes, subscribed: list[str] | None = None, refused: list[str] | None = None) -> dict[str, Any]:
        found = dialect.answer(message, subscribed or [], refused or [])
        assert not found.add
        body: dict[str, Any] = json.loads(found.body)
        return body

    unknown = said(venue.subscribe(["/market/nothing:X"], 1))
    assert (unknown["id"], unknown["type"], unknown["code"]) == ("1", "error", 404)
    assert said(venue.subscribe([known], 2), refused=[known])["code"] == 404
    many = [f"/market/match:S{number}" for number in range(dialect.most_topics)]
    full = said(venue.subscribe([known], 3), subscribed=many)
    text = f"exceed max subscription count limitation of {dialect.most_topics} per session"
    assert (full["code"], full["data"]) == (509, text)
    for damaged in (
        b"{",
        b"[]",
        b'{"type":"ping"}',
        b'{"id":"1","type":"subscribe"}',
        b'{"id":"1","type":"x","topic":""}',
    ):
        assert said(damaged)["type"] == "error"
    strange = known.replace(known.partition(":")[2].partition("_")[0], "NOSUCH")
    silent = dialect.answer(venue.subscribe([strange], 4), (), ())
    assert json.loads(silent.body)["type"] == "ack"
    assert dialect.symbol(strange) is None


@BOTH
def test_rest_refuses_in_the_words_of_the_exchange(market: str) -> None:
    venue = exchange(market)
    answer(market, "/api/v1/nothing", status=404)
    path = "/api/v1/market/histories" if market == SPOT else "/api/v1/trade/history"
    for query, reason in (("", "symbol is required"), ("?symbol=X", "symbol not exists")):
        refused = answer(market, path + query)
        assert refused == {"code": "400100", "msg": reason}
        assert venue.refusal(refused) == f"400100: {reason}"
    limited = DIALECTS[market].rate_limited(429, 7, END_US)
    assert (limited.status, json.loads(limited.body)) == (429, {"code": "429000", "msg": "Too Many Requests"})
    assert limited.headers["gw-ratelimit-reset"] == "7000"
