"""``make bench-forecast``: every model on recorded candles it was not trained on, against the last value.

Each model is trained once on the older 70 % of the bars and forecasts from the newest 30 %, at every bar, or at every
n-th where a forecast costs so much that the whole part would take longer than the budget.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.backtest.scoring import Scored, Truth, figures
from orderflow_assets.forecasting.frame import Frame, Series, build_frame
from orderflow_assets.forecasting.models import SPECS, ModelError, ModelSpec, missing
from orderflow_assets.forecasting.targets import TARGETS, Target

PAIRS: dict[str, int] = {
    "freqtrade_ETH_BTC_5m": 1,
    "freqtrade_LTC_BTC_5m": 1,
    "freqtrade_XLM_BTC_5m": 1,
    "nautilus_BTC_perp_1m_202201": 5,
}
"""Files of recorded candles, and how many of them make a bar of five minutes."""
TEST_SHARE = 0.3
BUDGET_S = 20.0
_PROBED = 3
_SHOWN = ("rmae", "dm_p", "crps_ratio", "coverage_80", "coverage_95", "direction_hit", "direction_p")


@dataclass(frozen=True, slots=True)
class Measured:
    """One model on one pair. ``rows`` are the figures by step."""

    model: str
    target: str
    pair: str
    fit_s: float
    forecast_ms: float
    stride: int
    rows: dict[int, dict[str, Any]]


def frame_of(folder: Path, name: str) -> Frame:
    """The frame of a file of candles."""
    candles = pa.csv.read_csv(folder / f"{name}.csv.gz")
    width = PAIRS.get(name, 1)
    opens = candles["ts_ms"].to_numpy()
    step_ms = 300_000
    edges, first = np.unique(opens // step_ms * step_ms + step_ms, return_index=True)
    last = np.append(first[1:], len(opens)) - 1
    values = {column: candles[column].to_numpy() for column in ("close", "high", "low", "volume")}
    whole = (last - first + 1) == width
    bars = {
        "bar_ts": edges[whole].astype("datetime64[ms]").astype("datetime64[us]"),
        "close": values["close"][last][whole],
        "high": np.maximum.reduceat(values["high"], first)[whole],
        "low": np.minimum.reduceat(values["low"], first)[whole],
        "volume": np.add.reduceat(values["volume"], first)[whole],
    }
    return build_frame(Series(name, "recorded", "spot"), pa.table(bars), bars["bar_ts"][-1].item())


def measure(spec: ModelSpec, target: Target, frame: Frame, pair: str, budget_s: float) -> Measured:
    """Train on the older bars, forecast from the newer ones. Raises :class:`ModelError`."""
    start, stop = len(frame) - int(len(frame) * TEST_SHARE), len(frame)
    began = time.process_time()
    fitted = fitting.fit(spec, target, frame.until(start))
    fit_s = time.process_time() - began
    probe = slice(start, start + _PROBED)
    began = time.process_time()
    fitted.deviations(frame.until(probe.stop), probe)
    each = (time.process_time() - began) / _PROBED
    stride = max(1, round(each * (stop - start) / budget_s)) if spec.adapter == "local" else 1
    began = time.process_time()
    made = fitted.deviations(frame, slice(start, stop, stride))
    spent = time.process_time() - began
    deviations = np.full((stop - start, len(target.steps)), np.nan)
    deviations[::stride] = made
    truth = Truth.of(target, frame, slice(start, stop))
    naive = Scored.of(truth, np.where(np.isnan(deviations), np.nan, 0.0))
    scored = Scored.of(truth, deviations)
    rows = {step: figures(truth, scored, naive, column) for column, step in enumerate(target.steps)}
    return Measured(spec.name, target.name, pair, fit_s, 1_000 * spent / len(made), stride, rows)


def run(folder: Path, names: Sequence[str], targets: Sequence[str], budget_s: float) -> Iterator[Measured | str]:
    """Every model on every pair, and in words what could not be measured."""
    for pair in PAIRS:
        frame = frame_of(folder, pair)
        for target in (TARGETS[name] for name in targets):
            for spec in (SPECS[name] for name in names if target.name in SPECS[name].targets):
                try:
                    yield measure(spec, target, frame, pair, budget_s)
                except ModelError as error:
                    yield f"{pair} {target.name} {spec.name}: {error}"


def table(found: Sequence[Measured], target: str, step: int) -> list[dict[str, Any]]:
    """A row per model: means over the pairs, and on how many of them it is better or significantly worse."""
    by_model: dict[str, list[Measured]] = defaultdict(list)
    for one in found:
        if one.target == target:
            by_model[one.model].append(one)
    rows = []
    for model, parts in by_model.items():
        figures_ = [part.rows[step] for part in parts if part.rows[step].get("origins")]
        if not figures_:
            continue
        row: dict[str, Any] = {"model": model, "pairs": len(figures_)}
        row |= {name: _mean([one.get(name) for one in figures_]) for name in _SHOWN}
        row["better"] = sum(one["rmae"] < 1 for one in figures_)
        row["worse_at_5"] = sum(one["dm_p"] > 0.95 for one in figures_)
        row["origins"] = sum(one["origins"] for one in figures_)
        row["fit_s"] = mean(part.fit_s for part in parts)
        row["forecast_ms"] = mean(part.forecast_ms for part in parts)
        rows.append(row)
    return sorted(rows, key=lambda row: row["rmae"] if row["rmae"] is not None else np.inf)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return mean(known) if known else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.forecasting", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/market_data"), help="folder of recorded candles")
    parser.add_argument("--models", help="only these, with commas")
    parser.add_argument("--targets", default="price,volatility", help="of price, volatility, volume")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="CPU seconds of forecasts, per model and pair")
    parser.add_argument("--csv", type=Path, help="also write every figure here")
    given = parser.parse_args()
    if not given.data.is_dir():
        sys.exit(f"there are no recorded candles at {given.data}; name their folder with --data")
    logging.getLogger("orderflow_assets").setLevel(logging.ERROR)
    names = given.models.split(",") if given.models else [name for name, spec in SPECS.items() if missing(spec) is None]
    targets = given.targets.split(",")
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 170)
    found: list[Measured] = []
    total = len(PAIRS) * sum(target in SPECS[name].targets for name in names for target in targets)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=total)
        for one in run(given.data, names, targets, given.budget):
            progress.advance(task)
            if isinstance(one, str):
                console.print(f"not measured: {one}")
            else:
                found.append(one)
                progress.update(task, description=f"{one.pair} {one.target} {one.model}")
    result = {}
    for target in targets:
        for step in sorted({TARGETS[target].steps[0], TARGETS[target].steps[-1]}):
            result[f"{target} {step}"] = rows = table(found, target, step)
            console.print(_shown(f"{target}, {step} bars ahead", rows))
    if given.csv:
        _write(given.csv, found)
    print(json.dumps(result, indent=2, default=float))


def _shown(title: str, rows: list[dict[str, Any]]) -> Table:
    columns = list(rows[0]) if rows else ["model"]
    shown = Table(*columns, title=title, title_justify="left")
    for row in rows:
        shown.add_row(*(f"{row[name]:.3f}" if isinstance(row[name], float) else str(row[name]) for name in columns))
    return shown


def _write(path: Path, found: Sequence[Measured]) -> None:
    rows = [
        {
            "pair": one.pair,
            "target": one.target,
            "model": one.model,
            "step": step,
            "fit_s": one.fit_s,
            "stride": one.stride,
        }
        | row
        for one in found
        for step, row in one.rows.items()
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
