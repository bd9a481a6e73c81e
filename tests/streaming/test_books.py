"""Local books: snapshots, changes, what may follow what, and the frames made of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow_streaming.exchanges.books import DEPTH, INTERVAL_US, BookMerger, Change, LocalBook, Sequencing
from orderflow_streaming.exchanges.merging import FieldMerger, Fields, OutOfSequenceError

BY_ONE = Sequencing(follows=lambda last, change: change.first == last + 1)
BY_PREVIOUS = Sequencing(
    follows=lambda last, change: change.previous == last, is_old=lambda last, change: change.last == last
)
JOINED = Sequencing(
    follows=lambda last, change: change.first == last + 1,
    joins=lambda last, change: change.first <= last + 1 <= change.last,
)

sides = st.dictionaries(st.integers(1, 60), st.integers(0, 9), max_size=12)


def levels(side: dict[int, int], *, above: int) -> list[tuple[str, str]]:
    return [(f"{above + price}.50", str(size)) for price, size in side.items()]


def snapshot(last: int, bids: dict[int, int], asks: dict[int, int], event_ms: int = 1) -> Change:
    return Change("X", event_ms, last, levels(bids, above=0), levels(asks, above=100), is_snapshot=True)


def change(first: int, last: int, bids: dict[int, int], asks: dict[int, int], event_ms: int = 2) -> Change:
    return Change("X", event_ms, last, levels(bids, above=0), levels(asks, above=100), first=first, previous=first - 1)


def plain(book: LocalBook) -> tuple[dict[float, str], dict[float, str]]:
    return (
        {price: str(level[1]) for price, level in book.bids.items()},
        {price: str(level[1]) for price, level in book.asks.items()},
    )


@given(sides, sides, st.lists(st.tuples(sides, sides), max_size=20))
def test_a_book_is_what_its_changes_make_of_it(bids: Any, asks: Any, changes: list[Any]) -> None:
    book = LocalBook(BY_ONE)
    book.apply(snapshot(10, bids, asks))
    expected = [{price: size for price, size in side.items() if size} for side in (bids, asks)]
    for number, parts in enumerate(changes, 11):
        book.apply(change(number, number, *parts))
        for side, part in zip(expected, parts, strict=True):
            side.update(part)
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        assert plain(book) == (
            {price + 0.5: str(size) for price, size in expected[0].items()},
            {price + 100.5: str(size) for price, size in expected[1].items()},
        )
        best_bids, best_asks = book.top(5)
        assert [float(level[0]) for level in best_bids] == sorted((p + 0.5 for p in expected[0]), reverse=True)[:5]
        assert [float(level[0]) for level in best_asks] == sorted(p + 100.5 for p in expected[1])[:5]


@given(st.lists(st.integers(1, 4), min_size=3, max_size=30), st.data())
def test_every_missing_change_is_found_and_no_other(widths: list[int], data: st.DataObject) -> None:
    changes, last = [], 7
    for width in widths:
        changes.append(change(last + 1, last + width, {width: 1}, {}))
        last += width
    for sequencing in (BY_ONE, BY_PREVIOUS):
        book = LocalBook(sequencing)
        book.apply(snapshot(7, {1: 1}, {1: 1}))
        for one in changes:
            book.apply(one)
        assert book.last == last
        missing = data.draw(st.integers(0, len(changes) - 2))
        book.apply(snapshot(7, {1: 1}, {1: 1}))
        for one in changes[:missing]:
            book.apply(one)
        with pytest.raises(OutOfSequenceError, match="does not follow"):
            book.apply(changes[missing + 1])
        assert not book.ready
        assert not book.bids


def test_repeated_and_older_changes_are_ignored() -> None:
    book = LocalBook(BY_ONE)
    book.apply(snapshot(10, {5: 1}, {5: 1}))
    first, second = change(11, 12, {6: 2}, {}), change(13, 13, {6: 0}, {})
    assert book.apply(first)
    assert not book.apply(first)
    assert book.apply(second)
    assert not book.apply(first)
    assert plain(book)[0] == {5.5: "1"}


def test_changes_wait_for_a_snapshot_and_join_it() -> None:
    book = LocalBook(JOINED)
    early = [change(5, 8, {1: 1}, {}), change(9, 12, {2: 2}, {}), change(13, 14, {3: 3}, {})]
    assert not any(book.apply(one) for one in early)
    assert book.apply(snapshot(10, {9: 9}, {9: 9}))
    assert book.last == 14
    assert plain(book)[0] == {9.5: "9", 2.5: "2", 3.5: "3"}
    assert book.apply(change(15, 15, {9: 0}, {}))


def test_a_snapshot_older_than_what_waits_does_not_join() -> None:
    book = LocalBook(JOINED)
    book.apply(change(50, 60, {1: 1}, {}))
    with pytest.raises(OutOfSequenceError):
        book.apply(snapshot(10, {9: 9}, {9: 9}))


def test_changes_without_a_snapshot_change_nothing() -> None:
    book = LocalBook(BY_ONE)
    assert not book.apply(change(1, 1, {1: 1}, {}))
    assert not book.ready


def test_a_new_snapshot_replaces_everything() -> None:
    book = LocalBook(BY_ONE)
    book.apply(snapshot(10, {1: 1, 2: 2}, {1: 1}))
    book.apply(snapshot(3, {7: 7}, {8: 8}))
    assert plain(book) == ({7.5: "7"}, {108.5: "8"})
    assert book.last == 3


def test_a_crossed_book_is_given_up() -> None:
    book = LocalBook(BY_ONE)
    book.apply(snapshot(10, {1: 1}, {1: 1}))
    with pytest.raises(OutOfSequenceError, match="not below"):
        book.apply(Change("X", 1, 11, [("150", "1")], [], first=11))
    assert not book.ready


def test_a_checksum_that_differs_gives_the_book_up() -> None:
    counted = Sequencing(BY_ONE.follows, checksum=lambda book: len(book.bids))
    book = LocalBook(counted)
    book.apply(snapshot(10, {1: 1}, {1: 1})._replace(checksum=1))
    book.apply(change(11, 11, {2: 1}, {})._replace(checksum=2))
    book.apply(change(12, 12, {3: 1}, {}))
    with pytest.raises(OutOfSequenceError, match="checksum 4 instead of 9"):
        book.apply(change(13, 13, {4: 1}, {})._replace(checksum=9))


# -- frames --------------------------------------------------------------------------------------------------


def encoded(one: Change) -> bytes:
    return msgspec.json.encode(one)


def decode(frame: bytes) -> Change:
    return msgspec.json.decode(frame, type=Change)


def merger(**knobs: Any) -> BookMerger:
    return BookMerger("book.X", decode, BY_ONE, **knobs)


def test_a_frame_has_the_best_levels_as_the_venue_wrote_them() -> None:
    many = dict.fromkeys(range(1, 50), 1)
    frame = merger().absorb(encoded(snapshot(10, many, many, event_ms=77)), 5)
    assert frame is not None
    told = msgspec.json.decode(frame)
    assert told["book"] == "book.X"
    data = told["data"]
    assert (data["s"], data["E"], data["u"]) == ("X", 77, 10)
    assert data["b"] == [[f"{price}.50", "1"] for price in range(49, 49 - DEPTH, -1)]
    assert data["a"] == [[f"{100 + price}.50", "1"] for price in range(1, 1 + DEPTH)]


def test_frames_keep_their_distance_and_the_last_state_is_told_in_the_end() -> None:
    random.seed(5)
    merging, now, told = merger(), 1_000_000, []
    received = {10: now}
    assert merging.absorb(encoded(snapshot(10, {1: 1}, {1: 1})), now) is not None
    told.append(now)
    for number in range(11, 200):
        now += random.choice((1_000, 20_000, 90_000))
        received[number] = now
        if merging.absorb(encoded(change(number, number, {1: number % 8 + 1}, {})), now) is not None:
            told.append(now)
    assert all(later - sooner >= INTERVAL_US for sooner, later in pairwise(told))
    merging.absorb(encoded(change(200, 200, {2: 2}, {})), now + 1)
    assert merging.overdue(now + 2) is None
    overdue = merging.overdue(now + INTERVAL_US + 1)
    assert overdue is not None
    when, frame = overdue
    assert when == now + 1
    assert msgspec.json.decode(frame)["data"]["u"] == 200
    assert merging.overdue(now + 9 * INTERVAL_US) is None


def test_a_change_of_nothing_makes_no_frame() -> None:
    merging = merger(interval_us=0)
    merging.absorb(encoded(snapshot(10, {1: 1}, {1: 1})), 1)
    assert merging.absorb(encoded(change(11, 11, {}, {})), 2) is None
    assert merging.absorb(encoded(change(12, 12, {1: 2}, {})), 3) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda frame: frame[:-7],
        lambda frame: b"\xff" + frame,
        lambda frame: frame.replace(b'"1.50"', b'"one"'),
        lambda frame: frame.replace(b'["1.50","3"]', b"[]"),
        lambda frame: frame.replace(b'"3"', b"null"),
        lambda frame: frame.replace(b'"3"', b'"-3"'),
        lambda frame: frame.replace(b'"1.50"', b'"nan"'),
        lambda frame: frame.replace(b'"1.50"', b'"1e999"'),
        lambda frame: b"[]",
        lambda frame: b"1",
    ],
)
def test_what_cannot_be_read_empties_the_state_and_the_next_snapshot_fills_it(damage: Callable[[bytes], bytes]) -> None:
    merging = merger(interval_us=0)
    merging.absorb(encoded(snapshot(10, {1: 1}, {1: 1})), 1)
    with pytest.raises(ValueError, match="not a change of a book"):
        merging.absorb(damage(encoded(change(11, 11, {1: 3}, {}))), 2)
    assert merging.waiting
    assert merging.absorb(encoded(change(12, 12, {1: 3}, {})), 3) is None
    assert merging.absorb(encoded(snapshot(20, {1: 1}, {1: 1})), 4) is not None
    assert not merging.waiting


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(frame: bytes) -> None:
    merging = merger()
    try:
        merging.absorb(frame, 1)
    except (ValueError, OutOfSequenceError):
        assert merging.waiting


# -- fields --------------------------------------------------------------------------------------------------


def read_fields(frame: bytes) -> Fields:
    message = msgspec.json.decode(frame)
    return Fields(message["type"] == "snapshot", message["ts"], message["data"])


def fields(kind: str, ts: int, **data: Any) -> bytes:
    return msgspec.json.encode({"type": kind, "ts": ts, "data": data})


def test_absent_fields_stay_as_they_were_and_fresh_ones_are_named() -> None:
    merging = FieldMerger("tickers.X", read_fields)
    assert merging.absorb(fields("delta", 1, mark="5"), 1) is None
    assert merging.waiting
    first = merging.absorb(fields("snapshot", 2, mark="1", index="2"), 1)
    later = merging.absorb(fields("delta", 3, mark="1", index="3"), 1)
    assert msgspec.json.decode(first or b"") == {
        "fields": "tickers.X",
        "E": 2,
        "fresh": ",mark,index,",
        "data": {"mark": "1", "index": "2"},
    }
    assert msgspec.json.decode(later or b"") == {
        "fields": "tickers.X",
        "E": 3,
        "fresh": ",index,",
        "data": {"mark": "1", "index": "3"},
    }
    merging.reset()
    assert merging.absorb(fields("delta", 4, mark="5"), 1) is None
