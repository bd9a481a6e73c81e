"""How the flows of the ten levels weigh in one number: their first principal component of the day before."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import DAY, SERIES, SERIES_NAMES, at, midnights_due
from orderflow_assets.features.grid import MIN_BASELINE, split_series
from orderflow_assets.features.orderbook.flow import LEVELS, MLOFI, first_component
from orderflow_assets.features.orderbook.minutes import BOOKS_1M
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table

OFI_LOADINGS = Table(
    "bars",
    "ofi_loadings",
    (
        *IDENTITY,
        Column("valid_from", "TIMESTAMP", "00:00 UTC of the day it holds for; made of the 24 h before", "UTC", False),
        Column("level", "BIGINT", "level of the book, 1 is the best", "", False),
        Column("loading", "DOUBLE", "weight of the level's flow; the sizes of all ten add up to 1", "1", False),
        Column(
            "explained", "DOUBLE", "share of the variance of the ten flows the component explains", "fraction", False
        ),
        Column("minutes", "BIGINT", "minutes it rests on", "count", False),
    ),
    (*SERIES_NAMES, "valid_from", "level"),
    "valid_from",
    "First principal component of the order flow of ten levels, day by day.",
)

_SQL = f"""
SELECT {SERIES}, {", ".join(MLOFI)}
FROM {BOOKS_1M.qualified}
WHERE open_time >= ? AND open_time < ? AND {" AND ".join(f"{name} IS NOT NULL" for name in MLOFI)}
ORDER BY {SERIES}, open_time
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BOOKS_1M, OFI_LOADINGS)
    return sum(_day(store, day) for day in midnights_due(store, OFI_LOADINGS, start, end))


def _day(store: Store, day: datetime) -> int:
    tables = []
    for identity, rows in split_series(store.query(_SQL, [day - DAY, day], timeout_s=600)):
        if rows.num_rows < MIN_BASELINE:
            continue
        component = first_component(np.column_stack([rows[name].to_numpy() for name in MLOFI]))
        if component is None:
            continue
        loadings, explained = component
        columns = {
            **{name: pa.array([part] * LEVELS) for name, part in zip(SERIES_NAMES, identity, strict=True)},
            "valid_from": pa.array([day] * LEVELS, pa.timestamp("us")),
            "level": pa.array(range(1, LEVELS + 1)),
            "loading": pa.array(loadings),
            "explained": pa.array([explained] * LEVELS),
            "minutes": pa.array([rows.num_rows] * LEVELS),
        }
        tables.append(pa.table(columns))
    data = pa.concat_tables(tables) if tables else OFI_LOADINGS.arrow_schema.empty_table()
    return store.write(OFI_LOADINGS, data, at(day))


LAYER = Layer(
    OFI_LOADINGS,
    _compute,
    (BOOKS_1M.qualified,),
    DAY,
    "bars",
    ("duckdb", "python"),
    every=DAY,
    lineage=dict.fromkeys(("loading", "explained", "minutes"), columns_of(BOOKS_1M.qualified, *MLOFI)),
)
