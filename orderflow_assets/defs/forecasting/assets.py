"""Forecasts by hour, their scores, the leaderboard of models, and drift."""

import time
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    BackfillPolicy,
    Config,
    MaterializeResult,
    MetadataValue,
    asset,
)
from pydantic import Field

from orderflow_assets.automation import on_new_data_whatever_the_model
from orderflow_assets.defs.forecasting.names import (
    CHAMPIONS_KEY,
    FORECASTS_KEY,
    LEADERBOARD_KEY,
    SCORES_KEY,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting import charts
from orderflow_assets.forecasting.configured import configured_series
from orderflow_assets.forecasting.frame import BARS, FEATURES
from orderflow_assets.forecasting.issue import issue
from orderflow_assets.forecasting.leaderboard import inconsistencies, refresh
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.score import score
from orderflow_assets.forecasting.tables import FORECASTS, LEADERBOARD, SCORES
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store.window import naive_utc

_KINDS = {"darts", "lightgbm"}
_INPUTS = [asset_key(layer.table.qualified) for layer in LAYERS if layer.table.qualified in {BARS, *FEATURES}]
_SHOWN = 40
"""Rows of the leaderboard that its page shows."""
_CODE = [spec.code_version for spec in SPECS.values()]


class SeriesConfig(Config):
    """Which series to work on."""

    series: list[str] = Field(
        default_factory=configured_series,
        description="Series keys, such as BTCUSDT|binance_futures; none means every series that has bars.",
    )


@asset(
    key=FORECASTS_KEY,
    deps=[*_INPUTS, AssetDep(CHAMPIONS_KEY, partition_mapping=AllPartitionMapping())],
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
def forecasts(context: AssetExecutionContext, config: SeriesConfig, store: StoreResource) -> MaterializeResult:
    started, window = time.monotonic(), context.partition_time_window
    start, end = naive_utc(window.start), naive_utc(window.end)
    with store.step() as opened:
        issued = issue(opened, Registry(store.data_dir), start, end, config.series)
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
    key=LEADERBOARD_KEY,
    deps=[scores, AssetDep(VERSIONS_KEY, partition_mapping=AllPartitionMapping())],
    group_name="models",
    kinds={"duckdb"},
    owners=OWNERS,
    check_specs=[
        AssetCheckSpec(
            "consistent", asset=LEADERBOARD_KEY, description="Ratios and shares are possible, and naive's ratio is 1."
        )
    ],
    code_version=table_version(LEADERBOARD),
    description=LEADERBOARD.doc,
    metadata=table_metadata(LEADERBOARD),
)
def leaderboard(store: StoreResource) -> MaterializeResult:
    started = time.monotonic()
    with store.step() as opened:
        board = refresh(opened, Registry(store.data_dir)).to_pylist()
    columns = ("series", "target", "step", "model", "shrunk_rmae", "rmae", "origins", "coverage_95", "predict_s")
    wrong = inconsistencies(board)
    leading = [{name: row[name] for name in columns} for row in board if row["rank"] == 1]
    return MaterializeResult(
        metadata={
            "dagster/row_count": len(board),
            "leading_models": len({row["model"] for row in leading}),
            "ahead_of_naive": sum(row["shrunk_rmae"] < 1 for row in leading),
            "leading": MetadataValue.md(charts.table(leading[:_SHOWN])),
            "seconds": round(time.monotonic() - started, 3),
        },
        check_results=[
            AssetCheckResult(
                check_name="consistent",
                passed=not wrong,
                severity=AssetCheckSeverity.ERROR,
                description="; ".join(wrong[:5]) or None,
                metadata={"rows": len(board), "inconsistent": len(wrong)},
            )
        ],
    )
