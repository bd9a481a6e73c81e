"""Any declared table filled with plausible noise: what is read matters here, not what comes out.

Eight series, among them four perpetuals and three spot markets of one symbol. Every column has a value in every row,
so that whatever a layer computes is known as soon as the history is long enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.grid import Identity
from orderflow_assets.layers import LAYERS
from orderflow_assets.signals.calibration import CALIBRATED
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.timeseries import regimes
from orderflow_streaming.schema import LEVELS, OPERATIONS, STREAMS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

TABLES: dict[str, Table] = {
    table.qualified: table
    for table in (*(stream.table for stream in STREAMS.values()), *OPERATIONS, *(layer.table for layer in LAYERS))
}
SERIES = (
    *(("AAAUSDT", exchange, "futures") for exchange in ("binance", "bybit", "okx", "gateio")),
    *(("AAAUSDT", exchange, "spot") for exchange in ("binance", "bybit", "kucoin")),
    ("BBBUSDT", "binance", "futures"),
)
_STEPS = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
_EVERY_S = {
    "main.trades": 7,
    "main.prices": 2,
    "main.orderbooks": 3,
    "main.liquidations": 20,
    "bars.parent_trades": 20,
    "bars.volume_buckets": 600,
    "bars.liquidation_clusters": 900,
    "bars.liquidation_retracements": 900,
    "bars.funding_settlements": 28_800,
    "bars.activity_bars": 300,
    "bars.consolidated_activity_bars": 300,
}
_EIGHT_HOURS_US = 28_800_000_000


def step_of(table: Table) -> timedelta:
    """Between two rows of a series."""
    if table.time == "valid_from":
        return timedelta(days=1)
    if table.schema == "main" and table.name != "candles":
        return timedelta(seconds=_EVERY_S.get(table.qualified, 11))
    if table.qualified in _EVERY_S:
        return timedelta(seconds=_EVERY_S[table.qualified])
    return timedelta(seconds=_STEPS.get(table.name.rpartition("_")[2], 60))


def edges_of(table: Table) -> dict[str, timedelta]:
    """How far each column of time lies before ``table.time``."""
    step, minute = step_of(table), timedelta(minutes=1)
    after_opening = {"open_time": timedelta(0), "last_minute": step - minute, "bar_ts": step}
    if table.time not in after_opening:
        return {table.time: timedelta(0)}
    return {name: after_opening[table.time] - after for name, after in after_opening.items() if name in table.names}


def fill(
    store: Store, names: Iterable[str], start: datetime, end: datetime, among: Sequence[Identity] = SERIES
) -> None:
    """Rows of the tables ``names`` with times in ``[start, end)``; the records of operation as they would be."""
    for name in names:
        store.ensure(TABLES[name])
        rows = _records(name, end) if TABLES[name] in OPERATIONS else rows_of(TABLES[name], start, end, among)
        store.write(TABLES[name], rows)


def _records(name: str, end: datetime) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for symbol, exchange, market_type in SERIES:
        row = {"symbol": symbol, "exchange": exchange, "market_type": market_type}
        if name == "ops.instruments":
            rows.append(row | {"tick_size": 0.01, "contract_size": 1.0, "funding_interval_hours": 8.0, "as_of": end})
        elif name == "ops.backfills":
            whole = {"started_at": end - timedelta(hours=3), "ended_at": end, "rows": 1, "requests": 1, "done_at": end}
            rows.append(row | whole | {"stream": "funding_rates"})
        elif name == "ops.gaps":
            past = end - timedelta(days=400)
            rows.append(row | {"stream": "trades", "detected_at": past, "started_at": past, "reason": "disconnected"})
    for row in rows if name == "ops.instruments" else ():
        row["venue_symbol"] = row["symbol"]
    return pa.Table.from_pylist(rows, TABLES[name].arrow_schema)


def rows_of(table: Table, start: datetime, end: datetime, among: Sequence[Identity] = SERIES) -> pa.Table:
    """One row per series and step, or per further part of the key."""
    step = step_of(table)
    rng = np.random.default_rng(len(table.qualified))
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001
    first = epoch + -(-(start - epoch) // step) * step
    times = np.arange(np.datetime64(first, "us"), np.datetime64(end, "us"), np.timedelta64(step))
    series = [one for one in among if table.name not in ("oi_1m", "oi_5m") or one[2] == "futures"]
    if "symbol" not in table.names:
        series = list(among[:1])
    elif "exchange" not in table.names:
        series = [(symbol, "", "") for symbol in dict.fromkeys(symbol for symbol, _, _ in among)]
    parts = _parts(table)
    count = len(times) * len(parts)
    blocks = []
    for number, identity in enumerate(series):
        when = np.repeat(times, len(parts))
        if table.schema == "main" and table.name != "candles":
            when = when + rng.integers(0, round(step / timedelta(microseconds=1)), count).astype("timedelta64[us]")
        data: dict[str, Any] = {name: np.tile([part[name] for part in parts], len(times)) for name in parts[0]}
        data |= dict(zip(("symbol", "exchange", "market_type"), ([part] * count for part in identity), strict=True))
        level = 100 * np.exp(np.cumsum(rng.normal(0, 2e-4, count)) + number / 1e4)
        for column in table.columns:
            if column.name not in data:
                data[column.name] = _values(table, column.name, column.type, when, level, rng)
        if "id" in table.names:
            data["id"] = np.arange(count) + number * 10**7
        blocks.append(
            pa.table({column.name: pa.array(data[column.name]).cast(column.arrow.type) for column in table.columns})
        )
    return pa.concat_tables(blocks)


def _parts(table: Table) -> list[dict[str, Any]]:
    if table.name == "microprice":
        return [{"imbalance_bucket": bucket, "spread_ticks": ticks} for bucket in range(10) for ticks in range(1, 5)]
    if table.name == "ofi_loadings":
        return [{"level": level} for level in range(1, LEVELS + 1)]
    if table.qualified in ("signals.signals", "signals.labels"):
        return [{"signal": name} for name in SIGNALS]
    if table.qualified == "signals.calibration":
        return [{"signal": name} for name in CALIBRATED]
    if table.qualified == "analytics.regime_models":
        return [{"step": step} for step in ("5m", "1h")]
    if table.name == "candles" and table.schema == "main":
        return [{"interval": "1m"}]
    return [{}]


def _values(
    table: Table, name: str, kind: str, when: np.ndarray, level: np.ndarray, rng: np.random.Generator
) -> np.ndarray | list[Any]:
    count = len(when)
    step = np.timedelta64(step_of(table))
    if kind == "TIMESTAMP":
        return _time(table, name, when, step)
    if kind == "BOOLEAN":
        return np.ones(count, bool) if name == "is_closed" else rng.random(count) < 0.5
    if kind == "JSON":
        return _json(table, name, count, rng)
    if kind == "VARCHAR":
        return _words(table, name, count, rng)
    if kind.endswith("[][]"):
        side = 1 if name.startswith("ask") else -1
        return [[[price * (1 + side * 1e-4 * (11 + deep)), 1.5] for deep in range(10)] for price in level]
    numbers = _numbers(table.qualified, name, level, rng)
    return np.round(numbers) if "INT" in kind else numbers


def _time(table: Table, name: str, when: np.ndarray, step: np.timedelta64) -> np.ndarray:
    if name in ("bar_ts", "close_time"):
        return when + step
    if name == "last_minute":
        return when + step - np.timedelta64(1, "m")
    if name == "open_time" and table.time == "last_minute":
        return when
    if name == "next_funding_time":
        return ((when.astype(np.int64) // _EIGHT_HOURS_US + 1) * _EIGHT_HOURS_US).astype("datetime64[us]")
    if name == "signal_ts":
        return when - np.timedelta64(1, "h")
    if name == "received_at":
        return when + np.timedelta64(50, "ms")
    return when


def _json(table: Table, name: str, count: int, rng: np.random.Generator) -> list[str]:
    if name in ("model", "parameters"):
        return [_model(1 if name == "model" else 2)] * count
    if name == "curve":
        return [json.dumps([[0.0, 0.1], [1.0, 0.9]])] * count
    if name in ("components", "fields"):
        return [
            json.dumps({"first": float(value), "direction": 1, "timeframe_hours": 2}) for value in rng.random(count)
        ]
    return ["{}"] * count


@cache
def _model(observed: int) -> str:
    """A fitted regime model of ``observed`` columns."""
    rng = np.random.default_rng(observed)
    return json.dumps(regimes.fit(rng.normal(0, 1e-3, (400, observed)), states=3).to_dict())


def _words(table: Table, name: str, count: int, rng: np.random.Generator) -> list[str]:
    group = next((group for group in GROUPS.values() if group.table == table), None)
    declared = next((item for item in group.columns if item.name == name), None) if group else None
    if declared is not None:
        words: tuple[str, ...] = declared.labels
    elif name == "side" and "liquidation" in table.name:
        words = ("long", "short")
    elif name in ("high_exchange", "low_exchange"):
        words = ("binance", "bybit")
    elif name == "side":
        words = ("buy", "sell")
    elif name == "kind":
        words = ("accounts",)
    elif name == "source":
        words = ("venue",)
    else:
        return [f"{name}{number}" for number in range(count)]
    return [words[place] for place in rng.integers(0, len(words), count)]


def _numbers(table: str, name: str, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = len(level)
    if match := re.fullmatch(r"(bid|ask)_(?:(\d+)_)?(price|qty)", name):
        side, deep = (1 if match[1] == "ask" else -1), int(match[2] or 1)
        return rng.lognormal(0, 0.3, count) if match[3] == "qty" else level * (1 + side * 1e-4 * deep)
    prices = {"high": 1.001, "low": 0.999, "open": 1.0, "close": 1.0, "price": 1.0, "mid_high": 1.001, "mid_low": 0.999}
    prices |= {"mark": 1.0001, "mark_high": 1.001, "mark_low": 0.999, "high_24h": 1.02, "low_24h": 0.98}
    if name in prices or re.search(
        r"(price|mid|mid_close|index_close|mark_close|vwap|spot_mid|mid_before|mid_after|mid_end)$", name
    ):
        return level * prices.get(name, 1.0) * (1 + rng.normal(0, 1e-5, count))
    if name in ("minutes", "venues") and table.startswith("bars.candles"):
        return np.full(count, 5.0 if table.endswith("5m") else 60.0)
    if re.search(r"interval_hours$", name):
        return np.full(count, 8.0)
    if re.search(
        r"rate$|premium$|return|basis|imbalance|ofi|flow|divergence|delta|zscore|momentum|acceleration|trend|deviation|synchronization|drift|velocity|side$",
        name,
    ):
        return rng.normal(0, 1e-3 if re.search(r"rate|premium|return|basis", name) else 1.0, count)
    if re.search(r"variance|squares", name):
        return rng.lognormal(-12, 0.5, count)
    if re.search(r"share|ratio|percentile|probability|confidence|score|persistence|value$", name) and table.startswith(
        ("signals", "features", "bars.quotes")
    ):
        return rng.uniform(0.05, 0.95, count)
    if name == "vote":
        return rng.integers(-1, 2, count)
    if re.search(r"volume|value|notional|open_interest|^oi$|depth", name):
        part = 0.5 if re.search(r"taker_buy|late", name) else 1.0
        return 1e4 * part * rng.lognormal(0, 0.5, count)
    if re.search(r"count|parents|trades|events|obs|quotes|samples|prints", name):
        part = 4 if re.search(r"buy|unseen|sweep", name) else 10
        return rng.poisson(part, count) + 1.0
    if name in ("bought", "hidden"):
        return rng.uniform(0.1, 0.9, count)
    return rng.lognormal(0, 0.5, count)
