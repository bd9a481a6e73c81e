"""Frames of the simulated Binance: the shape of real ones, and consistent with one another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orderflow_streaming.exchanges.binance.futures import BinanceFutures as Collected
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.writing.normalize import Normalizer

START_US = 1_760_000_040_000_000
MINUTE_US = 60_000_000
SYMBOLS = ("BTCUSDT", "PNUTUSDT")
DIALECT = DIALECTS["binance_futures"]


@cache
def ten_minutes() -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Decoded payloads by topic."""
    by_topic = defaultdict(list)
    for when_us, topic, frame in frames(4, START_US, START_US + 10 * MINUTE_US, SYMBOLS):
        message = json.loads(frame)
        assert list(message) == ["stream", "data"]
        assert message["stream"] == topic
        by_topic[topic].append((when_us, message["data"]))
    return dict(by_topic)


def payloads(topic: str) -> list[dict[str, Any]]:
    return [data for _, data in ten_minutes()[topic]]


def shape(value: Any) -> Any:
    """Keys and JSON types; lists by their first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def recorded(wire: Path, folders: list[str], event: str) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for file in sorted((wire / "binance_futures" / folder).glob("*.json*")):
            for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
                message = json.loads(line)
                data = message.get("data", message) if isinstance(message, dict) else message
                for one in data if isinstance(data, list) else [data]:
                    if isinstance(one, dict) and one.get("e") == event:
                        yield one


KINDS = [
    ("btcusdt@aggTrade", ["trades"], "aggTrade"),
    ("btcusdt@bookTicker", ["book_ticker"], "bookTicker"),
    ("btcusdt@depth20@100ms", ["book_delta", "book_snapshot"], "depthUpdate"),
    ("btcusdt@markPrice@1s", ["mark_price"], "markPriceUpdate"),
    ("btcusdt@ticker", ["ticker_24h"], "24hrTicker"),
    ("btcusdt@kline_1m", ["candles"], "kline"),
    ("pnutusdt@forceOrder", ["liquidations"], "forceOrder"),
]


@pytest.mark.wire
@pytest.mark.parametrize(("topic", "folders", "event"), KINDS, ids=[event for *_, event in KINDS])
def test_frames_have_the_keys_and_types_of_the_newest_real_one(
    wire: Path, topic: str, folders: list[str], event: str
) -> None:
    def completeness(message: dict[str, Any]) -> tuple[bool, int]:
        """A frame of test fixtures may carry an old time and new fields, or none of the nested ones."""
        return "st" in message, message["E"]

    newest = max((one for one in recorded(wire, folders, event) if len(one) > 2), key=completeness)
    if event == "depthUpdate":
        newest = {**newest, "b": [["1", "1"]], "a": [["1", "1"]]}
    seen = payloads(topic) if topic in ten_minutes() else _liquidations()
    assert seen
    for one in seen:
        assert shape(one) == shape(newest)


def _liquidations() -> list[dict[str, Any]]:
    quiet = frames(4, START_US, START_US + 120 * MINUTE_US, ["PNUTUSDT"], topics=["pnutusdt@forceOrder"])
    return [json.loads(frame)["data"] for _, _, frame in quiet]


@pytest.mark.parametrize("symbol", ["btcusdt", "pnutusdt"])
def test_depth_and_book_ticker_tell_the_same_book(symbol: str) -> None:
    touches = {one["u"]: one for one in payloads(f"{symbol}@bookTicker")}
    previous, matched = None, 0
    for book in payloads(f"{symbol}@depth20@100ms"):
        assert previous is None or book["pu"] == previous
        assert book["pu"] < book["U"] <= book["u"]
        assert len(book["b"]) == len(book["a"]) == 20
        bids, asks = [float(price) for price, _ in book["b"]], [float(price) for price, _ in book["a"]]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert asks[0] > bids[0]
        previous = book["u"]
        if book["u"] in touches:
            matched += 1
            touch = touches[book["u"]]
            assert [touch["b"], touch["B"]] == book["b"][0]
            assert [touch["a"], touch["A"]] == book["a"][0]
    assert matched > 20


def test_differences_applied_to_a_rest_snapshot_give_the_snapshots() -> None:
    """The rule of the exchange: start from REST, drop what is older, then chain by ``pu``."""
    market = Market(4, START_US, [DIALECT.venue], ["PNUTUSDT"])
    feed = Feed(DIALECT)
    for _ in range(2):
        feed.add(Batch(market.minute()))
    at = START_US + 30_050_000
    answer = DIALECT.rest(RestCall("GET", "/fapi/v1/depth", {"symbol": "PNUTUSDT", "limit": "50"}, feed.history, at))
    snapshot = json.loads(answer.body)
    book = {side: dict(snapshot[name]) for side, name in (("b", "bids"), ("a", "asks"))}
    topics = ["pnutusdt@depth@100ms", "pnutusdt@depth20@100ms"]
    tops = {
        one["u"]: one
        for _, _, topic, frame, _ in feed.between(topics, START_US, START_US + 2 * MINUTE_US)
        if topic == topics[1]
        for one in [json.loads(frame)["data"]]
    }
    last, checked = None, 0
    for *_, frame, _ in feed.between(topics[:1], START_US, START_US + 2 * MINUTE_US):
        change = json.loads(frame)["data"]
        if change["u"] <= snapshot["lastUpdateId"]:
            continue
        assert change["pu"] == (snapshot["lastUpdateId"] if last is None else last)
        last = change["u"]
        for side in ("b", "a"):
            for price, size in change[side]:
                book[side].pop(price, None)
                if float(size):
                    book[side][price] = size
        top = tops[change["u"]]
        assert sorted(book["b"].items(), key=lambda level: -float(level[0])) == [tuple(level) for level in top["b"]]
        assert sorted(book["a"].items(), key=lambda level: float(level[0])) == [tuple(level) for level in top["a"]]
        checked += 1
    assert checked > 300


def test_slower_depth_streams_have_their_own_chain() -> None:
    slow = frames(4, START_US, START_US + 2 * MINUTE_US, ["BTCUSDT"], topics=["btcusdt@depth5@500ms"])
    books = [json.loads(frame)["data"] for _, _, frame in slow]
    assert 230 <= len(books) <= 240
    for before, after in pairwise(books):
        assert after["E"] - before["E"] in (500, 1000)
        assert after["pu"] == before["u"] < after["U"] <= after["u"]
    assert len(books[0]["b"]) == 5


@pytest.mark.parametrize("symbol", ["btcusdt", "pnutusdt"])
def test_candles_are_the_aggregate_of_the_trades(symbol: str) -> None:
    trades = payloads(f"{symbol}@aggTrade")
    ids = [trade["a"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    closed = [one["k"] for one in payloads(f"{symbol}@kline_1m") if one["k"]["x"]]
    assert len(closed) == 9
    for kline in closed:
        own = [trade for trade in trades if kline["t"] <= trade["T"] <= kline["T"]]
        prices = [float(trade["p"]) for trade in own]
        bought = [trade for trade in own if not trade["m"]]
        assert [float(kline[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
        assert float(kline["v"]) == pytest.approx(sum(float(trade["q"]) for trade in own))
        assert float(kline["q"]) == pytest.approx(sum(float(trade["q"]) * float(trade["p"]) for trade in own))
        assert float(kline["V"]) == pytest.approx(sum(float(trade["q"]) for trade in bought))
        assert float(kline["Q"]) == pytest.approx(sum(float(trade["q"]) * float(trade["p"]) for trade in bought))
        assert (kline["f"], kline["L"]) == (own[0]["f"], own[-1]["l"])
        assert kline["n"] == kline["L"] - kline["f"] + 1


def test_the_ticker_sums_up_the_trades_so_far() -> None:
    trades = payloads("btcusdt@aggTrade")
    when_us, ticker = ten_minutes()["btcusdt@ticker"][-1]
    own = [trade for trade in trades if trade["T"] < when_us // 1_000]
    prices = [float(trade["p"]) for trade in own]
    volume = sum(float(trade["q"]) for trade in own)
    value = sum(float(trade["q"]) * float(trade["p"]) for trade in own)
    assert float(ticker["v"]) == pytest.approx(volume)
    assert float(ticker["q"]) == pytest.approx(value, rel=1e-6)
    assert float(ticker["w"]) == pytest.approx(value / volume, rel=1e-6)
    assert [float(ticker[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
    assert float(ticker["p"]) == pytest.approx(prices[-1] - prices[0])
    assert ticker["n"] == own[-1]["l"] - own[0]["f"] + 1
    assert ticker["Q"] == own[-1]["q"]


def test_a_minute_without_trades_still_has_its_candle() -> None:
    quiet = frames(2, START_US, START_US + 3 * MINUTE_US, ["BRETTUSDT"], activity=0.001, topics=["brettusdt@kline_1m"])
    kline = next(json.loads(frame)["data"]["k"] for _, _, frame in quiet)
    assert (kline["n"], kline["f"], kline["L"], kline["v"], kline["x"]) == (0, -1, -1, "0", True)
    assert kline["o"] == kline["h"] == kline["l"] == kline["c"]


def test_mark_price_every_second_with_the_next_settlement() -> None:
    marks = payloads("btcusdt@markPrice@1s")
    assert [one["E"] for one in marks] == [START_US // 1_000 + 1_000 * second for second in range(1, 600)]
    assert all(one["T"] >= one["E"] and one["T"] % 28_800_000 == 0 for one in marks)
    assert all(one["T"] % 14_400_000 == 0 for one in payloads("pnutusdt@markPrice@1s"))


def test_frames_come_in_order_and_are_the_same_every_time() -> None:
    first = list(frames(4, START_US, START_US + 2 * MINUTE_US, SYMBOLS))
    assert [when for when, *_ in first] == sorted(when for when, *_ in first)
    assert first == list(frames(4, START_US, START_US + 2 * MINUTE_US, SYMBOLS))
    trades = [entry for entry in first if entry[1] == "btcusdt@aggTrade"]
    alone = list(frames(4, START_US, START_US + 2 * MINUTE_US, SYMBOLS, topics=["btcusdt@aggTrade"]))
    assert alone == trades, "what else is heard must not matter"


def test_every_frame_becomes_a_row() -> None:
    exchange, connection = Collected(), duckdb.connect()
    normalizer = Normalizer(connection)
    by_channel: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for when_us, _, frame in frames(4, START_US, START_US + 3 * MINUTE_US, SYMBOLS):
        channel = exchange.route(frame)
        assert channel is not None
        by_channel[channel].append((frame, when_us))
    for channel, sent in by_channel.items():
        outcome = normalizer.normalize(exchange, channel, [frame for frame, _ in sent], [when for _, when in sent])
        assert not outcome.rejected
        assert set(outcome.staged.values()) == {len(sent)}


@pytest.fixture(scope="module")
def history() -> dict[str, History]:
    market = Market(4, START_US, [DIALECT.venue], SYMBOLS)
    feed = Feed(DIALECT)
    for _ in range(10):
        feed.add(Batch(market.minute()))
    return feed.history


NOW_US = START_US + 9 * MINUTE_US + 31_400_000


def rest(history: dict[str, History], path: str, now_us: int = NOW_US, **query: str) -> tuple[int, Any, int]:
    answer = DIALECT.rest(RestCall("GET", f"/fapi/v1/{path}", query, history, now_us))
    return answer.status, json.loads(answer.body), answer.weight


def test_rest_tells_what_the_streams_told(history: dict[str, History]) -> None:
    now_ms = NOW_US // 1_000
    status, trades, weight = rest(history, "aggTrades", symbol="BTCUSDT", limit="5")
    sent = [one for one in payloads("btcusdt@aggTrade") if one["T"] <= now_ms]
    assert (status, weight) == (200, 20)
    assert trades == [{key: one[key] for key in ("a", "p", "q", "f", "l", "T", "m")} for one in sent[-5:]]
    _, gap, _ = rest(history, "aggTrades", symbol="BTCUSDT", fromId=str(sent[100]["a"]), limit="3")
    assert [one["a"] for one in gap] == [one["a"] for one in sent[100:103]]

    _, klines, _ = rest(history, "klines", symbol="BTCUSDT", interval="1m", limit="3")
    closed = {one["k"]["t"]: one["k"] for one in payloads("btcusdt@kline_1m") if one["k"]["x"]}
    assert [row[0] for row in klines] == [START_US // 1_000 + 60_000 * minute for minute in (7, 8, 9)]
    for row in klines[:2]:
        kline = closed[row[0]]
        assert row == [*(kline[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")), "0"]
    assert klines[2][4] == sent[-1]["p"]

    _, touch, _ = rest(history, "ticker/bookTicker", symbol="BTCUSDT")
    last = [one for when, one in ten_minutes()["btcusdt@bookTicker"] if when <= NOW_US][-1]
    assert (touch["lastUpdateId"], touch["bidPrice"], touch["askQty"]) == (last["u"], last["b"], last["A"])

    _, premium, _ = rest(history, "premiumIndex", symbol="BTCUSDT")
    mark = next(one for one in payloads("btcusdt@markPrice@1s") if one["E"] == now_ms // 1_000 * 1_000)
    assert (premium["markPrice"], premium["indexPrice"], premium["lastFundingRate"]) == (
        mark["p"],
        mark["i"],
        mark["r"],
    )
    assert (premium["nextFundingTime"], premium["time"]) == (mark["T"], mark["E"])

    _, ticker, _ = rest(history, "ticker/24hr", symbol="BTCUSDT", now_us=START_US + 9 * MINUTE_US + 30_000_000)
    streamed = next(
        one for when, one in ten_minutes()["btcusdt@ticker"] if when == START_US + 9 * MINUTE_US + 30_000_000
    )
    for name, key in (
        ("lastPrice", "c"),
        ("volume", "v"),
        ("quoteVolume", "q"),
        ("weightedAvgPrice", "w"),
        ("count", "n"),
    ):
        assert ticker[name] == streamed[key]


REST_SHAPES = [
    ("depth", {"symbol": "BTCUSDT"}, "rest_book_snapshot/002_book_snapshot.json"),
    ("openInterest", {"symbol": "BTCUSDT"}, "rest_open_interest/001_open_interest_BTCUSDT.json"),
    ("premiumIndex", {"symbol": "BTCUSDT"}, "rest_mark_funding/004_mark_funding_BTCUSDT.json"),
    ("ticker/24hr", {"symbol": "BTCUSDT"}, "rest_ticker/002_ticker_BCHUSDT.json"),
    ("ticker/bookTicker", {"symbol": "BTCUSDT"}, "rest_book_ticker/003_book_ticker_BTCUSDT.json"),
]


@pytest.mark.wire
@pytest.mark.parametrize(("path", "query", "file"), REST_SHAPES, ids=[path for path, *_ in REST_SHAPES])
def test_rest_bodies_have_the_shape_of_real_ones(
    history: dict[str, History], wire: Path, path: str, query: dict[str, str], file: str
) -> None:
    real = json.loads((wire / "binance_futures" / file).read_text())
    assert shape(rest(history, path, **query)[1]) == shape(real)


@pytest.mark.wire
def test_instruments_have_the_shape_of_real_ones(history: dict[str, History], wire: Path) -> None:
    real = json.loads((wire / "binance_futures/rest_instruments/002_instruments_BTCUSDT_trimmed.json").read_text())
    body = rest(history, "exchangeInfo")[1]
    assert set(body) == set(real)
    assert set(body["symbols"][0]) == set(real["symbols"][0])
    assert {entry["filterType"] for entry in body["symbols"][0]["filters"]} == {
        entry["filterType"] for entry in real["symbols"][0]["filters"]
    }
    instruments = {one.symbol: one for one in Collected().instruments([body, rest(history, "fundingInfo")[1]])}
    assert (instruments["BTCUSDT"].tick_size, instruments["BTCUSDT"].lot_size) == (0.1, 0.001)
    assert instruments["BTCUSDT"].funding_interval_hours == 8
    assert instruments["PNUTUSDT"].funding_interval_hours == 4


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("depth", {}, -1102),
        ("depth", {"symbol": "NOPE"}, -1121),
        ("depth", {"symbol": "BTCUSDT", "limit": "7"}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": "many"}, -1102),
        ("aggTrades", {"symbol": "BTCUSDT", "startTime": "5", "endTime": "4"}, -1023),
    ],
)
def test_rest_refuses_as_the_exchange_does(
    history: dict[str, History], path: str, query: dict[str, str], code: int
) -> None:
    status, body, _ = rest(history, path, **query)
    assert status == 400
    assert body["code"] == code
    assert set(body) == {"code", "msg"}


def test_settlements_are_listed_once_paid() -> None:
    settled = 1_760_025_600_000_000
    market = Market(4, settled - 2 * MINUTE_US, [DIALECT.venue], ["BTCUSDT"])
    feed = Feed(DIALECT)
    for _ in range(3):
        feed.add(Batch(market.minute()))
    _, none, _ = rest(feed.history, "fundingRate", now_us=settled - 1, symbol="BTCUSDT")
    _, one, _ = rest(feed.history, "fundingRate", now_us=settled, symbol="BTCUSDT")
    assert none == []
    assert [(row["symbol"], row["fundingTime"]) for row in one] == [("BTCUSDT", settled // 1_000)]
    assert set(one[0]) == {"symbol", "fundingTime", "fundingRate", "markPrice"}
