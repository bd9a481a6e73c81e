"""Whether a challenger may serve, and whether what serves has drifted."""

from collections.abc import Iterable, Iterator
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    Config,
    Output,
    multi_asset_check,
)
from pydantic import Field

from orderflow_assets.defs.forecasting.names import (
    CHALLENGER_CHECKS,
    CHAMPIONS_KEY,
    DRIFT_CHECK,
    DRIFT_KEY,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting.drift.tables import DRIFT, SEVERITIES
from orderflow_assets.forecasting.registry import Registry, TamperedArtefactError
from orderflow_assets.partitions import series
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store

RETRAIN_AT = "HIGH"


class DriftConfig(Config):
    """When a finding counts as failure."""

    min_severity: str = Field(RETRAIN_AT, description=f"One of {', '.join(SEVERITIES)}; from it on the check fails.")


@multi_asset_check(
    name="check_challengers",
    specs=[
        AssetCheckSpec(
            check.name,
            asset=VERSIONS_KEY,
            blocking=True,
            partitions_def=series,
            description="On bars it has not seen the new model beats naive and the champion, on the same origins. "
            "A loss warns and leaves serving as it is; a model that cannot be trusted stops the run.",
        )
        for check in CHALLENGER_CHECKS.values()
    ],
)
def challengers(context: AssetCheckExecutionContext, store: StoreResource) -> Iterable[AssetCheckResult]:
    registry = Registry(store.data_dir)
    judged = [version for version in registry.versions(context.partition_key) if version.metrics]
    for target, check in CHALLENGER_CHECKS.items():
        newest = registry.challenger(context.partition_key, target) or next(
            (version for version in reversed(judged) if version.target == target), None
        )
        if newest is None:
            yield AssetCheckResult(
                check_name=check.name,
                passed=False,
                severity=AssetCheckSeverity.WARN,
                description="no model of this target has been judged, so naive serves",
            )
            continue
        metrics = newest.metrics or {}
        try:
            registry.artefact(newest)
        except TamperedArtefactError as error:
            yield AssetCheckResult(
                check_name=check.name, passed=False, severity=AssetCheckSeverity.ERROR, description=str(error)
            )
            continue
        yield AssetCheckResult(
            check_name=check.name,
            passed=metrics["verdict"] == "promote",
            severity=AssetCheckSeverity.WARN,
            description=metrics["reason"],
            metadata={
                "model": newest.model,
                "version": newest.version,
                "verdict": metrics["verdict"],
                "origins": metrics["origins"],
                **{name: metrics[name] for name in _COMPARISONS if metrics.get(name)},
            },
        )


_COMPARISONS = ("against_naive", "against_champion", "champion_against_naive")


_DRIFT = AssetCheckSpec(
    DRIFT_CHECK.name,
    asset=CHAMPIONS_KEY,
    additional_deps=[DRIFT_KEY],
    partitions_def=series,
    description="The errors of what serves a series are what they were when it began to.",
)


def _newest_rows(opened: Store) -> list[dict[str, Any]]:
    """Rows of the newest drift check; none where drift was never checked."""
    if not opened.exists(DRIFT):
        return []
    newest = f"SELECT max(checked_at) FROM {DRIFT.qualified}"
    return opened.query(
        f"SELECT * FROM {DRIFT.qualified} WHERE checked_at = ({newest}) ORDER BY series, target"
    ).to_pylist()


@multi_asset_check(name="check_drift", specs=[_DRIFT])
def drifted(
    context: AssetCheckExecutionContext, config: DriftConfig, store: StoreResource
) -> Iterator[Output[None] | AssetCheckEvaluation]:
    """One verdict per series in one run, so each evaluation is yielded by hand with its partition."""
    severities = SEVERITIES[SEVERITIES.index(config.min_severity) :]
    with store.step("read") as opened:
        rows = _newest_rows(opened)
    for key in dict.fromkeys(row["series"] for row in rows):
        findings = [row for row in rows if row["series"] == key]
        worst = max(findings, key=lambda row: SEVERITIES.index(row["severity"]))
        yield AssetCheckEvaluation(
            asset_key=CHAMPIONS_KEY,
            check_name=DRIFT_CHECK.name,
            partition=key,
            passed=worst["severity"] not in severities,
            severity=AssetCheckSeverity.ERROR if worst["severity"] == SEVERITIES[-1] else AssetCheckSeverity.WARN,
            description=f"{worst['target']}: {worst['severity']}, {worst['reason']}",
            metadata={
                "severity": worst["severity"],
                **{
                    f"{row['target']}_{name}": row[name]
                    for row in findings
                    for name in _STATISTICS
                    if row[name] is not None
                },
            },
        )
    yield Output(None, output_name=_DRIFT.get_python_identifier())


_STATISTICS = (
    "model",
    "version",
    "scores",
    "severity",
    "error_ratio",
    "coverage_95",
    "ks_statistic",
    "ks_p",
    "psi",
    "jensen_shannon",
    "dm_statistic",
    "dm_p",
    "reason",
)
