"""The code location as the web server and the daemon load it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, DagsterInstance, Definitions, FreshnessPolicy

from orderflow_assets.definitions import build_defs
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.schema import STREAMS
from tests.conftest import ROOT

COMPUTED = [asset_key(layer.table.qualified) for layer in LAYERS]
RAW = [asset_key(stream.table.qualified) for stream in STREAMS.values()]
HEAVY = ("torch", "darts", "pandas", "matplotlib", "lightgbm", "sklearn", "river", "scipy")


@pytest.fixture(scope="module")
def defs() -> Definitions:
    return build_defs()


def test_it_loads_with_all_streams_and_tables(defs: Definitions) -> None:
    Definitions.validate_loadable(defs)
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {*RAW, *COMPUTED} <= keys
    assert len(RAW) == len(STREAMS) == 11
    assert {"raw_watermark", "analytics", "alert_on_run_failure"} <= {
        sensor.name for sensor in defs.get_repository_def().sensor_defs
    }


def test_everything_that_watches_or_runs_by_itself_runs_from_the_start(defs: Definitions) -> None:
    repository = defs.get_repository_def()
    for instigator in (*repository.sensor_defs, *repository.schedule_defs):
        assert instigator.default_status.value == "RUNNING", instigator.name


def test_every_asset_says_what_it_is(defs: Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.code_version, name
        assert spec.group_name != "default", name


def test_every_table_by_the_hour_has_columns_checks_and_freshness(defs: Definitions) -> None:
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    graph = defs.resolve_asset_graph()
    for key in (*RAW, *COMPUTED):
        assert specs[key].partitions_def == hourly
        assert specs[key].metadata["dagster/column_schema"].columns
        assert isinstance(specs[key].freshness_policy, FreshnessPolicy)
    for key in COMPUTED:
        blocking = [check for check in graph.get_check_keys_for_assets({key}) if graph.get(check).blocking]
        assert {"columns", "unique_key"} <= {check.name for check in blocking}


def test_lineage_follows_the_declared_inputs(defs: Definitions) -> None:
    graph = defs.resolve_asset_graph()
    known = set(COMPUTED) | set(RAW)
    for layer in LAYERS:
        declared = {key for name in layer.inputs if (key := asset_key(name)) in known}
        assert graph.get(asset_key(layer.table.qualified)).parent_keys == declared
    reached = graph.upstream_key_iterator(AssetKey(["signals", "signals"]))
    assert AssetKey(["raw", "trades"]) in set(reached)


def test_resources_can_be_replaced(tmp_path: Path) -> None:
    elsewhere = StoreResource(data_dir=str(tmp_path))
    assert build_defs({"store": elsewhere}).resources["store"] is elsewhere


def test_loading_is_light_and_silent() -> None:
    """In a process of its own: no library that a step may need is loaded by loading the code location."""
    script = (
        "import sys, orderflow_assets.definitions as d; d.build_defs().get_repository_def(); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert "Warning" not in done.stderr, done.stderr


def test_both_project_files_name_the_same_code_location() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (loaded,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert loaded["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_the_instance_keeps_its_history_in_the_project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("series", ["BTCUSDT|binance_futures"])
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_dynamic_partitions("series") == ["BTCUSDT|binance_futures"]
    assert (tmp_path / ".dagster" / "storage").is_dir()
    assert {entry.name for entry in tmp_path.iterdir()} == {"dagster.yaml", ".dagster"}


def test_the_running_hour_is_refreshed_without_the_checks_that_only_warn(defs: Definitions) -> None:
    layer, graph = defs.resolve_job_def("hour_so_far").asset_layer, defs.resolve_asset_graph()
    (node,) = {layer.get_op_output_handle(key).node_handle for key in COMPUTED}
    selected = layer.get_selected_entity_keys_for_node(node)
    assert {key for key in selected if isinstance(key, AssetKey)} == set(COMPUTED)
    checks = graph.get_check_keys_for_assets(set(COMPUTED))
    assert selected - set(COMPUTED) == {check for check in checks if graph.get(check).blocking}
    assert len(checks) > len(selected - set(COMPUTED))
