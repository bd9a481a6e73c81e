"""The schedule that keeps the running hour fresh, on a served store and a real instance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest, SkipReason, build_schedule_context

from orderflow_assets.bars import minutes as bars
from orderflow_assets.bars import parents, quotes
from orderflow_assets.defs.tables.assets import hour_so_far
from orderflow_assets.defs.tables.schedules import running_hour
from orderflow_assets.partitions import IN_ORDER
from orderflow_assets.resources import StoreResource
from orderflow_streaming.archive.continuous import prepare
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.server import StoreServer
from tests.assets.planted import HOUR, partition
from tests.assets.planted import plant_trades as plant_trades_in

START = datetime.fromisoformat("2025-06-03T08:00")
plant_trades = partial(plant_trades_in, stream=STREAMS["trades"].hot)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


@pytest.fixture
def ticks(served: StoreServer, tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as store:
        prepare(served.engine)
        yield store


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


def ask(minute: float, data_dir: Path, instance: DagsterInstance) -> RunRequest | str:
    """What the schedule asks for at the tick, or why it asks for nothing."""
    context = build_schedule_context(
        instance,
        scheduled_execution_time=at(minute).replace(tzinfo=UTC),
        resources={"store": StoreResource(data_dir=str(data_dir))},
    )
    answer = running_hour(context)
    assert isinstance(answer, RunRequest | SkipReason)
    return answer.skip_message if isinstance(answer, SkipReason) else answer


def compute_bars(store: Store, hour: datetime) -> None:
    for layer in (quotes.LAYER, parents.LAYER, bars.LAYER):
        layer.compute(store, hour, hour + HOUR)


def test_a_minute_without_bars_asks_for_its_hour_once(ticks: Store, tmp_path: Path, instance: DagsterInstance) -> None:
    plant_trades(ticks, [at(minute) for minute in (1, 2.5, 4.9)])
    request = ask(5, tmp_path, instance)
    assert isinstance(request, RunRequest)
    assert request.partition_key == partition(START)
    assert IN_ORDER.items() <= request.tags.items()
    compute_bars(ticks, START)
    assert ask(10, tmp_path, instance) == (
        "No tick is newer than the last minute computed, which ends at 2025-06-03 08:05 UTC."
    )
    plant_trades(ticks, [at(7)], first_id=4)
    assert isinstance(ask(10, tmp_path, instance), RunRequest)


def test_at_the_full_hour_it_is_the_hour_that_ended(ticks: Store, tmp_path: Path, instance: DagsterInstance) -> None:
    plant_trades(ticks, [at(58)])
    request = ask(60, tmp_path, instance)
    assert isinstance(request, RunRequest)
    assert request.partition_key == partition(START)
    assert "No tick" in ask(65, tmp_path, instance)


def test_a_market_whose_clock_stands_elsewhere_is_left_to_the_sensor(
    ticks: Store, tmp_path: Path, instance: DagsterInstance
) -> None:
    plant_trades(ticks, [at(minute) for minute in (-180, -61, -1)])
    assert "No tick" in ask(5, tmp_path, instance)


def test_a_refresh_that_has_not_ended_is_waited_for(ticks: Store, tmp_path: Path, instance: DagsterInstance) -> None:
    plant_trades(ticks, [at(1)])
    request = ask(5, tmp_path, instance)
    assert isinstance(request, RunRequest)
    run = instance.add_run(DagsterRun(hour_so_far.name, tags=request.tags, status=DagsterRunStatus.STARTED))
    assert ask(10, tmp_path, instance) == "The last refresh of the running hour has not ended."
    instance.delete_run(run.run_id)
    assert isinstance(ask(10, tmp_path, instance), RunRequest)


def test_without_a_running_store_or_ticks_it_says_so(
    tmp_path_factory: pytest.TempPathFactory, ticks: Store, tmp_path: Path, instance: DagsterInstance
) -> None:
    assert "orderflow-stream run" in str(ask(5, tmp_path_factory.mktemp("nothing"), instance))
    assert "No tick" in str(ask(5, tmp_path, instance))
