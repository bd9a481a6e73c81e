"""The normalizer under random input: valid frames come out as sent, all others are accounted for."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderflow_streaming.writing.normalize import Normalizer
from tests.streaming.test_normalize import book, mark, quote, rows, run, trade

_ONE = duckdb.connect(config={"threads": 1})
_SHARED = Normalizer(_ONE)
_decimals = st.decimals("0.00000001", "99999999", allow_nan=False, allow_infinity=False, places=8)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**62),
            st.text("ABCXYZ019_", min_size=1),
            _decimals,
            _decimals,
            st.integers(1, 10**13),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_trades_come_out_as_sent(sent: list[tuple[Any, ...]]) -> None:
    _SHARED.clear()
    frames = [trade(a, s=s, p=str(p), q=str(q), T=t, m=m) for a, s, p, q, t, m in sent]
    outcome = run(_SHARED, "aggTrade", *frames)
    assert outcome.staged == {"trades": len(sent)}
    for row, (a, s, p, q, t, m) in zip(rows(_ONE, "trades"), sent, strict=True):
        assert row["trade_id"] == str(a)
        assert row["symbol"] == s.upper()
        assert (row["price"], row["quantity"]) == (float(p), float(q))
        assert row["quote_value"] == pytest.approx(float(p) * float(q))
        assert row["timestamp"].replace(tzinfo=UTC).timestamp() == pytest.approx(t / 1000, abs=1e-6)
        assert row["side"] == ("sell" if m else "buy")


_SAMPLES = {
    "aggTrade": trade(),
    "bookTicker": quote(),
    "partialDepth": book([["1", "2"], ["0.9", "3"]], [["1.1", "4"]]),
    "depth": book([["1", "2"]], []),
    "markPrice": mark(),
    "markPrice[]": b'{"stream":"!markPrice@arr","data":['
    + msgspec.json.encode(msgspec.json.decode(mark())["data"])
    + b"]}",
}
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


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A message with some values replaced, dropped or, as bytes, damaged."""
    channel = draw(st.sampled_from(sorted(_SAMPLES)))
    message = msgspec.json.decode(_SAMPLES[channel])
    target = message["data"][0] if isinstance(message["data"], list) else message["data"]
    for key in draw(st.lists(st.sampled_from(sorted(target)), max_size=3, unique=True)):
        if draw(st.booleans()):
            target[key] = draw(_anything)
        else:
            del target[key]
    body = _encoded(message)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
    return channel, body


@given(
    st.lists(
        st.one_of(_mutated(), st.tuples(st.sampled_from(sorted(_SAMPLES)), st.binary(max_size=60))),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_frame_is_accounted_for_and_no_neighbour_is_lost(sent: list[tuple[str, bytes]]) -> None:
    for channel in sorted({channel for channel, _ in sent}):
        frames = [item for name, body in sent if name == channel for item in (_SAMPLES[channel], body)]
        _SHARED.clear()
        outcome = run(_SHARED, channel, *frames)
        rejected = {item.frame for item in outcome.rejected}
        assert not rejected & set(range(0, len(frames), 2)), outcome.rejected
        kinds = [name for name in ("trades", "prices", "orderbooks", "mark_prices") if name in outcome.staged]
        stored = {row["frame"] for kind in kinds for row in rows(_ONE, kind)}
        assert not stored & rejected
        whole = len(frames) - len(rejected)
        if channel.endswith("[]"):
            assert len(stored) <= whole, "a list may be empty"
        else:
            assert len(stored) + sum(outcome.known.values()) == whole
        for kind in kinds:
            for row in rows(_ONE, kind):
                assert all(abs(value) < float("inf") for value in row.values() if isinstance(value, float)), row
