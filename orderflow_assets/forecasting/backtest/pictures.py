"""Pictures of a backtest: trading after costs, errors by step, and whether intervals hold. matplotlib is imported on
use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from orderflow_assets.forecasting.backtest import metrics
from orderflow_assets.forecasting.backtest.grades import COVERAGE_ERROR
from orderflow_assets.forecasting.backtest.run import Backtest
from orderflow_assets.forecasting.backtest.trading import drawdowns
from orderflow_assets.forecasting.models import NAIVE
from orderflow_assets.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(result: Backtest) -> dict[str, Figure]:
    """Figures by title; only those that have something to show."""
    found = {"equity": _equity(result), "errors by step": _by_step(result), "reliability": _reliability(result)}
    return {title: figure for title, figure in found.items() if figure}


def _equity(result: Backtest) -> Figure | None:
    """Cumulated P&L after costs, and how far below its peak, of every strategy that traded."""
    traded = {key: curve for key, curve in result.curves.items() if curve.position.any()}
    if not traded:
        return None
    figure = canvas(4.0)
    equity, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    equity.axhline(0, color="0.7", linewidth=0.8)
    for (_, model, step), curve in traded.items():
        equity.plot(result.edges, curve.equity, linewidth=1, label=f"{model}, step {step}")
        below.plot(result.edges, -drawdowns(curve.equity), linewidth=0.8)
    equity.set_ylabel("P&L after costs, bps", fontsize=7)
    below.set_ylabel("drawdown, bps", fontsize=7)
    _finish(equity, below)
    return figure


def _by_step(result: Backtest) -> Figure | None:
    """Errors and quantile scores over naive's by step, of targets with several steps."""
    rows = [row for row in result.rows if row["model"] != NAIVE and row["rmae"] is not None]
    several = {target for target in {row["target"] for row in rows} if len(_steps(rows, target)) > 1}
    rows = [row for row in rows if row["target"] in several]
    if not rows:
        return None
    figure = canvas(3.0)
    errors, scores = figure.subplots(1, 2, sharex=True)
    for axes, name, title in ((errors, "rmae", "errors"), (scores, "crps_ratio", "quantile scores")):
        axes.axhline(1, color="0.7", linewidth=0.8)
        for model in dict.fromkeys(row["model"] for row in rows):
            mine = [row for row in rows if row["model"] == model]
            values = [np.nan if row[name] is None else row[name] for row in mine]
            axes.plot([row["step"] for row in mine], values, marker="o", markersize=2.5, linewidth=1, label=model)
        axes.set_title(f"{title} over naive's; below 1 beats it", fontsize=8)
        axes.set_xlabel("step, bars of five minutes", fontsize=7)
    _finish(errors, scores)
    return figure


def _steps(rows: list[dict[str, object]], target: str) -> set[object]:
    return {row["step"] for row in rows if row["target"] == target}


def _reliability(result: Backtest) -> Figure | None:
    """How far the coverage of each interval is from its level, at the last step of each target."""
    stated = {key: shares for key, shares in result.reliability.items() if shares}
    targets = list(dict.fromkeys(target for target, _, _ in stated))
    if not targets:
        return None
    figure = canvas(2.8)
    grid = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    levels = 100 * np.array(metrics.LEVELS)
    for axes, target in zip(grid, targets, strict=True):
        last = max(step for name, _, step in stated if name == target)
        axes.axhspan(-100 * COVERAGE_ERROR, 100 * COVERAGE_ERROR, color="0.93")
        for (name, model, step), shares in stated.items():
            if name == target and step == last:
                missed = 100 * np.array(shares) - levels
                axes.plot(levels, missed, marker="o", markersize=2.5, linewidth=1, label=model)
        axes.set_title(f"{target}, step {last}", fontsize=8)
        axes.set_xlabel("level of the interval, %", fontsize=7)
    grid[0].set_ylabel("coverage - level, points", fontsize=7)
    _finish(*grid)
    return figure


def _finish(*parts: Axes) -> None:
    for axes in parts:
        axes.tick_params(labelsize=6)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=6, frameon=False)
