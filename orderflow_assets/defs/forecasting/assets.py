"""Models by series, forecasts by hour, their scores, and drift."""

import time
from datetime import timedelta
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    BackfillPolicy,
    Config,
    MaterializeResult,
    MetadataValue,
    asset,
)
from pydantic import Field

from orderflow_assets.alerts import raise_alert
from orderflow_assets.automation import on_new_data_whatever_the_model
from orderflow_assets.defs.forecasting.names import (
    CAUSE,
    CAUSED_BY_DRIFT,
    CHAMPIONS_KEY,
    DRIFT_KEY,
    FORECASTS_KEY,
    SCORES_KEY,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting import charts
from orderflow_assets.forecasting.drift.tables import DRIFT
from orderflow_assets.forecasting.frame import BARS, FEATURES, FrameError, Series, known_until, read_frame
from orderflow_assets.forecasting.issue import issue
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.monitor import check_drift
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.score import score
from orderflow_assets.forecasting.skill import Rule
from orderflow_assets.forecasting.tables import FORECASTS, SCORES, VERSIONS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.train import Plan, Trained, settle, train_series
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import hourly, series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, Window
from orderflow_streaming.store.window import naive_utc

_KINDS = {"darts", "lightgbm"}
_INPUTS = [asset_key(layer.table.qualified) for layer in LAYERS if layer.table.qualified in {BARS, *FEATURES}]
_CODE = [spec.code_version for spec in SPECS.values()]


class TrainingConfig(Config):
    """How models are trained; the defaults are the declared ones."""

    lookback_days: float = Field(14.0, gt=0, description="Days of five-minute bars to look at.")
    held_out: float = Field(0.3, gt=0, lt=1, description="Newest share of them to judge on and not to train on.")
    min_gain: float = Field(0.005, ge=0, description="How much smaller than its rivals' a winner's errors must be.")
    max_p: float = Field(0.05, gt=0, lt=1, description="Diebold-Mariano p-value against naive that is still allowed.")
    parameters: dict[str, dict[str, Any]] = Field({}, description="Hyper-parameters to override, by model name.")

    def plan(self) -> Plan:
        rule = Rule(self.min_gain, self.max_p)
        return Plan(timedelta(days=self.lookback_days), self.held_out, rule, self.parameters)


@asset(
    key=VERSIONS_KEY,
    deps=[AssetDep(key, partition_mapping=AllPartitionMapping()) for key in _INPUTS],
    partitions_def=series,
    group_name="models",
    kinds=_KINDS,
    owners=OWNERS,
    code_version=table_version(VERSIONS, *_CODE),
    description=f"{VERSIONS.doc} Trains each model of a series on the older bars and judges it on the newer ones.",
    metadata=table_metadata(VERSIONS),
)
def versions(context: AssetExecutionContext, config: TrainingConfig, store: StoreResource) -> MaterializeResult:
    started, key, registry = time.monotonic(), context.partition_key, Registry(store.data_dir)
    plan = config.plan()
    with store.step() as opened:
        until = known_until(opened)
        if until is None:
            return MaterializeResult(metadata={"trained": 0, "reason": "there are no bars yet"})
        try:
            frame = read_frame(opened, Series.parse(key), until, plan.lookback)
        except FrameError as error:
            return MaterializeResult(metadata={"trained": 0, "reason": str(error)})
        trained = list(train_series(registry, frame, plan, by=f"run {context.run.run_id[:8]}"))
        _copy_versions(opened, registry, key)
    metadata: dict[str, Any] = {
        "trained": sum(result.version is not None for result in trained),
        "bars": len(frame),
        "bars_missing": frame.missing,
        "data_from": str(frame.times[0]),
        "data_to": str(frame.times[-1]),
        "covariates": ", ".join(frame.covariates),
        "seconds": round(time.monotonic() - started, 3),
    }
    for result in trained:
        metadata |= _trained_metadata(result)
    picture = charts.held_out(frame, trained)
    if picture:
        metadata["plot"] = MetadataValue.md(picture)
    return MaterializeResult(metadata=metadata)


@asset(
    key=CHAMPIONS_KEY,
    deps=[versions],
    partitions_def=series,
    group_name="models",
    kinds=_KINDS,
    owners=OWNERS,
    code_version=table_version(VERSIONS),
    description="What serves each series: the challenger where it won against champion and naive, else what served, "
    "else naive.",
)
def champions(context: AssetExecutionContext, store: StoreResource) -> MaterializeResult:
    key, registry = context.partition_key, Registry(store.data_dir)
    served = {target: settle(registry, key, target, by=f"run {context.run.run_id[:8]}") for target in TARGETS}
    with store.step() as opened:
        _copy_versions(opened, registry, key)
        if context.run.tags.get(CAUSE) == CAUSED_BY_DRIFT:
            message = "; ".join(
                f"{target}: {model} version {version}" for target, (model, version, _) in served.items()
            )
            details = {target: reason for target, (_, _, reason) in served.items()}
            details |= {"event": "finished", "run_id": context.run.run_id}
            raise_alert(opened, "INFO", f"retrain_{key}", f"retraining of {key} finished, now serve {message}", details)
    return MaterializeResult(
        metadata={
            f"{target}_{name}": value
            for target, (model, version, reason) in served.items()
            for name, value in (("serves", f"{model} version {version}"), ("reason", reason))
        }
    )


@asset(
    key=FORECASTS_KEY,
    deps=[*_INPUTS, AssetDep(champions, partition_mapping=AllPartitionMapping())],
    partitions_def=hourly,
    backfill_policy=BackfillPolicy.multi_run(24),
    automation_condition=on_new_data_whatever_the_model,
    group_name="forecasts",
    kinds=_KINDS | {"duckdb"},
    owners=OWNERS,
    code_version=table_version(FORECASTS, *_CODE),
    pool="forecasts",
    description=f"{FORECASTS.doc} An hour holds the forecasts issued after its start and up to its end.",
    metadata=table_metadata(FORECASTS),
)
def forecasts(context: AssetExecutionContext, store: StoreResource) -> MaterializeResult:
    started, window = time.monotonic(), context.partition_time_window
    start, end = naive_utc(window.start), naive_utc(window.end)
    with store.step() as opened:
        issued = issue(opened, Registry(store.data_dir), start, end)
        for partition in context.partition_keys:
            hour = hourly.time_window_for_partition_key(partition)
            rows = opened.query(
                f"SELECT count(*) AS rows FROM {FORECASTS.qualified} WHERE issued_at > ? AND issued_at <= ?",
                [naive_utc(hour.start), naive_utc(hour.end)],
            )
            count = rows.column("rows")[0].as_py()
            context.add_asset_metadata({"dagster/partition_row_count": count}, partition_key=partition)
        picture = charts.fan(opened, issued)
    metadata: dict[str, Any] = {
        "forecasts_written": issued.written,
        "without_value": issued.without_value,
        "by_model": dict(issued.by_model),
        "series_refused": issued.refused,
        "seconds": round(time.monotonic() - started, 3),
    }
    if picture:
        metadata["plot"] = MetadataValue.md(picture)
    return MaterializeResult(metadata=metadata)


@asset(
    key=SCORES_KEY,
    deps=[AssetDep(forecasts, partition_mapping=AllPartitionMapping())],
    group_name="forecasts",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=table_version(SCORES),
    pool="scores",
    description=SCORES.doc,
    metadata=table_metadata(SCORES),
)
def scores(store: StoreResource) -> MaterializeResult:
    with store.step() as opened:
        scored = score(opened)
        skill = opened.query(
            f"""
            SELECT target, model, step, count(*) AS scores, avg(abs(error)) / avg(abs(naive_error)) AS rmae,
                   avg(inside_80::INT) AS covered_80, avg(inside_95::INT) AS covered_95
            FROM {SCORES.qualified} WHERE step IN (1, 12) GROUP BY ALL ORDER BY ALL
            """
        ).to_pylist()
        rows = opened.query(f"SELECT count(*) AS rows FROM {SCORES.qualified}").column("rows")[0].as_py()
    return MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "scored_now": scored.written,
            "due_without_outcome": scored.without_outcome,
            "skill": MetadataValue.md(charts.table(skill)),
        }
    )


@asset(
    key=DRIFT_KEY,
    deps=[scores, AssetDep(champions, partition_mapping=AllPartitionMapping())],
    group_name="models",
    kinds={"river", "duckdb"},
    owners=OWNERS,
    code_version=table_version(DRIFT),
    description=DRIFT.doc,
    metadata=table_metadata(DRIFT),
)
def drift(store: StoreResource) -> MaterializeResult:
    started = time.monotonic()
    with store.step() as opened:
        found = check_drift(opened, Registry(store.data_dir)).to_pylist()
    columns = ("series", "target", "model", "severity", "error_ratio", "coverage_95", "reason")
    detected = [{name: row[name] for name in columns} for row in found if row["detected"]]
    return MaterializeResult(
        metadata={
            "streams_checked": len(found),
            "streams_with_drift": len(detected),
            "found": MetadataValue.md(charts.table(detected)),
            "seconds": round(time.monotonic() - started, 3),
        }
    )


def _copy_versions(store: Store, registry: Registry, key: str) -> None:
    store.write(VERSIONS, registry.to_arrow(key), Window(equals={"series": key}))


def _trained_metadata(trained: Trained) -> dict[str, Any]:
    """Figures of one trained model, each name led by the target."""
    figures: dict[str, Any] = {"model": trained.model, "verdict": trained.reason, "seconds": round(trained.seconds, 3)}
    if trained.version is not None:
        figures |= {"version": trained.version, "rows": trained.rows, "sha256": trained.sha256 or ""}
        figures |= {f"coverage_{name}": share for name, share in trained.coverage.items() if share is not None}
    judgement = trained.judgement
    if judgement is not None and judgement.against_naive is not None:
        figures |= {
            "origins": judgement.origins,
            "rmae": judgement.against_naive.ratio,
            "rmae_first_step": judgement.against_naive.first_step,
            "rmae_last_step": judgement.against_naive.last_step,
            "dm_p": judgement.against_naive.p_better,
        }
    return {f"{trained.target}_{name}": value for name, value in figures.items()}
