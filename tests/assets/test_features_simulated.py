"""Features of two simulated venues, from their frames to the signal: candles agree, ranges hold, little is missing."""

from __future__ import annotations

import re
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

START = datetime(2025, 5, 5, 15)  # noqa: DTZ001
"""An hour before a settlement of funding."""
MINUTES = 95
INSTRUMENTS_OF = {
    "binance_futures": {"BTCUSDT": ("BTCUSDT", 1.0, 0.1), "WIFUSDT": ("WIFUSDT", 1.0, 0.0001)},
    "okx_futures": {"BTCUSDT": ("BTC-USDT-SWAP", 0.01, 0.1)},
}
"""Of each market and symbol the venue's name, contract size and tick size."""

RUN_IN = ("prices", "orderbook", "trades")
"""Groups that know most of what they say after so short a time, in most bars; of others some bar knows it."""
SOMETIMES = {"absorption_ratio", "absorbing_side", "iceberg_probability", "iceberg_detected", "roll_spread"}
"""Of these groups what needs a busy book or unusual flow."""
LONGER = re.compile(r"\b(?:[2-9]|[1-9]\d+) (?:h|d|days|settlements)\b|previous UTC day|volume buckets")
"""In the window of a feature: a past that the tape does not have."""
YOUNG = {
    "prices": {"microprice", "microprice_deviation"},
    "funding": {"funding_carry_zscore"},
    "oi": {"crowded_side"},
}
"""What rests on estimates or settlements of days before, though its window does not say so."""
UNHEARD = {
    "mark_prices": {"index_divergence"},
    "oi": {"long_short_ratio", "long_short_kind", "oi_concentration", "assumed_long_share", "assumed_maintenance_rate"},
}
"""What needs more venues, or polls of the venue."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    engine = Engine(tmp_path_factory.mktemp("simulated") / "orderflow.duckdb")
    cursor = engine.cursor()
    store = LocalStore(engine)
    store.write(
        INSTRUMENTS,
        pa.Table.from_pylist(
            [
                {"symbol": symbol, "exchange": market.partition("_")[0], "market_type": "futures",
                 "venue_symbol": name, "contract_size": size, "tick_size": tick, "funding_interval_hours": 8.0,
                 "as_of": START}
                for market, listed in INSTRUMENTS_OF.items()
                for symbol, (name, size, tick) in listed.items()
            ],
            INSTRUMENTS.arrow_schema,
        ),
    )  # fmt: skip
    storage, normalizer = Storage(engine, cursor, consecutive()), Normalizer(cursor, INSTRUMENTS.qualified)
    for market, listed in INSTRUMENTS_OF.items():
        storage.store(_normalized(normalizer, market, tuple(listed)), Position(0, 0))
    compute(store, START, START + timedelta(minutes=MINUTES))
    yield store
    store.close()


def _normalized(normalizer: Normalizer, market: str, symbols: tuple[str, ...]) -> set[str]:
    """Stage what the venue sends of ``symbols``; returns the streams it is of."""
    protocol = exchange(market)
    batches: dict[str, tuple[list[bytes], list[int]]] = defaultdict(lambda: ([], []))
    end = us(START) + MINUTES * 60 * SECOND
    for sent, _, frame in frames(5, us(START), end, symbols, market=market, activity=0.3):
        raw, received = batches[protocol.route(frame) or "none"]
        raw.append(frame)
        received.append(sent + 20_000)
    streams: set[str] = set()
    for channel, (raw, received) in batches.items():
        outcome = normalizer.normalize(protocol, channel, raw, received)
        assert not outcome.rejected
        streams |= set(outcome.staged)
    return streams


def test_bars_are_the_venues_own_candles(simulated: Store) -> None:
    compared = simulated.query(
        """SELECT c.symbol, c.open_time, b.bar_ts IS NOT NULL AS found,
                  c.open = b.open AND c.high = b.high AND c.low = b.low AND c.close = b.close AS prices,
                  abs(c.volume - b.volume) < 1e-6 * c.volume AS volume,
                  abs(c.quote_volume - b.quote_volume) < 1e-6 * c.quote_volume AS value,
                  abs(c.taker_buy_volume - b.taker_buy_volume) <= 1e-6 * c.volume AS taken
           FROM candles c LEFT JOIN bars.bars_1m b USING (symbol, exchange, market_type, open_time)
           WHERE c.exchange = 'binance' AND c.interval = '1m' AND c.is_closed AND c.volume > 0 AND c.open_time >= ?""",
        [START],
    ).to_pylist()
    assert len(compared) > MINUTES
    assert [row for row in compared if not all(row.values())] == []


def known(store: Store, group: str, feature: Feature) -> tuple[int, int, int]:
    """Rows of the last quarter of an hour, those with a value, those outside the declared range."""
    (row,) = store.query(
        f'SELECT count(*) AS n, count("{feature.name}") AS known, '
        f"count(*) FILTER ({feature.violation or 'false'}) AS outside FROM features.{group} WHERE open_time >= ?",
        [START + timedelta(minutes=MINUTES - 15)],
    ).to_pylist()
    return row["n"], row["known"], row["outside"]


@pytest.mark.parametrize(
    ("group", "feature"),
    [(name, feature) for name in GROUPS for feature in GROUPS[name].columns],
    ids=lambda value: value.name if isinstance(value, Feature) else value,
)
def test_the_last_quarter_is_known_and_in_range(group: str, feature: Feature, simulated: Store) -> None:
    rows, values, outside = known(simulated, group, feature)
    assert rows in (30, 45)
    assert not outside
    if feature.name in UNHEARD.get(group, set()) | YOUNG.get(group, set()):
        assert not values, "known by now: take it off the list"
    elif group in RUN_IN and feature.name not in SOMETIMES and not LONGER.search(feature.window):
        assert values > 0.7 * rows
    elif not LONGER.search(feature.window):
        assert values
