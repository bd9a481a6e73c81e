"""Which midnights a window computes estimates for that are made once a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from orderflow_assets.bars.series import ARRIVAL, DAY, HOUR, MINUTE, at, midnights, midnights_due
from orderflow_assets.layers import LAYERS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Column, Table

MIDNIGHT = datetime(2025, 3, 10)  # noqa: DTZ001
ESTIMATES = Table(
    "bars",
    "estimates",
    (
        Column("valid_from", "TIMESTAMP", "midnight", "UTC", nullable=False),
        Column("value", "DOUBLE", "what was estimated"),
    ),
    ("valid_from",),
    "valid_from",
    "Something estimated once a day.",
)


def it_is(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return moment.replace(tzinfo=tz)  # type: ignore[arg-type]

    monkeypatch.setattr("orderflow_assets.bars.series.datetime", Clock)


def estimate(store: Store, start: datetime, end: datetime, value: float) -> list[datetime]:
    """Compute as a layer does; returns the midnights that were computed."""
    due = midnights_due(store, ESTIMATES, start, end)
    for day in due:
        row = {"valid_from": day, "value": value}
        store.write(ESTIMATES, pa.Table.from_pylist([row], ESTIMATES.arrow_schema), at(day))
    return due


def values(store: Store) -> dict[datetime, float]:
    rows = store.query("SELECT valid_from, value FROM bars.estimates").to_pylist()
    return {row["valid_from"]: row["value"] for row in rows}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with connect(tmp_path, scope="write") as opened:
        opened.ensure(ESTIMATES)
        yield opened


def test_midnights_of_a_window() -> None:
    assert midnights(MIDNIGHT, MIDNIGHT + MINUTE) == [MIDNIGHT]
    assert midnights(MIDNIGHT + MINUTE, MIDNIGHT + DAY) == []
    assert midnights(MIDNIGHT - MINUTE, MIDNIGHT + DAY + MINUTE) == [MIDNIGHT, MIDNIGHT + DAY]
    assert midnights(MIDNIGHT, MIDNIGHT) == []


def test_a_running_hour_is_estimated_once_and_again_when_it_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = MIDNIGHT, MIDNIGHT + HOUR
    computed = []
    for pass_, after in enumerate((MINUTE / 2, 5 * MINUTE, 10 * MINUTE, 59 * MINUTE, HOUR + ARRIVAL, 3 * HOUR)):
        it_is(MIDNIGHT + after, monkeypatch)
        if estimate(store, *hour, pass_):
            computed.append(pass_)
    assert computed == [1, 4, 5]
    assert values(store) == {MIDNIGHT: 5}


def test_of_a_longer_window_only_the_midnight_of_the_running_hour_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = MIDNIGHT - 2 * DAY, MIDNIGHT + DAY
    days = [MIDNIGHT - 2 * DAY, MIDNIGHT - DAY, MIDNIGHT]
    it_is(MIDNIGHT + 20 * MINUTE, monkeypatch)
    assert estimate(store, *week, 1) == days
    assert estimate(store, *week, 2) == days[:-1]
    assert values(store) == dict(zip(days, (2, 2, 1), strict=True))
    it_is(MIDNIGHT + 2 * HOUR, monkeypatch)
    assert estimate(store, *week, 3) == days


def test_no_rows_are_no_estimate_and_an_hour_without_midnight_has_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(MIDNIGHT + 20 * MINUTE, monkeypatch)
    assert midnights_due(store, ESTIMATES, MIDNIGHT, MIDNIGHT + HOUR) == [MIDNIGHT]
    assert midnights_due(store, ESTIMATES, MIDNIGHT, MIDNIGHT + HOUR) == [MIDNIGHT]
    it_is(MIDNIGHT + 80 * MINUTE, monkeypatch)
    assert midnights_due(store, ESTIMATES, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR) == []


def test_every_layer_of_days_asks_which_midnights_are_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the running hour's midnight stays; when the hour is over it is computed away, as nothing is stored."""
    daily = [layer for layer in LAYERS if layer.every == timedelta(days=1)]
    assert len(daily) >= 6
    hour = MIDNIGHT, MIDNIGHT + HOUR
    with connect(tmp_path, scope="write") as opened:
        for layer in daily:
            it_is(MIDNIGHT + 20 * MINUTE, monkeypatch)
            assert layer.compute(opened, *hour) == 0
            opened.write(layer.table, _a_row(layer.table), at(MIDNIGHT))
            layer.compute(opened, *hour)
            assert _count(opened, layer.table) == 1, layer.table.qualified
            it_is(MIDNIGHT + 2 * HOUR, monkeypatch)
            layer.compute(opened, *hour)
            assert _count(opened, layer.table) == 0, layer.table.qualified


def _a_row(table: Table) -> pa.Table:
    sample = {"VARCHAR": "x", "JSON": "{}", "DOUBLE": 1.0, "BIGINT": 1, "INTEGER": 1}
    row = {column.name: sample.get(column.type, MIDNIGHT) for column in table.columns}
    return pa.Table.from_pylist([row], table.arrow_schema)


def _count(store: Store, table: Table) -> int:
    count: int = store.query(f"SELECT count(*) AS n FROM {table.qualified}")["n"][0].as_py()
    return count
