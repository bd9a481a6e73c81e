"""Bars: what a minute of trades and quotes becomes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from orderflow_assets.bars import minutes, parents, quotes
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import closed_window, hours
from orderflow_streaming.schema import GAPS, STREAMS
from orderflow_streaming.store import Store, Window, connect
from tests.assets.reference_trades import parents_of
from tests.assets.tape import EPOCH, EXCHANGE, MARKET_TYPE, SECOND, Print, Quote, Tape, at, load, us

START = datetime(2025, 4, 1, 10)  # noqa: DTZ001
END = START + timedelta(minutes=6)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("bars"), scope="write") as opened:
        yield opened


def bars_of(
    store: Store, *tapes: Tape, gaps: list[dict[str, object]] | None = None
) -> dict[tuple[str, datetime], dict]:
    """Bars of the tapes alone."""
    everything = Window(EPOCH, EPOCH + timedelta(days=36500))
    for table in (*(STREAMS[name].table for name in ("prices", "orderbooks", "trades")), GAPS):
        store.write(table, table.arrow_schema.empty_table(), everything)
    load(store, {tape.symbol: tape for tape in tapes})
    if gaps:
        store.write(GAPS, pa.Table.from_pylist(gaps, GAPS.arrow_schema))
    for layer in (quotes.LAYER, parents.LAYER, minutes.LAYER):
        layer.compute(store, START, END)
    rows = store.query(f"SELECT * FROM {BARS_1M.qualified}").to_pylist()
    return {(row["symbol"], row["open_time"]): row for row in rows}


def second(value: float) -> int:
    return us(START) + round(value * SECOND)


PRINTS = st.lists(
    st.builds(
        Print,
        st.integers(0, 359_999).map(lambda ms: us(START) + ms * 1000),
        st.integers(90, 110).map(lambda tick: tick * 0.5),
        st.integers(1, 5_000).map(lambda lot: lot * 0.001),
        st.sampled_from(["buy", "sell"]),
    ),
    max_size=40,
).map(lambda prints: sorted(prints, key=lambda trade: trade.us))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prints=PRINTS)
def test_a_bar_holds_the_trades_of_its_minute(store: Store, prints: list[Print]) -> None:
    tape = Tape("AAAUSDT", 0.5, trades=prints)
    found = bars_of(store, tape)
    for opening in (START + k * MINUTE for k in range(6)):
        mine = [trade for trade in prints if us(opening) <= trade.us < us(opening + MINUTE)]
        bar = found.get(("AAAUSDT", opening))
        if not mine:
            assert bar is None
            continue
        assert bar is not None
        assert bar["bar_ts"] == opening + MINUTE
        assert (bar["open"], bar["close"]) == (mine[0].price, mine[-1].price)
        assert bar["high"] == max(trade.price for trade in mine)
        assert bar["low"] == min(trade.price for trade in mine)
        assert bar["trade_count"] == len(mine)
        assert bar["volume"] == pytest.approx(sum(trade.qty for trade in mine))
        assert bar["quote_volume"] == pytest.approx(sum(trade.qty * trade.price for trade in mine))
        assert bar["taker_buy_volume"] == pytest.approx(sum(trade.qty for trade in mine if trade.side == "buy"))
        assert bar["low"] - 1e-9 <= bar["vwap"] <= bar["high"] + 1e-9
        grouped = parents_of(Tape("AAAUSDT", 0.5, trades=mine))
        assert bar["parent_count"] == len(grouped)
        assert bar["sweep_count"] == sum(parent.sweeps for parent in grouped)
    sums = [
        store.query(f"SELECT coalesce(sum({column}), 0) AS v FROM {table}")["v"][0].as_py()
        for table, column in ((PARENT_TRADES.qualified, "quantity"), (BARS_1M.qualified, "volume"))
    ]
    assert sums == pytest.approx([sum(trade.qty for trade in prints)] * 2)


def test_a_trade_on_the_edge_opens_the_next_bar(store: Store) -> None:
    found = bars_of(
        store, Tape("AAAUSDT", 0.5, trades=[Print(second(59.999), 50, 1, "buy"), Print(second(60), 51, 2, "buy")])
    )
    assert found["AAAUSDT", START]["close"] == 50
    assert found["AAAUSDT", START + MINUTE]["open"] == 51


def test_a_quote_on_the_edge_is_known_at_the_edge(store: Store) -> None:
    found = bars_of(
        store, Tape("AAAUSDT", 0.5, quotes=[Quote(second(58), 10, 11, 1, 1), Quote(second(60), 20, 21, 1, 1)])
    )
    assert found["AAAUSDT", START]["mid_close"] == 20.5
    assert found["AAAUSDT", START]["spread"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (Quote(second(54.999), 10, 11, 1, 1), "older than 5 s"),
        (Quote(second(58), 11, 11, 1, 1), "locked"),
        (Quote(second(58), 12, 11, 1, 1), "crossed"),
        (Quote(second(58), 10, None, 1, None), "one side only"),
        (Quote(second(58), None, 11, None, 1), "one side only"),
    ],
)
def test_a_quote_that_says_nothing_leaves_no_mid(store: Store, last: Quote, reason: str) -> None:
    found = bars_of(store, Tape("AAAUSDT", 0.5, quotes=[Quote(second(50), 10, 11, 1, 1), last]))
    assert found["AAAUSDT", START]["mid_close"] is None, reason


def test_quotes_weigh_by_the_time_they_stood(store: Store) -> None:
    tape = Tape(
        "AAAUSDT",
        0.5,
        quotes=[
            Quote(second(-2), 100, 101, 3, 1),
            Quote(second(1), 100, 102, 1, 1),
            Quote(second(3.5), 100, 103, 1, 3),
            Quote(second(3.5), 100, 104, 1, 3),
            Quote(second(58), 100, 101, 1, 1),
        ],
    )
    bar = bars_of(store, tape)["AAAUSDT", START]
    assert bar["quote_count"] == 4
    assert bar["quoted_s"] == pytest.approx(1 + 2.5 + 5 + 2)
    assert bar["spread"] == pytest.approx((1 * 1 + 2.5 * 2 + 5 * 4 + 2 * 1) / 10.5)
    assert bar["bid_share"] == pytest.approx((1 * 0.75 + 2.5 * 0.5 + 5 * 0.25 + 2 * 0.5) / 10.5)
    later = store.query(f"SELECT * FROM {QUOTES_1S.qualified} WHERE bid_price IS NOT NULL ORDER BY bar_ts").to_pylist()
    assert [(row["bar_ts"] - START).total_seconds() for row in later] == [*range(1, 9), *range(58, 64)]


def test_quiet_is_zero_only_while_the_feed_lives(store: Store) -> None:
    quotes_ = [Quote(second(k * 10), 10, 11, 1, 1) for k in range(36)]
    silent = Tape("AAAUSDT", 0.5, quotes=quotes_)
    busy = Tape("BBBUSDT", 0.5, trades=[Print(second(10 + 60 * k), 5, 1, "buy") for k in range(4)])
    gap = {
        "detected_at": START + timedelta(minutes=3, seconds=30),
        "symbol": "AAAUSDT",
        "exchange": EXCHANGE,
        "market_type": MARKET_TYPE,
        "stream": "trades",
        "started_at": START + timedelta(minutes=2, seconds=30),
        "ended_at": START + timedelta(minutes=3, seconds=30),
        "reason": "disconnected",
    }
    found = bars_of(store, silent, busy, gaps=[gap])
    volumes = [found["AAAUSDT", START + k * MINUTE]["volume"] for k in range(6)]
    assert volumes == [0, 0, None, None, None, None]
    quiet = found["AAAUSDT", START]
    assert (quiet["trade_count"], quiet["parent_count"], quiet["sweep_count"]) == (0, 0, 0)
    assert (quiet["open"], quiet["close"], quiet["vwap"]) == (None, None, None)
    assert found["AAAUSDT", START + 5 * MINUTE]["trade_count"] is None


def test_an_hour_without_data_is_empty(store: Store) -> None:
    assert bars_of(store) == {}


def test_sides_and_prices_tell_a_sweep(store: Store) -> None:
    up = [Print(second(1), price, 1, "buy") for price in (50, 50.5, 50.5, 51)]
    back = [Print(second(2), price, 1, "buy") for price in (50, 51, 50.5)]
    wrong_way = [Print(second(3), price, 1, "buy") for price in (51, 50.5, 50)]
    down = [Print(second(4), price, 1, "sell") for price in (51, 50.5, 50)]
    short = [Print(second(5), price, 1, "sell") for price in (51, 50.5)]
    bars_of(store, Tape("AAAUSDT", 0.5, trades=[*up, *back, *wrong_way, *down, *short]))
    rows = store.query(f"SELECT timestamp, sweep FROM {PARENT_TRADES.qualified} ORDER BY timestamp").to_pylist()
    assert [row["sweep"] for row in rows] == [True, False, False, True, False]


def test_windows_are_cut_at_full_hours() -> None:
    pieces = hours(START + timedelta(minutes=50), START + timedelta(hours=2, minutes=10))
    assert [(b - a) // MINUTE for a, b in pieces] == [10, 60, 10]
    assert hours(START, START) == []


def test_a_window_in_the_future_is_empty() -> None:
    far = datetime(2999, 1, 1)  # noqa: DTZ001
    assert closed_window(far, far + timedelta(hours=1)) == (far, far)


def test_parents_are_named_by_millisecond_and_side(store: Store) -> None:
    bars_of(
        store,
        Tape("AAAUSDT", 0.5, trades=[Print(second(1) + k, 50, 1, side) for k in (0, 400) for side in ("buy", "sell")]),
    )
    rows = store.query(f"SELECT * FROM {PARENT_TRADES.qualified}").to_pylist()
    assert {(row["timestamp"], row["side"], row["prints"]) for row in rows} == {
        (at(second(1)), "buy", 2),
        (at(second(1)), "sell", 2),
    }
