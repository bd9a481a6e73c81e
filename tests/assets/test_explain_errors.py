"""Errors by cell: known at issue, counted by hand, with intervals that widen where errors hang together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dagster import DagsterInstance

from orderflow_assets.analytics.regimes import REGIMES
from orderflow_assets.definitions import build_defs
from orderflow_assets.forecasting.explain import errors
from orderflow_assets.forecasting.explain.tables import ERRORS
from orderflow_assets.forecasting.frame import floor_step, utc_now
from orderflow_assets.forecasting.tables import FORECASTS, SCORES
from orderflow_assets.metadata import asset_key
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, connect
from tests.assets.forecast_bars import BTC, ETH

DAYS = 4
Row = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        yield opened


def issues(days: int = DAYS) -> list[datetime]:
    """Every five minutes up to the last midnight."""
    end = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    return [end - timedelta(minutes=5 * back) for back in range(288 * days, 0, -1)]


def stream(at: datetime, series: Any = BTC) -> Row:
    identity = {name: getattr(series, name) for name in ("symbol", "exchange", "market_type")}
    return identity | {"series": series.key, "target": "price", "model": "lightgbm", "version": 1, "issued_at": at}


def scored(at: datetime, error: float, series: Any = BTC, step: int = 1, **changed: Any) -> Row:
    row = stream(at, series) | {"step": step, "target_ts": at + timedelta(minutes=5 * step), "actual": 1.0}
    row |= {"error": error, "naive_error": 1.0, "scaled_error": error, "scaled_naive_error": -1.0}
    return row | {"inside_80": abs(error) < 1, "inside_95": abs(error) < 2, "scored_at": at} | changed


def issued(at: datetime, scale: float, series: Any = BTC) -> Row:
    return stream(at, series) | {"step": 1, "target_ts": at, "scale": scale, "made_at": at}


def write(store: Store, scores: list[Row], forecasts: list[Row] = (), regimes: list[Row] = ()) -> None:  # type: ignore[assignment]
    for table, rows in ((SCORES, scores), (FORECASTS, forecasts), (REGIMES, regimes)):
        if rows:
            store.write(table, pa.Table.from_pylist(list(rows), table.arrow_schema))


def cells(found: pa.Table, grouping: str, **equals: Any) -> dict[str, Row]:
    rows = [row for row in found.to_pylist() if row["grouping"] == grouping]
    return {row["cell"]: row for row in rows if all(row[name] == value for name, value in equals.items())}


def test_hours_are_counted_by_hand(store: Store) -> None:
    moments = issues()
    write(store, [scored(at, 0.5 if at.hour < 12 else -1.5) for at in moments])
    hours = cells(errors.analyse(store), "hour")
    assert list(hours) == [f"{hour:02}" for hour in range(24)]
    assert {row["scores"] for row in hours.values()} == {12 * DAYS}
    for cell, row in hours.items():
        early = int(cell) < 12
        assert row["rmae"] == pytest.approx(0.5 if early else 1.5)
        assert (row["coverage_80"], row["coverage_95"]) == (1.0 if early else 0.0, 1.0)
        # Four days are four stretches of two hours in each hour of the day.
        assert (row["blocks"], row["rmae_low"]) == (DAYS, None)
        assert row["reason"] == "4 stretches of two hours: no interval under 8"
    (whole,) = cells(errors.analyse(store), "all").values()
    assert (whole["scores"], whole["blocks"]) == (288 * DAYS, 12 * DAYS)
    assert whole["rmae"] == pytest.approx(1.0)
    assert whole["rmae_low"] < 1 < whole["rmae_high"]
    assert (whole["first_issued_at"], whole["last_issued_at"]) == (moments[0], moments[-1])


def test_volatility_is_judged_by_the_past_alone(store: Store) -> None:
    moments = issues()
    # It rises throughout, so that each is the highest that was known when it was issued.
    forecasts = [issued(at, 1.0 + place) for place, at in enumerate(moments)]
    write(store, [scored(at, 0.5) for at in moments], forecasts)
    found = cells(errors.analyse(store), "volatility")
    assert {cell: row["scores"] for cell, row in found.items()} == {
        "low": 0,
        "middle": 0,
        "high": 288 * (DAYS - 1),
        "unknown": 288,
    }
    assert found["low"]["reason"] == "no scored forecast was issued in it"
    assert found["low"]["rmae"] is None


def test_a_regime_is_the_last_one_that_had_closed(store: Store) -> None:
    start = issues(1)[0].replace(minute=0)
    moments = [start + timedelta(minutes=5 * place) for place in range(288)]
    regime = {name: getattr(BTC, name) for name in ("symbol", "exchange", "market_type")} | {"step": "1h"}
    states = {2: "BEAR", 3: "BULL", 4: None}
    regimes = [
        regime
        | {"open_time": at - timedelta(hours=1), "bar_ts": at, "last_minute": at - timedelta(minutes=1), "state": state}
        for hour, state in states.items()
        for at in (start + timedelta(hours=hour),)
    ]
    write(store, [scored(at, 1.0) for at in moments], regimes=regimes)
    found = cells(errors.analyse(store), "regime")
    # BEAR is known from 02:00 to before 03:00, BULL for two hours from 03:00 on, nothing else.
    assert {cell: row["scores"] for cell, row in found.items()} == {
        "BEAR": 12,
        "RANGING": 0,
        "BULL": 24,
        "unknown": 288 - 36,
    }


def test_series_models_and_steps_stay_apart_and_a_second_pass_replaces_the_first(store: Store) -> None:
    moments = issues(1)
    rows = [scored(at, 0.5) for at in moments] + [scored(at, 2.0, step=12) for at in moments]
    rows += [scored(at, 1.0, series=ETH, model="naive", version=0) for at in moments]
    rows += [scored(at, 9.0, step=6) for at in moments]
    write(store, rows)
    errors.analyse(store)
    errors.analyse(store)
    found = store.query(
        f"SELECT series, model, step, rmae FROM {ERRORS.qualified} WHERE grouping = 'all' ORDER BY series, step"
    ).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        (BTC.key, "lightgbm", 1, pytest.approx(0.5)),
        (BTC.key, "lightgbm", 12, pytest.approx(2.0)),
        (ETH.key, "naive", 1, pytest.approx(1.0)),
    ]
    unique = store.query(f"SELECT count(*) = count(DISTINCT ({', '.join(ERRORS.key)})) AS yes FROM {ERRORS.qualified}")
    assert unique.to_pylist() == [{"yes": True}]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    draws, inside, trials = np.random.default_rng(7), 0, 300
    for trial in range(trials):
        # Errors of a block share a factor, so that blocks and not errors are what is independent.
        shared = np.exp(draws.normal(0, 0.4, 60) - 0.08)
        naive = draws.gamma(24, 1.0, 60)
        bounds = errors.interval(0.9 * naive * shared, naive, seed=trial)
        assert bounds is not None
        inside += bounds[0] <= 0.9 <= bounds[1]
    assert 0.88 <= inside / trials <= 0.98
    assert errors.interval(np.zeros(9), np.array([1.0, *[0.0] * 8])) is None


def test_old_forecasts_and_no_forecasts_are_no_rows(store: Store) -> None:
    assert errors.analyse(store).num_rows == 0
    write(store, [scored(floor_step(utc_now()) - timedelta(days=31), 1.0)])
    assert errors.analyse(store).num_rows == 0


def test_the_asset_says_where_a_model_was_worse(tmp_path: Path, store: Store) -> None:
    write(store, [scored(at, 1.5 if at.hour < 12 else 0.5) for at in issues(9)])
    store.close()
    defs = build_defs({"store": StoreResource(data_dir=str(tmp_path))})
    with DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("analyse_errors").execute_in_process(instance=instance)
    (event,) = result.get_asset_materialization_events()
    assert event.asset_key == asset_key(ERRORS.qualified)
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (figures["cells_worse_than_naive"], figures["cells_better_than_naive"]) == (12, 12)
    assert "| hour | 03 |" in figures["worse_than_naive"]
    assert figures["plot"].startswith("![errors](data:image/png;base64,")
