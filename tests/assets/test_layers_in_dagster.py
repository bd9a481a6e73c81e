"""The declared tables computed by Dagster on a planted market: ranges and single hours give the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from orderflow_assets.definitions import build_defs
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import asset_key
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.assets import tape
from tests.assets.computing import differences, stored
from tests.assets.planted import hours_of

KEYS = [asset_key(layer.table.qualified) for layer in LAYERS]
HOURS = hours_of(tape.START, tape.END)


def run(data_dir: Path, instance: DagsterInstance, first: str, last: str) -> ExecuteInProcessResult:
    defs = build_defs({"store": StoreResource(data_dir=str(data_dir))})
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=KEYS,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
    )


@pytest.mark.slow
def test_a_range_and_a_single_hour_equal_the_plain_computation(
    raw_tape: Path, tape_store: Store, tmp_path: Path
) -> None:
    """Through a served store, all hours but the last in one run; ``tape_store`` was computed without Dagster."""
    shutil.copytree(raw_tape, tmp_path, dirs_exist_ok=True)
    engine = Engine(database_path(tmp_path))
    server = StoreServer(engine, tmp_path)
    server.start()
    with DagsterInstance.ephemeral() as instance:
        wide = run(tmp_path, instance, HOURS[0], HOURS[-2])
        single = run(tmp_path, instance, HOURS[-1], HOURS[-1])
        assert wide.success
        assert single.success
        assert all(instance.get_materialized_partitions(key) == set(HOURS) for key in KEYS)
    with connect(tmp_path) as store:
        for layer in LAYERS:
            recorded = f"{layer.table.time} < TIMESTAMP '{tape.END}'"
            expected = stored(tape_store, layer.table, recorded)
            assert differences(stored(store, layer.table, recorded), expected, 1e-7) == []
        _check_events(store, [wide, single])
    server.stop()
    engine.close()


_FEATURE_PICTURES = ("null share", "distribution")


def _check_events(store: Store, runs: list[ExecuteInProcessResult]) -> None:
    events = {
        (event.asset_key, event.partition): event.materialization.metadata
        for run in runs
        for event in run.get_asset_materialization_events()
    }
    for layer, key in zip(LAYERS, KEYS, strict=True):
        rows = store.query(f"SELECT count(*) AS n FROM {layer.table.qualified}").column("n")[0].as_py()
        assert sum(events[key, hour]["dagster/partition_row_count"].value for hour in HOURS) == rows
        assert sum(events[key, hour]["rows_written"].value for hour in HOURS[-2:]) == rows
        assert not {"plot", "history", *_FEATURE_PICTURES} & set(events[key, HOURS[0]])
    pictures = {
        ("bars.bars_1m", "plot"),
        *((f"features.{group}", title) for group in ("prices", "orderbook", "trades") for title in _FEATURE_PICTURES),
        ("signals.signals", "history"),
    }
    for name, title in pictures:
        for hour in HOURS[-2:]:
            picture = events[asset_key(name), hour][title].value
            assert picture.startswith(f"![{name} {title}](data:image/png;base64,")
            assert len(picture) < 50_100
    evaluations = [item for run in runs for item in run.get_asset_check_evaluations()]
    assert {item.partition for item in evaluations} == set(HOURS)
    assert all(item.passed for item in evaluations if item.blocking)
