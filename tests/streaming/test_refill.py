"""What is missing is asked for again, once, by number or by time, while there is hope; the gap says what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest

from orderflow_streaming.exchanges.binance.futures import BinanceFutures
from orderflow_streaming.exchanges.protocol import History, OutOfReachError, Pages, Request
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.past import fetching, refill
from orderflow_streaming.past.refill import Refill, stretches, unfillable
from orderflow_streaming.reading.rest import RestError
from orderflow_streaming.schema import GAPS
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.tables import Table
from orderflow_streaming.writing.gaps import (
    DISCONNECTION,
    SEQUENCE_JUMP,
    Gap,
    Settled,
    State,
    open_gaps,
    settle,
    unfilled,
)
from tests.streaming.messages import trade
from tests.streaming.past import BINANCE, IDENTITY, MINUTE_MS, Asking, Past, asking

MARKET = MARKETS["binance_futures"]
NOW_MS = time.time_ns() // 1_000_000
HOUR_US = 3_600_000_000


def lost(stream: str, start_ms: int, end_ms: int, symbol: str = "BTCUSDT") -> Gap:
    return Gap(stream, (symbol, *IDENTITY[1:]), start_ms * 1000, end_ms * 1000, DISCONNECTION)


def jump(first: int, last: int, start_ms: int = NOW_MS - 2_000, end_ms: int = NOW_MS - 1_000) -> Gap:
    return Gap("trades", IDENTITY, start_ms * 1000, end_ms * 1000, SEQUENCE_JUMP, first, last)


# -- what is asked for at once -------------------------------------------------------------------------------


def test_gaps_of_a_series_that_lie_close_together_are_one_stretch() -> None:
    gaps = [jump(10, 12), jump(500, 500), jump(9_000, 9_100), lost("candles", NOW_MS - 90_000, NOW_MS - 80_000)]
    gaps += [lost("candles", NOW_MS - 30_000, NOW_MS), lost("candles", NOW_MS - 30_000, NOW_MS, "ETHUSDT")]
    found = stretches(gaps, BINANCE)
    assert [(one.gaps[0].stream, one.gaps[0].identity[0], len(one.gaps), one.numbered) for one in found] == [
        ("candles", "BTCUSDT", 2, False), ("candles", "ETHUSDT", 1, False), ("trades", "BTCUSDT", 2, True),
        ("trades", "BTCUSDT", 1, True),
    ]  # fmt: skip
    assert (found[2].start, found[2].end) == (10, 500)
    assert found[0].start <= (NOW_MS - 90_000) // MINUTE_MS * MINUTE_MS * 1000 - 60_000_000
    assert found[0].end > NOW_MS * 1000


def test_a_gap_inside_another_makes_the_stretch_no_shorter() -> None:
    [stretch] = stretches([jump(10, 900), jump(20, 30)], BINANCE)
    assert (stretch.start, stretch.end) == (10, 900)


def test_what_cannot_be_had_again_is_said_and_not_asked_for() -> None:
    assert unfillable(lost("orderbooks", 1, 2), BINANCE, 24) == "binance_futures does not give orderbooks again"
    assert "24 hours (refill_max_hours)" in unfillable(lost("trades", 0, 25 * 3_600_000), BINANCE, 24)
    assert unfillable(Gap("candles", IDENTITY, None, 5, DISCONNECTION), BINANCE, 24)
    assert not unfillable(Gap("trades", IDENTITY, None, 5, SEQUENCE_JUMP, 1, 2), BINANCE, 24)
    assert not unfillable(jump(1, 2), BINANCE, 24)


# -- what is written down ------------------------------------------------------------------------------------


async def test_a_gap_is_pending_until_it_is_settled(tmp_path: Path) -> None:
    async with asking(Past({}), tmp_path) as venue:
        await venue.store(gaps=(jump(1, 2), jump(5, 6), lost("prices", 1_000, 2_000), lost("candles", 5, 6)))
        assert len(unfilled(venue.engine, MARKET)) == 4
        settle(
            venue.engine,
            [
                Settled(jump(1, 2), State.FILLED, rows=2),
                Settled(lost("prices", 1_000, 2_000), State.GIVEN_UP, "not given"),
                Settled(lost("candles", 5, 6), State.PENDING, "503 busy"),
            ],
        )
        assert {gap.stream: gap.first_missing for gap in unfilled(venue.engine, MARKET)} == {
            "candles": None,
            "trades": 5,
        }
        assert len(unfilled(venue.engine, MARKET, given_up=True)) == 3
        assert open_gaps(venue.engine, MARKET) == {"trades": 1, "prices": 1, "candles": 1}
        assert venue.rows("SELECT fill_reason, filled_at FROM ops.gaps WHERE stream = 'candles'") == [
            ("503 busy", None)
        ]
        assert unfilled(venue.engine, MARKETS["bybit_futures"]) == []


def test_a_database_of_before_gets_the_columns_and_its_gaps_are_pending(tmp_path: Path) -> None:
    columns = tuple(
        column
        for column in GAPS.columns
        if column.name not in ("filled_at", "filled_rows", "fill_reason", "given_up_at")
    )
    path = tmp_path / "orderflow.duckdb"
    engine = Engine(path)
    engine.ensure(Table("ops", "gaps", columns, GAPS.key, GAPS.time))
    engine.close()
    with duckdb.connect(str(path)) as database:
        database.execute(
            "INSERT INTO ops.gaps VALUES (now()::TIMESTAMP, 'BTCUSDT', 'binance', 'futures', 'trades', "
            "TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01 00:00:01', '7', '8', 'sequence jump')"
        )
    engine = Engine(path)
    engine.ensure(GAPS)
    [gap] = unfilled(engine, MARKET)
    assert (gap.first_missing, gap.last_missing) == (7, 8)
    settle(engine, [Settled(gap, State.FILLED, rows=2)])
    assert unfilled(engine, MARKET, given_up=True) == []
    engine.close()


# -- filling -------------------------------------------------------------------------------------------------


def filling(venue: Asking, max_hours: float = 24) -> Refill:
    return Refill(venue.fetcher, venue.engine, venue.stored, max_hours=max_hours)


async def test_missing_trades_are_asked_for_by_number_and_stored_once(tmp_path: Path) -> None:
    known = {number: NOW_MS - 60_000 + number for number in range(1, 3_000)}
    async with asking(Past(known), tmp_path) as venue:
        await venue.store(*(trade(known[number], number) for number in (1, 2, 5, 6, 2_500, 2_501)))
        assert [gap.first_missing for gap in unfilled(venue.engine, MARKET)] == [3, 7]
        await filling(venue).round()
        assert venue.rows(
            "SELECT count(*), count(DISTINCT trade_id), min(trade_id::INT), max(trade_id::INT) FROM trades"
        ) == [(2_501, 2_501, 1, 2_501)]
        assert venue.gaps() == [("trades", True, False, 2, None), ("trades", True, False, 2_493, None)]
        assert len(venue.venue.asked) == 3
        assert venue.rows("SELECT count(*) FROM ops.quarantine") == [(0,)]


async def test_a_refill_that_was_cut_off_goes_on_behind_what_it_stored(tmp_path: Path) -> None:
    known = {number: NOW_MS - 60_000 + number for number in range(1, 6_000)}
    async with asking(Past(known), tmp_path) as venue:
        await venue.store(trade(known[1], 1), trade(known[5_500], 5_500))
        await venue.fetcher.numbers("trades", "BTCUSDT", 2, 3_001)
        assert await venue.stored()
        venue.venue.asked.clear()
        await filling(venue).round()
        assert "fromId=3002&" in venue.venue.asked[0]
        assert len(venue.venue.asked) == 3
        assert venue.gaps() == [("trades", True, False, 5_498, None)]


async def test_a_long_stretch_is_filled_in_parts_and_others_come_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refill, "NUMBERS_AT_ONCE", 1_000)
    known = {number: NOW_MS - 60_000 + number for number in range(1, 4_000) if number not in (2, 3, 1_500)}
    async with asking(Past(known), tmp_path) as venue:
        await venue.store(trade(known[1], 1), trade(known[2_600], 2_600), trade(known[2_602], 2_602))
        worker = filling(venue)
        for stored in (1_003, 2_003):
            await worker.round()
            assert venue.rows("SELECT count(*) FROM trades") == [(stored,)]
            assert worker._woken.is_set()
        minute_ms = NOW_MS // MINUTE_MS * MINUTE_MS - 3 * MINUTE_MS
        await venue.store(gaps=(lost("candles", minute_ms + 10_000, minute_ms + 20_000),))
        worker._woken.clear()
        await worker.round()
        assert not worker._woken.is_set()
        assert venue.gaps() == [
            ("candles", True, False, 2, None),
            ("trades", False, True, 2_595, "the venue gave 2,595 of 2,598"),
            ("trades", True, False, 1, None),
        ]


async def test_answers_that_lead_nowhere_end_the_asking(tmp_path: Path) -> None:
    class Circular(ShortMemory):
        histories: ClassVar = {"trades": History("rest/aggTrades[]", _in_circles)}

    async with asking(Past({1: NOW_MS}), tmp_path, Circular()) as venue:
        with pytest.raises(RestError, match="lead nowhere") as failed:
            await venue.fetcher.span("trades", "BTCUSDT", 0, NOW_MS * 1000)
        assert failed.value.lasting
        assert len(venue.venue.asked) == 1


class Unnumbered(BinanceFutures):
    """Asked by time only, as venues whose ids are no numbers."""

    histories: ClassVar = {"trades": History("rest/aggTrades[]", BinanceFutures.histories["trades"].pages)}


@pytest.mark.parametrize("skew_ms", [0, -60_000, 60_000])
async def test_trades_lost_in_a_disconnection_are_asked_for_by_the_venues_clock(tmp_path: Path, skew_ms: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    known = {number: now_ms + skew_ms - 40_000 + 100 * number for number in range(400)}
    async with asking(Past(known), tmp_path, Unnumbered()) as venue:
        for numbers, received_ms in ((range(100, 150), now_ms - 25_000), (range(250, 260), now_ms - 15_000)):
            for number in numbers:
                frame = trade(known[number], number)
                venue.inbox.pending("binance_futures", "aggTrade").add(received_ms * 1000, frame)
        await venue.store(gaps=(lost("trades", now_ms - 25_000, now_ms - 15_000),))
        venue.engine.cursor().execute("DELETE FROM ops.gaps WHERE reason = 'sequence jump'")
        await filling(venue).round()
        assert venue.rows(
            "SELECT count(DISTINCT trade_id), count(*) FROM trades WHERE trade_id::INT BETWEEN 100 AND 259"
        ) == [(160, 160)]
        [(_, filled, _, rows, reason)] = venue.gaps()
        assert (filled, reason) == (True, None)
        assert rows >= 100
        [asked] = [path for path in venue.venue.asked if "startTime" in path]
        assert f"startTime={known[149]}&" in asked


async def test_what_the_venue_does_not_have_keeps_the_gap_open_with_the_count(tmp_path: Path) -> None:
    known = {number: NOW_MS - 60_000 + number for number in range(1, 10) if number not in (4, 5)}
    async with asking(Past(known), tmp_path) as venue:
        await venue.store(trade(known[1], 1), trade(known[9], 9))
        worker = filling(venue)
        await worker.round()
        assert venue.gaps() == [("trades", False, True, 5, "the venue gave 5 of 7")]
        asked = len(venue.venue.asked)
        await worker.round()
        assert len(venue.venue.asked) == asked
        assert worker.open == {"trades": 1}


async def test_bars_lost_in_a_disconnection_are_asked_for_by_time(tmp_path: Path) -> None:
    start = NOW_MS - 5 * MINUTE_MS
    async with asking(Past({}), tmp_path) as venue:
        await venue.store(gaps=(lost("candles", start, start + 2 * MINUTE_MS), lost("prices", start, start + 1)))
        worker = filling(venue)
        await worker.round()
        first = start // MINUTE_MS * MINUTE_MS
        opens = [row[0] for row in venue.rows("SELECT epoch_ms(open_time) FROM candles ORDER BY open_time")]
        assert opens == [first + n * MINUTE_MS for n in range(-1, 3)]
        assert venue.gaps() == [
            ("candles", True, False, 4, None),
            ("prices", False, True, None, "binance_futures does not give prices again"),
        ]
        assert worker.open == {"prices": 1}


@pytest.mark.parametrize("status", [429, 418, 503])
async def test_a_refusal_that_passes_is_waited_for(
    tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FIRST_RETRY_S", 0.05)
    async with asking(Past({1: NOW_MS, 2: NOW_MS, 3: NOW_MS}), tmp_path) as venue:
        await venue.store(trade(NOW_MS, 1), trade(NOW_MS, 3))
        venue.venue.refuse = [(status, {"Retry-After": "1"} if status != 503 else {}, b"slow down")]
        began = time.monotonic()
        await filling(venue).round()
        assert venue.gaps() == [("trades", True, False, 1, None)]
        assert len(venue.venue.asked) == 2
        assert status == 503 or time.monotonic() - began >= 1.0


async def test_a_venue_that_stays_away_is_left_alone_for_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(refill, "FIRST_RETRY_S", 0.3)
    async with asking(Past({1: NOW_MS, 2: NOW_MS, 3: NOW_MS}), tmp_path) as venue:
        await venue.store(trade(NOW_MS, 1), trade(NOW_MS, 3))
        venue.venue.refuse = [(500, {}, b"down")] * fetching.TRIES
        worker = filling(venue)
        await worker.round()
        assert venue.gaps() == [("trades", False, False, None, "500 down")]
        await worker.round()
        assert len(venue.venue.asked) == fetching.TRIES
        await worker._wait()
        await worker.round()
        assert venue.gaps() == [("trades", True, False, 1, None)]


async def test_a_refusal_for_good_is_not_asked_again(tmp_path: Path) -> None:
    async with asking(Past({}), tmp_path) as venue:
        await venue.store(gaps=(jump(3, 4),))
        venue.venue.refuse = [(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')]
        worker = filling(venue)
        await worker.round()
        await worker.round()
        assert len(venue.venue.asked) == 1
        [(*_, given_up, _, reason)] = venue.gaps()
        assert given_up
        assert "Invalid symbol" in reason


async def test_rows_the_store_did_not_take_leave_the_gap_pending(tmp_path: Path) -> None:
    async with asking(Past({2: NOW_MS}), tmp_path) as venue:
        await venue.store(gaps=(jump(2, 2),))

        async def stalled() -> bool:
            return False

        await Refill(venue.fetcher, venue.engine, stalled, max_hours=24).round()
        assert venue.gaps() == [("trades", False, False, None, None)]
        await filling(venue).round()
        assert venue.gaps() == [("trades", True, False, 1, None)]


async def test_nothing_is_asked_for_where_it_is_turned_off(tmp_path: Path) -> None:
    async with asking(Past({}), tmp_path) as venue:
        await venue.store(gaps=(jump(3, 4),))
        worker = filling(venue, max_hours=0)
        await worker.round()
        assert venue.gaps() == [("trades", False, False, None, None)]
        assert worker.open == {"trades": 1}


# -- what venues say of the past -----------------------------------------------------------------------------


def _latest_only(symbol: str, start_us: int, end_us: int) -> Pages:
    yield Request(f"/fapi/v1/aggTrades?symbol={symbol}&limit=2")
    raise OutOfReachError("the venue gives the last 2 trades only")


def _in_circles(symbol: str, start_us: int, end_us: int) -> Pages:
    while True:
        yield Request(f"/fapi/v1/aggTrades?symbol={symbol}&limit=2")


class ShortMemory(BinanceFutures):
    """Gives the latest trades only, and bars for an hour."""

    histories: ClassVar = {
        "trades": History("rest/aggTrades[]", _latest_only),
        "candles": History("rest/klines[]", BinanceFutures.histories["candles"].pages, reach_s=3600.0),
    }

    def refusal(self, answer: Any) -> str:
        return str(answer["msg"]) if isinstance(answer, dict) and "msg" in answer else ""


async def test_a_venue_with_a_short_memory_says_what_is_missing(tmp_path: Path) -> None:
    async with asking(Past({1: NOW_MS, 2: NOW_MS}), tmp_path, ShortMemory()) as venue:
        end_us = time.time_ns() // 1000
        fetched = await venue.fetcher.span("candles", "BTCUSDT", end_us - 2 * HOUR_US, end_us)
        assert fetched.missing == "the venue keeps it for 1 hours only"
        assert fetched.requests == 1
        fetched = await venue.fetcher.span("candles", "BTCUSDT", end_us - 3 * HOUR_US, end_us - 2 * HOUR_US)
        assert (fetched.requests, fetched.received) == (0, [])
        await venue.store(gaps=(lost("trades", NOW_MS - 5_000, NOW_MS),))
        await filling(venue).round()
        assert venue.gaps() == [("trades", False, True, 2, "the venue gives the last 2 trades only")]


@pytest.mark.parametrize("body", [b"<html>", b'{"msg":"too busy"}', b'[{"no":"id"}]'])
async def test_an_answer_that_is_none_is_an_error_and_no_frame(
    tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FIRST_RETRY_S", 0.001)

    class Strict(ShortMemory):
        histories: ClassVar = BinanceFutures.histories

    async with asking(Past({}), tmp_path, Strict()) as venue:
        venue.venue.refuse = [(200, {}, body)] * fetching.TRIES
        with pytest.raises(RestError) as failed:
            await venue.fetcher.numbers("trades", "BTCUSDT", 1, 5)
        assert "\n" not in str(failed.value)
        assert not failed.value.lasting
