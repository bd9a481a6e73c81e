"""What the automation conditions request at fixed times, on a real instance and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    DagsterInstance,
    Definitions,
    PartitionKeyRange,
    asset,
    evaluate_automation_conditions,
)

from orderflow_assets.automation import LOOKBACK, on_new_data_whatever_the_model
from orderflow_assets.partitions import hourly
from orderflow_streaming.store import connect
from tests.assets.planted import HOUR, LOWER, TRADES, UPPER, Faults, minutes, partition, plant_trades, planted_defs

NOW = datetime(2025, 6, 3, 12, 20, tzinfo=UTC)
LAST_HOUR = datetime(2025, 6, 3, 11, tzinfo=UTC)


def both(hours: set[str]) -> dict[AssetKey, set[str]]:
    return {LOWER: hours, UPPER: hours}


class Clockwork:
    """Ticks of the automation, and runs of what they request, one run per stretch of hours as a backfill makes them."""

    def __init__(self, defs: Definitions, instance: DagsterInstance) -> None:
        self.defs, self.instance = defs, instance
        self.now, self.cursor = NOW, None
        self.first = self.tick()

    def tick(self) -> dict[AssetKey, set[str]]:
        self.now += timedelta(seconds=30)
        result = evaluate_automation_conditions(self.defs, self.instance, evaluation_time=self.now, cursor=self.cursor)
        self.cursor = result.cursor
        return {
            key: found
            for key in self.defs.resolve_asset_graph().materializable_asset_keys
            if (found := result.get_requested_partitions(key))
        }

    def report(self, *hours: datetime) -> None:
        for hour in hours:
            self.instance.report_runless_asset_event(AssetMaterialization(TRADES, partition=partition(hour)))

    def run(self, requested: dict[AssetKey, set[str]]) -> list[bool]:
        """Execute the requests; returns the success of each run."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        outcomes = []
        for keys, stretch in _stretches(requested):
            result = job.execute_in_process(
                instance=self.instance,
                asset_selection=keys,
                tags={
                    "dagster/asset_partition_range_start": stretch.start,
                    "dagster/asset_partition_range_end": stretch.end,
                },
                raise_on_error=False,
            )
            outcomes.append(result.success)
        return outcomes


def _stretches(requested: dict[AssetKey, set[str]]) -> Iterator[tuple[list[AssetKey], PartitionKeyRange]]:
    by_hour = {
        hour: frozenset(key for key, hours in requested.items() if hour in hours)
        for hour in sorted(set().union(*requested.values()))
    }
    start = previous = None
    for hour in [*by_hour, None]:
        joined = (
            hour
            and previous
            and by_hour[hour] == by_hour[previous]
            and hourly.start_time_for_partition_key(hour) - hourly.start_time_for_partition_key(previous) == HOUR
        )
        if previous and not joined:
            yield list(by_hour[previous]), PartitionKeyRange(start, previous)
            start = hour
        start, previous = start or hour, hour


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def clockwork(faults: Faults, instance: DagsterInstance, tmp_path: Path) -> Clockwork:
    with connect(tmp_path, scope="write") as store:
        plant_trades(store, minutes(LAST_HOUR - 5 * HOUR, 6))
    return Clockwork(planted_defs(faults, tmp_path), instance)


def test_a_closed_hour_requests_all_layers_in_one_tick(clockwork: Clockwork) -> None:
    clockwork.report(LAST_HOUR)
    requested = clockwork.tick()
    assert requested == {LOWER: {partition(LAST_HOUR)}, UPPER: {partition(LAST_HOUR)}}
    assert clockwork.run(requested) == [True]
    assert clockwork.tick() == {}


def test_a_history_is_requested_at_once(clockwork: Clockwork) -> None:
    hours = [LAST_HOUR - index * HOUR for index in range(6)]
    clockwork.report(*hours)
    assert clockwork.tick() == both({partition(hour) for hour in hours})


def test_hours_reported_before_the_first_look_are_requested(
    instance: DagsterInstance, faults: Faults, tmp_path: Path
) -> None:
    for hour in (LAST_HOUR - HOUR, LAST_HOUR, LAST_HOUR - LOOKBACK - HOUR):
        instance.report_runless_asset_event(AssetMaterialization(TRADES, partition=partition(hour)))
    clockwork = Clockwork(planted_defs(faults, tmp_path), instance)
    assert clockwork.first == both({partition(LAST_HOUR - HOUR), partition(LAST_HOUR)})
    assert clockwork.tick() == {}


def test_the_running_hour_is_left_to_its_schedule_until_it_is_over(clockwork: Clockwork) -> None:
    running = LAST_HOUR + HOUR
    clockwork.report(running)
    assert clockwork.tick() == {}
    clockwork.run(both({partition(running)}))
    assert clockwork.tick() == {}
    clockwork.now += HOUR
    assert clockwork.tick() == {}
    clockwork.report(running)
    requested = clockwork.tick()
    assert requested == both({partition(running)})
    clockwork.run(requested)
    assert clockwork.tick() == {}


def test_late_data_recomputes_exactly_its_hour(clockwork: Clockwork) -> None:
    hours = [LAST_HOUR - index * HOUR for index in range(6)]
    clockwork.report(*hours)
    clockwork.run(clockwork.tick())
    late = hours[4]
    for _ in range(2):
        clockwork.report(late)
        requested = clockwork.tick()
        assert requested == both({partition(late)})
        clockwork.run(requested)
    assert clockwork.tick() == {}


def test_the_lookback_ends_where_it_says(clockwork: Clockwork) -> None:
    running = LAST_HOUR + HOUR
    inside, outside = running - LOOKBACK + HOUR, running - LOOKBACK - HOUR
    clockwork.report(inside, outside)
    assert clockwork.tick() == both({partition(inside)})


def test_a_failing_blocking_check_holds_its_hour_and_lets_the_others_through(
    clockwork: Clockwork, faults: Faults
) -> None:
    hours = [LAST_HOUR - index * HOUR for index in range(6)]
    faults.repeated.add(hours[2].replace(tzinfo=None))
    clockwork.report(*hours)
    assert clockwork.run(clockwork.tick()) == [False]
    second = clockwork.tick()
    assert second == {UPPER: {partition(hour) for hour in hours if hour != hours[2]}}
    assert all(clockwork.run(second))
    assert clockwork.tick() == {}
    faults.repeated.clear()
    clockwork.report(hours[2])
    third = clockwork.tick()
    assert third == both({partition(hours[2])})
    assert clockwork.run(third) == [True]
    assert clockwork.tick() == {}


def test_what_fails_for_good_is_tried_twice_and_then_waits_for_data(clockwork: Clockwork, faults: Faults) -> None:
    faults.upper_raises = True
    clockwork.report(LAST_HOUR)
    clockwork.run(clockwork.tick())
    assert clockwork.tick() == {UPPER: {partition(LAST_HOUR)}}
    clockwork.run({UPPER: {partition(LAST_HOUR)}})
    assert [clockwork.tick() for _ in range(4)] == [{}] * 4
    faults.upper_raises = False
    clockwork.report(LAST_HOUR)
    requested = clockwork.tick()
    assert requested == both({partition(LAST_HOUR)})
    assert clockwork.run(requested) == [True]


def test_a_retrained_model_does_not_rewrite_forecasts(instance: DagsterInstance) -> None:
    hours = AssetSpec("hours", partitions_def=hourly)

    @asset(group_name="models")
    def model() -> None: ...

    @asset(partitions_def=hourly, deps=[hours, model], automation_condition=on_new_data_whatever_the_model)
    def forecast() -> None: ...

    clockwork = Clockwork(Definitions(assets=[hours, model, forecast]), instance)
    instance.report_runless_asset_event(AssetMaterialization(hours.key, partition=partition(LAST_HOUR)))
    requested = clockwork.tick()
    assert requested == {forecast.key: {partition(LAST_HOUR)}}
    clockwork.run(requested)
    instance.report_runless_asset_event(AssetMaterialization(model.key))
    assert clockwork.tick() == {}
