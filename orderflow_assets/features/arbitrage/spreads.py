"""How far the premiums of a symbol's perpetuals are apart, minute by minute: short rows, of which a month is read."""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.consolidated import EVERY_VENUE
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY
from orderflow_assets.features.mark_prices.marks import MARKS_1M
from orderflow_assets.lineage import columns_of
from orderflow_streaming.tables import Column, Table

PREMIUM_SPREADS_1M = Table(
    "bars",
    "premium_spreads_1m",
    (
        *BAR_COLUMNS,
        Column("venues", "BIGINT", "venues with a mark and an index price at bar_ts", "count", False),
        Column("basis_spread", "DOUBLE", "highest less lowest premium at bar_ts; NULL under two venues", "fraction"),
        Column("high_exchange", "VARCHAR", "venue with the highest premium"),
        Column("low_exchange", "VARCHAR", "venue with the lowest premium"),
    ),
    BAR_KEY,
    "open_time",
    "One row per symbol and minute, over all its perpetuals.",
)

_SQL = f"""
SELECT symbol, '{EVERY_VENUE}' AS exchange, market_type, open_time, bar_ts, count(premium) AS venues,
       CASE WHEN count(premium) >= 2 THEN max(premium) - min(premium) END AS basis_spread,
       CASE WHEN count(premium) >= 2 THEN arg_min(exchange, struct_pack(p := -premium, e := exchange)) END
           AS high_exchange,
       CASE WHEN count(premium) >= 2 THEN arg_min(exchange, struct_pack(p := premium, e := exchange)) END
           AS low_exchange
FROM (
    SELECT * EXCLUDE (premium), mark_close / index_close - 1 AS premium
    FROM bars.marks_1m
    WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
      AND mark_close IS NOT NULL AND index_close IS NOT NULL
)
GROUP BY symbol, market_type, open_time, bar_ts
"""

_MARKS = columns_of(MARKS_1M.qualified, "mark_close", "index_close")

LAYER = selected(
    PREMIUM_SPREADS_1M,
    _SQL,
    (MARKS_1M,),
    timedelta(0),
    lineage={
        **dict.fromkeys(("venues", "basis_spread"), _MARKS),
        **dict.fromkeys(("high_exchange", "low_exchange"), (*_MARKS, *columns_of(MARKS_1M.qualified, "exchange"))),
    },
)
