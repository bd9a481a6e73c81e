"""Gate.io USDT futures: how the past is asked for, and local books of either stream of changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from orderflow_streaming.exchanges.books import LocalBook
from orderflow_streaming.exchanges.gateio.books import BOOKS
from orderflow_streaming.exchanges.gateio.histories import HISTORIES
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import rest_frame

START_US = 1_790_000_000_000_000
MINUTE_US = 60_000_000


def asked(stream: str, start_us: int, end_us: int, answers: Callable[[str], Any] = lambda path: []) -> list[str]:
    """Paths that are asked for one after another."""
    pages, paths = HISTORIES[stream].pages("BTCUSDT", start_us, end_us), []
    request = next(pages, None)
    while request is not None:
        paths.append(request.path)
        try:
            request = pages.send(answers(request.path))
        except StopIteration:
            return paths
    return paths


def test_bars_are_asked_for_in_parts_the_venue_allows() -> None:
    start_us = START_US // MINUTE_US * MINUTE_US
    paths = asked("candles", start_us, start_us + 2_001 * MINUTE_US)
    first_s = start_us // 1_000_000
    root = "/api/v4/futures/usdt/candlesticks?contract=BTC_USDT&interval=1m"
    assert paths == [
        f"{root}&from={first_s}&to={first_s + 119_999}",
        f"{root}&from={first_s + 120_000}&to={first_s + 120_059}",
    ]


def test_trades_are_asked_for_until_a_page_is_not_full() -> None:
    full = [{"id": number} for number in range(1_000)]
    paths = asked("trades", START_US, START_US + 1_500_000, lambda path: [] if "offset=2000" in path else full)
    span = f"from={START_US // 1_000_000}&to={START_US // 1_000_000 + 2}&limit=1000"
    assert paths == [
        f"/api/v4/futures/usdt/trades?contract=BTC_USDT&{span}&offset={offset}" for offset in (0, 1_000, 2_000)
    ]


def test_settlements_and_statistics_have_their_own_paths() -> None:
    (settled,) = asked("funding_rates", START_US, START_US + 60 * MINUTE_US)
    (counted,) = asked("open_interest", START_US, START_US + 60 * MINUTE_US)
    assert settled.startswith("/api/v4/futures/usdt/funding_rate?contract=BTC_USDT&from=1790000000&to=1790003599&")
    assert counted == "/api/v4/futures/usdt/contract_stats?contract=BTC_USDT&interval=5m&from=1790000000&limit=13"


# -- local books --------------------------------------------------------------------------------------------


def delta(first: int, last: int, bids: list[Any] | None = None, *, full: bool = False) -> bytes:
    levels = [{"p": price, "s": size} for price, size in bids or []]
    result = {"t": 1, "U": first, "u": last, "s": "BTC_USDT", "a": [], "b": levels} | ({"full": True} if full else {})
    return json.dumps({"channel": "futures.order_book_update", "event": "update", "result": result}).encode()


def joined(*frames: bytes, first: int = 100) -> LocalBook:
    feed = BOOKS["futures.order_book_update"]
    assert feed.decode_snapshot is not None
    body = {"id": first, "update": 1_791_009_974.5, "bids": [{"p": "99", "s": "1"}], "asks": [{"p": "101", "s": 2}]}
    path = "/api/v4/futures/usdt/order_book?contract=BTC_USDT&with_id=true"
    book = LocalBook(feed.sequencing)
    book.apply(feed.decode_snapshot(rest_frame(path, json.dumps(body).encode())))
    for frame in frames:
        book.apply(feed.decode(frame))
    return book


def test_changes_join_the_snapshot_they_contain_the_next_id_of() -> None:
    book = joined(delta(90, 100), delta(99, 103, [("99.5", "3")]), delta(104, 104, [("99", 0)]))
    assert (book.last, book.symbol) == (104, "BTC_USDT")
    assert book.top(2) == ([("99.5", "3")], [("101", 2)])


@pytest.mark.parametrize("frames", [[delta(102, 103)], [delta(101, 103), delta(105, 106)]], ids=["join", "later"])
def test_a_missing_change_is_found(frames: list[bytes]) -> None:
    with pytest.raises(OutOfSequenceError, match="does not follow"):
        joined(*frames)


def test_a_full_book_on_the_socket_begins_anew() -> None:
    book = joined(delta(500, 600, [("98", "1")], full=True), delta(601, 601, [("98.5", "2")]))
    assert (book.last, book.top(3)[0]) == (601, [("98.5", "2"), ("98", "1")])


def test_an_answer_that_does_not_name_its_contract_joins_nothing() -> None:
    feed = BOOKS["futures.order_book_update"]
    assert feed.decode_snapshot is not None
    with pytest.raises(ValueError, match="does not tell its contract"):
        feed.decode_snapshot(rest_frame("", b'{"id":1,"bids":[],"asks":[]}'))
