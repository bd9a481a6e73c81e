"""Signals: the declared mean of components, its confidence and side."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orderflow_assets.features.grid import Grid
from orderflow_assets.features.orderbook.declarations import ORDERBOOK
from orderflow_assets.features.trades.declarations import TRADES
from orderflow_assets.signals.layer import LAYER, SIGNALS_TABLE
from orderflow_assets.signals.signal import Component, Inputs, Signal
from orderflow_assets.signals.smart_money import SMART_MONEY_INDEX
from orderflow_streaming.store import Store, connect
from orderflow_streaming.tables import Table

MINUTE = timedelta(minutes=1)
START = datetime(2025, 3, 10, 12)  # noqa: DTZ001
SERIES = ("AAAUSDT", "binance", "futures")


def inputs_of(group: str, **rows: list[float | None]) -> Inputs:
    columns = {name: np.array([[np.nan if x is None else x for x in row]]) for name, row in rows.items()}
    length = len(next(iter(rows.values())))
    grid = Grid((SERIES,), START, MINUTE, np.ones((1, length), dtype=bool), columns)
    return Inputs({group: grid}, 1)


def halves(*weights: float) -> Signal:
    parts = tuple(
        Component(f"c{k}", weight, "itself", lambda inputs, k=k: inputs.now(f"g.c{k}"))
        for k, weight in enumerate(weights)
    )
    return Signal("s", "S", "test", "none", "[0, 1]", {f"g.c{k}": 0 for k in range(len(weights))}, parts)


@pytest.mark.parametrize(
    ("values", "value", "confidence"),
    [
        ([0.2, 0.4, 0.9], 0.2 * 0.5 + 0.4 * 0.3 + 0.9 * 0.2, 1.0),
        ([None, 0.4, 0.9], (0.4 * 0.3 + 0.9 * 0.2) / 0.5, 0.5),
        ([None, 0.4, None], None, 0.3),
        ([0.0, None, None], 0.0, 0.5),
        ([None, None, None], None, 0.0),
    ],
)
def test_weights_scale_up_for_what_is_missing(
    values: list[float | None], value: float | None, confidence: float
) -> None:
    found = halves(0.5, 0.3, 0.2).evaluate(inputs_of("g", **{f"c{k}": [x] for k, x in enumerate(values)}))
    assert found.confidence[0, 0] == pytest.approx(confidence)
    assert found.value[0, 0] == pytest.approx(np.nan if value is None else value, nan_ok=True)


@pytest.mark.parametrize(
    ("divergence", "side"), [(1.5, "sell"), (-1.5, "buy"), (0.5, "none"), (1.0, "none"), (None, None)]
)
def test_the_side_is_who_absorbed(divergence: float | None, side: str | None) -> None:
    assert SMART_MONEY_INDEX.side is not None
    assert SMART_MONEY_INDEX.side(inputs_of("trades", cvd_price_divergence=[divergence]))[0, 0] == side


def put(store: Store, table: Table, opening: list[datetime], **columns: list[float | None]) -> None:
    count = len(opening)
    data: dict[str, object] = {
        "symbol": [SERIES[0]] * count,
        "exchange": [SERIES[1]] * count,
        "market_type": [SERIES[2]] * count,
        "open_time": opening,
        "bar_ts": [time + MINUTE for time in opening],
        "n_obs": [1] * count,
        **columns,
    }
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in table.arrow_schema]
    store.write(table, pa.Table.from_arrays(arrays, schema=table.arrow_schema))


def test_smart_money_ranks_against_its_own_past(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    count = 8 * 1440
    opening = [START + (k - count + 30) * MINUTE for k in range(count)]
    whales, toxicity, divergence, absorption = (np.round(rng.random(count) * scale, 2) for scale in (1, 1, 6, 1))
    missing = rng.random(count) < 0.5
    with connect(tmp_path, scope="write") as store:
        put(
            store,
            TRADES.table,
            opening,
            whale_volume_ratio=list(whales),
            flow_toxicity=list(toxicity),
            cvd_price_divergence=list(divergence - 3),
        )
        put(
            store,
            ORDERBOOK.table,
            opening,
            absorption_ratio=[None if gone else float(x) for x, gone in zip(absorption, missing, strict=True)],
        )
        assert LAYER.compute(store, START, START + 30 * MINUTE) == 30
        rows = store.query(f"SELECT * FROM {SIGNALS_TABLE.qualified} ORDER BY bar_ts").to_pylist()
    for row, at in zip(rows, range(count - 30, count), strict=True):
        rank = [
            stats.percentileofscore(past, now, kind="mean") / 100
            for past, now in ((whales[at - 1440 : at], whales[at]), (toxicity[at - 10080 : at], toxicity[at]))
        ]
        parts = {
            "absorption": None if missing[at] else absorption[at],
            "whales": rank[0],
            "toxicity": rank[1],
            "divergence": min(1, abs(divergence[at] - 3) / 3),
        }
        weights = {"absorption": 0.25, "whales": 0.3, "toxicity": 0.2, "divergence": 0.25}
        known = {name: value for name, value in parts.items() if value is not None}
        weight = sum(weights[name] for name in known)
        assert json.loads(row["components"]) == pytest.approx(parts)
        assert row["confidence"] == pytest.approx(weight)
        assert row["value"] == pytest.approx(sum(weights[name] * value for name, value in known.items()) / weight)
        assert row["signal"] == "smart_money_index"
