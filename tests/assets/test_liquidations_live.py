"""Candles and liquidations from raw records to features: a live row is the stored row."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orderflow_assets.features.liquidations.declarations import LIQUIDATIONS
from orderflow_assets.features.ticker.declarations import TICKER
from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_assets.live import live, needed
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store
from tests.assets.computing import copied, same
from tests.assets.tape import END, EXCHANGE, MARKET_TYPE, START

pytestmark = pytest.mark.slow

OPENING, CLOSING = START.replace(minute=0), END
MINUTE = timedelta(minutes=1)
SYMBOLS = ("AAAUSDT", "DDDUSDT")


def _chain() -> list[Layer]:
    by_name = {layer.table.qualified: layer for layer in LAYERS}
    wanted = [needed(by_name[group.table.qualified], OPENING, CLOSING) for group in (LIQUIDATIONS, TICKER)]
    return [layer for layer in LAYERS if any(layer in chain for chain in wanted)]


def _put(store: Store, stream: str, rows: list[dict[str, Any]]) -> None:
    table = STREAMS[stream].table
    rows = [
        {"id": number, "exchange": EXCHANGE, "market_type": MARKET_TYPE, **row} for number, row in enumerate(rows, 1)
    ]
    store.write(table, pa.Table.from_pylist(rows, table.arrow_schema))


def _records(store: Store) -> None:
    rng = random.Random(3)
    stretch = (CLOSING - START).total_seconds()
    closed, candles, tickers, interest, marks = [], [], [], [], []
    for symbol in SYMBOLS:
        bursts = [rng.random() * stretch for _ in range(12 if symbol == "AAAUSDT" else 1)]
        for moment in (burst + 3 * k for burst in bursts for k in range(20)):
            time = START + timedelta(milliseconds=round(1000 * min(moment, stretch - 1)))
            value = round(rng.lognormvariate(8, 1), 2)
            closed.append({"symbol": symbol, "timestamp": time, "received_at": time, "side": "long", "price": 10.0,
                           "quantity": value / 10, "value_usd": value})  # fmt: skip
        for minute in range(round(stretch / 60)):
            time = START + minute * MINUTE
            price = 100 + rng.random()
            if rng.random() < 0.8:
                candles.append({"symbol": symbol, "open_time": time, "close_time": time + MINUTE, "interval": "1m",
                                "open": price, "high": price + 1, "low": price - 1, "close": price + 0.5, "volume": 3.0,
                                "quote_volume": 3 * price, "trade_count": 4, "received_at": time + MINUTE,
                                "is_closed": True})  # fmt: skip
            stamp = time + rng.random() * MINUTE
            shared = {"symbol": symbol, "timestamp": stamp, "received_at": stamp}
            tickers.append({**shared, "high_24h": price + 9, "low_24h": price - 9, "quote_volume_24h": 1e6 + minute})
            interest.append({**shared, "open_interest": 1e5 + minute, "raw_quantity": 1e5})
            marks.append({**shared, "mark_price": price})
    for stream, rows in (("liquidations", closed), ("candles", candles), ("ticker_24h", tickers),
                         ("open_interest", interest), ("mark_prices", marks)):  # fmt: skip
        _put(store, stream, rows)


@pytest.fixture(scope="module")
def computed(raw_tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with copied(raw_tape, tmp_path_factory.mktemp("forced")) as store:
        _records(store)
        hour = OPENING
        while hour < CLOSING:
            for layer in _chain():
                layer.compute(store, hour, min(hour + 60 * MINUTE, CLOSING))
            hour += 60 * MINUTE
        yield store


@pytest.mark.parametrize("table", ["features.liquidations", "features.ticker"])
@pytest.mark.parametrize(
    ("symbol", "end", "minutes"),
    [("AAAUSDT", OPENING + 123 * MINUTE, 10), ("AAAUSDT", CLOSING, 25), ("DDDUSDT", OPENING + 120 * MINUTE, 3)],
    ids=["over midnight", "last", "thin"],
)
def test_a_live_row_is_the_stored_row(table: str, symbol: str, end: datetime, minutes: int, computed: Store) -> None:
    declared = next(layer.table for layer in LAYERS if layer.table.qualified == table)
    stored = computed.query(
        f'SELECT * FROM {table} WHERE symbol = ? AND "{declared.time}" >= ? AND "{declared.time}" < ? ORDER BY bar_ts',
        [symbol, end - minutes * MINUTE, end],
    ).to_pylist()
    now = live(computed, table, symbol, minutes, end).to_pylist()
    assert len(now) == len(stored)
    for row, other in zip(now, stored, strict=True):
        different = {name: (row[name], other[name]) for name in other if not same(row[name], other[name], 1e-9)}
        assert not different, (row["bar_ts"], different)


def test_something_is_compared(computed: Store) -> None:
    counted = computed.query(
        "SELECT sum(total_liquidation_count) AS events, (SELECT count(*) FROM liquidations) AS stored, "
        "count(liquidated_share) AS shares, count(parkinson_1h) AS ranges "
        "FROM features.liquidations JOIN features.ticker USING (symbol, exchange, market_type, bar_ts)"
    ).to_pylist()[0]
    assert counted["events"] == counted["stored"] > 200
    assert counted["shares"] > 100
    assert counted["ranges"] > 100
