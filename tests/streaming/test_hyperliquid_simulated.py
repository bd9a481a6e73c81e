"""The simulated Hyperliquid: frames like the real ones, consistent with each other, with REST and with what is read."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.hyperliquid.histories import info
from orderflow_streaming.exchanges.protocol import ControlKind, OutOfReachError, Request, rest_frame
from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.writing.normalize import Normalizer

HYPERLIQUID = exchange("hyperliquid_futures")
DIALECT = DIALECTS["hyperliquid_futures"]
START_US = 1_760_000_040_000_000
SEED = 6
NOW_US = START_US + 4 * MINUTE_US + 31_400_000


@cache
def five_minutes() -> dict[str, list[tuple[int, bytes]]]:
    """Time of sending and frame, by topic, of all listings."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for when_us, topic, frame in frames(
        SEED, START_US, START_US + 5 * MINUTE_US, SYMBOLS, market="hyperliquid_futures"
    ):
        found[topic].append((when_us, frame))
    return found


def data(topic: str) -> list[Any]:
    found = (json.loads(frame)["data"] for _, frame in five_minutes()[topic])
    return [item for sent in found for item in (sent if isinstance(sent, list) else [sent])]


@pytest.fixture(scope="module")
def feed() -> Feed:
    """The same five minutes, and what REST knows of them."""
    market, made = Market(SEED, START_US, [DIALECT.venue], SYMBOLS), Feed(DIALECT)
    for _ in range(5):
        made.add(Batch(market.minute()))
    return made


def rest(feed: Feed, request: Request, status: int = 200) -> Any:
    call = RestCall("POST", request.path, {}, feed.history, NOW_US, request.body or b"")
    answer = DIALECT.rest(call)
    assert answer.status == status, answer.body
    return json.loads(answer.body) if status == 200 else answer.body.decode()


# -- frames -------------------------------------------------------------------------------------------------

REAL = {
    "bbo.BTC": "book_ticker/001_bbo_BTC.json",
    "l2Book.BTC": "book_snapshot/001_l2Book_BTC.json",
    "trades.BTC": "trades/002_trades_BTC.json",
    "activeAssetCtx.BTC": "mark_price/002_activeAssetCtx_BTC.json",
    "candle.BTC.1m": "candles/001_candle_BTC.json",
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
def test_frames_have_the_shape_and_order_of_the_newest_real_ones(wire: Path, topic: str) -> None:
    real = json.loads((wire / "hyperliquid_futures" / REAL[topic]).read_text())
    made = json.loads(five_minutes()[topic][0][1])
    assert shape(made) == shape(real)
    assert json.dumps(shape(made)) == json.dumps(shape(real))


def test_messages_fill_every_stream_of_every_symbol_and_none_is_rejected() -> None:
    connection = duckdb.connect(config={"threads": 1})
    normalizer = Normalizer(connection)
    by_channel: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for topic, sent in five_minutes().items():
        for when_us, frame in sent:
            assert HYPERLIQUID.topic(frame) == topic
            channel = HYPERLIQUID.route(frame)
            assert channel is not None
            by_channel[channel].append((when_us, frame))
    for channel, sent in by_channel.items():
        outcome = normalizer.normalize(HYPERLIQUID, channel, [frame for _, frame in sent], [when for when, _ in sent])
        assert outcome.rejected == []
    for stream in HYPERLIQUID.market.streams:
        found = {row[0] for row in connection.sql(f"SELECT DISTINCT symbol FROM staged_{stream}").fetchall()}
        assert found == set(SYMBOLS), stream
    assert connection.sql("SELECT count(*) FROM staged_trades WHERE timestamp > received_at").fetchall() == [(0,)]
    repeated = connection.sql("SELECT count(*) - count(DISTINCT (symbol, timestamp)) FROM staged_prices").fetchall()
    assert repeated == [(0,)]


def test_trades_add_up_to_bars_and_have_ids_of_their_own() -> None:
    trades = data("trades.WIF")
    assert len({trade["tid"] for trade in trades}) == len(trades)
    bars = {bar["t"]: bar for bar in data("candle.WIF.1m")}
    assert len(bars) == 5
    for opens, bar in list(bars.items())[:4]:
        own = [trade for trade in trades if opens <= trade["time"] < opens + 60_000]
        assert float(bar["v"]) == pytest.approx(sum(float(trade["sz"]) for trade in own))
        if own:
            prices = [float(trade["px"]) for trade in own]
            assert [float(bar[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]


def test_best_prices_are_those_of_the_book() -> None:
    quotes = {when: json.loads(frame)["data"]["bbo"] for when, frame in five_minutes()["bbo.BTC"]}
    matched = 0
    for when_us, frame in five_minutes()["l2Book.BTC"]:
        book = json.loads(frame)["data"]["levels"]
        if when_us in quotes:
            assert [side[0]["px"] for side in book] == [side["px"] for side in quotes[when_us]]
            matched += 1
        assert [len(side) for side in book] == [20, 20]
    assert matched > 10


def test_contexts_tell_the_state_of_their_second(feed: Feed) -> None:
    history, listing = feed.history["ETHUSDT"], DIALECT.venue.listings["ETHUSDT"]
    for when_us, frame in five_minutes()["activeAssetCtx.ETH"]:
        if START_US + 4 * MINUTE_US <= when_us < START_US + 5 * MINUTE_US:
            context, state = json.loads(frame)["data"]["ctx"], history.second(when_us)
            assert float(context["markPx"]) == pytest.approx(state.mark, abs=listing.tick)
            assert float(context["openInterest"]) == pytest.approx(state.open_interest * listing.lot)
            assert float(context["funding"]) == pytest.approx(state.rate, abs=1e-10)


# -- requests -----------------------------------------------------------------------------------------------


def test_every_request_of_the_collector_is_acknowledged() -> None:
    (socket,) = HYPERLIQUID.sockets(SYMBOLS, HYPERLIQUID.market.streams, HYPERLIQUID.endpoints)
    names = [topic.name for topic in socket.topics]
    assert sorted(names) == sorted(DIALECT.topics(SYMBOLS))
    for name in names:
        answer = DIALECT.answer(HYPERLIQUID.subscribe([name], 1), (), ())
        control = HYPERLIQUID.control(answer.body)
        assert (list(answer.add), control.kind, control.topics) == ([name], ControlKind.ACK, (name,))
        again = DIALECT.answer(HYPERLIQUID.subscribe([name], 2), (name,), ())
        assert (list(again.add), HYPERLIQUID.control(again.body).topics) == ([], (name,))
        ended = DIALECT.answer(HYPERLIQUID.unsubscribe([name], 3), (name,), ())
        assert (ended.remove, HYPERLIQUID.control(ended.body).topics) == ([name], ())
    assert HYPERLIQUID.heartbeat.payload is not None
    assert HYPERLIQUID.control(DIALECT.answer(HYPERLIQUID.heartbeat.payload(), (), ()).body).kind is ControlKind.PONG


def test_an_unknown_coin_and_a_refused_topic_close_the_connection() -> None:
    answer = DIALECT.answer(HYPERLIQUID.subscribe(["bbo.NOPE"], 1), (), ())
    assert (answer.close, answer.body) == (True, b"")
    answer = DIALECT.answer(HYPERLIQUID.subscribe(["bbo.BTC"], 1), (), ("bbo.BTC",))
    assert (answer.close, list(answer.refused)) == (True, ["bbo.BTC"])


UNREADABLE = (
    b"{",
    b"[]",
    b'{"method":"subscribe"}',
    b'{"method":"subscribe","subscription":{"type":"no","coin":"BTC"}}',
)


@pytest.mark.parametrize("message", UNREADABLE)
def test_what_cannot_be_read_is_answered_with_an_error(message: bytes) -> None:
    answer = DIALECT.answer(message, (), ())
    assert HYPERLIQUID.control(answer.body).kind in (ControlKind.ERROR, ControlKind.REFUSED)
    assert list(answer.add) == []


def test_a_new_subscriber_is_sent_the_trades_before(feed: Feed) -> None:
    (frame,) = DIALECT.joined("trades.BTC", feed.history, NOW_US)
    before = [
        trade for when, sent in five_minutes()["trades.BTC"] if when < NOW_US for trade in json.loads(sent)["data"]
    ]
    assert json.loads(frame)["data"] == before[-30:]
    assert DIALECT.joined("bbo.BTC", feed.history, NOW_US) == ()


def test_rest_refuses_what_it_cannot_read(feed: Feed) -> None:
    assert rest(feed, Request("/info", b"{"), 422).startswith("Failed to deserialize")
    assert rest(feed, info("unheardOf"), 422).startswith("Failed to deserialize")
    assert rest(feed, info("l2Book", coin="NOPE"), 422).startswith("Failed to deserialize")
    assert DIALECT.rest(RestCall("GET", "/info", {}, feed.history, NOW_US)).status == 405
    assert DIALECT.rest(RestCall("POST", "/no", {}, feed.history, NOW_US)).status == 404


def test_instruments_are_learned_from_it(feed: Feed) -> None:
    (request,) = HYPERLIQUID.instrument_paths()
    assert isinstance(request, Request)
    instruments = HYPERLIQUID.instruments([rest(feed, request)])
    assert [one.symbol for one in instruments] == list(SYMBOLS)
    for one in instruments:
        assert one.lot_size == pytest.approx(DIALECT.venue.listings[one.symbol].lot)


@pytest.mark.parametrize("kind", ["metaAndAssetCtxs", "l2Book", "recentTrades"])
def test_answers_are_rows_too(feed: Feed, kind: str) -> None:
    request = info(kind, coin="BTC") if kind != "metaAndAssetCtxs" else info(kind)
    ((channel, frame),) = HYPERLIQUID.classify(rest_frame(request, json.dumps(rest(feed, request)).encode()))
    connection = duckdb.connect(config={"threads": 1})
    outcome = Normalizer(connection).normalize(HYPERLIQUID, channel, [frame], [NOW_US])
    assert outcome.rejected == []
    assert sum(outcome.staged.values()) + sum(outcome.known.values()) >= (9 * 5 if kind == "metaAndAssetCtxs" else 1)


@pytest.mark.parametrize("stream", ["candles", "funding_rates"])
def test_the_past_is_that_of_the_socket(feed: Feed, stream: str) -> None:
    history = HYPERLIQUID.histories[stream]
    (request,) = history.pages("BTCUSDT", START_US, START_US + 3 * MINUTE_US)
    answer = rest(feed, request)
    connection = duckdb.connect(config={"threads": 1})
    frame = rest_frame(request, json.dumps(answer).encode())
    outcome = Normalizer(connection).normalize(HYPERLIQUID, history.channel, [frame], [NOW_US])
    assert outcome.rejected == []
    if stream == "candles":
        last = {bar["t"]: bar for bar in data("candle.BTC.1m")}
        assert answer == [last[bar["t"]] for bar in answer]
        assert connection.sql("SELECT is_closed FROM staged_candles").fetchall() == [(True,)] * 3


def test_only_the_latest_trades_can_be_had_again(feed: Feed) -> None:
    pages = HYPERLIQUID.histories["trades"].pages("BTCUSDT", START_US, NOW_US)
    answer = rest(feed, next(pages))
    assert len(answer) == 10
    sent = [
        trade for when, frame in five_minutes()["trades.BTC"] if when <= NOW_US for trade in json.loads(frame)["data"]
    ]
    assert answer == sent[-10:][::-1]
    with pytest.raises(OutOfReachError):
        pages.send(answer)
