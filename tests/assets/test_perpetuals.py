"""Mark prices and funding from ticks: minutes, estimates and settlements against plain scanning and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.arbitrage.spreads import PREMIUM_SPREADS_1M
from orderflow_assets.features.funding.live import FUNDING_1M
from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.features.mark_prices.marks import MARKS_1M
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.live import live
from orderflow_streaming.schema import BACKFILLS, GAPS, STREAMS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets import reference_marks
from tests.assets.computing import differences, same, stored
from tests.assets.perpetual_tape import (
    BINANCE,
    END,
    HYPERLIQUID,
    KUCOIN,
    LONELY,
    OKX,
    SETTLED,
    START,
    Rows,
    at,
    load,
    named,
    planted,
    put,
)

MINUTE = timedelta(minutes=1)
NAMES = (
    "bars.quotes_1s", "bars.parent_trades", "bars.bars_1m", "bars.marks_1m", "bars.funding_1m",
    "bars.funding_settlements", "bars.premium_spreads_1m", "features.mark_prices", "features.funding",
    "features.funding_arbitrage", "features.basis_arbitrage",
)  # fmt: skip
CHAIN = [layer for layer in LAYERS if layer.table.qualified in NAMES]
OPENING = START.replace(minute=0)


def compute(store: Store, end: datetime = END, step: timedelta = timedelta(hours=1)) -> None:
    start = OPENING
    while start < end:
        for layer in CHAIN:
            layer.compute(store, start, min(start + step, end))
        start += step


@pytest.fixture(scope="module")
def tape() -> Rows:
    return planted()


@pytest.fixture(scope="module")
def computed(tape: Rows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("perpetuals"), scope="write") as store:
        load(store, tape)
        compute(store)
        yield store


def one(store: Store, table: Table, series: tuple[str, ...], minute: int) -> dict[str, Any]:
    """The row of ``table`` that closes ``minute`` minutes after the start; empty where there is none."""
    found = store.query(
        f"SELECT * FROM {table.qualified} WHERE symbol = ? AND exchange = ? AND market_type = ? AND bar_ts = ?",
        [*series, START + minute * MINUTE],
    ).to_pylist()
    return found[0] if found else {}


@pytest.mark.parametrize("series", [BINANCE, OKX, HYPERLIQUID, KUCOIN, LONELY], ids=lambda series: "-".join(series[:2]))
def test_minutes_of_marks_are_those_of_plain_scanning(
    series: tuple[str, str, str], tape: Rows, computed: Store
) -> None:
    known = 0
    for minute in range(1, 56):
        row, expected = one(computed, MARKS_1M, series, minute), reference_marks.minute(
            tape, series, START + minute * MINUTE
        )  # fmt: skip
        assert bool(row) == (expected is not None), minute
        if expected is not None:
            wrong = {name: (row[name], value) for name, value in expected.items() if not same(row[name], value, 1e-9)}
            assert not wrong, minute
            known += row["premium"] is not None
    assert known == {BINANCE: 52, LONELY: 2}.get(series, known)


def test_a_single_mark_stands_a_minute(computed: Store) -> None:
    first, second = one(computed, MARKS_1M, LONELY, 7), one(computed, MARKS_1M, LONELY, 8)
    assert (first["n_obs"], first["premium_s"]) == (1, pytest.approx(19.75))
    assert first["premium"] == pytest.approx(0.01)
    assert (second["n_obs"], second["premium_s"]) == (0, pytest.approx(40.25))
    assert second["mark_close"] is None
    assert not one(computed, MARKS_1M, LONELY, 9)


def test_a_book_that_is_too_thin_has_no_impact_price(computed: Store) -> None:
    impact = computed.query(
        "SELECT impact_premium FROM bars.marks_1m WHERE exchange = 'binance' AND symbol = 'AAAUSDT'"
    )
    values = impact["impact_premium"].to_pylist()
    assert any(value is None for value in values)
    assert any(value is not None and abs(value) < 0.01 for value in values)


def test_live_estimates_around_the_settlement(computed: Store) -> None:
    settled = 30
    before, after = one(computed, FUNDING_1M, OKX, settled), one(computed, FUNDING_1M, OKX, settled + 1)
    assert (before["live_rate"], before["next_funding_time"]) == (pytest.approx(-2e-5 + 29e-7), SETTLED)
    assert after["next_funding_time"] == SETTLED + timedelta(hours=4)
    assert after["interval_hours"] == 4.0  # the rows of OKX name none: that of the instrument list
    gone = one(computed, FUNDING_1M, HYPERLIQUID, settled)
    assert (gone["live_rate"], gone["rated_at"]) == (1.25e-5, at(5))
    assert (SETTLED - gone["heard_at"]).total_seconds() < 60  # mark prices carry the rate on


def test_a_venue_that_has_not_named_the_next_settlement_yet_estimates_nothing(tmp_path: Path) -> None:
    rows: Rows = {
        "funding_rates": [
            named(OKX, timestamp=at(1_700), funding_rate=1e-4, next_funding_time=SETTLED),
            named(OKX, timestamp=at(1_870), funding_rate=2e-4, next_funding_time=SETTLED + timedelta(hours=4)),
        ]
    }
    with connect(tmp_path, scope="write") as store:
        load(store, rows)
        compute(store)
        between, later = one(store, FUNDING_1M, OKX, 31), one(store, FUNDING_1M, OKX, 32)
        assert (between["live_rate"], between["next_funding_time"]) == (None, SETTLED + timedelta(hours=4))
        assert later["live_rate"] == 2e-4


def test_an_estimate_goes_fifteen_minutes_after_it_was_heard(computed: Store) -> None:
    marks = [row["timestamp"] for row in planted()["mark_prices"] if row["exchange"] == "hyperliquid"]
    last = int((max(marks) - START).total_seconds() // 60)
    assert one(computed, FUNDING_1M, HYPERLIQUID, last + 15)
    assert not one(computed, FUNDING_1M, HYPERLIQUID, last + 16)


def test_silence_of_a_series_is_told_from_an_unchanged_rate(tmp_path: Path) -> None:
    """Another symbol of the market shows that the feed lives, unless a gap of the series is on record."""
    rows: Rows = {
        "funding_rates": [
            named(series, timestamp=at(seconds), funding_rate=rate, next_funding_time=SETTLED + timedelta(hours=8),
                  funding_interval_hours=8.0)
            for series, seconds, rate in ((BINANCE, 10, 1e-4), *((LONELY, 60 * k, 1e-6 * k) for k in range(1, 55)))
        ]
    }  # fmt: skip
    with connect(tmp_path, scope="write") as store:
        load(store, rows)
        compute(store)
        row = one(store, FUNDING_1M, BINANCE, 50)
        assert (row["live_rate"], row["rated_at"], row["heard_at"]) == (1e-4, at(10), at(49 * 60))
        gap = named(BINANCE, stream="funding_rates", detected_at=at(60), started_at=at(60), ended_at=at(3_000),
                    reason="disconnection")  # fmt: skip
        put(store, GAPS, [gap])
        compute(store)
        assert one(store, FUNDING_1M, BINANCE, 15)
        assert not one(store, FUNDING_1M, BINANCE, 17)
        assert one(store, FUNDING_1M, LONELY, 50)


def _constant(series: tuple[str, str, str], rate: float, hours: float, marks_until: float = 3_300) -> Rows:
    """A venue whose rate never changes: rows where another settlement is named alone, and marks without a rate."""
    due = SETTLED + timedelta(hours=hours)
    told = [(at(-7_000), SETTLED), (at(1_830), due)]
    return {
        "funding_rates": [
            named(series, timestamp=when, funding_rate=rate, next_funding_time=named_time) for when, named_time in told
        ],
        "mark_prices": [
            named(series, timestamp=at(5 + 10 * k), mark_price=100.0, index_price=100.0)
            for k in range(-60, int(marks_until) // 10)
        ],
    }


def _together(*tapes: Rows) -> Rows:
    return {name: [row for tape in tapes for row in tape.get(name, [])] for name in {name for t in tapes for name in t}}


def test_a_rate_that_never_changes_stands_and_settles(tmp_path: Path) -> None:
    """Told two hours before the settlement and confirmed by nothing but the mark prices of its market."""
    quotes: Rows = {"prices": [row for row in planted()["prices"] if row["exchange"] in ("okx", "binance")]}
    with connect(tmp_path, scope="write") as store:
        load(store, _together(_constant(OKX, 1e-4, 4.0), _constant(BINANCE, 3e-4, 8.0), quotes))
        compute(store)
        before, between, after = (one(store, FUNDING_1M, OKX, minute) for minute in (30, 31, 50))
        assert (before["live_rate"], before["rated_at"], before["heard_at"]) == (1e-4, at(-7_000), at(29 * 60))
        assert (between["live_rate"], after["live_rate"]) == (1e-4, 1e-4)
        assert after["next_funding_time"] == SETTLED + timedelta(hours=4)
        assert {key[1]: (row["rate"], row["source"]) for key, row in stored(store, SETTLEMENTS).items()} == {
            "okx": (1e-4, "estimate"), "binance": (3e-4, "estimate"),
        }  # fmt: skip
        [features] = store.query(
            "SELECT * FROM features.funding WHERE exchange = 'okx' AND bar_ts = ?", [START + 50 * MINUTE]
        ).to_pylist()
        assert (features["predicted_funding_rate"], features["predicted_source"]) == (1e-4, "venue")
        assert features["funding_rate"] == 1e-4
        assert features["funding_cross_exchange_spread"] == pytest.approx(1e-4)  # 3e-4 and 1e-4 x 8/4
        [apart] = store.query(
            "SELECT * FROM features.funding_arbitrage WHERE symbol = 'AAAUSDT' AND bar_ts = ?", [START + 50 * MINUTE]
        ).to_pylist()
        assert (apart["long_exchange"], apart["short_exchange"]) == ("okx", "binance")
        assert apart["arbitrage_spread"] == pytest.approx(1e-4)


def test_a_market_that_fell_silent_confirms_nothing(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, _constant(OKX, 1e-4, 4.0, marks_until=600))
        compute(store)
        assert one(store, FUNDING_1M, OKX, 24)["heard_at"] == at(9 * 60)
        assert not one(store, FUNDING_1M, OKX, 25)


@pytest.mark.parametrize(("reason", "known"), [("disconnection", True), ("overflow", False)])
def test_a_lost_connection_is_over_when_it_is_back_and_dropped_frames_stay_dropped(
    reason: str, known: bool, tmp_path: Path
) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, _constant(OKX, 1e-4, 4.0))
        gap = named(OKX, stream="funding_rates", detected_at=at(660), started_at=at(300), ended_at=at(660))
        put(store, GAPS, [gap | {"reason": reason}])
        compute(store)
        assert [bool(one(store, FUNDING_1M, OKX, minute)) for minute in (5, 6, 11, 12)] == [True, False, False, known]
        assert one(store, FUNDING_1M, OKX, 32)["rated_at"] == at(1_830)


def test_settlements_are_the_last_estimates_before_them(computed: Store) -> None:
    rows = stored(computed, SETTLEMENTS)
    assert {key: (row["rate"], row["interval_hours"], row["source"]) for key, row in rows.items()} == {
        (*BINANCE, SETTLED): (pytest.approx(_last_rate(BINANCE)), 8.0, "estimate"),
        (*OKX, SETTLED): (pytest.approx(-2e-5 + 29e-7), 4.0, "estimate"),
        (*HYPERLIQUID, SETTLED): (1.25e-5, 1.0, "estimate"),
        (*KUCOIN, SETTLED): (pytest.approx(3e-5 + 28e-6), 8.0, "estimate"),
    }


def _last_rate(series: tuple[str, str, str]) -> float:
    return [rate for when, rate in reference_marks.of_series(planted(), "funding_rates", series, "funding_rate")
            if when < SETTLED][-1]  # fmt: skip


def _history(store: Store, hours: int, told: dict[int, float], missing: str | None = None) -> None:
    """``told`` rates by hours before SETTLED, asked for over the last ``hours``. Times are a little late."""
    put(
        store,
        STREAMS["funding_rates"].table,
        [
            named(BINANCE, id=1_000_000 + back, timestamp=SETTLED + timedelta(hours=-back, milliseconds=7),
                  received_at=END, funding_rate=rate)
            for back, rate in told.items()
        ],
    )  # fmt: skip
    span = {"started_at": SETTLED - timedelta(hours=hours), "ended_at": SETTLED + timedelta(minutes=5)}
    put(
        store,
        BACKFILLS,
        [named(BINANCE, stream="funding_rates", rows=len(told), requests=1, missing=missing, done_at=END, **span)],
    )


def _estimate(store: Store) -> None:
    for layer in CHAIN:
        if layer.table in (MARKS_1M, FUNDING_1M):
            layer.compute(store, OPENING, END)


def _settled(store: Store, hours: int = 1) -> dict[int, tuple[float, str]]:
    """Rate and source by hours before SETTLED, over the last ``hours``."""
    layer = next(layer for layer in CHAIN if layer.table == SETTLEMENTS)
    layer.compute(store, SETTLED - timedelta(hours=hours), SETTLED + timedelta(minutes=20))
    return {
        round((SETTLED - key[3]) / timedelta(hours=1)): (row["rate"], row["source"])
        for key, row in stored(store, SETTLEMENTS, "symbol = 'AAAUSDT' AND exchange = 'binance'").items()
    }


def test_the_venues_history_replaces_the_estimate(tape: Rows, tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, {"funding_rates": tape["funding_rates"]})
        _estimate(store)
        _history(store, 1, {0: 7e-5})
        assert _settled(store) == {0: (7e-5, "venue")}


def test_a_settlement_whose_rate_did_not_change_has_no_row_and_is_known_all_the_same(
    tape: Rows, tmp_path: Path
) -> None:
    """The stream stores changes: of settlements 48, 40, 32, 24, 16 and 8 h ago only two left a row."""
    with connect(tmp_path, scope="write") as store:
        load(store, {"funding_rates": tape["funding_rates"]})
        _estimate(store)
        _history(store, 49, {48: 1e-4, 24: 2e-4})
        found = _settled(store, 49)
        assert found.pop(0) == (pytest.approx(_last_rate(BINANCE)), "venue")
        assert found == {
            48: (1e-4, "venue"), 40: (1e-4, "venue"), 32: (1e-4, "venue"),
            24: (2e-4, "venue"), 16: (2e-4, "venue"), 8: (2e-4, "venue"),
        }  # fmt: skip


def test_an_incomplete_history_confirms_nothing(tape: Rows, tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, {"funding_rates": tape["funding_rates"]})
        _estimate(store)
        _history(store, 49, {48: 1e-4}, missing="the venue keeps a day")
        assert _settled(store) == {0: (pytest.approx(_last_rate(BINANCE)), "estimate")}


def test_a_gap_that_was_filled_is_history_too(tape: Rows, tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, {"funding_rates": tape["funding_rates"]})
        _estimate(store)
        _history(store, 1, {0: 7e-5}, missing="all of it")
        assert _settled(store)[0][1] == "estimate"
        gap = {"stream": "funding_rates", "reason": "disconnection", "detected_at": SETTLED, "filled_at": END}
        span = {"started_at": SETTLED - 5 * MINUTE, "ended_at": SETTLED + 5 * MINUTE}
        put(store, GAPS, [named(BINANCE, **gap, **span)])
        assert _settled(store) == {0: (7e-5, "venue")}


def test_spreads_of_premiums(computed: Store) -> None:
    for minute in range(1, 56):
        row = one(computed, PREMIUM_SPREADS_1M, ("AAAUSDT", "all", "futures"), minute)
        premiums = {}
        for series in (BINANCE, OKX, HYPERLIQUID, KUCOIN):
            marks = one(computed, MARKS_1M, series, minute)
            if marks.get("mark_close") is not None and marks["index_close"] is not None:
                premiums[series[1]] = marks["mark_close"] / marks["index_close"] - 1
        assert row["venues"] == len(premiums)
        if len(premiums) < 2:
            assert row["basis_spread"] is None
            continue
        assert row["basis_spread"] == pytest.approx(max(premiums.values()) - min(premiums.values()), abs=1e-12)
        assert premiums[row["high_exchange"]] == max(premiums.values())
        assert premiums[row["low_exchange"]] == min(premiums.values())


@pytest.mark.parametrize("minutes", [20, 7 * 60])
def test_the_window_does_not_matter(minutes: int, tape: Rows, computed: Store, tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, tape)
        compute(store, step=timedelta(minutes=minutes))
        for layer in CHAIN:
            assert not differences(stored(computed, layer.table), stored(store, layer.table), 1e-9), layer.table.name


@pytest.mark.parametrize("minute", [30, 31, 44])
def test_no_row_looks_ahead(minute: int, tape: Rows, computed: Store, tmp_path: Path) -> None:
    moment = START + minute * MINUTE
    with connect(tmp_path, scope="write") as store:
        load(store, tape, until=moment)
        compute(store, moment)
        for layer in CHAIN:
            now = stored(computed, layer.table, _known_at(layer, moment))
            assert not differences(now, stored(store, layer.table), 1e-9), layer.table.name


def _known_at(layer: Layer, moment: datetime) -> str:
    known = "bar_ts <=" if "bar_ts" in layer.table.names else f"{layer.table.time} <"
    return f"{known} TIMESTAMP '{moment}'"


def test_rows_are_those_of_the_perpetuals_in_the_bars(computed: Store) -> None:
    spine = set(stored(computed, BARS_1M, "market_type = 'futures'"))
    for name in ("mark_prices", "funding"):
        layer = next(layer for layer in CHAIN if layer.table.qualified == f"features.{name}")
        assert set(stored(computed, layer.table)) == spine


@pytest.mark.parametrize("name", ["mark_prices", "funding", "funding_arbitrage", "basis_arbitrage"])
def test_a_live_row_is_the_stored_row(name: str, computed: Store) -> None:
    """Over the settlement: its row is computed on the way."""
    table = next(layer.table for layer in CHAIN if layer.table.qualified == f"features.{name}")
    now = live(computed, table.qualified, "AAAUSDT", 5, SETTLED + 3 * MINUTE).to_pylist()
    first, last = SETTLED - MINUTE, SETTLED + 3 * MINUTE
    kept = stored(computed, table, f"symbol = 'AAAUSDT' AND bar_ts BETWEEN TIMESTAMP '{first}' AND TIMESTAMP '{last}'")
    assert len(kept) >= 5
    assert not differences({tuple(row[key] for key in table.key): row for row in now}, kept, 1e-9)
