"""The Dagster asset of each calculator: every symbol at the end of the hour or the day, stored as rows and signals."""

import hashlib
import inspect
import json
import os
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AutomationCondition,
    BackfillPolicy,
    Config,
    MaterializeResult,
    asset,
)
from pydantic import Field, create_model

from orderflow_assets.automation import LOOKBACK, failed_once, inputs_checked, missing_at_first_sight
from orderflow_assets.calculators.calculator import Calculator, allowed_values
from orderflow_assets.calculators.computing import Outcome, Plan, store_results
from orderflow_assets.calculators.discovery import Found
from orderflow_assets.calculators.tables import DECLARATIONS, RESULTS, SIGNALS
from orderflow_assets.metadata import OWNERS, asset_key, column_schema, table_metadata, table_version
from orderflow_assets.partitions import daily, hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.markets import SYMBOLS, symbol
from orderflow_streaming.store import Window
from orderflow_streaming.store.window import naive_utc

GROUP = "calculators"
SYMBOLS_VARIABLE = "ORDERFLOW_CALCULATOR_SYMBOLS"
LIMIT_VARIABLE = "ORDERFLOW_CALCULATOR_LIMIT_S"
LIMIT_S = 60.0
ANSWERS = "answers"
PLUGINS_LOAD = "plugins_load"

_PARTITIONS = {"hour": hourly, "day": daily}
_PER_RUN = {"hour": 24, "day": 7}
_JSON_TYPES: dict[str, type] = {"integer": int, "number": float, "boolean": bool, "string": str}

_over = ~AutomationCondition.in_latest_time_window()
_half_past_midnight: AutomationCondition = AutomationCondition.cron_tick_passed("30 0 * * *")
_handled = (
    AutomationCondition.newly_requested()
    | AutomationCondition.newly_updated()
    | AutomationCondition.initial_evaluation()
)
_due = (_over & (AutomationCondition.any_deps_updated() | missing_at_first_sight)) | failed_once

at_the_end_of_the_hour = (
    AutomationCondition.in_latest_time_window(LOOKBACK)
    & _over
    & _due.since(_handled & ~_due)
    & ~AutomationCondition.any_deps_missing()
    & ~AutomationCondition.any_deps_in_progress()
    & ~AutomationCondition.in_progress()
    & inputs_checked
).with_label("at_the_end_of_the_hour")
"""Once an hour is over and its inputs were computed after that, and again when late data change them."""

after_midnight = (
    AutomationCondition.in_latest_time_window()
    & _half_past_midnight.since(_handled)
    & ~AutomationCondition.in_progress()
).with_label("after_midnight")
"""The day that ended, half an hour later."""

at_a_reload = (
    (missing_at_first_sight | AutomationCondition.code_version_changed()).since(_handled & ~missing_at_first_sight)
    & ~AutomationCondition.in_progress()
).with_label("at_a_reload")
"""When the code location says something new."""


def default_symbols() -> list[str]:
    """``$ORDERFLOW_CALCULATOR_SYMBOLS`` with commas, else every symbol.

    Raises :class:`~orderflow_streaming.markets.UnknownNameError`.
    """
    named = [part.strip() for part in os.environ.get(SYMBOLS_VARIABLE, "").split(",") if part.strip()]
    return [symbol(name) for name in named] or list(SYMBOLS)


def default_limit_s() -> float:
    """``$ORDERFLOW_CALCULATOR_LIMIT_S``, else 60. Raises ValueError."""
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        seconds = float(text) if text else LIMIT_S
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"{LIMIT_VARIABLE} is {text!r}; write the seconds a symbol may take, such as 60.")
    return seconds


class CalculatorConfig(Config):
    """For which symbols a calculator runs and how long it may take."""

    symbols: list[str] = Field(default_factory=default_symbols, description="Symbols to compute.")
    limit_s: float = Field(default_factory=default_limit_s, gt=0, description="Seconds one symbol may take.")


def calculator_asset(item: Calculator) -> AssetsDefinition:
    """The asset ``calculators/<name>``; a symbol on which it raises fails the check ``answers``, not the run."""
    partitions = _PARTITIONS[item.every]
    config_type = _config(item)

    @asset(
        key=AssetKey([GROUP, item.name]),
        deps=_inputs(item),
        partitions_def=partitions,
        backfill_policy=BackfillPolicy.multi_run(_PER_RUN[item.every]),
        automation_condition=at_the_end_of_the_hour if item.every == "hour" else after_midnight,
        check_specs=[AssetCheckSpec(ANSWERS, asset=AssetKey([GROUP, item.name]), description="No symbol failed.")],
        description=item.description,
        group_name=GROUP,
        kinds={"duckdb", "python"},
        owners=OWNERS,
        tags={"category": item.category},
        code_version=_version(item),
        metadata={
            "dagster/table_name": RESULTS.qualified,
            "dagster/column_schema": column_schema(RESULTS),
            "signals": SIGNALS.qualified,
            "declared_version": item.version,
            "tool": item.tool,
            "lookback": str(item.lookback(item.arguments({}))),
        },
    )
    def compute(
        context: AssetExecutionContext,
        config: config_type,  # type: ignore[valid-type]
        store: StoreResource,
    ) -> MaterializeResult:
        plan = _plan(item, config)
        outcomes: dict[str, Outcome] = {}
        with store.step() as opened:
            for partition in context.partition_keys:
                window = partitions.time_window_for_partition_key(partition)
                start, end = naive_utc(window.start), naive_utc(window.end)
                outcomes[partition] = store_results(opened, item, plan, start, end)
        for partition, outcome in outcomes.items():
            context.add_asset_metadata({"dagster/partition_row_count": outcome.rows}, partition_key=partition)
        return MaterializeResult(
            metadata={
                "rows_written": sum(outcome.rows for outcome in outcomes.values()),
                "signals": sum(outcome.signals for outcome in outcomes.values()),
                "seconds": round(sum(outcome.seconds for outcome in outcomes.values()), 3),
                "parameters": json.dumps(plan.parameters),
            },
            check_results=[_verdict(outcomes)],
        )

    return compute


def declarations_asset(found: Found) -> AssetsDefinition:
    """The asset that stores which calculators there are; its check fails where a plugin file could not be used."""
    rows = _declared_rows(found)

    @asset(
        key=asset_key(DECLARATIONS.qualified),
        automation_condition=at_a_reload,
        check_specs=[
            AssetCheckSpec(
                PLUGINS_LOAD, asset=asset_key(DECLARATIONS.qualified), description="Every plugin file is in use."
            )
        ],
        description=DECLARATIONS.doc,
        group_name=GROUP,
        kinds={"duckdb", "python"},
        owners=OWNERS,
        code_version=table_version(DECLARATIONS, json.dumps(rows)),
        metadata=table_metadata(DECLARATIONS),
    )
    def declarations(store: StoreResource) -> MaterializeResult:
        stamped = [{**row, "declared_at": datetime.now(UTC).replace(tzinfo=None)} for row in rows]
        always = Window(datetime.min, datetime.max)  # noqa: DTZ901 (naive UTC, as stored)
        with store.step() as opened:
            opened.write(DECLARATIONS, pa.Table.from_pylist(stamped, schema=DECLARATIONS.arrow_schema), always)
        return MaterializeResult(
            metadata={"calculators": len(found.calculators), "broken_plugins": len(found.broken)},
            check_results=[
                AssetCheckResult(
                    check_name=PLUGINS_LOAD,
                    passed=not found.broken,
                    severity=AssetCheckSeverity.WARN,
                    metadata={item.file: item.reason for item in found.broken},
                    description="; ".join(f"{item.file}: {item.reason}" for item in found.broken) or None,
                )
            ],
        )

    return declarations


def _plan(item: Calculator, config: Any) -> Plan:
    """What a run was asked for; raises ParameterError and UnknownNameError."""
    return Plan(
        [symbol(name) for name in config.symbols], config.limit_s, item.arguments(config.parameters.model_dump())
    )


def _config(item: Calculator) -> type[CalculatorConfig]:
    """The run configuration: the parameters with their types, defaults and meaning, and what all have in common."""
    fields: dict[str, Any] = {
        name: (
            _JSON_TYPES[kind["type"]],
            Field(kind["default"], description=f"{kind['description']}. Allowed: {allowed_values(kind)}."),
        )
        for name, kind in item.schema.items()
    }
    parameters = create_model(f"{item.name}_parameters", __base__=Config, **fields)
    config: type[CalculatorConfig] = create_model(
        f"{item.name}_config", __base__=CalculatorConfig, parameters=(parameters, Field(default_factory=parameters))
    )
    return config


def _inputs(item: Calculator) -> list[AssetDep]:
    return [AssetDep(asset_key(table)) for table in item.reads]


def _version(item: Calculator) -> str:
    """Changes with the declaration and with the file it stands in."""
    module = inspect.getmodule(item.function)
    text = inspect.getsource(module) if module else inspect.getsource(item.function)
    return hashlib.sha256(f"{item.version}\0{text}".encode()).hexdigest()[:12]


def _verdict(outcomes: dict[str, Outcome]) -> AssetCheckResult:
    failures = {
        f"{partition} {name}": reason
        for partition, outcome in outcomes.items()
        for name, reason in outcome.failures.items()
    }
    first = next(iter(failures.items()), None)
    return AssetCheckResult(
        check_name=ANSWERS,
        passed=not failures,
        severity=AssetCheckSeverity.WARN,
        metadata={"failures": len(failures), **dict(list(failures.items())[:20])},
        description=f"{len(failures)} failed; the first, {first[0]}: {first[1]}" if first else None,
    )


def _declared_rows(found: Found) -> list[dict[str, Any]]:
    kept = ("name", "category", "version", "every", "description", "plugin")
    rows: list[dict[str, Any]] = [
        {**{name: row[name] for name in kept}, "parameters": json.dumps(row["parameters"]), "problem": None}
        for row in found.describe()
    ]
    nothing = dict.fromkeys(("category", "version", "every", "description", "parameters"))
    rows += [{**nothing, "name": item.name, "plugin": item.name, "problem": item.reason} for item in found.broken]
    return rows
