"""Simulated Binance spot and Bybit: frames like real ones, consistent with one another and with REST."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import LocalBook
from orderflow_streaming.exchanges.merging import Merger
from orderflow_streaming.exchanges.protocol import rest_frame
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged

START_US = 1_760_000_040_000_000
MINUTE_US = 60_000_000
MARKETS = ("binance_spot", "bybit_futures", "bybit_spot")


@cache
def sent(market: str) -> tuple[tuple[int, str, bytes], ...]:
    """Four minutes of all listed symbols."""
    listed = tuple(DIALECTS[market].venue.listings)
    return tuple(frames(4, START_US, START_US + 4 * MINUTE_US, listed, market=market))


def payloads(market: str, topic: str) -> list[dict[str, Any]]:
    return [json.loads(frame) for _, name, frame in sent(market) if name == topic]


@cache
def histories(market: str) -> dict[str, History]:
    dialect = DIALECTS[market]
    feed, world = Feed(dialect), Market(4, START_US, [dialect.venue], ("BTCUSDT", "WIFUSDT"))
    for _ in range(4):
        feed.add(Batch(world.minute()))
    return feed.history


def asked(market: str, path: str, **query: object) -> tuple[int, Any]:
    """Status and decoded answer, at the end of the four minutes."""
    texts = {name: str(value) for name, value in query.items()}
    call = RestCall("GET", path, texts, histories(market), START_US + 4 * MINUTE_US - 1)
    answer = DIALECTS[market].rest(call)
    return answer.status, json.loads(answer.body) if answer.body[:1] in b"[{" else None


# -- frames and rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("market", MARKETS)
def test_every_stream_of_every_listed_symbol_is_filled_and_nothing_rejected(market: str) -> None:
    protocol = exchange(market)
    (socket,) = protocol.sockets(protocol.market.symbols, protocol.market.streams, protocol.endpoints)
    topics = {topic.name: topic for topic in socket.topics}
    assert set(topics) == set(DIALECTS[market].topics(protocol.market.symbols))
    mergers: dict[str, Merger] = {
        name: merger
        for name, topic in topics.items()
        if (merger := protocol.merger(topic.channel, name)) is not None and topic.merged
    }
    channels: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for when_us, name, frame in sent(market):
        assert protocol.topic(frame) == name
        topic = topics[name]
        channels[topic.channel].append((when_us, frame))
        if name in mergers and (merged := mergers[name].absorb(frame, when_us)):
            channels[topic.merged].append((when_us, merged))
    assert not any(merger.waiting for merger in mergers.values())
    with duckdb.connect(config={"threads": 1}) as connection:
        normalizer = Normalizer(connection)
        for channel, received in channels.items():
            outcome = normalizer.normalize(
                protocol, channel, [frame for _, frame in received], [w for w, _ in received]
            )
            assert outcome.rejected == []
        for stream in protocol.market.streams:
            query = f"SELECT DISTINCT symbol FROM {staged(stream)}"
            filled = {row[0] for row in connection.execute(query).fetchall()}
            if stream == "liquidations":
                assert filled, "some position is liquidated in four minutes"
            else:
                assert filled == set(protocol.market.symbols), stream


def shape(value: Any) -> Any:
    """Keys and JSON types; lists by their first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


NEWEST = [
    ("binance_spot", "btcusdt@ticker", "ticker_24h/007_24hrTicker_btcusdt.json"),
    ("binance_spot", "btcusdt@kline_1m", "candles/001_kline_btcusdt.json"),
    ("binance_spot", "btcusdt@bookTicker", "book_ticker/002_book_ticker_ETHUSDT.json"),
    ("binance_spot", "btcusdt@depth20@100ms", "book_snapshot/002_book_snapshot_flmusdt.json"),
    ("bybit_futures", "publicTrade.BTCUSDT", "trades/001_publicTrade_snapshot_BTCUSDT.json"),
    ("bybit_futures", "orderbook.1.BTCUSDT", "book_snapshot/002_orderbook_snapshot_BTCUSDT.json"),
    ("bybit_futures", "orderbook.50.BTCUSDT", "book_snapshot/001_orderbook_snapshot_BTCUSDT_trimmed.json"),
    ("bybit_futures", "tickers.BTCUSDT", "ticker_24h/008_tickers_snapshot_BTCUSDT.json"),
    ("bybit_futures", "kline.1.BTCUSDT", "candles/001_kline_snapshot_BTCUSDT.json"),
    ("bybit_spot", "publicTrade.BTCUSDT", "trades/002_publicTrade_snapshot_BTCUSDT.json"),
    ("bybit_spot", "orderbook.1.BTCUSDT", "book_snapshot/001_orderbook_snapshot_BTCUSDT.json"),
    ("bybit_spot", "orderbook.50.BTCUSDT", "book_snapshot/004_orderbook_snapshot_BTCUSDT.json"),
    ("bybit_spot", "tickers.BTCUSDT", "ticker_24h/003_tickers_snapshot_BTCUSDT.json"),
]


@pytest.mark.wire
@pytest.mark.parametrize(
    ("market", "topic", "newest"), NEWEST, ids=[f"{market}-{topic}" for market, topic, _ in NEWEST]
)
def test_frames_have_the_keys_their_order_and_the_types_of_the_newest_real_one(
    wire: Path, market: str, topic: str, newest: str
) -> None:
    real = json.loads((wire / market / newest).read_text())
    simulated = payloads(market, topic)[0]
    if market.startswith("binance"):
        real, simulated = real.get("data", real), simulated["data"]
    assert shape(simulated) == shape(real)
    assert list(simulated) == list(real)
    if isinstance(real.get("data"), dict):
        assert list(simulated["data"]) == list(real["data"])


# -- consistency -----------------------------------------------------------------------------------------------


def test_single_trades_are_consecutive_and_sum_to_the_closed_candle() -> None:
    trades = [message["data"] for message in payloads("binance_spot", "btcusdt@trade")]
    identities = [trade["t"] for trade in trades]
    assert identities == list(range(identities[0], identities[0] + len(identities)))
    assert all(float(trade["q"]) > 0 for trade in trades)
    closed = [m["data"]["k"] for m in payloads("binance_spot", "btcusdt@kline_1m") if m["data"]["k"]["x"]]
    assert len(closed) == 3
    for bar in closed:
        inside = [trade for trade in trades if bar["t"] <= trade["T"] <= bar["T"]]
        assert (bar["n"], bar["f"], bar["L"]) == (len(inside), inside[0]["t"], inside[-1]["t"])
        assert float(bar["v"]) == pytest.approx(sum(float(trade["q"]) for trade in inside))
        assert float(bar["h"]) == max(float(trade["p"]) for trade in inside)
        bought = sum(float(trade["q"]) for trade in inside if not trade["m"])
        assert float(bar["V"]) == pytest.approx(bought)


@pytest.mark.parametrize("market", ["bybit_futures", "bybit_spot"])
def test_trades_sum_to_the_confirmed_candle(market: str) -> None:
    trades = [trade for message in payloads(market, "publicTrade.BTCUSDT") for trade in message["data"]]
    assert len({trade["i"] for trade in trades}) == len(trades)
    closed = [bar for m in payloads(market, "kline.1.BTCUSDT") for bar in m["data"] if bar["confirm"]]
    assert len(closed) == 3
    for bar in closed:
        inside = [trade for trade in trades if bar["start"] <= trade["T"] <= bar["end"]]
        assert float(bar["volume"]) == pytest.approx(sum(float(trade["v"]) for trade in inside))
        assert float(bar["turnover"]) == pytest.approx(sum(float(one["v"]) * float(one["p"]) for one in inside))
        assert (bar["open"], bar["close"]) == (inside[0]["p"], inside[-1]["p"])


@pytest.mark.parametrize("market", ["bybit_futures", "bybit_spot"])
def test_a_merged_book_is_the_simulated_one_whenever_one_joins(market: str) -> None:
    dialect, feed = DIALECTS[market], exchange(market).books["orderbook"]
    listing = dialect.venue.listings["WIFUSDT"]
    world, source = Market(9, START_US, [dialect.venue], ("WIFUSDT",)), Feed(dialect)
    joined_us = [START_US, START_US + 61_234_567, START_US + MINUTE_US]
    books = [LocalBook(feed.sequencing) for _ in joined_us]
    for minute in range(3):
        source.add(Batch(world.minute()))
        start_us = START_US + minute * MINUTE_US
        for place, (when, book) in enumerate(zip(joined_us, books, strict=True)):
            begins = start_us <= when < start_us + MINUTE_US
            if begins:
                (first,) = dialect.joined("orderbook.50.WIFUSDT", source.history, when)
                book.apply(feed.decode(first))
            if book.ready:
                from_us = when if begins else start_us
                for _, _, _, frame, _ in source.between(["orderbook.50.WIFUSDT"], from_us, start_us + MINUTE_US):
                    book.apply(feed.decode(frame))
                simulated = source.history["WIFUSDT"].minute(start_us + MINUTE_US - 1).books
                row = int((simulated.push_us < start_us + MINUTE_US).sum()) - 1
                for side, ticks, lots in (
                    (book.bids, simulated.bid[row], simulated.bid_lots[row]),
                    (book.asks, simulated.ask[row], simulated.ask_lots[row]),
                ):
                    expected = {round(tick * listing.tick, 6): size for tick, size in zip(ticks, lots, strict=True)}
                    merged = {round(price, 6): round(float(level[1]) / listing.lot) for price, level in side.items()}
                    assert merged == expected, (place, minute)


def test_differences_of_spot_books_join_their_snapshot() -> None:
    """The whole difference stream applied to a REST snapshot makes the twenty levels that are pushed beside it."""
    dialect, feed = DIALECTS["binance_spot"], exchange("binance_spot").books["depth"]
    assert feed.decode_snapshot is not None
    world, source = Market(9, START_US, [dialect.venue], ("WIFUSDT",)), Feed(dialect)
    source.add(Batch(world.minute()))
    at_us = START_US + 20_050_000
    path = "/api/v3/depth"
    answer = dialect.rest(RestCall("GET", path, {"symbol": "WIFUSDT", "limit": "1000"}, source.history, at_us))
    book = LocalBook(feed.sequencing)
    topics = ["wifusdt@depth@100ms", "wifusdt@depth20@100ms"]
    joined = False
    for when, _, topic, frame, _ in source.between(topics, START_US + 19_000_000, START_US + MINUTE_US):
        if not joined and when > at_us:
            book.apply(feed.decode_snapshot(rest_frame(f"{path}?symbol=WIFUSDT&limit=1000", answer.body)))
            joined = True
        if topic.endswith("depth@100ms"):
            book.apply(feed.decode(frame))
        elif joined:
            data = json.loads(frame)["data"]
            if data["lastUpdateId"] == book.last:
                bids, asks = book.top(20)
                assert [list(level) for level in bids] == data["bids"]
                assert [list(level) for level in asks] == data["asks"]
    assert joined


def test_the_ticker_that_changes_make_is_the_state_of_the_contract() -> None:
    merged: dict[str, Any] = {}
    for message in payloads("bybit_futures", "tickers.BTCUSDT"):
        merged |= message["data"]
    _, answer = asked("bybit_futures", "/v5/market/tickers", category="linear", symbol="BTCUSDT")
    names = ("markPrice", "indexPrice", "openInterest", "fundingRate", "nextFundingTime")
    assert set(names) <= merged.keys() & answer["result"]["list"][0].keys()
    assert merged["fundingIntervalHour"] == "8"


# -- REST ------------------------------------------------------------------------------------------------------


def test_spot_trades_of_the_past_are_those_streamed() -> None:
    streamed = {m["data"]["t"]: m["data"] for m in payloads("binance_spot", "btcusdt@trade")}
    status, first = asked("binance_spot", "/api/v3/aggTrades", symbol="BTCUSDT", startTime=0, endTime=2**50, limit=1)
    assert status == 200
    _, page = asked("binance_spot", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=first[0]["f"], limit=1000)
    assert page[0]["id"] == first[0]["f"]
    assert [row["id"] for row in page] == list(range(page[0]["id"], page[0]["id"] + len(page)))
    shared = [row for row in page if row["id"] in streamed]
    assert len(shared) > 100
    for row in shared:
        told = streamed[row["id"]]
        assert (row["price"], row["qty"], row["isBuyerMaker"]) == (told["p"], told["q"], told["m"])


def test_bybit_trades_of_the_past_are_those_streamed() -> None:
    for market, category in (("bybit_futures", "linear"), ("bybit_spot", "spot")):
        streamed = {one["i"]: one for m in payloads(market, "publicTrade.BTCUSDT") for one in m["data"]}
        _, answer = asked(market, "/v5/market/recent-trade", category=category, symbol="BTCUSDT", limit=60)
        rows = answer["result"]["list"]
        assert len(rows) == 60
        assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)
        shared = [row for row in rows if row["execId"] in streamed]
        assert shared
        for row in shared:
            told = streamed[row["execId"]]
            assert (row["price"], row["size"], row["side"]) == (told["p"], told["v"], told["S"])


@pytest.mark.parametrize("market", MARKETS)
def test_instruments_are_read_as_they_are_listed(market: str) -> None:
    protocol, listings = exchange(market), DIALECTS[market].venue.listings
    answers = []
    for path in protocol.instrument_paths():
        where, _, query = str(path).partition("?")
        answers.append(asked(market, where, **dict(part.split("=") for part in query.split("&")))[1])
    found = {one.symbol: one for one in protocol.instruments(answers)}
    assert set(found) == {"BTCUSDT", "WIFUSDT"}
    for symbol, one in found.items():
        assert one.tick_size == pytest.approx(listings[symbol].tick)
        assert one.lot_size == pytest.approx(listings[symbol].lot)
        assert one.funding_interval_hours == (listings[symbol].funding_hours if market == "bybit_futures" else None)


@pytest.mark.parametrize("market", MARKETS)
def test_the_past_becomes_the_rows_that_were_streamed(market: str) -> None:
    """Closed candles over REST, normalized, equal the last state of those on the socket."""
    protocol = exchange(market)
    pages = protocol.histories["candles"].pages("BTCUSDT", START_US, START_US + 3 * MINUTE_US)
    request = next(pages)
    where, _, query = request.path.partition("?")
    status, answer = asked(market, where, **dict(part.split("=") for part in query.split("&")))
    assert status == 200
    assert not protocol.refusal(answer)
    topic = "btcusdt@kline_1m" if market.startswith("binance") else "kline.1.BTCUSDT"
    streamed = [frame for _, name, frame in sent(market) if name == topic]
    columns = "open_time, close_time, interval, open, high, low, close, volume, quote_volume, is_closed"
    results = []
    for channel, given in (
        (protocol.histories["candles"].channel, [rest_frame(request, json.dumps(answer).encode())]),
        (str(protocol.route(streamed[0])), streamed),
    ):
        with duckdb.connect(config={"threads": 1}) as connection:
            received = [START_US + 5 * MINUTE_US] * len(given)
            assert Normalizer(connection).normalize(protocol, channel, given, received).rejected == []
            where_closed = f"SELECT {columns} FROM {staged('candles')} WHERE is_closed ORDER BY open_time"
            results.append(connection.execute(where_closed).fetchall())
    assert len(results[0]) == 3
    assert results[0] == results[1]


def refusals() -> Mapping[str, tuple[str, str, dict[str, Any]]]:
    return {
        "no symbol": ("binance_spot", "/api/v3/klines", {"interval": "1m"}),
        "unlisted": ("binance_spot", "/api/v3/depth", {"symbol": "BRETTUSDT"}),
        "interval": ("bybit_spot", "/v5/market/kline", {"category": "spot", "symbol": "BTCUSDT", "interval": "2"}),
        "category": ("bybit_spot", "/v5/market/kline", {"category": "linear", "symbol": "BTCUSDT", "interval": "1"}),
        "symbol": ("bybit_futures", "/v5/market/open-interest", {"category": "linear", "intervalTime": "5min"}),
    }


@pytest.mark.parametrize("name", refusals())
def test_bad_requests_are_refused_in_the_venues_words(name: str) -> None:
    market, path, query = refusals()[name]
    status, answer = asked(market, path, **query)
    if market.startswith("binance"):
        assert status == 400
        assert answer["code"] < 0
    else:
        assert (status, answer["retCode"]) == (200, 10001)
        assert exchange(market).refusal(answer).startswith("10001: ")


def test_one_bad_topic_fails_a_whole_request_of_bybit() -> None:
    dialect = DIALECTS["bybit_futures"]
    protocol = exchange("bybit_futures")
    good = "publicTrade.BTCUSDT"
    for topics, subscribed, refused, reason in (
        ([good, "markPrice.BTCUSDT"], [], [], "error:handler not found,topic:markPrice.BTCUSDT"),
        ([good], [good], [], f"error:already subscribed,topic:{good}"),
        ([good], [], [good], f"error:handler not found,topic:{good}"),
    ):
        answer = dialect.answer(protocol.subscribe(topics, 3), subscribed, refused)
        control = protocol.control(answer.body)
        assert (control.kind.value, control.request, control.reason) == ("refused", 3, reason)
        assert not answer.add
    done = dialect.answer(protocol.subscribe([good], 4), [], [])
    assert (protocol.control(done.body).kind.value, list(done.add)) == ("ack", [good])
