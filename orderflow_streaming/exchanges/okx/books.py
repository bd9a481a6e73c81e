"""Local books of OKX: 400 levels, then changes chained by ``prevSeqId``, with a checksum until June 2026.

Source: www.okx.com/docs-v5, "Order book channel". Messages of before 2023 carry no sequence ids; then the checksum
alone tells what is missing. Since 2026-06-23 the checksum is 0, which means none.
"""

from __future__ import annotations

from itertools import zip_longest
from zlib import crc32

import msgspec

from orderflow_streaming.exchanges.books import BookFeed, Change, LocalBook, Sequencing

_CHECKED_LEVELS = 25
_OF_SNAPSHOT = -1


class _Argument(msgspec.Struct, rename="camel"):
    inst_id: str


class _Book(msgspec.Struct, rename="camel"):
    asks: list[list[str]]
    bids: list[list[str]]
    ts: str
    checksum: int | None = None
    seq_id: int | None = None
    prev_seq_id: int | None = None


class _Message(msgspec.Struct):
    arg: _Argument
    data: list[_Book]
    action: str = ""


_decode = msgspec.json.Decoder(_Message).decode


def change(frame: bytes) -> Change:
    """The book or the change in a message of ``books``."""
    message = _decode(frame)
    (book,) = message.data
    return Change(
        symbol=message.arg.inst_id,
        event_ms=int(book.ts),
        last=book.seq_id or 0,
        bids=book.bids,
        asks=book.asks,
        is_snapshot=message.action == "snapshot" or book.prev_seq_id == _OF_SNAPSHOT,
        previous=book.prev_seq_id,
        checksum=book.checksum or None,
    )


def follows(last: int, change: Change) -> bool:
    """An idle market repeats its id; after maintenance ids begin anew, with the last one named as previous."""
    return change.previous is None or change.previous == last


def is_old(last: int, change: Change) -> bool:
    """Only the last message again. A lower id may also mean that the one message which began anew was missed."""
    return change.last == last


def checksum(book: LocalBook) -> int:
    """CRC-32, signed, of ``bid price:size:ask price:size:…`` of the best 25 levels as they were sent."""
    bids, asks = book.top(_CHECKED_LEVELS)
    fields = [field for pair in zip_longest(bids, asks) for level in pair if level for field in level[:2]]
    unsigned = crc32(":".join(fields).encode())
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


_FEED = BookFeed(change, Sequencing(follows, is_old, checksum=checksum))
BOOKS = {"books": _FEED, "books-l2-tbt": _FEED, "books50-l2-tbt": _FEED}
