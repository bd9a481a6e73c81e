"""The simulated Gate.io: frames like the real ones, consistent with each other, with REST and with what is read."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import LocalBook
from orderflow_streaming.exchanges.protocol import ControlKind, Request, rest_frame
from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.writing.normalize import Normalizer

GATE = exchange("gateio_futures")
DIALECT = DIALECTS["gateio_futures"]
START_US = 1_760_000_040_000_000
SEED = 6
NOW_US = START_US + 4 * MINUTE_US + 31_400_000
ROOT = "/api/v4/futures/usdt"


@cache
def five_minutes() -> dict[str, list[tuple[int, bytes]]]:
    """Time of sending and frame, by topic, of all listings."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for when_us, topic, frame in frames(SEED, START_US, START_US + 5 * MINUTE_US, SYMBOLS, market="gateio_futures"):
        found[topic].append((when_us, frame))
    return found


def results(topic: str) -> list[Any]:
    found = (json.loads(frame)["result"] for _, frame in five_minutes()[topic])
    return [item for result in found for item in (result if isinstance(result, list) else [result])]


@pytest.fixture(scope="module")
def feed() -> Feed:
    """The same five minutes, and what REST knows of them."""
    market, made = Market(SEED, START_US, [DIALECT.venue], SYMBOLS), Feed(DIALECT)
    for _ in range(5):
        made.add(Batch(market.minute()))
    return made


def rest(feed: Feed, path: str, status: int = 200, now_us: int = NOW_US) -> Any:
    bare, _, query = path.partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    answer = DIALECT.rest(RestCall("GET", bare, parameters, feed.history, now_us))
    assert answer.status == status, answer.body
    return json.loads(answer.body)


def known(connection: duckdb.DuckDBPyConnection, feed: Feed) -> str:
    """The instruments as the daemon learns them from the simulator."""
    answers = [rest(feed, path if isinstance(path, str) else path.path) for path in GATE.instrument_paths()]
    connection.execute(
        "CREATE TABLE known (symbol VARCHAR, exchange VARCHAR, market_type VARCHAR, venue_symbol VARCHAR, "
        "contract_size DOUBLE, funding_interval_hours DOUBLE)"
    )
    for one in GATE.instruments(answers):
        values = [one.symbol, one.venue_symbol, one.contract_size, one.funding_interval_hours]
        connection.execute("INSERT INTO known VALUES (?, 'gateio', 'futures', ?, ?, ?)", values)
    return "known"


# -- frames -------------------------------------------------------------------------------------------------

REAL = {
    "futures.trades.BTC_USDT": "trades/006_trades_BTC-USDT.json",
    "futures.book_ticker.BTC_USDT": "book_ticker/003_book_ticker_BTC-USDT.json",
    "futures.tickers.BTC_USDT": "ticker_24h/006_tickers_BTC-USDT.json",
    "futures.order_book.BTC_USDT": "book_snapshot/010_order_book_all_BTC-USD.json",
}
ADDED = {"l"}
"""Depth of a book, which frames have since 2025-04."""


@pytest.mark.wire
@pytest.mark.parametrize("topic", REAL)
def test_frames_have_the_keys_of_the_newest_real_ones(wire: Path, topic: str) -> None:
    real = json.loads((wire / "gateio_futures" / REAL[topic]).read_text())
    made = json.loads(five_minutes()[topic][0][1])
    assert made.keys() == real.keys()
    assert made["event"] == real["event"]
    sides = [
        message["result"][0] if isinstance(message["result"], list) else message["result"] for message in (made, real)
    ]
    assert set(sides[0]) - ADDED == set(sides[1]) - ADDED


@pytest.mark.wire
def test_changes_have_the_keys_of_the_newest_real_ones(wire: Path, feed: Feed) -> None:
    folder = wire / "gateio_futures"
    for topic, name in (
        ("futures.order_book_update.BTC_USDT", "book_delta/005_order_book_update_BTC-USDT_trimmed.json"),
        ("futures.obu.ob.BTC_USDT.50", "book_delta/004_obu_ob-BTC-USDT-50_trimmed.json"),
    ):
        real = json.loads((folder / name).read_text())["result"]
        sent = [json.loads(entry[3])["result"] for entry in feed.between([topic], NOW_US, NOW_US + 5_000_000)]
        assert any(result.keys() == real.keys() for result in sent)
        assert all(result.keys() <= real.keys() for result in sent)
    real = json.loads((folder / "book_snapshot/008_obu_ob-NVDA-USDT-50.json").read_text())["result"]
    (first,) = DIALECT.joined("futures.obu.ob.BTC_USDT.50", feed.history, NOW_US)
    assert json.loads(first)["result"].keys() == real.keys()


def test_messages_fill_every_stream_of_every_symbol_and_none_is_rejected(feed: Feed) -> None:
    connection = duckdb.connect(config={"threads": 1})
    normalizer = Normalizer(connection, known(connection, feed))
    by_channel: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for topic, sent in five_minutes().items():
        for when_us, frame in sent:
            assert GATE.topic(frame) == topic
            channel = GATE.route(frame)
            assert channel is not None
            by_channel[channel].append((when_us, frame))
    for channel, sent in by_channel.items():
        outcome = normalizer.normalize(GATE, channel, [frame for _, frame in sent], [when for when, _ in sent])
        assert outcome.rejected == []
    for stream in GATE.market.streams:
        found = {row[0] for row in connection.sql(f"SELECT DISTINCT symbol FROM staged_{stream}").fetchall()}
        assert found == set(SYMBOLS) if stream != "liquidations" else found, stream
    late = connection.sql("SELECT count(*) FROM staged_trades WHERE timestamp > received_at").fetchall()
    assert late == [(0,)]


def test_liquidations_close_positions_of_the_side_that_lost(feed: Feed) -> None:
    """A forced buy closes a short; what the simulated market did says which it was."""
    closures = {
        (listing.venue_symbol, minute.start_us // 1_000 + closed.when_us // 1_000): closed
        for minute in _minutes()
        for listing in (minute.listing,)
        for closed in minute.liquidations
    }
    items = [item for topic in five_minutes() if "public_liquidates" in topic for item in results(topic)]
    assert items
    for item in items:
        closed = closures[item["contract"], item["time"]]
        assert (float(item["size"]) > 0) == closed.buy
    connection = duckdb.connect(config={"threads": 1})
    normalizer = Normalizer(connection, known(connection, feed))
    sent = [frame for topic, found in five_minutes().items() if "public_liquidates" in topic for _, frame in found]
    normalizer.normalize(GATE, "futures.public_liquidates", sent, [START_US] * len(sent))
    rows = connection.sql("SELECT side, count(*) FROM staged_liquidations GROUP BY side").fetchall()
    shorts = sum(float(item["size"]) > 0 for item in items)
    assert dict(rows) == {side: count for side, count in (("short", shorts), ("long", len(items) - shorts)) if count}


@cache
def _minutes() -> list[Minute]:
    market = Market(SEED, START_US, [DIALECT.venue], SYMBOLS)
    return [minute for _ in range(5) for minute in market.minute()]


def test_trades_add_up_to_the_bars_on_the_socket_and_over_rest(feed: Feed) -> None:
    trades = results("futures.trades.WIF_USDT")
    closed = [bar for bar in results("futures.candlesticks.1m_WIF_USDT") if bar["w"]]
    asked = rest(feed, f"{ROOT}/candlesticks?contract=WIF_USDT&interval=1m&from={START_US // 10**6}&to={2**39}")
    assert len(closed) == 4
    for bar, told in zip(closed, asked, strict=False):
        own = [trade for trade in trades if bar["t"] <= trade["create_time"] < bar["t"] + 60]
        assert float(bar["v"]) == pytest.approx(sum(abs(float(trade["size"])) for trade in own))
        value = sum(abs(float(trade["size"])) * float(trade["price"]) for trade in own)
        assert float(bar["a"]) == pytest.approx(value * DIALECT.venue.listings["WIFUSDT"].contract_size, abs=1e-3)
        if own:
            prices = [float(trade["price"]) for trade in own]
            assert [float(bar[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
        assert {key: told[key] for key in "tvohlc"} == {key: bar[key] for key in "tvohlc"}
        assert told["sum"] == bar["a"]


def test_the_ticker_tells_the_state_of_its_second(feed: Feed) -> None:
    listing = DIALECT.venue.listings["ETHUSDT"]
    history = feed.history["ETHUSDT"]
    for when_us, frame in five_minutes()["futures.tickers.ETH_USDT"]:
        if when_us < START_US + 4 * MINUTE_US or when_us >= START_US + 5 * MINUTE_US:
            continue
        (told,) = json.loads(frame)["result"]
        state = history.second(when_us)
        assert float(told["mark_price"]) == pytest.approx(state.mark)
        assert float(told["total_size"]) == pytest.approx(state.open_interest * listing.lot)
        assert told["funding_next_apply"] * 1_000_000 == state.next_us
        assert float(told["last"]) - float(told["change_price"]) > 0


# -- books --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["futures.order_book_update", "futures.obu"])
@pytest.mark.parametrize("after_us", [0, 1, 50_000, 100_000, 30_050_000, MINUTE_US, MINUTE_US + 100_000])
def test_changes_applied_to_the_first_book_give_the_simulated_one(channel: str, after_us: int) -> None:
    """Whenever somebody joins, also at the very instant of a push and between two minutes."""
    market, feed, rule = Market(SEED, START_US, [DIALECT.venue], ["ETHUSDT"]), Feed(DIALECT), GATE.books[channel]
    topic = f"{channel}.{'ob.ETH_USDT.50' if channel == 'futures.obu' else 'ETH_USDT'}"
    now_us, minutes = START_US + after_us, list[Minute]()
    book = LocalBook(rule.sequencing)
    while len(minutes) < 2:
        (minute,) = market.minute()
        minutes.append(minute)
        feed.add(Batch([minute]))
        if minute.start_us <= now_us < minute.start_us + MINUTE_US:
            for first in DIALECT.joined(topic, feed.history, now_us):
                book.apply(rule.decode(first))
            if rule.decode_snapshot is not None:
                path = f"{ROOT}/order_book?contract=ETH_USDT&limit=100&with_id=true"
                answer = json.dumps(rest(feed, path, now_us=now_us)).encode()
                book.apply(rule.decode_snapshot(rest_frame(path, answer)))
    listing = DIALECT.venue.listings["ETHUSDT"]
    simulated = {
        int(when): [
            [(int(tick), int(size)) for tick, size in zip(ticks[row], lots[row], strict=True)]
            for ticks, lots in ((minute.books.bid, minute.books.bid_lots), (minute.books.ask, minute.books.ask_lots))
        ]
        for minute in minutes
        for row, when in enumerate(minute.books.push_us)
    }
    checked = 0
    for when_us, _, _, frame, _ in feed.between([topic], now_us, minutes[-1].start_us + MINUTE_US):
        book.apply(rule.decode(frame))
        held = [
            [(round(float(price) / listing.tick), round(float(size) / listing.lot)) for price, size in side]
            for side in book.top(50)
        ]
        assert held == simulated[when_us]
        checked += 1
    assert checked > 400


def test_whole_books_and_changes_have_the_same_ids(feed: Feed) -> None:
    books = feed.history["BTCUSDT"].minute(NOW_US).books
    topics = ["futures.order_book.BTC_USDT", "futures.order_book_update.BTC_USDT"]
    ids: dict[str, list[int]] = {topic: [] for topic in topics}
    for _, _, topic, frame, _ in feed.between(topics, START_US + 4 * MINUTE_US + 1, START_US + 5 * MINUTE_US):
        result = json.loads(frame)["result"]
        ids[topic].append(result.get("id", result.get("u")))
    assert ids[topics[0]] == ids[topics[1]]
    assert len(ids[topics[0]]) > 0.8 * np.unique(books.last_us).size


# -- requests -----------------------------------------------------------------------------------------------


def answered(message: Any, subscribed: tuple[str, ...] = (), refused: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """The simulated venue's answer and what the collector reads in it."""
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    answer = DIALECT.answer(raw, subscribed, refused)
    return answer, GATE.control(answer.body)


def test_every_request_of_the_collector_is_acknowledged() -> None:
    (socket,) = GATE.sockets(SYMBOLS, GATE.market.streams, GATE.endpoints)
    names = [topic.name for topic in socket.topics]
    taken: list[str] = []
    for number, part in enumerate(GATE.batches(names), 1):
        answer, control = answered(GATE.subscribe(part, number))
        assert (control.kind, control.request) == (ControlKind.ACK, number)
        taken += answer.add
    assert sorted(taken) == sorted(names) == sorted(DIALECT.topics(SYMBOLS))
    answer, control = answered(GATE.unsubscribe(names[:1], 99))
    assert (answer.remove, control.kind) == (names[:1], ControlKind.ACK)
    assert GATE.heartbeat.payload is not None
    assert answered(GATE.heartbeat.payload())[1].kind is ControlKind.PONG


def test_a_request_is_refused_whole() -> None:
    answer, control = answered(GATE.subscribe(["futures.trades.BTC_USDT", "futures.trades.NO_USDT"], 4))
    assert (list(answer.add), control.kind, control.request) == ([], ControlKind.REFUSED, 4)
    assert "unknown currency pair NO_USDT" in control.reason
    answer, control = answered(GATE.subscribe(["futures.trades.BTC_USDT"], 5), refused=("futures.trades.BTC_USDT",))
    assert (list(answer.refused), control.kind) == (["futures.trades.BTC_USDT"], ControlKind.REFUSED)


def test_a_depth_is_subscribed_once_and_an_unknown_one_stays_silent() -> None:
    topic = "futures.obu.ob.BTC_USDT.50"
    assert answered(GATE.subscribe([topic], 1), subscribed=(topic,))[1].kind is ControlKind.ACK
    answer, control = answered(GATE.subscribe(["futures.obu.ob.NO_USDT.50"], 2))
    assert (control.kind, list(answer.add)) == (ControlKind.ACK, ["futures.obu.ob.NO_USDT.50"])
    assert DIALECT.symbol("futures.obu.ob.NO_USDT.50") is None


@pytest.mark.parametrize(
    "message",
    [b"{", b"[]", {"channel": "futures.trades"}, {"channel": "futures.trades", "event": "subscribe", "payload": [5]},
     {"channel": "futures.no", "event": "subscribe", "payload": ["BTC_USDT"]},
     {"channel": "futures.candlesticks", "event": "subscribe", "payload": ["5m", "BTC_USDT"]}],
)  # fmt: skip
def test_what_cannot_be_read_adds_nothing(message: Any) -> None:
    answer, _ = answered(message)
    assert list(answer.add) == []
    assert "error" in json.loads(answer.body)


@pytest.mark.parametrize(
    ("path", "status", "label"),
    [
        ("/api/v4/futures/usdt/no", 404, "NOT_FOUND"),
        ("/fapi/v1/depth", 404, "NOT_FOUND"),
        (f"{ROOT}/trades", 400, "MISSING_REQUIRED_PARAM"),
        (f"{ROOT}/trades?contract=NO_USDT", 400, "CONTRACT_NOT_FOUND"),
        (f"{ROOT}/contracts/NO_USDT", 400, "CONTRACT_NOT_FOUND"),
        (f"{ROOT}/trades?contract=BTC_USDT&limit=0", 400, "INVALID_PARAM_VALUE"),
        (f"{ROOT}/trades?contract=BTC_USDT&from=x", 400, "INVALID_PARAM_VALUE"),
        (f"{ROOT}/candlesticks?contract=BTC_USDT&interval=1m&from=5", 400, "INVALID_PARAM_VALUE"),
        (f"{ROOT}/candlesticks?contract=BTC_USDT&interval=1m&from=5&limit=5", 400, "INVALID_PARAM_VALUE"),
    ],
)
def test_rest_refuses_in_the_words_of_the_exchange(feed: Feed, path: str, status: int, label: str) -> None:
    assert rest(feed, path, status)["label"] == label


@pytest.mark.parametrize("stream", GATE.histories)
def test_the_past_is_that_of_the_socket(feed: Feed, stream: str) -> None:
    """Asked for the way the daemon does, page by page, and made rows of."""
    connection = duckdb.connect(config={"threads": 1})
    normalizer = Normalizer(connection, known(connection, feed))
    history = GATE.histories[stream]
    pages = history.pages("BTCUSDT", START_US, START_US + 3 * MINUTE_US)
    request: Request | None = next(pages)
    while request is not None:
        answer = rest(feed, request.path)
        frame = rest_frame(request, json.dumps(answer).encode())
        assert normalizer.normalize(GATE, history.channel, [frame], [NOW_US]).rejected == []
        try:
            request = pages.send(answer)
        except StopIteration:
            request = None
    rows = connection.sql(f"SELECT * FROM staged_{stream}").to_arrow_table().to_pylist()
    if stream == "trades":
        first_s, last_s = START_US // 10**6, START_US // 10**6 + 180
        sent = {
            str(trade["id"]): float(trade["price"])
            for trade in results("futures.trades.BTC_USDT")
            if first_s <= trade["create_time_ms"] / 1000 <= last_s
        }
        assert {row["trade_id"]: row["price"] for row in rows} == sent
    elif stream == "candles":
        assert [row["is_closed"] for row in rows] == [True] * 3
