"""A forecast that cannot be made is a row that says why, and the next better answer where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.adapters.card import card_of
from orderflow_assets.forecasting.frame import FrameError, Series, read_frame
from orderflow_assets.forecasting.frames import DAY, described, keep, kept, newest, seasonality
from orderflow_assets.forecasting.issue import issue
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.tables import FORECASTS, FRAMES
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Store, connect
from tests.assets.forecast_bars import BTC, ETH, frame_of, plant, random_walk
from tests.assets.test_registry import TRAINING

SOL = Series("SOLUSDT", "okx", "spot")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as store:
        yield store


def issued(store: Store, folder: Path, end: Any, wanted: list[str] | None = None) -> list[dict[str, Any]]:
    """Rows of the last edge, one step ahead, of the price."""
    issue(store, Registry(folder), end - timedelta(minutes=5), end, wanted)
    sql = f"SELECT * FROM {FORECASTS.qualified} WHERE target = 'price' AND step = 1 ORDER BY series"
    return store.query(sql).to_pylist()


def serve(folder: Path, registry: Registry) -> Path:
    """Let a version serve of which only the card is stored; returns its folder."""
    version = registry.begin(TRAINING, "test")
    save = card_of(SPECS["lightgbm"], TARGETS["price"]).write
    registry.complete(BTC.key, "price", version, save, [], "test")
    registry.promote(BTC.key, "price", version, "test", "won")
    return registry.artefact(registry.version(BTC.key, "price", version))


def test_a_series_without_bars_is_refused_in_every_row_of_it(opened: Store, tmp_path: Path) -> None:
    end = plant(opened, BTC, random_walk(150, seed=1))
    rows = issued(opened, tmp_path, end, [BTC.key, SOL.key])
    assert [row["series"] for row in rows] == [BTC.key, SOL.key]
    assert rows[0]["point"] is not None
    assert rows[1]["point"] is rows[1]["lower_80"] is None
    assert rows[1]["reason"] == f"no bars in the 14 days before {end:%Y-%m-%d %H:%M}"
    assert issued(opened, tmp_path, end, [BTC.key, SOL.key]) == rows


def test_too_short_a_series_says_how_many_bars_are_needed(opened: Store, tmp_path: Path) -> None:
    end = plant(opened, BTC, random_walk(99, seed=2))
    (row,) = issued(opened, tmp_path, end)
    assert (row["point"], row["reason"]) == (None, "99 bars known, 100 are needed")


def test_a_constant_price_is_forecast_to_stay_and_to_hardly_move(opened: Store, tmp_path: Path) -> None:
    end = plant(opened, BTC, np.zeros(300))
    (row,) = issued(opened, tmp_path, end)
    assert row["point"] == row["last_value"] == pytest.approx(100)
    assert row["upper_95"] - row["lower_95"] < 1e-3
    (volatility,) = opened.query(f"SELECT * FROM {FORECASTS.qualified} WHERE target = 'volatility'").to_pylist()
    assert volatility["point"] == pytest.approx(0, abs=1e-5)


def test_a_changed_model_does_not_serve_and_says_so(opened: Store, tmp_path: Path) -> None:
    end = plant(opened, BTC, random_walk(300, seed=3))
    stored = serve(tmp_path, Registry(tmp_path))
    (stored / "card.json").write_bytes(b"other")
    (row,) = issued(opened, tmp_path, end)
    assert (row["model"], row["version"]) == ("naive", 0)
    assert row["point"] is not None
    assert "was changed after it was registered" in row["reason"]


def test_a_missing_library_does_not_serve_and_names_its_extra(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = plant(opened, BTC, random_walk(300, seed=4))
    serve(tmp_path, Registry(tmp_path))
    monkeypatch.setattr(fitting, "missing", lambda spec: f"{spec.name} needs the extra {spec.extra}")
    (row,) = issued(opened, tmp_path, end)
    assert (row["model"], row["reason"]) == ("naive", "naive serves: lightgbm needs the extra forecast")


def test_a_frame_is_kept_until_the_next_and_refused_when_changed(tmp_path: Path) -> None:
    first, second = frame_of(random_walk(200, seed=5)), frame_of(random_walk(250, seed=6))
    digest = keep(tmp_path, first)
    back = kept(tmp_path, BTC, digest)
    assert back.digest() == digest == first.digest()
    np.testing.assert_array_equal(back.sigma, first.sigma)
    assert back.covariates.keys() == first.covariates.keys()
    other = keep(tmp_path, second)
    with pytest.raises(FrameError, match="no longer kept"):
        kept(tmp_path, BTC, digest)
    (file,) = (tmp_path / "frames").rglob("*.npz")
    keep(tmp_path, first)
    next((tmp_path / "frames").rglob("*.npz")).rename(file)
    with pytest.raises(FrameError, match="was changed"):
        kept(tmp_path, BTC, other)


def test_the_frame_of_a_training_is_told(opened: Store, tmp_path: Path) -> None:
    end = plant(opened, ETH, random_walk(120, seed=7))
    frame = read_frame(opened, ETH, end)
    assert newest(opened, ETH) is None
    opened.write(FRAMES, described(ETH, frame, keep(tmp_path, frame), None))
    row = newest(opened, ETH)
    assert row is not None
    assert (row["bars"], row["missing"], row["data_to"], row["frame_hash"]) == (120, 0, end, frame.digest())
    assert '"momentum_12"' in row["columns"]


def test_seasonality_is_the_correlation_with_the_day_before() -> None:
    day = 0.001 * np.random.default_rng(8).standard_normal(DAY)
    repeated = np.tile(day, 3)
    assert seasonality(frame_of(repeated), TARGETS["price"]) == pytest.approx(1, abs=0.1)
    assert abs(seasonality(frame_of(random_walk(3 * DAY, seed=9)), TARGETS["price"]) or 0) < 0.15
    assert seasonality(frame_of(random_walk(DAY, seed=10)), TARGETS["price"]) is None
