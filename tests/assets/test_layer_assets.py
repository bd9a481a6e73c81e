"""The one step that computes tables: what a failure holds back, and what can be run without the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    BackfillPolicy,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from orderflow_assets import resources
from orderflow_assets.layer import Layer
from orderflow_assets.layer_assets import layer_assets
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, StoreBusyError, Window
from tests.assets.planted import partition, table

START = datetime.fromisoformat("2025-06-03T08:00")
ROOT, BAD, BEHIND, BESIDE = "bars.root", "bars.bad", "features.behind", "features.beside"
INPUTS = {ROOT: (), BAD: (ROOT,), BEHIND: (BAD,), BESIDE: (ROOT,)}
LATER = AssetKey("later")


def key(name: str) -> AssetKey:
    return asset_key(name)


@dataclass
class Plant:
    """Four tables, ``behind`` and ``beside`` on both sides of ``bad``, which raises ``errors`` one after the other.

    ``computed`` are the tables in the order in which they were computed.
    """

    errors: list[Exception] = field(default_factory=list)
    repeats: bool = False
    computed: list[str] = field(default_factory=list)

    def layers(self) -> list[Layer]:
        return [self.layer(name, inputs) for name, inputs in INPUTS.items()]

    def layer(self, name: str, inputs: tuple[str, ...]) -> Layer:
        target = table(*name.split("."))

        def compute(store: Store, start: datetime, end: datetime) -> int:
            self.computed.append(name)
            store.ensure(target)
            if name == BAD and self.errors:
                raise self.errors.pop(0)
            times = f"range(TIMESTAMP '{start:%Y-%m-%d %H:%M}', TIMESTAMP '{end:%Y-%m-%d %H:%M}', INTERVAL 1 MINUTE)"
            twice = "unnest([1, 2])" if name == BAD and self.repeats else "1"
            sql = f"""
                SELECT 'BTCUSDT' AS symbol, 'binance' AS exchange, 'futures' AS market_type, open_time,
                       open_time + INTERVAL 1 MINUTE AS bar_ts, 1.0 AS value, {twice} AS copy
                FROM (SELECT unnest({times}) AS open_time)
            """
            return store.insert_select(target, f"SELECT * EXCLUDE (copy) FROM ({sql})", None, Window(start, end))

        return Layer(target, compute, inputs, timedelta(0), name.split(".")[0])


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def run(
    plant: Plant, data_dir: Path, instance: DagsterInstance, selection: AssetSelection | None = None
) -> ExecuteInProcessResult:
    @asset(key=LATER, deps=[key(BESIDE)], partitions_def=hourly, backfill_policy=BackfillPolicy.multi_run(24))
    def later() -> None:
        plant.computed.append("later")

    defs = Definitions(
        [layer_assets(plant.layers()), later],
        jobs=[define_asset_job("job", selection or AssetSelection.all())],
        resources={"store": StoreResource(data_dir=str(data_dir))},
        executor=in_process_executor,
    )
    hour = partition(START)
    tags = {"dagster/asset_partition_range_start": hour, "dagster/asset_partition_range_end": hour}
    return defs.resolve_job_def("job").execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def materialized(result: ExecuteInProcessResult) -> list[str]:
    return ["/".join(event.asset_key.path) for event in result.get_asset_materialization_events()]


def evaluated(result: ExecuteInProcessResult) -> dict[str, set[str]]:
    """The tables that were checked, and the checks that failed."""
    found: dict[str, set[str]] = {}
    for item in result.get_asset_check_evaluations():
        found.setdefault(".".join(item.asset_key.path), set()).update(() if item.passed else {item.check_name})
    return found


def failure(result: ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE]
    failed = event.step_failure_data.user_failure_data
    assert failed is not None
    assert set(failed.metadata) == {BAD, BEHIND}
    return failed.description or ""


def test_a_run_over_all_tables_is_one_step(tmp_path: Path, instance: DagsterInstance) -> None:
    result = run(Plant(), tmp_path, instance)
    assert result.success
    assert {event.step_key for event in result.all_events if event.is_step_start} == {"tables", "later"}
    assert materialized(result) == [*(name.replace(".", "/") for name in INPUTS), "later"]
    assert evaluated(result) == {name: set() for name in INPUTS}


def test_a_table_that_raises_holds_back_what_reads_it_and_nothing_else(
    tmp_path: Path, instance: DagsterInstance
) -> None:
    plant = Plant(errors=[RuntimeError("planted")])
    result = run(plant, tmp_path, instance)
    assert not result.success
    assert materialized(result) == ["bars/root", "features/beside"]
    assert evaluated(result) == {ROOT: set(), BESIDE: set()}
    assert failure(result) == "bars.bad: RuntimeError: planted; 1 more failed or read what failed"
    assert plant.computed == [ROOT, BAD, BESIDE]


def test_a_blocking_check_that_fails_holds_back_what_reads_its_table(tmp_path: Path, instance: DagsterInstance) -> None:
    plant = Plant(repeats=True)
    result = run(plant, tmp_path, instance)
    assert not result.success
    assert materialized(result) == ["bars/root", "bars/bad", "features/beside"]
    assert evaluated(result) == {ROOT: set(), BAD: {"unique_key"}, BESIDE: set()}
    assert failure(result).startswith("bars.bad: BlockedError: unique_key of 2025-06-03-08:00: 60 of 120 rows repeat")
    assert BEHIND not in plant.computed


def test_an_owner_that_is_away_for_a_moment_is_tried_again(
    tmp_path: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_RETRY_SECONDS", 0.0)
    plant = Plant(errors=[StoreBusyError("planted")])
    assert run(plant, tmp_path, instance).success
    assert plant.computed == [ROOT, BAD, *INPUTS, "later"]


def test_one_table_can_be_computed_without_the_others(tmp_path: Path, instance: DagsterInstance) -> None:
    plant = Plant()
    result = run(plant, tmp_path, instance, AssetSelection.assets(key(BESIDE)))
    assert result.success
    assert plant.computed == [BESIDE]
    assert evaluated(result) == {BESIDE: set()}
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["dagster/partition_row_count"].value == 60


def test_a_check_can_be_run_without_its_table(tmp_path: Path, instance: DagsterInstance) -> None:
    plant = Plant(repeats=True)
    run(plant, tmp_path, instance)
    plant.computed.clear()
    result = run(plant, tmp_path, instance, AssetSelection.checks(AssetCheckKey(key(BAD), "unique_key")))
    assert not result.success
    assert plant.computed == []
    assert materialized(result) == []
    (item,) = result.get_asset_check_evaluations()
    assert (item.check_name, item.passed, item.partition) == ("unique_key", False, partition(START))
    assert item.target_materialization_data is not None
