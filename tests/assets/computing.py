"""Running the layers in tests, and comparing what they stored."""

from __future__ import annotations

import json
import math
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from orderflow_assets.layers import LAYERS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, Window, connect
from orderflow_streaming.tables import Table

HOUR = timedelta(hours=1)
Rows = dict[tuple[Any, ...], dict[str, Any]]


def compute(store: Store, start: datetime, end: datetime, step: timedelta = HOUR) -> None:
    """Every layer, window by window, as the orchestrator would."""
    while start < end:
        for layer in LAYERS:
            layer.compute(store, start, min(start + step, end))
        start += step


def copied(raw: Path, folder: Path) -> Store:
    """A store of its own with what the closed store in ``raw`` holds."""
    shutil.copytree(raw, folder, dirs_exist_ok=True)
    return connect(folder, scope="write")


def forget_after(store: Store, moment: datetime) -> None:
    """Delete what happened after ``moment``."""
    future = Window(moment + timedelta(microseconds=1), datetime(9999, 1, 1))  # noqa: DTZ001
    for stream in ("prices", "orderbooks", "trades"):
        table = STREAMS[stream].table
        store.write(table, table.arrow_schema.empty_table(), future)


def stored(store: Store, table: Table, condition: str = "true") -> Rows:
    """Rows by key; the members of JSON objects are columns of their own."""
    rows = store.query(f"SELECT * FROM {table.qualified} WHERE {condition}").to_pylist()
    for column in table.columns:
        if column.type == "JSON":
            for row in rows:
                held = json.loads(row.pop(column.name) or "null")
                members = held.items() if isinstance(held, dict) else [("all", held)]
                row |= {f"{column.name}.{name}": value for name, value in members}
    found = {tuple(row[name] for name in table.key): row for row in rows}
    assert len(found) == len(rows), f"{table.qualified} holds a key twice"
    return found


def same(left: object, right: object, tolerance: float = 1e-7) -> bool:
    """NULL equals NULL only; numbers up to rounding."""
    if left is None or right is None:
        return left is right
    if isinstance(left, float | int) and isinstance(right, float | int):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance / 100)
    return left == right


def differences(left: Rows, right: Rows, tolerance: float) -> list[str]:
    """What two tables disagree on, in words; empty when they are equal."""
    found = [f"only on one side: {key}" for key in left.keys() ^ right.keys()]
    for key in left.keys() & right.keys():
        found += [
            f"{key} {name}: {value!r} against {right[key][name]!r}"
            for name, value in left[key].items()
            if not same(value, right[key][name], tolerance)
        ]
    return found
