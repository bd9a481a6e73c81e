"""Backtests by series, on demand: the job ``backtest``, its two tables, its report and its checks."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetSelection,
    AssetSpec,
    Config,
    MaterializeResult,
    MetadataValue,
    define_asset_job,
    multi_asset,
)
from pydantic import Field

from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.forecasting.backtest import verdicts
from orderflow_assets.forecasting.backtest.engine import Plan
from orderflow_assets.forecasting.backtest.market import HALF_SPREAD_BPS, read_market
from orderflow_assets.forecasting.backtest.pictures import draw
from orderflow_assets.forecasting.backtest.report import write_report
from orderflow_assets.forecasting.backtest.run import Setup, backtest
from orderflow_assets.forecasting.backtest.tables import BACKTEST_CURVE, BACKTESTS, WINDOWS
from orderflow_assets.forecasting.charts import table
from orderflow_assets.forecasting.frame import (
    BARS,
    FEATURES,
    HORIZON,
    FrameError,
    Series,
    known_until,
    read_frame,
    utc_now,
)
from orderflow_assets.forecasting.models import SPECS, ModelSpec, candidates, resolve
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import OWNERS, asset_key, table_metadata, table_version
from orderflow_assets.partitions import series
from orderflow_assets.plots import markdown
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Window

_TABLES = (BACKTESTS, BACKTEST_CURVE)
_KEY, _CURVE_KEY = (asset_key(of.qualified) for of in _TABLES)
_READ = {BARS, *FEATURES, SETTLEMENTS.qualified}
_INPUTS = [asset_key(layer.table.qualified) for layer in LAYERS if layer.table.qualified in _READ]
_CODE = [spec.code_version for spec in SPECS.values()]
_CHECKS = {
    "grade": (verdicts.grade, "What serves the series was graded C or better at every step of this backtest."),
    "coverage": (verdicts.coverage, "Its intervals cover within three points of their 80 and 95 % at every step."),
}


class BacktestConfig(Config):
    """What is tested, and how."""

    models: list[str] = Field([], description="Names or aliases; none: those of every scheduled training.")
    lookback_days: float = Field(30.0, gt=0, description="Days of five-minute bars to look at.")
    test_share: float = Field(0.5, gt=0, lt=1, description="Newest share of them to forecast.")
    retrain_every: int = Field(288, ge=1, description="Bars of five minutes between trainings.")
    window: str = Field("expanding", description=f"Bars trained on: {' or '.join(WINDOWS)}.")
    train_bars: int | None = Field(None, description="Length of a sliding window; none: that of the first training.")
    parameters: dict[str, dict[str, Any]] = Field({}, description="Hyper-parameters to override, by model name.")
    hurdle: float = Field(1.0, ge=0, description="Trade where a forecast exceeds this many times what it costs.")
    half_spread_bps: float = Field(HALF_SPREAD_BPS, ge=0, description="Taken where no spread is stored.")
    traded_steps: list[int] = Field([1, HORIZON], description="Steps of the price forecast that are traded on.")
    trials: int | None = Field(None, ge=1, description="Strategies tried in all, if more than this run shows.")

    def setup(self) -> Setup:
        plan = Plan(self.test_share, self.retrain_every, self.window, self.train_bars, self.parameters)
        return Setup(plan, self.hurdle, tuple(self.traded_steps), self.trials)

    def specs(self) -> list[ModelSpec]:
        for name in self.parameters:
            resolve(name)
        if self.models:
            return [resolve(name) for name in self.models]
        return list({spec.name: spec for target in TARGETS for spec in candidates(target)}.values())


@multi_asset(
    name="backtests",
    specs=[
        AssetSpec(
            asset_key(of.qualified),
            deps=[AssetDep(key, partition_mapping=AllPartitionMapping()) for key in _INPUTS],
            group_name="models",
            kinds={"darts", "duckdb"},
            owners=OWNERS,
            code_version=table_version(of, *_CODE),
            description=of.doc,
            metadata=table_metadata(of),
        )
        for of in _TABLES
    ],
    check_specs=[AssetCheckSpec(name, asset=_KEY, description=text) for name, (_, text) in _CHECKS.items()],
    partitions_def=series,
    pool="backtests",
)
def backtests(
    context: AssetExecutionContext, config: BacktestConfig, store: StoreResource
) -> Iterator[MaterializeResult]:
    started, key = time.process_time(), context.partition_key
    setup, specs = config.setup(), config.specs()
    with store.step() as opened:
        opened.ensure(*_TABLES)
        until = known_until(opened)
        try:
            if until is None:
                raise FrameError("there are no bars yet")
            frame = read_frame(opened, Series.parse(key), until, timedelta(days=config.lookback_days))
        except FrameError as error:
            yield from _nothing(str(error))
            return
        market = read_market(opened, frame, config.half_spread_bps)
    result = backtest(frame, market, specs, setup, utc_now())
    with store.step() as opened:
        opened.write(BACKTESTS, result.figures())
        opened.write(BACKTEST_CURVE, result.curve(), Window(equals={"series": key}))
    path = write_report(store.data_dir, result)
    registry = Registry(store.data_dir)
    serves = {target: champion.model for target in TARGETS if (champion := registry.champion(key, target))}
    metadata: dict[str, Any] = {
        "rows": len(result.rows),
        "origins": len(result.edges),
        "bars": len(frame),
        "bars_missing": frame.missing,
        "test_from": str(result.edges[0]) if len(result.edges) else "",
        "data_to": str(frame.times[-1]),
        "cpu_seconds": round(time.process_time() - started, 3),
        "grades": MetadataValue.md(table([{name: row[name] for name in _SUMMARY} for row in result.rows])),
        "without_forecast": result.refused,
        "report": MetadataValue.path(str(path)),
        "report_bytes": path.stat().st_size,
    }
    pictures = {title: markdown(figure, title) for title, figure in draw(result).items()}
    metadata |= {title: MetadataValue.md(text) for title, text in pictures.items() if text}
    yield MaterializeResult(asset_key=_KEY, metadata=metadata, check_results=_checks(result.rows, serves))
    yield MaterializeResult(
        asset_key=_CURVE_KEY,
        metadata={
            "dagster/partition_row_count": len(result.edges) * len(result.curves),
            "strategies": len(result.curves),
        },
    )


_SUMMARY = ("target", "model", "step", "grade", "rmae", "dm_p", "crps_ratio", "coverage_95", "direction_hit", "net_bps")


def _checks(rows: list[dict[str, Any]], serves: dict[str, str]) -> list[AssetCheckResult]:
    verdict = {name: judge(rows, serves) for name, (judge, _) in _CHECKS.items()}
    return [
        AssetCheckResult(
            asset_key=_KEY,
            check_name=name,
            passed=found.passed,
            severity=AssetCheckSeverity.WARN,
            description=found.reason,
        )
        for name, found in verdict.items()
    ]


def _nothing(reason: str) -> Iterator[MaterializeResult]:
    yield MaterializeResult(asset_key=_KEY, metadata={"rows": 0, "reason": reason}, check_results=_checks([], {}))
    yield MaterializeResult(asset_key=_CURVE_KEY, metadata={"strategies": 0, "reason": reason})


backtest_job = define_asset_job(
    "backtest",
    selection=AssetSelection.assets(*(asset_key(of.qualified) for of in _TABLES)),
    tags={"orderflow/heavy": "training", "dagster/max_runtime": "1800"},
    description="Walks models of a series forward over its past, and grades them.",
)
