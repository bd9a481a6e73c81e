"""Local books of Binance from its streams of differences, which join a snapshot asked for over REST.

Source: developers.binance.com, "How to manage a local order book correctly" of spot and of USDⓈ-M futures; what joins
a snapshot is as recorded: a difference that begins right after it does, which the futures' page leaves out.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec

from orderflow_streaming.exchanges.books import BookFeed, Change, Sequencing

Side = list[tuple[str, str]]


class _Difference(msgspec.Struct):
    s: str
    U: int
    u: int
    b: Side
    a: Side
    E: int = 0
    pu: int | None = None


class _DifferenceMessage(msgspec.Struct):
    data: _Difference


class _Snapshot(msgspec.Struct):
    lastUpdateId: int  # noqa: N815
    bids: Side
    asks: Side
    E: int = 0


class _SnapshotAnswer(msgspec.Struct):
    data: _Snapshot
    rest: str = ""
    stream: str = ""


_decode = msgspec.json.Decoder(_DifferenceMessage).decode
_decode_answer = msgspec.json.Decoder(_SnapshotAnswer).decode


def difference(frame: bytes) -> Change:
    """A message of the depth stream; raises msgspec's errors."""
    data = _decode(frame).data
    return Change(data.s, data.E, data.u, data.b, data.a, first=data.U, previous=data.pu)


def snapshot(frame: bytes) -> Change:
    """A REST answer to ``depth?symbol=``; raises msgspec's errors. Spot tells no time, which is 0 then."""
    answer = _decode_answer(frame)
    asked = parse_qs(urlsplit(answer.rest).query).get("symbol")
    symbol = asked[0] if asked else answer.stream.partition("@")[0].upper()
    data = answer.data
    return Change(symbol, data.E, data.lastUpdateId, data.bids, data.asks, is_snapshot=True)


_BY_PREVIOUS = Sequencing(
    follows=lambda last, change: change.previous == last,
    joins=lambda last, change: change.first <= last + 1 and change.last >= last,
)
"""Ids are shared by all symbols, so that ranges of one symbol do not touch; each difference names the one before."""

_BY_RANGE = Sequencing(
    follows=lambda last, change: change.first == last + 1,
    joins=lambda last, change: change.first <= last + 1 <= change.last,
)

FUTURES_BOOKS = {
    "depth": BookFeed(difference, _BY_PREVIOUS, "rest/depth", snapshot),
    "rpiDepth": BookFeed(difference, _BY_PREVIOUS, "rest/rpiDepth", snapshot),
}
SPOT_BOOKS = {"depth": BookFeed(difference, _BY_RANGE, "rest/depth", snapshot)}
