"""What is to be filled of the past, checked, and cut into chunks."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orderflow_streaming import markets, schema
from orderflow_streaming.exchanges import PROTOCOLS
from orderflow_streaming.exchanges.paging import HOUR_US
from orderflow_streaming.markets import Market
from orderflow_streaming.settings import Settings
from orderflow_streaming.writing.series import Identity

CHUNK_US = {
    "candles": 24 * HOUR_US,
    "funding_rates": 30 * 24 * HOUR_US,
    "open_interest": 24 * HOUR_US,
    "trades": HOUR_US,
}
"""What can be filled, in the order in which it is, and how much of it at once."""


MOST_CHUNKS = 200_000
_EARLIEST_US = int(datetime(2017, 7, 1, tzinfo=UTC).timestamp()) * 1_000_000


class BackfillError(ValueError):
    """The order cannot be carried out; the message says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be filled: ``[start, end)`` in UTC microseconds."""

    start_us: int
    end_us: int
    markets: tuple[str, ...]
    symbols: tuple[str, ...]
    streams: tuple[str, ...]
    again: bool = False
    """Ask also for what is written down as done."""

    @classmethod
    def parse(cls, body: Mapping[str, Any], settings: Settings) -> Order:
        """An order with ``from`` and ``to`` (ISO times, UTC) and lists of names, where absent those of the settings.

        Raises :class:`BackfillError` and :class:`~orderflow_streaming.markets.UnknownNameError`.
        """
        now_us = time.time_ns() // 1000
        start_us = _instant("from", body.get("from"))
        end_us = now_us if body.get("to") is None else _instant("to", body["to"])
        if start_us < _EARLIEST_US:
            raise BackfillError(
                f"--from {body['from']} is before any of these markets began ({text(_EARLIEST_US)[:10]})."
            )
        if start_us >= end_us:
            raise BackfillError(f"--from {body['from']} is not before --to {body.get('to') or 'now'}.")
        if end_us > now_us:
            raise BackfillError(f"--to {body['to']} is in the future. The latest is now, {text(now_us)} (UTC).")
        order = cls(
            start_us,
            end_us,
            tuple(dict.fromkeys(_with_protocol(name) for name in body.get("markets") or settings.markets)),
            tuple(dict.fromkeys(markets.symbol(name) for name in body.get("symbols") or settings.symbols)),
            _named(body["streams"]) if body.get("streams") else _fillable(settings.stream_types),
            bool(body.get("again")),
        )
        if order.size > MOST_CHUNKS:
            raise BackfillError(
                f"that is {order.size:,} chunks, and the most is {MOST_CHUNKS:,}. Take a shorter span or fewer streams."
            )
        return order

    @property
    def size(self) -> int:
        """Chunks, at most."""
        spans = sum((self.end_us - self.start_us) // CHUNK_US[stream] + 2 for stream in self.streams)
        return spans * len(self.markets) * len(self.symbols)


def _instant(name: str, given: Any) -> int:
    try:
        when = datetime.fromisoformat(str(given))
    except ValueError as error:
        raise BackfillError(f"--{name} {given} is no date. Write 2026-01-31 or 2026-01-31T12:00, in UTC.") from error
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1e6)


def text(instant_us: int) -> str:
    """UTC microseconds as a person writes them."""
    return datetime.fromtimestamp(instant_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _with_protocol(name: str) -> str:
    market = markets.market(name).name
    if market not in PROTOCOLS:
        raise BackfillError(f"market {market!r} has no protocol yet. Allowed: {', '.join(PROTOCOLS)}.")
    return market


def _named(names: Collection[str]) -> tuple[str, ...]:
    """The streams somebody asks for; raises BackfillError for those that cannot be filled."""
    for stream in (schema.stream(name).name for name in names):
        if stream not in CHUNK_US:
            raise BackfillError(f"no venue gives {stream} again. Streams that can be filled: {', '.join(CHUNK_US)}.")
    return _fillable(names)


def _fillable(names: Collection[str]) -> tuple[str, ...]:
    """Those of the streams that can be filled, in the order in which they are; all where none is named."""
    return tuple(stream for stream in CHUNK_US if stream in names or not names)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of one stream of one symbol of one market; ``[start, end)`` in UTC microseconds."""

    market: Market
    symbol: str
    stream: str
    start_us: int
    end_us: int

    @property
    def identity(self) -> Identity:
        return self.symbol, self.market.exchange, self.market.market_type

    def __str__(self) -> str:
        return f"{self.market.name} {self.symbol} {self.stream} {text(self.start_us)}"


def chunks(order: Order, market: Market, stream: str) -> Iterator[Chunk]:
    """The order's chunks of one stream, oldest first, cut where a round hour or day begins."""
    size = CHUNK_US[stream]
    start = order.start_us
    while start < order.end_us:
        end = min(order.end_us, (start // size + 1) * size)
        yield from (Chunk(market, symbol, stream, start, end) for symbol in order.symbols)
        start = end
