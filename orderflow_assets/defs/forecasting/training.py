"""Training by series: the frame, the versions trained on it, and which of them serves."""

import time
from datetime import timedelta
from typing import Any

import msgspec
from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    Config,
    MaterializeResult,
    MetadataValue,
    OpExecutionContext,
    asset,
    job,
    op,
)
from pydantic import Field

from orderflow_assets.defs.forecasting.names import (
    CAUSE,
    CAUSED_BY_DRIFT,
    CHAMPIONS_KEY,
    FRAMES_KEY,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting import charts
from orderflow_assets.forecasting.drift.steps import followed
from orderflow_assets.forecasting.frame import BARS, FEATURES, FrameError, Series, known_until, read_frame
from orderflow_assets.forecasting.frames import described, keep, kept, newest
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.publication import publish
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.skill import Rule
from orderflow_assets.forecasting.tables import FRAMES, VERSIONS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.train import Plan, Trained, settle, train_series
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import series
from orderflow_assets.resources import StoreResource

_INPUTS = [asset_key(layer.table.qualified) for layer in LAYERS if layer.table.qualified in {BARS, *FEATURES}]
_CODE = [spec.code_version for spec in SPECS.values()]
_KINDS = {"darts", "lightgbm"}


class FrameConfig(Config):
    """How far back models look."""

    lookback_days: float = Field(14.0, gt=0, description="Days of five-minute bars to look at.")


class TrainingConfig(Config):
    """How models are trained; the defaults are the declared ones."""

    models: list[str] = Field([], description="Models to train instead of those that are trained by themselves.")
    held_out: float = Field(0.3, gt=0, lt=1, description="Newest share of the bars to judge on and not to train on.")
    min_gain: float = Field(0.005, ge=0, description="How much smaller than its rivals' a winner's errors must be.")
    max_p: float = Field(0.05, gt=0, lt=1, description="Diebold-Mariano p-value against naive that is still allowed.")
    max_seconds: float = Field(240.0, gt=0, description="Seconds of a series after which no further model is begun.")
    tuning_trials: int = Field(0, ge=0, description="Trials to tune each model with first, where it can be tuned.")
    parameters: dict[str, dict[str, Any]] = Field({}, description="Hyper-parameters to override, by model name.")

    def plan(self) -> Plan:
        return Plan(
            held_out=self.held_out,
            rule=Rule(self.min_gain, self.max_p),
            parameters=self.parameters,
            models=tuple(self.models),
            max_seconds=self.max_seconds,
            tuning_trials=self.tuning_trials,
        )


@asset(
    key=FRAMES_KEY,
    deps=[AssetDep(key, partition_mapping=AllPartitionMapping()) for key in _INPUTS],
    partitions_def=series,
    group_name="models",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=table_version(FRAMES),
    description=f"{FRAMES.doc} The newest of each series is kept as a file.",
    metadata=table_metadata(FRAMES),
)
def frames(context: AssetExecutionContext, config: FrameConfig, store: StoreResource) -> MaterializeResult:
    of, registry = Series.parse(context.partition_key), Registry(store.data_dir)
    frame, digest, reason = None, None, None
    with store.step() as opened:
        until = known_until(opened)
        try:
            if until is None:
                raise FrameError("there are no bars yet")
            frame = read_frame(opened, of, until, timedelta(days=config.lookback_days))
            digest = keep(registry.folder, frame)
        except FrameError as error:
            reason = str(error)
        row = described(of, frame, digest, reason)
        opened.write(FRAMES, row)
    told = {name: value for name, value in row.to_pylist()[0].items() if value is not None}
    return MaterializeResult(
        metadata={
            name: msgspec.json.decode(told[name]) if name in ("columns", "seasonality") else str(told[name])
            for name in ("frame_hash", "data_from", "data_to", "bars", "missing", "columns", "seasonality", "reason")
            if name in told
        }
    )


@asset(
    key=VERSIONS_KEY,
    deps=[frames],
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
    with store.step() as opened:
        built = newest(opened, Series.parse(key))
    if built is None or built["frame_hash"] is None:
        reason = built["reason"] if built else "no frame of this series was built; materialize models/frames"
        return MaterializeResult(metadata={"trained": 0, "reason": reason})
    frame = kept(registry.folder, Series.parse(key), built["frame_hash"])
    trained = list(train_series(registry, frame, config.plan(), by=f"run {context.run.run_id[:8]}"))
    with store.step() as opened:
        publish(opened, registry, key)
    metadata: dict[str, Any] = {
        "trained": sum(result.version is not None for result in trained),
        "bars": len(frame),
        "bars_missing": frame.missing,
        "data_from": str(frame.times[0]),
        "data_to": str(frame.times[-1]),
        "frame_hash": built["frame_hash"],
        "covariates": ", ".join(frame.covariates),
        "seconds": round(time.monotonic() - started, 3),
        "models": MetadataValue.md(charts.table([_line(result) for result in trained])),
    }
    best = [_best(trained, target) for target in TARGETS]
    for result in best:
        if result is not None:
            metadata |= _figures(result)
    picture = charts.held_out(frame, [result for result in best if result is not None])
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
        publish(opened, registry, key)
        if context.run.tags.get(CAUSE) == CAUSED_BY_DRIFT:
            message = "; ".join(
                f"{target}: {model} version {version}" for target, (model, version, _) in served.items()
            )
            reasons = {target: reason for target, (_, _, reason) in served.items()}
            followed(opened, key, "finished", f"now serve {message}", reasons, run_id=context.run.run_id)
    return MaterializeResult(
        metadata={
            f"{target}_{name}": value
            for target, (model, version, reason) in served.items()
            for name, value in (("serves", f"{model} version {version}"), ("reason", reason))
        }
    )


class RollbackConfig(Config):
    """Whose former champion is to serve again, and why."""

    series: str = Field(description="Series key, such as BTCUSDT|binance_futures.")
    target: str = Field(description=f"One of {', '.join(TARGETS)}.")
    reason: str = Field(description="Why; it is kept with the event.")


@op(description="Lets the version that served before the present champion serve again.")
def roll_back(context: OpExecutionContext, config: RollbackConfig, store: StoreResource) -> None:
    registry = Registry(store.data_dir)
    version = registry.rollback(config.series, config.target, f"run {context.run_id[:8]}", config.reason)
    with store.step() as opened:
        publish(opened, registry, config.series)
    context.log.info(f"{config.series} {config.target}: version {version} serves again")


@job(description="Lets the version that served before the present champion of a series serve again.")
def rollback() -> None:
    roll_back()


def _best(trained: list[Trained], target: str) -> Trained | None:
    """The result that challenges, or any that says why there is none."""
    of_target = [result for result in trained if result.target == target]
    return min(of_target, key=lambda result: (result.version is None, result.ratio), default=None)


def _line(result: Trained) -> dict[str, Any]:
    return {
        "target": result.target,
        "model": result.model,
        "version": result.version,
        "rmae": result.ratio if result.version else None,
        "seconds": round(result.seconds, 3),
        "verdict": result.reason,
    }


def _figures(trained: Trained) -> dict[str, Any]:
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
