"""The analyses of one series: values known by hand or from another library, false alarms, planted events."""

from __future__ import annotations

import numpy as np
import pytest

from orderflow_assets.timeseries import features, seasonality, similarity
from orderflow_assets.timeseries.anomalies import MEMBERS, METHODS, anomalies
from orderflow_assets.timeseries.arrays import bridged, log_returns, vector
from orderflow_assets.timeseries.changes import bocpd, change_points
from orderflow_assets.timeseries.control import cusum_walk, past_standardised, self_starting
from orderflow_assets.timeseries.forecasting import backtest, forecast, scores
from orderflow_assets.timeseries.series import Series
from orderflow_assets.timeseries.trends import mann_kendall
from orderflow_assets.timeseries.unit_roots import adf, kpss

HOUR_S = 3600.0


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length)


def walk(length: int, seed: int = 0) -> np.ndarray:
    return 100 * np.exp(0.01 * np.cumsum(noise(length, seed)))


def minutes(count: int, start: str = "2025-03-01T00:01") -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(count) * np.timedelta64(60, "s")


class TestArrays:
    def test_gaps_are_bridged_and_ends_cut(self) -> None:
        dense, missing = bridged(np.array([np.nan, 1.0, np.nan, 3.0, 4.0, 5.0, 6.0, np.nan]))
        assert dense.tolist() == [1, 2, 3, 4, 5, 6]
        assert missing == 1

    def test_too_many_gaps_are_not_bridged(self) -> None:
        with pytest.raises(ValueError, match="2 of 4 values are missing"):
            bridged(np.array([1.0, np.nan, np.nan, 4.0]))

    def test_a_series_is_finite_and_flat(self) -> None:
        with pytest.raises(ValueError, match="one dimension"):
            vector([[1.0], [2.0]])
        with pytest.raises(ValueError, match="infinite"):
            vector([1.0, np.inf])

    def test_log_returns_need_positive_values(self) -> None:
        assert log_returns([1.0, np.e, np.nan, 1.0])[0] == pytest.approx(1)
        assert np.isnan(log_returns([1.0, np.e, np.nan, 1.0])[1:]).all()
        with pytest.raises(ValueError, match="positive"):
            log_returns([1.0, 0.0])


class TestSeries:
    def test_resampling_closes_at_the_edge(self) -> None:
        series = Series(minutes(12), np.arange(1.0, 13.0), "x")
        coarse = series.resample("5min", "sum")
        assert coarse.times.astype(str).tolist() == ["2025-03-01T00:05:00.000000", "2025-03-01T00:10:00.000000"]
        assert coarse.values.tolist() == [1 + 2 + 3 + 4 + 5, 6 + 7 + 8 + 9 + 10]
        assert series.resample("5min", "last").values.tolist() == [5, 10]

    def test_a_stretch_without_values_is_missing(self) -> None:
        times = minutes(11)[[0, 1, 10]]
        coarse = Series(times, [1.0, np.nan, 7.0], "x").resample("5min", "sum")
        assert coarse.values[0] == 1
        assert np.isnan(coarse.values[1])

    def test_a_coarse_value_ignores_what_comes_later(self) -> None:
        values = noise(100)
        whole = Series(minutes(100), values, "x").resample("15min", "mean")
        part = Series(minutes(60), values[:60], "x").resample("15min", "mean")
        np.testing.assert_array_equal(whole.values[: len(part)], part.values)

    def test_what_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="increase"):
            Series(minutes(2)[::-1], [1.0, 2.0], "x")
        with pytest.raises(ValueError, match="2 times for 1"):
            Series(minutes(2), [1.0], "x")
        with pytest.raises(ValueError, match="how"):
            Series(minutes(2), [1.0, 2.0], "x").resample("5min", "best")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="5min, 1h"):
            Series(minutes(2), [1.0, 2.0], "x").resample("soon")
        assert Series(minutes(5), noise(5), "x").step_seconds == 60


class TestForecasts:
    def test_naive_is_the_last_value_and_widens_with_the_root(self) -> None:
        values = walk(100)
        made = forecast(values, 9, model="naive")
        assert made.forecast.tolist() == [values[-1]] * 9
        width = made.upper - made.lower
        np.testing.assert_allclose(width / width[0], np.sqrt(np.arange(1, 10)))
        assert width[0] == pytest.approx(2 * 1.959964 * np.sqrt((np.diff(values) ** 2).mean()), rel=0.02)

    @pytest.mark.parametrize("model", ["arima", "ets", "theta"])
    def test_a_random_walk_is_not_narrow_far_ahead(self, model: str) -> None:
        made = forecast(walk(150), 10, model=model)
        width = made.upper - made.lower
        assert width[-1] / width[0] > 2
        assert width[4] / width[0] > 1.5

    def test_auto_finds_the_season_that_naive_misses(self) -> None:
        season = 10 * np.sin(2 * np.pi * np.arange(66) / 6)
        values = 100 + season + 0.1 * noise(66)
        made = forecast(values, 12, season=6)
        expected = 100 + 10 * np.sin(2 * np.pi * np.arange(66, 78) / 6)
        assert made.model != "naive"
        assert np.abs(made.forecast - expected).max() < 1
        assert made.metrics["skill"] > 0.8
        table = {row["model"]: row for row in made.metrics["scores"]}
        assert table["naive"]["skill"] == 0
        assert table[made.model]["mase"] == min(row["mase"] for row in table.values())

    def test_scores_are_the_scaled_errors_of_past_origins(self) -> None:
        values = walk(60)
        (tested,) = backtest(values, 5, models=("naive",), origins=3)
        for row, edge in enumerate((45, 50, 55)):
            np.testing.assert_allclose(tested.error[row], values[edge : edge + 5] - values[edge - 1])
            assert tested.scale[row] == pytest.approx(np.abs(np.diff(values[:edge])).mean())
        assert scores([tested])[0]["mase"] == pytest.approx((np.abs(tested.error) / tested.scale[:, None]).mean())

    def test_what_never_moves_stays(self) -> None:
        made = forecast(np.full(60, 0.0001), 3)
        assert made.forecast.tolist() == made.lower.tolist() == [0.0001] * 3
        assert made.metrics["mase"] is None

    def test_teaches(self) -> None:
        with pytest.raises(ValueError, match="at least 30 values, here are 10"):
            forecast(noise(10), 3)
        with pytest.raises(ValueError, match="choosing a model for 24 steps needs 78"):
            forecast(noise(40), 24)
        with pytest.raises(ValueError, match="auto, naive"):
            forecast(noise(40), 3, model="prophet")
        with pytest.raises(ValueError, match="seasonal_naive needs season"):
            forecast(noise(40), 3, model="seasonal_naive")


class TestAnomalies:
    @pytest.mark.parametrize(
        ("method", "most"),
        [
            ("zscore", 0.006),
            ("mad", 0.004),
            ("iqr", 0.004),
            ("cusum", 0.02),
            ("ecod", 0.015),
            ("isolation_forest", 0.015),
            ("seasonal_esd", 0.003),
            ("ensemble", 0.012),
        ],
    )
    def test_false_alarms_on_white_noise(self, method: str, most: float) -> None:
        found = anomalies(noise(3000), method=method, season=24)
        assert found.is_anomaly.mean() <= most

    @pytest.mark.parametrize("method", METHODS)
    def test_a_planted_spike_is_flagged(self, method: str) -> None:
        values = noise(600)
        values[400] += 9
        found = anomalies(values, method=method, season=24)
        assert 400 in found.indices
        assert found.indices.tolist() == np.flatnonzero(found.is_anomaly).tolist()

    @pytest.mark.parametrize("method", [*MEMBERS, "ensemble"])
    def test_what_comes_later_changes_nothing(self, method: str) -> None:
        values = noise(300)
        later = values.copy()
        later[200:] += 50
        before, after = (anomalies(series, method=method) for series in (values, later))
        np.testing.assert_array_equal(before.scores[:200], after.scores[:200])
        np.testing.assert_array_equal(before.is_anomaly[:200], after.is_anomaly[:200])

    def test_the_baseline_leaves_the_value_out(self) -> None:
        values = noise(100)
        past = values[30:90]
        assert anomalies(values).scores[90] == pytest.approx(abs(values[90] - past.mean()) / past.std(ddof=1))
        spread = 1.4826 * np.median(np.abs(past - np.median(past)))
        assert anomalies(values, method="mad").scores[90] == pytest.approx(abs(values[90] - np.median(past)) / spread)

    def test_missing_values_are_skipped(self) -> None:
        values = noise(300)
        holed = np.insert(values, 150, np.nan)
        for method in MEMBERS:
            whole, found = anomalies(values, method=method), anomalies(holed, method=method)
            assert np.isnan(found.scores[150])
            assert not found.is_anomaly[150]
            np.testing.assert_allclose(np.delete(found.scores, 150), whole.scores, equal_nan=True)

    def test_votes_are_counted(self) -> None:
        values = noise(300)
        values[200] = 12
        found = anomalies(values, method="ensemble")
        assert set(found.votes) == set(MEMBERS)
        np.testing.assert_array_equal(found.is_anomaly, sum(vote.astype(int) for vote in found.votes.values()) >= 2)

    def test_cusum_by_hand(self) -> None:
        walked = cusum_walk(np.array([1.0, 1.0, -1.0, 2.0, 3.0, 0.0, np.nan, -4.0]), 3.0)
        np.testing.assert_allclose(walked.height, [0.5, 1.0, 0.5, 1.5, 4.0, 0.0, np.nan, 3.5])
        assert walked.alarms.tolist() == [4, 7]
        assert walked.onsets.tolist() == [3, 7]
        assert walked.directions.tolist() == [1, -1]

    def test_self_starting_values_are_standard_normal(self) -> None:
        z = self_starting(5 + 3 * noise(5000), 20)
        assert np.isnan(z[:20]).all()
        assert z[20:].mean() == pytest.approx(0, abs=0.05)
        assert z[20:].std() == pytest.approx(1, abs=0.03)
        assert np.isnan(past_standardised(np.ones(100), 20)).all()

    def test_teaches(self) -> None:
        with pytest.raises(ValueError, match="62 values, here are 30"):
            anomalies(noise(30))
        with pytest.raises(ValueError, match="season"):
            anomalies(noise(100), method="seasonal_esd")
        with pytest.raises(ValueError, match="isolation_forest"):
            anomalies(noise(100), method="forest")
        with pytest.raises(ValueError, match="window is 5"):
            anomalies(noise(100), window=5)


class TestChangePoints:
    @staticmethod
    def planted() -> np.ndarray:
        values = noise(600, 1)
        values[200:] += 2
        values[400:] = values[400:].mean() + 3 * (values[400:] - values[400:].mean())
        return values

    @pytest.mark.parametrize("method", ["pelt", "binseg", "kernel", "both"])
    def test_planted_changes_are_found(self, method: str) -> None:
        found = change_points(self.planted(), method=method)
        assert len(found.points) == 2
        assert np.abs(found.points - [200, 400]).max() <= 8
        assert (found.confidence > 0.99).all()
        assert [segment.length for segment in found.segments] == np.diff([0, *found.points, 600]).tolist()

    def test_cusum_finds_the_shift(self) -> None:
        found = change_points(self.planted()[:400], method="cusum")
        assert len(found.points) == 1
        assert abs(found.points[0] - 200) <= 5

    @pytest.mark.parametrize("method", ["pelt", "binseg", "kernel", "cusum", "both"])
    def test_none_in_white_noise(self, method: str) -> None:
        assert np.mean([len(change_points(noise(300, seed), method=method).points) for seed in range(20)]) <= 0.1

    def test_the_segmentation_is_the_cheapest(self) -> None:
        import ruptures

        values = self.planted()[150:450]
        found = change_points(values, method="pelt", penalty=20.0)
        scale = 1.4826 / np.sqrt(2) * np.median(np.abs(np.diff(values)))
        scaled = (values - np.median(values)) / scale
        reference = ruptures.Dynp(custom_cost=_normal_cost(), min_size=10, jump=1).fit(scaled[:, None])
        assert found.points.tolist() == reference.predict(n_bkps=len(found.points))[:-1]

    def test_the_unit_does_not_matter(self) -> None:
        values = self.planted()
        np.testing.assert_array_equal(change_points(values).points, change_points(1e-7 * values - 4).points)

    def test_places_survive_missing_values(self) -> None:
        values = self.planted()
        values[[50, 60, 70]] = np.nan
        found = change_points(values)
        assert np.abs(found.points - [200, 400]).max() <= 8
        assert found.segments[0].length == found.points[0] - 3

    def test_a_flat_series_has_none(self) -> None:
        assert not len(change_points(np.ones(50)).points)
        with pytest.raises(ValueError, match="20 values, here are 15"):
            change_points(noise(15))


def _normal_cost() -> object:
    from ruptures.base import BaseCost

    class Normal(BaseCost):  # type: ignore[misc]
        model, min_size = "", 2

        def fit(self, signal: np.ndarray) -> Normal:
            self.signal = signal
            return self

        def error(self, start: int, end: int) -> float:
            return float((end - start) * np.log(self.signal[start:end].var()))

    return Normal()


class TestBocpd:
    def test_a_shift_is_known_within_a_few_values(self) -> None:
        delays = []
        for seed in range(20):
            values = noise(300, seed)
            values[150:] += 3
            found = [change for change in bocpd(values).changes if change.detected >= 150]
            assert found, seed
            assert abs(found[0].point - 150) <= 3
            assert found[0].direction == "up"
            assert found[0].severity > 1.5
            delays.append(found[0].detected - 150)
        assert np.median(delays) <= 4
        assert max(delays) <= 10

    def test_few_alarms_in_white_noise(self) -> None:
        assert np.mean([len(bocpd(noise(500, seed)).changes) for seed in range(15)]) < 0.4

    def test_what_comes_later_changes_nothing(self) -> None:
        values = noise(300)
        later = values.copy()
        later[200:] -= 5
        before, after = bocpd(values), bocpd(later)
        np.testing.assert_array_equal(before.recent[:200], after.recent[:200])
        np.testing.assert_array_equal(before.run_length[:200], after.run_length[:200])

    def test_the_first_posteriors_by_hand(self) -> None:
        from scipy.stats import t

        values = np.concatenate([noise(50), [0.7, -0.3]])
        hazard = 0.1
        centre = np.median(values[:50])
        scale = 1.4826 * np.median(np.abs(values[:50] - centre))
        z = (values - centre) / scale
        joint = {0: 1.0}
        for place, value in enumerate(z):
            grown: dict[int, float] = {}
            for run, share in joint.items():
                past = z[place - run : place]
                kappa, alpha = 1 + run, 1 + run / 2
                mean = past.sum() / kappa
                beta = 1 + 0.5 * ((past - past.mean()) ** 2).sum() + run * past.mean() ** 2 / (2 * kappa) if run else 1
                chance = share * t.pdf(value, 2 * alpha, mean, np.sqrt(beta * (kappa + 1) / (alpha * kappa)))
                grown[run + 1] = chance * (1 - hazard)
                grown[0] = grown.get(0, 0) + chance * hazard
            total = sum(grown.values())
            joint = {run: share / total for run, share in grown.items()}
        found = bocpd(values, hazard=hazard, within=2, calibration=50)
        np.testing.assert_allclose(found.posterior[: len(z) + 1], [joint[run] for run in range(len(z) + 1)], atol=1e-12)
        assert joint[0] == pytest.approx(hazard)
        assert found.recent[-1] == pytest.approx(joint[0] + joint[1])

    def test_teaches(self) -> None:
        with pytest.raises(ValueError, match="60 values"):
            bocpd(noise(40))
        with pytest.raises(ValueError, match="do not vary"):
            bocpd(np.ones(100))


class TestFeatures:
    def test_all_declared_and_nothing_else(self) -> None:
        found = features.extract(walk(300), step_seconds=300)
        assert tuple(found) == features.NAMES
        assert len(found) >= 40
        assert all(value is not None for name, value in found.items() if name != "is_stationary")
        without = features.extract(walk(300), step_seconds=300, include_spectral=False)
        assert set(found) - set(without) == set(features.SPECTRAL)

    def test_against_other_libraries(self) -> None:
        from scipy import stats
        from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch
        from statsmodels.tsa.stattools import acf, adfuller

        values = walk(400)
        found = features.extract(values, step_seconds=300)
        returns = np.diff(np.log(values))
        expected = {
            "mean": values.mean(),
            "variance": values.var(ddof=1),
            "p10": np.percentile(values, 10),
            "skewness": stats.skew(values),
            "kurtosis": stats.kurtosis(values),
            "jarque_bera_p": stats.jarque_bera(values).pvalue,
            "trend_slope": stats.linregress(np.arange(400), values).slope,
            "trend_r_squared": stats.linregress(np.arange(400), values).rvalue ** 2,
            "acf_lag5": acf(values, nlags=5)[5],
            "ljung_box_p": acorr_ljungbox(values, lags=[10])["lb_pvalue"].iloc[0],
            "adf_statistic": adfuller(values, result_object=False)[0],
            "volatility": returns.std(ddof=1) * np.sqrt(365 * 288),
            "return_kurtosis": stats.kurtosis(returns),
            "arch_lm_p": het_arch(returns - returns.mean(), nlags=5)[1],
            "diff_std": np.diff(values).std(ddof=1),
        }
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9), name

    def test_the_corrected_definitions(self) -> None:
        found = features.extract(walk(2000), step_seconds=300)
        assert found["hurst_exponent"] == pytest.approx(0.5, abs=0.08)
        assert found["is_stationary"] == 0
        hours = np.arange(480)
        wave = 1000 + np.sin(2 * np.pi * hours / 24)
        spectrum = features.extract(wave, step_seconds=HOUR_S)
        assert spectrum["dominant_frequency"] == pytest.approx(1 / 24)
        assert spectrum["dominant_period_s"] == pytest.approx(86_400)
        assert spectrum["spectral_energy"] == pytest.approx(0.5, rel=0.02)

    def test_entropies_by_hand(self) -> None:
        values = np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 9.0])
        assert features.sample_entropy(values, 2, 0.1) == pytest.approx(-np.log(4 / 8))
        rising, peak, dip = 1, 2, 2
        shares = np.array([rising, peak, dip]) / 5
        assert features.permutation_entropy(values, 3) == pytest.approx(-(shares * np.log(shares)).sum() / np.log(6))

    def test_what_is_undefined_is_none(self) -> None:
        flat = features.extract(np.full(50, 3.0), step_seconds=60)
        assert flat["mean"] == 3
        assert flat["std"] == flat["volatility"] == 0
        for name in ("skewness", "acf_lag1", "adf_statistic", "sample_entropy", "dominant_frequency"):
            assert flat[name] is None
        crossing = features.extract(noise(100), step_seconds=60)
        assert crossing["volatility"] is None
        assert crossing["sample_entropy"] is not None

    def test_missing_values(self) -> None:
        values = walk(200)
        values[[10, 50]] = np.nan
        found = features.extract(values, step_seconds=60)
        assert found["missing_share"] == pytest.approx(0.01)
        assert found["mean"] == pytest.approx(np.nanmean(values))
        with pytest.raises(ValueError, match="30 values, here are 5"):
            features.extract(noise(5), step_seconds=60)


class TestSeasonality:
    def test_a_planted_day(self) -> None:
        hours = np.arange(504)
        values = 0.02 * hours + np.sin(2 * np.pi * hours / 24) + noise(504)
        found = seasonality.seasonality(values, step_seconds=HOUR_S)
        assert found.dominant is not None
        assert found.dominant.period_steps == pytest.approx(24)
        assert found.dominant.period_seconds == pytest.approx(86_400)
        assert set(found.candidates) == {"8h", "24h", "168h"}
        assert found.candidates["24h"].p_value < 1e-6
        assert found.candidates["8h"].p_value > 0.01

    @pytest.mark.parametrize("wandering", [False, True])
    def test_none_in_noise(self, wandering: bool) -> None:
        found = []
        for seed in range(100):
            values = np.cumsum(noise(336, seed)) if wandering else noise(336, seed)
            found.append(seasonality.seasonality(values, step_seconds=HOUR_S).dominant is not None)
        assert np.mean(found) <= 0.05

    def test_fisher_by_table(self) -> None:
        assert seasonality.fisher_g(0.68377, 5) == pytest.approx(0.05, abs=2e-4)
        assert seasonality.fisher_g(0.78853, 5) == pytest.approx(0.01, abs=2e-4)
        assert seasonality.fisher_g(1e-3, 500) == 1

    def test_what_does_not_fit_is_no_candidate(self) -> None:
        assert set(seasonality.seasonality(noise(100), step_seconds=HOUR_S).candidates) == {"8h", "24h"}
        with pytest.raises(ValueError, match="straight line"):
            seasonality.seasonality(np.arange(50.0), step_seconds=HOUR_S)

    def test_parts_add_up(self) -> None:
        hours = np.arange(480)
        values = 0.01 * hours + 2 * np.sin(2 * np.pi * hours / 24) + 0.2 * noise(480)
        parts = seasonality.decompose(values, 24)
        np.testing.assert_allclose(parts.trend + parts.seasonal[24] + parts.residual, values)
        assert parts.seasonal_strength[24] > 0.95
        assert parts.trend_strength > 0.9
        assert seasonality.decompose(noise(480), 24).seasonal_strength[24] < 0.5

    def test_several_periods(self) -> None:
        hours = np.arange(24 * 30)
        values = np.sin(2 * np.pi * hours / 24) + np.sin(2 * np.pi * hours / 168) + 0.1 * noise(len(hours))
        parts = seasonality.decompose(values, (168, 24))
        assert list(parts.seasonal) == [24, 168]
        assert min(parts.seasonal_strength.values()) > 0.8
        with pytest.raises(ValueError, match="period 24"):
            seasonality.decompose(noise(40), 24)


class TestTrends:
    def test_by_hand(self) -> None:
        values = [3.0, 1.0, 4.0, 2.0, 6.0, 5.0, 8.0, 7.0, 9.0, 10.0]
        found = mann_kendall(values)
        s = sum(np.sign(b - a) for k, a in enumerate(values) for b in values[k + 1 :])
        variance = 10 * 9 * 25 / 18
        slopes = [(values[j] - values[i]) / (j - i) for i in range(10) for j in range(i + 1, 10)]
        assert found.s == s
        assert found.variance == pytest.approx(variance)
        assert found.z == pytest.approx((s - 1) / np.sqrt(variance))
        assert found.slope == pytest.approx(np.median(slopes))
        assert found.trend == "increasing"
        assert found.slope_low < found.slope < found.slope_high

    def test_the_interval_holds_the_slope(self) -> None:
        held = 0
        for seed in range(40):
            found = mann_kendall(0.02 * np.arange(100) + noise(100, seed))
            held += found.slope_low <= 0.02 <= found.slope_high
        assert held >= 34

    def test_autocorrelation_is_allowed_for(self) -> None:
        from scipy.signal import lfilter

        plain, corrected = 0, 0
        for seed in range(60):
            values = lfilter([1], [1, -0.7], noise(200, seed))
            plain += mann_kendall(values).trend != "none"
            corrected += mann_kendall(values, method="hamed_rao").trend != "none"
        assert plain >= 10
        assert corrected <= plain * 2 / 3

    def test_seasons_do_not_hide_a_trend(self) -> None:
        steps = np.arange(120)
        values = 0.05 * steps + 5 * np.sin(2 * np.pi * steps / 12) + 0.5 * noise(120)
        found = mann_kendall(values, method="seasonal", season=12)
        assert found.trend == "increasing"
        assert found.slope == pytest.approx(0.05, rel=0.1)
        assert found.slope_low < 0.05 < found.slope_high
        with pytest.raises(ValueError, match="season"):
            mann_kendall(values, method="seasonal")

    def test_missing_values_keep_their_places(self) -> None:
        values = 0.5 * np.arange(50)
        values[[3, 20]] = np.nan
        assert mann_kendall(values).slope == pytest.approx(0.5)


class TestUnitRoots:
    def test_a_walk_has_one_and_noise_has_not(self) -> None:
        level = np.cumsum(noise(500, 3))
        assert adf(level).p_value > 0.05 > adf(noise(500)).p_value
        assert kpss(level).p_value <= 0.05 < kpss(noise(500)).p_value
        with pytest.raises(ValueError, match="never moves"):
            adf(np.ones(50))


class TestSimilarity:
    def test_dtw_by_hand(self) -> None:
        found = similarity.dtw([0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 1.0, 2.0, 0.0], normalise=False)
        assert found.distance == 0
        assert found.path.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3], [3, 4]]

    def test_against_every_cell(self) -> None:
        a, b = noise(30, 1), noise(25, 2)
        total = np.full((31, 26), np.inf)
        total[0, 0] = 0
        for i in range(1, 31):
            for j in range(1, 26):
                if abs(i - j) <= 8:
                    least = min(total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
                    total[i, j] = abs(a[i - 1] - b[j - 1]) + least
        found = similarity.dtw(a, b, window=8, normalise=False)
        assert found.distance == pytest.approx(total[-1, -1])
        assert np.abs(a[found.path[:, 0]] - b[found.path[:, 1]]).sum() == pytest.approx(found.distance)
        assert found.normalised == pytest.approx(found.distance / len(found.path))

    def test_shape_not_size(self) -> None:
        shape = np.sin(np.arange(40) / 4)
        assert similarity.dtw(shape, 500 + 7 * shape).distance == pytest.approx(0, abs=1e-9)

    def test_a_planted_pattern_is_found_again(self) -> None:
        pattern = np.sin(np.arange(30) / 3)
        series = noise(300)
        series[100:130] = 50 + 4 * pattern
        series[220:250] = -3 + 0.1 * pattern + 0.01 * noise(30)
        found = similarity.find_similar(series, pattern, top=2)
        assert sorted(match.start for match in found) == [100, 220]
        assert found[0].correlation == pytest.approx(1)
        assert found[0].distance == pytest.approx(0, abs=1e-5)

    def test_likeness_is_the_correlation_of_every_stretch(self) -> None:
        series, pattern = 1e4 + walk(200), noise(20)
        series[90] = np.nan
        found = similarity.correlations(series, pattern)
        expected = [np.corrcoef(series[start : start + 20], pattern)[0, 1] for start in range(181)]
        np.testing.assert_allclose(found, expected, atol=1e-9)
        assert np.isnan(found[71:91]).all()

    def test_teaches(self) -> None:
        with pytest.raises(ValueError, match="never moves"):
            similarity.find_similar(noise(100), np.ones(10))
        with pytest.raises(ValueError, match="difference of the lengths"):
            similarity.dtw(noise(10), noise(20), window=3)
        with pytest.raises(ValueError, match="missing"):
            similarity.dtw([1.0, np.nan, 2.0, 3.0], noise(4))
