"""The latent market: consistent books, trades that hit them, and the stylised facts of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from orderflow_streaming.simulator.candles import DAY_MINUTES, Rolling, candle
from orderflow_streaming.simulator.dialects.binance.futures import VENUE
from orderflow_streaming.simulator.latent import Latent
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.simulator.perpetual import funding_rate
from orderflow_streaming.simulator.records import Minute, Trades
from orderflow_streaming.simulator.text import decimal, decimals, levels

START_US = 1_760_000_040_000_000
"""A whole minute."""
MINUTE_US = 60_000_000


@cache
def played(seed: int = 11, count: int = 12) -> tuple[tuple[Minute, ...], ...]:
    """Minutes of a symbol with many ticks to the basis point and of one with few, each in a row."""
    market = Market(seed, START_US, [VENUE], ["BTCUSDT", "POPCATUSDT"])
    return tuple(zip(*(market.minute() for _ in range(count)), strict=True))


@pytest.fixture(params=[0, 1], ids=["BTCUSDT", "POPCATUSDT"])
def minutes(request: pytest.FixtureRequest) -> Sequence[Minute]:
    return played()[request.param]


def test_books_are_never_crossed_and_their_levels_are_sorted(minutes: Sequence[Minute]) -> None:
    for minute in minutes:
        assert (minute.touches.ask > minute.touches.bid).all()
        books = minute.books
        assert books.bid.shape == books.ask.shape == (601, 20)
        assert (books.ask[:, 0] > books.bid[:, 0]).all()
        assert (np.diff(books.bid, axis=1) < 0).all()
        assert (np.diff(books.ask, axis=1) > 0).all()
        assert min(books.bid_lots.min(), books.ask_lots.min()) >= 1


def test_snapshots_begin_with_the_touch_of_their_time(minutes: Sequence[Minute]) -> None:
    for minute in minutes:
        books, touches = minute.books, minute.touches
        row = np.searchsorted(touches.when_us, books.push_us) - 1
        known = row >= 0
        for level, column in (
            (books.bid, touches.bid),
            (books.bid_lots, touches.bid_lots),
            (books.ask, touches.ask),
            (books.ask_lots, touches.ask_lots),
        ):
            np.testing.assert_array_equal(level[known, 0], column[row[known]])


def test_a_minute_begins_with_the_book_the_one_before_ended_with(minutes: Sequence[Minute]) -> None:
    for before, after in pairwise(minutes):
        assert after.books.push_us[0] == before.books.push_us[-1] == after.start_us
        assert after.books.last_us[0] == before.books.last_us[-1]
        for name in ("bid", "bid_lots", "ask", "ask_lots"):
            np.testing.assert_array_equal(getattr(after.books, name)[0], getattr(before.books, name)[-1])


def test_taker_orders_start_at_the_touch_and_deplete_what_they_take(minutes: Sequence[Minute]) -> None:
    swept = whole = partial = 0
    for minute in minutes:
        trades, touches = minute.trades, minute.touches
        orders = np.unique(trades.when_us, return_index=True)[1]
        for first, last in zip(orders, [*orders[1:], len(trades)], strict=True):
            when, buy = trades.when_us[first], trades.buy[first]
            before = np.searchsorted(touches.when_us, when) - 1
            if before < 0:
                continue
            price, lots = (touches.ask, touches.ask_lots) if buy else (touches.bid, touches.bid_lots)
            assert trades.tick[first] == price[before]
            fills = trades.lots[first:last]
            assert (np.diff(trades.tick[first:last]) * (1 if buy else -1) > 0).all()
            assert touches.when_us[before + 1] == when
            if last - first == 1 and fills[0] < lots[before]:
                partial += 1
                assert price[before + 1] == price[before]
                assert lots[before + 1] == lots[before] - fills[0]
            else:
                assert fills[0] == lots[before]
                whole += 1
                assert price[before + 1] != price[before] or last - first > 1
            swept += last - first > 1
    assert min(swept, whole, partial) > 0


def test_ids_are_consecutive_and_times_rise(minutes: Sequence[Minute]) -> None:
    order_id = np.concatenate([minute.trades.order_id for minute in minutes])
    first, last = (
        np.concatenate([getattr(minute.trades, name) for minute in minutes]) for name in ("first_id", "last_id")
    )
    np.testing.assert_array_equal(np.diff(order_id), 1)
    np.testing.assert_array_equal(first[1:], last[:-1] + 1)
    assert (last >= first).all()
    touches = np.concatenate([minute.touches.when_us for minute in minutes])
    assert (np.diff(touches) > 0).all()
    assert (np.diff(np.concatenate([minute.trades.when_us for minute in minutes])) >= 0).all()


def test_updates_of_the_book_form_a_chain(minutes: Sequence[Minute]) -> None:
    for minute in minutes:
        books = minute.books
        changed = books.first_us > 0
        assert not changed[0]
        assert (books.first_us[changed] > books.last_us[np.flatnonzero(changed) - 1]).all()
        assert (books.first_us[changed] <= books.last_us[changed]).all()
        assert (books.last_us < books.push_us)[1:].all()
        same = np.flatnonzero(~changed[1:]) + 1
        np.testing.assert_array_equal(books.bid_lots[same], books.bid_lots[same - 1])


def test_candle_of_hand_made_trades() -> None:
    trades = Trades(
        when_us=np.array([1, 2, 3]),
        tick=np.array([100, 103, 99]),
        lots=np.array([5, 1, 2]),
        buy=np.array([True, False, True]),
        order_id=np.array([7, 8, 9]),
        first_id=np.array([20, 22, 23]),
        last_id=np.array([21, 22, 25]),
    )
    made = candle(60, 98, trades)
    assert (made.open, made.high, made.low, made.close) == (100, 103, 99, 99)
    assert (made.lots, made.value, made.buy_lots, made.buy_value) == (8, 801, 7, 698)
    assert (made.count, made.first_id, made.last_id, made.last_lots) == (6, 20, 25, 2)
    empty = candle(60, 98, trades, 0, 0)
    assert (empty.open, empty.high, empty.low, empty.close, empty.count, empty.first_id) == (98, 98, 98, 98, 0, -1)


def test_the_day_forgets_what_is_older_than_1440_minutes() -> None:
    rolling = Rolling(50)
    one = Trades(*(np.array([value]) for value in (0, 100, 3, True, 1, 1, 1)))
    none = Trades(
        *(np.array([], dtype=np.int64) for _ in range(3)),
        np.array([], dtype=bool),
        *([np.array([], dtype=np.int64)] * 3),
    )
    rolling.close(0, one)
    for minute in range(1, DAY_MINUTES):
        rolling.close(minute * MINUTE_US, none)
    full = rolling.day(DAY_MINUTES * MINUTE_US)
    assert (full.open_us, full.lots, full.value, full.count) == (0, 3, 300, 1)
    rolling.close(DAY_MINUTES * MINUTE_US, none)
    later = rolling.day((DAY_MINUTES + 1) * MINUTE_US)
    assert (later.lots, later.count, later.close, later.last_lots, later.last_id) == (0, 0, 100, 3, 1)


@pytest.mark.parametrize(
    ("premium", "hours", "rate"),
    [
        (0.0, 8, 0.0001),
        (0.0004, 8, 0.0001),
        (0.0010, 8, 0.0005),
        (-0.0010, 8, -0.0005),
        (0.0010, 4, 0.00025),
        (0.5, 8, 0.02),
        (-0.5, 4, -0.02),
    ],
)
def test_funding_follows_the_premium_outside_the_clamp(premium: float, hours: int, rate: float) -> None:
    assert funding_rate(premium, hours) == pytest.approx(rate, abs=1e-15)


def test_funding_is_settled_on_the_grid_of_its_interval() -> None:
    """08:00 UTC ends an interval of eight hours, and of four."""
    eight = 1_760_000_400_000_000 // 28_800_000_000 * 28_800_000_000 + 28_800_000_000
    market = Market(3, eight - 2 * MINUTE_US, [VENUE], ["BTCUSDT", "WIFUSDT"])
    before, at, after = market.minute(), market.minute(), market.minute()
    for index, hours in ((0, 8), (1, 4)):
        assert before[index].seconds.settlement is None
        assert at[index].seconds.next_us == eight
        paid = at[index].seconds.settlement
        assert (paid.when_us, paid.rate) == (eight, at[index].seconds.rate)
        assert at[index].seconds.when_us[-1] == eight
        assert after[index].seconds.next_us == eight + hours * 3_600_000_000


def test_mark_stays_near_index_and_follows_the_mid(minutes: Sequence[Minute]) -> None:
    for minute in minutes:
        seconds = minute.seconds
        assert seconds is not None
        assert (np.diff(seconds.when_us) == 1_000_000).all()
        assert (np.abs(seconds.mark / seconds.index - 1) < 0.01).all()
        assert (seconds.open_interest > 0).all()


def test_at_most_one_liquidation_a_second_and_each_follows_a_move() -> None:
    market = Market(5, START_US, [VENUE], ["WIFUSDT"])
    minutes = [market.minute()[0] for _ in range(90)]
    when_us = np.concatenate([minute.touches.when_us for minute in minutes])
    mids = np.concatenate([minute.touches.ask + minute.touches.bid for minute in minutes]) / 2
    moves: list[bool] = []
    for minute in minutes:
        seconds = [closed.when_us // 1_000_000 for closed in minute.liquidations]
        assert len(seconds) == len(set(seconds))
        for closed in minute.liquidations:
            at_us = minute.start_us + closed.when_us
            fills = minute.trades.when_us == at_us
            assert minute.trades.lots[fills].sum() == closed.filled <= closed.lots
            assert (minute.trades.buy[fills] == closed.buy).all()
            assert (minute.trades.tick[fills] * minute.trades.lots[fills]).sum() == closed.value
            now, past = np.searchsorted(when_us, [at_us, at_us - MINUTE_US]) - 1
            if past >= 0:
                moves.append((mids[now] > mids[past]) == closed.buy)
    assert len(moves) > 5
    assert all(moves), "longs are closed after a fall, shorts after a rise"


def test_the_same_seed_start_and_knobs_give_the_same_market() -> None:
    def path(seed: int, symbols: Sequence[str], activity: float = 1.0) -> list[np.ndarray]:
        market = Market(seed, START_US, [VENUE], symbols, activity=activity)
        return [
            minute.touches.bid for _ in range(3) for minute in market.minute() if minute.listing.symbol == "BTCUSDT"
        ]

    base = path(1, ["BTCUSDT"])
    alone = path(1, ["ETHUSDT", "BTCUSDT"])
    assert all(np.array_equal(a, b) for a, b in zip(base, alone, strict=True)), "others must not change a symbol"
    assert not np.array_equal(base[0], path(2, ["BTCUSDT"])[0])
    assert path(1, ["BTCUSDT"], activity=0.2)[0].size < base[0].size / 2


def test_volatility_clusters_and_takers_repeat_themselves() -> None:
    market = Market(7, START_US, [VENUE], ["ARUSDT"])
    minutes = [market.minute()[0] for _ in range(600)]
    returns = np.diff(np.log([minute.candle.close for minute in minutes]))
    sides = np.concatenate([np.where(minute.trades.buy, 1.0, -1.0) for minute in minutes])
    counts = np.array([len(minute.trades) for minute in minutes], dtype=float)
    assert _acf(np.abs(returns), 1) > 0.05
    assert np.mean([_acf(np.abs(returns), lag) for lag in range(1, 21)]) > 0.03
    assert _acf(sides, 1) > 0.2
    assert counts.var() / counts.mean() > 2, "arrivals must cluster more than a Poisson process"
    kurtosis = ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2
    assert kurtosis > 3.5
    imbalance = [(2 * m.candle.buy_lots - m.candle.lots) / max(1, m.candle.lots) for m in minutes]
    assert np.corrcoef(imbalance[1:], returns)[0, 1] > 0.1, "order flow must move the price"


def test_symbols_move_together_a_little() -> None:
    latent = Latent(9, START_US)
    minutes = [latent.minute() for _ in range(400)]
    closes = np.array([[minute[symbol].log_price[-1] for symbol in ("BTCUSDT", "ETHUSDT")] for minute in minutes])
    assert 0.2 < np.corrcoef(np.diff(closes, axis=0).T)[0, 1] < 0.9


def test_unusable_knobs_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 100 ms"):
        Market(1, START_US, [VENUE], book_interval_ms=150)
    with pytest.raises(ValueError, match="above 0"):
        Market(1, START_US, [VENUE], activity=0)
    with pytest.raises(ValueError, match="no symbol"):
        Market(1, START_US, [VENUE], [])


def test_decimals_are_exact() -> None:
    assert [decimal(value, 2) for value in (-1234, -5, 0, 7, 100)] == ["-12.34", "-0.05", "0.00", "0.07", "1.00"]
    assert decimals(np.array([10, 5, 10]), 1) == ["1.0", "0.5", "1.0"]
    assert decimals(np.array([], dtype=np.int64), 1) == []
    assert levels(np.array([[101, 100]]), 1, np.array([[7, 2**31 - 1]]), 0) == [
        ['["10.1","7"]', '["10.0","2147483647"]']
    ]


def _acf(series: np.ndarray, lag: int) -> float:
    centred = series - series.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred * centred).mean())
