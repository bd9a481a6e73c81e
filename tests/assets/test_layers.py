"""The layers as a whole: their order, their honesty about nothing, their ranges, their independence of Dagster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.feature import Feature
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.assets.computing import compute, copied, differences, stored
from tests.assets.tape import END, START

NAMES = [layer.table.qualified for layer in LAYERS]


def test_each_layer_comes_after_what_it_reads() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for place, layer in enumerate(LAYERS):
        computed = [source for source in layer.inputs if source.partition(".")[0] not in ("main", "ops")]
        assert set(computed) <= set(NAMES[:place]), layer.table.qualified
        assert layer.lookback >= timedelta(0)


@pytest.mark.parametrize("layer", LAYERS, ids=NAMES)
def test_nothing_recorded_gives_no_rows(layer: Layer, tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        assert layer.compute(store, START.replace(minute=0), END.replace(minute=0)) == 0
        assert store.query(f"SELECT * FROM {layer.table.qualified}").num_rows == 0


def test_an_hour_after_the_feeds_ended_is_empty(raw_tape: Path, tmp_path: Path) -> None:
    later = END.replace(minute=0) + timedelta(hours=5)
    with copied(raw_tape, tmp_path) as store:
        compute(store, START.replace(minute=0), END)
        for layer in LAYERS:
            assert layer.compute(store, later, later + timedelta(hours=1)) == 0, layer.table.qualified


@pytest.mark.parametrize(
    ("group", "feature"),
    [(group.name, feature) for group in GROUPS.values() for feature in group.columns if feature.violation],
    ids=lambda value: value.name if isinstance(value, Feature) else value,
)
def test_values_stay_in_their_range(group: str, feature: Feature, tape_store: Store) -> None:
    outside = tape_store.query(
        f'SELECT bar_ts, symbol, "{feature.name}" FROM features.{group} WHERE {feature.violation}'
    )
    assert outside.to_pylist() == []


def test_edges_of_a_bar_are_a_minute_apart(tape_store: Store) -> None:
    for layer in LAYERS:
        if layer.table.schema in ("features", "signals") and "bar_ts" in layer.table.names:
            odd = tape_store.query(
                f"SELECT count(*) AS n FROM {layer.table.qualified} WHERE bar_ts <> open_time + INTERVAL 1 MINUTE "
                "OR open_time <> date_trunc('minute', open_time)"
            )
            assert odd["n"][0].as_py() == 0


def test_a_window_replaces_only_its_own_rows(raw_tape: Path, tmp_path: Path) -> None:
    start = START.replace(minute=0) + timedelta(hours=1)
    with copied(raw_tape, tmp_path) as store:
        compute(store, start, start + timedelta(hours=1))
        first = {name: _times(store, name, layer) for name, layer in zip(NAMES, LAYERS, strict=True)}
        for layer in LAYERS:
            layer.compute(store, start + timedelta(minutes=20), start + timedelta(minutes=40))
        assert first == {name: _times(store, name, layer) for name, layer in zip(NAMES, LAYERS, strict=True)}


def test_the_owner_in_another_process_gives_the_same(raw_tape: Path, tape_store: Store, tmp_path: Path) -> None:
    shutil.copytree(raw_tape, tmp_path, dirs_exist_ok=True)
    engine = Engine(database_path(tmp_path))
    server = StoreServer(engine, tmp_path)
    server.start()
    try:
        with connect(tmp_path, scope="write", embedded=False) as served:
            compute(served, START.replace(minute=0), END)
            for layer in LAYERS:
                assert not differences(stored(tape_store, layer.table), stored(served, layer.table), 1e-9)
    finally:
        server.stop()
        engine.close()


def _times(store: Store, name: str, layer: Layer) -> tuple[int, datetime]:
    row = store.query(f"SELECT count(*) AS n, max({layer.table.time}) AS t FROM {name}").to_pylist()[0]
    return row["n"], row["t"]


def test_computing_needs_no_orchestrator_and_no_model_library() -> None:
    heavy = ["dagster", "pandas", "torch", "darts", "scipy", "matplotlib"]
    check = f"import sys, orderflow_assets.layers; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
