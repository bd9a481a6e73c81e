"""The sensor that reports hours of ticks, on a served store and a real instance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from dagster import AssetMaterialization, DagsterInstance, SensorResult, build_sensor_context

from orderflow_assets.defs.raw.sensors import raw_watermark
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import IN_ORDER
from orderflow_assets.resources import StoreResource
from orderflow_assets.watermark import MAX_HOURS, Due, Progress, advance, describe, settle, stored_streams
from orderflow_streaming.archive.continuous import prepare
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, Window, connect
from orderflow_streaming.store.server import StoreServer
from tests.assets.planted import HOUR, minutes, partition
from tests.assets.planted import plant_trades as plant_trades_in

NOW = datetime.now(UTC).replace(tzinfo=None)
RUNNING = NOW.replace(minute=0, second=0, microsecond=0)
OLD = datetime.fromisoformat("2025-06-01")
BEFORE_ALL = datetime.fromisoformat("2024-12-31T22:00")
STREAM_COUNT = len(STREAMS)
plant_trades = partial(plant_trades_in, stream=STREAMS["trades"].hot)


class Desk:
    """Calls the sensor as the daemon does, keeps its cursor and stores its events."""

    def __init__(self, data_dir: Path, instance: DagsterInstance) -> None:
        self.instance, self.cursor = instance, None
        self.store = StoreResource(data_dir=str(data_dir))

    def tick(self) -> SensorResult:
        context = build_sensor_context(self.instance, cursor=self.cursor, resources={"store": self.store})
        result = raw_watermark(context)
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor or self.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return result


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def ticks(served: StoreServer, tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as store:
        prepare(served.engine)
        yield store


@pytest.fixture
def desk(tmp_path: Path, instance: DagsterInstance) -> Desk:
    return Desk(tmp_path, instance)


def hours_of(result: SensorResult) -> list[str]:
    return list(dict.fromkeys(event.partition for event in result.asset_events))


def trades_in(result: SensorResult) -> dict[str, AssetMaterialization]:
    key = asset_key("main.trades")
    return {event.partition: event for event in result.asset_events if event.asset_key == key}


def test_without_a_running_store_it_says_so(desk: Desk) -> None:
    result = desk.tick()
    assert "orderflow-stream run" in result.skip_reason.skip_message
    assert result.cursor is None


def test_an_empty_store_is_no_error(ticks: Store, desk: Desk) -> None:
    assert "no ticks yet" in desk.tick().skip_reason.skip_message


def test_hours_close_by_the_clock_of_the_market(ticks: Store, desk: Desk) -> None:
    plant_trades(ticks, minutes(RUNNING - 5 * HOUR, 3.5))
    result = desk.tick()
    closed, running = [RUNNING - 5 * HOUR, RUNNING - 4 * HOUR, RUNNING - 3 * HOUR], RUNNING - 2 * HOUR
    assert hours_of(result) == [partition(hour) for hour in (*closed, running)]
    assert len(result.asset_events) == 4 * STREAM_COUNT
    metadata = {hour: event.metadata for hour, event in trades_in(result).items()}
    assert [metadata[partition(hour)]["closed"].value for hour in closed] == [True] * 3
    assert not metadata[partition(running)]["closed"].value
    first = metadata[partition(closed[0])]
    assert first["dagster/partition_row_count"].value == 60
    assert first["series"].value == 1
    assert first["first_event"].value == (closed[0] + timedelta(seconds=30)).replace(tzinfo=UTC).timestamp()
    assert first["mean_lag_s"].value == pytest.approx(0.08)
    assert "No ticks since" not in desk.tick().skip_reason.skip_message


def test_a_stream_without_rows_is_reported_empty(ticks: Store, desk: Desk) -> None:
    plant_trades(ticks, minutes(RUNNING - 5 * HOUR, 1.1))
    result = desk.tick()
    empty = [event for event in result.asset_events if event.asset_key == asset_key("main.liquidations")]
    assert [event.metadata["dagster/partition_row_count"].value for event in empty] == [0, 0]
    assert "mean_lag_s" not in empty[0].metadata


def test_an_hour_without_any_row_is_not_reported(ticks: Store, desk: Desk) -> None:
    last = plant_trades(ticks, minutes(RUNNING - 6 * HOUR, 1))
    plant_trades(ticks, minutes(RUNNING - 3 * HOUR, 1.1), first_id=last + 1)
    assert hours_of(desk.tick()) == [
        partition(hour) for hour in (RUNNING - 6 * HOUR, RUNNING - 3 * HOUR, RUNNING - 2 * HOUR)
    ]


class Steps:
    """Steps of the watermark alone, at times of the test's choosing."""

    def __init__(self, store: Store) -> None:
        self.store, self.progress, self.ids = store, Progress(), 0

    def trade(self, *times: datetime) -> None:
        self.ids = plant_trades(self.store, times, first_id=self.ids + 1)

    def due(self, now: datetime) -> Due:
        progress, due = advance(self.store, stored_streams(self.store), self.progress, now)
        self.progress = settle(progress, due)
        return due


def test_the_running_hour_is_due_at_marks_and_once_more_when_it_ends(ticks: Store) -> None:
    hour, steps = RUNNING - 4 * HOUR, Steps(ticks)
    found = []
    for minute in (12, 13, 14.9, 15.1, 16, 59, 60.5, 61, 62.1, 63, 65.1):
        steps.trade(hour + timedelta(minutes=minute))
        due = steps.due(hour + timedelta(minutes=minute, seconds=1))
        found += [(minute, "closed", value) for value in due.closed]
        found += [(minute, "running", due.running)] if due.running else []
    following = hour + HOUR
    assert found == [
        (12, "running", hour),
        (15.1, "running", hour),
        (59, "running", hour),
        (60.5, "running", following),
        (62.1, "closed", hour),
        (65.1, "running", following),
    ]


def test_while_a_history_is_caught_up_with_only_ended_hours_are_due(ticks: Store) -> None:
    start, now, steps = RUNNING - 8 * HOUR, NOW, Steps(ticks)
    found = []
    for index in range(1, 9):
        steps.trade(start + index * timedelta(minutes=20))
        found.append(steps.due(now + index * timedelta(seconds=30)))
    assert [due.running for due in found] == [start, *[None] * 7]
    assert [hour for due in found for hour in due.closed] == [start, start + HOUR]
    standing = steps.due(now + timedelta(minutes=9))
    assert standing.running == start + 2 * HOUR


def test_late_rows_are_reported_once_when_no_more_come(ticks: Store, desk: Desk) -> None:
    start = RUNNING - 8 * HOUR
    last = plant_trades(ticks, minutes(start, 5))
    desk.tick()
    late = [start + HOUR + timedelta(minutes=7, seconds=index) for index in range(3)]
    last = plant_trades(ticks, late, first_id=last + 1)
    assert desk.tick().asset_events == []
    last = plant_trades(ticks, late, first_id=last + 1)
    assert desk.tick().asset_events == []
    result = desk.tick()
    (event,) = result.asset_events
    assert event.asset_key == asset_key("main.trades")
    assert event.partition == partition(start + HOUR)
    assert event.metadata["dagster/partition_row_count"].value == 66
    assert desk.tick().asset_events == []


def test_work_is_bounded_and_nothing_is_left_behind(ticks: Store, desk: Desk) -> None:
    start = RUNNING - 40 * HOUR
    plant_trades(ticks, [start + index * HOUR + timedelta(minutes=5) for index in range(40)])
    results = [desk.tick() for _ in range(3)]
    closed = [event for result in results for event in trades_in(result).values() if event.metadata["closed"].value]
    assert len(trades_in(results[0])) == MAX_HOURS + 1
    assert [event.partition for event in closed] == [partition(start + index * HOUR) for index in range(39)]
    assert results[2].asset_events == []


def test_hours_older_than_the_automation_looks_back_get_runs(ticks: Store, desk: Desk) -> None:
    last = plant_trades(ticks, minutes(OLD, 3))
    plant_trades(ticks, minutes(RUNNING - 2 * HOUR, 1.2), first_id=last + 1)
    (request,) = desk.tick().run_requests
    assert request.tags == {
        "dagster/asset_partition_range_start": partition(OLD),
        "dagster/asset_partition_range_end": partition(OLD + 2 * HOUR),
        **IN_ORDER,
    }


def test_hours_before_the_first_partition_are_left_out(ticks: Store, desk: Desk) -> None:
    last = plant_trades(ticks, minutes(BEFORE_ALL, 1))
    plant_trades(ticks, minutes(RUNNING - 2 * HOUR, 1.2), first_id=last + 1)
    result = desk.tick()
    assert hours_of(result) == [partition(RUNNING - 2 * HOUR), partition(RUNNING - HOUR)]
    assert result.run_requests == []


def test_a_new_database_is_read_from_its_start(ticks: Store, desk: Desk) -> None:
    plant_trades(ticks, minutes(RUNNING - 5 * HOUR, 2.1))
    desk.tick()
    stream = STREAMS["trades"].hot
    ticks.write(stream, stream.arrow_schema.empty_table(), Window(OLD, NOW + HOUR))
    plant_trades(ticks, minutes(RUNNING - 5 * HOUR, 1.1))
    assert desk.tick().asset_events == []
    assert trades_in(desk.tick())[partition(RUNNING - 5 * HOUR)].metadata["dagster/partition_row_count"].value == 60


def test_progress_survives_as_text(ticks: Store) -> None:
    plant_trades(ticks, minutes(RUNNING - 5 * HOUR, 2.1))
    progress, due = advance(ticks, stored_streams(ticks), Progress(), NOW)
    assert due.hours
    assert Progress.from_json(progress.to_json()) == progress
    settled = settle(progress, due)
    assert Progress.from_json(settled.to_json()) == settled
    assert list(settled.waiting) == [due.running]


def test_a_clock_ahead_of_ours_closes_nothing_early(ticks: Store) -> None:
    plant_trades(ticks, [NOW - timedelta(minutes=1), NOW + 3 * HOUR])
    progress, due = advance(ticks, stored_streams(ticks), Progress(), NOW)
    assert progress.watermark == NOW
    assert RUNNING not in due.closed


def test_nothing_due_asks_nothing(ticks: Store) -> None:
    assert describe(ticks, stored_streams(ticks), Due((), None).hours) == []
