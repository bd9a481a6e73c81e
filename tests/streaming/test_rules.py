"""Bars close once, corrections win, forming states never reopen; funding rows are changes; trades are told by their id.

Rows are staged directly, as an exchange would bring them, so that every kind of venue can be played.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orderflow_streaming.recordings.journal import Position
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.projection import staged, staged_columns
from orderflow_streaming.writing.storing import Storage, Stored

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC).replace(tzinfo=None)
MINUTE = timedelta(minutes=1)
IDENTITY = {"symbol": "BTCUSDT", "exchange": "hyperliquid", "market_type": "futures"}


class Staging:
    """A store that takes staged rows, flush by flush."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder / "orderflow.duckdb", memory_limit="512MB")
        self._cursor = self.engine.cursor()
        self._normalizer = Normalizer(self._cursor, None)
        self._storage = Storage(self.engine, self._cursor, {})
        self._flushes = 0

    def flush(self, stream: str, *rows: dict[str, Any]) -> Stored:
        schema = pa.schema([column.arrow.with_nullable(True) for column in staged_columns(stream)])
        table = pa.Table.from_pylist([{"frame": n, "item": 0, **IDENTITY, **row} for n, row in enumerate(rows)], schema)
        self._cursor.register("new_rows", table)
        self._cursor.execute(f"INSERT INTO {staged(stream)} BY NAME SELECT * FROM new_rows")
        self._flushes += 1
        try:
            return self._storage.store({stream}, Position(1, self._flushes))
        finally:
            self._normalizer.clear()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.cursor().execute(sql).fetchall()

    def bars(self) -> list[tuple[Any, ...]]:
        """Minutes from the start, close, volume and whether it is closed."""
        found = self.rows("SELECT open_time, close, volume, is_closed FROM candles ORDER BY open_time")
        return [((when - T0) // MINUTE, *rest) for when, *rest in found]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Staging]:
    staging = Staging(tmp_path)
    yield staging
    staging.engine.close()


def bar(minute: int, received_s: float, volume: float, closed: bool | None = None, **more: Any) -> dict[str, Any]:
    """A state of a bar; its price follows from its volume."""
    prices = dict.fromkeys(("open", "high", "low", "close"), 100.0 + volume)
    times = {"open_time": T0 + minute * MINUTE, "received_at": T0 + timedelta(seconds=received_s)}
    return {**times, "interval": "1m", **prices, "volume": volume, "is_closed": closed, **more}


# -- venues that do not say when a bar is closed ------------------------------------------------------------


def test_a_bar_closes_when_a_later_one_of_its_series_is_seen(store: Staging) -> None:
    store.flush("candles", bar(0, 10, 1), bar(0, 50, 2))
    assert store.bars() == [(0, 102.0, 2.0, None)]
    store.flush("candles", bar(1, 61, 1))
    assert store.bars() == [(0, 102.0, 2.0, True), (1, 101.0, 1.0, None)]


def test_bars_of_one_flush_close_each_other_and_other_series_do_not(store: Staging) -> None:
    other = {"symbol": "ETHUSDT"}
    store.flush("candles", bar(0, 10, 1), bar(1, 61, 1), bar(0, 10, 5, **other), bar(0, 10, 7, interval="5m"))
    closed = store.rows("SELECT symbol, interval, is_closed FROM candles ORDER BY symbol, interval, open_time")
    assert closed == [
        ("BTCUSDT", "1m", True), ("BTCUSDT", "1m", None), ("BTCUSDT", "5m", None), ("ETHUSDT", "1m", None)
    ]  # fmt: skip


def test_the_last_word_about_a_bar_may_come_after_the_next_has_begun(store: Staging) -> None:
    store.flush("candles", bar(0, 58, 2))
    store.flush("candles", bar(1, 60.1, 1))
    store.flush("candles", bar(0, 60.4, 3))
    assert store.bars()[0] == (0, 103.0, 3.0, True)


def test_a_late_state_with_less_volume_changes_no_closed_bar(store: Staging) -> None:
    store.flush("candles", bar(0, 58, 3), bar(1, 60.1, 1))
    outcome = store.flush("candles", bar(0, 60.4, 2))
    assert store.bars()[0] == (0, 103.0, 3.0, True)
    assert outcome.tallies["hyperliquid_futures", "candles"].duplicates == 1


def test_a_bar_left_open_by_an_earlier_run_closes(store: Staging) -> None:
    store.flush("candles", bar(0, 58, 3))
    store.flush("candles", bar(4_000, 240_010, 1))
    assert [row[-1] for row in store.bars()] == [True, None]


def test_bars_of_the_past_are_closed_by_those_after_them(store: Staging) -> None:
    store.flush("candles", bar(5, 310, 1))
    store.flush("candles", bar(3, 400, 1), bar(2, 400, 1))
    assert [(row[0], row[-1]) for row in store.bars()] == [(2, True), (3, True), (5, None)]


# -- venues that say it --------------------------------------------------------------------------------------


def test_a_closed_bar_wins_over_states_received_later(store: Staging) -> None:
    store.flush("candles", bar(0, 60, 5, True), bar(0, 59, 4, False))
    store.flush("candles", bar(0, 61, 4, False))
    assert store.bars() == [(0, 105.0, 5.0, True)]


def test_a_bar_whose_end_was_missed_stays_open_until_it_is_asked_for_again(store: Staging) -> None:
    store.flush("candles", bar(0, 30, 2, False))
    store.flush("candles", bar(1, 70, 1, False))
    assert store.bars()[0] == (0, 102.0, 2.0, False)
    store.flush("candles", bar(0, 90, 5, True))
    assert store.bars()[0] == (0, 105.0, 5.0, True)


def test_a_correction_received_later_changes_a_closed_bar_and_the_same_again_does_not(store: Staging) -> None:
    store.flush("candles", bar(0, 60, 5, True, source_seq="77", trade_count=3))
    outcome = store.flush("candles", bar(0, 90, 5, True))
    assert outcome.tallies["hyperliquid_futures", "candles"].duplicates == 1
    assert store.rows("SELECT source_seq, trade_count FROM candles") == [("77", 3)]
    outcome = store.flush("candles", bar(0, 95, 6, True))
    assert outcome.tallies["hyperliquid_futures", "candles"].updated == 1
    assert store.rows("SELECT volume, trade_count, is_closed FROM candles") == [(6.0, None, True)]
    store.flush("candles", bar(0, 94, 5, True))
    assert store.bars() == [(0, 106.0, 6.0, True)]


def test_a_row_that_says_more_and_contradicts_nothing_adds_what_was_missing(store: Staging) -> None:
    store.flush("candles", bar(0, 60, 5, True, trade_count=3))
    store.flush("candles", bar(0, 90, 5, True, quote_volume=525.0))
    assert store.rows("SELECT trade_count, quote_volume FROM candles") == [(3, 525.0)]


def test_a_bar_seen_in_part_is_corrected_by_the_whole_one(store: Staging) -> None:
    store.flush("candles", bar(0, 20, 2), bar(2, 130, 1))
    assert store.bars()[0] == (0, 102.0, 2.0, True)
    store.flush("candles", bar(0, 140, 9, True), bar(1, 140, 4, True))
    assert store.bars() == [(0, 109.0, 9.0, True), (1, 104.0, 4.0, True), (2, 101.0, 1.0, None)]


# -- funding rates -------------------------------------------------------------------------------------------


def rate(second: float, value: float, settlement_h: float | None = None) -> dict[str, Any]:
    when = T0 + timedelta(seconds=second)
    settlement = None if settlement_h is None else T0 + timedelta(hours=settlement_h)
    return {"timestamp": when, "received_at": when, "funding_rate": value, "next_funding_time": settlement}


def stored_rates(store: Staging) -> list[tuple[float, float, float | None]]:
    found = store.rows("SELECT timestamp, funding_rate, next_funding_time FROM funding_rates ORDER BY timestamp")
    return [
        ((when - T0).total_seconds(), value, settlement and (settlement - T0).total_seconds() / 3600)
        for when, value, settlement in found
    ]


@pytest.mark.parametrize("flushes", [1, 6])
def test_a_rate_without_its_settlement_is_a_change_only_when_the_rate_differs(store: Staging, flushes: int) -> None:
    rows = [rate(0, 0.1, 4), rate(1, 0.1), rate(2, 0.1, 4), rate(3, 0.2), rate(4, 0.2, 4), rate(5, 0.2, 8)]
    for part in [rows] if flushes == 1 else [[row] for row in rows]:
        store.flush("funding_rates", *part)
    assert stored_rates(store) == [(0, 0.1, 4), (3, 0.2, None), (5, 0.2, 8)]


def test_a_poll_brings_the_settlement_that_was_never_named(store: Staging) -> None:
    store.flush("funding_rates", rate(0, 0.1), rate(1, 0.1))
    store.flush("funding_rates", rate(2, 0.1, 4), rate(3, 0.1), rate(4, 0.1, 4))
    assert stored_rates(store) == [(0, 0.1, None), (2, 0.1, 4)]


def test_what_is_known_of_the_settlement_is_found_again_in_the_store(store: Staging) -> None:
    store.flush("funding_rates", rate(0, 0.1, 4), rate(1, 0.2))
    store._storage = Storage(store.engine, store._cursor, {})
    store.flush("funding_rates", rate(2, 0.2, 4), rate(3, 0.2))
    store.flush("funding_rates", rate(1.5, 0.2), rate(0.5, 0.1), rate(0.6, 0.3))
    assert stored_rates(store) == [(0, 0.1, 4), (0.6, 0.3, None), (1, 0.2, None)]


# -- trades --------------------------------------------------------------------------------------------------


def trade(microsecond: int, trade_id: str | None, price: float = 100.0) -> dict[str, Any]:
    when = T0 + timedelta(microseconds=microsecond)
    return {
        "timestamp": when, "received_at": when, "trade_id": trade_id, "price": price, "quantity": 1.0,
        "quote_value": price, "side": "buy",
    }  # fmt: skip


@pytest.mark.parametrize("rest_us", [1_234_000, 1_235_000, 1_000_000])
def test_a_trade_is_the_same_whatever_its_time_is_rounded_to(store: Staging, rest_us: int) -> None:
    uuid = "20f43950-d8dd-5b31-9112-a178eb6023af"
    store.flush("trades", trade(1_234_567, uuid))
    outcome = store.flush("trades", trade(rest_us, uuid))
    assert outcome.tallies["hyperliquid_futures", "trades"].duplicates == 1
    store.flush("trades", trade(2_000_000, "next"), trade(rest_us, uuid), trade(1_234_567, uuid))
    assert store.rows("SELECT trade_id FROM trades ORDER BY id") == [(uuid,), ("next",)]


def test_one_flush_with_both_times_of_a_trade_stores_it_once(store: Staging) -> None:
    store.flush("trades", trade(1_234_567, "a"), trade(1_234_000, "a"), trade(1_234_567, "b"))
    assert store.rows("SELECT trade_id FROM trades ORDER BY id") == [("a",), ("b",)]


def test_trades_without_an_id_are_told_by_their_time(store: Staging) -> None:
    store.flush("trades", trade(1, None), trade(2, None), trade(2, None))
    store.flush("trades", trade(2, None), trade(1_500, None))
    assert store.rows("SELECT count(*) FROM trades") == [(3,)]
