"""Random and hostile input through Gate.io and Hyperliquid: sound frames come out as sent, all others are accounted
for, and nothing raises beyond what is documented."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import Control, Exchange
from orderflow_streaming.writing.normalize import Normalizer

GATE, HYPERLIQUID = exchange("gateio_futures"), exchange("hyperliquid_futures")
RECEIVED_US = 1_790_000_000_000_000
_ONE = duckdb.connect(config={"threads": 1})
_ONE.execute(
    "CREATE TABLE instruments AS SELECT * FROM (VALUES "
    "('BTCUSDT', 'gateio', 'futures', 'BTC_USDT', 0.0001::DOUBLE, 8.0::DOUBLE), "
    "('BTCUSDT', 'hyperliquid', 'futures', 'BTC', 1.0, 1.0)) "
    "AS known (symbol, exchange, market_type, venue_symbol, contract_size, funding_interval_hours)"
)
_SHARED = Normalizer(_ONE, "instruments")
_quick = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)


def pushed(channel: str, result: Any, event: str = "update") -> dict[str, Any]:
    head = {"time": 1_791_009_974, "time_ms": 1_791_009_974_834, "channel": f"futures.{channel}", "event": event}
    return {**head, "result": result}


def level(price: Any, size: Any) -> dict[str, Any]:
    return {"p": price, "s": size}


LEVELS = [{"px": "99.0", "sz": "1.5", "n": 2}], [{"px": "101.0", "sz": "2", "n": 1}]
CONTEXT = {"funding": "0.0000125", "openInterest": "5.5", "prevDayPx": "99", "dayNtlVlm": "1", "oraclePx": "100",
           "markPx": "100", "midPx": "100.5", "dayBaseVlm": "2"}  # fmt: skip
SAMPLES: dict[str, tuple[Exchange, list[dict[str, Any]]]] = {
    "gateio": (
        GATE,
        [
            pushed(
                "trades",
                [{"id": 1, "size": "-5", "create_time_ms": 1_791_009_974_834, "price": "2", "contract": "BTC_USDT"}],
            ),
            pushed(
                "book_ticker", {"t": 1_791_009_974_834, "u": 5, "s": "BTC_USDT", "b": "1", "B": "2", "a": "3", "A": 4}
            ),
            pushed(
                "order_book",
                {"t": 5, "id": 1, "contract": "BTC_USDT", "asks": [level("3", 1)], "bids": [level("1", "2")]},
                "all",
            ),
            pushed(
                "tickers",
                [
                    {
                        "contract": "BTC_USDT",
                        "last": "1",
                        "mark_price": "1",
                        "index_price": "1",
                        "funding_rate": "0.1",
                        "total_size": "5",
                        "volume_24h": "5",
                        "funding_next_apply": 1_791_014_400,
                        "t": 1_791_009_972_577,
                    }
                ],
            ),
            pushed(
                "candlesticks",
                [
                    {
                        "t": 1_791_009_960,
                        "v": "2",
                        "c": "2",
                        "h": "3",
                        "l": "1",
                        "o": "1",
                        "n": "1m_BTC_USDT",
                        "a": "4",
                        "w": True,
                    }
                ],
            ),
            pushed(
                "public_liquidates", [{"contract": "BTC_USDT", "price": "1", "size": "-7", "time": 1_791_009_974_834}]
            ),
            pushed("order_book_update", {"t": 5, "U": 2, "u": 3, "s": "BTC_USDT", "b": [level("1", 2)], "a": []}),
            pushed("obu", {"t": 5, "full": True, "s": "ob.BTC_USDT.50", "u": 1, "b": [["1", "2"]], "a": [["3", "4"]]}),
            pushed("obu", {"t": 5, "s": "ob.BTC_USDT.50", "U": 2, "u": 3, "b": [["1", "0"]]}),
            {
                "time": 1,
                "id": 3,
                "channel": "futures.trades",
                "event": "subscribe",
                "payload": ["BTC_USDT"],
                "error": {"code": 2, "message": "x"},
                "result": {"status": "fail"},
            },
        ],
    ),
    "hyperliquid": (
        HYPERLIQUID,
        [
            {
                "channel": "trades",
                "data": [{"coin": "BTC", "side": "A", "px": "1", "sz": "2", "time": 1_790_232_216_193, "tid": 5}],
            },
            {"channel": "bbo", "data": {"coin": "BTC", "time": 5, "bbo": [LEVELS[0][0], LEVELS[1][0]]}},
            {"channel": "l2Book", "data": {"coin": "BTC", "time": 5, "levels": LEVELS}},
            {"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": CONTEXT}},
            {
                "channel": "candle",
                "data": {
                    "t": 60_000,
                    "T": 119_999,
                    "s": "BTC",
                    "i": "1m",
                    "o": "1",
                    "c": "2",
                    "h": "3",
                    "l": "1",
                    "v": "4",
                    "n": 5,
                },
            },
            {
                "channel": "subscriptionResponse",
                "data": {"method": "subscribe", "subscription": {"type": "bbo", "coin": "BTC"}},
            },
            {"channel": "error", "data": 'Already subscribed: {"type":"bbo","coin":"BTC"}'},
        ],
    ),
}

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["NaN", "inf", "-1e308", "1e308", "1e-320", "0x1", " 1", "\x00", "{", "[1]", "\ud800", "BTC_USDT"]),
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _hostile(draw: st.DrawFn, venue: str) -> bytes:
    """A message with values replaced or dropped at any depth and, as bytes, cut, stretched or damaged."""
    message = json.loads(json.dumps(draw(st.sampled_from(SAMPLES[venue][1]))))
    for _ in range(draw(st.integers(0, 3))):
        holder: Any = message
        while True:
            keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(holder[key], dict | list) and holder[key] and draw(st.booleans()):
                holder = holder[key]
                continue
            if draw(st.booleans()):
                holder[key] = draw(_anything)
            else:
                del holder[key]
            break
    body = json.dumps(message, separators=(",", ":")).encode()
    match draw(st.integers(0, 5)):
        case 0:
            return body[: draw(st.integers(0, len(body)))]
        case 1:
            at = draw(st.integers(0, len(body)))
            return body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
        case 2:
            return draw(st.binary(max_size=60))
    return body


@pytest.mark.parametrize("venue", SAMPLES)
@given(drawn=st.data())
@settings(_quick, max_examples=400)
def test_looks_at_hostile_frames_never_raise(venue: str, drawn: st.DataObject) -> None:
    protocol, _ = SAMPLES[venue]
    frame = drawn.draw(_hostile(venue))
    assert isinstance(protocol.topic(frame), str | None)
    assert protocol.route(frame) is None or protocol.route(frame) in protocol.channels
    assert isinstance(protocol.control(frame), Control)
    with suppress(ValueError):
        for channel, enveloped in protocol.classify(frame, "https://venue/info"):
            assert channel in protocol.channels
            assert isinstance(enveloped, bytes)


@pytest.mark.parametrize("channel", GATE.books)
@given(drawn=st.data())
@settings(_quick, max_examples=200)
def test_books_take_hostile_changes_or_say_what_is_wrong(channel: str, drawn: st.DataObject) -> None:
    merger = GATE.merger(channel, f"{channel}.BTC_USDT")
    assert merger is not None
    for number in range(drawn.draw(st.integers(1, 4))):
        with suppress(ValueError, OutOfSequenceError):
            merger.absorb(drawn.draw(_hostile("gateio")), RECEIVED_US + number)
    merger.reset()
    whole = pushed("obu", {"t": 5, "full": True, "s": "ob.BTC_USDT.50", "u": 9, "b": [["1", "2"]], "a": [["3", "4"]]})
    if channel == "futures.obu":
        merged = merger.absorb(json.dumps(whole).encode(), 2**60)
        assert merged is not None
        assert json.loads(merged)["data"]["b"] == [["1", "2"]]


@pytest.mark.parametrize("venue", SAMPLES)
@given(drawn=st.data())
@settings(_quick, max_examples=60)
def test_every_frame_is_accounted_for_and_no_neighbour_is_lost(venue: str, drawn: st.DataObject) -> None:
    protocol, samples = SAMPLES[venue]
    sound = drawn.draw(
        st.sampled_from([sample for sample in samples if "data" in sample or sample.get("event") != "subscribe"])
    )
    good = json.dumps(sound, separators=(",", ":")).encode()
    channel = protocol.route(good)
    if channel is None:
        return
    hostile = drawn.draw(st.lists(_hostile(venue), min_size=1, max_size=8))
    frames = [frame for bad in hostile for frame in (good, bad)]
    _SHARED.clear()
    alone = _SHARED.normalize(protocol, channel, [good], [RECEIVED_US])
    assert not alone.rejected
    _SHARED.clear()
    outcome = _SHARED.normalize(protocol, channel, frames, [RECEIVED_US] * len(frames))
    assert not {rejected.frame for rejected in outcome.rejected} & set(range(0, len(frames), 2))
    for stream, count in alone.staged.items():
        found = _ONE.sql(f"SELECT count(*) FROM staged_{stream} WHERE frame % 2 = 0").fetchall()[0][0]
        assert found == count * len(hostile)


# -- sound frames come out as sent ---------------------------------------------------------------------------

_prices = st.decimals("0.00000001", "99999999", allow_nan=False, allow_infinity=False, places=8)
_sizes = st.decimals("0.1", "99999999", allow_nan=False, allow_infinity=False, places=1)
_times = st.integers(1_500_000_000_000, 4_000_000_000_000)


@given(
    st.lists(
        st.tuples(st.integers(1, 2**62), _prices, _sizes, st.booleans(), _times, st.booleans()), min_size=1, max_size=15
    )
)
@settings(_quick, max_examples=60)
def test_trades_of_gateio_come_out_as_sent(sent: list[tuple[Any, ...]]) -> None:
    _SHARED.clear()
    items = [
        {
            "id": number,
            "price": str(price),
            "size": str(-size if sold else size) if as_text else float(-size if sold else size),
            "create_time_ms": when,
            "contract": "BTC_USDT",
        }
        for number, price, size, sold, when, as_text in sent
    ]
    outcome = _SHARED.normalize(GATE, "futures.trades", [json.dumps(pushed("trades", items)).encode()], [RECEIVED_US])
    assert outcome.staged["trades"] == len(sent)
    found = _ONE.sql("SELECT * FROM staged_trades ORDER BY item").to_arrow_table().to_pylist()
    for row, (number, price, size, sold, when, _) in zip(found, sent, strict=True):
        assert (row["trade_id"], row["price"], row["raw_quantity"]) == (str(number), float(price), float(size))
        assert row["quantity"] == pytest.approx(float(size) * 0.0001)
        assert row["side"] == ("sell" if sold else "buy")
        assert row["timestamp"].replace(tzinfo=UTC).timestamp() == pytest.approx(when / 1000, abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(1, 2**50), _prices, _sizes, st.sampled_from("AB"), _times), min_size=1, max_size=15)
)
@settings(_quick, max_examples=60)
def test_trades_of_hyperliquid_come_out_as_sent(sent: list[tuple[Any, ...]]) -> None:
    _SHARED.clear()
    items = [
        {"coin": "BTC", "side": side, "px": str(price), "sz": str(size), "time": when, "tid": number}
        for number, price, size, side, when in sent
    ]
    frame = json.dumps({"channel": "trades", "data": items}).encode()
    outcome = _SHARED.normalize(HYPERLIQUID, "trades", [frame], [RECEIVED_US])
    assert outcome.staged == {"trades": len(sent)}
    found = _ONE.sql("SELECT * FROM staged_trades ORDER BY item").to_arrow_table().to_pylist()
    for row, (number, price, size, side, when) in zip(found, sent, strict=True):
        assert (row["trade_id"], row["price"], row["quantity"]) == (str(number), float(price), float(size))
        assert row["is_buyer_maker"] == (side == "A")
        assert row["timestamp"].replace(tzinfo=UTC).timestamp() == pytest.approx(when / 1000, abs=1e-6)


@given(
    st.dictionaries(st.integers(1, 10_000), st.integers(1, 500), min_size=2, max_size=24),
    st.booleans(),
)
@settings(_quick, max_examples=60)
def test_books_come_out_as_sent(sides: dict[int, int], in_numbers: bool) -> None:
    """Bids are the lower half of the prices, best first."""
    ticks = sorted(sides)
    bids, asks = ticks[: len(ticks) // 2][::-1], ticks[len(ticks) // 2 :]
    write = (lambda size: size) if in_numbers else str
    book = {"t": 1_791_009_974_834, "id": 7, "contract": "BTC_USDT",
            "bids": [level(f"{tick / 10}", write(sides[tick])) for tick in bids],
            "asks": [level(f"{tick / 10}", write(sides[tick])) for tick in asks]}  # fmt: skip
    other = [[{"px": f"{tick / 10}", "sz": str(sides[tick]), "n": 1} for tick in side] for side in (bids, asks)]
    _SHARED.clear()
    _SHARED.normalize(
        GATE, "futures.order_book", [json.dumps(pushed("order_book", book, "all")).encode()], [RECEIVED_US]
    )
    hyper = {"channel": "l2Book", "data": {"coin": "BTC", "time": 5, "levels": other}}
    _SHARED.normalize(HYPERLIQUID, "l2Book", [json.dumps(hyper).encode()], [RECEIVED_US])
    rows = _ONE.sql("SELECT * FROM staged_orderbooks ORDER BY frame").to_arrow_table().to_pylist()
    for row, size in zip(rows, (0.0001, 1.0), strict=True):
        for name, found in (("bid", bids), ("ask", asks)):
            for place in range(10):
                tick = found[place] if place < len(found) else None
                assert row[f"{name}_{place + 1}_price"] == (None if tick is None else tick / 10)
                if tick is not None:
                    assert row[f"{name}_{place + 1}_qty"] == pytest.approx(sides[tick] * size)
