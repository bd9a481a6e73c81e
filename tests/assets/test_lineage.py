"""What tables are said to be made of is what they are made of, and what is said to be read is all that is read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.live import _columns, _copy, _parts
from orderflow_assets.metadata import column_lineage
from orderflow_streaming.schema import OPERATIONS
from orderflow_streaming.store.client import LocalStore
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.tables import Table
from tests.assets.computing import same
from tests.assets.random_tables import SERIES, TABLES, edges_of, fill, step_of
from tests.assets.spying import Scan, Spy

MIDNIGHT = datetime(2025, 3, 11)  # noqa: DTZ001
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
BY_NAME = {layer.table.qualified: layer for layer in LAYERS}
ONCE = (1975, 2199)
"""Years of lone rows long before and long after what is computed."""

EDGES = {"open_time", "bar_ts", "last_minute"}
COUNTED_AS = {"id", "timestamp"}
NOT_USED = {"bars.daily_sizes.minutes", "signals.calibration.method"}
"""Read with the rest of a row and not looked at."""

FOUND_BY_KEY = {("bars.executions_1m", "main.orderbooks"), ("signals.probabilities", "signals.calibration")}
"""Looked up row by row through a join, or a handful of rows a day: no bound in time of their own."""


@pytest.fixture(scope="module")
def noise() -> Iterator[LocalStore]:
    """Every input of every layer, full of noise for the hours around midnight."""
    with LocalStore(Engine(":memory:")) as store:
        for name in sorted({name for layer in LAYERS for name in layer.inputs}):
            table = TABLES[name]
            if table in OPERATIONS:
                fill(store, [name], MIDNIGHT, MIDNIGHT)
                continue
            tick = table.schema == "main" or name == "bars.quotes_1s"
            length = 2 * HOUR if tick else 3 * HOUR if step_of(table) < HOUR else 3 * DAY
            fill(store, [name], MIDNIGHT - length, MIDNIGHT + HOUR / 2)
            for year in ONCE:
                fill(store, [name], datetime(year, 1, 1), datetime(year, 1, 1) + step_of(table))  # noqa: DTZ001
        yield store


def window(layer: Layer) -> tuple[datetime, datetime]:
    """Minutes, late in the day; what comes once in a while comes at midnight."""
    return (MIDNIGHT, MIDNIGHT + HOUR / 2) if layer.every > 5 * MINUTE else (MIDNIGHT - HOUR / 3, MIDNIGHT)


def known_by_itself(table: Table) -> set[str]:
    return {*table.key, table.time, *(EDGES & set(table.names))}


@pytest.mark.parametrize("layer", LAYERS, ids=BY_NAME)
def test_every_column_is_made_of_columns_that_exist(layer: Layer) -> None:
    declared = layer.lineage
    assert set(declared) | known_by_itself(layer.table) == set(layer.table.names)
    assert set(column_lineage(layer).deps_by_column) == set(declared)
    for column, sources in declared.items():
        assert sources, f"{column} is said to be made of nothing"
        assert len(set(sources)) == len(sources), column
        for source in sources:
            table, _, name = source.rpartition(".")
            assert table in layer.inputs, f"{column}: {table} is no input"
            assert name in TABLES[table].names, f"{column}: {source} does not exist"


@pytest.mark.parametrize("layer", LAYERS, ids=BY_NAME)
def test_no_more_is_read_than_is_said(layer: Layer, noise: LocalStore) -> None:
    spy = Spy(noise, {name: edges_of(table) for name, table in TABLES.items()})
    start, end = window(layer)
    layer.compute(spy, start, end)
    scans = [scan for scan in spy.scans if scan.table != layer.table.qualified]
    assert {scan.table for scan in scans} <= set(layer.inputs)
    assert not [scan for scan in scans if not _near_enough(layer, scan, start)]
    read = {f"{scan.table}.{name}" for scan in scans for name in scan.columns & set(TABLES[scan.table].names)}
    alone = {f"{name}.{column}" for name in layer.inputs for column in known_by_itself(TABLES[name]) | COUNTED_AS}
    assert read - alone - NOT_USED <= {source for sources in layer.lineage.values() for source in sources}


def _near_enough(layer: Layer, scan: Scan, start: datetime) -> bool:
    if scan.since is None:
        return TABLES[scan.table] in OPERATIONS or (layer.table.qualified, scan.table) in FOUND_BY_KEY
    return scan.since >= start - layer.back(scan.table)


def test_a_layer_that_reads_further_back_than_it_says_is_caught(noise: LocalStore) -> None:
    layer = BY_NAME["features.trades"]
    spy = Spy(noise, {name: edges_of(table) for name, table in TABLES.items()})
    start, end = window(layer)
    layer.compute(spy, start, end)
    furthest: dict[str, timedelta] = {}
    for scan in spy.scans:
        if scan.since is not None:
            furthest[scan.table] = max(furthest.get(scan.table, timedelta(0)), start - scan.since)
    assert furthest["bars.parent_trades"] == DAY + 14 * MINUTE
    assert furthest["bars.executions_1m"] == 7 * DAY + 15 * MINUTE
    assert furthest["bars.spreads_1m"] == timedelta(0)


@pytest.mark.parametrize(
    "name",
    [
        *("features.prices", "features.trades", "features.orderbook", "features.mark_prices", "features.liquidations"),
        *("signals.signals", "analytics.order_flow", "analytics.alpha"),
    ],
)
def test_what_is_copied_is_enough(name: str) -> None:
    layer, series = BY_NAME[name], SERIES[:1]
    start, end = MIDNIGHT - 3 * MINUTE, MIDNIGHT
    with LocalStore(Engine(":memory:")) as whole, LocalStore(Engine(":memory:")) as scratch:
        for source in layer.inputs:
            fill(whole, [source], start - layer.back(source) - 2 * HOUR, end, series)
        looked_at = {source for sources in layer.lineage.values() for source in sources}
        for table, part in _parts([layer], start, end).items():
            _copy(whole, scratch, table, _columns(table, looked_at), part, series[0][0])
        expected, found = (_computed(layer, store, start, end) for store in (whole, scratch))
        blank = [column for column, values in expected.items() if set(values) == {None}]
        assert len(blank) < len(expected) / 4, blank
        assert not [column for column in expected if not all(map(same, expected[column], found[column]))]
        assert _rows(scratch, layer) < _rows(whole, layer)


@pytest.mark.parametrize(
    ("name", "source", "changed"),
    [
        ("bars.quotes_1s", "main.prices.bid_qty", {"bid_qty", "bid_share", "log_size_ratio"}),
        ("bars.bars_1m", "bars.parent_trades.notional", {"quote_volume", "taker_buy_quote", "vwap"}),
        ("bars.bars_1m", "bars.parent_trades.prints", {"trade_count"}),
        ("bars.bars_5m", "bars.bars_1m.volume", {"volume", "vwap"}),
        ("bars.books_1m", "main.orderbooks.bid_1_qty", {"ofi_cks", "depth_imbalance_5", "bid_depth_10", "mlofi_1"}),
        ("bars.books_1m", "main.orderbooks.total_bid_depth", set()),
        ("bars.fills_1m", "main.orderbooks.ask_2_qty", {"buy_visible"}),
        ("features.prices", "bars.bars_1m.spread_bps", {"spread_bps", "spread_zscore"}),
        ("features.prices", "bars.bars_1m.trade_count", set()),
        ("features.trades", "bars.parent_trades.notional", {"trade_size_stddev", "whale_threshold"}),
        ("features.trades", "bars.bars_1m.taker_buy_volume", {"cvd", "cvd_slope", "buy_volume", "sell_volume"}),
        ("features.trades", "bars.bars_1m.bid_price", set()),
        ("features.orderbook", "bars.books_1m.bid_depth_25bps", {"bid_depth_25bps", "support_strength"}),
        ("features.oi", "bars.oi_1m.oi", {"oi", "oi_value", "oi_delta", "leverage_index"}),
        ("features.funding", "bars.funding_settlements.rate", {"funding_rate", "funding_carry_yield"}),
        ("features.mark_prices", "bars.marks_1m.premium", {"mark_spot_basis_pct", "basis_zscore"}),
        ("features.mark_prices", "bars.marks_1m.rated_at", set()),
        ("features.liquidations", "bars.liquidations_1m.long_value", {"total_liquidation_value", "liquidated_share"}),
        ("features.ticker", "bars.candles_5m.trade_count", set()),
        ("analytics.order_flow", "features.orderbook.bid_depth_25bps", {"liquidity_imbalance", "depth"}),
        ("analytics.leverage", "features.oi.oi_value", {"oi_value"}),
        ("analytics.cross_exchange", "bars.bars_1m.bid_price", {"gross_spread_bps", "price_dispersion_bps"}),
        ("analytics.moves_5m", "bars.bars_1m.mid_close", {"log_return", "realized_variance"}),
    ],
)
def test_what_changes_is_what_is_made_of_it(name: str, source: str, changed: set[str], noise: LocalStore) -> None:
    layer = BY_NAME[name]
    said = {column for column, sources in layer.lineage.items() if source in sources}
    different = _different(layer, source, noise)
    assert different <= said
    assert changed <= different
    assert changed or not said


_OTHERWISE = {
    "DOUBLE": "{0} * (1.05 + (hash(rowid) % 1000)::DOUBLE / 5000)",
    "BIGINT": "{0} + (hash(rowid) % 3)::BIGINT",
    "TIMESTAMP": "{0} - INTERVAL 7 SECOND",
}


def _rows(store: LocalStore, layer: Layer) -> int:
    return sum(store.query(f"FROM {source}").num_rows for source in layer.inputs)


def _different(layer: Layer, source: str, store: LocalStore) -> set[str]:
    """Columns of ``layer`` that come out otherwise once the numbers of ``source`` are others."""
    table, _, column = source.rpartition(".")
    start, end = window(layer)
    before = _computed(layer, store, start, end)
    with store.engine.transaction() as cursor:
        cursor.execute(f"CREATE OR REPLACE TABLE main.kept AS FROM {table}")
        cursor.execute(f"UPDATE {table} SET {column} = {_OTHERWISE[TABLES[table].column(column).type]}".format(column))
    try:
        after = _computed(layer, store, start, end)
    finally:
        with store.engine.transaction() as cursor:
            cursor.execute(f"DELETE FROM {table}")
            cursor.execute(f"INSERT INTO {table} FROM main.kept")
    assert before["rows"] == after["rows"]
    return {name for name in layer.table.names if not all(map(same, before[name], after[name]))}


def _computed(layer: Layer, store: LocalStore, start: datetime, end: datetime) -> dict[str, list[object]]:
    layer.compute(store, start, end)
    table = layer.table
    rows = store.query(
        f"SELECT * FROM {table.qualified} WHERE {table.time} >= ? AND {table.time} < ? ORDER BY {', '.join(table.key)}",
        [start, end],
    )
    assert rows.num_rows
    return {name: rows[name].to_pylist() for name in table.names} | {"rows": [rows.num_rows]}
