"""What the venue's rolling 24 h statistics say at the end of each minute."""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, SERIES
from orderflow_assets.lineage import alike
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column, Table

STANDS = timedelta(minutes=5)
"""How long a statistic stands when no other follows."""

TICKER_1M = Table(
    "bars",
    "ticker_1m",
    (
        *BAR_COLUMNS,
        Column("high_24h", "DOUBLE", "highest price of 24 h", "quote"),
        Column("low_24h", "DOUBLE", "lowest price of 24 h", "quote"),
        Column("quote_volume_24h", "DOUBLE", "traded value of 24 h", "quote"),
    ),
    BAR_KEY,
    "open_time",
    "The last statistics published at or before bar_ts, where they are at most five minutes old.",
)

_SQL = f"""
WITH published AS (
    SELECT {SERIES}, time_bucket(INTERVAL 1 MINUTE, timestamp - INTERVAL 1 MICROSECOND) AS minute,
           max(timestamp) AS published_at,
           arg_max(struct_pack(high := high_24h, low := low_24h, value := quote_volume_24h),
                   struct_pack(t := timestamp, i := id)) AS told
    FROM main.ticker_24h
    WHERE timestamp >= $start::TIMESTAMP - INTERVAL {STANDS.seconds} SECOND AND timestamp <= $end::TIMESTAMP
    GROUP BY ALL
), minutes AS (
    SELECT {SERIES}, open_time, bar_ts
    FROM bars.bars_1m
    WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
)
SELECT b.symbol, b.exchange, b.market_type, b.open_time, b.bar_ts,
       told.high AS high_24h, told.low AS low_24h, told.value AS quote_volume_24h
FROM minutes b ASOF JOIN published p
  ON b.symbol = p.symbol AND b.exchange = p.exchange AND b.market_type = p.market_type AND b.open_time >= p.minute
WHERE b.bar_ts - published_at <= INTERVAL {STANDS.seconds} SECOND
"""

LAYER = selected(
    TICKER_1M,
    _SQL,
    (STREAMS["ticker_24h"].table, BARS_1M),
    STANDS,
    lineage=alike(STREAMS["ticker_24h"].table.qualified, ("high_24h", "low_24h", "quote_volume_24h")),
)
