"""Open interest at every fifth minute: the narrow table that baselines of a month are read from.

A row is stamped with the time at which all of it is known, so that a bar that closes at t reads the rows before t.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import SERIES, SERIES_NAMES
from orderflow_assets.features.oi import lineage
from orderflow_assets.features.oi.minutes import OI_1M
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

STEP = timedelta(minutes=5)

AT_EDGE: tuple[str, ...] = ("oi", "mark", "volume_24h_quote", "long_short_ratio")

OI_5M = Table(
    "bars",
    "oi_5m",
    (
        *IDENTITY,
        Column("timestamp", "TIMESTAMP", "end of the step, a multiple of 5 min", "UTC", nullable=False),
        *(OI_1M.column(name) for name in AT_EDGE),
        Column("mark_low", "DOUBLE", "lowest mark price of the step", "quote"),
        Column("mark_high", "DOUBLE", "highest mark price of the step", "quote"),
    ),
    (*SERIES_NAMES, "timestamp"),
    "timestamp",
    "Open interest, mark price, 24 h volume and long/short ratio every 5 min, futures only.",
)

_SQL = f"""
SELECT {SERIES}, timestamp,
       {", ".join(f"max({name}) FILTER (bar_ts = timestamp) AS {name}" for name in AT_EDGE)},
       min(mark_low) AS mark_low, max(mark_high) AS mark_high
FROM (
    SELECT *, time_bucket(INTERVAL 5 MINUTE, open_time) + INTERVAL 5 MINUTE AS timestamp
    FROM bars.oi_1m
    WHERE open_time >= $start::TIMESTAMP - INTERVAL 5 MINUTE AND bar_ts < $end::TIMESTAMP
)
WHERE timestamp >= $start::TIMESTAMP AND timestamp < $end::TIMESTAMP
GROUP BY ALL
"""

LAYER = replace(selected(OI_5M, _SQL, (OI_1M,), STEP), every=STEP, lineage=lineage.STEPS)
