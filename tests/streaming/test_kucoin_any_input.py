"""KuCoin under random input: valid messages come out as sent, all others are refused without harm to a neighbour."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import BookMerger
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged

SPOT, FUTURES = exchange("kucoin_spot"), exchange("kucoin_futures")
RECEIVED_US = 1_760_000_000_000_000
LOTS = {"XBTUSDTM": ("BTCUSDT", 0.001), "ETHUSDTM": ("ETHUSDT", 0.01)}

_ONE = duckdb.connect(config={"threads": 1})
_ONE.execute(
    "CREATE TABLE contracts AS SELECT 'kucoin' AS exchange, 'futures' AS market_type, * FROM (VALUES "
    + ", ".join(f"('{venue}', '{symbol}', {size}::DOUBLE, 8.0::DOUBLE)" for venue, (symbol, size) in LOTS.items())
    + ") AS t(venue_symbol, symbol, contract_size, funding_interval_hours)"
)
_SHARED = Normalizer(_ONE, "contracts")
_many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
_decimals = st.decimals("0.00000001", "99999999", allow_nan=False, allow_infinity=False, places=8)


def rows(stream: str) -> list[dict[str, Any]]:
    found = _ONE.sql(f"SELECT * FROM {staged(stream)} ORDER BY frame, item").to_arrow_table()
    return found.to_pylist()


def message(topic: str, subject: str, data: dict[str, Any]) -> bytes:
    body = {"topic": topic, "type": "message", "subject": subject, "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(LOTS)),
            st.integers(1, 2**62),
            _decimals,
            st.integers(1, 10**9),
            st.integers(10**18, 2**62),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
@_many
def test_valid_trades_come_out_as_sent(sent: list[tuple[str, int, Any, int, int, bool]]) -> None:
    _SHARED.clear()
    frames = [
        message(
            f"/contractMarket/execution:{name}",
            "match",
            {"symbol": name, "sequence": number, "side": "buy" if buys else "sell", "size": lots, "price": str(price),
             "tradeId": str(number), "ts": at},
        )
        for name, number, price, lots, at, buys in sent
    ]  # fmt: skip
    outcome = _SHARED.normalize(FUTURES, "execution", frames, [RECEIVED_US] * len(frames))
    assert outcome.staged == {"trades": len(sent)}
    for row, (name, number, price, lots, at, buys) in zip(rows("trades"), sent, strict=True):
        symbol, size = LOTS[name]
        assert (row["symbol"], row["trade_id"], row["price"]) == (symbol, str(number), float(price))
        assert (row["raw_quantity"], row["quantity"]) == (lots, lots * size)
        assert row["side"] == ("buy" if buys else "sell")
        since = row["timestamp"].replace(tzinfo=UTC).timestamp()
        assert since == pytest.approx(at // 1000 / 1e6, abs=1e-6)


_BOOK = {"asks": [["100.2", "1"], ["100.3", "2"]], "bids": [["100.1", "3"]], "timestamp": 1760000000000}
_SAMPLES: dict[str, tuple[Exchange, bytes]] = {
    "ticker": (
        SPOT,
        message(
            "/market/ticker:BTC-USDT",
            "trade.ticker",
            {"bestAsk": "100.2", "bestAskSize": "1", "bestBid": "100.1", "bestBidSize": "3", "price": "100.1",
             "sequence": "7", "size": "0.1", "time": 1760000000000},
        ),
    ),
    "level2Depth50": (SPOT, message("/spotMarket/level2Depth50:BTC-USDT", "level2", _BOOK)),
    "match": (
        SPOT,
        message(
            "/market/match:BTC-USDT",
            "trade.l3match",
            {"symbol": "BTC-USDT", "sequence": "7", "side": "buy", "size": "0.1", "price": "100.1",
             "time": "1760000000000000000", "tradeId": "7"},
        ),
    ),
    "candles": (
        SPOT,
        message(
            "/market/candles:BTC-USDT_1min",
            "trade.candles.update",
            {"symbol": "BTC-USDT", "candles": ["1760000000", "1", "2", "3", "1", "5", "9"], "time": 1},
        ),
    ),
    "instrument": (
        FUTURES,
        message(
            "/contract/instrument:XBTUSDTM",
            "mark.index.price",
            {"markPrice": 100.1, "indexPrice": 100.2, "granularity": 1000, "timestamp": 1760000000000},
        ),
    ),
    "tickerV2": (
        FUTURES,
        message(
            "/contractMarket/tickerV2:XBTUSDTM",
            "tickerV2",
            {"symbol": "XBTUSDTM", "sequence": 7, "bestBidSize": 3, "bestBidPrice": "100.1", "bestAskPrice": "100.2",
             "bestAskSize": 1, "ts": 1760000000000000000},
        ),
    ),
    "snapshot": (
        FUTURES,
        message(
            "/contractMarket/snapshot:XBTUSDTM",
            "snapshot.24h",
            {"highPrice": 3.0, "lastPrice": 2.0, "lowPrice": 1.0, "price24HoursBefore": 1.5, "priceChg": 0.5,
             "priceChgPct": 0.3333, "symbol": "XBTUSDTM", "ts": 1760000000000000000, "turnover": 20.0, "volume": 10.0},
        ),
    ),
}  # fmt: skip
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["NaN", "inf", "-1e308", "1e308", "1e-320", "0x1", " 1", "1_0", "\x00", "{", "[1]", "\ud800"]),
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A message with some values replaced, dropped or, as bytes, damaged."""
    channel = draw(st.sampled_from(sorted(_SAMPLES)))
    body = msgspec.json.decode(_SAMPLES[channel][1])
    for target in (body["data"], body) if draw(st.booleans()) else (body["data"],):
        for key in draw(st.lists(st.sampled_from(sorted(target)), max_size=3, unique=True)):
            if draw(st.booleans()):
                target[key] = draw(_anything)
            else:
                del target[key]
    raw = json.dumps(body).encode()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=4)) + raw[at + draw(st.integers(0, 4)) :]
    return channel, raw


_hostile = st.one_of(_mutated(), st.tuples(st.sampled_from(sorted(_SAMPLES)), st.binary(max_size=60)))


@given(st.lists(_hostile, min_size=1, max_size=12))
@settings(_many, max_examples=30)
def test_every_frame_is_accounted_for_and_no_neighbour_is_lost(sent: list[tuple[str, bytes]]) -> None:
    for channel in sorted({channel for channel, _ in sent}):
        venue, sound = _SAMPLES[channel]
        frames = [item for name, body in sent if name == channel for item in (sound, body)]
        _SHARED.clear()
        outcome = _SHARED.normalize(venue, channel, frames, [RECEIVED_US] * len(frames))
        rejected = {item.frame for item in outcome.rejected}
        assert not rejected & set(range(0, len(frames), 2)), outcome.rejected
        made = [row for stream in outcome.staged for row in rows(stream)]
        stored = {row["frame"] for row in made}
        assert not stored & rejected
        assert len(stored) + sum(outcome.known.values()) == len(frames) - len(rejected)
        for row in made:
            assert all(abs(value) < float("inf") for value in row.values() if isinstance(value, float)), row


@given(
    st.one_of(
        _hostile.map(lambda sent: sent[1]), st.binary(max_size=80), _anything.map(lambda v: json.dumps(v).encode())
    )
)
@_many
def test_a_look_at_any_bytes_harms_nothing(frame: bytes) -> None:
    for venue in (SPOT, FUTURES):
        venue.topic(frame)
        channel = venue.route(frame)
        assert channel is None or channel in venue.channels
        venue.control(frame)
        try:
            classified = venue.classify(frame)
        except ValueError:
            continue
        assert all(name in venue.channels for name, _ in classified)


_UTA = {"a": [["2", "1"]], "b": [["1", "1"]], "C": 6, "s": "X", "M": 1760000000000000000, "O": 6}
_CHANGES = {
    ("kucoin_spot", "level2"): message(
        "/market/level2:BTC-USDT",
        "trade.l2update",
        {
            "sequenceStart": 6,
            "sequenceEnd": 6,
            "symbol": "BTC-USDT",
            "changes": {"asks": [], "bids": [["1", "1", "6"]]},
        },
    ),
    ("kucoin_futures", "level2"): message(
        "/contractMarket/level2:X", "level2", {"sequence": 6, "change": "1,buy,1", "timestamp": 1760000000000}
    ),
    ("kucoin_futures", "uta/obu"): json.dumps({"T": "obu.FUTURES", "t": "delta", "P": 1, "d": _UTA}).encode(),
}


@given(st.data())
@_many
def test_a_book_gives_itself_up_for_what_it_cannot_read_and_starts_again(data: st.DataObject) -> None:
    (market, channel), sound = data.draw(st.sampled_from(sorted(_CHANGES.items())))
    feed = exchange(market).books[channel]
    decoded = msgspec.json.decode(sound)
    target = decoded.get("data", decoded.get("d"))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_anything)
    hostile = data.draw(st.one_of(st.just(json.dumps(decoded).encode()), st.binary(max_size=40)))
    merger = BookMerger("book", feed.decode, feed.sequencing)
    start = feed.decode(sound)._replace(is_snapshot=True, last=5, bids=[("1", "2")], asks=[("3", "1")])
    merger.join(start, 0)
    try:
        merger.absorb(hostile, 0)
    except (ValueError, OutOfSequenceError):
        assert merger.waiting
    merger.reset()
    merger.join(start, 0)
    merger.absorb(sound, 0)
    assert (merger.waiting, merger.book.last) == (False, 6)
    assert merger.book.bids[1.0][1] == "1"


@given(_anything)
@_many
def test_any_answer_for_a_token_is_an_address_or_a_value_error(answer: Any) -> None:
    (socket,) = SPOT.sockets(["BTCUSDT"], ["trades"], SPOT.endpoints)
    with pytest.raises(ValueError):
        SPOT.address(socket, answer)
