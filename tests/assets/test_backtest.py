"""Backtests without a model library: figures against independent computations, trading by hand, folds, costs."""

from __future__ import annotations

from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import combinations
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.backtest import metrics, overfitting, trading, verdicts
from orderflow_assets.forecasting.backtest.engine import Plan, folds, walk
from orderflow_assets.forecasting.backtest.grades import grade
from orderflow_assets.forecasting.backtest.market import read_market
from orderflow_assets.forecasting.backtest.report import html, write_report
from orderflow_assets.forecasting.backtest.run import Setup, backtest
from orderflow_assets.forecasting.backtest.tables import BACKTEST_CURVE, BACKTESTS
from orderflow_assets.forecasting.backtest.trading import Market
from orderflow_assets.forecasting.frame import Frame, read_frame
from orderflow_assets.forecasting.models import SPECS, ModelError
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Window, connect
from tests.assets.forecast_bars import BTC, START, frame_of, momentum, plant, random_walk

SPEC, PRICE = SPECS["lightgbm"], TARGETS["price"]
RUN_AT = datetime(2026, 3, 20)  # noqa: DTZ001 - times in tables are naive UTC


# Figures of errors, direction and intervals


def test_errors_are_those_worked_out_by_hand() -> None:
    anchor, outcome = np.log([100.0, 100.0, 200.0]), np.log([110.0, 90.0, 200.0])
    found = metrics.errors(anchor, outcome, np.log([1.05, 1.0, 1.01]))
    assert found["mae"] == pytest.approx((5 + 10 + 2) / 3)
    assert found["naive_mae"] == pytest.approx((10 + 10 + 0) / 3)
    assert found["rmse"] == pytest.approx(sqrt((25 + 100 + 4) / 3))
    assert found["median_ae"] == pytest.approx(5)
    assert found["max_error"] == pytest.approx(10)
    assert found["bias"] == pytest.approx((-5 + 10 + 2) / 3)
    assert found["mape"] == pytest.approx(100 * (5 / 110 + 10 / 90 + 2 / 200) / 3)
    assert found["smape"] == pytest.approx(100 * (10 / 215 + 20 / 190 + 4 / 402) / 3)
    missed = np.log([110 / 105, 90 / 100, 200 / 202])
    moved = np.log([1.1, 0.9, 1.0])
    assert found["r2"] == pytest.approx(1 - (missed @ missed) / (moved @ moved))


@given(st.integers(1, 400), st.floats(0, 1))
def test_the_interval_of_a_share_is_wilsons(count: int, share: float) -> None:
    hits = round(share * count)
    expected = stats.binomtest(hits, count).proportion_ci(0.95, "wilson")
    assert metrics.wilson(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


@given(arrays(bool, 60), arrays(bool, 60))
def test_pesaran_timmermann_is_the_chi_square_of_the_two_signs(up: np.ndarray, rose: np.ndarray) -> None:
    p = metrics.pesaran_timmermann(up, rose)
    if up.all() or rose.all() or not up.any() or not rose.any():
        assert np.isnan(p)
        return
    table = [[(up & rose).sum(), (up & ~rose).sum()], [(~up & rose).sum(), (~up & ~rose).sum()]]
    chi2 = stats.chi2_contingency(table, correction=False).statistic * (1 - 1 / 60)
    expected = stats.chi2.sf(chi2, 1) / 2
    assert p == pytest.approx(expected if (up == rose).mean() >= _by_chance(up, rose) else 1 - expected, abs=1e-9)


def _by_chance(up: np.ndarray, rose: np.ndarray) -> float:
    return float(up.mean() * rose.mean() + (1 - up.mean()) * (1 - rose.mean()))


def test_pesaran_timmermann_is_the_statistic_of_the_paper() -> None:
    draws = np.random.default_rng(3)
    up = draws.random(200) < 0.6
    rose = np.where(draws.random(200) < 0.65, up, draws.random(200) < 0.4)
    n, hit, py, px = 200, (up == rose).mean(), rose.mean(), up.mean()
    chance = _by_chance(up, rose)
    v_hit = chance * (1 - chance) / n
    v_chance = ((2 * py - 1) ** 2 * px * (1 - px) + (2 * px - 1) ** 2 * py * (1 - py)) / n
    v_chance += 4 * py * px * (1 - py) * (1 - px) / n**2
    statistic = (hit - chance) / sqrt(v_hit - v_chance)
    assert metrics.pesaran_timmermann(up, rose) == pytest.approx(stats.norm.sf(statistic))


def test_directions_that_overlap_count_once_a_step() -> None:
    forecast = np.tile([1.0, -1.0, 1.0, 0.0], 60)
    moved = np.tile([1.0, -1.0, -1.0, 1.0], 60)
    one, twelve = metrics.direction(forecast, moved, 1), metrics.direction(forecast, moved, 12)
    assert one["direction_origins"] == twelve["direction_origins"] == 180
    assert one["direction_hit"] == twelve["direction_hit"] == pytest.approx(2 / 3)
    assert twelve["direction_high"] - twelve["direction_low"] > 2 * (one["direction_high"] - one["direction_low"])
    assert one["direction_p"] < 1e-6 < 0.01 < twelve["direction_p"]
    assert metrics.direction(np.zeros(240), moved, 1) == {"direction_origins": 0}


def test_the_quantile_score_is_the_crps_of_a_normal_forecast() -> None:
    errors = np.random.default_rng(1).standard_normal(20_000)
    expected = errors * (2 * stats.norm.cdf(errors) - 1) + 2 * stats.norm.pdf(errors) - 1 / sqrt(np.pi)
    for levels, tolerance in ((tuple(np.arange(0.01, 1, 0.01)), 0.005), (metrics.LEVELS, 0.05)):
        widths = np.tile(stats.norm.ppf(0.5 + np.array(levels) / 2), (len(errors), 1))
        assert metrics.crps(errors, widths, levels) == pytest.approx(expected.mean(), rel=tolerance)


def test_the_interval_score_is_the_width_and_the_fine_for_what_lies_outside() -> None:
    assert metrics.winkler(np.array([0.5, -3.0]), np.array([1.0, 2.0]), 0.95) == pytest.approx((2 + 4 + 40 * 1) / 2)


# Luck


def test_the_deflated_sharpe_ratio_is_that_of_the_published_example() -> None:
    """Bailey and Lopez de Prado 2014: 1,250 days, ratio 2.5 a year, 100 trials of variance 1/2, skewness -3, kurtosis
    10."""
    threshold = overfitting.best_of_luck(100, 0.5 / 250)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    assert overfitting.deflated_sharpe(2.5 / sqrt(250), 1_250, -3, 10, threshold) == pytest.approx(0.9004, abs=5e-4)
    fewer = overfitting.best_of_luck(46, 0.5 / 250)
    assert overfitting.deflated_sharpe(2.5 / sqrt(250), 1_250, -3, 10, fewer) == pytest.approx(0.9505, abs=5e-4)
    assert overfitting.best_of_luck(1, 0.5) == 0


def test_the_best_of_luck_is_the_expected_largest_of_many_draws() -> None:
    draws = np.random.default_rng(2).normal(0, 0.3, (20_000, 50))
    assert overfitting.best_of_luck(50, 0.09) == pytest.approx(draws.max(axis=1).mean(), rel=0.02)


def test_moments_and_sharpe_are_those_of_scipy() -> None:
    returns = np.random.default_rng(4).standard_t(5, 500)
    expected = (stats.skew(returns), stats.kurtosis(returns, fisher=False))
    assert overfitting.moments(returns) == pytest.approx(expected)
    assert overfitting.sharpe(returns) == pytest.approx(returns.mean() / stats.tstd(returns))
    assert np.isnan(overfitting.sharpe(np.zeros(10)))


@pytest.mark.parametrize("by_sharpe", [True, False])
def test_the_probability_of_overfitting_is_that_of_counting(by_sharpe: bool) -> None:
    performance = np.random.default_rng(6).normal(0.02, 1, (123, 5))
    blocks = np.array_split(performance[:120], 6)
    judged = (lambda part: part.mean(0) / part.std(0)) if by_sharpe else (lambda part: part.mean(0))
    below = []
    for chosen in combinations(range(6), 3):
        inside = judged(np.concatenate([blocks[i] for i in chosen]))
        outside = judged(np.concatenate([blocks[i] for i in range(6) if i not in chosen]))
        relative = stats.rankdata(outside)[inside.argmax()] / 6
        below.append(np.log(relative / (1 - relative)) <= 0)
    found = overfitting.probability_of_overfitting(performance, by_sharpe=by_sharpe, blocks=6)
    assert found == pytest.approx(np.mean(below))


def test_noise_is_overfitted_and_a_true_gain_is_not() -> None:
    draws = np.random.default_rng(7)
    noise = np.mean(
        [overfitting.probability_of_overfitting(draws.standard_normal((640, 8)), by_sharpe=True) for _ in range(20)]
    )
    assert 0.35 < noise < 0.65
    better = draws.standard_normal((640, 8))
    better[:, 3] += 0.5
    assert overfitting.probability_of_overfitting(better, by_sharpe=True) < 0.01
    assert np.isnan(overfitting.probability_of_overfitting(better[:, :1], by_sharpe=True))
    assert np.isnan(overfitting.probability_of_overfitting(better[:20], by_sharpe=True))


# Grades


@pytest.mark.parametrize(
    ("figures", "letter"),
    [
        ((600, 50, 0.90, 0.009, 0.010), "S"),
        ((600, 50, 0.90, 0.009, 0.015), "A"),
        ((600, 50, 0.90, 0.030, 0.010), "A"),
        ((600, 50, 0.97, 0.049, 0.020), "A"),
        ((600, 50, 0.97, 0.051, 0.020), "B"),
        ((600, 50, 0.999, 0.40, 0.030), "B"),
        ((600, 50, 0.999, 0.40, 0.031), "C"),
        ((600, 50, 1.02, 0.60, 0.01), "C"),
        ((600, 50, 1.01, 0.96, 0.01), "D"),
        ((600, 50, 1.03, 0.60, 0.01), "D"),
        ((600, 50, 1.11, 0.60, 0.01), "F"),
        ((600, 50, 0.80, 0.001, 0.11), "F"),
        ((499, 499, 0.80, 0.001, 0.0), "ungraded"),
        ((600, 29, 0.80, 0.001, 0.0), "ungraded"),
        ((600, 50, np.nan, np.nan, 0.0), "ungraded"),
    ],
)
def test_a_grade_asks_what_it_says(figures: tuple[int, int, float, float, float], letter: str) -> None:
    assert grade(*figures)[0] == letter


def test_naive_is_c_and_too_little_is_said_in_numbers() -> None:
    assert grade(600, 50, 1.0, 0.5, 0.2, naive=True)[0] == "C"
    assert grade(400, 33, 1.0, 0.5, 0.0, naive=True) == (
        "ungraded",
        "400 origins with 33 outcomes that do not overlap; 500 and 30 are needed",
    )


def test_the_checks_look_at_what_serves() -> None:
    def row(target: str, model: str, letter: str, covered: float | None) -> dict[str, Any]:
        figures = {"coverage_80": 0.8, "coverage_95": covered, "reason": "why", "step": 1}
        return {"target": target, "model": model, "grade": letter} | figures

    rows = [row("price", "naive", "C", 0.95), row("price", "bad", "F", 0.80), row("volatility", "har", "S", None)]
    assert verdicts.grade(rows, {"volatility": "har"}).passed
    assert not verdicts.coverage(rows, {"volatility": "har"}).passed
    bad = verdicts.grade(rows, {"price": "bad"})
    assert bad.reason.startswith("price, bad, step 1: F: why; volatility: naive serves and was not among")
    assert not verdicts.grade([], {}).passed


# Trading


def market(fills: list[float], funding: list[float] | None = None, *, can_short: bool = True) -> Market:
    """Fee 4 bps, half spread 1 bp."""
    count = len(fills)
    return Market(np.array(fills), np.ones(count), np.array(funding or [0.0] * count), 4.0, can_short)


def test_a_long_and_a_short_position_bring_what_they_bring_by_hand() -> None:
    fills = [100.0, 101.0, 101.0, 100.0, 99.0, 99.0]
    expected = np.array([0.002, 0.0005, -0.002, -0.0005, 0.0, 0.0])
    curve = trading.simulate(expected, market(fills, [0.0001, 0, 0, 0.0002, 0.5, 0]), 2)
    assert curve.position.tolist() == [1, 1, -1, -1, 0, 0]
    assert curve.gross == pytest.approx([100, 0, 1e4 / 101, 100, 0, 0])
    assert curve.fees.tolist() == [4, 0, 8, 0, 4, 0]
    assert curve.spread.tolist() == [1, 0, 2, 0, 1, 0]
    assert curve.funding == pytest.approx([1, 0, 0, -2, 0, 0])
    assert trading.trades(curve) == pytest.approx([100 - 1 - 10, 1e4 / 101 + 100 + 2 - 10])
    found = trading.figures(curve)
    assert found["trades"] == 2
    assert found["exposure"] == pytest.approx(4 / 6)
    assert found["turnover"] == pytest.approx(4 / 6 * 288)
    assert found["net_bps"] == pytest.approx(200 + 1e4 / 101 + 1 - 20)
    assert found["hit_rate"] == 1
    assert "profit_factor" not in found
    assert found["sharpe"] == pytest.approx(curve.net.mean() / curve.net.std(ddof=1) * sqrt(365 * 288))


def test_what_is_not_worth_its_costs_is_not_traded() -> None:
    curve = trading.simulate(np.full(5, 0.0009), market([100.0] * 5), 1)
    assert not curve.position.any()
    assert trading.figures(curve)["net_bps"] == 0
    assert "sharpe" not in trading.figures(curve)
    assert trading.simulate(np.full(5, 0.0009), market([100.0] * 5), 1, hurdle=0.5).position.tolist() == [1, 1, 1, 1, 0]


def test_a_position_lasts_as_long_as_what_it_was_opened_on() -> None:
    expected = np.array([0.002, 0.0001, 0.0001, 0.0001, 0.002, 0.0001, -0.0001, 0.0, 0.002, 0.002, 0.0001, 0.0])
    curve = trading.simulate(expected, market([100.0] * 12), 3)
    assert curve.position.tolist() == [1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0]


def test_without_a_forecast_one_is_out_and_without_a_price_one_cannot_get_out() -> None:
    expected = np.array([0.01, np.nan, 0.01, np.nan, 0.0, 0.0])
    curve = trading.simulate(expected, market([100.0, 100.0, 100.0, np.nan, 110.0, 110.0]), 1)
    assert curve.position.tolist() == [1, 0, 1, 1, 0, 0]
    assert curve.gross == pytest.approx([0, 0, 0, 1000, 0, 0])


def test_spot_is_not_sold_short() -> None:
    curve = trading.simulate(np.array([-0.1, 0.1, -0.1, 0.0]), market([100.0] * 4, can_short=False), 1)
    assert curve.position.tolist() == [0, 1, 0, 0]


@given(
    arrays(float, 40, elements=st.floats(-0.01, 0.01)),
    arrays(float, 40, elements=st.floats(50, 150)),
    arrays(float, 40, elements=st.floats(-0.001, 0.001)),
)
def test_positions_share_out_all_that_was_won_and_lost(
    expected: np.ndarray, fills: np.ndarray, funding: np.ndarray
) -> None:
    curve = trading.simulate(expected, Market(fills, np.full(40, 1.5), funding, 5.0, can_short=True), 3)
    assert trading.trades(curve).sum() == pytest.approx(curve.net.sum(), abs=1e-6)
    assert curve.equity[-1] == pytest.approx(curve.net.sum())


def test_the_drawdown_is_from_the_highest_so_far_and_from_the_start() -> None:
    assert trading.drawdowns(np.array([-3.0, 5.0, 1.0, 4.0, -2.0])).tolist() == [3, 0, 4, 1, 7]


def test_costs_are_the_stored_ones_and_said_where_they_are_not(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        until = plant(store, BTC, random_walk(200, seed=1))
        frame = read_frame(store, BTC, until)
        bare = read_market(store, frame, half_spread_bps=2.5)
        assert set(bare.half_spread_bps) == {2.5}
        assert "none is charged" in bare.sources["funding"]
        quoted = Window(START, START + timedelta(hours=8))
        rows = store.query(f"SELECT * FROM {BARS_1M.qualified} WHERE open_time < ?::TIMESTAMP", [quoted.end])
        spread = pa.array(np.full(rows.num_rows, 3.0))
        place = rows.column_names.index("spread_bps")
        store.write(BARS_1M, rows.set_column(place, "spread_bps", spread).cast(BARS_1M.arrow_schema), quoted)
        settled = [
            {"symbol": BTC.symbol, "exchange": BTC.exchange, "market_type": BTC.market_type, "source": "venue"}
            | {"settled_at": START + timedelta(hours=hour), "rate": rate, "interval_hours": 8.0}
            for hour, rate in ((0, 9.0), (8, 0.0001), (16, -0.0002))
        ]
        store.write(SETTLEMENTS, pa.Table.from_pylist(settled, SETTLEMENTS.arrow_schema))
        found = read_market(store, frame, half_spread_bps=2.5)
    edge = np.searchsorted(frame.times, np.datetime64(START + timedelta(hours=8)))
    assert set(found.half_spread_bps[: edge + 1]) == {1.5}
    assert set(found.half_spread_bps[edge + 1 :]) == {2.5}
    assert found.sources["spread_stored"] == pytest.approx((edge + 1) / len(frame))
    assert found.funding[edge - 1] == 0.0001
    assert found.funding[edge - 1 + 96] == -0.0002
    assert found.funding.sum() == pytest.approx(-0.0001)
    assert found.fills[:-1] == pytest.approx(frame.price[:-1])
    assert np.isnan(found.fills[-1])
    assert (found.fee_bps, found.can_short) == (5, True)


# The walk


class Recorder:
    """Stands in for the facade of the models: keeps what it was shown, and deviates by the last return."""

    def __init__(self) -> None:
        self.trained: list[Frame] = []
        self.asked: list[tuple[Frame, slice]] = []

    def fit(self, spec: Any, target: Any, frame: Frame, parameters: Any = None) -> Any:
        self.trained.append(frame)

        def deviations(shown: Frame, origins: slice) -> np.ndarray:
            self.asked.append((shown, origins))
            if spec.name == "naive":
                return np.zeros((origins.stop - origins.start, len(target.steps)))
            return np.repeat(0.3 * target.learn(shown)[origins, None], len(target.steps), axis=1) * 1e-3

        return SimpleNamespace(deviations=deviations)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(fitting, "fit", found.fit)
    return found


@given(st.integers(200, 2_000), st.floats(0.05, 0.95), st.integers(1, 700), st.sampled_from([None, 100, 333]))
def test_folds_tile_the_test_part_and_train_before_it(bars: int, share: float, every: int, length: int | None) -> None:
    plan = Plan(share, every, "sliding" if length else "expanding", length)
    found = list(folds(bars, plan))
    tested = np.concatenate([np.arange(fold.test.start, fold.test.stop) for fold in found])
    assert tested.tolist() == list(range(bars - int(bars * share), bars))
    for fold in found:
        assert fold.train.stop == fold.test.start
        assert fold.train.start == (max(0, fold.test.start - length) if length else 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"test_share": 1.0}, "between 0 and 1"),
        ({"retrain_every": 0}, "from 1 up"),
        ({"window": "rolling"}, "expanding or sliding"),
        ({"train_bars": 500}, "goes with a sliding window"),
        ({"window": "sliding", "train_bars": 5}, "at least 100"),
    ],
)
def test_a_wrong_plan_says_what_is_allowed(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"hurdle": -1.0}, "from 0 up"), ({"traded_steps": (1, 13)}, "between 1 and 12"), ({"trials": 0}, "from 1 up")],
)
def test_a_wrong_setup_says_what_is_allowed(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Setup(**wrong)


def test_models_are_shown_nothing_after_their_fold(recorder: Recorder) -> None:
    frame = frame_of(random_walk(500, seed=1))
    done = walk(SPEC, PRICE, frame, Plan(0.4, 60, "sliding", 150))
    assert [len(shown) for shown in recorder.trained] == [150] * 4
    for fold, trained, (shown, origins) in zip(
        folds(500, Plan(0.4, 60)), recorder.trained, recorder.asked, strict=True
    ):
        assert trained.times[-1] == frame.times[fold.test.start - 1]
        assert len(shown) == fold.test.stop == origins.stop
    assert (done.fits, done.deviations.shape) == (4, (200, 12))
    assert not np.isnan(done.deviations).any()


def test_a_fold_that_cannot_be_trained_has_no_forecast(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def choosy(spec: Any, target: Any, frame: Frame, parameters: Any = None) -> Any:
        if len(frame) < 350:
            raise ModelError("too few")
        return recorder.fit(spec, target, frame)

    monkeypatch.setattr(fitting, "fit", choosy)
    done = walk(SPEC, PRICE, frame_of(random_walk(500, seed=1)), Plan(0.4, 100))
    assert (done.fits, done.refused) == (1, ("too few",))
    assert np.isnan(done.deviations[:100]).all()
    assert not np.isnan(done.deviations[100:]).any()
    with pytest.raises(ModelError, match="too few"):
        walk(SPEC, PRICE, frame_of(random_walk(300, seed=1)), Plan(0.4, 100))


# A whole run


@pytest.fixture
def result(recorder: Recorder) -> Any:
    frame = frame_of(momentum(1_300, seed=1))
    costs = Market(np.append(frame.price[1:], np.nan), np.full(1_300, 1.0), np.zeros(1_300), 1.0, can_short=True)
    return backtest(frame, costs, [SPECS["lightgbm"], SPECS["har"]], Setup(hurdle=0.05), RUN_AT)


def test_every_model_and_step_has_a_row_beside_naive(result: Any) -> None:
    rows = {(row["target"], row["model"], row["step"]): row for row in result.rows}
    assert len(rows) == len(result.rows)
    for step in PRICE.steps:
        naive, other = rows["price", "naive", step], rows["price", "lightgbm", step]
        assert naive["origins"] == other["origins"] == 650 - step
        assert naive["mae"] == naive["naive_mae"] == other["naive_mae"]
        assert naive["direction_hit"] is None
        assert (naive["trades"] is None) is True
        assert (other["trades"] is None) is (step not in (1, 12))
    errors = np.abs(np.diff(np.log(result.frame.price))[650:]) / result.frame.sigma[650:-1]
    assert rows["price", "naive", 1]["origins"] == len(errors)
    assert rows["volatility", "har", 12]["pbo_skill"] is not None
    figures = result.figures()
    assert figures.schema == BACKTESTS.arrow_schema
    assert set(figures["run_at"].to_pylist()) == {RUN_AT}


def test_figures_follow_from_the_forecasts(result: Any) -> None:
    """Of step 1, worked out again from the frame."""
    frame = result.frame
    deviation = 0.3 * TARGETS["price"].learn(frame)[650:-1] * 1e-3
    moved = np.diff(np.log(frame.price))[650:]
    mine, naive = np.abs(moved - deviation) / frame.sigma[650:-1], np.abs(moved) / frame.sigma[650:-1]
    row = next(row for row in result.rows if (row["model"], row["step"]) == ("lightgbm", 1))
    assert row["rmae"] == pytest.approx(mine.sum() / naive.sum())
    assert row["dm_p"] == pytest.approx(stats.ttest_1samp(mine - naive, 0, alternative="less").pvalue, rel=1e-2)
    assert row["direction_hit"] == pytest.approx((np.sign(deviation) == np.sign(moved)).mean())
    before = np.abs(np.diff(frame.price))[:649]
    assert row["mase"] == pytest.approx(row["mae"] / before.mean())


def test_the_curve_adds_up_to_the_figures(result: Any) -> None:
    curve = result.curve()
    assert curve.schema == BACKTEST_CURVE.arrow_schema
    assert curve.num_rows == sum(len(part.position) for part in result.curves.values())
    for _, model, step in result.curves:
        mine = [row for row in curve.to_pylist() if (row["model"], row["step"]) == (model, step)]
        row = next(row for row in result.rows if (row["model"], row["step"]) == (model, step))
        assert mine[-1]["equity_bps"] == pytest.approx(row["net_bps"])
        assert sum(one["cost_bps"] for one in mine) == pytest.approx(row["fees_bps"] + row["spread_bps"])


class Links(HTMLParser):
    """What a page would fetch, and its tables."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href") and not value.startswith("#")]


def test_the_report_is_one_file_that_fetches_nothing(result: Any, tmp_path: Path) -> None:
    result.refused["price <odd>"] = "needs more & more"
    path = write_report(tmp_path, result)
    assert path == tmp_path / "reports/backtests/BTCUSDT_binance_futures/20260320T000000.html"
    page = Links()
    page.feed(path.read_text())
    assert page.fetched == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 3
    assert "price &lt;odd&gt;" in html(result)
    assert not list(path.parent.glob("*.part"))


def test_a_series_that_stands_still_has_nothing_to_compare() -> None:
    frame = frame_of(np.zeros(1_200))
    costs = Market(frame.price, np.ones(1_200), np.zeros(1_200), 1.0, can_short=True)
    found = backtest(frame, costs, [], Setup(), RUN_AT)
    assert {row["model"] for row in found.rows} == {"naive"}
    assert all(row["rmae"] is None for row in found.rows)
