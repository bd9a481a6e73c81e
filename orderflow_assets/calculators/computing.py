"""A calculator over many symbols at one time, stored: what its Dagster asset does for a partition."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from orderflow_assets.calculators.calculator import Calculator
from orderflow_assets.calculators.reading import Rows, exists
from orderflow_assets.calculators.result import Result, absent
from orderflow_assets.calculators.tables import RESULTS, SIGNALS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Table

ALL = "all"
"""Stands for exchange where none was named."""
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which symbols, with which parameters, and how many seconds one of them may take."""

    symbols: Sequence[str]
    limit_s: float
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What storing one calculator's partition came to; ``failures`` are the symbols on which it raised, with why."""

    as_of: datetime | None
    rows: int
    signals: int
    seconds: float
    failures: Mapping[str, str]


def store_results(store: Store, item: Calculator, plan: Plan, start: datetime, end: datetime) -> Outcome:
    """Replace the rows of ``item`` in ``(start, end]`` by those at ``end``, or at the newest minute where that is
    earlier. A symbol on which it raises or runs past the limit gets a row that says so; the others are computed.

    Raises :class:`~orderflow_assets.calculators.calculator.ParameterError` before anything is computed.
    """
    arguments = item.arguments(plan.parameters)
    store.ensure(RESULTS, SIGNALS)
    started = time.monotonic()
    as_of = _moment(store, end)
    results: list[dict[str, Any]] = []
    signals: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    if as_of is not None and as_of > start:
        for symbol in plan.symbols:
            began = time.monotonic()
            result, failure = bounded(item, store, symbol, as_of, arguments, plan.limit_s)
            if failure:
                failures[symbol] = failure
            call = _call(item, symbol, as_of)
            results.append({**call, **_cells(result, arguments), "seconds": round(time.monotonic() - began, 3)})
            signals += _signal_rows(call, result)
    window = Window(start + _INSTANT, end + _INSTANT, {"calculator": item.name})
    store.write(RESULTS, _table(RESULTS, results), window)
    store.write(SIGNALS, _table(SIGNALS, signals), window)
    return Outcome(as_of, len(results), len(signals), time.monotonic() - started, failures)


def bounded(
    item: Calculator, store: Rows, symbol: str, end: datetime, arguments: Mapping[str, Any], limit_s: float
) -> tuple[Result, str | None]:
    """The result, and why it failed where it did, after ``limit_s`` at the latest.

    A call past its limit goes on in a thread nobody waits for, since Python cannot be stopped from outside.
    """
    answered: list[tuple[Result, str | None]] = []

    def call() -> None:
        try:
            answered.append((item.run(store, symbol, None, end, **arguments)[1], None))
        except ImportError as error:
            answered.append(_failed(absent(error)))
        except Exception as error:  # whatever a calculator raises is its own failure, told in its row
            answered.append(_failed(f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=call, name=f"{item.name} {symbol}", daemon=True)
    thread.start()
    thread.join(limit_s)
    return answered[0] if answered else _failed(f"it ran past its limit of {limit_s:g} s and was left")


def _failed(reason: str) -> tuple[Result, str]:
    return Result.nothing(reason), reason


def _moment(store: Store, end: datetime) -> datetime | None:
    """``end``, or the newest stored minute where that is earlier; None where no minute is stored."""
    if not exists(store, "bars.bars_1m"):
        return None
    newest: datetime | None = store.query("SELECT max(bar_ts) FROM bars.bars_1m")[0][0].as_py()
    return min(newest, end) if newest else None


def _call(item: Calculator, symbol: str, as_of: datetime) -> dict[str, Any]:
    return {"calculator": item.name, "version": item.version, "symbol": symbol, "exchange": ALL, "as_of": as_of}


def _cells(result: Result, arguments: Mapping[str, Any]) -> dict[str, str]:
    parts = (("data", result.data), ("metadata", result.metadata), ("errors", result.errors))
    return {"parameters": json.dumps(arguments), **{name: json.dumps(part) for name, part in parts}}


def _signal_rows(call: Mapping[str, Any], result: Result) -> list[dict[str, Any]]:
    return [
        {
            **call,
            "position": position,
            "type": item.type,
            "strength": float(item.strength),
            "description": item.description,
            "timestamp": item.timestamp,
            "metadata": json.dumps(item.to_dict()["metadata"]),
        }
        for position, item in enumerate(result.signals, 1)
    ]


def _table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=table.arrow_schema)
