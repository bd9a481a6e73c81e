"""Features of mark prices over their whole baselines, against pandas, statsmodels and plain loops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.funding.live import FUNDING_1M
from orderflow_assets.features.mark_prices import dislocation, premium, reversion
from orderflow_assets.features.mark_prices import layer as mark_prices
from orderflow_assets.features.mark_prices.declarations import MARK_PRICES
from orderflow_assets.features.mark_prices.marks import MARKS_1M
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, connect
from tests.assets.perpetual_tape import Series, named, put

MINUTE, DAY, WEEK = timedelta(minutes=1), 1440, 10_080
START = datetime(2025, 4, 10, 6)  # noqa: DTZ001
END = START + timedelta(minutes=75)
FIRST = START - timedelta(days=7, minutes=30)
"""Half an hour more than any baseline reaches."""
BUSY, HOLED, BARE = (
    ("AAAUSDT", "binance", "futures"),
    ("AAAUSDT", "hyperliquid", "futures"),
    ("CCCUSDT", "okx", "futures"),
)
HOURS = {BUSY: 8.0, HOLED: 1.0, BARE: 4.0}
DISLOCATED = START + timedelta(minutes=40, seconds=20)
Columns = dict[str, np.ndarray]


def _marks(series: Series, seed: int) -> Columns:
    """Minutes of a premium that is pulled to 4 bps and swings; the second series has holes, the third no index."""
    rng = np.random.default_rng(seed)
    count = round((END - FIRST) / MINUTE)
    level = np.empty(count)
    level[0] = 0.0
    noise = rng.normal(0, 0.8, count)
    for bar in range(1, count):
        level[bar] = 4 + 0.97 * (level[bar - 1] - 4) + noise[bar] + 0.3 * np.sin(bar / 45)
    index = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, count)))
    close = level / 1e4
    columns = {
        "n_obs": np.full(count, 60.0),
        "mark_close": index * (1 + close),
        "index_close": index,
        "premium": np.round(close + rng.normal(0, 2e-5, count), 6),
        "basis": index * close,
        "premium_s": np.full(count, 60.0),
        "impact_premium": close + rng.normal(0, 1e-4, count),
        "spot_mid": index * (1 + rng.normal(0, 1e-4, count)),
        "spot_venues": np.full(count, 3.0),
    }
    if series == HOLED:
        missing = rng.random(count) < 0.2
        missing[-75 - 300 : -75 - 200] = True
        for name in ("mark_close", "index_close", "premium", "basis"):
            columns[name][missing] = np.nan
        columns["premium_s"][missing] = 0
        columns["premium_s"][::7] /= 2
        columns["impact_premium"][:] = np.nan
        columns["spot_venues"][::3] = 2
    if series == BARE:
        for name in ("index_close", "premium", "basis", "impact_premium"):
            columns[name][:] = np.nan
        columns["premium_s"][:] = 0
    return columns


TAPE = {series: _marks(series, seed) for seed, series in enumerate(HOURS)}
CLOSES = [FIRST + (bar + 1) * MINUTE for bar in range(round((END - FIRST) / MINUTE))]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("marks"), scope="write") as store:
        store.ensure(BARS_1M, MARKS_1M, FUNDING_1M, *(stream.table for stream in STREAMS.values()))
        for series, columns in TAPE.items():
            store.write(MARKS_1M, _rows(series, columns))
        spine = [
            named(series, open_time=close - MINUTE, bar_ts=close, mid_close=100.0, quote_count=1, quoted_s=60.0)
            for series in HOURS
            for close in CLOSES[-75:]
        ]
        put(store, BARS_1M, spine)
        rated = [
            named(series, open_time=close - MINUTE, bar_ts=close, live_rate=1e-4, next_funding_time=_due(series, close),
                  interval_hours=hours, rated_at=close, heard_at=close)
            for series, hours in HOURS.items()
            for close in CLOSES[-75:]
        ]  # fmt: skip
        put(store, FUNDING_1M, rated)
        put(store, STREAMS["mark_prices"].table, list(_ticks()))
        mark_prices.LAYER.compute(store, START, END)
        yield store


def _rows(series: Series, columns: Columns) -> pa.Table:
    count = len(CLOSES)
    data: dict[str, Any] = dict(
        zip(("symbol", "exchange", "market_type"), ([part] * count for part in series), strict=True)
    )
    data |= {"open_time": [close - MINUTE for close in CLOSES], "bar_ts": CLOSES}
    data |= {name: pa.array(values, mask=np.isnan(values)) for name, values in columns.items()}
    data["rated_at"] = pa.nulls(count, pa.timestamp("us"))
    for name in ("n_obs", "spot_venues"):
        data[name] = pa.array(columns[name].astype(int))
    return pa.table(data)


def _due(series: Series, close: datetime) -> datetime:
    """The first settlement at or after ``close``: Binance at 08:00, OKX at 08:00, Hyperliquid on the hour."""
    midnight = close.replace(hour=0, minute=0)
    hours = HOURS[series]
    return midnight + timedelta(hours=hours * math.ceil((close - midnight) / timedelta(hours=hours)))


def _ticks() -> Iterator[dict[str, Any]]:
    """Marks each second; 100 bps dear for twelve seconds, for nine, and for ten over the end of a minute."""
    for second in range(-120, 75 * 60 + 1):
        when = START + timedelta(seconds=second)
        far = any(
            begin <= (when - DISLOCATED).total_seconds() < begin + length
            for begin, length in ((0, 12), (600, 9), (1172, 10))
        )
        mark = 101.0 if far else 100.04
        yield named(BUSY, id=second + 121, timestamp=when, received_at=when, mark_price=mark, index_price=100.0)


def column(store: Store, series: Series, name: str) -> list[Any]:
    rows = store.query(
        f'SELECT "{name}" AS v FROM features.mark_prices WHERE symbol = ? AND exchange = ? ORDER BY bar_ts', series[:2]
    )
    assert rows.num_rows == 75
    return rows["v"].to_pylist()


def numbers(store: Store, series: Series, name: str) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in column(store, series, name)], dtype=float)


def agree(found: np.ndarray, expected: list[float] | np.ndarray, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(found, np.array(expected, dtype=float), rtol=tolerance, atol=1e-12, equal_nan=True)


BARS = range(len(CLOSES) - 75, len(CLOSES))
BOTH = pytest.mark.parametrize("series", [BUSY, HOLED], ids=["busy", "holed"])


@BOTH
def test_levels(series: Series, computed: Store) -> None:
    tape = {name: values[BARS.start :] for name, values in TAPE[series].items()}
    mark, index = tape["mark_close"], tape["index_close"]
    agree(numbers(computed, series, "mark_price"), mark)
    agree(numbers(computed, series, "index_price"), index)
    agree(numbers(computed, series, "mark_spot_basis"), tape["basis"])
    agree(numbers(computed, series, "mark_spot_basis_pct"), 100 * tape["premium"])
    agree(numbers(computed, series, "premium_bps"), 1e4 * (mark / index - 1))
    agree(numbers(computed, series, "mark_price_vs_mid"), 1e4 * (mark / 100 - 1))
    before = TAPE[series]["mark_close"][BARS.start - 1 : -1]
    agree(numbers(computed, series, "mark_price_velocity"), 1e4 * np.log(mark / before))


@BOTH
def test_baselines_end_before_the_bar(series: Series, computed: Store) -> None:
    import pandas as pd

    values = pd.Series(TAPE[series]["premium"])
    past = values.shift(1).rolling(DAY, min_periods=60)
    agree(
        numbers(computed, series, "basis_zscore"), ((values - past.mean()) / past.std()).to_numpy()[BARS.start :], 1e-7
    )
    median = past.median()
    mad = pd.Series(
        [
            np.nanmedian(np.abs(values[bar - DAY : bar] - median[bar])) if bar in BARS else np.nan
            for bar in range(len(values))
        ]
    )
    robust = (values - median) / (1.4826 * mad)
    agree(numbers(computed, series, "basis_robust_z"), robust.to_numpy()[BARS.start :])


def rank(values: np.ndarray, bar: int) -> float:
    past = values[bar - WEEK : bar]
    past = past[np.isfinite(past)]
    if not np.isfinite(values[bar]):
        return np.nan
    return float((np.sum(past < values[bar]) + np.sum(past == values[bar]) / 2) / len(past))


@BOTH
def test_percentiles_are_ranks_in_the_week_before(series: Series, computed: Store) -> None:
    tape = TAPE[series]
    agree(numbers(computed, series, "basis_percentile"), [rank(tape["premium"], bar) for bar in BARS])
    apart = np.where(tape["spot_venues"] >= 3, 1e4 * (tape["index_close"] / tape["spot_mid"] - 1), np.nan)
    agree(numbers(computed, series, "index_divergence"), apart[BARS.start :])
    agree(numbers(computed, series, "index_divergence_risk"), [rank(np.abs(apart), bar) for bar in BARS])
    assert np.isnan(apart[BARS.start :]).any() == (series == HOLED)


def hour_mean(tape: Columns, bar: int) -> float:
    known = [k for k in range(bar - 59, bar + 1) if np.isfinite(tape["premium"][k])]
    seconds = sum(tape["premium_s"][k] for k in known)
    return sum(tape["premium"][k] * tape["premium_s"][k] for k in known) / seconds * 1e4 if seconds >= 1800 else np.nan


@BOTH
def test_the_regime_is_that_of_a_walk_through_the_day_before(series: Series, computed: Store) -> None:
    tape = TAPE[series]
    means = {bar: hour_mean(tape, bar) for bar in range(BARS.start - DAY, BARS.stop)}
    agree(numbers(computed, series, "premium_1h_bps"), [means[bar] for bar in BARS])
    expected = []
    for bar in BARS:
        label = "neutral"
        for past in range(bar - DAY + 1, bar + 1):
            mean = means[past]
            label = "contango" if mean > 5 else "backwardation" if mean < -5 else "neutral" if abs(mean) < 3 else label
        expected.append(None if np.isnan(means[bar]) else label)
    assert column(computed, series, "basis_regime") == expected
    if series == BUSY:
        assert len(set(expected)) > 1


@BOTH
def test_the_interval_so_far(series: Series, computed: Store) -> None:
    tape, hours = TAPE[series], HOURS[series]
    form, expected_annual, expected_mean, expected_rate = [], [], [], []
    for bar in BARS:
        begin = _due(series, CLOSES[bar]) - timedelta(hours=hours)
        bars = [k for k in range(bar - round(hours * 60), bar + 1) if CLOSES[k] > begin]
        known = [k for k in bars if np.isfinite(tape["premium"][k])]
        seconds = sum(tape["premium_s"][k] for k in known)
        enough = seconds >= 0.5 * 60 * len(bars)
        mean = sum(tape["premium"][k] * tape["premium_s"][k] for k in known) / seconds if enough else np.nan
        impacts = [tape["impact_premium"][k] for k in bars if np.isfinite(tape["impact_premium"][k])]
        is_impact = len(impacts) >= 0.5 * len(bars)
        used = sum(impacts) / len(impacts) if is_impact else mean
        form.append("impact" if is_impact else "mark" if enough else None)
        expected_annual.append(mean * 8760 / hours)
        expected_mean.append(used)
        expected_rate.append((used + min(5e-4, max(-5e-4, 1e-4 - used))) * hours / 8)
    agree(numbers(computed, series, "annualized_basis"), expected_annual)
    agree(numbers(computed, series, "interval_premium"), expected_mean)
    agree(numbers(computed, series, "funding_pressure"), expected_rate)
    assert column(computed, series, "premium_form") == form
    assert set(form) - {None} == {"impact" if series == BUSY else "mark"}


@BOTH
def test_the_pull_is_a_regression_and_the_test_that_of_statsmodels(series: Series, computed: Store) -> None:
    from scipy.stats import linregress
    from statsmodels.tsa.stattools import adfuller

    tape = TAPE[series]
    closes = 1e4 * (tape["mark_close"] / tape["index_close"] - 1)
    found = {
        name: numbers(computed, series, name)
        for name in (
            "basis_ou_phi", "basis_mean_reversion_speed", "basis_half_life_h", "basis_ou_mean_bps", "basis_adf_pvalue",
        )
    }  # fmt: skip
    for number, bar in enumerate(BARS):
        mark = bar - CLOSES[bar].minute % 15
        day = closes[mark - DAY + 1 : mark + 1]
        known = np.isfinite(day[1:]) & np.isfinite(day[:-1])
        line = linregress(day[:-1][known], np.diff(day)[known])
        phi = 1 + line.slope
        assert found["basis_ou_phi"][number] == pytest.approx(phi, rel=1e-9)
        assert found["basis_mean_reversion_speed"][number] == pytest.approx(-60 * math.log(phi), rel=1e-8)
        assert found["basis_half_life_h"][number] == pytest.approx(math.log(2) / (-60 * math.log(phi)), rel=1e-8)
        assert found["basis_ou_mean_bps"][number] == pytest.approx(-line.intercept / line.slope, rel=1e-8)
        if series == BUSY and number % 15 == 0:
            tested = adfuller(day, maxlag=11, autolag=None, regression="c", result_object=False)
            assert found["basis_adf_pvalue"][number] == pytest.approx(tested[1], rel=1e-6, abs=1e-12)
    assert 1 < np.median(found["basis_ou_mean_bps"]) < 8


def test_a_dislocation_lasts_ten_seconds(computed: Store) -> None:
    """The first stretch lies in one bar, the second is too short, the third ended a second into its bar."""
    flags = column(computed, BUSY, "dislocation_detected")
    assert [bar for bar, flag in enumerate(flags) if flag] == [40, 60]
    assert None not in flags


def test_without_an_index_there_is_no_basis(computed: Store) -> None:
    known = {
        feature.name
        for feature in MARK_PRICES.columns
        if any(v is not None for v in column(computed, BARE, feature.name))
    }
    assert known == {"mark_price", "mark_price_velocity", "mark_price_vs_mid", "spot_venues"}


def test_every_feature_is_known_somewhere(computed: Store) -> None:
    for feature in MARK_PRICES.columns:
        assert any(value is not None for value in column(computed, BUSY, feature.name)), feature.name
        bad = computed.query(f"SELECT 1 FROM features.mark_prices WHERE {feature.violation or 'false'}")
        assert not bad.num_rows, feature.name


def test_thin_baselines_say_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Thirty minutes of history: levels are known, what needs sixty bars is not."""
    with connect(tmp_path_factory.mktemp("thin"), scope="write") as store:
        store.ensure(BARS_1M, MARKS_1M, FUNDING_1M, *(stream.table for stream in STREAMS.values()))
        store.write(MARKS_1M, _rows(BUSY, TAPE[BUSY]).slice(len(CLOSES) - 105))
        put(store, BARS_1M, [named(BUSY, open_time=START, bar_ts=START + MINUTE, quote_count=0, quoted_s=0.0)])
        mark_prices.LAYER.compute(store, START, START + MINUTE)
        row = store.query("SELECT * FROM features.mark_prices").to_pylist()[0]
    known = {feature.name for feature in MARK_PRICES.columns if row[feature.name] is not None}
    assert known == {
        "mark_price", "index_price", "mark_spot_basis", "mark_spot_basis_pct", "premium_bps", "premium_1h_bps",
        "basis_regime", "mark_price_velocity", "index_divergence", "spot_venues",
    }  # fmt: skip


def test_a_constant_premium_has_no_z_and_no_pull() -> None:
    flat = np.full((1, 1500), 3e-4)
    middle, spread = dislocation.usual(flat, DAY, 5)
    assert (middle == 3e-4).all()
    assert np.isnan(spread).all()
    fitted = reversion.fit(flat)
    assert np.isnan([fitted.phi, fitted.kappa, fitted.mean]).all()
    assert np.isnan(reversion.dickey_fuller(flat)).all()


def test_no_pull_where_a_series_runs_away_or_swings() -> None:
    away, swing = 1.001 ** np.arange(200), (-0.5) ** np.arange(200.0)
    fitted = reversion.fit(np.stack([away, swing]))
    assert fitted.phi == pytest.approx([1.001, -0.5], rel=1e-6)
    assert np.isnan(fitted.kappa).all()


def test_the_implied_rate_by_hand() -> None:
    """Interest where the premium is small, premium less the clamp where it is large, the cap beyond."""
    premiums = np.array([0.0003, 0.002, -0.002, 0.1])
    of_8h = premium.implied_rate(premiums, *(np.float64(v) for v in (8.0, 1e-4, 5e-4, 0.03)))  # type: ignore[arg-type]
    assert of_8h == pytest.approx([0.0001, 0.0015, -0.0015, 0.03])
    of_1h = premium.implied_rate(premiums, *(np.float64(v) for v in (1.0, 1e-4, 5e-4, 0.04)))  # type: ignore[arg-type]
    assert of_1h == pytest.approx([0.0000125, 0.0001875, -0.0001875, 0.0124375])


@given(st.lists(st.floats(-12, 12), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_regime_is_the_one_of_a_state_machine(means: list[float]) -> None:
    labels, label = [], "neutral"
    for mean in means:
        label = "contango" if mean > 5 else "backwardation" if mean < -5 else "neutral" if abs(mean) < 3 else label
        labels.append(label)
    assert premium.regimes(np.array([means]), len(means))[0].tolist() == labels


def test_a_label_is_remembered_for_a_day() -> None:
    labels = premium.regimes(np.array([[6.0] + [4.0] * DAY]), DAY + 1)[0].tolist()
    assert labels == ["contango"] * DAY + ["neutral"]
