"""Our layers against plain pandas: CPU for the same columns of one hour from the same stored ticks, side by side.

Both read from and ours also writes to one embedded store. Our layers compute more columns than pandas is asked for;
pandas gets minute bars, parents and seconds as stored where it looks back or builds on them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from orderflow_assets.bars.series import HOUR
from orderflow_assets.layers import LAYERS
from orderflow_streaming.store import Store, connect
from tests.bench.features import HISTORY, START, filled

if TYPE_CHECKING:
    import pandas as pd

RATE, ROUNDS = 0.1, 3
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Contest:
    """``pandas`` gives columns of the last of ``tables``; ours are the layers of all of them."""

    tables: tuple[str, ...]
    pandas: Callable[[Store, datetime, datetime], pd.DataFrame]


def contests() -> list[Contest]:
    from tests.bench import in_pandas, in_pandas_books

    return [
        Contest(("bars.quotes_1s", "bars.parent_trades", "bars.bars_1m"), in_pandas.bars_1m),
        Contest(("features.prices",), in_pandas.prices),
        Contest(("features.trades",), in_pandas.trades),
        Contest(("bars.books_1m", "features.orderbook"), in_pandas_books.orderbook),
        Contest(("bars.marks_1m",), in_pandas_books.marks_1m),
        Contest(("bars.oi_1m",), in_pandas_books.oi_1m),
        Contest(("bars.liquidations_1m",), in_pandas_books.liquidations_1m),
        Contest(("bars.ticker_1m",), in_pandas_books.ticker_1m),
    ]


def measure(rate: float = RATE, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Medians of the rounds, and of how many cells the two agree."""
    with tempfile.TemporaryDirectory() as name, connect(Path(name), scope="write") as store:
        ticks = filled(store, rate, 1, HISTORY)
        for layer in LAYERS:
            layer.compute(store, START, START + HOUR)
        rows = [_contest(store, contest, rounds) for contest in contests()]
    ours, theirs = (sum(row[side] for row in rows) for side in ("cpu_s", "pandas_cpu_s"))
    total = {
        "table": f"all, {sum(ticks.values()):,} ticks",
        "columns": sum(row["columns"] for row in rows),
        "of": sum(row["of"] for row in rows),
        "cpu_s": round(ours, 2),
        "pandas_cpu_s": round(theirs, 2),
        "ratio": round(theirs / ours, 1),
    }
    return [total, *rows]


def _contest(store: Store, contest: Contest, rounds: int) -> dict[str, Any]:
    layers = [layer for layer in LAYERS if layer.table.qualified in contest.tables]
    table = layers[-1].table
    ours, theirs, ratios = [], [], []
    for _ in range(rounds):
        used = time.process_time()
        for layer in layers:
            layer.compute(store, START, START + HOUR)
        between = time.process_time()
        frame = contest.pandas(store, START, START + HOUR)
        ours.append(between - used)
        theirs.append(time.process_time() - between)
        ratios.append(theirs[-1] / ours[-1])
    columns, cells, agreeing, apart = compared(store, table.qualified, frame)
    figures = [column for column in table.names if column not in (*table.key, "open_time", "bar_ts")]
    return {
        "table": table.qualified,
        "columns": columns,
        "of": len(figures),
        "cells": cells,
        "agree_pct": round(100 * agreeing / cells, 3),
        "apart": ", ".join(apart),
        "cpu_s": round(median(ours), 2),
        "pandas_cpu_s": round(median(theirs), 2),
        "ratio": round(median(ratios), 1),
    }


def compared(store: Store, table: str, frame: pd.DataFrame) -> tuple[int, int, int, list[str]]:
    """Columns and cells in both, how many cells are the same, and the columns in which some are not."""
    from tests.bench.in_pandas import KEY, keyed

    names = [name for name in frame.columns if name not in ("series", "bar_ts")]
    key = [*KEY, "bar_ts"]
    sql = f"SELECT {', '.join([*key, *names])} FROM {table} WHERE bar_ts > ? AND bar_ts <= ?"
    ours = store.query(sql, [START, START + HOUR], timeout_s=600).to_pandas()
    both = ours.merge(keyed(frame), on=key, how="outer", suffixes=("", "_pandas"))
    agreeing, apart = 0, []
    for name in names:
        left, right = (both[column].to_numpy(dtype=float) for column in (name, f"{name}_pandas"))
        same = np.isclose(left, right, rtol=TOLERANCE, atol=1e-9, equal_nan=True)
        agreeing += int(same.sum())
        if not same.all():
            apart.append(f"{name} {int((~same).sum())}")
    return len(names), len(both) * len(names), agreeing, apart
