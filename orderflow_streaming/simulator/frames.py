"""Frames without a socket: an hour of ticks in seconds, for tests and training.

>>> for when_us, topic, frame in frames(seed=1, start_us=1_760_000_000_000_000, end_us=1_760_000_060_000_000):
...     ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market


def frames(
    seed: int,
    start_us: int,
    end_us: int,
    symbols: Sequence[str] = SYMBOLS,
    *,
    market: str = "binance_futures",
    topics: Sequence[str] | None = None,
    activity: float = 1.0,
    book_interval_ms: int = 100,
) -> Iterator[tuple[int, str, bytes]]:
    """``(sent_us, topic, frame)`` in order of sending, from ``start_us`` (cut to the minute) to before ``end_us``.

    The same bytes the server sends for the same seed, start and knobs to one who subscribes at the start, snapshots
    first. ``topics`` defaults to those that fill every stream of the market.
    """
    dialect = DIALECTS[market]
    feed = Feed(dialect)
    world = Market(seed, start_us, [dialect.venue], symbols, activity=activity, book_interval_ms=book_interval_ms)
    wanted = dialect.topics(symbols) if topics is None else topics
    position = start = world.next_us
    while position < end_us:
        feed.add(Batch(world.minute()))
        if position == start:
            for topic in wanted:
                if dialect.symbol(topic) in feed.history:
                    yield from ((start, topic, frame) for frame in dialect.joined(topic, feed.history, start))
        until = min(position + MINUTE_US, end_us)
        for sent_us, _, topic, frame, _ in feed.between(wanted, position, until):
            yield sent_us, topic, frame
        position = until
