"""The simulated OKX: frames like the real ones, consistent with each other, with REST and with what is collected."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import LocalBook
from orderflow_streaming.exchanges.protocol import ControlKind, Request
from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.simulator.records import Minute
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged
from tests.streaming.processes import Daemon, Simulation, running, wait_for

OKX = exchange("okx_futures")
DIALECT = DIALECTS["okx_futures"]
START_US = 1_760_000_040_000_000
PNUT = "PNUT-USDT-SWAP"
SEED = 6
"""With liquidations in the last two of five minutes."""


@cache
def five_minutes() -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Time of sending and message, by topic, of all listings."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for when_us, topic, frame in frames(SEED, START_US, START_US + 5 * MINUTE_US, SYMBOLS, market="okx_futures"):
        found[topic].append((when_us, json.loads(frame)))
    return found


def data(topic: str) -> list[Any]:
    return [row for _, message in five_minutes()[topic] for row in message["data"]]


@pytest.fixture(scope="module")
def feed() -> Feed:
    """The same five minutes, and what REST knows of them."""
    market, made = Market(SEED, START_US, [DIALECT.venue], SYMBOLS), Feed(DIALECT)
    for _ in range(5):
        made.add(Batch(market.minute()))
    return made


NOW_US = START_US + 4 * MINUTE_US + 31_400_000


def rest(history: dict[str, History], path: str, now_us: int = NOW_US) -> tuple[int, Any]:
    bare, _, query = path.partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    answer = DIALECT.rest(RestCall("GET", bare, parameters, history, now_us))
    return answer.status, json.loads(answer.body)


def instruments(connection: duckdb.DuckDBPyConnection) -> str:
    columns = ", ".join(f'"{column.name}" {column.type}' for column in INSTRUMENTS.columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE known ({columns})")
    for one in DIALECT.venue.listings.values():
        values = [one.symbol, one.venue_symbol, one.contract_size, one.tick, one.lot, one.funding_hours]
        connection.execute("INSERT INTO known VALUES (?, 'okx', 'futures', ?, 'live', ?, ?, ?, ?, now())", values)
    return "known"


# -- frames ----------------------------------------------------------------------------------------------

REAL = {
    "bbo-tbt:BTC-USDT-SWAP": "book_ticker/recorded_okx_swap_btc_usdt_swap_20260926_snapshot_trimmed.jsonl",
    "books:BTC-USDT-SWAP": "book_delta/recorded_okx_swap_btc_usdt_swap_20260926_snapshot_trimmed.jsonl",
    "mark-price:BTC-USDT-SWAP": "mark_price/001_mark-price_BTC-USDT-SWAP.json",
    "index-tickers:BTC-USDT": "other/001_index-tickers_BTC-USDT.json",
    "funding-rate:BTC-USDT-SWAP": "funding/001_funding-rate_BTC-USDT-SWAP.json",
    "open-interest:BTC-USDT-SWAP": "open_interest/001_open-interest_BTC-USDT-SWAP.json",
    "tickers:BTC-USDT-SWAP": "ticker_24h/001_tickers_BTC-USDC-SWAP.json",
    "liquidation-orders:BTC-USDT-SWAP": "liquidations/001_liquidation-orders_MINA-USDT-SWAP.json",
}


def shape(value: Any) -> Any:
    """Keys and types, without values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@pytest.mark.wire
@pytest.mark.parametrize("topic", REAL)
def test_frames_have_the_shape_of_real_ones(wire: Path, topic: str) -> None:
    real = json.loads((wire / "okx_futures" / REAL[topic]).read_text().splitlines()[0])
    sent = [message for _, message in five_minutes()[topic]]
    if topic.startswith("liquidation"):
        sent = [message for name, found in five_minutes().items() if "liquidation" in name for _, message in found]
    whole = next(message for message in sent if _is_whole(message["data"][0]))
    assert shape(whole) == shape(real)


def _is_whole(row: dict[str, Any]) -> bool:
    return all(row.get(side, True) for side in ("asks", "bids"))


@pytest.mark.wire
def test_both_channels_of_fills_are_like_the_real_one(wire: Path) -> None:
    name = "trades/recorded_okx_swap_btc_usdt_swap_20260926_snapshot_trimmed.jsonl"
    real = json.loads((wire / "okx_futures" / name).read_text().splitlines()[0])
    topics = ["trades:BTC-USDT-SWAP"]
    sent = frames(SEED, START_US, START_US + MINUTE_US, ["BTCUSDT"], market="okx_futures", topics=topics)
    summed = [json.loads(frame) for *_, frame in sent]
    assert shape(summed[0]) == shape(real)
    single = [message for _, message in five_minutes()["trades-all:BTC-USDT-SWAP"]][: len(summed)]
    assert [message["data"][0]["tradeId"] for message in single] == [row["data"][0]["tradeId"] for row in summed]
    assert "count" not in single[0]["data"][0]


def test_every_frame_becomes_a_row_of_every_stream() -> None:
    connection = duckdb.connect()
    normalizer = Normalizer(connection, instruments(connection))
    by_channel: dict[str, list[bytes]] = defaultdict(list)
    for topic, sent in five_minutes().items():
        for _, message in sent:
            frame = json.dumps(message, separators=(",", ":")).encode()
            channel = OKX.route(frame)
            assert channel is not None
            by_channel[channel].append(frame)
            expected = "liquidation-orders:SWAP" if topic.startswith("liquidation") else topic
            assert OKX.topic(frame) == expected
    for channel, raw in by_channel.items():
        outcome = normalizer.normalize(OKX, channel, raw, [START_US] * len(raw))
        assert not outcome.rejected
        assert sum(outcome.staged.values()) + sum(outcome.known.values()) == len(raw)
    for stream in OKX.market.streams:
        if stream not in ("orderbooks", "liquidations"):
            found = connection.sql(f"SELECT DISTINCT symbol FROM {staged(stream)}").fetchall()
            assert {symbol for (symbol,) in found} == set(SYMBOLS), stream
    assert connection.sql(f"SELECT count(*) FROM {staged('liquidations')}").fetchall()[0][0] > 0


def test_fills_add_up_to_candles() -> None:
    fills = data(f"trades-all:{PNUT}")
    identities = [int(fill["tradeId"]) for fill in fills]
    assert identities == list(range(identities[0], identities[0] + len(identities)))
    closed = [row for row in data(f"candle1m:{PNUT}") if row[8] == "1"]
    assert len(closed) == 4
    for opens, *prices, contracts, coins, value, _ in closed:
        own = [fill for fill in fills if int(opens) <= int(fill["ts"]) < int(opens) + 60_000]
        paid = [float(fill["px"]) for fill in own]
        assert [float(price) for price in prices] == [paid[0], max(paid), min(paid), paid[-1]]
        assert float(contracts) == pytest.approx(sum(float(fill["sz"]) for fill in own))
        assert float(coins) == pytest.approx(float(contracts) * 10)
        assert float(value) == pytest.approx(10 * sum(float(fill["px"]) * float(fill["sz"]) for fill in own))


def test_a_day_so_far_is_the_sum_of_its_fills() -> None:
    when_us, message = five_minutes()["tickers:BTC-USDT-SWAP"][-1]
    (row,) = message["data"]
    own = [fill for fill in data("trades-all:BTC-USDT-SWAP") if int(fill["ts"]) < when_us // 1_000]
    prices = [float(fill["px"]) for fill in own]
    assert [float(row[name]) for name in ("open24h", "high24h", "low24h", "last")] == [
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
    ]
    assert float(row["vol24h"]) == pytest.approx(sum(float(fill["sz"]) for fill in own))
    assert float(row["volCcy24h"]) == pytest.approx(float(row["vol24h"]) * 0.01)


# -- books -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_us", [0, 1, 50_000, 100_000, 30_050_000, MINUTE_US, MINUTE_US + 100_000])
def test_changes_applied_to_the_first_book_give_the_simulated_one(after_us: int) -> None:
    """Whenever somebody joins, also at the very instant of a push and between two minutes."""
    market, feed = Market(SEED, START_US, [DIALECT.venue], ["BTCUSDT"]), Feed(DIALECT)
    now_us, minutes = START_US + after_us, list[Minute]()
    topic, rule = "books:BTC-USDT-SWAP", OKX.books["books"]
    while len(minutes) < 2:
        (minute,) = market.minute()
        minutes.append(minute)
        feed.add(Batch([minute]))
        if minute.start_us <= now_us < minute.start_us + MINUTE_US:
            book = LocalBook(rule.sequencing)
            (first,) = DIALECT.joined(topic, feed.history, now_us)
            assert book.apply(rule.decode(first))
    listing = DIALECT.venue.listings["BTCUSDT"]
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
            [(round(float(price) / listing.tick), round(float(size) / listing.lot)) for price, size, *_ in side]
            for side in book.top(50)
        ]
        assert held == simulated[when_us]
        checked += 1
    assert checked > 400


def test_best_prices_are_the_top_of_the_book_with_the_same_id() -> None:
    tops = {row["seqId"]: row for row in data("bbo-tbt:BTC-USDT-SWAP")}
    book, rule, matched = LocalBook(OKX.books["books"].sequencing), OKX.books["books"], 0
    market, feed = Market(SEED, START_US, [DIALECT.venue], SYMBOLS), Feed(DIALECT)
    feed.add(Batch(market.minute()))
    book.apply(rule.decode(DIALECT.joined("books:BTC-USDT-SWAP", feed.history, START_US)[0]))
    for _, message in five_minutes()["books:BTC-USDT-SWAP"]:
        book.apply(rule.decode(json.dumps(message).encode()))
        if top := tops.get(book.last):
            matched += 1
            assert [[level[:2] for level in side] for side in book.top(1)] == [
                [level[:2] for level in top[side]] for side in ("bids", "asks")
            ]
    assert matched > 50


# -- REST ------------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_instruments_have_the_shape_of_real_ones(feed: Feed, wire: Path) -> None:
    name = "okx_futures/rest_instruments/002_list_only_BTC-USD-SWAP_trimmed.json"
    real = {row["instId"]: row for row in json.loads((wire / name).read_text())}["BTC-USDT-SWAP"]
    _, body = rest(feed.history, "/api/v5/public/instruments?instType=SWAP")
    assert shape(body["data"][0]) == shape(real)


def test_instruments_tell_what_is_simulated(feed: Feed) -> None:
    answers = [rest(feed.history, path)[1] for path in OKX.instrument_paths() if isinstance(path, str)]
    found = {one.symbol: one for one in OKX.instruments(answers)}
    assert set(found) == set(SYMBOLS)
    for symbol, listing in DIALECT.venue.listings.items():
        one = found[symbol]
        assert (one.venue_symbol, one.contract_size) == (listing.venue_symbol, listing.contract_size)
        assert (one.tick_size, one.lot_size) == (pytest.approx(listing.tick), pytest.approx(listing.lot))
        assert one.funding_interval_hours == listing.funding_hours


def pages(history: dict[str, History], stream: str, symbol: str, start_us: int, end_us: int) -> list[bytes]:
    """The frames of a past that was asked for."""
    asking, found = OKX.histories[stream].pages(symbol, start_us, end_us), []
    try:
        request: Request = next(asking)
        while True:
            status, body = rest(history, request.path)
            assert (status, body["code"]) == (200, "0"), body
            found.append(json.dumps({"rest": request.path, "data": body}).encode())
            request = asking.send(body)
    except StopIteration:
        return found


@pytest.mark.parametrize("stream", ["trades", "candles"])
def test_the_past_over_rest_is_what_the_sockets_told(feed: Feed, stream: str) -> None:
    connection = duckdb.connect()
    normalizer = Normalizer(connection, instruments(connection))
    topic = {"trades": "trades-all:BTC-USDT-SWAP", "candles": "candle1m:BTC-USDT-SWAP"}[stream]
    key = {"trades": "trade_id, timestamp", "candles": "open_time"}[stream]
    values = {
        "trades": "price, quantity, side",
        "candles": "close_time, interval, open, high, low, close, volume, quote_volume",
    }[stream]

    def staged_rows(channel: str, sent: list[bytes]) -> dict[Any, Any]:
        normalizer.clear()
        assert not normalizer.normalize(OKX, channel, sent, [NOW_US] * len(sent)).rejected
        found = connection.sql(f"SELECT ({key}), ({values}) FROM {staged(stream)} ORDER BY frame").fetchall()
        return dict(found)

    told = [json.dumps(message).encode() for when_us, message in five_minutes()[topic] if when_us <= NOW_US]
    streamed = staged_rows(OKX.route(told[0].replace(b": ", b":")) or "", told)
    end_us = START_US + 3 * MINUTE_US
    past = staged_rows(OKX.histories[stream].channel, pages(feed.history, stream, "BTCUSDT", START_US, end_us))
    assert len(past) == {"trades": len(past), "candles": 3}[stream] > 2
    assert past == {name: streamed[name] for name in past}
    if stream == "trades":
        until = datetime.fromtimestamp(end_us / 1e6, UTC).replace(tzinfo=None)
        assert set(past) == {name for name in streamed if name[1] < until}


def test_settlements_and_open_interest_are_listed_once_they_are_past() -> None:
    settled = 1_760_025_600_000_000
    market, feed = Market(SEED, settled - 6 * MINUTE_US, [DIALECT.venue], ["BTCUSDT"]), Feed(DIALECT)
    for _ in range(7):
        feed.add(Batch(market.minute()))
    name = "instId=BTC-USDT-SWAP"
    _, none = rest(feed.history, f"/api/v5/public/funding-rate-history?{name}", settled - 1)
    _, one = rest(feed.history, f"/api/v5/public/funding-rate-history?{name}", settled)
    assert (none["data"], [row["fundingTime"] for row in one["data"]]) == ([], [str(settled // 1_000)])
    path = f"/api/v5/rubik/stat/contracts/open-interest-history?{name}&period=5m"
    row, earlier = rest(feed.history, path, settled)[1]["data"]
    assert int(earlier[0]) == int(row[0]) - 300_000
    assert int(row[0]) == settled // 1_000 - 300_000
    assert float(row[2]) == pytest.approx(float(row[1]) * 0.01)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v5/market/books", 400, "50014"),
        ("/api/v5/market/books?instId=NOPE-USDT-SWAP", 200, "51001"),
        ("/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=7m", 200, "51000"),
        ("/api/v5/market/history-trades?instId=BTC-USDT-SWAP&after=soon", 200, "51000"),
        ("/api/v5/public/instruments?instType=NONE", 200, "51000"),
        ("/api/v5/market/nothing", 404, "404"),
    ],
)
def test_rest_refuses_as_the_exchange_does(feed: Feed, path: str, status: int, code: str) -> None:
    answered, body = rest(feed.history, path)
    assert (answered, body["code"]) == (status, code)
    assert OKX.refusal(body)


# -- subscriptions ---------------------------------------------------------------------------------------


def test_each_argument_has_its_answer() -> None:
    topics = ["books:BTC-USDT-SWAP", "books:NOPE-USDT-SWAP", "liquidation-orders:SWAP", "tickers:ETH-USDT-SWAP"]
    answer = DIALECT.answer(OKX.subscribe(topics, 7), [], ["tickers:ETH-USDT-SWAP"])
    controls = [OKX.control(body) for body in answer.more]
    assert [(control.kind, control.request, control.topics) for control in controls] == [
        (ControlKind.REFUSED if number % 2 else ControlKind.ACK, 7, (topic,)) for number, topic in enumerate(topics)
    ]
    assert list(answer.refused) == ["tickers:ETH-USDT-SWAP"]
    assert set(answer.add) == {
        "books:BTC-USDT-SWAP",
        *(f"liquidation-orders:{listing.venue_symbol}" for listing in DIALECT.venue.listings.values()),
    }
    assert set(DIALECT.answer(OKX.unsubscribe(topics, 8), [], []).remove) == {*answer.add, "tickers:ETH-USDT-SWAP"}


@pytest.mark.parametrize(
    "message", [b"", b"{", b"\xff", b"[]", b"5", b'{"op":"login","args":[]}', b'{"op":"subscribe"}']
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    answer = DIALECT.answer(message, [], [])
    assert json.loads(answer.body)["code"] == "60012"
    assert not answer.add


@pytest.mark.parametrize("argument", [5, None, [], {}, {"channel": "books"}, {"channel": ["x"], "instId": "y"}])
def test_an_argument_that_is_none_is_refused(argument: Any) -> None:
    answer = DIALECT.answer(json.dumps({"op": "subscribe", "args": [argument]}).encode(), [], [])
    assert json.loads(answer.more[0])["code"] == "60018"


def test_a_new_subscriber_is_told_of_recent_liquidations_again(feed: Feed) -> None:
    now_us, told = START_US + 5 * MINUTE_US - 1, 0
    for topic in (topic for topic in DIALECT.topics(SYMBOLS) if topic.startswith("liquidation")):
        again = [
            detail
            for frame in DIALECT.joined(topic, feed.history, now_us)
            for row in json.loads(frame)["data"]
            for detail in row["details"]
        ]
        told += len(again)
        assert again == [
            detail
            for when_us, message in five_minutes()[topic]
            if START_US + 4 * MINUTE_US <= when_us < now_us
            for row in message["data"]
            for detail in row["details"]
        ]
    assert told, "the last minute has none; choose another seed"


# -- the daemon ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulation, Daemon]]:
    folder = tmp_path_factory.mktemp("okx")
    market = ("--symbols", "BTCUSDT,ETHUSDT")
    with (
        running(Simulation(folder, "--market", "okx_futures", *market, "--activity", 8)) as simulation,
        running(Daemon(folder, simulation, "--markets", "okx_futures", *market)) as daemon,
    ):
        yield simulation, daemon


def test_the_daemon_fills_every_table(collecting: tuple[Simulation, Daemon]) -> None:
    _, daemon = collecting
    for stream in OKX.market.streams:
        if stream != "liquidations":
            for symbol in ("btcusdt", "ethusdt"):
                table = f"{symbol}_okx_futures_{stream}"
                wait_for(partial(daemon.count, table), what=f"rows of {table}")
    status = daemon.status()
    assert status["status"] == "HEALTHY", status["issues"]
    assert [(one["socket"], one["topics"], one["active"]) for one in status["sockets"]] == [
        ("public", 15, 15),
        ("business", 4, 4),
    ]
    assert all(stream["rejected"] == stream["gaps"] == stream["resyncs"] == 0 for stream in status["streams"])


def test_the_daemon_survives_what_the_venue_does_wrong(collecting: tuple[Simulation, Daemon]) -> None:
    simulation, daemon = collecting
    wait_for(lambda: daemon.count("btcusdt_okx_futures_trades") > 5, what="stored trades")
    simulation.fault(fault="skip", topic="trades-all:BTC-USDT-SWAP", count=2)
    simulation.fault(fault="skip", topic="books:BTC-USDT-SWAP", count=1)
    simulation.fault(fault="duplicate", topic="books:ETH-USDT-SWAP", count=2)
    simulation.fault(fault="duplicate", topic="bbo-tbt:ETH-USDT-SWAP", count=4)
    simulation.fault(fault="malformed", topic="mark-price:ETH-USDT-SWAP", count=1)
    simulation.fault(fault="malformed", topic="books:ETH-USDT-SWAP", count=1, after=1)

    def stream(name: str) -> dict[str, Any]:
        return next(one for one in daemon.status()["streams"] if one["stream"] == name)

    wait_for(lambda: stream("orderbooks")["resyncs"] == 2, what="two books asked for again")
    wait_for(lambda: stream("prices")["duplicates"] == 4, what="repeated quotes")
    wait_for(lambda: daemon.count("ops.quarantine") == 2, what="two frames in quarantine")
    wait_for(
        lambda: daemon.count("ops.gaps WHERE stream = 'trades' AND filled_at IS NOT NULL") >= 1, what="filled trades"
    )
    simulation.fault(fault="drop")
    wait_for(lambda: sum(one["reconnects"] for one in daemon.status()["sockets"]) == 2, what="two reconnects")
    before = daemon.count("btcusdt_okx_futures_orderbooks")
    wait_for(lambda: daemon.count("btcusdt_okx_futures_orderbooks") > before + 3, what="books after the drop")
    wait_for(
        lambda: daemon.count("ops.gaps WHERE stream IN ('trades', 'candles') AND filled_at IS NULL") == 0,
        what="everything that can be had again",
    )
    with daemon.store() as store:
        for table, key in (("prices", "source_seq"), ("trades", "trade_id"), ("orderbooks", "source_seq")):
            query = f"SELECT count(*) FROM {table} GROUP BY symbol, {key} HAVING count(*) > 1"
            assert store.query(query).num_rows == 0, table
        query = (
            "SELECT max(trade_id::BIGINT) - min(trade_id::BIGINT) AS span, count(*) AS n FROM trades GROUP BY symbol"
        )
        assert all(row["span"] == row["n"] - 1 for row in store.query(query).to_pylist()), "a fill is missing"


def test_a_refused_topic_is_unavailable_alone(tmp_path: Path) -> None:
    refused = "refuse,topic=tickers:ETH-USDT-SWAP,count=9"
    market = ("--symbols", "BTCUSDT,ETHUSDT")
    with (
        running(Simulation(tmp_path, "--market", "okx_futures", *market, "--fault", refused)) as simulation,
        running(Daemon(tmp_path, simulation, "--markets", "okx_futures", *market)) as daemon,
    ):
        wait_for(lambda: daemon.count("btcusdt_okx_futures_ticker_24h"), what="tickers of the other symbol")
        (missing,) = daemon.status()["unavailable"]
        assert (missing["symbol"], missing["topic"]) == ("ETHUSDT", "tickers:ETH-USDT-SWAP")
        assert missing["reason"].startswith("60018: ")
