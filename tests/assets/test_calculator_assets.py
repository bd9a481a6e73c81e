"""Calculators as Dagster assets: an hour's rows and signals, failures that stay where they are, and when they run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetKey, AssetMaterialization, AssetSpec, DagsterInstance, Definitions, ExecuteInProcessResult
from dagster import evaluate_automation_conditions as evaluate

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.calculator_assets import (
    LIMIT_VARIABLE,
    SYMBOLS_VARIABLE,
    calculator_asset,
    declarations_asset,
    default_limit_s,
    default_symbols,
)
from orderflow_assets.calculators.calculator import Calculator
from orderflow_assets.calculators.discovery import Found, built_in, discover
from orderflow_assets.calculators.tables import DECLARATIONS, RESULTS, SIGNALS
from orderflow_assets.definitions import build_defs
from orderflow_assets.partitions import daily, hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.markets import SYMBOLS, UnknownNameError
from orderflow_streaming.store import connect
from tests.assets.calculator_tape import END, MINUTE, bars

HOUR = (END - timedelta(hours=1)).strftime(hourly.fmt)

PLUGIN = '''
import threading
from typing import Annotated
from pydantic import Field
from orderflow_assets.calculators import CalculatorSignal, Result, calculator, scope

HELD = threading.Event()

@calculator(category="test", version="3", reads={"bars.bars_1m": "hours"})
def mean_close(store, symbol, exchange, end, *, hours: Annotated[int, Field(ge=1, le=9, description="back")] = 1):
    """Mean close."""
    if symbol == "ETHUSDT":
        raise KeyError("broken here")
    if symbol == "SOLUSDT":
        HELD.wait(60)
    where, values = scope(symbol, exchange)
    sql = f"""SELECT avg(close) FROM bars.bars_1m
        WHERE {where} AND bar_ts <= $end AND bar_ts > $end::TIMESTAMP - INTERVAL {hours} HOUR"""
    mean = store.query(sql, {**values, "end": end})[0][0].as_py()
    if mean is None:
        return Result.nothing(f"no rows of {symbol}")
    return Result({"mean": mean}, [CalculatorSignal("INFO", 0.5, "a mean", metadata={"n": 1})])
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Found:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "mean_close.py").write_text(PLUGIN)
    (folder / "broken.py").write_text("import no_such_package\n")
    return discover(folder)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two hours and a half of closes 1, 2, 3 …"""
    with connect(tmp_path, scope="write") as store:
        close = np.arange(1.0, 151)
        store.write(BARS_1M, bars("binance_futures", close=close, end=END + 30 * MINUTE))
    return tmp_path


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as opened:
        yield opened


def definitions(found: Found, data_dir: Path) -> Definitions:
    assets = [calculator_asset(found.calculators[name]) for name in sorted(found.plugins)]
    return Definitions([*assets, declarations_asset(found)], resources={"store": StoreResource(data_dir=str(data_dir))})


def materialize(
    defs: Definitions,
    instance: DagsterInstance,
    key: AssetKey,
    partition: str | None = None,
    config: dict[str, Any] | None = None,
    **more: Any,
) -> ExecuteInProcessResult:
    step = key.to_python_identifier()
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[key],
        partition_key=partition,
        run_config={"ops": {step: {"config": config}}} if config else None,
        **more,
    )


def stored(data_dir: Path, table: str) -> list[dict[str, Any]]:
    with connect(data_dir) as store:
        return store.query(f"SELECT * FROM {table} ORDER BY ALL").to_pylist()


MEAN_CLOSE = AssetKey(["calculators", "mean_close"])


def test_an_hour_is_computed_for_every_symbol_and_one_failure_stays_one(
    plugin: Found, data_dir: Path, instance: DagsterInstance
) -> None:
    defs = definitions(plugin, data_dir)
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
    config = {"symbols": symbols, "limit_s": 0.5, "parameters": {"hours": 2}}
    for _ in range(2):  # a second run replaces the rows of the first
        result = materialize(defs, instance, MEAN_CLOSE, HOUR, config)
    assert result.success
    rows = {row["symbol"]: row for row in stored(data_dir, "calculators.results")}
    assert list(rows) == symbols
    assert len(stored(data_dir, "calculators.results")) == 4
    assert json.loads(rows["BTCUSDT"]["data"]) == {"mean": (1 + 120) / 2}
    assert {row["as_of"] for row in rows.values()} == {END}
    assert {row["version"] for row in rows.values()} == {"3"}
    assert json.loads(rows["BTCUSDT"]["parameters"]) == {"hours": 2}
    assert rows["BTCUSDT"]["exchange"] == "all"
    assert json.loads(rows["ETHUSDT"]["errors"]) == ["KeyError: 'broken here'"]
    assert "past its limit of 0.5 s" in rows["SOLUSDT"]["errors"]
    assert json.loads(rows["XRPUSDT"]["errors"]) == ["no rows of XRPUSDT"]
    (signal,) = stored(data_dir, "calculators.signals")
    assert (signal["symbol"], signal["position"], signal["type"], signal["strength"]) == ("BTCUSDT", 1, "INFO", 0.5)
    assert signal["timestamp"] == END
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.metadata[f"{HOUR} ETHUSDT"].value == "KeyError: 'broken here'"
    assert check.severity.value == "WARN"
    assert check.metadata["failures"].value == 2
    _held(plugin).set()


def _held(found: Found) -> threading.Event:
    held: threading.Event = found.calculators["mean_close"].function.__globals__["HELD"]
    return held


def test_the_running_hour_is_computed_at_its_newest_minute(
    plugin: Found, data_dir: Path, instance: DagsterInstance
) -> None:
    defs = definitions(plugin, data_dir)
    running = END.strftime(hourly.fmt)
    config = {"symbols": ["BTCUSDT"]}
    assert materialize(defs, instance, MEAN_CLOSE, running, config).success
    assert materialize(defs, instance, MEAN_CLOSE, HOUR, config).success
    assert [row["as_of"] for row in stored(data_dir, "calculators.results")] == [END, END + 30 * MINUTE]
    later = (END + timedelta(hours=3)).strftime(hourly.fmt)
    assert materialize(defs, instance, MEAN_CLOSE, later, config).success
    assert len(stored(data_dir, "calculators.results")) == 2


def test_a_range_of_hours_is_one_run(plugin: Found, data_dir: Path, instance: DagsterInstance) -> None:
    defs = definitions(plugin, data_dir)
    first = (END - timedelta(hours=2)).strftime(hourly.fmt)
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": HOUR}
    result = materialize(defs, instance, MEAN_CLOSE, config={"symbols": ["BTCUSDT"]}, tags=tags)
    assert result.success
    assert instance.get_materialized_partitions(MEAN_CLOSE) == {first, HOUR}
    rows = [json.loads(row["data"])["mean"] for row in stored(data_dir, "calculators.results")]
    assert rows == [(1 + 60) / 2, (61 + 120) / 2]


def test_wrong_configuration_stops_with_what_is_allowed(
    plugin: Found, data_dir: Path, instance: DagsterInstance
) -> None:
    defs = definitions(plugin, data_dir)
    with pytest.raises(Exception, match="a whole number from 1 to 9"):
        materialize(defs, instance, MEAN_CLOSE, HOUR, {"parameters": {"hours": 10}})
    with pytest.raises(Exception, match="Did you mean 'BTCUSDT'"):
        materialize(defs, instance, MEAN_CLOSE, HOUR, {"symbols": ["BTCUSD"]})


def test_declarations_are_stored_with_the_reason_of_what_is_left_out(
    plugin: Found, data_dir: Path, instance: DagsterInstance
) -> None:
    key = AssetKey(["calculators", "declarations"])
    result = materialize(definitions(plugin, data_dir), instance, key)
    assert result.success
    rows = {row["name"]: row for row in stored(data_dir, DECLARATIONS.qualified)}
    assert rows.keys() == {*built_in().calculators, "mean_close", "broken.py"}
    assert rows["mean_close"]["plugin"] == "mean_close.py"
    assert json.loads(rows["mean_close"]["parameters"])[0]["allowed"] == "a whole number from 1 to 9"
    assert "no_such_package" in rows["broken.py"]["problem"]
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "no_such_package" in (check.description or "")
    assert materialize(definitions(built_in(), data_dir), instance, key).get_asset_check_evaluations()[0].passed


def test_every_built_in_calculator_is_an_asset_of_the_code_location() -> None:
    defs = build_defs()
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    for item in built_in().calculators.values():
        spec = specs[AssetKey(["calculators", item.name])]
        assert spec.partitions_def == (hourly if item.every == "hour" else daily)
        assert spec.description == item.description
        assert spec.automation_condition is not None
        assert {dep.asset_key for dep in spec.deps} <= specs.keys()
    assert {RESULTS.schema, SIGNALS.schema} == {"calculators"}


def test_symbols_and_limit_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SYMBOLS_VARIABLE, raising=False)
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert (default_symbols(), default_limit_s()) == (list(SYMBOLS), 60)
    monkeypatch.setenv(SYMBOLS_VARIABLE, "ethusdt, BTCUSDT")
    monkeypatch.setenv(LIMIT_VARIABLE, "5")
    assert (default_symbols(), default_limit_s()) == (["ETHUSDT", "BTCUSDT"], 5)
    monkeypatch.setenv(SYMBOLS_VARIABLE, "BTCUSD")
    with pytest.raises(UnknownNameError, match="BTCUSDT"):
        default_symbols()
    monkeypatch.setenv(LIMIT_VARIABLE, "-1")
    with pytest.raises(ValueError, match="seconds a symbol may take"):
        default_limit_s()


# -- when it runs ------------------------------------------------------------------------------------------------

NOON = datetime(2025, 6, 3, 12, 20, tzinfo=UTC)
BARS = AssetKey(["bars", "bars_1m"])
RESOURCES = {"store": StoreResource()}


class Ticks:
    """The automation at given times, with materializations in between."""

    def __init__(self, item: Calculator, instance: DagsterInstance) -> None:
        self.key = AssetKey(["calculators", item.name])
        bars_by_hour = AssetSpec(BARS, partitions_def=hourly)
        self.defs = Definitions([bars_by_hour, calculator_asset(item)], resources=RESOURCES)
        self.instance, self.cursor = instance, None

    def at(self, now: datetime) -> set[str]:
        result = evaluate(self.defs, self.instance, evaluation_time=now, cursor=self.cursor)
        self.cursor = result.cursor
        return set(result.get_requested_partitions(self.key))

    def materialized(self, key: AssetKey, partition: str) -> None:
        self.instance.report_runless_asset_event(AssetMaterialization(key, partition=partition))


def test_an_hour_runs_once_when_it_is_over_and_again_for_late_data(plugin: Found, instance: DagsterInstance) -> None:
    ticks = Ticks(plugin.calculators["mean_close"], instance)
    assert ticks.at(NOON) == set()
    running = "2025-06-03-12:00"
    for minute in (21, 26):
        ticks.materialized(BARS, running)
        assert ticks.at(NOON.replace(minute=minute)) == set()
    assert ticks.at(NOON.replace(hour=13, minute=0)) == set()
    ticks.materialized(BARS, running)
    assert ticks.at(NOON.replace(hour=13, minute=2)) == {running}
    assert ticks.at(NOON.replace(hour=13, minute=3)) == set()
    ticks.materialized(ticks.key, running)
    assert ticks.at(NOON.replace(hour=13, minute=4)) == set()
    ticks.materialized(BARS, running)
    assert ticks.at(NOON.replace(hour=15, minute=4)) == {running}


def test_a_day_runs_once_half_an_hour_after_it_ended(instance: DagsterInstance) -> None:
    ticks = Ticks(built_in().calculators["price_forecast"], instance)
    ticks.at(NOON)
    assert ticks.at(NOON + timedelta(hours=12)) == set()
    assert ticks.at(NOON + timedelta(hours=12, minutes=11)) == {"2025-06-03"}
    assert ticks.at(NOON + timedelta(hours=12, minutes=12)) == set()


def test_declarations_are_stored_at_a_reload_that_changes_them(plugin: Found, instance: DagsterInstance) -> None:
    key = AssetKey(["calculators", "declarations"])

    def requested(found: Found, cursor: Any, minute: int) -> tuple[bool, Any]:
        defs = Definitions([declarations_asset(found)], resources=RESOURCES)
        result = evaluate(defs, instance, evaluation_time=NOON.replace(minute=minute), cursor=cursor)
        return bool(result.get_num_requested(key)), result.cursor

    first, cursor = requested(built_in(), None, 21)
    assert first
    instance.report_runless_asset_event(AssetMaterialization(key))
    again, cursor = requested(built_in(), cursor, 22)
    assert not again
    changed, cursor = requested(plugin, cursor, 23)
    assert changed
    instance.report_runless_asset_event(AssetMaterialization(key))
    assert not requested(plugin, cursor, 24)[0]
