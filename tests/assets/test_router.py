"""The router: in time or not at all, by what was measured, and never without something to fall back on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderflow_assets.forecasting.costs import ask_cost, fit_cost
from orderflow_assets.forecasting.leaderboard import Evidence, disjoint, inconsistencies, pooled, shrunk
from orderflow_assets.forecasting.models import NAIVE, SPECS
from orderflow_assets.forecasting.router import (
    PRIORITIES,
    Elsewhere,
    Profile,
    Request,
    RouteError,
    Standing,
    choose,
    route,
    season,
)
from orderflow_assets.forecasting.versions import Measured
from orderflow_streaming.store import connect

BTC = "BTCUSDT|binance_futures"
COLUMNS = frozenset(column for spec in SPECS.values() for column in spec.covariates)
LONG = Profile(4_000, COLUMNS, 0.0)
MODELS = sorted(name for name, spec in SPECS.items() if name != NAIVE and "price" in spec.targets)


def everywhere(name: str) -> None:
    """Every model is installed."""


def asked(priority: str = "research", profile: Profile = LONG, **rest: object) -> Request:
    return replace(Request(BTC, "price", 12, priority, profile), **rest)


def timed(model: str, rows: int, fit_s: float, predict_s: float = 0.01) -> Measured:
    return Measured(model, "price", rows, fit_s, 0.0, predict_s, "cpu")


def test_skill_decides_among_those_in_time() -> None:
    lines = [
        Standing("ridge", 0.90, 1_000, 2, 0.1, 1.2, "cpu"),
        Standing("lightgbm", 0.95, 1_000, 1, 0.01, 0.05, "cpu"),
    ]
    calm, hurried = choose(asked("accurate"), lines, []), choose(asked("realtime"), lines, [])
    assert (calm.model, calm.version) == ("ridge", 2)
    assert calm.expected_ms == pytest.approx(1_300)
    assert calm.expected_rmae == pytest.approx((1_000 * 0.90 + 200) / 1_200)
    assert hurried.model == "lightgbm"
    assert "takes about 1.3e+03 ms" in hurried.rejected["ridge"]
    assert choose(asked("accurate", budget_s=0.01), lines, []).model == NAIVE


def test_a_balanced_choice_takes_the_quicker_of_two_that_are_alike() -> None:
    lines = [
        Standing("ridge", 0.900, 100_000, 2, 0.0, 0.9, "cpu"),
        Standing("lightgbm", 0.903, 100_000, 1, 0.0, 0.02, "cpu"),
    ]
    assert choose(asked("balanced"), lines, []).model == "lightgbm"
    assert choose(asked("accurate"), lines, []).model == "ridge"


def test_nothing_measured_means_naive_and_says_so() -> None:
    found = choose(asked("fast"), [], [], absent=everywhere)
    assert (found.model, found.expected_ms, found.fallback) == (NAIVE, None, [NAIVE])
    assert "latency is unknown (never measured on this machine)" in found.rejected["theta"]
    assert "never measured): not better than naive" in choose(asked(), [], [], absent=everywhere).rejected["theta"]


def test_an_untrained_model_costs_its_training() -> None:
    others = [Elsewhere("lightgbm", False, 0.8, 5_000, 3)]
    measured = [timed("lightgbm", rows, 1e-6 * rows**1.5) for rows in (500, 1_000, 2_000, 4_000)]
    found = choose(asked("accurate"), [], measured, others)
    assert (found.model, found.version) == ("lightgbm", None)
    assert found.expected_ms == pytest.approx((1e-6 * 4_000**1.5 + 0.01) * 1_000, rel=1e-6)
    assert any("3 other hardly seasonal series" in reason for reason in found.reasons)
    assert choose(asked("realtime"), [], measured, others).model == NAIVE


def test_series_of_the_same_kind_count_where_there_are_any() -> None:
    others = [Elsewhere("ridge", False, 1.2, 1_000, 1), Elsewhere("ridge", True, 0.7, 1_000, 1)]
    measured = [timed("ridge", 4_000, 0.01)]
    seasonal = choose(asked(profile=Profile(4_000, COLUMNS, 0.4)), [], measured, others)
    calm = choose(asked(profile=Profile(4_000, COLUMNS, 0.0)), [], measured, others)
    assert (seasonal.model, calm.model) == ("ridge", NAIVE)


def test_length_season_covariates_and_hardware_keep_models_out() -> None:
    lines = [Standing(name, 0.5, 5_000, None) for name in MODELS]
    measured = [timed(name, 4_000, 0.01) for name in MODELS]
    short = choose(asked(profile=Profile(99, COLUMNS)), lines, measured, absent=everywhere)
    assert short.model == NAIVE
    assert "the series has 99 bars" in short.rejected["theta"]
    assert season(SPECS["naive_seasonal"]) == 288
    two_days = choose(asked(profile=Profile(500, COLUMNS)), lines, measured, absent=everywhere)
    assert "576 are needed" in two_days.rejected["naive_seasonal"]
    bare = choose(asked(profile=Profile(4_000)), lines, measured, absent=everywhere)
    assert "none of the covariates" in bare.rejected["lightgbm"]
    with_card = choose(asked("accurate", gpus=1), lines, measured, absent=everywhere)
    assert "latency is unknown" in with_card.rejected["nbeats"]
    assert "latency" not in choose(asked("accurate"), lines, measured, absent=everywhere).rejected.get("nbeats", "")


standings = st.builds(
    Standing,
    st.sampled_from(MODELS),
    st.floats(0.3, 3.0),
    st.integers(1, 50_000),
    st.none() | st.integers(1, 9),
    st.none() | st.floats(0, 5),
    st.none() | st.floats(0, 5),
    st.sampled_from(["cpu", "gpu"]),
)
pools = st.builds(
    Elsewhere,
    st.sampled_from(MODELS),
    st.booleans(),
    st.floats(0.3, 3.0),
    st.integers(1, 50_000),
    st.integers(1, 80),
)
timings = st.builds(
    Measured,
    st.sampled_from(MODELS),
    st.just("price"),
    st.integers(1, 20_000),
    st.floats(0, 100),
    st.floats(0, 2),
    st.floats(0, 2),
    st.sampled_from(["cpu", "gpu"]),
)


@settings(max_examples=150)
@given(
    st.lists(standings, max_size=20),
    st.lists(timings, max_size=20),
    st.lists(pools, max_size=20),
    st.sampled_from(list(PRIORITIES)),
    st.none() | st.floats(0.001, 10),
    st.integers(0, 10_000),
    st.integers(0, 2),
    st.sets(st.sampled_from(MODELS)),
)
def test_whatever_was_measured_the_choice_is_there_in_time_and_can_fail(
    lines: list[Standing],
    measured: list[Measured],
    others: list[Elsewhere],
    priority: str,
    budget_s: float | None,
    bars: int,
    gpus: int,
    gone: set[str],
) -> None:
    request = asked(priority, Profile(bars, COLUMNS), budget_s=budget_s, gpus=gpus)
    found = choose(request, lines, measured, others, absent=lambda name: "not installed" if name in gone else None)
    assert found.model not in gone
    assert not set(found.fallback) & gone
    assert found.fallback[-1] == NAIVE
    assert found.expected_rmae <= 1
    assert found.reasons
    assert {*found.rejected, found.model} >= set(MODELS)
    if found.model != NAIVE and request.deadline_s is not None:
        assert found.expected_ms is not None
        assert found.expected_ms <= request.deadline_s * 1_000


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        ({"priority": "asap"}, "allowed are realtime, fast"),
        ({"target": "weather"}, "allowed are price"),
        ({"step": 0}, "not forecast 0 bars ahead; allowed are 1, 2"),
        ({"budget_ms": 0}, "must be above zero"),
        ({"series": "BTCUSDT"}, "BTCUSDT|binance_futures"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(tmp_path: Path, asks: dict[str, object], said: str) -> None:
    with connect(tmp_path, scope="write") as store, pytest.raises(RouteError, match=said.replace("|", r"\|")):
        route(store, **{"series": BTC, "target": "price"} | asks)  # type: ignore[arg-type]


def test_an_empty_store_gives_naive(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        found = route(store, BTC, "price", "fast")
    assert (found.model, found.known, found.fallback) == (NAIVE, False, [NAIVE])


def test_costs_follow_the_power_they_were_made_with() -> None:
    measured = [timed("ridge", rows, 2e-5 * rows**1.3) for rows in (100, 400, 1_600)]
    assert fit_cost(measured, 6_400).seconds == pytest.approx(2e-5 * 6_400**1.3, rel=1e-6)
    assert "in proportion" in fit_cost(measured[:1], 200).basis
    assert fit_cost(measured[:1], 200).seconds == pytest.approx(2 * measured[0].fit_s)
    assert fit_cost([], 100).seconds is None
    assert ask_cost([timed("ridge", 1, 1, predict_s) for predict_s in (0.1, 0.2, 0.3)]).seconds == pytest.approx(0.28)


START = datetime(2026, 3, 2)  # noqa: DTZ001 - naive UTC


def evidence(source: str, first_day: int, days: int, origins: int, rmae: float) -> Evidence:
    start = START + timedelta(days=first_day)
    return Evidence(source, start, start + timedelta(days=days), origins, rmae, 0.8, None)  # type: ignore[arg-type]


def test_a_stretch_of_time_counts_once() -> None:
    judged, tested = evidence("held_out", 5, 4, 1_000, 0.9), evidence("backtest", 3, 3, 800, 0.5)
    early = evidence("backtest", 0, 2, 100, 1.2)
    assert disjoint([tested, judged, early]) == [judged, early]
    together = pooled([judged, early])
    assert together.origins == 1_100
    assert together.rmae == pytest.approx((1_000 * 0.9 + 100 * 1.2) / 1_100)
    assert (together.coverage_80, together.coverage_95) == (pytest.approx(0.8), None)


@given(st.floats(0.01, 100), st.integers(0, 10**6))
def test_little_evidence_is_drawn_to_naive(rmae: float, origins: int) -> None:
    low, high = sorted((rmae, 1.0))
    assert low - 1e-9 <= shrunk(rmae, origins) <= high + 1e-9
    assert shrunk(rmae, 0) == 1
    assert shrunk(rmae, 200) == pytest.approx((rmae + 1) / 2)


def test_a_leaderboard_that_cannot_be_is_called_so() -> None:
    row = {"series": BTC, "target": "price", "model": NAIVE, "step": 1, "rmae": 1.0, "shrunk_rmae": 1.0}
    row |= {"coverage_80": None, "coverage_95": 0.95}
    assert inconsistencies([row]) == []
    assert len(inconsistencies([row | {"rmae": 0.9, "shrunk_rmae": 0.95, "coverage_95": 1.2}])) == 2
    assert len(inconsistencies([row | {"model": "ridge", "rmae": 0.9, "shrunk_rmae": 0.8}])) == 1
