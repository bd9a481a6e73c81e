"""Drift detectors: silence on stationary errors, a voice when errors grow, and what verdict follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from orderflow_assets.forecasting import conformal
from orderflow_assets.forecasting.drift import detectors, distributions, errors, pace, thresholds, verdict
from orderflow_assets.forecasting.drift.distributions import Shift
from orderflow_assets.forecasting.drift.errors import Errors, Statistics
from orderflow_assets.forecasting.drift.tables import TYPES
from orderflow_assets.forecasting.drift.verdict import Inputs
from orderflow_assets.forecasting.targets import TARGETS
from tests.assets.forecast_bars import recorded
from tests.bench import drift as bench
from tests.conftest import ROOT


def planted(seed: int, live: int = 900, growth: float = 1.0, grown: int = 300) -> Errors:
    """Heavy-tailed scaled errors, the last ``grown`` of them larger by ``growth``; a 95 % interval that was right."""
    draws = np.random.default_rng(seed)
    reference, model = np.abs(draws.standard_t(4, 600)), np.abs(draws.standard_t(4, live))
    model[live - grown :] *= growth
    bound = np.quantile(np.abs(np.random.default_rng(0).standard_t(4, 100_000)), 0.95)
    return Errors(model, np.abs(draws.standard_t(4, live)), (model > bound).astype(float), reference)


def finding(of: Errors) -> verdict.Finding:
    statistics = errors.measure(of)
    assert isinstance(statistics, Statistics)
    return verdict.judge(statistics, statistics.shift.p)


def test_stationary_errors_raise_nothing_that_retrains() -> None:
    severities = [finding(planted(seed)).severity for seed in range(30)]
    assert severities.count("NONE") >= 29
    assert "HIGH" not in severities
    assert "CRITICAL" not in severities


def test_errors_half_as_large_again_are_found_within_300_bars() -> None:
    found = [finding(planted(seed, growth=1.5)) for seed in range(30)]
    assert sum(one.at_least("HIGH") for one in found) >= 27
    assert "found by" in found[0].reason
    assert sum(one.type == "gradual" for one in found) <= 2
    assert np.median([one.confidence or 0.0 for one in found]) > 0.999


def test_smaller_errors_are_no_drift() -> None:
    assert finding(planted(3, growth=0.5)).severity == "NONE"


def test_more_interval_misses_alone_are_heard() -> None:
    of = planted(4)
    missed = of.missed_95.copy()
    missed[-250:] = np.random.default_rng(9).random(250) < 0.35
    statistics = errors.measure(replace(of, missed_95=missed))
    assert isinstance(statistics, Statistics)
    assert statistics.hddm_at is not None
    assert statistics.hddm_at >= 650
    assert statistics.coverage_95 == pytest.approx(1 - missed[-errors.RECENT :].mean())


def test_an_alarm_of_long_ago_does_not_count() -> None:
    of = planted(5, live=2_000, growth=1.0)
    model = of.model.copy()
    model[200:400] *= 3
    statistics = errors.measure(replace(of, model=model))
    assert isinstance(statistics, Statistics)
    assert statistics.adwin_at is None


def test_too_few_scores_are_said() -> None:
    assert errors.measure(planted(6, live=59, grown=0)) == "59 scored forecasts, 60 are needed"
    without = replace(planted(7, live=300, grown=0), reference=np.array([]))
    assert errors.measure(without) == "12 errors to compare with, 60 are needed"


SILENT = Statistics(900, 1.1, None, None, None, 0.95, Shift(0.05, 0.5, 0.01, 0.1), 0.0, 0.5, "sudden", 700)
SHIFTED = {"shift": Shift(0.2, 0.5, 0.1, 0.1)}
FAR = {"shift": Shift(0.2, 0.5, 0.3, 0.2)}


@pytest.mark.parametrize(
    ("spoken", "inputs", "severity", "kind"),
    [
        ({}, None, "NONE", "none"),
        (SHIFTED, None, "LOW", "sudden"),
        (FAR, None, "MEDIUM", "sudden"),
        (FAR | {"error_ratio": 0.8}, None, "NONE", "none"),
        ({"adwin_at": 880, "pace": "gradual"}, None, "MEDIUM", "gradual"),
        ({"adwin_at": 880, "pace": None}, None, "MEDIUM", "concept"),
        ({"dm_p": 0.001}, None, "MEDIUM", "performance"),
        ({"adwin_at": 880, "dm_p": 0.001}, None, "HIGH", "sudden"),
        ({"adwin_at": 880, "page_hinkley_at": 890}, None, "HIGH", "sudden"),
        ({"adwin_at": 880, "page_hinkley_at": 890, "hddm_at": 891}, None, "CRITICAL", "sudden"),
        ({}, Inputs(9, (), "NONE", 0.4), "NONE", "none"),
        ({}, Inputs(9, ("range",), "LOW", 0.001), "LOW", "data"),
        ({}, Inputs(9, ("range",), "MEDIUM", 0.001), "MEDIUM", "data"),
        ({"adwin_at": 880}, Inputs(9, ("range",), "MEDIUM", 0.001), "HIGH", "sudden"),
        ({"dm_p": 0.001}, Inputs(9, ("range",), "LOW", 0.001), "MEDIUM", "performance"),
    ],
)
def test_severity_and_type_follow_from_who_speaks(
    spoken: dict, inputs: Inputs | None, severity: str, kind: str
) -> None:
    ks_p = 0.0001 if "shift" in spoken else 0.5
    found = verdict.judge(replace(SILENT, **spoken), ks_p, inputs)
    assert (found.severity, found.type) == (severity, kind)
    assert found.recommendation == verdict.RECOMMENDATIONS[kind]


def test_confidence_is_one_minus_p_of_the_test_of_the_type() -> None:
    inputs = Inputs(9, ("range",), "LOW", 0.002)
    assert verdict.judge(SILENT, 0.5, inputs).confidence == pytest.approx(0.998)
    assert verdict.judge(replace(SILENT, dm_p=0.003), 0.5).confidence == pytest.approx(0.997)
    assert verdict.judge(replace(SILENT, adwin_at=880), 0.04, inputs).confidence == pytest.approx(0.96)
    assert verdict.judge(SILENT, 0.5).confidence is None
    assert set(verdict.RECOMMENDATIONS) == set(TYPES)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.0]), st.sampled_from([0.2, 0.6]))
def test_misses_alarm_where_river_says(seed: int, before: float, after: float) -> None:
    from river.drift.binary import HDDMA

    draws = np.random.default_rng(seed)
    misses = (draws.random(600) < np.repeat([before, after, before], 200)).astype(float)
    detector, alarms = HDDMA(), []
    for place, miss in enumerate(misses):
        detector.update(bool(miss))
        if detector.drift_detected:
            alarms.append(place)
    assert detectors.hddm(misses) == alarms


def test_distance_and_p_are_those_of_scipy_for_independent_values() -> None:
    draws = np.random.default_rng(2)
    for recent, reference in ((draws.normal(size=80), draws.normal(0.4, 1, 300)), (np.arange(60.0), np.arange(5, 90))):
        expected = ks_2samp(recent, reference, method="asymp")
        found = distributions.shift(recent, reference, len(recent), len(reference))
        assert found.distance == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue, rel=0.1)


def test_autocorrelated_values_are_worth_fewer() -> None:
    draws = np.random.default_rng(4)
    noise = draws.standard_normal(20_000)
    assert distributions.effective_size(noise) == pytest.approx(20_000, rel=0.05)
    chained = noise.copy()
    for place in range(1, len(chained)):
        chained[place] += 0.8 * chained[place - 1]
    # (1 - 0.8) / (1 + 0.8) of them; the ranks of a normal chain are a little less correlated than its values
    assert distributions.effective_size(chained) == pytest.approx(20_000 / 9, rel=0.15)
    assert distributions.effective_size(np.ones(50)) == 1


def test_stability_of_a_shift_by_hand() -> None:
    reference = np.arange(1.0, 101.0)
    # All hundred recent values in the tenth bin: 100.5 of 105 against 10.5 of 105; the other nine 0.5 against 10.5.
    expected = (100.5 - 10.5) / 105 * np.log(100.5 / 10.5) + 9 * (0.5 - 10.5) / 105 * np.log(0.5 / 10.5)
    assert distributions.shift(reference, reference, 100, 100).psi == 0
    assert distributions.shift(np.full(100, 1_000.0), reference, 100, 100).psi == pytest.approx(expected)


def test_a_jump_and_a_climb_are_told_apart() -> None:
    draws, before = np.random.default_rng(11), np.ones(800)
    jump = np.r_[before, np.full(200, 2.0)]
    climb = np.r_[before, 1 + 2 * np.arange(400) / 400]
    told = [[pace.pace(np.abs(draws.standard_t(4, len(size))) * size) for _ in range(20)] for size in (jump, climb)]
    sudden, gradual = ([one.kind for one in tries if one] for tries in told)
    assert sudden.count("sudden") >= 15
    assert sudden.count("gradual") <= 2
    assert gradual.count("gradual") >= 15
    assert np.median([one.began for one in told[0] if one]) == pytest.approx(800, abs=20)
    assert pace.pace(np.ones(40)) is None


def test_no_alarm_without_drift_and_a_soon_one_with_it() -> None:
    """The rates of the published study, on few streams of seeds that it does not use."""
    seed, count = 3_000, 6
    for kind, heard in bench.stationary(seed, count, 1_200).items():
        rates = bench.false_alarm_rates(heard)
        assert rates["rule: HIGH"] <= 0.1, kind
        assert rates["any voice"] <= 0.4, kind
    found = bench.delays(bench.drifting(seed, count, ("sudden 1.5",))["sudden 1.5"], bench.BEFORE)
    assert found["rule: HIGH"][0] <= 300
    assert found["ADWIN"][0] <= 300


def test_every_threshold_is_published() -> None:
    published = (ROOT / "docs" / "drift.md").read_text()
    for threshold in thresholds.THRESHOLDS.values():
        limit = f"{threshold.sense} {threshold.value:g}"
        cells = (f"`{threshold.statistic}`", limit, threshold.meaning, threshold.source)
        assert f"| {' | '.join(cells)} |" in published, threshold.statistic


@pytest.mark.parametrize("name", ["freqtrade_ETH_BTC_5m", "freqtrade_XLM_BTC_5m"])
def test_naive_on_real_candles_raises_no_alarm(market_data: Path, name: str) -> None:
    frame, target = recorded(market_data, name), TARGETS["price"]
    scaled = (np.abs(target.outcomes(frame) - target.anchor(frame)[:, None]) / target.scales(frame))[:, :1]
    missed = (scaled > conformal.half_widths(scaled, (1,))[:, :, 1]).astype(float)
    known = slice(100, len(frame) - 1)
    values, misses = scaled[known, 0], missed[known, 0]
    spoken = 0
    for stop in range(600, len(values), errors.RECENT):
        seen = slice(max(0, stop - 2_000), stop)
        spoken += finding(Errors(values[seen], values[seen], misses[seen], np.array([]))).detected
    assert spoken == 0
