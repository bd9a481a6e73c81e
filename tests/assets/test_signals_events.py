"""A market on which something known happens: what claims to see it does, and does so whatever the windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_streaming.store import Store, connect
from tests.assets import events
from tests.assets.computing import differences, stored
from tests.assets.events import Confusion

pytestmark = pytest.mark.slow

SIGNAL_LAYERS = [layer for layer in LAYERS if layer.group == "signals" or layer.table.name == "fills_1m"]
NAMES = [layer.table.qualified for layer in SIGNAL_LAYERS]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("events"), scope="write") as store:
        events.load(store, events.market())
        events.compute(store)
        yield store


@pytest.fixture(scope="module")
def confusion(tape: Store) -> dict[str, Confusion]:
    found = events.confusion(tape)
    print(events.table(found))
    return {row.detector: row for row in found}


ALARMS = {
    "trades.sweep_detected": 0.0,
    "orderbook.pull_wall_detected": 0.0,
    "trades.iceberg_probability >= 0.3": 0.0,
    "squeeze_probability >= 0.7": 0.0,
    "liquidations.liquidation_cluster_detected": 0.0,
    "liquidation_cascade_risk >= 0.3": 0.25,
    "stop_hunt_probability >= 0.5": 0.05,
    "lead_lag_seconds = 2": 0.0,
}
"""Share of quiet bars in which each detector may fire."""


@pytest.mark.parametrize("detector", ALARMS)
def test_what_was_planted_is_seen(detector: str, confusion: dict[str, Confusion]) -> None:
    row = confusion[detector]
    assert row.planted > 0
    assert row.misses == 0
    assert row.false_alarms <= ALARMS[detector] * row.quiet_bars


def test_every_detector_is_judged(confusion: dict[str, Confusion]) -> None:
    assert set(confusion) == set(ALARMS)


def test_the_sides_are_the_planted_ones(tape: Store) -> None:
    rows = tape.query(
        "SELECT signal, mode(side) AS side FROM signals.signals WHERE exchange = 'binance' AND "
        "((signal = 'squeeze_probability' AND value >= 0.7) OR (signal = 'liquidation_cascade_risk' AND bar_ts BETWEEN "
        "TIMESTAMP '2025-03-04 06:21:00' AND TIMESTAMP '2025-03-04 06:24:00')) GROUP BY signal"
    ).to_pylist()
    sides = {row["signal"]: row["side"] for row in rows}
    assert sides == {"squeeze_probability": "down", "liquidation_cascade_risk": "long"}
    hunted = tape.query(
        "SELECT side FROM signals.signals WHERE signal = 'stop_hunt_probability' AND exchange = 'binance' "
        "AND bar_ts IN (TIMESTAMP '2025-03-04 06:06:00', TIMESTAMP '2025-03-04 07:34:00')"
    )
    assert hunted["side"].to_pylist() == ["longs", "longs"]


@pytest.mark.parametrize("layer", SIGNAL_LAYERS, ids=NAMES)
def test_pieces_of_an_hour_give_the_same_rows(layer: Layer, tape: Store) -> None:
    hour = events.END.replace(minute=0) - timedelta(hours=1)
    whole = stored(tape, layer.table)
    for minutes in range(0, 60, 20):
        layer.compute(tape, hour + timedelta(minutes=minutes), hour + timedelta(minutes=minutes + 20))
    assert not differences(whole, stored(tape, layer.table), 1e-9)


def test_no_signal_looks_ahead(tape: Store, tmp_path: Path) -> None:
    moment = events.START + timedelta(hours=4, minutes=7)
    with connect(tmp_path, scope="write") as then:
        events.load(then, events.market())
        events.forget_after(then, moment)
        events.compute(then, moment)
        for layer in SIGNAL_LAYERS:
            known = "bar_ts <=" if "bar_ts" in layer.table.names else f"{layer.table.time} <"
            now = stored(tape, layer.table, f"{known} TIMESTAMP '{moment}'")
            assert not differences(now, stored(then, layer.table), 1e-9), layer.table.qualified
