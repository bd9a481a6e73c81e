"""Liquidations minute by minute, and in steps of five minutes against the open interest.

The feed of a series lives in a minute when the market was read (the series has a bar), some liquidation of the market
came within the day before the minute or in it, so that the feed is known to be read at all, and no gap of the series'
liquidations that is still unfilled overlaps it. Then nothing means zero; otherwise the minute has no row.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, DAY, SERIES, SERIES_NAMES
from orderflow_assets.features.liquidations.clusters import RUNS
from orderflow_assets.features.oi.minutes import OI_1M
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import GAPS, IDENTITY, STREAMS
from orderflow_streaming.tables import Column, Table

SILENT = DAY
"""A feed without one liquidation of any symbol for so long is taken for one that is not read."""

LEAST_CLUSTER = 3
FIVE = timedelta(minutes=5)

LIQUIDATIONS_1M = Table(
    "bars",
    "liquidations_1m",
    (
        *BAR_COLUMNS,
        Column("long_count", "BIGINT", "long positions liquidated", "count", False),
        Column("short_count", "BIGINT", "short positions liquidated", "count", False),
        Column("long_value", "DOUBLE", "value of the long ones", "quote", False),
        Column("short_value", "DOUBLE", "value of the short ones", "quote", False),
        Column("late_value", "DOUBLE", "value of both in the second half of the minute", "quote", False),
        Column(
            "cluster_size", "BIGINT", "events by bar_ts of the largest cluster that touches the bar", "count", False
        ),
        Column("cluster_value", "DOUBLE", "value by bar_ts of that cluster", "quote", False),
        Column("cluster_duration_s", "DOUBLE", "from its first event to its last one before bar_ts", "s", False),
        Column(
            "dense_value",
            "DOUBLE",
            f"value by bar_ts of the most valuable cluster of {LEAST_CLUSTER} events and more that touches the bar",
            "quote",
        ),
    ),
    BAR_KEY,
    "open_time",
    "Liquidations of the minutes in which the feed lived; zeros where there were none.",
)

_MINUTE_SQL = f"""
WITH {RUNS}, summed AS (
    SELECT {SERIES}, date_trunc('minute', timestamp) AS open_time,
           count(*) FILTER (side = 'long') AS long_count,
           count(*) FILTER (side = 'short') AS short_count,
           sum(value) FILTER (side = 'long') AS long_value,
           sum(value) FILTER (side = 'short') AS short_value,
           sum(value) FILTER (timestamp >= date_trunc('minute', timestamp) + INTERVAL 30 SECOND) AS late_value
    FROM events
    WHERE timestamp >= $start::TIMESTAMP
    GROUP BY ALL
), touching AS (
    SELECT {SERIES}, date_trunc('minute', timestamp) AS open_time, max(events) AS events, max(value) AS value,
           epoch_us(max(timestamp) - min(started_at)) / 1e6 AS duration
    FROM runs
    WHERE timestamp >= $start::TIMESTAMP
    GROUP BY {SERIES}, side, run, date_trunc('minute', timestamp)
), clustered AS (
    SELECT {SERIES}, open_time,
           max(struct_pack(size := events, value := value, duration := duration)) AS largest,
           max(value) FILTER (events >= {LEAST_CLUSTER}) AS dense_value
    FROM touching
    GROUP BY ALL
), heard AS (
    SELECT DISTINCT exchange, market_type, date_trunc('minute', timestamp) AS minute
    FROM main.liquidations
    WHERE timestamp >= $start::TIMESTAMP - INTERVAL {round(SILENT.total_seconds())} SECOND
      AND timestamp < $end::TIMESTAMP
), silent AS (
    SELECT {SERIES}, coalesce(started_at, detected_at) AS started_at, coalesce(ended_at, detected_at) AS ended_at
    FROM ops.gaps
    WHERE stream = 'liquidations' AND filled_at IS NULL
), bar AS (
    SELECT b.*
    FROM (
        SELECT {SERIES}, open_time, bar_ts
        FROM bars.bars_1m
        WHERE market_type = 'futures' AND open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
    ) b
    ASOF JOIN heard h
      ON b.exchange = h.exchange AND b.market_type = h.market_type AND b.open_time >= h.minute
    WHERE b.open_time - h.minute <= INTERVAL {round(SILENT.total_seconds())} SECOND AND NOT EXISTS (
        SELECT 1 FROM silent g
        WHERE g.symbol = b.symbol AND g.exchange = b.exchange AND g.market_type = b.market_type
          AND g.started_at < b.bar_ts AND g.ended_at > b.open_time
    )
)
SELECT {SERIES}, open_time, bar_ts,
       coalesce(long_count, 0) AS long_count, coalesce(short_count, 0) AS short_count,
       coalesce(long_value, 0) AS long_value, coalesce(short_value, 0) AS short_value,
       coalesce(late_value, 0) AS late_value,
       coalesce(largest.size, 0) AS cluster_size, coalesce(largest.value, 0) AS cluster_value,
       coalesce(largest.duration, 0) AS cluster_duration_s, dense_value
FROM bar
LEFT JOIN summed USING ({SERIES}, open_time)
LEFT JOIN clustered USING ({SERIES}, open_time)
"""

MID_RANGE_1M = Table(
    "bars",
    "mid_range_1m",
    (
        *BAR_COLUMNS,
        Column(
            "mid_low", "DOUBLE", "lowest mid at a full second of the bar, its closing edge included", "quote", False
        ),
        Column("mid_high", "DOUBLE", "highest mid at a full second of the bar", "quote", False),
    ),
    BAR_KEY,
    "open_time",
    "How far the mid reached in each minute, futures only.",
)

_MID_SQL = f"""
SELECT {SERIES}, date_trunc('minute', q.open_time) AS open_time,
       date_trunc('minute', q.open_time) + INTERVAL 1 MINUTE AS bar_ts,
       min(bid_price + ask_price) / 2 AS mid_low, max(bid_price + ask_price) / 2 AS mid_high
FROM bars.quotes_1s q
WHERE market_type = 'futures' AND bid_price IS NOT NULL AND ask_price IS NOT NULL
  AND q.open_time >= $start::TIMESTAMP AND q.open_time < $end::TIMESTAMP
GROUP BY {SERIES}, date_trunc('minute', q.open_time)
"""

LIQUIDATIONS_5M = Table(
    "bars",
    "liquidations_5m",
    (
        *IDENTITY,
        Column("open_time", "TIMESTAMP", "opening edge, a multiple of 5 min", "UTC", False),
        Column("bar_ts", "TIMESTAMP", "closing edge", "UTC", False),
        Column("last_minute", "TIMESTAMP", "opening edge of its last minute", "UTC", False),
        Column("value", "DOUBLE", "value liquidated", "quote", False),
        Column("share", "DOUBLE", "of the open interest at the mark price, both at bar_ts", "fraction"),
    ),
    (*SERIES_NAMES, "bar_ts"),
    "last_minute",
    "Liquidations of every five minutes through which the feed lived: what baselines of a month are read from.",
)

_FIVE_SQL = f"""
WITH minutes AS (
    SELECT {SERIES}, l.open_time AS minute, time_bucket(INTERVAL 5 MINUTE, l.open_time) + INTERVAL 5 MINUTE AS bar_ts,
           long_value + short_value AS value, oi * mark AS open_interest
    FROM bars.liquidations_1m l LEFT JOIN bars.oi_1m o USING ({SERIES}, open_time)
    WHERE l.open_time >= $start::TIMESTAMP - INTERVAL 5 MINUTE AND l.open_time < $end::TIMESTAMP
)
SELECT {SERIES}, bar_ts - INTERVAL 5 MINUTE AS open_time, bar_ts, bar_ts - INTERVAL 1 MINUTE AS last_minute,
       sum(value) AS value,
       sum(value) / nullif(arg_max(coalesce(open_interest, 0), minute), 0) AS share
FROM minutes
WHERE bar_ts - INTERVAL 1 MINUTE >= $start::TIMESTAMP AND bar_ts - INTERVAL 1 MINUTE < $end::TIMESTAMP
GROUP BY {SERIES}, bar_ts
HAVING count(*) = 5
"""

_EVENTS = STREAMS["liquidations"].table.qualified
_VALUES = columns_of(LIQUIDATIONS_1M.qualified, "long_value", "short_value")

MINUTE_LAYER = replace(
    selected(
        LIQUIDATIONS_1M,
        _MINUTE_SQL,
        (BARS_1M, STREAMS["liquidations"].table, GAPS),
        SILENT,
        across=(_EVENTS,),
        lineage={
            **dict.fromkeys(("long_count", "short_count"), columns_of(_EVENTS, "side")),
            **dict.fromkeys(("long_value", "short_value"), columns_of(_EVENTS, "side", "value_usd")),
            "late_value": columns_of(_EVENTS, "timestamp", "value_usd"),
            **dict.fromkeys(("cluster_size", "cluster_duration_s"), columns_of(_EVENTS, "timestamp", "side")),
            **dict.fromkeys(("cluster_value", "dense_value"), columns_of(_EVENTS, "timestamp", "side", "value_usd")),
        },
    ),
    backs={BARS_1M.qualified: timedelta(0)},
)
MID_LAYER = selected(
    MID_RANGE_1M,
    _MID_SQL,
    (QUOTES_1S,),
    timedelta(0),
    lineage=dict.fromkeys(("mid_low", "mid_high"), columns_of(QUOTES_1S.qualified, "bid_price", "ask_price")),
)
FIVE_LAYER = selected(
    LIQUIDATIONS_5M,
    _FIVE_SQL,
    (LIQUIDATIONS_1M, OI_1M),
    FIVE,
    lineage={"value": _VALUES, "share": (*_VALUES, *columns_of(OI_1M.qualified, "oi", "mark"))},
)
LAYERS = (MINUTE_LAYER, MID_LAYER, FIVE_LAYER)
