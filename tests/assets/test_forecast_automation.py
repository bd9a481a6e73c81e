"""When forecasts compute themselves: with the hour's bars and features, and not because a model was retrained."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    Definitions,
    evaluate_automation_conditions,
)

from orderflow_assets.definitions import build_defs
from orderflow_assets.defs.forecasting.names import CHAMPIONS_KEY, FORECASTS_KEY
from orderflow_assets.metadata import asset_key
from orderflow_streaming.schema import STREAMS
from tests.assets.forecast_bars import BTC

NOW = datetime(2026, 3, 2, 12, 20, tzinfo=UTC)
HOUR = "2026-03-02-11:00"


class Ticks:
    def __init__(self, defs: Definitions, instance: DagsterInstance) -> None:
        self.defs, self.instance, self.now, self.cursor = defs, instance, NOW, None

    def requested(self) -> dict[AssetKey, set[str]]:
        self.now += timedelta(seconds=30)
        result = evaluate_automation_conditions(self.defs, self.instance, evaluation_time=self.now, cursor=self.cursor)
        self.cursor = result.cursor
        keys = self.defs.resolve_asset_graph().materializable_asset_keys
        return {key: found for key in keys if (found := result.get_requested_partitions(key))}

    def ticks_arrive(self) -> None:
        """Say that the hour of every stream is there, or has changed."""
        for stream in STREAMS.values():
            key = asset_key(stream.table.qualified)
            self.instance.report_runless_asset_event(AssetMaterialization(key, partition=HOUR))


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("series", [BTC.key])
        yield Ticks(build_defs(), instance)


def test_forecasts_are_requested_with_the_bars_and_features_of_their_hour(ticks: Ticks) -> None:
    ticks.requested()
    ticks.ticks_arrive()
    requested = ticks.requested()
    assert requested[FORECASTS_KEY] == {HOUR}
    inputs = ticks.defs.resolve_asset_graph().get(FORECASTS_KEY).parent_keys - {CHAMPIONS_KEY}
    assert {key.path[0] for key in inputs} == {"bars", "features"}
    assert {key for key, hours in requested.items() if hours == {HOUR}} >= inputs


def test_a_retrained_model_requests_no_forecast(ticks: Ticks) -> None:
    ticks.requested()
    ticks.ticks_arrive()
    ticks.requested()
    ticks.instance.report_runless_asset_event(AssetMaterialization(CHAMPIONS_KEY, partition=BTC.key))
    assert FORECASTS_KEY not in ticks.requested()
    ticks.ticks_arrive()
    assert ticks.requested()[FORECASTS_KEY] == {HOUR}
