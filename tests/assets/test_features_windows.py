"""A bar is the same whatever stretch it is computed in, and knows nothing of what came after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orderflow_assets.layer import Layer
from orderflow_assets.layers import LAYERS
from orderflow_streaming.store import Store
from tests.assets.computing import compute, copied, differences, forget_after, stored
from tests.assets.tape import END, START

OPENING = START.replace(minute=0)
TOLERANCE = 1e-9
LAYER_NAMES = [layer.table.qualified for layer in LAYERS]


@pytest.fixture(scope="module", params=[20, 7 * 60], ids=["twenty minutes at a time", "all at once"])
def cut_otherwise(
    request: pytest.FixtureRequest, raw_tape: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with copied(raw_tape, tmp_path_factory.mktemp("cut")) as store:
        compute(store, OPENING, END, timedelta(minutes=request.param))
        yield store


@pytest.mark.parametrize("layer", LAYERS, ids=LAYER_NAMES)
def test_the_window_does_not_matter(layer: Layer, tape_store: Store, cut_otherwise: Store) -> None:
    assert not differences(stored(tape_store, layer.table), stored(cut_otherwise, layer.table), TOLERANCE)


@pytest.mark.parametrize("layer", LAYERS, ids=LAYER_NAMES)
def test_computing_again_changes_nothing(layer: Layer, tape_store: Store, cut_otherwise: Store) -> None:
    middle = OPENING + timedelta(minutes=70)
    layer.compute(cut_otherwise, middle, middle + timedelta(minutes=45))
    assert not differences(stored(tape_store, layer.table), stored(cut_otherwise, layer.table), TOLERANCE)


@pytest.mark.parametrize("minutes", [37, 90, 131])
def test_no_bar_looks_ahead(minutes: int, raw_tape: Path, tape_store: Store, tmp_path: Path) -> None:
    moment = START + timedelta(minutes=minutes)
    with copied(raw_tape, tmp_path) as then:
        forget_after(then, moment)
        compute(then, OPENING, moment)
        for layer in LAYERS:
            now = stored(tape_store, layer.table, _known_at(layer, moment))
            assert not differences(now, stored(then, layer.table), TOLERANCE), layer.table.qualified


def _known_at(layer: Layer, moment: datetime) -> str:
    if "bar_ts" in layer.table.names:
        return f"bar_ts <= TIMESTAMP '{moment}'"
    return f"{layer.table.time} < TIMESTAMP '{moment}'"


def test_a_running_minute_is_no_bar(raw_tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return (START + timedelta(minutes=30, seconds=40)).replace(tzinfo=tz)  # type: ignore[arg-type]

    monkeypatch.setattr("orderflow_assets.bars.series.datetime", Clock)
    with copied(raw_tape, tmp_path) as store:
        compute(store, OPENING, END)
        filled = set()
        for layer in LAYERS:
            if "bar_ts" in layer.table.names and layer.table.time == "open_time":
                latest = store.query(f"SELECT max(bar_ts) AS t FROM {layer.table.qualified}")["t"][0].as_py()
                assert latest in (None, START + timedelta(minutes=30)), layer.table.qualified
                filled.add(layer.table.qualified if latest else None)
        assert filled >= {"bars.bars_1m", "features.prices", "features.trades", "features.orderbook", "signals.signals"}


def test_a_window_starts_on_a_full_minute(tape_store: Store) -> None:
    for layer in LAYERS:
        with pytest.raises(ValueError, match="full minute"):
            layer.compute(tape_store, START + timedelta(seconds=1), END)
