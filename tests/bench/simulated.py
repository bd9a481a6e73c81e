"""Frames of simulated markets, batched by market and channel as a daemon that flushes at an interval finds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.merging import Merger
from orderflow_streaming.exchanges.protocol import Exchange, Instrument, Request, as_request, decoded
from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.recordings.journal import FRAMES, Batch
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import Dialect, RestCall
from orderflow_streaming.simulator.feed import Batch as Minute
from orderflow_streaming.simulator.feed import Feed
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market

START_US = 1_793_836_800_000_000  # 2026-11-05 00:00 UTC
SEED = 1


def flushes(
    markets: Sequence[str], seconds: float, count: int, activity: float = 1.0
) -> tuple[pa.Table, list[list[Batch]]]:
    """Rows of ``ops.instruments``, and ``count`` times the batches that ``seconds`` of the markets bring; the changes
    of books and tickers are merged as a connection merges them."""
    span_us = round(seconds * 1e6)
    found: list[dict[tuple[str, str], list[tuple[int, bytes]]]] = [defaultdict(list) for _ in range(count)]
    known: list[dict[str, object]] = []
    for name in markets:
        venue, dialect = exchange(name), DIALECTS[name]
        simulated, feed = Market(SEED, START_US, [dialect.venue], SYMBOLS, activity=activity), Feed(dialect)
        for _ in range(1 + count * span_us // MINUTE_US):
            feed.add(Minute(simulated.minute()))
        known += [_row(venue, instrument) for instrument in _instruments(venue, dialect, feed.history)]
        topics = dialect.topics(SYMBOLS)
        sent = [(START_US, frame) for topic in topics for frame in dialect.joined(topic, feed.history, START_US)]
        between = feed.between(topics, START_US, START_US + count * span_us)
        sent += [(when, frame) for when, _, _, frame, _ in between]
        for channel, when, frame in _as_read(venue, sent):
            found[(when - START_US) // span_us][name, channel].append((when, frame))
    batches = [[_batch(*key, rows) for key, rows in by_channel.items()] for by_channel in found]
    return pa.Table.from_pylist(known, schema=INSTRUMENTS.arrow_schema), batches


def _as_read(venue: Exchange, sent: Sequence[tuple[int, bytes]]) -> list[tuple[str, int, bytes]]:
    """Channel, receive time and frame of what a connection would journal."""
    subscribed = {
        topic.name: topic
        for socket in venue.sockets(SYMBOLS, venue.market.streams, venue.endpoints)
        for topic in socket.topics
    }
    mergers: dict[str, Merger | None] = {}
    read = []
    for when, frame in sent:
        topic = subscribed[venue.topic(frame) or ""]
        read.append((topic.channel, when, frame))
        if topic.merged:
            merger = mergers.setdefault(topic.name, venue.merger(topic.channel, topic.name))
            assert merger is not None
            state = merger.absorb(frame, when)
            if state is not None:
                read.append((topic.merged, when, state))
    return read


def _instruments(venue: Exchange, dialect: Dialect, history: History) -> list[Instrument]:
    answers = [_answer(dialect, as_request(path), history) for path in venue.instrument_paths()]
    return venue.instruments(answers)


def _answer(dialect: Dialect, request: Request, history: History) -> object:
    bare, _, query = request.path.partition("?")
    method = "GET" if request.body is None else "POST"
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    return decoded(dialect.rest(RestCall(method, bare, parameters, history, START_US, request.body or b"")).body)


def _row(venue: Exchange, instrument: Instrument) -> dict[str, object]:
    told = {name: getattr(instrument, name) for name in INSTRUMENTS.names if hasattr(instrument, name)}
    as_of = datetime.fromtimestamp(START_US / 1e6, UTC).replace(tzinfo=None)
    return {"exchange": venue.market.exchange, "market_type": venue.market.market_type, "as_of": as_of, **told}


def _batch(market: str, channel: str, rows: Sequence[tuple[int, bytes]]) -> Batch:
    times = pa.array([when for when, _ in rows], pa.timestamp("us"))
    return Batch(market, channel, pa.record_batch([times, pa.array([raw for _, raw in rows])], schema=FRAMES))
