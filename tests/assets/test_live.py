"""A live row is the stored row of the same minute."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from orderflow_assets.layers import LAYERS
from orderflow_assets.live import live, needed
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.store import Store
from tests.assets.computing import same, stored
from tests.assets.tape import END, START

OF_MINUTES = [layer for layer in LAYERS if "bar_ts" in layer.table.names]
TOLERANCE = 1e-9
MIDNIGHT = START.replace(hour=0, minute=0) + timedelta(days=1)


def flat(name: str, value: Any) -> dict[str, Any]:
    """The leaves of a JSON value by their path."""
    if not isinstance(value, dict | list):
        return {name: value}
    members = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: leaf for key, part in members for path, leaf in flat(f"{name}.{key}", part).items()}


@pytest.mark.parametrize(
    "name", ["bars.bars_1m", *(layer.table.qualified for layer in OF_MINUTES if layer.group != "bars")]
)
@pytest.mark.parametrize(
    ("symbol", "end", "minutes"),
    [("AAAUSDT", MIDNIGHT + timedelta(minutes=3), 7), ("BBBUSDT", END - timedelta(minutes=11), 4)],
    ids=["over midnight", "thin"],
)
def test_live_equals_stored(name: str, symbol: str, end: datetime, minutes: int, tape_store: Store) -> None:
    table = next(layer.table for layer in OF_MINUTES if layer.table.qualified == name)
    now = live(tape_store, name, symbol, minutes, end)
    window = (
        f"symbol = '{symbol}' AND {table.time} >= TIMESTAMP '{end - timedelta(minutes=minutes)}' "
        f"AND {table.time} < TIMESTAMP '{end}'"
    )
    kept = tape_store.query(f"SELECT * FROM {table.qualified} WHERE {window} ORDER BY {', '.join(table.key)}")
    assert now.num_rows == kept.num_rows
    objects = [column.name for column in table.columns if column.type == "JSON"]
    for row, other in zip(now.to_pylist(), kept.to_pylist(), strict=True):
        for either in (row, other):
            for column in objects:
                either |= flat(column, json.loads(either.pop(column)))
        different = {key: (row[key], other[key]) for key in other if not same(row[key], other[key], TOLERANCE)}
        assert not different, (row["bar_ts"], different)


def test_something_is_compared(tape_store: Store) -> None:
    assert live(tape_store, "features.trades", "AAAUSDT", 7, MIDNIGHT).num_rows == 7


def test_nothing_is_stored(tape_store: Store) -> None:
    before = stored(tape_store, OF_MINUTES[0].table)
    live(tape_store, OF_MINUTES[-1].table.qualified, "AAAUSDT", 2, MIDNIGHT)
    assert stored(tape_store, OF_MINUTES[0].table) == before


def test_layers_without_rows_in_the_window_are_not_computed() -> None:
    prices = next(layer for layer in LAYERS if layer.table.qualified == "features.prices")
    noon = MIDNIGHT + timedelta(hours=12)
    names = [layer.table.qualified for layer in needed(prices, noon, noon + timedelta(minutes=5))]
    assert names[-1] == "features.prices"
    assert "bars.microprice" not in names
    assert "bars.microprice" in [
        layer.table.qualified for layer in needed(prices, MIDNIGHT, MIDNIGHT + timedelta(minutes=1))
    ]


def test_a_wrong_name_or_length_is_told(tape_store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'features\.trades'"):
        live(tape_store, "features.trade", "AAAUSDT")
    with pytest.raises(ValueError, match="1 to 60"):
        live(tape_store, "features.trades", "AAAUSDT", 90)
