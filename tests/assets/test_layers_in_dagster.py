"""The declared tables computed by Dagster on a planted market: a range of hours and single hours give the same rows."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from orderflow_assets.definitions import build_defs
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import asset_key
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, connect
from tests.assets import tape
from tests.assets.planted import hours_of

KEYS = [asset_key(layer.table.qualified) for layer in LAYERS]
END = tape.START + timedelta(minutes=70)
HOURS = hours_of(tape.START, END)


def run(data_dir: Path, instance: DagsterInstance, first: str, last: str) -> ExecuteInProcessResult:
    defs = build_defs({"store": StoreResource(data_dir=str(data_dir))})
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=KEYS,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
    )


def rows(store: Store) -> dict[str, pd.DataFrame]:
    return {
        layer.table.qualified: store.query(
            f"SELECT * FROM {layer.table.qualified} ORDER BY {', '.join(layer.table.key)}"
        ).to_pandas()
        for layer in LAYERS
    }


@pytest.mark.slow
def test_hour_by_hour_in_an_own_file_equals_the_range_through_the_server(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    market = {symbol: series.until(END) for symbol, series in tape.planted().items()}
    alone = tmp_path / "alone"
    with connect(alone, scope="write") as store:
        tape.load(store, market)
    with DagsterInstance.ephemeral() as instance:
        for hour in HOURS:
            assert run(alone, instance, hour, hour).success
    with connect(alone) as store:
        expected = rows(store)

    request.getfixturevalue("served")
    with connect(tmp_path, scope="write") as store:
        tape.load(store, market)
        with DagsterInstance.ephemeral() as instance:
            result = run(tmp_path, instance, HOURS[0], HOURS[-1])
            assert result.success
            for key in KEYS:
                assert instance.get_materialized_partitions(key) == set(HOURS)
        found = rows(store)
    assert len(found["bars.bars_1m"]) > 200
    for name, frame in expected.items():
        for column in frame.columns.intersection(["components"]):
            parts = [[json.loads(text) for text in side[column]] for side in (found[name], frame)]
            assert parts[0] == [pytest.approx(cells, nan_ok=True) for cells in parts[1]]
        # Sums of floats depend on the order in which threads add them, in their last digit.
        same = [column for column in frame.columns if column != "components"]
        pd.testing.assert_frame_equal(found[name][same], frame[same], rtol=1e-9, obj=name)

    events = {
        (event.asset_key, event.partition): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    for layer, key in zip(LAYERS, KEYS, strict=True):
        counted = sum(events[key, hour]["dagster/partition_row_count"].value for hour in HOURS)
        assert counted == events[key, HOURS[0]]["rows_written"].value == len(found[layer.table.qualified])
        assert "plot" not in events[key, HOURS[0]]
    for name in ("bars.bars_1m", "features.prices", "signals.signals"):
        picture = events[asset_key(name), HOURS[-1]]["plot"].value
        assert picture.startswith(f"![{name}](data:image/png;base64,")
        assert len(picture) < 50_100
    assert all(item.passed for item in result.get_asset_check_evaluations() if item.blocking)
