"""Regimes, volatility and event risk: planted states, hand-made values, no look-ahead, any window."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets.analytics import event_risk, moves, volatility
from orderflow_assets.analytics import regimes as layers
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, HOUR, MINUTE
from orderflow_assets.features.oi.declarations import OI
from orderflow_assets.features.orderbook.minutes import BOOKS_1M
from orderflow_assets.timeseries import regimes
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table
from tests.assets.computing import differences, stored

MIDNIGHT = datetime(2025, 3, 10)  # noqa: DTZ001
FIVE = 5 * MINUTE


def planted(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States and (return, log variance) of three regimes that stay about 50 steps: falling wild, calm, rising."""
    rng = np.random.default_rng(seed)
    matrix = np.array([[0.98, 0.02, 0.0], [0.01, 0.98, 0.01], [0.0, 0.02, 0.98]])
    state = np.zeros(rows, dtype=int)
    for row in range(1, rows):
        state[row] = rng.choice(3, p=matrix[state[row - 1]])
    mean, sd, level = np.array([-0.5, 0.0, 0.5]), np.array([1.5, 0.5, 1.0]), np.array([1.0, -1.0, 0.0])
    returns = mean[state] + rng.normal(size=rows) * sd[state]
    return state, np.column_stack([1e-3 * returns, 0.5 * rng.normal(size=rows) + level[state] - 14])


@pytest.fixture(scope="module")
def model() -> regimes.RegimeModel:
    return regimes.fit(planted(2000)[1])


class TestModel:
    def test_planted_regimes_are_recovered(self, model: regimes.RegimeModel) -> None:
        state, values = planted(1000, seed=1)
        found = regimes.filter(model, values)
        assert np.mean(found.probabilities.argmax(axis=1) == state) > 0.93
        assert found.labels == ("BEAR", "RANGING", "BULL")
        assert found.current == found.labels[state[-1]]
        for stay in found.durations.values():
            assert 20 < stay < 120

    def test_states_are_ordered_by_their_mean(self, model: regimes.RegimeModel) -> None:
        assert (np.diff(model.mean[:, 0]) > 0).all()
        assert model.mean_t[0] < -3
        assert model.mean_t[2] > 3

    def test_filtered_not_smoothed(self, model: regimes.RegimeModel) -> None:
        values = planted(300, seed=2)[1]
        later = values.copy()
        later[200:] = later[200:][::-1] * [-3, 1]
        before, after = (regimes.filter(model, series).probabilities for series in (values, later))
        np.testing.assert_array_equal(before[:200], after[:200])
        np.testing.assert_array_equal(before[:200], regimes.filter(model, values[:200]).probabilities)

    def test_the_last_probability_is_that_of_the_library(self, model: regimes.RegimeModel) -> None:
        from hmmlearn.hmm import GaussianHMM

        values = planted(120, seed=3)[1]
        other = GaussianHMM(3, covariance_type="full")
        other.startprob_, other.transmat_ = model.start, model.transition
        other.means_, other.covars_ = model.mean, model.covariance
        z = (values - model.centre) / model.scale
        for length in (1, 2, 57, 120):
            expected = other.predict_proba(z[:length])[-1]
            np.testing.assert_allclose(regimes.filter(model, values[:length]).probabilities[-1], expected, atol=1e-9)

    def test_against_all_paths(self) -> None:
        start, matrix = np.array([0.6, 0.4]), np.array([[0.9, 0.1], [0.3, 0.7]])
        likelihood = np.array([[0.2, 0.5], [0.7, 0.1], [0.3, 0.3], [0.05, 0.8]])
        found = regimes.filtered(start, matrix, np.log(likelihood))
        for last in range(4):
            weight = np.zeros(2)
            for path in itertools.product(range(2), repeat=last + 1):
                chance = start[path[0]] * likelihood[0, path[0]]
                for row in range(1, last + 1):
                    chance *= matrix[path[row - 1], path[row]] * likelihood[row, path[row]]
                weight[path[-1]] += chance
            np.testing.assert_allclose(found[last], weight / weight.sum())

    def test_a_missing_row_is_moved_on(self, model: regimes.RegimeModel) -> None:
        values = planted(50, seed=4)[1]
        values[30, 1] = np.nan
        found = regimes.filter(model, values).probabilities
        np.testing.assert_allclose(found[30], found[29] @ model.transition)

    def test_the_state_ahead_by_hand(self) -> None:
        matrix = np.array([[0.9, 0.1], [0.3, 0.7]])
        now = np.array([[0.8, 0.2], [0.1, 0.9]])
        np.testing.assert_allclose(regimes.ahead(now, matrix, 2), now @ matrix @ matrix)
        expected = [1 - (now @ matrix @ matrix)[0, 0], 1 - (now @ matrix @ matrix)[1, 1]]
        np.testing.assert_allclose(regimes.leaving(now, matrix, 2), expected)

    def test_the_same_again_and_from_json(self, model: regimes.RegimeModel) -> None:
        values = planted(2000)[1]
        again = regimes.fit(values)
        copy = regimes.RegimeModel.from_dict(json.loads(json.dumps(model.to_dict())))
        for other in (again, copy):
            np.testing.assert_array_equal(other.transition, model.transition)
            np.testing.assert_array_equal(
                regimes.filter(other, values).probabilities, regimes.filter(model, values).probabilities
            )
        assert copy.labels == model.labels

    def test_missing_rows_and_outliers_are_survived(self) -> None:
        state, values = planted(1500)
        values[700:760] = np.nan
        values[100, 0] = 50.0
        found = regimes.fit(values)
        assert found.n == 1440
        known = np.isfinite(values).all(axis=1)
        assert np.mean(regimes.filter(found, values).probabilities.argmax(axis=1)[known] == state[known]) > 0.9

    def test_one_column_and_other_numbers_of_states(self) -> None:
        values = planted(1000)[1]
        assert regimes.filter(regimes.fit(values[:, 0], states=2), values[:, 0]).labels == ("BEAR", "BULL")
        assert len(regimes.fit(values, states=4).labels) == 4

    @pytest.mark.parametrize("seed", range(3))
    def test_a_jump_in_the_last_row_is_survived(self, seed: int) -> None:
        """From some beginnings EM gives it a state of its own, which nothing is seen to leave."""
        quiet = np.random.default_rng(seed).normal(0, 1, (299, 2))
        model = regimes.fit(np.concatenate([quiet, [[50.0, 50.0]]]))
        assert np.allclose(model.transition.sum(axis=1), 1)

    def test_values_without_as_many_states_are_told_of(self) -> None:
        with pytest.raises(regimes.NoRegimesError, match="left again"):
            regimes.fit([0.0] * 299 + [1.0])

    def test_teaches(self, model: regimes.RegimeModel) -> None:
        with pytest.raises(ValueError, match="at least 180 complete rows, here are 100"):
            regimes.fit(planted(100)[1])
        with pytest.raises(ValueError, match="2, 3, 4, not 7"):
            regimes.fit(planted(100)[1], states=7)
        with pytest.raises(ValueError, match="never moves"):
            regimes.fit(np.ones(500))
        with pytest.raises(ValueError, match="2 columns, these values 1"):
            regimes.filter(model, np.ones(5))
        with pytest.raises(ValueError, match="infinite"):
            regimes.fit(np.full(500, np.inf))


def put(store: Store, table: Table, symbol: str, first: datetime, step: timedelta, **columns: Sequence[Any]) -> None:
    """Rows of one series whose bars open at ``first`` and every ``step`` after it; what is not given is NULL."""
    count = len(next(iter(columns.values())))
    opening = [first + step * place for place in range(count)]
    data: dict[str, Any] = {
        "symbol": [symbol] * count,
        "exchange": ["binance"] * count,
        "market_type": ["futures"] * count,
        "open_time": opening,
        "bar_ts": [time + step for time in opening],
        "last_minute": [time + step - MINUTE for time in opening],
        **columns,
    }
    fillers = {name: [0] * count for name in table.names if name not in data and not table.column(name).nullable}
    arrays = []
    for field in table.arrow_schema:
        cells = (data | fillers).get(field.name, [None] * count)
        array = np.asarray(cells) if isinstance(cells, np.ndarray) else None
        arrays.append(
            pa.array(array, field.type, mask=np.isnan(array)) if array is not None else pa.array(cells, field.type)
        )
    store.ensure(table)
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as store:
        yield store


class TestMoves:
    def test_by_hand(self, empty: Store) -> None:
        mids = np.exp(np.array([0.0, 0.01, 0.03, np.nan, 0.02, 0.01, 0.04, 0.04, 0.05, 0.02, 0.03]))
        put(empty, BARS_1M, "AAA", MIDNIGHT - MINUTE, MINUTE, mid_close=mids)
        layer = moves.LAYERS[0]
        assert layer.compute(empty, MIDNIGHT, MIDNIGHT + 10 * MINUTE) == 2
        first, second = sorted(stored(empty, layer.table).values(), key=lambda row: row["bar_ts"])
        assert first["open_time"] == MIDNIGHT
        assert first["last_minute"] == MIDNIGHT + 4 * MINUTE
        assert first["log_return"] == pytest.approx(0.01)
        assert first["returns"] == 3
        assert first["realized_variance"] is None
        assert second["log_return"] == pytest.approx(0.02)
        assert second["realized_variance"] == pytest.approx(0.03**2 + 0.01**2 + 0.03**2 + 0.01**2)

    def test_missing_minutes_are_scaled_up(self, empty: Store) -> None:
        mids = np.exp(0.01 * (np.arange(6) % 2))
        put(empty, BARS_1M, "AAA", MIDNIGHT, MINUTE, mid_close=mids)
        moves.LAYERS[0].compute(empty, MIDNIGHT, MIDNIGHT + FIVE)
        (row,) = stored(empty, moves.TABLES["5m"]).values()
        assert row["log_return"] is None
        assert row["returns"] == 4
        assert row["realized_variance"] == pytest.approx(5 * 1e-4)

    def test_a_bar_is_written_when_it_closes(self, empty: Store) -> None:
        put(empty, BARS_1M, "AAA", MIDNIGHT, MINUTE, mid_close=np.exp(0.01 * np.arange(120)))
        hourly = moves.LAYERS[1]
        assert hourly.compute(empty, MIDNIGHT, MIDNIGHT + 59 * MINUTE) == 0
        assert hourly.compute(empty, MIDNIGHT + 59 * MINUTE, MIDNIGHT + HOUR) == 1
        assert hourly.compute(empty, MIDNIGHT + 100 * MINUTE, MIDNIGHT + 2 * HOUR) == 1
        late = stored(empty, hourly.table, f"bar_ts = TIMESTAMP '{MIDNIGHT + 2 * HOUR}'")
        (row,) = late.values()
        assert row["log_return"] == pytest.approx(0.6)
        assert row["realized_variance"] == pytest.approx(60 * 1e-4)


HISTORY_D = 3


def five_minutes(store: Store, until: datetime, seed: int = 0) -> None:
    """Three days of planted regimes up to midnight and on, for one series; a second begins an hour before it."""
    count = (until - (MIDNIGHT - HISTORY_D * DAY)) // FIVE
    seen = planted(2000, seed)[1][:count]
    put(
        store,
        moves.TABLES["5m"],
        "AAA",
        MIDNIGHT - HISTORY_D * DAY,
        FIVE,
        log_return=seen[:, 0],
        realized_variance=np.exp(seen[:, 1]),
    )
    short = (until - (MIDNIGHT - HOUR)) // FIVE
    put(store, moves.TABLES["5m"], "BBB", MIDNIGHT - HOUR, FIVE, log_return=np.zeros(short))


class TestRegimeLayers:
    END = MIDNIGHT + 3 * HOUR

    def computed(self, folder: Path, step: timedelta, until: datetime) -> dict[str, Any]:
        with connect(folder, scope="write") as store:
            five_minutes(store, until)
            start = MIDNIGHT - HOUR
            while start < until:
                for layer in layers.LAYERS:
                    layer.compute(store, start, min(start + step, until))
                start += step
            return {layer.table.name: stored(store, layer.table) for layer in layers.LAYERS}

    def test_states_are_filtered_from_the_midnight_model_on(self, tmp_path: Path) -> None:
        found = self.computed(tmp_path, HOUR, self.END)
        (key,) = found["regime_models"]
        assert key == ("AAA", "binance", "futures", "5m", MIDNIGHT)
        parameters = {
            name.removeprefix("parameters."): value
            for name, value in found["regime_models"][key].items()
            if name.startswith("parameters.")
        }
        model = regimes.RegimeModel.from_dict(parameters)
        assert model.n == HISTORY_D * 288

        rows = [row for row in found["regimes"].values() if row["symbol"] == "AAA"]
        assert len(rows) == 48
        day_before = [row for row in rows if row["bar_ts"] <= MIDNIGHT]
        assert all(row["state"] is None and row["confidence"] is None for row in day_before)
        seen = planted(2000)[1]
        seen[:, 1] = np.log(np.exp(seen[:, 1]) + layers.VARIANCE_FLOOR)
        first = (HISTORY_D - 1) * 288
        expected = regimes.filter(model, seen[first : HISTORY_D * 288 + 36])
        matrix = np.linalg.matrix_power(model.transition, 288)
        after = sorted((row for row in rows if row["bar_ts"] > MIDNIGHT), key=lambda row: row["bar_ts"])
        for row, share in zip(after, expected.probabilities[-36:], strict=True):
            assert [row["p_bear"], row["p_ranging"], row["p_bull"]] == pytest.approx(share.tolist(), abs=1e-12)
            state = int(share.argmax())
            assert row["state"] == layers.STATES[state]
            assert row["confidence"] == pytest.approx(share.max())
            assert row["transition_probability"] == pytest.approx(1 - (share @ matrix)[state])
            assert row["predicted_state"] == layers.STATES[int((share @ matrix).argmax())]
            assert row["expected_remaining_h"] == pytest.approx(1 / 12 / (1 - model.transition[state, state]))

    def test_a_short_history_has_rows_without_a_state(self, tmp_path: Path) -> None:
        found = self.computed(tmp_path, HOUR, self.END)["regimes"]
        short = [row for row in found.values() if row["symbol"] == "BBB"]
        assert len(short) == 48
        assert all(row["state"] is None for row in short)

    @pytest.mark.parametrize("step", [7 * MINUTE, 4 * HOUR])
    def test_the_window_does_not_matter(self, tmp_path: Path, step: timedelta) -> None:
        expected = self.computed(tmp_path / "hourly", HOUR, self.END)
        for name, rows in self.computed(tmp_path / "otherwise", step, self.END).items():
            assert not differences(expected[name], rows, 1e-9), name

    def test_no_row_looks_ahead(self, tmp_path: Path) -> None:
        moment = MIDNIGHT + 95 * MINUTE
        then = self.computed(tmp_path / "then", HOUR, moment)
        now = self.computed(tmp_path / "now", HOUR, self.END)
        known = {key: row for key, row in now["regimes"].items() if row["bar_ts"] <= moment}
        assert not differences(known, then["regimes"], 1e-9)
        assert not differences(now["regime_models"], then["regime_models"], 0)

    def test_hours_have_their_own_model(self, empty: Store) -> None:
        seen = planted(600)[1]
        put(
            empty,
            moves.TABLES["1h"],
            "AAA",
            MIDNIGHT - 500 * HOUR,
            HOUR,
            log_return=seen[:510, 0],
            realized_variance=np.exp(seen[:510, 1]),
        )
        for layer in layers.LAYERS:
            layer.compute(empty, MIDNIGHT, MIDNIGHT + 5 * HOUR)
        (row,) = stored(empty, layers.REGIME_MODELS).values()
        assert (row["step"], row["n"]) == ("1h", 500)
        assert set(layers.read_models(empty, "1h", MIDNIGHT, MIDNIGHT)) == {MIDNIGHT}
        rows = stored(empty, layers.REGIMES)
        assert {key[3] for key in rows} == {"1h"}
        assert [row["state"] is not None for row in rows.values()] == [True] * 5
        assert layers.MODELS_LAYER.compute(empty, MIDNIGHT + HOUR, MIDNIGHT + 5 * HOUR) == 0


class TestVolatility:
    @staticmethod
    def variances(count: int = 900, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        level = np.zeros(count)
        for hour in range(1, count):
            level[hour] = 0.9 * level[hour - 1] + 0.3 * rng.normal()
        return np.exp(level - 12)

    def test_the_forecast_is_that_of_least_squares(self) -> None:
        import statsmodels.api as sm

        whole = self.variances()
        short = whole[-600:]
        padded = np.concatenate([np.full(300, np.nan), short])
        found, explained = volatility.har(np.stack([whole, padded]))
        for place, values in enumerate((whole, short)):
            hours = range(167, len(values))
            design = np.array(
                [
                    (
                        1,
                        np.log(values[hour]),
                        np.log(values[hour - 23 : hour + 1].mean()),
                        np.log(values[hour - 167 : hour + 1].mean()),
                    )
                    for hour in hours
                ]
            )
            targets = np.log(values[168:])[-720:]
            fitted = sm.OLS(targets, design[-len(targets) - 1 : -1]).fit()
            if place == 0:
                assert found[0] == pytest.approx(np.exp(design[-1] @ fitted.params + fitted.scale / 2))
                assert explained[0] == pytest.approx(fitted.rsquared)
        assert np.isfinite(found[1])
        assert np.isnan(volatility.har(self.variances(380)[None])[0]).all()

    def test_it_beats_the_last_value(self) -> None:
        naive, model = [], []
        for seed in range(12):
            values = self.variances(901, seed)
            forecast = volatility.har(values[None, :-1])[0][0]
            model.append(abs(np.log(forecast / values[-1])))
            naive.append(abs(np.log(values[-2] / values[-1])))
        assert np.mean(model) < 1.1 * np.mean(naive)

    def test_states_by_percentile(self) -> None:
        ranks = np.array([0.0, 0.25, 0.8, 0.93, 0.95, np.nan])
        expected = ["LOW", "NORMAL", "ELEVATED", "HIGH", "EXTREME", None]
        assert volatility.named(ranks).tolist() == expected

    def test_a_row_an_hour(self, empty: Store) -> None:
        from statsmodels.stats.diagnostic import het_arch

        values = self.variances(903)
        first = MIDNIGHT - 900 * HOUR
        put(empty, moves.TABLES["1h"], "AAA", first, HOUR, realized_variance=values)
        returns = 1e-3 * np.random.default_rng(1).normal(size=36 * 12)
        put(empty, moves.TABLES["5m"], "AAA", MIDNIGHT - 33 * HOUR, FIVE, log_return=returns)
        assert volatility.LAYER.compute(empty, MIDNIGHT, MIDNIGHT + 40 * MINUTE) == 0
        assert volatility.LAYER.compute(empty, MIDNIGHT + 40 * MINUTE, MIDNIGHT + HOUR) == 1
        (row,) = stored(empty, volatility.VOLATILITY_STATES).values()
        assert row["bar_ts"] == MIDNIGHT + HOUR
        assert row["realized_variance"] == values[900]
        assert row["realized_volatility"] == pytest.approx(np.sqrt(values[900] * 8760))
        assert row["rv_percentile"] == pytest.approx(np.mean(values[180:900] < values[900]))
        day = returns[10 * 12 : 34 * 12]
        assert row["arch_lm_p"] == pytest.approx(het_arch(day - day.mean(), nlags=5)[1])
        assert row["har_forecast"] == pytest.approx(volatility.har(values[None, 12:901])[0][0])
        assert row["expected_change"] == pytest.approx(np.log(row["har_forecast"] / values[900]))

    def test_little_history_says_little(self, empty: Store) -> None:
        put(empty, moves.TABLES["1h"], "AAA", MIDNIGHT, HOUR, realized_variance=np.array([1e-6]))
        volatility.LAYER.compute(empty, MIDNIGHT, MIDNIGHT + HOUR)
        (row,) = stored(empty, volatility.VOLATILITY_STATES).values()
        assert row["realized_variance"] == 1e-6
        for name in ("rv_percentile", "state", "arch_lm_p", "har_forecast", "expected_change"):
            assert row[name] is None


class TestEventRisk:
    def test_the_worst_weighs_most(self) -> None:
        strains = np.array([[0.2], [1.0], [0.0], [0.5], [0.1], [np.nan]])
        expected = 100 * (2 * 1 + 1.5 * 0.5 + 1.2 * 0.2 + 0.1 + 0) / (2 + 1.5 + 1.2 + 1 + 1)
        assert event_risk.risk(strains)[0] == pytest.approx(expected)
        assert np.isnan(event_risk.risk(np.array([[1.0], [1.0], *[[np.nan]] * 4]))[0])

    def test_strain_is_what_lies_above_the_usual(self) -> None:
        past = np.arange(100.0)
        for value, expected in ((99.5, 1.0), (49.5, 0.0), (10.0, 0.0), (74.5, 0.5)):
            found = event_risk.strain(np.append(past, value)[None], 1, 100, 1)
            assert found[0, 0] == pytest.approx(expected)
        thin = event_risk.strain(np.append(past, -1.0)[None], -1, 100, 1)
        assert thin[0, 0] == 1

    def test_signs_of_five_minutes(self, empty: Store) -> None:
        put(
            empty,
            BARS_1M,
            "AAA",
            MIDNIGHT,
            MINUTE,
            spread_bps=np.array([1.0, 2.0, 3.0, np.nan, 2.0]),
            parent_count=[5, 0, 1, None, 4],
        )
        put(
            empty,
            BOOKS_1M,
            "AAA",
            MIDNIGHT,
            MINUTE,
            bid_depth_25bps=np.array([10.0, 20, 30, 40, 50]),
            ask_depth_25bps=np.array([1.0, 2, 3, 4, 5]),
        )
        put(empty, OI.table, "AAA", MIDNIGHT, MINUTE, leverage_zscore=np.array([9.0, 9, 9, 9, -2]))
        event_risk.STRESS_LAYER.compute(empty, MIDNIGHT, MIDNIGHT + FIVE)
        (row,) = stored(empty, event_risk.STRESS_5M).values()
        assert (row["spread"], row["trading"], row["depth"], row["leverage"]) == (2, 10, 33, 2)
        assert row["liquidations"] is None
        assert row["funding"] is None

    def test_a_strained_bar(self, empty: Store) -> None:
        count = 2000
        rng = np.random.default_rng(0)
        columns = {name: rng.lognormal(size=count) for name in ("spread", "depth", "trading")}
        columns["spread"][-1], columns["depth"][-1], columns["trading"][-1] = 1e3, 1e-3, 1e3
        first = MIDNIGHT + HOUR - count * FIVE
        put(empty, event_risk.STRESS_5M, "AAA", first, FIVE, **columns)
        assert event_risk.RISK_LAYER.compute(empty, MIDNIGHT, MIDNIGHT + HOUR) == 12
        rows = sorted(stored(empty, event_risk.EVENT_RISK).values(), key=lambda row: row["bar_ts"])
        assert (rows[-1]["risk"], rows[-1]["level"], rows[-1]["known"]) == (100, "EXTREME", 3)
        assert rows[-1]["worst"] in columns
        assert rows[-1]["leverage_strain"] is None
        assert all(row["risk"] < 100 for row in rows[:-1])
        in_pieces = dict(stored(empty, event_risk.EVENT_RISK))
        for start in range(0, 60, 6):
            event_risk.RISK_LAYER.compute(empty, MIDNIGHT + start * MINUTE, MIDNIGHT + (start + 6) * MINUTE)
        assert not differences(in_pieces, stored(empty, event_risk.EVENT_RISK), 1e-9)
