"""The incremental books of KuCoin, and the REST snapshots that they join.

Sources: www.kucoin.com/docs-new, "Orderbook - Increment" of both markets, and "Level 2 Market Data" on how to join.
A spot message sums up the changes ``sequenceStart`` to ``sequenceEnd``, each with its own sequence; a price of zero
changes nothing but the sequence. A futures message is one change. A message of the unified interface goes from ``O``
to ``C`` and comes after a snapshot on the same socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from orderflow_streaming.exchanges.books import BookFeed, Change, Level, Sequencing

_NANOSECONDS_PER_MILLISECOND = 1_000_000


class _SpotChanges(msgspec.Struct):
    asks: list[tuple[str, str, str]]
    bids: list[tuple[str, str, str]]


class _SpotData(msgspec.Struct):
    symbol: str
    changes: _SpotChanges
    sequence_start: int = msgspec.field(name="sequenceStart")
    sequence_end: int = msgspec.field(name="sequenceEnd")
    time: int = 0


class _SpotMessage(msgspec.Struct):
    data: _SpotData


class _FuturesData(msgspec.Struct):
    sequence: int
    change: str
    timestamp: int


class _FuturesMessage(msgspec.Struct):
    topic: str
    data: _FuturesData


class _UnifiedData(msgspec.Struct):
    s: str
    O: int  # noqa: E741, the venue's name
    C: int
    M: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _UnifiedMessage(msgspec.Struct):
    t: str
    d: _UnifiedData


class _Snapshot(msgspec.Struct):
    sequence: int | str
    bids: list[tuple[float | str, float | str]] | None
    asks: list[tuple[float | str, float | str]] | None
    symbol: str = ""
    time: int = 0
    ts: int = 0


class _Answer(msgspec.Struct):
    data: _Snapshot


class _AnswerFrame(msgspec.Struct):
    rest: str
    data: _Answer


_decode_spot = msgspec.json.Decoder(_SpotMessage).decode
_decode_futures = msgspec.json.Decoder(_FuturesMessage).decode
_decode_unified = msgspec.json.Decoder(_UnifiedMessage).decode
_decode_answer = msgspec.json.Decoder(_AnswerFrame).decode


def spot_change(frame: bytes) -> Change:
    """A message of ``/market/level2``; old ones carry no time."""
    data = _decode_spot(frame).data
    bids, asks = _priced(data.changes.bids), _priced(data.changes.asks)
    return Change(data.symbol, data.time, data.sequence_end, bids, asks, first=data.sequence_start)


def _priced(changes: Iterable[tuple[str, str, str]]) -> list[Level]:
    """Changes of levels, in the order in which they happened."""
    return sorted((change for change in changes if float(change[0])), key=lambda change: int(change[2]))


def futures_change(frame: bytes) -> Change:
    """A message of ``/contractMarket/level2``; sizes are lots."""
    message = _decode_futures(frame)
    price, side, size = message.data.change.split(",")
    if side not in ("buy", "sell"):
        raise ValueError(f"the side is buy or sell, not {side!r:.20}")
    bids, asks = ([(price, size)], []) if side == "buy" else ([], [(price, size)])
    sequence = message.data.sequence
    symbol = message.topic.partition(":")[2]
    return Change(symbol, message.data.timestamp, sequence, bids, asks, first=sequence)


def unified_change(frame: bytes) -> Change:
    """A message of the ``obu`` channel."""
    message = _decode_unified(frame)
    data = message.d
    event_ms = data.M // _NANOSECONDS_PER_MILLISECOND
    return Change(data.s, event_ms, data.C, data.b, data.a, is_snapshot=message.t == "snapshot", first=data.O)


def snapshot(frame: bytes) -> Change:
    """A book answered over REST; on spot only the URL names the symbol."""
    message = _decode_answer(frame)
    book = message.data.data
    symbol = book.symbol or parse_qs(urlsplit(message.rest).query).get("symbol", [""])[0]
    event_ms = book.time or book.ts // _NANOSECONDS_PER_MILLISECOND
    return Change(symbol, event_ms, int(book.sequence), book.bids or [], book.asks or [], is_snapshot=True)


def _follows(last: int, change: Change) -> bool:
    return change.first == last + 1


def _joins(last: int, change: Change) -> bool:
    return change.first <= last + 1 <= change.last


def _beyond(last: int, change: Change) -> Change:
    """``change`` without what a snapshot at ``last`` holds already."""
    return change._replace(bids=_newer(last, change.bids), asks=_newer(last, change.asks))


def _newer(last: int, levels: Sequence[Level]) -> list[Level]:
    return [level for level in levels if int(level[2]) > last]


SPOT_BOOK = BookFeed(
    spot_change, Sequencing(_follows, joins=_joins, beyond=_beyond), snapshots="rest/level2", decode_snapshot=snapshot
)
FUTURES_BOOK = BookFeed(
    futures_change, Sequencing(_follows, joins=_joins), snapshots="rest/level2", decode_snapshot=snapshot
)
UNIFIED_BOOK = BookFeed(unified_change, Sequencing(_follows))
