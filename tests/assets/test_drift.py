"""Drift detectors: silence on stationary errors, a voice when errors grow, and what severity follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from orderflow_assets.forecasting import conformal, drift
from orderflow_assets.forecasting.drift import Errors, Statistics
from orderflow_assets.forecasting.targets import TARGETS
from tests.assets.forecast_bars import recorded


def errors(seed: int, live: int = 900, growth: float = 1.0, grown: int = 300) -> Errors:
    """Heavy-tailed scaled errors, the last ``grown`` of them larger by ``growth``; a 95 % interval that was right."""
    draws = np.random.default_rng(seed)
    reference, model = np.abs(draws.standard_t(4, 600)), np.abs(draws.standard_t(4, live))
    model[live - grown :] *= growth
    bound = np.quantile(np.abs(np.random.default_rng(0).standard_t(4, 100_000)), 0.95)
    return Errors(model, np.abs(draws.standard_t(4, live)), (model > bound).astype(float), reference)


def finding(of: Errors) -> drift.Finding:
    statistics = drift.measure(of)
    assert isinstance(statistics, Statistics)
    return drift.judge(statistics, statistics.ks_p)


def test_stationary_errors_raise_nothing_that_retrains() -> None:
    severities = [finding(errors(seed)).severity for seed in range(30)]
    assert severities.count("NONE") >= 29
    assert "HIGH" not in severities
    assert "CRITICAL" not in severities


def test_errors_half_as_large_again_are_found_within_300_bars() -> None:
    found = [finding(errors(seed, growth=1.5)) for seed in range(30)]
    assert sum(one.at_least("HIGH") for one in found) >= 27
    assert "found by" in found[0].reason


def test_smaller_errors_are_no_drift() -> None:
    assert finding(errors(3, growth=0.5)).severity == "NONE"


def test_more_interval_misses_alone_are_heard() -> None:
    of = errors(4)
    missed = of.missed_95.copy()
    missed[-250:] = np.random.default_rng(9).random(250) < 0.35
    statistics = drift.measure(replace(of, missed_95=missed))
    assert isinstance(statistics, Statistics)
    assert statistics.hddm_at is not None
    assert statistics.hddm_at >= 650
    assert statistics.coverage_95 == pytest.approx(1 - missed[-drift.RECENT :].mean())


def test_an_alarm_of_long_ago_does_not_count() -> None:
    of = errors(5, live=2_000, growth=1.0)
    model = of.model.copy()
    model[200:400] *= 3
    statistics = drift.measure(replace(of, model=model))
    assert isinstance(statistics, Statistics)
    assert statistics.adwin_at is None


def test_too_few_scores_are_said() -> None:
    assert drift.measure(errors(6, live=59, grown=0)) == "59 scored forecasts, 60 are needed"
    without = replace(errors(7, live=300, grown=0), reference=np.array([]))
    assert drift.measure(without) == "12 errors to compare with, 60 are needed"


SILENT = Statistics(900, 1.1, None, None, None, 0.95, 0.05, 0.5, 0.01, 0.1, 0.0, 0.5)


@pytest.mark.parametrize(
    ("spoken", "severity"),
    [
        ({}, "NONE"),
        ({"ks_statistic": 0.2, "psi": 0.1}, "LOW"),
        ({"ks_statistic": 0.2, "psi": 0.3}, "MEDIUM"),
        ({"ks_statistic": 0.2, "psi": 0.3, "error_ratio": 0.8}, "NONE"),
        ({"adwin_at": 880}, "MEDIUM"),
        ({"dm_p": 0.001}, "MEDIUM"),
        ({"adwin_at": 880, "dm_p": 0.001}, "HIGH"),
        ({"adwin_at": 880, "page_hinkley_at": 890}, "HIGH"),
        ({"adwin_at": 880, "page_hinkley_at": 890, "hddm_at": 891}, "CRITICAL"),
    ],
)
def test_severity_follows_from_how_many_speak(spoken: dict, severity: str) -> None:
    ks_p = 0.0001 if "ks_statistic" in spoken else 0.5
    assert drift.judge(replace(SILENT, **spoken), ks_p).severity == severity


def test_p_values_are_adjusted_as_scipy_does() -> None:
    p = np.random.default_rng(8).random(50) ** 3
    assert drift.benjamini_hochberg(p.tolist()) == pytest.approx(false_discovery_control(p).tolist())
    assert drift.benjamini_hochberg([]) == []


def test_population_stability_of_a_shift_by_hand() -> None:
    reference = np.arange(1.0, 101.0)
    assert drift.population_stability(reference, reference) == 0
    # All hundred recent values in the tenth bin: 100.5 of 105 against 10.5 of 105; the other nine 0.5 against 10.5.
    expected = (100.5 - 10.5) / 105 * np.log(100.5 / 10.5) + 9 * (0.5 - 10.5) / 105 * np.log(0.5 / 10.5)
    assert drift.population_stability(np.full(100, 1_000.0), reference) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["freqtrade_ETH_BTC_5m", "freqtrade_XLM_BTC_5m"])
def test_naive_on_real_candles_raises_no_alarm(market_data: Path, name: str) -> None:
    frame, target = recorded(market_data, name), TARGETS["price"]
    scaled = (np.abs(target.outcomes(frame) - target.anchor(frame)[:, None]) / target.scales(frame))[:, :1]
    missed = (scaled > conformal.half_widths(scaled, (1,))[:, :, 1]).astype(float)
    known = slice(100, len(frame) - 1)
    values, misses = scaled[known, 0], missed[known, 0]
    spoken = 0
    for stop in range(600, len(values), drift.RECENT):
        seen = slice(max(0, stop - 2_000), stop)
        spoken += finding(Errors(values[seen], values[seen], misses[seen], np.array([]))).detected
    assert spoken == 0
