"""Drift of what serves: what is computed, the check of each series, and the training that a failed check asks for."""

import json
import time
from collections.abc import Iterator
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetSpec,
    Config,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    MaterializeResult,
    MetadataValue,
    Output,
    RunFailureSensorContext,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    asset,
    multi_asset,
    multi_asset_check,
    run_failure_sensor,
    sensor,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from pydantic import Field

from orderflow_assets.defs.forecasting.names import (
    CAUSE,
    CAUSED_BY_DRIFT,
    CHAMPIONS_KEY,
    DRIFT_CHECK,
    DRIFT_INPUTS_KEY,
    DRIFT_KEY,
    DRIFT_REFERENCES_KEY,
    FORECASTS_KEY,
    RETRAIN_JOB,
    SCORES_KEY,
)
from orderflow_assets.forecasting import charts, monitor
from orderflow_assets.forecasting.drift.health import health
from orderflow_assets.forecasting.drift.inputs import check_inputs
from orderflow_assets.forecasting.drift.picture import draw
from orderflow_assets.forecasting.drift.steps import followed
from orderflow_assets.forecasting.drift.tables import DRIFT, INPUTS, REFERENCES, SEVERITIES
from orderflow_assets.forecasting.frame import utc_now
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.retraining import decide
from orderflow_assets.metadata import OWNERS, table_metadata, table_version
from orderflow_assets.partitions import series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, StoreBusyError, StoreUnavailableError

RETRAIN_AT = "HIGH"

_FOUND = ("series", "target", "model", "severity", "type", "confidence", "error_ratio", "coverage_95", "reason")
_SHIFTED = ("series", "target", "input", "severity", "ks_statistic", "ks_p", "psi")


class DriftConfig(Config):
    """When a finding counts as failure."""

    min_severity: str = Field(RETRAIN_AT, description=f"One of {', '.join(SEVERITIES)}; from it on the check fails.")


@multi_asset(
    name="drift_inputs",
    specs=[
        AssetSpec(
            key,
            deps=[AssetDep(above, partition_mapping=AllPartitionMapping()) for above in (FORECASTS_KEY, CHAMPIONS_KEY)],
            group_name="models",
            kinds={"duckdb"},
            owners=OWNERS,
            code_version=table_version(table),
            description=table.doc,
            metadata=table_metadata(table),
        )
        for key, table in ((DRIFT_INPUTS_KEY, INPUTS), (DRIFT_REFERENCES_KEY, REFERENCES))
    ],
)
def drift_inputs(store: StoreResource) -> Iterator[MaterializeResult]:
    started = time.monotonic()
    with store.step() as opened:
        rows = check_inputs(opened, Registry(store.data_dir)).to_pylist()
        frozen = opened.query(f"SELECT count(*) AS rows FROM {REFERENCES.qualified}")["rows"][0].as_py()
    shifted = [{name: row[name] for name in _SHIFTED} for row in rows if row["severity"] != SEVERITIES[0]]
    yield MaterializeResult(
        asset_key=DRIFT_INPUTS_KEY,
        metadata={
            "inputs_compared": sum(row["ks_p"] is not None for row in rows),
            "inputs_shifted": len(shifted),
            "shifted": MetadataValue.md(charts.table(shifted)),
            "not_compared": MetadataValue.md(
                charts.table([{"series": row["series"], "reason": row["reason"]} for row in rows if row["reason"]])
            ),
            "seconds": round(time.monotonic() - started, 3),
        },
    )
    yield MaterializeResult(asset_key=DRIFT_REFERENCES_KEY, metadata={"dagster/row_count": frozen})


@asset(
    key=DRIFT_KEY,
    deps=[SCORES_KEY, DRIFT_INPUTS_KEY, AssetDep(CHAMPIONS_KEY, partition_mapping=AllPartitionMapping())],
    group_name="models",
    kinds={"river", "duckdb"},
    owners=OWNERS,
    code_version=table_version(DRIFT),
    description=DRIFT.doc,
    metadata=table_metadata(DRIFT),
)
def drift(store: StoreResource) -> MaterializeResult:
    started, registry = time.monotonic(), Registry(store.data_dir)
    with store.step() as opened:
        found = monitor.check_drift(opened, registry).to_pylist()
        picture = _picture(opened, registry, found)
    detected = [{name: row[name] for name in _FOUND} for row in found if row["detected"]]
    metadata: dict[str, Any] = {
        "streams_checked": len(found),
        "streams_with_drift": len(detected),
        "found": MetadataValue.md(charts.table(detected)),
        "seconds": round(time.monotonic() - started, 3),
    }
    if picture:
        metadata["plot"] = MetadataValue.md(picture)
    return MaterializeResult(metadata=metadata)


_DRIFT = AssetCheckSpec(
    DRIFT_CHECK.name,
    asset=CHAMPIONS_KEY,
    additional_deps=[DRIFT_KEY],
    partitions_def=series,
    description="The errors of what serves a series, and its inputs, are what they were when it began to.",
)


@multi_asset_check(name="check_drift", specs=[_DRIFT])
def drifted(
    context: AssetCheckExecutionContext, config: DriftConfig, store: StoreResource
) -> Iterator[Output[None] | AssetCheckEvaluation]:
    """One verdict per series in one run, so each evaluation is yielded by hand with its partition."""
    if config.min_severity not in SEVERITIES:
        raise ValueError(f"min_severity {config.min_severity!r} is not one of {', '.join(SEVERITIES)}")
    failing = SEVERITIES[SEVERITIES.index(config.min_severity) :]
    registry = Registry(store.data_dir)
    with store.step("read") as opened:
        rows = _newest_rows(opened)
        states = {row["series"]: row["health"] for row in health(opened)} if rows else {}
        for key in dict.fromkeys(row["series"] for row in rows):
            findings = [row for row in rows if row["series"] == key]
            worst, passed = _worst(findings), _worst(findings)["severity"] not in failing
            picture = None if passed else _picture(opened, registry, findings)
            yield AssetCheckEvaluation(
                asset_key=CHAMPIONS_KEY,
                check_name=DRIFT_CHECK.name,
                partition=key,
                passed=passed,
                severity=AssetCheckSeverity.ERROR if worst["severity"] == SEVERITIES[-1] else AssetCheckSeverity.WARN,
                description=f"{worst['target']}: {worst['severity']}, {worst['reason']}",
                metadata={
                    "severity": worst["severity"],
                    "type": worst["type"],
                    "recommendation": worst["recommendation"],
                    "health": states[key],
                    **{
                        f"{row['target']}_{name}": row[name]
                        for row in findings
                        for name in _STATISTICS
                        if row[name] is not None
                    },
                    **({"plot": MetadataValue.md(picture)} if picture else {}),
                },
            )
    yield Output(None, output_name=_DRIFT.get_python_identifier())


_STATISTICS = (
    "model",
    "version",
    "scores",
    "severity",
    "type",
    "confidence",
    "error_ratio",
    "coverage_95",
    "ks_statistic",
    "ks_p",
    "psi",
    "jensen_shannon",
    "dm_statistic",
    "dm_p",
    "inputs_compared",
    "inputs_shifted",
    "reason",
)


def _newest_rows(opened: Store) -> list[dict[str, Any]]:
    """Rows of the newest drift check; none where drift was never checked."""
    if not opened.exists(DRIFT):
        return []
    newest = f"SELECT max(checked_at) FROM {DRIFT.qualified}"
    return opened.query(
        f"SELECT * FROM {DRIFT.qualified} WHERE checked_at = ({newest}) ORDER BY series, target"
    ).to_pylist()


def _worst(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda row: SEVERITIES.index(row["severity"]))


def _picture(opened: Store, registry: Registry, rows: list[dict[str, Any]]) -> str | None:
    """The errors of the worst of these streams; None where drift was found in none of them."""
    worst = _worst(rows) if rows else None
    if worst is None or not worst["detected"]:
        return None
    stream = monitor.stream(opened, registry, worst["series"], worst["target"])
    return draw(stream, worst) if stream else None


_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@sensor(
    job_name=RETRAIN_JOB,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Trains a series when its drift check fails: one training at a time and none within the cooldown.",
)
def retrain_on_drift(context: SensorEvaluationContext, store: StoreResource) -> SensorResult:
    """Acts once on each failed evaluation; a refusal is said once until the series is trained again.

    The cursor holds the last evaluation acted on and, per series, the training a refusal was said for.
    """
    state = json.loads(context.cursor) if context.cursor else {"after": {}, "refused": {}}
    registry, now = Registry(store.data_dir), utc_now()
    requests: list[RunRequest] = []
    try:
        with store.connect("write", embedded=False) as opened:
            newest = _newest_rows(opened)
            for key, evaluation in _failed(context.instance).items():
                if state["after"].get(key) == evaluation:
                    continue
                last = registry.last_training(key)
                decision = decide(now, last, running=_running(context.instance, key))
                found = [row for row in newest if row["series"] == key]
                severity = _worst(found)["severity"] if found else None
                details = {"evaluation": evaluation, "check": DRIFT_CHECK.name, "severity": severity}
                if decision.retrain:
                    tags = {CAUSE: CAUSED_BY_DRIFT}
                    requests.append(RunRequest(partition_key=key, run_key=f"drift|{key}|{evaluation}", tags=tags))
                    followed(opened, key, "asked", "its drift check failed", details, severity=severity)
                elif state["refused"].get(key) != str(last):
                    followed(opened, key, "refused", decision.reason, details, severity=severity)
                    state["refused"][key] = str(last)
                state["after"][key] = evaluation
    except (StoreUnavailableError, StoreBusyError) as error:
        return SensorResult(skip_reason=f"The store does not answer: {error}")
    cursor = json.dumps(state)
    if not requests:
        return SensorResult(skip_reason="No failed drift check asks for a training now.", cursor=cursor)
    return SensorResult(run_requests=requests, cursor=cursor)


def _failed(instance: DagsterInstance) -> dict[str, int]:
    """Series whose latest drift evaluation failed, with the number of that evaluation."""
    latest = instance.event_log_storage.get_asset_check_partition_info([DRIFT_CHECK])
    return {
        info.partition_key: info.latest_check_event_storage_id
        for info in latest
        if info.partition_key and info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
    }


def _running(instance: DagsterInstance, key: str) -> bool:
    """Whether a training of the series waits or runs."""
    filters = RunsFilter(job_name=RETRAIN_JOB, tags={"dagster/partition": key}, statuses=_UNFINISHED)
    return instance.get_runs_count(filters) > 0


@run_failure_sensor(default_status=DefaultSensorStatus.RUNNING, minimum_interval_seconds=30)
def retraining_failed(context: RunFailureSensorContext, store: StoreResource) -> None:
    """Records a training that drift asked for and that did not succeed; what served goes on serving."""
    run = context.dagster_run
    key = run.tags.get("dagster/partition")
    if run.tags.get(CAUSE) != CAUSED_BY_DRIFT or key is None:
        return
    with store.connect() as opened:
        followed(opened, key, "failed", context.failure_event.message or "no reason given", {}, run_id=run.run_id)
