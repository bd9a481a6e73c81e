"""A late change of ticks reaches exactly the hours that look back on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from dagster import AssetMaterialization, DagsterInstance, SensorResult, build_sensor_context

from orderflow_assets.defs.raw import late as sensors
from orderflow_assets.defs.raw.sensors import LATE
from orderflow_assets.late import HOUR, Agenda, Task, reaches, stretches, tasks
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import asset_key
from tests.assets.planted import partition, table

START = datetime.fromisoformat("2025-06-01T00:00")


def layer(name: str, inputs: tuple[str, ...], lookback: timedelta) -> Layer:
    return Layer(table("bars", name), lambda store, start, end: 0, inputs, lookback, "bars")


CHAIN = (
    layer("here", ("main.trades",), timedelta(0)),
    layer("day", ("bars.here",), timedelta(hours=24)),
    layer("edge", ("main.prices",), timedelta(seconds=10)),
    layer("week", ("bars.day", "bars.here"), timedelta(days=7)),
)


def hours(first: int, last: int) -> list[datetime]:
    return [START + number * HOUR for number in range(first, last + 1)]


def test_reach_adds_up_along_the_longest_way() -> None:
    assert reaches(CHAIN) == {
        "bars.here": timedelta(0),
        "bars.day": timedelta(hours=24),
        "bars.edge": timedelta(seconds=10),
        "bars.week": timedelta(days=8),
    }


def test_exactly_the_hours_that_look_back_are_computed_again() -> None:
    stored = {one.table.qualified: hours(0, 40) for one in CHAIN}
    found = tasks(CHAIN, {START + 3 * HOUR}, stored, most_hours=24)
    assert found == [
        Task(("bars.edge",), *hours(4, 4) * 2),
        Task(("bars.day",), START + 4 * HOUR, START + 27 * HOUR),
        Task(("bars.week",), START + 4 * HOUR, START + 27 * HOUR),
        Task(("bars.week",), START + 28 * HOUR, START + 40 * HOUR),
    ]


def test_tables_that_reach_alike_share_a_run_and_missing_hours_stay_missing() -> None:
    stored = {one.table.qualified: [*hours(0, 5), *hours(8, 8)] for one in CHAIN}
    found = tasks(CHAIN, {START + 5 * HOUR, START + 7 * HOUR}, stored, most_hours=24)
    assert found == [Task(("bars.day", "bars.edge", "bars.week"), *hours(8, 8) * 2)]


def test_nothing_later_is_stored() -> None:
    assert tasks(CHAIN, {START}, {"bars.day": [START]}, 24) == []


def test_stretches_are_cut() -> None:
    assert [len(part) for part in stretches([*hours(0, 4), *hours(9, 9)], 3)] == [3, 2, 1]


def test_the_agenda_survives_its_cursor() -> None:
    agenda = Agenda(7, 1.5, {START: 6}, (Task(("bars.day",), START, START),), "tag")
    assert Agenda.from_json(agenda.to_json()) == agenda
    assert Agenda.from_json(None) == Agenda()


class Desk:
    def __init__(self, instance: DagsterInstance) -> None:
        self.instance, self.cursor = instance, None

    def tick(self) -> SensorResult:
        result = sensors.late_corrections(build_sensor_context(self.instance, cursor=self.cursor))
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        return result

    def report(self, key: str, hour: datetime, **metadata: object) -> None:
        event = AssetMaterialization(asset_key(key), partition=partition(hour), metadata=metadata)
        self.instance.report_runless_asset_event(event)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with DagsterInstance.ephemeral() as instance:
        yield Desk(instance)


def test_the_sensor_waits_for_the_changed_hour_and_then_asks_for_the_later_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "REST_SECONDS", 0.0)
    names = [one.table.qualified for one in LAYERS]
    for hour in hours(0, 2):
        desk.report("main.trades", hour)
        for name in names:
            desk.report(name, hour)
    assert desk.tick().skip_reason.skip_message == "No late changes."

    desk.report("main.trades", START, **{LATE: True})
    assert desk.tick().skip_reason.skip_message == f"Waits for the changed hours of {names[0]}."
    for name in names:
        desk.report(name, START)
    asked: list[tuple[str, str, str]] = []
    while requests := desk.tick().run_requests:
        (request,) = requests
        first, last = (request.tags[f"dagster/asset_partition_range_{edge}"] for edge in ("start", "end"))
        asked += [(key.to_user_string().replace("/", "."), first, last) for key in request.asset_selection]
    reach = reaches(LAYERS)
    expected = {
        (name, partition(START + HOUR), partition(START + (2 if reach[name] > HOUR else 1) * HOUR))
        for name in names
        if reach[name]
    }
    assert set(asked) == expected
    assert len(asked) == len(expected)
    order = [name for name, _, _ in asked]
    for one in LAYERS:
        before = [name for name in one.inputs if name in order]
        if one.table.qualified in order:
            assert all(order.index(name) < order.index(one.table.qualified) for name in before)


def test_late_hours_that_keep_coming_are_waited_for(desk: Desk) -> None:
    desk.report("main.trades", START, **{LATE: True})
    assert desk.tick().skip_reason.skip_message == "Late hours keep coming."
