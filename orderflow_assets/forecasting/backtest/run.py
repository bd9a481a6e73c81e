"""A backtest of one series: every model on the same bars, its figures, its trading and its grade."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.backtest import overfitting, trading
from orderflow_assets.forecasting.backtest.engine import Plan, Walk, walk
from orderflow_assets.forecasting.backtest.scoring import Scored, Truth, figures, graded, reliability
from orderflow_assets.forecasting.backtest.tables import BACKTEST_CURVE, BACKTESTS
from orderflow_assets.forecasting.backtest.trading import BARS_PER_YEAR, Curve, Market
from orderflow_assets.forecasting.frame import HORIZON, Frame, as_naive
from orderflow_assets.forecasting.models import NAIVE, SPECS, ModelError, ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target

TRADED = "price"
"""The target that can be traded on."""

Key = tuple[str, str, int]
"""Target, model and step."""


@dataclass(frozen=True, slots=True)
class Setup:
    """``hurdle`` is how many times the cost of getting in and out a forecast must exceed to be traded on;
    ``traded_steps`` are the steps traded on; ``trials`` is how many strategies were tried, where that is more than
    this run shows: the Sharpe ratios are deflated for them.
    """

    plan: Plan = field(default_factory=Plan)
    hurdle: float = 1.0
    traded_steps: tuple[int, ...] = (1, HORIZON)
    trials: int | None = None

    def __post_init__(self) -> None:
        if self.hurdle < 0:
            raise ValueError(f"hurdle is a multiple of the costs, from 0 up, not {self.hurdle!r}")
        if unknown := set(self.traded_steps) - set(TARGETS[TRADED].steps):
            raise ValueError(f"traded_steps lie between 1 and {HORIZON}, not {', '.join(map(str, sorted(unknown)))}")
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"trials counts strategies, from 1 up, not {self.trials!r}")


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a run came to. ``rows`` are those of ``forecasts.backtests``."""

    frame: Frame
    setup: Setup
    run_at: datetime
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[Key, Curve] = field(default_factory=dict)
    reliability: dict[Key, list[float]] = field(default_factory=dict)
    """Share of outcomes inside the interval of each of :data:`metrics.LEVELS`."""
    refused: dict[str, str] = field(default_factory=dict)
    """What has no forecast, with the reason."""

    @property
    def edges(self) -> np.ndarray:
        """Closing edges of the test part."""
        return self.frame.times[self.setup.plan.test_part(len(self.frame))]

    def figures(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows, BACKTESTS.arrow_schema)

    def curve(self) -> pa.Table:
        """Rows of ``forecasts.backtest_curve``."""
        parts = [self._curve(key, curve) for key, curve in self.curves.items()]
        return pa.concat_tables(parts) if parts else BACKTEST_CURVE.arrow_schema.empty_table()

    def _curve(self, key: Key, curve: Curve) -> pa.Table:
        fixed = identity(self.frame) | dict(zip(("target", "model", "step"), key, strict=True))
        fixed |= {"run_at": self.run_at}
        varying = {
            "bar_ts": self.edges,
            "position": curve.position,
            "gross_bps": curve.gross,
            "cost_bps": curve.fees + curve.spread,
            "funding_bps": curve.funding,
            "equity_bps": curve.equity,
        }
        columns = [
            pa.array(varying[part.name] if part.name in varying else [fixed[part.name]] * len(self.edges), part.type)
            for part in BACKTEST_CURVE.arrow_schema
        ]
        return pa.table(columns, schema=BACKTEST_CURVE.arrow_schema)


def backtest(frame: Frame, market: Market, models: Sequence[ModelSpec], setup: Setup, run_at: datetime) -> Backtest:
    """Walk every model forward for each of its targets, naive first, and say how good it was."""
    result = Backtest(frame, setup, run_at)
    specs = [SPECS[NAIVE], *(spec for spec in models if spec.name != NAIVE)]
    for target in TARGETS.values():
        walks = list(_walks(result, target, [spec for spec in specs if target.name in spec.targets]))
        if walks:
            _judge(result, target, walks, market)
    return result


def _walks(result: Backtest, target: Target, specs: Sequence[ModelSpec]) -> list[Walk]:
    """What could be walked; the others are noted with their reason."""
    walks = []
    for spec in specs:
        name = f"{target.name} {spec.name}"
        try:
            walks.append(walk(spec, target, result.frame, result.setup.plan))
        except ModelError as error:
            result.refused[name] = str(error)
            continue
        if missed := walks[-1].refused:
            result.refused[f"{name}, {len(missed)} trainings"] = missed[0]
    return walks


def _judge(result: Backtest, target: Target, walks: Sequence[Walk], market: Market) -> None:
    """Add the rows and curves of all models of a target."""
    truth = Truth.of(target, result.frame, walks[0].origins)
    scored = {part.spec.name: Scored.of(truth, part.deviations) for part in walks}
    naive, design, rows = scored[NAIVE], _design(result), {}
    luck = [_luck_of_skill(list(scored.values()), column) for column in range(len(target.steps))]
    for part in walks:
        mine = scored[part.spec.name]
        for column, step in enumerate(target.steps):
            key = (target.name, part.spec.name, step)
            rows[key] = design | _of_model(result.setup.plan, part, step) | figures(truth, mine, naive, column)
            rows[key]["pbo_skill"] = luck[column]
            result.reliability[key] = reliability(mine, column)
    if target.name == TRADED:
        _trade(result, walks, rows, market)
    for (_, model, _), row in rows.items():
        row |= graded(row, naive=model == NAIVE)
        result.rows.append({name: _stored(row.get(name)) for name in BACKTESTS.names})


def _luck_of_skill(scored: Sequence[Scored], column: int) -> float:
    gains = -np.abs(np.column_stack([one.errors[:, column] for one in scored]))
    return overfitting.probability_of_overfitting(gains[~np.isnan(gains).any(axis=1)], by_sharpe=False)


def _trade(result: Backtest, walks: Sequence[Walk], rows: dict[Key, dict[str, Any]], market: Market) -> None:
    """Trade on every model but naive, which never expects a move, and add what it brought."""
    setup, there = result.setup, market.part(walks[0].origins)
    for part in walks:
        for column, step in enumerate(part.target.steps):
            if step in setup.traded_steps and part.spec.name != NAIVE:
                key = (part.target.name, part.spec.name, step)
                result.curves[key] = trading.simulate(part.deviations[:, column], there, step, setup.hurdle)
    traded = [curve.net for curve in result.curves.values() if curve.position.any()]
    trials = max(setup.trials or 0, len(result.curves))
    luck = overfitting.probability_of_overfitting(np.column_stack(traded), by_sharpe=True) if traded else np.nan
    variance = float(np.var([overfitting.sharpe(net) for net in traded], ddof=1)) if len(traded) > 1 else np.nan
    threshold = overfitting.best_of_luck(trials, variance)
    costs = json.dumps(dict(there.sources) | {"hurdle": setup.hurdle})
    for key, curve in result.curves.items():
        found = trading.figures(curve)
        rows[key] |= found | {"trials": trials, "costs": costs, "pbo_trading": luck}
        if found["trades"]:
            ratio = found["sharpe"] / sqrt(BARS_PER_YEAR)
            moments = overfitting.moments(curve.net)
            rows[key]["deflated_sharpe"] = overfitting.deflated_sharpe(ratio, len(curve.net), *moments, threshold)


def identity(frame: Frame) -> dict[str, str]:
    """The columns that name a series."""
    series = frame.series
    return {
        "series": series.key,
        "symbol": series.symbol,
        "exchange": series.exchange,
        "market_type": series.market_type,
    }


def _design(result: Backtest) -> dict[str, Any]:
    """What all rows of a run share."""
    frame, plan = result.frame, result.setup.plan
    return identity(frame) | {
        "run_at": result.run_at,
        "data_from": as_naive(frame.times[0]),
        "test_from": as_naive(result.edges[0]),
        "data_to": as_naive(frame.times[-1]),
        "train_window": plan.window,
        "retrain_every": plan.retrain_every,
        "data_hash": frame.digest(),
    }


def _of_model(plan: Plan, part: Walk, step: int) -> dict[str, Any]:
    return {
        "target": part.target.name,
        "model": part.spec.name,
        "step": step,
        "fits": part.fits,
        "parameters": json.dumps(dict(plan.parameters.get(part.spec.name, {}))),
        "code_version": part.spec.code_version,
        "fit_seconds": part.fit_seconds,
        "predict_seconds": part.predict_seconds,
    }


def _stored(value: Any) -> Any:
    """NULL for what is not known, and plain numbers for those of numpy."""
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return value
