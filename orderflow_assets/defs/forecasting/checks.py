"""Whether a challenger may serve."""

from collections.abc import Iterable

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    multi_asset_check,
)

from orderflow_assets.defs.forecasting.names import (
    CHALLENGER_CHECKS,
    VERSIONS_KEY,
)
from orderflow_assets.forecasting.registry import Registry, TamperedArtefactError
from orderflow_assets.partitions import series
from orderflow_assets.resources import StoreResource


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
