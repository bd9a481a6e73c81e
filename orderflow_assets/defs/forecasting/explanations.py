"""Why what serves a series forecasts as it does, and where forecasts erred."""

import time
from collections.abc import Iterable
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetSelection,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    MaterializeResult,
    MetadataValue,
    asset,
    define_asset_job,
)

from orderflow_assets.analytics.regimes import REGIMES
from orderflow_assets.defs.forecasting.names import CHAMPIONS_KEY, FORECASTS_KEY, SCORES_KEY
from orderflow_assets.forecasting.charts import table
from orderflow_assets.forecasting.explain import pictures
from orderflow_assets.forecasting.explain.champion import Explained, explain_series
from orderflow_assets.forecasting.explain.errors import LOOKBACK, analyse
from orderflow_assets.forecasting.explain.tables import ERRORS, EXPLANATIONS, METHODS, PROFILES
from orderflow_assets.forecasting.frame import BARS, FEATURES, FrameError, Series, known_until
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import series
from orderflow_assets.plots import markdown
from orderflow_assets.resources import StoreResource

GROUP = "explanations"
_TAGS = {"orderflow/heavy": "training", "dagster/max_runtime": "300"}
TOLERANCE = 1e-6
"""How far base and contributions may be from the output, relative to it where it exceeds 1: single precision."""

_EXPLANATIONS_KEY = asset_key(EXPLANATIONS.qualified)
_INPUTS = [asset_key(layer.table.qualified) for layer in LAYERS if layer.table.qualified in {BARS, *FEATURES}]
_STATES = (FORECASTS_KEY, asset_key(REGIMES.qualified))
_ADDITIVE = AssetCheckSpec(
    "shap_adds_up",
    asset=_EXPLANATIONS_KEY,
    partitions_def=series,
    description="Base and contributions of all inputs make what the model forecast, at every step.",
)

_every_four_hours: AutomationCondition = AutomationCondition.cron_tick_passed("45 */4 * * *")
_on_the_hour: AutomationCondition = AutomationCondition.cron_tick_passed("40 * * * *")
when_served_or_every_four_hours = (
    (
        (
            AutomationCondition.newly_missing() | AutomationCondition.any_deps_updated() | _every_four_hours
        ).since_last_handled()
        & ~AutomationCondition.any_deps_missing()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    )
    .ignore(AssetSelection.assets(*_INPUTS))
    .with_label("when_served_or_every_four_hours")
)
"""A model that begins to serve is explained, and again as the newest forecast moves on."""
every_hour = (_on_the_hour.since_last_handled() & ~AutomationCondition.in_progress()).with_label("every_hour")


@asset(
    key=_EXPLANATIONS_KEY,
    deps=[AssetDep(CHAMPIONS_KEY), *(AssetDep(key, partition_mapping=AllPartitionMapping()) for key in _INPUTS)],
    check_specs=[_ADDITIVE],
    partitions_def=series,
    automation_condition=when_served_or_every_four_hours,
    group_name=GROUP,
    kinds={"shap", "darts", "duckdb"},
    owners=OWNERS,
    code_version=table_version(EXPLANATIONS, PROFILES.doc),
    pool="explanations",
    description=f"{EXPLANATIONS.doc} Shapley values of trees and linear models, attention of the fusion transformer, "
    f"permutation importance of any model. {PROFILES.qualified}: {PROFILES.doc}",
    metadata=table_metadata(EXPLANATIONS),
)
def explanations(context: AssetExecutionContext, store: StoreResource) -> MaterializeResult:
    started, key = time.monotonic(), context.partition_key
    with store.step() as opened:
        until = known_until(opened)
        try:
            if until is None:
                raise FrameError("there are no bars yet")
            explained = explain_series(opened, Registry(store.data_dir), Series.parse(key), until)
        except FrameError as error:
            return MaterializeResult(metadata={"rows": 0, "reason": str(error)}, check_results=[_adds_up([])])
        rows = opened.query(f"SELECT * FROM {EXPLANATIONS.qualified} WHERE series = ?", [key]).to_pylist()
    metadata: dict[str, Any] = {"rows": len(rows), "seconds": round(time.monotonic() - started, 3)}
    for one in explained:
        metadata |= _figures(one)
    figure = pictures.contributions(rows)
    picture = markdown(figure, "explanations") if figure else None
    if picture:
        metadata["plot"] = MetadataValue.md(picture)
    return MaterializeResult(metadata=metadata, check_results=[_adds_up(explained)])


def _figures(explained: Explained) -> dict[str, Any]:
    """What serves a target, which methods explain it, and why others do not; each name led by the target."""
    said = {row["method"]: row.get("reason") for row in explained.rows}
    figures: dict[str, Any] = {"serves": f"{explained.model} version {explained.version}"}
    figures |= {method: said[method] or "explained" for method in METHODS if method in said}
    if explained.reason:
        figures["reason"] = explained.reason
    if explained.ranking:
        figures["held_out_rmae"] = explained.ranking.rmae
        figures["most_needed"] = ", ".join(item.feature for item in explained.ranking.importances[:3] if item.low > 0)
    return {f"{explained.target}_{name}": value for name, value in figures.items()}


def _adds_up(explained: Iterable[Explained]) -> AssetCheckResult:
    off = {one.target: one.newest.discrepancy for one in explained if one.newest is not None}
    return AssetCheckResult(
        check_name=_ADDITIVE.name,
        passed=all(value <= TOLERANCE for value in off.values()),
        severity=AssetCheckSeverity.ERROR,
        description=None if off else "nothing serves that has Shapley values",
        metadata={f"{target}_discrepancy": value for target, value in off.items()} | {"tolerance": TOLERANCE},
    )


@asset(
    key=asset_key(ERRORS.qualified),
    deps=[
        AssetDep(SCORES_KEY),
        *(
            AssetDep(key, partition_mapping=AllPartitionMapping())
            for key in (FORECASTS_KEY, asset_key(REGIMES.qualified))
        ),
    ],
    automation_condition=every_hour,
    group_name=GROUP,
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=table_version(ERRORS),
    pool="explanations",
    description=f"{ERRORS.doc} Over the {LOOKBACK.days} days before.",
    metadata=table_metadata(ERRORS),
)
def error_analysis(store: StoreResource) -> MaterializeResult:
    started = time.monotonic()
    with store.step() as opened:
        rows = analyse(opened).to_pylist()
    worse = [row for row in rows if row["rmae_low"] is not None and row["rmae_low"] > 1]
    better = [row for row in rows if row["rmae_high"] is not None and row["rmae_high"] < 1]
    metadata: dict[str, Any] = {
        "dagster/row_count": len(rows),
        "scores": sum(row["scores"] for row in rows if row["grouping"] == "all"),
        "cells_without_forecasts": sum(row["scores"] == 0 for row in rows),
        "cells_worse_than_naive": len(worse),
        "cells_better_than_naive": len(better),
        "worse_than_naive": MetadataValue.md(table([{name: row[name] for name in _SHOWN} for row in worse[:20]])),
        "seconds": round(time.monotonic() - started, 3),
    }
    figure = pictures.cells(_most_scored(rows))
    picture = markdown(figure, "errors") if figure else None
    if picture:
        metadata["plot"] = MetadataValue.md(picture)
    return MaterializeResult(metadata=metadata)


_SHOWN = ("series", "target", "model", "step", "grouping", "cell", "scores", "rmae", "rmae_low", "coverage_95")
_OF_ONE = ("series", "target", "model", "step")


def _most_scored(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the trained model with the most scored forecasts, else of naive."""
    whole = [row for row in rows if row["grouping"] == "all"]
    if not whole:
        return []
    most = max(whole, key=lambda row: (row["model"] != "naive", row["scores"]))
    return [row for row in rows if all(row[name] == most[name] for name in _OF_ONE)]


explain_job = define_asset_job(
    "explain",
    selection=AssetSelection.assets(_EXPLANATIONS_KEY),
    tags=_TAGS,
    description="Explains the newest forecast of what serves a series, now.",
)
errors_job = define_asset_job(
    "analyse_errors",
    selection=AssetSelection.assets(asset_key(ERRORS.qualified)),
    description="Says where forecasts erred, now.",
)
explanations_sensor = AutomationConditionSensorDefinition(
    "explanations",
    target=AssetSelection.groups(GROUP),
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    run_tags={"dagster/priority": "-1", **_TAGS},
    description="Explains models that begin to serve, and says hourly where forecasts erred.",
)
