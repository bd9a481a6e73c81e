"""Local books of Gate.io USDT futures, from either of its streams of changes.

Source: gate.com/docs/developers/futures/ws, "Order book update" and "Order book V2". Ids rise by one per change of the
contract; a change covers ``U`` to ``u``. Snapshots come over REST (``order_book?with_id=true``), over the socket for
``futures.obu``, and as recorded in 2026 also for ``futures.order_book_update``, with ``full`` (gate.com announcement
44722, 2026-05-06).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from orderflow_streaming.exchanges.books import BookFeed, Change, Sequencing


class _Level(msgspec.Struct):
    p: str
    s: str | float

    def pair(self) -> tuple[str, str | float]:
        return self.p, self.s


class _Update(msgspec.Struct):
    s: str
    u: int
    t: int = 0
    U: int = 0
    full: bool = False
    b: list[_Level] = []
    a: list[_Level] = []


class _UpdateMessage(msgspec.Struct):
    result: _Update


class _Compact(msgspec.Struct):
    s: str
    u: int
    t: int = 0
    U: int = 0
    full: bool = False
    b: list[tuple[Any, Any]] = []
    a: list[tuple[Any, Any]] = []


class _CompactMessage(msgspec.Struct):
    result: _Compact


class _Snapshot(msgspec.Struct):
    id: int
    bids: list[_Level]
    asks: list[_Level]
    update: float = 0.0


class _SnapshotAnswer(msgspec.Struct):
    data: _Snapshot
    rest: str = ""


_decode_update = msgspec.json.Decoder(_UpdateMessage).decode
_decode_compact = msgspec.json.Decoder(_CompactMessage).decode
_decode_answer = msgspec.json.Decoder(_SnapshotAnswer).decode


def update(frame: bytes) -> Change:
    """A message of ``futures.order_book_update``; raises msgspec's errors."""
    data = _decode_update(frame).result
    return Change(data.s, data.t, data.u, _pairs(data.b), _pairs(data.a), is_snapshot=data.full, first=data.U)


def compact_update(frame: bytes) -> Change:
    """A message of ``futures.obu``, whose symbol is ``ob.BTC_USDT.50``; raises msgspec's errors."""
    data = _decode_compact(frame).result
    contract = data.s.split(".")[1] if data.s.count(".") > 1 else data.s
    return Change(contract, data.t, data.u, data.b, data.a, is_snapshot=data.full, first=data.U)


def snapshot(frame: bytes) -> Change:
    """A REST answer to ``order_book?contract=…&with_id=true``; raises msgspec's errors, and ValueError where the
    contract asked for is not told."""
    answer = _decode_answer(frame)
    asked = parse_qs(urlsplit(answer.rest).query).get("contract", [])
    if len(asked) != 1:
        raise ValueError(f"the answer to {answer.rest!r:.80} does not tell its contract")
    data = answer.data
    at_ms = round(data.update * 1000) if data.update < 1e11 else round(data.update)
    return Change(asked[0], at_ms, data.id, _pairs(data.bids), _pairs(data.asks), is_snapshot=True)


def _pairs(levels: list[_Level]) -> list[tuple[str, str | float]]:
    return [level.pair() for level in levels]


_BY_RANGE = Sequencing(
    follows=lambda last, change: change.first == last + 1,
    joins=lambda last, change: change.first <= last + 1 <= change.last,
)

BOOKS = {
    "futures.order_book_update": BookFeed(update, _BY_RANGE, "rest/order_book", snapshot),
    "futures.obu": BookFeed(compact_update, Sequencing(follows=lambda last, change: change.first == last + 1)),
}
