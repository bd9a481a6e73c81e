"""The past in chunks: checked orders, each chunk written down once it is stored, going on where it was cut off."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orderflow_streaming.cli import main
from orderflow_streaming.markets import MARKETS, UnknownNameError
from orderflow_streaming.past import fetching
from orderflow_streaming.past.backfill import Backfill
from orderflow_streaming.past.backfill_order import CHUNK_US, MOST_CHUNKS, BackfillError, Order, chunks
from orderflow_streaming.settings import Settings
from orderflow_streaming.writing.gaps import DISCONNECTION, SEQUENCE_JUMP, Gap
from tests.streaming.past import BINANCE, IDENTITY, MINUTE_MS, Asking, Past, asking

MARKET = MARKETS["binance_futures"]
HOUR_MS = 3_600_000
NOW_MS = time.time_ns() // 1_000_000
START_MS = NOW_MS // HOUR_MS * HOUR_MS - 3 * HOUR_MS
SETTINGS = Settings(markets=("binance_futures",), symbols=("BTCUSDT",))


def order(start_ms: int, end_ms: int, *streams: str, **more: Any) -> Order:
    return Order(start_ms * 1000, end_ms * 1000, ("binance_futures",), ("BTCUSDT",), streams, **more)


# -- orders --------------------------------------------------------------------------------------------------


def test_an_order_means_utc_and_takes_what_it_leaves_out_from_the_settings() -> None:
    given = {"from": "2026-01-02", "to": "2026-01-02T01:00:00+01:00", "symbols": ["btcusdt", "BTCUSDT"]}
    with pytest.raises(BackfillError, match="is not before"):
        Order.parse(given, SETTINGS)
    parsed = Order.parse(given | {"to": "2026-01-02T01:30"}, SETTINGS)
    assert parsed.start_us == int(datetime(2026, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
    assert parsed.end_us - parsed.start_us == 90 * 60_000_000
    assert (parsed.markets, parsed.symbols) == (("binance_futures",), ("BTCUSDT",))
    assert parsed.streams == ("candles", "funding_rates", "open_interest", "trades")
    assert Order.parse({"from": "2026-01-02"}, SETTINGS).end_us <= time.time_ns() // 1000
    narrow = Settings(stream_types=("prices", "trades"))
    assert Order.parse(given | {"to": "2026-01-02T01:30"}, narrow).streams == ("trades",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"from": "2026-13-01"}, "--from 2026-13-01 is no date. Write 2026-01-31"),
        ({"to": "yesterday"}, "--to yesterday is no date"),
        ({"to": "2026-01-02"}, "is not before --to 2026-01-02"),
        ({"to": "2999-01-01"}, "is in the future"),
        ({"from": "0001-01-01"}, "before any of these markets began"),
        (
            {"from": "2017-07-02", "markets": ["binance_futures", "binance_spot"], "symbols": ["BTCUSDT", "ETHUSDT"]},
            "chunks",
        ),
        ({"markets": ["binance_future"]}, "Did you mean 'binance_futures'?"),
        ({"symbols": ["BTCUSD"]}, "Did you mean 'BTCUSDT'?"),
        ({"streams": ["trade"]}, "Did you mean 'trades'?"),
        ({"streams": ["trades", "orderbooks"]}, "no venue gives orderbooks again. Streams that can be filled: candles"),
    ],
)
def test_an_order_that_cannot_be_is_refused_in_a_line_that_teaches(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((BackfillError, UnknownNameError)) as refused:
        Order.parse({"from": "2026-01-02", "to": "2026-01-03"} | changes, SETTINGS)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@given(
    start_us=st.integers(1_600_000_000_000_000, 1_700_000_000_000_000),
    length_us=st.integers(1, 10 * 86_400_000_000),
    stream=st.sampled_from(list(CHUNK_US)),
)
def test_chunks_cover_the_span_once_and_break_where_all_orders_break(
    start_us: int, length_us: int, stream: str
) -> None:
    asked = Order(start_us, start_us + length_us, ("binance_futures",), ("BTCUSDT",), (stream,))
    cut = list(chunks(asked, MARKET, stream))
    assert (cut[0].start_us, cut[-1].end_us) == (asked.start_us, asked.end_us)
    assert all(one.end_us == other.start_us for one, other in pairwise(cut))
    assert all(chunk.end_us % CHUNK_US[stream] == 0 for chunk in cut[:-1])
    assert len(cut) <= asked.size <= MOST_CHUNKS


# -- filling -------------------------------------------------------------------------------------------------


async def carried_out(venue: Asking, asked: Order) -> dict[str, Any]:
    job = Backfill(asked, {"binance_futures": venue.fetcher}, venue.engine, venue.stored)
    await job.run()
    return job.progress()


async def test_trades_and_bars_of_the_past_are_stored_once_and_written_down(tmp_path: Path) -> None:
    trades = {number: START_MS + number * 2_000 for number in range(1, 3_000)}
    async with asking(Past(trades), tmp_path) as venue:
        asked = order(START_MS, START_MS + HOUR_MS + 1_800_000, "candles", "trades", "funding_rates", "open_interest")
        outcome = await carried_out(venue, asked)
        assert (outcome["state"], outcome["failed"], outcome["done"]) == ("done", 0, outcome["chunks"])
        assert venue.rows("SELECT count(*), count(DISTINCT trade_id) FROM trades") == [(2_699, 2_699)]
        assert venue.rows("SELECT count(*), bool_and(is_closed) FROM candles") == [(90, True)]
        assert outcome["rows"] == 2_699 + 90
        written = venue.rows(
            "SELECT stream, sum(rows)::INT, count(*) FROM ops.backfills GROUP BY stream ORDER BY stream"
        )
        assert written[0][:2] == ("candles", 90)
        assert written[-1] == ("trades", 2_699, 2)
        venue.venue.asked.clear()
        again = await carried_out(venue, asked)
        assert (again["known"], again["rows"], venue.venue.asked) == (again["chunks"], 0, [])
        forced = await carried_out(venue, order(START_MS, START_MS + HOUR_MS, "trades", again=True))
        assert (forced["done"], forced["rows"]) == (1, 0)
        assert venue.rows("SELECT count(*) FROM trades") == [(2_699,)]
        assert venue.rows("SELECT count(*) FROM ops.gaps") == [(0,)]


async def test_an_order_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    trades = {number: START_MS + number * 60_000 for number in range(180)}
    async with asking(Past(trades), tmp_path) as venue:
        job = Backfill(order(START_MS, START_MS + 3 * HOUR_MS, "trades"), {"binance_futures": venue.fetcher},
                       venue.engine, venue.stored)  # fmt: skip
        task = asyncio.get_running_loop().create_task(job.run())
        venue.venue.before = lambda path: task.cancel() if len(venue.venue.asked) == 4 else None
        await asyncio.wait({task})
        assert job.progress()["state"] == "stopped"
        venue.venue.before = lambda path: None
        outcome = await carried_out(venue, job.order)
        assert outcome["state"] == "done"
        assert venue.rows("SELECT count(*), count(DISTINCT trade_id) FROM trades") == [(180, 180)]


async def test_a_venue_that_fails_is_left_alone_and_the_outcome_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TRIES", 1)
    async with asking(Past({}), tmp_path) as venue:
        await carried_out(venue, order(START_MS, START_MS + 1, "candles"))
        venue.venue.refuse = [(503, {}, b"busy")] * 100
        venue.venue.asked.clear()
        outcome = await carried_out(venue, order(START_MS - 10 * HOUR_MS, START_MS, "trades"))
        assert (outcome["state"], outcome["failed"], outcome["done"]) == ("failed", 10, 0)
        assert len(venue.venue.asked) == 3
        [part] = outcome["parts"]
        assert part["remarks"] == ["503 busy", "left alone after 3 failures in a row: 503 busy"]
        assert venue.rows("SELECT count(*) FROM ops.backfills WHERE stream = 'trades'") == [(0,)]


async def test_what_is_not_listed_or_not_offered_is_said(tmp_path: Path) -> None:
    class Forgetful(type(BINANCE)):  # type: ignore[misc]
        histories: ClassVar = {"candles": BINANCE.histories["candles"]}

    async with asking(Past({}), tmp_path, Forgetful()) as venue:
        asked = Order(START_MS * 1000, (START_MS + MINUTE_MS) * 1000, ("binance_futures",), ("BTCUSDT", "ETHUSDT"),
                      ("candles", "trades"))  # fmt: skip
        outcome = await carried_out(venue, asked)
        assert {part["stream"]: part["remarks"] for part in outcome["parts"]} == {
            "candles": ["binance_futures does not list ETHUSDT"],
            "trades": ["binance_futures does not give trades again"],
        }
        assert (outcome["done"], outcome["rows"]) == (1, 1)


async def test_a_span_beyond_the_reach_is_done_as_far_as_it_goes_and_asked_again(tmp_path: Path) -> None:
    old_ms = NOW_MS - 40 * 24 * HOUR_MS
    async with asking(Past({}), tmp_path) as venue:
        for _ in range(2):
            outcome = await carried_out(venue, order(old_ms, old_ms + HOUR_MS, "open_interest"))
            assert outcome["parts"][0]["remarks"] == ["the venue keeps it for 30 days only"]
            assert (outcome["state"], outcome["known"]) == ("done", 0)
        assert venue.rows("SELECT missing FROM ops.backfills") == [("the venue keeps it for 30 days only",)]


async def test_gaps_within_a_filled_span_are_filled(tmp_path: Path) -> None:
    trades = {number: START_MS + number * 1_000 for number in range(1, 100) if number != 50}
    gaps = (
        Gap("trades", IDENTITY, trades[10] * 1000, trades[13] * 1000, SEQUENCE_JUMP, 11, 12),
        Gap("trades", IDENTITY, trades[49] * 1000, trades[51] * 1000, SEQUENCE_JUMP, 50, 50),
        Gap("candles", IDENTITY, START_MS * 1000, (START_MS + 5_000) * 1000, DISCONNECTION),
        Gap("candles", IDENTITY, (START_MS - 5_000) * 1000, (START_MS + 5_000) * 1000, DISCONNECTION),
    )
    async with asking(Past(trades), tmp_path) as venue:
        await venue.store(gaps=gaps)
        await carried_out(venue, order(START_MS, START_MS + HOUR_MS, "trades", "candles"))
        found = {(row[0], row[1], row[4]) for row in venue.gaps()}
        assert found == {
            ("trades", True, None), ("trades", False, "the venue gave 0 of 1"), ("candles", True, None),
            ("candles", False, None),
        }  # fmt: skip


# -- the command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say from when on with --from"),
        (["--from", "soon"], "--from soon is no date"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], "is not before"),
        (["--from", "2026-01-01", "--streams", "orderbook"], "Did you mean 'orderbooks'?"),
        (["--from", "2026-01-01", "--markets", "binance"], "unknown market"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_exit_2_in_one_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    ended = CliRunner().invoke(main, ["backfill", "--data-dir", str(tmp_path), *arguments])
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1), ended.output
    assert said in ended.stderr
    assert not list(tmp_path.iterdir())


def test_to_stop_a_backfill_needs_a_daemon(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["backfill", "--stop", "--data-dir", str(tmp_path)]).exit_code == 5


def test_without_a_daemon_the_command_does_it_alone_and_says_what_failed(tmp_path: Path) -> None:
    start = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    arguments = ["--markets", "binance_futures", "--symbols", "BTCUSDT", "--streams", "candles", "--json"]
    nobody = ["--simulator", "http://127.0.0.1:1", "--data-dir", str(tmp_path)]
    ended = CliRunner().invoke(main, ["backfill", "--from", start, *arguments, *nobody])
    assert ended.exit_code == 1, ended.output
    outcome = json.loads(ended.stdout)
    assert outcome["state"] == "failed"
    assert "the instruments could not be asked for" in outcome["parts"][0]["remarks"][0]
