"""Features of the simulated exchange, from its frames to the signal: candles agree, ranges hold, little is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.feature import Feature
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.recordings.journal import Position
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.simulator.frames import frames
from orderflow_streaming.store import Store
from orderflow_streaming.store.client import LocalStore
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.normalize import Normalizer
from orderflow_streaming.writing.storing import Storage
from orderflow_streaming.writing.writer import consecutive
from tests.assets.computing import compute
from tests.assets.tape import SECOND, us

pytestmark = pytest.mark.slow

START = datetime(2025, 5, 5, 14)  # noqa: DTZ001
MINUTES = 95
SYMBOLS = {"BTCUSDT": 0.1, "WIFUSDT": 0.0001}
RUN_IN = ("prices", "orderbook", "trades")
"""Groups that know most of what they say after so short a time."""
BASELINES = {"microprice", "hurst", "flow_intensity", "flow_toxicity", "amihud", "iceberg", "absor"}
"""Beginnings of names that need more past than this, a busier book, or unusual flow."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    engine = Engine(tmp_path_factory.mktemp("simulated") / "orderflow.duckdb")
    cursor = engine.cursor()
    storage = Storage(engine, cursor, consecutive())
    protocol, normalizer = exchange("binance_futures"), Normalizer(cursor, INSTRUMENTS.qualified)
    batches: dict[str, tuple[list[bytes], list[int]]] = defaultdict(lambda: ([], []))
    for sent, _, frame in frames(5, us(START), us(START) + MINUTES * 60 * SECOND, tuple(SYMBOLS), activity=0.3):
        raw, received = batches[protocol.route(frame) or "none"]
        raw.append(frame)
        received.append(sent + 20_000)
    streams: set[str] = set()
    for channel, (raw, received) in batches.items():
        outcome = normalizer.normalize(protocol, channel, raw, received)
        assert not outcome.rejected
        streams |= set(outcome.staged)
    storage.store(streams, Position(0, 0))
    store = LocalStore(engine)
    store.write(
        INSTRUMENTS,
        pa.Table.from_pylist(
            [
                {"symbol": symbol, "exchange": "binance", "market_type": "futures", "venue_symbol": symbol,
                 "contract_size": 1.0, "tick_size": tick, "as_of": START}
                for symbol, tick in SYMBOLS.items()
            ],
            INSTRUMENTS.arrow_schema,
        ),
    )  # fmt: skip
    compute(store, START, START + timedelta(minutes=MINUTES))
    yield store
    store.close()


def test_bars_are_the_venues_own_candles(simulated: Store) -> None:
    compared = simulated.query(
        """SELECT c.symbol, c.open_time, b.bar_ts IS NOT NULL AS found,
                  c.open = b.open AND c.high = b.high AND c.low = b.low AND c.close = b.close AS prices,
                  abs(c.volume - b.volume) < 1e-6 * c.volume AS volume,
                  abs(c.quote_volume - b.quote_volume) < 1e-6 * c.quote_volume AS value,
                  abs(c.taker_buy_volume - b.taker_buy_volume) <= 1e-6 * c.volume AS taken
           FROM candles c LEFT JOIN bars.bars_1m b USING (symbol, exchange, market_type, open_time)
           WHERE c.interval = '1m' AND c.is_closed AND c.volume > 0 AND c.open_time >= ?""",
        [START],
    ).to_pylist()
    assert len(compared) > MINUTES
    assert [row for row in compared if not all(row.values())] == []


@pytest.mark.parametrize(
    ("group", "feature"),
    [(name, feature) for name in RUN_IN for feature in GROUPS[name].columns],
    ids=lambda value: value.name if isinstance(value, Feature) else value,
)
def test_the_last_quarter_is_known_and_in_range(group: str, feature: Feature, simulated: Store) -> None:
    rows = simulated.query(
        f'SELECT "{feature.name}" AS v, {feature.violation or "false"} AS bad FROM features.{group} '
        "WHERE open_time >= ?",
        [START + timedelta(minutes=MINUTES - 15)],
    ).to_pylist()
    assert len(rows) == 15 * len(SYMBOLS)
    assert not any(row["bad"] for row in rows)
    if not feature.name.startswith(tuple(BASELINES)):
        assert sum(row["v"] is not None for row in rows) > 0.7 * len(rows)
