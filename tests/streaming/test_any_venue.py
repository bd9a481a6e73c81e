"""What holds for every market alike, under recorded, simulated and hostile messages."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderflow_streaming.exchanges import PROTOCOLS, exchange
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import (
    Control,
    ControlKind,
    Exchange,
    UnsupportedFrameError,
    as_request,
    decoded,
)
from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.recordings.recording import Message, messages
from orderflow_streaming.schema import INSTRUMENTS, STREAMS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged

START_US = 1_760_000_040_000_000
SEED = 6
SEQUENCES = {
    "binance_spot": "binance_spot",
    "binance_usdm": "binance_futures",
    "bybit_linear": "bybit_futures",
    "bybit_spot": "bybit_spot",
    "gate_usdt": "gateio_futures",
    "hyperliquid": "hyperliquid_futures",
    "kucoin_futures": "kucoin_futures",
    "kucoin_spot": "kucoin_spot",
    "okx_swap": "okx_futures",
}
"""How the names of recorded sequences begin, and their market."""
OF_OTHER_REQUESTS = (b'"result":true}', b'"result":false,"message"', b'{"sessionId":', b'"channel":"post"')
"""In answers to what is never asked for: on KuCoin's newer socket, and information asked of Hyperliquid on one."""

every_market = pytest.mark.parametrize("market", PROTOCOLS)
_anyhow = [HealthCheck.too_slow, HealthCheck.data_too_large]
_some = settings(max_examples=30, deadline=None, suppress_health_check=_anyhow)
_few = settings(max_examples=8, deadline=None, suppress_health_check=_anyhow)


# -- recorded --------------------------------------------------------------------------------------------


def recordings(wire: Path, market: str) -> list[Path]:
    sequences = [
        path
        for path in sorted((wire / "sequences").iterdir())
        if SEQUENCES[next(start for start in SEQUENCES if path.name.startswith(start))] == market
    ]
    return [*sorted(path for path in (wire / market).rglob("*") if path.is_file()), *sequences]


@pytest.mark.wire
def test_every_sequence_is_of_a_market(wire: Path) -> None:
    found = {market for market in PROTOCOLS if any(".tsv" in path.suffixes for path in recordings(wire, market))}
    assert found == set(SEQUENCES.values())


@pytest.mark.wire
@every_market
def test_every_recorded_message_is_read(wire: Path, market: str) -> None:
    """As data of a declared channel or as a control message; and by the looks that the daemon takes, what no channel
    takes is understood as a word about the connection."""
    venue, placed, spoken = exchange(market), defaultdict[str, list[Message]](list), 0
    for path in recordings(wire, market):
        for message in messages(str(path)):
            assert not message.problem, f"{path.name}:{message.line}"
            try:
                found = venue.classify(message.raw, message.url)
            except UnsupportedFrameError:
                continue
            for channel, frame in found:
                placed[channel].append(replace(message, raw=frame))
            if not found and _is_answer(path, message):
                spoken += 1
                assert venue.route(message.raw) is None
                assert venue.control(message.raw).kind is not ControlKind.UNKNOWN, message.raw
    normalizer, stored = Normalizer(duckdb.connect(), inspect=True), set()
    for channel, sent in placed.items():
        outcome = normalizer.normalize(
            venue, channel, [message.raw for message in sent], [message.received_at for message in sent]
        )
        assert outcome.rejected == []
        stored |= {stream for stream, count in outcome.staged.items() if count}
    assert stored
    assert spoken


def _is_answer(path: Path, message: Message) -> bool:
    """Whether a control message is one of the venue's on a socket, and of a request that is ever made here."""
    by_client = "client" in path.name or b'"method":"' in message.raw or b'"op":"subscribe","args"' in message.raw
    by_rest = message.url or path.parent.name.startswith("rest_")
    return not (by_client or by_rest or any(part in message.raw for part in OF_OTHER_REQUESTS))


# -- simulated -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """One minute of a simulated market."""

    venue: Exchange
    by_channel: dict[str, list[bytes]]
    """Frames as the daemon would place them, in the order of sending; merged ones too."""
    by_topic: dict[str, list[bytes]]
    """Those of topics whose messages are changes, with the first that a new subscriber gets."""
    normalizer: Normalizer
    connection: duckdb.DuckDBPyConnection


@cache
def world(market: str) -> World:
    venue, dialect = exchange(market), DIALECTS[market]
    simulated, feed = Market(SEED, START_US, [dialect.venue], SYMBOLS[:3]), Feed(dialect)
    for _ in range(2):
        feed.add(Batch(simulated.minute()))
    topics = [topic for topic in dialect.topics(SYMBOLS[:3]) if dialect.symbol(topic) in feed.history]
    joined = [frame for topic in topics for frame in dialect.joined(topic, feed.history, START_US)]
    sent = [frame for _, _, _, frame, _ in feed.between(topics, START_US, START_US + 2 * MINUTE_US)]
    subscribed = {
        topic.name: topic
        for socket in venue.sockets(SYMBOLS[:3], venue.market.streams, venue.endpoints)
        for topic in socket.topics
    }
    by_channel, by_topic = defaultdict[str, list[bytes]](list), defaultdict[str, list[bytes]](list)
    for frame in (*joined, *sent):
        topic = subscribed[venue.topic(frame) or ""]
        by_channel[topic.channel].append(frame)
        if topic.merged:
            by_topic[topic.name].append(frame)
    for name, changes in by_topic.items():
        topic = subscribed[name]
        merger = venue.merger(topic.channel, name)
        assert merger is not None
        merged = (merger.absorb(frame, START_US + 100_000 * number) for number, frame in enumerate(changes))
        by_channel[topic.merged] += [frame for frame in merged if frame]
    connection = duckdb.connect(config={"threads": 1})
    answers = []
    for path in venue.instrument_paths():
        request = as_request(path)
        bare, _, query = request.path.partition("?")
        method = "GET" if request.body is None else "POST"
        parameters = dict(pair.split("=") for pair in query.split("&") if pair)
        call = RestCall(method, bare, parameters, feed.history, START_US + MINUTE_US, request.body or b"")
        answers.append(decoded(dialect.rest(call).body))
    known = pa.Table.from_pylist(
        [
            {"exchange": venue.market.exchange, "market_type": venue.market.market_type}
            | {name: getattr(one, name) for name in INSTRUMENTS.names if hasattr(one, name)}
            for one in venue.instruments(answers)
        ],
        schema=INSTRUMENTS.arrow_schema,
    )
    connection.register("told", known)
    connection.execute("CREATE TABLE known AS FROM told")
    return World(venue, dict(by_channel), dict(by_topic), Normalizer(connection, "known"), connection)


@every_market
def test_simulated_messages_fill_every_stream_of_the_market(market: str) -> None:
    made = world(market)
    made.normalizer.clear()
    for channel, frames in made.by_channel.items():
        outcome = made.normalizer.normalize(made.venue, channel, frames, [START_US] * len(frames))
        assert outcome.rejected == []
    subscribed = {
        stream
        for socket in made.venue.sockets(SYMBOLS[:3], made.venue.market.streams, made.venue.endpoints)
        for topic in socket.topics
        for stream in topic.streams
    }
    for stream in subscribed - {"liquidations"}:
        found = {
            symbol for (symbol,) in made.connection.sql(f"SELECT DISTINCT symbol FROM {staged(stream)}").fetchall()
        }
        assert found == set(SYMBOLS[:3]) & set(made.venue.market.symbols), stream


# -- hostile ---------------------------------------------------------------------------------------------

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "NaN", "inf", "-1e308", "1e-320", "0x1", " 1", "1_0", "\x00", "{", "[1]", "\ud800", "-1"]),
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything inside a message, of long lists only the beginning."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


@st.composite
def _changed(draw: st.DrawFn, frame: bytes) -> bytes:
    """A message with parts replaced, dropped or, as bytes, damaged."""
    message = msgspec.json.decode(frame)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(message))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        target = message
        for key in path:
            target = target[key]
        if draw(st.booleans()):
            target[last] = draw(_anything)
        else:
            del target[last]
    body = json.dumps(message, separators=(",", ":")).encode()
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 40)) :]
    return body


@st.composite
def _hostile(draw: st.DrawFn, sound: list[bytes]) -> bytes:
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return draw(st.binary(max_size=60))
    if kind == 1:
        return json.dumps(draw(_anything)).encode()
    return draw(_changed(draw(st.sampled_from(sound))))


def _sample(frames: list[bytes]) -> list[bytes]:
    """A few messages of a kind, spread over the minute."""
    return frames[:: max(1, len(frames) // 8)][:8]


@every_market
@given(data=st.data())
@_some
def test_looks_at_a_message_never_fail(market: str, data: st.DataObject) -> None:
    made = world(market)
    sound = [frame for frames in made.by_channel.values() for frame in _sample(frames)]
    frame = data.draw(_hostile(sound))
    venue = made.venue
    name, channel = venue.topic(frame), venue.route(frame)
    assert name is None or isinstance(name, str)
    assert channel is None or channel in venue.channels
    assert isinstance(venue.control(frame), Control)
    with suppress(ValueError):
        assert all(channel in venue.channels for channel, _ in venue.classify(frame))


@every_market
@given(data=st.data())
@_some
def test_a_state_refuses_what_it_cannot_take_and_begins_anew(market: str, data: st.DataObject) -> None:
    made = world(market)
    if not made.by_topic:
        assert not any(
            topic.merged
            for socket in made.venue.sockets(SYMBOLS, made.venue.market.streams, made.venue.endpoints)
            for topic in socket.topics
        )
        return
    name = data.draw(st.sampled_from(sorted(made.by_topic)))
    changes = made.by_topic[name]
    (channel,) = {one for one, frames in made.by_channel.items() if changes[0] in frames}
    merger = made.venue.merger(channel, name)
    assert merger is not None
    hostile = data.draw(st.lists(_hostile(_sample(changes)), min_size=1, max_size=4))
    for number, frame in enumerate((*changes[:5], *hostile)):
        try:
            merged = merger.absorb(frame, START_US + 200_000 * number)
        except (OutOfSequenceError, ValueError):
            assert merger.waiting
        else:
            assert merged is None or msgspec.json.decode(merged)
    merger.reset()
    assert merger.waiting
    anew = [merger.absorb(frame, START_US + 10_000_000 + 200_000 * number) for number, frame in enumerate(changes[:5])]
    fresh = made.venue.merger(channel, name)
    assert fresh is not None
    assert anew == [
        fresh.absorb(frame, START_US + 10_000_000 + 200_000 * number) for number, frame in enumerate(changes[:5])
    ]


@every_market
@given(data=st.data())
@_few
def test_no_neighbour_of_a_hostile_message_is_lost(market: str, data: st.DataObject) -> None:
    made = world(market)
    channel = data.draw(st.sampled_from(sorted(made.by_channel)))
    sound = _sample(made.by_channel[channel])
    bad = data.draw(st.lists(_hostile(sound), min_size=1, max_size=6))
    good = [data.draw(st.sampled_from(sound)) for _ in bad]
    frames = [frame for pair in zip(good, bad, strict=True) for frame in pair]
    normalizer = made.normalizer
    normalizer.clear()
    alone = normalizer.normalize(made.venue, channel, good, [START_US] * len(good))
    assert alone.rejected == []
    expected = _rows(made, frames=range(len(good)), every=2)
    normalizer.clear()
    outcome = normalizer.normalize(made.venue, channel, frames, [START_US] * len(frames))
    assert all(rejected.frame % 2 for rejected in outcome.rejected), outcome.rejected
    assert all(rejected.reason for rejected in outcome.rejected)
    assert _rows(made, frames=range(0, len(frames), 2)) == expected
    for stream in outcome.staged:
        for row in made.connection.sql(f"FROM {staged(stream)}").to_arrow_table().to_pylist():
            assert all(abs(value) < float("inf") for value in row.values() if isinstance(value, float)), row


def _rows(made: World, *, frames: range, every: int = 1) -> dict[str, list[tuple[Any, ...]]]:
    """Staged rows of some frames by stream, their numbers spread by ``every``."""
    numbers = ", ".join(map(str, frames))
    return {
        stream: made.connection.sql(
            f"SELECT frame * {every}, * EXCLUDE (frame) FROM {staged(stream)} "
            f"WHERE frame IN ({numbers}) ORDER BY frame, item"
        ).fetchall()
        for stream in STREAMS
    }
