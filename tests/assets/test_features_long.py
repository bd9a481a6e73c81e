"""Features that remember days, on planted bars: fluctuation analysis, same-time ranks, VPIN, Amihud, icebergs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orderflow_assets.bars import daily_sizes
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.features.prices import layer as prices
from orderflow_assets.features.prices import microprice, randomness
from orderflow_assets.features.prices.declarations import PRICES
from orderflow_assets.features.trades import buckets, sizes
from orderflow_assets.features.trades import layer as trades
from orderflow_assets.features.trades.buckets import VOLUME_BUCKETS
from orderflow_assets.features.trades.declarations import TRADES
from orderflow_assets.features.trades.executions import EXECUTIONS_1M
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NOON = datetime(2025, 3, 10, 12)  # noqa: DTZ001
SERIES = {"symbol": "AAAUSDT", "exchange": "binance", "market_type": "futures"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def put(store: Store, table: Table, count: int, **columns: object) -> None:
    data = {**{name: [value] * count for name, value in SERIES.items()}, **columns}
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in table.arrow_schema]
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


def put_minutes(store: Store, first: datetime, count: int, **columns: object) -> list[datetime]:
    opening = [first + k * MINUTE for k in range(count)]
    zeros = [0] * count
    put(
        store,
        BARS_1M,
        count,
        open_time=opening,
        bar_ts=[time + MINUTE for time in opening],
        quoted_s=zeros,
        **({"quote_count": zeros} | columns),
    )
    return opening


def last_rows(store: Store, table: Table) -> list[dict[str, object]]:
    return store.query(f"SELECT * FROM {table.qualified} ORDER BY bar_ts").to_pylist()


def by_polyfit(returns: np.ndarray) -> tuple[float, float]:
    """Detrended fluctuation analysis with a line fitted to every stretch on its own."""
    profile = np.cumsum(returns - returns.mean())
    scales = sorted({round(scale) for scale in np.geomspace(10, len(returns) // 4, 20)})
    spread = []
    for scale in scales:
        residuals = []
        for start in range(0, len(profile) - scale + 1, scale):
            stretch, time = profile[start : start + scale], np.arange(scale)
            residuals.append(np.mean((stretch - np.polyval(np.polyfit(time, stretch, 1), time)) ** 2))
        spread.append(math.sqrt(np.mean(residuals)))
    fit = stats.linregress(np.log(scales), np.log(spread))
    return fit.slope, fit.stderr


def test_hurst_is_that_of_a_line_through_the_fluctuations() -> None:
    returns = np.random.default_rng(3).normal(0, 1e-4, 1440)
    returns[100:130] = np.nan
    assert randomness.hurst(returns) == pytest.approx(by_polyfit(returns[np.isfinite(returns)]), rel=1e-8)


@pytest.mark.parametrize(("persistence", "low", "high"), [(0.0, 0.42, 0.58), (0.9, 0.6, 1.5), (-0.9, -0.1, 0.4)])
def test_hurst_tells_memory_from_none(persistence: float, low: float, high: float) -> None:
    noise = np.random.default_rng(4).normal(0, 1e-4, 1440)
    if persistence >= 0:
        kernel = persistence ** np.arange(200)
        returns = np.convolve(noise, kernel)[:1440]
    else:
        returns = np.diff(noise, prepend=0)
    assert low < randomness.hurst(returns)[0] < high


def test_hurst_needs_half_a_day_of_movement() -> None:
    assert np.isnan(randomness.hurst(np.random.default_rng(5).normal(size=719))).all()
    assert np.isnan(randomness.hurst(np.zeros(1440))).all()


def test_hurst_stands_for_a_quarter_of_an_hour(store: Store) -> None:
    path = 100 * np.exp(np.cumsum(np.random.default_rng(6).normal(0, 1e-4, 26 * 60 + 60)))
    put_minutes(store, NOON - timedelta(hours=26), len(path), mid_close=path)
    prices.LAYER.compute(store, NOON, NOON + timedelta(hours=1))
    found = {row["bar_ts"]: row for row in last_rows(store, PRICES.table)}
    returns = np.diff(np.log(path))
    for minutes in (0, 15, 30, 45, 60):
        end = 26 * 60 - 1 + minutes
        exponent, error = by_polyfit(returns[end - 1440 : end])
        for later in range(max(minutes, 1), min(minutes + 15, 61)):
            row = found[NOON + later * MINUTE]
            assert (row["hurst_exponent"], row["hurst_stderr"]) == pytest.approx((exponent, error), rel=1e-7)


def test_flow_intensity_ranks_among_the_same_times_of_day(store: Store) -> None:
    rng = np.random.default_rng(7)
    first = NOON - 21 * DAY
    counts = rng.integers(0, 30, 21 * 1440 + 120).astype(float)
    counts[rng.random(len(counts)) < 0.2] = np.nan
    opening = put_minutes(
        store, first, len(counts), parent_count=[None if np.isnan(value) else int(value) for value in counts]
    )
    trades.LAYER.compute(store, NOON, NOON + timedelta(minutes=90))
    at = dict(zip(opening, counts, strict=True))
    for row in last_rows(store, TRADES.table):
        now = row["open_time"]
        past = [at[now - d * DAY + k * MINUTE] for d in range(1, 21) for k in range(-15, 16)]  # type: ignore[operator]
        known = [value for value in past if not np.isnan(value)]
        expected = stats.percentileofscore(known, at[now], kind="mean") / 100  # type: ignore[index]
        if np.isnan(at[now]):  # type: ignore[index]
            assert row["flow_intensity"] is None
        else:
            assert row["flow_intensity"] == pytest.approx(expected)


def vpin_by_hand(trades_: list[tuple[datetime, str, float]], size: float) -> list[tuple[datetime, float]]:
    """Bucket by bucket, splitting trades: when each filled and how one-sided it was."""
    filled, room, bought = [], size, 0.0
    for when, side, qty in trades_:
        while qty > 0:
            part = min(qty, room)
            bought += part if side == "buy" else 0.0
            room, qty = room - part, qty - part
            if room <= 1e-9 * size:
                filled.append((when, abs(2 * bought - size) / size))
                room, bought = size, 0.0
    return filled


@pytest.fixture
def bought_and_sold(store: Store) -> tuple[list[tuple[datetime, str, float]], float]:
    """A quiet day of bars, then a day in which 60 buckets trade within two hours after midnight."""
    rng = np.random.default_rng(8)
    midnight = NOON.replace(hour=0)
    put_minutes(store, midnight - DAY, 1440, volume=[2.0] * 1440, quote_volume=[20.0] * 1440, trade_count=[1] * 1440)
    size = 2.0 * 1440 / 50
    times = sorted(rng.choice(7_200_000, 900, replace=False))
    tape = [
        (midnight + timedelta(milliseconds=int(when)), str(rng.choice(["buy", "sell"], p=[0.6, 0.4])), float(qty))
        for when, qty in zip(times, rng.lognormal(1, 1, 900) * size * 60 / 900 / 4, strict=True)
    ]
    count = len(tape)
    put(
        store,
        PARENT_TRADES,
        count,
        timestamp=[when for when, _, _ in tape],
        side=[side for _, side, _ in tape],
        prints=[1] * count,
        quantity=[qty for _, _, qty in tape],
        notional=[qty * 10 for _, _, qty in tape],
        **{name: [10.0] * count for name in ("first_price", "last_price", "low", "high")},
        sweep=[False] * count,
        first_id=range(count),
        last_id=range(count),
    )
    minutes = np.zeros(120)
    for when, _, qty in tape:
        minutes[(when - midnight) // MINUTE] += qty
    put_minutes(store, midnight, 120, volume=minutes, trade_count=[5] * 120)
    return tape, size


@pytest.mark.parametrize("step", [5, 20, 60, 120])
def test_vpin_splits_trades_over_buckets_and_averages_fifty(
    step: int, store: Store, bought_and_sold: tuple[list[tuple[datetime, str, float]], float]
) -> None:
    tape, size = bought_and_sold
    midnight = NOON.replace(hour=0)
    for start in range(0, 120, step):
        window = midnight + start * MINUTE, midnight + (start + step) * MINUTE
        daily_sizes.LAYER.compute(store, *window)
        buckets.LAYER.compute(store, *window)
        trades.LAYER.compute(store, *window)
    expected = vpin_by_hand(tape, size)
    found = store.query(f"SELECT * FROM {VOLUME_BUCKETS.qualified} ORDER BY bucket").to_pylist()
    assert [row["filled_at"] for row in found] == [when for when, _ in expected]
    assert [row["bucket"] for row in found] == list(range(len(expected)))
    np.testing.assert_allclose([abs(2 * r["bought"] - r["size"]) / r["size"] for r in found], [x for _, x in expected])
    assert len(expected) > 55
    for row in last_rows(store, TRADES.table):
        known = [share for when, share in expected if when < row["bar_ts"]]  # type: ignore[operator]
        if len(known) < 50:
            assert row["flow_toxicity"] is None
        else:
            assert row["flow_toxicity"] == pytest.approx(np.mean(known[-50:]), rel=1e-9)


def test_no_history_no_buckets(store: Store) -> None:
    midnight = NOON.replace(hour=0)
    put_minutes(store, midnight - 59 * MINUTE, 59, volume=[1.0] * 59)
    assert daily_sizes.LAYER.compute(store, midnight, midnight + timedelta(hours=1)) == 0
    assert buckets.LAYER.compute(store, midnight, midnight + timedelta(hours=1)) == 0


@pytest.mark.parametrize("start", [NOON, NOON + 7 * MINUTE])
def test_amihud_is_the_mean_over_full_five_minute_bars(start: datetime, store: Store) -> None:
    rng = np.random.default_rng(9)
    first = NOON - timedelta(hours=26)
    count = 27 * 60
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, count)))
    value = rng.lognormal(10, 1, count)
    quiet = rng.random(count) < 0.5
    quiet[300:320] = True
    opening = put_minutes(
        store,
        first,
        count,
        close=[None if q else float(c) for c, q in zip(close, quiet, strict=True)],
        quote_volume=[0.0 if q else float(v) for v, q in zip(value, quiet, strict=True)],
        volume=[0.0 if q else 1.0 for q in quiet],
    )
    trades.LAYER.compute(store, start, start + timedelta(minutes=20))
    fives: dict[datetime, tuple[float | None, float]] = {}
    for time, c, v, q in zip(opening, close, value, quiet, strict=True):
        edge = time.replace(minute=time.minute // 5 * 5)
        last, total = fives.get(edge, (None, 0.0))
        fives[edge] = (last if q else float(c), total + (0.0 if q else float(v)))
    five = timedelta(minutes=5)
    for row in last_rows(store, TRADES.table):
        parts = []
        newest = row["bar_ts"].replace(minute=row["bar_ts"].minute // 5 * 5) - five  # type: ignore[attr-defined]
        for k in range(288):
            (now, traded), (then, _) = fives[newest - k * five], fives[newest - (k + 1) * five]
            if now and then and traded:
                parts.append(abs(math.log(now / then)) / (traded / 1e6))
        assert row["amihud_illiq"] == pytest.approx(np.mean(parts), rel=1e-9)


def test_an_iceberg_stands_out_of_its_week(store: Store) -> None:
    count = 7 * 1440 + 60
    first = NOON - 7 * DAY
    opening = put_minutes(store, first, count, volume=[1.0] * count)
    hidden = np.random.default_rng(10).random(count) * 0.5
    hidden[-10:] = 0.9
    ones = [1.0] * count
    put(
        store,
        EXECUTIONS_1M,
        count,
        open_time=opening,
        bar_ts=[time + MINUTE for time in opening],
        parents=[4] * count,
        unseen_parents=[0] * count,
        executed=ones,
        hidden=hidden,
    )
    trades.LAYER.compute(store, NOON, NOON + timedelta(hours=1))
    share = np.array([hidden[max(0, at - 14) : at + 1].mean() for at in range(count)])
    for at, row in enumerate(last_rows(store, TRADES.table), start=count - 60):
        assert row["iceberg_probability"] == pytest.approx(share[at])
        assert row["iceberg_detected"] == (share[at] >= np.quantile(share[at - 7 * 1440 : at], 0.95))
    assert row["iceberg_detected"]


def test_the_quantile_of_the_bars_before_is_exact() -> None:
    rng = np.random.default_rng(11)
    bar = np.sort(rng.integers(0, 400, 9_000))
    value = np.round(rng.lognormal(5, 2, 9_000), 1)
    outputs = np.arange(150, 400)
    found = sizes.trailing_quantile(bar, value, 120, outputs, 0.995)
    expected = [np.quantile(value[(bar >= k - 120) & (bar < k)], 0.995) for k in outputs]
    np.testing.assert_allclose(found, expected)


def test_the_largest_values_are_enough_for_a_high_quantile() -> None:
    rng = np.random.default_rng(13)
    bar = np.sort(rng.integers(0, 400, 9_000))
    value = rng.lognormal(5, 2, 9_000)
    outputs, counts = np.arange(150, 400), np.bincount(bar, minlength=400)
    large = value >= np.quantile(value, 0.97)
    found = sizes.trailing_quantile(bar[large], value[large], 120, outputs, 0.995, counts)
    np.testing.assert_array_equal(found, sizes.trailing_quantile(bar, value, 120, outputs, 0.995))
    with pytest.raises(sizes.OutOfReachError):
        sizes.trailing_quantile(bar[large], value[large], 120, outputs, 0.95, counts)


@pytest.mark.parametrize("lately", [30.0, 1.0, 0.01, 0.0], ids=["larger", "as ever", "smaller", "nothing"])
def test_a_whale_is_measured_by_the_whole_day_before(lately: float, store: Store) -> None:
    rng = np.random.default_rng(14)
    minutes = 25 * 60
    first = NOON - timedelta(hours=24)
    minute = np.sort(rng.integers(0, minutes if lately else 24 * 60 - 15, 6_000))
    value = np.round(rng.lognormal(10, 1, 6_000), 2) * np.where(minute >= 24 * 60 - 15, lately, 1.0)
    count = len(value)
    put(
        store,
        PARENT_TRADES,
        count,
        timestamp=[first + int(k) * MINUTE for k in minute],
        side=["buy"] * count,
        prints=[1] * count,
        quantity=value / 10,
        notional=value,
        **{name: [10.0] * count for name in ("first_price", "last_price", "low", "high")},
        sweep=[False] * count,
        first_id=range(count),
        last_id=range(count),
    )
    put_minutes(store, first, minutes, volume=[1.0] * minutes, parent_count=np.bincount(minute, minlength=minutes))
    trades.LAYER.compute(store, NOON, NOON + timedelta(hours=1))
    for at, row in enumerate(last_rows(store, TRADES.table), start=24 * 60):
        day = value[(minute >= at - 1440) & (minute < at)]
        assert row["whale_threshold"] == pytest.approx(max(10_000, np.quantile(day, 0.995)), rel=1e-12)


def test_micro_price_shifts_mirror_and_lean_to_the_thin_side() -> None:
    rng = np.random.default_rng(12)
    state, following, move = [], [], []
    for _ in range(40_000):
        bucket = int(rng.integers(0, 10))
        up = rng.random() < 0.05 + 0.09 * bucket
        moved = rng.random() < 0.3
        state.append(bucket * microprice.SPREADS)
        following.append(int(rng.integers(0, 10)) * microprice.SPREADS)
        move.append((1.0 if up else -1.0) if moved else 0.0)
    shift, seen = microprice.shifts(np.array(state), np.array(following), np.array(move))
    known = np.flatnonzero(np.isfinite(shift))
    assert set(known) == {bucket * microprice.SPREADS for bucket in range(10)}
    np.testing.assert_allclose(shift[known], -shift[microprice.mirrored(known)], atol=1e-12)
    assert (np.diff(shift[known]) > 0).all()
    assert seen.sum() == 80_000


def test_states_the_mid_never_left_have_no_shift() -> None:
    state = np.array([0, 0, 4, 4])
    following = np.array([0, 0, 4, 4])
    shift, _ = microprice.shifts(state, following, np.array([0.0, 0.0, 0.5, -0.5]))
    assert np.isnan(shift[0])
    assert np.isfinite(shift[4])
