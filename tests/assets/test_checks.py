"""Checks from the declarations, against planted defects in a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from orderflow_assets import quality
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.features.catalog import GROUPS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.tables import Table
from tests.assets.planted import (
    HOUR,
    LOWER,
    UPPER,
    Faults,
    minutes,
    partition,
    plant_trades,
    planted_defs,
    planted_layers,
    table,
)

START = datetime.fromisoformat("2025-06-03T08:00")
PLAIN = table("bars", "lower")
IDENTITY = {"symbol": "BTCUSDT", "exchange": "binance", "market_type": "futures"}


def put(store: Store, target: Table, rows: list[dict]) -> None:
    store.write(target, pa.Table.from_pylist(rows, schema=target.arrow_schema))


def row(minute: int, value: float | None = 1.0, **other: object) -> dict:
    opening = START + timedelta(minutes=minute)
    return {**IDENTITY, "open_time": opening, "bar_ts": opening + timedelta(minutes=1), "value": value, **other}


def verdicts(store: Store, target: Table, start: datetime = START) -> dict[str, quality.Verdict]:
    hour = quality.measure(store, target, start, start + HOUR).get(start, quality.Hour())
    return {
        verdict.check: verdict for verdict in quality.judge(target, hour, quality.stored_differences(store, target))
    }


def failed(store: Store, target: Table) -> set[str]:
    return {name for name, verdict in verdicts(store, target).items() if not verdict.passed}


def test_sound_rows_pass_everything(store: Store) -> None:
    put(store, PLAIN, [row(minute) for minute in range(60)])
    found = verdicts(store, PLAIN)
    assert set(found) == {"columns", "unique_key", "monotone", "null_share", "every_minute"}
    assert all(verdict.passed for verdict in found.values())
    assert found["every_minute"].text == "1 series in each of 60 minutes"


def test_a_repeated_key_fails(store: Store) -> None:
    put(store, PLAIN, [row(0), row(1), row(1, 2.0)])
    assert failed(store, PLAIN) == {"unique_key"}
    assert verdicts(store, PLAIN)["unique_key"].figures == {"rows": 3, "duplicates": 1}


@pytest.mark.parametrize("change", [{"open_time": timedelta(minutes=-1)}, {"bar_ts": timedelta(minutes=-1)}])
def test_a_bar_that_overlaps_the_one_before_or_ends_before_it_begins_fails(
    store: Store, change: dict[str, timedelta]
) -> None:
    wrong = row(2, symbol="ETHUSDT")
    ((name, step),) = change.items()
    put(
        store,
        PLAIN,
        [*(row(minute) for minute in range(4)), row(1, symbol="ETHUSDT"), wrong | {name: wrong[name] + step}],
    )
    assert "monotone" in failed(store, PLAIN)
    assert verdicts(store, PLAIN)["monotone"].figures == {"overlapping": 1}


def test_a_venue_whose_price_stands_apart_is_named(store: Store) -> None:
    def bar(exchange: str, minute: int, mid: float) -> dict:
        counts = {"quote_count": 1, "quoted_s": 60.0}
        return row(minute, exchange=exchange, mid_close=mid) | counts

    mids = {"binance": 100.0, "okx": 100.1, "bybit": 100.2}
    rows = [bar(exchange, minute, mid) for exchange, mid in mids.items() for minute in range(3)]
    put(store, BARS_1M, [*rows, *(bar("kucoin", minute, 100.0 + minute) for minute in range(3))])
    verdict = verdicts(store, BARS_1M)["venues_agree"]
    assert not verdict.passed
    assert verdict.text == "BTCUSDT|kucoin|futures in 1 minutes"


def test_a_hole_names_the_series(store: Store) -> None:
    whole = [row(minute) for minute in range(30)]
    holed = [row(minute, symbol="ETHUSDT") for minute in range(30) if minute not in (4, 5)]
    put(store, PLAIN, whole + holed)
    assert failed(store, PLAIN) == {"every_minute"}
    assert verdicts(store, PLAIN)["every_minute"].figures["short"] == {"ETHUSDT|binance|futures": 28}


def test_an_hour_without_rows_is_said_to_have_none(store: Store) -> None:
    store.ensure(PLAIN)
    assert failed(store, PLAIN) == {"every_minute"}
    assert verdicts(store, PLAIN)["every_minute"].text == "no rows"


def test_a_column_without_any_value_is_named(store: Store) -> None:
    put(store, PLAIN, [row(minute, None) for minute in range(5)])
    assert failed(store, PLAIN) == {"null_share"}
    assert verdicts(store, PLAIN)["null_share"].figures == {"null_share": 1.0, "empty_columns": ["value"]}


def test_stored_columns_that_are_not_declared_so_are_named(tmp_path: Path) -> None:
    engine = Engine(database_path(tmp_path))
    with engine.transaction() as cursor:
        cursor.execute("CREATE SCHEMA bars")
        cursor.execute(
            "CREATE TABLE bars.lower (symbol VARCHAR, exchange VARCHAR, market_type VARCHAR, open_time TIMESTAMP, "
            "bar_ts TIMESTAMP, value INTEGER, more DOUBLE)"
        )
    engine.close()
    with connect(tmp_path) as store:
        assert failed(store, PLAIN) == {"columns", "every_minute"}
        assert verdicts(store, PLAIN)["columns"].text == (
            "value: declared DOUBLE, stored INTEGER; more: declared not at all, stored DOUBLE"
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9])
def test_a_feature_outside_its_declared_range_is_named(store: Store, value: float) -> None:
    group = GROUPS["prices"]
    bounded = next(item for item in group.features if item.dtype == "float" and item.range.low >= 0)
    put(store, group.table, [{**_without(row(0), "value"), "n_obs": 1, bounded.name: value}])
    assert "ranges" in failed(store, group.table)
    assert verdicts(store, group.table)["ranges"].figures["broken"] == {bounded.name: 1}


def test_features_at_the_edge_of_their_range_pass(store: Store) -> None:
    group = GROUPS["prices"]
    edges = {
        item.name: item.range.high
        for item in group.features
        if item.dtype == "float" and not item.range.high_open and item.range.high < float("inf")
    }
    assert edges
    put(store, group.table, [{**_without(row(0), "value"), "n_obs": 1, **edges}])
    assert "ranges" not in failed(store, group.table)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"low": 101.0}, "low is the lowest"),
        ({"high": 99.5}, "high is the highest"),
        ({"volume": -1.0}, "amounts are not negative"),
        ({"taker_buy_volume": 3.0}, "takers buy at most all"),
        ({"bid_price": 100.2, "ask_price": 100.2}, "the bid is below the ask"),
        ({"low": -1.0}, "prices are positive"),
    ],
)
def test_a_bar_that_cannot_be_fails_the_rule_it_breaks(store: Store, wrong: dict, rule: str) -> None:
    bar = {
        **_without(row(0), "value"),
        "open": 100.0,
        "high": 101.0,
        "low": 99.0,
        "close": 100.5,
        "volume": 2.0,
        "quote_volume": 200.0,
        "taker_buy_volume": 1.0,
        "taker_buy_quote": 100.0,
        "trade_count": 4,
        "quote_count": 1,
        "quoted_s": 60.0,
        "bid_price": 100.0,
        "ask_price": 100.1,
    }
    put(store, BARS_1M, [bar])
    assert "ranges" not in failed(store, BARS_1M)
    put(store, BARS_1M, [bar | wrong | _at(1)])
    assert rule in verdicts(store, BARS_1M)["ranges"].figures["broken"]


def test_ticks_need_not_come_every_minute() -> None:
    assert "every_minute" not in quality.checks(PARENT_TRADES)


def _at(minute: int) -> dict:
    return _without(row(minute), "value")


def _without(values: dict, name: str) -> dict:
    return {key: value for key, value in values.items() if key != name}


class TestInRuns:
    """The same checks as Dagster runs them."""

    @pytest.fixture
    def instance(self) -> Iterator[DagsterInstance]:
        with DagsterInstance.ephemeral() as instance:
            yield instance

    def run(self, faults: Faults, data_dir: Path, instance: DagsterInstance, hours: int) -> ExecuteInProcessResult:
        job = planted_defs(faults, data_dir).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=instance,
            asset_selection=[LOWER, UPPER],
            tags={
                "dagster/asset_partition_range_start": partition(START),
                "dagster/asset_partition_range_end": partition(START + (hours - 1) * HOUR),
            },
            raise_on_error=False,
        )

    def test_each_hour_of_a_range_has_its_own_verdicts(self, tmp_path: Path, instance: DagsterInstance) -> None:
        with connect(tmp_path, scope="write") as store:
            plant_trades(store, minutes(START, 3))
        result = self.run(Faults(), tmp_path, instance, 3)
        assert result.success
        evaluations = result.get_asset_check_evaluations()
        hours = {partition(START + index * HOUR) for index in range(3)}
        for key in (LOWER, UPPER):
            for layer in planted_layers(Faults()):
                for name in quality.checks(layer.table):
                    mine = [item for item in evaluations if (item.asset_key, item.check_name) == (key, name)]
                    assert {item.partition for item in mine} == hours
                    assert all(item.target_materialization_data for item in mine)

    def test_a_bad_hour_stops_what_follows_and_names_itself(self, tmp_path: Path, instance: DagsterInstance) -> None:
        with connect(tmp_path, scope="write") as store:
            plant_trades(store, minutes(START, 3))
        result = self.run(Faults(repeated={START + HOUR}), tmp_path, instance, 3)
        assert not result.success
        (broken,) = [item for item in result.get_asset_check_evaluations() if not item.passed]
        assert (broken.asset_key, broken.check_name, broken.partition) == (LOWER, "unique_key", partition(START + HOUR))
        assert instance.get_materialized_partitions(LOWER) == {partition(START + index * HOUR) for index in range(3)}
        assert instance.get_materialized_partitions(UPPER) == set()
